//! The keyring: everything that the key service knows, as one immutable value; the changes that turn one keyring into
//! the next; and the store that keeps it.
//!
//! An operation reads one keyring and answers with changes. It never sees half of another operation, and what it
//! decides on is what the store commits on. This module knows no database: a store verifies what it loads, and applies
//! changes in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::KmsError;
use super::id::{AliasName, KeyId, Namespace};
use super::key::{AliasRecord, Key, KeyRecord, MaterialRecord, Tombstone};
use crate::clock::Timestamp;

/// What the store remembers of time (rules T-1 and T-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockRecord {
    /// The latest time that a change was made at: setting the clock back does not go behind it.
    pub latest: Timestamp,
    /// How far a simulated clock was moved ahead, in milliseconds; `None` for a home with a real clock.
    pub simulated_offset: Option<i64>,
}

/// Everything that the service knows at one instant.
#[derive(Debug, Clone)]
pub struct Keyring {
    namespace: Arc<Namespace>,
    clock: ClockRecord,
    keys: BTreeMap<KeyId, Arc<Key>>,
    aliases: BTreeMap<AliasName, Arc<AliasRecord>>,
    tombstones: BTreeMap<KeyId, Arc<Tombstone>>,
    deletions: BTreeSet<(Timestamp, KeyId)>,
}

impl Keyring {
    /// A keyring without keys.
    pub fn new(namespace: Namespace, clock: ClockRecord) -> Self {
        Self {
            namespace: Arc::new(namespace),
            clock,
            keys: BTreeMap::new(),
            aliases: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            deletions: BTreeSet::new(),
        }
    }

    /// The account and region of every name in it.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// What is remembered of time.
    pub const fn clock(&self) -> ClockRecord {
        self.clock
    }

    /// The key of that id.
    pub fn key(&self, id: KeyId) -> Option<&Arc<Key>> {
        self.keys.get(&id)
    }

    /// All keys, in the order of their ids.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.keys.values()
    }

    /// The alias of that name.
    pub fn alias(&self, name: &AliasName) -> Option<&Arc<AliasRecord>> {
        self.aliases.get(name)
    }

    /// All aliases, in the order of their names.
    pub fn aliases(&self) -> impl Iterator<Item = &Arc<AliasRecord>> {
        self.aliases.values()
    }

    /// What is left of the destroyed key of that id.
    pub fn tombstone(&self, id: KeyId) -> Option<&Arc<Tombstone>> {
        self.tombstones.get(&id)
    }

    /// All tombstones, in the order of their ids.
    pub fn tombstones(&self) -> impl Iterator<Item = &Arc<Tombstone>> {
        self.tombstones.values()
    }

    /// The key that is to be destroyed next, if its date is not after `now`.
    pub fn due_deletion(&self, now: Timestamp) -> Option<KeyId> {
        self.deletions.first().filter(|(date, _)| *date <= now).map(|(_, id)| *id)
    }

    /// Makes `change` happen. A change of something that is not there changes nothing.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::PutKey(record) => self.put_key(record),
            Change::PutMaterial(material) => self.put_material(material),
            Change::PutAlias(alias) => {
                self.aliases.insert(alias.name.clone(), Arc::new(alias.clone()));
            }
            Change::RemoveAlias(name) => {
                self.aliases.remove(name);
            }
            Change::DestroyKey(tombstone) => self.destroy_key(tombstone),
            Change::Bury(tombstone) => self.bury(tombstone),
            Change::SetClock(clock) => self.clock = *clock,
        }
    }

    fn bury(&mut self, tombstone: &Tombstone) {
        self.tombstones.insert(tombstone.key, Arc::new(tombstone.clone()));
    }

    fn put_key(&mut self, record: &KeyRecord) {
        let materials = match self.keys.get(&record.id) {
            Some(key) => {
                if let Some(date) = key.record.deletion_date {
                    self.deletions.remove(&(date, record.id));
                }
                key.materials.clone()
            }
            None => Vec::new(),
        };
        if let Some(date) = record.deletion_date {
            self.deletions.insert((date, record.id));
        }
        self.keys.insert(record.id, Arc::new(Key { record: record.clone(), materials }));
    }

    fn put_material(&mut self, material: &MaterialRecord) {
        if let Some(key) = self.keys.get_mut(&material.key) {
            let key = Arc::make_mut(key);
            key.materials.retain(|known| known.id != material.id);
            let place = key.materials.partition_point(|known| known.version < material.version);
            key.materials.insert(place, Arc::new(material.clone()));
        }
    }

    fn destroy_key(&mut self, tombstone: &Tombstone) {
        if let Some(key) = self.keys.remove(&tombstone.key)
            && let Some(date) = key.record.deletion_date
        {
            self.deletions.remove(&(date, tombstone.key));
        }
        self.aliases.retain(|_, alias| alias.key != tombstone.key);
        self.bury(tombstone);
    }
}

/// One change of a keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key is made, or its record replaced; its material stays.
    PutKey(KeyRecord),
    /// A backing key is added or replaced.
    PutMaterial(MaterialRecord),
    /// An alias is made or replaced.
    PutAlias(AliasRecord),
    /// An alias is removed.
    RemoveAlias(AliasName),
    /// A key is destroyed with its material and its aliases; the tombstone stays.
    DestroyKey(Tombstone),
    /// The tombstone of a key that was destroyed before; a store that loads says so, no operation does.
    Bury(Tombstone),
    /// Time is remembered.
    SetClock(ClockRecord),
}

/// Why the store failed. Nothing was changed then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreFailure {
    /// What it holds does not authenticate: which table, which row, what is wrong.
    Tampered(String),
    /// It could not be read or written.
    Failed(String),
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tampered(what) => write!(f, "the key store has been tampered with: {what}"),
            Self::Failed(what) => write!(f, "the key store failed: {what}"),
        }
    }
}

impl std::error::Error for StoreFailure {}

/// Decides on the changes of a keyring; an error abandons the transaction.
pub type Decision<'a> = dyn FnMut(&Keyring) -> Result<Vec<Change>, KmsError> + 'a;

/// Keeps the keyring. Implementations serve several processes and threads at once.
pub trait KeyStore: Send + Sync {
    /// The verified keyring as it is now, with every change that any process has committed.
    ///
    /// # Errors
    /// [`StoreFailure`].
    fn ring(&self) -> Result<Arc<Keyring>, StoreFailure>;

    /// The keyring as it was last read, without looking whether it is still that.
    fn last_ring(&self) -> Option<Arc<Keyring>>;

    /// One transaction: asks `decide` for changes of the newest keyring, while no other process can change it, and
    /// commits them durably, all or none. Answers the keyring after them.
    ///
    /// # Errors
    /// What `decide` answers, or a [`StoreFailure`].
    fn update(&self, decide: &mut Decision<'_>) -> Result<Arc<Keyring>, KmsError>;
}
