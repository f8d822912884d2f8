//! What the service knows of a key: its record, its backing keys, its aliases, and what is left after its deletion.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::grant::Grants;
use super::id::{AliasName, KeyId, MaterialId};
use super::material::SealedMaterial;
use super::policy::Policy;
use super::spec::{KeySpec, KeyUsage};
use super::state::{KeyState, Origin};
use crate::clock::Timestamp;
use crate::datakey::KeyArn;

/// The record of a CMK, without its material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its id.
    pub id: KeyId,
    /// Its one state.
    pub state: KeyState,
    /// Where its material comes from.
    pub origin: Origin,
    /// What its material is.
    pub spec: KeySpec,
    /// What it is used for: one of the spec's usages.
    pub usage: KeyUsage,
    /// What people wrote about it.
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it will be destroyed; present exactly while it is pending deletion.
    pub deletion_date: Option<Timestamp>,
    /// Who manages it.
    pub manager: KeyManager,
    /// Its automatic rotation, if that is on. It is kept while the key is disabled or pending deletion (rule ROT-3).
    pub rotation: Option<RotationSchedule>,
    /// Its policy, as it was put; `None` for the default policy.
    pub policy: Option<Arc<Policy>>,
    /// What it is among its related keys; `None` exactly for a single-Region key.
    pub role: Option<RegionRole>,
    /// The waiting period that begins when its last replica is gone; present exactly while it is pending the deletion of its replicas.
    pub pending_window_days: Option<u32>,
}

/// What a multi-Region key is among its related keys, of which one is the primary (AWS KMS API, MultiRegionKeyType).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegionRole {
    /// What all of them share is changed here, and only this one can be replicated.
    Primary,
    /// It takes what they share from the primary.
    Replica,
}

impl RegionRole {
    /// AWS's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Primary => "PRIMARY",
            Self::Replica => "REPLICA",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Primary, Self::Replica].into_iter().find(|role| role.name() == name)
    }
}

impl KeyRecord {
    /// Whether what it shares with its related keys is another's to change.
    pub fn is_replica(&self) -> bool {
        self.role == Some(RegionRole::Replica)
    }

    /// Whether it is the one of its related keys that what they share is changed by.
    pub fn is_primary(&self) -> bool {
        self.role == Some(RegionRole::Primary)
    }
}

/// Who manages a key (AWS KMS API, KeyMetadata, KeyManager).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyManager {
    /// Whoever made it.
    Customer,
    /// The service: it was made when it was first used, and nobody can disable, delete or rotate it (rule ROT-5).
    Aws,
}

impl KeyManager {
    /// AWS's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Customer => "CUSTOMER",
            Self::Aws => "AWS",
        }
    }

    /// The manager of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Customer, Self::Aws].into_iter().find(|manager| manager.name() == name)
    }
}

/// When a key rotates by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RotationSchedule {
    /// Days from one rotation to the next.
    pub period_days: u32,
    /// The next rotation; in the past while the key cannot be rotated.
    pub next: Timestamp,
}

impl RotationSchedule {
    /// One that begins at `from`.
    pub fn from(from: Timestamp, period_days: u32) -> Self {
        Self { period_days, next: from.plus_days(period_days) }
    }

    /// The schedule after a rotation at `now`: the next of its dates that is still to come. A date that was missed while nothing
    /// ran or the key was disabled is not made up for.
    pub fn after(self, now: Timestamp) -> Self {
        let period = i64::from(self.period_days) * 86_400_000;
        let missed = now.as_millis().saturating_sub(self.next.as_millis()).max(0) / period.max(1);
        let ahead = missed.saturating_add(1).saturating_mul(period);
        Self { next: Timestamp::from_millis(self.next.as_millis().saturating_add(ahead)), ..self }
    }
}

/// What started a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RotationKind {
    /// The schedule.
    Automatic,
    /// RotateKeyOnDemand.
    OnDemand,
}

impl RotationKind {
    /// AWS's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Automatic => "AUTOMATIC",
            Self::OnDemand => "ON_DEMAND",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Automatic, Self::OnDemand].into_iter().find(|kind| kind.name() == name)
    }
}

/// A backing key of a CMK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaterialRecord {
    /// Its id.
    pub id: MaterialId,
    /// The CMK that it belongs to.
    pub key: KeyId,
    /// Its place in the order of the CMK's backing keys, from 1; the highest is current.
    pub version: u32,
    /// The rotation that brought it, and when; `None` for the first.
    pub rotation: Option<(RotationKind, Timestamp)>,
    /// Its bytes, sealed; `None` for imported material that was deleted or has expired.
    pub sealed: Option<SealedMaterial>,
    /// What the import said of it; `None` for material that the service made.
    pub imported: Option<Imported>,
    /// How many ciphertexts it made, rounded up (rule CR-4).
    pub uses: u64,
}

