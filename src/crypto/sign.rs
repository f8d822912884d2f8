//! Signatures: RSASSA-PSS and RSASSA-PKCS1-v1_5 (RFC 8017), ECDSA (FIPS 186-5), Ed25519 and Ed25519ph (RFC 8032).
//!
//! AWS-LC signs and verifies, but for Ed25519ph, which its Rust interface does not offer: that is `ed25519-dalek`.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P256K1_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaParameters, RsaSignatureEncoding, UnparsedPublicKey,
    VerificationAlgorithm,
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::AuthenticationFailed;
use super::hash::HashFunction;
use super::pair::{Held, PairKind, PrivateKey};

/// A way to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RSASSA-PSS; the hash is that of the mask as well, and the salt is as long as it.
    Pss(HashFunction),
    /// RSASSA-PKCS1-v1_5.
    Pkcs1(HashFunction),
    /// ECDSA, in DER.
    Ecdsa(HashFunction),
    /// Ed25519: signs messages.
    Ed25519,
    /// Ed25519ph without a context: signs digests, of SHA-512.
    Ed25519ph,
}

impl Scheme {
    /// The hash function that messages are hashed with.
    pub const fn hash(self) -> HashFunction {
        match self {
            Self::Pss(hash) | Self::Pkcs1(hash) | Self::Ecdsa(hash) => hash,
            Self::Ed25519 | Self::Ed25519ph => HashFunction::Sha512,
        }
    }

    /// Whether it signs messages.
    pub const fn takes_messages(self) -> bool {
        !matches!(self, Self::Ed25519ph)
    }

    /// Whether it signs what others hashed.
    pub const fn takes_digests(self) -> bool {
        !matches!(self, Self::Ed25519)
    }
}

/// What is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A message.
    Message(&'a [u8]),
    /// The digest of one, of the scheme's hash function.
    Digest(&'a [u8]),
}

/// A scheme that is not one of this key, or that does not sign what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsuited;

/// Signs.
///
/// # Errors
/// [`Unsuited`], also for a digest of another length.
pub fn sign(key: &PrivateKey, scheme: Scheme, subject: Subject<'_>) -> Result<Vec<u8>, Unsuited> {
    match &key.held {
        Held::Rsa(pair, _) => {
            let encoding = rsa_signing(scheme).ok_or(Unsuited)?;
            let mut signature = vec![0; pair.public_modulus_len()];
            let done = match subject {
                Subject::Message(message) => {
                    pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
                }
                Subject::Digest(bytes) => {
                    pair.sign_digest(encoding, &imported(scheme, bytes)?, &mut signature)
                }
            };
            done.map(|()| signature).map_err(|_| Unsuited)
        }
        Held::Ec(pair, _) if ec_verification(key.kind(), scheme).is_some() => {
            let signed = match subject {
                Subject::Message(message) => pair.sign(&SystemRandom::new(), message),
                Subject::Digest(bytes) => pair.sign_digest(&imported(scheme, bytes)?),
            };
            signed.map(|signature| signature.as_ref().to_vec()).map_err(|_| Unsuited)
        }
        Held::Ed25519(pair) => match (scheme, subject) {
            (Scheme::Ed25519, Subject::Message(message)) => {
                pair.try_sign(message).map(|signature| signature.as_ref().to_vec()).map_err(|_| Unsuited)
            }
            (Scheme::Ed25519ph, Subject::Digest(bytes)) => {
                let hashed = Hashed::new(bytes).ok_or(Unsuited)?;
                let signature = dalek(pair)?.sign_prehashed(hashed, None).map_err(|_| Unsuited)?;
                Ok(signature.to_bytes().to_vec())
            }
            (Scheme::Ed25519, Subject::Digest(_))
            | (Scheme::Ed25519ph, Subject::Message(_))
            | (
                Scheme::Pss(_) | Scheme::Pkcs1(_) | Scheme::Ecdsa(_),
                Subject::Message(_) | Subject::Digest(_),
            ) => Err(Unsuited),
        },
        Held::Ec(..) => Err(Unsuited),
    }
}

/// Verifies a signature that was made with the private key `key`, here or elsewhere.
///
/// # Errors
/// [`AuthenticationFailed`] for any other signature, key, scheme or subject.
pub fn verify(
    key: &PrivateKey,
    scheme: Scheme,
    subject: Subject<'_>,
    signature: &[u8],
) -> Result<(), AuthenticationFailed> {
    let public = key.public_der();
    let algorithm: &'static dyn VerificationAlgorithm = match &key.held {
        Held::Rsa(..) => rsa_verification(scheme).ok_or(AuthenticationFailed)?,
        Held::Ec(..) => ec_verification(key.kind(), scheme).ok_or(AuthenticationFailed)?,
        Held::Ed25519(pair) => match (scheme, subject) {
            (Scheme::Ed25519, Subject::Message(_)) => &signature::ED25519,
            (Scheme::Ed25519ph, Subject::Digest(bytes)) => {
                return verify_prehashed(pair, bytes, signature).ok_or(AuthenticationFailed);
            }
            (Scheme::Ed25519, Subject::Digest(_))
            | (Scheme::Ed25519ph, Subject::Message(_))
            | (
                Scheme::Pss(_) | Scheme::Pkcs1(_) | Scheme::Ecdsa(_),
                Subject::Message(_) | Subject::Digest(_),
            ) => {
                return Err(AuthenticationFailed);
            }
        },
    };
    let public = UnparsedPublicKey::new(algorithm, public);
    let verified = match subject {
        Subject::Message(message) => public.verify(message, signature),
        Subject::Digest(bytes) => {
            let digest = imported(scheme, bytes).map_err(|_| AuthenticationFailed)?;
            public.verify_digest(&digest, signature)
        }
    };
    verified.map_err(|_| AuthenticationFailed)
}

