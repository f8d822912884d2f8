//! Inodes: what the kernel knows by number, found again in the backing directory by descriptor and name.
//!
//! An inode is identified by the backing file's device and inode number. Its *place* is the directory it was last
//! found in and its name there; every use checks that the file found there is still the same one. Directories keep a
//! descriptor, and so does whatever lost its name while the kernel still knows it; so a renamed or unlinked file goes
//! on working, and no path is ever resolved twice.
//!
//! Lock order: a place is locked before the places of its ancestors, never after them.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::defaults::Defaults;
use super::errno::{FsError, Result};
use super::loaded::Content;
use super::shown::Shown;

/// The inode number of a mount's root (FUSE protocol).
pub const ROOT: u64 = 1;

/// How a directory is held: to find names in it, not to read it.
pub const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A file, directory or other object that the kernel knows.
#[derive(Debug)]
pub struct Inode {
    /// Its number in the mount.
    pub ino: u64,
    /// Device and inode number of the backing file.
    identity: (u64, u64),
    kind: FileType,
    /// How many references the kernel holds (FUSE `nlookup`), and one for each open handle.
    lookups: AtomicU64,
    place: Mutex<Place>,
    /// Held while times or privileges are set, or kept over a commit; taken before `place`.
    pub times: Mutex<()>,
    /// What is shown of its times.
    pub shown: Shown,
    /// False for a file that was made by its present handles: the kernel asks for capabilities before the first write.
    pub may_have_capabilities: AtomicBool,
    /// When it was last seen to have no extended attribute.
    pub seen_bare: Mutex<Option<Instant>>,
    /// What it gives to what is made in it; used for directories only.
    pub defaults: Mutex<Option<Box<Defaults>>>,
    /// Data key and chunk engine; used for regular files only.
    pub content: Content,
}

#[derive(Debug)]
struct Place {
    /// `None` for the root, and for what has no name any more.
    named: Option<(Arc<Inode>, OsString)>,
    /// A descriptor with `O_PATH`: of a directory, or of what lost its name.
    pinned: Option<Arc<OwnedFd>>,
}

/// A borrowed or kept descriptor and a name beneath it; an empty name is the descriptor's own object.
struct Spot<'a> {
    dir: Arc<OwnedFd>,
    name: &'a OsStr,
}

impl Inode {
    /// The root of a mount, held by `dir`.
    pub fn root(dir: OwnedFd) -> Result<Self> {
        let stat = sys::fstat(&dir)?;
        Ok(Self {
            ino: ROOT,
            identity: identity(&stat),
            kind: FileType::from_raw_mode(stat.st_mode),
            lookups: AtomicU64::new(1),
            place: Mutex::new(Place { named: None, pinned: Some(Arc::new(dir)) }),
            times: Mutex::default(),
            shown: Shown::default(),
            may_have_capabilities: AtomicBool::new(true),
            seen_bare: Mutex::default(),
            defaults: Mutex::default(),
            content: Content::default(),
        })
    }

    /// An inode found under `name` in `parent`, with no reference yet.
    pub fn found(ino: u64, stat: &Stat, parent: &Arc<Self>, name: &OsStr) -> Self {
        Self {
            ino,
            identity: identity(stat),
            kind: FileType::from_raw_mode(stat.st_mode),
            lookups: AtomicU64::new(0),
            place: Mutex::new(Place { named: Some((parent.clone(), name.to_owned())), pinned: None }),
            times: Mutex::default(),
            shown: Shown::default(),
            may_have_capabilities: AtomicBool::new(true),
            seen_bare: Mutex::default(),
            defaults: Mutex::default(),
            content: Content::default(),
        }
    }

    /// The inode number of the backing file on its device.
    pub fn backing_number(&self) -> u64 {
        self.identity.1
    }

    /// Device and inode number of the backing file.
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// What kind of object it is; that never changes.
    pub fn kind(&self) -> FileType {
        self.kind
    }

