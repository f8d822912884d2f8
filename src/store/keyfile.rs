//! Key files: bytes that unlock a home, which nobody but their owner may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};
use zeroize::Zeroizing;

use super::HomeError;
use super::new_file::NewFile;
use crate::crypto::{KEY_LEN, Secret};

/// The least bytes of a key file that somebody else made.
const LEN_MIN: usize = 16;
/// The most.
const LEN_MAX: usize = 64 * 1024;
/// How often a file that others make and remove at the same time is looked for.
const ATTEMPTS: usize = 32;

/// The key file of a home that is being made.
///
/// Who made the file holds a lock on it until the home is there or the file is removed again. Another setup that would use the
/// file waits for that: else it could seal its home for a file that is about to go.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    made: Option<File>,
}

impl Claim {
    /// Takes the key file at `path`, or makes one there.
    ///
    /// # Errors
    /// [`HomeError::KeyFileMissing`] for a link that leads nowhere, [`HomeError::KeyFileUnsuitable`] for a file of another user,
    /// [`HomeError::Io`].
    pub fn of(path: &Path) -> Result<Self, HomeError> {
        let io = |error: io::Error| HomeError::Io(path.to_owned(), error);
        for _ in 0..ATTEMPTS {
            match open(path) {
                Ok(file) => {
                    rustix::fs::flock(&file, FlockOperation::LockShared).map_err(|errno| io(errno.into()))?;
                    if is_there(path, &file).map_err(io)? {
                        refuse_foreign(path, &file)?;
                        return Ok(Self { path: path.to_owned(), made: None });
                    }
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
                Err(_) if path.is_symlink() => return Err(HomeError::KeyFileMissing(path.to_owned())),
                Err(_) => match make(path) {
                    Ok(file) => return Ok(Self { path: path.to_owned(), made: Some(file) }),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
                    Err(error) => return Err(io(error)),
                },
            }
        }
        Err(io(io::ErrorKind::ResourceBusy.into()))
    }

    /// Removes the file if this claim made it: the home that it was made for is not there.
    pub fn abandon(self) {
        if self.made.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes a key file of random bytes, mode 0600, locked. It gets its name when it is whole, and is on disk when this returns.
fn make(path: &Path) -> io::Result<File> {
    let (mut file, mut new) = NewFile::make(path, false)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    file.write_all(Secret::<KEY_LEN>::random().expose())?;
    file.sync_all()?;
    new.name(&file)?;
    Ok(file)
}

/// Root must not seal a home for a file whose bytes another user knows, or may change.
fn refuse_foreign(path: &Path, file: &File) -> Result<(), HomeError> {
    let owner = file.metadata().map_err(|error| HomeError::Io(path.to_owned(), error))?.uid();
    if owner == 0 || owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let why = format!("it belongs to another user (uid {owner})");
    Err(HomeError::KeyFileUnsuitable(path.to_owned(), why))
}

/// Whether the file is still the one of that name.
fn is_there(path: &Path, file: &File) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens without waiting for the other end of a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)
}

/// Reads a key file.
///
/// # Errors
/// [`HomeError::KeyFileMissing`], [`HomeError::KeyFilePermissions`] where others may read it,
/// [`HomeError::KeyFileUnsuitable`], [`HomeError::Io`].
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, HomeError> {
    let io = |error| HomeError::Io(path.to_owned(), error);
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
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
    // Room for all of it: a vector that grows leaves copies behind that nobody wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LEN_MAX + 64));
    file.take(LEN_MAX as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    match bytes.len() {
        len if len < LEN_MIN => unsuitable("it has less than 16 bytes"),
        len if len > LEN_MAX => unsuitable("it has more than 64 KiB"),
        _ => Ok(bytes),
    }
}
