//! The only place where the filesystem and a key service meet.
//!
//! The filesystem asks [`DataKeys`] for data keys and for the state of a CMK, and knows nothing else of a KMS: not
//! where it runs, not how it stores keys. The embedded KMS implements it, and so can a remote one.

use std::fmt;

use crate::context::EncryptionContext;
use crate::crypto::{KEY_LEN, Secret};

/// A data key: what the content keys of one file are derived from.
pub type DataKey = Secret<KEY_LEN>;

/// Bytes of a key material id (64 hex digits in text).
pub const MATERIAL_ID_LEN: usize = 32;

/// The ARN of a CMK: `arn:aws:kms:REGION:ACCOUNT:key/ID`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyArn(String);

impl KeyArn {
    /// Takes a text over as it is; whether such a key exists is the key service's to say.
    pub fn new(arn: impl Into<String>) -> Self {
        Self(arn.into())
    }

    /// The ARN as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The region in it.
    pub fn region(&self) -> Option<&str> {
        self.0.split(':').nth(3)
    }

    /// The key's id in it: what follows the last slash.
    pub fn id(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for KeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A data key as a file's header keeps it: which CMK, which version of its backing key, and the wrapped bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedDataKey {
    /// The CMK.
    pub key: KeyArn,
    /// The version of its backing key, from 1; for people, the blob itself says which material opens it.
    pub version: u32,
    /// The id of that backing key.
    pub material_id: [u8; MATERIAL_ID_LEN],
    /// What the key service answered; opaque here.
    pub blob: Vec<u8>,
}

/// Who asks, and for which file: what policies decide on and what the audit log records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// User id of the process that opened the file.
    pub uid: u32,
    /// Its process id; 0 where the kernel does not tell.
    pub pid: u32,
    /// The volume's id.
    pub volume: String,
    /// The file's path within the volume, as far as it is known.
    pub path: String,
}

/// What a CMK permits now, as far as files are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Usability {
    /// Its files can be read and written.
    Usable,
    /// It is disabled: `ENOKEY`.
    Disabled,
    /// It is pending deletion, or deleted: `EKEYREVOKED`.
    PendingDeletion,
    /// Its imported material expired or was deleted: `EKEYEXPIRED`.
    PendingImport,
    /// Nobody who can ask may use it, as its policy and grants are: `EACCES`.
    Denied,
    /// No such key is known and none was deleted: `ENOKEY`.
    Unknown,
}

/// Why a data key was not given. The filesystem turns it into an errno in one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataKeyError {
    /// The CMK cannot be used in its state; never [`Usability::Usable`].
    Unusable(KeyArn, Usability),
    /// The key's policy or grants do not allow this principal.
    Denied(String),
    /// The wrapped key does not open: altered, or of another file.
    Inauthentic,
    /// A remote KMS does not answer and the lease has run out.
    Unreachable(String),
    /// The named key or alias does not exist.
    NotFound(String),
    /// The CMK is of a kind that no file can have: which one.
    WrongKind(KeyArn, String),
    /// The key store or the audit log failed; nothing was given.
    Failed(String),
}

impl fmt::Display for DataKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(key, Usability::Disabled) => write!(f, "{key} is disabled"),
            Self::Unusable(key, Usability::PendingDeletion) => {
                write!(f, "{key} is pending deletion or deleted")
            }
            Self::Unusable(key, Usability::Denied) => {
                write!(f, "the policy and the grants of {key} let nobody here use it")
            }
            Self::Unusable(key, Usability::PendingImport) => write!(f, "{key} is pending import"),
            Self::Unusable(key, Usability::Unknown | Usability::Usable) => {
                write!(f, "{key} is not known here")
            }
            Self::Denied(why) => write!(f, "access denied: {why}"),
            Self::Inauthentic => f.write_str("the wrapped data key does not authenticate"),
            Self::Unreachable(why) => write!(f, "the key service does not answer: {why}"),
            Self::NotFound(name) => write!(f, "key {name:?} is not found"),
            Self::WrongKind(key, kind) => {
                write!(f, "{key} is a key of {kind}, and files take symmetric keys for encryption")
            }
            Self::Failed(why) => write!(f, "the key service failed: {why}"),
        }
    }
}

