//! Looking at a volume's own records, and at the default keys of its directories, without a mount.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, OFlags};
use rustix::io::Errno;

use super::default_key::{self, KEY_MAX};
use super::successor::NEXT;
use super::{CONFIG, RESERVED, Volume, VolumeError, walk};
use crate::crypto::mac::MAC_LEN;
use crate::datakey::Authenticator;

/// The extended attribute of a directory that holds its default key.
pub const DEFAULT_KEY: &str = "user.kmsfs.default-key";
/// Where new files wait for their names beneath the reserved directory, on filesystems without `O_TMPFILE`.
pub const WAITING: &str = "new";
/// Which files a run of `kmsfs reencrypt` has done.
pub const REENCRYPTED: &str = "reencrypted";
const KNOWN: [&str; 7] = [CONFIG, "lock", "dirty", "dirty.new", WAITING, NEXT, REENCRYPTED];

/// Something among a volume's records that should not be there.
#[derive(Debug, PartialEq, Eq)]
pub enum Oddity {
    /// A file or directory that waits for its name and will never get it: whoever was making it was killed.
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
/// Links are not followed: who keeps the ciphertext may have put them there.
///
/// # Errors
/// [`VolumeError::Io`].
pub fn oddities(volume: &Volume) -> Result<Vec<Oddity>, VolumeError> {
    let mut odd = Vec::new();
    for name in names(volume, Path::new(RESERVED))? {
        let path = PathBuf::from(RESERVED).join(&name);
        let is_directory = || volume.path().join(&path).symlink_metadata().is_ok_and(|facts| facts.is_dir());
        if name == WAITING && is_directory() {
            odd.extend(names(volume, &path)?.into_iter().map(|name| Oddity::Leftover(path.join(name))));
        } else if name == WAITING || !KNOWN.iter().any(|known| name == *known) {
            odd.push(Oddity::Unknown(path));
        }
    }
    Ok(odd)
}

fn names(volume: &Volume, dir: &Path) -> Result<Vec<OsString>, VolumeError> {
    let list = || -> io::Result<Vec<_>> {
        let entries = Dir::read_from(walk::open(volume, dir, OFlags::RDONLY | OFlags::DIRECTORY)?)?;
        entries.map(|entry| Ok(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned())).collect()
    };
    let mut names = list().map_err(|error| VolumeError::Io(volume.path().join(dir), error))?;
    names.retain(|name| name != "." && name != "..");
    names.sort();
    Ok(names)
}

/// Removes a file that waits for its name in vain. The caller holds the volume's lock.
///
/// # Errors
/// [`VolumeError::Io`].
pub fn remove_leftover(volume: &Volume, odd: &Oddity) -> Result<(), VolumeError> {
    let Oddity::Leftover(path) = odd else { return Ok(()) };
    let remove = || -> io::Result<()> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let dir = walk::open(volume, dir, OFlags::PATH | OFlags::DIRECTORY)?;
        match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
            // A directory that was to get its default key before its name.
            Err(Errno::ISDIR | Errno::PERM) => Ok(rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR)?),
            removed => Ok(removed?),
        }
    };
    remove().map_err(|error| VolumeError::Io(volume.path().join(path), error))
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
    use std::fs;

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