fn verify_prehashed(pair: &Ed25519KeyPair, digest: &[u8], signature: &[u8]) -> Option<()> {
    let public = VerifyingKey::from_bytes(pair.public_key().as_ref().try_into().ok()?).ok()?;
    let signature = ed25519_dalek::Signature::from_slice(signature).ok()?;
    public.verify_prehashed_strict(Hashed::new(digest)?, None, &signature).ok()
}

/// The same key for the other library, which wipes it on drop.
fn dalek(pair: &Ed25519KeyPair) -> Result<SigningKey, Unsuited> {
    let seed: Curve25519SeedBin<'_> =
        pair.seed().and_then(|seed| seed.as_be_bytes()).map_err(|_| Unsuited)?;
    let seed = Zeroizing::new(<[u8; 32]>::try_from(seed.as_ref()).map_err(|_| Unsuited)?);
    Ok(SigningKey::from_bytes(&seed))
}

fn imported(scheme: Scheme, bytes: &[u8]) -> Result<Digest, Unsuited> {
    let algorithm = match scheme.hash() {
        HashFunction::Sha224 => &digest::SHA224,
        HashFunction::Sha256 => &digest::SHA256,
        HashFunction::Sha384 => &digest::SHA384,
        HashFunction::Sha512 => &digest::SHA512,
    };
    Digest::import_less_safe(bytes, algorithm).map_err(|_| Unsuited)
}

fn rsa_signing(scheme: Scheme) -> Option<&'static RsaSignatureEncoding> {
    match scheme {
        Scheme::Pss(HashFunction::Sha256) => Some(&RSA_PSS_SHA256),
        Scheme::Pss(HashFunction::Sha384) => Some(&RSA_PSS_SHA384),
        Scheme::Pss(HashFunction::Sha512) => Some(&RSA_PSS_SHA512),
        Scheme::Pkcs1(HashFunction::Sha256) => Some(&RSA_PKCS1_SHA256),
        Scheme::Pkcs1(HashFunction::Sha384) => Some(&RSA_PKCS1_SHA384),
        Scheme::Pkcs1(HashFunction::Sha512) => Some(&RSA_PKCS1_SHA512),
        Scheme::Pss(HashFunction::Sha224)
        | Scheme::Pkcs1(HashFunction::Sha224)
        | Scheme::Ecdsa(_)
        | Scheme::Ed25519
        | Scheme::Ed25519ph => None,
    }
}

