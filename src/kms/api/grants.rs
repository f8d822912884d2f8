//! CreateGrant, ListGrants, ListRetirableGrants, RetireGrant, RevokeGrant.

use std::sync::Arc;

use serde::Serialize;

use super::{Context, Decode, Reply, Request, would_succeed};
use crate::context::EncryptionContext;
use crate::kms::access::{self, Act};
use crate::kms::fields::Fields;
use crate::kms::grant::{self, CREATE_GRANT, Constraints, GrantOperation, GrantRecord};
use crate::kms::id::GrantId;
use crate::kms::key::Key;
use crate::kms::page::PageRequest;
use crate::kms::policy::NamedPrincipal;
use crate::kms::reference::{self, Form};
use crate::kms::ring::Change;
use crate::kms::spec::KeyKind;
use crate::kms::{AwsError, KeyChange, KmsError};

/// Grants that a key may have (AWS KMS quotas).
const GRANTS_PER_KEY_MAX: usize = 50_000;
const PRINCIPAL_LEN: std::ops::RangeInclusive<usize> = 1..=256;
const GRANT_ID_LEN: std::ops::RangeInclusive<usize> = 1..=128;
const TOKEN_LEN: std::ops::RangeInclusive<usize> = 1..=8192;
const NAME_LEN: std::ops::RangeInclusive<usize> = 1..=256;
const NAME_PATTERN: &str = "^[a-zA-Z0-9:/_-]+$";

fn principal(text: &str) -> Result<NamedPrincipal, KmsError> {
    NamedPrincipal::parse(text).ok_or_else(|| {
        KmsError::new(AwsError::InvalidArn, format!("ARN does not refer to a valid principal: {text}"))
    })
}

fn grant_id(text: &str) -> Result<GrantId, KmsError> {
    GrantId::parse(text)
        .ok_or_else(|| KmsError::new(AwsError::InvalidGrantId, format!("{text} is not a valid grant ID.")))
}

fn grant_of(key: &Key, id: GrantId) -> Result<&Arc<GrantRecord>, KmsError> {
    key.grants.grant(id).ok_or_else(|| KmsError::new(AwsError::NotFound, format!("Grant ID {id} not found")))
}

#[derive(Debug)]
pub(super) struct CreateGrant {
    key_id: String,
    grantee: NamedPrincipal,
    retiring: Option<NamedPrincipal>,
    operations: Vec<GrantOperation>,
    constraints: Constraints,
    name: Option<String>,
    dry_run: bool,
}

impl Decode for CreateGrant {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        for name in ["GranteeServicePrincipal", "RetiringServicePrincipal"] {
            fields.unsupported(name)?;
        }
        let grantee = fields.required_text("GranteePrincipal", PRINCIPAL_LEN)?;
        let retiring = fields.text("RetiringPrincipal", PRINCIPAL_LEN)?;
        let names = fields.choices("Operations", GrantOperation::NAMES)?;
        let constraints = fields.constraints("Constraints")?;
        fields.grant_tokens()?;
        let name = fields.text("Name", NAME_LEN)?;
        let admitted = |letter: char| letter.is_ascii_alphanumeric() || ":/_-".contains(letter);
        if let Some(name) = name.as_deref().filter(|name| !name.chars().all(admitted)) {
            fields.violates_pattern("Name", name, NAME_PATTERN);
        }
        let dry_run = fields.flag("DryRun")?;
        fields.finish()?;
        Ok(Self {
            key_id,
            grantee: principal(&grantee)?,
            retiring: retiring.as_deref().map(principal).transpose()?,
            operations: operations(&names)?,
            constraints,
            name,
            dry_run,
        })
    }
}

