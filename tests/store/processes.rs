//! Several real processes with one home, and processes that are killed in the middle of a change.

use std::collections::BTreeSet;
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kmsfs::kms::Operation;
use kmsfs::store::Home;
use serde_json::{Value, json};

use crate::fixture::{Fixture, call, new_key, told};

fn succeeds(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn descriptions(home: &Home) -> BTreeSet<String> {
    home.keyring().unwrap().keys().map(|key| key.record.description.clone()).collect()
}

#[test]
fn processes_that_change_and_read_one_home_at_once_lose_no_update() {
    const PROCESSES: usize = 6;
    const ROUNDS: usize = 5;
    let fixture = Fixture::empty();
    thread::scope(|scope| {
        for process in 0..PROCESSES {
            let fixture = &fixture;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let name = format!("{process}-{round}");
                    let run = |arguments: &[&str]| succeeds(&fixture.command(arguments).output().unwrap());
                    let made = run(&["kms", "create-key", "--description", &name]);
                    let id = made["KeyMetadata"]["KeyId"].as_str().unwrap();
                    let alias = format!("alias/{name}");
                    run(&["kms", "create-alias", "--alias-name", &alias, "--target-key-id", id]);
                    run(&["kms", "rotate-key-on-demand", "--key-id", id]);
                    run(&["kms", "disable-key", "--key-id", id]);
                    let told = run(&["kms", "describe-key", "--key-id", &alias]);
                    assert_eq!(told["KeyMetadata"]["KeyState"], "Disabled", "it sees its own change");
                    run(&["keys", "--json"]);
                }
            });
        }
    });
    let home = fixture.open();
    let ring = home.keyring().unwrap();
    assert_eq!(ring.keys().count(), PROCESSES * ROUNDS);
    assert_eq!(ring.aliases().count(), PROCESSES * ROUNDS);
    for key in ring.keys() {
        assert_eq!(key.materials.len(), 2, "{}", key.record.description);
        assert_eq!(key.record.state.name(), "Disabled");
    }
    let audit = std::fs::read_to_string(fixture.home().join("audit.log")).unwrap();
    let records: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in ["CreateKey", "CreateAlias", "RotateKeyOnDemand", "DisableKey", "DescribeKey"] {
        let count = records.iter().filter(|record| record["eventName"] == event).count();
        assert_eq!(count, PROCESSES * ROUNDS, "{event}");
    }
}

#[test]
fn handles_that_change_one_home_at_once_all_see_the_last_change() {
    let fixture = Fixture::empty();
    let homes: Vec<_> = (0..3).map(|_| fixture.open()).collect();
    for round in 0..25 {
        thread::scope(|scope| {
            for home in &homes {
                scope.spawn(move || {
                    for _ in 0..3 {
                        call(home, Operation::CreateKey, json!({}));
                    }
                });
            }
        });
        let expected = (round + 1) * homes.len() * 3;
        for home in &homes {
            assert_eq!(home.keyring().unwrap().keys().count(), expected, "round {round}");
        }
    }
}

#[test]
fn an_alias_that_two_processes_want_goes_to_one() {
    let fixture = Fixture::empty();
    let made = succeeds(&fixture.command(&["kms", "create-key"]).output().unwrap());
    let id = made["KeyMetadata"]["KeyId"].as_str().unwrap();
    for round in 0..5 {
        let alias = format!("alias/wanted-{round}");
        let arguments = ["kms", "create-alias", "--alias-name", &alias, "--target-key-id", id];
        let wanting: Vec<Child> =
            (0..4).map(|_| fixture.command(&arguments).stderr(Stdio::piped()).spawn().unwrap()).collect();
        let codes: Vec<_> = wanting
            .into_iter()
            .map(|child| {
                let output = child.wait_with_output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success() || said.contains("AlreadyExistsException"), "{said}");
                output.status.code().unwrap()
            })
            .collect();
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    }
}

/// How long a command takes that nobody kills, so that kills can be spread over it on any machine.
fn usual(fixture: &Fixture, arguments: &[&str]) -> Duration {
    let started = Instant::now();
    succeeds(&fixture.command(arguments).output().unwrap());
    started.elapsed()
}