fn rsa_verification(scheme: Scheme) -> Option<&'static RsaParameters> {
    match scheme {
        Scheme::Pss(HashFunction::Sha256) => Some(&RSA_PSS_2048_8192_SHA256),
        Scheme::Pss(HashFunction::Sha384) => Some(&RSA_PSS_2048_8192_SHA384),
        Scheme::Pss(HashFunction::Sha512) => Some(&RSA_PSS_2048_8192_SHA512),
        Scheme::Pkcs1(HashFunction::Sha256) => Some(&RSA_PKCS1_2048_8192_SHA256),
        Scheme::Pkcs1(HashFunction::Sha384) => Some(&RSA_PKCS1_2048_8192_SHA384),
        Scheme::Pkcs1(HashFunction::Sha512) => Some(&RSA_PKCS1_2048_8192_SHA512),
        Scheme::Pss(HashFunction::Sha224)
        | Scheme::Pkcs1(HashFunction::Sha224)
        | Scheme::Ecdsa(_)
        | Scheme::Ed25519
        | Scheme::Ed25519ph => None,
    }
}

fn ec_verification(kind: PairKind, scheme: Scheme) -> Option<&'static dyn VerificationAlgorithm> {
    match (kind, scheme) {
        (PairKind::P256, Scheme::Ecdsa(HashFunction::Sha256)) => Some(&ECDSA_P256_SHA256_ASN1),
        (PairKind::P384, Scheme::Ecdsa(HashFunction::Sha384)) => Some(&ECDSA_P384_SHA384_ASN1),
        (PairKind::P521, Scheme::Ecdsa(HashFunction::Sha512)) => Some(&ECDSA_P521_SHA512_ASN1),
        (PairKind::Secp256k1, Scheme::Ecdsa(HashFunction::Sha256)) => Some(&ECDSA_P256K1_SHA256_ASN1),
        (
            PairKind::P256 | PairKind::Secp256k1,
            Scheme::Ecdsa(HashFunction::Sha224 | HashFunction::Sha384 | HashFunction::Sha512),
        )
        | (
            PairKind::P384,
            Scheme::Ecdsa(HashFunction::Sha224 | HashFunction::Sha256 | HashFunction::Sha512),
        )
        | (
            PairKind::P521,
            Scheme::Ecdsa(HashFunction::Sha224 | HashFunction::Sha256 | HashFunction::Sha384),
        )
        | (PairKind::Rsa(_) | PairKind::Ed25519, Scheme::Ecdsa(_))
        | (
            PairKind::Rsa(_)
            | PairKind::P256
            | PairKind::P384
            | PairKind::P521
            | PairKind::Secp256k1
            | PairKind::Ed25519,
            Scheme::Pss(_) | Scheme::Pkcs1(_) | Scheme::Ed25519 | Scheme::Ed25519ph,
        ) => None,
    }
}

/// A digest that somebody else made, as `ed25519-dalek` takes one: it asks for a hasher that a message was fed to.
#[derive(Clone)]
struct Hashed([u8; 64]);

impl Hashed {
    fn new(digest: &[u8]) -> Option<Self> {
        digest.try_into().ok().map(Self)
    }
}

