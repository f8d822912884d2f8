//! Documents, and what is decided by them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::context::EncryptionContext;

const ACCOUNT: &str = "000000000000";
const ROOT: &str = "arn:aws:iam::000000000000:root";
const ALICE: &str = "arn:aws:iam::000000000000:user/alice";
const BOB: &str = "arn:aws:iam::000000000000:user/bob";
const KEY: &str = "arn:aws:kms:us-east-1:000000000000:key/8e9df016-5367-4555-926f-2c8c67b5d6a3";

fn known(arn: &str) -> Who<'_> {
    Who::Known { arn, account: ACCOUNT }
}

fn ask<'a>(who: Who<'a>, action: &'a str) -> Ask<'a> {
    Ask {
        who,
        action,
        resource: KEY,
        key_spec: "SYMMETRIC_DEFAULT",
        key_usage: "ENCRYPT_DECRYPT",
        key_role: None,
        named_region: None,
        asked: Asked::NOTHING,
        region: "us-east-1",
        for_file: false,
        context: Context::None,
        bypasses_lockout_check: None,
        grant: None,
    }
}

fn parse(document: &Value) -> Policy {
    let text = document.to_string();
    Policy::parse(&text).unwrap_or_else(|malformed| panic!("{text}: {malformed}"))
}

fn policy(statements: Value) -> Policy {
    parse(&json!({"Version": "2012-10-17", "Statement": statements}))
}

#[test]
fn pol_1_the_policy_in_the_documentation_does_what_it_says() {
    let document = include_str!("../../../docs/KEYS.md").split("```json\n").nth(1).unwrap();
    let policy = Policy::parse(document.split("```").next().unwrap()).unwrap();
    let decide = |who, action, for_file| policy.decide(&Ask { for_file, ..ask(known(who), action) });
    assert_eq!(decide(ALICE, "Decrypt", true), Decision::Allowed);
    assert_eq!(decide(ALICE, "Decrypt", false), Decision::NotAllowed);
    assert_eq!(decide(ROOT, "Decrypt", true), Decision::NotAllowed);
    assert_eq!(decide(ROOT, "PutKeyPolicy", false), Decision::Allowed);
}

/// A statement about everything, with what is different in `with`.
fn statement(with: Value) -> Value {
    let mut statement = json!({"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"});
    for (name, value) in with.as_object().unwrap() {
        match value {
            Value::Null => drop(statement.as_object_mut().unwrap().remove(name)),
            value => statement[name] = value.clone(),
        }
    }
    statement
}

