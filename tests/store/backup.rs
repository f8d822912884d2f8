//! The home in one file: whole, sealed, taken while others change the home, and a home again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kmsfs::kms::Operation;
use kmsfs::store::{Home, HomeError, Key, KeyFiles, NewSlot};
use serde_json::{Value, json};

use crate::fixture::{Fixture, call, new_key, told};
use crate::keychain::{Given, caller, code, passphrase};

fn backup(fixture: &Fixture, name: &str) -> std::path::PathBuf {
    let home = fixture.open();
    let file = fixture.path(name);
    home.backup(&caller(&home), &file, false).unwrap();
    file
}

fn restore(fixture: &Fixture, name: &str, file: &Path) -> Result<Home, HomeError> {
    Home::restore(&fixture.path(name), file, Key::Keychain(&mut KeyFiles))
}

fn records(home: &Home) -> Vec<Value> {
    let log = fs::read_to_string(home.dir().join("audit.log")).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_backup_is_the_whole_home_and_a_restored_home_goes_on() {
    let fixture = Fixture::full();
    let home = fixture.open();
    let blob = call(&home, Operation::Encrypt, json!({"KeyId": "alias/used", "Plaintext": "aGVsbG8="}));
    let file = backup(&fixture, "backup");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(names(fixture.temp.path()), ["backup", "home", "key-file"], "and nothing beside it");
    let restored = restore(&fixture, "deep/restored", &file).unwrap();
    assert_eq!(told(&restored), told(&home));
    assert_eq!(restored.slots().unwrap(), home.slots().unwrap());
    let request = json!({"CiphertextBlob": blob["CiphertextBlob"]});
    assert_eq!(call(&restored, Operation::Decrypt, request)["Plaintext"], "aGVsbG8=");
    new_key(&restored, "later", "alias/later");
    let (before, after) = (records(&home), records(&restored));
    assert_eq!(after[..before.len()], before[..], "the log as it was");
    let names: Vec<_> = after[before.len() - 1..].iter().map(|record| &record["eventName"]).take(3).collect();
    assert_eq!(names, ["BackupHome", "BeginAuditChain", "RestoreHome"]);
    for home in [&home, &restored] {
        assert_eq!(home.verify_records().unwrap().bad, [], "{home:?}");
    }
    for name in ["", "run", "keys.db", "audit.log", "audit.head"] {
        let mode = |dir: &Path| fs::metadata(dir.join(name)).unwrap().mode();
        assert_eq!(mode(restored.dir()), mode(home.dir()), "{name:?}");
    }
    drop(restored);
    Home::open(&fixture.path("deep/restored")).unwrap();
}

#[test]
fn nothing_of_a_backup_is_read_without_a_slot_and_every_slot_of_then_reads_it() {
    let fixture = Fixture::full();
    let home = fixture.open();
    let code = code();
    home.add_slot(&caller(&home), &fixture.passphrase_slot("correct horse")).unwrap();
    home.add_slot(&caller(&home), &NewSlot::RecoveryCode(code.clone())).unwrap();
    let file = backup(&fixture, "backup");
    let bytes = fs::read(&file).unwrap();
    let ring = home.keyring().unwrap();
    let key = ring.keys().next().unwrap().record.id.to_string();
    for secret in ["alias/used", "leaving", "CreateKey", "eventName", "horse", key.as_str()] {
        assert!(
            !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
            "{secret} is in the backup"
        );
    }
    let expected = told(&home);
    let key_file = fixture.path("elsewhere");
    fs::rename(fixture.path("key-file"), &key_file).unwrap();
    let refused = restore(&fixture, "none", &file).unwrap_err();
    assert!(matches!(refused, HomeError::PassphraseMissing(Some(_))), "{refused}");
    assert!(!fixture.path("none").exists());
    let mut given = Given { key_file: Some(key_file), ..Given::default() };
    let by_key_file = Home::restore(&fixture.path("one"), &file, Key::Keychain(&mut given)).unwrap();
    let passphrases = vec![passphrase(fixture.temp.path(), "correct horse")];
    let mut given = Given { passphrases, ..Given::default() };
    let by_passphrase = Home::restore(&fixture.path("two"), &file, Key::Keychain(&mut given)).unwrap();
    let by_code = Home::restore(&fixture.path("three"), &file, Key::RecoveryCode(&code)).unwrap();
    for restored in [by_key_file, by_passphrase, by_code] {
        assert_eq!(told(&restored), expected);
    }
}

#[test]
fn a_backup_while_others_change_the_home_is_one_instant_of_it() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..2 {
            let (fixture, stop) = (&fixture, &stop);
            scope.spawn(move || {
                let home = fixture.open();
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    let name = format!("{writer}-{round}");
                    let id = new_key(&home, &name, &format!("alias/{name}"));
                    call(&home, Operation::RotateKeyOnDemand, json!({"KeyId": id}));
                    round += 1;
                }
            });
        }
        for round in 0..6 {
            thread::sleep(Duration::from_millis(30));
            let before = home.keyring().unwrap().keys().count();
            let file = backup(&fixture, &format!("backup-{round}"));
            let restored = restore(&fixture, &format!("restored-{round}"), &file).unwrap();
            let ring = restored.keyring().unwrap();
            assert!(ring.keys().count() >= before, "what was there before it began is in it");
            assert_eq!(ring.keys().map(|key| key.materials.is_empty()).filter(|is| *is).count(), 0);
            // No line is cut, and nothing is in the store that the log has not.
            let records = records(&restored);
            let made = records.iter().filter(|record| record["eventName"] == "CreateKey").count();
            assert!(made >= ring.keys().count(), "{made} recorded");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn the_torn_line_that_a_killed_writer_left_is_not_in_the_backup() {
    let fixture = Fixture::empty();
    new_key(&fixture.open(), "a", "alias/a");
    let log = fixture.home().join("audit.log");
    let mut torn = fs::read(&log).unwrap();
    torn.extend_from_slice(b"{\"torn\":");
    fs::write(&log, torn).unwrap();
    let file = backup(&fixture, "backup");
    let restored = restore(&fixture, "restored", &file).unwrap();
    let log = fs::read_to_string(restored.dir().join("audit.log")).unwrap();
    assert!(log.ends_with('\n'));
    let whole = log.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
    assert_eq!(
        (whole, log.lines().count()),
        (7, 8),
        "the torn line is closed before the record of the backup"
    );
    assert_eq!(restored.verify_records().unwrap().bad, []);
}

#[test]
fn a_backup_that_was_altered_or_cut_anywhere_is_refused_and_restores_nothing() {
    let fixture = Fixture::full();
    let file = backup(&fixture, "backup");
    let pristine = fs::read(&file).unwrap();
    let altered = fixture.path("altered");
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&altered, bytes).unwrap();
        let error = restore(&fixture, "restored", &altered).map(|_| ()).expect_err(what);
        assert!(
            matches!(
                error,
                HomeError::BackupDamaged(..)
                    | HomeError::NewerFormat { .. }
                    | HomeError::Tampered(_)
                    | HomeError::KeyFileMissing(_)
                    | HomeError::KeyFileWrong(_)
                    | HomeError::KeyFileUnsuitable(..)
                    | HomeError::Io(..)
            ),
            "{what}: {error:?}"
        );
        assert!(!fixture.path("restored").exists(), "{what}");
    };
    for place in (0..pristine.len()).step_by(113) {
        let mut bytes = pristine.clone();
        bytes[place] ^= 1 << (place % 8);
        refused(&bytes, &format!("a flip at {place}"));
    }
    for len in (0..pristine.len()).step_by(331).chain([pristine.len() - 1]) {
        refused(&pristine[..len], &format!("{len} of {} bytes", pristine.len()));
    }
    refused(&[pristine.as_slice(), b"x"].concat(), "a byte appended");
    refused(b"no backup", "something else");
    refused(&pristine.repeat(2), "two of them");
    let newer = String::from_utf8_lossy(&pristine).replacen("\"version\":1", "\"version\":2", 1);
    refused(newer.as_bytes(), "a newer version");
    assert_eq!(names(fixture.temp.path()), ["altered", "backup", "home", "key-file"]);
}

