//! Grants: what one allows, who makes and ends it, and that it ends with its key (AWS KMS, "Grants in AWS KMS").

use kmsfs::datakey::{KeyArn, Usability};
use serde_json::{Value, json};

use crate::fixture::{Key, Service, call_as, policy, text};

const ROOT: &str = "arn:aws:iam::000000000000:root";
const DAEMON: u32 = 1;
const BIN: u32 = 2;
const DAEMON_ARN: &str = "arn:aws:iam::000000000000:user/daemon";
const BIN_ARN: &str = "arn:aws:iam::000000000000:user/bin";

/// A key that its policy lets the owner alone use.
fn private_key(service: &Service) -> Key {
    let statement = json!({
        "Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalArn": ROOT}}
    });
    service.key_of(json!({"Policy": policy(json!([statement]))}))
}

fn request(key: &Key, grantee: &str, operations: Value, more: Value) -> Value {
    let mut request = json!({"KeyId": key.id, "GranteePrincipal": grantee, "Operations": operations});
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

/// A grant; its id and a token of it.
fn grant(service: &Service, key: &Key, grantee: &str, operations: Value, more: Value) -> (String, String) {
    let answer = service.ok("CreateGrant", request(key, grantee, operations, more));
    (text(&answer["GrantId"]), text(&answer["GrantToken"]))
}

fn may(service: &Service, uid: u32, operation: &str, request: Value) -> bool {
    match call_as(&service.home, uid, operation, request) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.error.name(), "AccessDeniedException", "{error}");
            false
        }
    }
}

fn encrypt(key: &Key, context: Value) -> Value {
    json!({"KeyId": key.id, "Plaintext": "AA==", "EncryptionContext": context})
}

fn describe(key: &Key) -> Value {
    json!({"KeyId": key.id})
}

#[test]
fn pol_2_a_grant_allows_its_operations_at_once_and_no_others_until_it_ends() {
    let service = Service::new();
    let key = private_key(&service);
    let (id, token) =
        grant(&service, &key, DAEMON_ARN, json!(["Encrypt", "DescribeKey", "Encrypt"]), json!({}));
    assert_eq!((id.len(), id.bytes().all(|byte| byte.is_ascii_hexdigit())), (64, true));
    assert!(may(&service, DAEMON, "Encrypt", encrypt(&key, json!({}))));
    let with_token = json!({"KeyId": key.id, "Plaintext": "AA==", "GrantTokens": [token]});
    assert!(may(&service, DAEMON, "Encrypt", with_token));
    assert!(may(&service, DAEMON, "DescribeKey", describe(&key)));
    assert!(!may(&service, DAEMON, "GenerateDataKey", json!({"KeyId": key.id, "KeySpec": "AES_256"})));
    assert!(!may(&service, BIN, "Encrypt", encrypt(&key, json!({}))));
    assert_eq!(service.ok("RevokeGrant", json!({"KeyId": key.arn, "GrantId": id})), Value::Null);
    assert!(!may(&service, DAEMON, "Encrypt", encrypt(&key, json!({}))));
    // The home opened once more knows as much.
    grant(
        &service,
        &key,
        DAEMON_ARN,
        json!(["Encrypt"]),
        json!({"Constraints": {"EncryptionContextSubset": {"a": "b"}}}),
    );
    let another = service.another();
    call_as(&another, DAEMON, "Encrypt", encrypt(&key, json!({"A": "b"}))).unwrap();
    call_as(&another, DAEMON, "Encrypt", encrypt(&key, json!({}))).unwrap_err();
}

