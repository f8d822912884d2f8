//! Changing attributes.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::errno::Result;
use super::file::Around;
use super::inode::{Inode, descriptor_path};
use super::lease::Access;
use super::{Answer, Attr, Caller, Filesystem};

/// A file's capabilities (`capabilities(7)`).
pub(super) const CAPABILITIES: &str = "security.capability";

/// More than the longest value that they have (`struct vfs_ns_cap_data`, capability.h).
const CAPABILITIES_MAX: usize = 64;

/// A time to set.
#[derive(Debug, Clone, Copy)]
pub enum SetTime {
    /// The present, by the backing filesystem's clock.
    Now,
    /// Seconds and nanoseconds since 1970.
    At(Timespec),
}

/// What a request changes; `None` leaves as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setattr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes; needs the CMK.
    pub size: Option<u64>,
    /// Time of last access.
    pub atime: Option<SetTime>,
    /// Time of last modification.
    pub mtime: Option<SetTime>,
}

impl Filesystem {
    /// Changes attributes: size first, times last, since the others would change them.
    ///
    /// # Errors
    /// The CMK's errno where a size is set; whatever the backing file answers.
    pub fn setattr(
        &self,
        ino: u64,
        handle: Option<u64>,
        change: Setattr,
        caller: Caller,
    ) -> Result<Answer<Attr>> {
        self.may_change()?;
        let inode = self.table.find(ino)?;
        if let Some(size) = change.size {
            let _open = self.open_briefly(&inode);
            let engaged = match handle {
                Some(handle) => self.engage(&inode, Access::Write, &self.files.find(handle)?.asker)?,
                // truncate(2) opens the file by itself, for who calls it, also where others have it open.
                None => self.engage_for_open(&inode, true, &self.asker(caller, &inode.path()))?,
            };
            self.resize(&inode, &engaged, size, caller)?;
        }
        if change.uid.is_some() || change.gid.is_some() {
            inode.chown(change.uid.map(Uid::from_raw), change.gid.map(Gid::from_raw))?;
        }
        if let Some(mode) = change.mode {
            inode.chmod(Mode::from_raw_mode(mode))?;
        }
        if change.atime.is_some() || change.mtime.is_some() {
            inode.set_times(change.atime, change.mtime)?;
        }
        self.attributes(&inode)
    }
}

impl Inode {
    /// Sets the owner and the group, which takes privileges away: after or before a commit that keeps them.
    fn chown(&self, uid: Option<Uid>, gid: Option<Gid>) -> Result<()> {
        // Pinned before the lock, here and below: a recovery holds the lock, and keeps others from the open file meanwhile.
        let fd = self.pin()?;
        let _alone = self.times.lock();
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&*fd, c"", uid, gid, flags)?;
        self.shown.changed();
        Ok(())
    }

    /// Sets the permission bits, after or before a commit that keeps them.
    pub(super) fn chmod(&self, mode: Mode) -> Result<()> {
        let fd = self.pin()?;
        let _alone = self.times.lock();
        rustix::fs::chmod(descriptor_path(fd.as_fd()), mode)?;
        self.shown.changed();
        Ok(())
    }

    /// Sets times, after or before a commit that keeps them and never within it.
    pub(super) fn set_times(&self, atime: Option<SetTime>, mtime: Option<SetTime>) -> Result<()> {
        let fd = self.pin()?;
        let _alone = self.times.lock();
        let times = Timestamps { last_access: timespec(atime), last_modification: timespec(mtime) };
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(&*fd, c"", &times, flags)?;
        self.shown.changed();
        Ok(())
    }
}

