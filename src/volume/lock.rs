//! One process at a time writes to a volume: a mount, or a command that repairs files.
//!
//! The lock is of `flock(2)`, on an open file description: the kernel releases it when the
//! process ends, however it ends. A file says who holds it, for people only, and is what is locked; so is the directory that it lies in,
//! since somebody may take the file away.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use super::{Volume, VolumeError};

/// The lock's name among the volume's records.
pub const NAME: &str = "lock";
/// How often the lock is asked for, and how long to wait in between.
const ATTEMPTS: u32 = 5;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// The right to write to a volume, until it is dropped or the process ends.
#[derive(Debug)]
pub struct WriterLock {
    _file: File,
    _directory: Option<File>,
}

impl WriterLock {
    /// Takes the lock for a mount on `mountpoint`.
    ///
    /// # Errors
    /// [`VolumeError::Locked`] with the holder; [`VolumeError::Io`].
    pub fn acquire(volume: &Volume, mountpoint: &Path) -> Result<Self, VolumeError> {
        Self::acquire_as(volume, &format!("mounted on {}", mountpoint.display()))
    }

    /// Takes the lock for something else; `what` says so to people.
    ///
    /// # Errors
    /// As [`WriterLock::acquire`].
    pub fn acquire_as(volume: &Volume, what: &str) -> Result<Self, VolumeError> {
        let path = volume.reserved().join(NAME);
        let io = |error| VolumeError::Io(path.clone(), error);
        let mut file = open(&path).map_err(io)?;
        if !lock(&file).map_err(io)? {
            return Err(locked(volume.path().to_owned(), &mut file));
        }
        // The file may be another than the one that is locked: who takes it away does not let two write.
        let directory = File::open(volume.reserved()).map_err(io)?;
        let directory = match lock(&directory) {
            Ok(true) => Some(directory),
            Ok(false) => return Err(locked(volume.path().to_owned(), &mut file)),
            Err(error) => {
                log::debug!("only a file is locked, and not the directory that it is in: {error}");
                None
            }
        };
        let holder = format!("process {}, {what}\n", std::process::id());
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        file.write_all(holder.as_bytes()).map_err(io)?;
        Ok(Self { _file: file, _directory: directory })
    }

    /// Who holds the lock of `volume`, if anyone does.
    ///
    /// # Errors
    /// [`VolumeError::Io`].
    pub fn holder(volume: &Volume) -> Result<Option<String>, VolumeError> {
        let path = volume.reserved().join(NAME);
        let io = |error| VolumeError::Io(path.clone(), error);
        let mut file = open(&path).map_err(io)?;
        let shared = FlockOperation::NonBlockingLockShared;
        match rustix::fs::flock(&file, shared) {
            Ok(()) => (),
            Err(Errno::WOULDBLOCK) => return Ok(Some(said(&mut file))),
            Err(errno) => return Err(io(errno.into())),
        }
        let directory = File::open(volume.reserved()).map_err(io)?;
        let is_held = rustix::fs::flock(&directory, shared) == Err(Errno::WOULDBLOCK);
        Ok(is_held.then(|| said(&mut file)))
    }
}

/// Takes a lock; false where somebody else holds it.
fn lock(file: &File) -> std::io::Result<bool> {
    for attempt in 1.. {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            // Who only asks for the holder has it for an instant.
            Err(Errno::WOULDBLOCK) if attempt < ATTEMPTS => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(true)
}

/// Not through a link: who keeps the ciphertext may have put one to another file there, and the holder writes to it.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()).open(path)
}

fn locked(dir: PathBuf, file: &mut File) -> VolumeError {
    VolumeError::Locked { dir, holder: said(file) }
}

/// What the holder wrote; it may be about to.
fn said(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(4096).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "by a process that has not said who it is".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::TestHome;
    use super::*;

    #[test]
    fn a_link_in_the_place_of_the_lock_is_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let volume = Volume::init(&temp.path().join("v"), "alias/a", &TestHome::new()).unwrap();
        let other = temp.path().join("other");
        std::fs::write(&other, "another file").unwrap();
        std::os::unix::fs::symlink(&other, volume.reserved().join(NAME)).unwrap();
        assert!(WriterLock::acquire_as(&volume, "trying").is_err());
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "another file");
    }

    #[test]
    fn who_takes_the_file_away_does_not_let_two_write() {
        let temp = tempfile::tempdir().unwrap();
        let volume = Volume::init(&temp.path().join("v"), "alias/a", &TestHome::new()).unwrap();
        let lock = WriterLock::acquire_as(&volume, "trying").unwrap();
        std::fs::remove_file(volume.reserved().join(NAME)).unwrap();
        assert!(matches!(WriterLock::acquire_as(&volume, "too"), Err(VolumeError::Locked { .. })));
        assert!(WriterLock::holder(&volume).unwrap().is_some());
        drop(lock);
        assert!(WriterLock::holder(&volume).unwrap().is_none());
        drop(WriterLock::acquire_as(&volume, "again").unwrap());
    }

    #[test]
    fn one_holds_it_and_who_only_asks_does_not_keep_it_from_anybody() {
        let temp = tempfile::tempdir().unwrap();
        let volume = Volume::init(&temp.path().join("v"), "alias/a", &TestHome::new()).unwrap();
        assert_eq!(WriterLock::holder(&volume).unwrap(), None);
        let asking = open(&volume.reserved().join(NAME)).unwrap();
        rustix::fs::flock(&asking, FlockOperation::NonBlockingLockShared).unwrap();
        let asked = std::thread::spawn(move || {
            std::thread::sleep(PAUSE / 2);
            drop(asking);
        });
        let lock = WriterLock::acquire_as(&volume, "trying").unwrap();
        asked.join().unwrap();
        let holder = WriterLock::holder(&volume).unwrap().unwrap();
        assert_eq!(holder, format!("process {}, trying", std::process::id()));
        assert!(matches!(WriterLock::acquire_as(&volume, "too"), Err(VolumeError::Locked { .. })));
        drop(lock);
        assert_eq!(WriterLock::holder(&volume).unwrap(), None);
    }
}
