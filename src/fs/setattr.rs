//! Changing attributes.

use std::os::fd::AsFd;

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
        let _alone = self.times.lock();
        self.put_times(atime, mtime)
    }

    fn put_times(&self, atime: Option<SetTime>, mtime: Option<SetTime>) -> Result<()> {
        let times = Timestamps { last_access: timespec(atime), last_modification: timespec(mtime) };
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(&*self.pin()?, c"", &times, flags)?)
    }
}

/// Runs `write`, which writes to the backing file without changing what a program sees of it (a commit of the header, a
/// recovery), and puts the time of last modification back. A program that sets times meanwhile waits: a file is committed
/// after `close(2)` has returned, and `utimensat(2)` often follows at once.
pub(super) fn keeping_times<T>(inode: &Inode, write: impl FnOnce() -> Result<T>) -> Result<T> {
    let _alone = inode.times.lock();
    let before = inode.stat();
    let outcome = write()?;
    // Where the file cannot be found by name, it is committed all the same.
    let (Ok(before), Ok(after)) = (before, inode.stat()) else { return Ok(outcome) };
    if (before.st_mtime, before.st_mtime_nsec) != (after.st_mtime, after.st_mtime_nsec) {
        let mtime = Timespec { tv_sec: before.st_mtime, tv_nsec: before.st_mtime_nsec as _ };
        // Only the owner may: where the mount's process is someone else, a newer time is the lesser evil.
        if let Err(error) = inode.put_times(None, Some(SetTime::At(mtime))) {
            log::debug!("the modification time of {} moved: {error}", inode.path().display());
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
