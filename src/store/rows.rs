//! Rows: how the records of the key service look in the database's tables.
//!
//! A record has exactly one row, column by column, and a row that authenticates has exactly one record: what is loaded
//! is written back to compare.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::Value;

use crate::clock::Timestamp;
use crate::datakey::KeyArn;
use crate::kms::alarm::{self, Action, AlarmRecord, Watch};
use crate::kms::grant::{Constraints, GrantOperation, GrantRecord};
use crate::kms::id::{AliasName, GrantId, KeyId, MaterialId};
use crate::kms::key::{
    AliasRecord, Imported, KeyManager, KeyRecord, MaterialRecord, RotationKind, RotationSchedule, TagRecord,
    Tombstone,
};
use crate::kms::material::SealedMaterial;
use crate::kms::policy::{NamedPrincipal, Policy};
use crate::kms::state::{KeyState, Origin};
use crate::kms::volume::{Count, KeyUsage, VolumeRecord};

/// The values of a row in the order of [`Table::columns`], without the MAC.
pub type Row = Vec<Value>;

/// A table whose rows are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// Facts about the home.
    Meta,
    /// What unlocks the root key.
    Slots,
    /// CMKs.
    Keys,
    /// Their backing keys.
    Materials,
    /// Their aliases.
    Aliases,
    /// What is left of destroyed CMKs.
    Tombstones,
    /// Who may use a CMK beside those whom its policy lets.
    Grants,
    /// Tags of CMKs.
    Tags,
    /// What is done when a CMK is used that should not be.
    Alarms,
    /// Encrypted directories that the home knows of.
    Volumes,
}

impl Table {
    /// Every table, each after those that its rows refer to.
    pub const ALL: [Self; 10] = [
        Self::Meta,
        Self::Slots,
        Self::Keys,
        Self::Materials,
        Self::Aliases,
        Self::Tombstones,
        Self::Grants,
        Self::Tags,
        Self::Alarms,
        Self::Volumes,
    ];

    /// Its name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Slots => "slots",
            Self::Keys => "keys",
            Self::Materials => "materials",
            Self::Aliases => "aliases",
            Self::Tombstones => "tombstones",
            Self::Grants => "grants",
            Self::Tags => "tags",
            Self::Alarms => "alarms",
            Self::Volumes => "volumes",
        }
    }

    /// Its columns without the MAC; the first one is its key.
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Meta => &["name", "value"],
            Self::Slots => &["id", "kind", "parameters", "salt", "sealed", "made"],
            Self::Keys => &[
                "id",
                "state",
                "origin",
                "description",
                "created",
                "deletion_date",
                "manager",
                "rotation_period",
                "rotation_next",
                "policy",
            ],
            Self::Materials => &[
                "id",
                "key_id",
                "version",
                "rotation",
                "rotated",
                "sealed",
                "import",
                "valid_to",
                "description",
                "uses",
            ],
            Self::Aliases => &["name", "key_id", "created", "updated"],
            Self::Tombstones => &["key_id", "arn", "created", "deleted"],
            Self::Grants => &[
                "id",
                "key_id",
                "name",
                "grantee",
                "retiring",
                "operations",
                "constraints",
                "issuer",
                "created",
            ],
            Self::Tags => &["id", "key_id", "tag", "value"],
            Self::Alarms => &["name", "key_id", "watch", "action", "period", "created"],
            Self::Volumes => &["id", "path", "seen", "counted", "usage"],
        }
    }

    /// How many columns the table began with. A later one that is NULL is not part of what a MAC covers, so that the MACs of rows
    /// from before it was added go on holding; every other value of it is.
    pub const fn first_columns(self) -> usize {
        match self {
            Self::Slots => 5,
            Self::Keys | Self::Materials => 6,
            Self::Meta
            | Self::Aliases
            | Self::Tombstones
            | Self::Grants
            | Self::Tags
            | Self::Alarms
            | Self::Volumes => self.columns().len(),
        }
    }

    /// The schema that it came with. A home that was made before has no head for it until it is opened.
    pub const fn since(self) -> u32 {
        match self {
            Self::Meta | Self::Slots | Self::Keys | Self::Materials | Self::Aliases | Self::Tombstones => 1,
            Self::Grants | Self::Tags | Self::Alarms | Self::Volumes => 3,
        }
    }
}

/// The row of a fact about the home.
pub fn meta_row(name: &str, value: Value) -> Row {
    vec![name.to_owned().into(), value]
}

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
    ]
}

