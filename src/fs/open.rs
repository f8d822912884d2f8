//! Opening and closing regular files, and the way of every request to a file's engine.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::RwLock;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::backing::FdBacking;
use super::errno::{FsError, Result};
use super::file::{CryptFile, FileError, Identity};
use super::handle::FileHandle;
use super::inode::Inode;
use super::lease::{Access, Inside, KeyLease, LeaseState};
use super::loaded::{Engine, Loaded};
use super::setattr::keeping_attributes;
use super::{Answer, Caller, Filesystem};
use crate::datakey::{Asker, DataKeyError, Incident, Usability};

/// A request at work on a file: inside its CMK's lease, with its engine.
pub struct Engaged {
    /// The right to be at work; given up last.
    pub inside: Inside,
    /// The engine.
    pub loaded: Arc<Loaded>,
}

/// An open of a file with no handle of its own, for one operation.
pub struct BriefOpen<'a> {
    fs: &'a Filesystem,
    inode: &'a Arc<Inode>,
}

/// A backing file that was opened to see which CMK it is under.
struct Found {
    backing: FdBacking,
    writable: bool,
    identity: Identity,
}

impl Drop for BriefOpen<'_> {
    fn drop(&mut self) {
        self.fs.close(self.inode, true);
    }
}

impl Filesystem {
    /// Opens a regular file; `flags` as of `open(2)`, but `O_TRUNC`, which comes as a change of size. The data key is asked for
    /// (and the open recorded) now.
    ///
    /// # Errors
    /// The CMK's errno, `EROFS`, `EIO` for a header that does not authenticate, or what the backing file answers.
    pub fn open(&self, ino: u64, flags: OFlags, caller: Caller) -> Result<Answer<u64>> {
        let inode = self.table.find(ino)?;
        if inode.kind() != FileType::RegularFile {
            return Err(FsError::Invalid);
        }
        let writes = flags.intersects(OFlags::WRONLY | OFlags::RDWR);
        if writes {
            self.may_change()?;
        }
        let asker = self.asker(caller, &inode.path());
        let mut opens = inode.content.opens.lock();
        let engaged = self.engage_for_open(&inode, writes, &asker)?;
        if opens.all == 0 && !writes && !flags.contains(OFlags::DIRECT) {
            self.give_content(&inode, &engaged.loaded.engine);
        }
        opens.all += 1;
        opens.writers += u32::from(writes);
        drop(opens);
        let handle = self.hand_out(FileHandle { inode, writes, asker });
        Ok(Answer::under(handle, engaged.inside))
    }

    /// Gives the kernel the content of a small file with the answer to the open, which saves it the request to read. The
    /// caller is inside the file's lease, and holds the count of its opens, which is zero: so nobody changes the content
    /// meanwhile, and no page of the file is waited for.
    fn give_content(&self, inode: &Inode, engine: &Engine) {
        let size = engine.size() as usize;
        if size == 0 || size > GIVEN_MOST || inode.content.given.load(Ordering::Relaxed) {
            return;
        }
        let Some(kernel) = self.kernel.get() else { return };
        let mut content = vec![0; size];
        // What cannot be read is an error of the request that asks for it.
        if engine.read_at(0, &mut content).is_ok_and(|read| read == size) {
            kernel.store(inode.ino, &content);
            inode.content.given.store(true, Ordering::Relaxed);
        }
    }

    /// Counts a brief open for writing; it ends when it is dropped.
    pub(super) fn open_briefly<'a>(&'a self, inode: &'a Arc<Inode>) -> BriefOpen<'a> {
        let mut opens = inode.content.opens.lock();
        opens.all += 1;
        opens.writers += 1;
        BriefOpen { fs: self, inode }
    }

    /// Whether closing a handle may wait for the disk.
    pub fn release_waits(&self, handle: u64) -> bool {
        let Ok(handle) = self.files.find(handle) else { return false };
        handle.writes && handle.inode.content.current().is_some_and(|loaded| loaded.engine.commit_waits())
    }

