//! A database file that was cut or whose bytes were flipped is refused, or still says what it said.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kmsfs::kms::Operation;
use kmsfs::store::{Home, HomeError};
use serde_json::{Value, json};

use crate::fixture::{Fixture, call, refused_as_spoilt, told, try_call};

/// A home, what it says, and what its keys have encrypted.
struct Witness {
    fixture: Fixture,
    pristine: Vec<u8>,
    told: String,
    blobs: Vec<Value>,
}

impl Witness {
    fn new() -> Self {
        let fixture = Fixture::full();
        let home = fixture.open();
        let encrypt = || {
            call(&home, Operation::Encrypt, json!({"KeyId": "alias/used", "Plaintext": "aGVsbG8="}))
                ["CiphertextBlob"]
                .clone()
        };
        let mut blobs = vec![encrypt()];
        call(&home, Operation::RotateKeyOnDemand, json!({"KeyId": key_of(&home)}));
        blobs.push(encrypt());
        let told = told(&home);
        drop(home);
        let pristine = fs::read(fixture.database()).unwrap();
        Self { fixture, pristine, told, blobs }
    }

    /// Opens a spoilt file: whether it is refused as such. What opens says and does exactly what it did.
    fn is_refused(&self, bytes: &[u8], what: &str) -> bool {
        fs::write(self.fixture.database(), bytes).unwrap();
        for ending in ["-wal", "-shm"] {
            let _ = fs::remove_file(self.fixture.home().join(format!("keys.db{ending}")));
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| Home::open(&self.fixture.home())));
        let home = match outcome.unwrap_or_else(|_| panic!("{what}: it panicked")) {
            Ok(home) => home,
            Err(error) => {
                assert!(is_spoilt(&error), "{what}: {error:?}");
                return true;
            }
        };
        assert_eq!(told(&home), self.told, "{what}: another keyring");
        for blob in &self.blobs {
            let answer = call(&home, Operation::Decrypt, json!({"CiphertextBlob": blob}));
            assert_eq!(answer["Plaintext"], "aGVsbG8=", "{what}");
        }
        // A change is made and stays, or is refused; what is there afterwards is one of the two, or refused.
        let made = try_call(&home, Operation::CreateKey, json!({"Description": "later"}));
        drop(home);
        match Home::open(&self.fixture.home()) {
            Ok(home) => {
                let ring = home.keyring().unwrap();
                let later = ring.keys().filter(|key| key.record.description == "later").count();
                assert_eq!(later, usize::from(made.is_ok()), "{what}: a change");
            }
            Err(error) => assert!(is_spoilt(&error), "{what}: {error:?}"),
        }
        false
    }
}

fn key_of(home: &Home) -> String {
    let ring = home.keyring().unwrap();
    ring.keys().find(|key| key.record.description == "used").unwrap().record.id.to_string()
}

/// A flipped slot is refused when it does not unlock, before anything can be authenticated.
fn is_spoilt(error: &HomeError) -> bool {
    matches!(
        error,
        HomeError::Tampered(_)
            | HomeError::Corrupted(..)
            | HomeError::NewerFormat { .. }
            | HomeError::KeyFileWrong(_)
            | HomeError::KeyFileMissing(_)
            | HomeError::KeyFileUnsuitable(..)
    )
}

/// Numbers that look random and are the same in each run, so that a failure can be looked at.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed | 1;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state)
    })
}

#[test]
fn random_flips_anywhere_are_refused_or_change_nothing() {
    let witness = Witness::new();
    let mut numbers = numbers(20_261_124);
    let mut refused = 0;
    for round in 0..400 {
        let mut bytes = witness.pristine.clone();
        let flips = if round % 4 == 0 { 8 } else { 1 };
        let mut at = Vec::new();
        for (place, bit) in (0..flips).map(|_| (numbers.next().unwrap(), numbers.next().unwrap())) {
            let place = place as usize % bytes.len();
            bytes[place] ^= 1 << (bit % 8);
            at.push(place);
        }
        refused += usize::from(witness.is_refused(&bytes, &format!("flips at {at:?}")));
    }
    assert!(refused > 20, "{refused} flips hit something");
}

#[test]
fn a_flip_of_any_bit_of_the_file_header_is_refused_or_changes_nothing() {
    let witness = Witness::new();
    for place in 0..100 {
        for bit in 0..8 {
            let mut bytes = witness.pristine.clone();
            bytes[place] ^= 1 << bit;
            witness.is_refused(&bytes, &format!("bit {bit} of byte {place}"));
        }
    }
}

#[test]
fn a_file_that_was_cut_anywhere_is_refused() {
    let fixture = Fixture::full();
    let pristine = fs::read(fixture.database()).unwrap();
    let page = 4096;
    let pages = (0..pristine.len() / page).map(|count| count * page);
    for len in pages.chain([1, 15, 16, 99, 100, 4095, 4097]) {
        fs::write(fixture.database(), &pristine[..len]).unwrap();
        refused_as_spoilt(&fixture, &format!("{len} of {} bytes", pristine.len()));
    }
}

/// SQLite reads zeros behind the end: where the last byte was zero, nothing is missing.
#[test]
fn a_file_whose_last_byte_was_cut_is_refused_or_says_what_it_said() {
    let witness = Witness::new();
    let cut = &witness.pristine[..witness.pristine.len() - 1];
    witness.is_refused(cut, "all but the last byte");
}

#[test]
fn a_file_of_something_else_is_refused_and_left_as_it_is() {
    let fixture = Fixture::full();
    let text = b"This is no database. ".repeat(1000);
    for other in [text.as_slice(), &[0; 8192], &[0xff; 8192], b""] {
        fs::write(fixture.database(), other).unwrap();
        refused_as_spoilt(&fixture, "a file of something else");
        assert_eq!(fs::read(fixture.database()).unwrap(), other, "left as it is");
    }
}
