//! RotateKeyOnDemand, ListKeyRotations, GetKeyRotationStatus (rules ROT-1, ROT-6, ROT-7).

use serde::Serialize;

use super::{Context, Decode, Reply, Request, json};
use crate::clock::Timestamp;
use crate::kms::fields::Fields;
use crate::kms::key::{Key, MaterialRecord, RotationKind};
use crate::kms::page::PageRequest;
use crate::kms::reference::Form;
use crate::kms::ring::Change;
use crate::kms::state::Origin;
use crate::kms::{AwsError, KmsError};

/// Rotations on demand in a key's life (rule ROT-6).
const ON_DEMAND_MAX: usize = 25;
const ALL_KEY_MATERIAL: &str = "ALL_KEY_MATERIAL";

#[derive(Debug)]
pub(super) struct RotateKeyOnDemand(String);

impl Decode for RotateKeyOnDemand {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self(fields.key_id("KeyId")?))
    }
}

impl Request for RotateKeyOnDemand {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.0, Form::IdOrArn)?;
        let arn = cx.arn(key);
        if key.record.origin == Origin::External {
            return Err(KmsError::new(
                AwsError::InvalidState,
                format!("No available key material pending rotation for the key: {arn}."),
            ));
        }
        let done = key.materials.iter().filter(|material| is_on_demand(material)).count();
        if done >= ON_DEMAND_MAX {
            return Err(KmsError::new(
                AwsError::LimitExceeded,
                format!(
                    "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations \
                     can be performed for this key: {arn}"
                ),
            ));
        }
        let changes = vec![Change::PutMaterial(next_material(cx, key, RotationKind::OnDemand))];
        Ok(Reply { output: Some(json(&Rotated { key_id: arn.to_string() })?), changes, notice: None })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rotated {
    key_id: String,
}

fn is_on_demand(material: &MaterialRecord) -> bool {
    matches!(material.rotation, Some((RotationKind::OnDemand, _)))
}

/// A fresh backing key after the current one.
fn next_material(cx: &Context<'_>, key: &Key, kind: RotationKind) -> MaterialRecord {
    let (id, sealed) = cx.sealer.generate(key.record.id);
    MaterialRecord {
        id,
        key: key.record.id,
        version: key.next_version(),
        rotation: Some((kind, cx.now)),
        sealed: Some(sealed),
        imported: None,
        uses: 0,
    }
}

#[derive(Debug)]
pub(super) struct ListKeyRotations {
    key_id: String,
    all_material: bool,
    page: PageRequest,
}

impl Decode for ListKeyRotations {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self {
            key_id: fields.key_id("KeyId")?,
            all_material: fields.choice("IncludeKeyMaterial", &[ALL_KEY_MATERIAL, "ROTATIONS_ONLY"])?
                == Some(ALL_KEY_MATERIAL),
            page: PageRequest::read(fields, 100, 1000)?,
        })
    }
}

impl Request for ListKeyRotations {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::IdOrArn)?;
        let listed = key.materials.iter().filter(|material| self.all_material || material.rotation.is_some());
        // Zero-padded, so that the order of the markers is the order of the versions.
        let page = self.page.cut("rotations", listed, |material| format!("{:010}", material.version))?;
        let rotations = page.items.into_iter().map(|material| ListedRotation::of(key, material)).collect();
        Reply::answer(&RotationList {
            rotations,
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RotationList {
    rotations: Vec<ListedRotation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedRotation {
    key_id: String,
    key_material_id: String,
    key_material_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_date: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_type: Option<&'static str>,
}

impl ListedRotation {
    fn of(key: &Key, material: &MaterialRecord) -> Self {
        let is_current = key.current().is_some_and(|current| current.id == material.id);
        Self {
            key_id: key.record.id.to_string(),
            key_material_id: material.id.to_string(),
            key_material_state: if is_current { "CURRENT" } else { "NON_CURRENT" },
            rotation_date: material.rotation.map(|(_, date)| Timestamp::as_seconds_f64(date)),
            rotation_type: material.rotation.map(|(kind, _)| kind.name()),
        }
    }
}

#[derive(Debug)]
pub(super) struct GetKeyRotationStatus(String);

impl Decode for GetKeyRotationStatus {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self(fields.key_id("KeyId")?))
    }
}

impl Request for GetKeyRotationStatus {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.0, Form::IdOrArn)?;
        Reply::answer(&RotationStatus { key_rotation_enabled: false, key_id: key.record.id.to_string() })
    }
}

/// Period and next date belong to a schedule; without one AWS leaves them out, too.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RotationStatus {
    key_rotation_enabled: bool,
    key_id: String,
}