impl std::error::Error for DataKeyError {}

/// What a mount or a command found or did that the owner of a key must be able to learn of later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incident {
    /// The ciphertext is not what was written: what is wrong, and where in the file.
    Damaged(String),
    /// A file that a mount left half written was made whole.
    Recovered,
    /// A file was repaired: what was done to it.
    Repaired(String),
}

/// A source of data keys. Implementations are used from many threads at once.
///
/// Each call that answers a data key has been recorded in the audit log before it returns (rule AUD-1).
pub trait DataKeys: Send + Sync {
    /// Resolves a key id, ARN, alias or alias ARN to the ARN of an existing CMK that files can have, whatever its state.
    ///
    /// # Errors
    /// [`DataKeyError::NotFound`], [`DataKeyError::WrongKind`], [`DataKeyError::Failed`].
    fn resolve(&self, key: &str) -> Result<KeyArn, DataKeyError>;

    /// The CMK that `key` names, by what was last read of the key store, without looking whether that has changed: a hint, which
    /// what [`DataKeys::generate`] answers then confirms or not. `None` where it is not known.
    fn last_known(&self, key: &str) -> Option<KeyArn>;

    /// Makes a data key and wraps it under the CMK that `key` names (id, ARN or alias), newest backing key.
    ///
    /// # Errors
    /// As [`DataKeyError`] says; nothing is given then.
    fn generate(
        &self,
        asker: &Asker,
        key: &str,
        context: &EncryptionContext,
    ) -> Result<(DataKey, WrappedDataKey), DataKeyError>;

    /// Opens a wrapped data key.
    ///
    /// # Errors
    /// As [`DataKeyError`] says; nothing is given then.
    fn unwrap(
        &self,
        asker: &Asker,
        wrapped: &WrappedDataKey,
        context: &EncryptionContext,
    ) -> Result<DataKey, DataKeyError>;

    /// Checks and records an open that a data key still in memory serves: the same checks of state and policy and
    /// the same audit record as [`DataKeys::unwrap`] (rule AUD-2), without opening the blob again.
    ///
    /// # Errors
    /// As [`DataKeyError`] says; the open must then be refused.
    fn reuse(
        &self,
        asker: &Asker,
        wrapped: &WrappedDataKey,
        context: &EncryptionContext,
    ) -> Result<(), DataKeyError>;

    /// Wraps the same data key under `to` (or the same CMK where it is `None`), newest backing key.
    ///
    /// # Errors
    /// As [`DataKeyError`] says.
    fn rewrap(
        &self,
        asker: &Asker,
        wrapped: &WrappedDataKey,
        context: &EncryptionContext,
        to: Option<&str>,
    ) -> Result<WrappedDataKey, DataKeyError>;

    /// Records what happened to a file of `volume` under `key`. Nothing is given for it, so a record that cannot be written is
    /// logged and no error.
    fn report(&self, volume: &str, path: &str, key: Option<&KeyArn>, incident: &Incident);

    /// Has the key service do what dates have brought (a rotation, a deletion, an expiry), also where no key is in use.
    ///
    /// # Errors
    /// [`DataKeyError::Failed`]: it is tried again at the next use.
    fn keep_time(&self) -> Result<(), DataKeyError>;

    /// What `key` permits now. Not recorded.
    ///
    /// # Errors
    /// [`DataKeyError::Failed`] when the state cannot be read, [`DataKeyError::Unreachable`].
    fn state(&self, key: &KeyArn) -> Result<Usability, DataKeyError>;
}

/// Authenticates what a volume keeps in the clear (its configuration, the default keys of its directories) with a key
/// that only the key service's owner has.
pub trait Authenticator: Send + Sync {
    /// A MAC over `message` for `purpose`; two purposes never share a key.
    fn mac(&self, purpose: &str, message: &[u8]) -> [u8; 32];

    /// What the MACs come from, as text that a volume remembers: another home answers another identity.
    fn identity(&self) -> String;
}
