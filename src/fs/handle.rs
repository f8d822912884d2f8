//! Open files and directories.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::dir::DirStream;
use super::errno::{FsError, Result};
use super::inode::Inode;
use crate::datakey::Asker;

/// An open regular file.
#[derive(Debug)]
pub struct FileHandle {
    /// The file.
    pub inode: Arc<Inode>,
    /// Whether it may be written through this handle.
    pub writes: bool,
    /// Who opened it: a data key that comes back after a revocation is asked for in this name.
    pub asker: Asker,
}

/// Open handles of one kind, by the numbers that the kernel keeps for them.
#[derive(Debug)]
pub struct Handles<T> {
    open: RwLock<HashMap<u64, Arc<T>>>,
    next: AtomicU64,
}

/// Open files.
pub type FileHandles = Handles<FileHandle>;
/// Open directories.
pub type DirHandles = Handles<DirStream>;

impl FileHandles {
    /// The files that are open, each once.
    pub fn inodes(&self) -> Vec<Arc<Inode>> {
        let open = self.open.read();
        let inodes: HashMap<_, _> = open.values().map(|file| (file.inode.ino, file.inode.clone())).collect();
        inodes.into_values().collect()
    }

    /// The processes that opened a file, once for each of its handles.
    pub fn askers(&self, inode: &Arc<Inode>) -> Vec<u32> {
        let open = self.open.read();
        open.values().filter(|file| Arc::ptr_eq(&file.inode, inode)).map(|file| file.asker.pid).collect()
    }
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self { open: RwLock::default(), next: AtomicU64::new(1) }
    }
}

impl<T> Handles<T> {
    /// Adds one; its number is never used again.
    pub fn add(&self, handle: T) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.write().insert(number, Arc::new(handle));
        number
    }

    /// The handle of a number.
    pub fn find(&self, number: u64) -> Result<Arc<T>> {
        self.open.read().get(&number).cloned().ok_or(FsError::Stale)
    }

    /// Takes one out.
    pub fn remove(&self, number: u64) -> Result<Arc<T>> {
        self.open.write().remove(&number).ok_or(FsError::Stale)
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.read().len()
    }
}
