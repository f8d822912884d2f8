//! What headers claim, read without a key.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use parking_lot::Mutex;
use rustix::fs::OFlags;

use crate::content::layout;
use crate::datakey::{KeyArn, MATERIAL_ID_LEN};
use crate::envelope::FileId;
use crate::fs::backing::FdBacking;
use crate::fs::file::{CryptFile, FileError};
use crate::volume::{Volume, successor, walk};

/// What a file's header claims; nothing proves it.
#[derive(Debug)]
pub struct Header {
    pub key: KeyArn,
    pub version: u32,
    pub material_id: [u8; MATERIAL_ID_LEN],
    pub file_id: FileId,
    /// The plain size, in bytes.
    pub size: u64,
}

/// What was seen of a file.
#[derive(Debug)]
pub enum Seen {
    /// It is gone, or was seen under another name.
    Not,
    /// It cannot be opened or read.
    Unreadable(String),
    /// It has no header.
    Damaged(String),
    /// It has one.
    Header(Header),
}

/// Looks at the header of the file at `path` within `volume`; `seen` has the files of several names that were looked at.
pub fn header_of(volume: &Volume, path: &Path, seen: &Mutex<HashSet<(u64, u64)>>) -> Seen {
    match look(volume, path, seen) {
        Ok(Some(Ok(header))) => Seen::Header(header),
        Ok(Some(Err(FileError::Io(error)))) => Seen::Unreadable(error.to_string()),
        Ok(Some(Err(error))) => Seen::Damaged(error.to_string()),
        Ok(None) => Seen::Not,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::Not,
        Err(error) => Seen::Unreadable(error.to_string()),
    }
}

fn look(
    volume: &Volume,
    path: &Path,
    seen: &Mutex<HashSet<(u64, u64)>>,
) -> io::Result<Option<Result<Header, FileError>>> {
    let fd = walk::open(volume, path, OFlags::RDONLY)?;
    let stat = rustix::fs::fstat(&fd)?;
    if stat.st_nlink > 1 && !seen.lock().insert((stat.st_dev, stat.st_ino)) {
        return Ok(None);
    }
    let fd = successor::of(volume.path(), &fd)?.unwrap_or(fd);
    let backing_size = u64::try_from(rustix::fs::fstat(&fd)?.st_size).unwrap_or(0);
    Ok(Some(CryptFile::identify(&FdBacking::new(fd)).map(|identity| {
        let header = identity.claims();
        let wrapped = &header.wrapped;
        Header {
            key: wrapped.key.clone(),
            version: wrapped.version,
            material_id: wrapped.material_id,
            file_id: header.file_id,
            size: if header.dirty { layout::plain_size(backing_size).size } else { header.committed_size },
        }
    })))
}
