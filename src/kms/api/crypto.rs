//! Encrypt, Decrypt, ReEncrypt (rules CR-1 and CR-2).

use std::sync::Arc;

use serde::Serialize;
use zeroize::Zeroizing;

use super::opening::private_key;
use super::sealing::{Opened, SYMMETRIC, check_algorithm, incompatible, open, seal};
use super::{Context, Decode, Reply, Request, would_succeed};
use crate::context::EncryptionContext;
use crate::crypto::oaep::{self, Oaep};
use crate::kms::access::Act;
use crate::kms::fields::{Fields, base64};
use crate::kms::key::{Key, MaterialRecord};
use crate::kms::reference::Form;
use crate::kms::spec::EncryptionAlgorithm;
use crate::kms::{AwsError, KmsError};

/// Bytes that Encrypt takes.
const PLAINTEXT_LEN: std::ops::RangeInclusive<usize> = 1..=4096;
/// Bytes of a ciphertext blob.
const CIPHERTEXT_LEN: std::ops::RangeInclusive<usize> = 1..=6144;
/// The two permissions of ReEncrypt, of the key that decrypts and of the one that encrypts.
pub(in crate::kms) const RE_ENCRYPT_FROM: &str = "ReEncryptFrom";
pub(in crate::kms) const RE_ENCRYPT_TO: &str = "ReEncryptTo";
/// In the order in which another emulator, Floci, has AWS list them.
const ALGORITHMS: &[&str] = &[
    EncryptionAlgorithm::RsaesOaepSha1.name(),
    EncryptionAlgorithm::RsaesOaepSha256.name(),
    "SM2PKE",
    SYMMETRIC,
];

/// How an RSA key pads for an algorithm; `None` for the algorithm of symmetric keys.
fn padding(algorithm: &str) -> Option<Oaep> {
    match EncryptionAlgorithm::from_name(algorithm)? {
        EncryptionAlgorithm::SymmetricDefault => None,
        EncryptionAlgorithm::RsaesOaepSha1 => Some(Oaep::Sha1),
        EncryptionAlgorithm::RsaesOaepSha256 => Some(Oaep::Sha256),
    }
}

/// An RSA key authenticates no context, so that none may be given.
fn check_no_context(context: &EncryptionContext) -> Result<(), KmsError> {
    if context.pairs().len() == 0 {
        return Ok(());
    }
    Err(KmsError::new(
        AwsError::Validation,
        "An encryption context is valid only for operations with a symmetric encryption KMS key.",
    ))
}

/// What an encryption made.
struct Sealed<'k> {
    blob: Vec<u8>,
    /// The backing key; AWS KMS names none of an RSA key's.
    material: Option<&'k Arc<MaterialRecord>>,
}

/// Encrypts under `key`, whose state and usage permit it, with `algorithm`.
fn encrypt<'k>(
    cx: &Context<'_>,
    key: &'k Key,
    algorithm: &str,
    context: &EncryptionContext,
    plaintext: &[u8],
) -> Result<Sealed<'k>, KmsError> {
    check_algorithm(key, algorithm)?;
    let Some(oaep) = padding(algorithm) else {
        let (blob, material) = seal(cx, key, context, plaintext)?;
        return Ok(Sealed { blob, material: Some(material) });
    };
    check_no_context(context)?;
    let private = private_key(cx, key)?;
    let most = oaep::most(private, oaep).unwrap_or(0);
    let blob = oaep::encrypt(private, oaep, plaintext).ok_or_else(|| {
        let spec = key.record.spec.name();
        KmsError::new(
            AwsError::Validation,
            format!(
                "Algorithm {algorithm} and key spec {spec} cannot encrypt data larger than {most} bytes."
            ),
        )
    })?;
    Ok(Sealed { blob, material: None })
}

/// What is decrypted, and how.
struct Decryption<'r> {
    blob: &'r [u8],
    named: Option<&'r str>,
    algorithm: &'static str,
    context: &'r EncryptionContext,
}

/// What it gives.
struct Clear<'a> {
    key: &'a Arc<Key>,
    material: Option<&'a Arc<MaterialRecord>>,
    plaintext: Zeroizing<Vec<u8>>,
}

impl Decryption<'_> {
    /// Decrypts with the permission `action`. The ciphertext of an RSA key says nothing of the key, so that it is named.
    fn run<'a>(&self, cx: &Context<'a>, action: &'static str) -> Result<Clear<'a>, KmsError> {
        let Some(oaep) = padding(self.algorithm) else {
            if self.algorithm != SYMMETRIC {
                return self.refuse(cx, action);
            }
            let Opened { key, material, plaintext } = open(cx, self.blob, self.named, action, self.context)?;
            return Ok(Clear { key, material: Some(material), plaintext });
        };
        let key = self.key(cx, action)?;
        check_algorithm(key, self.algorithm)?;
        check_no_context(self.context)?;
        let plaintext = oaep::decrypt(private_key(cx, key)?, oaep, self.blob)
            .map_err(|_| KmsError::bare(AwsError::InvalidCiphertext))?;
        Ok(Clear { key, material: None, plaintext })
    }

    /// An algorithm that no key here has.
    fn refuse<'a>(&self, cx: &Context<'a>, action: &'static str) -> Result<Clear<'a>, KmsError> {
        Err(incompatible(self.key(cx, action)?, self.algorithm))
    }

    fn key<'a>(&self, cx: &Context<'a>, action: &'static str) -> Result<&'a Arc<Key>, KmsError> {
        let name = self.named.ok_or_else(|| {
            KmsError::new(
                AwsError::Validation,
                format!("You must specify the KMS key that decrypts with the algorithm {}.", self.algorithm),
            )
        })?;
        let act = Act::with_context(action, self.context).encrypting(self.algorithm);
        cx.key_for(name, Form::Any, act)
    }
}

