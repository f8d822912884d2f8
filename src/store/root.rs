//! The root key: what everything in a home is sealed and authenticated under, and the slots that hold it.
//!
//! ```text
//! slot key   = HKDF-SHA256(key file, salt of the slot, "kmsfs slot key-file 1")
//! slot       = AES-256-GCM(slot key, AAD "kmsfs root key 1", root key)
//! sub-keys   = HKDF-SHA256(root key, "", label)
//! ```

use rusqlite::types::Value;

use super::ledger::LedgerKeys;
use super::rows::{Row, integer, text};
use crate::crypto::mac::MacKey;
use crate::crypto::{KEY_LEN, Secret, aead, kdf, rng};
use crate::kms::material::Sealer;

/// The kind of a slot that a key file unlocks.
pub const KEY_FILE: &str = "key-file";
const SLOT_LABEL: &[u8] = b"kmsfs slot key-file 1";
const ROOT_AAD: &[u8] = b"kmsfs root key 1";
const SALT_LEN: usize = 32;

/// The root key of a home.
pub struct RootKey(Secret<KEY_LEN>);

impl RootKey {
    /// A new home's.
    pub fn random() -> Self {
        Self(Secret::random())
    }

    /// Seals it into the row of slot `id`, for the key file `bytes` at `path`.
    pub fn key_file_slot(&self, id: i64, path: &[u8], bytes: &[u8]) -> Row {
        let salt: [u8; SALT_LEN] = rng::bytes();
        let sealed = aead::seal(&slot_key(bytes, &salt), ROOT_AAD, self.0.expose());
        vec![id.into(), KEY_FILE.to_owned().into(), path.to_vec().into(), salt.to_vec().into(), sealed.into()]
    }

    /// Opens slot `row` with the key file `bytes`; `None` where they do not fit.
    pub fn unlock(row: &Row, bytes: &[u8]) -> Option<Self> {
        let [_, _, _, Value::Blob(salt), Value::Blob(sealed)] = row.as_slice() else { return None };
        let opened = aead::open(&slot_key(bytes, salt), ROOT_AAD, sealed).ok()?;
        Secret::from_slice(&opened).map(Self)
    }

    /// Authenticates rows and heads.
    pub fn ledger(&self) -> LedgerKeys {
        LedgerKeys::new(&self.sub_key(b"kmsfs ledger 1"))
    }

    /// Seals and names backing keys.
    pub fn sealer(&self) -> Sealer {
        Sealer::new(self.sub_key(b"kmsfs sealing 1"), &self.sub_key(b"kmsfs naming 1"))
    }

    /// Authenticates the records of volumes.
    pub fn volumes(&self) -> MacKey {
        MacKey::new(&self.sub_key(b"kmsfs volumes 1"))
    }

    fn sub_key(&self, label: &[u8]) -> Secret<KEY_LEN> {
        kdf::derive(self.0.expose(), b"", &[label])
    }
}

/// The path of the key file that a slot's row names; `None` for a slot of another kind.
pub fn key_file_of(row: &Row) -> Option<&[u8]> {
    let [id, kind, Value::Blob(path), _, _] = row.as_slice() else { return None };
    (integer(id).is_some() && text(kind)? == KEY_FILE).then_some(path.as_slice())
}

fn slot_key(key_file: &[u8], salt: &[u8]) -> Secret<KEY_LEN> {
    kdf::derive(key_file, salt, &[SLOT_LABEL])
}