    /// Closes a handle. The last one that may write commits the file; the last of all wipes its data key.
    pub fn release(&self, handle: u64) -> Result<()> {
        let handle = self.files.remove(handle)?;
        self.close(&handle.inode, handle.writes);
        self.forget(handle.inode.ino, 1);
        Ok(())
    }

    /// Gives an open file its number, and counts a reference to its inode. The kernel may forget a file at the same time as
    /// it releases its last handle; found again before the release is done, it must be the same inode: two engines over
    /// one file destroy it.
    pub(super) fn hand_out(&self, handle: FileHandle) -> u64 {
        handle.inode.looked_up();
        self.files.add(handle)
    }

    pub(super) fn close(&self, inode: &Arc<Inode>, writes: bool) {
        let mut opens = inode.content.opens.lock();
        opens.all -= 1;
        opens.writers -= u32::from(writes);
        if writes && opens.writers == 0 {
            self.settle(inode);
        }
        if opens.all == 0 {
            let _inside = inode.content.look();
            inode.content.loaded.write().take();
            inode.may_have_capabilities.store(true, Ordering::Release);
        }
    }

    /// Commits a file that nobody writes any more. What fails stays dirty and listed, and is recovered at its next open.
    fn settle(&self, inode: &Arc<Inode>) {
        let Some(_inside) = inode.content.look() else { return };
        let Some(loaded) = inode.content.current() else { return };
        let has_name =
            rustix::fs::fstat(&**loaded.engine.backing().descriptor()).map_or(true, |stat| stat.st_nlink > 0);
        // What has no name any more goes with its last close: a journal that was removed is not waited for once more.
        let settled = if has_name { self.commit(inode, &loaded) } else { self.unlist(inode, &loaded) };
        if let Err(error) = settled {
            log::error!("{} is not committed: {error}", inode.path().display());
        }
    }

    /// Takes a file off the list of dirty files.
    fn unlist(&self, inode: &Inode, loaded: &Loaded) -> Result<()> {
        let mut listed = inode.content.listed.lock();
        if std::mem::take(&mut *listed) {
            self.dirty.remove(&loaded.file_id)?;
        }
        Ok(())
    }

    /// Turns a file's header clean and takes it off the list of dirty files.
    pub(super) fn commit(&self, inode: &Inode, loaded: &Loaded) -> Result<()> {
        let mut listed = inode.content.listed.lock();
        if loaded.engine.is_dirty() {
            keeping_attributes(inode, loaded.engine.backing().descriptor(), || {
                loaded.engine.commit_clean().map_err(|error| self.damaged(inode, error))
            })?;
        }
        if std::mem::take(&mut *listed) {
            self.dirty.remove(&loaded.file_id)?;
        }
        Ok(())
    }

