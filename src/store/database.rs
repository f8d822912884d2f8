//! Connections to the key store's SQLite database.
//!
//! WAL with `synchronous=FULL`: a transaction that was committed survives a power cut. Deleted content is overwritten.

use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::HomeError;

/// The database's name in a home.
pub const FILE_NAME: &str = "keys.db";
/// How long a process waits for another one's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the database at `path`, which must exist: its creator decides on its mode.
///
/// # Errors
/// As [`failure`] says.
pub fn open(path: &Path) -> Result<Connection, HomeError> {
    let fail = |error| failure(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA secure_delete = ON;
             PRAGMA trusted_schema = OFF;
             PRAGMA cell_size_check = ON;
             PRAGMA temp_store = MEMORY;",
        )
        .map_err(fail)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(fail)?;
    if mode != "wal" {
        return Err(HomeError::Corrupted(path.to_path_buf(), format!("its journal mode stays {mode:?}")));
    }
    Ok(connection)
}

/// A number that changes when another connection has committed to the database (SQLite, `PRAGMA data_version`): what
/// was read before is then out of date.
///
/// # Errors
/// As [`failure`] says.
pub fn data_version(connection: &Connection, path: &Path) -> Result<i64, HomeError> {
    connection
        .prepare_cached("PRAGMA data_version")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(|error| failure(path, error))
}

/// Empties the write-ahead log into the database, so that what was deleted is not in it; `false` where a reader or a writer
/// is in the way, and the log is then as it was.
///
/// # Errors
/// As [`failure`] says.
pub fn truncate_log(connection: &Connection, path: &Path) -> Result<bool, HomeError> {
    let blocked = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    blocked.map(|blocked| !blocked).map_err(|error| failure(path, error))
}

/// Writes the database anew, from the rows that it has, and empties its log. SQLite overwrites what it deletes, but when a
/// table grows and rows move from page to page, a copy can stay behind in the unused part of a page, and nothing overwrites
/// that when the row is deleted later. Waits for others as long as `limit` says; `false` where they were in the way.
///
/// # Errors
/// As [`failure`] says.
pub fn rewrite(connection: &Connection, path: &Path, limit: Duration) -> Result<bool, HomeError> {
    let fail = |error| failure(path, error);
    let work = || {
        // A reader that holds the log would hold what is written anew as well.
        if !truncate_log(connection, path)? {
            return Ok(false);
        }
        match connection.execute_batch("VACUUM").map_err(fail) {
            Ok(()) => truncate_log(connection, path),
            Err(HomeError::Busy(_)) => Ok(false),
            Err(error) => Err(error),
        }
    };
    connection.busy_timeout(limit).map_err(fail)?;
    let outcome = work();
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
    outcome
}

/// Sorts SQLite's errors by what can be done about them.
pub fn failure(path: &Path, error: rusqlite::Error) -> HomeError {
    let path = path.to_path_buf();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => HomeError::Busy(path),
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::DiskFull
            | ErrorCode::OutOfMemory
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::NoLargeFileSupport,
        ) => HomeError::Io(path, io::Error::other(error)),
        // Whatever else SQLite says of a database that only this program writes, it is not as it was written.
        Some(_) | None => HomeError::Corrupted(path, error.to_string()),
    }
}
