//! GenerateDataKey, GenerateDataKeyPair, both WithoutPlaintext, and GenerateRandom (rule CR-3).

use serde::Serialize;
use zeroize::Zeroizing;

use super::crypto::Common;
use super::sealing::{seal, symmetric};
use super::{Context, Decode, Reply, Request};
use crate::context::EncryptionContext;
use crate::crypto::{pair, rng};
use crate::kms::access::Asked;
use crate::kms::fields::{Fields, base64, not_supported};
use crate::kms::reference::Form;
use crate::kms::spec::{Content, KeySpec};
use crate::kms::{AwsError, KmsError};

/// Bytes that GenerateDataKey and GenerateRandom give.
const RANDOM_LEN: std::ops::RangeInclusive<u32> = 1..=1024;
const AES_256: &str = "AES_256";
/// What pairs are of (AWS KMS API, DataKeyPairSpec).
const PAIR_SPECS: &[&str] = &[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SM2",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
];

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
        let key = cx.key_for(&self.key_id, Form::Any, symmetric(cx.operation.name(), &self.context))?;
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

/// What both ways to make a data key pair ask for.
struct PairRequest {
    key_id: String,
    spec: &'static str,
    context: EncryptionContext,
    common: Common,
}

impl PairRequest {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self {
            key_id: fields.key_id("KeyId")?,
            spec: fields.required_choice("KeyPairSpec", PAIR_SPECS)?,
            context: fields.context("EncryptionContext")?,
            common: Common::decode(fields, &[])?,
        })
    }

    /// Nothing holds the store meanwhile: this changes no key, and RSA takes its time.
    fn handle(&self, cx: &Context<'_>, show: bool) -> Result<Reply, KmsError> {
        let act = symmetric(cx.operation.name(), &self.context);
        let asked = Asked { data_key_pair_spec: Some(self.spec), ..act.asked() };
        let key = cx.key_for(&self.key_id, Form::Any, act.asking(asked))?;
        let Some(Content::Pair(kind)) = KeySpec::from_name(self.spec).map(KeySpec::content) else {
            return Err(not_supported(&format!("The key pair spec {}", self.spec)));
        };
        self.common.would_succeed()?;
        let made = pair::generate(kind);
        let (blob, material) = seal(cx, key, &self.context, &made.private)?;
        self.common.answer(&GeneratedPair {
            private_key_ciphertext_blob: base64(&blob),
            private_key_plaintext: show.then(|| base64(&made.private)),
            public_key: base64(&made.public),
            key_id: cx.arn(key).to_string(),
            key_pair_spec: self.spec,
            key_material_id: material.id.to_string(),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GeneratedPair {
    private_key_ciphertext_blob: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key_plaintext: Option<String>,
    public_key: String,
    key_id: String,
    key_pair_spec: &'static str,
    key_material_id: String,
}

pub(super) struct GenerateDataKeyPair(PairRequest);

impl Decode for GenerateDataKeyPair {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        PairRequest::decode(fields).map(Self)
    }
}

impl Request for GenerateDataKeyPair {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        self.0.handle(cx, true)
    }
}

pub(super) struct GenerateDataKeyPairWithoutPlaintext(PairRequest);

impl Decode for GenerateDataKeyPairWithoutPlaintext {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        PairRequest::decode(fields).map(Self)
    }
}

impl Request for GenerateDataKeyPairWithoutPlaintext {
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