#[test]
fn pol_1_a_deny_in_the_policy_wins_over_a_grant() {
    let service = Service::new();
    let key = private_key(&service);
    grant(&service, &key, DAEMON_ARN, json!(["Encrypt"]), json!({}));
    service.put_policy(
        &key,
        json!([
            {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"},
            {"Effect": "Deny", "Principal": {"AWS": DAEMON_ARN}, "Action": "kms:Encrypt", "Resource": "*"},
        ]),
    );
    assert!(!may(&service, DAEMON, "Encrypt", encrypt(&key, json!({}))));
}

#[test]
fn pol_3_a_constraint_must_hold_for_operations_with_a_context_and_no_others() {
    let service = Service::new();
    let key = private_key(&service);
    let operations = json!(["Encrypt", "DescribeKey"]);
    let equals = json!({"Constraints": {"EncryptionContextEquals": {"Dept": "IT"}}});
    let (id, _) = grant(&service, &key, DAEMON_ARN, operations.clone(), equals);
    for (context, expected) in [
        (json!({"dept": "IT"}), true),
        (json!({"Dept": "it"}), false),
        (json!({"Dept": "IT", "x": "y"}), false),
        (json!({}), false),
    ] {
        assert_eq!(may(&service, DAEMON, "Encrypt", encrypt(&key, context.clone())), expected, "{context}");
    }
    assert!(may(&service, DAEMON, "DescribeKey", describe(&key)));
    service.ok("RevokeGrant", json!({"KeyId": key.id, "GrantId": id}));
    let subset = json!({"Constraints": {"EncryptionContextSubset": {"Dept": "IT"}}});
    grant(&service, &key, DAEMON_ARN, operations, subset);
    assert!(may(&service, DAEMON, "Encrypt", encrypt(&key, json!({"Dept": "IT", "x": "y"}))));
    assert!(!may(&service, DAEMON, "Encrypt", encrypt(&key, json!({"x": "y"}))));
}

#[test]
fn the_same_request_with_a_name_makes_one_grant_and_without_one_another() {
    let service = Service::new();
    let key = service.key();
    let named =
        |operations: Value, name: &str| grant(&service, &key, DAEMON_ARN, operations, json!({"Name": name}));
    let (one, first) = named(json!(["Encrypt", "Decrypt"]), "it");
    let (again, second) = named(json!(["Decrypt", "Encrypt"]), "it");
    assert_eq!(one, again);
    assert_ne!(first, second, "each answer has a token of its own");
    assert_ne!(named(json!(["Decrypt"]), "it").0, one);
    assert_ne!(named(json!(["Decrypt", "Encrypt"]), "other").0, one);
    let unnamed = || grant(&service, &key, DAEMON_ARN, json!(["Decrypt"]), json!({})).0;
    assert_ne!(unnamed(), unnamed());
    let ids = service.ok("ListGrants", json!({"KeyId": key.id}));
    assert_eq!(ids["Grants"].as_array().unwrap().len(), 5);
}

#[test]
fn grants_are_listed_with_all_that_they_say() {
    let service = Service::new();
    let (key, other) = (service.key(), service.key());
    let more = json!({"Name": "it", "RetiringPrincipal": BIN_ARN, "Constraints": {"EncryptionContextSubset": {"a": "b"}}});
    let (id, _) = grant(&service, &key, DAEMON_ARN, json!(["Decrypt", "RetireGrant"]), more);
    let (second, _) = grant(&service, &key, BIN_ARN, json!(["Encrypt"]), json!({}));
    let (elsewhere, _) =
        grant(&service, &other, DAEMON_ARN, json!(["Encrypt"]), json!({"RetiringPrincipal": BIN_ARN}));
    let mut listed = service.ok("ListGrants", json!({"KeyId": key.id, "GrantId": id}))["Grants"].clone();
    assert!(listed[0]["CreationDate"].is_f64());
    listed[0].as_object_mut().unwrap().remove("CreationDate");
    assert_eq!(
        listed,
        json!([{
            "KeyId": key.arn, "GrantId": id, "Name": "it", "GranteePrincipal": DAEMON_ARN, "RetiringPrincipal": BIN_ARN,
            "IssuingAccount": ROOT, "Operations": ["Decrypt", "RetireGrant"],
            "Constraints": {"EncryptionContextSubset": {"a": "b"}}
        }])
    );
    let ids = |operation: &str, request: Value| {
        let answer = service.ok(operation, request);
        let mut ids: Vec<_> =
            answer["Grants"].as_array().unwrap().iter().map(|grant| text(&grant["GrantId"])).collect();
        ids.sort();
        ids
    };
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    assert_eq!(ids("ListGrants", json!({"KeyId": key.id})), sorted(vec![id.clone(), second.clone()]));
    assert_eq!(ids("ListGrants", json!({"KeyId": key.id, "GranteePrincipal": BIN_ARN})), [second]);
    let retirable = json!({"RetiringPrincipal": BIN_ARN});
    assert_eq!(ids("ListRetirableGrants", retirable.clone()), sorted(vec![id, elsewhere]));
    let page = service.ok("ListRetirableGrants", json!({"RetiringPrincipal": BIN_ARN, "Limit": 1}));
    assert_eq!((page["Truncated"].clone(), page["Grants"].as_array().unwrap().len()), (json!(true), 1));
    assert_eq!(ids("ListRetirableGrants", json!({"RetiringPrincipal": DAEMON_ARN})), [""; 0]);
}

#[test]
fn a_grant_made_by_way_of_a_grant_allows_no_more() {
    let service = Service::new();
    let key = private_key(&service);
    let subset = |pairs: Value| json!({"Constraints": {"EncryptionContextSubset": pairs}});
    grant(&service, &key, DAEMON_ARN, json!(["CreateGrant", "Encrypt"]), subset(json!({"a": "1"})));
    let child = |operations: Value, more: Value| {
        may(&service, DAEMON, "CreateGrant", request(&key, BIN_ARN, operations, more))
    };
    assert!(!child(json!(["Encrypt"]), json!({})), "looser");
    assert!(!child(json!(["Encrypt"]), subset(json!({"a": "2"}))));
    assert!(!child(json!(["Encrypt", "Decrypt"]), subset(json!({"a": "1"}))), "more operations");
    assert!(!may(&service, BIN, "Encrypt", encrypt(&key, json!({"a": "1", "b": "2"}))));
    assert!(child(json!(["Encrypt"]), subset(json!({"a": "1", "b": "2"}))));
    assert!(may(&service, BIN, "Encrypt", encrypt(&key, json!({"a": "1", "b": "2"}))));
    assert!(!may(&service, BIN, "Encrypt", encrypt(&key, json!({"a": "1"}))));
    assert!(!may(&service, BIN, "CreateGrant", request(&key, BIN_ARN, json!(["Encrypt"]), json!({}))));
}

#[test]
fn pol_3_a_policy_says_which_grants_may_be_made() {
    let service = Service::new();
    let key = service.key();
    let owner = json!({"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalArn": ROOT}}});
    let some = json!({"Effect": "Allow", "Principal": {"AWS": DAEMON_ARN}, "Action": "kms:CreateGrant", "Resource": "*",
    "Condition": {
        "ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt", "DescribeKey"]},
        "StringEquals": {"kms:GranteePrincipal": BIN_ARN, "kms:GrantConstraintType": "EncryptionContextSubset"},
        "Null": {"kms:RetiringPrincipal": "true"}
    }});
    service.put_policy(&key, json!([owner, some]));
    let subset = json!({"EncryptionContextSubset": {"a": "1"}});
    for (grantee, operations, more, expected) in [
        (BIN_ARN, json!(["Encrypt"]), json!({"Constraints": subset}), true),
        (BIN_ARN, json!(["Encrypt", "DescribeKey"]), json!({"Constraints": subset}), true),
        (BIN_ARN, json!(["Encrypt", "Decrypt"]), json!({"Constraints": subset}), false),
        (DAEMON_ARN, json!(["Encrypt"]), json!({"Constraints": subset}), false),
        (BIN_ARN, json!(["Encrypt"]), json!({}), false),
        (BIN_ARN, json!(["Encrypt"]), json!({"Constraints": {"EncryptionContextEquals": {"a": "1"}}}), false),
        (BIN_ARN, json!(["Encrypt"]), json!({"Constraints": subset, "RetiringPrincipal": DAEMON_ARN}), false),
    ] {
        let request = request(&key, grantee, operations, more);
        assert_eq!(may(&service, DAEMON, "CreateGrant", request.clone()), expected, "{request}");
    }
    assert!(!may(&service, DAEMON, "Encrypt", encrypt(&key, json!({}))));
}

