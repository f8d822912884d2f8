//! Sealing and opening under the backing keys of symmetric keys (rules CR-1 and CR-2).
//!
//! [`seal`] and [`open`] are the only two places where a backing key is used; the filesystem's data keys go through
//! them as well.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::Context;
use super::opening::{backing_key, current};
use crate::context::EncryptionContext;
use crate::kms::access::Act;
use crate::kms::ciphertext::{self, Ciphertext};
use crate::kms::error::Cause;
use crate::kms::key::{Key, MaterialRecord};
use crate::kms::reference::{self, Form};
use crate::kms::spec::EncryptionAlgorithm;
use crate::kms::{AwsError, KmsError};

/// The one algorithm of symmetric keys.
pub(in crate::kms) const SYMMETRIC: &str = EncryptionAlgorithm::SymmetricDefault.name();

/// Encrypts under the current backing key of `key`, whose state permits it; a key of another kind has none.
pub(in crate::kms) fn seal<'k>(
    cx: &Context<'_>,
    key: &'k Key,
    context: &EncryptionContext,
    plaintext: &[u8],
) -> Result<(Vec<u8>, &'k Arc<MaterialRecord>), KmsError> {
    check_algorithm(key, SYMMETRIC)?;
    // A replica is rotated with its primary.
    let due = match key.record.is_replica() {
        false => key.next_rotation(),
        true => cx.ring.primary(key.record.id).and_then(|(_, primary)| primary.next_rotation()),
    };
    if due.is_some_and(|date| date <= cx.trusted) {
        let why = format!("{} is to be rotated before its next use, and that failed", cx.arn(key));
        return Err(KmsError::failed(Cause::Store, why));
    }
    let material = current(key)?;
    let backing = backing_key(cx, key, material)?;
    let blob = ciphertext::seal(key.record.id, material.id, backing, context, plaintext);
    cx.used.set(Some((key.record.id, material.id)));
    Ok((blob, material))
}

/// What a ciphertext opened to.
pub(in crate::kms) struct Opened<'a> {
    pub key: &'a Arc<Key>,
    pub material: &'a Arc<MaterialRecord>,
    pub plaintext: Zeroizing<Vec<u8>>,
}

/// Decrypts `blob`: finds CMK and backing key by the blob itself, compares with the key that the caller named, asks whether the
/// caller has the permission `action`, then the state table, and only then authenticates.
pub(in crate::kms) fn open<'a>(
    cx: &Context<'a>,
    blob: &[u8],
    named: Option<&str>,
    action: &'static str,
    context: &EncryptionContext,
) -> Result<Opened<'a>, KmsError> {
    let invalid = || KmsError::bare(AwsError::InvalidCiphertext);
    let ciphertext = Ciphertext::parse(blob).ok_or_else(invalid)?;
    let act = symmetric(action, context);
    let key = match named {
        Some(name) => {
            let key = reference::find(cx.ring, name, Form::Any)?;
            cx.authorize(key, act)?;
            if key.record.id != ciphertext.key {
                return Err(incorrect_key());
            }
            key
        }
        None => {
            let key = cx.ring.key(ciphertext.key).ok_or_else(unknown_key)?;
            // Who may not use the key learns from a ciphertext no more than that.
            cx.authorize(key, act).map_err(|_| unknown_key())?;
            key
        }
    };
    cx.permitted(key)?;
    // No key of another kind made it, whatever it says.
    check_algorithm(key, SYMMETRIC).map_err(|_| invalid())?;
    let material = key.material(ciphertext.material).ok_or_else(invalid)?;
    let backing = backing_key(cx, key, material)?;
    let plaintext = ciphertext.open(backing, context).map_err(|_| invalid())?;
    Ok(Opened { key, material, plaintext })
}

/// A symmetric key's act, with the context that it has.
pub(in crate::kms) fn symmetric<'c>(action: &'static str, context: &'c EncryptionContext) -> Act<'c> {
    Act::with_context(action, context).encrypting(SYMMETRIC)
}

/// Whether `algorithm` is one of the key's spec.
pub(super) fn check_algorithm(key: &Key, algorithm: &str) -> Result<(), KmsError> {
    let known = key.record.spec.encryption_algorithms();
    if known.iter().any(|known| known.name() == algorithm) {
        Ok(())
    } else {
        Err(incompatible(key, algorithm))
    }
}

/// The refusal of an algorithm that the key's spec has not.
pub(super) fn incompatible(key: &Key, algorithm: &str) -> KmsError {
    let spec = key.record.spec.name();
    KmsError::new(
        AwsError::InvalidKeyUsage,
        format!("Algorithm {algorithm} is incompatible with key spec {spec}."),
    )
}

fn incorrect_key() -> KmsError {
    KmsError::new(
        AwsError::IncorrectKey,
        "The key ID in the request does not identify a CMK that can perform this operation.",
    )
}

/// The refusal of a ciphertext whose key is not known here.
fn unknown_key() -> KmsError {
    KmsError::new(
        AwsError::AccessDenied,
        "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you \
         are not allowed to access.",
    )
}
