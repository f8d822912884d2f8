//! Rows to and from the database: tables and heads, changes as rows (`writer`), and the keyrings that verified rows make (`built`).

mod built;
mod writer;

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::audit::chain::CHAIN_ID_LEN;
use super::ledger::{Ledger, LedgerKeys};
use super::rows::{self, Row, Table};
use super::{HomeError, database};

pub use built::build;
pub use writer::Writer;

/// Facts about the home, in the table `meta`.
pub mod fact {
    /// The home's own id, a UUID.
    pub const HOME: &str = "home";
    /// The account of all names.
    pub const ACCOUNT: &str = "account";
    /// The region of all names.
    pub const REGION: &str = "region";
    /// The latest time seen, in milliseconds since 1970.
    pub const LATEST: &str = "latest";
    /// The last observation of a real clock ([`Anchor`](crate::kms::clock_guard::Anchor)); absent with a simulated one.
    pub const ANCHOR: &str = "anchor";
    /// How far a simulated clock was moved, in milliseconds; absent with a real clock.
    pub const SIMULATED_OFFSET: &str = "simulated-offset";
    /// 1 in a home that takes key material wrapped with `RSAES_PKCS1_V1_5`; absent in every other.
    pub const LEGACY_WRAPPING: &str = "legacy-wrapping";
    /// The id of the audit log's chain, 16 bytes; absent in a home from before there was one.
    pub const AUDIT_CHAIN: &str = "audit-chain";
    /// The number of a record that was on disk when the last change was made.
    pub const AUDIT_NUMBER: &str = "audit-number";
    /// How many bytes a file of the audit log becomes; absent where that is the usual length.
    pub const AUDIT_FILE_LEN: &str = "audit-file-length";
    /// The generation of the last destruction, while copies of what it destroyed may be in the database's files.
    pub const UNCLEAN: &str = "unclean";
    /// The schema up to which every table has a head; absent in a home that was made before schema 3 and not opened since.
    pub const SCHEMA: &str = "schema";
}

/// What the fact says where tables have heads up to `schema`.
pub fn headed_fact(schema: u32) -> Option<i64> {
    (schema > FIRST_HEADED).then_some(i64::from(schema))
}

/// The schema of homes that do not say up to which one their tables have heads.
const FIRST_HEADED: u32 = 2;

/// Writes the first rows of a new home.
///
/// # Errors
/// Failures of the database.
pub fn write_first(
    connection: &mut Connection,
    path: &Path,
    keys: &LedgerKeys,
    rows: &[(Table, Row)],
) -> Result<(), HomeError> {
    let transaction = connection.transaction().map_err(|error| database::failure(path, error))?;
    let mut ledger = Ledger::empty();
    for (table, row) in rows {
        Writer { keys, path, connection: &transaction, ledger: &mut ledger, region: None }.replace(
            *table,
            None,
            Some(row.clone()),
        )?;
    }
    ledger.generation = 1;
    write_heads(&transaction, path, keys, &ledger)?;
    transaction.commit().map_err(|error| database::failure(path, error))
}

/// The slots of a home, before anything is unlocked and so before anything is verified.
///
/// # Errors
/// Failures of the database.
pub fn slots(connection: &Connection, path: &Path) -> Result<Vec<Row>, HomeError> {
    Ok(read_table(connection, path, Table::Slots)?.into_iter().map(|(row, _)| row).collect())
}

/// What the store knows of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditFacts {
    /// [`fact::AUDIT_CHAIN`].
    pub chain: [u8; CHAIN_ID_LEN],
    /// [`fact::AUDIT_NUMBER`].
    pub number: i64,
    /// [`fact::AUDIT_FILE_LEN`].
    pub file_len: Option<i64>,
}

/// A table's head as it is stored.
pub struct StoredHead {
    /// The table.
    pub name: String,
    /// The generation of the whole.
    pub generation: i64,
    /// How many rows the table has.
    pub rows: i64,
    /// Authenticates all of them.
    pub mac: Vec<u8>,
}

/// The heads of all tables.
///
/// # Errors
/// Failures of the database.
pub fn read_heads(connection: &Connection, path: &Path) -> Result<Vec<StoredHead>, HomeError> {
    let read = || {
        let mut statement =
            connection.prepare_cached("SELECT name, generation, row_count, mac FROM heads")?;
        let heads = statement.query_map([], |row| {
            Ok(StoredHead { name: row.get(0)?, generation: row.get(1)?, rows: row.get(2)?, mac: row.get(3)? })
        })?;
        heads.collect::<rusqlite::Result<_>>()
    };
    read().map_err(|error| database::failure(path, error))
}

