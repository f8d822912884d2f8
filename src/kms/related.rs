//! Related keys: the keys of one id in several regions of a home (AWS KMS Developer Guide, "Multi-Region keys in AWS KMS").
//!
//! Each of them is a key of its region, with a policy, grants, aliases, tags and a state of its own. They share their id, what they are
//! and are used for, their material, and whether they rotate; one of them is the primary, by which that is changed. Which keys are
//! related is nowhere written down: it is what the keyrings of all regions hold, and a store puts it together whenever it makes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::id::{KeyId, KeyScope};
use super::key::{Key, RegionRole};
use super::ring::{Change, Keyring};

/// The multi-Region keys of a home, by their ids and regions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelatedKeys(BTreeMap<KeyId, BTreeMap<String, Arc<Key>>>);

impl RelatedKeys {
    /// Those of the keyrings of all regions.
    pub fn of_rings<'r>(rings: impl IntoIterator<Item = &'r Keyring>) -> Self {
        let mut related = Self::default();
        for ring in rings {
            for key in ring.keys().filter(|key| key.record.id.scope() == KeyScope::MultiRegion) {
                let of_id = related.0.entry(key.record.id).or_default();
                of_id.insert(ring.namespace().region.clone(), key.clone());
            }
        }
        related
    }

    /// An id that has no primary, or several, or keys that are not of one kind.
    pub fn inconsistent(&self) -> Option<KeyId> {
        let kind = |key: &Key| (key.record.spec, key.record.usage, key.record.origin);
        let is_one = |keys: &BTreeMap<String, Arc<Key>>| {
            let primaries = keys.values().filter(|key| key.record.role == Some(RegionRole::Primary)).count();
            let mut kinds = keys.values().map(|key| kind(key));
            let first = kinds.next();
            primaries == 1 && kinds.all(|other| Some(other) == first)
        };
        self.0.iter().find(|(_, keys)| !is_one(keys)).map(|(id, _)| *id)
    }

    /// The ids.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.0.keys().copied()
    }

    /// The keys of an id with their regions.
    pub fn of(&self, id: KeyId) -> impl Iterator<Item = (&str, &Arc<Key>)> {
        self.0.get(&id).into_iter().flatten().map(|(region, key)| (region.as_str(), key))
    }

    /// Makes a change of a key in `region` happen.
    pub(super) fn apply(&mut self, region: &str, change: &Change) {
        match change {
            Change::PutKey(record) => {
                let of_id = self.0.entry(record.id).or_default();
                let new = || Arc::new(Key::new(record.clone()));
                let key = of_id.entry(region.to_owned()).or_insert_with(new);
                Arc::make_mut(key).record = record.clone();
            }
            Change::PutMaterial(material) => {
                self.change(region, material.key, |key| key.put_material(material));
            }
            Change::RemoveMaterial(key, material) => {
                self.change(region, *key, |key| key.materials.retain(|known| known.id != *material));
            }
            Change::DestroyKey(tombstone) => {
                if let Some(of_id) = self.0.get_mut(&tombstone.key) {
                    of_id.remove(region);
                }
            }
            // What related keys do not share is looked at in their own regions.
            Change::PutAlias(_)
            | Change::RemoveAlias(_)
            | Change::PutGrant(_)
            | Change::RemoveGrant(..)
            | Change::PutTag(_)
            | Change::RemoveTag(..)
            | Change::Bury(_)
            | Change::PutVolume(_)
            | Change::PutAlarm(_)
            | Change::RemoveAlarm(_)
            | Change::PutCredential(_)
            | Change::RemoveCredential(_)
            | Change::SetClock(_)
            | Change::In(..) => (),
        }
    }

    fn change(&mut self, region: &str, id: KeyId, change: impl FnOnce(&mut Key)) {
        if let Some(key) = self.0.get_mut(&id).and_then(|of_id| of_id.get_mut(region)) {
            change(Arc::make_mut(key));
        }
    }
}
