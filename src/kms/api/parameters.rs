//! GetParametersForImport: a public key that wraps material, and the token that goes with it (rule IMP-2).

use serde::Serialize;

use super::{Context, Decode, Reply, Request};
use crate::kms::fields::{Fields, base64, not_supported};
use crate::kms::import::{WrappingAlgorithm, WrappingKeySpec};
use crate::kms::key::Key;
use crate::kms::reference::Form;
use crate::kms::{AwsError, KmsError};

/// Days that a public key and its token are good for.
const PARAMETERS_DAYS: u32 = 1;
const ALGORITHMS: &[&str] = &[
    WrappingAlgorithm::Pkcs1V15.name(),
    WrappingAlgorithm::OaepSha1.name(),
    WrappingAlgorithm::OaepSha256.name(),
    WrappingAlgorithm::KeyWrapSha1.name(),
    WrappingAlgorithm::KeyWrapSha256.name(),
    "SM2PKE",
];
const KEY_SPECS: &[&str] = &["RSA_2048", "RSA_3072", "RSA_4096", "SM2"];

#[derive(Debug)]
pub(super) struct GetParametersForImport {
    key_id: String,
    algorithm: &'static str,
    spec: &'static str,
}

impl Decode for GetParametersForImport {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self {
            key_id: fields.key_id("KeyId")?,
            algorithm: fields.required_choice("WrappingAlgorithm", ALGORITHMS)?,
            spec: fields.required_choice("WrappingKeySpec", KEY_SPECS)?,
        })
    }
}

impl Request for GetParametersForImport {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::IdOrArn)?;
        let spec = WrappingKeySpec::from_name(self.spec)
            .ok_or_else(|| not_supported(&format!("The wrapping key spec {}", self.spec)))?;
        let algorithm = self.algorithm(cx, key, spec)?;
        let valid_to = cx.now.plus_days(PARAMETERS_DAYS);
        let region = &cx.ring.namespace().region;
        let issued = cx.sealer.tokens().issue(key.record.id, region, algorithm, spec, valid_to);
        Reply::answer(&Parameters {
            key_id: cx.arn(key).to_string(),
            import_token: base64(&issued.token),
            public_key: base64(&issued.public_key),
            parameters_valid_to: valid_to.as_seconds_f64(),
        })
    }
}

impl GetParametersForImport {
    /// The algorithm, if it wraps a key like this one and the home permits it.
    fn algorithm(
        &self,
        cx: &Context<'_>,
        key: &Key,
        wrapping: WrappingKeySpec,
    ) -> Result<WrappingAlgorithm, KmsError> {
        let name = self.algorithm;
        let unsupported = |why: String| Err(KmsError::new(AwsError::UnsupportedOperation, why));
        let algorithm = WrappingAlgorithm::from_name(name)
            .ok_or_else(|| not_supported(&format!("The wrapping algorithm {name}")))?;
        if algorithm == WrappingAlgorithm::Pkcs1V15 && !cx.ring.permits_legacy_wrapping() {
            return unsupported(format!(
                "The wrapping algorithm {name} is not supported: it lets whoever sees which wraps fail work out what \
                 is in others, and AWS KMS refuses it since October 10, 2023. Use RSAES_OAEP_SHA_256. Only a home that \
                 was made with kmsfs setup --legacy-wrapping takes it."
            ));
        }
        let spec = key.record.spec;
        if algorithm.suits(spec, wrapping) {
            return Ok(algorithm);
        }
        let best = WrappingAlgorithm::ALL.into_iter().find(|better| better.suits(spec, wrapping));
        let best = best.map_or("another wrapping key spec", WrappingAlgorithm::name);
        let (arn, spec) = (cx.arn(key), spec.name());
        unsupported(match algorithm {
            WrappingAlgorithm::KeyWrapSha256 | WrappingAlgorithm::KeyWrapSha1 => format!(
                "The wrapping algorithm {name} is for RSA and ECC key material, and the key spec of {arn} is {spec}. \
                 Use {best}."
            ),
            WrappingAlgorithm::OaepSha256 | WrappingAlgorithm::OaepSha1 | WrappingAlgorithm::Pkcs1V15 => {
                format!(
                    "The wrapping algorithm {name} with the wrapping key spec {} is not for key material of the key spec \
                 {spec}, which that of {arn} is. Use {best}.",
                    wrapping.name()
                )
            }
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Parameters {
    key_id: String,
    import_token: String,
    public_key: String,
    parameters_valid_to: f64,
}
