//! Extended attributes: those of the backing files, and the virtual ones that show a file's key.
//!
//! Names beginning with `user.kmsfs.` are this filesystem's own. They answer by name and are never listed, so that a copy
//! with all attributes does not carry them elsewhere.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustix::fs::{FileType, OFlags, XattrFlags};
use rustix::io::Errno;

use super::attr::CACHE_TIME;
use super::backing::FdBacking;
use super::errno::{FsError, Result};
use super::inode::{Inode, descriptor_path};
use super::loaded::Engine;
use super::setattr::CAPABILITIES;
use super::{Caller, Filesystem};
use crate::datakey::WrappedDataKey;
use crate::volume::default_key;
pub(super) use crate::volume::records::DEFAULT_KEY;

const OURS: &[u8] = b"user.kmsfs.";
const KEY_ID: &str = "user.kmsfs.key-id";
const KEY_VERSION: &str = "user.kmsfs.key-version";
const ALGORITHM: &str = "user.kmsfs.algorithm";

/// Attributes that only root sees and sets.
const TRUSTED: &[u8] = b"trusted.";

/// A file's access control list, and the one that a directory gives to what is made in it (`acl(5)`).
const ACL: &str = "system.posix_acl_access";
pub(super) const ACL_DEFAULT: &str = "system.posix_acl_default";

/// What is asked of every file, and what few have: by the kernel before it lets anyone in or writes, and by `ls -l`.
const ROUTINE: [&str; 4] = [ACL, ACL_DEFAULT, CAPABILITIES, "security.selinux"];

/// The largest value that Linux passes (`XATTR_SIZE_MAX`, limits.h).
const VALUE_MAX: usize = 65_536;

/// Whether an attribute may or must exist before it is set.
pub type XattrMode = XattrFlags;

impl Filesystem {
    /// The value of an attribute.
    ///
    /// # Errors
    /// `ENODATA` where there is none; `EIO` for a directory's default key that was altered beneath the mount.
    pub fn getxattr(&self, ino: u64, name: &OsStr) -> Result<Vec<u8>> {
        let inode = self.table.find(ino)?;
        if name.as_bytes().starts_with(OURS) {
            return self.virtual_xattr(&inode, name);
        }
        if name == CAPABILITIES && !inode.may_have_capabilities.load(Ordering::Acquire) {
            return Err(Errno::NODATA.into());
        }
        // A commit takes capabilities away and puts them back: nobody sees them gone.
        let _alone = (name == CAPABILITIES).then(|| inode.times.lock());
        if ROUTINE.iter().any(|routine| name == *routine) && is_bare(&inode)? {
            return Err(Errno::NODATA.into());
        }
        match read_xattr(&*inode.pin()?, name) {
            // The kernel asks before it lets anyone in: a backing filesystem without lists means that there is none.
            Err(FsError::Os(Errno::OPNOTSUPP)) if name == ACL || name == ACL_DEFAULT => {
                Err(Errno::NODATA.into())
            }
            answer => answer,
        }
    }

    /// The names of the backing file's attributes, each ended by a zero byte. Those of the system's own are shown to root
    /// alone, as by other filesystems (`xattr(7)`).
    ///
    /// # Errors
    /// Whatever the backing file answers.
    pub fn listxattr(&self, ino: u64, caller: Caller) -> Result<Vec<u8>> {
        let pinned = self.table.find(ino)?.pin()?;
        let mut names = vec![0; VALUE_MAX];
        let len = rustix::fs::listxattr(descriptor_path(pinned.as_fd()), &mut names)?;
        let shown = |name: &&[u8]| !name.starts_with(OURS) && (caller.uid == 0 || !name.starts_with(TRUSTED));
        Ok(names[..len].split_inclusive(|byte| *byte == 0).filter(shown).flatten().copied().collect())
    }

    /// Sets an attribute. Of the virtual ones only a directory's default key can be set; the key must exist.
    ///
    /// # Errors
    /// `EPERM` for other virtual ones, `ENOKEY` for a key that does not exist; whatever the backing file answers.
    pub fn setxattr(
        &self,
        ino: u64,
        name: &OsStr,
        value: &[u8],
        mode: XattrMode,
        caller: Caller,
    ) -> Result<()> {
        self.may_change()?;
        let inode = self.table.find(ino)?;
        let pinned = inode.pin()?;
        if name.as_bytes().starts_with(OURS) {
            if name != DEFAULT_KEY || inode.kind() != FileType::Directory {
                return Err(FsError::ReadOnlyAttribute);
            }
            let key = std::str::from_utf8(value).map_err(|_| FsError::Invalid)?;
            self.keys.resolve(key)?;
            let stored = self.encoded_default_key(key);
            let path = descriptor_path(pinned.as_fd());
            return changing(&inode, name, || Ok(rustix::fs::setxattr(path, DEFAULT_KEY, &stored, mode)?));
        }
        if caller.uid != 0 && name.as_bytes().starts_with(TRUSTED) {
            return Err(Errno::PERM.into());
        }
        let path = descriptor_path(pinned.as_fd());
        changing(&inode, name, || Ok(rustix::fs::setxattr(path, name, value, mode)?))?;
        if name == ACL && caller.uid != 0 { inode.keep_group_from(caller) } else { Ok(()) }
    }

