//! AES-256-GCM for file content: keys prepared once, no allocation per call.
//!
//! Two libraries, of which the faster one on this processor is used. AWS-LC has code for AVX-512 and without it falls back to
//! AES-NI; ring has code for the 256-bit vector instructions (VAES, VPCLMULQDQ) of processors that lack AVX-512, such as AMD's
//! before Zen 4. There, 4 KiB at a time: AWS-LC 1.19 3.5 GB/s, ring 0.17 6.3 GB/s (docs/PERFORMANCE.md).

use std::sync::LazyLock;

use aws_lc_rs::aead as lc;
use ring::aead as ring;

use super::{AuthenticationFailed, KEY_LEN, Nonce, Secret, TAG_LEN, Tag};
use crate::sys::Wiped;

/// Whether ring has the faster code for this processor.
static RING_IS_FASTER: LazyLock<bool> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("vaes")
        && std::arch::is_x86_feature_detected!("vpclmulqdq")
        && std::arch::is_x86_feature_detected!("avx2")
        && !std::arch::is_x86_feature_detected!("avx512vl");
    #[cfg(not(target_arch = "x86_64"))]
    false
});

/// A prepared AES-256-GCM key. The caller chooses nonces and must never use one twice under one key.
pub struct ContentKey(Cipher);

enum Cipher {
    /// AWS-LC wipes its key schedule on drop.
    AwsLc(lc::LessSafeKey),
    /// ring does not.
    Ring(Wiped<ring::LessSafeKey>),
}

impl ContentKey {
    /// Prepares `key`.
    pub fn new(key: &Secret<KEY_LEN>) -> Self {
        Self(if *RING_IS_FASTER { Cipher::ring(key) } else { Cipher::aws_lc(key) })
    }

    /// Encrypts `plaintext` into `ciphertext`, which must have the same length, and answers the tag.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn seal(&self, nonce: &Nonce, aad: &[u8], plaintext: &[u8], ciphertext: &mut [u8]) -> Tag {
        let mut tag = [0; TAG_LEN];
        match &self.0 {
            Cipher::AwsLc(key) => key
                .seal_out_of_place_scatter(
                    lc_nonce(nonce),
                    lc::Aad::from(aad),
                    plaintext,
                    ciphertext,
                    &[],
                    &mut tag,
                )
                .expect("input and output have one length, below the limit of AES-GCM"),
            Cipher::Ring(key) => {
                ciphertext.copy_from_slice(plaintext);
                let sealed =
                    key.seal_in_place_separate_tag(ring_nonce(nonce), ring::Aad::from(aad), ciphertext);
                tag.copy_from_slice(sealed.expect("a chunk is below the limit of AES-GCM").as_ref());
            }
        }
        tag
    }

    /// Decrypts `ciphertext` into `plaintext`, which must have the same length.
    ///
    /// # Errors
    /// [`AuthenticationFailed`]; `plaintext` must then be taken as undefined and not be used.
    pub fn open(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        ciphertext: &[u8],
        tag: &Tag,
        plaintext: &mut [u8],
    ) -> Result<(), AuthenticationFailed> {
        match &self.0 {
            Cipher::AwsLc(key) => key
                .open_separate_gather(lc_nonce(nonce), lc::Aad::from(aad), ciphertext, tag, plaintext)
                .map_err(|_| AuthenticationFailed),
            Cipher::Ring(_) => {
                plaintext.copy_from_slice(ciphertext);
                self.open_in_place(nonce, aad, plaintext, tag)
            }
        }
    }

    /// Decrypts `data` in place.
    ///
    /// # Errors
    /// [`AuthenticationFailed`]; `data` must then be taken as undefined and not be used.
    pub fn open_in_place(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        data: &mut [u8],
        tag: &Tag,
    ) -> Result<(), AuthenticationFailed> {
        let opened = match &self.0 {
            Cipher::AwsLc(key) => {
                key.open_in_place_separate_tag(lc_nonce(nonce), lc::Aad::from(aad), tag, data).is_ok()
            }
            Cipher::Ring(key) => key
                .open_in_place_separate_tag(
                    ring_nonce(nonce),
                    ring::Aad::from(aad),
                    ring::Tag::from(*tag),
                    data,
                    0..,
                )
                .is_ok(),
        };
        if opened { Ok(()) } else { Err(AuthenticationFailed) }
    }
}

