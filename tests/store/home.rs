//! What a home is made of: modes, secrets that are nowhere in the clear, and two setups at once.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;

use kmsfs::crypto::{aead, kdf};
use kmsfs::kms::Operation;
use kmsfs::store::{Home, HomeError, NewSlot, SetupOptions};
use rusqlite::types::Value;
use serde_json::json;

use crate::fixture::{Fixture, call, new_key, rows_of};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// All files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// How many files of the home hold `bytes`.
fn files_that_hold(fixture: &Fixture, bytes: &[u8]) -> usize {
    let holds = |path: &PathBuf| fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes);
    files(&fixture.home()).into_iter().filter(holds).count()
}

/// The sealed bytes of the only backing key.
fn sealed_material(fixture: &Fixture) -> Vec<u8> {
    match &rows_of(&fixture.connect(), "materials")[0][5] {
        Value::Blob(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_the_owner_reads_or_writes_anything_in_it() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    call(&home, Operation::CreateKey, json!({}));
    assert_eq!(mode(&fixture.home()), 0o700);
    assert_eq!(mode(home.run_dir()), 0o700);
    assert_eq!(mode(&fixture.path("key-file")), 0o600);
    let names: Vec<_> =
        files(&fixture.home()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    for name in ["keys.db", "keys.db-wal", "keys.db-shm", "audit.log"] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
        assert_eq!(mode(&fixture.home().join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_home_in_an_empty_directory_that_was_open_to_others_is_not() {
    let fixture = Fixture { temp: tempfile::tempdir().unwrap() };
    fs::create_dir(fixture.home()).unwrap();
    fs::set_permissions(fixture.home(), fs::Permissions::from_mode(0o755)).unwrap();
    fixture.setup().unwrap();
    assert_eq!(mode(&fixture.home()), 0o700);
}

#[test]
fn a_run_directory_that_a_backup_left_out_is_made_again() {
    let fixture = Fixture::empty();
    fs::remove_dir(fixture.home().join("run")).unwrap();
    let home = fixture.open();
    assert_eq!(mode(home.run_dir()), 0o700);
}

/// The root key and every backing key of a home, by the format that the documents give.
fn secrets(fixture: &Fixture) -> Vec<(String, Vec<u8>)> {
    let key_file = fs::read(fixture.path("key-file")).unwrap();
    let blob = |value: &Value| match value {
        Value::Blob(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    };
    let slot = &rows_of(&fixture.connect(), "slots")[0];
    let slot_key = kdf::derive(&key_file, &blob(&slot[3]), &[b"kmsfs slot key-file 1"]);
    let root = aead::open(&slot_key, b"kmsfs root key 1", &blob(&slot[4])).unwrap();
    let sealing = kdf::derive(&root, b"", &[b"kmsfs sealing 1"]);
    let mut secrets = vec![
        ("the key file".to_owned(), key_file),
        ("the slot's key".to_owned(), slot_key.expose().to_vec()),
        ("the root key".to_owned(), root.to_vec()),
        ("the sealing key".to_owned(), sealing.expose().to_vec()),
    ];
    for row in rows_of(&fixture.connect(), "materials") {
        let (Value::Text(id), Value::Text(key)) = (&row[0], &row[1]) else { panic!("{row:?}") };
        let key_id: Vec<u8> = unhex(&key.replace('-', ""));
        let associated = [b"kmsfs backing key v1".as_slice(), &key_id, &unhex(id)].concat();
        let material = aead::open(&sealing, &associated, &blob(&row[5])).unwrap();
        secrets.push((format!("a backing key of {key}"), material.to_vec()));
    }
    secrets
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn no_secret_is_anywhere_in_the_clear_while_it_is_used_or_afterwards() {
    use base64::Engine;
    let fixture = Fixture::full();
    let home = fixture.open();
    new_key(&home, "new", "alias/new");
    let request = json!({"KeyId": "alias/new", "Plaintext": "cGxhaW50ZXh0IG9mIGEgdGVzdA=="});
    let blob = call(&home, Operation::Encrypt, request)["CiphertextBlob"].clone();
    call(&home, Operation::Decrypt, json!({"CiphertextBlob": blob}));
    let mut secrets = secrets(&fixture);
    assert!(secrets.len() >= 9, "root, slot, sealing and five backing keys");
    secrets.push(("a plaintext".to_owned(), b"plaintext of a test".to_vec()));
    let search = || {
        for path in files(&fixture.home()) {
            let bytes = fs::read(&path).unwrap();
            for (name, secret) in &secrets {
                let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
                let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret);
                for form in [secret.as_slice(), hex.as_bytes(), base64.as_bytes()] {
                    let found = bytes.windows(form.len()).any(|window| window == form);
                    assert!(!found, "{name} in {}", path.display());
                }
            }
        }
    };
    search();
    drop(home);
    search();
}

#[test]
fn material_that_was_destroyed_is_in_no_file_not_even_sealed() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let key = new_key(&home, "doomed", "alias/doomed");
    let sealed = sealed_material(&fixture);
    let holds = || files_that_hold(&fixture, &sealed);
    assert!(holds() > 0);
    call(&home, Operation::ScheduleKeyDeletion, json!({"KeyId": key, "PendingWindowInDays": 7}));
    home.advance_clock(std::time::Duration::from_secs(8 * 86_400)).unwrap();
    call(&home, Operation::ListKeys, json!({}));
    assert_eq!(holds(), 0);
}

#[test]
fn material_that_a_reader_kept_in_the_log_goes_when_the_reader_has_ended() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let key = new_key(&home, "doomed", "alias/doomed");
    let sealed = sealed_material(&fixture);
    call(&home, Operation::ScheduleKeyDeletion, json!({"KeyId": key, "PendingWindowInDays": 7}));
    let reader = fixture.connect();
    reader.execute_batch("BEGIN").unwrap();
    rows_of(&reader, "materials");
    home.advance_clock(std::time::Duration::from_secs(8 * 86_400)).unwrap();
    // Whatever the command that destroys it answers, the key is destroyed for this process at once.
    let caller = home.caller(0, 0, kmsfs::kms::Via::Cli);
    let _ = home.kms().call(&caller, Operation::ListKeys, json!({}));
    let ring = home.keyring().unwrap();
    assert_eq!((ring.keys().count(), ring.tombstones().count()), (0, 1));
    assert!(files_that_hold(&fixture, &sealed) > 0, "the reader keeps them");
    reader.execute_batch("COMMIT").unwrap();
    call(&home, Operation::CreateKey, json!({}));
    assert_eq!(files_that_hold(&fixture, &sealed), 0);
}

#[test]
fn two_setups_at_once_make_one_home_that_opens() {
    for _ in 0..20 {
        let fixture = Fixture { temp: tempfile::tempdir().unwrap() };
        let outcomes = thread::scope(|scope| {
            let setups: Vec<_> = (0..4).map(|_| scope.spawn(|| fixture.setup().map(drop))).collect();
            setups.into_iter().map(|setup| setup.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert!(matches!(error, HomeError::AlreadyExists(_)), "{error:?}");
        }
        Home::open(&fixture.home()).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(fixture.temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["home", "key-file"]);
    }
}

#[test]
fn a_setup_that_fails_takes_no_key_file_that_another_sealed_its_home_for() {
    for _ in 0..12 {
        let temp = tempfile::tempdir().unwrap();
        // The name of a link that leads nowhere cannot be taken, which shows when all else is done.
        symlink("nowhere", temp.path().join("link")).unwrap();
        let setup = |home: &str| {
            let options = SetupOptions::new(vec![NewSlot::KeyFile(temp.path().join("key-file"))]);
            Home::setup(&temp.path().join(home), &options).map(drop)
        };
        thread::scope(|scope| {
            let fails = (0..2).map(|_| scope.spawn(|| setup("link"))).collect::<Vec<_>>();
            let works = scope.spawn(|| setup("home"));
            fails.into_iter().for_each(|setup| assert!(setup.join().unwrap().is_err()));
            works.join().unwrap().unwrap();
        });
        Home::open(&temp.path().join("home")).unwrap();
    }
}

#[test]
fn a_setup_that_fails_leaves_nothing_and_takes_no_key_file_that_was_there() {
    let temp = tempfile::tempdir().unwrap();
    let options = |key_file: PathBuf| SetupOptions::new(vec![NewSlot::KeyFile(key_file)]);
    let left = || {
        let mut names: Vec<_> =
            fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let short = temp.path().join("short");
    fs::write(&short, b"15 bytes of key").unwrap();
    fs::set_permissions(&short, fs::Permissions::from_mode(0o600)).unwrap();
    let dangling = temp.path().join("dangling");
    symlink(temp.path().join("nowhere"), &dangling).unwrap();
    let home = temp.path().join("home");
    for (key_file, home) in [
        (short.clone(), home.clone()),
        (dangling, home.clone()),
        (home.join("key-file"), home.clone()),
        (temp.path().join("absent/key-file"), home.clone()),
        (temp.path().join("key-file"), short.join("home")),
    ] {
        let error = Home::setup(&home, &options(key_file.clone())).unwrap_err();
        assert_eq!(left(), ["dangling", "short"], "{}: {error}", key_file.display());
    }
    assert_eq!(fs::read(&short).unwrap(), b"15 bytes of key");
}

#[test]
fn a_key_file_that_is_a_pipe_holds_nobody_up() {
    let fixture = Fixture::empty();
    let pipe = fixture.path("key-file");
    fs::remove_file(&pipe).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    let error = Home::open(&fixture.home()).unwrap_err();
    assert!(matches!(error, HomeError::KeyFileUnsuitable(..)), "{error}");
}

#[test]
fn a_home_named_by_a_link_or_a_dot_is_made_where_it_points() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("real")).unwrap();
    symlink(temp.path().join("real"), temp.path().join("link")).unwrap();
    let options = SetupOptions::new(vec![NewSlot::KeyFile(temp.path().join("key-file"))]);
    let home = Home::setup(&temp.path().join("link"), &options).unwrap();
    assert_eq!(home.dir(), temp.path().canonicalize().unwrap().join("real"));
    fs::create_dir(temp.path().join("dot")).unwrap();
    let home = Home::setup(&temp.path().join("dot/."), &options).unwrap();
    assert_eq!(home.dir(), temp.path().canonicalize().unwrap().join("dot"));
}
