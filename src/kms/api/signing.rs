//! Sign, Verify, GetPublicKey, DeriveSharedSecret: what asymmetric keys do beside encryption.

use serde::Serialize;
use zeroize::Zeroizing;

use super::metadata::Algorithms;
use super::opening::private_key;
use super::sealing::incompatible;
use super::{Context, Decode, Reply, Request, would_succeed};
use crate::crypto::agree;
use crate::crypto::sign::{self, Subject};
use crate::kms::access::{Act, Asked};
use crate::kms::error::Cause;
use crate::kms::fields::{Fields, base64};
use crate::kms::key::Key;
use crate::kms::reference::Form;
use crate::kms::spec::{KeyAgreementAlgorithm, SigningAlgorithm};
use crate::kms::{AwsError, KmsError};

/// Bytes of a message or a digest.
pub(super) const MESSAGE_LEN: std::ops::RangeInclusive<usize> = 1..=4096;
/// Bytes of a signature.
const SIGNATURE_LEN: std::ops::RangeInclusive<usize> = 1..=6144;
/// Bytes of somebody else's public key.
const PUBLIC_KEY_LEN: std::ops::RangeInclusive<usize> = 1..=8192;
const RAW: &str = "RAW";
const DIGEST: &str = "DIGEST";
/// A hash that is made outside, of ML-DSA keys.
const EXTERNAL_MU: &str = "EXTERNAL_MU";
const MESSAGE_TYPES: &[&str] = &[RAW, DIGEST, EXTERNAL_MU];
/// Every one of AWS's (AWS KMS API, SigningAlgorithmSpec), also those that no key here has.
/// In the order in which another emulator, Floci, has AWS list them.
const ALGORITHMS: &[&str] = &[
    SigningAlgorithm::RsassaPssSha256.name(),
    SigningAlgorithm::RsassaPssSha384.name(),
    SigningAlgorithm::RsassaPssSha512.name(),
    SigningAlgorithm::RsassaPkcs1V15Sha256.name(),
    SigningAlgorithm::RsassaPkcs1V15Sha384.name(),
    SigningAlgorithm::RsassaPkcs1V15Sha512.name(),
    SigningAlgorithm::EcdsaSha256.name(),
    SigningAlgorithm::EcdsaSha384.name(),
    SigningAlgorithm::EcdsaSha512.name(),
    SigningAlgorithm::Ed25519Sha512.name(),
    SigningAlgorithm::Ed25519PhSha512.name(),
    "SM2DSA",
    "ML_DSA_SHAKE_256",
];

/// What Sign and Verify have in common.
struct Signing {
    key_id: String,
    message: Zeroizing<Vec<u8>>,
    message_type: &'static str,
    algorithm: &'static str,
    dry_run: bool,
}

impl Signing {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        let message = fields.blob("Message", MESSAGE_LEN)?;
        let message_type = fields.choice_or("MessageType", MESSAGE_TYPES, RAW)?;
        let algorithm = fields.required_choice("SigningAlgorithm", ALGORITHMS)?;
        fields.grant_tokens()?;
        let dry_run = fields.flag("DryRun")?;
        Ok(Self { key_id, message, message_type, algorithm, dry_run })
    }

    /// The key, with the algorithm that is one of its spec, and with what is signed.
    fn prepare<'a>(&self, cx: &Context<'a>) -> Result<(&'a Key, SigningAlgorithm, Subject<'_>), KmsError> {
        let asked = Asked {
            signing_algorithm: Some(self.algorithm),
            message_type: Some(self.message_type),
            ..Asked::NOTHING
        };
        let key = cx.key_for(&self.key_id, Form::Any, Act::of(cx.operation).asking(asked))?;
        let algorithm = SigningAlgorithm::from_name(self.algorithm)
            .filter(|algorithm| key.record.spec.signing_algorithms().contains(algorithm))
            .ok_or_else(|| incompatible(key, self.algorithm))?;
        Ok((key, algorithm, self.subject(algorithm)?))
    }

    fn subject(&self, algorithm: SigningAlgorithm) -> Result<Subject<'_>, KmsError> {
        let scheme = algorithm.scheme();
        let invalid = |why: String| Err(KmsError::new(AwsError::Validation, why));
        let fits = match self.message_type {
            RAW => scheme.takes_messages(),
            DIGEST => scheme.takes_digests(),
            _ => false,
        };
        if !fits {
            let (name, kind) = (algorithm.name(), self.message_type);
            return invalid(format!("MessageType {kind} is not valid for algorithm {name}."));
        }
        if self.message_type == RAW {
            return Ok(Subject::Message(&self.message));
        }
        if self.message.len() != scheme.hash().digest_len() {
            return invalid(format!("Digest is invalid length for algorithm {}.", algorithm.name()));
        }
        Ok(Subject::Digest(&self.message))
    }
}

