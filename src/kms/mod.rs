//! The key service: CMKs, their backing keys and their life cycle, with AWS KMS's operations.
//!
//! It knows nothing of files, of FUSE, of the command line or of how keys are stored: storage is a trait.

pub mod caller;
pub mod error;
pub mod operation;
pub mod service;

pub use caller::{Caller, Via};
pub use error::{AwsError, Cause, KmsError};
pub use operation::Operation;
pub use service::{KeyChange, Kms, StateObserver};
