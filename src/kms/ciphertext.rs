//! The ciphertext blob: what Encrypt, GenerateDataKey and ReEncrypt answer and Decrypt takes.
//!
//! ```text
//! magic "kms" (3) | scope (1) | key id (16) | key material id (32) | wrap (44 + length of the plaintext)
//! ```
//!
//! The scope is 1 for a single-Region key and 2 for a multi-Region key ([`KeyScope::code`]). The first 52 bytes are in the clear, so that Decrypt finds the CMK and its backing key by the blob alone, and
//! authenticated: they are part of the associated data, before the encryption context. Key id and material id go into
//! the derivation of the wrapping key as well, so that two CMKs with the same imported bytes cannot open each other's
//! blobs. A 32-byte data key makes a blob of 128 bytes.

use zeroize::Zeroizing;

use super::id::{KeyId, KeyScope, MaterialId};
use super::material::BackingKey;
use crate::context::EncryptionContext;
use crate::crypto::{AuthenticationFailed, wrap};
use crate::datakey::MATERIAL_ID_LEN;

/// What every blob begins with.
const MAGIC: [u8; 3] = *b"kms";
/// Bytes in the clear before the wrap.
const HEADER_LEN: usize = MAGIC.len() + 1 + KeyId::LEN + MATERIAL_ID_LEN;
/// Bytes that a blob has beyond its plaintext.
pub const OVERHEAD: usize = HEADER_LEN + wrap::OVERHEAD;
/// The purpose in the derivation of wrapping keys.
const LABEL: &[u8] = b"kmsfs wrap v1";

/// A blob that has the right shape. What its header says is not authenticated before [`Ciphertext::open`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ciphertext<'a> {
    /// The CMK that it names.
    pub key: KeyId,
    /// The backing key that it names.
    pub material: MaterialId,
    header: &'a [u8; HEADER_LEN],
    wrapped: &'a [u8],
}

impl<'a> Ciphertext<'a> {
    /// Reads the header of `blob`; `None` where it is not a blob of this service and version.
    pub fn parse(blob: &'a [u8]) -> Option<Self> {
        let (header, wrapped) = blob.split_first_chunk::<HEADER_LEN>()?;
        let (scope, rest) = header.strip_prefix(&MAGIC)?.split_first()?;
        let (key, material) = rest.split_first_chunk::<{ KeyId::LEN }>()?;
        let material = MaterialId::from_bytes(material.try_into().ok()?);
        (wrapped.len() > wrap::OVERHEAD).then_some(Self {
            key: KeyId::from_bytes(KeyScope::from_code(*scope)?, *key),
            material,
            header,
            wrapped,
        })
    }

    /// Opens it with the backing key that it names.
    ///
    /// # Errors
    /// [`AuthenticationFailed`] for another key or context and for any altered byte.
    pub fn open(
        &self,
        backing_key: &BackingKey,
        context: &EncryptionContext,
    ) -> Result<Zeroizing<Vec<u8>>, AuthenticationFailed> {
        let info = [LABEL, self.key.as_bytes(), self.material.as_bytes()];
        wrap::unwrap(backing_key, &info, &associated_data(self.header, context), self.wrapped)
    }
}

/// Makes a blob of `plaintext` under the backing key `material` of `key`.
pub fn seal(
    key: KeyId,
    material: MaterialId,
    backing_key: &BackingKey,
    context: &EncryptionContext,
    plaintext: &[u8],
) -> Vec<u8> {
    let header = [MAGIC.as_slice(), &[key.scope().code()], key.as_bytes(), material.as_bytes()].concat();
    let info = [LABEL, key.as_bytes(), material.as_bytes()];
    let wrapped = wrap::wrap(backing_key, &info, &associated_data(&header, context), plaintext);
    [header, wrapped].concat()
}

/// `header (52) | canonical encryption context`.
fn associated_data(header: &[u8], context: &EncryptionContext) -> Vec<u8> {
    [header, &context.canonical()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::Secret;

    fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
        pairs.iter().copied().collect()
    }

    fn sample() -> (BackingKey, Vec<u8>) {
        let backing = Secret::random();
        let material = MaterialId::from_bytes([9; 32]);
        let blob = seal(
            KeyId::random(KeyScope::SingleRegion),
            material,
            &backing,
            &context(&[("ab", "c")]),
            &[5; 32],
        );
        (backing, blob)
    }

    #[test]
    fn a_data_key_makes_a_small_blob() {
        let (_, blob) = sample();
        assert_eq!(blob.len(), 128);
        assert_eq!(OVERHEAD, 96);
    }

    #[test]
    fn a_blob_opens_under_its_key_and_context_only() {
        let (backing, blob) = sample();
        let ciphertext = Ciphertext::parse(&blob).unwrap();
        assert_eq!(ciphertext.open(&backing, &context(&[("ab", "c")])).unwrap().as_slice(), [5; 32]);
        assert!(ciphertext.open(&Secret::random(), &context(&[("ab", "c")])).is_err());
        assert!(ciphertext.open(&backing, &context(&[("a", "bc")])).is_err());
        assert!(ciphertext.open(&backing, &context(&[])).is_err());
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let (backing, blob) = sample();
        for bit in 0..blob.len() * 8 {
            let mut altered = blob.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let opened = Ciphertext::parse(&altered)
                .map(|ciphertext| ciphertext.open(&backing, &context(&[("ab", "c")])));
            assert!(!matches!(opened, Some(Ok(_))), "bit {bit}");
        }
    }

    #[test]
    fn a_shortened_blob_is_refused() {
        let (backing, blob) = sample();
        for len in 0..blob.len() {
            let opened = Ciphertext::parse(&blob[..len])
                .map(|ciphertext| ciphertext.open(&backing, &context(&[("ab", "c")])));
            assert!(!matches!(opened, Some(Ok(_))), "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_never_open(
            magic in any::<bool>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let blob = if magic { [MAGIC.as_slice(), &bytes].concat() } else { bytes };
            let opened = Ciphertext::parse(&blob)
                .map(|ciphertext| ciphertext.open(&Secret::random(), &context(&[])));
            prop_assert!(!matches!(opened, Some(Ok(_))));
        }
    }
}
