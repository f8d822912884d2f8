//! The versions of the database's schema, and the way from each to the next.

use std::path::Path;
use std::sync::OnceLock;

use rusqlite::Connection;

use super::HomeError;
use super::database::failure;

/// The migrations in their order; the schema's version is how many of them were made. A released one is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_slots_made.sql"),
    include_str!("migrations/0003_life.sql"),
    include_str!("migrations/0004_credentials.sql"),
    include_str!("migrations/0005_key_specs.sql"),
    include_str!("migrations/0006_regions.sql"),
    include_str!("migrations/0007_multi_region.sql"),
];

/// The schema that this version writes.
pub const CURRENT: u32 = MIGRATIONS.len() as u32;

/// Brings the database to the current schema: all missing migrations in one transaction.
///
/// # Errors
/// [`HomeError::NewerFormat`] for a schema that this version does not know, and failures of the database.
pub fn migrate(connection: &mut Connection, path: &Path) -> Result<(), HomeError> {
    let fail = |error| failure(path, error);
    let found = version(connection, path)?;
    if found > CURRENT {
        return Err(HomeError::NewerFormat { found, supported: CURRENT });
    }
    if found == CURRENT {
        return Ok(());
    }
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(fail)?;
    // Another process may have been faster.
    for migration in MIGRATIONS.iter().skip(version(&transaction, path)? as usize) {
        transaction.execute_batch(migration).map_err(fail)?;
    }
    transaction.pragma_update(None, "user_version", CURRENT).map_err(fail)?;
    transaction.commit().map_err(fail)
}

/// Makes the tables of schema `version` in an empty database.
///
/// # Errors
/// [`HomeError::NewerFormat`], failures of the database.
pub fn make(connection: &mut Connection, path: &Path, version: u32) -> Result<(), HomeError> {
    let fail = |error| failure(path, error);
    let known = MIGRATIONS.get(..version as usize);
    let known = known.ok_or(HomeError::NewerFormat { found: version, supported: CURRENT })?;
    let transaction = connection.transaction().map_err(fail)?;
    known.iter().try_for_each(|migration| transaction.execute_batch(migration)).map_err(fail)?;
    transaction.pragma_update(None, "user_version", version).map_err(fail)?;
    transaction.commit().map_err(fail)
}

/// Checks that the schema is the current one to the letter: a trigger or a view, for instance, could keep or show other rows
/// than those that are asked for.
///
/// # Errors
/// [`HomeError::Tampered`], and failures of the database.
pub fn check_schema(connection: &Connection, path: &Path) -> Result<(), HomeError> {
    static EXPECTED: OnceLock<Schema> = OnceLock::new();
    let expected = match EXPECTED.get() {
        Some(expected) => expected,
        None => {
            let made = || {
                let model = Connection::open_in_memory()?;
                MIGRATIONS.iter().try_for_each(|migration| model.execute_batch(migration))?;
                schema(&model)
            };
            let made = made().map_err(|error| failure(path, error))?;
            EXPECTED.get_or_init(|| made)
        }
    };
    if schema(connection).map_err(|error| failure(path, error))? == *expected {
        return Ok(());
    }
    Err(HomeError::Tampered("the tables are not defined as this version defines them".to_owned()))
}

/// Kind, name, table and definition of everything in a schema.
type Schema = Vec<(String, String, String, Option<String>)>;

fn schema(connection: &Connection) -> rusqlite::Result<Schema> {
    let sql = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name";
    let mut statement = connection.prepare_cached(sql)?;
    let items = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    items.collect()
}

/// The schema's version.
///
/// # Errors
/// Failures of the database.
pub fn version(connection: &Connection, path: &Path) -> Result<u32, HomeError> {
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| failure(path, error))
}
