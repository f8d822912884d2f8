//! Which files a run re-encrypted: so that another one can go on where it was stopped.
//!
//! A file `.kmsfs/reencrypted` of file ids, 16 bytes each, one behind the other. A re-encrypted file has another id, so one that was
//! put back from a backup is not taken for done. It goes when a run has done all it was to do.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use parking_lot::Mutex;
use rustix::fs::OFlags;

use crate::cli::error::{CliError, Result};
use crate::envelope::FileId;
use crate::sys;
use crate::volume::Volume;
use crate::volume::records::REENCRYPTED;

const ID_LEN: usize = 16;

/// The journal of one volume.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    done: HashSet<FileId>,
}

impl Journal {
    /// Opens the journal: with what is in it where a run is to be gone on with, else empty.
    pub fn open(volume: &Volume, resume: bool) -> Result<Self> {
        let path = volume.reserved().join(REENCRYPTED);
        let open = || -> io::Result<(File, HashSet<FileId>)> {
            let mut options = OpenOptions::new();
            options.read(true).append(true).create(true).mode(0o600);
            let mut file = sys::open_regular(&mut options, OFlags::NOFOLLOW, &path)?;
            if !resume {
                file.set_len(0)?;
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let (ids, torn) = bytes.as_chunks::<ID_LEN>();
            file.set_len((bytes.len() - torn.len()) as u64)?;
            Ok((file, ids.iter().map(|id| FileId(*id)).collect()))
        };
        let (file, done) = open().map_err(|error| CliError::io(&path, &error))?;
        Ok(Self { path, file: Mutex::new(file), done })
    }

    /// Whether an earlier run did this file.
    pub fn has(&self, id: &FileId) -> bool {
        self.done.contains(id)
    }

    /// Notes a file that is done.
    pub fn add(&self, id: &FileId) -> io::Result<()> {
        self.file.lock().write_all(&id.0)
    }

    /// All is done.
    pub fn finish(self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CliError::io(&self.path, &error)),
            _ => Ok(()),
        }
    }
}
