//! Files by their path within the volume, for requests that do not come from the kernel.
//!
//! They go the way of the kernel's own requests, and find the same inodes: two engines over one file would destroy it.

use std::path::{Component, Path};
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::errno::{FsError, Result};
use super::inode::Inode;
use super::{Caller, Filesystem};
use crate::datakey::Asker;

/// A file that was found by its path, and the references that keep it known until this is dropped.
pub(super) struct Reached<'a> {
    fs: &'a Filesystem,
    known: Vec<u64>,
    /// The file.
    pub inode: Arc<Inode>,
    /// Who asked for it.
    pub asker: Asker,
}

impl Drop for Reached<'_> {
    fn drop(&mut self) {
        self.known.iter().rev().for_each(|ino| self.fs.forget(*ino, 1));
    }
}

impl Filesystem {
    /// Finds a regular file. No symbolic link is followed.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`; `EINVAL` for anything but a regular file.
    pub(super) fn reach(&self, path: &Path, caller: Caller) -> Result<Reached<'_>> {
        let asker = self.asker(caller, path.as_os_str());
        let mut reached = Reached { fs: self, known: Vec::new(), inode: self.table.root().clone(), asker };
        for part in path.components() {
            let Component::Normal(name) = part else { return Err(FsError::Invalid) };
            if reached.inode.kind() != FileType::Directory {
                return Err(Errno::NOTDIR.into());
            }
            let ino = self.lookup(reached.inode.ino, name)?.value.ino;
            reached.known.push(ino);
            reached.inode = self.table.find(ino)?;
        }
        if reached.inode.kind() == FileType::RegularFile { Ok(reached) } else { Err(FsError::Invalid) }
    }
}
