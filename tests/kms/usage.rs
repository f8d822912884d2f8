//! GetKeyLastUsage: the last successful use of a key, as the audit log has it (AWS KMS API Reference, GetKeyLastUsage).

use serde_json::{Value, json};

use crate::fixture::{Key, Service, base64, owner, text};
use crate::multi_region::{HERE, THERE, arn_in, primary, replicate};

fn usage(service: &Service, key: &Key) -> Value {
    service.ok("GetKeyLastUsage", json!({"KeyId": key.id}))
}

/// The operation that was last, which must be the newest record of that name.
fn last(service: &Service, key: &Key) -> String {
    let said = usage(service, key);
    let last = &said["KeyLastUsage"];
    let operation = text(&last["Operation"]);
    let records = service.records();
    let is_it = |record: &&Value| record["eventID"] == last["CloudTrailEventId"];
    let record = records.iter().find(is_it).expect("the event is in the log");
    assert_eq!(record["eventName"], json!(operation));
    assert_eq!(record["resources"].as_array().unwrap().iter().filter(|one| one["ARN"] == key.arn).count(), 1);
    let time = kmsfs::clock::Timestamp::parse(record["eventTime"].as_str().unwrap()).unwrap();
    assert_eq!(last["Timestamp"], json!(time.as_seconds_f64()));
    operation
}

#[test]
fn a_key_that_was_never_used_has_an_empty_object_and_is_tracked_since_it_was_made() {
    let service = Service::new();
    let key = service.key();
    let created = service.describe(&key)["CreationDate"].clone();
    service.ok("ListKeyRotations", json!({"KeyId": key.id}));
    service.ok("GetKeyPolicy", json!({"KeyId": key.id}));
    let expected = json!({"KeyId": key.id, "KeyLastUsage": {}, "TrackingStartDate": created, "KeyCreationDate": created});
    assert_eq!(usage(&service, &key), expected);
    assert_eq!(service.ok("GetKeyLastUsage", json!({"KeyId": key.arn})), expected);
}

#[test]
fn each_operation_that_uses_a_key_is_its_last_use() {
    let service = Service::new();
    let (key, other) = (service.key(), service.key());
    let blob = service.encrypt(&key.id, b"x");
    assert_eq!(last(&service, &key), "Encrypt");
    service.decrypt(&blob);
    assert_eq!(last(&service, &key), "Decrypt");
    // Both keys of a ReEncrypt are used.
    service.ok("ReEncrypt", json!({"CiphertextBlob": blob, "DestinationKeyId": other.id}));
    assert_eq!((last(&service, &key), last(&service, &other)), ("ReEncrypt".into(), "ReEncrypt".into()));
    for operation in ["GenerateDataKey", "GenerateDataKeyWithoutPlaintext"] {
        service.ok(operation, json!({"KeyId": key.id, "KeySpec": "AES_256"}));
        assert_eq!(last(&service, &key), operation);
    }
    for operation in ["GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"] {
        service.ok(operation, json!({"KeyId": key.id, "KeyPairSpec": "ECC_NIST_P256"}));
        assert_eq!(last(&service, &key), operation);
    }
    assert_eq!(last(&service, &other), "ReEncrypt", "what is done with one key is no use of another");

    let signer = service.of_kind("ECC_NIST_P256", "SIGN_VERIFY");
    let mut request = json!({"KeyId": signer.id, "Message": "AAAA", "SigningAlgorithm": "ECDSA_SHA_256"});
    request["Signature"] = service.ok("Sign", request.clone())["Signature"].clone();
    assert_eq!(last(&service, &signer), "Sign");
    service.ok("Verify", request);
    assert_eq!(last(&service, &signer), "Verify");
    service.ok("GetPublicKey", json!({"KeyId": signer.id}));
    assert_eq!(last(&service, &signer), "Verify", "a public key is no use");

    let coder = service.of_kind("HMAC_256", "GENERATE_VERIFY_MAC");
    let mut request = json!({"KeyId": coder.id, "Message": "AAAA", "MacAlgorithm": "HMAC_SHA_256"});
    request["Mac"] = service.ok("GenerateMac", request.clone())["Mac"].clone();
    assert_eq!(last(&service, &coder), "GenerateMac");
    service.ok("VerifyMac", request);
    assert_eq!(last(&service, &coder), "VerifyMac");

    let agreeing = service.of_kind("ECC_NIST_P256", "KEY_AGREEMENT");
    let peer = service.public_key(&service.of_kind("ECC_NIST_P256", "KEY_AGREEMENT"));
    let request = json!({"KeyId": agreeing.id, "KeyAgreementAlgorithm": "ECDH", "PublicKey": base64(&peer)});
    service.ok("DeriveSharedSecret", request);
    assert_eq!(last(&service, &agreeing), "DeriveSharedSecret");
}

#[test]
fn only_what_succeeds_is_a_use() {
    let service = Service::new();
    let key = service.key();
    let blob = service.encrypt(&key.id, b"x");
    let before = usage(&service, &key);
    service.refusal("Decrypt", json!({"CiphertextBlob": blob, "EncryptionContext": {"a": "b"}}));
    service.refusal("Encrypt", json!({"KeyId": key.id, "Plaintext": "AAAA", "DryRun": true}));
    service.disable(&key);
    service.refusal("Decrypt", json!({"CiphertextBlob": blob}));
    assert_eq!(usage(&service, &key), before);
    assert_eq!(last(&service, &key), "Encrypt");
    // Nor does the life of the key take it away.
    service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id}));
    assert_eq!(usage(&service, &key), before);
}

