//! The seeds of the fuzz target of rows are rows as this version writes them: a column that is new must not leave them behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kmsfs::store::rows::{self, Row, Table};
use kmsfs::store::slot::Slot;
use rusqlite::types::Value;

use self::input::Input;

#[path = "../../fuzz/src/input.rs"]
#[allow(dead_code)]
mod input;

/// As `fuzz/src/store.rs` reads one.
fn value(input: &mut Input<'_>) -> Value {
    match input.byte() {
        0 => Value::Null,
        1 => Value::Integer(input.long().cast_signed()),
        kind @ (3 | 4) => {
            let len = input.byte();
            let bytes = input.bytes(len.into()).to_vec();
            if kind == 3 { String::from_utf8(bytes).unwrap().into() } else { bytes.into() }
        }
        kind => panic!("no seed has a value of kind {kind}"),
    }
}

fn is_record(table: Table, row: &Row) -> bool {
    let row = &mut row.clone();
    rows::take_region(table, row);
    match table {
        Table::Meta => true,
        Table::Slots => Slot::of(row).is_ok(),
        Table::Keys => rows::key_record(row).is_some(),
        Table::Materials => rows::material_record(row).is_some(),
        Table::Aliases => rows::alias_record(row).is_some(),
        Table::Tombstones => rows::tombstone_record(row).is_some(),
        Table::Grants => rows::grant_record(row).is_some(),
        Table::Tags => rows::tag_record(row).is_some(),
        Table::Alarms => rows::alarm_record(row).is_some(),
        Table::Volumes => rows::volume_record(row).is_some(),
        Table::Credentials => rows::credential_record(row).is_some(),
    }
}

#[test]
fn every_row_of_a_seed_is_a_record_and_every_table_has_one() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/store_rows");
    let mut seen = BTreeSet::new();
    for seed in fs::read_dir(corpus).unwrap().map(|seed| seed.unwrap().path()) {
        let bytes = fs::read(&seed).unwrap();
        let mut input = Input(&bytes);
        while !input.is_empty() {
            let table = Table::ALL[usize::from(input.byte())];
            let row: Row = table.columns().iter().map(|_| value(&mut input)).collect();
            assert!(is_record(table, &row), "{}: a row of {}: {row:?}", seed.display(), table.name());
            seen.insert(table.name());
        }
    }
    assert_eq!(seen.len(), Table::ALL.len(), "{seen:?}");
}
