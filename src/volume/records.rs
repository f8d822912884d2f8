//! Looking at a volume's own records, and at the default keys of its directories, without a mount.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::io::Errno;

use super::default_key::{self, KEY_MAX};
use super::{CONFIG, RESERVED, Volume, VolumeError};
use crate::crypto::mac::MAC_LEN;
use crate::datakey::Authenticator;

/// The extended attribute of a directory that holds its default key.
pub const DEFAULT_KEY: &str = "user.kmsfs.default-key";
/// Where new files wait for their names, on filesystems without unnamed ones.
const WAITING: &str = "new";
const KNOWN: [&str; 5] = [CONFIG, "lock", "dirty", "dirty.new", WAITING];

/// Something among a volume's records that should not be there.
#[derive(Debug, PartialEq, Eq)]
pub enum Oddity {
    /// A file that waits for its name and will never get it: whoever was making it was killed.
    Leftover(PathBuf),
    /// Nothing that kmsfs made.
    Unknown(PathBuf),
}

impl Oddity {
    /// The path within the volume.
    pub fn path(&self) -> &PathBuf {
        match self {
            Self::Leftover(path) | Self::Unknown(path) => path,
        }
    }
}

/// Looks through the volume's records. Files that wait for their names are left over only where nothing writes to the volume.
///
/// # Errors
/// [`VolumeError::Io`].
pub fn oddities(volume: &Volume) -> Result<Vec<Oddity>, VolumeError> {
    let mut odd = Vec::new();
    let reserved = volume.reserved();
    for name in names(&reserved)? {
        let path = PathBuf::from(RESERVED).join(&name);
        if name.to_str() == Some(WAITING) {
            odd.extend(
                names(&reserved.join(WAITING))?.into_iter().map(|name| Oddity::Leftover(path.join(name))),
            );
        } else if !KNOWN.iter().any(|known| name.to_str() == Some(known)) {
            odd.push(Oddity::Unknown(path));
        }
    }
    Ok(odd)
}

fn names(dir: &std::path::Path) -> Result<Vec<std::ffi::OsString>, VolumeError> {
    let list = || -> io::Result<Vec<_>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()
    };
    let mut names = list().map_err(|error| VolumeError::Io(dir.to_owned(), error))?;
    names.sort();
    Ok(names)
}

/// Removes a file that waits for its name in vain. The caller holds the volume's lock.
///
/// # Errors
/// [`VolumeError::Io`].
pub fn remove_leftover(volume: &Volume, odd: &Oddity) -> Result<(), VolumeError> {
    let Oddity::Leftover(path) = odd else { return Ok(()) };
    let path = volume.path().join(path);
    fs::remove_file(&path).map_err(|error| VolumeError::Io(path, error))
}

/// Checks the default key of a directory, if it has one.
///
/// # Errors
/// [`VolumeError::Tampered`] where it does not authenticate.
pub fn check_directory(dir: impl AsFd, volume: &Volume, auth: &dyn Authenticator) -> Result<(), VolumeError> {
    let mut stored = [0; 1 + MAC_LEN + KEY_MAX];
    match rustix::fs::fgetxattr(dir, DEFAULT_KEY, &mut stored) {
        Ok(len) => default_key::decode(&stored[..len], volume.id(), auth).map(|_| ()),
        Err(Errno::RANGE) => Err(VolumeError::Tampered("a directory's default key is too long".to_owned())),
        // Also where the filesystem has no such attributes: then no directory has a key of its own.
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(VolumeError::Io(volume.path().to_owned(), errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::TestHome;
    use super::*;

    #[test]
    fn what_was_left_over_and_what_is_not_ours_are_told_apart() {
        let temp = tempfile::tempdir().unwrap();
        let volume = Volume::init(&temp.path().join("v"), "alias/a", &TestHome::new()).unwrap();
        assert_eq!(oddities(&volume).unwrap(), []);
        fs::create_dir(volume.reserved().join(WAITING)).unwrap();
        for name in ["new/0123", "notes", "dirty", "lock"] {
            fs::write(volume.reserved().join(name), "").unwrap();
        }
        let odd = oddities(&volume).unwrap();
        assert_eq!(odd, [Oddity::Leftover(".kmsfs/new/0123".into()), Oddity::Unknown(".kmsfs/notes".into())]);
        odd.iter().for_each(|one| remove_leftover(&volume, one).unwrap());
        assert_eq!(oddities(&volume).unwrap(), [Oddity::Unknown(".kmsfs/notes".into())]);
    }

    #[test]
    fn the_default_key_of_a_directory_is_checked() {
        let temp = tempfile::tempdir().unwrap();
        let home = TestHome::new();
        let volume = Volume::init(&temp.path().join("v"), "alias/a", &home).unwrap();
        let dir = fs::File::open(volume.path()).unwrap();
        check_directory(&dir, &volume, &home).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        let good = default_key::encode("alias/b", volume.id(), &home);
        rustix::fs::fsetxattr(&dir, DEFAULT_KEY, &good, flags).unwrap();
        check_directory(&dir, &volume, &home).unwrap();
        rustix::fs::fsetxattr(&dir, DEFAULT_KEY, &good[..good.len() - 1], flags).unwrap();
        assert!(matches!(check_directory(&dir, &volume, &home), Err(VolumeError::Tampered(_))));
        rustix::fs::fsetxattr(&dir, DEFAULT_KEY, &[1; 3000], flags).unwrap();
        assert!(matches!(check_directory(&dir, &volume, &home), Err(VolumeError::Tampered(_))));
    }
}
