//! AES-256-GCM for file content: keys prepared once, no allocation and no copy of the data per call.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce as LcNonce, UnboundKey};

use super::{AuthenticationFailed, KEY_LEN, Nonce, Secret, TAG_LEN, Tag};

/// A prepared AES-256-GCM key. The caller chooses nonces and must never use one twice under one key.
pub struct ContentKey(LessSafeKey);

impl ContentKey {
    /// Prepares `key`. AWS-LC wipes its key schedule on drop.
    pub fn new(key: &Secret<KEY_LEN>) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).expect("the key has 256 bits");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts `plaintext` into `ciphertext`, which must have the same length, and answers the tag.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn seal(&self, nonce: &Nonce, aad: &[u8], plaintext: &[u8], ciphertext: &mut [u8]) -> Tag {
        let mut tag = [0; TAG_LEN];
        self.0
            .seal_out_of_place_scatter(lc(nonce), Aad::from(aad), plaintext, ciphertext, &[], &mut tag)
            .expect("input and output have one length, below the limit of AES-GCM");
        tag
    }

    /// Encrypts `data` in place and answers the tag.
    pub fn seal_in_place(&self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Tag {
        let tag = self
            .0
            .seal_in_place_separate_tag(lc(nonce), Aad::from(aad), data)
            .expect("a chunk is below the limit of AES-GCM");
        tag.as_ref().try_into().expect("a tag of AES-GCM has 16 bytes")
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
        self.0
            .open_separate_gather(lc(nonce), Aad::from(aad), ciphertext, tag, plaintext)
            .map_err(|_| AuthenticationFailed)
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
        self.0
            .open_in_place_separate_tag(lc(nonce), Aad::from(aad), tag, data)
            .map(|_| ())
            .map_err(|_| AuthenticationFailed)
    }
}

impl std::fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentKey(..)")
    }
}

fn lc(nonce: &Nonce) -> LcNonce {
    LcNonce::assume_unique_for_key(*nonce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{NONCE_LEN, aead, rng};

    /// What the content cipher seals, the key cipher opens, and the other way round, for lengths around a block
    /// and a chunk.
    #[test]
    fn agrees_with_the_key_cipher_in_both_directions() {
        let secret = Secret::random();
        let key = ContentKey::new(&secret);
        for len in [0usize, 1, 15, 16, 17, 4095, 4096] {
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
        }
    }

    #[test]
    fn in_place_and_out_of_place_are_one_cipher() {
        let key = ContentKey::new(&Secret::random());
        let nonce = rng::nonce();
        let plaintext = [42; 100];
        let mut apart = [0; 100];
        let tag = key.seal(&nonce, b"", &plaintext, &mut apart);
        let mut in_place = plaintext;
        assert_eq!(key.seal_in_place(&nonce, b"", &mut in_place), tag);
        assert_eq!(in_place, apart);
        key.open_in_place(&nonce, b"", &mut in_place, &tag).unwrap();
        assert_eq!(in_place, plaintext);
    }

    #[test]
    fn another_nonce_aad_or_tag_is_refused() {
        let key = ContentKey::new(&Secret::random());
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
