//! What the store knows of the audit log. Each has something of the other: a record names the store's generation, and the store the number
//! of a record, so neither can be put back alone as it was earlier.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use rusqlite::Connection;

use super::{Loaded, SqliteStore};
use crate::crypto::rng;
use crate::kms::ring::Keyring;
use crate::store::HomeError;
use crate::store::audit::FileAuditLog;
use crate::store::audit::chain::CHAIN_ID_LEN;
use crate::store::tables::AuditFacts;

impl SqliteStore {
    /// The highest generation that was seen, for who records it.
    pub fn generation(&self) -> Arc<AtomicI64> {
        self.seen.clone()
    }

    /// Has each later change remember how far `log` goes.
    pub fn set_log(&self, log: Arc<FileAuditLog>) {
        // Set once, by who opens the home.
        let _ = self.log.set(log);
    }

    /// What the store knows of the log. In a home from before it was a chain, or where `anew`, a chain is begun with `begin`, which
    /// gets its id and the store's generation, while no other process can do so.
    ///
    /// # Errors
    /// What `begin` answers, failures of the database. A chain that was begun is none then.
    pub fn audit(
        &self,
        anew: bool,
        begin: impl FnOnce([u8; CHAIN_ID_LEN], &Keyring, i64) -> Result<(), HomeError>,
    ) -> Result<AuditFacts, HomeError> {
        if let Some(facts) = self.current()?.audit.filter(|_| !anew) {
            return Ok(facts);
        }
        let mut connection = self.connection.lock();
        let (transaction, before) = self.begin(&mut connection)?;
        if let Some(facts) = before.audit.filter(|_| !anew) {
            return Ok(facts);
        }
        let chain = rng::bytes();
        begin(chain, &before.ring, before.ledger.generation)?;
        let mut after = before.clone();
        after.ledger.generation += 1;
        let facts = AuditFacts { chain, number: 1, file_len: before.audit.and_then(|facts| facts.file_len) };
        self.writer(&transaction, &mut after.ledger).set_audit(before.audit, facts)?;
        after.audit = Some(facts);
        self.commit(transaction, after)?;
        Ok(facts)
    }

    /// Sets how many bytes a file of the log becomes; processes that have the home open go on as before.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn set_audit_file_len(&self, len: Option<i64>) -> Result<(), HomeError> {
        let mut connection = self.connection.lock();
        let (transaction, mut after) = self.begin(&mut connection)?;
        let Some(old) = after.audit else { return Ok(()) };
        let new = AuditFacts { file_len: len, ..old };
        after.ledger.generation += 1;
        self.writer(&transaction, &mut after.ledger).set_audit(Some(old), new)?;
        after.audit = Some(new);
        self.commit(transaction, after)
    }

    /// Writes down how far the log goes for certain, within the transaction of a change.
    pub(super) fn remember_log(&self, connection: &Connection, after: &mut Loaded) -> Result<(), HomeError> {
        let (Some(log), Some(old)) = (self.log.get(), after.audit) else { return Ok(()) };
        let number = i64::try_from(log.synced_number()).unwrap_or(i64::MAX).max(old.number);
        let new = AuditFacts { number, ..old };
        self.writer(connection, &mut after.ledger).set_audit(Some(old), new)?;
        after.audit = Some(new);
        Ok(())
    }
}
