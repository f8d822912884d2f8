//! Deletion with its waiting period (rules DEL-1 to DEL-3), and what is left on disk afterwards.

use std::fs;

use kmsfs::datakey::{KeyArn, Usability};
use kmsfs::kms::id::KeyId;
use serde_json::json;

use crate::fixture::{DAY, Key, Service, call, text};

fn schedule(service: &Service, key: &Key, days: u32) {
    service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id, "PendingWindowInDays": days}));
}

/// The sealed bytes of every backing key of `key`.
fn sealed(service: &Service, key: &Key) -> Vec<Vec<u8>> {
    let ring = service.home.keyring().unwrap();
    let key = ring.key(KeyId::parse(&key.id).unwrap()).unwrap();
    key.materials.iter().map(|material| material.sealed.as_ref().unwrap().as_sealed().to_vec()).collect()
}

/// The bytes of every file of the home.
fn everything_on_disk(service: &Service) -> Vec<u8> {
    let files = fs::read_dir(service.home.dir()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).flat_map(|path| fs::read(path).unwrap()).collect()
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|part| part == needle)
}

#[test]
fn del_1_the_waiting_period_is_7_to_30_days_and_30_unless_asked() {
    let service = Service::new();
    for (asked, days) in [(None, 30), (Some(7), 7), (Some(18), 18), (Some(30), 30)] {
        let key = service.key();
        let before = service.home.now().unwrap().as_seconds_f64();
        let answer =
            service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id, "PendingWindowInDays": asked}));
        let after = service.home.now().unwrap().as_seconds_f64();
        assert_eq!(answer["KeyId"], json!(key.arn));
        assert_eq!(answer["KeyState"], json!("PendingDeletion"));
        assert_eq!(answer["PendingWindowInDays"], json!(days));
        let date = answer["DeletionDate"].as_f64().unwrap() - (u64::from(days as u32) * DAY) as f64;
        assert!((before..=after).contains(&date));
        assert_eq!(service.describe(&key)["DeletionDate"], answer["DeletionDate"]);
    }
    let key = service.key();
    let refusal = |days: i64| {
        service.refusal("ScheduleKeyDeletion", json!({"KeyId": key.id, "PendingWindowInDays": days}))
    };
    for days in [1, 6, 31, 365] {
        assert_eq!(refusal(days), "ValidationException: PendingWindowInDays must be between 7 and 30");
    }
    for (days, bound) in [
        (-1, "greater than or equal to 1"),
        (0, "greater than or equal to 1"),
        (366, "less than or equal to 365"),
    ] {
        assert_eq!(
            refusal(days),
            format!(
                "ValidationException: 1 validation error detected: Value '{days}' at 'pendingWindowInDays' failed to satisfy \
                 constraint: Member must have value {bound}"
            )
        );
    }
    assert_eq!(service.state(&key), "Enabled");
}

#[test]
fn del_1_a_second_schedule_does_not_move_the_date() {
    let service = Service::new();
    let key = service.key();
    schedule(&service, &key, 30);
    let date = service.describe(&key)["DeletionDate"].clone();
    let again = json!({"KeyId": key.id, "PendingWindowInDays": 7});
    let expected = format!("KMSInvalidStateException: {} is pending deletion.", key.arn);
    assert_eq!(service.refusal("ScheduleKeyDeletion", again), expected);
    assert_eq!(service.describe(&key)["DeletionDate"], date);
}

#[test]
fn del_2_cancelling_leads_to_disabled_and_enabling_brings_everything_back() {
    let service = Service::new();
    let key = service.key();
    let old = service.encrypt(&key.id, b"old");
    service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}));
    let new = service.encrypt(&key.id, b"new");
    schedule(&service, &key, 7);
    service.advance_days(6);
    assert_eq!(service.ok("CancelKeyDeletion", json!({"KeyId": key.id})), json!({"KeyId": key.arn}));
    let metadata = service.describe(&key);
    assert_eq!(metadata["KeyState"], json!("Disabled"));
    assert_eq!(metadata.get("DeletionDate"), None);
    let refusal = service.refusal("Decrypt", json!({"CiphertextBlob": old}));
    assert_eq!(refusal, format!("DisabledException: {} is disabled.", key.arn));
    service.enable(&key);
    assert_eq!((service.decrypt(&old), service.decrypt(&new)), (b"old".to_vec(), b"new".to_vec()));
    service.advance_days(60);
    assert_eq!(service.state(&key), "Enabled", "the date is forgotten");
}

