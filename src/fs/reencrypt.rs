//! Encrypting a file anew: another data key, another file id, every chunk sealed again.
//!
//! The new file is written beside the old one while that goes on being used, and counts only if the old one was not changed
//! meanwhile; one that is changed all the while is at last encrypted while nobody is let in. Then, while nobody is at work on the file, it becomes the old one's successor and takes its place (`succeed`). The
//! inode stays, and with it names, owner, mode, attributes and open descriptors.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use parking_lot::{RwLock, RwLockReadGuard};
use rustix::fs::{Mode, OFlags, SeekFrom, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::backing::{Backing, FdBacking};
use super::create::Unnamed;
use super::errno::{FsError, Result};
use super::file::{CryptFile, FileError};
use super::lease::{Access, KeyLease};
use super::loaded::{Engine, Loaded};
use super::open::Engaged;
use super::reach::Reached;
use super::rewrap::Moved;
use super::setattr::{CAPABILITIES, Kept};
use super::{Caller, Durability, Filesystem};
use crate::context::EncryptionContext;
use crate::datakey::{DataKey, DataKeyError, WrappedDataKey};
use crate::envelope::FileId;

/// How often it is tried while the file goes on being written; after that, who writes a file of at most [`STILL_MAX`] waits.
const ATTEMPTS: usize = 2;
/// The most bytes of ciphertext that are encrypted while nobody is let in.
const STILL_MAX: u64 = 64 << 20;
/// Bytes of content that are read, and written, at once.
const PIECE: u64 = 1 << 20;
/// The most bytes of ciphertext of a file that somebody has open: who uses files of its CMK waits while they are copied.
const IN_USE_MAX: u64 = 256 << 20;

/// A new file that is to take the place of another.
struct Successor {
    unnamed: Unnamed,
    file_id: FileId,
    data_key: DataKey,
    wrapped: WrappedDataKey,
    context: EncryptionContext,
    /// What of the old file it was made from.
    old: Weak<Loaded>,
    changes: u64,
}

impl Filesystem {
    /// Encrypts the file at `path` (within the volume) under a new data key, wrapped under `to` (id, ARN or alias) or under the CMK
    /// that it is under, newest backing key; recorded as GenerateDataKey. Content and attributes stay.
    ///
    /// # Errors
    /// The key service's refusal; [`FsError::Busy`] where the file is written all the time, or is large and open; `ENOSPC`. Then
    /// the file is what it was.
    pub fn reencrypt(&self, path: &Path, to: Option<&str>, caller: Caller) -> Result<Moved> {
        self.may_change()?;
        let _governing = self.governing()?;
        let reached = self.reach(path, caller)?;
        let _alone = reached.inode.content.governing.lock();
        let _open = self.open_briefly(&reached.inode);
        for attempt in 0..=ATTEMPTS {
            let is_last = attempt == ATTEMPTS;
            if is_last && self.bytes_stored(&reached)? > STILL_MAX {
                break;
            }
            if let Some(moved) = self.reencrypt_once(&reached, to, is_last)? {
                return Ok(moved);
            }
        }
        Err(FsError::Busy(format!("it was written to while it was re-encrypted{}", self.used_by(&reached))))
    }

    /// The right to change files without the kernel; the mount's end waits for it.
    pub(super) fn governing(&self) -> Result<RwLockReadGuard<'_, bool>> {
        let ended = self.ended.read();
        if *ended { Err(FsError::Busy(ENDING.to_owned())) } else { Ok(ended) }
    }

    /// `None` where the file was changed meanwhile; `still` lets nobody change it.
    fn reencrypt_once(&self, reached: &Reached<'_>, to: Option<&str>, still: bool) -> Result<Option<Moved>> {
        let Reached { inode, asker, .. } = reached;
        let (from, old, changes, before, size) = {
            let engaged = self.engage(inode, Access::Write, asker)?;
            let loaded = engaged.loaded;
            let Some(from) = inode.content.lease.lock().clone() else { return Err(FsError::Stale) };
            let before = loaded.wrapped.read().clone();
            let changes = loaded.engine.changes();
            (from, Arc::downgrade(&loaded), changes, before, loaded.engine.size())
        };
        if self.is_shared(reached) && self.bytes_stored(reached)? > IN_USE_MAX {
            let most = IN_USE_MAX >> 20;
            return Err(FsError::Busy(format!(
                "it is open, and larger than {most} MiB{}",
                self.used_by(reached)
            )));
        }
        let file_id = FileId::random();
        let context = self.context(&file_id);
        let named = to.unwrap_or(before.key.as_str());
        let (data_key, wrapped) = self.keys.generate(asker, named, &context)?;
        let to = self.leases.of(&wrapped.key);
        let unnamed = self.unnamed_successor()?;
        let successor = Successor { unnamed, file_id, data_key, wrapped, context, old, changes };
        let moved = Moved::between(&before, &successor.wrapped, size);
        if still {
            let moves = || self.replace_still(reached, successor);
            return Ok(self.hand_over(inode, &from, &to, moves)?.then_some(moved));
        }
        // In the lease of either CMK for one piece at a time: a revocation waits no longer, and ends this.
        let engine = || -> Result<_> {
            let Engaged { inside, loaded } = self.engage(inode, Access::Read, asker)?;
            let refused = |usability| DataKeyError::Unusable(to.key().clone(), usability);
            let inside = (inside, to.enter(Access::Write).map_err(refused)?);
            let is_same = std::ptr::eq(Arc::as_ptr(&loaded), successor.old.as_ptr());
            Ok(is_same.then_some((loaded, inside)))
        };
        if !self.fill(reached, &successor, engine)? {
            return Ok(None);
        }
        let taken = if self.is_shared(reached) {
            // Whoever opens it until then waits at the lease.
            self.hand_over(inode, &from, &to, || self.replace_in_use(reached, successor))?
        } else {
            self.replace_unused(reached, &from, successor)?
        };
        Ok(taken.then_some(moved))
    }

    /// Writes the new file from what `engine` gives for each piece; false where that is not the same any more.
    fn fill<I>(
        &self,
        reached: &Reached<'_>,
        new: &Successor,
        engine: impl Fn() -> Result<Option<(Arc<Loaded>, I)>>,
    ) -> Result<bool> {
        let Reached { inode, asker, .. } = reached;
        let failed = |error| FsError::File { path: asker.path.clone(), error };
        let backing = FdBacking::new(new.unnamed.fd.clone());
        let durability = Durability::Default;
        let file = CryptFile::create(backing, new.file_id, &new.wrapped, &new.data_key, durability);
        let file = file.map_err(failed)?;
        let mut piece = vec![0; PIECE as usize];
        let mut at = 0;
        let size = loop {
            if self.ending.load(Ordering::Acquire) {
                return Err(FsError::Busy(ENDING.to_owned()));
            }
            let Some((loaded, _inside)) = engine()? else { return Ok(false) };
            let engine = &loaded.engine;
            let next = next_piece(engine, at).map_err(|error| self.damaged(inode, error))?;
            let Some((start, end)) = next else { break engine.size() };
            let bytes = &mut piece[..(end - start) as usize];
            let read = engine.read_at(start, bytes).map_err(|error| self.damaged(inode, error))?;
            if read > 0 {
                file.write_at(start, &bytes[..read]).map_err(failed)?;
            }
            at = end;
        };
        if file.size() != size {
            file.set_size(size).map_err(failed)?;
        }
        file.commit_clean().and_then(|()| file.sync()).map_err(failed)?;
        Ok(true)
    }

    /// Encrypts and replaces a file while nobody is at work under its CMK.
    fn replace_still(&self, reached: &Reached<'_>, mut new: Successor) -> Result<bool> {
        let Some(old) = reached.inode.content.current() else { return Ok(false) };
        self.commit(&reached.inode, &old)?;
        new.old = Arc::downgrade(&old);
        new.changes = old.engine.changes();
        self.fill(reached, &new, || Ok(Some((old.clone(), ()))))?;
        drop(old);
        self.replace_in_use(reached, new)
    }

    /// A file that nobody else has open: who opens it waits, and it has no engine until this is done.
    fn replace_unused(&self, reached: &Reached<'_>, from: &KeyLease, new: Successor) -> Result<bool> {
        let inode = &reached.inode;
        let opens = inode.content.opens.lock();
        if opens.all > 1 {
            // Opened just now: begun anew, it is replaced in use.
            return Ok(false);
        }
        let old_id = {
            let Some(_inside) = inode.content.look() else { return Ok(false) };
            let Some(old) = self.unchanged(reached, &new)? else { return Ok(false) };
            inode.content.loaded.write().take();
            old.file_id
        };
        let fd = Arc::new(inode.open(OFlags::RDWR)?);
        let outcome = self.replace(reached, &old_id, &new, &fd);
        // Its pages, if the kernel has some, are of nobody's use until it is opened, and it is read then whose they are.
        from.dismiss(inode);
        *inode.content.lease.lock() = None;
        drop(opens);
        outcome.map(|()| true)
    }

    /// A file that somebody has open, while nobody is at work under its CMK.
    fn replace_in_use(&self, reached: &Reached<'_>, new: Successor) -> Result<bool> {
        let inode = &reached.inode;
        let Some(old) = self.unchanged(reached, &new)? else { return Ok(false) };
        let fd = old.engine.backing().descriptor().clone();
        // Nobody finds it, or makes another: that takes the lease.
        inode.content.loaded.write().take();
        self.replace(reached, &old.file_id, &new, &fd)?;
        let backing = FdBacking::new(fd);
        let failed = |error: FileError| FsError::File { path: reached.asker.path.clone(), error };
        let identity = Engine::identify(&backing).map_err(failed)?;
        let engine = CryptFile::open(backing, &identity, &new.data_key, true, self.options.durability);
        let Successor { file_id, wrapped, context, .. } = new;
        let wrapped = RwLock::new(wrapped);
        let engine = engine.map_err(failed)?;
        let loaded = Arc::new(Loaded { engine, file_id, wrapped, context, writable: true });
        *inode.content.loaded.write() = Some(loaded);
        Ok(true)
    }

    /// The engine that the new file was made from, committed, if nothing was written since.
    fn unchanged(&self, reached: &Reached<'_>, new: &Successor) -> Result<Option<Arc<Loaded>>> {
        let now = reached.inode.content.current();
        let same = now.filter(|now| std::ptr::eq(Arc::as_ptr(now), new.old.as_ptr()));
        let Some(old) = same.filter(|old| old.engine.changes() == new.changes) else { return Ok(None) };
        // What is clean is written by nobody any more, whoever may still hold it.
        self.commit(&reached.inode, &old)?;
        Ok(Some(old))
    }

    /// The new file takes the place of the old one, whose engine is gone.
    fn replace(&self, reached: &Reached<'_>, old: &FileId, new: &Successor, fd: &Arc<OwnedFd>) -> Result<()> {
        let inode = &reached.inode;
        let _listed = inode.content.listed.lock();
        let _times = inode.times.lock();
        keep_in(&new.unnamed.fd, fd)?;
        reserve(&FdBacking::new(new.unnamed.fd.clone()), &FdBacking::new(fd.clone()))?;
        // So that the next mount finds it.
        self.dirty.insert(old, &inode.path())?;
        if let Err(error) = self.name_successor(&new.unnamed.fd, old) {
            self.dirty.remove(old)?;
            return Err(error);
        }
        if let Err(error) = self.take_place(old, fd) {
            // It is the file's content all the same: tried again when it is opened, and by the next mount.
            self.succeeded.lock().insert(*old);
            return Err(error);
        }
        Ok(self.dirty.remove(old)?)
    }

    /// A file without a name among the volume's records.
    fn unnamed_successor(&self) -> Result<Unnamed> {
        let dir = crate::volume::successor::directory(&self.volume)?;
        self.unnamed_in(&dir, Mode::RUSR | Mode::WUSR)
    }

    /// The bytes that are stored of the file.
    fn bytes_stored(&self, reached: &Reached<'_>) -> Result<u64> {
        Ok(u64::try_from(reached.inode.stat()?.st_blocks).unwrap_or(0) * 512)
    }

    /// Whether somebody else has the file open.
    fn is_shared(&self, reached: &Reached<'_>) -> bool {
        reached.inode.content.opens.lock().all > 1
    }

    /// The processes that opened the file, in words.
    fn used_by(&self, reached: &Reached<'_>) -> String {
        let mut pids = self.files.askers(&reached.inode);
        pids.sort_unstable();
        pids.dedup();
        let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
        if pids.is_empty() { String::new() } else { format!(", by process {}", pids.join(", ")) }
    }
}