/// The CMK of a row; `None` where the row is not one that [`key_row`] writes.
pub fn key_record(row: &Row) -> Option<KeyRecord> {
    let [id, state, origin, description, created, deletion_date, manager, period, next, policy] =
        row.as_slice()
    else {
        return None;
    };
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
    // The one state is the truth; the date belongs to it and must not tell another story (rule ST-2).
    (deletion_date.is_some() == (state == KeyState::PendingDeletion)).then_some(KeyRecord {
        id: KeyId::parse(text(id)?)?,
        state,
        origin: Origin::from_name(text(origin)?)?,
        description: text(description)?.to_owned(),
        created: time(created)?,
        deletion_date,
        manager,
        rotation,
        policy: optional(policy, |value| Policy::parse(text(value)?).ok())?.map(Arc::new),
    })
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

/// The row of a grant. Operations are names with commas between them, constraints are JSON.
pub fn grant_row(grant: &GrantRecord) -> Row {
    let operations: Vec<_> = grant.operations.iter().map(|operation| operation.name()).collect();
    let constraints = (!grant.constraints.is_empty()).then(|| grant.constraints.to_json()).into();
    vec![
        grant.id.to_string().into(),
        grant.key.to_string().into(),
        grant.name.clone().into(),
        grant.grantee.as_str().to_owned().into(),
        grant.retiring.as_ref().map(|retiring| retiring.as_str().to_owned()).into(),
        operations.join(",").into(),
        constraints,
        grant.issuer.clone().into(),
        grant.created.as_millis().into(),
    ]
}

/// The grant of a row; `None` where the row is not one that [`grant_row`] writes.
pub fn grant_record(row: &Row) -> Option<GrantRecord> {
    let [id, key, name, grantee, retiring, operations, constraints, issuer, created] = row.as_slice() else {
        return None;
    };
    let record = GrantRecord {
        id: GrantId::parse(text(id)?)?,
        key: KeyId::parse(text(key)?)?,
        name: optional(name, text)?.map(str::to_owned),
        grantee: NamedPrincipal::parse(text(grantee)?)?,
        retiring: optional(retiring, |value| NamedPrincipal::parse(text(value)?))?,
        operations: text(operations)?.split(',').map(GrantOperation::from_name).collect::<Option<_>>()?,
        constraints: optional(constraints, |value| Constraints::from_json(text(value)?))?.unwrap_or_default(),
        issuer: text(issuer)?.to_owned(),
        created: time(created)?,
    };
    (grant_row(&record) == *row).then_some(record)
}

/// The row of a tag of `key`. Its own key is the key's id and the tag's name.
pub fn tag_row(key: KeyId, tag: &str, value: &str) -> Row {
    let id = format!("{key}/{tag}");
    vec![id.into(), key.to_string().into(), tag.to_owned().into(), value.to_owned().into()]
}

/// The tag of a row; `None` where the row is not one that [`tag_row`] writes.
pub fn tag_record(row: &Row) -> Option<TagRecord> {
    let [_, key, tag, value] = row.as_slice() else { return None };
    let record = TagRecord {
        key: KeyId::parse(text(key)?)?,
        tag: text(tag)?.to_owned(),
        value: text(value)?.to_owned(),
    };
    (tag_row(record.key, &record.tag, &record.value) == *row).then_some(record)
}

/// The row of an alarm. Its period is in seconds.
pub fn alarm_row(alarm: &AlarmRecord) -> Row {
    vec![
        alarm.name.clone().into(),
        alarm.key.map(|key| key.to_string()).into(),
        alarm.watch.to_text().into(),
        alarm.action.to_text().into(),
        i64::try_from(alarm.period.as_secs()).unwrap_or(i64::MAX).into(),
        alarm.created.as_millis().into(),
    ]
}

/// The alarm of a row; `None` where the row is not one that [`alarm_row`] writes.
pub fn alarm_record(row: &Row) -> Option<AlarmRecord> {
    let [name, key, watch, action, period, created] = row.as_slice() else { return None };
    let period = Duration::from_secs(u64::try_from(integer(period)?).ok()?);
    let record = AlarmRecord {
        name: Some(text(name)?).filter(|name| alarm::is_name(name))?.to_owned(),
        key: optional(key, |value| KeyId::parse(text(value)?))?,
        watch: Watch::parse(text(watch)?)?,
        action: Action::parse(text(action)?)?,
        period: Some(period).filter(|period| alarm::is_period(*period))?,
        created: time(created)?,
    };
    (alarm_row(&record) == *row).then_some(record)
}

/// The row of a volume.
pub fn volume_row(volume: &VolumeRecord) -> Row {
    let count = volume.count.as_ref();
    vec![
        volume.id.clone().into(),
        volume.path.clone().into(),
        volume.seen.as_millis().into(),
        count.map(|count| count.at.as_millis()).into(),
        count.map(|count| usage_text(&count.usage)).into(),
    ]
}

/// The volume of a row; `None` where the row is not one that [`volume_row`] writes.
pub fn volume_record(row: &Row) -> Option<VolumeRecord> {
    let [id, path, seen, counted, usage] = row.as_slice() else { return None };
    let count = match (optional(counted, time)?, optional(usage, |value| usage_of(text(value)?))?) {
        (Some(at), Some(usage)) => Some(Count { at, usage }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return None,
    };
    Some(VolumeRecord { id: text(id)?.to_owned(), path: text(path)?.to_owned(), seen: time(seen)?, count })
}

/// JSON: a list of `[key, version, files, bytes]`.
fn usage_text(usage: &[KeyUsage]) -> String {
    let one = |one: &KeyUsage| serde_json::json!([one.key.as_str(), one.version, one.files, one.bytes]);
    serde_json::Value::from_iter(usage.iter().map(one)).to_string()
}

fn usage_of(text: &str) -> Option<Vec<KeyUsage>> {
    let rows: Vec<(String, u32, u64, u64)> = serde_json::from_str(text).ok()?;
    let one = |(key, version, files, bytes)| KeyUsage { key: KeyArn::new(key), version, files, bytes };
    Some(rows.into_iter().map(one).collect())
}

/// A text value.
pub fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::Blob(_) => None,
    }
}

