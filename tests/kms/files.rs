//! Data keys of files: the same states and the same records as the operations, in the filesystem's terms.

use kmsfs::context::EncryptionContext;
use kmsfs::datakey::{Asker, DataKeyError, KeyArn, Usability, WrappedDataKey};
use serde_json::json;

use crate::fixture::{Key, Service};

fn asker() -> Asker {
    Asker { uid: 0, pid: 7, volume: "v".into(), path: "dir/file".into() }
}

fn context(file: &str) -> EncryptionContext {
    [("kmsfs:volume", "v"), ("kmsfs:file", file)].into_iter().collect()
}

fn wrapped(service: &Service, key: &str) -> WrappedDataKey {
    service.home.data_keys().generate(&asker(), key, &context("1")).unwrap().1
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, DataKeyError>) -> DataKeyError {
    outcome.unwrap_err()
}

#[test]
fn st_1_the_state_of_a_key_decides_on_its_files() {
    let service = Service::new();
    let keys = service.home.data_keys();
    let key = service.key();
    let arn = KeyArn::new(key.arn.clone());
    let file = wrapped(&service, &key.id);
    let every_way = || {
        [
            keys.generate(&asker(), &key.id, &context("1")).map(drop),
            keys.unwrap(&asker(), &file, &context("1")).map(drop),
            keys.reuse(&asker(), &file, &context("1")),
            keys.rewrap(&asker(), &file, &context("1"), None).map(drop),
        ]
    };
    assert_eq!(every_way(), [const { Ok(()) }; 4]);
    service.disable(&key);
    assert_eq!(every_way(), [(); 4].map(|()| Err(DataKeyError::Unusable(arn.clone(), Usability::Disabled))));
    service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id, "PendingWindowInDays": 7}));
    let revoked = || [(); 4].map(|()| Err(DataKeyError::Unusable(arn.clone(), Usability::PendingDeletion)));
    assert_eq!(every_way(), revoked());
    service.advance_days(7);
    // By its id nobody knows it any more; a file, which names it by its ARN, says what became of it.
    assert_eq!(every_way()[1..], revoked()[1..]);
    assert_eq!(keys.state(&arn), Ok(Usability::PendingDeletion));
}

#[test]
fn a_key_of_another_kind_has_no_files() {
    let service = Service::new();
    let keys = service.home.data_keys();
    let file = wrapped(&service, &service.key().id);
    for (spec, usage, kind) in [
        ("RSA_2048", "ENCRYPT_DECRYPT", "RSA_2048 for ENCRYPT_DECRYPT"),
        ("ECC_NIST_P256", "SIGN_VERIFY", "ECC_NIST_P256 for SIGN_VERIFY"),
        ("HMAC_256", "GENERATE_VERIFY_MAC", "HMAC_256 for GENERATE_VERIFY_MAC"),
    ] {
        let key = service.of_kind(spec, usage);
        let expected = DataKeyError::WrongKind(KeyArn::new(key.arn.clone()), kind.to_owned());
        assert_eq!(refused(keys.resolve(&key.id).map(drop)), expected);
        assert_eq!(refused(keys.generate(&asker(), &key.id, &context("1")).map(drop)), expected);
        let moved = keys.rewrap(&asker(), &file, &context("1"), Some(&key.arn));
        assert_eq!(refused(moved.map(drop)), expected);
    }
}

#[test]
fn a_key_without_material_has_no_files() {
    let service = Service::new();
    let key = service.key_in("PendingImport", "EXTERNAL");
    let error = refused(service.home.data_keys().generate(&asker(), &key.id, &context("1")).map(drop));
    assert_eq!(error, DataKeyError::Unusable(KeyArn::new(key.arn), Usability::PendingImport));
}

#[test]
fn cr_2_a_wrap_of_one_file_does_not_open_for_another() {
    let service = Service::new();
    let key = service.key();
    let file = wrapped(&service, &key.id);
    let keys = service.home.data_keys();
    assert_eq!(refused(keys.unwrap(&asker(), &file, &context("2"))), DataKeyError::Inauthentic);
    let other = WrappedDataKey { key: KeyArn::new(service.key().arn), ..file };
    assert_eq!(refused(keys.unwrap(&asker(), &other, &context("1"))), DataKeyError::Inauthentic);
}

#[test]
fn a_wrap_beside_the_name_of_another_key_is_altered_whether_there_is_that_key_or_not() {
    let service = Service::new();
    let keys = service.home.data_keys();
    let (key, other) = (service.key(), service.key());
    let file = wrapped(&service, &key.id);
    let unknown = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-4000-8000-000000000000".to_owned();
    let foreign = key.arn.replace(":000000000000:", ":000000000001:");
    for name in [other.arn.as_str(), &unknown, &foreign, &key.arn[1..], &key.id, ""] {
        let altered = WrappedDataKey { key: KeyArn::new(name), ..file.clone() };
        assert_eq!(
            refused(keys.unwrap(&asker(), &altered, &context("1"))),
            DataKeyError::Inauthentic,
            "{name}"
        );
        assert_eq!(
            refused(keys.reuse(&asker(), &altered, &context("1"))),
            DataKeyError::Inauthentic,
            "{name}"
        );
    }
    service.disable(&key);
    let altered = WrappedDataKey { key: KeyArn::new(unknown), ..file };
    assert_eq!(refused(keys.unwrap(&asker(), &altered, &context("1"))), DataKeyError::Inauthentic);
}

