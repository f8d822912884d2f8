//! Key pairs that sign, decrypt or agree on secrets: how they are made, read and written.
//!
//! AWS-LC makes and reads them. A private key is held as AWS-LC's own object, which wipes itself when it is dropped, and leaves this
//! module only as PKCS #8 that is wiped as well.

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{self, PrivateDecryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256K1_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
};
use zeroize::Zeroizing;

use super::transport::{self, KeyPairBytes, Modulus};

/// What a key pair is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PairKind {
    /// RSA (RFC 8017), of two primes.
    Rsa(Modulus),
    /// The curve P-256 (FIPS 186-5).
    P256,
    /// The curve P-384.
    P384,
    /// The curve P-521.
    P521,
    /// The curve secp256k1 (SEC 2).
    Secp256k1,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

/// Makes a key pair. RSA takes from some ten milliseconds to a second, the others take microseconds.
///
/// # Panics
/// When the operating system gives no randomness.
pub fn generate(kind: PairKind) -> KeyPairBytes {
    const WORKS: &str = "the operating system's random number generator works";
    let made = match kind {
        PairKind::Rsa(modulus) => return transport::generate(modulus),
        PairKind::P256 | PairKind::P384 | PairKind::P521 | PairKind::Secp256k1 => {
            Held::Ec(EcdsaKeyPair::generate(ecdsa(kind)).expect(WORKS), None)
        }
        PairKind::Ed25519 => Held::Ed25519(Ed25519KeyPair::generate().expect(WORKS)),
    };
    let key = PrivateKey { held: made, kind };
    KeyPairBytes { public: key.public_der(), private: key.to_pkcs8() }
}

/// A private key, ready for use.
pub struct PrivateKey {
    pub(super) held: Held,
    kind: PairKind,
}

/// What AWS-LC works with: one object for each thing that a key can do.
pub(super) enum Held {
    Rsa(rsa::KeyPair, PrivateDecryptingKey),
    /// Of curves that have it, the key for agreements as well.
    Ec(EcdsaKeyPair, Option<agreement::PrivateKey>),
    Ed25519(Ed25519KeyPair),
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({:?}, ..)", self.kind)
    }
}

impl PrivateKey {
    /// Reads PKCS #8 (RFC 5208, DER) that holds a key of exactly this kind; `None` for any other bytes.
    pub fn from_pkcs8(kind: PairKind, der: &[u8]) -> Option<Self> {
        if !is_one_sequence(der) {
            return None;
        }
        let held = match kind {
            PairKind::Rsa(modulus) => {
                let (pair, decrypting) =
                    (rsa::KeyPair::from_pkcs8(der).ok()?, PrivateDecryptingKey::from_pkcs8(der).ok()?);
                if decrypting.key_size_bits() != modulus.bits() {
                    return None;
                }
                Held::Rsa(pair, decrypting)
            }
            PairKind::P256 | PairKind::P384 | PairKind::P521 | PairKind::Secp256k1 => {
                let pair = EcdsaKeyPair::from_pkcs8(ecdsa(kind), der).ok()?;
                let agrees = ecdh(kind).map(|curve| agreement::PrivateKey::from_private_key_der(curve, der));
                Held::Ec(pair, agrees.transpose().ok()?)
            }
            PairKind::Ed25519 => Held::Ed25519(Ed25519KeyPair::from_pkcs8(der).ok()?),
        };
        Some(Self { held, kind })
    }

    /// What it is of.
    pub const fn kind(&self) -> PairKind {
        self.kind
    }

    /// Its public key: SubjectPublicKeyInfo, DER (RFC 5280, 4.1).
    pub fn public_der(&self) -> Vec<u8> {
        let der: Result<PublicKeyX509Der<'_>, _> = match &self.held {
            Held::Rsa(pair, _) => pair.public_key().as_der(),
            Held::Ec(pair, _) => pair.public_key().as_der(),
            Held::Ed25519(pair) => pair.public_key().as_der(),
        };
        der.expect("a key that was read has a DER form").as_ref().to_vec()
    }

    /// It as PKCS #8, version 1, DER: the same bytes for the same key, however it was written where it came from.
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        const WRITTEN: &str = "a key that was read has a DER form";
        Zeroizing::new(match &self.held {
            Held::Rsa(pair, _) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().expect(WRITTEN);
                der.as_ref().to_vec()
            }
            Held::Ec(pair, _) => pair.to_pkcs8v1().expect(WRITTEN).as_ref().to_vec(),
            Held::Ed25519(pair) => pair.to_pkcs8v1().expect(WRITTEN).as_ref().to_vec(),
        })
    }

    /// The public key, to encrypt under; `None` for what encrypts nothing.
    pub(super) fn encrypting(&self) -> Option<PublicEncryptingKey> {
        match &self.held {
            Held::Rsa(_, decrypting) => Some(decrypting.public_key()),
            Held::Ec(..) | Held::Ed25519(_) => None,
        }
    }
}

