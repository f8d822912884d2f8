//! What keeps records, to the key service: it writes one before each answer, and asks what is on record of a key.

use std::fmt;

use super::AuditEvent;
use crate::clock::Timestamp;
use crate::datakey::KeyArn;

/// A record could not be written; what it was about must not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditError(pub String);

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the audit log cannot be written: {}", self.0)
    }
}

impl std::error::Error for AuditError {}

/// What is on record of the use of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyUsage {
    /// The last use that succeeded.
    pub last: Option<LastUse>,
    /// The time of the oldest record that can be looked at, if there is one.
    pub since: Option<Timestamp>,
}

/// A use of a key that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastUse {
    /// The operation's name.
    pub operation: String,
    /// When.
    pub time: Timestamp,
    /// The id of its record.
    pub event_id: String,
    /// The id of the request.
    pub request_id: Option<String>,
}

/// Keeps records. Used from many threads at once.
pub trait AuditLog: Send + Sync {
    /// Writes a record; one that changes a key reaches the disk before this returns.
    ///
    /// # Errors
    /// [`AuditError`]; nothing of the record counts then.
    fn record(&self, event: &AuditEvent<'_>) -> Result<(), AuditError>;

    /// What is on record of the use of `key`.
    ///
    /// # Errors
    /// [`AuditError`] where the records cannot be read.
    fn usage(&self, key: &KeyArn) -> Result<KeyUsage, AuditError>;
}