#[test]
fn rot_1_a_file_keeps_its_version_until_it_is_wrapped_again() {
    let service = Service::new();
    let key = service.key();
    let keys = service.home.data_keys();
    let (data_key, old) = keys.generate(&asker(), &key.id, &context("1")).unwrap();
    service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}));
    assert_eq!(old.version, 1);
    assert_eq!(wrapped(&service, &key.id).version, 2);
    let new = keys.rewrap(&asker(), &old, &context("1"), None).unwrap();
    assert_eq!((new.version, &new.key), (2, &old.key));
    for wrapped in [&old, &new] {
        assert!(keys.unwrap(&asker(), wrapped, &context("1")).unwrap() == data_key);
    }
}

#[test]
fn a_wrap_for_a_key_that_cannot_be_used_names_that_key_and_not_the_source() {
    let service = Service::new();
    let (from, to) = (service.key(), service.key());
    service.alias("alias/to", &to);
    let file = wrapped(&service, &from.id);
    service.disable(&to);
    let keys = service.home.data_keys();
    for name in [to.id.as_str(), &to.arn, "alias/to"] {
        let error = refused(keys.rewrap(&asker(), &file, &context("1"), Some(name)).map(drop));
        let expected = DataKeyError::Unusable(KeyArn::new(to.arn.clone()), Usability::Disabled);
        assert_eq!(error, expected, "to {name}");
    }
    let error = refused(keys.rewrap(&asker(), &file, &context("1"), Some("alias/none")).map(drop));
    assert_eq!(error, DataKeyError::NotFound("alias/none".into()));
}

#[test]
fn rot_9_a_name_is_resolved_when_it_is_asked_for() {
    let service = Service::new();
    let (a, b) = (service.key(), service.key());
    service.alias("alias/it", &a);
    let keys = service.home.data_keys();
    assert_eq!(keys.resolve("alias/it"), Ok(KeyArn::new(a.arn)));
    service.ok("UpdateAlias", json!({"AliasName": "alias/it", "TargetKeyId": b.id}));
    assert_eq!(keys.resolve("alias/it"), Ok(KeyArn::new(b.arn.clone())));
    assert_eq!(wrapped(&service, "alias/it").key, KeyArn::new(b.arn.clone()));
    // Whatever the state: a directory may name a key that is disabled now.
    service.disable(&b);
    assert_eq!(keys.resolve(&b.id), Ok(KeyArn::new(b.arn)));
    assert_eq!(refused(keys.resolve("alias/none")), DataKeyError::NotFound("alias/none".into()));
}

fn events_of(service: &Service, from: usize) -> Vec<(String, String, Option<String>)> {
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let records = service.records();
    let rows = records[from..].iter().map(|record| {
        let path = text(&record["additionalEventData"]["path"]);
        (text(&record["eventName"]).unwrap(), path.unwrap(), text(&record["errorCode"]))
    });
    rows.collect()
}

#[test]
fn aud_2_each_use_of_a_data_key_is_recorded_with_the_file_also_when_it_is_refused_or_in_memory() {
    let service = Service::new();
    let key: Key = service.key();
    let keys = service.home.data_keys();
    let from = service.records().len();
    let file = wrapped(&service, &key.id);
    keys.unwrap(&asker(), &file, &context("1")).unwrap();
    keys.reuse(&asker(), &file, &context("1")).unwrap();
    keys.rewrap(&asker(), &file, &context("1"), None).unwrap();
    let done = events_of(&service, from);
    service.disable(&key);
    let before = service.records().len();
    refused(keys.unwrap(&asker(), &file, &context("1")).map(drop));
    refused(keys.reuse(&asker(), &file, &context("1")));
    let row =
        |name: &str, error: Option<&str>| (name.to_owned(), "dir/file".to_owned(), error.map(str::to_owned));
    let expected = [("GenerateDataKey", None), ("Decrypt", None), ("Decrypt", None), ("ReEncrypt", None)];
    assert_eq!(done, expected.map(|(name, error)| row(name, error)));
    let disabled = Some("DisabledException");
    assert_eq!(events_of(&service, before), [row("Decrypt", disabled), row("Decrypt", disabled)]);
    let last = service.records().pop().unwrap();
    assert_eq!(
        last["requestParameters"]["encryptionContext"],
        json!({"kmsfs:file": "1", "kmsfs:volume": "v"})
    );
    assert_eq!(last["resources"][0]["ARN"], json!(key.arn));
}

#[test]
fn aud_2_a_wrap_under_another_key_records_where_it_went() {
    let service = Service::new();
    let (from, to) = (service.key(), service.key());
    let file = wrapped(&service, &from.id);
    service.home.data_keys().rewrap(&asker(), &file, &context("1"), Some(&to.id)).unwrap();
    let record = service.records().pop().unwrap();
    assert_eq!(record["eventName"], json!("ReEncrypt"));
    assert_eq!(record["requestParameters"]["sourceKeyId"], json!(from.arn));
    assert_eq!(record["requestParameters"]["destinationKeyId"], json!(to.id));
}
