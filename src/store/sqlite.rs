//! The keyring in SQLite: loaded and verified as a whole, changed row by row.
//!
//! A load checks every row's MAC and every table's head. In between, `PRAGMA data_version` tells whether another process has
//! committed, and the file's stamp whether it was written to or replaced; as long as neither is, the keyring in memory is the database's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::{Mutex, RwLock};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params_from_iter};

use super::database::Stamp;
use super::ledger::{Ledger, LedgerKeys};
use super::rows::{self, Row, Table};
use super::{HomeError, database, migrations};
use crate::clock::Timestamp;
use crate::kms::KmsError;
use crate::kms::error::Cause;
use crate::kms::id::Namespace;
use crate::kms::ring::{Change, ClockRecord, Decision, KeyStore, Keyring, StoreFailure};

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
    /// How far a simulated clock was moved, in milliseconds; absent with a real clock.
    pub const SIMULATED_OFFSET: &str = "simulated-offset";
}

/// The key store of an unlocked home.
pub struct SqliteStore {
    path: PathBuf,
    keys: LedgerKeys,
    connection: Mutex<Connection>,
    /// The file that the connection has open: device and number.
    file: (u64, u64),
    loaded: RwLock<Option<Loaded>>,
    /// The highest generation that was seen: the database never goes behind it.
    seen: AtomicI64,
    /// Whether the log may still hold what was destroyed.
    log_is_due: AtomicBool,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SqliteStore({})", self.path.display())
    }
}

/// What a load gave, and the database's version and file that it is true for.
#[derive(Clone)]
struct Loaded {
    version: i64,
    stamp: Stamp,
    home: Arc<str>,
    ring: Arc<Keyring>,
    ledger: Ledger,
}

impl SqliteStore {
    /// Over an open database, whose rows `keys` authenticate. Everything is verified once.
    ///
    /// # Errors
    /// [`HomeError::Tampered`], [`HomeError::Corrupted`], [`HomeError::Busy`], [`HomeError::Io`].
    pub fn new(path: &Path, connection: Connection, keys: LedgerKeys) -> Result<Self, HomeError> {
        let store = Self {
            path: path.to_owned(),
            keys,
            connection: Mutex::new(connection),
            file: database::stamp(path)?.file,
            loaded: RwLock::new(None),
            seen: AtomicI64::new(0),
            log_is_due: AtomicBool::new(false),
        };
        store.current()?;
        Ok(store)
    }

    /// The home's own id.
    ///
    /// # Errors
    /// As [`SqliteStore::new`].
    pub fn home_id(&self) -> Result<String, HomeError> {
        Ok(self.current()?.home.to_string())
    }

    fn current(&self) -> Result<Loaded, HomeError> {
        let mut connection = self.connection.lock();
        let stamp = self.stamp()?;
        let version = database::data_version(&connection, &self.path)?;
        let is_current = |loaded: &&Loaded| loaded.version == version && loaded.stamp == stamp;
        if let Some(loaded) = self.loaded.read().as_ref().filter(is_current) {
            return Ok(loaded.clone());
        }
        self.forget_pages_of_another(&connection, stamp)?;
        let transaction = connection.transaction().map_err(|error| database::failure(&self.path, error))?;
        // Version and stamp were read before: a change in between is loaded once more by the next call, and never missed.
        let loaded = self.load(&transaction, version, stamp)?;
        drop(transaction);
        *self.loaded.write() = Some(loaded.clone());
        Ok(loaded)
    }

    /// The database's file as it is now; it must be the one that is open.
    fn stamp(&self) -> Result<Stamp, HomeError> {
        let stamp = database::stamp(&self.path)?;
        if stamp.file == self.file {
            return Ok(stamp);
        }
        Err(HomeError::Tampered(format!(
            "another file took the place of {} while it was in use",
            self.path.display()
        )))
    }

