//! The whole store at one instant, and a store made of that.

use std::path::Path;

use super::SqliteStore;
use crate::store::ledger::LedgerKeys;
use crate::store::rows::Table;
use crate::store::tables::{self, StoredHead, StoredRow};
use crate::store::{HomeError, database, migrations};

/// Every row with its MAC, and every head, as one generation has them.
pub struct Snapshot {
    /// The version of the tables.
    pub schema: u32,
    /// The home's id.
    pub home: String,
    /// The tables in the order of [`Table::ALL`].
    pub tables: Vec<(Table, Vec<StoredRow>)>,
    /// Their heads.
    pub heads: Vec<StoredHead>,
}

impl SqliteStore {
    /// Reads and verifies everything within one transaction: others may go on changing the store meanwhile. Rows are taken and
    /// not pages, so nothing that was destroyed can come along in the unused part of one.
    ///
    /// # Errors
    /// As [`SqliteStore::new`].
    pub fn snapshot(&self) -> Result<Snapshot, HomeError> {
        let mut connection = self.connection.lock();
        let stamp = self.stamp()?;
        self.forget_pages_of_another(&connection, stamp)?;
        let transaction = connection.transaction().map_err(|error| database::failure(&self.path, error))?;
        let version = database::data_version(&transaction, &self.path)?;
        let verified = self.load(&transaction, version, stamp)?;
        let rows = |table| Ok((table, tables::read_table(&transaction, &self.path, table)?));
        Ok(Snapshot {
            schema: migrations::CURRENT,
            home: verified.home.to_string(),
            tables: Table::ALL.into_iter().map(rows).collect::<Result<_, HomeError>>()?,
            heads: tables::read_heads(&transaction, &self.path)?,
        })
    }
}

impl Snapshot {
    /// Makes a database of it at `path`, brings its tables to the current version and verifies everything under `keys`. What `then`
    /// changes of it is part of it.
    ///
    /// # Errors
    /// [`HomeError::NewerFormat`], [`HomeError::Tampered`], failures of the database.
    pub fn restore(
        &self,
        path: &Path,
        keys: LedgerKeys,
        then: impl FnOnce(&SqliteStore) -> Result<(), HomeError>,
    ) -> Result<(), HomeError> {
        let mut connection = database::create(path)?;
        migrations::make(&mut connection, path, self.schema)?;
        tables::write_stored(&mut connection, path, &self.tables, &self.heads)?;
        migrations::migrate(&mut connection, path)?;
        let store = SqliteStore::new(path, connection, keys, 0)?;
        then(&store)?;
        match database::truncate_log(&store.connection.lock(), path)? {
            true => Ok(()),
            false => Err(HomeError::Busy(path.to_owned())),
        }
    }
}
