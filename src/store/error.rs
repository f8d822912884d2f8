//! Why a home cannot be made or opened.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a home cannot be made, opened or used. Each variant has one remedy, which the command line names.
#[derive(Debug)]
pub enum HomeError {
    /// There is no home in this directory.
    NotFound(PathBuf),
    /// There is a home already.
    AlreadyExists(PathBuf),
    /// The directory holds something that is not a home.
    NotEmpty(PathBuf),
    /// The key file is not where it was when the home was made.
    KeyFileMissing(PathBuf),
    /// The key file does not unlock this home.
    KeyFileWrong(PathBuf),
    /// Others than its owner may read or write the key file: its mode is given.
    KeyFilePermissions(PathBuf, u32),
    /// The file cannot serve as a key file, and why.
    KeyFileUnsuitable(PathBuf, String),
    /// A setting given to `setup` is out of its range.
    InvalidSetting {
        /// Which one.
        name: &'static str,
        /// What was given.
        found: String,
        /// What is taken.
        expected: &'static str,
    },
    /// The database is not readable as one, and what is wrong.
    Corrupted(PathBuf, String),
    /// The database was changed behind the service's back, and where.
    Tampered(String),
    /// The home was made by a newer version.
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// Another process holds the store for too long.
    Busy(PathBuf),
    /// The operating system refused.
    Io(PathBuf, io::Error),
}

impl fmt::Display for HomeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(dir) => write!(f, "there is no home in {}", dir.display()),
            Self::AlreadyExists(dir) => write!(f, "there is a home in {} already", dir.display()),
            Self::NotEmpty(dir) => write!(f, "{} is not empty and not a home", dir.display()),
            Self::KeyFileMissing(file) => write!(f, "the key file {} is missing", file.display()),
            Self::KeyFileWrong(file) => {
                write!(f, "the key file {} does not unlock this home", file.display())
            }
            Self::KeyFilePermissions(file, mode) => {
                write!(f, "the key file {} is open to others (mode {mode:04o})", file.display())
            }
            Self::KeyFileUnsuitable(file, why) => {
                write!(f, "{} cannot serve as a key file: {why}", file.display())
            }
            Self::InvalidSetting { name, found, expected } => {
                write!(f, "{name} {found:?} is not {expected}")
            }
            Self::Corrupted(file, what) => {
                write!(f, "the key store {} is corrupted: {what}", file.display())
            }
            Self::Tampered(what) => write!(f, "the key store has been tampered with: {what}"),
            Self::NewerFormat { found, supported } => {
                write!(f, "the home has format {found}, this version reads up to {supported}")
            }
            Self::Busy(file) => write!(f, "the key store {} is held by another process", file.display()),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for HomeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            Self::NotFound(_)
            | Self::AlreadyExists(_)
            | Self::NotEmpty(_)
            | Self::KeyFileMissing(_)
            | Self::KeyFileWrong(_)
            | Self::KeyFilePermissions(..)
            | Self::KeyFileUnsuitable(..)
            | Self::InvalidSetting { .. }
            | Self::Corrupted(..)
            | Self::Tampered(_)
            | Self::NewerFormat { .. }
            | Self::Busy(_) => None,
        }
    }
}
