//! What conditions look at, and how.

use serde_json::{Value, json};

use super::*;
use crate::context::EncryptionContext;

/// Whether a policy that allows everything under `condition` allows ALICE a Decrypt with `context`.
fn holds(condition: &Value, context: &[(&str, &str)]) -> bool {
    let context: EncryptionContext = context.iter().copied().collect();
    let ask = Ask { context: Context::Given(&context), for_file: true, ..ask(known(ALICE), "Decrypt") };
    conditional("Allow", condition.clone()).decide(&ask) == Decision::Allowed
}

#[test]
fn pol_3_every_operator_on_a_pair_of_the_context() {
    let one = |operator: &str, value: Value| json!({operator: {"kms:EncryptionContext:Dept": value}});
    let it = [("dept", "IT")];
    for (operator, value, with, without) in [
        ("StringEquals", json!("IT"), true, false),
        ("StringEquals", json!("it"), false, false),
        ("StringEquals", json!(["HR", "IT"]), true, false),
        ("StringEquals", json!("I?"), false, false),
        ("StringEqualsIfExists", json!("HR"), false, true),
        ("StringEqualsIgnoreCase", json!("it"), true, false),
        ("StringNotEquals", json!("IT"), false, true),
        ("StringNotEquals", json!(["HR", "PR"]), true, true),
        ("StringNotEqualsIgnoreCase", json!("it"), false, true),
        ("StringLike", json!("I*"), true, false),
        ("StringLike", json!("i*"), false, false),
        ("StringNotLike", json!(["H*", "I?"]), false, true),
        ("StringLikeIfExists", json!("H*"), false, true),
        ("Null", json!(true), false, true),
        ("Null", json!("false"), true, false),
        ("ForAnyValue:StringEquals", json!("IT"), true, false),
        ("ForAllValues:StringEquals", json!("HR"), false, true),
        ("ForAnyValue:StringNotEquals", json!("IT"), false, false),
        ("ForAnyValue:StringLikeIfExists", json!("H*"), false, true),
    ] {
        let condition = one(operator, value);
        assert_eq!(holds(&condition, &it), with, "{condition} with the pair");
        assert_eq!(holds(&condition, &[]), without, "{condition} without the pair");
    }
}

/// What the policies have that let services of AWS in, in its own guides (CloudWatch Logs, Route 53, CloudTrail): they let nobody in here.
#[test]
fn pol_3_what_only_services_of_aws_have_is_absent() {
    let log_group = "arn:aws:logs:us-east-1:000000000000:log-group:a";
    let of_logs = json!({"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": log_group}});
    assert!(holds(&of_logs, &[("aws:logs:arn", log_group)]) && !holds(&of_logs, &[("aws:logs:arn", "a")]));
    assert!(!holds(&of_logs, &[]));
    for key in [
        "aws:SourceArn",
        "aws:SourceAccount",
        "aws:SourceOrgID",
        "aws:SourceOrgPaths",
        "aws:PrincipalOrgID",
        "aws:PrincipalOrgPaths",
        "aws:SourceVpc",
        "aws:SourceVpce",
    ] {
        assert!(!holds(&json!({"ForAnyValue:StringLike": {key: "*"}}), &[]), "{key}");
        assert!(!holds(&json!({"StringLike": {key: "*"}}), &[]), "{key}");
        assert!(holds(&json!({"StringNotEquals": {key: "x"}}), &[]), "{key}");
        assert!(holds(&json!({"StringEqualsIfExists": {key: "x"}}), &[]), "{key}");
    }
    assert!(!holds(&json!({"ArnLike": {"aws:SourceArn": "arn:aws:route53:::hostedzone/*"}}), &[]));
    // Whoever signs with an access key has no second factor, so that only the form with IfExists asks for one.
    let second = |operator: &str| holds(&json!({operator: {"aws:MultiFactorAuthPresent": "true"}}), &[]);
    assert!(!second("Bool") && second("BoolIfExists"));
    for key in ["aws:PrincipalIsAWSService", "aws:ViaAWSService"] {
        assert!(holds(&json!({"Bool": {key: "false"}}), &[]) && !holds(&json!({"Bool": {key: true}}), &[]));
    }
}

