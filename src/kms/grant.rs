//! Grants: who may do some of the operations on one key, beside those whom its policy lets (AWS KMS: "Grants in AWS KMS").
//!
//! A grant only allows. It is in force as soon as it is made, so that a grant token names it and is needed for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Operation;
use super::id::{GrantId, KeyId, KeyScope};
use super::policy::{Ask, Context, NamedPrincipal, Principal, Who};
use super::spec::{self, KeyKind, KeySpec, KeyUsage};
use crate::clock::Timestamp;
use crate::context::EncryptionContext;
use crate::crypto::rng;

/// An operation that a grant can give (AWS KMS API, GrantOperation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GrantOperation(&'static str);

impl GrantOperation {
    /// The names of all of them.
    pub const NAMES: &[&str] = &[
        "Decrypt",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "ReEncryptFrom",
        "ReEncryptTo",
        "Sign",
        "Verify",
        "GetPublicKey",
        CREATE_GRANT,
        RETIRE_GRANT,
        "DescribeKey",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateMac",
        "VerifyMac",
        "DeriveSharedSecret",
        "Encapsulate",
        "Decapsulate",
    ];

    /// The operation of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|known| **known == name).map(|name| Self(name))
    }

    /// AWS's name for it.
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// Whether a key of `spec` that is used for `usage` has it.
    pub fn is_of(self, spec: KeySpec, usage: KeyUsage) -> bool {
        let operation = match self.0 {
            "ReEncryptFrom" | "ReEncryptTo" => Operation::ReEncrypt,
            "GetPublicKey" => return spec.kind() == KeyKind::Asymmetric,
            name => match Operation::from_name(name) {
                Some(operation) => operation,
                // Encapsulate and Decapsulate are of keys that are not here.
                None => return false,
            },
        };
        let fits_kind = !spec::is_for_symmetric_alone(operation) || spec.kind() == KeyKind::Symmetric;
        fits_kind && spec::is_for(operation, usage)
    }
}

/// Gives the right to make grants that allow no more.
pub const CREATE_GRANT: &str = "CreateGrant";
/// Gives the grantee the right to end the grant.
pub const RETIRE_GRANT: &str = "RetireGrant";

const EQUALS: &str = "EncryptionContextEquals";
const SUBSET: &str = "EncryptionContextSubset";

/// What the encryption context must be; names of pairs have no upper and lower case, values have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraints {
    /// It is these pairs.
    pub equals: Option<EncryptionContext>,
    /// It has these pairs.
    pub subset: Option<EncryptionContext>,
}

fn has_all(context: &EncryptionContext, wanted: &EncryptionContext) -> bool {
    wanted.pairs().all(|(name, value)| {
        context.pairs().any(|(known, known_value)| same_name(known, name) && known_value == value)
    })
}

fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn same(one: &EncryptionContext, other: &EncryptionContext) -> bool {
    one.pairs().len() == other.pairs().len() && has_all(one, other) && has_all(other, one)
}

impl Constraints {
    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.equals.is_none() && self.subset.is_none()
    }

    /// AWS's name of the one that there is.
    pub const fn kind(&self) -> Option<&'static str> {
        match (&self.equals, &self.subset) {
            (Some(_), _) => Some(EQUALS),
            (None, Some(_)) => Some(SUBSET),
            (None, None) => None,
        }
    }

    /// As a JSON object with AWS's names, in one form.
    pub fn to_json(&self) -> String {
        let named = [(EQUALS, &self.equals), (SUBSET, &self.subset)];
        let there = named.into_iter().filter_map(|(name, context)| Some((name, context.as_ref()?)));
        serde_json::to_string(&there.collect::<BTreeMap<_, _>>()).expect("texts are JSON")
    }

    /// Of what [`Self::to_json`] gives; `None` for other members.
    pub fn from_json(text: &str) -> Option<Self> {
        let mut members: BTreeMap<String, EncryptionContext> = serde_json::from_str(text).ok()?;
        let constraints = Self { equals: members.remove(EQUALS), subset: members.remove(SUBSET) };
        members.is_empty().then_some(constraints)
    }

    fn hold(&self, context: Context<'_>) -> bool {
        match context {
            // Operations without a context are not constrained; one that is not known can be the right one.
            Context::None | Context::Unknown => true,
            Context::Given(context) => {
                self.equals.as_ref().is_none_or(|wanted| same(context, wanted))
                    && self.subset.as_ref().is_none_or(|wanted| has_all(context, wanted))
            }
        }
    }

    /// Whether they let nothing pass that `parent` does not.
    fn are_as_strict_as(&self, parent: &Self) -> bool {
        let equals = parent
            .equals
            .as_ref()
            .is_none_or(|wanted| self.equals.as_ref().is_some_and(|own| same(own, wanted)));
        let subset = parent.subset.as_ref().is_none_or(|wanted| {
            [&self.equals, &self.subset].into_iter().flatten().any(|own| has_all(own, wanted))
        });
        equals && subset
    }
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// Its id.
    pub id: GrantId,
    /// The key.
    pub key: KeyId,
    /// Its name, by which the same request finds it again.
    pub name: Option<String>,
    /// Who may.
    pub grantee: NamedPrincipal,
    /// Who may end it.
    pub retiring: Option<NamedPrincipal>,
    /// What the grantee may do; each once.
    pub operations: Vec<GrantOperation>,
    /// With which contexts.
    pub constraints: Constraints,
    /// The principal that made it.
    pub issuer: String,
    /// When it was made.
    pub created: Timestamp,
}

