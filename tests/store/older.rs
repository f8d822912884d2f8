//! An older copy of the database, put back behind a process that is using it.

use std::fs;

use kmsfs::kms::{Cause, Operation};
use kmsfs::store::Home;
use serde_json::json;

use crate::fixture::{Fixture, TABLES, call, put, rows_of, try_call};

/// A home in use by two processes' worth of handles, and its database as it was before the last changes.
struct InUse {
    fixture: Fixture,
    home: Home,
    old: Fixture,
}

impl InUse {
    fn new() -> Self {
        let fixture = Fixture::full();
        let old = fixture.copy();
        let home = fixture.open();
        let ring = home.keyring().unwrap();
        let used = ring.keys().find(|key| key.record.description == "used").unwrap().record.id;
        call(&home, Operation::DisableKey, json!({"KeyId": used.to_string()}));
        Self { fixture, home, old }
    }

    /// Neither obeyed nor built upon.
    fn refuses(&self) {
        let read = self.home.keyring().map(|_| ()).unwrap_err();
        assert!(read.to_string().contains("tampered"), "{read}");
        let request = json!({"KeyId": "alias/used", "Plaintext": "aGVsbG8="});
        for (operation, request) in [(Operation::CreateKey, json!({})), (Operation::Encrypt, request)] {
            let error = try_call(&self.home, operation, request).unwrap_err();
            assert_eq!(error.cause, Cause::Tampered, "{error}");
        }
    }
}

#[test]
fn rows_of_an_older_copy_are_noticed_by_a_process_that_saw_later_ones() {
    let in_use = InUse::new();
    let mut attacker = in_use.fixture.connect();
    let transaction = attacker.transaction().unwrap();
    for table in TABLES {
        transaction.execute(&format!("DELETE FROM {table}"), []).unwrap();
        rows_of(&in_use.old.connect(), table).iter().for_each(|row| put(&transaction, table, row));
    }
    transaction.commit().unwrap();
    in_use.refuses();
}

#[test]
fn a_file_that_takes_the_place_of_the_database_is_noticed() {
    let in_use = InUse::new();
    let beside = in_use.fixture.home().join("old.db");
    fs::copy(in_use.old.database(), &beside).unwrap();
    fs::rename(&beside, in_use.fixture.database()).unwrap();
    in_use.refuses();
}

#[test]
fn a_database_that_was_removed_is_noticed() {
    let in_use = InUse::new();
    fs::remove_file(in_use.fixture.database()).unwrap();
    in_use.refuses();
}

#[test]
fn an_older_copy_written_over_the_database_is_noticed() {
    let in_use = InUse::new();
    // Into the file itself, with an empty log: what a restored backup looks like.
    let checkpoint = in_use.fixture.connect();
    checkpoint.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(checkpoint);
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(in_use.fixture.database(), fs::read(in_use.old.database()).unwrap()).unwrap();
    in_use.refuses();
}
