//! The place of a home that is being made or restored: its directory appears with everything in it, or not at all.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{HomeError, audit, database};
use crate::crypto::rng;

/// The directory must be absent or empty.
///
/// # Errors
/// [`HomeError::AlreadyExists`], [`HomeError::NotEmpty`], [`HomeError::Io`].
pub fn check_free(dir: &Path) -> Result<(), HomeError> {
    // One that has lost its key store is one as well: a backup may bring it back.
    if [database::FILE_NAME, audit::HEAD_NAME].iter().any(|name| dir.join(name).exists()) {
        return Err(HomeError::AlreadyExists(dir.to_owned()));
    }
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(HomeError::NotEmpty(dir.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(HomeError::Io(dir.to_owned(), error)),
    }
}

/// Fills a directory beside `dir`, which takes the name when everything in it is on disk. `fill` gets the directory and where it
/// will be.
///
/// # Errors
/// What `fill` answers, and failures of the operating system; nothing is left behind then.
pub fn make_beside(
    dir: &Path,
    fill: impl FnOnce(&Path, &Path) -> Result<(), HomeError>,
) -> Result<(), HomeError> {
    let io = |path: &Path, error| HomeError::Io(path.to_owned(), error);
    let ancestors = MadeAncestors::of(dir)?;
    let make = || {
        let (parent, name) = place(dir).map_err(|error| io(dir, error))?;
        let random = u64::from_be_bytes(rng::bytes());
        let waiting = parent.join(format!(".kmsfs-home-{random:016x}.new"));
        let made = DirBuilder::new().mode(0o700).create(&waiting).map_err(|error| io(&waiting, error));
        let filled = made.and_then(|()| fill(&waiting, &parent.join(&name))).and_then(|()| {
            File::open(&waiting).and_then(|dir| dir.sync_all()).map_err(|error| io(&waiting, error))?;
            fs::rename(&waiting, parent.join(&name)).map_err(|error| taken(dir, error))?;
            File::open(&parent).and_then(|parent| parent.sync_all()).map_err(|error| io(&parent, error))
        });
        filled.inspect_err(|_| {
            let _ = fs::remove_dir_all(&waiting);
        })
    };
    make().inspect_err(|_| ancestors.remove())
}

/// The directories above a home that are made for it.
struct MadeAncestors(Vec<PathBuf>);

impl MadeAncestors {
    fn of(dir: &Path) -> Result<Self, HomeError> {
        let above = dir.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        let missing = above.take_while(|above| !above.exists()).map(Path::to_owned).collect();
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
            made.map_err(|error| HomeError::Io(parent.to_owned(), error))?;
        }
        Ok(Self(missing))
    }

    /// The deepest first; one that others use by now stays.
    fn remove(&self) {
        for dir in &self.0 {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// Where the home's directory is, or will be: links and dots are followed, so that the home takes the place of what they
/// lead to.
fn place(dir: &Path) -> io::Result<(PathBuf, OsString)> {
    let whole = match fs::canonicalize(dir) {
        Ok(whole) => whole,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
            fs::canonicalize(parent.unwrap_or(Path::new(".")))?.join(dir.file_name().unwrap_or_default())
        }
        Err(error) => return Err(error),
    };
    match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) => Ok((parent.to_owned(), name.to_owned())),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Why the name cannot be taken: another setup may have been faster.
fn taken(dir: &Path, error: io::Error) -> HomeError {
    match check_free(dir) {
        Err(taken) => taken,
        Ok(()) => HomeError::Io(dir.to_owned(), error),
    }
}
