//! What a key operation can fail with: AWS KMS's errors by name, and the failures of the machine below them.
//!
//! One table gives the names that go over the wire. Messages are AWS's own where they are known, so that a script
//! that reads them works with both; errors that carry no message at AWS carry none here.

use std::fmt;

/// An error of AWS KMS (service model `kms/2014-11-01`), by its name on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AwsError {
    /// The principal may not do this, or the ciphertext names a key that it cannot see.
    AccessDenied,
    /// The name is taken.
    AlreadyExists,
    /// Something else is going on with this key.
    Conflict,
    /// No custom key store of that id is known.
    CustomKeyStoreNotFound,
    /// The key is disabled.
    Disabled,
    /// A dry run would have succeeded.
    DryRunOperation,
    /// An import token whose time is over.
    ExpiredImportToken,
    /// The key in the request is not the one that made the ciphertext.
    IncorrectKey,
    /// Key material that is not the one that was imported before, or not of the right length.
    IncorrectKeyMaterial,
    /// An alias name that cannot be.
    InvalidAliasName,
    /// An ARN that cannot be.
    InvalidArn,
    /// A text that can be no grant's id.
    InvalidGrantId,
    /// A text that can be no grant's token.
    InvalidGrantToken,
    /// A ciphertext that does not open. It never says why.
    InvalidCiphertext,
    /// An import token of another key, or no import token at all.
    InvalidImportToken,
    /// The key's usage does not fit the operation.
    InvalidKeyUsage,
    /// A message authentication code that is not that of the message.
    InvalidMac,
    /// A page marker that this service did not give out.
    InvalidMarker,
    /// The service itself failed.
    Internal,
    /// The key's state does not permit the operation.
    InvalidState,
    /// A signature that is not one of the message.
    InvalidSignature,
    /// A quota is used up.
    LimitExceeded,
    /// A key policy that cannot be obeyed, or that would lock out who puts it.
    MalformedPolicyDocument,
    /// The name is reserved.
    NotAuthorized,
    /// No such key, or no such alias.
    NotFound,
    /// The request is not of the right shape.
    Serialization,
    /// Tags that cannot be given.
    Tag,
    /// An operation of that name does not exist.
    UnknownOperation,
    /// The key, or this version, does not support the operation.
    UnsupportedOperation,
    /// A value is out of its range.
    Validation,
}

impl AwsError {
    /// The name on the wire, as in `__type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDeniedException",
            Self::AlreadyExists => "AlreadyExistsException",
            Self::Conflict => "ConflictException",
            Self::CustomKeyStoreNotFound => "CustomKeyStoreNotFoundException",
            Self::Disabled => "DisabledException",
            Self::DryRunOperation => "DryRunOperationException",
            Self::ExpiredImportToken => "ExpiredImportTokenException",
            Self::IncorrectKey => "IncorrectKeyException",
            Self::IncorrectKeyMaterial => "IncorrectKeyMaterialException",
            Self::InvalidAliasName => "InvalidAliasNameException",
            Self::InvalidArn => "InvalidArnException",
            Self::InvalidGrantId => "InvalidGrantIdException",
            Self::InvalidGrantToken => "InvalidGrantTokenException",
            Self::InvalidCiphertext => "InvalidCiphertextException",
            Self::InvalidImportToken => "InvalidImportTokenException",
            Self::InvalidKeyUsage => "InvalidKeyUsageException",
            Self::InvalidMac => "KMSInvalidMacException",
            Self::InvalidMarker => "InvalidMarkerException",
            Self::Internal => "KMSInternalException",
            Self::InvalidState => "KMSInvalidStateException",
            Self::InvalidSignature => "KMSInvalidSignatureException",
            Self::LimitExceeded => "LimitExceededException",
            Self::MalformedPolicyDocument => "MalformedPolicyDocumentException",
            Self::NotAuthorized => "NotAuthorizedException",
            Self::NotFound => "NotFoundException",
            Self::Serialization => "SerializationException",
            Self::Tag => "TagException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::UnsupportedOperation => "UnsupportedOperationException",
            Self::Validation => "ValidationException",
        }
    }
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