/// Writes the heads of all tables.
///
/// # Errors
/// Failures of the database.
pub fn write_heads(
    connection: &Connection,
    path: &Path,
    keys: &LedgerKeys,
    ledger: &Ledger,
) -> Result<(), HomeError> {
    let write = || {
        let mut statement = connection.prepare_cached(
            "INSERT INTO heads (name, generation, row_count, mac) VALUES (?, ?, ?, ?) \
             ON CONFLICT (name) DO UPDATE SET generation = excluded.generation, \
             row_count = excluded.row_count, mac = excluded.mac",
        )?;
        for table in Table::ALL {
            let mac = ledger.head_mac(keys, table).to_vec();
            statement.execute((table.name(), ledger.generation, ledger.rows(table), mac))?;
        }
        Ok(())
    };
    write().map_err(|error| database::failure(path, error))
}

/// Writes rows and heads as another database had them, into empty tables. Columns that are NULL are left to the table, which may not
/// have them yet.
///
/// # Errors
/// Failures of the database.
pub fn write_stored(
    connection: &mut Connection,
    path: &Path,
    tables: &[(Table, Vec<StoredRow>)],
    heads: &[StoredHead],
) -> Result<(), HomeError> {
    let mut write = || {
        let transaction = connection.transaction()?;
        for (table, rows) in tables {
            for (row, mac) in rows {
                let named = table.columns().iter().zip(row).filter(|(_, value)| **value != Value::Null);
                let (mut names, mut values): (Vec<_>, Vec<_>) =
                    named.map(|(name, value)| (*name, value.clone())).unzip();
                names.push("mac");
                values.push(mac.clone().into());
                let marks = vec!["?"; names.len()].join(", ");
                let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", table.name(), names.join(", "));
                transaction.prepare_cached(&sql)?.execute(params_from_iter(values))?;
            }
        }
        let sql = "INSERT INTO heads (name, generation, row_count, mac) VALUES (?, ?, ?, ?)";
        for head in heads {
            transaction.execute(sql, (&head.name, head.generation, head.rows, &head.mac))?;
        }
        transaction.commit()
    };
    write().map_err(|error| database::failure(path, error))
}

/// A row as it is stored, with its MAC.
pub type StoredRow = (Row, Vec<u8>);

/// All rows of a table, unverified.
///
/// # Errors
/// Failures of the database.
pub fn read_table(connection: &Connection, path: &Path, table: Table) -> Result<Vec<StoredRow>, HomeError> {
    let columns = table.columns();
    let read = || {
        let sql = format!("SELECT {}, mac FROM {}", columns.join(", "), table.name());
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], |row| {
            let values = (0..columns.len()).map(|column| row.get(column)).collect::<Result<Row, _>>()?;
            Ok((values, row.get(columns.len())?))
        })?;
        rows.collect::<rusqlite::Result<_>>()
    };
    read().map_err(|error| database::failure(path, error))
}

/// The schema up to which tables have heads, by the rows of [`Table::Meta`]: those that came later are still empty.
pub fn headed_schema(rows: &[StoredRow]) -> u32 {
    let fact = rows.iter().find(|(row, _)| row.first().and_then(rows::text) == Some(fact::SCHEMA));
    let schema = fact.and_then(|(row, _)| rows::integer(row.get(1)?));
    schema.and_then(|schema| u32::try_from(schema).ok()).unwrap_or(FIRST_HEADED)
}

/// The error of a row that does not authenticate.
pub fn altered(table: Table, row: &Row) -> HomeError {
    let key = match row.first() {
        Some(Value::Text(key)) => key.clone(),
        Some(Value::Integer(key)) => key.to_string(),
        Some(Value::Null | Value::Real(_) | Value::Blob(_)) | None => "?".to_owned(),
    };
    HomeError::Tampered(format!("row {key:?} of table {} does not authenticate", table.name()))
}

/// Whether the file is a key store at all, without unlocking it.
///
/// # Errors
/// Failures of the database.
pub fn is_a_store(connection: &Connection, path: &Path) -> Result<bool, HomeError> {
    let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'heads'";
    let found = connection.query_row(sql, [], |_| Ok(())).optional();
    Ok(found.map_err(|error| database::failure(path, error))?.is_some())
}