    /// Pages in memory say nothing of a file that was written to since, by whomever.
    fn forget_pages_of_another(&self, connection: &Connection, stamp: Stamp) -> Result<(), HomeError> {
        let is_known = self.loaded.read().as_ref().is_some_and(|loaded| loaded.stamp == stamp);
        if is_known { Ok(()) } else { database::forget_pages(connection, &self.path) }
    }

    /// Reads and verifies everything, within a transaction.
    fn load(&self, connection: &Connection, version: i64, stamp: Stamp) -> Result<Loaded, HomeError> {
        migrations::check_schema(connection, &self.path)?;
        let mut ledger = Ledger::empty();
        let heads = read_heads(connection, &self.path)?;
        ledger.generation = heads.first().map_or(0, |head| head.generation);
        let seen = self.seen.load(Ordering::SeqCst);
        if ledger.generation < seen {
            return Err(HomeError::Tampered(format!(
                "the database is of generation {}, and {seen} was seen before: an older copy was put back",
                ledger.generation
            )));
        }
        let mut tables = Vec::new();
        for table in Table::ALL {
            let rows = read_table(connection, &self.path, table)?;
            for (row, mac) in &rows {
                if !self.keys.row_is_authentic(table, row, mac) {
                    return Err(altered(table, row));
                }
                ledger.add(&self.keys, table, row);
            }
            self.check_head(&ledger, &heads, table)?;
            tables.push((table, rows));
        }
        let (ring, home) = build(&tables)?;
        self.seen.fetch_max(ledger.generation, Ordering::SeqCst);
        Ok(Loaded { version, stamp, home: home.into(), ring: Arc::new(ring), ledger })
    }

    fn check_head(&self, ledger: &Ledger, heads: &[StoredHead], table: Table) -> Result<(), HomeError> {
        let authentic = heads.iter().any(|head| {
            head.name == table.name()
                && head.generation == ledger.generation
                && head.rows == ledger.rows(table)
                && self.keys_fit(ledger, table, &head.mac)
        });
        if authentic && heads.len() == Table::ALL.len() {
            return Ok(());
        }
        Err(HomeError::Tampered(format!(
            "the rows of table {} are not those that were written",
            table.name()
        )))
    }

    fn keys_fit(&self, ledger: &Ledger, table: Table, mac: &[u8]) -> bool {
        ledger.head_is_authentic(&self.keys, table, mac)
    }

    fn transact(&self, decide: &mut Decision<'_>) -> Result<Arc<Keyring>, UpdateError> {
        let mut connection = self.connection.lock();
        let fail = |error| database::failure(&self.path, error);
        let stamp = self.stamp()?;
        self.forget_pages_of_another(&connection, stamp)?;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        // Read while nobody else can commit. Read after the commit, it could stand for another's that is not loaded here; our
        // own does not change it.
        let version = database::data_version(&transaction, &self.path)?;
        let before = self.load(&transaction, version, stamp)?;
        let changes = decide(&before.ring).map_err(UpdateError::Refused)?;
        if changes.is_empty() {
            return Ok(before.ring);
        }
        let mut ledger = before.ledger;
        let mut ring = (*before.ring).clone();
        let mut destroys = false;
        for change in &changes {
            let mut writer =
                Writer { keys: &self.keys, path: &self.path, connection: &transaction, ledger: &mut ledger };
            writer.write(&ring, change)?;
            ring.apply(change);
            destroys |= matches!(change, Change::DestroyKey(_));
        }
        ledger.generation += 1;
        write_heads(&transaction, &self.path, &self.keys, &ledger)?;
        // Until the commit has told how it ended, nothing in memory is the database's.
        *self.loaded.write() = None;
        transaction.commit().map_err(fail)?;
        self.seen.fetch_max(ledger.generation, Ordering::SeqCst);
        let ring = Arc::new(ring);
        *self.loaded.write() = Some(Loaded { version, stamp, home: before.home, ring: ring.clone(), ledger });
        if destroys || self.log_is_due.load(Ordering::SeqCst) {
            self.empty_log(&connection);
        }
        Ok(ring)
    }

