//! What an inode of a regular file holds while it is open: its data key's lease and its chunk engine.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::{Mutex, RwLock};

use super::backing::FdBacking;
use super::file::CryptFile;
use super::lease::{Inside, KeyLease};
use crate::context::EncryptionContext;
use crate::datakey::WrappedDataKey;
use crate::envelope::FileId;

/// The chunk engine over a file of the backing directory.
pub type Engine = CryptFile<FdBacking>;

/// The content side of an inode. Empty for everything but regular files that were opened.
///
/// Lock order: `opens`, then the lease's gate, `listed`, `loaded`, and last the inode's `times`.
#[derive(Debug, Default)]
pub struct Content {
    /// The lease of the CMK that the header names; known from the first open on.
    pub lease: Mutex<Option<Arc<KeyLease>>>,
    /// The engine, while the file is open and its CMK usable. A revocation empties it.
    pub loaded: RwLock<Option<Arc<Loaded>>>,
    /// How many handles are open. Held while a handle is made or its last one is closed.
    pub opens: Mutex<Opens>,
    /// Whether the kernel has had content of it, and so has it still where it had the memory.
    pub given: AtomicBool,
    /// Whether the volume's list of dirty files names this file.
    pub listed: Mutex<bool>,
    /// The damage that was recorded: a program that reads it again and again makes one record of each.
    pub reported: Mutex<BTreeSet<String>>,
    /// Held while the file is rewrapped or re-encrypted, before all other locks: one at a time.
    pub governing: Mutex<()>,
}

/// An engine and what is needed to ask for its data key again.
#[derive(Debug)]
pub struct Loaded {
    /// Reads and writes the content; wipes its keys when it is dropped.
    pub engine: Engine,
    /// The file's identity, which its encryption context names.
    pub file_id: FileId,
    /// The data key as the header keeps it; a rewrap replaces it.
    pub wrapped: RwLock<WrappedDataKey>,
    /// The context that it was wrapped with.
    pub context: EncryptionContext,
    /// Whether the backing file could be opened for writing.
    pub writable: bool,
}

/// Open handles of an inode.
#[derive(Debug, Default)]
pub struct Opens {
    /// All handles.
    pub all: u32,
    /// Those that may write.
    pub writers: u32,
}

impl Content {
    /// The size of the open file, which its backing file may be ahead of.
    pub fn open_size(&self) -> Option<u64> {
        self.loaded.read().as_ref().map(|loaded| loaded.engine.size())
    }

    /// Enters the lease of the file's CMK, whatever its state: for what only settles what was accepted before. The file may get
    /// another lease meanwhile.
    pub fn look(&self) -> Option<Inside> {
        loop {
            let lease = self.lease.lock().clone()?;
            let inside = lease.look();
            if self.is_under(&lease) {
                return Some(inside);
            }
        }
    }

    /// Whether `lease` is (still) the one of the file's CMK.
    pub fn is_under(&self, lease: &Arc<KeyLease>) -> bool {
        self.lease.lock().as_ref().is_some_and(|now| Arc::ptr_eq(now, lease))
    }

    /// The engine, if there is one.
    pub fn current(&self) -> Option<Arc<Loaded>> {
        self.loaded.read().clone()
    }
}
