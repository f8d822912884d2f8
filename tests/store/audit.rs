//! The audit log of a real home (rule AUD-3): several processes, kills, older copies, homes from before there was a chain.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kmsfs::kms::id::KeyId;
use kmsfs::kms::{Cause, Operation};
use kmsfs::store::{Home, HomeError};
use serde_json::{Value, json};

use crate::fixture::{Fixture, call, new_key, refusal, try_call};

/// Names the home that [`hammer`] is to work on.
const HAMMERED: &str = "KMSFS_TEST_HAMMERED";

/// A process of its own, started and killed by other tests: it records as fast as it can.
#[test]
fn hammer() {
    let Some(dir) = std::env::var_os(HAMMERED) else { return };
    let home = Home::open(dir.as_ref()).unwrap();
    let id = home.keyring().unwrap().keys().next().unwrap().record.id.to_string();
    for round in 0.. {
        call(&home, Operation::ListKeys, json!({}));
        if round % 300 == 0 {
            println!("hammered");
            call(&home, Operation::DisableKey, json!({"KeyId": id}));
            call(&home, Operation::EnableKey, json!({"KeyId": id}));
        }
    }
}

fn start_hammer(fixture: &Fixture) -> Child {
    let mut hammer = Command::new(std::env::current_exe().unwrap())
        .args(["audit::hammer", "--exact", "--nocapture"])
        .env(HAMMERED, fixture.home())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Until it works.
    let mut said = Vec::new();
    let out = hammer.stdout.as_mut().unwrap();
    while !String::from_utf8_lossy(&said).contains("hammered") {
        let mut byte = [0];
        assert_eq!(out.read(&mut byte).unwrap(), 1, "the hammer ended");
        said.push(byte[0]);
    }
    hammer
}

fn home_with_key() -> Fixture {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let id = new_key(&home, "hammered", "alias/hammered");
    call(&home, Operation::DisableKey, json!({"KeyId": id}));
    fixture
}

#[track_caller]
fn is_fine(home: &Home) -> kmsfs::store::audit::verify::Report {
    let report = home.verify_records().unwrap();
    assert_eq!(report.bad, []);
    report
}

#[test]
fn aud_3_processes_that_are_killed_at_any_instant_raise_no_false_alarm() {
    let fixture = home_with_key();
    for round in 0..5 {
        let mut hammers: Vec<_> = (0..2).map(|_| start_hammer(&fixture)).collect();
        // Somebody goes on meanwhile.
        let home = fixture.open();
        std::thread::sleep(Duration::from_micros(170 * round));
        call(&home, Operation::ListKeys, json!({}));
        for hammer in &mut hammers {
            hammer.kill().unwrap();
            hammer.wait().unwrap();
        }
        is_fine(&home);
        call(&home, Operation::ListKeys, json!({}));
        is_fine(&fixture.open());
    }
    assert!(is_fine(&fixture.open()).records > 100);
}

#[test]
fn aud_3_an_older_copy_of_the_key_store_behind_a_newer_log_is_refused() {
    let fixture = Fixture::full();
    let old = fixture.copy();
    let home = fixture.open();
    call(&home, Operation::DisableKey, json!({"KeyId": fixture.id("used")}));
    call(&home, Operation::ListKeys, json!({}));
    drop(home);
    let newer = fixture.copy();
    for name in ["keys.db", "keys.db-wal", "keys.db-shm"] {
        let _ = fs::remove_file(fixture.home().join(name));
        if old.home().join(name).exists() {
            fs::copy(old.home().join(name), fixture.home().join(name)).unwrap();
        }
    }
    // However often that is tried.
    for _ in 0..3 {
        let error = refusal(&fixture, "an older key store");
        assert!(matches!(&error, HomeError::Tampered(what) if what.contains("older copy")), "{error}");
    }
    // The whole home as it was is a home as it was: nothing within it says otherwise.
    is_fine(&old.open());
    // A newer key store behind an older log opens, and what the log lost is found.
    for name in ["audit.log", "audit.head"] {
        fs::copy(old.home().join(name), newer.home().join(name)).unwrap();
    }
    let home = newer.open();
    let bad = &home.verify_records().unwrap().bad;
    assert!(bad[0].what.contains("missing at the end"), "{bad:?}");
    call(&home, Operation::ListKeys, json!({}));
    let bad = &home.verify_records().unwrap().bad;
    assert!(bad[0].what.contains("the key store knows of record"), "{bad:?}");
}

