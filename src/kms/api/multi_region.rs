//! ReplicateKey and UpdatePrimaryRegion (AWS KMS Developer Guide, "Multi-Region keys in AWS KMS").

use std::sync::Arc;

use serde::Serialize;

use super::keys::DESCRIPTION_LEN;
use super::metadata::KeyMetadata;
use super::{Context, Decode, Reply, Request, check, policies, tags};
use crate::kms::access::{self, Act};
use crate::kms::due;
use crate::kms::error::Cause;
use crate::kms::fields::Fields;
use crate::kms::id::is_region;
use crate::kms::key::{Imported, Key, KeyRecord, MaterialRecord, RegionRole};
use crate::kms::policy::{self, Policy};
use crate::kms::reference::Form;
use crate::kms::ring::Change;
use crate::kms::state::{KeyState, Origin};
use crate::kms::{AwsError, KeyChange, KmsError};

/// Letters of a region's name (AWS KMS API, RegionType).
const REGION_LEN: std::ops::RangeInclusive<usize> = 1..=32;
const REGION_PATTERN: &str = "^([a-z]+-){2,3}\\d+$";

/// A region's name. The pattern is told as AWS has it; any name that a home can have passes.
fn region(fields: &mut Fields, name: &'static str) -> Result<String, KmsError> {
    let region = fields.required_text(name, REGION_LEN)?;
    if !is_region(&region) {
        fields.violates_pattern(name, &region, REGION_PATTERN);
    }
    Ok(region)
}

#[derive(Debug)]
pub(super) struct ReplicateKey {
    key_id: String,
    region: String,
    policy: Option<Arc<Policy>>,
    bypasses_lockout_check: bool,
    description: String,
    tags: Vec<(String, String)>,
}

impl Decode for ReplicateKey {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        let region = region(fields, "ReplicaRegion")?;
        let policy = policies::policy_text(fields)?;
        let bypasses_lockout_check = fields.flag("BypassPolicyLockoutSafetyCheck")?;
        let description = fields.text("Description", DESCRIPTION_LEN)?.unwrap_or_default();
        let tags = fields.tags()?.unwrap_or_default();
        fields.finish()?;
        let policy = policy.as_deref().map(policies::parse).transpose()?;
        tags::check(&tags)?;
        Ok(Self { key_id, region, policy, bypasses_lockout_check, description, tags })
    }
}

impl Request for ReplicateKey {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let region = self.region.as_str();
        let primary = cx.key_for(&self.key_id, Form::IdOrArn, Act::into_region(cx.operation, region))?;
        let id = primary.record.id;
        let arn = cx.ring.namespace().key_arn_in(region, id);
        // Where the last one's date has come, it goes first.
        let overdue = due::overdue_elsewhere(cx.ring, region, id, cx.trusted);
        if overdue.is_none() && cx.ring.key_in(region, id).is_some() {
            let why = "You can create only one replica of each primary key in each AWS Region.";
            return Err(KmsError::new(AwsError::AlreadyExists, why));
        }
        cx.touch(&arn);
        let replica = self.replica(cx, primary)?;
        let there = cx.ring.elsewhere(region);
        if !self.bypasses_lockout_check {
            policies::check_lockout_in(&there, cx.caller, &replica)?;
        }
        let mut changes = vec![Change::PutKey(replica.record.clone())];
        let materials = replica.materials.iter();
        changes.extend(materials.map(|material| Change::PutMaterial(material.as_ref().clone())));
        changes.extend(tags::put(id, &self.tags));
        let changes = changes.into_iter().map(|change| cx.ring.change_in(region, change));
        let (mut events, gone) = overdue.map(|overdue| (overdue.events, overdue.changes)).unwrap_or_default();
        let changes: Vec<_> = gone.into_iter().chain(changes).collect();
        let mut ring = cx.ring.clone();
        changes.iter().for_each(|change| ring.apply(change));
        let metadata = KeyMetadata::in_region(&ring, region, &replica).in_state(KeyState::Creating);
        let account = &cx.ring.namespace().account;
        let policy = self.policy.as_ref().map(|policy| policy.text().to_owned());
        let replicated = Replicated {
            replica_key_metadata: metadata,
            replica_policy: policy.unwrap_or_else(|| policy::default_text(account)),
            replica_tags: tags::listed(self.tags.iter().map(|(tag, value)| (tag, value))),
        };
        // What all of them share comes to the other replicas by their own records; this one is told of here.
        events.extend(due::synchronizations(&ring, id).into_iter().filter(|event| *event.key() == arn));
        let notice = Some((arn, KeyChange::Usable));
        Ok(Reply { changes, events, notice, ..Reply::answer(&replicated)? })
    }
}

