//! What can be wrong with a volume.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a volume cannot be made or used.
#[derive(Debug)]
pub enum VolumeError {
    /// The directory is none.
    NotAVolume(PathBuf),
    /// The directory is one already.
    AlreadyAVolume(PathBuf),
    /// A new volume's directory holds something.
    NotEmpty(PathBuf),
    /// It was made by a later kmsfs.
    NewerFormat {
        /// The volume.
        dir: PathBuf,
        /// Its format.
        found: u64,
        /// The latest format known here.
        supported: u64,
    },
    /// Its keys are in another home.
    OtherHome {
        /// The volume.
        dir: PathBuf,
        /// The identity of the home that it was made with.
        theirs: String,
        /// The identity of the home in use.
        ours: String,
    },
    /// Its records were altered, or are not what they should be.
    Tampered(String),
    /// It is mounted for writing already, or a command repairs its files.
    Locked {
        /// The volume.
        dir: PathBuf,
        /// By whom, as the lock file says: process id, and mount point or command.
        holder: String,
    },
    /// A file of its records, or the directory, cannot be read or written.
    Io(PathBuf, io::Error),
}

impl VolumeError {
    /// Whether there was no room for what was to be written.
    pub fn is_want_of_room(&self) -> bool {
        match self {
            Self::Io(_, error) => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::NotAVolume(_)
            | Self::AlreadyAVolume(_)
            | Self::NotEmpty(_)
            | Self::NewerFormat { .. }
            | Self::OtherHome { .. }
            | Self::Tampered(_)
            | Self::Locked { .. } => false,
        }
    }
}

impl fmt::Display for VolumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAVolume(dir) => write!(f, "{} is not a kmsfs volume", dir.display()),
            Self::AlreadyAVolume(dir) => write!(f, "{} is a kmsfs volume already", dir.display()),
            Self::NotEmpty(dir) => write!(f, "{} is not empty", dir.display()),
            Self::NewerFormat { dir, found, supported } => write!(
                f,
                "{} is a volume of format {found}, and this kmsfs knows formats up to {supported}",
                dir.display()
            ),
            Self::OtherHome { dir, theirs, ours } => {
                write!(f, "{} belongs to the home {theirs}, and this is the home {ours}", dir.display())
            }
            Self::Tampered(what) => write!(f, "the volume's records were altered: {what}"),
            Self::Locked { dir, holder } => write!(f, "{} is in use already ({holder})", dir.display()),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for VolumeError {}
