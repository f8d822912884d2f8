//! Taking names away and moving them: unlink, rmdir, rename, link.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, RenameFlags, Stat};
use rustix::io::Errno;

use super::errno::{FsError, Result};
use super::inode::{Inode, descriptor_path};
use super::{Answer, Attr, Caller, Filesystem};

impl Filesystem {
    /// Removes a name that is not a directory's.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`; whatever the backing directory answers.
    pub fn unlink(&self, parent: u64, name: &OsStr) -> Result<()> {
        self.remove(parent, name, AtFlags::empty())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`; whatever the backing directory answers.
    pub fn rmdir(&self, parent: u64, name: &OsStr) -> Result<()> {
        self.remove(parent, name, AtFlags::REMOVEDIR)
    }

    fn remove(&self, parent: u64, name: &OsStr, flags: AtFlags) -> Result<()> {
        if self.is_reserved(parent, name) {
            return Err(Errno::NOENT.into());
        }
        self.may_change()?;
        let parent = self.table.find(parent)?;
        let dir = parent.directory()?;
        let remove = || Ok(rustix::fs::unlinkat(&*dir, name, flags)?);
        match self.known_at(&dir, name)? {
            Some(inode) => inode.losing_name(&parent, name, remove).map(|()| inode.shown.changed()),
            None => remove(),
        }
    }

    /// Makes another name for a file.
    ///
    /// # Errors
    /// `EEXIST`, `EPERM` for a directory; whatever the backing directory answers.
    pub fn link(&self, ino: u64, parent: u64, name: &OsStr) -> Result<Answer<Attr>> {
        self.may_make(parent, name)?;
        let inode = self.table.find(ino)?;
        let parent = self.table.find(parent)?;
        if inode.kind() == FileType::Directory {
            return Err(Errno::PERM.into());
        }
        let pinned = inode.pin()?;
        let from = descriptor_path(pinned.as_fd());
        rustix::fs::linkat(CWD, from, &*parent.directory()?, name, AtFlags::SYMLINK_FOLLOW)?;
        inode.shown.changed();
        self.entry(&parent, name)
    }

    /// Moves a name, atomically; `flags` as of `renameat2(2)`. A file keeps its key.
    ///
    /// # Errors
    /// `EEXIST`, `ENOTEMPTY`, `EINVAL`; whatever the backing directory answers.
    pub fn rename(
        &self,
        parent: u64,
        name: &OsStr,
        new_parent: u64,
        new_name: &OsStr,
        flags: RenameFlags,
        caller: Caller,
    ) -> Result<()> {
        if self.is_reserved(parent, name) {
            return Err(Errno::NOENT.into());
        }
        self.may_make(new_parent, new_name)?;
        let (parent, new_parent) = (self.table.find(parent)?, self.table.find(new_parent)?);
        let (dir, new_dir) = (parent.directory()?, new_parent.directory()?);
        let moved = self.known_at(&dir, name)?;
        let target = match stat_at(&new_dir, new_name) {
            Ok(stat) => self.table.known(&stat),
            Err(FsError::Os(Errno::NOENT)) => None,
            Err(error) => return Err(error),
        };
        let same = matches!((&moved, &target), (Some(one), Some(other)) if Arc::ptr_eq(one, other));
        let rename = || Ok(rustix::fs::renameat_with(&*dir, name, &*new_dir, new_name, flags)?);
        if same {
            // Two names of one file: rename(2) does nothing. (A new spelling of one name cannot be told apart here.)
            return rename();
        }
        let rename = || match &moved {
            Some(moved) => moved.moving(&new_parent, new_name, rename),
            None => rename(),
        };
        if flags.contains(RenameFlags::EXCHANGE) {
            match &target {
                Some(target) => target.moving(&parent, name, rename)?,
                None => rename()?,
            }
        } else {
            match &target {
                Some(target) => target.losing_name(&new_parent, new_name, rename)?,
                None => rename()?,
            }
        }
        moved.iter().chain(&target).for_each(|inode| inode.shown.changed());
        let exchanged = target.iter().filter(|_| flags.contains(RenameFlags::EXCHANGE));
        self.follow_dirty(moved.iter().chain(exchanged));
        if flags.contains(RenameFlags::WHITEOUT) {
            self.give_whiteout(&parent, name, caller);
        }
        Ok(())
    }

    /// The inode behind a name, where the kernel knows it.
    fn known_at(&self, dir: &impl AsFd, name: &OsStr) -> Result<Option<Arc<Inode>>> {
        Ok(self.table.known(&stat_at(dir, name)?))
    }
}

fn stat_at(dir: &impl AsFd, name: &OsStr) -> Result<Stat> {
    Ok(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?)
}
