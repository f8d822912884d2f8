//! Slots of a real home: what opens it, what no longer does, and what an altered slot can do.

use std::fs;

use kmsfs::kms::Operation;
use kmsfs::store::slot::SlotKind;
use kmsfs::store::{Home, HomeError, Key, NewSlot};
use rusqlite::params;
use rusqlite::types::Value;
use serde_json::json;

use crate::fixture::{Fixture, call, new_key, refusal, rows_of, told};
use crate::keychain::{Given, caller, cheap, code, passphrase};

fn numbers(home: &Home) -> Vec<i64> {
    home.slots().unwrap().iter().map(|slot| slot.id).collect()
}

/// The sealed root key of a slot, as it stands in the database.
fn sealed(fixture: &Fixture, slot: i64) -> Vec<u8> {
    let row = rows_of(&fixture.connect(), "slots").into_iter().find(|row| row[0] == Value::Integer(slot));
    match row.unwrap().swap_remove(4) {
        Value::Blob(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

/// Whether bytes are in any file of the home.
fn is_left(fixture: &Fixture, bytes: &[u8]) -> bool {
    let files = fs::read_dir(fixture.home()).unwrap().map(|entry| entry.unwrap().path());
    let mut files = files.filter(|path| path.is_file());
    files.any(|path| fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes))
}

#[test]
fn each_slot_opens_the_same_home_and_what_another_slot_takes_does_not_matter() {
    let fixture = Fixture::full();
    let home = fixture.open();
    let code = code();
    for new in [fixture.passphrase_slot("correct horse"), NewSlot::RecoveryCode(code.clone())] {
        home.add_slot(&caller(&home), &new).unwrap();
    }
    home.add_slot(&caller(&home), &NewSlot::KeyFile(fixture.path("second-key"))).unwrap();
    assert_eq!(numbers(&home), [1, 2, 3, 4]);
    let before = told(&home);
    drop(home);
    assert_eq!(told(&fixture.open()), before);
    fs::remove_file(fixture.path("key-file")).unwrap();
    assert_eq!(told(&fixture.open()), before, "by the second key file");
    fs::remove_file(fixture.path("second-key")).unwrap();
    assert!(matches!(refusal(&fixture, "no secret"), HomeError::PassphraseMissing(Some(_))));
    assert_eq!(told(&fixture.open_with_passphrases(&["correct horse"]).unwrap()), before);
    assert_eq!(told(&Home::open_with(&fixture.home(), Key::RecoveryCode(&code)).unwrap()), before);
}

#[test]
fn a_passphrase_is_asked_for_only_where_no_key_file_fits_and_again_until_it_fits() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    home.add_slot(&caller(&home), &fixture.passphrase_slot("second")).unwrap();
    drop(home);
    let passphrases =
        || ["first", "second", "third"].map(|text| passphrase(fixture.temp.path(), text)).to_vec();
    let mut given = Given { passphrases: passphrases(), ..Given::default() };
    Home::open_with(&fixture.home(), Key::Keychain(&mut given)).unwrap();
    assert_eq!(given.asked, 0, "the key file is there");
    fs::rename(fixture.path("key-file"), fixture.path("elsewhere")).unwrap();
    Home::open_with(&fixture.home(), Key::Keychain(&mut given)).unwrap();
    assert_eq!(given.asked, 2);
    let error = fixture.open_with_passphrases(&["Second", "secon", " second"]).unwrap_err();
    assert!(matches!(error, HomeError::PassphraseWrong), "{error}");
}

#[test]
fn a_key_file_that_is_given_takes_the_place_of_those_that_the_slots_name() {
    let fixture = Fixture::empty();
    fs::rename(fixture.path("key-file"), fixture.path("moved")).unwrap();
    assert!(matches!(refusal(&fixture, "a moved key file"), HomeError::KeyFileMissing(_)));
    let home = fixture.open_with_key_file(&fixture.path("moved")).unwrap();
    home.change_slot(&caller(&home), 1, &NewSlot::KeyFile(fixture.path("moved"))).unwrap();
    drop(home);
    fixture.open();
    let another = fixture.path("another");
    let home = fixture.open();
    home.add_slot(&caller(&home), &NewSlot::KeyFile(another.clone())).unwrap();
    home.remove_slot(&caller(&home), 2).unwrap();
    let error = fixture.open_with_key_file(&another).unwrap_err();
    assert!(matches!(error, HomeError::KeyFileWrong(_)), "{error}");
}

#[test]
fn the_last_slot_stays_and_a_slot_that_is_not_there_is_named() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    assert!(matches!(home.remove_slot(&caller(&home), 1), Err(HomeError::LastSlot(1))));
    for id in [0, 2, -1, i64::MAX] {
        assert!(matches!(home.remove_slot(&caller(&home), id), Err(HomeError::NoSuchSlot(_))));
        let changed = home.change_slot(&caller(&home), id, &fixture.passphrase_slot("x"));
        assert!(matches!(changed, Err(HomeError::NoSuchSlot(_))));
    }
    home.add_slot(&caller(&home), &NewSlot::RecoveryCode(code())).unwrap();
    home.remove_slot(&caller(&home), 1).unwrap();
    assert!(matches!(home.remove_slot(&caller(&home), 2), Err(HomeError::LastSlot(2))));
    assert!(matches!(refusal(&fixture, "a recovery code only"), HomeError::RecoveryCodeMissing));
}

