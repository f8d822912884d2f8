//! Wrapping under a backing key: a fresh wrapping key per wrap, then AES-256-GCM.
//!
//! AES-GCM with random nonces allows 2^32 messages under one key. Deriving a key for each wrap from a 128-bit
//! random salt lifts that limit, as AWS KMS does (AWS KMS Cryptographic Details, "Encrypt"; Campagna and Gueron,
//! "Key Management Systems at the Cloud Scale", Cryptography 2019, 3(3), 23).
//!
//! ```text
//! salt (16) | nonce (12) | ciphertext (length of the plaintext) | tag (16)
//! ```

use zeroize::Zeroizing;

use super::{AuthenticationFailed, KEY_LEN, Secret, aead, kdf, rng};

/// Bytes of the random salt in front of a wrap.
pub const SALT_LEN: usize = 16;
/// Bytes that a wrap adds to its plaintext.
pub const OVERHEAD: usize = SALT_LEN + aead::OVERHEAD;

/// Wraps `plaintext` under `backing_key`. `info` names the purpose and the key (label, key id, material id), `aad`
/// is authenticated with the plaintext.
pub fn wrap(backing_key: &Secret<KEY_LEN>, info: &[&[u8]], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let salt: [u8; SALT_LEN] = rng::bytes();
    let key = kdf::derive(backing_key.expose(), &salt, info);
    let mut out = salt.to_vec();
    out.extend_from_slice(&aead::seal(&key, aad, plaintext));
    out
}

/// Opens what [`wrap`] made.
///
/// # Errors
/// [`AuthenticationFailed`] for another backing key, info, associated data, or any altered byte.
pub fn unwrap(
    backing_key: &Secret<KEY_LEN>,
    info: &[&[u8]],
    aad: &[u8],
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AuthenticationFailed> {
    let (salt, sealed) = wrapped.split_first_chunk::<SALT_LEN>().ok_or(AuthenticationFailed)?;
    let key = kdf::derive(backing_key.expose(), salt, info);
    aead::open(&key, aad, sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrap_opens_only_under_its_key_info_and_aad() {
        let key = Secret::random();
        let wrapped = wrap(&key, &[b"label", b"id"], b"context", b"data key");
        assert_eq!(wrapped.len(), 8 + OVERHEAD);
        assert_eq!(unwrap(&key, &[b"label", b"id"], b"context", &wrapped).unwrap().as_slice(), b"data key");
        assert!(unwrap(&Secret::random(), &[b"label", b"id"], b"context", &wrapped).is_err());
        assert!(unwrap(&key, &[b"label", b"ie"], b"context", &wrapped).is_err());
        assert!(unwrap(&key, &[b"label", b"id"], b"contexu", &wrapped).is_err());
        for len in 0..wrapped.len() {
            assert!(unwrap(&key, &[b"label", b"id"], b"context", &wrapped[..len]).is_err());
        }
    }
}