impl Cipher {
    fn aws_lc(key: &Secret<KEY_LEN>) -> Self {
        let key = lc::UnboundKey::new(&lc::AES_256_GCM, key.expose()).expect("the key has 256 bits");
        Self::AwsLc(lc::LessSafeKey::new(key))
    }

    fn ring(key: &Secret<KEY_LEN>) -> Self {
        let key = ring::UnboundKey::new(&ring::AES_256_GCM, key.expose()).expect("the key has 256 bits");
        Self::Ring(Wiped::new(ring::LessSafeKey::new(key)))
    }
}

fn lc_nonce(nonce: &Nonce) -> lc::Nonce {
    lc::Nonce::assume_unique_for_key(*nonce)
}

fn ring_nonce(nonce: &Nonce) -> ring::Nonce {
    ring::Nonce::assume_unique_for_key(*nonce)
}

impl std::fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{NONCE_LEN, aead, rng};

    /// What the content cipher seals, the key cipher opens, and the other way round, in place and not, for both libraries
    /// and lengths around a block and a chunk.
    #[test]
    fn both_libraries_agree_with_the_key_cipher_in_both_directions() {
        let secret = Secret::random();
        for key in [ContentKey(Cipher::aws_lc(&secret)), ContentKey(Cipher::ring(&secret))] {
            for len in [0usize, 1, 15, 16, 17, 474, 4095, 4096] {
                let mut plaintext = vec![0; len];
                rng::fill(&mut plaintext);
                let nonce = rng::nonce();
                let mut ciphertext = vec![0; len];
                let tag = key.seal(&nonce, b"aad", &plaintext, &mut ciphertext);
                let joined = [nonce.as_slice(), &ciphertext, &tag].concat();
                assert_eq!(aead::open(&secret, b"aad", &joined).unwrap().as_slice(), plaintext);

                let sealed = aead::seal(&secret, b"aad", &plaintext);
                let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().unwrap();
                let (body, tag) = body.split_last_chunk::<TAG_LEN>().unwrap();
                let mut opened = vec![0; len];
                key.open(nonce, b"aad", body, tag, &mut opened).unwrap();
                assert_eq!(opened, plaintext);
                let mut in_place = body.to_vec();
                key.open_in_place(nonce, b"aad", &mut in_place, tag).unwrap();
                assert_eq!(in_place, plaintext);
            }
        }
    }

    #[test]
    fn another_nonce_aad_or_tag_is_refused_by_both_libraries() {
        let secret = Secret::random();
        for key in [ContentKey(Cipher::aws_lc(&secret)), ContentKey(Cipher::ring(&secret))] {
            refuses_another_nonce_aad_or_tag(&key);
        }
    }

    fn refuses_another_nonce_aad_or_tag(key: &ContentKey) {
        let nonce = rng::nonce();
        let mut ciphertext = [0; 5];
        let tag = key.seal(&nonce, b"aad", b"hello", &mut ciphertext);
        let mut out = [0; 5];
        assert!(key.open(&rng::nonce(), b"aad", &ciphertext, &tag, &mut out).is_err());
        assert!(key.open(&nonce, b"aaD", &ciphertext, &tag, &mut out).is_err());
        assert!(key.open(&nonce, b"aad", &ciphertext, &[0; 16], &mut out).is_err());
        assert!(key.open(&nonce, b"aad", &ciphertext, &tag, &mut out).is_ok());
    }
}
