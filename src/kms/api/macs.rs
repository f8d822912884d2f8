//! GenerateMac and VerifyMac.

use serde::Serialize;
use zeroize::Zeroizing;

use super::opening::mac_secret;
use super::sealing::incompatible;
use super::signing::MESSAGE_LEN;
use super::{Context, Decode, Reply, Request, would_succeed};
use crate::crypto::mac;
use crate::kms::access::{Act, Asked};
use crate::kms::fields::{Fields, base64};
use crate::kms::key::Key;
use crate::kms::reference::Form;
use crate::kms::spec::MacAlgorithm;
use crate::kms::{AwsError, KmsError};

/// Bytes of a code.
const MAC_LEN: std::ops::RangeInclusive<usize> = 1..=6144;

/// What both operations have in common.
struct Coding {
    key_id: String,
    message: Zeroizing<Vec<u8>>,
    algorithm: &'static str,
    dry_run: bool,
}

impl Coding {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        let message = fields.blob("Message", MESSAGE_LEN)?;
        let algorithm = fields.required_choice("MacAlgorithm", MacAlgorithm::NAMES)?;
        fields.grant_tokens()?;
        let dry_run = fields.flag("DryRun")?;
        Ok(Self { key_id, message, algorithm, dry_run })
    }

    /// The key, the algorithm that is one of its spec, and the code of the message.
    fn tag<'a>(&self, cx: &Context<'a>) -> Result<(&'a Key, MacAlgorithm, Vec<u8>), KmsError> {
        let asked = Asked { mac_algorithm: Some(self.algorithm), ..Asked::NOTHING };
        let key = cx.key_for(&self.key_id, Form::Any, Act::of(cx.operation).asking(asked))?;
        let algorithm = MacAlgorithm::from_name(self.algorithm)
            .filter(|algorithm| key.record.spec.mac_algorithms().contains(algorithm))
            .ok_or_else(|| incompatible(key, self.algorithm))?;
        let tag = mac_secret(cx, key)?.tag(algorithm, &self.message);
        would_succeed(self.dry_run)?;
        Ok((key, algorithm, tag))
    }
}

pub(super) struct GenerateMac(Coding);

impl Decode for GenerateMac {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Coding::decode(fields).map(Self)
    }
}

impl Request for GenerateMac {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let (key, algorithm, tag) = self.0.tag(cx)?;
        Reply::answer(&Generated {
            mac: base64(&tag),
            mac_algorithm: algorithm.name(),
            key_id: cx.arn(key).to_string(),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Generated {
    mac: String,
    mac_algorithm: &'static str,
    key_id: String,
}

/// VerifyMac never answers that a code is not valid: that is an error.
pub(super) struct VerifyMac {
    coding: Coding,
    mac: Zeroizing<Vec<u8>>,
}

impl Decode for VerifyMac {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let coding = Coding::decode(fields)?;
        Ok(Self { coding, mac: fields.blob("Mac", MAC_LEN)? })
    }
}

impl Request for VerifyMac {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let (key, algorithm, tag) = self.coding.tag(cx)?;
        if !mac::same(&tag, &self.mac) {
            return Err(KmsError::bare(AwsError::InvalidMac));
        }
        Reply::answer(&Verified {
            key_id: cx.arn(key).to_string(),
            mac_valid: true,
            mac_algorithm: algorithm.name(),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Verified {
    key_id: String,
    mac_valid: bool,
    mac_algorithm: &'static str,
}