impl GrantRecord {
    /// Whether it gives this operation, whoever asks.
    pub fn gives(&self, operation: &str) -> bool {
        self.operations.iter().any(|given| given.name() == operation)
    }

    /// Whether it allows what is asked. What a grant that is made by way of it may allow is another question ([`Self::covers`]).
    pub fn allows(&self, ask: &Ask<'_>) -> bool {
        let constrained = ask.action != CREATE_GRANT;
        self.gives(ask.action)
            && self.grantee.includes(ask.who)
            && (!constrained || self.constraints.hold(ask.context))
    }

    /// Whether `child` allows nothing that this grant does not.
    pub fn covers(&self, child: &Self) -> bool {
        child.operations.iter().all(|operation| self.gives(operation.name()))
            && child.constraints.are_as_strict_as(&self.constraints)
    }

    /// Whether `who` may end it: whom it names for that, and the grantee where it gives RetireGrant.
    pub fn lets_retire(&self, who: Who<'_>) -> bool {
        self.retiring.as_ref().is_some_and(|retiring| retiring.includes(who))
            || self.gives(RETIRE_GRANT) && self.grantee.includes(who)
    }

    /// Whether it is what the same request would make.
    pub fn is_same_request(&self, other: &Self) -> bool {
        let operations =
            |grant: &Self| grant.operations.iter().map(|operation| operation.name()).collect::<BTreeSet<_>>();
        self.name == other.name
            && self.grantee == other.grantee
            && self.retiring == other.retiring
            && self.constraints == other.constraints
            && operations(self) == operations(other)
    }
}

/// All grants of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    by_id: BTreeMap<GrantId, Arc<GrantRecord>>,
    /// By the ARN of a principal, or by an account.
    by_grantee: BTreeMap<String, BTreeSet<GrantId>>,
}

impl Grants {
    /// The grant of that id.
    pub fn grant(&self, id: GrantId) -> Option<&Arc<GrantRecord>> {
        self.by_id.get(&id)
    }

    /// All of them, in the order of their ids.
    pub fn all(&self) -> impl Iterator<Item = &Arc<GrantRecord>> {
        self.by_id.values()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Those that allow what is asked.
    pub fn allowing<'a>(&'a self, ask: &'a Ask<'_>) -> impl Iterator<Item = &'a Arc<GrantRecord>> {
        let own = match ask.who {
            Who::Known { arn, .. } => self.by_grantee.get(arn),
            Who::Stranger { .. } => None,
        };
        let ids = [own, self.by_grantee.get(ask.who.account())].into_iter().flatten().flatten();
        ids.filter_map(|id| self.by_id.get(id)).filter(|grant| grant.allows(ask))
    }

    /// The grantees that are single principals, by their ARNs.
    pub fn grantees(&self) -> impl Iterator<Item = &str> {
        self.by_grantee.keys().map(String::as_str).filter(|name| name.starts_with("arn:"))
    }

    /// Adds or replaces one.
    pub fn put(&mut self, grant: &GrantRecord) {
        self.remove(grant.id);
        if let Some(name) = place(grant) {
            self.by_grantee.entry(name.to_owned()).or_default().insert(grant.id);
        }
        self.by_id.insert(grant.id, Arc::new(grant.clone()));
    }

    /// Takes one away.
    pub fn remove(&mut self, id: GrantId) {
        let Some(grant) = self.by_id.remove(&id) else { return };
        let Some(name) = place(&grant) else { return };
        if let Some(ids) = self.by_grantee.get_mut(name) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_grantee.remove(name);
            }
        }
    }
}

