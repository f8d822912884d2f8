//! RSA key transport (RFC 8017): a public key under which somebody else wraps a key, and the private one that unwraps it.
//!
//! AWS-LC makes the keys: it is many times faster at finding primes. The crate `rsa` unwraps, from version 0.10, in which the
//! private operation is blinded and takes the same time for every ciphertext (earlier ones leak: RUSTSEC-2023-0071).
//! Each is checked against the other in tests.

use std::convert::Infallible;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use rsa::pkcs8::DecodePrivateKey;
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::{Oaep, Pkcs1v15Encrypt};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{AuthenticationFailed, rng};

/// The length of the modulus in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Modulus {
    /// 2048.
    Bits2048,
    /// 3072.
    Bits3072,
    /// 4096.
    Bits4096,
}

impl Modulus {
    /// How many bits.
    pub const fn bits(self) -> usize {
        match self {
            Self::Bits2048 => 2048,
            Self::Bits3072 => 3072,
            Self::Bits4096 => 4096,
        }
    }
}

/// How the wrapped bytes are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Padding {
    /// OAEP; SHA-256 is the hash and that of the mask, the label is empty.
    OaepSha256,
    /// OAEP; SHA-1 is the hash and that of the mask, the label is empty. It needs no collision resistance.
    OaepSha1,
    /// PKCS #1 v1.5, type 2. It authenticates nothing, see [`TransportKey::unwrap`].
    Pkcs1V15,
}

/// A fresh key pair, as bytes.
pub struct KeyPairBytes {
    /// The public key: SubjectPublicKeyInfo, DER (RFC 5280, 4.1).
    pub public: Vec<u8>,
    /// The private key: PKCS #8, DER (RFC 5208).
    pub private: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for KeyPairBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyPairBytes(..)")
    }
}

/// Makes a key pair with the exponent 65537. It takes from some ten milliseconds (2048 bits) to a second (4096).
///
/// # Panics
/// When the operating system gives no randomness.
pub fn generate(modulus: Modulus) -> KeyPairBytes {
    let size = match modulus {
        Modulus::Bits2048 => KeySize::Rsa2048,
        Modulus::Bits3072 => KeySize::Rsa3072,
        Modulus::Bits4096 => KeySize::Rsa4096,
    };
    let pair = KeyPair::generate(size).expect("the operating system's random number generator works");
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a fresh key has a DER form");
    let private: Pkcs8V1Der<'_> = pair.as_der().expect("a fresh key has a DER form");
    KeyPairBytes {
        public: public.as_ref().to_vec(),
        // AWS-LC's wrapper wipes its own copy on drop.
        private: Zeroizing::new(private.as_ref().to_vec()),
    }
}

/// A private key that unwraps. It wipes itself on drop; some intermediate values of an operation are not wiped by the crate.
pub struct TransportKey(rsa::PrivateKey);

impl std::fmt::Debug for TransportKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TransportKey(..)")
    }
}

impl TransportKey {
    /// The private key of [`generate`]; `None` for bytes that are none.
    pub fn from_pkcs8(der: &[u8]) -> Option<Self> {
        rsa::PrivateKey::from_pkcs8_der(der).ok().map(Self)
    }

