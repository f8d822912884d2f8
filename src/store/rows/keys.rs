//! Rows of CMKs, their backing keys and aliases, and of what is left of destroyed ones.

use std::sync::Arc;

use rusqlite::types::Value;

use super::{Row, integer, optional, text, time};
use crate::clock::Timestamp;
use crate::datakey::KeyArn;
use crate::kms::id::{AliasName, KeyId, KeyScope, MaterialId};
use crate::kms::key::{
    AliasRecord, Imported, KeyManager, KeyRecord, MaterialRecord, RegionRole, RotationKind, RotationSchedule,
    Tombstone,
};
use crate::kms::material::SealedMaterial;
use crate::kms::policy::Policy;
use crate::kms::spec::{KeySpec, KeyUsage};
use crate::kms::state::{KeyState, Origin};

/// The row of a CMK.
pub fn key_row(key: &KeyRecord) -> Row {
    vec![
        key.id.to_string().into(),
        key.state.name().to_owned().into(),
        key.origin.name().to_owned().into(),
        key.description.clone().into(),
        key.created.as_millis().into(),
        key.deletion_date.map(Timestamp::as_millis).into(),
        // A key of a customer is what it was before the column was.
        (key.manager != KeyManager::Customer).then(|| key.manager.name().to_owned()).into(),
        key.rotation.map(|schedule| i64::from(schedule.period_days)).into(),
        key.rotation.map(|schedule| schedule.next.as_millis()).into(),
        key.policy.as_ref().map(|policy| policy.text().to_owned()).into(),
        // So is a symmetric key for encryption.
        (key.spec != KeySpec::SymmetricDefault).then(|| key.spec.name().to_owned()).into(),
        (key.spec != KeySpec::SymmetricDefault).then(|| key.usage.name().to_owned()).into(),
        key.role.map(|role| role.name().to_owned()).into(),
        key.pending_window_days.map(i64::from).into(),
    ]
}

/// The CMK of a row; `None` where the row is not one that [`key_row`] writes.
pub fn key_record(row: &Row) -> Option<KeyRecord> {
    let [
        id,
        state,
        origin,
        description,
        created,
        deletion_date,
        manager,
        period,
        next,
        policy,
        spec,
        usage,
        role,
        window,
    ] = row.as_slice()
    else {
        return None;
    };
    let (id, role) = (KeyId::parse(text(id)?)?, optional(role, |value| RegionRole::from_name(text(value)?))?);
    if role.is_some() != (id.scope() == KeyScope::MultiRegion) {
        return None;
    }
    let (spec, usage) = kind(spec, usage)?;
    let manager = match optional(manager, |value| KeyManager::from_name(text(value)?))? {
        None => KeyManager::Customer,
        Some(KeyManager::Aws) => KeyManager::Aws,
        Some(KeyManager::Customer) => return None,
    };
    let rotation = match (optional(period, integer)?, optional(next, time)?) {
        (Some(period), Some(next)) => {
            Some(RotationSchedule { period_days: u32::try_from(period).ok()?, next })
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return None,
    };
    let state = KeyState::from_name(text(state)?)?;
    let deletion_date = optional(deletion_date, time)?;
    let pending_window_days = optional(window, |value| u32::try_from(integer(value)?).ok())?;
    // The one state is the truth; what belongs to it must not tell another story (rule ST-2).
    let tells_its_state = deletion_date.is_some() == (state == KeyState::PendingDeletion)
        && pending_window_days.is_some() == (state == KeyState::PendingReplicaDeletion);
    let can_wait_for_replicas = pending_window_days.is_none() || role == Some(RegionRole::Primary);
    (tells_its_state && can_wait_for_replicas).then_some(KeyRecord {
        id,
        state,
        origin: Origin::from_name(text(origin)?)?,
        description: text(description)?.to_owned(),
        created: time(created)?,
        deletion_date,
        manager,
        rotation,
        policy: optional(policy, |value| Policy::parse(text(value)?).ok())?.map(Arc::new),
        spec,
        usage,
        role,
        pending_window_days,
    })
}

/// What kind of key it is; `None` where it is none that there can be.
fn kind(spec: &Value, usage: &Value) -> Option<(KeySpec, KeyUsage)> {
    let spec = optional(spec, |value| KeySpec::from_name(text(value)?))?;
    let usage = optional(usage, |value| KeyUsage::from_name(text(value)?))?;
    match (spec, usage) {
        (None, None) => Some((KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt)),
        (Some(KeySpec::SymmetricDefault), _) => None,
        (Some(spec), Some(usage)) => spec.usages().contains(&usage).then_some((spec, usage)),
        (Some(_), None) | (None, Some(_)) => None,
    }
}

/// The row of a backing key.
pub fn material_row(material: &MaterialRecord) -> Row {
    vec![
        material.id.to_string().into(),
        material.key.to_string().into(),
        i64::from(material.version).into(),
        material.rotation.map(|(kind, _)| kind.name().to_owned()).into(),
        material.rotation.map(|(_, date)| date.as_millis()).into(),
        material.sealed.as_ref().map_or(&[][..], SealedMaterial::as_sealed).to_vec().into(),
        material.imported.as_ref().map(|imported| import_name(imported).to_owned()).into(),
        material.imported.as_ref().and_then(|imported| imported.valid_to).map(Timestamp::as_millis).into(),
        material.imported.as_ref().map(|imported| imported.description.clone()).into(),
        (material.uses > 0).then(|| i64::try_from(material.uses).unwrap_or(i64::MAX)).into(),
    ]
}

const fn import_name(imported: &Imported) -> &'static str {
    match imported.pending {
        false => "PERMANENT",
        true => "PENDING",
    }
}

