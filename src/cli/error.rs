//! Errors for people: what is wrong, and what to do next.

use std::fmt;
use std::io;
use std::path::Path;

use super::exit::{self, Code};
use super::shell::word;
use super::similar::nearest;
use crate::datakey::{DataKeyError, KeyArn, Usability};
use crate::envelope::HeaderError;
use crate::fs::FsError;
use crate::fs::file::FileError;
use crate::fuse::MountError;
use crate::kms::id::AliasName;
use crate::kms::ring::{Keyring, StoreFailure};
use crate::store::HomeError;
use crate::volume::VolumeError;

/// What to do where the key store or the audit log failed; the error itself says where and how.
pub const STORE_FAILED: &str =
    "nothing was done: see that the home can be written and has room, and repeat the command";

/// What to do where the key store does not authenticate.
pub const PUT_BACK: &str =
    "put back a backup of the home: kmsfs home restore FILE; nothing was obeyed or changed";

/// The result of a command.
pub type Result<T> = std::result::Result<T, CliError>;

/// An error of the command line.
#[derive(Debug)]
pub struct CliError {
    /// The exit code.
    pub code: Code,
    what: String,
    hint: Option<String>,
}

impl CliError {
    /// What is wrong, in one line that names the thing.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), hint: None }
    }

    /// What to do next: a command, where there is one.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, about a file: its path comes first.
    pub fn about(self, path: &Path) -> Self {
        Self { what: format!("{}: {}", path.display(), self.what), ..self }
    }

    /// An operating system's error with a path.
    pub fn io(path: &Path, error: &io::Error) -> Self {
        Self::of_system(exit::FAILURE, path, error)
    }

    /// An operating system's error with a path in the home.
    pub fn of_home(path: &Path, error: &io::Error) -> Self {
        let failed = Self::of_system(exit::HOME, path, error);
        match error.kind() {
            io::ErrorKind::NotADirectory => {
                failed.hint(format!("mv {} away: the directory is made anew", word(path)))
            }
            _ => failed,
        }
    }

    /// An operating system's error with a path, and an exit code of its own.
    pub(super) fn of_system(code: Code, path: &Path, error: &io::Error) -> Self {
        Self::new(code, format!("{}: {error}", path.display())).hint(remedy(path, error))
    }
}

/// What helps against an error of the operating system.
fn remedy(path: &Path, error: &io::Error) -> String {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // What could not be made is not there to be looked at.
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(parent);
    let path = word(path);
    match error.kind() {
        io::ErrorKind::NotFound if parent.exists() => format!("ls {} shows what is there", word(parent)),
        io::ErrorKind::NotFound => format!("mkdir -p {}", word(parent)),
        io::ErrorKind::PermissionDenied => {
            format!("ls -ld {path} shows whose it is: run the command as that user")
        }
        io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices => {
            format!("where something is mounted on {path}, name a directory in it")
        }
        io::ErrorKind::NotADirectory => "name a directory".to_owned(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            let left = word(there);
            format!("df {left} shows what is free: make room, and repeat the command")
        }
        io::ErrorKind::TimedOut => {
            "let the process go on that is named, or end it, and repeat the command".to_owned()
        }
        io::ErrorKind::ReadOnlyFilesystem => format!("findmnt -T {path} shows the mount, which is read-only"),
        _ => format!("ls -ld {path} shows what is there"),
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = self.hint.as_deref().unwrap_or(FALLBACK);
        write!(f, "kmsfs: {}\nhint: {}", one_line(&self.what), one_line(hint))
    }
}

/// The hint where nothing better is known.
const FALLBACK: &str = "KMSFS_LOG=debug, set for the same command, shows what led to it";

/// One line, whatever a path or a message brought along: no line break, nothing that moves a terminal's cursor.
pub(super) fn one_line(text: &str) -> String {
    text.trim().replace(|letter: char| letter.is_control(), " ")
}

impl std::error::Error for CliError {}

