//! Rows of what says more about CMKs than their records: grants and tags.

use super::{Row, optional, text, time};
use crate::kms::grant::{Constraints, GrantOperation, GrantRecord};
use crate::kms::id::{GrantId, KeyId};
use crate::kms::key::TagRecord;
use crate::kms::policy::NamedPrincipal;

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