/// What most cryptographic requests have in common.
pub(super) struct Common {
    algorithms: Vec<&'static str>,
    dry_run: bool,
}

impl Common {
    pub fn decode(fields: &mut Fields, algorithms: &[&'static str]) -> Result<Self, KmsError> {
        let algorithms = algorithms
            .iter()
            .map(|name| fields.choice_or(name, ALGORITHMS, SYMMETRIC))
            .collect::<Result<_, KmsError>>()?;
        fields.grant_tokens()?;
        for name in ["Recipient", "DryRunModifiers"] {
            fields.unsupported(name)?;
        }
        Ok(Self { algorithms, dry_run: fields.flag("DryRun")? })
    }

    /// The algorithm that was read as the one of that number.
    fn algorithm(&self, number: usize) -> &'static str {
        self.algorithms.get(number).copied().unwrap_or(SYMMETRIC)
    }

    /// Ends a request that only asked whether it would succeed.
    pub fn would_succeed(&self) -> Result<(), KmsError> {
        would_succeed(self.dry_run)
    }

    /// Answers, unless it was only asked whether it would.
    pub fn answer(&self, output: &impl Serialize) -> Result<Reply, KmsError> {
        self.would_succeed()?;
        Reply::answer(output)
    }
}

pub(super) struct Encrypt {
    key_id: String,
    plaintext: Zeroizing<Vec<u8>>,
    context: EncryptionContext,
    common: Common,
}

impl Decode for Encrypt {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self {
            key_id: fields.key_id("KeyId")?,
            plaintext: fields.blob("Plaintext", PLAINTEXT_LEN)?,
            context: fields.context("EncryptionContext")?,
            common: Common::decode(fields, &["EncryptionAlgorithm"])?,
        })
    }
}

impl Request for Encrypt {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let algorithm = self.common.algorithm(0);
        let act = Act::with_context(cx.operation.name(), &self.context).encrypting(algorithm);
        let key = cx.key_for(&self.key_id, Form::Any, act)?;
        let Sealed { blob, .. } = encrypt(cx, key, algorithm, &self.context, &self.plaintext)?;
        self.common.answer(&Encrypted {
            ciphertext_blob: base64(&blob),
            key_id: cx.arn(key).to_string(),
            encryption_algorithm: algorithm,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypted {
    ciphertext_blob: String,
    key_id: String,
    encryption_algorithm: &'static str,
}

pub(super) struct Decrypt {
    blob: Zeroizing<Vec<u8>>,
    key_id: Option<String>,
    context: EncryptionContext,
    common: Common,
}

impl Decode for Decrypt {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self {
            blob: fields.blob("CiphertextBlob", CIPHERTEXT_LEN)?,
            key_id: fields.optional_key_id("KeyId")?,
            context: fields.context("EncryptionContext")?,
            common: Common::decode(fields, &["EncryptionAlgorithm"])?,
        })
    }
}

impl Request for Decrypt {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let algorithm = self.common.algorithm(0);
        let (blob, named, context) = (&*self.blob, self.key_id.as_deref(), &self.context);
        let clear = Decryption { blob, named, algorithm, context }.run(cx, cx.operation.name())?;
        self.common.answer(&Decrypted {
            key_id: cx.arn(clear.key).to_string(),
            plaintext: base64(&clear.plaintext),
            encryption_algorithm: algorithm,
            key_material_id: clear.material.map(|material| material.id.to_string()),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypted {
    key_id: String,
    plaintext: String,
    encryption_algorithm: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<String>,
}

pub(super) struct ReEncrypt {
    blob: Zeroizing<Vec<u8>>,
    source: Option<String>,
    source_context: EncryptionContext,
    destination: String,
    destination_context: EncryptionContext,
    common: Common,
}

impl Decode for ReEncrypt {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self {
            blob: fields.blob("CiphertextBlob", CIPHERTEXT_LEN)?,
            source: fields.optional_key_id("SourceKeyId")?,
            source_context: fields.context("SourceEncryptionContext")?,
            destination: fields.key_id("DestinationKeyId")?,
            destination_context: fields.context("DestinationEncryptionContext")?,
            common: Common::decode(fields, &["SourceEncryptionAlgorithm", "DestinationEncryptionAlgorithm"])?,
        })
    }
}

impl Request for ReEncrypt {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let [from, to] = [self.common.algorithm(0), self.common.algorithm(1)];
        let (blob, named, context) = (&*self.blob, self.source.as_deref(), &self.source_context);
        let clear = Decryption { blob, named, algorithm: from, context }.run(cx, RE_ENCRYPT_FROM)?;
        let act = Act::with_context(RE_ENCRYPT_TO, &self.destination_context).encrypting(to);
        let key = cx.key_for(&self.destination, Form::Any, act)?;
        let Sealed { blob, material } = encrypt(cx, key, to, &self.destination_context, &clear.plaintext)?;
        self.common.answer(&ReEncrypted {
            ciphertext_blob: base64(&blob),
            source_key_id: cx.arn(clear.key).to_string(),
            key_id: cx.arn(key).to_string(),
            source_encryption_algorithm: from,
            destination_encryption_algorithm: to,
            source_key_material_id: clear.material.map(|material| material.id.to_string()),
            destination_key_material_id: material.map(|material| material.id.to_string()),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReEncrypted {
    ciphertext_blob: String,
    source_key_id: String,
    key_id: String,
    source_encryption_algorithm: &'static str,
    destination_encryption_algorithm: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_key_material_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_key_material_id: Option<String>,
}
