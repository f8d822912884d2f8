//! The clock of a home on a machine whose clock is set, which sleeps, is off and is started again (rule T-2). What is believed in
//! each case stands beside the code, in `kms::clock_guard`; here it is what becomes of keys, records and the store. And a simulated
//! clock, which is moved (rule T-1).

use std::sync::Arc;
use std::time::Duration;

use kmsfs::clock::{Clock, ManualClock, Timestamp};
use kmsfs::kms::ServiceEvent;
use kmsfs::kms::clock::{ClockError, Move, Moved};
use kmsfs::kms::id::KeyId;
use kmsfs::store::{Home, Key as Unlock, KeyFiles};
use serde_json::json;

use crate::fixture::{DAY, Key, Service, call, owner, text};

/// 2026-01-01.
const START: i64 = 1_767_225_600_000;

fn days(count: u64) -> Duration {
    Duration::from_secs(count * DAY)
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

/// A machine and a home on it.
fn machine() -> (Arc<ManualClock>, Service) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(START)));
    clock.advance(hours(10));
    let service = Service::on_machine(&clock);
    (clock, service)
}

/// A key of it that is to be deleted in seven days.
fn doomed(service: &Service) -> Key {
    let key = service.key();
    service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id, "PendingWindowInDays": 7}));
    key
}

/// Somebody sets the clock ahead, or back.
fn set_ahead(clock: &ManualClock, by: Duration) {
    clock.set(clock.now().saturating_add(by));
}

fn set_back(clock: &ManualClock, by: Duration) {
    clock.set(Timestamp::from_millis(clock.now().as_millis() - by.as_millis() as i64));
}

/// The home as another process of that machine opens it.
fn opened(service: &Service, clock: &Arc<ManualClock>) -> Home {
    Home::open_with_clock(service.home.dir(), Unlock::Keychain(&mut KeyFiles), clock.clone()).unwrap()
}

fn is_gone(service: &Service, key: &Key) -> bool {
    service.call("DescribeKey", json!({"KeyId": key.id})).is_err()
}

/// What was recorded of the clock, and of what was destroyed.
fn recorded(service: &Service) -> Vec<String> {
    let records = service.records();
    let names = records.iter().map(|record| record["eventName"].as_str().unwrap().to_owned());
    names.filter(|name| name.starts_with("Clock") || name == "DeleteKey").collect()
}

#[test]
fn t_2_time_that_passes_asleep_or_awake_is_believed_and_recorded_by_nobody() {
    let (clock, service) = machine();
    let key = doomed(&service);
    clock.advance(days(7) - hours(1));
    assert!(!is_gone(&service, &key));
    clock.advance(hours(1));
    assert!(is_gone(&service, &key));
    assert_eq!(recorded(&service), ["DeleteKey"]);
}

#[test]
fn t_2_a_clock_that_is_set_ahead_destroys_nothing_and_is_recorded_once() {
    let (clock, service) = machine();
    let key = doomed(&service);
    let before = clock.now();
    set_ahead(&clock, days(365));
    for home in [&service.home, &opened(&service, &clock), &opened(&service, &clock)] {
        call(home, "ListKeys", json!({})).unwrap();
        home.keyring().unwrap();
    }
    assert_eq!(service.state(&key), "PendingDeletion");
    clock.advance(hours(23));
    assert_eq!(service.state(&key), "PendingDeletion");
    assert_eq!(recorded(&service), ["ClockJumpFound"]);
    let record =
        service.records().into_iter().find(|record| record["eventName"] == "ClockJumpFound").unwrap();
    assert_eq!(record["eventType"], json!("AwsServiceEvent"));
    let details = &record["serviceEventDetails"];
    assert_eq!(details["seconds"], json!(365 * DAY));
    assert_eq!(details["claimedTime"], json!(before.saturating_add(days(365)).to_string()));
    let tolerated = Duration::from_secs(5 * 60);
    assert_eq!(details["trustedTime"], json!(before.saturating_add(tolerated).to_string()));
    // The whole time it can be cancelled.
    service.ok("CancelKeyDeletion", json!({"KeyId": key.id}));
    clock.advance(days(30));
    assert_eq!(service.state(&key), "Disabled");
}