#[test]
fn slots_or_chunks_of_another_backup_are_refused() {
    let fixture = Fixture::empty();
    let (one, two) = (backup(&fixture, "one"), backup(&fixture, "two"));
    let parts = |file: &Path| {
        let bytes = fs::read(file).unwrap();
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        (bytes[..end].to_vec(), bytes[end..].to_vec())
    };
    let mixed = fixture.path("mixed");
    fs::write(&mixed, [parts(&one).0, parts(&two).1].concat()).unwrap();
    assert!(matches!(restore(&fixture, "restored", &mixed), Err(HomeError::BackupDamaged(..))));
}

#[test]
fn a_backup_takes_no_place_that_is_taken_and_a_restored_home_neither() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let file = fixture.path("file");
    fs::write(&file, "precious").unwrap();
    fs::create_dir(fixture.path("dir")).unwrap();
    std::os::unix::fs::symlink("file", fixture.path("link")).unwrap();
    for (name, replace) in [("file", false), ("dir", false), ("dir", true), ("link", false), ("link", true)] {
        let error = home.backup(&caller(&home), &fixture.path(name), replace).unwrap_err();
        assert!(matches!(error, HomeError::BackupExists(_)), "{name}: {error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    home.backup(&caller(&home), &file, true).unwrap();
    let error = home.backup(&caller(&home), &fixture.path("absent/file"), false).unwrap_err();
    assert!(matches!(error, HomeError::Io(..)), "{error}");
    assert_eq!(names(fixture.temp.path()), ["dir", "file", "home", "key-file", "link"]);
    assert!(matches!(restore(&fixture, "home", &file), Err(HomeError::AlreadyExists(_))));
    fs::write(fixture.path("dir/x"), "").unwrap();
    assert!(matches!(restore(&fixture, "dir", &file), Err(HomeError::NotEmpty(_))));
    fs::remove_file(fixture.path("dir/x")).unwrap();
    restore(&fixture, "dir", &file).unwrap();
}

/// What a backup of pages would keep in their unused parts.
#[test]
fn a_backup_never_takes_the_place_of_the_home_or_of_what_unlocks_it() {
    let fixture = Fixture::full();
    let home = fixture.open();
    for file in [fixture.database(), fixture.home().join("audit.log"), fixture.path("key-file")] {
        assert!(home.backup(&caller(&home), &file, true).is_err(), "{}", file.display());
    }
    drop(home);
    fixture.open();
}

#[test]
fn what_was_destroyed_before_the_backup_is_not_in_it() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let key = new_key(&home, "doomed", "alias/doomed");
    let sealed = match &crate::fixture::rows_of(&fixture.connect(), "materials")[0][5] {
        rusqlite::types::Value::Blob(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    };
    let early = backup(&fixture, "early");
    call(&home, Operation::ScheduleKeyDeletion, json!({"KeyId": key, "PendingWindowInDays": 7}));
    home.advance_clock(Duration::from_secs(8 * 86_400)).unwrap();
    call(&home, Operation::ListKeys, json!({}));
    let late = backup(&fixture, "late");
    let holds = |name: &str, file: &Path| {
        drop(restore(&fixture, name, file).unwrap());
        let database = fs::read(fixture.path(name).join("keys.db")).unwrap();
        database.windows(sealed.len()).any(|window| window == sealed)
    };
    assert!(holds("old", &early), "an older backup brings it back, as the documents say");
    assert!(!holds("new", &late));
}

#[test]
fn a_backup_that_is_killed_leaves_no_file_or_a_whole_one() {
    let fixture = Fixture::full();
    // Some megabytes of log, so that there is a middle to be killed in.
    let log = fixture.home().join("audit.log");
    let lines = fs::read(&log).unwrap().repeat(600);
    fs::write(&log, lines).unwrap();
    let usual = {
        let started = std::time::Instant::now();
        let file = fixture.path("usual");
        assert!(fixture.command(&["home", "backup", file.to_str().unwrap()]).status().unwrap().success());
        started.elapsed()
    };
    let mut killed = 0;
    for round in 0..24 {
        let file = fixture.path(&format!("backup-{round}"));
        let mut child = fixture.command(&["home", "backup", file.to_str().unwrap()]);
        let mut child = child.stdout(std::process::Stdio::null()).spawn().unwrap();
        thread::sleep(usual * round / 20);
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        if file.exists() {
            drop(restore(&fixture, &format!("restored-{round}"), &file).unwrap());
        }
    }
    assert!(killed > 0, "some were killed");
    let left = fs::read_dir(fixture.temp.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");
    fixture.open();
}

#[test]
fn restores_that_are_killed_leave_no_home_or_a_whole_one() {
    let fixture = Fixture::full();
    let file = backup(&fixture, "backup");
    let restored = fixture.path("restored");
    let run = || {
        let arguments = ["--home", restored.to_str().unwrap(), "home", "restore", file.to_str().unwrap()];
        let mut command = fixture.command(&arguments);
        command.stdout(std::process::Stdio::null());
        command
    };
    let started = std::time::Instant::now();
    assert!(run().status().unwrap().success());
    let usual = started.elapsed();
    for round in 0..20 {
        fs::remove_dir_all(&restored).unwrap();
        let mut child = run().spawn().unwrap();
        thread::sleep(usual * round / 16);
        child.kill().unwrap();
        child.wait().unwrap();
        if !restored.exists() {
            assert!(run().status().unwrap().success(), "a second attempt works");
        }
        Home::open(&restored).unwrap();
    }
}
