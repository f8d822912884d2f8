//! Reading, writing and reshaping the content of open files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::backing::{Backing, FdBacking};
use super::errno::{FsError, Result};
use super::inode::Inode;
use super::lease::Access;
use super::loaded::Engine;
use super::open::Engaged;
use super::setattr::keeping_what_is_synced;
use super::{Answer, Caller, Filesystem, SetTime};

/// How a write reaches the filesystem.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteKind {
    /// The kernel writes pages that it holds (`FUSE_WRITE_CACHE`), not a program by its own call.
    pub from_cache: bool,
    /// Set-user-id, set-group-id and capabilities go (`FUSE_WRITE_KILL_SUIDGID`).
    pub kills_privileges: bool,
}

/// Where [`Filesystem::seek`] looks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// The next byte that is not in a hole.
    Data,
    /// The next hole; the end of a file counts as one.
    Hole,
}

impl Filesystem {
    /// Reads into `out`, and answers how many bytes there were before the end.
    ///
    /// # Errors
    /// The CMK's errno; `EIO` for what does not authenticate: never a wrong byte, and none after the damage.
    pub fn read(&self, handle: u64, offset: u64, out: &mut [u8]) -> Result<Answer<usize>> {
        let handle = self.files.find(handle)?;
        let engaged = self.engage(&handle.inode, Access::Read, &handle.asker)?;
        let read = engaged.loaded.engine.read_at(offset, out);
        let read = read.map_err(|error| self.damaged(&handle.inode, error))?;
        handle.inode.content.given.store(true, Ordering::Relaxed);
        Ok(Answer::under(read, engaged.inside))
    }

    /// Writes all of `data`. When it answers, the bytes are in the ciphertext.
    ///
    /// # Errors
    /// The CMK's errno, `ENOSPC`, `EFBIG`, `EIO`.
    pub fn write(&self, handle: u64, offset: u64, data: &[u8], kind: WriteKind) -> Result<Answer<()>> {
        let handle = self.files.find(handle)?;
        let access = if kind.from_cache { Access::WriteBack } else { Access::Write };
        let engaged = self.engage(&handle.inode, access, &handle.asker)?;
        if kind.kills_privileges {
            handle.inode.kill_privileges()?;
        }
        self.list_dirty(&handle.inode, &engaged.loaded)?;
        handle.inode.shown.changed();
        let written = engaged.loaded.engine.write_at(offset, data);
        written.map_err(|error| self.damaged(&handle.inode, error))?;
        handle.inode.content.given.store(true, Ordering::Relaxed);
        Ok(Answer::under((), engaged.inside))
    }

    /// `fsync(2)`: what was written survives a loss of power once this has answered, and unless only the content is asked for
    /// (`fdatasync(2)`) so do the attributes.
    ///
    /// # Errors
    /// `EIO`, `ENOSPC`: then nothing is promised.
    pub fn fsync(&self, handle: u64, content_alone: bool) -> Result<()> {
        let handle = self.files.find(handle)?;
        let Some(_inside) = handle.inode.content.look() else { return Ok(()) };
        let Some(loaded) = handle.inode.content.current() else {
            // A revocation has committed the file and wiped its keys; what it wrote may still be on its way to the disk.
            return Ok(rustix::fs::fsync(handle.inode.open(OFlags::RDONLY)?)?);
        };
        let inode = &handle.inode;
        let fd = loaded.engine.backing().descriptor();
        let last = |backing: &FdBacking| {
            if content_alone {
                backing.sync()?
            } else {
                backing.sync_all()?
            }
            Ok(())
        };
        let synced = keeping_what_is_synced(inode, fd, |around| loaded.engine.sync_within(around, &last));
        synced.map_err(|error| self.damaged(inode, error))
    }

    /// `fsync(2)` of a directory.
    ///
    /// # Errors
    /// Whatever the backing directory answers.
    pub fn fsyncdir(&self, ino: u64) -> Result<()> {
        let dir = self.table.find(ino)?.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(rustix::fs::fsync(dir)?)
    }

