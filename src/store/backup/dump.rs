//! A snapshot as JSON.
//!
//! ```text
//! {"schema": 2, "tables": [{"name": "meta", "columns": ["name", "value", "mac"], "rows": [[..], ..]}, ..],
//!  "heads": [["meta", 7, 4, {"blob": ".."}], ..]}
//! ```
//!
//! NULL is null, integers are numbers, text is text, and a blob is `{"blob": base64}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};

use crate::store::rows::{Row, Table};
use crate::store::sqlite::Snapshot;
use crate::store::tables::StoredHead;

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// NULL.
    Null(()),
    /// An integer.
    Integer(i64),
    /// Text.
    Text(String),
    /// A blob.
    Blob {
        /// In base64.
        blob: String,
    },
}

impl Cell {
    /// Of a value of the database. None of its columns takes a real number.
    pub fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null(()),
            Value::Integer(number) => Self::Integer(*number),
            Value::Real(_) => return None,
            Value::Text(text) => Self::Text(text.clone()),
            Value::Blob(bytes) => Self::Blob { blob: STANDARD.encode(bytes) },
        })
    }

    /// The value; `None` where a blob is not base64.
    pub fn value(&self) -> Option<Value> {
        Some(match self {
            Self::Null(()) => Value::Null,
            Self::Integer(number) => Value::Integer(*number),
            Self::Text(text) => Value::Text(text.clone()),
            Self::Blob { blob } => Value::Blob(STANDARD.decode(blob).ok()?),
        })
    }
}

/// A row as cells.
pub fn cells(row: &Row) -> Option<Vec<Cell>> {
    row.iter().map(Cell::of).collect()
}

/// A row of cells.
pub fn row(cells: &[Cell]) -> Option<Row> {
    cells.iter().map(Cell::value).collect()
}

/// The form on disk.
#[derive(Debug, Serialize, Deserialize)]
pub struct Dump {
    schema: u32,
    tables: Vec<DumpedTable>,
    heads: Vec<(String, i64, i64, Cell)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DumpedTable {
    name: String,
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// The name of the MAC's column.
const MAC: &str = "mac";

impl Dump {
    /// Of a snapshot; `None` for a value that no table takes.
    pub fn of(snapshot: &Snapshot) -> Option<Self> {
        let table = |(table, rows): &(Table, Vec<(Row, Vec<u8>)>)| {
            let with_mac = |(row, mac): &(Row, Vec<u8>)| {
                let mut cells = cells(row)?;
                cells.push(Cell::of(&Value::Blob(mac.clone()))?);
                Some(cells)
            };
            let columns = table.columns().iter().copied().chain([MAC]);
            Some(DumpedTable {
                name: table.name().to_owned(),
                columns: columns.map(str::to_owned).collect(),
                rows: rows.iter().map(with_mac).collect::<Option<_>>()?,
            })
        };
        let head = |head: &StoredHead| {
            Some((head.name.clone(), head.generation, head.rows, Cell::of(&Value::Blob(head.mac.clone()))?))
        };
        Some(Self {
            schema: snapshot.schema,
            tables: snapshot.tables.iter().map(table).collect::<Option<_>>()?,
            heads: snapshot.heads.iter().map(head).collect::<Option<_>>()?,
        })
    }

    /// The snapshot; `None` where it names what this version does not know, or is not of the right shape. A column that the
    /// dump's version did not have yet is NULL.
    pub fn snapshot(&self, home: &str) -> Option<Snapshot> {
        let blob = |cell: &Cell| match cell.value()? {
            Value::Blob(bytes) => Some(bytes),
            Value::Null | Value::Integer(_) | Value::Real(_) | Value::Text(_) => None,
        };
        let mut tables = Vec::new();
        for dumped in &self.tables {
            let table = Table::ALL.into_iter().find(|table| table.name() == dumped.name)?;
            let (mac, columns) = dumped.columns.split_last()?;
            let is_prefix = columns.iter().zip(table.columns()).all(|(one, other)| one == other);
            if mac != MAC || !is_prefix || columns.len() > table.columns().len() {
                return None;
            }
            let stored = |cells: &Vec<Cell>| {
                let (mac, cells) = cells.split_last()?;
                let mut row = (cells.len() == columns.len()).then(|| row(cells))??;
                row.resize(table.columns().len(), Value::Null);
                Some((row, blob(mac)?))
            };
            tables.push((table, dumped.rows.iter().map(stored).collect::<Option<_>>()?));
        }
        let head = |(name, generation, rows, mac): &(String, i64, i64, Cell)| {
            Some(StoredHead { name: name.clone(), generation: *generation, rows: *rows, mac: blob(mac)? })
        };
        Some(Snapshot {
            schema: self.schema,
            home: home.to_owned(),
            tables,
            heads: self.heads.iter().map(head).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_a_table_reads_back_and_another_is_refused() {
        let row: Row = vec![
            Value::Null,
            Value::Integer(-7),
            Value::Text("7".into()),
            Value::Blob(vec![0, 255]),
            Value::Blob(vec![]),
        ];
        let json = serde_json::to_string(&cells(&row).unwrap()).unwrap();
        assert_eq!(json, r#"[null,-7,"7",{"blob":"AP8="},{"blob":""}]"#);
        assert_eq!(super::row(&serde_json::from_str::<Vec<Cell>>(&json).unwrap()), Some(row));
        assert_eq!(Cell::of(&Value::Real(1.0)), None);
        assert_eq!(Cell::Blob { blob: "?".into() }.value(), None);
    }

    #[test]
    fn a_dump_of_an_older_schema_has_null_for_what_came_later_and_an_unknown_column_is_refused() {
        let dump = |columns: &str, row: &str| {
            let json = format!(
                r#"{{"schema": 1, "tables": [{{"name": "slots", "columns": [{columns}], "rows": [[{row}]]}}], "heads": []}}"#
            );
            serde_json::from_str::<Dump>(&json).unwrap().snapshot("home")
        };
        let old = r#""id", "kind", "parameters", "salt", "sealed""#;
        let row = r#"1, "key-file", {"blob": ""}, {"blob": ""}, {"blob": ""}"#;
        let snapshot = dump(&format!(r#"{old}, "mac""#), &format!(r#"{row}, {{"blob": "AA=="}}"#)).unwrap();
        let (stored, mac) = &snapshot.tables[0].1[0];
        assert_eq!((stored.len(), stored.last(), mac.as_slice()), (6, Some(&Value::Null), [0].as_slice()));
        for (columns, row) in [
            (format!(r#"{old}, "made", "later", "mac""#), format!(r#"{row}, 1, 1, {{"blob": ""}}"#)),
            (format!(r#"{old}, "later", "mac""#), format!(r#"{row}, 1, {{"blob": ""}}"#)),
            (format!(r#"{old}, "mac""#), row.to_owned()),
            (old.to_owned(), row.to_owned()),
        ] {
            assert!(dump(&columns, &row).is_none(), "{columns}");
        }
    }
}
