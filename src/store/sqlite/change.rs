//! A change of a keyring: decided on what the database holds, and committed whole or not at all; also on a disk that is full, where it
//! takes something away.

use std::sync::Arc;

use rusqlite::{Connection, Transaction};

use super::regions::Rings;
use super::{Loaded, SqliteStore, UpdateError};
use crate::kms::ring::{Change, Decision, Keyring};
use crate::store::tables::Writer;
use crate::store::{HomeError, database, reserve};

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
        let takes_away = changes.iter().any(|change| change.revokes(&known));
        // Room is made while nobody else can commit, so that what was decided stays right. Whoever draws on the reserve to change something
        // has the database before: the other way round two of them would wait for each other.
        let drawn = (takes_away && database::is_full(&self.path)).then(|| self.reserve.draw_pieces(1));
        let outcome = self.put(transaction, &before, region, &changes);
        drop(drawn);
        let outcome = match outcome {
            Err(full) if takes_away && reserve::is_full(&full) => {
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

    /// Commits changes that take something away and found the disk `full`, with one piece of the reserve after the other. They were decided
    /// on `before`, and are recorded: they are made as they are, or not at all.
    fn put_all_the_same(
        &self,
        connection: &mut Connection,
        before: &Loaded,
        region: Option<&str>,
        changes: &[Change],
        mut full: HomeError,
    ) -> Result<(Arc<Keyring>, bool), HomeError> {
        for pieces in 1.. {
            let (transaction, now) = self.begin(connection)?;
            if now.ledger.generation != before.ledger.generation {
                // Another process has changed something meanwhile: to be decided once more.
                return Err(HomeError::Busy(self.path.clone()));
            }
            let Some(_drawn) = self.reserve.draw_pieces(pieces) else { break };
            match self.put(transaction, &now, region, changes) {
                Err(again) if reserve::is_full(&again) => full = again,
                outcome => return outcome,
            }
        }
        Err(full)
    }
}
