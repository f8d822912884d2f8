//! Making things: files with their heads, directories with their default keys, links and nodes.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::RwLock;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use super::backing::FdBacking;
use super::defaults::Defaults;
use super::errno::{FsError, Result};
use super::file::CryptFile;
use super::handle::FileHandle;
use super::inode::{Inode, descriptor_path};
use super::lease::{Access, Inside, KeyLease};
use super::loaded::Loaded;
use super::{Answer, Attr, Caller, Filesystem, RESERVED};
use crate::context::EncryptionContext;
use crate::datakey::{Asker, DataKey, WrappedDataKey};
use crate::envelope::FileId;
use crate::volume::records::WAITING;

/// A regular file that has a head and no name yet.
pub(super) struct Unnamed {
    pub fd: Arc<OwnedFd>,
    /// The name beneath the reserved directory, on filesystems without `O_TMPFILE`.
    waits_as: Option<(OwnedFd, OsString)>,
}

/// A new data key, and the right to use it.
struct GeneratedInside {
    lease: Arc<KeyLease>,
    inside: Inside,
    data_key: DataKey,
    wrapped: WrappedDataKey,
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some((dir, name)) = &self.waits_as
            && let Err(error) = rustix::fs::unlinkat(dir, name, AtFlags::empty())
        {
            log::warn!("a file left over in {RESERVED}/{WAITING}: {error}");
        }
    }
}

impl Filesystem {
    /// Makes and opens a regular file. It gets its head before its name: no one ever finds it half made.
    ///
    /// # Errors
    /// `EEXIST`; the errno of the directory's default CMK; whatever the backing directory answers.
    pub fn create(
        &self,
        parent: u64,
        name: &OsStr,
        mode: u32,
        caller: Caller,
    ) -> Result<(Answer<Attr>, u64)> {
        self.may_make(parent, name)?;
        let parent = self.table.find(parent)?;
        let mut path = parent.path();
        if !path.is_empty() {
            path.push("/");
        }
        path.push(name);
        let asker = self.asker(caller, &path);
        let file_id = FileId::random();
        let context = self.context(&file_id);
        let GeneratedInside { lease, inside, data_key, wrapped } =
            self.generate_inside(&asker, &self.default_key(&parent)?, &context)?;
        let unnamed = self.unnamed(&parent, mode, caller)?;
        self.leave_access_time(&unnamed.fd);
        let backing = FdBacking::new(unnamed.fd.clone());
        let engine = CryptFile::create(backing, file_id, &wrapped, &data_key, self.options.durability)
            .map_err(|error| FsError::File { path: asker.path.clone(), error })?;
        name_it(&unnamed.fd, &*parent.directory()?, name)?;
        let stat = rustix::fs::fstat(&unnamed.fd)?;
        let wrapped = RwLock::new(wrapped);
        let loaded = Arc::new(Loaded { engine, file_id, wrapped, context, writable: true });
        // Whoever finds the file finds its engine: two over one file would destroy it.
        let inode = self.table.remember_prepared(&stat, &parent, name, |inode| {
            let mut opens = inode.content.opens.lock();
            opens.all += 1;
            opens.writers += 1;
            *inode.content.lease.lock() = Some(lease.clone());
            inode.may_have_capabilities.store(false, Ordering::Release);
            inode.content.loaded.write().get_or_insert(loaded);
            lease.enlist(inode);
        });
        let attr = Attr::new(inode.ino, stat, inode.content.open_size(), super::attr::CACHE_TIME);
        let handle = self.hand_out(FileHandle { inode, writes: true, asker });
        Ok((Answer::under(attr, inside), handle))
    }

    /// Makes a data key under the CMK that `named` names, inside that CMK's lease from before the key exists until it is where a
    /// revocation finds it. Which CMK that is, only the key service knows; what it said last tells which lease to enter.
    fn generate_inside(
        &self,
        asker: &Asker,
        named: &str,
        context: &EncryptionContext,
    ) -> Result<GeneratedInside> {
        let mut expected = match self.keys.last_known(named) {
            Some(key) => key,
            None => self.keys.resolve(named)?,
        };
        for _ in 0..ATTEMPTS {
            let lease = self.leases.of(&expected);
            let inside = match self.admit(&lease, Access::Write) {
                Ok(inside) => inside,
                Err(error) => {
                    let key = self.keys.resolve(named)?;
                    if key == expected {
                        // Refused, and recorded, by the key service; unless the key came back at this moment.
                        return Err(self
                            .keys
                            .generate(asker, named, context)
                            .err()
                            .map_or(error, Into::into));
                    }
                    // An alias that led to a CMK that was lost leads to another by now.
                    expected = key;
                    continue;
                }
            };
            let (data_key, wrapped) = self.keys.generate(asker, named, context)?;
            if wrapped.key == expected {
                return Ok(GeneratedInside { lease, inside, data_key, wrapped });
            }
            expected = wrapped.key;
        }
        Err(FsError::Stale)
    }