#[test]
fn t_2_a_jump_that_has_held_for_a_day_is_believed_and_then_keys_go() {
    let (clock, service) = machine();
    let key = doomed(&service);
    set_ahead(&clock, days(8));
    assert!(!is_gone(&service, &key));
    clock.advance(hours(24));
    assert!(is_gone(&service, &key));
    assert_eq!(recorded(&service), ["ClockJumpFound", "ClockJumpHeld", "DeleteKey"]);
}

#[test]
fn t_2_a_clock_that_is_corrected_leaves_no_trace_but_the_records() {
    let (clock, service) = machine();
    let key = doomed(&service);
    set_ahead(&clock, days(365));
    // A change that is made meanwhile does not make that the latest time.
    let meanwhile = service.key();
    let other = doomed(&service);
    clock.advance(hours(1));
    set_back(&clock, days(365));
    assert_eq!(recorded(&service), ["ClockJumpFound"]);
    let late = service.home.now().unwrap().as_millis() - clock.now().as_millis();
    assert!(late <= 5 * 60 * 1000, "{late} ms ahead of the clock");
    assert_eq!(service.state(&meanwhile), "Enabled");
    assert_eq!(recorded(&service), ["ClockJumpFound", "ClockJumpCorrected"]);
    clock.advance(days(6));
    assert_eq!(service.state(&key), "PendingDeletion");
    clock.advance(days(1));
    assert!(is_gone(&service, &key), "at its date, as if nothing had been");
    // Its waiting period was counted from the time that was claimed then: too long is safe, too short is not.
    assert_eq!(service.state(&other), "PendingDeletion");
}

#[test]
fn t_2_a_waiting_period_that_begins_during_a_jump_is_not_shortened_by_it() {
    let (clock, service) = machine();
    // The machine was off for a month, and the clock is right.
    clock.power_off(days(30));
    let key = doomed(&service);
    clock.advance(days(6));
    assert_eq!(service.state(&key), "PendingDeletion");
    clock.advance(days(1));
    assert!(is_gone(&service, &key));
}

#[test]
fn t_2_a_machine_that_was_off_waits_for_a_day_of_uptime_summed_over_its_starts() {
    let (clock, service) = machine();
    let key = doomed(&service);
    clock.power_off(days(30));
    for _ in 0..3 {
        let home = opened(&service, &clock);
        for _ in 0..7 {
            clock.advance(hours(1));
            call(&home, "ListKeys", json!({})).unwrap();
        }
        assert!(!is_gone(&service, &key));
        clock.power_off(Duration::from_secs(30));
    }
    for _ in 0..4 {
        clock.advance(hours(1));
        opened(&service, &clock).keyring().unwrap();
    }
    assert!(is_gone(&service, &key));
    let recorded = recorded(&service);
    assert_eq!(recorded, ["ClockJumpFound", "ClockJumpHeld", "DeleteKey"]);
}

#[test]
fn t_2_a_process_that_only_looks_keeps_the_anchor_so_that_a_restart_finds_no_jump() {
    let (clock, service) = machine();
    let key = doomed(&service);
    let arn = kmsfs::datakey::KeyArn::new(key.arn.clone());
    let keys = service.home.data_keys();
    // As a mount does, each second; here less often.
    for _ in 0..6 * 24 * 2 {
        clock.advance(hours(1) / 2);
        keys.state(&arn).unwrap();
    }
    clock.power_off(Duration::from_secs(120));
    clock.advance(hours(24));
    opened(&service, &clock).keyring().unwrap();
    assert!(is_gone(&service, &key));
    assert_eq!(recorded(&service), ["DeleteKey"]);
}

#[test]
fn t_2_setting_the_clock_back_neither_stops_time_nor_brings_anything_back() {
    let (clock, service) = machine();
    let (key, stays) = (doomed(&service), service.key());
    set_back(&clock, days(300));
    let before = service.home.now().unwrap();
    clock.advance(days(8));
    assert!(is_gone(&service, &key), "a waiting period cannot be made longer by more than a tenth");
    assert!(service.home.now().unwrap() >= before.saturating_add(days(7)));
    set_back(&clock, days(3000));
    assert!(is_gone(&service, &key));
    assert_eq!(service.state(&stays), "Enabled");
    assert_eq!(recorded(&service), ["DeleteKey"]);
}

