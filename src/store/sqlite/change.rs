//! A change of a keyring: decided on what the database holds, and committed whole or not at all; also on a disk that is full, where it
//! takes something away.

use std::sync::Arc;

use rusqlite::{Connection, Transaction};

use super::regions::Rings;
use super::{Loaded, SqliteStore, UpdateError};
use crate::kms::ring::{Change, Decision, Keyring};
use crate::store::tables::Writer;
use crate::store::{HomeError, reserve};

impl SqliteStore {
    /// One transaction of a region, or of the home's own.
    pub(super) fn transact(
        &self,
        region: Option<&str>,
        decide: &mut Decision<'_>,
    ) -> Result<Arc<Keyring>, UpdateError> {
        let mut connection = self.connection.lock();
        let (transaction, before) = self.begin(&mut connection)?;
        let known = before.ring_of(region);
        let changes = decide(&known).map_err(UpdateError::Refused)?;
        if changes.is_empty() {
            return Ok(known);
        }
        let outcome = match self.put(transaction, &before, region, &changes) {
            Err(full) if reserve::is_full(&full) && changes.iter().any(|change| change.revokes(&known)) => {
                self.put_all_the_same(&mut connection, &before, region, &changes, full)
            }
            outcome => outcome,
        };
        let (ring, destroys) = outcome?;
        self.reserve.fill();
        if destroys {
            self.clean_after_destruction(&mut connection);
        }
        Ok(ring)
    }

    /// Writes changes of a region's keyring and commits them; the keyring, and whether they destroyed something.
    fn put(
        &self,
        transaction: Transaction<'_>,
        before: &Loaded,
        region: Option<&str>,
        changes: &[Change],
    ) -> Result<(Arc<Keyring>, bool), HomeError> {
        let mut after = before.clone();
        after.ledger.generation += 1;
        let mut rings = Rings::new(before, region);
        let mut destroys = false;
        for change in changes {
            let (region, change) = before.region_of(region, change);
            let ring = rings.of(region);
            destroys |= change.destroys(ring);
            let mut writer = Writer { region, ..self.writer(&transaction, &mut after.ledger) };
            writer.write(ring, change)?;
            ring.apply(change);
        }
        if destroys {
            let unclean = self.writer(&transaction, &mut after.ledger).mark_unclean(before.unclean)?;
            after.unclean = Some(unclean);
        }
        rings.put_into(&mut after);
        let ring = after.ring_of(region);
        self.commit(transaction, after)?;
        Ok((ring, destroys))
    }

    /// Commits changes that take something away and found the disk `full`. They were decided on `before`, and are recorded: they
    /// are made as they are, or not at all.
    fn put_all_the_same(
        &self,
        connection: &mut Connection,
        before: &Loaded,
        region: Option<&str>,
        changes: &[Change],
        full: HomeError,
    ) -> Result<(Arc<Keyring>, bool), HomeError> {
        let drawn = self.reserve.draw();
        let mut outcome = Err(full);
        while outcome.as_ref().is_err_and(reserve::is_full) && drawn.give_back() {
            let (transaction, now) = self.begin(connection)?;
            if now.ledger.generation != before.ledger.generation {
                break;
            }
            outcome = self.put(transaction, &now, region, changes);
        }
        outcome
    }
}