    /// Removes an attribute. A directory without a default key uses the volume's again.
    ///
    /// # Errors
    /// `ENODATA`, `EPERM`; whatever the backing file answers.
    pub fn removexattr(&self, ino: u64, name: &OsStr, caller: Caller) -> Result<()> {
        self.may_change()?;
        let inode = self.table.find(ino)?;
        let ours = name.as_bytes().starts_with(OURS);
        if ours && (name != DEFAULT_KEY || inode.kind() != FileType::Directory) {
            return Err(FsError::ReadOnlyAttribute);
        }
        if caller.uid != 0 && name.as_bytes().starts_with(TRUSTED) {
            return Err(Errno::PERM.into());
        }
        let pinned = inode.pin()?;
        let path = descriptor_path(pinned.as_fd());
        changing(&inode, name, || Ok(rustix::fs::removexattr(path, name)?))
    }

    /// Stores a default key in its stored form.
    pub(super) fn store_default_key(&self, dir: &OwnedFd, stored: &[u8]) -> Result<()> {
        Ok(rustix::fs::setxattr(descriptor_path(dir.as_fd()), DEFAULT_KEY, stored, XattrFlags::empty())?)
    }

    fn encoded_default_key(&self, key: &str) -> Vec<u8> {
        default_key::encode(key, self.volume.id(), &*self.auth)
    }

    fn virtual_xattr(&self, inode: &Arc<Inode>, name: &OsStr) -> Result<Vec<u8>> {
        let text = match (name.to_str(), inode.kind()) {
            (Some(DEFAULT_KEY), FileType::Directory) => {
                let stored = self.stored(inode, DEFAULT_KEY)?.ok_or(Errno::NODATA)?;
                default_key::decode(&stored, self.volume.id(), &*self.auth)?
            }
            (Some(KEY_ID), FileType::RegularFile) => self.header_key(inode)?.key.to_string(),
            (Some(KEY_VERSION), FileType::RegularFile) => self.header_key(inode)?.version.to_string(),
            (Some(ALGORITHM), FileType::RegularFile) => "AES_256_GCM".to_owned(),
            _ => return Err(Errno::NODATA.into()),
        };
        Ok(text.into_bytes())
    }

    /// Which key a file is under; its header says so whatever the key's state.
    fn header_key(&self, inode: &Inode) -> Result<WrappedDataKey> {
        if let Some(loaded) = inode.content.current() {
            return Ok(loaded.wrapped.read().clone());
        }
        let backing = FdBacking::new(inode.open(OFlags::RDONLY)?);
        self.leave_access_time(backing.descriptor());
        let identity = Engine::identify(&backing).map_err(|error| self.damaged(inode, error))?;
        Ok(identity.wrapped().clone())
    }
}

/// Whether an object has no attribute that could be listed; kept as long as the kernel keeps attributes.
fn is_bare(inode: &Inode) -> Result<bool> {
    // Held while they are looked for: who sets one in between takes what was seen away again.
    let mut seen = inode.seen_bare.lock();
    if seen.is_some_and(|seen| seen.elapsed() < CACHE_TIME) {
        return Ok(true);
    }
    let now = Instant::now();
    let bare = match inode.has_attributes() {
        // A backing filesystem that lists none may still have some.
        Err(FsError::Os(Errno::OPNOTSUPP)) => false,
        any => !any?,
    };
    *seen = bare.then_some(now);
    Ok(bare)
}

/// Runs `change`, which sets or removes the attribute `name`, so that nothing that was read before outlives it.
fn changing(inode: &Inode, name: &OsStr, change: impl FnOnce() -> Result<()>) -> Result<()> {
    let outcome = {
        // A commit that keeps privileges is not to put back what is changed here.
        let _alone = inode.times.lock();
        if name == CAPABILITIES {
            inode.may_have_capabilities.store(true, Ordering::Release);
        }
        let outcome = change();
        inode.shown.changed();
        outcome
    };
    // After the change: what is read before and kept later waits for the same locks.
    *inode.defaults.lock() = None;
    *inode.seen_bare.lock() = None;
    outcome
}

pub(super) fn read_xattr(fd: &OwnedFd, name: &OsStr) -> Result<Vec<u8>> {
    let path = descriptor_path(fd.as_fd());
    let mut value = vec![0; 256];
    let len = match rustix::fs::getxattr(&path, name, &mut value) {
        Err(Errno::RANGE) => {
            value.resize(VALUE_MAX, 0);
            rustix::fs::getxattr(&path, name, &mut value)?
        }
        answer => answer?,
    };
    value.truncate(len);
    Ok(value)
}