#[test]
fn t_2_a_clock_that_was_wrong_when_the_machine_started_and_is_set_right_costs_nothing() {
    let (clock, service) = machine();
    let key = doomed(&service);
    let right = clock.now();
    // No battery: 1970 until the network is there.
    clock.power_off(Duration::ZERO);
    clock.set(Timestamp::from_millis(0));
    assert_eq!(service.state(&key), "PendingDeletion");
    clock.advance(Duration::from_secs(90));
    clock.set(right.saturating_add(Duration::from_secs(150)));
    assert_eq!(service.state(&key), "PendingDeletion");
    clock.advance(days(7));
    assert!(is_gone(&service, &key));
    assert_eq!(recorded(&service), ["DeleteKey"]);
}

fn advance(service: &Service, days_ahead: u64) -> Moved {
    let caller = owner(&service.home);
    service.home.kms().move_clock(&caller, Move::By(days(days_ahead))).unwrap()
}

fn rotates(service: &Service, period: u64) -> Key {
    let key = service.key();
    service.ok("EnableKeyRotation", json!({"KeyId": key.id, "RotationPeriodInDays": period}));
    key
}

/// What was done, as `name of the event, day`.
fn done(moved: &Moved) -> Vec<(&'static str, i64)> {
    let day = |date: Timestamp| (date.as_millis() - moved.from.as_millis()) as f64 / (DAY * 1000) as f64;
    moved.done.iter().map(|done| (done.event.name(), day(done.date).round() as i64)).collect()
}

#[test]
fn t_1_advancing_by_366_days_rotates_a_key_with_automatic_rotation() {
    let service = Service::new();
    let (key, stays) = (rotates(&service, 365), service.key());
    service.alias("alias/it", &key);
    let (old, first) =
        (service.encrypt(&key.id, b"old"), service.describe(&key)["CurrentKeyMaterialId"].clone());
    let moved = advance(&service, 366);
    assert_eq!(done(&moved), [("RotateKey", 365)]);
    assert_eq!(moved.done[0].aliases, ["alias/it"]);
    assert_eq!(moved.done[0].event.key().as_str(), key.arn);
    assert_ne!(service.describe(&key)["CurrentKeyMaterialId"], first);
    assert_eq!(service.decrypt(&old), b"old");
    assert_eq!(service.ok("ListKeyRotations", json!({"KeyId": stays.id}))["Rotations"], json!([]));
}

#[test]
fn t_1_what_falls_due_on_the_way_comes_in_its_order_and_each_at_its_date() {
    let service = Service::new();
    let quarterly = rotates(&service, 90);
    let gone = rotates(&service, 100);
    service.ok("ScheduleKeyDeletion", json!({"KeyId": gone.id, "PendingWindowInDays": 30}));
    let yearly = rotates(&service, 365);
    let begun = service.home.now().unwrap();
    let moved = advance(&service, 400);
    let expected = [("DeleteKey", 30), ("RotateKey", 90), ("RotateKey", 180), ("RotateKey", 270)];
    assert_eq!(done(&moved), [&expected[..], &[("RotateKey", 360), ("RotateKey", 365)]].concat());
    let at = |day: u64| begun.saturating_add(days(day)).as_seconds_f64();
    let rotations = |key: &Key| service.ok("ListKeyRotations", json!({"KeyId": key.id}))["Rotations"].clone();
    for (rotation, day) in rotations(&quarterly).as_array().unwrap().iter().zip([90, 180, 270, 360]) {
        assert!((rotation["RotationDate"].as_f64().unwrap() - at(day)).abs() < 60.0, "{rotation}");
    }
    assert_eq!(rotations(&yearly).as_array().unwrap().len(), 1);
    let ring = service.home.keyring().unwrap();
    let deleted = ring.tombstone(KeyId::parse(&gone.id).unwrap()).unwrap().deleted;
    assert!((deleted.as_seconds_f64() - at(30)).abs() < 60.0);
    // The records, too, are of those times.
    let records = service.records();
    let from = records.iter().position(|record| record["eventName"] == "AdvanceClock").unwrap();
    assert_eq!(records[from]["requestParameters"]["seconds"], json!(400 * DAY));
    let since: Vec<_> = records[from + 1..from + 7].iter().map(|record| text(&record["eventTime"])).collect();
    assert!(since.is_sorted(), "{since:?}");
    assert_eq!(since[0], deleted.to_string());
}

