//! The audit log (rule AUD-1): every operation is recorded before it is answered, and nothing secret is in it.

use kmsfs::kms::Operation;
use serde_json::{Value, json};

use crate::fixture::{Service, base64, text};

fn last(service: &Service) -> Value {
    service.records().pop().unwrap()
}

#[test]
fn aud_1_a_success_and_a_refusal_each_make_one_record() {
    let service = Service::new();
    let key = service.key();
    let requests = [
        ("DescribeKey", json!({"KeyId": key.id}), None),
        ("DescribeKey", json!({"KeyId": "xyz"}), Some("NotFoundException")),
        ("DescribeKey", json!({"KeyId": 5}), Some("SerializationException")),
        ("DescribeKey", json!([]), Some("SerializationException")),
        ("DescribeKey", json!({}), Some("ValidationException")),
        ("CancelKeyDeletion", json!({"KeyId": key.id}), Some("KMSInvalidStateException")),
        ("CreateKey", json!({"XksKeyId": "x"}), Some("UnsupportedOperationException")),
        ("DisableKey", json!({"KeyId": key.id}), None),
        ("Encrypt", json!({"KeyId": key.id, "Plaintext": "AA=="}), Some("DisabledException")),
    ];
    let mut count = service.records().len();
    for (operation, request, error) in requests {
        let outcome = service.call(operation, request);
        assert_eq!(outcome.as_ref().err().map(|error| error.error.name()), error, "{operation}");
        let record = last(&service);
        count += 1;
        assert_eq!(service.records().len(), count, "{operation}");
        assert_eq!(record["eventName"], json!(operation));
        assert_eq!(record.get("errorCode").and_then(Value::as_str), error);
        let message = outcome.err().and_then(|error| error.message);
        assert_eq!(record.get("errorMessage").and_then(Value::as_str), message.as_deref());
    }
}

#[test]
fn aud_1_a_record_has_the_shape_of_cloudtrail() {
    let service = Service::new();
    let key = service.key();
    service.alias("alias/it", &key);
    let request = json!({"KeyId": "alias/it", "Plaintext": "AA==", "EncryptionContext": {"a": "b"}});
    service.ok("Encrypt", request);
    let record = last(&service);
    for (name, value) in [
        ("eventSource", json!("kms.amazonaws.com")),
        ("eventName", json!("Encrypt")),
        ("eventType", json!("AwsApiCall")),
        ("awsRegion", json!("us-east-1")),
        ("recipientAccountId", json!("000000000000")),
        ("readOnly", json!(true)),
        ("responseElements", Value::Null),
    ] {
        assert_eq!(record[name], value, "{name}");
    }
    // The name as it was typed, and the key that it meant.
    assert_eq!(record["requestParameters"]["keyId"], json!("alias/it"));
    assert_eq!(record["requestParameters"]["encryptionContext"], json!({"a": "b"}));
    assert_eq!(
        record["resources"],
        json!([{"accountId": "000000000000", "type": "AWS::KMS::Key", "ARN": key.arn}])
    );
    assert_eq!(record["userIdentity"]["type"], json!("Root"));
    assert_eq!(record["userIdentity"]["arn"], json!("arn:aws:iam::000000000000:root"));
    let time = text(&record["eventTime"]);
    assert!(time.ends_with('Z') && time.len() == 24, "{time}");
    let ids: std::collections::BTreeSet<String> =
        service.records().iter().map(|record| text(&record["eventID"])).collect();
    assert_eq!(ids.len(), service.records().len(), "every record has an id of its own");
}

#[test]
fn aud_1_the_algorithm_of_a_decrypt_is_recorded_also_where_it_was_not_named() {
    let service = Service::new();
    let key = service.key();
    let blob = service.encrypt(&key.id, b"x");
    service.decrypt(&blob);
    assert_eq!(last(&service)["requestParameters"]["encryptionAlgorithm"], json!("SYMMETRIC_DEFAULT"));
}

#[test]
fn aud_1_a_moved_ciphertext_names_both_keys() {
    let service = Service::new();
    let (a, b) = (service.key(), service.key());
    let blob = service.encrypt(&a.id, b"x");
    service.ok("ReEncrypt", json!({"CiphertextBlob": blob, "DestinationKeyId": b.id}));
    let record = last(&service);
    let resources: Vec<_> =
        record["resources"].as_array().unwrap().iter().map(|resource| text(&resource["ARN"])).collect();
    assert_eq!(resources, [a.arn, b.arn.clone()]);
    assert_eq!(record["requestParameters"]["destinationKeyId"], json!(b.id));
}

