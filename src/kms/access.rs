//! Who may do what with a key, as its policy and its grants say together (rules POL-1 to POL-4).
//!
//! A deny in the policy wins over everything; else the policy or one grant must allow it. A key without a policy of its own has
//! the default one, which allows every principal of the account everything, and costs nothing to ask. Operations that name no key
//! (CreateKey, ListKeys, ListAliases, ListRetirableGrants, GenerateRandom) are IAM's to allow on AWS; there is no IAM here, and every
//! principal of the account may.

use super::api::sealing::SYMMETRIC;
use super::grant::GrantRecord;
use super::key::{Key, RegionRole};
pub use super::policy::Asked;
use super::policy::{Ask, Context, Decision, NamedPrincipal, NewGrant, Who};
use super::ring::Keyring;
use super::{AwsError, Caller, KmsError, Operation, Via};
use crate::context::EncryptionContext;

/// What is to be done with a key.
#[derive(Debug, Clone, Copy)]
pub struct Act<'a> {
    action: &'static str,
    context: Context<'a>,
    bypasses_lockout_check: Option<bool>,
    named_region: Option<&'a str>,
    asked: Asked,
    grant: Option<NewGrant<'a>>,
}

impl<'a> Act<'a> {
    /// An operation without an encryption context.
    pub const fn of(operation: Operation) -> Self {
        Self {
            action: operation.name(),
            context: Context::None,
            bypasses_lockout_check: None,
            named_region: None,
            asked: Asked::NOTHING,
            grant: None,
        }
    }

    /// A cryptographic operation, by the name of its permission.
    pub const fn with_context(action: &'static str, context: &'a EncryptionContext) -> Self {
        Self {
            action,
            context: Context::Given(context),
            bypasses_lockout_check: None,
            named_region: None,
            asked: Asked::NOTHING,
            grant: None,
        }
    }

    /// An operation that names a region beside the key's own.
    pub const fn into_region(operation: Operation, region: &'a str) -> Self {
        Self { named_region: Some(region), ..Self::of(operation) }
    }

    /// The same, where more of the request is known.
    pub const fn asking(self, asked: Asked) -> Self {
        Self { asked, ..self }
    }

    /// What is known of the request.
    pub const fn asked(&self) -> Asked {
        self.asked
    }

    /// The same with an encryption algorithm.
    pub const fn encrypting(self, algorithm: &'static str) -> Self {
        self.asking(Asked { encryption_algorithm: Some(algorithm), ..self.asked })
    }

    /// PutKeyPolicy, with the flag that skips the check.
    pub const fn put_policy(bypasses_lockout_check: bool) -> Self {
        Self { bypasses_lockout_check: Some(bypasses_lockout_check), ..Self::of(Operation::PutKeyPolicy) }
    }

