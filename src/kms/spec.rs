//! Kinds of keys: which specs there are, what each is used for, and with which algorithms (AWS KMS API, KeyMetadata; "Key spec
//! reference", AWS KMS Developer Guide).
//!
//! The tables are total: a new spec, usage or operation does not compile until its cells are filled in. No other module compares specs
//! by itself.

use super::Operation;
use crate::crypto::hash::HashFunction;
use crate::crypto::pair::PairKind;
use crate::crypto::sign::Scheme;
use crate::crypto::transport::Modulus;

/// Declares an enumeration together with AWS's names, in AWS's order.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`.")] $variant,)*
        }

        impl $name {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            /// AWS's names for them.
            pub const NAMES: &[&str] = &[$($text),*];

            /// AWS's name for it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// The one of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.name() == name)
            }
        }
    };
}

named! {
    /// What material a key has.
    KeySpec {
        SymmetricDefault = "SYMMETRIC_DEFAULT",
        Rsa2048 = "RSA_2048",
        Rsa3072 = "RSA_3072",
        Rsa4096 = "RSA_4096",
        EccNistP256 = "ECC_NIST_P256",
        EccNistP384 = "ECC_NIST_P384",
        EccNistP521 = "ECC_NIST_P521",
        EccSecgP256k1 = "ECC_SECG_P256K1",
        EccNistEdwards25519 = "ECC_NIST_EDWARDS25519",
        Hmac224 = "HMAC_224",
        Hmac256 = "HMAC_256",
        Hmac384 = "HMAC_384",
        Hmac512 = "HMAC_512",
    }
}

named! {
    /// What a key is for. It has one use, for good.
    KeyUsage {
        EncryptDecrypt = "ENCRYPT_DECRYPT",
        SignVerify = "SIGN_VERIFY",
        GenerateVerifyMac = "GENERATE_VERIFY_MAC",
        KeyAgreement = "KEY_AGREEMENT",
    }
}

named! {
    /// How a key encrypts (AWS KMS API, EncryptionAlgorithmSpec).
    EncryptionAlgorithm {
        SymmetricDefault = "SYMMETRIC_DEFAULT",
        RsaesOaepSha1 = "RSAES_OAEP_SHA_1",
        RsaesOaepSha256 = "RSAES_OAEP_SHA_256",
    }
}

named! {
    /// How a key signs (AWS KMS API, SigningAlgorithmSpec).
    SigningAlgorithm {
        RsassaPssSha256 = "RSASSA_PSS_SHA_256",
        RsassaPssSha384 = "RSASSA_PSS_SHA_384",
        RsassaPssSha512 = "RSASSA_PSS_SHA_512",
        RsassaPkcs1V15Sha256 = "RSASSA_PKCS1_V1_5_SHA_256",
        RsassaPkcs1V15Sha384 = "RSASSA_PKCS1_V1_5_SHA_384",
        RsassaPkcs1V15Sha512 = "RSASSA_PKCS1_V1_5_SHA_512",
        EcdsaSha256 = "ECDSA_SHA_256",
        EcdsaSha384 = "ECDSA_SHA_384",
        EcdsaSha512 = "ECDSA_SHA_512",
        Ed25519Sha512 = "ED25519_SHA_512",
        Ed25519PhSha512 = "ED25519_PH_SHA_512",
    }
}

named! {
    /// How a key makes message authentication codes (AWS KMS API, MacAlgorithmSpec).
    MacAlgorithm {
        HmacSha384 = "HMAC_SHA_384",
        HmacSha256 = "HMAC_SHA_256",
        HmacSha224 = "HMAC_SHA_224",
        HmacSha512 = "HMAC_SHA_512",
    }
}

named! {
    /// How a key agrees on a secret (AWS KMS API, KeyAgreementAlgorithmSpec).
    KeyAgreementAlgorithm {
        Ecdh = "ECDH",
    }
}

/// Specs of AWS's that this version has not: post-quantum keys, and those of the regions in China.
pub const SPECS_NOT_HERE: &[&str] =
    &["SM2", "ML_DSA_44", "ML_DSA_65", "ML_DSA_87", "ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"];

/// What the rules of a key's life distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// A symmetric key for encryption: the only kind that rotates, and that files can have.
    Symmetric,
    /// A private key, whose public key can be asked for.
    Asymmetric,
    /// A symmetric key for message authentication codes.
    Hmac,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Symmetric, Self::Asymmetric, Self::Hmac];

    /// What people call it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Symmetric => "symmetric",
            Self::Asymmetric => "asymmetric",
            Self::Hmac => "HMAC",
        }
    }
}

