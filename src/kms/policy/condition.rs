//! Conditions of statements (rule POL-3): an operator, a key that says what of the request is looked at, and values.
//!
//! A key that a request does not have fails a condition, but for negated operators, `...IfExists`, `ForAllValues:` and `Null`, as with
//! AWS ("Condition operators" and "Multivalued context keys", IAM User Guide).

use std::borrow::Cow;

use super::pattern::Pattern;
use super::{Ask, Truth, Who};
use crate::context::EncryptionContext;

/// The encryption context of a request.
#[derive(Debug, Clone, Copy)]
pub enum Context<'a> {
    /// The operation has none.
    None,
    /// As the request gives it.
    Given(&'a EncryptionContext),
    /// It can be any.
    Unknown,
}

/// A condition.
#[derive(Debug, Clone)]
pub struct Condition {
    operator: Operator,
    key: Key,
    values: Vec<Pattern>,
}

/// What is looked at. Names of keys have no upper and lower case; the part that names a pair of the context has none either.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    /// `kms:EncryptionContext:NAME`: the value of that pair.
    EncryptionContext(String),
    /// `kms:EncryptionContextKeys`: the names of all pairs.
    EncryptionContextKeys,
    /// `kms:ViaService`: `kmsfs.REGION.amazonaws.com` where the data key of a file is asked for.
    ViaService,
    /// `kms:CallerAccount`.
    CallerAccount,
    /// `aws:PrincipalArn`.
    PrincipalArn,
    /// `aws:RequestedRegion`.
    RequestedRegion,
    /// What a request has only where a service of AWS makes it, or by way of a VPC's endpoint or a second factor, or where the account
    /// is of an organization: none here does.
    Elsewhere,
    /// Whether a service of AWS makes the request: false.
    ByService,
    /// `kms:GrantOperations`: all that a new grant gives.
    GrantOperations,
    /// `kms:GranteePrincipal`: of CreateGrant.
    Grantee,
    /// `kms:RetiringPrincipal`: of CreateGrant.
    Retiring,
    /// `kms:GrantConstraintType`: of CreateGrant.
    GrantConstraint,
    /// `kms:GrantIsForAWSResource`, of the operations on grants that have it: false, since no service of AWS calls here.
    GrantIsForAwsResource,
    /// `kms:BypassPolicyLockoutSafetyCheck`, of the operations that have it.
    BypassesLockoutCheck,
    /// `kms:KeySpec`.
    Spec,
    /// `kms:KeyUsage`.
    Usage,
    /// `kms:MultiRegion`.
    MultiRegion,
    /// `kms:MultiRegionKeyType`: of multi-Region keys.
    MultiRegionKeyType,
    /// `kms:ReplicaRegion`: of ReplicateKey.
    ReplicaRegion,
    /// `kms:PrimaryRegion`: of UpdatePrimaryRegion.
    PrimaryRegion,
    /// `kms:EncryptionAlgorithm`.
    EncryptionAlgorithm,
    /// `kms:SigningAlgorithm`.
    SigningAlgorithm,
    /// `kms:MacAlgorithm`.
    MacAlgorithm,
    /// `kms:MessageType`: of Sign and Verify.
    MessageType,
    /// `kms:DataKeyPairSpec`.
    DataKeyPairSpec,
    /// `kms:KeyAgreementAlgorithm`.
    AgreementAlgorithm,
}

/// Which of a request's values must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    Any,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    /// Part by part of an ARN, of which each may be a pattern.
    Arn,
    Bool,
    /// Whether the request lacks the key.
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Operator {
    quantifier: Option<Quantifier>,
    test: Test,
    negated: bool,
    if_exists: bool,
}

/// What a request has of a key.
enum Found<'a> {
    Absent,
    Unknown,
    Values(Vec<Cow<'a, str>>),
}

const OPERATORS: &str = "StringEquals, StringEqualsIgnoreCase, StringLike, ArnEquals, ArnLike, their Not forms, Bool and Null, with \
                         IfExists, ForAnyValue: and ForAllValues:";
