//! AES-256-GCM for keys: small plaintexts, sealed one at a time, in an allocation of their own.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce as GcmNonce};
use zeroize::Zeroizing;

use super::{AuthenticationFailed, KEY_LEN, NONCE_LEN, Secret, TAG_LEN, rng};

/// Bytes that [`seal`] adds: the nonce in front, the tag behind.
pub const OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// Seals `plaintext` under a fresh random nonce: `nonce (12) | ciphertext | tag (16)`.
pub fn seal(key: &Secret<KEY_LEN>, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let nonce = rng::nonce();
    let sealed = cipher(key)
        .encrypt(&GcmNonce::from(nonce), Payload { msg: plaintext, aad })
        .expect("a key blob is far below the message limit of AES-GCM");
    let mut out = Vec::with_capacity(plaintext.len() + OVERHEAD);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&sealed);
    out
}

/// Opens what [`seal`] made. The plaintext is wiped when it is dropped.
///
/// # Errors
/// [`AuthenticationFailed`] for any other key, associated data or byte, and for a blob that is too short.
pub fn open(
    key: &Secret<KEY_LEN>,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AuthenticationFailed> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(AuthenticationFailed)?;
    cipher(key)
        .decrypt(&GcmNonce::from(*nonce), Payload { msg: body, aad })
        .map(Zeroizing::new)
        .map_err(|_| AuthenticationFailed)
}

fn cipher(key: &Secret<KEY_LEN>) -> Aes256Gcm {
    Aes256Gcm::new(key.expose().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_refused() {
        let key = Secret::random();
        let sealed = seal(&key, b"aad", b"data key");
        assert_eq!(open(&key, b"aad", &sealed).unwrap().as_slice(), b"data key");
        assert_eq!(open(&key, b"axd", &sealed), Err(AuthenticationFailed));
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&key, b"aad", &altered), Err(AuthenticationFailed), "bit {bit}");
        }
    }

    #[test]
    fn every_shortened_blob_is_refused() {
        let key = Secret::random();
        let sealed = seal(&key, b"", b"data key");
        for len in 0..sealed.len() {
            assert_eq!(open(&key, b"", &sealed[..len]), Err(AuthenticationFailed), "{len} bytes");
        }
    }
}
