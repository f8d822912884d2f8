//! What the service knows of a key: its record, its backing keys, its aliases, and what is left after its deletion.

use std::sync::Arc;

use super::id::{AliasName, KeyId, MaterialId};
use super::material::SealedMaterial;
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
    /// What people wrote about it.
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it will be destroyed; present exactly while it is pending deletion.
    pub deletion_date: Option<Timestamp>,
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
    /// Its bytes, sealed.
    pub sealed: SealedMaterial,
}

/// A CMK with its backing keys, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The record.
    pub record: KeyRecord,
    /// The backing keys in the order of their versions.
    pub materials: Vec<Arc<MaterialRecord>>,
}

impl Key {
    /// The backing key that encrypts; `None` while the key has no material.
    pub fn current(&self) -> Option<&Arc<MaterialRecord>> {
        self.materials.last()
    }

    /// The backing key of that id.
    pub fn material(&self, id: MaterialId) -> Option<&Arc<MaterialRecord>> {
        self.materials.iter().rev().find(|material| material.id == id)
    }

    /// Whether no material is missing.
    pub fn has_all_material(&self) -> bool {
        !self.materials.is_empty()
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
