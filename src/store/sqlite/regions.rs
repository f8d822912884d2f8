//! Regions in the database: each is a key store of its own to the key service, and all of them are one database.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Loaded, SqliteStore, UpdateError, failure};
use crate::kms::KmsError;
use crate::kms::error::Cause;
use crate::kms::related::RelatedKeys;
use crate::kms::ring::{Change, Decision, KeyStore, Keyring, StoreFailure};
use crate::store::HomeError;

impl Loaded {
    /// The keyring of a region, or of the home's own. A region that nobody used has one, too.
    pub(super) fn ring_of(&self, region: Option<&str>) -> Arc<Keyring> {
        let Some(region) = region else { return self.ring.clone() };
        self.others.get(region).cloned().unwrap_or_else(|| Arc::new(self.ring.elsewhere(region)))
    }

    /// Replaces the keyring of a region; what is the home's goes to the others.
    pub(super) fn put_ring(&mut self, region: Option<&str>, ring: Arc<Keyring>) {
        let others = Arc::make_mut(&mut self.others);
        match region {
            None => self.ring = ring.clone(),
            Some(region) => {
                Arc::make_mut(&mut self.ring).share(&ring);
                others.insert(region.to_owned(), ring.clone());
            }
        }
        others
            .values_mut()
            .filter(|other| !Arc::ptr_eq(other, &ring))
            .for_each(|other| Arc::make_mut(other).share(&ring));
        others.retain(|_, other| !other.is_without_keys());
    }
}

impl Loaded {
    /// The region that a change of a transaction in `region` is of, and the change itself.
    pub(super) fn region_of<'c>(
        &self,
        region: Option<&'c str>,
        change: &'c Change,
    ) -> (Option<&'c str>, &'c Change) {
        let Change::In(there, change) = change else { return (region, change) };
        let is_own = *there == self.ring.namespace().region;
        ((!is_own).then_some(there.as_str()), change)
    }

    /// Tells the keyrings of all regions which keys are related.
    fn relate(&mut self) {
        let others = Arc::make_mut(&mut self.others);
        let rings = [&*self.ring].into_iter().chain(others.values().map(|other| &**other));
        let related = Arc::new(RelatedKeys::of_rings(rings));
        Arc::make_mut(&mut self.ring).relate(related.clone());
        others.values_mut().for_each(|other| Arc::make_mut(other).relate(related.clone()));
    }
}

/// The keyrings that a transaction changes. What is the home's is changed in that of the transaction's own region alone.
pub(super) struct Rings<'b> {
    before: &'b Loaded,
    region: Option<&'b str>,
    changed: BTreeMap<Option<String>, Keyring>,
}

impl<'b> Rings<'b> {
    pub(super) fn new(before: &'b Loaded, region: Option<&'b str>) -> Self {
        Self { before, region, changed: BTreeMap::new() }
    }

    /// That of a region, to be changed.
    pub(super) fn of(&mut self, region: Option<&str>) -> &mut Keyring {
        let new = || (*self.before.ring_of(region)).clone();
        self.changed.entry(region.map(str::to_owned)).or_insert_with(new)
    }

    /// Has `after` be what they became; the transaction's own comes last, since it has what is the home's.
    pub(super) fn put_into(mut self, after: &mut Loaded) {
        let own = self.changed.remove_entry(&self.region.map(str::to_owned));
        for (region, ring) in self.changed.into_iter().chain(own) {
            after.put_ring(region.as_deref(), Arc::new(ring));
        }
        after.relate();
    }
}

impl SqliteStore {
    /// The regions beside the home's own in which there is something.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub fn other_regions(&self) -> Result<Vec<String>, StoreFailure> {
        let loaded = self.current().map_err(|error| failure(&error))?;
        Ok(loaded.others.keys().cloned().collect())
    }

    pub(super) fn update_in(
        &self,
        region: Option<&str>,
        decide: &mut Decision<'_>,
    ) -> Result<Arc<Keyring>, KmsError> {
        self.transact(region, decide).map_err(|error| match error {
            UpdateError::Refused(error) => error,
            UpdateError::Home(error) => {
                let cause = match &error {
                    HomeError::Tampered(_) => Cause::Tampered,
                    HomeError::NotFound(_)
                    | HomeError::AlreadyExists(_)
                    | HomeError::NotEmpty(_)
                    | HomeError::KeyFileMissing(_)
                    | HomeError::KeyFileWrong(_)
                    | HomeError::KeyFilePermissions(..)
                    | HomeError::KeyFileUnsuitable(..)
                    | HomeError::PassphraseMissing(_)
                    | HomeError::PassphraseWrong
                    | HomeError::PassphraseUnsuitable(..)
                    | HomeError::PassphraseFilePermissions(..)
                    | HomeError::RecoveryCodeMissing
                    | HomeError::NoRecoveryCode
                    | HomeError::RecoveryCodeWrong
                    | HomeError::RecoveryCodeInvalid(_)
                    | HomeError::NoSuchSlot(_)
                    | HomeError::LastSlot(_)
                    | HomeError::TooManySlots
                    | HomeError::InvalidCost(_)
                    | HomeError::OutOfMemory(_)
                    | HomeError::SecretOfAnotherKind
                    | HomeError::BackupDamaged(..)
                    | HomeError::BackupExists(_)
                    | HomeError::BackupOfItself(_)
                    | HomeError::Audit(_)
                    | HomeError::InvalidSetting { .. }
                    | HomeError::Corrupted(..)
                    | HomeError::NewerFormat { .. }
                    | HomeError::Busy(_)
                    | HomeError::Io(..) => Cause::Store,
                };
                KmsError::failed(cause, error.to_string())
            }
        })
    }
}

/// A region other than the home's own, as a key store.
#[derive(Debug)]
pub struct RegionStore {
    store: Arc<SqliteStore>,
    region: String,
}

impl RegionStore {
    /// That of `region`, which is not the home's own.
    pub fn new(store: Arc<SqliteStore>, region: &str) -> Self {
        Self { store, region: region.to_owned() }
    }
}

impl KeyStore for RegionStore {
    fn ring(&self) -> Result<Arc<Keyring>, StoreFailure> {
        let loaded = self.store.current().map_err(|error| failure(&error))?;
        Ok(loaded.ring_of(Some(&self.region)))
    }

    fn last_ring(&self) -> Option<Arc<Keyring>> {
        self.store.loaded.read().as_ref().map(|loaded| loaded.ring_of(Some(&self.region)))
    }

    fn update(&self, decide: &mut Decision<'_>) -> Result<Arc<Keyring>, KmsError> {
        self.store.update_in(Some(&self.region), decide)
    }
}