#[test]
fn del_3_at_its_date_a_key_is_gone_for_good_and_not_before() {
    let service = Service::new();
    let (key, stays) = (service.key(), service.key());
    service.alias("alias/gone", &key);
    service.alias("alias/stays", &stays);
    let blob = service.encrypt(&key.id, b"x");
    schedule(&service, &key, 7);
    service.home.advance_clock(std::time::Duration::from_secs(7 * DAY - 60)).unwrap();
    assert_eq!(service.state(&key), "PendingDeletion");
    service.home.advance_clock(std::time::Duration::from_secs(60)).unwrap();

    let missing = format!("NotFoundException: Key '{}' does not exist", key.arn);
    assert_eq!(service.refusal("CancelKeyDeletion", json!({"KeyId": key.id})), missing);
    assert_eq!(service.refusal("DescribeKey", json!({"KeyId": key.arn})), missing);
    let refusal = service.refusal("Decrypt", json!({"CiphertextBlob": blob}));
    assert!(refusal.starts_with("AccessDeniedException: "), "{refusal}");
    assert_eq!(service.ok("ListKeys", json!({}))["Keys"], json!([{"KeyId": stays.id, "KeyArn": stays.arn}]));
    let aliases = service.ok("ListAliases", json!({}));
    assert_eq!(aliases["Aliases"].as_array().unwrap().len(), 1);
    // The name is free again.
    service.alias("alias/gone", &stays);
}

#[test]
fn del_3_a_tombstone_stays_so_that_files_tell_a_deleted_key_from_an_unknown_one() {
    let service = Service::new();
    let key = service.key();
    schedule(&service, &key, 7);
    let arn = KeyArn::new(key.arn.clone());
    assert_eq!(service.home.data_keys().state(&arn), Ok(Usability::PendingDeletion));
    service.advance_days(8);
    assert_eq!(service.home.data_keys().state(&arn), Ok(Usability::PendingDeletion));
    let home = service.another();
    let ring = home.keyring().unwrap();
    let tombstone = ring.tombstone(KeyId::parse(&key.id).unwrap()).unwrap();
    assert_eq!(tombstone.arn, arn);
    assert!(tombstone.created.plus_days(8) <= tombstone.deleted);
    assert_eq!(home.data_keys().state(&arn), Ok(Usability::PendingDeletion));
    let never = KeyArn::new(key.arn.replace(&key.id, "12345678-1234-4234-8234-123456789012"));
    assert_eq!(home.data_keys().state(&never), Ok(Usability::Unknown));
}

#[test]
fn del_3_due_keys_go_in_whatever_process_looks_next_whichever_operation_it_asks_for() {
    let asks: &[(&str, serde_json::Value)] = &[
        ("ListKeys", json!({})),
        ("GenerateRandom", json!({"NumberOfBytes": 1})),
        ("CreateKey", json!({})),
        ("ListAliases", json!({})),
    ];
    for (operation, request) in asks {
        let service = Service::new();
        let key = service.key();
        schedule(&service, &key, 7);
        service.advance_days(7);
        let other = service.another();
        call(&other, operation, request.clone()).unwrap();
        let deleted = |record: &serde_json::Value| record["eventName"] == "DeleteKey";
        assert_eq!(service.records().iter().filter(|record| deleted(record)).count(), 1, "{operation}");
        let ring = service.home.keyring().unwrap();
        assert!(ring.key(KeyId::parse(&key.id).unwrap()).is_none(), "after {operation}");
        assert!(ring.tombstone(KeyId::parse(&key.id).unwrap()).is_some(), "after {operation}");
    }
}

#[test]
fn del_3_an_overview_shows_no_key_whose_date_has_come() {
    let service = Service::new();
    let key = service.key();
    schedule(&service, &key, 7);
    service.advance_days(7);
    let ring = service.home.keyring().unwrap();
    assert_eq!(ring.keys().count(), 0);
    assert!(ring.tombstone(KeyId::parse(&key.id).unwrap()).is_some());
    assert_eq!(service.records().pop().unwrap()["eventName"], json!("DeleteKey"));
}

#[test]
fn del_3_processes_that_look_at_once_destroy_a_key_once() {
    let service = Service::new();
    let keys: Vec<Key> = (0..3).map(|_| service.key()).collect();
    keys.iter().for_each(|key| schedule(&service, key, 7));
    let homes = [service.another(), service.another(), service.another()];
    service.advance_days(7);
    std::thread::scope(|scope| {
        for home in &homes {
            scope.spawn(move || {
                assert_eq!(call(home, "ListKeys", json!({})).unwrap().unwrap()["Keys"], json!([]));
            });
        }
    });
    let deleted = service.records().iter().filter(|record| record["eventName"] == "DeleteKey").count();
    assert_eq!(deleted, 3);
    assert_eq!(service.home.keyring().unwrap().tombstones().count(), 3);
}