    fn ask(self, ring: &'a Keyring, key: &Key, arn: &'a str, who: Who<'a>, for_file: bool) -> Ask<'a> {
        let Self { action, context, bypasses_lockout_check, named_region, asked, grant } = self;
        let region = &ring.namespace().region;
        let (key_spec, key_usage) = (key.record.spec.name(), key.record.usage.name());
        Ask {
            who,
            action,
            resource: arn,
            key_spec,
            key_usage,
            key_role: key.record.role.map(RegionRole::name),
            region,
            for_file,
            context,
            bypasses_lockout_check,
            named_region,
            asked,
            grant,
        }
    }
}

/// The permission to open data keys: without it a key is of no use to a user of a mount.
const DECRYPT: Act<'static> =
    Act { context: Context::Unknown, ..Act::of(Operation::Decrypt) }.encrypting(SYMMETRIC);

/// Whether `caller` may do `act` with `key`.
///
/// # Errors
/// `AccessDeniedException`, in AWS's words.
pub fn authorize(ring: &Keyring, caller: &Caller, key: &Key, act: Act<'_>) -> Result<(), KmsError> {
    // Without a policy there is nothing to ask, and so no name to make for it: each open of a file comes by here.
    if key.record.policy.is_none() {
        return Ok(());
    }
    asking(ring, caller, key, act, |ask| decide(key, ask))
}

/// Whether `caller` may make `grant`. Who may by a grant of his own makes none that allows more than that one does.
///
/// # Errors
/// As [`authorize`].
pub fn authorize_grant(
    ring: &Keyring,
    caller: &Caller,
    key: &Key,
    act: Act<'_>,
    grant: &GrantRecord,
) -> Result<(), KmsError> {
    let operations: Vec<_> = grant.operations.iter().map(|operation| operation.name()).collect();
    let new = NewGrant {
        operations: &operations,
        grantee: grant.grantee.as_str(),
        retiring: grant.retiring.as_ref().map(NamedPrincipal::as_str),
        constraint: grant.constraints.kind(),
    };
    asking(ring, caller, key, Act { grant: Some(new), ..act }, |ask| match by_policy(key, ask) {
        Decision::NotAllowed if key.grants.allowing(ask).any(|parent| parent.covers(grant)) => {
            Decision::Allowed
        }
        decision => decision,
    })
}

/// Whether `caller` may end `grant`: the account, and whom the grant itself lets. A policy cannot give that, and can deny it.
///
/// # Errors
/// As [`authorize`].
pub fn authorize_retirement(
    ring: &Keyring,
    caller: &Caller,
    key: &Key,
    grant: &GrantRecord,
) -> Result<(), KmsError> {
    let act = Act::of(Operation::RetireGrant);
    asking(ring, caller, key, act, |ask| match by_policy(key, ask) {
        Decision::Denied => Decision::Denied,
        Decision::Allowed | Decision::NotAllowed => {
            let is_account = caller.principal == owner(ring);
            if is_account || grant.lets_retire(ask.who) { Decision::Allowed } else { Decision::NotAllowed }
        }
    })
}

/// The principal that the home's owner is.
fn owner(ring: &Keyring) -> String {
    format!("arn:aws:iam::{}:root", ring.namespace().account)
}

fn asking(
    ring: &Keyring,
    caller: &Caller,
    key: &Key,
    act: Act<'_>,
    decide: impl FnOnce(&Ask<'_>) -> Decision,
) -> Result<(), KmsError> {
    let arn = ring.namespace().key_arn(key.record.id);
    let who = Who::Known { arn: &caller.principal, account: &ring.namespace().account };
    let action = act.action;
    let because = match decide(&act.ask(ring, key, arn.as_str(), who, is_for_file(&caller.via))) {
        Decision::Allowed => return Ok(()),
        Decision::Denied => "with an explicit deny in a resource-based policy".to_owned(),
        Decision::NotAllowed => format!("because no resource-based policy allows the kms:{action} action"),
    };
    let user = &caller.principal;
    let message =
        format!("User: {user} is not authorized to perform: kms:{action} on resource: {arn} {because}");
    Err(KmsError::new(AwsError::AccessDenied, message))
}

/// Whether anybody who can use a mount may open data keys under `key`: `users` by principal, or any user of the machine.
pub fn anybody_may_decrypt(ring: &Keyring, key: &Key, users: Option<&str>) -> bool {
    let Some(policy) = &key.record.policy else { return true };
    let arn = ring.namespace().key_arn(key.record.id);
    let account = &ring.namespace().account;
    let may =
        |who: Who<'_>| decide(key, &DECRYPT.ask(ring, key, arn.as_str(), who, true)) == Decision::Allowed;
    let known = |arn: &str| may(Who::Known { arn, account });
    if let Some(user) = users {
        return known(user);
    }
    let of_machine = format!("arn:aws:iam::{account}:user/");
    known(&owner(ring))
        || may(Who::Stranger { account })
        || policy
            .allowed_by_name()
            .chain(key.grants.grantees())
            .filter(|arn| arn.starts_with(&of_machine))
            .any(known)
}

fn decide(key: &Key, ask: &Ask<'_>) -> Decision {
    match by_policy(key, ask) {
        Decision::NotAllowed if key.grants.allowing(ask).next().is_some() => Decision::Allowed,
        decision => decision,
    }
}

fn by_policy(key: &Key, ask: &Ask<'_>) -> Decision {
    match &key.record.policy {
        None => Decision::Allowed,
        Some(policy) => policy.decide(ask),
    }
}

/// Whether a call asks for the data key of a file; that is the service in `kms:ViaService`.
const fn is_for_file(via: &Via) -> bool {
    match via {
        Via::Mount { .. } | Via::Tool { .. } => true,
        Via::Cli | Via::Server(_) => false,
    }
}
