//! EnableKeyRotation, DisableKeyRotation, RotateKeyOnDemand, ListKeyRotations, GetKeyRotationStatus (rules ROT-1 to ROT-7).

use std::time::Duration;

use serde::Serialize;

use super::{Context, Decode, Reply, Request, import, json};
use crate::clock::Timestamp;
use crate::kms::due::{self, Happening};
use crate::kms::error::Cause;
use crate::kms::fields::Fields;
use crate::kms::key::{Key, KeyRecord, MaterialRecord, RotationKind, RotationSchedule};
use crate::kms::page::PageRequest;
use crate::kms::reference::Form;
use crate::kms::ring::{Change, Keyring};
use crate::kms::state::Origin;
use crate::kms::{AwsError, KmsError};

/// Rotations on demand in a key's life (rule ROT-6).
const ON_DEMAND_MAX: usize = 25;
/// Days from one automatic rotation to the next that may be asked for (rule ROT-2).
const PERIOD_DAYS: std::ops::RangeInclusive<u32> = 90..=2560;
/// Days where none are asked for.
const PERIOD_DAYS_DEFAULT: u32 = 365;
/// An automatic rotation that is so near is not overtaken by one on demand (AWS KMS API, RotateKeyOnDemand).
const NEAR: Duration = Duration::from_secs(20 * 60);
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
        if key.record.origin == Origin::External && key.pending().is_none() {
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
        if key.next_rotation().is_some_and(|date| date <= cx.trusted.saturating_add(NEAR)) {
            return Err(KmsError::new(
                AwsError::Conflict,
                format!(
                    "An automatic rotation of {arn} is in progress or begins within the next 20 minutes."
                ),
            ));
        }
        check_imported_everywhere(cx, key)?;
        let Happening { events, changes } =
            due::rotation(cx.ring, key.record.id, RotationKind::OnDemand, cx.now, cx.sealer)
                .ok_or_else(|| KmsError::failed(Cause::Store, format!("{arn} has no primary")))?;
        let output = Some(json(&Rotated { key_id: arn.to_string() })?);
        Ok(Reply { output, changes, events, notice: None })
    }
}

/// New material is imported into every one of the related keys before it becomes current in any (AWS KMS API, RotateKeyOnDemand).
fn check_imported_everywhere(cx: &Context<'_>, key: &Key) -> Result<(), KmsError> {
    let Some(pending) = key.pending().filter(|pending| !is_everywhere(cx.ring, key, pending)) else {
        return Ok(());
    };
    Err(KmsError::new(
        AwsError::InvalidState,
        format!(
            "The key material (id: {}) pending rotation is not imported into all multi-Region keys related to {}.",
            pending.id,
            cx.arn(key)
        ),
    ))
}

/// Whether each of the keys related to `key` has the bytes of `material`.
fn is_everywhere(ring: &Keyring, key: &Key, material: &MaterialRecord) -> bool {
    let mut related = ring.related(key.record.id).into_values();
    related.all(|key| key.material(material.id).is_some_and(|known| known.sealed.is_some()))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rotated {
    key_id: String,
}

fn is_on_demand(material: &MaterialRecord) -> bool {
    matches!(material.rotation, Some((RotationKind::OnDemand, _)))
}

/// EnableKeyRotation counts from now; asked again for the same period it changes nothing, so that a script that asks every day does
/// not put the rotation off (rule ROT-2).
#[derive(Debug)]
pub(super) struct EnableKeyRotation {
    key_id: String,
    period_days: u32,
}

impl Decode for EnableKeyRotation {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        let period = fields.integer("RotationPeriodInDays", PERIOD_DAYS)?;
        Ok(Self { key_id, period_days: period.unwrap_or(PERIOD_DAYS_DEFAULT) })
    }
}

impl Request for EnableKeyRotation {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::IdOrArn)?;
        let known = key.record.rotation.filter(|schedule| schedule.period_days == self.period_days);
        let rotation = known.unwrap_or_else(|| RotationSchedule::from(cx.trusted, self.period_days));
        Ok(schedule(cx, key, Some(rotation)))
    }
}

#[derive(Debug)]
pub(super) struct DisableKeyRotation(String);

impl Decode for DisableKeyRotation {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self(fields.key_id("KeyId")?))
    }
}

impl Request for DisableKeyRotation {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        Ok(schedule(cx, cx.key(&self.0, Form::IdOrArn)?, None))
    }
}

/// Gives `key`, and with it its replicas, another schedule, or none.
fn schedule(cx: &Context<'_>, key: &Key, rotation: Option<RotationSchedule>) -> Reply {
    if key.record.rotation == rotation {
        return Reply::default();
    }
    let related = cx.ring.related(key.record.id).into_iter();
    let changes = related.map(|(region, key)| {
        let record = KeyRecord { rotation, ..key.record.clone() };
        cx.ring.change_in(region, Change::PutKey(record))
    });
    let events = due::synchronizations(cx.ring, key.record.id);
    Reply { events, ..Reply::change(changes.collect()) }
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
        let rotations =
            page.items.into_iter().map(|material| ListedRotation::of(cx.ring, key, material)).collect();
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
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    import_state: Option<&'static str>,
    key_material_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_model: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_to: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_date: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_type: Option<&'static str>,
}

impl ListedRotation {
    fn of(ring: &Keyring, key: &Key, material: &MaterialRecord) -> Self {
        let is_current = key.current().is_some_and(|current| current.id == material.id);
        let description = material.imported.as_ref().map(|imported| imported.description.clone());
        Self {
            key_id: key.record.id.to_string(),
            key_material_id: material.id.to_string(),
            key_material_description: description.filter(|text| !text.is_empty()),
            import_state: import::import_state(material),
            key_material_state: match (material.is_pending(), is_current) {
                (true, _) if !is_ready(ring, key, material) => "PENDING_MULTI_REGION_IMPORT_AND_ROTATION",
                (true, _) => "PENDING_ROTATION",
                (false, true) => "CURRENT",
                (false, false) => "NON_CURRENT",
            },
            expiration_model: import::expiration_model(material),
            valid_to: material.expiry().map(Timestamp::as_seconds_f64),
            rotation_date: material.rotation.map(|(_, date)| Timestamp::as_seconds_f64(date)),
            rotation_type: material.rotation.map(|(kind, _)| kind.name()),
        }
    }
}

/// Whether nothing is left to be imported before a rotation: for a primary in any of the related keys, for a replica in itself.
fn is_ready(ring: &Keyring, key: &Key, material: &MaterialRecord) -> bool {
    material.sealed.is_some() && (key.record.is_replica() || is_everywhere(ring, key, material))
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
        Reply::answer(&RotationStatus::of(key))
    }
}

/// Period and next date belong to a schedule; without one AWS leaves them out, too.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RotationStatus {
    key_rotation_enabled: bool,
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_period_in_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_rotation_date: Option<f64>,
}

impl RotationStatus {
    fn of(key: &Key) -> Self {
        // A key pending deletion does not rotate, and says so; what it said before is true again after a cancellation (ROT-3).
        let answers = !key.record.state.is_pending_deletion();
        let schedule = key.record.rotation.filter(|_| answers);
        Self {
            key_rotation_enabled: schedule.is_some(),
            key_id: key.record.id.to_string(),
            rotation_period_in_days: schedule.map(|schedule| schedule.period_days),
            next_rotation_date: schedule.map(|schedule| schedule.next.as_seconds_f64()),
        }
    }
}
