//! Import tokens: how key material that others made comes into the service (rules IMP-2 and IMP-3).
//!
//! A token and the public key that was given out with it are one pair: the token holds the private key, sealed under a key of the
//! store's root key and bound to the CMK, the wrapping algorithm and the date. So nothing is kept between the two operations, every
//! process of the home reads every token of it, and a token that a newer one followed goes on being good until its date.
//!
//! ```text
//! magic "kmt" (3) | scope (1) | key id (16) | algorithm (1) | key spec (1) | valid to (8) | sealed private key
//! ```
//!
//! The scope is that of the key id, as in a ciphertext. The date is milliseconds since 1970, big-endian. All in front of the sealed
//! bytes is their associated data, and with it, for a multi-Region key, the region: a token of one of the related keys is none of another's.

use zeroize::Zeroizing;

use super::id::{KeyId, KeyScope};
use super::material::Material;
use super::spec::{Content, KeySpec};
use crate::clock::Timestamp;
use crate::crypto::pair::PairKind;
use crate::crypto::transport::{self, Modulus, Padding, TransportKey};
use crate::crypto::{AuthenticationFailed, KEY_LEN, Secret, aead, keywrap};

/// What a token begins with.
const MAGIC: [u8; 3] = *b"kmt";
/// Bytes in front of the sealed private key.
const HEADER_LEN: usize = MAGIC.len() + 1 + KeyId::LEN + 1 + 1 + 8;
/// Begins what is authenticated with a token.
const LABEL: &[u8] = b"kmsfs import token v1";

/// How key material is wrapped on its way (AWS KMS API, AlgorithmSpec), best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WrappingAlgorithm {
    /// `RSAES_OAEP_SHA_256`.
    OaepSha256,
    /// `RSAES_OAEP_SHA_1`.
    OaepSha1,
    /// `RSAES_PKCS1_V1_5`: only where the home permits it.
    Pkcs1V15,
    /// `RSA_AES_KEY_WRAP_SHA_256`: RSA wraps an AES key, which wraps the material. For private keys, which may be too long for RSA.
    KeyWrapSha256,
    /// `RSA_AES_KEY_WRAP_SHA_1`.
    KeyWrapSha1,
}

impl WrappingAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] =
        [Self::OaepSha256, Self::OaepSha1, Self::Pkcs1V15, Self::KeyWrapSha256, Self::KeyWrapSha1];

    /// Whether it wraps material of a key of `spec`, under a wrapping key of `wrapping` ("Importing key material: wrapping algorithms", AWS
    /// KMS Developer Guide).
    pub const fn suits(self, spec: KeySpec, wrapping: WrappingKeySpec) -> bool {
        match (self, spec.content()) {
            (Self::OaepSha256 | Self::OaepSha1, Content::Backing | Content::Mac { .. }) => true,
            (Self::Pkcs1V15, Content::Backing) => true,
            (Self::KeyWrapSha256 | Self::KeyWrapSha1, Content::Backing | Content::Mac { .. }) => false,
            (Self::Pkcs1V15, Content::Mac { .. } | Content::Pair(_)) => false,
            (Self::OaepSha256 | Self::OaepSha1, Content::Pair(PairKind::Rsa(_))) => false,
            // It is too long.
            (Self::OaepSha256 | Self::OaepSha1, Content::Pair(PairKind::P521)) => {
                !matches!(wrapping, WrappingKeySpec::Rsa2048)
            }
            (
                Self::OaepSha256 | Self::OaepSha1,
                Content::Pair(PairKind::P256 | PairKind::P384 | PairKind::Secp256k1 | PairKind::Ed25519),
            ) => true,
            (Self::KeyWrapSha256 | Self::KeyWrapSha1, Content::Pair(_)) => true,
        }
    }

    /// AWS's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OaepSha256 => "RSAES_OAEP_SHA_256",
            Self::OaepSha1 => "RSAES_OAEP_SHA_1",
            Self::Pkcs1V15 => "RSAES_PKCS1_V1_5",
            Self::KeyWrapSha256 => "RSA_AES_KEY_WRAP_SHA_256",
            Self::KeyWrapSha1 => "RSA_AES_KEY_WRAP_SHA_1",
        }
    }

    /// The algorithm of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    const fn code(self) -> u8 {
        match self {
            Self::OaepSha256 => 1,
            Self::OaepSha1 => 2,
            Self::Pkcs1V15 => 3,
            Self::KeyWrapSha256 => 4,
            Self::KeyWrapSha1 => 5,
        }
    }

    const fn padding(self) -> Padding {
        match self {
            Self::OaepSha256 | Self::KeyWrapSha256 => Padding::OaepSha256,
            Self::OaepSha1 | Self::KeyWrapSha1 => Padding::OaepSha1,
            Self::Pkcs1V15 => Padding::Pkcs1V15,
        }
    }
}

