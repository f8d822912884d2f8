//! What can be wrong with a file.

use std::fmt;
use std::io;

use crate::content::sector::{Place, SectorError};
use crate::envelope::HeaderError;

/// Why a file cannot be opened, read or written.
#[derive(Debug)]
pub enum FileError {
    /// The backing file has no byte: a power cut can leave one. It can be removed or replaced.
    Empty,
    /// Neither header slot can be used.
    Header(HeaderError),
    /// A tag or index sector cannot be used.
    Sector(Place, SectorError),
    /// A chunk does not authenticate.
    Chunk(u64),
    /// A clean file holds a chunk in two versions.
    Unsettled(u64),
    /// A chunk has not the length that the file's size gives it.
    ChunkLength {
        /// The chunk.
        chunk: u64,
        /// Its bytes by the file's size.
        expected: usize,
        /// Its bytes by its entry.
        found: usize,
    },
    /// The backing file is not as long as the header says.
    Length {
        /// Bytes by the header.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// The content root is not that of the sectors.
    Root,
    /// Past the largest size of a file.
    TooLarge,
    /// Opened for reading only.
    ReadOnly,
    /// The backing file cannot be read or written.
    Io(io::Error),
}

/// The result of an operation on a file.
pub type Result<T> = std::result::Result<T, FileError>;

impl FileError {
    /// Whether the ciphertext is not what was written; otherwise the storage or the request is at fault.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Header(HeaderError::WrapTooLong(_)) | Self::TooLarge | Self::ReadOnly | Self::Io(_) => {
                false
            }
            Self::Empty
            | Self::Header(
                HeaderError::Empty
                | HeaderError::NotAHeader
                | HeaderError::NewerVersion(_)
                | HeaderError::UnknownSuite(_)
                | HeaderError::Malformed(_)
                | HeaderError::Inauthentic,
            )
            | Self::Sector(..)
            | Self::Chunk(_)
            | Self::Unsettled(_)
            | Self::ChunkLength { .. }
            | Self::Length { .. }
            | Self::Root => true,
        }
    }
}

impl FileError {
    /// What helps, where a command does.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Sector(..) | Self::Unsettled(_) | Self::ChunkLength { .. } | Self::Length { .. } => {
                Some("kmsfs scrub --repair mends what can be mended")
            }
            Self::Chunk(_) => Some("kmsfs decrypt --skip-bad reads the rest of the file"),
            Self::Root => {
                Some("kmsfs decrypt --skip-bad reads it all the same; part of it is of an earlier time")
            }
            Self::Empty => Some("remove the file, or put back a backup of its ciphertext"),
            Self::Header(_) | Self::TooLarge | Self::ReadOnly | Self::Io(_) => None,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the ciphertext has no byte, as after a loss of power"),
            Self::Header(error) => write!(f, "{error}"),
            Self::Sector(Place::Tags(segment, sector), error) => {
                write!(f, "tag sector {sector} of segment {segment} {error}")
            }
            Self::Sector(Place::Index(group, sector), error) => {
                write!(f, "index sector {sector} of group {group} {error}")
            }
            Self::Chunk(chunk) => write!(f, "chunk {chunk} does not authenticate"),
            Self::Unsettled(chunk) => write!(f, "chunk {chunk} of a clean file has two versions"),
            Self::ChunkLength { chunk, expected, found } => {
                write!(f, "chunk {chunk} has {found} bytes, expected {expected}")
            }
            Self::Length { expected, found } => {
                write!(f, "the ciphertext has {found} bytes, expected {expected}")
            }
            Self::Root => f.write_str("the content root is not that of the file's tags"),
            Self::TooLarge => f.write_str("the file would be larger than 16 TiB"),
            Self::ReadOnly => f.write_str("the file is open for reading only"),
            Self::Io(error) => write!(f, "the ciphertext cannot be read or written: {error}"),
        }
    }
}

impl std::error::Error for FileError {}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for FileError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl From<HeaderError> for FileError {
    fn from(error: HeaderError) -> Self {
        Self::Header(error)
    }
}
