//! A row altered, removed, added or put back is refused, in every table and every column.

use kmsfs::kms::Operation;
use kmsfs::store::{Home, HomeError};
use rusqlite::params;
use rusqlite::types::Value;
use serde_json::json;

use crate::fixture::{Fixture, Row, TABLES, call, columns_of, put, refusal, refused_as_spoilt, rows_of};

/// Other values that the column's type takes.
fn alterations(value: &Value, column: &str) -> Vec<Value> {
    match value {
        Value::Null => vec![Value::Integer(1), Value::Text("AUTOMATIC".to_owned())],
        Value::Integer(number) => vec![Value::Integer(number + 1_000), Value::Integer(-1), Value::Null],
        Value::Real(number) => vec![Value::Real(number + 1.0)],
        Value::Text(text) if column == "state" => ["Enabled", "Disabled", "PendingDeletion", "Nonsense"]
            .into_iter()
            .filter(|state| state != text)
            .map(|state| Value::Text(state.to_owned()))
            .collect(),
        Value::Text(text) => vec![Value::Text(format!("{text}x")), Value::Text(String::new()), Value::Null],
        Value::Blob(bytes) => {
            let mut flipped = bytes.clone();
            flipped[0] ^= 1;
            vec![Value::Blob(flipped), Value::Blob(bytes[1..].to_vec()), Value::Blob(Vec::new())]
        }
    }
}

/// What a slot holds is needed to unlock the home: it is refused there, before anything can be authenticated.
fn is_refused(fixture: &Fixture, table: &str, what: &str) {
    if table != "slots" {
        return refused_as_spoilt(fixture, what);
    }
    let error = refusal(fixture, what);
    assert!(
        matches!(
            error,
            HomeError::Tampered(_)
                | HomeError::Corrupted(..)
                | HomeError::KeyFileWrong(_)
                | HomeError::KeyFileMissing(_)
                | HomeError::KeyFileUnsuitable(..)
        ),
        "{what}: {error}"
    );
}

#[test]
fn a_value_that_was_altered_is_refused_in_every_column_of_every_row() {
    let original = Fixture::full();
    let copy = original.copy();
    let pristine = std::fs::read(original.database()).unwrap();
    let mut refused = std::collections::BTreeSet::new();
    for table in TABLES {
        let columns = columns_of(&original.connect(), table);
        for row in rows_of(&original.connect(), table) {
            for (value, column) in row.iter().zip(&columns) {
                for altered in alterations(value, column) {
                    std::fs::write(copy.database(), &pristine).unwrap();
                    let connection = copy.connect();
                    let sql = format!("UPDATE {table} SET {column} = ?1 WHERE {} = ?2", columns[0]);
                    // What the schema itself does not let in cannot be tried.
                    let Ok(1) = connection.execute(&sql, params![altered, row[0]]) else { continue };
                    drop(connection);
                    is_refused(&copy, table, &format!("{table}.{column} = {altered:?} instead of {value:?}"));
                    refused.insert((table, column.clone()));
                }
            }
        }
        for column in columns {
            assert!(refused.contains(&(table, column.clone())), "{table}.{column} was tried");
        }
    }
}

#[test]
fn a_row_that_was_removed_is_refused() {
    let original = Fixture::full();
    for table in TABLES {
        let key = &columns_of(&original.connect(), table)[0];
        for row in rows_of(&original.connect(), table) {
            let copy = original.copy();
            copy.connect().execute(&format!("DELETE FROM {table} WHERE {key} = ?"), [&row[0]]).unwrap();
            is_refused(&copy, table, &format!("{:?} of {table} removed", row[0]));
        }
    }
}

#[test]
fn a_row_that_was_added_is_refused() {
    let original = Fixture::full();
    for table in TABLES {
        for row in rows_of(&original.connect(), table) {
            let copy = original.copy();
            let mut added = row.clone();
            added[0] = match &row[0] {
                Value::Integer(number) => Value::Integer(number + 1),
                Value::Text(text) => Value::Text(other_key(table, text)),
                other => panic!("a key {other:?}"),
            };
            if table == "materials" {
                // A version of its own, as the schema asks.
                added[2] = Value::Integer(77);
            }
            put(&copy.connect(), table, &added);
            refused_as_spoilt(&copy, &format!("a copy of {:?} in {table}", row[0]));
        }
    }
}

/// A key of the same form, so that nothing but the authentication can refuse it.
fn other_key(table: &str, key: &str) -> String {
    match table {
        "keys" | "tombstones" | "materials" => {
            let last = if key.ends_with('0') { "1" } else { "0" };
            format!("{}{last}", &key[..key.len() - 1])
        }
        "credentials" => {
            let last = if key.ends_with('A') { "B" } else { "A" };
            format!("{}{last}", &key[..key.len() - 1])
        }
        _ => format!("{key}-2"),
    }
}