const KEYS: &str = "kms:EncryptionContext:NAME, kms:EncryptionContextKeys, kms:ViaService, kms:CallerAccount, aws:PrincipalArn, \
                    aws:PrincipalAccount, aws:RequestedRegion, kms:KeySpec, kms:KeyUsage, kms:EncryptionAlgorithm, \
                    kms:SigningAlgorithm, kms:MacAlgorithm, kms:MessageType, kms:DataKeyPairSpec, kms:KeyAgreementAlgorithm, \
                    kms:MultiRegion, kms:MultiRegionKeyType, kms:ReplicaRegion, kms:PrimaryRegion, kms:GrantOperations, \
                    kms:GranteePrincipal, kms:RetiringPrincipal, kms:GrantConstraintType, kms:GrantIsForAWSResource, \
                    kms:BypassPolicyLockoutSafetyCheck, and of what no request here has aws:SourceArn, aws:SourceAccount, \
                    aws:SourceOrgID, aws:SourceOrgPaths, aws:SourceVpc, aws:SourceVpce, aws:PrincipalOrgID, \
                    aws:PrincipalOrgPaths, aws:MultiFactorAuthPresent, aws:PrincipalIsAWSService and aws:ViaAWSService";

impl Condition {
    /// A condition of a document, of at least one value.
    ///
    /// # Errors
    /// What of it cannot be obeyed.
    pub fn new(operator: &str, key: &str, values: Vec<String>) -> Result<Self, String> {
        let operator = Operator::parse(operator)
            .ok_or_else(|| format!("the operator {operator:?} is not supported; there are {OPERATORS}"))?;
        let key = Key::parse(key)
            .ok_or_else(|| format!("the condition key {key:?} is not supported; there are {KEYS}"))?;
        let is_bool = |text: &String| ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word));
        match operator.test {
            Test::Bool | Test::Null if !values.iter().all(is_bool) => {
                return Err("a value is neither true nor false".to_owned());
            }
            Test::Arn if !values.iter().all(|text| Pattern::new(text.as_str()).is_of_arns()) => {
                return Err("a value is no ARN".to_owned());
            }
            Test::Equals | Test::EqualsIgnoreCase | Test::Like | Test::Arn
                if operator.quantifier.is_none() && key.is_of_several() =>
            {
                return Err("the key has several values: ForAnyValue: or ForAllValues: says which".to_owned());
            }
            Test::Equals | Test::EqualsIgnoreCase | Test::Like | Test::Arn | Test::Bool | Test::Null => (),
        }
        Ok(Self { operator, key, values: values.into_iter().map(Pattern::new).collect() })
    }

    /// Whether it holds for `ask`. Where there are several values for a key of one, `any_of_several` says whether one is enough.
    pub fn holds(&self, ask: &Ask<'_>, any_of_several: bool) -> Truth {
        let Operator { quantifier, test, negated, if_exists } = self.operator;
        let found = match self.key.found(ask) {
            Found::Unknown => return Truth::Maybe,
            Found::Absent => None,
            Found::Values(values) => Some(values),
        };
        if test == Test::Null {
            let is_absent = if found.is_none() { "true" } else { "false" };
            return self.values.iter().any(|value| value.is_ignoring_case(is_absent)).into();
        }
        let Some(found) = found else {
            let passes_absent = match quantifier {
                Some(Quantifier::All) => true,
                Some(Quantifier::Any) => false,
                None => negated,
            };
            return (if_exists || passes_absent).into();
        };
        let passes =
            |value: &Cow<'_, str>| self.values.iter().any(|wanted| test.passes(wanted, value)) != negated;
        match quantifier {
            Some(Quantifier::Any) => found.iter().any(passes),
            Some(Quantifier::All) => found.iter().all(passes),
            None if any_of_several => found.iter().any(passes),
            None => found.iter().all(passes),
        }
        .into()
    }
}