impl From<HomeError> for CliError {
    fn from(error: HomeError) -> Self {
        let what = error.to_string();
        match error {
            HomeError::NotFound(dir) => Self::new(exit::HOME, what)
                .hint(format!("kmsfs --home {} setup --key-file FILE makes one", word(&dir))),
            HomeError::AlreadyExists(_) => {
                Self::new(exit::HOME, what).hint("use it as it is, or name another directory with --home")
            }
            HomeError::NotEmpty(_) => Self::new(exit::HOME, what).hint("name another directory with --home"),
            HomeError::KeyFileMissing(file) => Self::new(exit::LOCKED, what).hint(format!(
                "put the key file back at {}, or say where a copy is with KMSFS_KEY_FILE; with the recovery code, \
                 kmsfs unlock --recovery-code sets a new slot",
                file.display()
            )),
            HomeError::KeyFileWrong(_) => Self::new(exit::LOCKED, what).hint(
                "put back the key file that the home was made with; if it is that one, the key store was altered: \
                 put back a backup of the home",
            ),
            HomeError::PassphraseMissing(_) => Self::new(exit::LOCKED, what).hint(
                "KMSFS_PASSPHRASE_FILE=FILE, set for the same command, names a file that holds the passphrase",
            ),
            HomeError::PassphraseWrong => Self::new(exit::LOCKED, what).hint(
                "try again; kmsfs unlock --recovery-code sets a new passphrase with the recovery code",
            ),
            HomeError::PassphraseUnsuitable(..) => Self::new(exit::LOCKED, what)
                .hint("give a file with one line of up to 4096 bytes, or - for standard input"),
            HomeError::PassphraseFilePermissions(file, _) => {
                Self::new(exit::LOCKED, what).hint(format!("chmod 600 {}", word(&file)))
            }
            HomeError::RecoveryCodeMissing => {
                Self::new(exit::LOCKED, what).hint("kmsfs unlock --recovery-code sets another slot with it")
            }
            HomeError::NoRecoveryCode => Self::new(exit::LOCKED, what)
                .hint("unlock it with its key file or passphrase; kmsfs slot add --recovery-code then makes one"),
            HomeError::RecoveryCodeWrong => Self::new(exit::LOCKED, what)
                .hint("see that the code is this home's: its check characters fit, so it is typed as it was printed"),
            HomeError::RecoveryCodeInvalid(_) => Self::new(exit::LOCKED, what)
                .hint("type it as it was printed: seven groups of four; upper or lower case, spaces and dashes do not count"),
            HomeError::NoSuchSlot(_) => Self::new(exit::SLOT, what).hint("kmsfs slot list shows the slots"),
            HomeError::LastSlot(id) => Self::new(exit::SLOT, what).hint(format!(
                "kmsfs slot add makes another one first; kmsfs slot change {id} gives this one another secret"
            )),
            HomeError::TooManySlots => Self::new(exit::SLOT, what).hint("kmsfs slot remove N removes one"),
            HomeError::InvalidCost(_) => Self::new(exit::USAGE, what).hint(
                "leave --argon2-memory, --argon2-iterations and --argon2-lanes out: the cost is then measured",
            ),
            HomeError::OutOfMemory(_) => Self::new(exit::FAILURE, what)
                .hint("make room in memory, or unlock with another slot and give this one a lower cost: kmsfs slot change"),
            HomeError::BackupDamaged(..) => {
                Self::new(exit::TAMPERED, what).hint("use another backup; nothing was restored")
            }
            HomeError::BackupExists(_) => Self::new(exit::USAGE, what)
                .hint("name another file, or replace a regular file with --force"),
            HomeError::BackupOfItself(_) => Self::new(exit::USAGE, what)
                .hint("name a file elsewhere, best on another disk: kmsfs home backup FILE"),
            HomeError::Audit(_) => Self::new(exit::HOME, what).hint(STORE_FAILED),
            HomeError::SecretOfAnotherKind => Self::new(exit::FAILURE, what),
            HomeError::KeyFilePermissions(file, _) => {
                Self::new(exit::LOCKED, what).hint(format!("chmod 600 {}", word(&file)))
            }
            HomeError::KeyFileUnsuitable(..) => Self::new(exit::LOCKED, what).hint(
                "put back the key file that the home was made with; for a new home, name a file that does not exist: \
                 it is made with random bytes",
            ),
            HomeError::InvalidSetting { .. } => Self::new(exit::USAGE, what).hint("kmsfs setup --help"),
            HomeError::Corrupted(..) | HomeError::Tampered(_) => Self::new(exit::TAMPERED, what)
                .hint(PUT_BACK),
            HomeError::NewerFormat { .. } => {
                Self::new(exit::NEWER, what).hint("use the version that made it, or a later one")
            }
            HomeError::Busy(_) => {
                Self::new(exit::HOME, what).hint("wait for the other command, and try again")
            }
            HomeError::Io(path, error) => Self::of_system(exit::HOME, &path, &error),
        }
    }
}

