//! Imported material with an end (rule IMP-5), and what is left of it in the home after that (IMP-5, IMP-6).

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use kmsfs::clock::{Clock, ManualClock, Timestamp};
use serde_json::{Value, json};

use crate::fixture::{DAY, Key, Service, call, text};
use crate::wrapping::Parameters;

const NEVER: &str = "KEY_MATERIAL_DOES_NOT_EXPIRE";
const EXPIRES: &str = "KEY_MATERIAL_EXPIRES";

fn in_days(service: &Service, days: u32) -> Timestamp {
    service.home.now().unwrap().plus_days(days)
}

/// A key whose material is `material`, until so many days from now.
fn imported_for(service: &Service, material: [u8; 32], days: u32) -> Key {
    let key = service.external();
    service.import(&key, &material, json!({"ValidTo": in_days(service, days).as_seconds_f64()}));
    key
}

fn expiries(service: &Service) -> Vec<Value> {
    let records = service.records().into_iter();
    records.filter(|record| record["eventName"] == json!("DeleteExpiredKeyMaterial")).collect()
}

/// The sealed bytes of all material of a key that are there.
fn sealed(service: &Service, key: &Key) -> Vec<Vec<u8>> {
    let ring = service.home.keyring().unwrap();
    let key = ring.keys().find(|known| known.record.id.to_string() == key.id).unwrap();
    key.materials
        .iter()
        .flat_map(|material| material.sealed.as_ref())
        .map(|sealed| sealed.as_sealed().to_vec())
        .collect()
}

/// Whether any file of the home holds these bytes.
fn is_in_the_home(service: &Service, bytes: &[u8]) -> bool {
    fs::read_dir(service.home.dir()).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        path.is_file() && fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn imp_5_at_its_date_the_material_is_destroyed_and_the_same_bytes_bring_all_back() {
    let service = Service::new();
    let key = imported_for(&service, [7; 32], 30);
    service.alias("alias/mine", &key);
    let blob = service.encrypt(&key.id, b"secret");
    let before = service.describe(&key);
    assert_eq!(before["ExpirationModel"], json!(EXPIRES));
    service.advance_seconds(30 * DAY - 3600);
    assert_eq!(service.describe(&key), before);
    assert_eq!(service.decrypt(&blob), b"secret");

    service.advance_seconds(3600);
    let pending = format!("KMSInvalidStateException: {} is pending import.", key.arn);
    assert_eq!(service.refusal("Decrypt", json!({"CiphertextBlob": blob})), pending);
    assert_eq!(service.refusal("Encrypt", json!({"KeyId": "alias/mine", "Plaintext": "AA=="})), pending);
    let after = service.describe(&key);
    let mut expected = before.clone();
    expected["KeyState"] = json!("PendingImport");
    expected["Enabled"] = json!(false);
    for gone in ["ExpirationModel", "ValidTo"] {
        expected.as_object_mut().unwrap().remove(gone);
    }
    assert_eq!(after, expected, "the key and all that is known of it stay");
    let [record] = expiries(&service).try_into().unwrap();
    assert_eq!(record["eventType"], json!("AwsServiceEvent"));
    assert_eq!(record["resources"][0]["ARN"], json!(key.arn));
    assert_eq!(
        record["serviceEventDetails"],
        json!({"keyId": key.id, "keyMaterialId": before["CurrentKeyMaterialId"]})
    );

    let other = Parameters::of(&service, &key).request(&[8; 32], json!({"ExpirationModel": NEVER}));
    assert!(service.refusal("ImportKeyMaterial", other).starts_with("IncorrectKeyMaterialException"));
    service.import(&key, &[7; 32], json!({"ExpirationModel": NEVER}));
    assert_eq!(service.decrypt(&blob), b"secret");
    let mut expected = before;
    expected["ExpirationModel"] = json!(NEVER);
    expected.as_object_mut().unwrap().remove("ValidTo");
    assert_eq!(service.describe(&key), expected);
    service.advance_days(400);
    assert_eq!(service.state(&key), "Enabled");
    assert_eq!(expiries(&service).len(), 1);
}

#[test]
fn imp_5_a_parameter_set_from_before_the_end_is_good_for_its_day_only() {
    let service = Service::new();
    let key = imported_for(&service, [7; 32], 1);
    let parameters = Parameters::of(&service, &key);
    service.advance_days(1);
    let again = parameters.request(&[7; 32], json!({"ExpirationModel": NEVER}));
    assert_eq!(service.refusal("ImportKeyMaterial", again), "ExpiredImportTokenException");
    assert_eq!(service.state(&key), "PendingImport");
}

#[test]
fn imp_5_an_import_before_the_date_moves_it_or_takes_it_away() {
    let service = Service::new();
    let key = imported_for(&service, [7; 32], 10);
    let later = in_days(&service, 20).as_seconds_f64();
    service.import(&key, &[7; 32], json!({"ValidTo": later}));
    assert_eq!(service.describe(&key)["ValidTo"], json!(later));
    service.advance_days(11);
    assert_eq!(service.state(&key), "Enabled");
    service.import(&key, &[7; 32], json!({"ExpirationModel": NEVER}));
    service.advance_days(11);
    assert_eq!(service.state(&key), "Enabled");
    assert_eq!(expiries(&service), [] as [Value; 0]);
}

#[test]
fn imp_5_of_several_the_first_end_counts_and_each_has_its_own() {
    let service = Service::new();
    let key = imported_for(&service, [1; 32], 30);
    let first = service.describe(&key)["ValidTo"].clone();
    let (soon, late) = (in_days(&service, 10).as_seconds_f64(), in_days(&service, 60).as_seconds_f64());
    let new = |valid_to: f64| json!({"ImportType": "NEW_KEY_MATERIAL", "ValidTo": valid_to});
    service.import(&key, &[2; 32], new(soon));
    assert_eq!(service.describe(&key)["ValidTo"], first, "what waits is not bound to the key");
    service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}));
    assert_eq!(service.describe(&key)["ValidTo"], json!(soon));
    let old = service.encrypt(&key.id, b"under the second");
    service.import(&key, &[3; 32], new(late));
    service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}));

    service.advance_days(11);
    let states = |service: &Service| -> Vec<String> {
        let all = json!({"KeyId": key.id, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
        let listed = service.ok("ListKeyRotations", all)["Rotations"].clone();
        listed.as_array().unwrap().iter().map(|entry| text(&entry["ImportState"])).collect()
    };
    assert_eq!(service.state(&key), "PendingImport");
    assert_eq!(states(&service), ["IMPORTED", "PENDING_IMPORT", "IMPORTED"]);
    service.import(&key, &[2; 32], json!({"ExpirationModel": NEVER}));
    assert_eq!(service.decrypt(&old), b"under the second");
    assert_eq!(service.describe(&key)["ValidTo"], first);
    assert_eq!(service.describe(&key)["ExpirationModel"], json!(EXPIRES));

    service.advance_days(60);
    assert_eq!(states(&service), ["PENDING_IMPORT", "IMPORTED", "PENDING_IMPORT"]);
    assert_eq!(expiries(&service).len(), 3);
}

#[test]
fn imp_5_what_waits_for_a_rotation_expires_without_taking_the_key_with_it() {
    let service = Service::new();
    let key = service.external();
    service.import(&key, &[1; 32], json!({"ExpirationModel": NEVER}));
    let before = service.describe(&key);
    let date = in_days(&service, 5).as_seconds_f64();
    service.import(&key, &[2; 32], json!({"ImportType": "NEW_KEY_MATERIAL", "ValidTo": date}));
    service.advance_days(5);
    assert_eq!(service.describe(&key), before);
    assert_eq!(expiries(&service).len(), 1);
    let refused = service.refusal("RotateKeyOnDemand", json!({"KeyId": key.id}));
    assert!(refused.contains("No available key material pending rotation"), "{refused}");
    // Other material takes its place.
    service.import(&key, &[3; 32], json!({"ImportType": "NEW_KEY_MATERIAL", "ExpirationModel": NEVER}));
    service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}));
}