#[test]
fn aud_3_each_record_names_the_generation_of_the_key_store() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let id = new_key(&home, "a", "alias/a");
    call(&home, Operation::DisableKey, json!({"KeyId": id}));
    call(&home, Operation::ListKeys, json!({}));
    let log = fs::read_to_string(fixture.home().join("audit.log")).unwrap();
    let chain: Vec<(u64, i64)> = log
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            (record["chain"]["number"].as_u64().unwrap(), record["chain"]["generation"].as_i64().unwrap())
        })
        .collect();
    assert_eq!(chain.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let generations: Vec<_> = chain.iter().map(|(_, generation)| *generation).collect();
    assert_eq!(generations, [0, 1, 2, 3, 4], "a change is recorded before it is made");
}

#[test]
fn aud_3_a_home_from_before_the_chain_begins_one_over_the_log_that_it_has() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/home-1");
    let fixture = Fixture { temp: tempfile::tempdir().unwrap() };
    fs::create_dir(fixture.home()).unwrap();
    fs::copy(format!("{golden}/keys.db"), fixture.database()).unwrap();
    let key_file = format!("{golden}/key-file");
    let bytes = fs::read(key_file).unwrap();
    fs::write(fixture.path("key-file"), bytes).unwrap();
    let old = "{\"eventName\":\"CreateKey\"}\n{\"eventName\":\"Encrypt\"}\n";
    fs::write(fixture.home().join("audit.log"), old).unwrap();
    let run = |arguments: &[&str]| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(fixture.path("key-file"), mode).unwrap();
        let mut command = fixture.command(arguments);
        command.env("KMSFS_KEY_FILE", fixture.path("key-file"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["kms", "list-keys"]);
    run(&["kms", "list-keys"]);
    let log = fs::read_to_string(fixture.home().join("audit.log")).unwrap();
    let names: Vec<_> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["eventName"].as_str().unwrap().to_owned())
        .collect();
    // The clock went on since that home was made.
    let names: Vec<_> = names.iter().filter(|name| *name != "ClockJumpFound").collect();
    assert_eq!(names, ["CreateKey", "Encrypt", "BeginAuditChain", "ListKeys", "ListKeys"]);
}

#[test]
fn aud_3_a_home_that_is_copied_as_a_whole_goes_on() {
    let fixture = Fixture::full();
    let copy = fixture.copy();
    let home = copy.open();
    call(&home, Operation::ListKeys, json!({}));
    assert!(is_fine(&home).notes.is_empty());
}

/// Names the home whose log lies on a small disk, and that disk, to [`in_small_space`].
const SMALL: &str = "KMSFS_TEST_SMALL";

/// In a process and a mount namespace of its own, started by the test below.
#[test]
fn in_small_space() {
    let Some(dir) = std::env::var_os(SMALL) else { return };
    let dir = std::path::PathBuf::from(dir);
    let home = Home::open(&dir.join("home")).unwrap();
    let id = home.keyring().unwrap().keys().next().unwrap().record.id.to_string();
    let list = || try_call(&home, Operation::ListKeys, json!({}));
    list().unwrap();
    let filler = dir.join("log/filler");
    let _ = fs::write(&filler, vec![0; 2 << 20]);
    let uses = (0..1000).take_while(|_| list().is_ok()).count();
    assert!((50..400).contains(&uses), "{uses} more: what was reserved");
    let error = list().unwrap_err();
    assert_eq!(error.cause, Cause::Audit);
    assert!(error.to_string().contains("audit.log: no storage space"), "{error}");
    let request = json!({"KeyId": "alias/hammered", "Plaintext": "aGVsbG8="});
    let given = try_call(&home, Operation::Encrypt, request).map(drop);
    assert_eq!(given.unwrap_err().cause, Cause::Audit, "nothing is given");
    for operation in [Operation::EnableKey, Operation::DisableKey] {
        call(&home, operation, json!({"KeyId": id}));
    }
    assert_eq!(home.keyring().unwrap().keys().next().unwrap().record.state.name(), "Disabled");
    is_fine(&home);
    fs::remove_file(filler).unwrap();
    list().unwrap();
    assert!(is_fine(&home).notes.is_empty());
    println!("as it should be");
}