#[test]
fn t_1_a_move_that_several_processes_look_at_is_told_whole_to_who_made_it() {
    let service = Service::new();
    let keys: Vec<_> = (0..5).map(|_| doomed(&service)).collect();
    let other = service.another();
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                call(&other, "ListKeys", json!({})).unwrap();
            }
        });
        let moved = advance(&service, 8);
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        let deleted = moved.done.iter().filter(|done| matches!(done.event, ServiceEvent::DeleteKey(_)));
        assert_eq!(deleted.count(), keys.len());
    });
    assert_eq!(recorded(&service).len(), keys.len(), "each once");
}

#[test]
fn t_1_a_simulated_clock_is_set_ahead_only_and_runs_on() {
    let service = Service::new();
    let (kms, caller) = (service.home.kms(), owner(&service.home));
    let later = service.home.now().unwrap().saturating_add(days(50));
    let moved = kms.move_clock(&caller, Move::To(later)).unwrap();
    assert_eq!(moved.to, later);
    std::thread::sleep(Duration::from_millis(30));
    let now = service.home.now().unwrap();
    assert!(now >= later.saturating_add(Duration::from_millis(30)) && now < later.saturating_add(hours(1)));
    assert!(service.another().now().unwrap() >= now);
    let before = service.records().len();
    let refused = kms.move_clock(&caller, Move::To(later)).unwrap_err();
    assert!(matches!(refused, ClockError::Backwards { asked, .. } if asked == later), "{refused:?}");
    let refused = kms.move_clock(&caller, Move::By(days(365 * 500))).unwrap_err();
    assert_eq!(refused, ClockError::TooFar);
    let refused = kms.accept_clock(&caller).unwrap_err();
    assert_eq!(refused, ClockError::Simulated);
    assert_eq!(service.records().len(), before, "nothing was done");
    assert!(service.home.now().unwrap() < later.saturating_add(hours(1)));
}

#[test]
fn t_1_a_simulated_clock_moves_and_runs_also_where_the_machines_was_set_back() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(START)));
    let service = Service::on_machine_simulated(&clock);
    let key = doomed(&service);
    advance(&service, 5);
    set_back(&clock, days(3000));
    assert_eq!(service.state(&key), "PendingDeletion");
    advance(&service, 1);
    clock.advance(hours(12));
    assert_eq!(service.home.now().unwrap().as_millis() - START, (6 * 24 + 12) * 3600 * 1000);
    assert_eq!(done(&advance(&service, 1)).len(), 1);
}

#[test]
fn t_1_only_a_simulated_clock_is_moved() {
    let (_, service) = machine();
    let before = (service.home.now().unwrap(), service.records().len());
    for to in [Move::By(days(1)), Move::To(before.0.saturating_add(days(1)))] {
        let refused = service.home.kms().move_clock(&owner(&service.home), to).unwrap_err();
        assert_eq!(refused, ClockError::NotSimulated);
    }
    assert_eq!((service.home.now().unwrap(), service.records().len()), before);
}