/// Whether `der` is one SEQUENCE (X.690) and nothing behind it, which AWS-LC passes over.
pub(super) fn is_one_sequence(der: &[u8]) -> bool {
    let Some((&[0x30, first], rest)) = der.split_first_chunk::<2>() else { return false };
    if first < 0x80 {
        return rest.len() == usize::from(first);
    }
    // Longer ones than 64 KiB are no keys.
    let digits = usize::from(first & 0x7f);
    let Some((length, content)) = rest.split_at_checked(digits).filter(|_| (1..=2).contains(&digits)) else {
        return false;
    };
    content.len() == length.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
}

/// The one way in which a curve signs here.
///
/// # Panics
/// For what is no such curve.
fn ecdsa(kind: PairKind) -> &'static EcdsaSigningAlgorithm {
    match kind {
        PairKind::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
        PairKind::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        PairKind::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        PairKind::Secp256k1 => &ECDSA_P256K1_SHA256_ASN1_SIGNING,
        PairKind::Rsa(_) | PairKind::Ed25519 => unreachable!("{kind:?} does not sign with ECDSA"),
    }
}

/// The agreement of a curve, where it has one here.
fn ecdh(kind: PairKind) -> Option<&'static agreement::Algorithm> {
    match kind {
        PairKind::P256 => Some(&ECDH_P256),
        PairKind::P384 => Some(&ECDH_P384),
        PairKind::P521 => Some(&ECDH_P521),
        PairKind::Secp256k1 | PairKind::Rsa(_) | PairKind::Ed25519 => None,
    }
}

#[cfg(test)]
pub(crate) const KINDS: [PairKind; 6] = [
    PairKind::Rsa(Modulus::Bits2048),
    PairKind::P256,
    PairKind::P384,
    PairKind::P521,
    PairKind::Secp256k1,
    PairKind::Ed25519,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_read_back_as_it_was_made_and_as_no_other_kind() {
        for kind in KINDS {
            let made = generate(kind);
            let key = PrivateKey::from_pkcs8(kind, &made.private).unwrap();
            assert_eq!(key.kind(), kind);
            assert_eq!(key.public_der(), made.public, "{kind:?}");
            assert_eq!(*key.to_pkcs8(), *made.private, "{kind:?}");
            for other in KINDS.into_iter().filter(|other| *other != kind) {
                assert!(PrivateKey::from_pkcs8(other, &made.private).is_none(), "{kind:?} as {other:?}");
            }
            assert!(PrivateKey::from_pkcs8(kind, &made.public).is_none());
        }
        let rsa = generate(PairKind::Rsa(Modulus::Bits2048));
        assert!(PrivateKey::from_pkcs8(PairKind::Rsa(Modulus::Bits3072), &rsa.private).is_none());
    }

    #[test]
    fn a_shortened_key_is_none_and_so_is_one_with_something_behind_it() {
        for kind in KINDS {
            let made = generate(kind);
            for len in 0..made.private.len() {
                assert!(
                    PrivateKey::from_pkcs8(kind, &made.private[..len]).is_none(),
                    "{kind:?}: {len} bytes"
                );
            }
            let longer = [made.private.as_slice(), &[0]].concat();
            assert!(PrivateKey::from_pkcs8(kind, &longer).is_none(), "{kind:?}");
        }
    }

    #[test]
    fn debug_forms_show_no_byte() {
        let made = generate(PairKind::P256);
        let key = PrivateKey::from_pkcs8(PairKind::P256, &made.private).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(P256, ..)");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn hostile_der_never_panics_and_what_is_read_of_it_is_written_again(
            which in 0..KINDS.len(),
            flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        ) {
            use std::sync::OnceLock;
            static MADE: OnceLock<Vec<KeyPairBytes>> = OnceLock::new();
            let made = MADE.get_or_init(|| KINDS.into_iter().map(generate).collect());
            let mut der = made[which].private.to_vec();
            for (at, value) in flips {
                let at = at.index(der.len());
                der[at] = value;
            }
            for kind in KINDS {
                if let Some(key) = PrivateKey::from_pkcs8(kind, &der) {
                    let again = PrivateKey::from_pkcs8(kind, &key.to_pkcs8()).unwrap();
                    prop_assert_eq!(again.public_der(), key.public_der());
                }
            }
        }

        #[test]
        fn random_bytes_are_no_key(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for kind in KINDS {
                prop_assert!(PrivateKey::from_pkcs8(kind, &bytes).is_none());
            }
        }
    }
}
