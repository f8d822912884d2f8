//! Every reason why a request fails, and the one table that turns it into an errno.
//!
//! Arguable choices are commented at their line. Each error also knows how loudly it is logged: what a program
//! provokes in its daily work is not news, what says that data is damaged is.

use std::fmt;
use std::io;

use log::Level;
use rustix::io::Errno;

use crate::datakey::{DataKeyError, Usability};
use crate::envelope::HeaderError;
use crate::fs::file::FileError;
use crate::volume::VolumeError;

/// Why a request is refused or failed.
#[derive(Debug)]
pub enum FsError {
    /// The backing directory's own answer, passed on.
    Os(Errno),
    /// The key service gives no data key.
    Key(DataKeyError),
    /// The ciphertext is not what it should be, or cannot be read or written.
    File {
        /// The file's path within the volume, as far as it is known.
        path: String,
        /// What was found.
        error: FileError,
    },
    /// The volume's own records (a directory's default key, the list of dirty files) are damaged or cannot be written.
    Volume(VolumeError),
    /// The kernel named an inode or a handle that does not exist, or the backing file was replaced from outside.
    Stale,
    /// `.kmsfs` at the root, where something was to be made or moved.
    Reserved,
    /// A virtual extended attribute that cannot be set or removed there.
    ReadOnlyAttribute,
    /// The mount is read-only.
    ReadOnlyMount,
    /// The file cannot be changed so now, and why: somebody uses it, or the mount ends.
    Busy(String),
    /// A combination of arguments that means nothing.
    Invalid,
    /// Not supported by this filesystem.
    Unsupported,
}

/// The result of a request.
pub type Result<T> = std::result::Result<T, FsError>;

impl FsError {
    /// The errno that the calling program sees.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Os(errno) => *errno,
            Self::Key(error) => key_errno(error),
            Self::File { error, .. } => file_errno(error),
            Self::Volume(error) => volume_errno(error),
            Self::Stale => Errno::STALE,
            // The name cannot be had, whoever asks: not a matter of permission bits.
            Self::Reserved => Errno::PERM,
            // As Linux answers for trusted.* without privilege: the operation is not permitted.
            Self::ReadOnlyAttribute => Errno::PERM,
            Self::ReadOnlyMount => Errno::ROFS,
            Self::Busy(_) => Errno::BUSY,
            Self::Invalid => Errno::INVAL,
            Self::Unsupported => Errno::OPNOTSUPP,
        }
    }

    /// How loudly it is logged.
    pub fn level(&self) -> Level {
        match self {
            Self::Os(_) | Self::Stale | Self::Reserved | Self::ReadOnlyAttribute => Level::Debug,
            Self::ReadOnlyMount | Self::Busy(_) | Self::Invalid | Self::Unsupported => Level::Debug,
            Self::Key(DataKeyError::Inauthentic | DataKeyError::Failed(_)) => Level::Error,
            Self::Key(
                DataKeyError::Unusable(..)
                | DataKeyError::Denied(_)
                | DataKeyError::Unreachable(_)
                | DataKeyError::NotFound(_)
                | DataKeyError::WrongKind(..),
            ) => Level::Info,
            Self::File { .. } | Self::Volume(_) => Level::Error,
        }
    }
}

/// What a key's state or its service's answer means to a program.
fn key_errno(error: &DataKeyError) -> Errno {
    match error {
        DataKeyError::Unusable(_, usability) => usability_errno(*usability),
        DataKeyError::Denied(_) => Errno::ACCESS,
        DataKeyError::Inauthentic => Errno::IO,
        DataKeyError::Unreachable(_) => Errno::REMOTEIO,
        // The directory's default key does not exist: "Required key not available".
        DataKeyError::NotFound(_) => Errno::NOKEY,
        // It never will.
        DataKeyError::WrongKind(..) => Errno::INVAL,
        DataKeyError::Failed(_) => Errno::IO,
    }
}

/// What is wrong with a volume's own records, to a program.
fn volume_errno(error: &VolumeError) -> Errno {
    match error {
        VolumeError::Io(_, error) => os_errno(error),
        VolumeError::NotAVolume(_)
        | VolumeError::AlreadyAVolume(_)
        | VolumeError::NotEmpty(_)
        | VolumeError::NewerFormat { .. }
        | VolumeError::OtherHome { .. }
        | VolumeError::Tampered(_)
        | VolumeError::Locked { .. } => Errno::IO,
    }
}

/// What damage, or a full disk, means to a program.
fn file_errno(error: &FileError) -> Errno {
    match error {
        FileError::Io(error) => os_errno(error),
        FileError::TooLarge => Errno::FBIG,
        // The backing file can be read and not written: the mode bits promised more than the mount's process may.
        FileError::ReadOnly => Errno::ACCESS,
        FileError::Header(HeaderError::WrapTooLong(_)) => Errno::NAMETOOLONG,
        FileError::Empty
        | FileError::Header(
            HeaderError::Empty
            | HeaderError::NotAHeader
            | HeaderError::NewerVersion(_)
            | HeaderError::UnknownSuite(_)
            | HeaderError::Malformed(_)
            | HeaderError::Inauthentic,
        )
        | FileError::Sector(..)
        | FileError::Chunk(_)
        | FileError::Unsettled(_)
        | FileError::ChunkLength { .. }
        | FileError::Length { .. }
        | FileError::Root => Errno::IO,
    }
}

/// The errno of a CMK that cannot be used.
pub fn usability_errno(usability: Usability) -> Errno {
    match usability {
        Usability::Disabled => Errno::NOKEY,
        Usability::PendingDeletion => Errno::KEYREVOKED,
        Usability::PendingImport => Errno::KEYEXPIRED,
        // As for one who may not, where others may.
        Usability::Denied => Errno::ACCESS,
        // A file of another home, or a key whose tombstone is gone as well.
        Usability::Unknown => Errno::NOKEY,
        // Not an error; whoever asks raced with an enabling, and asking again will do.
        Usability::Usable => Errno::AGAIN,
    }
}

fn os_errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

impl From<Errno> for FsError {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

impl From<io::Error> for FsError {
    fn from(error: io::Error) -> Self {
        Self::Os(os_errno(&error))
    }
}

impl From<DataKeyError> for FsError {
    fn from(error: DataKeyError) -> Self {
        Self::Key(error)
    }
}

impl From<VolumeError> for FsError {
    fn from(error: VolumeError) -> Self {
        Self::Volume(error)
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(errno) => write!(f, "{errno}"),
            Self::Key(error) => write!(f, "{error}"),
            Self::File { path, error } => {
                write!(f, "{path}: {error}")?;
                error.remedy().map_or(Ok(()), |remedy| write!(f, " ({remedy})"))
            }
            Self::Volume(error) => write!(f, "{error}"),
            Self::Stale => f.write_str("no such inode, or it was replaced from outside the mount"),
            Self::Reserved => f.write_str("the name .kmsfs is reserved at the root of a volume"),
            Self::ReadOnlyAttribute => f.write_str("this extended attribute cannot be set or removed here"),
            Self::ReadOnlyMount => f.write_str("the mount is read-only"),
            Self::Busy(why) => f.write_str(why),
            Self::Invalid => f.write_str("invalid argument"),
            Self::Unsupported => f.write_str("not supported"),
        }
    }
}

impl std::error::Error for FsError {}
