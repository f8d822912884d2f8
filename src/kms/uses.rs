//! How often each backing key was used to encrypt (rule CR-4).
//!
//! A use that was answered is counted before it is answered. One transaction a use would cost more than the use, so a process counts ahead in
//! batches: one, two, four and so on, up to [`BATCH_MAX`]. What is left of a batch is given back when the process ends; if it is
//! killed, the count stays rounded up, by at most the uses that it had made already.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::KmsError;
use super::id::{KeyId, MaterialId};
use super::key::MaterialRecord;
use super::ring::{Change, KeyStore, Keyring};

/// Uses that are counted at once, at most.
pub const BATCH_MAX: u64 = 4096;

/// The uses of this process.
#[derive(Debug, Default)]
pub struct Uses(Mutex<HashMap<MaterialId, Batch>>);

/// What was counted ahead for one backing key.
#[derive(Debug)]
struct Batch {
    key: KeyId,
    left: u64,
    next: u64,
}

impl Uses {
    /// Counts one use of `material`.
    ///
    /// # Errors
    /// The store failed: what the key encrypted must not be answered.
    pub fn count(&self, store: &dyn KeyStore, key: KeyId, material: MaterialId) -> Result<(), KmsError> {
        let mut batches = self.0.lock();
        let batch = batches.entry(material).or_insert(Batch { key, left: 0, next: 1 });
        if batch.left == 0 {
            let ahead = batch.next;
            change(store, key, material, |uses| uses.saturating_add(ahead))?;
            batch.left = ahead;
            batch.next = (ahead * 2).min(BATCH_MAX);
        }
        batch.left -= 1;
        Ok(())
    }

    /// Gives back what was counted ahead and not used.
    ///
    /// # Errors
    /// The store failed: the counts stay rounded up.
    pub fn give_back(&self, store: &dyn KeyStore) -> Result<(), KmsError> {
        for (material, batch) in self.0.lock().drain() {
            if batch.left > 0 {
                change(store, batch.key, material, |uses| uses.saturating_sub(batch.left))?;
            }
        }
        Ok(())
    }
}

fn change(
    store: &dyn KeyStore,
    key: KeyId,
    material: MaterialId,
    count: impl Fn(u64) -> u64,
) -> Result<(), KmsError> {
    let counted = |ring: &Keyring| {
        let known = ring.key(key)?.material(material)?;
        Some(MaterialRecord { uses: count(known.uses), ..known.as_ref().clone() })
    };
    // A key that was destroyed meanwhile has nothing to count.
    store.update(&mut |ring| Ok(counted(ring).map(Change::PutMaterial).into_iter().collect())).map(drop)
}