impl Operator {
    fn parse(text: &str) -> Option<Self> {
        let (quantifier, text) = match text.split_once(':') {
            Some(("ForAnyValue", text)) => (Some(Quantifier::Any), text),
            Some(("ForAllValues", text)) => (Some(Quantifier::All), text),
            Some(_) => return None,
            None => (None, text),
        };
        let (text, if_exists) = match text.strip_suffix("IfExists") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (test, negated) = match text {
            "StringEquals" => (Test::Equals, false),
            "StringNotEquals" => (Test::Equals, true),
            "StringEqualsIgnoreCase" => (Test::EqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Test::EqualsIgnoreCase, true),
            "StringLike" => (Test::Like, false),
            "StringNotLike" => (Test::Like, true),
            // Both are the same (IAM User Guide, "Amazon Resource Name (ARN) condition operators").
            "ArnEquals" | "ArnLike" => (Test::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
            "Bool" => (Test::Bool, false),
            "Null" if !if_exists && quantifier.is_none() => (Test::Null, false),
            _ => return None,
        };
        Some(Self { quantifier, test, negated, if_exists })
    }
}

impl Test {
    fn passes(self, wanted: &Pattern, value: &str) -> bool {
        match self {
            Self::Equals => wanted.is(value),
            Self::EqualsIgnoreCase | Self::Bool | Self::Null => wanted.is_ignoring_case(value),
            Self::Like => wanted.matches(value),
            Self::Arn => wanted.matches_arn(value),
        }
    }
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        const PAIR: &str = "kms:EncryptionContext:";
        if let Some((prefix, name)) = text.split_at_checked(PAIR.len())
            && prefix.eq_ignore_ascii_case(PAIR)
            && !name.is_empty()
        {
            return Some(Self::EncryptionContext(name.to_lowercase()));
        }
        let keys = [
            ("kms:EncryptionContextKeys", Self::EncryptionContextKeys),
            ("kms:ViaService", Self::ViaService),
            ("kms:CallerAccount", Self::CallerAccount),
            ("aws:PrincipalArn", Self::PrincipalArn),
            // Whoever asks is of the account itself.
            ("aws:PrincipalAccount", Self::CallerAccount),
            ("aws:RequestedRegion", Self::RequestedRegion),
            ("aws:SourceArn", Self::Elsewhere),
            ("aws:SourceAccount", Self::Elsewhere),
            ("aws:SourceOrgID", Self::Elsewhere),
            ("aws:SourceOrgPaths", Self::Elsewhere),
            ("aws:SourceVpc", Self::Elsewhere),
            ("aws:SourceVpce", Self::Elsewhere),
            ("aws:MultiFactorAuthPresent", Self::Elsewhere),
            ("aws:PrincipalOrgID", Self::Elsewhere),
            ("aws:PrincipalOrgPaths", Self::Elsewhere),
            ("aws:PrincipalIsAWSService", Self::ByService),
            ("aws:ViaAWSService", Self::ByService),
            ("kms:GrantOperations", Self::GrantOperations),
            ("kms:GranteePrincipal", Self::Grantee),
            ("kms:RetiringPrincipal", Self::Retiring),
            ("kms:GrantConstraintType", Self::GrantConstraint),
            ("kms:GrantIsForAWSResource", Self::GrantIsForAwsResource),
            ("kms:BypassPolicyLockoutSafetyCheck", Self::BypassesLockoutCheck),
            ("kms:KeySpec", Self::Spec),
            ("kms:KeyUsage", Self::Usage),
            ("kms:MultiRegion", Self::MultiRegion),
            ("kms:MultiRegionKeyType", Self::MultiRegionKeyType),
            ("kms:ReplicaRegion", Self::ReplicaRegion),
            ("kms:PrimaryRegion", Self::PrimaryRegion),
            ("kms:EncryptionAlgorithm", Self::EncryptionAlgorithm),
            ("kms:SigningAlgorithm", Self::SigningAlgorithm),
            ("kms:MacAlgorithm", Self::MacAlgorithm),
            ("kms:MessageType", Self::MessageType),
            ("kms:DataKeyPairSpec", Self::DataKeyPairSpec),
            ("kms:KeyAgreementAlgorithm", Self::AgreementAlgorithm),
        ];
        keys.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, key)| key)
    }

    /// Whether one request can have several values of it, so that an operator must say how many of them are to pass.
    fn is_of_several(&self) -> bool {
        matches!(self, Self::EncryptionContextKeys | Self::GrantOperations)
    }

    fn found<'a>(&self, ask: &Ask<'a>) -> Found<'a> {
        match self {
            Self::EncryptionContext(name) => {
                of_pairs(ask.context, |key, value| (key.to_lowercase() == *name).then_some(value))
            }
            Self::EncryptionContextKeys => of_pairs(ask.context, |key, _| Some(key)),
            Self::ViaService if ask.for_file => {
                Found::Values(vec![format!("kmsfs.{}.amazonaws.com", ask.region).into()])
            }
            Self::ViaService => Found::Absent,
            Self::CallerAccount => Found::Values(vec![ask.who.account().into()]),
            Self::PrincipalArn => match ask.who {
                Who::Known { arn, .. } => Found::Values(vec![arn.into()]),
                Who::Stranger { .. } => Found::Unknown,
            },
            Self::RequestedRegion => of_request(Some(ask.region)),
            Self::Elsewhere => Found::Absent,
            Self::ByService => Found::Values(vec!["false".into()]),
            Self::GrantOperations => match ask.grant {
                Some(grant) => Found::Values(grant.operations.iter().map(|name| Cow::from(*name)).collect()),
                None => Found::Absent,
            },
            Self::Grantee => of_request(ask.grant.map(|grant| grant.grantee)),
            Self::Retiring => of_request(ask.grant.and_then(|grant| grant.retiring)),
            Self::GrantConstraint => of_request(ask.grant.and_then(|grant| grant.constraint)),
            Self::GrantIsForAwsResource
                if ["CreateGrant", "ListGrants", "RevokeGrant"].contains(&ask.action) =>
            {
                Found::Values(vec!["false".into()])
            }
            Self::GrantIsForAwsResource => Found::Absent,
            Self::BypassesLockoutCheck => match ask.bypasses_lockout_check {
                Some(bypasses) => Found::Values(vec![if bypasses { "true" } else { "false" }.into()]),
                None => Found::Absent,
            },
            Self::Spec => of_request(Some(ask.key_spec)),
            Self::Usage => of_request(Some(ask.key_usage)),
            Self::MultiRegion => of_request(Some(if ask.key_role.is_some() { "true" } else { "false" })),
            Self::MultiRegionKeyType => of_request(ask.key_role),
            Self::ReplicaRegion => of_request(ask.named_region.filter(|_| ask.action == "ReplicateKey")),
            Self::PrimaryRegion => {
                of_request(ask.named_region.filter(|_| ask.action == "UpdatePrimaryRegion"))
            }
            Self::EncryptionAlgorithm => of_request(ask.asked.encryption_algorithm),
            Self::SigningAlgorithm => of_request(ask.asked.signing_algorithm),
            Self::MacAlgorithm => of_request(ask.asked.mac_algorithm),
            Self::MessageType => of_request(ask.asked.message_type),
            Self::DataKeyPairSpec => of_request(ask.asked.data_key_pair_spec),
            Self::AgreementAlgorithm => of_request(ask.asked.key_agreement_algorithm),
        }
    }
}

fn of_request(value: Option<&str>) -> Found<'_> {
    value.map_or(Found::Absent, |value| Found::Values(vec![value.into()]))
}

fn of_pairs<'a>(context: Context<'a>, pick: impl Fn(&'a str, &'a str) -> Option<&'a str>) -> Found<'a> {
    match context {
        Context::None => Found::Absent,
        Context::Unknown => Found::Unknown,
        Context::Given(context) => {
            let values: Vec<_> =
                context.pairs().filter_map(|(key, value)| pick(key, value)).map(Cow::from).collect();
            if values.is_empty() { Found::Absent } else { Found::Values(values) }
        }
    }
}
