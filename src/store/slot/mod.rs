//! Unlock slots: each holds the root key, sealed under what one secret derives to.
//!
//! ```text
//! key file         HKDF-SHA256(its bytes, salt, "kmsfs slot key-file 1")           AAD "kmsfs root key 1"
//! passphrase       Argon2id(its bytes, salt, cost)                                 AAD of kind and parameters
//! recovery code    HKDF-SHA256(its 28 values, salt, "kmsfs slot recovery-code 1")  AAD of kind and parameters
//! sealed         = AES-256-GCM(slot key, AAD, root key)
//! AAD            = "kmsfs root key 2" | length of the kind (8) | kind | parameters
//! ```
//!
//! A slot is read before anything is authenticated. So nothing that it says is believed beyond its bounds, and it is compared with
//! what the root key authenticates as soon as there is one.

mod cost;
mod passphrase;
mod recovery;

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rusqlite::types::Value;
use zeroize::Zeroizing;

pub use cost::{Cost, CostRequest};
pub use passphrase::{Passphrase, read_secret};
pub use recovery::RecoveryCode;

use super::HomeError;
use super::rows::{Row, integer, text};
use crate::clock::Timestamp;
use crate::crypto::{KEY_LEN, Secret, aead, kdf, rng};

/// The most slots of a home.
pub const SLOTS_MAX: usize = 64;

const KEY_FILE: &str = "key-file";
const PASSPHRASE: &str = "passphrase";
const RECOVERY_CODE: &str = "recovery-code";
const KEY_FILE_LABEL: &[u8] = b"kmsfs slot key-file 1";
const RECOVERY_CODE_LABEL: &[u8] = b"kmsfs slot recovery-code 1";
const KEY_FILE_AAD: &[u8] = b"kmsfs root key 1";
const AAD_LABEL: &[u8] = b"kmsfs root key 2";
const SALT_LEN: usize = 32;

/// What unlocks a slot, and what the home remembers of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotKind {
    /// The bytes of the file at this path.
    KeyFile(PathBuf),
    /// A passphrase, at this cost an attempt.
    Passphrase(Cost),
    /// A recovery code.
    RecoveryCode,
}

impl SlotKind {
    /// Its name, for people and in the database.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::KeyFile(_) => KEY_FILE,
            Self::Passphrase(_) => PASSPHRASE,
            Self::RecoveryCode => RECOVERY_CODE,
        }
    }

    fn parameters(&self) -> Vec<u8> {
        match self {
            Self::KeyFile(path) => path.as_os_str().as_bytes().to_vec(),
            Self::Passphrase(cost) => cost.to_string().into_bytes(),
            Self::RecoveryCode => Vec::new(),
        }
    }

    fn parse(kind: &str, parameters: &[u8]) -> Result<Self, String> {
        match kind {
            KEY_FILE => Ok(Self::KeyFile(PathBuf::from(OsString::from_vec(parameters.to_vec())))),
            PASSPHRASE => {
                let cost = std::str::from_utf8(parameters).map_err(|_| "its cost is no text".to_owned())?;
                Cost::parse(cost).map(Self::Passphrase)
            }
            RECOVERY_CODE if parameters.is_empty() => Ok(Self::RecoveryCode),
            _ => Err("this version knows no slot of its kind".to_owned()),
        }
    }

    /// What is authenticated with the root key. A key file's path is not: a slot of this kind is older than this rule, and a
    /// path decides nothing but where the bytes are looked for.
    fn associated(&self) -> Vec<u8> {
        match self {
            Self::KeyFile(_) => KEY_FILE_AAD.to_vec(),
            Self::Passphrase(_) | Self::RecoveryCode => {
                let kind = self.name().as_bytes();
                let length = (kind.len() as u64).to_be_bytes();
                [AAD_LABEL, &length, kind, &self.parameters()].concat()
            }
        }
    }
}

