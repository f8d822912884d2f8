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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::context::EncryptionContext;
    use crate::crypto::Secret;
    use crate::datakey::KeyArn;
    use crate::kms::api::Context;
    use crate::kms::api::sealing::seal;
    use crate::kms::audit::{self, AuditError, AuditEvent, AuditLog};
    use crate::kms::clock_guard::{ClockRecord, Times};
    use crate::kms::id::Namespace;
    use crate::kms::import::TokenKey;
    use crate::kms::key::{KeyRecord, MaterialRecord, RotationSchedule, Tombstone};
    use crate::kms::material::Sealer;
    use crate::kms::spec::{KeySpec, KeyUsage};
    use crate::kms::state::{KeyState, Origin};
    use crate::kms::{Caller, Operation, Via};

    struct Nowhere;

    impl AuditLog for Nowhere {
        fn record(&self, _: &AuditEvent<'_>) -> Result<(), AuditError> {
            Err(AuditError("there is no log".into()))
        }

        fn usage(&self, _: &KeyArn) -> Result<audit::KeyUsage, AuditError> {
            Err(AuditError("there is no log".into()))
        }
    }

    fn record(id: KeyId, role: RegionRole) -> KeyRecord {
        KeyRecord { role: Some(role), ..KeyRecord::of_test(id) }
    }

    fn ring(region: &str, keys: &[KeyRecord]) -> Keyring {
        let namespace = Namespace { account: "000000000000".into(), region: region.into() };
        let clock = ClockRecord { latest: Timestamp::from_millis(0), simulated_offset: None, anchor: None };
        let mut ring = Keyring::new(namespace, clock);
        keys.iter().for_each(|key| ring.apply(&Change::PutKey(key.clone())));
        ring
    }

    #[test]
    fn related_keys_have_one_primary_and_are_of_one_kind() {
        use RegionRole::{Primary, Replica};
        let id = KeyId::random(KeyScope::MultiRegion);
        let of = |here: KeyRecord, there: KeyRecord| {
            RelatedKeys::of_rings(&[ring("a", &[here]), ring("b", &[there])]).inconsistent()
        };
        assert_eq!(of(record(id, Primary), record(id, Replica)), None);
        assert_eq!(of(record(id, Replica), record(id, Replica)), Some(id));
        assert_eq!(of(record(id, Primary), record(id, Primary)), Some(id));
        let other =
            KeyRecord { spec: KeySpec::Hmac256, usage: KeyUsage::GenerateVerifyMac, ..record(id, Replica) };
        assert_eq!(of(record(id, Primary), other), Some(id));
        let imported = KeyRecord { origin: Origin::External, ..record(id, Replica) };
        assert_eq!(of(record(id, Primary), imported), Some(id));
    }

    #[test]
    fn a_keyring_sees_what_is_changed_in_another_region_and_its_own_key_as_it_is_now() {
        use RegionRole::{Primary, Replica};
        let id = KeyId::random(KeyScope::MultiRegion);
        let rings = [ring("a", &[record(id, Primary)]), ring("b", &[record(id, Replica)])];
        let [mut here, _] = rings.clone();
        here.relate(RelatedKeys::of_rings(&rings).into());
        let disabled = |role| KeyRecord { state: KeyState::Disabled, ..record(id, role) };
        here.apply(&Change::PutKey(disabled(Primary)));
        let states =
            |ring: &Keyring| ring.related(id).values().map(|key| key.record.state).collect::<Vec<_>>();
        assert_eq!(states(&here), [KeyState::Disabled, KeyState::Enabled]);
        let change = here.change_in("b", Change::PutKey(disabled(Replica)));
        here.apply(&change);
        assert_eq!(states(&here), [KeyState::Disabled; 2]);
        let time = Timestamp::from_millis(1);
        let arn = here.namespace().key_arn_in("b", id);
        let gone = Change::DestroyKey(Tombstone { key: id, arn, created: time, deleted: time });
        here.apply(&here.change_in("b", gone));
        assert!(!here.is_elsewhere(id) && here.tombstone(id).is_none());
    }

    /// Rule ROT-10: where what is due could not be done, the keyring is as it was.
    #[test]
    fn rot_10_a_replica_encrypts_nothing_while_its_primary_is_to_be_rotated() {
        let id = KeyId::random(KeyScope::MultiRegion);
        let rotation = Some(RotationSchedule { period_days: 90, next: Timestamp::from_millis(10) });
        let of = |role| KeyRecord { rotation, ..record(id, role) };
        let rings = [ring("a", &[of(RegionRole::Replica)]), ring("b", &[of(RegionRole::Primary)])];
        let [mut here, _] = rings.clone();
        let sealer = Sealer::new(Secret::random(), &Secret::random(), TokenKey::new(Secret::random()));
        let (material, sealed) = sealer.generate(id);
        here.apply(&Change::PutMaterial(MaterialRecord {
            id: material,
            key: id,
            version: 1,
            rotation: None,
            sealed: Some(sealed),
            imported: None,
            uses: 0,
        }));
        here.relate(RelatedKeys::of_rings(&rings).into());
        let principal = "arn:aws:iam::000000000000:root".into();
        let caller = Caller { principal, uid: 0, pid: 1, user: "root".into(), via: Via::Cli };
        let seals = |now: i64| {
            let now = Timestamp::from_millis(now);
            let times = Times { claimed: now, trusted: now };
            let cx = Context::new(Operation::Encrypt, &caller, &here, times, &sealer, &Nowhere);
            seal(&cx, here.key(id).unwrap(), &EncryptionContext::default(), b"x").map(|(blob, _)| blob.len())
        };
        assert!(seals(9).is_ok());
        assert!(seals(10).unwrap_err().to_string().contains("to be rotated before its next use"));
        assert_eq!(here.next_due(), Some(Timestamp::from_millis(10)));
        assert_eq!(here.rotations_elsewhere(Timestamp::from_millis(9)), []);
        assert_eq!(here.rotations_elsewhere(Timestamp::from_millis(10)).len(), 1);
    }
}