#[test]
fn imp_5_an_end_comes_in_every_state() {
    let service = Service::new();
    let (disabled, doomed) = (imported_for(&service, [1; 32], 5), imported_for(&service, [2; 32], 5));
    service.disable(&disabled);
    service.ok("ScheduleKeyDeletion", json!({"KeyId": doomed.id, "PendingWindowInDays": 7}));
    let date = service.describe(&doomed)["DeletionDate"].clone();
    service.advance_days(5);
    assert_eq!(service.state(&disabled), "PendingImport");
    assert_eq!(service.state(&doomed), "PendingDeletion");
    assert_eq!(service.describe(&doomed)["DeletionDate"], date);
    assert_eq!((sealed(&service, &disabled).len(), sealed(&service, &doomed).len()), (0, 0));
    service.ok("CancelKeyDeletion", json!({"KeyId": doomed.id}));
    assert_eq!(service.state(&doomed), "PendingImport");
}

#[test]
fn imp_5_what_dates_bring_is_recorded_in_their_order_once_for_all_processes() {
    let service = Service::new();
    let (first, second) = (imported_for(&service, [1; 32], 20), imported_for(&service, [2; 32], 10));
    service.ok("ScheduleKeyDeletion", json!({"KeyId": first.id, "PendingWindowInDays": 30}));
    let others = [service.another(), service.another()];
    service.advance_days(40);
    for home in &others {
        let refused = call(home, "Encrypt", json!({"KeyId": second.id, "Plaintext": "AA=="})).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("KMSInvalidStateException: {} is pending import.", second.arn)
        );
    }
    let records = service.records();
    let events: Vec<_> = records
        .iter()
        .filter(|record| record["eventType"] == json!("AwsServiceEvent"))
        // The log begins with a record of its own.
        .filter(|record| record["eventName"] != json!("BeginAuditChain"))
        .map(|record| (text(&record["eventName"]), text(&record["resources"][0]["ARN"])))
        .collect();
    let expired = |key: &Key| ("DeleteExpiredKeyMaterial".to_owned(), key.arn.clone());
    assert_eq!(events, [expired(&second), expired(&first), ("DeleteKey".to_owned(), first.arn.clone())]);
}