/// What is known of imported material beside its bytes (rules IMP-4 and IMP-5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// When it expires; `None` where it does not.
    pub valid_to: Option<Timestamp>,
    /// What people wrote about it.
    pub description: String,
    /// Whether it waits for the rotation that makes it current. It is not bound to the key yet.
    pub pending: bool,
}

impl MaterialRecord {
    /// Whether it waits for the rotation that makes it current.
    pub fn is_pending(&self) -> bool {
        self.imported.as_ref().is_some_and(|imported| imported.pending)
    }

    /// When its bytes are to be destroyed, while they are there.
    pub fn expiry(&self) -> Option<Timestamp> {
        self.sealed.as_ref()?;
        self.imported.as_ref()?.valid_to
    }
}

/// A CMK with its backing keys, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The record.
    pub record: KeyRecord,
    /// The backing keys in the order of their versions.
    pub materials: Vec<Arc<MaterialRecord>>,
    /// Who may use it beside those whom its policy lets.
    pub grants: Arc<Grants>,
    /// Its tags.
    pub tags: Arc<BTreeMap<String, String>>,
}

impl Key {
    /// A key without material, grants and tags.
    pub fn new(record: KeyRecord) -> Self {
        Self { record, materials: Vec::new(), grants: Arc::default(), tags: Arc::default() }
    }

    /// The backing key that encrypts, also while its bytes are not there; `None` for a key that never had any.
    pub fn current(&self) -> Option<&Arc<MaterialRecord>> {
        self.materials.iter().rev().find(|material| !material.is_pending())
    }

    /// The imported backing key that waits for a rotation.
    pub fn pending(&self) -> Option<&Arc<MaterialRecord>> {
        self.materials.iter().rev().find(|material| material.is_pending())
    }

    /// The backing key of that id.
    pub fn material(&self, id: MaterialId) -> Option<&Arc<MaterialRecord>> {
        self.materials.iter().rev().find(|material| material.id == id)
    }

    /// Whether it has material, and none that belongs to it for good is missing (rule IMP-4).
    pub fn has_all_material(&self) -> bool {
        let mut permanent = self.materials.iter().filter(|material| !material.is_pending()).peekable();
        permanent.peek().is_some() && permanent.all(|material| material.sealed.is_some())
    }

    /// When the first of the backing keys that belong to it for good expires.
    pub fn expiry(&self) -> Option<Timestamp> {
        let permanent = self.materials.iter().filter(|material| !material.is_pending());
        permanent.filter_map(|material| material.expiry()).min()
    }

    /// The version number of the next backing key.
    pub fn next_version(&self) -> u32 {
        self.materials.last().map_or(1, |material| material.version + 1)
    }

    /// When something is to be done about it: it is destroyed, rotated, or material of it expires.
    pub fn next_due(&self) -> Option<Timestamp> {
        let expiries = self.materials.iter().filter_map(|material| material.expiry());
        expiries.chain(self.record.deletion_date).chain(self.next_rotation()).min()
    }

    /// When it rotates by itself; `None` also while it is in a state in which it does not (rule ROT-3), and for a replica, which its
    /// primary rotates.
    pub fn next_rotation(&self) -> Option<Timestamp> {
        let schedule = self.record.rotation.filter(|_| !self.record.is_replica())?;
        (self.record.state == KeyState::Enabled).then_some(schedule.next)
    }

    /// Adds or replaces a backing key.
    pub fn put_material(&mut self, material: &MaterialRecord) {
        self.materials.retain(|known| known.id != material.id);
        let place = self.materials.partition_point(|known| known.version < material.version);
        self.materials.insert(place, Arc::new(material.clone()));
    }
}

/// An alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRecord {
    /// Its name.
    pub name: AliasName,
    /// The key that it names.
    pub key: KeyId,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last pointed at a key.
    pub updated: Timestamp,
}

/// A tag of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRecord {
    /// The key.
    pub key: KeyId,
    /// The tag's name.
    pub tag: String,
    /// Its value, which may be empty.
    pub value: String,
}

/// What stays of a destroyed key (rule DEL-3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Its id.
    pub key: KeyId,
    /// Its ARN.
    pub arn: KeyArn,
    /// When it was made.
    pub created: Timestamp,
    /// When it was destroyed.
    pub deleted: Timestamp,
}

#[cfg(test)]
impl KeyRecord {
    /// A key of a customer as it is made where nothing is said of it, for tests: symmetric, and enabled.
    pub fn of_test(id: KeyId) -> Self {
        Self {
            id,
            state: KeyState::Enabled,
            origin: Origin::AwsKms,
            spec: KeySpec::SymmetricDefault,
            usage: KeyUsage::EncryptDecrypt,
            description: String::new(),
            created: Timestamp::from_millis(0),
            deletion_date: None,
            manager: KeyManager::Customer,
            rotation: None,
            policy: None,
            role: None,
            pending_window_days: None,
        }
    }
}
