//! The table of inodes that the kernel knows.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustix::fs::Stat;

use super::errno::{FsError, Result};
use super::inode::{Inode, ROOT, identity};

/// Numbers at and above it are given to objects on other devices than the root's, whose own numbers could collide.
const FOREIGN: u64 = 1 << 63;

/// All inodes by number.
#[derive(Debug)]
pub struct InodeTable {
    root: Arc<Inode>,
    root_device: u64,
    inodes: RwLock<HashMap<u64, Arc<Inode>>>,
    foreign: Mutex<Foreign>,
}

/// The numbers of objects whose own number cannot serve. A number is never given twice in a mount's life.
#[derive(Debug, Default)]
struct Foreign {
    numbers: HashMap<(u64, u64), u64>,
    given: u64,
}

impl Foreign {
    fn number(&mut self, identity: (u64, u64)) -> u64 {
        *self.numbers.entry(identity).or_insert_with(|| {
            self.given += 1;
            FOREIGN + self.given
        })
    }
}

impl InodeTable {
    /// A table with the root alone.
    pub fn new(dir: OwnedFd) -> Result<Self> {
        let root_device = rustix::fs::fstat(&dir)?.st_dev;
        let root = Arc::new(Inode::root(dir)?);
        let inodes = RwLock::new(HashMap::from([(ROOT, root.clone())]));
        Ok(Self { root, root_device, inodes, foreign: Mutex::default() })
    }

    /// The root.
    pub fn root(&self) -> &Arc<Inode> {
        &self.root
    }

    /// The inode of a number that the kernel gave.
    pub fn find(&self, ino: u64) -> Result<Arc<Inode>> {
        self.inodes.read().get(&ino).cloned().ok_or(FsError::Stale)
    }

    /// The inode of a backing file, where the kernel knows it.
    pub fn known(&self, stat: &Stat) -> Option<Arc<Inode>> {
        let ino = self.number(stat);
        self.inodes.read().get(&ino).filter(|inode| inode.is(stat)).cloned()
    }

    /// The inode of a backing file that was found under `name` in `parent`, with one more reference of the kernel.
    pub fn remember(&self, stat: &Stat, parent: &Arc<Inode>, name: &OsStr) -> Arc<Inode> {
        let ino = self.number(stat);
        if let Some(inode) = self.inodes.read().get(&ino).filter(|inode| inode.is(stat)) {
            inode.looked_up();
            inode.settle(parent, name);
            return inode.clone();
        }
        self.remember_prepared(stat, parent, name, |_| ())
    }

    /// As [`InodeTable::remember`]; the inode is prepared before anybody else can find it.
    pub fn remember_prepared(
        &self,
        stat: &Stat,
        parent: &Arc<Inode>,
        name: &OsStr,
        prepare: impl FnOnce(&Arc<Inode>),
    ) -> Arc<Inode> {
        let ino = self.number(stat);
        let mut inodes = self.inodes.write();
        let known = inodes.get(&ino).filter(|inode| inode.is(stat)).cloned();
        let inode = known.unwrap_or_else(|| Arc::new(Inode::found(ino, stat, parent, name)));
        prepare(&inode);
        inodes.insert(ino, inode.clone());
        inode.looked_up();
        inode.settle(parent, name);
        inode
    }

    /// Drops `n` references. Answers the inode when that was the last one.
    pub fn forget(&self, ino: u64, n: u64) -> Option<Arc<Inode>> {
        if ino == ROOT {
            return None;
        }
        let mut inodes = self.inodes.write();
        if !inodes.get(&ino)?.forgotten(n) {
            return None;
        }
        let inode = inodes.remove(&ino)?;
        if ino >= FOREIGN {
            self.foreign.lock().numbers.remove(&inode.identity());
        }
        Some(inode)
    }

    /// All inodes, at this moment.
    pub fn all(&self) -> Vec<Arc<Inode>> {
        self.inodes.read().values().cloned().collect()
    }

    /// The mount's number for a backing file.
    pub fn number(&self, stat: &Stat) -> u64 {
        let (device, ino) = identity(stat);
        if device == self.root_device {
            if ino == self.root.backing_number() {
                return ROOT;
            }
            if ino != ROOT && ino < FOREIGN {
                return ino;
            }
        }
        self.foreign.lock().number((device, ino))
    }
}