const ENDING: &str = "the mount ends";

/// The next stretch of data from `at` on, of at most a piece.
fn next_piece(engine: &Engine, at: u64) -> super::file::Result<Option<(u64, u64)>> {
    let Some(start) = engine.seek_data(at)? else { return Ok(None) };
    let end = engine.seek_hole(start)?.unwrap_or(start);
    Ok(Some((start, end.min(start + PIECE))).filter(|(start, end)| end > start))
}

/// Keeps in the new file's attributes what copying takes from the old one's: time of modification and privileges.
fn keep_in(new: &Arc<OwnedFd>, old: &Arc<OwnedFd>) -> Result<()> {
    let stat = rustix::fs::fstat(old)?;
    rustix::fs::fchmod(new, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    if let Ok(value) = super::xattr::read_xattr(old, CAPABILITIES.as_ref()) {
        // Who may not give them could not put them back either.
        if let Err(errno) = rustix::fs::fsetxattr(new, CAPABILITIES, &value, XattrFlags::empty()) {
            log::debug!("a file loses its capabilities: {errno}");
        }
    }
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as _),
    };
    rustix::fs::futimens(new, &times)?;
    Ok(())
}

/// Reserves room in the old file for what is stored of the new one: the copy must not end half-way for want of it.
fn reserve(new: &FdBacking, old: &FdBacking) -> Result<()> {
    let kept = Kept::of(old.descriptor(), true)?;
    let len = new.len()?;
    let mut at = 0;
    while at < len {
        let data = match rustix::fs::seek(&**new.descriptor(), SeekFrom::Data(at)) {
            Ok(data) if data < len => data,
            Ok(_) | Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let end = rustix::fs::seek(&**new.descriptor(), SeekFrom::Hole(data))?.min(len);
        match old.allocate(data, end - data) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => break,
            outcome => outcome?,
        }
        at = end;
    }
    kept.put_privileges_back(old.descriptor());
    kept.put_time_back(old.descriptor());
    Ok(())
}
