//! A file that gets its name when it is whole. Who is killed before that leaves nothing, where the filesystem knows files without names
//! (`open(2)`, `O_TMPFILE`), and elsewhere a hidden file.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// What is made here is its owner's alone.
const MODE: u32 = 0o600;

/// A file without its name as yet, or with a temporary one, which is removed when this is dropped.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    replace: bool,
    temporary: Option<PathBuf>,
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(path) = &self.temporary {
            let _ = fs::remove_file(path);
        }
    }
}

impl NewFile {
    /// One that is to be `path`, in the place of another file only with `replace`; and the file, to be written.
    ///
    /// # Errors
    /// What the directory answers.
    pub fn make(path: &Path, replace: bool) -> io::Result<(File, Self)> {
        let parent = parent_of(path);
        let new = |temporary| Self { path: path.to_owned(), replace, temporary };
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(parent, flags, Mode::from_raw_mode(MODE)) {
            // The name is given through /proc.
            Ok(fd) if Path::new(&of_descriptor(&fd)).exists() => return Ok((fd.into(), new(None))),
            Ok(_) | Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => (),
            Err(Errno::NOENT) if parent.is_dir() => (),
            Err(errno) => return Err(errno.into()),
        }
        let temporary = temporary(path)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary)?;
        Ok((file, new(Some(temporary))))
    }

    /// Gives the file its name, which is on disk then.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where the name is taken and must not be; what the filesystem answers.
    pub fn name(&mut self, file: &File) -> io::Result<()> {
        if self.temporary.is_none() {
            let to = if self.replace { temporary(&self.path)? } else { self.path.clone() };
            rustix::fs::linkat(CWD, of_descriptor(file), CWD, &to, AtFlags::SYMLINK_FOLLOW)?;
            self.temporary = self.replace.then_some(to);
        }
        if let Some(temporary) = &self.temporary {
            match self.replace {
                true => fs::rename(temporary, &self.path)?,
                false => take(temporary, &self.path)?,
            }
            self.temporary = None;
        }
        File::open(parent_of(&self.path))?.sync_all()
    }
}

/// The directory that a file lies in.
pub fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn of_descriptor(file: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// A name beside `path` that nothing has.
fn temporary(path: &Path) -> io::Result<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(format!(".kmsfs-{}", uuid::Uuid::new_v4().simple()));
    Ok(path.with_file_name(name))
}

/// Renames a file, unless the name is taken.
fn take(waiting: &Path, path: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, waiting, CWD, path, RenameFlags::NOREPLACE) {
        // A filesystem that cannot do this can make a second name, which takes no other's place either.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(waiting, path)?;
            fs::remove_file(waiting)
        }
        outcome => Ok(outcome?),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn it_has_no_name_until_it_is_given_one_and_takes_no_others_unless_it_is_to() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("f");
        let write = |text: &[u8], replace| {
            let (mut file, mut new) = NewFile::make(&path, replace)?;
            file.write_all(text)?;
            let before = names(temp.path()).len();
            new.name(&file)?;
            io::Result::Ok(before)
        };
        assert_eq!(write(b"one", false).unwrap(), 0);
        assert_eq!(write(b"two", false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(write(b"three", true).unwrap(), 1);
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(names(temp.path()), ["f"]);
    }

    #[test]
    fn with_a_temporary_name_it_is_the_same_and_goes_with_who_made_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("f");
        let named = |replace| {
            let waiting = temporary(&path).unwrap();
            let file = File::create_new(&waiting).unwrap();
            let mut new = NewFile { path: path.clone(), replace, temporary: Some(waiting) };
            new.name(&file).map_err(|error| error.kind())
        };
        assert_eq!(named(false), Ok(()));
        assert_eq!(named(false), Err(io::ErrorKind::AlreadyExists));
        assert_eq!(named(true), Ok(()));
        assert_eq!(names(temp.path()), ["f"]);
    }
}