#[test]
fn pol_3_all_operators_and_keys_of_a_statement_must_hold() {
    let condition = json!({
        "StringEquals": {"kms:EncryptionContext:a": "1", "kms:EncryptionContext:b": "2"},
        "StringLike": {"kms:ViaService": "kmsfs.*.amazonaws.com"},
    });
    assert!(holds(&condition, &[("a", "1"), ("b", "2"), ("c", "3")]));
    assert!(!holds(&condition, &[("a", "1")]));
    assert!(holds(&json!({}), &[]));
}

#[test]
fn pol_3_the_names_of_the_pairs_are_compared_with_case() {
    let any = json!({"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": ["Dept", "x"]}});
    assert!(holds(&any, &[("Dept", "1"), ("y", "2")]) && !holds(&any, &[("dept", "1")]) && !holds(&any, &[]));
    let all = json!({"ForAllValues:StringLike": {"kms:encryptioncontextkeys": "D*"}});
    assert!(holds(&all, &[("Dept", "1"), ("D", "2")]) && !holds(&all, &[("Dept", "1"), ("x", "2")]));
    assert!(holds(&all, &[]));
}

#[test]
fn pol_3_two_pairs_that_differ_by_case_get_nobody_past_a_condition() {
    let both = [("dept", "IT"), ("Dept", "HR")];
    let equals = json!({"StringEquals": {"kms:EncryptionContext:dept": "IT"}});
    assert!(!holds(&equals, &both));
    let context: EncryptionContext = both.into_iter().collect();
    let ask = Ask { context: Context::Given(&context), ..ask(known(ALICE), "Encrypt") };
    assert_eq!(conditional("Deny", equals).decide(&ask), Decision::Denied);
}