#[test]
fn people_are_told_of_uses_of_every_kind() {
    let service = Service::new();
    let key = service.of_kind("HMAC_256", "GENERATE_VERIFY_MAC");
    let request = json!({"KeyId": key.id, "Message": "AAAA", "MacAlgorithm": "HMAC_SHA_256"});
    service.ok("GenerateMac", request.clone());
    service.disable(&key);
    service.refusal("GenerateMac", request);
    let arn = kmsfs::datakey::KeyArn::new(key.arn.as_str());
    let ring = service.home.kms().current_ring().unwrap();
    let uses = service.home.uses(&ring, std::slice::from_ref(&arn)).unwrap().remove(&arn).unwrap();
    assert_eq!(uses.used.unwrap().operation, "GenerateMac");
    assert_eq!(uses.refused.unwrap().error.as_deref(), Some("DisabledException"));
}

#[test]
fn a_key_is_named_by_id_or_arn_and_not_by_alias() {
    let service = Service::new();
    let key = service.key();
    service.alias("alias/a", &key);
    assert!(
        service.refusal("GetKeyLastUsage", json!({"KeyId": "alias/a"})).starts_with("InvalidArnException")
    );
    assert_eq!(
        service.refusal("GetKeyLastUsage", json!({})),
        "ValidationException: 1 validation error detected: Value null at 'keyId' failed to satisfy constraint: \
         Member must not be null"
    );
}

#[test]
fn where_old_records_were_taken_away_tracking_begins_with_the_oldest_that_is_there() {
    let service = Service::new();
    let key = service.key();
    service.encrypt(&key.id, b"x");
    service.advance_days(3);
    service.home.rotate_records(&owner(&service.home)).unwrap();
    assert_eq!(last_of(&usage(&service, &key)), "Encrypt", "an older file of the log counts as well");
    let dir = std::fs::read_dir(service.home.dir()).unwrap().map(|entry| entry.unwrap().path());
    let is_old = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("audit.") && !["audit.log", "audit.head"].contains(&name.as_str())
    };
    let old: Vec<_> = dir.filter(is_old).collect();
    assert_eq!(old.len(), 1, "{old:?}");
    std::fs::remove_file(&old[0]).unwrap();
    let said = usage(&service, &key);
    assert_eq!(said["KeyLastUsage"], json!({}));
    let days = |value: &Value| value.as_f64().unwrap() / 86_400.0;
    let passed = days(&said["TrackingStartDate"]) - days(&said["KeyCreationDate"]);
    assert!((2.99..3.01).contains(&passed), "it may have been used before: {said}");
    service.encrypt(&key.id, b"x");
    assert_eq!(last_of(&usage(&service, &key)), "Encrypt");
}

fn last_of(said: &Value) -> String {
    text(&said["KeyLastUsage"]["Operation"])
}

#[test]
fn a_record_that_somebody_wrote_into_the_log_is_no_use() {
    let service = Service::new();
    let key = service.key();
    let path = service.home.dir().join("audit.log");
    service.encrypt(&service.key().id, b"x");
    let log = std::fs::read_to_string(&path).unwrap();
    let (rest, line) = log.trim_end().rsplit_once('\n').unwrap();
    let other = text(&serde_json::from_str::<Value>(line).unwrap()["resources"][0]["ARN"]);
    let forged = line.replace(&other, &key.arn);
    std::fs::write(&path, format!("{rest}\n{forged}\n")).unwrap();
    assert_eq!(usage(&service, &key)["KeyLastUsage"], json!({}));
}

/// What a key's records are is settled by its making: those of an earlier one with the same ARN are not its own.
#[test]
fn a_replica_that_is_made_again_has_not_been_used() {
    let service = Service::new();
    let key = primary(&service);
    replicate(&service, &key, THERE);
    let encrypt = || service.ok_in(THERE, "Encrypt", json!({"KeyId": key.id, "Plaintext": "AAAA"}));
    let in_region = |region| service.ok_in(region, "GetKeyLastUsage", json!({"KeyId": key.id}));
    service.encrypt(&key.id, b"x");
    encrypt();
    assert_eq!(last_of(&in_region(THERE)), "Encrypt");
    service.ok_in(THERE, "ScheduleKeyDeletion", json!({"KeyId": key.id, "PendingWindowInDays": 7}));
    service.advance_days(8);
    service.refusal_in(THERE, "DescribeKey", json!({"KeyId": key.id}));
    replicate(&service, &key, THERE);
    assert_eq!(in_region(THERE)["KeyLastUsage"], json!({}));
    let told = || {
        let ring = service.home.keyring_in(THERE).unwrap();
        let arn = kmsfs::datakey::KeyArn::new(arn_in(&key, THERE));
        service.home.uses(&ring, std::slice::from_ref(&arn)).unwrap().remove(&arn).unwrap()
    };
    assert_eq!(told().used, None);
    assert_eq!(last_of(&in_region(HERE)), "Encrypt", "the primary is the key that it was");
    encrypt();
    assert_eq!(last_of(&in_region(THERE)), "Encrypt");
    assert_eq!(told().used.unwrap().operation, "Encrypt");
}

#[test]
fn what_is_refused_while_a_primary_waits_for_its_replicas_is_counted() {
    let service = Service::new();
    let key = primary(&service);
    replicate(&service, &key, THERE);
    let blob = service.encrypt(&key.id, b"x");
    service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id}));
    assert_eq!(service.state(&key), "PendingReplicaDeletion");
    service.refusal("Decrypt", json!({"CiphertextBlob": blob}));
    let arn = kmsfs::datakey::KeyArn::new(key.arn.as_str());
    let ring = service.home.kms().current_ring().unwrap();
    let uses = service.home.uses(&ring, std::slice::from_ref(&arn)).unwrap().remove(&arn).unwrap();
    assert_eq!(uses.refused_since_scheduled.unwrap().error.as_deref(), Some("KMSInvalidStateException"));
    assert_eq!(uses.times_refused, 1);
}
