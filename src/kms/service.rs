//! The service itself: one door for every operation.

use serde_json::Value;

use super::{AwsError, Caller, KmsError, Operation};
use crate::datakey::KeyArn;

/// What happened to a key that mounts must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyChange {
    /// It can be used again.
    Usable,
    /// It can no longer be used.
    Unusable,
}

/// Is told of changes that take a key's usability away or give it back.
pub trait StateObserver: Send + Sync {
    /// Called when the change is durable, before the operation that made it is answered.
    ///
    /// # Errors
    /// A sentence that names who did not confirm; the caller of the operation gets it. The change stands.
    fn key_changed(&self, key: &KeyArn, change: KeyChange) -> Result<(), String>;
}

/// The key service.
#[derive(Debug)]
pub struct Kms(());

impl Kms {
    /// Carries out `operation` for `caller`. `request` is the operation's JSON as AWS KMS takes it (blobs in base64),
    /// the answer as AWS KMS gives it (times are epoch seconds); `None` for an operation without output.
    ///
    /// # Errors
    /// [`KmsError`], as AWS KMS answers; recorded in the audit log like a success.
    pub fn call(
        &self,
        caller: &Caller,
        operation: Operation,
        request: Value,
    ) -> Result<Option<Value>, KmsError> {
        let _ = (caller, request);
        Err(KmsError::new(
            AwsError::UnsupportedOperation,
            format!("{} is not supported by this version", operation.name()),
        ))
    }
}
