//! The clock of a home on a machine whose clock is set, which sleeps, is off and is started again (rule T-2). What is believed in
//! each case stands beside the code, in `kms::clock_guard`; here it is what becomes of keys, records and the store.

use std::sync::Arc;
use std::time::Duration;

use kmsfs::clock::{Clock, ManualClock, Timestamp};
use kmsfs::store::{Home, Key as Unlock, KeyFiles};
use serde_json::json;

use crate::fixture::{DAY, Key, Service, call};

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