/// The backing key of a row; `None` where the row is not one that [`material_row`] writes.
pub fn material_record(row: &Row) -> Option<MaterialRecord> {
    let [id, key, version, kind, rotated, sealed, import, valid_to, description, uses] = row.as_slice()
    else {
        return None;
    };
    let kind = optional(kind, |value| RotationKind::from_name(text(value)?))?;
    let rotation = match (kind, optional(rotated, time)?) {
        (Some(kind), Some(date)) => Some((kind, date)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return None,
    };
    let Value::Blob(sealed) = sealed else { return None };
    let imported = imported(import, valid_to, description)?;
    // Only imported material can be missing.
    let sealed = match sealed.is_empty() {
        true if imported.is_none() => return None,
        true => None,
        false => Some(SealedMaterial::from_sealed(sealed.clone())),
    };
    let uses = match optional(uses, integer)? {
        None => 0,
        Some(uses) => u64::try_from(uses).ok().filter(|uses| *uses > 0)?,
    };
    Some(MaterialRecord {
        id: MaterialId::parse(text(id)?)?,
        key: KeyId::parse(text(key)?)?,
        version: u32::try_from(integer(version)?).ok()?,
        rotation,
        sealed,
        imported,
        uses,
    })
}

/// What an import said; `None` where the columns tell no story, `Some(None)` where there was none.
fn imported(import: &Value, valid_to: &Value, description: &Value) -> Option<Option<Imported>> {
    let (valid_to, description) = (optional(valid_to, time)?, optional(description, text)?);
    let pending = match (optional(import, text)?, &valid_to, description) {
        (None, None, None) => return Some(None),
        (Some("PERMANENT"), _, Some(_)) => false,
        (Some("PENDING"), _, Some(_)) => true,
        _ => return None,
    };
    Some(Some(Imported { valid_to, description: description.unwrap_or_default().to_owned(), pending }))
}

/// The row of an alias.
pub fn alias_row(alias: &AliasRecord) -> Row {
    vec![
        alias.name.to_string().into(),
        alias.key.to_string().into(),
        alias.created.as_millis().into(),
        alias.updated.as_millis().into(),
    ]
}

/// The alias of a row; `None` where the row is not one that [`alias_row`] writes.
pub fn alias_record(row: &Row) -> Option<AliasRecord> {
    let [name, key, created, updated] = row.as_slice() else { return None };
    Some(AliasRecord {
        name: AliasName::parse(text(name)?)?,
        key: KeyId::parse(text(key)?)?,
        created: time(created)?,
        updated: time(updated)?,
    })
}

/// The row of a tombstone.
pub fn tombstone_row(tombstone: &Tombstone) -> Row {
    vec![
        tombstone.key.to_string().into(),
        tombstone.arn.to_string().into(),
        tombstone.created.as_millis().into(),
        tombstone.deleted.as_millis().into(),
    ]
}

/// The tombstone of a row; `None` where the row is not one that [`tombstone_row`] writes.
pub fn tombstone_record(row: &Row) -> Option<Tombstone> {
    let [key, arn, created, deleted] = row.as_slice() else { return None };
    Some(Tombstone {
        key: KeyId::parse(text(key)?)?,
        arn: KeyArn::new(text(arn)?),
        created: time(created)?,
        deleted: time(deleted)?,
    })
}