    /// Whether `stat` is of this inode's backing file.
    pub fn is(&self, stat: &Stat) -> bool {
        self.identity == identity(stat) && self.kind == FileType::from_raw_mode(stat.st_mode)
    }

    /// The backing file's attributes, with the times that are shown of it.
    pub fn stat(&self) -> Result<Stat> {
        self.shown.look(|| self.stat_beneath())
    }

    fn stat_beneath(&self) -> Result<Stat> {
        if let Some(fd) = self.opened() {
            return Ok(sys::fstat(&*fd)?);
        }
        let place = self.place.lock();
        let spot = place.spot()?;
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        let stat = sys::statat(&*spot.dir, spot.name, flags).map_err(vanished)?;
        if self.is(&stat) { Ok(stat) } else { Err(FsError::Stale) }
    }

    /// Whether it has an extended attribute that is listed.
    pub fn has_attributes(&self) -> Result<bool> {
        let mut names = [0; 256];
        if let Some(fd) = self.opened() {
            return any_listed(sys::flistxattr(&*fd, &mut names));
        }
        let place = self.place.lock();
        let spot = place.spot()?;
        let mut path = OsString::from(descriptor_path(spot.dir.as_fd()));
        if spot.name.is_empty() {
            return any_listed(sys::listxattr(path, &mut names));
        }
        path.push("/");
        path.push(spot.name);
        let any = any_listed(sys::llistxattr(path, &mut names))?;
        let stat = sys::statat(&*spot.dir, spot.name, AtFlags::SYMLINK_NOFOLLOW).map_err(vanished)?;
        if self.is(&stat) { Ok(any) } else { Err(FsError::Stale) }
    }

