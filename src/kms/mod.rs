//! The key service: CMKs, their backing keys and their life cycle, with AWS KMS's operations.
//!
//! It knows nothing of files, of FUSE, of the command line or of how keys are stored: storage is a trait.
