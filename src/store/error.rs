//! Why a home cannot be made or opened.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::slot::Cost;

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
    /// A slot takes a passphrase, and none was given; and what was wrong with the key files, if there are any.
    PassphraseMissing(Option<Box<Self>>),
    /// The passphrase opens no slot.
    PassphraseWrong,
    /// What was given cannot be a passphrase or recovery code: where it came from, and why.
    PassphraseUnsuitable(String, String),
    /// Others than its owner may read the file of a passphrase or recovery code: its mode is given.
    PassphraseFilePermissions(PathBuf, u32),
    /// The home has only recovery codes as slots.
    RecoveryCodeMissing,
    /// The home has no slot that takes a recovery code.
    NoRecoveryCode,
    /// The recovery code opens no slot.
    RecoveryCodeWrong,
    /// What was given is no recovery code, and why.
    RecoveryCodeInvalid(String),
    /// There is no slot of this number.
    NoSuchSlot(i64),
    /// The slot of this number is the last one.
    LastSlot(i64),
    /// The home has as many slots as it can.
    TooManySlots,
    /// A cost that cannot be, and why.
    InvalidCost(String),
    /// There is not as much memory as a slot's cost takes.
    OutOfMemory(Cost),
    /// A slot of one kind cannot be sealed for a secret of another: an error of this program.
    SecretOfAnotherKind,
    /// The file is no backup of a home, or was altered or cut, and how.
    BackupDamaged(PathBuf, String),
    /// There is a file, or something else, where a backup was to be written.
    BackupExists(PathBuf),
    /// A backup was to be written into the home that it is of, or in the place of a key file of it.
    BackupOfItself(PathBuf),
    /// The audit log could not be written, so nothing was done.
    Audit(String),
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
            Self::PassphraseMissing(None) => {
                f.write_str("the home asks for a passphrase, and there is no terminal to ask on")
            }
            Self::PassphraseMissing(Some(why)) => {
                write!(f, "{why}, and there is no terminal to ask for the passphrase on")
            }
            Self::PassphraseWrong => f.write_str("the passphrase does not unlock this home"),
            Self::PassphraseUnsuitable(source, why) => {
                write!(f, "{source} gives no passphrase or recovery code: {why}")
            }
            Self::PassphraseFilePermissions(file, mode) => {
                write!(f, "the file {} is open to others (mode {mode:04o})", file.display())
            }
            Self::RecoveryCodeMissing => f.write_str("only a recovery code unlocks this home"),
            Self::NoRecoveryCode => f.write_str("this home has no slot that a recovery code unlocks"),
            Self::RecoveryCodeWrong => f.write_str("the recovery code does not unlock this home"),
            Self::RecoveryCodeInvalid(why) => f.write_str(why),
            Self::NoSuchSlot(id) => write!(f, "there is no slot {id}"),
            Self::LastSlot(id) => {
                write!(f, "slot {id} is the only one: without it nothing could unlock the home")
            }
            Self::TooManySlots => f.write_str("the home has as many slots as it can have"),
            Self::InvalidCost(why) => write!(f, "a passphrase cannot cost {why}"),
            Self::OutOfMemory(cost) => {
                write!(
                    f,
                    "the passphrase slot takes {} MiB of memory, and that is not there",
                    cost.memory_mib()
                )
            }
            Self::SecretOfAnotherKind => f.write_str("a slot was to be sealed for a secret of another kind"),
            Self::BackupDamaged(file, why) => {
                write!(f, "{} is not a whole backup of a home: {why}", file.display())
            }
            Self::BackupExists(file) => write!(f, "{} is there already", file.display()),
            Self::BackupOfItself(file) => {
                write!(f, "{} is of the home itself, or unlocks it: no backup belongs there", file.display())
            }
            Self::Audit(why) => f.write_str(why),
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
            | Self::PassphraseMissing(_)
            | Self::PassphraseWrong
            | Self::PassphraseUnsuitable(..)
            | Self::PassphraseFilePermissions(..)
            | Self::RecoveryCodeMissing
            | Self::NoRecoveryCode
            | Self::RecoveryCodeWrong
            | Self::RecoveryCodeInvalid(_)
            | Self::NoSuchSlot(_)
            | Self::LastSlot(_)
            | Self::TooManySlots
            | Self::InvalidCost(_)
            | Self::OutOfMemory(_)
            | Self::SecretOfAnotherKind
            | Self::BackupDamaged(..)
            | Self::BackupExists(_)
            | Self::BackupOfItself(_)
            | Self::Audit(_)
            | Self::InvalidSetting { .. }
            | Self::Corrupted(..)
            | Self::Tampered(_)
            | Self::NewerFormat { .. }
            | Self::Busy(_) => None,
        }
    }
}