pub(super) struct Sign(Signing);

impl Decode for Sign {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Signing::decode(fields).map(Self)
    }
}

impl Request for Sign {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let (key, algorithm, subject) = self.0.prepare(cx)?;
        would_succeed(self.0.dry_run)?;
        let signature = sign::sign(private_key(cx, key)?, algorithm.scheme(), subject).map_err(|_| {
            let (id, name) = (key.record.id, algorithm.name());
            KmsError::failed(Cause::Store, format!("key {id} could not sign with {name}"))
        })?;
        Reply::answer(&Signed {
            key_id: cx.arn(key).to_string(),
            signature: base64(&signature),
            signing_algorithm: algorithm.name(),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Signed {
    key_id: String,
    signature: String,
    signing_algorithm: &'static str,
}

/// Verify never answers that a signature is not valid: that is an error.
pub(super) struct Verify {
    signing: Signing,
    signature: Zeroizing<Vec<u8>>,
}

impl Decode for Verify {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let signing = Signing::decode(fields)?;
        Ok(Self { signing, signature: fields.blob("Signature", SIGNATURE_LEN)? })
    }
}

impl Request for Verify {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let (key, algorithm, subject) = self.signing.prepare(cx)?;
        would_succeed(self.signing.dry_run)?;
        sign::verify(private_key(cx, key)?, algorithm.scheme(), subject, &self.signature)
            .map_err(|_| KmsError::bare(AwsError::InvalidSignature))?;
        Reply::answer(&Verified {
            key_id: cx.arn(key).to_string(),
            signature_valid: true,
            signing_algorithm: algorithm.name(),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Verified {
    key_id: String,
    signature_valid: bool,
    signing_algorithm: &'static str,
}

#[derive(Debug)]
pub(super) struct GetPublicKey {
    key_id: String,
}

impl Decode for GetPublicKey {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        fields.grant_tokens()?;
        Ok(Self { key_id })
    }
}

impl Request for GetPublicKey {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::Any)?;
        let (spec, usage) = (key.record.spec.name(), key.record.usage.name());
        Reply::answer(&PublicKey {
            key_id: cx.arn(key).to_string(),
            public_key: base64(&private_key(cx, key)?.public_der()),
            customer_master_key_spec: spec,
            key_spec: spec,
            key_usage: usage,
            algorithms: Algorithms::of(&key.record),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PublicKey {
    key_id: String,
    public_key: String,
    customer_master_key_spec: &'static str,
    key_spec: &'static str,
    key_usage: &'static str,
    #[serde(flatten)]
    algorithms: Algorithms,
}

#[derive(Debug)]
pub(super) struct DeriveSharedSecret {
    key_id: String,
    algorithm: &'static str,
    public: Zeroizing<Vec<u8>>,
    dry_run: bool,
}

impl Decode for DeriveSharedSecret {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        let algorithm = fields.required_choice("KeyAgreementAlgorithm", KeyAgreementAlgorithm::NAMES)?;
        let public = fields.blob("PublicKey", PUBLIC_KEY_LEN)?;
        fields.grant_tokens()?;
        let dry_run = fields.flag("DryRun")?;
        fields.unsupported("Recipient")?;
        Ok(Self { key_id, algorithm, public, dry_run })
    }
}

impl Request for DeriveSharedSecret {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let asked = Asked { key_agreement_algorithm: Some(self.algorithm), ..Asked::NOTHING };
        let key = cx.key_for(&self.key_id, Form::Any, Act::of(cx.operation).asking(asked))?;
        let known = key.record.spec.key_agreement_algorithms();
        let algorithm = KeyAgreementAlgorithm::from_name(self.algorithm)
            .filter(|algorithm| known.contains(algorithm))
            .ok_or_else(|| incompatible(key, self.algorithm))?;
        // AWS KMS says no more of it either.
        let secret = agree::agree(private_key(cx, key)?, &self.public)
            .map_err(|_| KmsError::bare(AwsError::Validation))?;
        would_succeed(self.dry_run)?;
        Reply::answer(&SharedSecret {
            key_id: cx.arn(key).to_string(),
            shared_secret: base64(&secret),
            key_agreement_algorithm: algorithm.name(),
            key_origin: key.record.origin.name(),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SharedSecret {
    key_id: String,
    shared_secret: String,
    key_agreement_algorithm: &'static str,
    key_origin: &'static str,
}