    /// Makes a directory; it inherits its parent's default key.
    ///
    /// # Errors
    /// `EEXIST`; whatever the backing directory answers.
    pub fn mkdir(&self, parent: u64, name: &OsStr, mode: u32, caller: Caller) -> Result<Answer<Attr>> {
        self.may_make(parent, name)?;
        let parent = self.table.find(parent)?;
        let dir = parent.directory()?;
        let Defaults { stored_key: default_key, has_acl, .. } = self.defaults(&parent)?;
        if let Some(value) = &default_key
            && !has_acl
            && self.make_with_key(&parent, name, mode, caller, value)?
        {
            return self.entry(&parent, name);
        }
        rustix::fs::mkdirat(&*dir, name, Mode::from_raw_mode(mode))?;
        let finish = || {
            let made =
                rustix::fs::openat(&*dir, name, super::inode::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
            give_to(&parent, &made, caller)?;
            // A change of owner may have cleared them; mkdir(2) gives them.
            if let Some(value) = &default_key {
                self.store_default_key(&made, value)?;
            }
            Ok(())
        };
        if let Err(error) = finish() {
            let _ = rustix::fs::unlinkat(&*dir, name, AtFlags::REMOVEDIR);
            return Err(error);
        }
        self.entry(&parent, name)
    }

    /// Makes a directory that has its default key before it has its name: a kill in between would leave one whose files are encrypted
    /// under another key. False where it has to be made in its place: its group is inherited there, or it cannot be moved there.
    fn make_with_key(
        &self,
        parent: &Arc<Inode>,
        name: &OsStr,
        mode: u32,
        caller: Caller,
        key: &[u8],
    ) -> Result<bool> {
        if Mode::from_raw_mode(parent.stat()?.st_mode).contains(Mode::SGID) {
            return Ok(false);
        }
        let (waiting, unnamed) = (self.waiting_place()?, FileId::random().to_string());
        rustix::fs::mkdirat(&waiting, &unnamed, Mode::from_raw_mode(mode))?;
        let finish = || {
            let flags = super::inode::DIRECTORY | OFlags::NOFOLLOW;
            let made = rustix::fs::openat(&waiting, &unnamed, flags, Mode::empty())?;
            give_to(parent, &made, caller)?;
            self.store_default_key(&made, key)?;
            let (dir, flags) = (parent.directory()?, RenameFlags::NOREPLACE);
            Ok::<_, FsError>(rustix::fs::renameat_with(&waiting, &unnamed, &*dir, name, flags)?)
        };
        let Err(error) = finish() else { return Ok(true) };
        let _ = rustix::fs::unlinkat(&waiting, &unnamed, AtFlags::REMOVEDIR);
        match error.errno() {
            // Another filesystem, one without such renames, or a directory that its maker may not write to and so not move.
            Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::ACCESS | Errno::PERM => Ok(false),
            _ => Err(error),
        }
    }

    /// Makes a node: a regular file, FIFO, socket or device.
    ///
    /// # Errors
    /// `EEXIST`, `EPERM`; whatever the backing directory answers.
    pub fn mknod(
        &self,
        parent: u64,
        name: &OsStr,
        mode: u32,
        device: u64,
        caller: Caller,
    ) -> Result<Answer<Attr>> {
        let kind = match FileType::from_raw_mode(mode) {
            // mknod(2): zero means a regular file.
            FileType::Unknown if mode & 0o170_000 == 0 => FileType::RegularFile,
            kind => kind,
        };
        if kind == FileType::RegularFile {
            let (answer, handle) = self.create(parent, name, mode, caller)?;
            let attr = answer.value;
            drop(answer);
            self.release(handle)?;
            let inode = self.table.find(attr.ino)?;
            return self.attributes(&inode);
        }
        self.may_make(parent, name)?;
        let parent = self.table.find(parent)?;
        let dir = parent.directory()?;
        rustix::fs::mknodat(&*dir, name, kind, Mode::from_raw_mode(mode), device)?;
        self.given(&parent, name, caller)
    }

    /// The mode of what is made in `parent` by someone with the mask `umask`, which a directory with a default access
    /// control list does not heed (`acl(5)`): the backing filesystem puts the list and the mode together.
    pub fn masked(&self, parent: u64, mode: u32, umask: u32) -> u32 {
        let has_default_list =
            || self.table.find(parent).and_then(|dir| self.defaults(&dir)).is_ok_and(|dir| dir.has_acl);
        if umask & mode & 0o777 == 0 || has_default_list() { mode } else { mode & !(umask & 0o777) }
    }

    /// Makes a symbolic link. Its target is in the clear.
    ///
    /// # Errors
    /// `EEXIST`; whatever the backing directory answers.
    pub fn symlink(&self, parent: u64, name: &OsStr, target: &OsStr, caller: Caller) -> Result<Answer<Attr>> {
        self.may_make(parent, name)?;
        let parent = self.table.find(parent)?;
        rustix::fs::symlinkat(target, &*parent.directory()?, name)?;
        self.given(&parent, name, caller)
    }

    /// Gives what was just made to its maker, or takes it away again where that fails.
    fn given(&self, parent: &Arc<Inode>, name: &OsStr, caller: Caller) -> Result<Answer<Attr>> {
        let dir = parent.directory()?;
        let give = || {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            give_to(parent, &rustix::fs::openat(&*dir, name, flags, Mode::empty())?, caller)
        };
        if let Err(error) = give() {
            let _ = rustix::fs::unlinkat(&*dir, name, AtFlags::empty());
            return Err(error);
        }
        self.entry(parent, name)
    }

    /// Gives what a rename left behind to who renamed. It is done by then, so this fails with no more than a word.
    pub(super) fn give_whiteout(&self, parent: &Arc<Inode>, name: &OsStr, caller: Caller) {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let given = parent
            .directory()
            .and_then(|dir| give_to(parent, &rustix::fs::openat(&*dir, name, flags, Mode::empty())?, caller));
        if let Err(error) = given {
            log::warn!("the whiteout {} keeps its owner: {error}", name.display());
        }
    }

    /// A new regular file in `parent`'s directory that no name leads to.
    fn unnamed(&self, parent: &Arc<Inode>, mode: u32, caller: Caller) -> Result<Unnamed> {
        let mode = Mode::from_raw_mode(mode);
        let unnamed = self.unnamed_in(&*parent.directory()?, mode)?;
        give_to(parent, &unnamed.fd, caller)?;
        // The change of owner cleared them; the other bits are as a default access control list has them.
        let special = mode.intersection(Mode::SUID | Mode::SGID);
        if !special.is_empty() {
            let bits = Mode::from_raw_mode(rustix::fs::fstat(&unnamed.fd)?.st_mode);
            rustix::fs::fchmod(&unnamed.fd, bits | special)?;
        }
        Ok(unnamed)
    }

    /// A new regular file in a directory that no name leads to, of the mount's process.
    pub(super) fn unnamed_in(&self, dir: &OwnedFd, mode: Mode) -> Result<Unnamed> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(dir, c".", flags, mode) {
            Ok(fd) => Ok(Unnamed { fd: Arc::new(fd), waits_as: None }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => self.waiting(mode),
            Err(errno) => Err(errno.into()),
        }
    }

    /// As `unnamed_in`, for filesystems without `O_TMPFILE`: under a random name that the mount does not show.
    fn waiting(&self, mode: Mode) -> Result<Unnamed> {
        let dir = self.waiting_place()?;
        let name = OsString::from(FileId::random().to_string());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&dir, &name, flags, mode)?;
        Ok(Unnamed { fd: Arc::new(fd), waits_as: Some((dir, name)) })
    }