/// What the bytes of a key's material are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A backing key of 256 bits.
    Backing,
    /// A private key of this kind, in PKCS #8.
    Pair(PairKind),
    /// Bytes that key an HMAC, of as many as lie in this range where they are imported; the service makes the least.
    Mac {
        /// The fewest.
        least: usize,
        /// The most.
        most: usize,
    },
}

impl KeySpec {
    /// Its kind.
    pub const fn kind(self) -> KeyKind {
        match self.content() {
            Content::Backing => KeyKind::Symmetric,
            Content::Pair(_) => KeyKind::Asymmetric,
            Content::Mac { .. } => KeyKind::Hmac,
        }
    }

    /// What its material is.
    pub const fn content(self) -> Content {
        match self {
            Self::SymmetricDefault => Content::Backing,
            Self::Rsa2048 => Content::Pair(PairKind::Rsa(Modulus::Bits2048)),
            Self::Rsa3072 => Content::Pair(PairKind::Rsa(Modulus::Bits3072)),
            Self::Rsa4096 => Content::Pair(PairKind::Rsa(Modulus::Bits4096)),
            Self::EccNistP256 => Content::Pair(PairKind::P256),
            Self::EccNistP384 => Content::Pair(PairKind::P384),
            Self::EccNistP521 => Content::Pair(PairKind::P521),
            Self::EccSecgP256k1 => Content::Pair(PairKind::Secp256k1),
            Self::EccNistEdwards25519 => Content::Pair(PairKind::Ed25519),
            Self::Hmac224 => Content::Mac { least: 28, most: 64 },
            Self::Hmac256 => Content::Mac { least: 32, most: 64 },
            Self::Hmac384 => Content::Mac { least: 48, most: 128 },
            Self::Hmac512 => Content::Mac { least: 64, most: 128 },
        }
    }

    /// What a key of it can be used for; the first is what it is for where nothing is said.
    pub const fn usages(self) -> &'static [KeyUsage] {
        match self {
            Self::SymmetricDefault => &[KeyUsage::EncryptDecrypt],
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => {
                &[KeyUsage::EncryptDecrypt, KeyUsage::SignVerify]
            }
            Self::EccNistP256 | Self::EccNistP384 | Self::EccNistP521 => {
                &[KeyUsage::SignVerify, KeyUsage::KeyAgreement]
            }
            Self::EccSecgP256k1 | Self::EccNistEdwards25519 => &[KeyUsage::SignVerify],
            Self::Hmac224 | Self::Hmac256 | Self::Hmac384 | Self::Hmac512 => &[KeyUsage::GenerateVerifyMac],
        }
    }

    /// With which algorithms a key of it encrypts, if that is what it is for.
    pub const fn encryption_algorithms(self) -> &'static [EncryptionAlgorithm] {
        match self.kind() {
            KeyKind::Symmetric => &[EncryptionAlgorithm::SymmetricDefault],
            KeyKind::Asymmetric if self.is_rsa() => {
                &[EncryptionAlgorithm::RsaesOaepSha1, EncryptionAlgorithm::RsaesOaepSha256]
            }
            KeyKind::Asymmetric | KeyKind::Hmac => &[],
        }
    }

    /// With which algorithms a key of it signs, if that is what it is for.
    pub const fn signing_algorithms(self) -> &'static [SigningAlgorithm] {
        use SigningAlgorithm as A;
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => &[
                A::RsassaPkcs1V15Sha256,
                A::RsassaPkcs1V15Sha384,
                A::RsassaPkcs1V15Sha512,
                A::RsassaPssSha256,
                A::RsassaPssSha384,
                A::RsassaPssSha512,
            ],
            Self::EccNistP256 | Self::EccSecgP256k1 => &[A::EcdsaSha256],
            Self::EccNistP384 => &[A::EcdsaSha384],
            Self::EccNistP521 => &[A::EcdsaSha512],
            Self::EccNistEdwards25519 => &[A::Ed25519Sha512, A::Ed25519PhSha512],
            Self::SymmetricDefault | Self::Hmac224 | Self::Hmac256 | Self::Hmac384 | Self::Hmac512 => &[],
        }
    }

    /// With which algorithms a key of it makes message authentication codes.
    pub const fn mac_algorithms(self) -> &'static [MacAlgorithm] {
        match self {
            Self::Hmac224 => &[MacAlgorithm::HmacSha224],
            Self::Hmac256 => &[MacAlgorithm::HmacSha256],
            Self::Hmac384 => &[MacAlgorithm::HmacSha384],
            Self::Hmac512 => &[MacAlgorithm::HmacSha512],
            Self::SymmetricDefault
            | Self::Rsa2048
            | Self::Rsa3072
            | Self::Rsa4096
            | Self::EccNistP256
            | Self::EccNistP384
            | Self::EccNistP521
            | Self::EccSecgP256k1
            | Self::EccNistEdwards25519 => &[],
        }
    }

    /// With which algorithms a key of it agrees on secrets, if that is what it is for.
    pub const fn key_agreement_algorithms(self) -> &'static [KeyAgreementAlgorithm] {
        match self {
            Self::EccNistP256 | Self::EccNistP384 | Self::EccNistP521 => &[KeyAgreementAlgorithm::Ecdh],
            Self::SymmetricDefault
            | Self::Rsa2048
            | Self::Rsa3072
            | Self::Rsa4096
            | Self::EccSecgP256k1
            | Self::EccNistEdwards25519
            | Self::Hmac224
            | Self::Hmac256
            | Self::Hmac384
            | Self::Hmac512 => &[],
        }
    }

    const fn is_rsa(self) -> bool {
        matches!(self.content(), Content::Pair(PairKind::Rsa(_)))
    }
}