/// The operations that are named, each once.
fn operations(names: &[&'static str]) -> Result<Vec<GrantOperation>, KmsError> {
    let mut operations = Vec::new();
    for operation in names.iter().filter_map(|name| GrantOperation::from_name(name)) {
        if !operations.contains(&operation) {
            operations.push(operation);
        }
    }
    let invalid = |why: &str| Err(KmsError::new(AwsError::Validation, why));
    match &operations[..] {
        [] => invalid("A grant must allow at least one operation."),
        [only] if only.name() == CREATE_GRANT => {
            invalid("Grants must not contain only the CreateGrant operation.")
        }
        [..] => Ok(operations),
    }
}

impl Request for CreateGrant {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = reference::find(cx.ring, &self.key_id, Form::IdOrArn)?;
        let new = self.record(cx, key);
        // For a policy, the context of the grant is the one that it constrains to.
        let pairs = self.constraints.equals.as_ref().or(self.constraints.subset.as_ref());
        let act = match pairs {
            Some(pairs) => Act::with_context(CREATE_GRANT, pairs),
            None => Act::of(cx.operation),
        };
        cx.touch(&cx.arn(key));
        access::authorize_grant(cx.ring, cx.caller, key, act, &new)?;
        cx.permitted(key)?;
        self.check_operations(key)?;
        let known =
            self.name.as_ref().and_then(|_| key.grants.all().find(|grant| grant.is_same_request(&new)));
        if known.is_none() && key.grants.count() >= GRANTS_PER_KEY_MAX {
            let (most, used) = (GRANTS_PER_KEY_MAX, key.grants.count());
            let message = format!(
                "Grants per key quota for this account in this region is {most}, current usage is {used}."
            );
            return Err(KmsError::new(AwsError::LimitExceeded, message));
        }
        would_succeed(self.dry_run)?;
        let id = known.map_or(new.id, |known| known.id);
        let created = Created { grant_token: grant::token(key.record.id, id), grant_id: id.to_string() };
        let changes = if known.is_some() { Vec::new() } else { vec![Change::PutGrant(new)] };
        Ok(Reply { changes, notice: Some((cx.arn(key), KeyChange::Access)), ..Reply::answer(&created)? })
    }
}

impl CreateGrant {
    /// A grant gives nothing that its key cannot do.
    fn check_operations(&self, key: &Key) -> Result<(), KmsError> {
        let (spec, usage) = (key.record.spec, key.record.usage);
        let Some(unfit) = self.operations.iter().find(|operation| !operation.is_of(spec, usage)) else {
            return Ok(());
        };
        let what = match spec.kind() {
            KeyKind::Symmetric => "a symmetric encryption KMS key".to_owned(),
            KeyKind::Asymmetric | KeyKind::Hmac => {
                format!("a KMS key of key spec {} and key usage {}", spec.name(), usage.name())
            }
        };
        let message = format!("The operation {} is not valid for {what}.", unfit.name());
        Err(KmsError::new(AwsError::Validation, message))
    }

    fn record(&self, cx: &Context<'_>, key: &Key) -> GrantRecord {
        GrantRecord {
            id: GrantId::random(),
            key: key.record.id,
            name: self.name.clone(),
            grantee: self.grantee.clone(),
            retiring: self.retiring.clone(),
            operations: self.operations.clone(),
            constraints: self.constraints.clone(),
            issuer: cx.caller.principal.clone(),
            created: cx.now,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    grant_token: String,
    grant_id: String,
}

#[derive(Debug)]
pub(super) struct ListGrants {
    key_id: String,
    grant: Option<GrantId>,
    grantee: Option<String>,
    page: PageRequest,
}

impl Decode for ListGrants {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        fields.unsupported("GranteeServicePrincipal")?;
        let grant = fields.text("GrantId", GRANT_ID_LEN)?;
        let grantee = fields.text("GranteePrincipal", PRINCIPAL_LEN)?;
        let page = PageRequest::read(fields, 50, 100)?;
        fields.finish()?;
        Ok(Self { key_id, grant: grant.as_deref().map(grant_id).transpose()?, grantee, page })
    }
}

impl Request for ListGrants {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::IdOrArn)?;
        let wanted = |grant: &&Arc<GrantRecord>| {
            self.grant.is_none_or(|id| grant.id == id)
                && self.grantee.as_deref().is_none_or(|grantee| grant.grantee.as_str() == grantee)
        };
        list(cx, &self.page, "grants", key.grants.all().filter(wanted))
    }
}

#[derive(Debug)]
pub(super) struct ListRetirableGrants {
    retiring: String,
    page: PageRequest,
}

impl Decode for ListRetirableGrants {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        fields.unsupported("RetiringServicePrincipal")?;
        let retiring = fields.required_text("RetiringPrincipal", PRINCIPAL_LEN)?;
        let page = PageRequest::read(fields, 50, 100)?;
        fields.finish()?;
        principal(&retiring)?;
        Ok(Self { retiring, page })
    }
}

impl Request for ListRetirableGrants {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let all = cx.ring.keys().flat_map(|key| key.grants.all());
        let names = |grant: &&Arc<GrantRecord>| {
            grant.retiring.as_ref().is_some_and(|retiring| retiring.as_str() == self.retiring)
        };
        let mut grants: Vec<_> = all.filter(names).collect();
        grants.sort_by_key(|grant| grant.id);
        list(cx, &self.page, "retirable-grants", grants.into_iter())
    }
}

