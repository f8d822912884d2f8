//! The keyring: everything that the key service knows, as one immutable value; the changes that turn one keyring into
//! the next; and the store that keeps it.
//!
//! An operation reads one keyring and answers with changes. It never sees half of another operation, and what it
//! decides on is what the store commits on. This module knows no database: a store verifies what it loads, and applies
//! changes in one transaction.

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::KmsError;
use super::alarm::AlarmRecord;
pub use super::clock_guard::ClockRecord;
use super::credential::{AccessKeyId, CredentialRecord};
use super::id::{AliasName, KeyId, Namespace};
use super::key::{AliasRecord, Key, KeyRecord, MaterialRecord, TagRecord, Tombstone};
use super::related::RelatedKeys;
use super::volume::VolumeRecord;
use crate::clock::Timestamp;

pub use change::Change;

/// Everything that the service knows at one instant.
#[derive(Debug, Clone)]
pub struct Keyring {
    namespace: Arc<Namespace>,
    clock: ClockRecord,
    legacy_wrapping: bool,
    keys: BTreeMap<KeyId, Arc<Key>>,
    aliases: BTreeMap<AliasName, Arc<AliasRecord>>,
    tombstones: BTreeMap<KeyId, Arc<Tombstone>>,
    volumes: BTreeMap<String, Arc<VolumeRecord>>,
    alarms: BTreeMap<String, Arc<AlarmRecord>>,
    credentials: BTreeMap<AccessKeyId, Arc<CredentialRecord>>,
    /// When something is to be done about which key.
    due: BTreeSet<(Timestamp, KeyId)>,
    /// The multi-Region keys of all regions of the home, as they were when this one was made.
    related: Arc<RelatedKeys>,
}

impl Keyring {
    /// A keyring without keys.
    pub fn new(namespace: Namespace, clock: ClockRecord) -> Self {
        Self {
            namespace: Arc::new(namespace),
            clock,
            legacy_wrapping: false,
            keys: BTreeMap::new(),
            aliases: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            volumes: BTreeMap::new(),
            alarms: BTreeMap::new(),
            credentials: BTreeMap::new(),
            due: BTreeSet::new(),
            related: Arc::default(),
        }
    }

    /// The same, in a home that was made to take `RSAES_PKCS1_V1_5` (rule IMP-2).
    pub fn with_legacy_wrapping(self, legacy_wrapping: bool) -> Self {
        Self { legacy_wrapping, ..self }
    }

    /// The keyring of another region of the same home, without keys.
    pub fn elsewhere(&self, region: &str) -> Self {
        let namespace = Namespace { account: self.namespace.account.clone(), region: region.to_owned() };
        let mut ring = Self::new(namespace, self.clock.clone()).with_legacy_wrapping(self.legacy_wrapping);
        ring.share(self);
        ring
    }

    /// Takes over from the keyring of another region what is the home's: what is remembered of time, volumes, alarms and credentials, and
    /// which keys are related.
    pub fn share(&mut self, other: &Self) {
        self.related.clone_from(&other.related);
        self.clock.clone_from(&other.clock);
        self.volumes.clone_from(&other.volumes);
        self.alarms.clone_from(&other.alarms);
        self.credentials.clone_from(&other.credentials);
    }

    /// Whether there is nothing of this region.
    pub fn is_without_keys(&self) -> bool {
        self.keys.is_empty() && self.aliases.is_empty() && self.tombstones.is_empty()
    }

    /// Takes what a store found to be related among the keyrings of all regions.
    pub fn relate(&mut self, related: Arc<RelatedKeys>) {
        self.related = related;
    }

    /// Every key of that id in the home with its region, in the order of these: for a single-Region key, the one that is here.
    pub fn related(&self, id: KeyId) -> BTreeMap<&str, &Arc<Key>> {
        let here = self.namespace.region.as_str();
        let elsewhere = self.related.of(id).filter(|(region, _)| *region != here);
        elsewhere.chain(self.keys.get(&id).map(|key| (here, key))).collect()
    }

