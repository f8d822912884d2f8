//! The filesystem: inodes, handles, files, directories, extended attributes, key leases and one errno table.
//!
//! Its operations are those that a kernel asks for, in its own types, so that it can be used and tested without a
//! mount. It knows nothing of fuser, SQLite or the insides of a KMS: data keys come from
//! [`crate::datakey::DataKeys`], and a kernel's caches are emptied through [`revoke::KernelCache`].
//!
//! Invariant: an answer that carries content, or lets the kernel keep it, is given while its request is inside the
//! lease of the file's CMK ([`Answer`]); see [`lease`].

pub mod attr;
pub mod backing;
mod content_io;
mod create;
mod defaults;
mod dir;
pub mod errno;
pub mod file;
mod groups;
mod handle;
mod held;
mod inode;
pub mod lease;
mod loaded;
mod names;
pub mod offline;
mod open;
mod reach;
mod recover;
mod reencrypt;
pub mod revoke;
mod rewrap;
mod setattr;
mod shown;
mod succeed;
mod table;
mod xattr;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use rustix::fs::{FileType, Mode, OFlags, StatVfs};
use rustix::io::Errno;

use crate::context::EncryptionContext;
use crate::datakey::{Asker, Authenticator, DataKeys, KeyArn};
use crate::envelope::FileId;
use crate::volume::Volume;
use crate::volume::dirty::DirtyList;

pub use attr::Attr;
pub use content_io::{Seek, WriteKind};
pub use dir::DirEntry;
pub use errno::{FsError, Result};
pub use file::Durability;
pub use inode::ROOT;
pub use rewrap::Moved;
pub use setattr::{SetTime, Setattr};
pub use xattr::XattrMode;

pub use crate::volume::RESERVED;

use attr::CACHE_TIME;
use handle::{DirHandles, FileHandles};
use inode::Inode;
use lease::{Inside, Leases};
use revoke::KernelCache;
use table::InodeTable;

/// Who sends a request.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id; 0 for requests that the kernel makes by itself.
    pub pid: u32,
}

/// How a volume is mounted, as far as it concerns the filesystem.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Nothing is changed.
    pub read_only: bool,
    /// What reaches the disk when.
    pub durability: Durability,
    /// Reading leaves the times of access.
    pub no_access_times: bool,
}

/// An answer, and the right to give it: whoever receives it keeps it until the kernel has the answer, so that a
/// revocation of the file's CMK waits for that.
#[derive(Debug)]
pub struct Answer<T> {
    /// The answer itself.
    pub value: T,
    inside: Option<Inside>,
}

impl<T> Answer<T> {
    fn under(value: T, inside: Inside) -> Self {
        Self { value, inside: Some(inside) }
    }

    /// Whether the kernel may keep what the answer says.
    fn is_cacheable(&self) -> bool {
        self.inside.as_ref().is_none_or(Inside::is_live)
    }
}

/// A mounted volume.
pub struct Filesystem {
    volume: Volume,
    keys: Arc<dyn DataKeys>,
    auth: Arc<dyn Authenticator>,
    options: Options,
    table: InodeTable,
    files: FileHandles,
    dirs: DirHandles,
    leases: Leases,
    dirty: DirtyList,
    kernel: OnceLock<Arc<dyn KernelCache>>,
    /// Held for reading by what changes files without the kernel; true when the mount ends.
    ended: RwLock<bool>,
    /// Whether it is about to be: what takes long gives up.
    ending: AtomicBool,
    /// Files whose successors could not take their place yet.
    succeeded: Mutex<HashSet<FileId>>,
}

impl std::fmt::Debug for Filesystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filesystem").field("volume", &self.volume.id()).finish_non_exhaustive()
    }
}

impl Filesystem {
    /// A filesystem over `volume`, which the caller holds the writer's lock of unless it is read-only.
    ///
    /// # Errors
    /// When the volume's directory or its list of dirty files cannot be opened.
    pub fn new(
        volume: Volume,
        keys: Arc<dyn DataKeys>,
        auth: Arc<dyn Authenticator>,
        options: Options,
    ) -> Result<Self> {
        let root = rustix::fs::openat(volume.dir(), c".", inode::DIRECTORY, Mode::empty())?;
        let dirty = DirtyList::open(&volume)?;
        Ok(Self {
            volume,
            keys,
            auth,
            options,
            table: InodeTable::new(root)?,
            files: FileHandles::default(),
            dirs: DirHandles::default(),
            leases: Leases::default(),
            dirty,
            kernel: OnceLock::new(),
            ended: RwLock::new(false),
            ending: AtomicBool::new(false),
            succeeded: Mutex::default(),
        })
    }

    /// Finds `name` in a directory and counts one reference to what it found.
    ///
    /// # Errors
    /// `ENOENT`, also for the reserved name; whatever the backing directory answers.
    pub fn lookup(&self, parent: u64, name: &OsStr) -> Result<Answer<Attr>> {
        if self.is_reserved(parent, name) {
            return Err(Errno::NOENT.into());
        }
        let parent = self.table.find(parent)?;
        self.entry(&parent, name)
    }

    /// Drops `n` references to an inode.
    pub fn forget(&self, ino: u64, n: u64) {
        if let Some(inode) = self.table.forget(ino, n) {
            let lease = inode.content.lease.lock().take();
            if let Some(lease) = lease {
                lease.dismiss(&inode);
            }
        }
    }