impl Default for Hashed {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl sha2::digest::HashMarker for Hashed {}

impl sha2::digest::OutputSizeUser for Hashed {
    type OutputSize = <sha2::Sha512 as sha2::digest::OutputSizeUser>::OutputSize;
}

impl sha2::digest::Update for Hashed {
    fn update(&mut self, _: &[u8]) {
        unreachable!("what is hashed already takes no more")
    }
}

impl sha2::digest::FixedOutput for Hashed {
    fn finalize_into(self, out: &mut sha2::digest::Output<Self>) {
        out.copy_from_slice(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::pair::{self, KINDS};
    use super::*;

    const HASHES: [HashFunction; 3] = [HashFunction::Sha256, HashFunction::Sha384, HashFunction::Sha512];

    fn schemes() -> Vec<Scheme> {
        let hashed =
            HASHES.into_iter().flat_map(|hash| [Scheme::Pss(hash), Scheme::Pkcs1(hash), Scheme::Ecdsa(hash)]);
        hashed.chain([Scheme::Ed25519, Scheme::Ed25519ph]).collect()
    }

    fn suits(kind: PairKind, scheme: Scheme) -> bool {
        match kind {
            PairKind::Rsa(_) => matches!(scheme, Scheme::Pss(_) | Scheme::Pkcs1(_)),
            PairKind::P256 | PairKind::Secp256k1 => scheme == Scheme::Ecdsa(HashFunction::Sha256),
            PairKind::P384 => scheme == Scheme::Ecdsa(HashFunction::Sha384),
            PairKind::P521 => scheme == Scheme::Ecdsa(HashFunction::Sha512),
            PairKind::Ed25519 => matches!(scheme, Scheme::Ed25519 | Scheme::Ed25519ph),
        }
    }

    #[test]
    fn each_key_signs_with_its_schemes_and_refuses_the_others() {
        let message = b"a message";
        for kind in KINDS {
            let made = pair::generate(kind);
            let (key, other) = (
                PrivateKey::from_pkcs8(kind, &made.private).unwrap(),
                PrivateKey::from_pkcs8(kind, &pair::generate(kind).private).unwrap(),
            );
            for scheme in schemes() {
                let digest = vec![7; scheme.hash().digest_len()];
                for (subject, suited) in [
                    (Subject::Message(message), scheme.takes_messages()),
                    (Subject::Digest(&digest), scheme.takes_digests()),
                ] {
                    let signed = sign(&key, scheme, subject);
                    assert_eq!(
                        signed.is_ok(),
                        suited && suits(kind, scheme),
                        "{kind:?} {scheme:?} {subject:?}"
                    );
                    let Ok(mut signature) = signed else { continue };
                    assert_eq!(verify(&key, scheme, subject, &signature), Ok(()), "{kind:?} {scheme:?}");
                    assert!(verify(&other, scheme, subject, &signature).is_err());
                    for another in schemes().into_iter().filter(|another| *another != scheme) {
                        assert!(verify(&key, another, subject, &signature).is_err(), "{kind:?} {another:?}");
                    }
                    assert!(verify(&key, scheme, Subject::Message(b"another"), &signature).is_err());
                    let last = signature.len() - 1;
                    assert!(verify(&key, scheme, subject, &signature[..last]).is_err());
                    signature[last] ^= 1;
                    assert!(verify(&key, scheme, subject, &signature).is_err());
                    assert!(verify(&key, scheme, subject, &[]).is_err());
                }
                if scheme.takes_digests() {
                    assert_eq!(sign(&key, scheme, Subject::Digest(&digest[1..])), Err(Unsuited));
                }
            }
        }
    }

    #[test]
    fn a_message_and_its_digest_have_the_same_signature() {
        use sha2::{Digest as _, Sha256};
        let key = PrivateKey::from_pkcs8(PairKind::P256, &pair::generate(PairKind::P256).private).unwrap();
        let scheme = Scheme::Ecdsa(HashFunction::Sha256);
        let signature = sign(&key, scheme, Subject::Message(b"abc")).unwrap();
        let digest = Sha256::digest(b"abc");
        assert_eq!(verify(&key, scheme, Subject::Digest(&digest), &signature), Ok(()));
    }

    /// RFC 8032, 7.3: the test vector of Ed25519ph.
    #[test]
    fn ed25519ph_is_that_of_rfc_8032() {
        use sha2::{Digest as _, Sha512};
        let hex = |text: &str| -> Vec<u8> {
            let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            (0..text.len()).step_by(2).map(digit).collect()
        };
        let seed = hex("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42");
        let der = [hex("302e020100300506032b657004220420"), seed].concat();
        let key = PrivateKey::from_pkcs8(PairKind::Ed25519, &der).unwrap();
        let digest = Sha512::digest(b"abc");
        let expected = "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406";
        let signature = sign(&key, Scheme::Ed25519ph, Subject::Digest(&digest)).unwrap();
        assert_eq!(signature, hex(expected));
    }
}
