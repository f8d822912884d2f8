//! How a request names a key: which operation takes which form, and what is said of a name that names nothing.

use serde_json::{Value, json};

use crate::fixture::{ARN_PREFIX, Key, Service, text};

/// Operations that take an alias beside an id and an ARN, and the member that names the key.
const ANY_FORM: &[(&str, &str)] = &[
    ("DescribeKey", "KeyId"),
    ("Encrypt", "KeyId"),
    ("Decrypt", "KeyId"),
    ("GenerateDataKey", "KeyId"),
    ("GenerateDataKeyWithoutPlaintext", "KeyId"),
    ("ReEncrypt", "SourceKeyId"),
    ("ReEncrypt", "DestinationKeyId"),
];

/// Operations that take an id or an ARN only.
const ID_OR_ARN: &[&str] = &[
    "ListAliases",
    "EnableKey",
    "DisableKey",
    "RotateKeyOnDemand",
    "GetKeyRotationStatus",
    "ListKeyRotations",
    "GetKeyLastUsage",
    "UpdateKeyDescription",
    "ScheduleKeyDeletion",
    "CancelKeyDeletion",
];

/// A request of `operation` that is complete but for the key's name, which goes into `member`.
fn request(operation: &str, member: &str, name: &str, key: &Key, blob: &str) -> Value {
    let mut request = match operation {
        "Encrypt" => json!({"Plaintext": "AA=="}),
        "Decrypt" => json!({"CiphertextBlob": blob}),
        "ReEncrypt" => json!({"CiphertextBlob": blob, "DestinationKeyId": key.id}),
        "GenerateDataKey" | "GenerateDataKeyWithoutPlaintext" => json!({"KeySpec": "AES_128"}),
        "UpdateKeyDescription" => json!({"Description": "d"}),
        _ => json!({}),
    };
    request[member] = json!(name);
    request
}

#[test]
fn cryptographic_operations_and_describe_key_take_all_four_forms() {
    let service = Service::new();
    let key = service.key();
    service.alias("alias/it", &key);
    let blob = service.encrypt(&key.id, b"x");
    let alias_arn = format!("{ARN_PREFIX}alias/it");
    for (operation, member) in ANY_FORM {
        for name in [key.id.as_str(), &key.arn, "alias/it", &alias_arn] {
            let answer = service.ok(operation, request(operation, member, name, &key, &blob));
            if *operation != "DescribeKey" {
                assert_eq!(answer["KeyId"], json!(key.arn), "{operation} answers the ARN");
            }
        }
    }
}

#[test]
fn operations_that_manage_a_key_take_its_id_and_its_arn() {
    let service = Service::new();
    for operation in ID_OR_ARN {
        for by_arn in [false, true] {
            let key = service.key();
            if *operation == "CancelKeyDeletion" {
                service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id}));
            }
            let name = if by_arn { &key.arn } else { &key.id };
            service.ok(operation, request(operation, "KeyId", name, &key, ""));
        }
    }
}

/// In AWS's words, as people saw them of GetKeyPolicy and, through Lambda, of CreateGrant.
const ALIAS_REFUSAL: &str = "InvalidArnException: Key Aliases are not supported for this operation.";

#[test]
fn operations_that_manage_a_key_take_no_alias() {
    let service = Service::new();
    let key = service.key();
    service.alias("alias/it", &key);
    let before = service.describe(&key);
    for operation in ID_OR_ARN {
        for alias in ["alias/it".to_owned(), format!("{ARN_PREFIX}alias/it"), "alias/none".to_owned()] {
            let refusal = service.refusal(operation, request(operation, "KeyId", &alias, &key, ""));
            assert_eq!(refusal, ALIAS_REFUSAL, "{operation}");
        }
    }
    assert_eq!(service.describe(&key), before);
}

#[test]
fn a_name_that_names_nothing_is_refused_in_aws_words() {
    let service = Service::new();
    let key = service.key();
    let blob = service.encrypt(&key.id, b"x");
    let absent = "12345678-1234-4234-8234-123456789012";
    let cases = [
        (absent.to_owned(), format!("Key '{ARN_PREFIX}key/{absent}' does not exist")),
        (format!("{ARN_PREFIX}key/{absent}"), format!("Key '{ARN_PREFIX}key/{absent}' does not exist")),
        ("xyz".into(), "Invalid keyId 'xyz'".into()),
        (absent.replace('-', ""), format!("Invalid keyId '{}'", absent.replace('-', ""))),
        (key.id.to_uppercase(), format!("Invalid keyId '{}'", key.id.to_uppercase())),
        ("mrk-fake".into(), "Invalid keyId 'mrk-fake'".into()),
        (key.arn.replace("us-east-1", "eu-west-1"), "Invalid arn eu-west-1".into()),
    ];
    for (name, message) in &cases {
        let expected = format!("NotFoundException: {message}");
        for (operation, member) in ANY_FORM {
            let refusal = service.refusal(operation, request(operation, member, name, &key, &blob));
            assert_eq!(refusal, expected, "{operation} of {name}");
        }
        for operation in ID_OR_ARN {
            assert_eq!(
                service.refusal(operation, json_of(operation, name, &key)),
                expected,
                "{operation} of {name}"
            );
        }
    }
}

fn json_of(operation: &str, name: &str, key: &Key) -> Value {
    request(operation, "KeyId", name, key, "")
}

#[test]
fn an_alias_that_is_not_there_is_named_by_its_arn() {
    let service = Service::new();
    let key = service.key();
    let blob = service.encrypt(&key.id, b"x");
    for (operation, member) in ANY_FORM {
        for name in ["alias/none".to_owned(), format!("{ARN_PREFIX}alias/none")] {
            assert_eq!(
                service.refusal(operation, request(operation, member, &name, &key, &blob)),
                format!("NotFoundException: Alias {ARN_PREFIX}alias/none is not found."),
                "{operation} of {name}"
            );
        }
    }
}

#[test]
fn an_arn_of_another_account_is_denied() {
    let service = Service::new();
    let key = service.key();
    let foreign = key.arn.replace("000000000000", "111111111111");
    let refusal = service.refusal("DescribeKey", json!({"KeyId": foreign}));
    assert!(refusal.starts_with("AccessDeniedException: "), "{refusal}");
    assert!(refusal.contains(&foreign), "{refusal}");
}

#[test]
fn lists_give_bare_ids_and_changes_give_arns() {
    let service = Service::new();
    let key = service.key();
    service.alias("alias/it", &key);
    let listed = service.ok("ListKeys", json!({}));
    assert_eq!(listed["Keys"], json!([{"KeyId": key.id, "KeyArn": key.arn}]));
    assert_eq!(service.ok("ListAliases", json!({}))["Aliases"][0]["TargetKeyId"], json!(key.id));
    assert_eq!(text(&service.describe(&key)["KeyId"]), key.id);
    assert_eq!(service.ok("RotateKeyOnDemand", json!({"KeyId": key.id})), json!({"KeyId": key.arn}));
    assert_eq!(service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id}))["KeyId"], json!(key.arn));
    assert_eq!(service.ok("CancelKeyDeletion", json!({"KeyId": key.id})), json!({"KeyId": key.arn}));
    assert_eq!(service.call("EnableKey", json!({"KeyId": key.id})), Ok(None), "no output at all");
}
