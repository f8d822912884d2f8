//! Encrypt, Decrypt, ReEncrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext, GenerateRandom (rules CR-1 to CR-3).
//!
//! [`seal`] and [`open`] are the only two places where a backing key is used; the filesystem's data keys go through
//! them as well.

use std::sync::Arc;

use serde::Serialize;
use zeroize::Zeroizing;

use super::{Context, Decode, Reply, Request, would_succeed};
use crate::context::EncryptionContext;
use crate::crypto::rng;
use crate::kms::access::Act;
use crate::kms::ciphertext::{self, Ciphertext};
use crate::kms::error::Cause;
use crate::kms::fields::{Fields, base64};
use crate::kms::key::{Key, MaterialRecord};
use crate::kms::material::BackingKey;
use crate::kms::reference::{self, Form};
use crate::kms::state::KeyState;
use crate::kms::{AwsError, KmsError};

/// Bytes that Encrypt takes.
const PLAINTEXT_LEN: std::ops::RangeInclusive<usize> = 1..=4096;
/// Bytes of a ciphertext blob.
const CIPHERTEXT_LEN: std::ops::RangeInclusive<usize> = 1..=6144;
/// Bytes that GenerateDataKey and GenerateRandom give.
const RANDOM_LEN: std::ops::RangeInclusive<u32> = 1..=1024;
/// The one algorithm of symmetric keys.
pub(in crate::kms) const SYMMETRIC: &str = "SYMMETRIC_DEFAULT";
/// The two permissions of ReEncrypt, of the key that decrypts and of the one that encrypts.
pub(in crate::kms) const RE_ENCRYPT_FROM: &str = "ReEncryptFrom";
pub(in crate::kms) const RE_ENCRYPT_TO: &str = "ReEncryptTo";
const AES_256: &str = "AES_256";
const ALGORITHMS: &[&str] = &[SYMMETRIC, "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"];

/// Encrypts under the current backing key of `key`, whose state permits it.
pub(in crate::kms) fn seal<'k>(
    cx: &Context<'_>,
    key: &'k Key,
    context: &EncryptionContext,
    plaintext: &[u8],
) -> Result<(Vec<u8>, &'k Arc<MaterialRecord>), KmsError> {
    if key.next_rotation().is_some_and(|date| date <= cx.trusted) {
        let why = format!("{} is to be rotated before its next use, and that failed", cx.arn(key));
        return Err(KmsError::failed(Cause::Store, why));
    }
    let material = key.current().ok_or_else(|| {
        let id = key.record.id;
        KmsError::failed(Cause::Tampered, format!("key {id} is in use but has no material"))
    })?;
    let backing = backing_key(cx, material)?;
    let blob = ciphertext::seal(key.record.id, material.id, backing, context, plaintext);
    cx.used.set(Some((key.record.id, material.id)));
    Ok((blob, material))
}

/// What a ciphertext opened to.
pub(in crate::kms) struct Opened<'a> {
    pub key: &'a Arc<Key>,
    pub material: &'a Arc<MaterialRecord>,
    pub plaintext: Zeroizing<Vec<u8>>,
}

/// Decrypts `blob`: finds CMK and backing key by the blob itself, compares with the key that the caller named, asks whether the
/// caller has the permission `action`, then the state table, and only then authenticates.
pub(in crate::kms) fn open<'a>(
    cx: &Context<'a>,
    blob: &[u8],
    named: Option<&str>,
    action: &'static str,
    context: &EncryptionContext,
) -> Result<Opened<'a>, KmsError> {
    let invalid = || KmsError::bare(AwsError::InvalidCiphertext);
    let ciphertext = Ciphertext::parse(blob).ok_or_else(invalid)?;
    let act = Act::with_context(action, context);
    let key = match named {
        Some(name) => {
            let key = reference::find(cx.ring, name, Form::Any)?;
            cx.authorize(key, act)?;
            if key.record.id != ciphertext.key {
                return Err(incorrect_key());
            }
            key
        }
        None => {
            let key = cx.ring.key(ciphertext.key).ok_or_else(unknown_key)?;
            // Who may not use the key learns from a ciphertext no more than that.
            cx.authorize(key, act).map_err(|_| unknown_key())?;
            key
        }
    };
    cx.permitted(key)?;
    let material = key.material(ciphertext.material).ok_or_else(invalid)?;
    let plaintext = ciphertext.open(backing_key(cx, material)?, context).map_err(|_| invalid())?;
    Ok(Opened { key, material, plaintext })
}

fn backing_key<'m>(cx: &Context<'_>, material: &'m MaterialRecord) -> Result<&'m BackingKey, KmsError> {
    let Some(sealed) = &material.sealed else {
        let arn = cx.ring.namespace().key_arn(material.key);
        let why = format!("{arn} {}", KeyState::PendingImport.predicate());
        return Err(KmsError::new(AwsError::InvalidState, why));
    };
    cx.sealer.open(material.key, material.id, sealed).map_err(|_| {
        let (key, version) = (material.key, material.version);
        KmsError::failed(
            Cause::Tampered,
            format!(
                "the key store has been tampered with: version {version} of the material of key {key} does not open"
            ),
        )
    })
}

fn incorrect_key() -> KmsError {
    KmsError::new(
        AwsError::IncorrectKey,
        "The key ID in the request does not identify a CMK that can perform this operation.",
    )
}

/// The refusal of a ciphertext whose key is not known here.
fn unknown_key() -> KmsError {
    KmsError::new(
        AwsError::AccessDenied,
        "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you \
         are not allowed to access.",
    )
}

/// What most cryptographic requests have in common.
struct Common {
    algorithms: Vec<&'static str>,
    dry_run: bool,
}

