//! Ciphers, key derivation, randomness and the type that holds a secret.
//!
//! This is the only module that imports cipher crates. It owns no policy: what is sealed under which key, and
//! with which associated data, is decided by its callers. It knows nothing of files, keys' life cycles or I/O.
//!
//! Two implementations of AES-256-GCM are used: [`aead`] (RustCrypto) seals and wraps keys, [`content`]
//! (AWS-LC) encrypts file content, where throughput counts. Each is checked against the other in tests. So are the two
//! implementations of RSA in [`transport`] and [`oaep`].

pub mod aead;
pub mod agree;
pub mod content;
pub mod hash;
pub mod kdf;
pub mod keywrap;
pub mod mac;
pub mod oaep;
pub mod pair;
pub mod password;
pub mod rng;
mod secret;
pub mod sign;
pub mod transport;
pub mod wrap;

pub use secret::Secret;

use std::fmt;

/// Bytes in an AES-GCM nonce (NIST SP 800-38D, 5.2.1.1: 96 bits).
pub const NONCE_LEN: usize = 12;
/// Bytes in an AES-GCM authentication tag.
pub const TAG_LEN: usize = 16;
/// Bytes in every symmetric key of this project (AES-256).
pub const KEY_LEN: usize = 32;

/// A nonce of AES-GCM.
pub type Nonce = [u8; NONCE_LEN];
/// An authentication tag of AES-GCM.
pub type Tag = [u8; TAG_LEN];

/// Authentication failed: wrong key, altered ciphertext or other associated data. It says no more than that,
/// so that nothing can be learnt from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthenticationFailed;

impl fmt::Display for AuthenticationFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("authentication failed")
    }
}

impl std::error::Error for AuthenticationFailed {}