    /// Puts a file on the list of dirty files, before its first change, where there is room for that.
    pub(super) fn list_dirty(&self, inode: &Inode, loaded: &Loaded) -> Result<()> {
        let mut listed = inode.content.listed.lock();
        if *listed {
            return Ok(());
        }
        match self.dirty.insert(&loaded.file_id, &inode.path()) {
            Ok(()) => *listed = true,
            // What makes room must not need any. A file that a kill leaves half written is then recovered at its next open.
            Err(error) if error.is_want_of_room() => log::warn!("{}: {error}", inode.path().display()),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Enters the lease of a file's CMK and finds or makes its engine. The caller holds an open of the file.
    pub(super) fn engage(&self, inode: &Arc<Inode>, access: Access, asker: &Asker) -> Result<Engaged> {
        self.engage_then(inode, access, asker, |_| Ok(()), |refusal| refusal)
    }

    /// As [`Filesystem::engage`] for an open: one that an engine in memory serves is checked and recorded all the same
    /// (rule AUD-2).
    pub(super) fn engage_for_open(&self, inode: &Arc<Inode>, writes: bool, asker: &Asker) -> Result<Engaged> {
        let access = if writes { Access::Write } else { Access::Read };
        let record = |loaded: &Loaded| Ok(self.keys.reuse(asker, &loaded.wrapped.read(), &loaded.context)?);
        self.engage_then(inode, access, asker, record, |refusal| self.recorded_refusal(inode, asker, refusal))
    }

    /// Has the key service refuse an open that the lease has refused: what is refused is recorded as well (rule AUD-1), so that it is
    /// known who still needs a CMK that was taken away.
    fn recorded_refusal(&self, inode: &Inode, asker: &Asker, refusal: FsError) -> FsError {
        let Ok(found) = self.find(inode, false) else { return refusal };
        let context = self.context(&found.identity.file_id());
        match self.keys.reuse(asker, found.identity.wrapped(), &context) {
            Err(recorded) => recorded.into(),
            // It came back at this moment.
            Ok(()) => refusal,
        }
    }

    /// Engages; where there is an engine already, `reuse` decides whether it may serve. What the lease refuses passes through `refuse`.
    fn engage_then(
        &self,
        inode: &Arc<Inode>,
        access: Access,
        asker: &Asker,
        reuse: impl Fn(&Loaded) -> Result<()>,
        refuse: impl Fn(FsError) -> FsError,
    ) -> Result<Engaged> {
        let writes = matches!(access, Access::Write | Access::WriteBack);
        for _ in 0..ATTEMPTS {
            let (lease, found) = self.lease_of(inode, writes)?;
            let inside = self.admit(&lease, access).map_err(&refuse)?;
            if !inode.content.is_under(&lease) {
                // It was rewrapped under another CMK just now.
                continue;
            }
            if let Some(loaded) = inode.content.current().filter(|loaded| loaded.writable || !writes) {
                reuse(&loaded)?;
                return Ok(Engaged { inside, loaded });
            }
            if let Some(loaded) = self.load(inode, &lease, found, writes, asker)? {
                return Ok(Engaged { inside, loaded });
            }
        }
        Err(FsError::Stale)
    }

    /// The lease of the CMK that the file's header names; and where the file had to be opened to read that, the open file.
    fn lease_of(&self, inode: &Arc<Inode>, writes: bool) -> Result<(Arc<KeyLease>, Option<Found>)> {
        if let Some(lease) = inode.content.lease.lock().as_ref() {
            return Ok((lease.clone(), None));
        }
        let found = self.find(inode, writes)?;
        let lease = self.leases.of(&found.identity.wrapped().key);
        *inode.content.lease.lock() = Some(lease.clone());
        Ok((lease, Some(found)))
    }

    /// Enters a lease; one that was revoked is asked about again, in case its CMK came back unannounced. While a revocation
    /// is under way the request is refused: who enables the CMK is not answered before it has been looked at again.
    pub(super) fn admit(&self, lease: &KeyLease, access: Access) -> Result<Inside> {
        let refusal = match lease.enter(access) {
            Ok(inside) => return Ok(inside),
            Err(usability) => usability,
        };
        if matches!(lease.state(), LeaseState::Revoked(_))
            && self.keys.state(lease.key())? == Usability::Usable
        {
            lease.in_turn_now(|| {
                // The state is read again in turn: a revocation may have come in between.
                if matches!(lease.state(), LeaseState::Revoked(_))
                    && self.keys.state(lease.key()) == Ok(Usability::Usable)
                {
                    lease.reopen(REVIVAL_LIMIT);
                }
            });
            if let Ok(inside) = lease.enter(access) {
                return Ok(inside);
            }
        }
        Err(DataKeyError::Unusable(lease.key().clone(), refusal).into())
    }

    /// Opens the backing file, asks for its data key and makes its engine. The caller is inside `lease`. `None` where
    /// the header names another CMK than `lease` by now: to be tried again.
    fn load(
        &self,
        inode: &Arc<Inode>,
        lease: &Arc<KeyLease>,
        found: Option<Found>,
        writes: bool,
        asker: &Asker,
    ) -> Result<Option<Arc<Loaded>>> {
        let mut slot = inode.content.loaded.write();
        if let Some(loaded) = slot.as_ref().filter(|loaded| loaded.writable || !writes) {
            return Ok(Some(loaded.clone()));
        }
        let found = match found {
            Some(found) => found,
            None => self.find(inode, writes)?,
        };
        let Found { backing, writable, identity } = found;
        let wrapped = identity.wrapped().clone();
        if wrapped.key != *lease.key() {
            lease.dismiss(inode);
            *inode.content.lease.lock() = Some(self.leases.of(&wrapped.key));
            return Ok(None);
        }
        let file_id = identity.file_id();
        let context = self.context(&file_id);
        let data_key = self.keys.unwrap(asker, &wrapped, &context)?;
        let fd = backing.descriptor().clone();
        let open = || {
            CryptFile::open(backing, &identity, &data_key, writable, self.options.durability)
                .map_err(|error| self.damaged(inode, error))
        };
        // Only a recovery writes.
        let engine = if !identity.claims().dirty { open()? } else { keeping_attributes(inode, &fd, open)? };
        if identity.claims().dirty && !engine.is_dirty() && !engine.is_new() {
            self.keys.report(self.volume.id(), &asker.path, Some(lease.key()), &Incident::Recovered);
        }
        let wrapped = RwLock::new(wrapped);
        let loaded = Arc::new(Loaded { engine, file_id, wrapped, context, writable });
        *slot = Some(loaded.clone());
        lease.enlist(inode);
        Ok(Some(loaded))
    }

    /// Opens the backing file and reads what its header claims.
    fn find(&self, inode: &Inode, writes: bool) -> Result<Found> {
        let (backing, writable) = self.open_backing(inode, writes)?;
        self.leave_access_time(backing.descriptor());
        let identify = |backing| Engine::identify(backing).map_err(|error| self.damaged(inode, error));
        let identity = identify(&backing)?;
        match self.succeeded(&identity.file_id(), &backing, writable)? {
            None => Ok(Found { backing, writable, identity }),
            Some((backing, writable)) => {
                let identity = identify(&backing)?;
                Ok(Found { backing, writable, identity })
            }
        }
    }

    /// The backing file, for reading and writing where that is possible: an overwrite reads tags, and a reader of a
    /// dirty file repairs it.
    fn open_backing(&self, inode: &Inode, writes: bool) -> Result<(FdBacking, bool)> {
        if !self.options.read_only {
            match inode.open(OFlags::RDWR) {
                Ok(fd) => return Ok((FdBacking::new(fd), true)),
                Err(FsError::Os(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::TXTBSY)) if !writes => (),
                Err(error) => return Err(error),
            }
        }
        Ok((FdBacking::new(inode.open(OFlags::RDONLY)?), false))
    }

    /// An error of the engine, with the file that it is about. Damage is recorded in the audit log.
    pub(super) fn damaged(&self, inode: &Inode, error: FileError) -> FsError {
        let path = inode.path().to_string_lossy().into_owned();
        if error.is_damage() {
            let what = error.to_string();
            let mut reported = inode.content.reported.lock();
            if reported.len() < REPORTED_MOST && !reported.contains(&what) {
                let lease = inode.content.lease.lock().clone();
                let key = lease.as_ref().map(|lease| lease.key());
                self.keys.report(self.volume.id(), &path, key, &Incident::Damaged(what.clone()));
                reported.insert(what);
            }
        }
        FsError::File { path, error }
    }
}

/// The largest file whose content is given with the open, in bytes: as much as the kernel would read ahead of a program that reads
/// its first byte.
const GIVEN_MOST: usize = 16 << 10;
/// Records that damage in one file makes, while the kernel knows it: a file may have millions of damaged chunks, and a record takes room
/// that keys need.
const REPORTED_MOST: usize = 32;
/// How long a request waits for others, to make a lease live again that was revoked: only who settles can be inside.
const REVIVAL_LIMIT: Duration = Duration::from_millis(100);
/// How often an open starts anew because the header changed hands meanwhile.
const ATTEMPTS: usize = 3;