/// Runs `sync`, which is handed what keeps times and privileges over a write of a header to the backing file of `inode`, open as `fd`.
/// A program that sets some meanwhile waits.
pub(super) fn keeping_what_is_synced<T>(
    inode: &Inode,
    fd: &OwnedFd,
    sync: impl FnOnce(&Around<'_>) -> T,
) -> T {
    let _alone = inode.times.lock();
    sync(&|write| with_kept(fd, Some(inode), write))
}

/// Runs `write`, which writes to the backing file of `inode`, open as `fd`, while no program writes to it, and keeps its time of last
/// modification, and the privileges, which every write to the backing file takes away. `cp -a` and tar give them before they close the
/// file, and so before its commit; and they often set times when `close(2)` has returned, and a commit is still under way.
pub(super) fn keeping_attributes<T>(
    inode: &Inode,
    fd: &OwnedFd,
    write: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let _alone = inode.times.lock();
    with_kept(fd, Some(inode), write)
}

/// Runs `write`, which writes to the file open as `fd` without changing what a program sees of it, but for the time of change: a
/// rewrap, or a recovery of a file that nobody has open.
pub(super) fn with_attributes_kept<T, E: From<Errno>>(
    fd: &OwnedFd,
    write: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    with_kept(fd, None, write)
}

fn with_kept<T, E: From<Errno>>(
    fd: &OwnedFd,
    inode: Option<&Inode>,
    write: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let may_have_capabilities = inode.is_none_or(|inode| inode.may_have_capabilities.load(Ordering::Acquire));
    let before = Kept::of(fd, may_have_capabilities)?;
    if let Some(inode) = inode {
        inode.shown.begin(&before.stat);
    }
    let outcome = write();
    before.put_privileges_back(fd);
    if outcome.is_ok() {
        before.put_time_back(fd);
    }
    if let Some(inode) = inode {
        inode.shown.end(rustix::fs::fstat(fd).ok().as_ref());
    }
    outcome
}

/// What a write to a backing file changes of what a program sees, as it was before: times, and what the file lends to who executes
/// it: the set-user-id and set-group-id bits and the capabilities.
pub(super) struct Kept {
    stat: Stat,
    capabilities: Vec<u8>,
}

impl Kept {
    pub(super) fn of(fd: &OwnedFd, may_have_capabilities: bool) -> rustix::io::Result<Self> {
        let capabilities = if may_have_capabilities { capabilities(fd)? } else { Vec::new() };
        Ok(Self { stat: rustix::fs::fstat(fd)?, capabilities })
    }

    /// Only the owner may: where the mount's process is someone else, a newer time is the lesser evil.
    pub(super) fn put_time_back(&self, fd: &OwnedFd) {
        let put = || {
            let now = rustix::fs::fstat(fd)?;
            if (self.stat.st_mtime, self.stat.st_mtime_nsec) == (now.st_mtime, now.st_mtime_nsec) {
                return Ok(());
            }
            let mtime = Timespec { tv_sec: self.stat.st_mtime, tv_nsec: self.stat.st_mtime_nsec as _ };
            rustix::fs::futimens(fd, &Timestamps { last_access: timespec(None), last_modification: mtime })
        };
        if let Err(errno) = put() {
            log::debug!("the modification time of a file moved: {errno}");
        }
    }

    /// A mount's process that may not give them can only be that of a user to whom they mean little.
    pub(super) fn put_privileges_back(&self, fd: &OwnedFd) {
        let bits = |mode: u32| Mode::from_raw_mode(mode) & (Mode::SUID | Mode::SGID);
        let put = || {
            if !bits(self.stat.st_mode).is_empty()
                && bits(rustix::fs::fstat(fd)?.st_mode) != bits(self.stat.st_mode)
            {
                rustix::fs::fchmod(fd, Mode::from_raw_mode(self.stat.st_mode))?;
            }
            if !self.capabilities.is_empty() && capabilities(fd)? != self.capabilities {
                rustix::fs::fsetxattr(fd, CAPABILITIES, &self.capabilities, XattrFlags::empty())?;
            }
            Ok(())
        };
        if let Err::<(), Errno>(errno) = put() {
            log::debug!("a file lost privileges: {errno}");
        }
    }
}

fn capabilities(fd: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let mut value = [0; CAPABILITIES_MAX];
    match rustix::fs::fgetxattr(fd, CAPABILITIES, &mut value) {
        Ok(len) => Ok(value[..len].to_vec()),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}

fn timespec(time: Option<SetTime>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        Some(SetTime::Now) => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
        Some(SetTime::At(time)) => time,
    }
}
