//! Successors: files that were encrypted anew and wait to take another's place.
//!
//! A re-encrypted file is written beside the old one, whole, and gets the name `.kmsfs/next/FILE-ID`, with the id of the file that
//! it replaces. From this moment on it is that file's content: its bytes are copied over the old ones, page 0 last, and then its name
//! goes. Whoever reads a file whose id has a successor reads that instead; whoever writes the volume finishes the copy first. So a
//! kill at any instant leaves the old file or the new one, and the file keeps its inode, names and attributes.
//!
//! Nothing here needs a key.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{RESERVED, Volume, VolumeError};
use crate::envelope::{FileId, SLOT_LEN, UnverifiedHeader};

/// Where successors lie, beneath the reserved directory.
pub const NEXT: &str = "next";

/// The directory of successors of the volume `root`, made where it is not there.
///
/// # Errors
/// [`VolumeError::Io`].
pub fn directory(volume: &Volume) -> Result<OwnedFd, VolumeError> {
    let path = volume.reserved().join(NEXT);
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(VolumeError::Io(path, error));
        }
        _ => (),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(&path, flags, Mode::empty()).map_err(|errno| VolumeError::Io(path, errno.into()))
}

/// The successor of the file `id` of the volume in `root`, to be read.
///
/// # Errors
/// Whatever the system answers, but that there is none.
pub fn open(root: &Path, id: &FileId) -> io::Result<Option<OwnedFd>> {
    let path = root.join(RESERVED).join(NEXT).join(id.to_string());
    // A pipe that somebody put there must not hold anybody up; it is no header's beginning either.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The successor of the file `fd` of the volume in `root`, where it has one: that holds its content.
///
/// # Errors
/// Whatever the system answers.
pub fn of(root: &Path, fd: impl AsFd) -> io::Result<Option<OwnedFd>> {
    claimed_id(fd)?.map_or(Ok(None), |id| open(root, &id))
}

/// The file id that the newest header of a file claims.
///
/// # Errors
/// Whatever the system answers.
pub fn claimed_id(fd: impl AsFd) -> io::Result<Option<FileId>> {
    let mut slots = [0; 2 * SLOT_LEN];
    let mut read = 0;
    while read < slots.len() {
        match rustix::io::pread(&fd, &mut slots[read..], read as u64) {
            Ok(0) => return Ok(None),
            Ok(more) => read += more,
            Err(Errno::INTR) => (),
            Err(errno) => return Err(errno.into()),
        }
    }
    let claims = slots.as_chunks::<SLOT_LEN>().0.iter().filter_map(|slot| UnverifiedHeader::parse(slot).ok());
    Ok(claims.max_by_key(UnverifiedHeader::sequence).map(|claim| claim.file_id()))
}

/// The files that have a successor.
///
/// # Errors
/// [`VolumeError::Io`].
pub fn all(volume: &Volume) -> Result<Vec<FileId>, VolumeError> {
    let path = volume.reserved().join(NEXT);
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(VolumeError::Io(path, error)),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| VolumeError::Io(path.clone(), error))?.file_name();
        ids.extend(name.to_str().and_then(FileId::parse));
    }
    Ok(ids)
}

/// Has the directory of successors on disk as it is.
///
/// # Errors
/// [`VolumeError::Io`].
pub fn sync(volume: &Volume) -> Result<(), VolumeError> {
    let path = volume.reserved().join(NEXT);
    let sync = || File::open(&path)?.sync_all();
    sync().map_err(|error| VolumeError::Io(path.clone(), error))
}

/// Takes the name of the successor of `id` away: it has taken its place.
///
/// # Errors
/// [`VolumeError::Io`].
pub fn remove(volume: &Volume, id: &FileId) -> Result<(), VolumeError> {
    let path: PathBuf = volume.reserved().join(NEXT).join(id.to_string());
    match rustix::fs::unlinkat(rustix::fs::CWD, &path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(VolumeError::Io(path, errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::TestHome;
    use super::*;

    #[test]
    fn successors_are_found_by_the_id_of_the_file_that_they_replace() {
        let temp = tempfile::tempdir().unwrap();
        let volume = Volume::init(&temp.path().join("v"), "alias/a", &TestHome::new()).unwrap();
        let id = FileId([7; 16]);
        assert!(all(&volume).unwrap().is_empty());
        assert!(open(volume.path(), &id).unwrap().is_none());
        directory(&volume).unwrap();
        fs::write(volume.reserved().join(NEXT).join(id.to_string()), "x").unwrap();
        fs::write(volume.reserved().join(NEXT).join("something else"), "x").unwrap();
        assert_eq!(all(&volume).unwrap(), [id]);
        assert!(open(volume.path(), &id).unwrap().is_some());
        remove(&volume, &id).unwrap();
        remove(&volume, &id).unwrap();
        assert!(all(&volume).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_header_claims_nothing() {
        let temp = tempfile::tempdir().unwrap();
        for bytes in [0, 100, 4096] {
            let path = temp.path().join("f");
            fs::write(&path, vec![0; bytes]).unwrap();
            assert_eq!(claimed_id(File::open(&path).unwrap()).unwrap(), None);
        }
    }
}