fn list<'g>(
    cx: &Context<'_>,
    page: &PageRequest,
    name: &str,
    grants: impl Iterator<Item = &'g Arc<GrantRecord>>,
) -> Result<Reply, KmsError> {
    let page = page.cut(name, grants, |grant| grant.id.to_string())?;
    let grants = page.items.into_iter().map(|grant| ListedGrant::of(cx, grant)).collect();
    Reply::answer(&GrantList { grants, truncated: page.next_marker.is_some(), next_marker: page.next_marker })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GrantList<'g> {
    grants: Vec<ListedGrant<'g>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedGrant<'g> {
    key_id: String,
    grant_id: String,
    name: &'g str,
    creation_date: f64,
    grantee_principal: &'g str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retiring_principal: Option<&'g str>,
    issuing_account: String,
    operations: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    constraints: Option<ListedConstraints<'g>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedConstraints<'g> {
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_context_subset: Option<&'g EncryptionContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_context_equals: Option<&'g EncryptionContext>,
}

impl<'g> ListedGrant<'g> {
    fn of(cx: &Context<'_>, grant: &'g GrantRecord) -> Self {
        let namespace = cx.ring.namespace();
        let Constraints { equals, subset } = &grant.constraints;
        Self {
            key_id: namespace.key_arn(grant.key).to_string(),
            grant_id: grant.id.to_string(),
            name: grant.name.as_deref().unwrap_or_default(),
            creation_date: grant.created.as_seconds_f64(),
            grantee_principal: grant.grantee.as_str(),
            retiring_principal: grant.retiring.as_ref().map(NamedPrincipal::as_str),
            issuing_account: format!("arn:aws:iam::{}:root", namespace.account),
            operations: grant.operations.iter().map(|operation| operation.name()).collect(),
            constraints: (!grant.constraints.is_empty()).then_some(ListedConstraints {
                encryption_context_subset: subset.as_ref(),
                encryption_context_equals: equals.as_ref(),
            }),
        }
    }
}

#[derive(Debug)]
pub(super) struct RetireGrant {
    named: Named,
    dry_run: bool,
}

/// How a grant that is to end is named.
#[derive(Debug)]
enum Named {
    ByToken(String),
    ById { key_id: String, grant: GrantId },
}

impl Decode for RetireGrant {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let token = fields.text("GrantToken", TOKEN_LEN)?;
        let key_id = fields.optional_key_id("KeyId")?;
        let grant = fields.text("GrantId", GRANT_ID_LEN)?;
        let dry_run = fields.flag("DryRun")?;
        fields.finish()?;
        let named = match (token, key_id, grant) {
            (Some(token), None, None) => Named::ByToken(token),
            (None, Some(key_id), Some(grant)) => Named::ById { key_id, grant: grant_id(&grant)? },
            _ => {
                return Err(KmsError::new(
                    AwsError::Validation,
                    "Specify either a grant token, or both a key ID and a grant ID.",
                ));
            }
        };
        Ok(Self { named, dry_run })
    }
}

impl Request for RetireGrant {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let (key, id) = match &self.named {
            Named::ById { key_id, grant } => (reference::find(cx.ring, key_id, Form::IdOrArn)?, *grant),
            Named::ByToken(token) => {
                let invalid = || KmsError::new(AwsError::InvalidGrantToken, "The grant token is not valid.");
                let (key, grant) = grant::named_by(token).ok_or_else(invalid)?;
                (cx.ring.key(key).ok_or_else(invalid)?, grant)
            }
        };
        cx.touch(&cx.arn(key));
        let grant = grant_of(key, id)?;
        access::authorize_retirement(cx.ring, cx.caller, key, grant)?;
        end(cx, key, id, self.dry_run)
    }
}

#[derive(Debug)]
pub(super) struct RevokeGrant {
    key_id: String,
    grant: GrantId,
    dry_run: bool,
}

impl Decode for RevokeGrant {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        let grant = fields.required_text("GrantId", GRANT_ID_LEN)?;
        let dry_run = fields.flag("DryRun")?;
        fields.finish()?;
        Ok(Self { key_id, grant: grant_id(&grant)?, dry_run })
    }
}

impl Request for RevokeGrant {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::IdOrArn)?;
        grant_of(key, self.grant)?;
        end(cx, key, self.grant, self.dry_run)
    }
}

fn end(cx: &Context<'_>, key: &Key, id: GrantId, dry_run: bool) -> Result<Reply, KmsError> {
    cx.permitted(key)?;
    would_succeed(dry_run)?;
    let changes = vec![Change::RemoveGrant(key.record.id, id)];
    Ok(Reply { changes, notice: Some((cx.arn(key), KeyChange::Access)), ..Reply::default() })
}