#[test]
fn del_3_several_due_keys_go_in_the_order_of_their_dates() {
    let service = Service::new();
    let keys: Vec<Key> = [20, 7, 14]
        .into_iter()
        .map(|days| {
            let key = service.key();
            schedule(&service, &key, days);
            key
        })
        .collect();
    service.advance_days(40);
    service.ok("ListKeys", json!({}));
    let deleted: Vec<String> = service
        .records()
        .iter()
        .filter(|record| record["eventName"] == "DeleteKey")
        .map(|record| text(&record["resources"][0]["ARN"]))
        .collect();
    assert_eq!(deleted, [keys[1].arn.clone(), keys[2].arn.clone(), keys[0].arn.clone()]);
}

#[test]
fn del_3_no_sealed_byte_of_a_destroyed_key_is_left_on_disk() {
    let service = Service::new();
    let (key, stays) = (service.key(), service.key());
    (0..3).for_each(|_| drop(service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}))));
    let (gone, kept) = (sealed(&service, &key), sealed(&service, &stays));
    assert_eq!((gone.len(), kept.len()), (4, 1));
    let disk = everything_on_disk(&service);
    assert!(gone.iter().chain(&kept).all(|bytes| holds(&disk, bytes)), "the search finds what is there");
    schedule(&service, &key, 7);
    service.advance_days(7);
    service.ok("ListKeys", json!({}));
    let disk = everything_on_disk(&service);
    assert!(gone.iter().all(|bytes| !holds(&disk, bytes)));
    assert!(kept.iter().all(|bytes| holds(&disk, bytes)));
}

/// Rows move from page to page as a table grows and shrinks; a copy that is left behind must go as well.
#[test]
fn del_3_no_sealed_byte_is_left_where_rows_were_moved_by_many_others() {
    let service = Service::new();
    let keys: Vec<Key> = (0..60).map(|_| service.key()).collect();
    for (number, key) in keys.iter().enumerate() {
        (0..number % 4).for_each(|_| drop(service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}))));
    }
    let (gone, stay): (Vec<_>, Vec<_>) = keys.iter().enumerate().partition(|(number, _)| number % 3 != 0);
    let gone_sealed: Vec<_> = gone.iter().flat_map(|(_, key)| sealed(&service, key)).collect();
    let kept_sealed: Vec<_> = stay.iter().flat_map(|(_, key)| sealed(&service, key)).collect();
    for (number, key) in &gone {
        schedule(&service, key, 7 + *number as u32 % 5);
    }
    for _ in 0..12 {
        service.advance_days(1);
        service.ok("ListKeys", json!({}));
    }
    let disk = everything_on_disk(&service);
    let left = gone_sealed.iter().filter(|bytes| holds(&disk, bytes)).count();
    assert_eq!(left, 0, "of {} destroyed backing keys", gone_sealed.len());
    assert!(kept_sealed.iter().all(|bytes| holds(&disk, bytes)));
}

/// Somebody reads the database with another program while a key is destroyed; then it is asked for as `after` does.
fn destroy_beside_a_reader(after: impl FnOnce(&Service)) {
    let service = Service::new();
    let key = service.key();
    let gone = sealed(&service, &key);
    schedule(&service, &key, 7);
    let reader = rusqlite::Connection::open(service.home.dir().join("keys.db")).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let rows: i64 = reader.query_row("SELECT count(*) FROM materials", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
    service.advance_days(7);
    assert_eq!(service.ok("ListKeys", json!({}))["Keys"], json!([]));
    assert!(service.home.keyring().unwrap().key(KeyId::parse(&key.id).unwrap()).is_none());
    assert!(gone.iter().all(|bytes| holds(&everything_on_disk(&service), bytes)), "the reader holds it back");
    reader.execute_batch("COMMIT").unwrap();
    after(&service);
    assert!(gone.iter().all(|bytes| !holds(&everything_on_disk(&service), bytes)));
}

#[test]
fn del_3_a_key_is_gone_at_once_beside_a_foreign_reader_and_its_bytes_at_the_next_use() {
    destroy_beside_a_reader(|service| drop(service.ok("ListKeys", json!({}))));
}

#[test]
fn del_3_the_next_process_removes_what_a_killed_one_left_in_the_log() {
    destroy_beside_a_reader(|service| drop(service.another()));
}
