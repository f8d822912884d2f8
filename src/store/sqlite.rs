//! The keyring in SQLite: loaded and verified as a whole, changed row by row.
//!
//! A load checks every row's MAC and every table's head. In between, the header of the log's index tells whether anybody has
//! committed, `PRAGMA data_version` whether another process has, and the file's stamp whether it was written to or replaced; as
//! long as neither is, the keyring in memory is the database's.

mod audit;
mod backup;
mod change;
mod regions;
mod slots;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use backup::Snapshot;
pub use regions::RegionStore;
pub use slots::SlotChange;

use super::audit::FileAuditLog;
use super::database::Stamp;
use super::ledger::{Ledger, LedgerKeys};
use super::reserve::Reserve;
use super::rows::Table;
use super::slot::Slot;
use super::tables::{self, AuditFacts, StoredHead, Writer, fact};
use super::{HomeError, database, migrations};
use crate::kms::KmsError;
use crate::kms::ring::{Decision, KeyStore, Keyring, StoreFailure};
use crate::sys::{self, WalHeader};

/// How long a destruction waits for readers of the write-ahead log. Nothing else is answered meanwhile.
const READERS_LIMIT: Duration = Duration::from_secs(1);

/// For how long a process that asks often takes it that the database's file is the one that it has open. That another file took
/// its place is an attack, or an accident; what others commit to it is seen at once, whatever this is.
const STAMP_LIMIT: Duration = Duration::from_millis(1);

/// The key store of an unlocked home.
pub struct SqliteStore {
    path: PathBuf,
    keys: LedgerKeys,
    connection: Mutex<Connection>,
    /// The file that the connection has open: device and number.
    file: (u64, u64),
    loaded: RwLock<Option<Loaded>>,
    /// The file as it was looked at last, in a process that asks often.
    stamped: OnceLock<Mutex<(Instant, Stamp)>>,
    /// The highest generation that was seen: the database never goes behind it.
    seen: Arc<AtomicI64>,
    /// The log, whose records the store remembers by number.
    log: OnceLock<Arc<FileAuditLog>>,
    /// Whether cleaning failed for another reason than somebody in the way, such as a full disk: not tried again at each use, but
    /// at the next destruction and by the next process.
    cannot_clean: AtomicBool,
    /// Room for revocations.
    reserve: Reserve,
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
    /// The log as it was then; `None` where that is not known, and the version has to be asked for.
    log: Option<WalHeader>,
    home: Arc<str>,
    slots: Arc<[Slot]>,
    /// The keyring of the home's region.
    ring: Arc<Keyring>,
    /// Those of the other regions in which there is something.
    others: Arc<BTreeMap<String, Arc<Keyring>>>,
    ledger: Ledger,
    /// [`fact::UNCLEAN`].
    unclean: Option<i64>,
    /// The schema up to which tables have heads.
    headed: u32,
    audit: Option<AuditFacts>,
}

impl SqliteStore {
    /// Over an open database, whose rows `keys` authenticate. Everything is verified once. `seen` is a generation that the database
    /// had before, 0 where nothing is known of that.
    ///
    /// # Errors
    /// [`HomeError::Tampered`], [`HomeError::Corrupted`], [`HomeError::Busy`], [`HomeError::Io`].
    pub fn new(path: &Path, connection: Connection, keys: LedgerKeys, seen: i64) -> Result<Self, HomeError> {
        let store = Self {
            path: path.to_owned(),
            keys,
            connection: Mutex::new(connection),
            file: database::stamp(path)?.file,
            loaded: RwLock::new(None),
            stamped: OnceLock::new(),
            seen: Arc::new(AtomicI64::new(seen)),
            log: OnceLock::new(),
            cannot_clean: AtomicBool::new(false),
            reserve: Reserve::of(path.parent().unwrap_or(Path::new("."))),
        };
        if store.current()?.headed < migrations::CURRENT {
            store.complete_heads()?;
        }
        Ok(store)
    }