#[test]
fn two_processes_that_remove_the_last_two_slots_at_once_leave_one() {
    for _ in 0..8 {
        let fixture = Fixture::empty();
        let homes = [fixture.open(), fixture.open()];
        homes[0].add_slot(&caller(&homes[0]), &fixture.passphrase_slot("second")).unwrap();
        let outcomes = std::thread::scope(|scope| {
            let removals = homes.iter().zip([1, 2]);
            let removals =
                removals.map(|(home, id)| scope.spawn(move || home.remove_slot(&caller(home), id).map(drop)));
            removals
                .collect::<Vec<_>>()
                .into_iter()
                .map(|removal| removal.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert_eq!(numbers(&homes[0]).len(), 1);
    }
}

#[test]
fn a_changed_or_removed_slot_opens_no_more_and_its_sealed_bytes_are_in_no_file() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    home.add_slot(&caller(&home), &fixture.passphrase_slot("first")).unwrap();
    home.add_slot(&caller(&home), &fixture.passphrase_slot("third")).unwrap();
    let (changed, removed) = (sealed(&fixture, 2), sealed(&fixture, 3));
    assert!(is_left(&fixture, &changed) && is_left(&fixture, &removed), "the search finds what is there");
    home.change_slot(&caller(&home), 2, &fixture.passphrase_slot("second")).unwrap();
    assert!(!is_left(&fixture, &changed));
    home.remove_slot(&caller(&home), 3).unwrap();
    assert!(!is_left(&fixture, &removed));
    drop(home);
    fs::rename(fixture.path("key-file"), fixture.path("elsewhere")).unwrap();
    let error = fixture.open_with_passphrases(&["first", "third"]).unwrap_err();
    assert!(matches!(error, HomeError::PassphraseWrong), "{error}");
    fixture.open_with_passphrases(&["second"]).unwrap();
}

#[test]
fn sealed_bytes_that_a_reader_kept_in_the_log_go_when_the_reader_has_ended() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    home.add_slot(&caller(&home), &fixture.passphrase_slot("first")).unwrap();
    let old = sealed(&fixture, 2);
    let reader = fixture.connect();
    reader.execute_batch("BEGIN").unwrap();
    rows_of(&reader, "slots");
    home.remove_slot(&caller(&home), 2).unwrap();
    assert_eq!(numbers(&home), [1]);
    assert!(is_left(&fixture, &old), "the reader keeps them");
    reader.execute_batch("COMMIT").unwrap();
    call(&home, Operation::ListKeys, json!({}));
    assert!(!is_left(&fixture, &old));
}

#[test]
fn a_slot_put_back_after_it_was_removed_or_changed_is_refused() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    home.add_slot(&caller(&home), &fixture.passphrase_slot("first")).unwrap();
    let old = rows_of(&fixture.connect(), "slots").swap_remove(1);
    for change in ["remove", "change"] {
        match change {
            "remove" => drop(home.remove_slot(&caller(&home), 2).unwrap()),
            _ => {
                home.add_slot(&caller(&home), &fixture.passphrase_slot("second")).unwrap();
            }
        }
        let copy = fixture.copy();
        crate::fixture::put(&copy.connect(), "slots", &old);
        crate::fixture::refused_as_spoilt(&copy, change);
        fs::copy(fixture.path("key-file"), copy.path("key-file")).unwrap();
    }
}

