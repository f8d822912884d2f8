//! CreateAlias, UpdateAlias, DeleteAlias, ListAliases (rule AL-1).

use std::sync::Arc;

use serde::Serialize;

use super::{Context, Decode, Reply, Request};
use crate::kms::access::Act;
use crate::kms::fields::Fields;
use crate::kms::id::AliasName;
use crate::kms::key::{AliasRecord, Key};
use crate::kms::page::PageRequest;
use crate::kms::reference::{self, Form, alias_not_found};
use crate::kms::ring::Change;
use crate::kms::{AwsError, KmsError};

/// Aliases that a key may have (AWS KMS quotas).
const ALIASES_PER_KEY_MAX: usize = 50;
/// What AWS's service model takes; the service itself refuses a colon.
const PATTERN: &str = "^[a-zA-Z0-9:/_-]+$";

#[derive(Debug)]
pub(super) struct CreateAlias {
    name: AliasName,
    target: String,
}

impl Decode for CreateAlias {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let (name, target) = (alias_text(fields)?, fields.key_id("TargetKeyId")?);
        fields.finish()?;
        Ok(Self { name: writable_name(&name)?, target: not_an_alias(target)? })
    }
}

impl Request for CreateAlias {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.target, Form::IdOrArn)?;
        if cx.ring.alias(&self.name).is_some() {
            let arn = cx.ring.namespace().alias_arn(&self.name);
            return Err(KmsError::new(
                AwsError::AlreadyExists,
                format!("An alias with the name {arn} already exists"),
            ));
        }
        check_quota(cx, key)?;
        let (name, key) = (self.name.clone(), key.record.id);
        Ok(Reply::change(vec![Change::PutAlias(AliasRecord { name, key, created: cx.now, updated: cx.now })]))
    }
}

#[derive(Debug)]
pub(super) struct UpdateAlias {
    name: AliasName,
    target: String,
}

impl Decode for UpdateAlias {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let (name, target) = (alias_text(fields)?, fields.key_id("TargetKeyId")?);
        fields.finish()?;
        Ok(Self { name: writable_name(&name)?, target: not_an_alias(target)? })
    }
}

impl Request for UpdateAlias {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let alias = cx.ring.alias(&self.name).ok_or_else(|| alias_not_found(cx.ring, &self.name))?;
        if let Some(before) = cx.ring.key(alias.key) {
            cx.authorize(before, Act::of(cx.operation))?;
        }
        let key = cx.key(&self.target, Form::IdOrArn)?;
        if alias.key != key.record.id {
            if let Some(before) = cx.ring.key(alias.key) {
                check_kind(&self.name, before, key)?;
            }
            check_quota(cx, key)?;
        }
        let moved = AliasRecord { key: key.record.id, updated: cx.now, ..alias.as_ref().clone() };
        Ok(Reply::change(vec![Change::PutAlias(moved)]))
    }
}

#[derive(Debug)]
pub(super) struct DeleteAlias {
    name: AliasName,
}

impl Decode for DeleteAlias {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let name = alias_text(fields)?;
        fields.finish()?;
        Ok(Self { name: writable_name(&name)? })
    }
}

impl Request for DeleteAlias {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let alias = cx.ring.alias(&self.name).ok_or_else(|| alias_not_found(cx.ring, &self.name))?;
        if let Some(key) = cx.ring.key(alias.key) {
            cx.authorize(key, Act::of(cx.operation))?;
            cx.permitted(key)?;
        }
        Ok(Reply::change(vec![Change::RemoveAlias(self.name.clone())]))
    }
}

#[derive(Debug)]
pub(super) struct ListAliases {
    key_id: Option<String>,
    page: PageRequest,
}

impl Decode for ListAliases {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self { key_id: fields.optional_key_id("KeyId")?, page: PageRequest::read(fields, 50, 100)? })
    }
}

