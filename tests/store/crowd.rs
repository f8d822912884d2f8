//! Eight processes that do random things to one home at a time, some of them killed in the middle.
//!
//! Each worker has a key of its own and keeps book of what was acknowledged; all of them also pull at keys and aliases that they share.
//! At the end the store must verify, say of each key what its worker's book says, and have a record of all that was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixture::Fixture;

const WORKERS: u64 = 8;

/// How long they go on: longer where the environment says so.
fn span() -> Duration {
    let seconds = std::env::var("KMSFS_CROWD_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// Random numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// What became of a command.
enum Outcome {
    Done,
    Refused(String),
    Killed,
}

/// What a worker knows of its key: every state that it may be in, and between which numbers of rotations.
#[derive(Debug)]
struct Book {
    key: String,
    states: BTreeSet<&'static str>,
    rotations: (usize, usize),
    /// Acknowledged changes, by the event that records them.
    events: BTreeMap<&'static str, usize>,
}

struct Worker<'f> {
    fixture: &'f Fixture,
    dice: Dice,
    kills: bool,
    shared: [String; 2],
    book: Book,
}

impl Worker<'_> {
    fn run(&mut self, arguments: &[&str]) -> Outcome {
        let mut command = self.fixture.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        if self.kills && self.dice.below(5) == 0 {
            thread::sleep(Duration::from_millis(self.dice.below(120)));
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            Some(0) => Outcome::Done,
            Some(_) => Outcome::Refused(String::from_utf8_lossy(&output.stderr).into_owned()),
            None => Outcome::Killed,
        }
    }

    /// A change of the worker's own key, which must succeed unless it is killed: from the states that permit it, to one state.
    fn change(&mut self, operation: &str, event: &'static str, from: &[&str], to: Option<&'static str>) {
        let key = self.book.key.clone();
        let outcome = self.run(&["kms", operation, "--key-id", &key]);
        let permitted: BTreeSet<_> =
            self.book.states.iter().copied().filter(|state| from.contains(state)).collect();
        let reached = |state: &'static str| to.unwrap_or(state);
        match outcome {
            Outcome::Done => {
                assert!(!permitted.is_empty(), "{operation} is answered in {:?}", self.book);
                self.book.states = permitted.iter().map(|state| reached(state)).collect();
                self.book.rotations.0 += usize::from(event == "RotateKeyOnDemand");
                *self.book.events.entry(event).or_default() += 1;
            }
            Outcome::Refused(why) => {
                assert!(permitted.len() < self.book.states.len(), "{operation}: {why} in {:?}", self.book);
                assert!(why.contains("Exception) when calling"), "{why}");
                self.book.states.retain(|state| !from.contains(state));
            }
            Outcome::Killed => self.book.states.extend(permitted.iter().map(|state| reached(state))),
        }
        // Each attempt may have been made, also one that was killed before it said so.
        self.book.rotations.1 += usize::from(event == "RotateKeyOnDemand");
    }

    /// Something that concerns what others pull at as well: any of AWS's answers will do.
    fn pull(&mut self) {
        let shared = self.shared.clone();
        let key = shared[self.dice.below(2) as usize].as_str();
        let other = shared[self.dice.below(2) as usize].as_str();
        let alias = format!("alias/shared-{}", self.dice.below(3));
        let arguments: &[&str] = match self.dice.below(8) {
            0 => &["kms", "create-alias", "--alias-name", &alias, "--target-key-id", key],
            1 => &["kms", "update-alias", "--alias-name", &alias, "--target-key-id", other],
            2 => &["kms", "delete-alias", "--alias-name", &alias],
            3 => &["kms", "generate-data-key", "--key-id", key, "--key-spec", "AES_256"],
            4 => &["kms", "enable-key-rotation", "--key-id", key],
            5 => &["kms", "disable-key-rotation", "--key-id", key],
            6 => &["kms", "update-key-description", "--key-id", key, "--description", other],
            _ => &["keys", "--json"],
        };
        if let Outcome::Refused(why) = self.run(arguments) {
            assert!(why.contains("Exception) when calling"), "{arguments:?}: {why}");
            assert!(!why.contains("KMSInternalException"), "{arguments:?}: {why}");
        }
    }

    fn step(&mut self) {
        let usable = &["Enabled", "Disabled"];
        match self.dice.pick(&["pull", "pull", "disable", "enable", "rotate", "schedule", "cancel"]) {
            "disable" => self.change("disable-key", "DisableKey", usable, Some("Disabled")),
            "enable" => self.change("enable-key", "EnableKey", usable, Some("Enabled")),
            "rotate" if self.book.rotations.1 < 25 => {
                self.change("rotate-key-on-demand", "RotateKeyOnDemand", &["Enabled"], None);
            }
            "schedule" => {
                self.change("schedule-key-deletion", "ScheduleKeyDeletion", usable, Some("PendingDeletion"));
            }
            "cancel" => {
                self.change(
                    "cancel-key-deletion",
                    "CancelKeyDeletion",
                    &["PendingDeletion"],
                    Some("Disabled"),
                );
            }
            _ => self.pull(),
        }
    }
}

fn new_key(fixture: &Fixture) -> String {
    let output = fixture.command(&["kms", "create-key"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

fn crowd(kills: bool, seed: u64) {
    let fixture = Fixture::empty();
    let shared = [new_key(&fixture), new_key(&fixture)];
    let until = Instant::now() + span();
    let books: Vec<Book> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let book = Book {
                    key: new_key(&fixture),
                    states: ["Enabled"].into(),
                    rotations: (0, 0),
                    events: BTreeMap::new(),
                };
                let dice = Dice(seed ^ (number << 32));
                let mut worker = Worker { fixture: &fixture, dice, kills, shared: shared.clone(), book };
                scope.spawn(move || {
                    while Instant::now() < until {
                        worker.step();
                    }
                    worker.book
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    holds(&fixture, &books, kills);
}

/// The store verifies, and says what the books say; the log has what was acknowledged.
fn holds(fixture: &Fixture, books: &[Book], kills: bool) {
    let home = fixture.open();
    let ring = home.keyring().unwrap();
    let records = std::fs::read_to_string(fixture.home().join("audit.log")).unwrap();
    let records: Vec<Value> = records.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for book in books {
        let key = ring.keys().find(|key| key.record.id.to_string() == book.key).unwrap();
        assert!(book.states.contains(key.record.state.name()), "{book:?} and {:?}", key.record.state);
        let rotations = key.materials.len() - 1;
        assert!((book.rotations.0..=book.rotations.1).contains(&rotations), "{book:?} and {rotations}");
        assert!(kills || book.states.len() == 1, "without kills a book is certain: {book:?}");
        for (event, count) in &book.events {
            let of_key = |record: &&Value| {
                record["eventName"] == *event
                    && record.get("errorCode").is_none()
                    && record["resources"][0]["ARN"].as_str().is_some_and(|arn| arn.ends_with(&book.key))
            };
            let found = records.iter().filter(of_key).count();
            assert!(
                found >= *count && (kills || found == *count),
                "{event}: {found} records of {count}: {book:?}"
            );
        }
    }
    let verified = fixture.command(&["audit", "verify"]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let acknowledged: usize = books.iter().flat_map(|book| book.events.values()).sum();
    assert!(acknowledged >= 8, "they did something: {acknowledged}");
}

#[test]
fn eight_processes_at_once_leave_a_consistent_store_and_log() {
    crowd(false, 1);
}

#[test]
fn eight_processes_at_once_of_which_some_are_killed_leave_a_consistent_store_and_log() {
    crowd(true, 2);
}