    /// The attributes of an inode. With a handle (`of_handle`) the kernel is about to read cached pages: that needs the
    /// CMK, without one it does not.
    ///
    /// # Errors
    /// The CMK's errno, where it is needed; `ESTALE`.
    pub fn getattr(&self, ino: u64, of_handle: Option<u64>) -> Result<Answer<Attr>> {
        let inode = self.table.find(ino)?;
        if let Some(handle) = of_handle
            && inode.kind() == FileType::RegularFile
        {
            let handle = self.files.find(handle)?;
            let engaged = self.engage(&handle.inode, lease::Access::Read, &handle.asker)?;
            let attr = Attr::new(ino, inode.stat()?, Some(engaged.loaded.engine.size()), CACHE_TIME);
            return Ok(Answer::under(attr, engaged.inside));
        }
        self.attributes(&inode)
    }

    /// `access(2)` by root, on a mount that only root uses: it may do everything but execute what nobody may
    /// (`capabilities(7)`, CAP_DAC_OVERRIDE).
    ///
    /// # Errors
    /// `EACCES`; `ESTALE`.
    pub fn root_access(&self, ino: u64, executes: bool) -> Result<()> {
        let inode = self.table.find(ino)?;
        if executes && inode.kind() == FileType::RegularFile {
            let mode = Mode::from_raw_mode(inode.stat()?.st_mode);
            if !mode.intersects(Mode::XUSR | Mode::XGRP | Mode::XOTH) {
                return Err(Errno::ACCESS.into());
            }
        }
        Ok(())
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` for anything else.
    pub fn readlink(&self, ino: u64) -> Result<Vec<u8>> {
        let inode = self.table.find(ino)?;
        if inode.kind() != FileType::Symlink {
            return Err(FsError::Invalid);
        }
        Ok(rustix::fs::readlinkat(&*inode.pin()?, c"", Vec::new())?.into_bytes())
    }

    /// The backing filesystem's space and counts.
    ///
    /// # Errors
    /// Whatever the backing filesystem answers.
    pub fn statfs(&self) -> Result<StatVfs> {
        Ok(rustix::fs::fstatvfs(&*self.table.root().pin()?)?)
    }

    /// How many files are open.
    pub fn open_files(&self) -> usize {
        self.files.count()
    }

    /// How many files are open under each CMK.
    pub fn open_by_key(&self) -> BTreeMap<KeyArn, usize> {
        let mut open = BTreeMap::new();
        for inode in self.files.inodes() {
            if let Some(lease) = inode.content.lease.lock().as_ref() {
                *open.entry(lease.key().clone()).or_default() += 1;
            }
        }
        open
    }

    /// The attributes of an inode, to be kept by the kernel only while its CMK is usable.
    fn attributes(&self, inode: &Arc<Inode>) -> Result<Answer<Attr>> {
        let lease = inode.content.lease.lock().clone();
        let inside = lease.map(|lease| lease.look());
        let attr = Attr::new(inode.ino, inode.stat()?, inode.content.open_size(), CACHE_TIME);
        Ok(self.bounded(Answer { value: attr, inside }))
    }

    /// Looks `name` up in the backing directory and remembers it.
    fn entry(&self, parent: &Arc<Inode>, name: &OsStr) -> Result<Answer<Attr>> {
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(&*parent.directory()?, name, flags)?;
        let inode = self.table.remember(&stat, parent, name);
        let stat = if inode.shown.is_own() { stat } else { inode.stat()? };
        let lease = inode.content.lease.lock().clone();
        let inside = lease.map(|lease| lease.look());
        let attr = Attr::new(inode.ino, stat, inode.content.open_size(), CACHE_TIME);
        Ok(self.bounded(Answer { value: attr, inside }))
    }

    fn bounded(&self, mut answer: Answer<Attr>) -> Answer<Attr> {
        if !answer.is_cacheable() {
            answer.value.ttl = std::time::Duration::ZERO;
        }
        answer
    }

    fn is_reserved(&self, parent: u64, name: &OsStr) -> bool {
        parent == ROOT && name == RESERVED
    }

    /// Refuses to make or move anything to the reserved name, and any change of a read-only mount.
    fn may_make(&self, parent: u64, name: &OsStr) -> Result<()> {
        if self.is_reserved(parent, name) {
            return Err(FsError::Reserved);
        }
        self.may_change()
    }

    fn may_change(&self) -> Result<()> {
        if self.options.read_only { Err(FsError::ReadOnlyMount) } else { Ok(()) }
    }

    /// Has reads through `fd` leave the time of access, where the mount is to. Times are those of the backing files, so the kernel's
    /// own flag does nothing. Only a file's owner and root may.
    fn leave_access_time(&self, fd: impl AsFd) {
        if self.options.no_access_times
            && let Err(errno) = rustix::fs::fcntl_setfl(fd, OFlags::NOATIME)
        {
            log::debug!("a time of access may move: {errno}");
        }
    }

    fn asker(&self, caller: Caller, path: &OsStr) -> Asker {
        Asker {
            uid: caller.uid,
            pid: caller.pid,
            volume: self.volume.id().to_string(),
            path: path.to_string_lossy().into_owned(),
        }
    }

    /// The encryption context of a file: what binds its wrapped data key to it.
    fn context(&self, file_id: &FileId) -> EncryptionContext {
        [("kmsfs:volume", self.volume.id().to_string()), ("kmsfs:file", file_id.to_string())]
            .into_iter()
            .collect()
    }
}
