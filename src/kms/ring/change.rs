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

impl Change {
    /// Whether it takes sealed bytes out of `ring` that must not stay anywhere.
    pub fn destroys(&self, ring: &Keyring) -> bool {
        match self {
            Self::DestroyKey(_) | Self::RemoveMaterial(..) | Self::RemoveCredential(_) => true,
            Self::PutMaterial(new) => {
                let old = ring.key(new.key).and_then(|key| key.material(new.id));
                old.is_some_and(|old| old.sealed.is_some() && old.sealed != new.sealed)
            }
            // A store asks the change itself, of that region's keyring.
            Self::In(_, change) => change.destroys(ring),
            Self::PutKey(_)
            | Self::PutAlias(_)
            | Self::RemoveAlias(_)
            | Self::PutGrant(_)
            | Self::RemoveGrant(..)
            | Self::PutTag(_)
            | Self::RemoveTag(..)
            | Self::Bury(_)
            | Self::PutVolume(_)
            | Self::PutAlarm(_)
            | Self::RemoveAlarm(_)
            | Self::PutCredential(_)
            | Self::SetClock(_) => false,
        }
    }
}

impl Change {
    /// Whether it takes away from somebody the use of a key of `ring`: such a change must be possible also where no other one is.
    pub fn revokes(&self, ring: &Keyring) -> bool {
        match self {
            Self::PutKey(new) => {
                let old = ring.key(new.id).map(|old| old.record.state);
                new.state != KeyState::Enabled && old.is_some_and(|old| old != new.state)
            }
            Self::DestroyKey(_)
            | Self::RemoveMaterial(..)
            | Self::RemoveGrant(..)
            | Self::RemoveCredential(_) => true,
            Self::PutMaterial(_) => self.destroys(ring),
            Self::In(_, change) => change.revokes(ring),
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
            | Self::SetClock(_) => false,
        }
    }
}
