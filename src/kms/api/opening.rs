//! The material of a key that is in use, in the open.

use std::sync::Arc;

use super::Context;
use crate::crypto::pair::PrivateKey;
use crate::kms::error::Cause;
use crate::kms::key::{Key, MaterialRecord};
use crate::kms::material::{BackingKey, MacSecret, Material};
use crate::kms::state::KeyState;
use crate::kms::{AwsError, KmsError};

/// The material that a key in use works with.
pub(super) fn current(key: &Key) -> Result<&Arc<MaterialRecord>, KmsError> {
    key.current().ok_or_else(|| {
        let id = key.record.id;
        KmsError::failed(Cause::Tampered, format!("key {id} is in use but has no material"))
    })
}

/// A backing key of a symmetric key.
pub(super) fn backing_key<'m>(
    cx: &Context<'_>,
    key: &Key,
    material: &'m MaterialRecord,
) -> Result<&'m BackingKey, KmsError> {
    match material_of(cx, key, material)? {
        Material::Backing(backing) => Ok(backing),
        Material::Pair(_) | Material::Mac(_) => Err(other_material(key)),
    }
}

/// The private key of an asymmetric key, whose state and usage permit what is to be done with it.
pub(super) fn private_key<'k>(cx: &Context<'_>, key: &'k Key) -> Result<&'k PrivateKey, KmsError> {
    match material_of(cx, key, current(key)?)? {
        Material::Pair(private) => Ok(private),
        Material::Backing(_) | Material::Mac(_) => Err(other_material(key)),
    }
}

/// The same of a key for message authentication codes.
pub(super) fn mac_secret<'k>(cx: &Context<'_>, key: &'k Key) -> Result<&'k MacSecret, KmsError> {
    match material_of(cx, key, current(key)?)? {
        Material::Mac(secret) => Ok(secret),
        Material::Backing(_) | Material::Pair(_) => Err(other_material(key)),
    }
}

/// The tables let through what a key's material cannot do.
fn other_material(key: &Key) -> KmsError {
    let (id, spec) = (key.record.id, key.record.spec.name());
    KmsError::failed(Cause::Store, format!("key {id} of {spec} has material that is not for this operation"))
}

fn material_of<'m>(
    cx: &Context<'_>,
    key: &Key,
    material: &'m MaterialRecord,
) -> Result<&'m Material, KmsError> {
    let Some(sealed) = &material.sealed else {
        let arn = cx.ring.namespace().key_arn(material.key);
        let why = format!("{arn} {}", KeyState::PendingImport.predicate());
        return Err(KmsError::new(AwsError::InvalidState, why));
    };
    cx.sealer.open(material.key, key.record.spec, material.id, sealed).map_err(|_| {
        let (key, version) = (material.key, material.version);
        KmsError::failed(
            Cause::Tampered,
            format!(
                "the key store has been tampered with: version {version} of the material of key {key} does not open"
            ),
        )
    })
}
