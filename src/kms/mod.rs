//! The key service: CMKs, their backing keys and their life cycle, with AWS KMS's operations.
//!
//! It knows nothing of files' content, of FUSE, of the command line or of how keys are stored: storage is a trait
//! ([`ring::KeyStore`]), and so is the audit log ([`audit::AuditLog`]). Every operation goes through one door,
//! [`Kms::call`]; data keys of files go through [`files::FileKeys`], which obeys the same tables.

pub mod access;
pub mod alarm;
mod api;
pub mod audit;
pub mod caller;
pub mod ciphertext;
pub mod clock;
pub mod clock_guard;
pub mod credential;
pub mod due;
pub mod error;
pub mod fields;
pub mod files;
pub mod grant;
pub mod id;
pub mod import;
pub mod key;
pub mod material;
pub mod operation;
pub mod page;
pub mod policy;
pub mod reference;
pub mod related;
pub mod ring;
pub mod service;
pub mod spec;
pub mod state;
pub mod uses;
pub mod volume;

pub use caller::{Caller, Client, Tls, Via};
pub use due::ServiceEvent;
pub use error::{AwsError, Cause, KmsError};
pub use operation::Operation;
pub use service::{KeyChange, Kms, StateObserver};
pub use spec::{KeyKind, KeySpec, KeyUsage};
