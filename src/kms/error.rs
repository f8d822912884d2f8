//! What a key operation can fail with: AWS KMS's errors by name, and the failures of the machine below them.
//!
//! One table gives the names that go over the wire. Messages are AWS's own where they are known, so that a script
//! that reads them works with both; errors that carry no message at AWS carry none here.

use std::fmt;

/// Declares [`AwsError`] together with its names, so that the three lists cannot drift apart.
macro_rules! errors {
    ($($(#[$doc:meta])* $variant:ident: $name:literal,)*) => {
        /// An error of AWS KMS (service model `kms/2014-11-01`), by its name on the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum AwsError {
            $($(#[$doc])* $variant,)*
        }

        impl AwsError {
            /// Every error, in the order of their names here.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name on the wire, as in `__type`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

errors! {
    /// The principal may not do this, or the ciphertext names a key that it cannot see.
    AccessDenied: "AccessDeniedException",
    /// The name is taken.
    AlreadyExists: "AlreadyExistsException",
    /// Something else is going on with this key.
    Conflict: "ConflictException",
    /// No custom key store of that id is known.
    CustomKeyStoreNotFound: "CustomKeyStoreNotFoundException",
    /// The key is disabled.
    Disabled: "DisabledException",
    /// A dry run would have succeeded.
    DryRunOperation: "DryRunOperationException",
    /// An import token whose time is over.
    ExpiredImportToken: "ExpiredImportTokenException",
    /// The key in the request is not the one that made the ciphertext.
    IncorrectKey: "IncorrectKeyException",
    /// Key material that is not the one that was imported before, or not of the right length.
    IncorrectKeyMaterial: "IncorrectKeyMaterialException",
    /// An alias name that cannot be.
    InvalidAliasName: "InvalidAliasNameException",
    /// An ARN that cannot be.
    InvalidArn: "InvalidArnException",
    /// A text that can be no grant's id.
    InvalidGrantId: "InvalidGrantIdException",
    /// A text that can be no grant's token.
    InvalidGrantToken: "InvalidGrantTokenException",
    /// A ciphertext that does not open. It never says why.
    InvalidCiphertext: "InvalidCiphertextException",
    /// An import token of another key, or no import token at all.
    InvalidImportToken: "InvalidImportTokenException",
    /// The key's usage does not fit the operation.
    InvalidKeyUsage: "InvalidKeyUsageException",
    /// A message authentication code that is not that of the message.
    InvalidMac: "KMSInvalidMacException",
    /// A page marker that this service did not give out.
    InvalidMarker: "InvalidMarkerException",
    /// The service itself failed.
    Internal: "KMSInternalException",
    /// The key's state does not permit the operation.
    InvalidState: "KMSInvalidStateException",
    /// A signature that is not one of the message.
    InvalidSignature: "KMSInvalidSignatureException",
    /// A quota is used up.
    LimitExceeded: "LimitExceededException",
    /// A key policy that cannot be obeyed, or that would lock out who puts it.
    MalformedPolicyDocument: "MalformedPolicyDocumentException",
    /// The name is reserved.
    NotAuthorized: "NotAuthorizedException",
    /// No such key, or no such alias.
    NotFound: "NotFoundException",
    /// The request is not of the right shape.
    Serialization: "SerializationException",
    /// Tags that cannot be given.
    Tag: "TagException",
    /// An operation of that name does not exist.
    UnknownOperation: "UnknownOperationException",
    /// The key, or this version, does not support the operation.
    UnsupportedOperation: "UnsupportedOperationException",
    /// A value is out of its range.
    Validation: "ValidationException",
}

/// What lies behind a failure, for those who must tell a refusal from a broken machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The service refused, as AWS KMS would.
    Refused,
    /// The key store could not be read or written.
    Store,
    /// The key store does not authenticate: somebody changed it behind the service's back.
    Tampered,
    /// The audit log could not be written, so nothing was given.
    Audit,
    /// The change is made and durable, but a mount did not confirm that it obeys it.
    Unconfirmed,
}

/// A failed operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsError {
    /// AWS's error.
    pub error: AwsError,
    /// Its message, where it has one.
    pub message: Option<String>,
    /// What lies behind it.
    pub cause: Cause,
}

impl KmsError {
    /// A refusal with a message.
    pub fn new(error: AwsError, message: impl Into<String>) -> Self {
        Self { error, message: Some(message.into()), cause: Cause::Refused }
    }

    /// A refusal that AWS gives without a message.
    pub const fn bare(error: AwsError) -> Self {
        Self { error, message: None, cause: Cause::Refused }
    }

    /// What is wrong, for those to whom AWS's name of it says nothing.
    pub fn words(&self) -> String {
        self.message.clone().unwrap_or_else(|| self.error.name().to_owned())
    }

    /// A failure of what the service stands on.
    pub fn failed(cause: Cause, message: impl Into<String>) -> Self {
        Self { error: AwsError::Internal, message: Some(message.into()), cause }
    }
}

impl fmt::Display for KmsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{}: {message}", self.error.name()),
            None => f.write_str(self.error.name()),
        }
    }
}

impl std::error::Error for KmsError {}
