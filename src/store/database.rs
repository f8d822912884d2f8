//! Connections to the key store's SQLite database.
//!
//! WAL with `synchronous=FULL`: a transaction that was committed survives a power cut. Deleted content is overwritten.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{Access, AtFlags, CWD, FallocateFlags, accessat};
use rustix::io::Errno;

use super::HomeError;

/// The database's name in a home.
pub const FILE_NAME: &str = "keys.db";
/// What is wrong with a file that is none.
const NO_DATABASE: &str = "it is not a database";
/// How long a process waits for the transactions of others: they are short, but SQLite does not queue who waits.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes an empty database at `path`, mode 0600; SQLite gives its other files the mode of this one.
///
/// # Errors
/// [`HomeError::Io`] where there is something already, and as [`failure`] says.
pub fn create(path: &Path) -> Result<Connection, HomeError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|error| HomeError::Io(path.to_owned(), error))?;
    connect(path)
}

/// Opens the database at `path`, which must be one: SQLite would make one of an empty file, and wait for the other end of a pipe.
///
/// The file is not opened here to look into it: closing it would end every lock that this process has on it (`fcntl(2)`), also those of SQLite.
///
/// # Errors
/// As [`failure`] says.
pub fn open(path: &Path) -> Result<Connection, HomeError> {
    let facts = std::fs::metadata(path).map_err(|error| HomeError::Io(path.to_owned(), error))?;
    if !facts.is_file() || facts.len() == 0 {
        return Err(HomeError::Corrupted(path.to_owned(), NO_DATABASE.to_owned()));
    }
    connect(path)
}

fn connect(path: &Path) -> Result<Connection, HomeError> {
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

/// Which file is at the database's path, and when it last changed. A commit goes to the log and leaves the file as it is; a
/// checkpoint changes it, and so does whoever writes another content into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The device and the number of the file.
    pub file: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The stamp of the file at `path`.
///
/// # Errors
/// [`HomeError::Tampered`] where it is gone, [`HomeError::Io`].
pub fn stamp(path: &Path) -> Result<Stamp, HomeError> {
    let facts = match std::fs::metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(HomeError::Tampered(format!("{} was removed while it was in use", path.display())));
        }
        Err(error) => return Err(HomeError::Io(path.to_owned(), error)),
    };
    Ok(Stamp {
        file: (facts.dev(), facts.ino()),
        len: facts.len(),
        modified: (facts.mtime(), facts.mtime_nsec()),
        changed: (facts.ctime(), facts.ctime_nsec()),
    })
}

/// Forgets the pages that the connection has in memory, so that the next read is of the file.
///
/// # Errors
/// As [`failure`] says.
pub fn forget_pages(connection: &Connection, path: &Path) -> Result<(), HomeError> {
    connection.execute_batch("PRAGMA shrink_memory").map_err(|error| failure(path, error))
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

/// On a disk that is almost full, gives the index of the log blocks for all of its length. SQLite writes a byte to every 4096, which is enough
/// where blocks are as large.
///
/// # Errors
/// [`HomeError::Io`]: there is no room.
pub fn allocate_index(path: &Path) -> Result<(), HomeError> {
    let index = path.with_extension("db-shm");
    let Ok(facts) = std::fs::metadata(&index) else { return Ok(()) };
    if facts.blocks() * 512 >= facts.len() || !is_full(path) {
        return Ok(());
    }
    // SQLite has said already whether it can do without.
    let Ok(file) = OpenOptions::new().write(true).open(&index) else { return Ok(()) };
    let allocated = rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, facts.len());
    // Closing it would end every lock that this process, and so SQLite, has on the file (fcntl(2)): it stays open.
    std::mem::forget(file);
    match allocated {
        Err(Errno::NOSPC | Errno::DQUOT) => Err(HomeError::Io(index, io::ErrorKind::StorageFull.into())),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Sorts SQLite's errors by what can be done about them.
pub fn failure(path: &Path, error: rusqlite::Error) -> HomeError {
    let path = path.to_path_buf();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => HomeError::Busy(path),
        // Where a file cannot grow, SQLite says this or that, and never that the disk is full.
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if is_full(&path) => {
            HomeError::Io(path, io::ErrorKind::StorageFull.into())
        }
        // Why a file cannot be opened to write, SQLite does not say.
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            is_writable(&path).err().unwrap_or_else(|| HomeError::Io(path, io::Error::other(error)))
        }
        Some(
            ErrorCode::DiskFull
            | ErrorCode::OutOfMemory
            | ErrorCode::SystemIoFailure
            | ErrorCode::NoLargeFileSupport,
        ) => HomeError::Io(path, io::Error::other(error)),
        Some(ErrorCode::NotADatabase) => HomeError::Corrupted(path, NO_DATABASE.to_owned()),
        // Whatever else SQLite says of a database that only this program writes, it is not as it was written.
        Some(_) | None => HomeError::Corrupted(path, error.to_string()),
    }
}

/// Whether this user may write to the database, and to the directory in which SQLite makes its other files.
fn is_writable(path: &Path) -> Result<(), HomeError> {
    for place in [path].into_iter().chain(path.parent()) {
        let may = accessat(CWD, place, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS);
        may.map_err(|errno| HomeError::Io(place.to_owned(), errno.into()))?;
    }
    Ok(())
}

/// Whether the filesystem of a file that may not be there has room for `len` bytes.
pub fn has_room(path: &Path, len: u64) -> bool {
    let dir = path.parent().unwrap_or(path);
    rustix::fs::statvfs(dir).is_ok_and(|facts| facts.f_bavail.saturating_mul(facts.f_frsize) >= len)
}

/// Whether the filesystem of `path` has less room than SQLite asks for at a time: the index of a log has 32 KiB.
pub fn is_full(path: &Path) -> bool {
    const LEAST: u64 = 64 * 1024;
    rustix::fs::statvfs(path)
        .is_ok_and(|facts| facts.f_bavail * facts.f_frsize < LEAST || facts.f_favail == 0)
}