/// The key that wraps (AWS KMS API, WrappingKeySpec).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WrappingKeySpec {
    /// `RSA_2048`.
    Rsa2048,
    /// `RSA_3072`.
    Rsa3072,
    /// `RSA_4096`.
    Rsa4096,
}

impl WrappingKeySpec {
    /// Every spec.
    pub const ALL: [Self; 3] = [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// AWS's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA_2048",
            Self::Rsa3072 => "RSA_3072",
            Self::Rsa4096 => "RSA_4096",
        }
    }

    /// The spec of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|spec| spec.name() == name)
    }

    const fn code(self) -> u8 {
        match self {
            Self::Rsa2048 => 1,
            Self::Rsa3072 => 2,
            Self::Rsa4096 => 3,
        }
    }

    const fn modulus(self) -> Modulus {
        match self {
            Self::Rsa2048 => Modulus::Bits2048,
            Self::Rsa3072 => Modulus::Bits3072,
            Self::Rsa4096 => Modulus::Bits4096,
        }
    }
}

/// A public key and its token.
#[derive(Debug)]
pub struct ImportParameters {
    /// The public key: SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
    /// The token.
    pub token: Vec<u8>,
}

/// Seals and opens import tokens, and does nothing else.
#[derive(Debug)]
pub struct TokenKey(Secret<KEY_LEN>);

impl TokenKey {
    /// Of a key that serves no other purpose.
    pub const fn new(key: Secret<KEY_LEN>) -> Self {
        Self(key)
    }

    /// Makes a key pair for an import into `key` of `region` until `valid_to`.
    pub fn issue(
        &self,
        key: KeyId,
        region: &str,
        algorithm: WrappingAlgorithm,
        spec: WrappingKeySpec,
        valid_to: Timestamp,
    ) -> ImportParameters {
        let pair = transport::generate(spec.modulus());
        let date = valid_to.as_millis().to_be_bytes();
        let begins = [MAGIC.as_slice(), &[key.scope().code()], key.as_bytes()].concat();
        let header = [begins.as_slice(), &[algorithm.code(), spec.code()], &date].concat();
        let sealed = aead::seal(&self.0, &associated_data(&header, key, region), &pair.private);
        ImportParameters { public_key: pair.public, token: [header, sealed].concat() }
    }