    /// Gives a head to each table that came with a later schema: from then on, that it is empty is authenticated.
    fn complete_heads(&self) -> Result<(), HomeError> {
        let mut connection = self.connection.lock();
        let (transaction, mut after) = self.begin(&mut connection)?;
        if after.headed >= migrations::CURRENT {
            return Ok(());
        }
        let before = std::mem::replace(&mut after.headed, migrations::CURRENT);
        after.ledger.generation += 1;
        let (known, schema) = (tables::headed_fact(before), i64::from(migrations::CURRENT));
        self.writer(&transaction, &mut after.ledger).set_fact(fact::SCHEMA, known, Some(schema))?;
        self.commit(transaction, after)
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
        let loaded = self.newest(&mut connection)?;
        // A kill, or a reader, came between a destruction and its cleaning.
        if loaded.unclean.is_some() && self.clean(&mut connection, Duration::ZERO) {
            return self.newest(&mut connection);
        }
        Ok(loaded)
    }

    /// What is in memory, if that is what the database holds; otherwise what it holds.
    fn newest(&self, connection: &mut Connection) -> Result<Loaded, HomeError> {
        let stamp = self.recent_stamp()?;
        let log = sys::wal_header(connection);
        let is_untouched =
            |loaded: &&Loaded| loaded.stamp == stamp && loaded.log.is_some() && loaded.log == log;
        if let Some(loaded) = self.loaded.read().as_ref().filter(is_untouched) {
            return Ok(loaded.clone());
        }
        let version = database::data_version(connection, &self.path)?;
        let is_current = |loaded: &&mut Loaded| loaded.version == version && loaded.stamp == stamp;
        if let Some(loaded) = self.loaded.write().as_mut().filter(is_current) {
            // Read before the version: a commit in between is another version.
            loaded.log = log;
            return Ok(loaded.clone());
        }
        self.forget_pages_of_another(connection, stamp)?;
        let transaction = connection.transaction().map_err(|error| database::failure(&self.path, error))?;
        // Version and stamp were read before: a change in between is loaded once more by the next call, and never missed.
        let loaded = Loaded { log, ..self.load(&transaction, version, stamp)? };
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

    /// Looks at the database's file less often: for a process that stays and asks for each file that is opened.
    ///
    /// # Errors
    /// As [`SqliteStore::new`].
    pub fn ask_often(&self) -> Result<(), HomeError> {
        let stamp = self.stamp()?;
        self.stamped.get_or_init(|| Mutex::new((Instant::now(), stamp)));
        Ok(())
    }

    fn recent_stamp(&self) -> Result<Stamp, HomeError> {
        let Some(stamped) = self.stamped.get() else { return self.stamp() };
        let mut stamped = stamped.lock();
        if stamped.0.elapsed() > STAMP_LIMIT {
            *stamped = (Instant::now(), self.stamp()?);
        }
        Ok(stamped.1)
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
        let heads = tables::read_heads(connection, &self.path)?;
        ledger.generation = heads.first().map_or(0, |head| head.generation);
        let seen = self.seen.load(Ordering::SeqCst);
        if ledger.generation < seen {
            return Err(HomeError::Tampered(format!(
                "the database is of generation {}, and {seen} was seen before: an older copy was put back",
                ledger.generation
            )));
        }
        let (mut read, mut headed) = (Vec::new(), 0);
        for table in Table::ALL {
            let rows = tables::read_table(connection, &self.path, table)?;
            for (row, mac) in &rows {
                if !self.keys.row_is_authentic(table, row, mac) {
                    return Err(tables::altered(table, row));
                }
                ledger.add(&self.keys, table, row);
            }
            if table == Table::Meta {
                headed = tables::headed_schema(&rows);
            }
            // A head that is not there yet authenticates nothing, and there is nothing yet.
            let is_new = table.since() > headed && rows.is_empty();
            if !is_new || heads.iter().any(|head| head.name == table.name()) {
                self.check_head(&ledger, &heads, table)?;
            }
            read.push((table, rows));
        }
        let built = tables::build(&read)?;
        self.seen.fetch_max(ledger.generation, Ordering::SeqCst);
        let (ring, home, slots) = (Arc::new(built.ring), built.home.into(), built.slots.into());
        let others = built.others.into_iter().map(|(region, ring)| (region, Arc::new(ring)));
        let others = Arc::new(others.collect());
        let (unclean, audit) = (built.unclean, built.audit);
        Ok(Loaded { version, stamp, log: None, home, slots, ring, others, ledger, unclean, headed, audit })
    }

    fn check_head(&self, ledger: &Ledger, heads: &[StoredHead], table: Table) -> Result<(), HomeError> {
        let authentic = heads.iter().any(|head| {
            head.name == table.name()
                && head.generation == ledger.generation
                && head.rows == ledger.rows(table)
                && self.keys_fit(ledger, table, &head.mac)
        });
        if authentic && heads.len() <= Table::ALL.len() {
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

    fn clean_after_destruction(&self, connection: &mut Connection) {
        self.cannot_clean.store(false, Ordering::Relaxed);
        self.clean(connection, READERS_LIMIT);
    }

    /// Begins a change: no other process can commit until it ends.
    fn begin<'c>(&self, connection: &'c mut Connection) -> Result<(Transaction<'c>, Loaded), HomeError> {
        let stamp = self.stamp()?;
        self.forget_pages_of_another(connection, stamp)?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| database::failure(&self.path, error))?;
        // Read while nobody else can commit. Read after the commit, it could stand for another's that is not loaded here; our
        // own does not change it.
        let version = database::data_version(&transaction, &self.path)?;
        let before = self.load(&transaction, version, stamp)?;
        Ok((transaction, before))
    }

    /// Commits a change; memory is then what `after` says.
    fn commit(&self, transaction: Transaction<'_>, mut after: Loaded) -> Result<(), HomeError> {
        self.remember_log(&transaction, &mut after)?;
        tables::write_heads(&transaction, &self.path, &self.keys, &after.ledger)?;
        // Until the commit has told how it ended, nothing in memory is the database's.
        *self.loaded.write() = None;
        transaction.commit().map_err(|error| database::failure(&self.path, error))?;
        self.seen.fetch_max(after.ledger.generation, Ordering::SeqCst);
        *self.loaded.write() = Some(after);
        Ok(())
    }

    fn writer<'a>(&'a self, connection: &'a Connection, ledger: &'a mut Ledger) -> Writer<'a> {
        Writer { keys: &self.keys, path: &self.path, connection, ledger, region: None }
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
                "{}: another program reads the key store, so bytes that were destroyed stay in it until that ends",
                self.path.display()
            ),
            Err(error) => {
                self.cannot_clean.store(true, Ordering::Relaxed);
                log::error!("destroyed bytes are left in the key store: {error}");
            }
        }
        false
    }

    fn try_clean(&self, connection: &mut Connection, limit: Duration) -> Result<bool, HomeError> {
        let known = self.newest(connection)?.unclean;
        if !database::rewrite(connection, &self.path, limit)? {
            return Ok(false);
        }
        let (transaction, mut after) = self.begin(connection)?;
        if after.unclean != known {
            // Another process destroyed a key meanwhile, and cleans up after that; or has cleaned up already.
            return Ok(false);
        }
        after.ledger.generation += 1;
        self.writer(&transaction, &mut after.ledger).set_fact(fact::UNCLEAN, known, None)?;
        after.unclean = None;
        self.commit(transaction, after)?;
        Ok(true)
    }
}

impl KeyStore for SqliteStore {
    fn ring(&self) -> Result<Arc<Keyring>, StoreFailure> {
        self.current().map(|loaded| loaded.ring).map_err(|error| failure(&error))
    }

    fn last_ring(&self) -> Option<Arc<Keyring>> {
        self.loaded.read().as_ref().map(|loaded| loaded.ring.clone())
    }

    fn update(&self, decide: &mut Decision<'_>) -> Result<Arc<Keyring>, KmsError> {
        self.update_in(None, decide)
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

#[cfg(test)]
mod tests;
