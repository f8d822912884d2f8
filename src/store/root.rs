//! The root key: what everything in a home is sealed and authenticated under. [`super::slot`] says how slots hold it.
//!
//! ```text
//! sub-keys   = HKDF-SHA256(root key, "", label)
//! ```

use std::fmt;

use super::HomeError;
use super::audit::chain::{CHAIN_ID_LEN, ChainKeys};
use super::credentials::CredentialKey;
use super::ledger::LedgerKeys;
use super::slot::{Slot, SlotKind, SlotSecret};
use crate::clock::Timestamp;
use crate::crypto::mac::MacKey;
use crate::crypto::{KEY_LEN, Secret, kdf};
use crate::kms::import::TokenKey;
use crate::kms::material::Sealer;

/// The root key of a home.
#[derive(Clone)]
pub struct RootKey(Secret<KEY_LEN>);

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(..)")
    }
}

impl RootKey {
    /// A new home's.
    pub fn random() -> Self {
        Self(Secret::random())
    }

    /// Of bytes that another process of this program hands over; `None` where their number is wrong.
    pub fn handed_over(bytes: &[u8]) -> Option<Self> {
        Secret::from_slice(bytes).map(Self)
    }

    /// The bytes, for the process that is to serve a mount and nobody else.
    pub fn hand_over(&self) -> &[u8] {
        self.0.expose()
    }

    /// Seals it for a secret.
    ///
    /// # Errors
    /// [`HomeError::OutOfMemory`].
    pub fn seal(&self, kind: SlotKind, secret: SlotSecret<'_>, made: Timestamp) -> Result<Slot, HomeError> {
        Slot::seal(&self.0, kind, secret, made)
    }

    /// The root key that a slot holds, if `secret` is the slot's.
    ///
    /// # Errors
    /// [`HomeError::OutOfMemory`], [`HomeError::Tampered`].
    pub fn unlock(slot: &Slot, secret: SlotSecret<'_>) -> Result<Option<Self>, HomeError> {
        Ok(slot.open(secret)?.map(Self))
    }

    /// Whether `secret` is that of a slot of this home.
    ///
    /// # Errors
    /// As [`RootKey::unlock`].
    pub fn is_held_by(&self, slot: &Slot, secret: SlotSecret<'_>) -> Result<bool, HomeError> {
        Ok(slot.open(secret)?.is_some_and(|root| root == self.0))
    }

    /// Authenticates rows and heads.
    pub fn ledger(&self) -> LedgerKeys {
        LedgerKeys::new(&self.sub_key(b"kmsfs ledger 1"))
    }

    /// Seals and names backing keys, and seals import tokens.
    pub fn sealer(&self) -> Sealer {
        let tokens = TokenKey::new(self.sub_key(b"kmsfs import tokens 1"));
        Sealer::new(self.sub_key(b"kmsfs sealing 1"), &self.sub_key(b"kmsfs naming 1"), tokens)
    }

    /// Seals the secrets of credentials.
    pub fn credentials(&self) -> CredentialKey {
        CredentialKey::new(self.sub_key(b"kmsfs credentials 1"))
    }

    /// Authenticates the records of volumes.
    pub fn volumes(&self) -> MacKey {
        MacKey::new(&self.sub_key(b"kmsfs volumes 1"))
    }

    /// The keys of one chain of the audit log.
    pub fn audit(&self, chain: [u8; CHAIN_ID_LEN]) -> ChainKeys {
        ChainKeys::new(chain, &kdf::derive(self.0.expose(), &chain, &[b"kmsfs audit 1"]))
    }

    /// Seals one backup of the home.
    pub fn backup(&self, salt: &[u8]) -> Secret<KEY_LEN> {
        kdf::derive(self.0.expose(), salt, &[b"kmsfs backup 1"])
    }

    fn sub_key(&self, label: &[u8]) -> Secret<KEY_LEN> {
        kdf::derive(self.0.expose(), b"", &[label])
    }
}