    /// Opens the backing file itself (`openat` without following a link) and checks that it is this inode's.
    pub fn open(&self, flags: OFlags) -> Result<OwnedFd> {
        let place = self.place.lock();
        let spot = place.spot()?;
        let flags = flags | OFlags::CLOEXEC;
        let fd = if spot.name.is_empty() {
            // The descriptor's own object: /proc leads back to it without a name.
            sys::open(descriptor_path(spot.dir.as_fd()), flags, Mode::empty())?
        } else {
            sys::openat(&*spot.dir, spot.name, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(vanished)?
        };
        if self.is(&sys::fstat(&fd)?) { Ok(fd) } else { Err(FsError::Stale) }
    }

    /// The descriptor of an open file: it leads to the file whatever its name is by now, and at no cost.
    fn opened(&self) -> Option<Arc<OwnedFd>> {
        self.content.current().map(|loaded| loaded.engine.backing().descriptor().clone())
    }

    /// A descriptor of the object, whatever it is; with `O_PATH` where it is not an open file.
    pub fn pin(&self) -> Result<Arc<OwnedFd>> {
        if let Some(fd) = self.opened() {
            return Ok(fd);
        }
        if let Some(fd) = &self.place.lock().pinned {
            return Ok(fd.clone());
        }
        Ok(Arc::new(self.open(OFlags::PATH)?))
    }

    /// The directory it was last found in.
    pub(super) fn parent(&self) -> Option<Arc<Self>> {
        self.place.lock().named.as_ref().map(|(parent, _)| parent.clone())
    }

    /// The descriptor of a directory that is kept open.
    pub(super) fn held(&self) -> Option<Arc<OwnedFd>> {
        self.place.lock().pinned.clone()
    }

    /// Keeps a descriptor open; false where there is one already.
    pub(super) fn keep(&self, fd: &Arc<OwnedFd>) -> bool {
        let mut place = self.place.lock();
        let keeps = place.pinned.is_none();
        if keeps {
            place.pinned = Some(fd.clone());
        }
        keeps
    }

    /// Closes the descriptor of a directory that can be found again; false where it is in use at this moment.
    pub(super) fn give_up_descriptor(&self) -> bool {
        // Only tried: who asks may hold the place of something beneath.
        let Some(mut place) = self.place.try_lock() else { return false };
        if place.named.is_some() {
            place.pinned = None;
        }
        true
    }

    /// Runs `remove`, which takes the name `name` in `parent` away from this object, with a descriptor held
    /// before, so that the object goes on working without a name.
    pub fn losing_name(
        &self,
        parent: &Self,
        name: &OsStr,
        remove: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let fd = self.pin()?;
        let mut place = self.place.lock();
        remove()?;
        if place.is_named(parent, name) {
            place.named = None;
            place.pinned.get_or_insert(fd);
        }
        Ok(())
    }

    /// Runs `rename`, which moves the object to `name` in `parent`; nobody looks for it meanwhile.
    pub fn moving(
        &self,
        parent: &Arc<Self>,
        name: &OsStr,
        rename: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut place = self.place.lock();
        rename()?;
        place.named = Some((parent.clone(), name.to_owned()));
        Ok(())
    }

    /// Remembers that the object was found or put under `name` in `parent`.
    pub fn settle(&self, parent: &Arc<Self>, name: &OsStr) {
        let mut place = self.place.lock();
        if place.is_named(parent, name) {
            return;
        }
        if place.named.is_none() && self.ino != ROOT && self.kind != FileType::Directory {
            place.pinned = None;
        }
        if self.ino != ROOT {
            place.named = Some((parent.clone(), name.to_owned()));
        }
    }

    /// The path within the volume, for people and for the audit log; not used to find anything.
    pub fn path(&self) -> OsString {
        let mut names: Vec<OsString> = Vec::new();
        let mut next = self.place.lock().named.clone();
        if next.is_none() && self.ino != ROOT {
            return OsString::from("(deleted)");
        }
        while let Some((parent, name)) = next {
            names.push(name);
            next = parent.place.lock().named.clone();
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
        }
        OsString::from_vec(path)
    }

    /// Counts one more reference.
    pub fn looked_up(&self) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts `n` references off; true when none is left.
    pub fn forgotten(&self, n: u64) -> bool {
        let before = self.lookups.fetch_sub(n, Ordering::Relaxed);
        debug_assert!(before >= n, "the kernel forgets what it looked up");
        before <= n
    }
}

impl Drop for Inode {
    /// Drops what it was the last to know of the directories above it, one after the other: the depth of a tree costs no stack.
    fn drop(&mut self) {
        let mut above = self.place.get_mut().named.take();
        while let Some(mut dir) = above.and_then(|(dir, _)| Arc::into_inner(dir)) {
            above = dir.place.get_mut().named.take();
        }
    }
}

impl Place {
    fn is_named(&self, parent: &Inode, name: &OsStr) -> bool {
        self.named.as_ref().is_some_and(|(at, called)| at.ino == parent.ino && called == name)
    }

    /// Where to find the object. Opens ancestors as needed.
    fn spot(&self) -> Result<Spot<'_>> {
        match (&self.pinned, &self.named) {
            (Some(fd), _) => Ok(Spot { dir: fd.clone(), name: OsStr::new("") }),
            (None, Some((parent, name))) => Ok(Spot { dir: parent.directory()?, name }),
            (None, None) => Err(FsError::Stale),
        }
    }
}

/// A path that leads to the object behind a descriptor, also one with `O_PATH`.
pub fn descriptor_path(fd: BorrowedFd<'_>) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Device and inode number.
pub fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// What an answer to `listxattr(2)` with a small buffer says.
fn any_listed(answer: rustix::io::Result<usize>) -> Result<bool> {
    match answer {
        Err(Errno::RANGE) => Ok(true),
        answer => Ok(answer.map_err(vanished)? > 0),
    }
}

/// A name that the kernel knows and the backing directory does not: changed from outside the mount.
fn vanished(errno: Errno) -> FsError {
    if errno == Errno::NOENT { FsError::Stale } else { errno.into() }
}