#[test]
fn pol_3_service_account_principal_and_flags_are_looked_at() {
    let decide =
        |condition: Value, ask: &Ask<'_>| conditional("Allow", condition).decide(ask) == Decision::Allowed;
    let direct = ask(known(ALICE), "CreateGrant");
    let for_file = Ask { for_file: true, ..direct };
    let bypassing = Ask { bypasses_lockout_check: Some(true), ..direct };
    let via = json!({"StringEquals": {"kms:ViaService": "kmsfs.us-east-1.amazonaws.com"}});
    assert!(decide(via.clone(), &for_file) && !decide(via, &direct));
    let via = json!({"StringEquals": {"kms:ViaService": "kmsfs.us-west-2.amazonaws.com"}});
    assert!(!decide(via, &for_file));
    for (condition, expected) in [
        (json!({"StringEquals": {"kms:CallerAccount": ACCOUNT}}), true),
        (json!({"StringEquals": {"kms:CallerAccount": 111_111_111_111_u64}}), false),
        (json!({"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/al*"}}), true),
        (json!({"StringEquals": {"aws:principalarn": ROOT}}), false),
        (json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/al*"}}), true),
        (json!({"ArnEquals": {"aws:PrincipalArn": ["arn:aws:iam::*:role/*", ALICE]}}), true),
        (json!({"ArnNotEquals": {"aws:PrincipalArn": ALICE}}), false),
        (json!({"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::1*:user/alice"}}), true),
        (json!({"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}), true),
        (json!({"StringEquals": {"aws:RequestedRegion": ["us-east-1", "us-west-2"]}}), true),
        (json!({"StringNotEquals": {"aws:RequestedRegion": "us-east-1"}}), false),
        (json!({"Bool": {"kms:GrantIsForAWSResource": true}}), false),
        (json!({"Bool": {"kms:GrantIsForAWSResource": "False"}}), true),
        (json!({"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "true"}}), false),
        (json!({"BoolIfExists": {"kms:BypassPolicyLockoutSafetyCheck": "false"}}), true),
    ] {
        assert_eq!(decide(condition.clone(), &direct), expected, "{condition}");
    }
    assert!(decide(json!({"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "true"}}), &bypassing));
    assert!(!decide(json!({"BoolIfExists": {"kms:BypassPolicyLockoutSafetyCheck": "false"}}), &bypassing));
    assert!(!decide(json!({"Bool": {"kms:GrantIsForAWSResource": false}}), &ask(known(ALICE), "Decrypt")));
}

#[test]
fn pol_3_a_new_grant_is_looked_at() {
    let decide =
        |condition: Value, ask: &Ask<'_>| conditional("Allow", condition).decide(ask) == Decision::Allowed;
    let grant = NewGrant {
        operations: &["Encrypt", "Decrypt"],
        grantee: ALICE,
        retiring: None,
        constraint: Some("EncryptionContextSubset"),
    };
    let creating = Ask { grant: Some(grant), ..ask(known(ALICE), "CreateGrant") };
    for (condition, expected) in [
        (
            json!({"ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt", "Decrypt", "DescribeKey"]}}),
            true,
        ),
        (json!({"ForAllValues:StringEquals": {"kms:GrantOperations": "Encrypt"}}), false),
        (json!({"ForAnyValue:StringEquals": {"kms:GrantOperations": "Decrypt"}}), true),
        (json!({"ForAnyValue:StringLike": {"kms:GrantOperations": "ReEncrypt*"}}), false),
        (json!({"StringEquals": {"kms:GranteePrincipal": ALICE}}), true),
        (json!({"ArnLike": {"kms:GranteePrincipal": "arn:aws:iam::*:role/*"}}), false),
        (json!({"StringLike": {"kms:RetiringPrincipal": "*"}}), false),
        (json!({"Null": {"kms:RetiringPrincipal": "true"}}), true),
        (json!({"StringEquals": {"kms:GrantConstraintType": "EncryptionContextSubset"}}), true),
        (json!({"StringEquals": {"kms:GrantConstraintType": "EncryptionContextEquals"}}), false),
    ] {
        assert_eq!(decide(condition.clone(), &creating), expected, "{condition}");
    }
    let retiring = Ask { grant: Some(NewGrant { retiring: Some(BOB), ..grant }), ..creating };
    assert!(decide(json!({"StringEquals": {"kms:RetiringPrincipal": BOB}}), &retiring));
    let other = ask(known(ALICE), "Encrypt");
    assert!(!decide(json!({"StringEquals": {"kms:GranteePrincipal": ALICE}}), &other));
    assert!(!decide(json!({"ForAnyValue:StringEquals": {"kms:GrantOperations": "Encrypt"}}), &other));
    let which = statement(json!({"Condition": {"StringEquals": {"kms:GrantOperations": "Encrypt"}}}));
    let text = json!({"Version": "2012-10-17", "Statement": [which]}).to_string();
    assert!(Policy::parse(&text).unwrap_err().to_string().contains("ForAnyValue"));
}

#[test]
fn what_is_not_known_counts_as_allowed_where_it_can_be() {
    let anybody = Ask { context: Context::Unknown, ..ask(Who::Stranger { account: ACCOUNT }, "Decrypt") };
    let pair = json!({"StringEquals": {"kms:EncryptionContext:a": "1"}});
    let owner = json!({"StringEquals": {"aws:PrincipalArn": ROOT}});
    for condition in [&pair, &owner] {
        assert_eq!(conditional("Allow", condition.clone()).decide(&anybody), Decision::Allowed);
        assert_eq!(conditional("Deny", condition.clone()).decide(&anybody), Decision::Allowed);
    }
    let never = json!({"StringEquals": {"kms:CallerAccount": "1", "kms:EncryptionContext:a": "1"}});
    assert_eq!(conditional("Allow", never).decide(&anybody), Decision::NotAllowed);
    assert_eq!(conditional("Deny", json!({})).decide(&anybody), Decision::Denied);
    let named = policy(json!([
        statement(json!({"Principal": {"AWS": [ROOT, ALICE]}})),
        statement(json!({"Effect": "Deny", "Principal": {"AWS": BOB}})),
    ]));
    assert_eq!(named.allowed_by_name().collect::<Vec<_>>(), [ALICE]);
}