/// Runs a command and kills it after a part of `usual`; what it answered until then.
fn killed(fixture: &Fixture, arguments: &[&str], usual: Duration, part: u32) -> Output {
    let mut command = fixture.command(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // From before anything is opened to after the answer.
    thread::sleep(usual * (part % 32) / 20);
    child.kill().unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_home_survives_kills_in_the_middle_of_changes_with_all_that_was_acknowledged() {
    let fixture = Fixture::empty();
    let usual = usual(&fixture, &["kms", "create-key", "--description", "first"]);
    let mut acknowledged = BTreeSet::from(["first".to_owned()]);
    let mut killed_before = 0;
    for round in 0..96 {
        let name = format!("round-{round}");
        let output = killed(&fixture, &["kms", "create-key", "--description", &name], usual, round * 7);
        // The answer, once it is out, is a promise, whatever becomes of the process.
        if serde_json::from_slice::<Value>(&output.stdout).is_ok() {
            acknowledged.insert(name);
        } else {
            assert!(!output.status.success(), "it ended without an answer");
            killed_before += 1;
        }
        if round % 5 == 4 {
            let home = fixture.open();
            assert!(descriptions(&home).is_superset(&acknowledged), "round {round}");
        }
    }
    assert!(killed_before > 0 && acknowledged.len() > 1, "kills fell on both sides of the answer");
    let home = fixture.open();
    let found = descriptions(&home);
    assert!(found.is_superset(&acknowledged));
    assert_eq!(home.keyring().unwrap().keys().count(), found.len(), "nothing happened twice");
    let before = told(&home);
    drop(home);
    assert_eq!(told(&fixture.open()), before);
    succeeds(&fixture.command(&["kms", "create-key"]).output().unwrap());
}

#[test]
fn a_row_that_kills_leave_changed_is_the_last_acknowledged_one_or_a_later_one() {
    let fixture = Fixture::empty();
    let id = new_key(&fixture.open(), "0", "alias/a");
    let to = ["kms", "update-key-description", "--key-id", &id, "--description"];
    let usual = usual(&fixture, &[&to, ["0"].as_slice()].concat());
    let mut last = 0;
    for round in 1..=64 {
        let text = round.to_string();
        let output = killed(&fixture, &[&to, [text.as_str()].as_slice()].concat(), usual, round * 7);
        if output.status.success() {
            last = i64::from(round);
        }
        let home = fixture.open();
        let ring = home.keyring().unwrap();
        let now: i64 = ring.keys().next().unwrap().record.description.parse().unwrap();
        assert!(
            (last..=i64::from(round)).contains(&now),
            "{now} after {last} was acknowledged, in round {round}"
        );
    }
}

#[test]
fn setups_that_are_killed_leave_no_home_or_a_whole_one() {
    let usual = {
        let fixture = Fixture { temp: tempfile::tempdir().unwrap() };
        usual(&fixture, &["setup", "--key-file", fixture.path("key-file").to_str().unwrap()])
    };
    for round in 0..24 {
        let fixture = Fixture { temp: tempfile::tempdir().unwrap() };
        let key_file = fixture.path("key-file");
        let arguments = ["setup", "--key-file", key_file.to_str().unwrap()];
        killed(&fixture, &arguments, usual, round);
        if fixture.home().exists() {
            fixture.open();
        } else {
            succeeds(&fixture.command(&arguments).output().unwrap());
        }
    }
}

#[test]
fn who_finds_the_store_in_use_waits_for_it_and_readers_do_not() {
    let fixture = Fixture::empty();
    let holder = fixture.connect();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    succeeds(&fixture.command(&["keys", "--json"]).output().unwrap());
    let mut waiting = fixture.command(&["kms", "create-key"]).stdout(Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_millis(700));
    assert!(waiting.try_wait().unwrap().is_none(), "it waits");
    holder.execute_batch("COMMIT").unwrap();
    assert!(waiting.wait().unwrap().success());
    assert_eq!(fixture.open().keyring().unwrap().keys().count(), 1);
}

#[test]
fn who_waits_too_long_says_so_and_has_changed_nothing() {
    let fixture = Fixture::empty();
    let holder = fixture.connect();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let output = fixture.command(&["kms", "create-key"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(255), "{said}");
    assert!(said.contains("held by another process") && said.contains("\nhint: "), "{said}");
    holder.execute_batch("COMMIT").unwrap();
    assert_eq!(fixture.open().keyring().unwrap().keys().count(), 0);
}

#[test]
fn what_a_process_sees_is_what_the_store_holds_while_others_change_it_and_are_killed() {
    let fixture = Fixture::empty();
    let id = new_key(&fixture.open(), "0", "alias/a");
    let held = fixture.open();
    let usual = usual(&fixture, &["kms", "disable-key", "--key-id", &id]);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let (fixture, ended, id) = (&fixture, &ended, id.as_str());
        scope.spawn(move || {
            for round in 0..60 {
                let text = round.to_string();
                let change: &[&str] = match round % 4 {
                    0 => &["kms", "enable-key", "--key-id", id],
                    1 => &["kms", "disable-key", "--key-id", id],
                    2 => &["kms", "update-key-description", "--key-id", id, "--description", &text],
                    // Cleans the files of the database: a checkpoint, and everything written anew.
                    _ => &["slot", "add", "--recovery-code"],
                };
                if round % 3 == 2 {
                    killed(fixture, change, usual, round * 7);
                } else {
                    succeeds_or_says_why(&fixture.command(change).output().unwrap());
                }
                if round % 8 == 3 {
                    fixture.command(&["slot", "remove", "2"]).output().unwrap();
                }
            }
            ended.store(true, Ordering::SeqCst);
        });
        let mut looks = 0;
        while !ended.load(Ordering::SeqCst) {
            // Nothing older than what a fresh look had before, and nothing newer than what one has after it.
            let before = generation(&fixture.connect());
            let seen = told(&held);
            let fresh = told(&fixture.open());
            let after = generation(&fixture.connect());
            assert!(before != after || seen == fresh, "in generation {before}: {seen}\n{fresh}");
            looks += u64::from(before == after);
        }
        assert!(looks > 0, "the store stood still for a look");
    });
    assert_eq!(told(&held), told(&fixture.open()));
}

fn succeeds_or_says_why(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.contains("\nhint: "), "{said}");
}

fn generation(connection: &rusqlite::Connection) -> i64 {
    connection.query_row("SELECT max(generation) FROM heads", [], |row| row.get(0)).unwrap()
}