fn conditional(effect: &str, condition: Value) -> Policy {
    let all = json!({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"});
    let with = statement(json!({"Effect": effect, "Condition": condition}));
    if effect == "Allow" { policy(json!([with])) } else { policy(json!([all, with])) }
}

#[test]
fn pol_1_the_default_policy_is_awss_and_allows_the_account_everything() {
    let text = default_text(ACCOUNT);
    assert_eq!(
        text,
        "{\"Version\":\"2012-10-17\",\"Id\":\"key-default-1\",\"Statement\":[{\"Sid\":\"Enable IAM User Permissions\",\
         \"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::000000000000:root\"},\"Action\":\"kms:*\",\
         \"Resource\":\"*\"}]}"
    );
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(policy.text(), text);
    for who in [ROOT, ALICE] {
        assert_eq!(policy.decide(&ask(known(who), "Decrypt")), Decision::Allowed);
    }
    let elsewhere = Who::Known { arn: "arn:aws:iam::111111111111:root", account: "111111111111" };
    assert_eq!(policy.decide(&ask(elsewhere, "Decrypt")), Decision::NotAllowed);
}

#[test]
fn pol_1_an_explicit_deny_wins_and_what_nothing_allows_is_not_allowed() {
    let policy = policy(json!([
        statement(json!({"Principal": {"AWS": [ALICE, BOB]}, "Action": ["kms:Decrypt", "kms:Describe*"]})),
        statement(json!({"Effect": "Deny", "Principal": {"AWS": BOB}, "Action": "kms:decrypt"})),
    ]));
    for (who, action, expected) in [
        (ALICE, "Decrypt", Decision::Allowed),
        (ALICE, "DescribeKey", Decision::Allowed),
        (ALICE, "Encrypt", Decision::NotAllowed),
        (BOB, "Decrypt", Decision::Denied),
        (BOB, "DescribeKey", Decision::Allowed),
        (ROOT, "Decrypt", Decision::NotAllowed),
    ] {
        assert_eq!(policy.decide(&ask(known(who), action)), expected, "{who} {action}");
    }
}

#[test]
fn pol_1_a_deny_of_the_account_is_a_deny_of_all_its_principals() {
    let policy = policy(json!([
        statement(json!({})),
        statement(json!({"Effect": "Deny", "Principal": {"AWS": ROOT}, "Action": "kms:Decrypt"})),
    ]));
    for who in [known(ROOT), known(ALICE), Who::Stranger { account: ACCOUNT }] {
        assert_eq!(policy.decide(&ask(who, "Decrypt")), Decision::Denied);
        assert_eq!(policy.decide(&ask(who, "Encrypt")), Decision::Allowed);
    }
}

#[test]
fn pol_1_elements_with_not_mean_everything_else() {
    let not_alice = policy(json!([
        statement(json!({})),
        statement(json!({"Effect": "Deny", "Principal": null, "NotPrincipal": {"AWS": ALICE}})),
    ]));
    assert_eq!(not_alice.decide(&ask(known(ALICE), "Decrypt")), Decision::Allowed);
    assert_eq!(not_alice.decide(&ask(known(BOB), "Decrypt")), Decision::Denied);
    assert_eq!(not_alice.decide(&ask(Who::Stranger { account: ACCOUNT }, "Decrypt")), Decision::Denied);

    let administration = policy(json!(statement(json!({
        "Principal": {"AWS": ROOT}, "Action": null, "NotAction": ["kms:Decrypt", "kms:GenerateDataKey*"]
    }))));
    assert_eq!(administration.decide(&ask(known(ROOT), "PutKeyPolicy")), Decision::Allowed);
    assert_eq!(
        administration.decide(&ask(known(ROOT), "GenerateDataKeyWithoutPlaintext")),
        Decision::NotAllowed
    );

    for (resource, expected) in [(KEY, Decision::NotAllowed), ("arn:aws:kms:*:*:key/0*", Decision::Allowed)] {
        let policy = policy(json!(statement(json!({"Resource": null, "NotResource": resource}))));
        assert_eq!(policy.decide(&ask(known(ALICE), "Decrypt")), expected, "{resource}");
    }
    for (resource, expected) in
        [("arn:aws:kms:us-east-?:*", Decision::Allowed), ("arn:aws:s3:::*", Decision::NotAllowed)]
    {
        let policy = policy(json!(statement(json!({"Resource": [resource]}))));
        assert_eq!(policy.decide(&ask(known(ALICE), "Decrypt")), expected, "{resource}");
    }
}

#[test]
fn pol_2_an_account_stands_there_as_arn_or_as_digits() {
    for (principal, expected) in [
        (json!({"AWS": ACCOUNT}), Decision::Allowed),
        (json!({"AWS": "111111111111"}), Decision::NotAllowed),
        (json!({"AWS": "*"}), Decision::Allowed),
        (json!({"Service": "logs.us-east-1.amazonaws.com"}), Decision::NotAllowed),
        (json!({"Service": "a.amazonaws.com", "AWS": [BOB, ALICE]}), Decision::Allowed),
        (json!({"AWS": "arn:aws:iam::000000000000:role/alice"}), Decision::NotAllowed),
    ] {
        let policy = policy(json!([statement(json!({"Principal": principal}))]));
        assert_eq!(policy.decide(&ask(known(ALICE), "Decrypt")), expected, "{principal}");
    }
}

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

#[test]
fn pol_1_what_is_malformed_is_refused_with_its_place() {
    let one =
        |with: Value| json!({"Version": "2012-10-17", "Statement": [statement(json!({})), statement(with)]});
    let cases = [
        (json!([]), "it is not an object"),
        (json!({"Version": "2012-10-17"}), "Statement is missing"),
        (json!({"Version": 2012, "Statement": []}), "Version: it is not a text"),
        (json!({"Version": "2020-01-01", "Statement": []}), "Version: it is neither"),
        (json!({"Id": [], "Statement": []}), "Id: it is not a text"),
        (json!({"Statement": []}), "Statement: the list is empty"),
        (json!({"Statement": "x"}), "Statement: it is not an object"),
        (
            json!({"Statement": [statement(json!({}))], "Statements": []}),
            "Statements: there is no such element",
        ),
        (one(json!({"effect": "Allow"})), "Statement[1].effect: there is no such element"),
        (one(json!({"Effect": "allow"})), "Statement[1].Effect: it is neither Allow nor Deny"),
        (one(json!({"Effect": null})), "Statement[1]: Effect is missing"),
        (one(json!({"Principal": null})), "Statement[1]: Principal is missing"),
        (one(json!({"NotPrincipal": "*"})), "Statement[1]: Principal and NotPrincipal exclude each other"),
        (one(json!({"Principal": "alice"})), "Statement[1].Principal: it is \"*\", or an object"),
        (one(json!({"Principal": {}})), "Statement[1].Principal: it names no principal"),
        (
            one(json!({"Principal": {"AWS": [ALICE, "alice"]}})),
            "Statement[1].Principal.AWS[1]: \"alice\" is an invalid",
        ),
        (one(json!({"Principal": {"User": ALICE}})), "Statement[1].Principal.User: \"User\" is no kind"),
        (one(json!({"Action": null})), "Statement[1]: Action is missing"),
        (one(json!({"Action": []})), "Statement[1].Action: the list is empty"),
        (
            one(json!({"Action": ["kms:Decrypt", "Decrypt"]})),
            "Statement[1].Action[1]: \"Decrypt\" is no action",
        ),
        (one(json!({"Action": {"a": 1}})), "Statement[1].Action: it is not a text"),
        (one(json!({"Resource": null})), "Statement[1]: Resource is missing"),
        (one(json!({"Resource": "key"})), "Statement[1].Resource: \"key\" is neither"),
        (one(json!({"Resource": "arn:${x}"})), "Statement[1].Resource: policy variables"),
        (one(json!({"Condition": []})), "Statement[1].Condition: it is not an object"),
        (
            one(json!({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}})),
            "Statement[1].Condition.IpAddress.aws:SourceIp: the operator \"IpAddress\" is not supported",
        ),
        (
            one(json!({"Condition": {"StringEquals": {"aws:SourceIp": "x"}}})),
            "Statement[1].Condition.StringEquals.aws:SourceIp: the condition key \"aws:SourceIp\" is not supported",
        ),
        (
            one(json!({"Condition": {"StringEquals": {"kms:EncryptionContextKeys": "x"}}})),
            "Statement[1].Condition.StringEquals.kms:EncryptionContextKeys: the key has several values",
        ),
        (
            one(json!({"Condition": {"Bool": {"kms:GrantIsForAWSResource": "yes"}}})),
            "Statement[1].Condition.Bool.kms:GrantIsForAWSResource: a value is neither true nor false",
        ),
        (
            one(json!({"Condition": {"StringEquals": {"kms:ViaService": ["x", {}]}}})),
            "Statement[1].Condition.StringEquals.kms:ViaService[1]: it is no text",
        ),
        (
            one(json!({"Condition": {"StringLike": {"kms:ViaService": "${aws:x}"}}})),
            "Statement[1].Condition.StringLike.kms:ViaService: policy variables",
        ),
        (
            one(json!({"Condition": {"StringEquals": {"kms:EncryptionContext:": "x"}}})),
            "Statement[1].Condition.",
        ),
        (
            one(json!({"Condition": {"ForSome:StringEquals": {"kms:ViaService": "x"}}})),
            "Statement[1].Condition.",
        ),
        (one(json!({"Condition": {"NullIfExists": {"kms:ViaService": true}}})), "Statement[1].Condition."),
        (
            json!({"Statement": [statement(json!({"Sid": "a"})), statement(json!({"Sid": "a"}))]}),
            "Statement[1].Sid: another statement has the same Sid",
        ),
    ];
    for (document, expected) in cases {
        let said = Policy::parse(&document.to_string()).expect_err(&document.to_string()).to_string();
        assert!(said.starts_with(expected), "{document}: {said}");
    }
    for text in ["", "{", "null", "{\"Statement\": 1, \"Statement\": 2}", "{} {}"] {
        assert!(Policy::parse(text).is_err(), "{text}");
    }
    assert!(
        Policy::parse(&json!({"Statement": statement(json!({"Resource": "arn:${x}"}))}).to_string()).is_ok()
    );
}

/// JSON that looks like a policy here and there.
fn hostile() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "Version",
        "Statement",
        "Sid",
        "Effect",
        "Allow",
        "Deny",
        "Principal",
        "NotPrincipal",
        "AWS",
        "*",
        "kms:*",
        "kms:Decrypt",
        "Action",
        "Resource",
        "Condition",
        "StringLike",
        "ForAnyValue:StringEquals",
        "Null",
        "Bool",
        "true",
        "kms:ViaService",
        "kms:EncryptionContext:a",
        "kms:EncryptionContext:",
        "2012-10-17",
        ALICE,
        ROOT,
        "",
        "ä",
        "${",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((word.clone(), inner), 0..6).prop_map(|members| {
                Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_makes_the_parser_panic(document in hostile(), cut in 0_usize..200) {
        let text = document.to_string();
        let _ = Policy::parse(&text);
        let _ = Policy::parse(&text.chars().take(cut).collect::<String>());
        let _ = Policy::parse(&json!({"Statement": document}).to_string());
        let _ = Policy::parse(&json!({"Statement": statement(json!({"Condition": document}))}).to_string());
        let with_principal = statement(json!({"Effect": "Deny", "Principal": document}));
        if let Ok(policy) = Policy::parse(&json!({"Statement": with_principal}).to_string()) {
            prop_assert_ne!(policy.decide(&ask(known(ALICE), "Decrypt")), Decision::Allowed);
        }
    }
}
