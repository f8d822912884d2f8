//! What lies in a volume, file by file, without a mount.
//!
//! Paths are opened beneath the volume's directory and through no symbolic link, whatever is put there meanwhile.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags};

use super::{RESERVED, Volume};

/// Something that was come upon; paths are within the volume, and empty for its root.
#[derive(Debug)]
pub enum Found {
    /// A regular file.
    File(PathBuf),
    /// A directory, before what is in it.
    Directory(PathBuf),
    /// A directory that cannot be read.
    Unreadable(PathBuf, io::Error),
}

/// A walk through a volume or a part of it, in the order of names. The volume's own records are left out.
#[derive(Debug)]
pub struct Walk<'a> {
    volume: &'a Volume,
    /// What is still to come, the next one last.
    waiting: Vec<(PathBuf, FileType)>,
}

impl<'a> Walk<'a> {
    /// Through `start`, a file or directory, and all beneath it.
    ///
    /// # Errors
    /// Where `start` cannot be looked at.
    pub fn from(volume: &'a Volume, start: &Path) -> io::Result<Self> {
        let fd = open(volume, start, OFlags::PATH)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
        Ok(Self { volume, waiting: vec![(start.to_owned(), kind)] })
    }

    /// Has what is in a directory come next.
    fn enter(&mut self, path: &Path) -> io::Result<()> {
        let fd = open(self.volume, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." || (path.as_os_str().is_empty() && name == RESERVED) {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                    match rustix::fs::statat(&fd, name, flags) {
                        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                        // Removed meanwhile.
                        Err(_) => continue,
                    }
                }
                kind => kind,
            };
            entries.push((path.join(name), kind));
        }
        entries.sort_by(|(one, _), (other, _)| other.cmp(one));
        self.waiting.append(&mut entries);
        Ok(())
    }
}

impl Iterator for Walk<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let (path, kind) = self.waiting.pop()?;
            match kind {
                FileType::RegularFile => return Some(Found::File(path)),
                FileType::Directory => {
                    return Some(match self.enter(&path) {
                        Ok(()) => Found::Directory(path),
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        Err(error) => Found::Unreadable(path, error),
                    });
                }
                // Nothing of these is encrypted.
                _ => (),
            }
        }
    }
}

/// Opens a path within a volume.
///
/// # Errors
/// Whatever the system answers; `ELOOP` or `EXDEV` where the path leads out of the volume.
pub fn open(volume: &Volume, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    // A pipe that lies there must not hold it up; openat2(2) takes no such flag where nothing is opened.
    let wait = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK };
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | wait;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok(rustix::fs::openat2(volume.dir(), path, flags, Mode::empty(), resolve)?)
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::TestHome;
    use super::*;

    fn walked(volume: &Volume, start: &str) -> Vec<String> {
        let walk = Walk::from(volume, Path::new(start)).unwrap();
        walk.map(|found| match found {
            Found::File(path) => path.display().to_string(),
            Found::Directory(path) => format!("{}/", path.display()),
            Found::Unreadable(path, error) => panic!("{}: {error}", path.display()),
        })
        .collect()
    }

    #[test]
    fn a_walk_finds_every_file_once_and_leaves_out_links_and_the_records() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("v");
        let volume = Volume::init(&dir, "alias/a", &TestHome::new()).unwrap();
        std::fs::create_dir_all(dir.join("b/c/.kmsfs")).unwrap();
        for name in ["a", "b/c/.kmsfs/x", "b/z", "d"] {
            std::fs::write(dir.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("/", dir.join("link")).unwrap();
        assert_eq!(walked(&volume, ""), ["/", "a", "b/", "b/c/", "b/c/.kmsfs/", "b/c/.kmsfs/x", "b/z", "d"]);
        assert_eq!(walked(&volume, "b/c"), ["b/c/", "b/c/.kmsfs/", "b/c/.kmsfs/x"]);
        assert_eq!(walked(&volume, "d"), ["d"]);
        assert!(Walk::from(&volume, Path::new("link/etc")).is_err(), "not through a link");
    }
}
