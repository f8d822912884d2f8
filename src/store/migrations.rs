//! The versions of the database's schema, and the way from each to the next.

use std::path::Path;

use rusqlite::Connection;

use super::HomeError;
use super::database::failure;

/// The migrations in their order; the schema's version is how many of them were made. A released one is never edited.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_initial.sql")];

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

/// The schema's version.
///
/// # Errors
/// Failures of the database.
pub fn version(connection: &Connection, path: &Path) -> Result<u32, HomeError> {
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| failure(path, error))
}