impl ReplicateKey {
    /// The replica: what related keys share is the primary's, and the rest its own.
    fn replica(&self, cx: &Context<'_>, primary: &Key) -> Result<Key, KmsError> {
        let state = match primary.record.origin {
            Origin::AwsKms => KeyState::Enabled,
            Origin::External => KeyState::PendingImport,
        };
        let record = KeyRecord {
            state,
            description: self.description.clone(),
            created: cx.now,
            policy: self.policy.clone(),
            role: Some(RegionRole::Replica),
            ..primary.record.clone()
        };
        let copy = |material: &Arc<MaterialRecord>| copied(cx, primary, material).map(Arc::new);
        let materials = primary.materials.iter().map(copy).collect::<Result<_, _>>()?;
        Ok(Key { materials, ..Key::new(record) })
    }
}

/// Material for a replica: in a seal of its own, so that what one region destroys is gone and another's is not. What was imported is to be
/// imported there, too; only that it must be the same is known there.
fn copied(cx: &Context<'_>, primary: &Key, material: &MaterialRecord) -> Result<MaterialRecord, KmsError> {
    let record = &primary.record;
    let (sealed, imported) = match (&material.imported, &material.sealed) {
        (None, Some(sealed)) => {
            let open = cx.sealer.open(record.id, record.spec, material.id, sealed).map_err(|_| {
                let version = material.version;
                let why = format!(
                    "the key store has been tampered with: version {version} of the material of key {} does not open",
                    record.id
                );
                KmsError::failed(Cause::Tampered, why)
            })?;
            (Some(cx.sealer.take(record.id, open).1), None)
        }
        (imported, _) => {
            let without =
                |old: &Imported| Imported { valid_to: None, description: String::new(), ..old.clone() };
            (None, imported.as_ref().map(without))
        }
    };
    Ok(MaterialRecord { sealed, imported, uses: 0, ..material.clone() })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Replicated<'t> {
    replica_key_metadata: KeyMetadata,
    replica_policy: String,
    /// AWS leaves them out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    replica_tags: Vec<tags::ListedTag<'t>>,
}

#[derive(Debug)]
pub(super) struct UpdatePrimaryRegion {
    key_id: String,
    region: String,
}

impl Decode for UpdatePrimaryRegion {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self { key_id: fields.key_id("KeyId")?, region: region(fields, "PrimaryRegion")? })
    }
}

impl Request for UpdatePrimaryRegion {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let region = self.region.as_str();
        let act = Act::into_region(cx.operation, region);
        let primary = cx.key_for(&self.key_id, Form::IdOrArn, act)?;
        let id = primary.record.id;
        let arn = cx.ring.namespace().key_arn_in(region, id);
        let related = cx.ring.related(id);
        let replica = related
            .get(region)
            .ok_or_else(|| KmsError::new(AwsError::NotFound, format!("Key '{arn}' does not exist")))?;
        if region == cx.ring.namespace().region {
            let why = format!("{arn} is the multi-region primary key already.");
            return Err(KmsError::new(AwsError::UnsupportedOperation, why));
        }
        cx.touch(&arn);
        // Both change, so that both have to permit it.
        access::authorize(&cx.ring.elsewhere(region), cx.caller, replica, act)?;
        let as_primary = with_role(replica, RegionRole::Primary);
        check(cx.operation, &Key { record: as_primary.clone(), ..replica.as_ref().clone() }, &arn)?;
        Ok(Reply::change(vec![
            Change::PutKey(with_role(primary, RegionRole::Replica)),
            cx.ring.change_in(region, Change::PutKey(as_primary)),
        ]))
    }
}

fn with_role(key: &Key, role: RegionRole) -> KeyRecord {
    KeyRecord { role: Some(role), ..key.record.clone() }
}