    /// What was deleted is overwritten in the database; the log must not keep it either. The change stands whatever comes of
    /// this; where a reader does not end, it is due again at the next change.
    fn empty_log(&self, connection: &Connection) {
        let outcome = database::truncate_log(connection, &self.path);
        self.log_is_due.store(outcome.is_err(), Ordering::SeqCst);
        if let Err(error) = outcome {
            log::warn!("the log of the key store still holds what was destroyed, in sealed form: {error}");
        }
    }
}

impl KeyStore for SqliteStore {
    fn ring(&self) -> Result<Arc<Keyring>, StoreFailure> {
        self.current().map(|loaded| loaded.ring).map_err(|error| failure(&error))
    }

    fn update(&self, decide: &mut Decision<'_>) -> Result<Arc<Keyring>, KmsError> {
        self.transact(decide).map_err(|error| match error {
            UpdateError::Refused(error) => error,
            UpdateError::Home(error) => {
                let cause = match &error {
                    HomeError::Tampered(_) => Cause::Tampered,
                    _ => Cause::Store,
                };
                KmsError::failed(cause, error.to_string())
            }
        })
    }
}

enum UpdateError {
    Refused(KmsError),
    Home(HomeError),
}

impl From<HomeError> for UpdateError {
    fn from(error: HomeError) -> Self {
        Self::Home(error)
    }
}

fn failure(error: &HomeError) -> StoreFailure {
    match error {
        HomeError::Tampered(what) => StoreFailure::Tampered(what.clone()),
        other => StoreFailure::Failed(other.to_string()),
    }
}

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
        Writer { keys, path, connection: &transaction, ledger: &mut ledger }.replace(
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

/// Writes changes as rows, and keeps the ledger of a transaction.
struct Writer<'a> {
    keys: &'a LedgerKeys,
    path: &'a Path,
    connection: &'a Connection,
    ledger: &'a mut Ledger,
}

impl Writer<'_> {
    fn write(&mut self, ring: &Keyring, change: &Change) -> Result<(), HomeError> {
        match change {
            Change::PutKey(record) => {
                let old = ring.key(record.id).map(|key| rows::key_row(&key.record));
                self.replace(Table::Keys, old, Some(rows::key_row(record)))
            }
            Change::PutMaterial(material) => {
                let old = ring.key(material.key).and_then(|key| key.material(material.id));
                let old = old.map(|old| rows::material_row(old));
                self.replace(Table::Materials, old, Some(rows::material_row(material)))
            }
            Change::PutAlias(alias) => {
                let old = ring.alias(&alias.name).map(|old| rows::alias_row(old));
                self.replace(Table::Aliases, old, Some(rows::alias_row(alias)))
            }
            Change::RemoveAlias(name) => {
                let old = ring.alias(name).map(|old| rows::alias_row(old));
                self.replace(Table::Aliases, old, None)
            }
            Change::DestroyKey(tombstone) => {
                let Some(key) = ring.key(tombstone.key) else { return Ok(()) };
                for alias in ring.aliases().filter(|alias| alias.key == tombstone.key) {
                    self.replace(Table::Aliases, Some(rows::alias_row(alias)), None)?;
                }
                for material in &key.materials {
                    self.replace(Table::Materials, Some(rows::material_row(material)), None)?;
                }
                self.replace(Table::Keys, Some(rows::key_row(&key.record)), None)?;
                self.replace(Table::Tombstones, None, Some(rows::tombstone_row(tombstone)))
            }
            Change::Bury(tombstone) => {
                self.replace(Table::Tombstones, None, Some(rows::tombstone_row(tombstone)))
            }
            Change::SetClock(clock) => {
                let old = ring.clock();
                self.set_fact(fact::LATEST, Some(old.latest.as_millis()), Some(clock.latest.as_millis()))?;
                self.set_fact(fact::SIMULATED_OFFSET, old.simulated_offset, clock.simulated_offset)
            }
        }
    }

    fn set_fact(&mut self, name: &str, old: Option<i64>, new: Option<i64>) -> Result<(), HomeError> {
        let row = |value: i64| rows::meta_row(name, value.into());
        if old == new { Ok(()) } else { self.replace(Table::Meta, old.map(row), new.map(row)) }
    }

    /// Replaces a row, in the database and in the ledger.
    fn replace(&mut self, table: Table, old: Option<Row>, new: Option<Row>) -> Result<(), HomeError> {
        let columns = table.columns();
        let fail = |error| database::failure(self.path, error);
        let execute = |sql: &str, values: Vec<Value>| {
            let mut statement = self.connection.prepare_cached(sql).map_err(fail)?;
            statement.execute(params_from_iter(values)).map_err(fail)
        };
        if let (Some(old), None) = (&old, &new) {
            let sql = format!("DELETE FROM {} WHERE {} = ?", table.name(), columns[0]);
            execute(&sql, vec![old[0].clone()])?;
        }
        if let Some(new) = &new {
            let names = columns.join(", ");
            let marks = vec!["?"; columns.len() + 1].join(", ");
            let updates: Vec<_> =
                columns[1..].iter().map(|column| format!("{column} = excluded.{column}")).collect();
            let sql = format!(
                "INSERT INTO {} ({names}, mac) VALUES ({marks}) \
                 ON CONFLICT ({}) DO UPDATE SET {}, mac = excluded.mac",
                table.name(),
                columns[0],
                updates.join(", ")
            );
            let mut values = new.clone();
            values.push(self.keys.row_mac(table, new).to_vec().into());
            execute(&sql, values)?;
        }
        if let Some(old) = &old {
            self.ledger.remove(self.keys, table, old);
        }
        if let Some(new) = &new {
            self.ledger.add(self.keys, table, new);
        }
        Ok(())
    }
}

