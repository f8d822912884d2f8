//! Key files: bytes that unlock a home, which nobody but their owner may read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::HomeError;
use crate::crypto::{KEY_LEN, Secret};

/// The least bytes of a key file that somebody else made.
const LEN_MIN: usize = 16;
/// The most.
const LEN_MAX: u64 = 64 * 1024;

/// Makes a key file of random bytes, mode 0600, on disk when this returns.
///
/// # Errors
/// [`HomeError::Io`]; an existing file is an error.
pub fn make(path: &Path) -> Result<(), HomeError> {
    let io = |error| HomeError::Io(path.to_owned(), error);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    let write = || {
        file.write_all(Secret::<KEY_LEN>::random().expose())?;
        file.sync_all()
    };
    let written: io::Result<()> = { write }();
    written.map_err(|error| {
        let _ = std::fs::remove_file(path);
        io(error)
    })
}

/// Reads a key file.
///
/// # Errors
/// [`HomeError::KeyFileMissing`], [`HomeError::KeyFilePermissions`] where others may read it,
/// [`HomeError::KeyFileUnsuitable`], [`HomeError::Io`].
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, HomeError> {
    let io = |error| HomeError::Io(path.to_owned(), error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(HomeError::KeyFileMissing(path.to_owned()));
        }
        Err(error) => return Err(io(error)),
    };
    let facts = file.metadata().map_err(io)?;
    let unsuitable = |why: &str| Err(HomeError::KeyFileUnsuitable(path.to_owned(), why.to_owned()));
    if !facts.is_file() {
        return unsuitable("it is not a regular file");
    }
    if facts.mode() & 0o077 != 0 {
        return Err(HomeError::KeyFilePermissions(path.to_owned(), facts.mode() & 0o7777));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(LEN_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    match bytes.len() {
        len if len < LEN_MIN => unsuitable("it has less than 16 bytes"),
        len if len as u64 > LEN_MAX => unsuitable("it has more than 64 KiB"),
        _ => Ok(bytes),
    }
}