/// An integer value.
pub fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::Null | Value::Real(_) | Value::Text(_) | Value::Blob(_) => None,
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    integer(value).map(Timestamp::from_millis)
}

/// `Some(None)` for NULL, `None` for a value that does not parse.
fn optional<'v, T>(value: &'v Value, parse: impl Fn(&'v Value) -> Option<T>) -> Option<Option<T>> {
    match value {
        Value::Null => Some(None),
        Value::Integer(_) | Value::Real(_) | Value::Text(_) | Value::Blob(_) => parse(value).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_comes_back_from_its_row_and_from_no_other() {
        let alarm = AlarmRecord {
            name: "a".to_owned(),
            key: None,
            watch: Watch::Event("Decrypt".to_owned()),
            action: Action::Command("logger: x".to_owned()),
            period: alarm::PERIOD,
            created: Timestamp::from_millis(5),
        };
        let row = alarm_row(&alarm);
        assert_eq!(alarm_record(&row), Some(alarm));
        let wrong: [(usize, Value); 6] = [
            (0, "a b".to_owned().into()),
            (1, "no id".to_owned().into()),
            (2, "event:".to_owned().into()),
            (3, "print:x".to_owned().into()),
            (4, 0.into()),
            (5, Value::Null),
        ];
        for (column, value) in wrong {
            let mut row = row.clone();
            row[column] = value;
            assert_eq!(alarm_record(&row), None, "{column}");
        }
    }

    #[test]
    fn a_volume_comes_back_from_its_row_counted_or_not_and_from_no_other() {
        let usage = KeyUsage { key: KeyArn::new("arn:\"x\""), version: 2, files: 3, bytes: u64::MAX };
        let count = Count { at: Timestamp::from_millis(7), usage: vec![usage] };
        for count in [None, Some(count), Some(Count { at: Timestamp::from_millis(8), usage: Vec::new() })] {
            let seen = Timestamp::from_millis(5);
            let volume = VolumeRecord { id: "v".to_owned(), path: "/a b".to_owned(), seen, count };
            assert_eq!(volume_record(&volume_row(&volume)), Some(volume));
        }
        let row = |counted: Value, usage: Value| {
            vec!["v".to_owned().into(), "/".to_owned().into(), 1.into(), counted, usage]
        };
        for (counted, usage) in [
            (Value::Null, "[]".to_owned().into()),
            (1.into(), Value::Null),
            (1.into(), "[[\"k\",1,2]]".to_owned().into()),
            (1.into(), "nothing".to_owned().into()),
        ] {
            assert_eq!(volume_record(&row(counted, usage)), None);
        }
    }
}