/// A secret that a slot may be sealed for, or that one is tried with.
#[derive(Debug, Clone, Copy)]
pub enum SlotSecret<'a> {
    /// The bytes of a key file.
    KeyFile(&'a Zeroizing<Vec<u8>>),
    /// A passphrase.
    Passphrase(&'a Passphrase),
    /// A recovery code.
    RecoveryCode(&'a RecoveryCode),
}

/// A slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its number, from 1.
    pub id: i64,
    /// What unlocks it.
    pub kind: SlotKind,
    /// When it was made or last changed; not known of the slots of an old home.
    pub made: Option<Timestamp>,
    salt: Vec<u8>,
    sealed: Vec<u8>,
}

impl Slot {
    /// Seals `root` for a secret; the slot gets its number when it is stored.
    ///
    /// # Errors
    /// [`HomeError::OutOfMemory`].
    pub fn seal(
        root: &Secret<KEY_LEN>,
        kind: SlotKind,
        secret: SlotSecret<'_>,
        made: Timestamp,
    ) -> Result<Self, HomeError> {
        let salt: [u8; SALT_LEN] = rng::bytes();
        let key = key(&kind, secret, &salt)?.ok_or(HomeError::SecretOfAnotherKind)?;
        let sealed = aead::seal(&key, &kind.associated(), root.expose());
        Ok(Self { id: 0, kind, made: Some(made), salt: salt.to_vec(), sealed })
    }

    /// The root key, if `secret` is the slot's.
    ///
    /// # Errors
    /// [`HomeError::OutOfMemory`], [`HomeError::Tampered`].
    pub fn open(&self, secret: SlotSecret<'_>) -> Result<Option<Secret<KEY_LEN>>, HomeError> {
        // HKDF takes a salt that zeros were cut from, or added to, for the same one (RFC 2104: keys are padded with zeros).
        if self.salt.len() != SALT_LEN {
            return Ok(None);
        }
        let Some(key) = key(&self.kind, secret, &self.salt)? else { return Ok(None) };
        let opened = aead::open(&key, &self.kind.associated(), &self.sealed).ok();
        Ok(opened.and_then(|root| Secret::from_slice(&root)))
    }

    /// The same slot with a number.
    pub fn numbered(self, id: i64) -> Self {
        Self { id, ..self }
    }

    /// Its row.
    pub fn row(&self) -> Row {
        vec![
            self.id.into(),
            self.kind.name().to_owned().into(),
            self.kind.parameters().into(),
            self.salt.clone().into(),
            self.sealed.clone().into(),
            self.made.map(Timestamp::as_millis).into(),
        ]
    }

    /// The slot of a row, which may not be authentic.
    ///
    /// # Errors
    /// [`HomeError::Tampered`] for a row that [`Slot::row`] does not write.
    pub fn of(row: &Row) -> Result<Self, HomeError> {
        let [id, kind, Value::Blob(parameters), Value::Blob(salt), Value::Blob(sealed), made] =
            row.as_slice()
        else {
            return Err(HomeError::Tampered("a slot is none".to_owned()));
        };
        let made = match made {
            Value::Null => Some(None),
            made => integer(made).map(|millis| Some(Timestamp::from_millis(millis))),
        };
        let (Some(id), Some(kind), Some(made)) = (integer(id), text(kind), made) else {
            return Err(HomeError::Tampered("a slot is none".to_owned()));
        };
        let kind = SlotKind::parse(kind, parameters);
        let kind =
            kind.map_err(|why| HomeError::Tampered(format!("slot {id} asks for what cannot be: {why}")))?;
        Ok(Self { id, kind, made, salt: salt.clone(), sealed: sealed.clone() })
    }
}

/// The key of a slot; `None` where the secret is not of its kind.
fn key(kind: &SlotKind, secret: SlotSecret<'_>, salt: &[u8]) -> Result<Option<Secret<KEY_LEN>>, HomeError> {
    Ok(match (kind, secret) {
        (SlotKind::KeyFile(_), SlotSecret::KeyFile(bytes)) => {
            Some(kdf::derive(bytes, salt, &[KEY_FILE_LABEL]))
        }
        (SlotKind::Passphrase(cost), SlotSecret::Passphrase(passphrase)) => {
            Some(cost.derive(passphrase.expose(), salt)?)
        }
        (SlotKind::RecoveryCode, SlotSecret::RecoveryCode(code)) => {
            Some(kdf::derive(code.expose(), salt, &[RECOVERY_CODE_LABEL]))
        }
        (SlotKind::KeyFile(_) | SlotKind::Passphrase(_) | SlotKind::RecoveryCode, _) => None,
    })
}

#[cfg(test)]
mod tests;
