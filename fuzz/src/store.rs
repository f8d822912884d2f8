//! Rows of the key store.

use kmsfs::store::rows::{self, Row, Table};
use kmsfs::store::slot::{SLOTS_MAX, Slot};
use kmsfs::store::{StoredRow, build};
use rusqlite::types::Value;

use crate::input::Input;

/// A row is a record, and that record this row, or it is none; and any rows together make a keyring or an error.
pub fn rows(data: &[u8]) {
    let mut input = Input(data);
    let mut stored: Vec<(Table, Vec<StoredRow>)> =
        Table::ALL.iter().map(|table| (*table, Vec::new())).collect();
    for (name, value) in [("home", "h"), ("account", "000000000000"), ("region", "r")] {
        stored[0].1.push((rows::meta_row(name, value.to_owned().into()), Vec::new()));
    }
    stored[0].1.push((rows::meta_row("latest", 1_i64.into()), Vec::new()));
    while !input.is_empty() {
        let table = usize::from(input.byte()) % Table::ALL.len();
        let columns = Table::ALL[table].columns().len();
        let row: Row = (0..columns).map(|_| value(&mut input)).collect();
        check(Table::ALL[table], &row);
        check_region(Table::ALL[table], &row);
        stored[table].1.push((row, Vec::new()));
    }
    let all_are_records =
        stored.iter().all(|(table, rows)| rows.iter().all(|(row, _)| is_record(*table, row)));
    let too_many = stored.iter().any(|(table, rows)| *table == Table::Slots && rows.len() > SLOTS_MAX);
    // Related keys have one primary among them; rows that say otherwise make no keyring.
    let are_related =
        |(table, rows): &(Table, Vec<StoredRow>)| *table == Table::Keys && rows.iter().any(is_related);
    let built = build(&stored);
    let may_fail = !all_are_records || too_many || stored.iter().any(are_related);
    assert!(may_fail || built.is_ok(), "{built:?}");
}

/// Whether a row of a CMK says that it is one of several related ones.
fn is_related((row, _): &StoredRow) -> bool {
    rows::key_record(row).is_some_and(|key| key.role.is_some())
}

fn value(input: &mut Input<'_>) -> Value {
    let kind = input.byte();
    match kind % 5 {
        0 => Value::Null,
        1 => Value::Integer(input.long() as i64),
        // SQLite has no NaN; it keeps NULL in its place.
        2 => {
            Some(f64::from_bits(input.long())).filter(|real| !real.is_nan()).map_or(Value::Null, Value::Real)
        }
        3 => {
            let len = input.byte();
            Value::Text(String::from_utf8_lossy(input.bytes(len.into())).into_owned())
        }
        _ => {
            let len = input.byte();
            Value::Blob(input.bytes(len.into()).to_vec())
        }
    }
}

fn again(table: Table, row: &Row) -> Option<Row> {
    match table {
        Table::Meta => None,
        Table::Slots => Slot::of(row).ok().map(|slot| slot.row()),
        Table::Keys => rows::key_record(row).map(|record| rows::key_row(&record)),
        Table::Materials => rows::material_record(row).map(|record| rows::material_row(&record)),
        Table::Aliases => rows::alias_record(row).map(|record| rows::alias_row(&record)),
        Table::Tombstones => rows::tombstone_record(row).map(|record| rows::tombstone_row(&record)),
        Table::Grants => rows::grant_record(row).map(|record| rows::grant_row(&record)),
        Table::Tags => rows::tag_record(row).map(|tag| rows::tag_row(tag.key, &tag.tag, &tag.value)),
        Table::Alarms => rows::alarm_record(row).map(|alarm| rows::alarm_row(&alarm)),
        Table::Volumes => rows::volume_record(row).map(|record| rows::volume_row(&record)),
        Table::Credentials => rows::credential_record(row).map(|record| rows::credential_row(&record)),
    }
}

fn check(table: Table, row: &Row) {
    if let Some(again) = again(table, row) {
        assert_eq!(again, *row, "a row of {} is written as it was read", table.name());
    }
}

/// A row of another region is written as it was read.
fn check_region(table: Table, row: &Row) {
    let mut record = row.clone();
    if let Some(region) = rows::take_region(table, &mut record) {
        rows::put_in_region(table, &mut record, &region);
    }
    assert_eq!(record, *row, "a row of {}", table.name());
}

fn is_record(table: Table, row: &Row) -> bool {
    table == Table::Meta || again(table, row).is_some()
}