    /// What `wrapped` holds, whatever its length.
    ///
    /// Whoever sees of two wraps which one fails can, with PKCS #1 v1.5, work out what a third one holds (Bleichenbacher, CRYPTO
    /// '98). So bad padding is no error there: bytes come out that depend on key and ciphertext alone, of a length that does, too
    /// (implicit rejection, draft-irtf-cfrg-rsa-guidance). The caller takes one length, and treats all others as it treats an error. With
    /// OAEP, what comes out was wrapped under the public key.
    ///
    /// # Errors
    /// [`AuthenticationFailed`] for bytes that are no ciphertext of this key and padding.
    pub fn unwrap(
        &self,
        padding: Padding,
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, AuthenticationFailed> {
        let opened = match padding {
            Padding::OaepSha256 => self.0.decrypt_blinded(&mut Blinding, Oaep::<Sha256>::new(), wrapped),
            Padding::OaepSha1 => self.0.decrypt_blinded(&mut Blinding, Oaep::<Sha1>::new(), wrapped),
            Padding::Pkcs1V15 => self.0.decrypt_blinded(&mut Blinding, Pkcs1v15Encrypt, wrapped),
        };
        opened.map(Zeroizing::new).map_err(|_| AuthenticationFailed)
    }
}

/// This project's one generator, as `rsa` takes it.
struct Blinding;

impl TryRng for Blinding {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_ne_bytes(rng::bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_ne_bytes(rng::bytes()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        rng::fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Blinding {}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::{
        OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey,
        PublicEncryptingKey,
    };

    use super::*;

    const PADDINGS: [Padding; 3] = [Padding::OaepSha256, Padding::OaepSha1, Padding::Pkcs1V15];

    /// Wraps with the other library.
    fn wrap(public: &[u8], padding: Padding, plaintext: &[u8]) -> Vec<u8> {
        let key = PublicEncryptingKey::from_der(public).unwrap();
        let mut out = vec![0; key.key_size_bytes()];
        let len = match padding {
            Padding::OaepSha256 => {
                let key = OaepPublicEncryptingKey::new(key).unwrap();
                key.encrypt(&OAEP_SHA256_MGF1SHA256, plaintext, &mut out, None).unwrap().len()
            }
            Padding::OaepSha1 => {
                let key = OaepPublicEncryptingKey::new(key).unwrap();
                key.encrypt(&OAEP_SHA1_MGF1SHA1, plaintext, &mut out, None).unwrap().len()
            }
            Padding::Pkcs1V15 => {
                Pkcs1PublicEncryptingKey::new(key).unwrap().encrypt(plaintext, &mut out).unwrap().len()
            }
        };
        assert_eq!(len, out.len());
        out
    }

    #[test]
    fn what_the_other_library_wraps_is_unwrapped_for_every_size_and_padding() {
        for (modulus, bytes) in [(Modulus::Bits2048, 256), (Modulus::Bits3072, 384), (Modulus::Bits4096, 512)]
        {
            let pair = generate(modulus);
            let key = TransportKey::from_pkcs8(&pair.private).unwrap();
            for padding in PADDINGS {
                for plaintext in [&[7; 32][..], &[], &[9; 100]] {
                    let wrapped = wrap(&pair.public, padding, plaintext);
                    assert_eq!(wrapped.len(), bytes);
                    assert_eq!(key.unwrap(padding, &wrapped).unwrap().as_slice(), plaintext, "{padding:?}");
                }
            }
        }
    }

    #[test]
    fn oaep_opens_for_its_key_and_hash_only() {
        let (pair, other) = (generate(Modulus::Bits2048), generate(Modulus::Bits2048));
        let key = TransportKey::from_pkcs8(&pair.private).unwrap();
        for (padding, another) in
            [(Padding::OaepSha256, Padding::OaepSha1), (Padding::OaepSha1, Padding::OaepSha256)]
        {
            let wrapped = wrap(&pair.public, padding, &[7; 32]);
            assert_eq!(key.unwrap(another, &wrapped), Err(AuthenticationFailed));
            assert_eq!(
                key.unwrap(padding, &wrap(&other.public, padding, &[7; 32])),
                Err(AuthenticationFailed)
            );
            for len in [0, 1, 255] {
                assert_eq!(key.unwrap(padding, &wrapped[..len]), Err(AuthenticationFailed));
            }
            let longer = [wrapped.as_slice(), &[0]].concat();
            assert_eq!(key.unwrap(padding, &longer), Err(AuthenticationFailed));
            for byte in (0..wrapped.len()).step_by(17) {
                let mut altered = wrapped.clone();
                altered[byte] ^= 1;
                assert_eq!(key.unwrap(padding, &altered), Err(AuthenticationFailed), "byte {byte}");
            }
            assert_eq!(key.unwrap(padding, &[0xff; 256]), Err(AuthenticationFailed));
        }
    }

    /// Nothing tells a bad padding from a good one: bytes come out, the same ones each time, of a length that is not always the same.
    #[test]
    fn pkcs1_rejects_bad_padding_without_saying_so() {
        let pair = generate(Modulus::Bits2048);
        let key = TransportKey::from_pkcs8(&pair.private).unwrap();
        let mut lengths = std::collections::BTreeSet::new();
        for _ in 0..8 {
            let other_padding = wrap(&pair.public, Padding::OaepSha256, &[7; 32]);
            let opened = key.unwrap(Padding::Pkcs1V15, &other_padding).unwrap();
            assert_eq!(key.unwrap(Padding::Pkcs1V15, &other_padding).unwrap(), opened);
            lengths.insert(opened.len());
        }
        assert!(lengths.len() > 1);
        // What is no ciphertext at all says nothing about one.
        assert_eq!(key.unwrap(Padding::Pkcs1V15, &[1; 255]), Err(AuthenticationFailed));
        assert_eq!(key.unwrap(Padding::Pkcs1V15, &[0xff; 256]), Err(AuthenticationFailed));
    }

    #[test]
    fn bytes_that_are_no_private_key_are_refused() {
        let pair = generate(Modulus::Bits2048);
        assert!(TransportKey::from_pkcs8(&[]).is_none());
        assert!(TransportKey::from_pkcs8(&pair.public).is_none());
        for len in [1, 100, pair.private.len() - 1] {
            assert!(TransportKey::from_pkcs8(&pair.private[..len]).is_none());
        }
    }

    #[test]
    fn a_private_key_is_wiped_on_drop() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>() {}
        is_wiped::<rsa::PrivateKey>();
    }

    #[test]
    fn debug_forms_show_no_byte() {
        let pair = generate(Modulus::Bits2048);
        assert_eq!(format!("{pair:?}"), "KeyPairBytes(..)");
        assert_eq!(format!("{:?}", TransportKey::from_pkcs8(&pair.private)), "Some(TransportKey(..))");
    }
}
