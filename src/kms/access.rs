//! Who may do what with a key, as its policy and its grants say together (rules POL-1 to POL-4).
//!
//! A deny in the policy wins over everything; else the policy or one grant must allow it. A key without a policy of its own has
//! the default one, which allows every principal of the account everything, and costs nothing to ask. Operations that name no key
//! (CreateKey, ListKeys, ListAliases, ListRetirableGrants, GenerateRandom) are IAM's to allow on AWS; there is no IAM here, and every
//! principal of the account may.

use super::key::Key;
use super::policy::{Ask, Context, Decision, Who};
use super::ring::Keyring;
use super::{AwsError, Caller, KmsError, Operation, Via};
use crate::context::EncryptionContext;

/// What is to be done with a key.
#[derive(Debug, Clone, Copy)]
pub struct Act<'a> {
    action: &'static str,
    context: Context<'a>,
    bypasses_lockout_check: Option<bool>,
}

impl<'a> Act<'a> {
    /// An operation without an encryption context.
    pub const fn of(operation: Operation) -> Self {
        Self { action: operation.name(), context: Context::None, bypasses_lockout_check: None }
    }

    /// A cryptographic operation, by the name of its permission.
    pub const fn with_context(action: &'static str, context: &'a EncryptionContext) -> Self {
        Self { action, context: Context::Given(context), bypasses_lockout_check: None }
    }

    /// PutKeyPolicy, with the flag that skips the check.
    pub const fn put_policy(bypasses_lockout_check: bool) -> Self {
        Self { bypasses_lockout_check: Some(bypasses_lockout_check), ..Self::of(Operation::PutKeyPolicy) }
    }

    fn ask(self, ring: &'a Keyring, arn: &'a str, who: Who<'a>, for_file: bool) -> Ask<'a> {
        let Self { action, context, bypasses_lockout_check } = self;
        let region = &ring.namespace().region;
        Ask { who, action, resource: arn, region, for_file, context, bypasses_lockout_check }
    }
}

/// The permission to open data keys: without it a key is of no use to a user of a mount.
const DECRYPT: Act<'static> =
    Act { action: Operation::Decrypt.name(), context: Context::Unknown, bypasses_lockout_check: None };

/// Whether `caller` may do `act` with `key`.
///
/// # Errors
/// `AccessDeniedException`, in AWS's words.
pub fn authorize(ring: &Keyring, caller: &Caller, key: &Key, act: Act<'_>) -> Result<(), KmsError> {
    // Without a policy there is nothing to ask, and so no name to make for it: each open of a file comes by here.
    if key.record.policy.is_none() {
        return Ok(());
    }
    let arn = ring.namespace().key_arn(key.record.id);
    let account = &ring.namespace().account;
    let who = Who::Known { arn: &caller.principal, account };
    let ask = act.ask(ring, arn.as_str(), who, is_for_file(&caller.via));
    match decide(key, &ask) {
        Decision::Allowed => Ok(()),
        refusal => {
            let action = act.action;
            let because = match refusal {
                Decision::Denied => "with an explicit deny in a resource-based policy".to_owned(),
                Decision::NotAllowed | Decision::Allowed => {
                    format!("because no resource-based policy allows the kms:{action} action")
                }
            };
            Err(KmsError::new(
                AwsError::AccessDenied,
                format!(
                    "User: {} is not authorized to perform: kms:{action} on resource: {arn} {because}",
                    caller.principal
                ),
            ))
        }
    }
}

/// Whether anybody who can use a mount may open data keys under `key`: `users` by principal, or any user of the machine.
pub fn anybody_may_decrypt(ring: &Keyring, key: &Key, users: Option<&str>) -> bool {
    let Some(policy) = &key.record.policy else { return true };
    let arn = ring.namespace().key_arn(key.record.id);
    let account = &ring.namespace().account;
    let may = |who: Who<'_>| decide(key, &DECRYPT.ask(ring, arn.as_str(), who, true)) == Decision::Allowed;
    let known = |arn: &str| may(Who::Known { arn, account });
    if let Some(user) = users {
        return known(user);
    }
    let owner = format!("arn:aws:iam::{account}:root");
    let of_machine = format!("arn:aws:iam::{account}:user/");
    known(&owner)
        || may(Who::Stranger { account })
        || policy.allowed_by_name().filter(|arn| arn.starts_with(&of_machine)).any(known)
}

fn decide(key: &Key, ask: &Ask<'_>) -> Decision {
    match &key.record.policy {
        None => Decision::Allowed,
        Some(policy) => policy.decide(ask),
    }
}

/// Whether a call asks for the data key of a file; that is the service in `kms:ViaService`.
const fn is_for_file(via: &Via) -> bool {
    match via {
        Via::Mount { .. } | Via::Tool { .. } => true,
        Via::Cli => false,
    }
}
