//! Changing attributes.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid};

use super::errno::Result;
use super::inode::{Inode, descriptor_path};
use super::lease::Access;
use super::{Answer, Attr, Caller, Filesystem};

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
            let asker = match handle {
                Some(handle) => self.files.find(handle)?.asker.clone(),
                None => self.asker(caller, &inode.path()),
            };
            let _open = self.open_briefly(&inode);
            let engaged = self.engage(&inode, Access::Write, &asker)?;
            self.resize(&inode, &engaged, size, caller)?;
        }
        if change.uid.is_some() || change.gid.is_some() {
            let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
            let (uid, gid) = (change.uid.map(Uid::from_raw), change.gid.map(Gid::from_raw));
            rustix::fs::chownat(&*inode.pin()?, c"", uid, gid, flags)?;
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
    /// Sets the permission bits.
    pub(super) fn chmod(&self, mode: Mode) -> Result<()> {
        let pinned = self.pin()?;
        Ok(rustix::fs::chmod(descriptor_path(pinned.as_fd()), mode)?)
    }

    /// Sets times, after or before a commit that keeps them and never within it.
    fn set_times(&self, atime: Option<SetTime>, mtime: Option<SetTime>) -> Result<()> {
        // Pinned before the lock: a recovery holds the lock, and keeps others from the open file meanwhile.
        let fd = self.pin()?;
        let _alone = self.times.lock();
        let times = Timestamps { last_access: timespec(atime), last_modification: timespec(mtime) };
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(&*fd, c"", &times, flags)?)
    }
}

/// Runs `write`, which writes to the backing file of `inode`, open as `fd`, without changing what a program sees of it (a commit
/// of the header, a recovery). A program that sets times meanwhile waits: a file is committed after `close(2)` has returned, and
/// `utimensat(2)` often follows at once.
pub(super) fn keeping_times<T>(inode: &Inode, fd: &OwnedFd, write: impl FnOnce() -> Result<T>) -> Result<T> {
    let _alone = inode.times.lock();
    with_time_kept(fd, write)
}

/// Runs `write`, which writes to the file open as `fd`, and puts its time of last modification back.
pub(super) fn with_time_kept<T>(fd: &OwnedFd, write: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = rustix::fs::fstat(fd)?;
    let outcome = write()?;
    let after = rustix::fs::fstat(fd)?;
    if (before.st_mtime, before.st_mtime_nsec) != (after.st_mtime, after.st_mtime_nsec) {
        let mtime = Timespec { tv_sec: before.st_mtime, tv_nsec: before.st_mtime_nsec as _ };
        let times = Timestamps { last_access: timespec(None), last_modification: mtime };
        // Only the owner may: where the mount's process is someone else, a newer time is the lesser evil.
        if let Err(errno) = rustix::fs::futimens(fd, &times) {
            log::debug!("the modification time of a file moved: {errno}");
        }
    }
    Ok(outcome)
}

fn timespec(time: Option<SetTime>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        Some(SetTime::Now) => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
        Some(SetTime::At(time)) => time,
    }
}
