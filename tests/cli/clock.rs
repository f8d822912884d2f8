//! A system's clock that is ahead of what uptime explains, as the command line tells of it (rule T-2). The home is made by a machine
//! whose clock is far behind this one's, and that was started when this one was.

use std::sync::Arc;
use std::time::Duration;

use kmsfs::clock::{Clock, ManualClock, SystemClock, Timestamp};
use kmsfs::kms::{Operation, Via};
use kmsfs::store::{Home, NewSlot, SetupOptions};
use regex::Regex;
use serde_json::{Value, json};

use crate::fixture::Fixture;

const DAY: u64 = 86_400;

/// A home with a real clock, made when that showed `now` and this machine had been up for as long as it has.
fn home_made_at(fixture: &Fixture, now: Timestamp) -> Home {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    clock.advance(SystemClock.uptime());
    clock.set(now);
    let options = SetupOptions::new(vec![NewSlot::KeyFile(fixture.path("key-file"))]);
    Home::setup_with_clock(&fixture.path("home"), &options, clock).unwrap()
}

/// A home whose clock was so many days behind this machine's, with a key that was to be deleted in seven days.
fn home_of_days_ago(days: u64) -> (Fixture, String) {
    let fixture = Fixture::bare();
    let back = SystemClock.now().as_millis() - (days * DAY * 1000) as i64;
    let home = home_made_at(&fixture, Timestamp::from_millis(back));
    let call = |operation, request| {
        home.kms().call(&home.caller(0, 1, Via::Cli), operation, request).unwrap().unwrap()
    };
    let made = call(Operation::CreateKey, json!({}));
    let arn = made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();
    call(Operation::ScheduleKeyDeletion, json!({"KeyId": arn, "PendingWindowInDays": 7}));
    (fixture, arn)
}

/// Without what differs from one run to the next.
fn settled(text: &str) -> String {
    let time = Regex::new(r"\d{4}-\d\d-\d\dT[0-9:.]+Z").unwrap();
    let id = Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").unwrap();
    let seconds = Regex::new(r"\b\d s\b").unwrap();
    let text = time.replace_all(text, "[TIME]");
    seconds.replace_all(&id.replace_all(&text, "[ID]"), "[S] s").into_owned()
}

/// The records of one event in the audit log.
fn records(fixture: &Fixture, event: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(fixture.path("home/audit.log")).unwrap();
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["eventName"] == event).collect()
}

fn json_of(fixture: &Fixture, arguments: &[&str]) -> Value {
    serde_json::from_str(&fixture.ok(arguments)).unwrap()
}

#[test]
fn t_2_a_clock_that_is_ahead_is_shown_with_what_waits_for_it() {
    let (fixture, arn) = home_of_days_ago(400);
    let shown = fixture.ok(&["clock", "show"]);
    assert_eq!(
        settled(&shown),
        "The home's time is [TIME] for the use of keys, and [TIME] for what cannot be undone.\n\
         The system's clock is 400 days ahead of what uptime explains: it was set ahead, or the machine was off.\n\
         It has been so for [S] s of uptime. In 1 day of uptime it is believed.\n\
         Waits for that: [TIME] deletion of arn:aws:kms:us-east-1:000000000000:key/[ID]\n\
         Where it is right, kmsfs clock accept believes it now; where it is wrong, set it right.\n"
    );
    let shown = json_of(&fixture, &["clock", "show", "--json"]);
    let ahead = shown["jump"]["aheadSeconds"].as_u64().unwrap();
    assert!(ahead.abs_diff(400 * DAY) < 60, "{ahead}");
    assert!(shown["jump"]["remainingSeconds"].as_u64().unwrap() > DAY - 60);
    assert_eq!(shown["waiting"][0]["event"], json!("deletion"));
    assert_eq!(shown["waiting"][0]["key"], json!(arn));
    assert_eq!(shown["simulated"], json!(false));
}

#[test]
fn t_2_every_command_warns_of_a_clock_that_is_ahead_where_that_matters() {
    let (fixture, arn) = home_of_days_ago(400);
    let said = fixture.run(&["keys"]);
    assert_eq!(said.code, 0);
    assert_eq!(
        settled(&said.err),
        "kmsfs: warning: the system's clock is 400 days ahead of what uptime explains: the deletion of \
         arn:aws:kms:us-east-1:000000000000:key/[ID] of [TIME] waits\nhint: kmsfs clock show\n"
    );
    assert!(said.out.contains("PendingDeletion"), "{}", said.out);
    let cancelled = fixture.run(&["kms", "cancel-key-deletion", "--key-id", &arn]);
    assert_eq!(cancelled.code, 0, "{}", cancelled.err);
    assert_eq!(
        fixture.run(&["keys"]).err,
        "kmsfs: warning: the system's clock is 400 days ahead of what uptime explains: nothing is destroyed by it yet\n\
         hint: kmsfs clock show\n"
    );
    // Nobody is told each morning that the machine was off at night.
    let (fixture, _) = home_of_days_ago(3);
    fixture.ok(&["keys"]);
    assert_eq!(records(&fixture, "ClockJumpFound").len(), 1);
}

#[test]
fn t_2_a_clock_that_is_accepted_is_believed_at_once_and_what_waited_is_done() {
    let (fixture, _) = home_of_days_ago(400);
    assert_eq!(
        settled(&fixture.ok(&["clock", "accept"])),
        "[TIME] deleted arn:aws:kms:us-east-1:000000000000:key/[ID]\nThe home's time is [TIME], 399 days 23 h later.\n"
    );
    let nothing = "There is nothing to accept: uptime explains the system's clock.\n";
    assert_eq!(fixture.ok(&["clock", "accept"]), nothing);
    assert!(fixture.ok(&["keys"]).contains("Deleted"));
    let accepted = records(&fixture, "AcceptClockJump");
    assert_eq!(accepted.len(), 1);
    let seconds = accepted[0]["requestParameters"]["seconds"].as_u64().unwrap();
    assert!(seconds.abs_diff(400 * DAY) < 60, "{seconds}");
    assert_eq!(accepted[0]["userIdentity"]["type"], json!("Root"));
    assert_eq!(records(&fixture, "DeleteKey").len(), 1);
}

#[test]
fn t_2_a_systems_clock_that_is_behind_is_not_followed() {
    let fixture = Fixture::bare();
    drop(home_made_at(&fixture, SystemClock.now().saturating_add(Duration::from_secs(50 * DAY))));
    assert_eq!(
        settled(&fixture.ok(&["clock", "show"])),
        "The home's time is [TIME].\n\
         The system's clock shows [TIME], 50 days behind: time goes on by uptime until it has caught up.\n"
    );
}
