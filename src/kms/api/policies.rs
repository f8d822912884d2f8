//! PutKeyPolicy, GetKeyPolicy, ListKeyPolicies (rules POL-1 and POL-4).

use std::sync::Arc;

use serde::Serialize;

use super::{Context, Decode, Reply, Request};
use crate::kms::access::{self, Act};
use crate::kms::fields::Fields;
use crate::kms::key::{Key, KeyRecord};
use crate::kms::page::PageRequest;
use crate::kms::policy::{self, Policy};
use crate::kms::reference::Form;
use crate::kms::ring::{Change, Keyring};
use crate::kms::{AwsError, Caller, KeyChange, KmsError};

/// The one name that a key's policy has.
const DEFAULT: &str = "default";
/// Letters of a policy, at the door (service model); the service itself takes [`policy::POLICY_MAX`].
const POLICY_LEN: std::ops::RangeInclusive<usize> = 1..=131_072;
const POLICY_PATTERN: &str = "[\\u0009\\u000A\\u000D\\u0020-\\u00FF]+";
const NAME_LEN: std::ops::RangeInclusive<usize> = 1..=128;
const NAME_PATTERN: &str = "[\\w]+";

/// The policy of a request, as text that has passed the door.
pub(super) fn policy_text(fields: &mut Fields) -> Result<Option<String>, KmsError> {
    let text = fields.text("Policy", POLICY_LEN)?;
    let admitted = |letter: char| matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{ff}');
    if let Some(text) = text.as_deref().filter(|text| !text.chars().all(admitted)) {
        fields.violates_pattern("Policy", text, POLICY_PATTERN);
    }
    Ok(text)
}

/// Reads a policy's document.
pub(super) fn parse(text: &str) -> Result<Arc<Policy>, KmsError> {
    if text.chars().count() > policy::POLICY_MAX {
        let message = format!("The policy is longer than {} characters.", policy::POLICY_MAX);
        return Err(KmsError::new(AwsError::LimitExceeded, message));
    }
    let parsed = Policy::parse(text);
    parsed
        .map(Arc::new)
        .map_err(|malformed| KmsError::new(AwsError::MalformedPolicyDocument, malformed.to_string()))
}

/// Refuses a policy that would not let the caller replace it again (rule POL-4). `key` has that policy already.
pub(super) fn check_lockout(cx: &Context<'_>, key: &Key) -> Result<(), KmsError> {
    check_lockout_in(cx.ring, cx.caller, key)
}

/// The same of a key that `ring`, of its region, has or is to have.
pub(super) fn check_lockout_in(ring: &Keyring, caller: &Caller, key: &Key) -> Result<(), KmsError> {
    access::authorize(ring, caller, key, Act::put_policy(false)).map_err(|_| {
        KmsError::new(
            AwsError::MalformedPolicyDocument,
            "The new key policy will not allow you to update the key policy in the future.",
        )
    })
}

/// The name of a policy, which may be left out.
fn policy_name(fields: &mut Fields) -> Result<String, KmsError> {
    let name = fields.text("PolicyName", NAME_LEN)?.unwrap_or_else(|| DEFAULT.to_owned());
    if !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
        fields.violates_pattern("PolicyName", &name, NAME_PATTERN);
    }
    Ok(name)
}

fn only_default(name: &str) -> Result<(), KmsError> {
    if name == DEFAULT { Ok(()) } else { Err(KmsError::new(AwsError::NotFound, "No such policy exists")) }
}

#[derive(Debug)]
pub(super) struct PutKeyPolicy {
    key_id: String,
    name: String,
    text: String,
    bypasses_lockout_check: bool,
}

impl Decode for PutKeyPolicy {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        let name = policy_name(fields)?;
        let text = policy_text(fields)?;
        let text = fields.required("Policy", text);
        let bypasses_lockout_check = fields.flag("BypassPolicyLockoutSafetyCheck")?;
        Ok(Self { key_id, name, text, bypasses_lockout_check })
    }
}

impl Request for PutKeyPolicy {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key_for(&self.key_id, Form::IdOrArn, Act::put_policy(self.bypasses_lockout_check))?;
        only_default(&self.name)?;
        let record = KeyRecord { policy: Some(parse(&self.text)?), ..key.record.clone() };
        let new = Key { record, ..key.as_ref().clone() };
        if !self.bypasses_lockout_check {
            check_lockout(cx, &new)?;
        }
        // Mounts are told also when the policy stays: a revocation that one did not confirm is completed by asking again.
        let changes = if new.record == key.record { Vec::new() } else { vec![Change::PutKey(new.record)] };
        Ok(Reply { changes, notice: Some((cx.arn(key), KeyChange::Access)), ..Reply::default() })
    }
}

#[derive(Debug)]
pub(super) struct GetKeyPolicy {
    key_id: String,
    name: String,
}

impl Decode for GetKeyPolicy {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self { key_id: fields.key_id("KeyId")?, name: policy_name(fields)? })
    }
}

impl Request for GetKeyPolicy {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::IdOrArn)?;
        only_default(&self.name)?;
        let policy = match &key.record.policy {
            Some(policy) => policy.text().to_owned(),
            None => policy::default_text(&cx.ring.namespace().account),
        };
        Reply::answer(&KeyPolicy { policy, policy_name: DEFAULT })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyPolicy {
    policy: String,
    policy_name: &'static str,
}

#[derive(Debug)]
pub(super) struct ListKeyPolicies {
    key_id: String,
    page: PageRequest,
}

impl Decode for ListKeyPolicies {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self { key_id: fields.key_id("KeyId")?, page: PageRequest::read(fields, 100, 1000)? })
    }
}

impl Request for ListKeyPolicies {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        cx.key(&self.key_id, Form::IdOrArn)?;
        let page = self.page.cut("policies", std::iter::once(DEFAULT), |name| (*name).to_owned())?;
        Reply::answer(&PolicyList {
            policy_names: page.items,
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyList {
    policy_names: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}