#[test]
fn a_grant_is_retired_by_whom_it_lets_and_by_the_account() {
    let service = Service::new();
    let key = private_key(&service);
    let by_id = |id: &str| json!({"KeyId": key.arn, "GrantId": id});
    let with = |operations: Value, more: Value| grant(&service, &key, DAEMON_ARN, operations, more);
    // By whom the grant names for it, with the token.
    let (id, token) = with(json!(["Encrypt"]), json!({"RetiringPrincipal": BIN_ARN}));
    assert!(!may(&service, DAEMON, "RetireGrant", by_id(&id)), "the grantee needs RetireGrant");
    assert_eq!(service.ok_to(BIN, "RetireGrant", json!({"GrantToken": token})), Value::Null);
    assert!(!may(&service, DAEMON, "Encrypt", encrypt(&key, json!({}))));
    assert_eq!(
        service.refusal_to(BIN, "RetireGrant", json!({"GrantToken": token})),
        format!("NotFoundException: Grant ID {id} not found")
    );
    // By the grantee, where it gives that; by the account.
    let (id, _) = with(json!(["Encrypt", "RetireGrant"]), json!({}));
    assert!(!may(&service, BIN, "RetireGrant", by_id(&id)));
    assert!(may(&service, DAEMON, "RetireGrant", by_id(&id)));
    let (id, _) = with(json!(["Encrypt"]), json!({}));
    service.ok("RetireGrant", by_id(&id));
    // A policy alone gives it to nobody, and a deny takes it away.
    service.put_policy(&key, json!([
        {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"},
        {"Effect": "Deny", "Principal": {"AWS": DAEMON_ARN}, "Action": "kms:RetireGrant", "Resource": "*"},
    ]));
    let (id, _) = with(json!(["RetireGrant"]), json!({}));
    assert!(!may(&service, BIN, "RetireGrant", by_id(&id)));
    assert!(!may(&service, DAEMON, "RetireGrant", by_id(&id)));
    // In every state.
    service.disable(&key);
    service.ok("RetireGrant", by_id(&id));
}

#[test]
fn a_dry_run_says_whether_it_would_and_does_nothing() {
    let service = Service::new();
    let key = private_key(&service);
    const WOULD: &str =
        "DryRunOperationException: The request would have succeeded, but the DryRun option is set.";
    let dry = json!({"DryRun": true});
    assert_eq!(service.refusal("CreateGrant", request(&key, DAEMON_ARN, json!(["Encrypt"]), dry)), WOULD);
    assert!(!may(&service, DAEMON, "Encrypt", encrypt(&key, json!({}))));
    let (id, token) = grant(&service, &key, DAEMON_ARN, json!(["Encrypt"]), json!({}));
    assert_eq!(
        service.refusal("RevokeGrant", json!({"KeyId": key.id, "GrantId": id, "DryRun": true})),
        WOULD
    );
    assert_eq!(service.refusal("RetireGrant", json!({"GrantToken": token, "DryRun": true})), WOULD);
    assert!(may(&service, DAEMON, "Encrypt", encrypt(&key, json!({}))));
}

#[test]
fn what_does_not_fit_is_refused_in_aws_names() {
    let service = Service::new();
    let key = service.key();
    let refused = |operation: &str, request: Value| service.refusal(operation, request);
    assert_eq!(
        refused("CreateGrant", request(&key, "alice", json!(["Encrypt"]), json!({}))),
        "InvalidArnException: ARN does not refer to a valid principal: alice"
    );
    assert!(refused("CreateGrant", request(&key, BIN_ARN, json!(["Fly"]), json!({}))).starts_with(
        "ValidationException: 1 validation error detected: Value '[Fly]' at 'operations' failed to satisfy constraint: Member \
         must satisfy constraint: [Member must satisfy enum value set: [Decrypt, Encrypt,"
    ));
    assert!(
        refused("CreateGrant", request(&key, BIN_ARN, json!(["Sign"]), json!({})))
            .starts_with("ValidationException: ")
    );
    assert!(
        refused("CreateGrant", request(&key, BIN_ARN, json!([]), json!({})))
            .starts_with("ValidationException: ")
    );
    for only in [json!(["CreateGrant"]), json!(["CreateGrant", "CreateGrant"])] {
        assert_eq!(
            refused("CreateGrant", request(&key, BIN_ARN, only, json!({}))),
            "ValidationException: Grants must not contain only the CreateGrant operation."
        );
    }
    let long = json!({"Constraints": {"EncryptionContextEquals": {"a": "x".repeat(385)}}});
    assert!(
        refused("CreateGrant", request(&key, BIN_ARN, json!(["Encrypt"]), long))
            .starts_with("ValidationException: ")
    );
    let source = json!({"Constraints": {"SourceArn": "arn:aws:s3:::x"}});
    assert!(
        refused("CreateGrant", request(&key, BIN_ARN, json!(["Encrypt"]), source))
            .starts_with("UnsupportedOperation")
    );
    let name = json!({"Name": "a b"});
    assert!(
        refused("CreateGrant", request(&key, BIN_ARN, json!(["Encrypt"]), name))
            .contains("regular expression")
    );
    assert_eq!(
        refused("RevokeGrant", json!({"KeyId": key.id, "GrantId": "x"})),
        "InvalidGrantIdException: x is not a valid grant ID."
    );
    const TOKEN: &str = "InvalidGrantTokenException: The grant token is not valid.";
    assert_eq!(refused("RetireGrant", json!({"GrantToken": "x"})), TOKEN);
    assert_eq!(refused("DescribeKey", json!({"KeyId": key.id, "GrantTokens": ["x"]})), TOKEN);
    assert!(refused("RetireGrant", json!({"KeyId": key.id})).starts_with("ValidationException: "));
}

#[test]
fn del_3_grants_and_tags_end_with_their_key() {
    let service = Service::new();
    let key = service.key_of(json!({"Tags": [{"TagKey": "a", "TagValue": "b"}]}));
    grant(&service, &key, DAEMON_ARN, json!(["Encrypt"]), json!({"RetiringPrincipal": BIN_ARN}));
    service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id, "PendingWindowInDays": 7}));
    service.advance_days(7);
    let left = service.ok("ListRetirableGrants", json!({"RetiringPrincipal": BIN_ARN}));
    assert_eq!(left["Grants"], json!([]));
    service.refusal("ListResourceTags", json!({"KeyId": key.id}));
    drop(service.another());
}

#[test]
fn a_grantee_keeps_a_key_in_use_on_a_mount() {
    let service = Service::new();
    let statement =
        json!({"Effect": "Allow", "Principal": {"AWS": ROOT}, "NotAction": "kms:Decrypt", "Resource": "*"});
    let key = service.key_of(json!({"Policy": policy(json!([statement]))}));
    let arn = KeyArn::new(key.arn.clone());
    let (everybody, bin) = (service.home.data_keys(), service.home.data_keys_only_for(BIN));
    assert_eq!(everybody.state(&arn), Ok(Usability::Denied));
    let (id, _) = grant(&service, &key, DAEMON_ARN, json!(["Decrypt"]), json!({}));
    assert_eq!((everybody.state(&arn), bin.state(&arn)), (Ok(Usability::Usable), Ok(Usability::Denied)));
    service.ok("RevokeGrant", json!({"KeyId": key.id, "GrantId": id}));
    assert_eq!(everybody.state(&arn), Ok(Usability::Denied));
}
