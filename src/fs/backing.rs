//! Where a file's ciphertext lies: the operations that the engine needs of it, and a file of the backing directory.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

/// Storage of one file's ciphertext. All offsets and lengths are in bytes; calls may come from several threads.
pub trait Backing: Send + Sync {
    /// Reads until `out` is full or the end is reached, and answers how many bytes were read.
    ///
    /// # Errors
    /// Whatever the storage answers.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `parts`, one behind the other.
    ///
    /// # Errors
    /// Whatever the storage answers; a part may have been written then.
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()>;

    /// The size.
    ///
    /// # Errors
    /// Whatever the storage answers.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no byte.
    ///
    /// # Errors
    /// Whatever the storage answers.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Whether nothing is stored in a range, which then reads as zeros; `false` where that is not known. Only a saving.
    ///
    /// # Errors
    /// Whatever the storage answers.
    fn is_unstored(&self, range: Range<u64>) -> io::Result<bool> {
        let _ = range;
        Ok(false)
    }

    /// Cuts, or extends by zeros.
    ///
    /// # Errors
    /// Whatever the storage answers.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Gives space back; the range reads as zeros. Only a saving: storage that cannot do it may do nothing.
    ///
    /// # Errors
    /// Whatever the storage answers.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Reserves space, also past the end, without changing the size.
    ///
    /// # Errors
    /// `ENOSPC`, `EOPNOTSUPP`.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Makes everything written durable, and the size.
    ///
    /// # Errors
    /// Whatever the storage answers: then nothing is promised.
    fn sync(&self) -> io::Result<()>;
}

/// A file of the backing directory, held by descriptor.
#[derive(Debug, Clone)]
pub struct FdBacking(Arc<OwnedFd>);

impl FdBacking {
    /// Over an open regular file.
    pub fn new(fd: impl Into<Arc<OwnedFd>>) -> Self {
        Self(fd.into())
    }

    /// The open file.
    pub fn descriptor(&self) -> &Arc<OwnedFd> {
        &self.0
    }
}

impl FdBacking {
    /// Makes everything durable, attributes too.
    ///
    /// # Errors
    /// Whatever the storage answers: then nothing is promised.
    pub fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::io::retry_on_intr(|| rustix::fs::fsync(&*self.0))?)
    }
}

impl Backing for FdBacking {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < out.len() {
            match rustix::io::pread(&*self.0, &mut out[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(Errno::INTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(done)
    }

    fn write_at(&self, mut offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let written = match &*rest {
                [one] => rustix::io::pwrite(&*self.0, one, offset),
                many => rustix::io::pwritev(&*self.0, many, offset),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(Errno::INTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(rustix::fs::fstat(&*self.0)?.st_size).unwrap_or(0))
    }

    fn is_unstored(&self, range: Range<u64>) -> io::Result<bool> {
        match rustix::fs::seek(&*self.0, SeekFrom::Data(range.start)) {
            Ok(data) => Ok(data >= range.end),
            // Nothing up to the end of the file.
            Err(Errno::NXIO) => Ok(true),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Ok(rustix::io::retry_on_intr(|| rustix::fs::ftruncate(&*self.0, len))?)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::io::retry_on_intr(|| rustix::fs::fallocate(&*self.0, flags, offset, len)) {
            Err(Errno::OPNOTSUPP) => Ok(()),
            answer => Ok(answer?),
        }
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::KEEP_SIZE;
        Ok(rustix::io::retry_on_intr(|| rustix::fs::fallocate(&*self.0, flags, offset, len))?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::io::retry_on_intr(|| rustix::fs::fdatasync(&*self.0))?)
    }
}