impl Request for ListAliases {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        // On AWS, listing aliases is no matter of the key's policy.
        let find = |name: &str| {
            let key = reference::find(cx.ring, name, Form::IdOrArn)?;
            cx.permitted(key).map(|()| key)
        };
        let only = self.key_id.as_deref().map(find).transpose()?;
        let aliases = cx.ring.aliases().filter(|alias| only.is_none_or(|key| key.record.id == alias.key));
        let page = self.page.cut("aliases", aliases, |alias| alias.name.to_string())?;
        let aliases = page.items.into_iter().map(|alias| ListedAlias::of(cx, alias)).collect();
        Reply::answer(&AliasList {
            aliases,
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AliasList {
    aliases: Vec<ListedAlias>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedAlias {
    alias_name: String,
    alias_arn: String,
    target_key_id: String,
    creation_date: f64,
    last_updated_date: f64,
}

impl ListedAlias {
    fn of(cx: &Context<'_>, alias: &AliasRecord) -> Self {
        Self {
            alias_name: alias.name.to_string(),
            alias_arn: cx.ring.namespace().alias_arn(&alias.name),
            target_key_id: alias.key.to_string(),
            creation_date: alias.created.as_seconds_f64(),
            last_updated_date: alias.updated.as_seconds_f64(),
        }
    }
}

fn alias_text(fields: &mut Fields) -> Result<String, KmsError> {
    let name = fields.required_text("AliasName", 1..=AliasName::MAX_LEN)?;
    let admitted = |byte: u8| byte.is_ascii_alphanumeric() || b":/_-".contains(&byte);
    if !name.bytes().all(admitted) {
        fields.violates_pattern("AliasName", &name, PATTERN);
    }
    Ok(name)
}

/// A name that a caller may give, move and delete.
fn writable_name(text: &str) -> Result<AliasName, KmsError> {
    let invalid = |message: String| KmsError::new(AwsError::Validation, message);
    if !text.starts_with(AliasName::PREFIX) {
        return Err(invalid(
            "Alias must start with the prefix \"alias/\". Please see \
             https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
                .to_owned(),
        ));
    }
    if text.starts_with(AliasName::RESERVED_PREFIX) {
        return Err(KmsError::bare(AwsError::NotAuthorized));
    }
    if text == AliasName::PREFIX {
        return Err(KmsError::new(AwsError::InvalidAliasName, "Alias must have a name after its prefix."));
    }
    AliasName::parse(text).ok_or_else(|| invalid(format!("{text} contains invalid characters for an alias")))
}

fn not_an_alias(target: String) -> Result<String, KmsError> {
    let resource = target.splitn(6, ':').nth(5).unwrap_or(&target);
    if resource.starts_with(AliasName::PREFIX) {
        return Err(KmsError::new(AwsError::Validation, "Aliases must refer to keys. Not aliases"));
    }
    Ok(target)
}

/// An alias stays with keys of one kind and one usage, so that who uses it gets what they got before.
fn check_kind(name: &AliasName, before: &Key, after: &Key) -> Result<(), KmsError> {
    let refused = |what: &str, before: &str, after: &str| {
        let why = format!(
            "Alias {name} cannot be changed from a CMK with key {what} {before} to a CMK with key {what} {after}. The \
             key {what} of the current CMK and the new CMK must be the same."
        );
        Err(KmsError::new(AwsError::Validation, why))
    };
    let (before, after) = (&before.record, &after.record);
    if before.usage != after.usage {
        return refused("usage", before.usage.name(), after.usage.name());
    }
    if before.spec.kind() != after.spec.kind() {
        return refused("type", before.spec.kind().words(), after.spec.kind().words());
    }
    Ok(())
}

fn check_quota(cx: &Context<'_>, key: &Arc<Key>) -> Result<(), KmsError> {
    let used = cx.ring.aliases().filter(|alias| alias.key == key.record.id).count();
    if used < ALIASES_PER_KEY_MAX {
        return Ok(());
    }
    Err(KmsError::new(
        AwsError::LimitExceeded,
        format!(
            "Aliases per key quota for this account in this region is {ALIASES_PER_KEY_MAX}, current usage is {used}."
        ),
    ))
}