#[test]
fn t_2_a_clock_that_is_accepted_does_what_waited_for_it_and_says_so() {
    let (clock, service) = machine();
    let (kms, caller) = (service.home.kms(), owner(&service.home));
    let (gone, rotated) = (doomed(&service), rotates(&service, 90));
    assert!(kms.accept_clock(&caller).unwrap().is_none(), "nothing to accept");
    clock.power_off(days(366));
    let view = kms.clock().unwrap();
    assert_eq!(view.waiting.len(), 2);
    assert_eq!(view.jump.unwrap().ahead, days(366));
    let moved = kms.accept_clock(&caller).unwrap().unwrap();
    // Rotations that were missed are not made up for: nobody was there.
    let names: Vec<_> = moved.done.iter().map(|done| done.event.name()).collect();
    assert_eq!(names, ["DeleteKey", "RotateKey"]);
    assert!(is_gone(&service, &gone));
    assert_eq!(
        service.ok("ListKeyRotations", json!({"KeyId": rotated.id}))["Rotations"].as_array().unwrap().len(),
        1
    );
    assert_eq!(recorded(&service), ["ClockJumpFound", "DeleteKey"]);
    assert!(service.records().iter().any(|record| record["eventName"] == "AcceptClockJump"));
    let view = kms.clock().unwrap();
    assert_eq!((view.jump, view.waiting.len()), (None, 0));
    assert_eq!(view.times.trusted, clock.now());
    // What is accepted is not taken back.
    set_back(&clock, days(366));
    clock.advance(hours(1));
    assert!(kms.clock().unwrap().times.trusted > clock.now().saturating_add(days(365)));
}

#[test]
fn t_2_a_key_that_rotates_by_a_clock_that_is_ahead_waits_and_is_used_meanwhile() {
    let (clock, service) = machine();
    let key = rotates(&service, 90);
    let first = service.describe(&key)["CurrentKeyMaterialId"].clone();
    set_ahead(&clock, days(365));
    let blob = service.encrypt(&key.id, b"x");
    assert_eq!(service.describe(&key)["CurrentKeyMaterialId"], first);
    set_back(&clock, days(365));
    clock.advance(days(89));
    assert_eq!(service.describe(&key)["CurrentKeyMaterialId"], first);
    clock.advance(days(1));
    assert_ne!(service.describe(&key)["CurrentKeyMaterialId"], first);
    assert_eq!(service.decrypt(&blob), b"x");
}

/// A key whose imported material is good for so many days.
fn imported_for(service: &Service, count: u64) -> Key {
    let key = service.external();
    let valid_to = service.home.now().unwrap().saturating_add(days(count)).as_seconds_f64();
    service.import(&key, &[7; 32], json!({"ValidTo": valid_to}));
    key
}

#[test]
fn t_1_the_end_of_imported_material_comes_between_what_is_before_and_after_it() {
    let service = Service::new();
    let (key, _, _) = (imported_for(&service, 30), rotates(&service, 90), doomed(&service));
    let blob = service.encrypt(&key.id, b"x");
    let moved = advance(&service, 100);
    assert_eq!(done(&moved), [("DeleteKey", 7), ("DeleteExpiredKeyMaterial", 30), ("RotateKey", 90)]);
    let refusal = service.refusal("Decrypt", json!({"CiphertextBlob": blob}));
    assert_eq!(refusal, format!("KMSInvalidStateException: {} is pending import.", key.arn));
}

#[test]
fn t_2_imported_material_that_is_past_its_end_by_a_clock_that_is_ahead_is_refused_and_stays() {
    let (clock, service) = machine();
    let key = imported_for(&service, 30);
    let blob = service.encrypt(&key.id, b"x");
    set_ahead(&clock, days(31));
    let refusal = service.refusal("Decrypt", json!({"CiphertextBlob": blob}));
    assert_eq!(refusal, format!("KMSInvalidStateException: {} is pending import.", key.arn));
    assert_eq!(service.state(&key), "PendingImport");
    let arn = kmsfs::datakey::KeyArn::new(key.arn.clone());
    let usability = service.home.data_keys().state(&arn);
    assert_eq!(usability, Ok(kmsfs::datakey::Usability::PendingImport), "mounts refuse as well");
    assert_eq!(service.home.kms().clock().unwrap().waiting.len(), 1);
    set_back(&clock, days(31));
    assert_eq!(service.decrypt(&blob), b"x");
    // Where the clock is right, the material goes a day of uptime later; an import in between saves it.
    clock.power_off(days(31));
    assert_eq!(service.state(&key), "PendingImport");
    service.import(&key, &[7; 32], json!({"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}));
    clock.advance(days(2));
    assert_eq!(service.decrypt(&blob), b"x");
    let expired = |record: &serde_json::Value| record["eventName"] == "DeleteExpiredKeyMaterial";
    assert!(!service.records().iter().any(expired), "nothing was destroyed");
}