    /// Where what is being made waits for its name, and the mount does not show it.
    fn waiting_place(&self) -> Result<OwnedFd> {
        let reserved =
            rustix::fs::openat(self.volume.dir(), RESERVED, super::inode::DIRECTORY, Mode::empty())?;
        match rustix::fs::mkdirat(&reserved, WAITING, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => (),
            Err(errno) => return Err(errno.into()),
        }
        Ok(rustix::fs::openat(&reserved, WAITING, super::inode::DIRECTORY, Mode::empty())?)
    }
}

/// Gives a file without a name one. The descriptor itself says which file to who may look into every directory
/// (`CAP_DAC_READ_SEARCH`, open(2)); for others its name in /proc does.
pub(super) fn name_it(fd: &OwnedFd, dir: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::linkat(fd, c"", dir, name, AtFlags::EMPTY_PATH) {
        // Also what the kernel answers to who may not.
        Err(Errno::NOENT) => {
            rustix::fs::linkat(CWD, descriptor_path(fd.as_fd()), dir, name, AtFlags::SYMLINK_FOLLOW)
        }
        outcome => outcome,
    }
}

/// How often a creation starts anew because an alias was moved meanwhile.
const ATTEMPTS: usize = 4;

/// Makes the caller the owner of what the mount's process just made in `parent`. In a directory with the set-group-id
/// bit the group stays the directory's (`inode(7)`).
fn give_to(parent: &Inode, fd: &OwnedFd, caller: Caller) -> Result<()> {
    let made = rustix::fs::fstat(fd)?;
    let uid = (made.st_uid != caller.uid).then(|| Uid::from_raw(caller.uid));
    let gives_group = || Ok::<_, FsError>(!Mode::from_raw_mode(parent.stat()?.st_mode).contains(Mode::SGID));
    let gid = (made.st_gid != caller.gid && gives_group()?).then(|| Gid::from_raw(caller.gid));
    if uid.is_some() || gid.is_some() {
        rustix::fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}