impl From<StoreFailure> for CliError {
    fn from(failure: StoreFailure) -> Self {
        let what = failure.to_string();
        match failure {
            StoreFailure::Tampered(what) => HomeError::Tampered(what).into(),
            StoreFailure::Failed(_) => Self::new(exit::HOME, what).hint(STORE_FAILED),
        }
    }
}

impl From<VolumeError> for CliError {
    fn from(error: VolumeError) -> Self {
        let what = error.to_string();
        match error {
            VolumeError::NotAVolume(dir) => Self::new(exit::VOLUME, what)
                .hint(format!("kmsfs init {} --key KEY makes an empty directory one", word(&dir))),
            VolumeError::AlreadyAVolume(dir) => {
                Self::new(exit::VOLUME, what).hint(format!("kmsfs mount {} MOUNTPOINT", word(&dir)))
            }
            VolumeError::NotEmpty(_) => {
                Self::new(exit::VOLUME, what).hint("name an empty directory, mount it, and copy the files in")
            }
            VolumeError::NewerFormat { .. } => {
                Self::new(exit::NEWER, what).hint("use the version that made it, or a later one")
            }
            VolumeError::OtherHome { .. } => Self::new(exit::VOLUME, what).hint(
                "name the home that it was made with (kmsfs --home DIR), or put back a backup of that home (kmsfs --home DIR \
                 home restore FILE); to another home its files are copied, from a mount with one to a mount with the other",
            ),
            VolumeError::Tampered(_) => {
                Self::new(exit::TAMPERED, what).hint("put back a backup of the volume's .kmsfs directory")
            }
            VolumeError::Locked { .. } => Self::new(exit::VOLUME, what)
                .hint("use it there, or end that first: kmsfs umount MOUNTPOINT ends a mount"),
            VolumeError::Io(dir, error)
                if error.kind() == io::ErrorKind::NotFound && dir.parent().is_some_and(Path::exists) =>
            {
                Self::new(exit::VOLUME, what)
                    .hint(format!("kmsfs init {} --key KEY makes one", word(&dir)))
            }
            VolumeError::Io(path, error) => Self::of_system(exit::VOLUME, &path, &error),
        }
    }
}

impl From<DataKeyError> for CliError {
    fn from(error: DataKeyError) -> Self {
        let what = error.to_string();
        match error {
            DataKeyError::NotFound(_) => {
                Self::new(exit::KEY, what).hint("kmsfs keys lists the keys of the home")
            }
            DataKeyError::Unusable(key, usability) => {
                Self::new(exit::KEY, what).hint(back_to_use(&key, usability))
            }
            DataKeyError::Denied(_) => Self::new(exit::KEY, what).hint(
                "kmsfs kms get-key-policy shows who may use a key, and kmsfs kms put-key-policy changes it",
            ),
            DataKeyError::Inauthentic => {
                Self::new(exit::KEY, what).hint("kmsfs keys lists the keys of the home and their states")
            }
            DataKeyError::WrongKind(..) => Self::new(exit::KEY, what).hint(
                "kmsfs kms create-key without --key-spec makes a key for files; kmsfs keys shows the kinds",
            ),
            DataKeyError::Unreachable(_) | DataKeyError::Failed(_) => {
                Self::new(exit::HOME, what).hint(STORE_FAILED)
            }
        }
    }
}