#[test]
fn a_whole_table_that_was_emptied_is_refused() {
    let original = Fixture::full();
    for table in TABLES {
        let copy = original.copy();
        copy.connect().execute(&format!("DELETE FROM {table}"), []).unwrap();
        is_refused(&copy, table, &format!("{table} emptied"));
        let copy = original.copy();
        copy.connect().execute_batch(&format!("DROP TABLE {table}")).unwrap();
        is_refused(&copy, table, &format!("{table} dropped"));
    }
}

/// Every table's rows, before and after changes of everything that can change.
fn before_and_after(fixture: &Fixture) -> Vec<(&'static str, Vec<Row>, Vec<Row>)> {
    let read = || TABLES.map(|table| rows_of(&fixture.connect(), table));
    let before = read();
    let home = fixture.open();
    call(&home, Operation::EnableKey, json!({"KeyId": id_of(&home, "off")}));
    call(&home, Operation::DisableKey, json!({"KeyId": id_of(&home, "used")}));
    let to = id_of(&home, "off");
    call(&home, Operation::UpdateAlias, json!({"AliasName": "alias/second", "TargetKeyId": to}));
    home.advance_clock(std::time::Duration::from_secs(30 * 86_400)).unwrap();
    call(&home, Operation::ListKeys, json!({}));
    assert_eq!(home.keyring().unwrap().tombstones().count(), 2);
    drop(home);
    TABLES
        .into_iter()
        .zip(before)
        .zip(read())
        .map(|((table, before), after)| (table, before, after))
        .collect()
}

fn id_of(home: &Home, description: &str) -> String {
    let ring = home.keyring().unwrap();
    ring.keys().find(|key| key.record.description == description).unwrap().record.id.to_string()
}

#[test]
fn a_row_put_back_as_it_was_with_its_mac_is_refused() {
    let original = Fixture::full();
    let mut tried = Vec::new();
    for (table, before, after) in before_and_after(&original) {
        for old in before.iter().filter(|row| !after.contains(row)) {
            let copy = original.copy();
            put(&copy.connect(), table, old);
            refused_as_spoilt(&copy, &format!("the old row {:?} of {table}", old[0]));
            tried.push(table);
        }
    }
    tried.dedup();
    assert_eq!(tried, ["meta", "keys", "materials", "aliases", "heads"], "slots and tombstones never change");
}

#[test]
fn heads_or_tables_put_back_as_they_were_are_refused_one_by_one_and_together() {
    let original = Fixture::full();
    let history = before_and_after(&original);
    let put_back = |tables: &[&str]| {
        let copy = original.copy();
        let connection = copy.connect();
        for (table, before, _) in history.iter().filter(|(table, ..)| tables.contains(table)) {
            connection.execute(&format!("DELETE FROM {table}"), []).unwrap();
            before.iter().for_each(|row| put(&connection, table, row));
        }
        drop(connection);
        refused_as_spoilt(&copy, &format!("{tables:?} as they were"));
    };
    put_back(&["heads"]);
    for table in ["meta", "keys", "materials", "aliases", "tombstones"] {
        put_back(&[table]);
        put_back(&[table, "heads"]);
    }
    put_back(&["keys", "materials", "aliases", "tombstones"]);
    put_back(&["keys", "materials", "aliases", "tombstones", "heads"]);
}

#[test]
fn rows_of_another_home_are_refused() {
    let (one, other) = (Fixture::full(), Fixture::full());
    for table in TABLES.into_iter().filter(|table| *table != "slots") {
        let copy = one.copy();
        let connection = copy.connect();
        connection.execute(&format!("DELETE FROM {table}"), []).unwrap();
        rows_of(&other.connect(), table).iter().for_each(|row| put(&connection, table, row));
        drop(connection);
        refused_as_spoilt(&copy, &format!("{table} of another home"));
    }
}

#[test]
fn a_schema_that_was_altered_is_refused() {
    let original = Fixture::full();
    for change in [
        "CREATE TABLE kept (id TEXT, sealed BLOB)",
        "CREATE TRIGGER keep BEFORE DELETE ON materials BEGIN SELECT 1; END",
        "CREATE VIEW other AS SELECT * FROM keys",
        "CREATE INDEX extra ON keys (state)",
        "DROP INDEX aliases_of_a_key",
        "ALTER TABLE keys ADD COLUMN extra TEXT",
        "ALTER TABLE tombstones RENAME TO buried; CREATE VIEW tombstones AS SELECT * FROM buried",
    ] {
        let copy = original.copy();
        copy.connect().execute_batch(change).unwrap();
        refused_as_spoilt(&copy, change);
    }
}

#[test]
fn a_version_of_the_format_that_was_altered_is_refused() {
    let original = Fixture::full();
    let current: i32 = original.connect().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    for version in (0..current).chain([current + 1, 77, -1, i32::MAX, i32::MIN]) {
        let copy = original.copy();
        copy.connect().pragma_update(None, "user_version", version).unwrap();
        let error = refusal(&copy, &format!("user_version {version}"));
        match error {
            HomeError::NewerFormat { found, supported } if version > current => {
                assert_eq!((found, supported), (version as u32, current as u32));
            }
            error => assert!(matches!(error, HomeError::Corrupted(..) | HomeError::Tampered(_)), "{error}"),
        }
    }
}
