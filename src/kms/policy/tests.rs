//! Documents, and what is decided by them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod conditions;

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
