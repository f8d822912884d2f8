//! Backing keys: how they are made, named, sealed and opened.
//!
//! A backing key leaves this module only as an open [`Secret`] borrowed for one wrap or unwrap. At rest it is sealed
//! under a key that the store derives from its root key, bound to the CMK and the material id, so that sealed bytes
//! that are moved to another row do not open.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::id::{KeyId, MaterialId};
use super::import::TokenKey;
use crate::crypto::mac::MacKey;
use crate::crypto::{AuthenticationFailed, KEY_LEN, Secret, aead};

/// A backing key: 256 bits.
pub type BackingKey = Secret<KEY_LEN>;

/// Sealed bytes of a backing key, and the open key once it was needed.
///
/// The open key is kept as long as the record is in memory and wiped with it: opening it for each file would cost more
/// than the wrap itself, and a process that can read this memory can read the sealing key as well.
#[derive(Clone)]
pub struct SealedMaterial {
    sealed: Vec<u8>,
    opened: Arc<OnceLock<BackingKey>>,
}

impl SealedMaterial {
    /// Takes sealed bytes as they come from the store.
    pub fn from_sealed(sealed: Vec<u8>) -> Self {
        Self { sealed, opened: Arc::default() }
    }

    /// The sealed bytes: `nonce (12) | ciphertext (32) | tag (16)`.
    pub fn as_sealed(&self) -> &[u8] {
        &self.sealed
    }
}

impl PartialEq for SealedMaterial {
    fn eq(&self, other: &Self) -> bool {
        self.sealed == other.sealed
    }
}

impl Eq for SealedMaterial {}

impl fmt::Debug for SealedMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedMaterial({} bytes)", self.sealed.len())
    }
}

/// Seals, opens and names backing keys, and has the key of import tokens. The store derives its keys from the root key.
#[derive(Debug)]
pub struct Sealer {
    sealing: Secret<KEY_LEN>,
    naming: MacKey,
    tokens: TokenKey,
}

impl Sealer {
    /// From a key that seals, one that names and one that seals import tokens; none may serve any other purpose.
    pub fn new(sealing: Secret<KEY_LEN>, naming: &Secret<KEY_LEN>, tokens: TokenKey) -> Self {
        Self { sealing, naming: MacKey::new(naming), tokens }
    }

    /// What seals and opens import tokens.
    pub const fn tokens(&self) -> &TokenKey {
        &self.tokens
    }

    /// Makes a fresh backing key for `key`.
    pub fn generate(&self, key: KeyId) -> (MaterialId, SealedMaterial) {
        self.take(key, &BackingKey::random())
    }

    /// Takes a backing key that was made elsewhere. The same bytes have the same id under one CMK, and another one under another.
    pub fn take(&self, key: KeyId, material: &BackingKey) -> (MaterialId, SealedMaterial) {
        let id = self.name(key, material);
        (id, self.seal(key, id, material))
    }

    /// The backing key in `sealed`, opened at its first use.
    ///
    /// # Errors
    /// [`AuthenticationFailed`] when these bytes were not sealed for this key and this material id.
    pub fn open<'a>(
        &self,
        key: KeyId,
        id: MaterialId,
        sealed: &'a SealedMaterial,
    ) -> Result<&'a BackingKey, AuthenticationFailed> {
        if let Some(opened) = sealed.opened.get() {
            return Ok(opened);
        }
        let bytes = aead::open(&self.sealing, &associated_data(key, id), &sealed.sealed)?;
        let opened = BackingKey::from_slice(&bytes).ok_or(AuthenticationFailed)?;
        Ok(sealed.opened.get_or_init(|| opened))
    }

    /// The material id: a keyed digest of CMK and material, so that it tells nothing about the material, and the same
    /// bytes under two CMKs have two ids (AWS KMS API, KeyMaterialId).
    fn name(&self, key: KeyId, material: &BackingKey) -> MaterialId {
        MaterialId::from_bytes(self.naming.sign(&[
            b"kmsfs key material id v1",
            key.as_bytes(),
            material.expose(),
        ]))
    }

    fn seal(&self, key: KeyId, id: MaterialId, material: &BackingKey) -> SealedMaterial {
        SealedMaterial::from_sealed(aead::seal(&self.sealing, &associated_data(key, id), material.expose()))
    }
}

/// `label | key id (16) | material id (32)`.
fn associated_data(key: KeyId, id: MaterialId) -> Vec<u8> {
    [b"kmsfs backing key v1".as_slice(), key.as_bytes(), id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(Secret::random(), &Secret::random(), TokenKey::new(Secret::random()))
    }

    #[test]
    fn sealed_material_opens_only_for_its_key_and_its_id() {
        let sealer = sealer();
        let key = KeyId::random();
        let (id, sealed) = sealer.generate(key);
        let fresh = || SealedMaterial::from_sealed(sealed.as_sealed().to_vec());
        assert!(sealer.open(key, id, &fresh()).is_ok());
        assert!(sealer.open(KeyId::random(), id, &fresh()).is_err());
        assert!(sealer.open(key, MaterialId::from_bytes([7; 32]), &fresh()).is_err());
        assert!(self::sealer().open(key, id, &fresh()).is_err());
    }

    #[test]
    fn the_same_bytes_under_two_keys_have_two_ids() {
        let sealer = sealer();
        let material = BackingKey::random();
        let (one, two) = (KeyId::random(), KeyId::random());
        assert_ne!(sealer.name(one, &material), sealer.name(two, &material));
        assert_eq!(sealer.name(one, &material), sealer.name(one, &material));
    }

    #[test]
    fn debug_form_shows_no_byte() {
        let sealed = SealedMaterial::from_sealed(vec![0xab; 60]);
        assert_eq!(format!("{sealed:?}"), "SealedMaterial(60 bytes)");
    }
}