    /// Reads a token that was issued for `key` of `region`; its date is the caller's to look at.
    ///
    /// # Errors
    /// [`InvalidToken`] for one of another key, also a related one, of another home, and for any altered byte.
    pub fn read(&self, token: &[u8], key: KeyId, region: &str) -> Result<ImportToken, InvalidToken> {
        let (header, sealed) = token.split_first_chunk::<HEADER_LEN>().ok_or(InvalidToken)?;
        let private =
            aead::open(&self.0, &associated_data(header, key, region), sealed).map_err(|_| InvalidToken)?;
        // From here on it is known who wrote it.
        let rest = header.strip_prefix(&MAGIC).ok_or(InvalidToken)?;
        let (scope, rest) = rest.split_first().ok_or(InvalidToken)?;
        let (of, rest) = rest.split_first_chunk::<{ KeyId::LEN }>().ok_or(InvalidToken)?;
        let [algorithm, spec, date @ ..] = rest else { return Err(InvalidToken) };
        let algorithm = WrappingAlgorithm::ALL.into_iter().find(|known| known.code() == *algorithm);
        let spec = WrappingKeySpec::ALL.into_iter().find(|known| known.code() == *spec);
        let date = i64::from_be_bytes(date.try_into().map_err(|_| InvalidToken)?);
        if *of != *key.as_bytes() || *scope != key.scope().code() {
            return Err(InvalidToken);
        }
        let private = TransportKey::from_pkcs8(&private).ok_or(InvalidToken)?;
        let (algorithm, spec) = (algorithm.ok_or(InvalidToken)?, spec.ok_or(InvalidToken)?);
        Ok(ImportToken { algorithm, spec, valid_to: Timestamp::from_millis(date), private })
    }
}

/// A token that is not one of this key and this home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidToken;

/// A token of this key and this home.
#[derive(Debug)]
pub struct ImportToken {
    algorithm: WrappingAlgorithm,
    spec: WrappingKeySpec,
    valid_to: Timestamp,
    private: TransportKey,
}

/// Why wrapped material was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotUnwrapped {
    /// It does not open.
    Closed,
    /// It opens, and what is in it is no material of the key's spec: that many bytes.
    Unfit(usize),
}

impl ImportToken {
    /// When it, and the public key with it, end to be good.
    pub const fn valid_to(&self) -> Timestamp {
        self.valid_to
    }

    /// The material of a key of `spec` that `wrapped` holds.
    ///
    /// # Errors
    /// [`NotUnwrapped`]. With `RSAES_PKCS1_V1_5` a wrong length is `Closed`, too: a bad padding looks like that (see
    /// [`TransportKey::unwrap`]), and to tell them apart would open every material that was ever wrapped so.
    pub fn unwrap(&self, spec: KeySpec, wrapped: &[u8]) -> Result<Material, NotUnwrapped> {
        let opened = match self.algorithm {
            WrappingAlgorithm::OaepSha256 | WrappingAlgorithm::OaepSha1 | WrappingAlgorithm::Pkcs1V15 => {
                self.private.unwrap(self.algorithm.padding(), wrapped)
            }
            WrappingAlgorithm::KeyWrapSha256 | WrappingAlgorithm::KeyWrapSha1 => self.unwrap_twice(wrapped),
        };
        let opened = opened.map_err(|_| NotUnwrapped::Closed)?;
        Material::from_bytes(spec, &opened).ok_or(match self.algorithm {
            WrappingAlgorithm::OaepSha256
            | WrappingAlgorithm::OaepSha1
            | WrappingAlgorithm::KeyWrapSha256
            | WrappingAlgorithm::KeyWrapSha1 => NotUnwrapped::Unfit(opened.len()),
            WrappingAlgorithm::Pkcs1V15 => NotUnwrapped::Closed,
        })
    }