#[test]
fn imp_5_and_imp_6_no_sealed_byte_of_destroyed_material_is_left_in_the_home() {
    let service = Service::new();
    let deleted = service.external();
    service.import(&deleted, &[1; 32], json!({"ExpirationModel": NEVER}));
    let expired = imported_for(&service, [2; 32], 5);
    let waiting = service.external();
    service.import(&waiting, &[3; 32], json!({"ExpirationModel": NEVER}));
    let new = json!({"ExpirationModel": NEVER, "ImportType": "NEW_KEY_MATERIAL"});
    let waits = text(&service.import(&waiting, &[4; 32], new)["KeyMaterialId"]);
    // Rows that grow and move leave copies in other pages.
    for number in 0..20 {
        service.key_of(json!({"Description": "x".repeat(100 * number)}));
        service.ok(
            "UpdateKeyDescription",
            json!({"KeyId": deleted.id, "Description": "y".repeat(300 * number)}),
        );
    }
    let of = |key: &Key| sealed(&service, key);
    let gone = [of(&deleted)[0].clone(), of(&expired)[0].clone(), of(&waiting)[1].clone()];
    let kept = of(&waiting)[0].clone();
    assert!(
        gone.iter().chain([&kept]).all(|bytes| is_in_the_home(&service, bytes)),
        "the search finds what is there"
    );

    service.ok("DeleteImportedKeyMaterial", json!({"KeyId": deleted.id}));
    service.ok("DeleteImportedKeyMaterial", json!({"KeyId": waiting.id, "KeyMaterialId": waits}));
    service.advance_days(5);
    assert_eq!(service.state(&expired), "PendingImport");
    for (number, bytes) in gone.iter().enumerate() {
        assert!(!is_in_the_home(&service, bytes), "material {number} is still in the home");
    }
    assert!(is_in_the_home(&service, &kept));
    // What is imported again is sealed anew, and the old bytes do not come back with it.
    service.import(&deleted, &[1; 32], json!({"ExpirationModel": NEVER}));
    assert_eq!(service.state(&deleted), "Enabled");
    assert!(!is_in_the_home(&service, &gone[0]));
}

/// A clock that is set ahead ends the use at once, and destroys nothing until it has held for a day of uptime (rule T-2).
#[test]
fn imp_5_an_end_that_only_a_set_clock_says_takes_the_use_away_and_destroys_nothing() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_767_225_600_000)));
    clock.advance(Duration::from_secs(36_000));
    let service = Service::on_machine(&clock);
    let set = |days: i64| clock.set(Timestamp::from_millis(clock.now().as_millis() + days * 86_400_000));
    let (key, other) = (imported_for(&service, [7; 32], 30), imported_for(&service, [8; 32], 30));
    let (blob, bytes) = (service.encrypt(&key.id, b"secret"), sealed(&service, &key).remove(0));

    set(60);
    let pending = format!("KMSInvalidStateException: {} is pending import.", key.arn);
    assert_eq!(service.refusal("Decrypt", json!({"CiphertextBlob": blob})), pending);
    assert_eq!(service.state(&key), "PendingImport");
    assert!(is_in_the_home(&service, &bytes));
    assert_eq!(expiries(&service), [] as [Value; 0]);
    // Whoever imports again, or deletes, is obeyed also then.
    let date = in_days(&service, 30).as_seconds_f64();
    service.import(&other, &[8; 32], json!({"ValidTo": date}));
    assert_eq!(service.state(&other), "Enabled");
    assert_eq!(service.describe(&other)["ValidTo"], json!(date));

    set(-60);
    assert_eq!(service.decrypt(&blob), b"secret");
    // It counts from when somebody sees it.
    set(60);
    assert_eq!(service.state(&key), "PendingImport");
    clock.advance(Duration::from_secs(25 * 3600));
    assert_eq!(service.refusal("Decrypt", json!({"CiphertextBlob": blob})), pending);
    assert!(!is_in_the_home(&service, &bytes), "it has held for a day of uptime");
    let [record] = expiries(&service).try_into().unwrap();
    assert_eq!(record["resources"][0]["ARN"], json!(key.arn));
    service.import(&key, &[7; 32], json!({"ExpirationModel": NEVER}));
    assert_eq!(service.decrypt(&blob), b"secret");
    assert_eq!(service.state(&other), "Enabled");
}