/// No allocation of 100 GiB, no hour of work: the row is refused for what it asks.
#[test]
fn a_slot_that_asks_for_more_than_a_machine_has_is_refused_at_once() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    home.add_slot(&caller(&home), &fixture.passphrase_slot("first")).unwrap();
    home.remove_slot(&caller(&home), 1).unwrap();
    drop(home);
    for cost in [
        "argon2id,v=19,m=104857600,t=1,p=1",
        "argon2id,v=19,m=8192,t=4294967295,p=1",
        "argon2id,v=19,m=4194304,t=10000,p=1",
        "argon2id,v=19,m=8192,t=1,p=4294967295",
        "argon2d,v=19,m=8192,t=1,p=1",
    ] {
        let sql = "UPDATE slots SET parameters = ?1 WHERE id = 2";
        fixture.connect().execute(sql, params![cost.as_bytes()]).unwrap();
        let error = fixture.open_with_passphrases(&["first"]).unwrap_err();
        assert!(matches!(&error, HomeError::Tampered(why) if why.contains("slot 2")), "{cost}: {error}");
    }
}

#[test]
fn a_cheaper_cost_written_into_a_slot_opens_nothing_and_with_a_key_file_it_is_found() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    home.add_slot(&caller(&home), &fixture.passphrase_slot("first")).unwrap();
    drop(home);
    let sql = "UPDATE slots SET parameters = ?1 WHERE id = 2";
    fixture.connect().execute(sql, params![b"argon2id,v=19,m=8192,t=2,p=1"]).unwrap();
    crate::fixture::refused_as_spoilt(&fixture, "another cost");
    fs::remove_file(fixture.path("key-file")).unwrap();
    let error = fixture.open_with_passphrases(&["first"]).unwrap_err();
    assert!(matches!(error, HomeError::PassphraseWrong), "{error}");
}

#[test]
fn a_slot_tells_its_kind_its_cost_and_when_it_was_made() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let before = home.now().unwrap();
    let slot = home.add_slot(&caller(&home), &fixture.passphrase_slot("first")).unwrap();
    assert_eq!((slot.id, &slot.kind), (2, &SlotKind::Passphrase(cheap())));
    assert!(slot.made.is_some_and(|made| made >= before && made <= home.now().unwrap()));
    let path = fixture.path("key-file").canonicalize().unwrap();
    assert_eq!(home.slot(1).unwrap().kind, SlotKind::KeyFile(path));
    assert_eq!(fixture.open().slots().unwrap(), home.slots().unwrap(), "for every process");
}