    /// The key of that id in `region`; in another region than this one, only one that can have related keys is known.
    pub fn key_in(&self, region: &str, id: KeyId) -> Option<&Arc<Key>> {
        if region == self.namespace.region {
            return self.key(id);
        }
        self.related.of(id).find(|(of, _)| *of == region).map(|(_, key)| key)
    }

    /// The key of that id that what they share is changed by, with its region: a single-Region key is its own.
    pub fn primary(&self, id: KeyId) -> Option<(&str, &Arc<Key>)> {
        self.related(id).into_iter().find(|(_, key)| !key.record.is_replica())
    }

    /// The primaries in other regions that are to rotate by `now`, with the date, of the keys that are here: whatever process comes first
    /// rotates all of the related keys, so that none is used after its date in any region (rule ROT-10).
    pub fn rotations_elsewhere(&self, now: Timestamp) -> Vec<(Timestamp, &Arc<Key>)> {
        self.primaries_elsewhere().filter(|(date, _)| *date <= now).collect()
    }

    fn primaries_elsewhere(&self) -> impl Iterator<Item = (Timestamp, &Arc<Key>)> {
        let replicas = self.related.ids().filter_map(|id| self.keys.get(&id));
        let replicas = replicas.filter(|key| key.record.is_replica());
        replicas.filter_map(|key| {
            let (_, primary) = self.primary(key.record.id)?;
            Some((primary.next_rotation()?, primary))
        })
    }

    /// The same change, of a key in `region`.
    pub fn change_in(&self, region: &str, change: Change) -> Change {
        if region == self.namespace.region { change } else { Change::In(region.to_owned(), change.into()) }
    }

    /// Whether the home takes `RSAES_PKCS1_V1_5`.
    pub const fn permits_legacy_wrapping(&self) -> bool {
        self.legacy_wrapping
    }

    /// The account and region of every name in it.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// What is remembered of time.
    pub const fn clock(&self) -> &ClockRecord {
        &self.clock
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

    /// The volume of that id.
    pub fn volume(&self, id: &str) -> Option<&Arc<VolumeRecord>> {
        self.volumes.get(id)
    }

    /// All volumes that are known, in the order of their ids.
    pub fn volumes(&self) -> impl Iterator<Item = &Arc<VolumeRecord>> {
        self.volumes.values()
    }

    /// The alarm of that name.
    pub fn alarm(&self, name: &str) -> Option<&Arc<AlarmRecord>> {
        self.alarms.get(name)
    }

    /// All alarms that somebody made, in the order of their names.
    pub fn alarms(&self) -> impl Iterator<Item = &Arc<AlarmRecord>> {
        self.alarms.values()
    }

    /// Whether anybody made an alarm.
    pub fn has_alarms(&self) -> bool {
        !self.alarms.is_empty()
    }

    /// The credential of that access key id.
    pub fn credential(&self, id: &AccessKeyId) -> Option<&Arc<CredentialRecord>> {
        self.credentials.get(id)
    }

    /// All credentials, in the order of their ids.
    pub fn credentials(&self) -> impl Iterator<Item = &Arc<CredentialRecord>> {
        self.credentials.values()
    }

    /// When something is to be done next about a key: it is destroyed, rotated, or material of it expires.
    pub fn next_due(&self) -> Option<Timestamp> {
        let elsewhere = self.primaries_elsewhere().map(|(date, _)| date);
        self.due.first().map(|(date, _)| *date).into_iter().chain(elsewhere).min()
    }

    /// The keys about which something is to be done by `now`, with the first of its dates, in the order of those.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, &Arc<Key>)> {
        let due = self.due.iter().take_while(move |(date, _)| *date <= now);
        due.filter_map(|(date, id)| Some((*date, self.keys.get(id)?)))
    }