impl CliError {
    /// A key that is not found, with the alias that was meant where one reads almost like it: what every alias begins with is easily left out.
    pub fn no_key(ring: &Keyring, named: &str) -> Self {
        let hint = "kmsfs keys lists the keys of the home";
        let short = |name: &'_ str| name.strip_prefix(AliasName::PREFIX).unwrap_or(name).to_owned();
        let aliases: Vec<_> = ring.aliases().map(|alias| short(alias.name.as_str())).collect();
        let error = Self::from(DataKeyError::NotFound(named.to_owned()));
        match nearest(&short(named), aliases.iter().map(String::as_str)) {
            Some(alias) => error.hint(format!("{hint}; did you mean {}{alias}?", AliasName::PREFIX)),
            None => error,
        }
    }

    /// The key that the filesystem is to use, or why it cannot be.
    pub fn of_key(ring: &Keyring, error: DataKeyError) -> Self {
        match error {
            DataKeyError::NotFound(named) => Self::no_key(ring, &named),
            error => error.into(),
        }
    }
}

/// What makes a key usable again, where something does.
fn back_to_use(key: &KeyArn, usability: Usability) -> String {
    match usability {
        Usability::Disabled => format!("kmsfs kms enable-key --key-id {key}"),
        Usability::PendingDeletion => format!(
            "kmsfs kms cancel-key-deletion --key-id {key}, before its deletion date, then kmsfs kms enable-key; a key that \
             is deleted does not come back"
        ),
        Usability::PendingImport => format!("kmsfs kms describe-key --key-id {key} shows what it waits for"),
        Usability::Denied => {
            format!("kmsfs kms get-key-policy --key-id {key} shows who may use it")
        }
        Usability::Unknown => {
            "kmsfs keys lists the keys of this home; kmsfs --home DIR names another one".to_owned()
        }
        // Whoever asked raced with an enabling.
        Usability::Usable => "repeat the command".to_owned(),
    }
}

impl From<MountError> for CliError {
    fn from(error: MountError) -> Self {
        let what = error.to_string();
        match error {
            MountError::Volume(error) | MountError::Filesystem(FsError::Volume(error)) => error.into(),
            MountError::Filesystem(_) | MountError::Session(_) => Self::new(exit::FAILURE, what),
            MountError::Control(_) => {
                Self::new(exit::HOME, what).hint("the home's run directory must be writable")
            }
            MountError::Refused { .. } => Self::new(exit::FUSE, what)
                .hint("see that the fuse module is loaded and the directory is yours"),
        }
    }
}

/// An error of a file's ciphertext that leaves nothing of it to read.
pub fn of_file(path: &Path, error: &FileError) -> CliError {
    let what = format!("{}: {error}", path.display());
    match error {
        FileError::Io(error) => CliError::io(path, error),
        FileError::Header(HeaderError::NewerVersion(_) | HeaderError::UnknownSuite(_)) => {
            CliError::new(exit::NEWER, what).hint("use the version that made it, or a later one")
        }
        error => CliError::new(exit::DAMAGED, what)
            .hint(error.remedy().unwrap_or("put back a backup of the file's ciphertext")),
    }
}

/// What stands in the way of a file, or of a whole volume, that is opened without a mount; `path` is as it was given.
pub fn of_open(path: &Path, error: FsError) -> CliError {
    match error {
        FsError::Key(DataKeyError::Inauthentic) => {
            CliError::new(exit::DAMAGED, format!("{}: {}", path.display(), DataKeyError::Inauthentic)).hint(
                "the header was altered, or the file is of another volume: --volume-id names one; else put back a backup of \
                 the file's ciphertext",
            )
        }
        FsError::Key(error) => CliError::from(error).about(path),
        FsError::File { error, .. } => of_file(path, &error),
        FsError::Os(errno) => CliError::io(path, &errno.into()),
        FsError::Volume(error) => error.into(),
        error => CliError::new(exit::FAILURE, format!("{}: {error}", path.display())),
    }
}