#[test]
fn aud_3_without_space_nothing_is_given_and_a_key_can_still_be_disabled() {
    let fixture = home_with_key();
    fs::create_dir(fixture.path("log")).unwrap();
    let script = "set -e; cd \"$KMSFS_TEST_SMALL\"; mount -t tmpfs -o size=1m none log; \
                  for file in audit.log audit.head; do cp home/$file log/; mount --bind log/$file home/$file; done; \
                  exec \"$0\" audit::in_small_space --exact --nocapture";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(SMALL, fixture.temp.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("as it should be"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn aud_4_the_log_tells_who_used_a_key_last_and_who_was_refused_since_its_deletion_was_scheduled() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let id = new_key(&home, "a", "alias/a");
    let other = new_key(&home, "b", "alias/b");
    let [arn, never] =
        [&id, &other].map(|id| home.keyring().unwrap().namespace().key_arn(KeyId::parse(id).unwrap()));
    let encrypt = || try_call(&home, Operation::Encrypt, json!({"KeyId": id, "Plaintext": "aGVsbG8="}));
    encrypt().unwrap();
    call(&home, Operation::DescribeKey, json!({"KeyId": id}));
    call(&home, Operation::DisableKey, json!({"KeyId": id}));
    encrypt().unwrap_err();
    let of = || home.uses(&home.keyring().unwrap(), &[arn.clone(), never.clone()]).unwrap();
    let uses = &of()[&arn];
    let (used, refused) = (uses.used.as_ref().unwrap(), uses.refused.as_ref().unwrap());
    assert_eq!((used.operation.as_str(), used.error.as_deref()), ("Encrypt", None));
    assert_eq!(refused.error.as_deref(), Some("DisabledException"));
    assert!(used.event_id.len() == 36 && used.time < refused.time && used.principal.ends_with(":root"));
    assert_eq!((uses.times_refused, &uses.refused_since_scheduled), (0, &None), "it is not scheduled");
    let unused = &of()[&never];
    assert_eq!((&unused.used, &unused.refused, &unused.refused_since_scheduled), (&None, &None, &None));

    call(&home, Operation::ScheduleKeyDeletion, json!({"KeyId": id, "PendingWindowInDays": 7}));
    assert_eq!(of()[&arn].refused_since_scheduled, None, "a refusal from before");
    encrypt().unwrap_err();
    home.rotate_records(&home.caller(0, 1, kmsfs::kms::Via::Cli)).unwrap();
    encrypt().unwrap_err();
    let uses = &of()[&arn];
    let refused = uses.refused_since_scheduled.as_ref().unwrap();
    assert_eq!((refused.error.as_deref(), uses.times_refused), (Some("KMSInvalidStateException"), 2));
    assert_eq!(uses.used.as_ref().map(|used| &used.event_id), Some(&used.event_id));
    call(&home, Operation::CancelKeyDeletion, json!({"KeyId": id}));
    assert_eq!(of()[&arn].refused_since_scheduled, None);
}

#[test]
fn aud_1_who_follows_the_log_misses_nothing_when_it_is_rotated() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let caller = home.caller(0, 1, kmsfs::kms::Via::Cli);
    let stop = |_: &[u8]| std::ops::ControlFlow::Break(());
    let mut follower = home.log().each_backwards(stop, |_| std::ops::ControlFlow::Break(())).unwrap();
    assert!(follower.more().unwrap().is_empty());
    let mut numbers = Vec::new();
    for round in 0..12 {
        call(&home, Operation::ListKeys, json!({}));
        // Once, and twice before it is looked at again.
        (0..round % 3).for_each(|_| home.rotate_records(&caller).unwrap());
        call(&home, Operation::ListKeys, json!({}));
        let entries = follower.more().unwrap();
        assert!(entries.iter().all(|entry| entry.is_authentic));
        numbers.extend(entries.iter().map(|entry| entry.record["chain"]["number"].as_u64().unwrap()));
    }
    assert_eq!(numbers, (2..2 + numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!(is_fine(&home).records, 1 + numbers.len() as u64);
}
