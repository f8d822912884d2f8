//! The keyring in SQLite: loaded and verified as a whole, changed row by row.
//!
//! A load checks every row's MAC and every table's head. In between, `PRAGMA data_version` tells whether another process has
//! committed; as long as it has not, the keyring in memory is the database's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params_from_iter};

use super::ledger::{Ledger, LedgerKeys};
use super::rows::{self, Row, Table};
use super::{HomeError, database};
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
    /// The generation of the last destruction, while copies of what it destroyed may be in the database's files.
    pub const UNCLEAN: &str = "unclean";
}

/// How long a destruction waits for readers of the write-ahead log. Nothing else is answered meanwhile.
const READERS_LIMIT: Duration = Duration::from_secs(1);

/// The key store of an unlocked home.
pub struct SqliteStore {
    path: PathBuf,
    keys: LedgerKeys,
    connection: Mutex<Connection>,
    loaded: RwLock<Option<Loaded>>,
    /// Whether cleaning failed for another reason than somebody in the way, such as a full disk: not tried again at each use, but
    /// at the next destruction and by the next process.
    cannot_clean: AtomicBool,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SqliteStore({})", self.path.display())
    }
}

/// What a load gave, and the database's version that it is true for. After a commit of one's own that is the version within
/// the transaction, which the commit leaves as it is: afterwards another process may have committed already.
#[derive(Clone)]
struct Loaded {
    version: i64,
    ring: Arc<Keyring>,
    ledger: Ledger,
    /// [`fact::UNCLEAN`].
    unclean: Option<i64>,
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
            loaded: RwLock::new(None),
            cannot_clean: AtomicBool::new(false),
        };
        store.current()?;
        Ok(store)
    }

    /// The home's own id.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn home_id(&self) -> Result<String, HomeError> {
        let connection = self.connection.lock();
        let rows = read_table(&connection, &self.path, Table::Meta)?;
        let home = rows.iter().find_map(|(row, _)| fact_text(row, fact::HOME));
        home.ok_or_else(|| HomeError::Tampered("the home has no id".to_owned()))
    }

    fn current(&self) -> Result<Loaded, HomeError> {
        let mut connection = self.connection.lock();
        let loaded = self.newest(&mut connection)?;
        // A kill, or a reader, came between a destruction and its cleaning.
        if loaded.unclean.is_some() && self.clean(&mut connection, Duration::ZERO) {
            return self.newest(&mut connection);
        }
        Ok(loaded)
    }

    /// What is in memory, if that is what the database holds; otherwise what it holds.
    fn newest(&self, connection: &mut Connection) -> Result<Loaded, HomeError> {
        let version = database::data_version(connection, &self.path)?;
        if let Some(loaded) = self.loaded.read().as_ref().filter(|loaded| loaded.version == version) {
            return Ok(loaded.clone());
        }
        let transaction = connection.transaction().map_err(|error| database::failure(&self.path, error))?;
        let loaded = self.load(&transaction)?;
        drop(transaction);
        // The version was read before: a commit in between is loaded once more by the next call, and never missed.
        let loaded = Loaded { version, ..loaded };
        *self.loaded.write() = Some(loaded.clone());
        Ok(loaded)
    }

    /// Reads and verifies everything, within a transaction.
    fn load(&self, connection: &Connection) -> Result<Loaded, HomeError> {
        let mut ledger = Ledger::empty();
        let heads = read_heads(connection, &self.path)?;
        ledger.generation = heads.first().map_or(0, |head| head.generation);
        if let Some(known) = self.loaded.read().as_ref()
            && ledger.generation < known.ledger.generation
        {
            return Err(HomeError::Tampered(format!(
                "the database is of generation {}, and {} was seen before: an older copy was put back",
                ledger.generation, known.ledger.generation
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
        let ring = build(&tables)?;
        let facts = tables.iter().filter(|(table, _)| *table == Table::Meta).flat_map(|(_, rows)| rows);
        let mut unclean = facts.filter(|(row, _)| rows::text(&row[0]) == Some(fact::UNCLEAN));
        let unclean = unclean.next().and_then(|(row, _)| rows::integer(&row[1]));
        Ok(Loaded { version: 0, ring: Arc::new(ring), ledger, unclean })
    }

    fn check_head(&self, ledger: &Ledger, heads: &[StoredHead], table: Table) -> Result<(), HomeError> {
        let authentic = heads.iter().any(|head| {
            head.name == table.name()
                && head.generation == ledger.generation
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
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        let before = self.load(&transaction)?;
        let changes = decide(&before.ring).map_err(UpdateError::Refused)?;
        if changes.is_empty() {
            return Ok(before.ring);
        }
        let (mut ledger, mut unclean) = (before.ledger, before.unclean);
        ledger.generation += 1;
        let generation = ledger.generation;
        let mut ring = (*before.ring).clone();
        let mut writer =
            Writer { keys: &self.keys, path: &self.path, connection: &transaction, ledger: &mut ledger };
        for change in &changes {
            writer.write(&ring, change)?;
            ring.apply(change);
        }
        let destroys = changes.iter().any(|change| matches!(change, Change::DestroyKey(_)));
        if destroys {
            writer.set_fact(fact::UNCLEAN, unclean, Some(generation))?;
            unclean = Some(generation);
        }
        write_heads(&transaction, &self.path, &self.keys, &ledger)?;
        let version = database::data_version(&transaction, &self.path)?;
        transaction.commit().map_err(fail)?;
        let ring = Arc::new(ring);
        *self.loaded.write() = Some(Loaded { version, ring: ring.clone(), ledger, unclean });
        if destroys {
            self.cannot_clean.store(false, Ordering::Relaxed);
            self.clean(&mut connection, READERS_LIMIT);
        }
        Ok(ring)
    }

    /// Has the database's files forget what was destroyed; `true` where they have. The destruction stands whatever comes of this:
    /// what another program delays is done at one of the next uses of the store, by whichever process.
    fn clean(&self, connection: &mut Connection, limit: Duration) -> bool {
        if self.cannot_clean.load(Ordering::Relaxed) {
            return false;
        }
        match self.try_clean(connection, limit) {
            Ok(true) => return true,
            Ok(false) if limit.is_zero() => (),
            Ok(false) => log::warn!(
                "{}: another program reads the key store, so bytes of a destroyed key stay in it until that ends",
                self.path.display()
            ),
            Err(error) => {
                self.cannot_clean.store(true, Ordering::Relaxed);
                log::error!("bytes of a destroyed key are left in the key store: {error}");
            }
        }
        false
    }

    fn try_clean(&self, connection: &mut Connection, limit: Duration) -> Result<bool, HomeError> {
        let known = self.newest(connection)?.unclean;
        if !database::rewrite(connection, &self.path, limit)? {
            return Ok(false);
        }
        let fail = |error| database::failure(&self.path, error);
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        let Loaded { ring, mut ledger, unclean, .. } = self.load(&transaction)?;
        if unclean != known {
            // Another process destroyed a key meanwhile, and cleans up after that; or has cleaned up already.
            return Ok(false);
        }
        ledger.generation += 1;
        Writer { keys: &self.keys, path: &self.path, connection: &transaction, ledger: &mut ledger }
            .set_fact(fact::UNCLEAN, unclean, None)?;
        write_heads(&transaction, &self.path, &self.keys, &ledger)?;
        let version = database::data_version(&transaction, &self.path)?;
        transaction.commit().map_err(fail)?;
        *self.loaded.write() = Some(Loaded { version, ring, ledger, unclean: None });
        Ok(true)
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

/// A row as it is stored: its values, and its MAC.
type StoredRow = (Row, Vec<u8>);

/// A table's head as it is stored.
struct StoredHead {
    name: String,
    generation: i64,
    mac: Vec<u8>,
}

fn read_heads(connection: &Connection, path: &Path) -> Result<Vec<StoredHead>, HomeError> {
    let read = || {
        let mut statement = connection.prepare_cached("SELECT name, generation, mac FROM heads")?;
        let heads = statement.query_map([], |row| {
            Ok(StoredHead { name: row.get(0)?, generation: row.get(1)?, mac: row.get(2)? })
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

fn read_table(connection: &Connection, path: &Path, table: Table) -> Result<Vec<StoredRow>, HomeError> {
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

/// The keyring of verified rows.
fn build(tables: &[(Table, Vec<StoredRow>)]) -> Result<Keyring, HomeError> {
    let of = |wanted: Table| {
        tables.iter().find(|(table, _)| *table == wanted).into_iter().flat_map(|(_, rows)| rows)
    };
    let meta = |name: &str| {
        of(Table::Meta).find(|(row, _)| rows::text(&row[0]) == Some(name)).map(|(row, _)| &row[1])
    };
    let text = |name: &str| meta(name).and_then(rows::text).map(str::to_owned);
    let (Some(account), Some(region), Some(latest)) =
        (text(fact::ACCOUNT), text(fact::REGION), meta(fact::LATEST).and_then(rows::integer))
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
    Ok(ring)
}

fn altered(table: Table, row: &Row) -> HomeError {
    let key = match row.first() {
        Some(Value::Text(key)) => key.clone(),
        Some(Value::Integer(key)) => key.to_string(),
        Some(Value::Null | Value::Real(_) | Value::Blob(_)) | None => "?".to_owned(),
    };
    HomeError::Tampered(format!("row {key:?} of table {} does not authenticate", table.name()))
}

fn fact_text(row: &Row, name: &str) -> Option<String> {
    (rows::text(row.first()?)? == name).then(|| rows::text(row.get(1)?).map(str::to_owned))?
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

#[cfg(test)]
mod tests;