    /// `fallocate(2)`: allocation, with or without growth, punching holes and zeroing.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for every other mode; the CMK's errno; `ENOSPC`, `EFBIG`, `EINVAL`.
    pub fn fallocate(
        &self,
        handle: u64,
        offset: u64,
        len: u64,
        mode: FallocateFlags,
        caller: Caller,
    ) -> Result<()> {
        if len == 0 {
            return Err(FsError::Invalid);
        }
        offset.checked_add(len).ok_or(Errno::FBIG)?;
        let keep_size = mode.contains(FallocateFlags::KEEP_SIZE);
        let change = match mode.difference(FallocateFlags::KEEP_SIZE) {
            what if what.is_empty() => Engine::allocate,
            FallocateFlags::PUNCH_HOLE if keep_size => {
                |engine: &Engine, at, len, _| engine.punch_hole(at, len)
            }
            FallocateFlags::ZERO_RANGE => Engine::zero_range,
            _ => return Err(FsError::Unsupported),
        };
        let handle = self.files.find(handle)?;
        let engaged = self.engage(&handle.inode, Access::Write, &handle.asker)?;
        // The kernel leaves that to this side, without a flag as a write has it.
        if caller.uid != 0 {
            handle.inode.kill_privileges()?;
        }
        self.list_dirty(&handle.inode, &engaged.loaded)?;
        handle.inode.shown.changed();
        let done = change(&engaged.loaded.engine, offset, len, keep_size);
        done.map_err(|error| self.damaged(&handle.inode, error))
    }

    /// `lseek(2)` with `SEEK_DATA` or `SEEK_HOLE`.
    ///
    /// # Errors
    /// `ENXIO` at or past the end, and for data when there is none after `offset`.
    pub fn seek(&self, handle: u64, offset: u64, to: Seek) -> Result<u64> {
        let handle = self.files.find(handle)?;
        let engaged = self.engage(&handle.inode, Access::Read, &handle.asker)?;
        let found = match to {
            Seek::Data => engaged.loaded.engine.seek_data(offset),
            Seek::Hole => engaged.loaded.engine.seek_hole(offset),
        };
        found.map_err(|error| self.damaged(&handle.inode, error))?.ok_or(Errno::NXIO.into())
    }

    /// Whether what [`Filesystem::seek`] `found` from `offset` on need not be the next data: before it a map may have written what only
    /// the kernel has so far. The kernel asks without writing that back. A map that writes holds a handle that does.
    pub fn may_be_unwritten(&self, handle: u64, offset: u64, found: &Result<u64>) -> bool {
        let is_hole = match found {
            Ok(found) => *found > offset,
            Err(error) => error.errno() == Errno::NXIO,
        };
        is_hole && self.files.find(handle).is_ok_and(|handle| handle.inode.content.opens.lock().writers > 0)
    }

    /// As [`Filesystem::seek`] for data, when what maps wrote to the hole that is there has been written back. It waits for the kernel, and
    /// must not be called from what answers it.
    ///
    /// # Errors
    /// As [`Filesystem::seek`].
    pub fn seek_written_back(&self, handle: u64, offset: u64) -> Result<u64> {
        let ino = self.files.find(handle)?.inode.ino;
        let end = self.seek(handle, offset, Seek::Data).unwrap_or(i64::MAX as u64);
        if let Some(kernel) = self.kernel.get() {
            kernel.write_back(ino, offset, end.saturating_sub(offset));
        }
        self.seek(handle, offset, Seek::Data)
    }

    /// Sets the size of an open file.
    pub(super) fn resize(
        &self,
        inode: &Arc<Inode>,
        engaged: &Engaged,
        size: u64,
        caller: Caller,
    ) -> Result<()> {
        if caller.uid != 0 {
            inode.kill_privileges()?;
        }
        if engaged.loaded.engine.size() == size {
            // Nothing is written, and still it is a modification (open(2) with O_TRUNC, ftruncate(2)).
            return inode.set_times(None, Some(SetTime::Now));
        }
        self.list_dirty(inode, &engaged.loaded)?;
        inode.shown.changed();
        engaged.loaded.engine.set_size(size).map_err(|error| self.damaged(inode, error))
    }
}

impl Inode {
    /// Clears set-user-id, and set-group-id of an executable, as a write by someone without privilege does.
    pub(super) fn kill_privileges(&self) -> Result<()> {
        let mode = Mode::from_raw_mode(self.stat()?.st_mode);
        let mut kept = mode.difference(Mode::SUID);
        if mode.contains(Mode::XGRP) {
            kept = kept.difference(Mode::SGID);
        }
        if kept != mode {
            self.chmod(kept)?;
        }
        Ok(())
    }
}