/// Where a grant stands among those of its grantee.
fn place(grant: &GrantRecord) -> Option<&str> {
    match grant.grantee.principal() {
        Principal::One(arn) => Some(arn),
        Principal::Account(account) => Some(account),
        Principal::Anyone | Principal::Service => None,
    }
}

/// Bytes of a token: scope and id of the key, grant, and what makes it another one each time.
const TOKEN_LEN: usize = 1 + KeyId::LEN + GrantId::LEN + NONCE_LEN;
const NONCE_LEN: usize = 16;

/// A token of a grant: `scope (1) | key id (16) | grant id (32) | random (16)`, in base64. It names the grant, and gives nothing.
pub fn token(key: KeyId, grant: GrantId) -> String {
    let nonce: [u8; NONCE_LEN] = rng::bytes();
    BASE64.encode([&[key.scope().code()][..], key.as_bytes(), grant.as_bytes(), &nonce].concat())
}

/// What a token names; `None` for any other text.
pub fn named_by(token: &str) -> Option<(KeyId, GrantId)> {
    let bytes = BASE64.decode(token).ok().filter(|bytes| bytes.len() == TOKEN_LEN)?;
    let (scope, rest) = bytes.split_first()?;
    let (key, rest) = rest.split_first_chunk()?;
    let (grant, _) = rest.split_first_chunk()?;
    Some((KeyId::from_bytes(KeyScope::from_code(*scope)?, *key), GrantId::from_bytes(*grant)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
        pairs.iter().copied().collect()
    }

    #[test]
    fn a_constraint_has_no_case_in_names_and_has_it_in_values() {
        let equals = Constraints { equals: Some(context(&[("Dept", "IT")])), subset: None };
        let subset = Constraints { equals: None, subset: Some(context(&[("Dept", "IT")])) };
        for (pairs, by_equals, by_subset) in [
            (&[("dept", "IT")][..], true, true),
            (&[("dept", "it")], false, false),
            (&[("DEPT", "IT"), ("x", "y")], false, true),
            (&[], false, false),
            (&[("dept", "HR"), ("Dept", "IT")], false, true),
        ] {
            let context = context(pairs);
            assert_eq!(equals.hold(Context::Given(&context)), by_equals, "{pairs:?}");
            assert_eq!(subset.hold(Context::Given(&context)), by_subset, "{pairs:?}");
        }
        assert!(equals.hold(Context::None) && equals.hold(Context::Unknown));
        let nothing = Constraints { equals: Some(context(&[])), subset: None };
        assert!(
            nothing.hold(Context::Given(&context(&[])))
                && !nothing.hold(Context::Given(&context(&[("a", "b")])))
        );
    }

    #[test]
    fn a_child_is_as_strict_as_its_parent_or_stricter() {
        let equals = |pairs| Constraints { equals: Some(context(pairs)), subset: None };
        let subset = |pairs| Constraints { equals: None, subset: Some(context(pairs)) };
        let (one, two) = ([("a", "1")], [("a", "1"), ("b", "2")]);
        for (parent, child, expected) in [
            (Constraints::default(), Constraints::default(), true),
            (Constraints::default(), subset(&one), true),
            (subset(&one), Constraints::default(), false),
            (subset(&one), subset(&two), true),
            (subset(&two), subset(&one), false),
            (subset(&one), equals(&two), true),
            (equals(&one), equals(&[("A", "1")]), true),
            (equals(&one), equals(&two), false),
            (equals(&one), subset(&one), false),
        ] {
            assert_eq!(child.are_as_strict_as(&parent), expected, "{child:?} under {parent:?}");
        }
    }

    #[test]
    fn a_token_names_its_grant_and_is_another_one_each_time() {
        let (key, grant) = (KeyId::random(KeyScope::MultiRegion), GrantId::random());
        let (one, other) = (token(key, grant), token(key, grant));
        assert_ne!(one, other);
        assert_eq!(named_by(&one), Some((key, grant)));
        for wrong in ["", "?", "AAAA", &one[4..], &BASE64.encode([3; TOKEN_LEN])] {
            assert_eq!(named_by(wrong), None, "{wrong}");
        }
    }
}