/// A table's head as it is stored.
struct StoredHead {
    name: String,
    generation: i64,
    rows: i64,
    mac: Vec<u8>,
}

fn read_heads(connection: &Connection, path: &Path) -> Result<Vec<StoredHead>, HomeError> {
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

fn write_heads(
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

/// A row as it is stored, with its MAC.
type Stored = (Row, Vec<u8>);

fn read_table(connection: &Connection, path: &Path, table: Table) -> Result<Vec<Stored>, HomeError> {
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

/// The keyring of verified rows, and the home's id.
fn build(tables: &[(Table, Vec<Stored>)]) -> Result<(Keyring, String), HomeError> {
    let of = |wanted: Table| {
        tables.iter().find(|(table, _)| *table == wanted).into_iter().flat_map(|(_, rows)| rows)
    };
    let meta = |name: &str| {
        of(Table::Meta).find(|(row, _)| rows::text(&row[0]) == Some(name)).map(|(row, _)| &row[1])
    };
    let text = |name: &str| meta(name).and_then(rows::text).map(str::to_owned);
    let latest = meta(fact::LATEST).and_then(rows::integer);
    let (Some(home), Some(account), Some(region), Some(latest)) =
        (text(fact::HOME), text(fact::ACCOUNT), text(fact::REGION), latest)
    else {
        return Err(HomeError::Tampered("a fact about the home is missing".to_owned()));
    };
    let clock = ClockRecord {
        latest: Timestamp::from_millis(latest),
        simulated_offset: meta(fact::SIMULATED_OFFSET).and_then(rows::integer),
    };
    let mut ring = Keyring::new(Namespace { account, region }, clock);
    for table in Table::ALL {
        for (row, _) in of(table) {
            let change = match table {
                Table::Meta | Table::Slots => continue,
                Table::Keys => rows::key_record(row).map(Change::PutKey),
                Table::Materials => rows::material_record(row).map(Change::PutMaterial),
                Table::Aliases => rows::alias_record(row).map(Change::PutAlias),
                Table::Tombstones => rows::tombstone_record(row).map(Change::Bury),
            };
            ring.apply(&change.ok_or_else(|| altered(table, row))?);
        }
    }
    Ok((ring, home))
}

fn altered(table: Table, row: &Row) -> HomeError {
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
