//! Key policies: who may do what with a key, as the AWS JSON document says it (rules POL-1 to POL-3).
//!
//! A document is parsed once, and whatever of it could not be obeyed is refused then, with its place: nothing is passed over. What
//! is held afterwards can only be a policy that is decided on in full. An explicit deny wins, and what nothing allows is
//! not allowed. (Model: "IAM JSON policy element reference" and "Policy evaluation logic", AWS IAM User Guide; "Key
//! policies in AWS KMS".)
//!
//! It knows no key, no grant and no caller, only names: [`super::access`] puts them together.

mod condition;
mod document;
mod json;
mod pattern;
mod principal;

use std::fmt;

pub use condition::Context;
pub use principal::{NamedPrincipal, Principal, Who};

use condition::Condition;
use pattern::Pattern;

/// The longest policy, in characters (AWS KMS quotas: 32 KB).
pub const POLICY_MAX: usize = 32 * 1024;

/// A policy that is obeyed.
#[derive(Debug, Clone)]
pub struct Policy {
    text: String,
    statements: Vec<Statement>,
}

/// Two policies are the same where their texts are.
impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Policy {}

/// Why a document is no policy: where in it, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The place: `Statement[0].Principal`; empty for the document as a whole.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.what),
            place => write!(f, "{place}: {}", self.what),
        }
    }
}

/// What a statement does where it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone)]
struct Statement {
    effect: Effect,
    principals: Matcher<Principal>,
    actions: Matcher<Pattern>,
    resources: Matcher<Pattern>,
    conditions: Vec<Condition>,
}

/// One of a list, or, for an element that begins with `Not`, none of it.
#[derive(Debug, Clone)]
struct Matcher<T> {
    listed: Vec<T>,
    negated: bool,
}

impl<T> Matcher<T> {
    fn holds(&self, test: impl Fn(&T) -> bool) -> bool {
        self.listed.iter().any(test) != self.negated
    }
}

/// Whether a statement applies. The order counts: of several conditions, the least is what they say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Truth {
    No,
    /// It depends on what is not known.
    Maybe,
    Yes,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// What is asked, as a policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// By whom.
    pub who: Who<'a>,
    /// The action without its prefix: `Decrypt`.
    pub action: &'a str,
    /// The key's ARN.
    pub resource: &'a str,
    /// Its spec.
    pub key_spec: &'a str,
    /// Its usage.
    pub key_usage: &'a str,
    /// What it is among its related keys, by AWS's name; `None` for a single-Region key.
    pub key_role: Option<&'a str>,
    /// The region, which names of services hold.
    pub region: &'a str,
    /// Whether files' data keys are asked for, by a mount or a command that works on files.
    pub for_file: bool,
    /// The encryption context.
    pub context: Context<'a>,
    /// `kms:BypassPolicyLockoutSafetyCheck`, for the operations that have it.
    pub bypasses_lockout_check: Option<bool>,
    /// The region that the request names: where a replica is to be made, or the primary to be.
    pub named_region: Option<&'a str>,
    /// What of the request its conditions can look at.
    pub asked: Asked,
    /// The grant that is to be made, for CreateGrant.
    pub grant: Option<NewGrant<'a>>,
}

/// A grant that is to be made, as conditions see it.
#[derive(Debug, Clone, Copy)]
pub struct NewGrant<'a> {
    /// `kms:GrantOperations`: what it gives.
    pub operations: &'a [&'static str],
    /// `kms:GranteePrincipal`: whom.
    pub grantee: &'a str,
    /// `kms:RetiringPrincipal`: who may end it, where it says so.
    pub retiring: Option<&'a str>,
    /// `kms:GrantConstraintType`: how it constrains the encryption context, where it does.
    pub constraint: Option<&'static str>,
}

/// Members of a request that conditions can look at, by AWS's names of their values; `None` for operations that have not got them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// `kms:EncryptionAlgorithm`.
    pub encryption_algorithm: Option<&'static str>,
    /// `kms:SigningAlgorithm`.
    pub signing_algorithm: Option<&'static str>,
    /// `kms:MacAlgorithm`.
    pub mac_algorithm: Option<&'static str>,
    /// `kms:MessageType`.
    pub message_type: Option<&'static str>,
    /// `kms:DataKeyPairSpec`.
    pub data_key_pair_spec: Option<&'static str>,
    /// `kms:KeyAgreementAlgorithm`.
    pub key_agreement_algorithm: Option<&'static str>,
}

impl Asked {
    /// An operation without any of them.
    pub const NOTHING: Self = Self {
        encryption_algorithm: None,
        signing_algorithm: None,
        mac_algorithm: None,
        message_type: None,
        data_key_pair_spec: None,
        key_agreement_algorithm: None,
    };
}

/// What a policy answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it and none denies it.
    Allowed,
    /// A statement denies it, whatever else allows it.
    Denied,
    /// No statement says anything about it.
    NotAllowed,
}

impl Policy {
    /// Reads a document.
    ///
    /// # Errors
    /// [`Malformed`]: the first place where it cannot be obeyed.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Ok(Self { text: text.to_owned(), statements: document::statements(text)? })
    }

    /// The document as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Decides on `ask`. Where that leaves something open ([`Who::Stranger`], [`Context::Unknown`]), the answer is
    /// [`Decision::Allowed`] if it can be for any of them.
    pub fn decide(&self, ask: &Ask<'_>) -> Decision {
        let applies = |effect: Effect, at_least: Truth| {
            let of_effect = self.statements.iter().filter(|statement| statement.effect == effect);
            of_effect.into_iter().any(|statement| statement.applies(ask) >= at_least)
        };
        if applies(Effect::Deny, Truth::Yes) {
            Decision::Denied
        } else if applies(Effect::Allow, Truth::Maybe) {
            Decision::Allowed
        } else {
            Decision::NotAllowed
        }
    }

    /// The principals that are named in statements that allow something.
    pub fn allowed_by_name(&self) -> impl Iterator<Item = &str> {
        let allow = self.statements.iter().filter(|statement| statement.effect == Effect::Allow);
        allow.flat_map(|statement| &statement.principals.listed).filter_map(Principal::arn)
    }
}

impl Statement {
    fn applies(&self, ask: &Ask<'_>) -> Truth {
        let names = self.actions.holds(|action| action.matches_action(ask.action))
            && self.resources.holds(|resource| resource.matches(ask.resource));
        if !names || !self.principals.holds(|principal| principal.includes(ask.who)) {
            return Truth::No;
        }
        // Of several values where one is expected, one that is out of bounds is enough: it is not allowed, or it is denied.
        let any_of_several = self.effect == Effect::Deny;
        let conditions = self.conditions.iter().map(|condition| condition.holds(ask, any_of_several));
        conditions.min().unwrap_or(Truth::Yes)
    }
}

/// The policy of a key that was given none: everything, for every principal of the account.
pub fn default_text(account: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Id":"key-default-1","Statement":[{{"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{account}:root"}},"Action":"kms:*","Resource":"*"}}]}}"#
    )
}

#[cfg(test)]
mod tests;