impl MacAlgorithm {
    /// The hash function of the HMAC.
    pub const fn hash(self) -> HashFunction {
        match self {
            Self::HmacSha224 => HashFunction::Sha224,
            Self::HmacSha256 => HashFunction::Sha256,
            Self::HmacSha384 => HashFunction::Sha384,
            Self::HmacSha512 => HashFunction::Sha512,
        }
    }
}

impl SigningAlgorithm {
    /// How it signs.
    pub const fn scheme(self) -> Scheme {
        match self {
            Self::RsassaPssSha256 => Scheme::Pss(HashFunction::Sha256),
            Self::RsassaPssSha384 => Scheme::Pss(HashFunction::Sha384),
            Self::RsassaPssSha512 => Scheme::Pss(HashFunction::Sha512),
            Self::RsassaPkcs1V15Sha256 => Scheme::Pkcs1(HashFunction::Sha256),
            Self::RsassaPkcs1V15Sha384 => Scheme::Pkcs1(HashFunction::Sha384),
            Self::RsassaPkcs1V15Sha512 => Scheme::Pkcs1(HashFunction::Sha512),
            Self::EcdsaSha256 => Scheme::Ecdsa(HashFunction::Sha256),
            Self::EcdsaSha384 => Scheme::Ecdsa(HashFunction::Sha384),
            Self::EcdsaSha512 => Scheme::Ecdsa(HashFunction::Sha512),
            Self::Ed25519Sha512 => Scheme::Ed25519,
            Self::Ed25519PhSha512 => Scheme::Ed25519ph,
        }
    }
}

/// Whether an operation is one for a key that is used for `usage`.
pub const fn is_for(operation: Operation, usage: KeyUsage) -> bool {
    use Operation as O;
    match operation {
        O::Encrypt
        | O::Decrypt
        | O::ReEncrypt
        | O::GenerateDataKey
        | O::GenerateDataKeyWithoutPlaintext
        | O::GenerateDataKeyPair
        | O::GenerateDataKeyPairWithoutPlaintext => matches!(usage, KeyUsage::EncryptDecrypt),
        O::Sign | O::Verify => matches!(usage, KeyUsage::SignVerify),
        O::GenerateMac | O::VerifyMac => matches!(usage, KeyUsage::GenerateVerifyMac),
        O::DeriveSharedSecret => matches!(usage, KeyUsage::KeyAgreement),
        O::GetPublicKey
        | O::CreateGrant
        | O::DescribeKey
        | O::ListAliases
        | O::ListGrants
        | O::GetKeyPolicy
        | O::PutKeyPolicy
        | O::ListKeyPolicies
        | O::ListResourceTags
        | O::RetireGrant
        | O::RevokeGrant
        | O::DeleteAlias
        | O::EnableKey
        | O::DisableKey
        | O::EnableKeyRotation
        | O::DisableKeyRotation
        | O::RotateKeyOnDemand
        | O::GetKeyRotationStatus
        | O::ListKeyRotations
        | O::GetKeyLastUsage
        | O::UpdateAlias
        | O::CreateAlias
        | O::TagResource
        | O::UntagResource
        | O::UpdateKeyDescription
        | O::ScheduleKeyDeletion
        | O::CancelKeyDeletion
        | O::GetParametersForImport
        | O::ImportKeyMaterial
        | O::DeleteImportedKeyMaterial
        | O::ReplicateKey
        | O::UpdatePrimaryRegion
        | O::CreateKey
        | O::ListKeys
        | O::ListRetirableGrants
        | O::GenerateRandom => true,
    }
}

/// Whether an operation that fits a key's usage is for symmetric keys alone.
pub const fn is_for_symmetric_alone(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::GenerateDataKey
            | Operation::GenerateDataKeyWithoutPlaintext
            | Operation::GenerateDataKeyPair
            | Operation::GenerateDataKeyPairWithoutPlaintext
    )
}

#[cfg(test)]
mod tests;