#[test]
fn aud_1_no_plaintext_no_ciphertext_and_no_key_is_in_the_log() {
    let service = Service::new();
    let key = service.key();
    let plaintext = b"a plaintext that is long enough to be found";
    let blob = service.encrypt(&key.id, plaintext);
    service.decrypt(&blob);
    service.ok("ReEncrypt", json!({"CiphertextBlob": blob, "DestinationKeyId": key.id}));
    let data_key = service.ok("GenerateDataKey", json!({"KeyId": key.id, "KeySpec": "AES_256"}));
    let random = service.ok("GenerateRandom", json!({"NumberOfBytes": 32}));
    // Refusals of every kind see the plaintext, too.
    for request in [
        json!({"KeyId": "xyz", "Plaintext": base64(plaintext)}),
        json!({"KeyId": 5, "Plaintext": base64(plaintext)}),
        json!({"KeyId": key.id, "Plaintext": base64(plaintext), "Extra": 1}),
        json!({"KeyId": key.id, "Plaintext": base64(&plaintext.repeat(200))}),
        json!({"KeyId": key.id, "Plaintext": format!("{}!", base64(plaintext))}),
        json!({"KeyId": key.id, "Plaintext": [base64(plaintext)]}),
    ] {
        let refusal = service.refusal("Encrypt", request);
        assert!(!refusal.contains(&base64(plaintext)), "{refusal}");
    }
    let log = std::fs::read_to_string(service.home.dir().join("audit.log")).unwrap();
    let secrets = [
        String::from_utf8(plaintext.to_vec()).unwrap(),
        base64(plaintext),
        blob,
        text(&data_key["Plaintext"]),
        text(&data_key["CiphertextBlob"]),
        text(&random["Plaintext"]),
    ];
    for secret in secrets {
        let part = &secret[..secret.len().min(24)];
        assert!(!log.contains(part), "{part} is in the log");
    }
}

#[test]
fn aud_1_each_operation_says_whether_it_only_reads() {
    let reads = [
        "DescribeKey",
        "ListKeys",
        "ListAliases",
        "ListKeyRotations",
        "GetKeyLastUsage",
        "GetKeyPolicy",
        "ListKeyPolicies",
        "ListGrants",
        "ListRetirableGrants",
        "ListResourceTags",
        "GetKeyRotationStatus",
        "GetParametersForImport",
        "Encrypt",
        "Decrypt",
        "ReEncrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "Sign",
        "Verify",
        "GenerateMac",
        "VerifyMac",
        "GetPublicKey",
        "DeriveSharedSecret",
        "GenerateRandom",
    ];
    let service = Service::new();
    for operation in Operation::ALL {
        let _ = service.call(operation.name(), json!({"KeyId": "x"}));
        let record = last(&service);
        assert_eq!(record["eventName"], json!(operation.name()));
        assert_eq!(record["readOnly"], json!(reads.contains(&operation.name())), "{operation:?}");
    }
}

#[test]
fn aud_1_a_key_that_was_destroyed_by_its_date_is_recorded_before_whoever_asked_next() {
    let service = Service::new();
    let key = service.key();
    service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id, "PendingWindowInDays": 7}));
    service.advance_days(7);
    service.refusal("DescribeKey", json!({"KeyId": key.id}));
    let records = service.records();
    let [.., deletion, question] = records.as_slice() else { panic!("two records") };
    assert_eq!(deletion["eventName"], json!("DeleteKey"));
    assert_eq!(deletion["eventType"], json!("AwsServiceEvent"));
    assert_eq!(deletion["userIdentity"]["invokedBy"], json!("kms.amazonaws.com"));
    assert_eq!(deletion["resources"][0]["ARN"], json!(key.arn));
    assert_eq!(question["errorCode"], json!("NotFoundException"));
    // And once only.
    service.ok("ListKeys", json!({}));
    let deletions = service.records().iter().filter(|record| record["eventName"] == "DeleteKey").count();
    assert_eq!(deletions, 1);
}
