//! Changes: what turns one keyring into the next, one step at a time, and what each takes away.

use super::{ClockRecord, Keyring};
use crate::kms::alarm::AlarmRecord;
use crate::kms::credential::{AccessKeyId, CredentialRecord};
use crate::kms::grant::GrantRecord;
use crate::kms::id::{AliasName, GrantId, KeyId, MaterialId};
use crate::kms::key::{AliasRecord, KeyRecord, MaterialRecord, TagRecord, Tombstone};
use crate::kms::state::KeyState;
use crate::kms::volume::VolumeRecord;

/// One change of a keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key is made, or its record replaced; its material stays.
    PutKey(KeyRecord),
    /// A backing key is added or replaced. Sealed bytes that it no longer has are destroyed.
    PutMaterial(MaterialRecord),
    /// A backing key goes, record and all: imported material that was never current.
    RemoveMaterial(KeyId, MaterialId),
    /// An alias is made or replaced.
    PutAlias(AliasRecord),
    /// An alias is removed.
    RemoveAlias(AliasName),
    /// A grant is made or replaced.
    PutGrant(GrantRecord),
    /// A grant ends.
    RemoveGrant(KeyId, GrantId),
    /// A tag is given or replaced.
    PutTag(TagRecord),
    /// A tag is taken away.
    RemoveTag(KeyId, String),
    /// A key is destroyed with its material, its aliases, grants, tags and alarms; the tombstone stays.
    DestroyKey(Tombstone),
    /// The tombstone of a key that was destroyed before; a store that loads says so, no operation does.
    Bury(Tombstone),
    /// A volume was seen or counted.
    PutVolume(VolumeRecord),
    /// An alarm is made or replaced.
    PutAlarm(AlarmRecord),
    /// An alarm is removed.
    RemoveAlarm(String),
    /// A credential is made.
    PutCredential(CredentialRecord),
    /// A credential is revoked; its sealed bytes are destroyed.
    RemoveCredential(AccessKeyId),
    /// Time is remembered.
    SetClock(ClockRecord),
    /// A change of a key, its material, grants or tags in that region of the home, in the same transaction.
    In(String, Box<Change>),
}

/// What a change takes away from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nothing.
    Nothing,
    /// The use of a key, from somebody.
    Use,
    /// That, and sealed bytes with it.
    Bytes,
}

impl Change {
    /// Whether it takes sealed bytes out of `ring` that must not stay anywhere.
    pub fn destroys(&self, ring: &Keyring) -> bool {
        self.takes(ring, &ring.namespace().region) == Takes::Bytes
    }

    /// Whether it takes away from somebody the use of a key of `ring`, or of one that is related to it: such a change must be possible
    /// also where no other one is.
    pub fn revokes(&self, ring: &Keyring) -> bool {
        self.takes(ring, &ring.namespace().region) != Takes::Nothing
    }

    /// The table of both, for a change in `region`, as `ring` knows that.
    fn takes(&self, ring: &Keyring, region: &str) -> Takes {
        let when = |is_so, takes| if is_so { takes } else { Takes::Nothing };
        match self {
            Self::DestroyKey(_) | Self::RemoveMaterial(..) | Self::RemoveCredential(_) => Takes::Bytes,
            Self::PutMaterial(new) => {
                let key = ring.key_in(region, new.key);
                let old = key.and_then(|key| key.material(new.id)).and_then(|old| old.sealed.as_ref());
                when(old.is_some_and(|old| new.sealed.as_ref() != Some(old)), Takes::Bytes)
            }
            Self::PutKey(new) => {
                let old = ring.key_in(region, new.id);
                when(old.is_some_and(|old| narrows(&old.record, new)), Takes::Use)
            }
            Self::RemoveGrant(..) => Takes::Use,
            Self::In(region, change) => change.takes(ring, region),
            Self::PutAlias(_)
            | Self::RemoveAlias(_)
            | Self::PutGrant(_)
            | Self::PutTag(_)
            | Self::RemoveTag(..)
            | Self::Bury(_)
            | Self::PutVolume(_)
            | Self::PutAlarm(_)
            | Self::RemoveAlarm(_)
            | Self::PutCredential(_)
            | Self::SetClock(_) => Takes::Nothing,
        }
    }
}

/// Whether fewer may use a key after it than before: it stops being usable, or has another policy. Whom a policy lets out is not to be
/// seen in it, so that each counts.
fn narrows(old: &KeyRecord, new: &KeyRecord) -> bool {
    let stops = new.state != old.state && new.state != KeyState::Enabled;
    stops || new.policy != old.policy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::kms::id::{KeyScope, Namespace};
    use crate::kms::key::RegionRole;
    use crate::kms::policy::{self, Policy};
    use crate::kms::related::RelatedKeys;

    fn record(id: KeyId, state: KeyState) -> KeyRecord {
        KeyRecord { state, role: Some(RegionRole::Primary), ..KeyRecord::of_test(id) }
    }

    fn ring(region: &str, key: KeyRecord) -> Keyring {
        let namespace = Namespace { account: "000000000000".into(), region: region.into() };
        let clock = ClockRecord { latest: Timestamp::from_millis(0), simulated_offset: None, anchor: None };
        let mut ring = Keyring::new(namespace, clock);
        ring.apply(&Change::PutKey(key));
        ring
    }

    #[test]
    fn a_key_is_taken_from_somebody_where_it_stops_being_usable_or_has_another_policy() {
        use KeyState::{Disabled, Enabled, PendingDeletion};
        let id = KeyId::random(KeyScope::SingleRegion);
        let policy = Policy::parse(&policy::default_text("000000000000")).unwrap();
        let other = KeyRecord { policy: Some(policy.into()), ..record(id, Enabled) };
        for (before, after, revokes) in [
            (record(id, Enabled), record(id, Enabled), false),
            (record(id, Enabled), record(id, Disabled), true),
            (record(id, Disabled), record(id, PendingDeletion), true),
            (record(id, Disabled), record(id, Enabled), false),
            (record(id, Enabled), KeyRecord { description: "x".into(), ..record(id, Enabled) }, false),
            (record(id, Enabled), other.clone(), true),
            (other.clone(), other, false),
        ] {
            let change = Change::PutKey(after);
            assert_eq!(change.revokes(&ring("a", before.clone())), revokes, "{change:?} after {before:?}");
            assert!(!change.destroys(&ring("a", before)));
        }
        let new = Change::PutKey(record(KeyId::random(KeyScope::SingleRegion), Disabled));
        assert!(!new.revokes(&ring("a", record(id, Enabled))), "nobody had it");
    }

    #[test]
    fn a_change_in_another_region_is_judged_by_the_key_that_is_there() {
        use KeyState::{Disabled, Enabled};
        let id = KeyId::random(KeyScope::MultiRegion);
        let rings = [ring("a", record(id, Disabled)), ring("b", record(id, Enabled))];
        let [mut here, _] = rings.clone();
        here.relate(RelatedKeys::of_rings(&rings).into());
        let disabled = Change::PutKey(record(id, Disabled));
        assert!(!disabled.revokes(&here));
        assert!(here.change_in("b", disabled.clone()).revokes(&here));
        assert!(!here.change_in("c", disabled).revokes(&here), "there is none");
    }
}