    /// Makes `change` happen. A change of something that is not there changes nothing.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::PutKey(record) => self.put_key(record),
            Change::PutMaterial(material) => self.put_material(material),
            Change::RemoveMaterial(key, material) => self.change_key(*key, |key| {
                key.materials.retain(|known| known.id != *material);
            }),
            Change::PutAlias(alias) => {
                self.aliases.insert(alias.name.clone(), Arc::new(alias.clone()));
            }
            Change::RemoveAlias(name) => {
                self.aliases.remove(name);
            }
            Change::PutGrant(grant) => {
                self.change_key(grant.key, |key| Arc::make_mut(&mut key.grants).put(grant));
            }
            Change::RemoveGrant(key, id) => {
                self.change_key(*key, |key| Arc::make_mut(&mut key.grants).remove(*id));
            }
            Change::PutTag(TagRecord { key, tag, value }) => self.change_key(*key, |key| {
                Arc::make_mut(&mut key.tags).insert(tag.clone(), value.clone());
            }),
            Change::RemoveTag(key, tag) => self.change_key(*key, |key| {
                Arc::make_mut(&mut key.tags).remove(tag);
            }),
            Change::DestroyKey(tombstone) => self.destroy_key(tombstone),
            Change::Bury(tombstone) => self.bury(tombstone),
            Change::PutVolume(volume) => {
                self.volumes.insert(volume.id.clone(), Arc::new(volume.clone()));
            }
            Change::PutAlarm(alarm) => {
                self.alarms.insert(alarm.name.clone(), Arc::new(alarm.clone()));
            }
            Change::RemoveAlarm(name) => {
                self.alarms.remove(name);
            }
            Change::PutCredential(credential) => {
                self.credentials.insert(credential.id.clone(), Arc::new(credential.clone()));
            }
            Change::RemoveCredential(id) => {
                self.credentials.remove(id);
            }
            Change::SetClock(clock) => self.clock = clock.clone(),
            Change::In(region, change) if *region == self.namespace.region => self.apply(change),
            Change::In(region, change) => Arc::make_mut(&mut self.related).apply(region, change),
        }
    }

    fn bury(&mut self, tombstone: &Tombstone) {
        self.tombstones.insert(tombstone.key, Arc::new(tombstone.clone()));
    }

    fn put_key(&mut self, record: &KeyRecord) {
        // A replica may come back to where one was destroyed.
        self.tombstones.remove(&record.id);
        let new = || Arc::new(Key::new(record.clone()));
        self.keys.entry(record.id).or_insert_with(new);
        self.change_key(record.id, |key| key.record = record.clone());
    }

    fn put_material(&mut self, material: &MaterialRecord) {
        self.change_key(material.key, |key| key.put_material(material));
    }

    /// Changes a key and keeps up its date.
    fn change_key(&mut self, id: KeyId, change: impl FnOnce(&mut Key)) {
        let Some(key) = self.keys.get_mut(&id) else { return };
        if let Some(date) = key.next_due() {
            self.due.remove(&(date, id));
        }
        change(Arc::make_mut(key));
        if let Some(date) = key.next_due() {
            self.due.insert((date, id));
        }
    }

    fn destroy_key(&mut self, tombstone: &Tombstone) {
        if let Some(key) = self.keys.remove(&tombstone.key)
            && let Some(date) = key.next_due()
        {
            self.due.remove(&(date, tombstone.key));
        }
        self.aliases.retain(|_, alias| alias.key != tombstone.key);
        if !self.is_elsewhere(tombstone.key) {
            self.alarms.retain(|_, alarm| alarm.key != Some(tombstone.key));
        }
        self.bury(tombstone);
    }

    /// Whether another region has a key of that id. Alarms are of an id, and go with the last key of it.
    pub fn is_elsewhere(&self, id: KeyId) -> bool {
        self.related.of(id).any(|(region, _)| region != self.namespace.region)
    }
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