impl Common {
    fn decode(fields: &mut Fields, algorithms: &[&'static str]) -> Result<Self, KmsError> {
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

    /// Every key here is symmetric, so no other algorithm fits.
    fn check_algorithms(&self) -> Result<(), KmsError> {
        match self.algorithms.iter().find(|algorithm| **algorithm != SYMMETRIC) {
            None => Ok(()),
            Some(algorithm) => Err(KmsError::new(
                AwsError::InvalidKeyUsage,
                format!("Algorithm {algorithm} is incompatible with key spec {SYMMETRIC}."),
            )),
        }
    }

    /// Answers, unless it was only asked whether it would.
    fn answer(&self, output: &impl Serialize) -> Result<Reply, KmsError> {
        would_succeed(self.dry_run)?;
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
        let key =
            cx.key_for(&self.key_id, Form::Any, Act::with_context(cx.operation.name(), &self.context))?;
        self.common.check_algorithms()?;
        let (blob, _) = seal(cx, key, &self.context, &self.plaintext)?;
        self.common.answer(&Encrypted {
            ciphertext_blob: base64(&blob),
            key_id: cx.arn(key).to_string(),
            encryption_algorithm: SYMMETRIC,
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
        self.common.check_algorithms()?;
        let opened = open(cx, &self.blob, self.key_id.as_deref(), cx.operation.name(), &self.context)?;
        self.common.answer(&Decrypted {
            key_id: cx.arn(opened.key).to_string(),
            plaintext: base64(&opened.plaintext),
            encryption_algorithm: SYMMETRIC,
            key_material_id: opened.material.id.to_string(),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypted {
    key_id: String,
    plaintext: String,
    encryption_algorithm: &'static str,
    key_material_id: String,
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
        self.common.check_algorithms()?;
        let opened = open(cx, &self.blob, self.source.as_deref(), RE_ENCRYPT_FROM, &self.source_context)?;
        let act = Act::with_context(RE_ENCRYPT_TO, &self.destination_context);
        let key = cx.key_for(&self.destination, Form::Any, act)?;
        let (blob, material) = seal(cx, key, &self.destination_context, &opened.plaintext)?;
        self.common.answer(&ReEncrypted {
            ciphertext_blob: base64(&blob),
            source_key_id: cx.arn(opened.key).to_string(),
            key_id: cx.arn(key).to_string(),
            source_encryption_algorithm: SYMMETRIC,
            destination_encryption_algorithm: SYMMETRIC,
            source_key_material_id: opened.material.id.to_string(),
            destination_key_material_id: material.id.to_string(),
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
    source_key_material_id: String,
    destination_key_material_id: String,
}

/// What both ways to make a data key ask for.
struct DataKeyRequest {
    key_id: String,
    len: usize,
    context: EncryptionContext,
    common: Common,
}

impl DataKeyRequest {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        let spec = fields.choice("KeySpec", &[AES_256, "AES_128"])?;
        let number = fields.integer("NumberOfBytes", RANDOM_LEN)?;
        let context = fields.context("EncryptionContext")?;
        let common = Common::decode(fields, &[])?;
        fields.finish()?;
        let len = match (spec, number) {
            (Some(AES_256), None) => 32,
            (Some(_), None) => 16,
            (None, Some(number)) => number as usize,
            (None, None) | (Some(_), Some(_)) => {
                return Err(KmsError::new(
                    AwsError::Validation,
                    "Please specify either number of bytes or key spec.",
                ));
            }
        };
        Ok(Self { key_id, len, context, common })
    }

    fn handle(&self, cx: &Context<'_>, show: bool) -> Result<Reply, KmsError> {
        let key =
            cx.key_for(&self.key_id, Form::Any, Act::with_context(cx.operation.name(), &self.context))?;
        let plaintext = random(self.len);
        let (blob, material) = seal(cx, key, &self.context, &plaintext)?;
        self.common.answer(&GeneratedDataKey {
            ciphertext_blob: base64(&blob),
            plaintext: show.then(|| base64(&plaintext)),
            key_id: cx.arn(key).to_string(),
            key_material_id: material.id.to_string(),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GeneratedDataKey {
    ciphertext_blob: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<String>,
    key_id: String,
    key_material_id: String,
}

pub(super) struct GenerateDataKey(DataKeyRequest);

impl Decode for GenerateDataKey {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        DataKeyRequest::decode(fields).map(Self)
    }
}

impl Request for GenerateDataKey {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        self.0.handle(cx, true)
    }
}

pub(super) struct GenerateDataKeyWithoutPlaintext(DataKeyRequest);

impl Decode for GenerateDataKeyWithoutPlaintext {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        DataKeyRequest::decode(fields).map(Self)
    }
}

impl Request for GenerateDataKeyWithoutPlaintext {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        self.0.handle(cx, false)
    }
}

#[derive(Debug)]
pub(super) struct GenerateRandom {
    len: usize,
}

impl Decode for GenerateRandom {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let len = fields.integer("NumberOfBytes", RANDOM_LEN)?;
        for name in ["CustomKeyStoreId", "Recipient"] {
            fields.unsupported(name)?;
        }
        fields.finish()?;
        match len {
            Some(len) => Ok(Self { len: len as usize }),
            None => Err(KmsError::new(AwsError::Validation, "NumberOfBytes is required.")),
        }
    }
}

impl Request for GenerateRandom {
    fn handle(&self, _: &Context<'_>) -> Result<Reply, KmsError> {
        Reply::answer(&GeneratedRandom { plaintext: base64(&random(self.len)) })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GeneratedRandom {
    plaintext: String,
}

fn random(len: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; len]);
    rng::fill_secret(&mut bytes);
    bytes
}