#[test]
fn aud_1_each_change_of_a_slot_is_recorded_and_one_that_is_refused_changes_nothing() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    home.add_slot(&caller(&home), &fixture.passphrase_slot("correct horse")).unwrap();
    home.change_slot(&caller(&home), 2, &NewSlot::RecoveryCode(code())).unwrap();
    home.remove_slot(&caller(&home), 2).unwrap();
    assert!(home.remove_slot(&caller(&home), 1).is_err());
    let log = fs::read_to_string(fixture.home().join("audit.log")).unwrap();
    // The first record begins the chain.
    let events: Vec<serde_json::Value> =
        log.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> =
        events.iter().map(|event| (&event["eventName"], &event["requestParameters"])).collect();
    let passphrase = json!({"slot": 2, "kind": "passphrase"});
    let recovery = json!({"slot": 2, "kind": "recovery-code"});
    assert_eq!(
        told,
        [
            (&json!("AddUnlockSlot"), &passphrase),
            (&json!("ChangeUnlockSlot"), &recovery),
            (&json!("RemoveUnlockSlot"), &recovery)
        ]
    );
    assert!(events.iter().all(|event| event["userIdentity"]["type"] == "Root" && event["readOnly"] == false));
    assert!(!log.contains("horse"));
}

#[test]
fn what_cannot_be_recorded_is_not_done() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let log = fixture.home().join("audit.log");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    let new = NewSlot::KeyFile(fixture.path("second-key"));
    assert!(matches!(home.add_slot(&caller(&home), &new), Err(HomeError::Audit(_))));
    assert_eq!(numbers(&home), [1]);
    assert!(!fixture.path("second-key").exists(), "no key file for a slot that is not there");
}

#[test]
fn a_home_has_room_for_64_slots() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    for _ in 1..64 {
        home.add_slot(&caller(&home), &NewSlot::RecoveryCode(code())).unwrap();
    }
    let error = home.add_slot(&caller(&home), &NewSlot::RecoveryCode(code())).unwrap_err();
    assert!(matches!(error, HomeError::TooManySlots), "{error}");
    drop(home);
    // Each could cost an attempt at a passphrase: no more than these are tried.
    let connection = fixture.connect();
    let mut row = rows_of(&connection, "slots").swap_remove(0);
    row[0] = Value::Integer(65);
    crate::fixture::put(&connection, "slots", &row);
    assert!(matches!(refusal(&fixture, "65 slots"), HomeError::Tampered(why) if why.contains("65 slots")));
}

/// What the first version made: no dates of slots, and MACs without them.
#[test]
fn a_home_of_the_first_version_opens_and_its_slot_can_be_changed() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture { temp: tempfile::tempdir().unwrap() };
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/home-1");
    fs::create_dir(fixture.home()).unwrap();
    fs::copy(golden.join("keys.db"), fixture.database()).unwrap();
    fs::copy(golden.join("key-file"), fixture.path("key-file")).unwrap();
    fs::set_permissions(fixture.path("key-file"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(fixture.database(), fs::Permissions::from_mode(0o600)).unwrap();
    let home = fixture.open_with_key_file(&fixture.path("key-file")).unwrap();
    let blob = fs::read_to_string(golden.join("ciphertext")).unwrap();
    let answer = call(&home, Operation::Decrypt, json!({"CiphertextBlob": blob.trim()}));
    assert_eq!(answer["Plaintext"], "d3JpdHRlbiBieSB0aGUgZmlyc3QgdmVyc2lvbg==");
    let slot = home.slot(1).unwrap();
    assert_eq!((&slot.kind, slot.made), (&SlotKind::KeyFile("/home/me/key-file".into()), None));
    new_key(&home, "new", "alias/new");
    home.change_slot(&caller(&home), 1, &NewSlot::KeyFile(fixture.path("key-file"))).unwrap();
    assert!(home.slot(1).unwrap().made.is_some());
    drop(home);
    assert_eq!(fixture.open().keyring().unwrap().keys().count(), 3);
    // From then on the tables that came later are authenticated like the others, empty as they are.
    fixture.connect().execute("DELETE FROM heads WHERE name = 'grants'", []).unwrap();
    assert!(matches!(refusal(&fixture, "a later head removed"), HomeError::Tampered(_)));
}
