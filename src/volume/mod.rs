//! An encrypted directory: its configuration, its lock, the default keys of its directories and its list of files that
//! may be dirty.
//!
//! All of it lies in the directory itself, in `.kmsfs/`, which a mount does not show. What decides how files are
//! encrypted is authenticated ([`Authenticator`]); the rest is only bookkeeping, and checked against the files themselves.
//!
//! ```text
//! DIR/.kmsfs/volume.json    format, id, key provider, default key, MAC
//! DIR/.kmsfs/lock           who mounts the volume for writing; locked while it does
//! DIR/.kmsfs/dirty          files that a killed mount may have left dirty
//! DIR/.kmsfs/next/          files that were encrypted anew and wait to take another's place
//! ```

pub mod config;
pub mod default_key;
pub mod dirty;
mod error;
pub mod lock;
pub mod records;
pub mod successor;
pub mod walk;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::datakey::Authenticator;
use config::VolumeConfig;
pub use error::VolumeError;

/// The directory of a volume's own records: a name at its root that a mount neither shows nor gives away.
pub const RESERVED: &str = ".kmsfs";
/// What it is called while it is being made.
const WAITING: &str = ".kmsfs.new";
/// The configuration's name in it.
pub const CONFIG: &str = "volume.json";
/// The largest configuration that is read, in bytes.
const CONFIG_MAX: u64 = 64 * 1024;

/// An encrypted directory, held by descriptor.
#[derive(Debug)]
pub struct Volume {
    path: PathBuf,
    dir: OwnedFd,
    config: VolumeConfig,
}

impl Volume {
    /// Makes `dir` a volume whose new files are encrypted under `default_key` (a key id, ARN or alias; the caller has
    /// checked that it exists). `dir` is made if it is absent, and must be empty otherwise.
    ///
    /// # Errors
    /// [`VolumeError::AlreadyAVolume`], [`VolumeError::NotEmpty`], [`VolumeError::Io`]; nothing is left half made.
    pub fn init(dir: &Path, default_key: &str, auth: &dyn Authenticator) -> Result<Self, VolumeError> {
        let made = make_empty(dir)?;
        let fill = || {
            // Who is making the same directory a volume just now is waited for.
            let one_at_a_time = File::open(dir).and_then(|dir| {
                rustix::io::retry_on_intr(|| rustix::fs::flock(&dir, FlockOperation::LockExclusive))?;
                Ok(dir)
            });
            let _one_at_a_time = one_at_a_time.map_err(|error| VolumeError::Io(dir.to_owned(), error))?;
            check_empty(dir)?;
            let waiting = dir.join(WAITING);
            // What was killed while it did so has left nothing else.
            let _ = fs::remove_dir_all(&waiting);
            let config = VolumeConfig::new(default_key, auth);
            let filled = fill_reserved(&waiting, &config);
            // The records get their name only when they are whole and on disk.
            let named = filled.and_then(|()| fs::rename(&waiting, dir.join(RESERVED)));
            if let Err(error) = named {
                let _ = fs::remove_dir_all(&waiting);
                return Err(VolumeError::Io(waiting, error));
            }
            sync_dir(dir)?;
            Self::open(dir, auth)
        };
        fill().inspect_err(|_| {
            if made {
                let _ = fs::remove_dir(dir);
            }
        })
    }

    /// Opens the volume `dir`.
    ///
    /// # Errors
    /// As [`VolumeError`] says: not a volume, of a newer format, of another home, altered.
    pub fn open(dir: &Path, auth: &dyn Authenticator) -> Result<Self, VolumeError> {
        let path = fs::canonicalize(dir).map_err(|error| VolumeError::Io(dir.to_owned(), error))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty());
        let fd = fd.map_err(|error| VolumeError::Io(path.clone(), error.into()))?;
        let config = VolumeConfig::parse(&read_config(&path)?, &path)?;
        config.verify(&path, auth)?;
        Ok(Self { path, dir: fd, config })
    }

    /// The volume that `path` lies in, or is, by looking upwards; and the rest of the path within it.
    pub fn find(path: &Path) -> Option<(PathBuf, PathBuf)> {
        let path = fs::canonicalize(path).ok()?;
        let root = path.ancestors().find(|dir| dir.join(RESERVED).join(CONFIG).is_file())?;
        let rest = path.strip_prefix(root).ok()?;
        Some((root.to_owned(), rest.to_owned()))
    }

    /// The volume's id, a UUID.
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// The key of new files in directories that name none: a key id, ARN or alias, as it was given.
    pub fn default_key(&self) -> &str {
        &self.config.default_key
    }

    /// The encrypted directory.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Its absolute path when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of its own records.
    pub fn reserved(&self) -> PathBuf {
        self.path.join(RESERVED)
    }
}

/// Makes the directory, or checks that it is empty; tells whether it was made.
fn make_empty(dir: &Path) -> Result<bool, VolumeError> {
    let io = |error| VolumeError::Io(dir.to_owned(), error);
    match DirBuilder::new().mode(0o777).create(dir) {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
        Err(error) => return Err(io(error)),
    }
    check_empty(dir).map(|()| false)
}

/// Nothing may be in the directory, but for what somebody who was killed here left.
fn check_empty(dir: &Path) -> Result<(), VolumeError> {
    if dir.join(RESERVED).join(CONFIG).exists() {
        return Err(VolumeError::AlreadyAVolume(dir.to_owned()));
    }
    let mut entries = fs::read_dir(dir).map_err(|error| VolumeError::Io(dir.to_owned(), error))?;
    match entries.any(|entry| entry.map_or(true, |entry| entry.file_name() != WAITING)) {
        false => Ok(()),
        true => Err(VolumeError::NotEmpty(dir.to_owned())),
    }
}

fn fill_reserved(reserved: &Path, config: &VolumeConfig) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(reserved)?;
    let path = reserved.join(CONFIG);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(config.to_json().as_bytes())?;
    file.sync_all()?;
    File::open(reserved)?.sync_all()
}

fn read_config(dir: &Path) -> Result<Vec<u8>, VolumeError> {
    let path = dir.join(RESERVED).join(CONFIG);
    let file = match open_regular(OpenOptions::new().read(true), &path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            return Err(VolumeError::Tampered(format!("{}: {error}", path.display())));
        }
        // Who is told that it is no volume looks no further for its files.
        Err(_) if !path.exists() && dir.join(RESERVED).join(lock::NAME).exists() => {
            return Err(VolumeError::Tampered(format!("{} is missing", path.display())));
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(VolumeError::NotAVolume(dir.to_owned()));
        }
        Err(error) => return Err(VolumeError::Io(path, error)),
    };
    let mut bytes = Vec::new();
    file.take(CONFIG_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| VolumeError::Io(path.clone(), error))?;
    if bytes.len() as u64 > CONFIG_MAX {
        return Err(VolumeError::Tampered(format!("{}: larger than {CONFIG_MAX} bytes", path.display())));
    }
    Ok(bytes)
}

/// Opens one of a volume's records. Whoever keeps the ciphertext may have put something else in its place: a pipe would be waited for.
fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

fn sync_dir(dir: &Path) -> Result<(), VolumeError> {
    let sync = || File::open(dir)?.sync_all();
    sync().map_err(|error| VolumeError::Io(dir.to_owned(), error))
}