    /// `an AES-256 key, wrapped with RSA (as long as its modulus) | material, wrapped with that key`.
    fn unwrap_twice(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, AuthenticationFailed> {
        let split = wrapped.split_at_checked(self.spec.modulus().bits() / 8);
        let (key, material) = split.ok_or(AuthenticationFailed)?;
        let key = self.private.unwrap(self.algorithm.padding(), key)?;
        if key.len() != KEY_LEN {
            return Err(AuthenticationFailed);
        }
        keywrap::unwrap(&key, material)
    }
}

/// `label | header (30)`, and the region of a multi-Region key.
fn associated_data(header: &[u8], key: KeyId, region: &str) -> Vec<u8> {
    let region = match key.scope() {
        KeyScope::SingleRegion => "",
        KeyScope::MultiRegion => region,
    };
    [LABEL, header, region.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPEC: WrappingKeySpec = WrappingKeySpec::Rsa2048;

    const HERE: &str = "us-east-1";

    fn random() -> KeyId {
        KeyId::random(KeyScope::SingleRegion)
    }

    fn tokens() -> TokenKey {
        TokenKey::new(Secret::random())
    }

    #[test]
    fn imp_3_every_token_is_read_for_its_key_and_fits_into_aws_s_length() {
        let (tokens, key, date) = (tokens(), random(), Timestamp::from_millis(1 << 41));
        let specs = WrappingKeySpec::ALL.into_iter().chain([SPEC; 2]);
        for (spec, algorithm) in specs.zip(WrappingAlgorithm::ALL) {
            let issued = tokens.issue(key, HERE, algorithm, spec, date);
            assert!(issued.token.len() <= 6144 && issued.public_key.len() <= 4096);
            let read = tokens.read(&issued.token, key, HERE).unwrap();
            assert_eq!((read.algorithm, read.valid_to()), (algorithm, date));
            assert_eq!(tokens.read(&issued.token, random(), HERE).unwrap_err(), InvalidToken);
            assert!(self::tokens().read(&issued.token, key, HERE).is_err(), "a token of another home");
        }
    }

    #[test]
    fn imp_3_every_altered_or_shortened_token_is_invalid() {
        let (tokens, key) = (tokens(), random());
        let issued = tokens.issue(key, HERE, WrappingAlgorithm::OaepSha256, SPEC, Timestamp::from_millis(0));
        for byte in 0..issued.token.len() {
            let mut altered = issued.token.clone();
            altered[byte] ^= 1;
            assert_eq!(tokens.read(&altered, key, HERE).unwrap_err(), InvalidToken, "byte {byte}");
            assert_eq!(
                tokens.read(&issued.token[..byte], key, HERE).unwrap_err(),
                InvalidToken,
                "{byte} bytes"
            );
        }
    }

    #[test]
    fn a_token_of_one_of_the_related_keys_is_none_of_another_s() {
        let (tokens, date) = (tokens(), Timestamp::from_millis(1 << 41));
        let key = KeyId::random(KeyScope::MultiRegion);
        let issued = tokens.issue(key, HERE, WrappingAlgorithm::OaepSha256, SPEC, date);
        assert!(tokens.read(&issued.token, key, HERE).is_ok());
        assert_eq!(tokens.read(&issued.token, key, "eu-west-1").unwrap_err(), InvalidToken);
        let single = KeyId::from_bytes(KeyScope::SingleRegion, *key.as_bytes());
        assert_eq!(tokens.read(&issued.token, single, HERE).unwrap_err(), InvalidToken);
    }

    #[test]
    fn names_are_aws_s() {
        for algorithm in WrappingAlgorithm::ALL {
            assert_eq!(WrappingAlgorithm::from_name(algorithm.name()), Some(algorithm));
        }
        for spec in WrappingKeySpec::ALL {
            assert_eq!(WrappingKeySpec::from_name(spec.name()), Some(spec));
        }
        assert_eq!(WrappingAlgorithm::from_name("SM2PKE"), None);
        assert_eq!(WrappingKeySpec::from_name("SM2"), None);
    }

    #[test]
    fn debug_forms_show_no_byte() {
        let (tokens, key) = (TokenKey::new(Secret::from_slice(&[7; 32]).unwrap()), random());
        let issued = tokens.issue(key, HERE, WrappingAlgorithm::OaepSha1, SPEC, Timestamp::from_millis(0));
        assert_eq!(format!("{tokens:?}"), "TokenKey(Secret<32>(..))");
        assert!(format!("{:?}", tokens.read(&issued.token, key, HERE)).contains("TransportKey(..)"));
    }

    proptest! {
        #[test]
        fn random_bytes_are_no_token(magic in any::<bool>(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let token = if magic { [MAGIC.as_slice(), &bytes].concat() } else { bytes };
            prop_assert_eq!(tokens().read(&token, random(), HERE).unwrap_err(), InvalidToken);
        }
    }
}
