//! A file's successor takes its place: its bytes are copied over the old ones, within the same inode.
//!
//! Page 0 comes last: until it is there, the file's id is the old one and its successor is found under it (`volume::successor`).
//! Stopped anywhere, it can be begun again, by whoever writes the volume next; no key is needed for it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags, SeekFrom};
use rustix::io::Errno;

use super::Filesystem;
use super::backing::{Backing, FdBacking};
use super::errno::Result;
use super::setattr::Kept;
use crate::content::layout::PAGE;
use crate::envelope::FileId;
use crate::volume::successor;

/// Bytes that are copied at once where the kernel does not copy by itself.
const PIECE: usize = 1 << 20;

impl Filesystem {
    /// Has the successors that a kill left take their places. Where the file is not found (the list of dirty files is lost) it happens
    /// when the file is opened. The caller holds the volume's lock.
    ///
    /// # Errors
    /// Where they cannot be looked for.
    pub fn finish_reencryption(&self) -> Result<()> {
        for id in successor::all(&self.volume)? {
            let listed = self.dirty.entries().into_iter().find(|(listed, _)| *listed == id);
            let finished = listed.is_some_and(|(_, path)| {
                let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
                let open = || rustix::fs::openat2(self.volume.dir(), &path, flags, Mode::empty(), resolve);
                match open().map_err(Into::into).and_then(|fd| self.finish_one(&id, &Arc::new(fd))) {
                    Ok(finished) => finished,
                    Err(error) => {
                        log::warn!("{} waits for its re-encrypted content: {error}", path.display());
                        false
                    }
                }
            });
            if !finished {
                self.succeeded.lock().insert(id);
            }
        }
        Ok(())
    }

    /// False where `fd` is another file.
    fn finish_one(&self, id: &FileId, fd: &Arc<OwnedFd>) -> Result<bool> {
        let Some(next) = successor::open(self.volume.path(), id)? else { return Ok(true) };
        let claimed = successor::claimed_id(fd)?;
        if claimed == Some(*id) {
            self.take_place(id, fd)?;
            return Ok(true);
        }
        let is_done = claimed.is_some() && claimed == successor::claimed_id(&next)?;
        if is_done {
            successor::remove(&self.volume, id)?;
        }
        Ok(is_done)
    }

    /// Where a successor of the file `id`, open as `backing`, waits: the file itself, once the successor has taken its place; or the
    /// successor, where the file cannot be written. And whether what is answered can be.
    pub(super) fn succeeded(
        &self,
        id: &FileId,
        backing: &FdBacking,
        writable: bool,
    ) -> Result<Option<(FdBacking, bool)>> {
        // Nobody else makes successors while this is the volume's writer.
        if !self.options.read_only && !self.succeeded.lock().contains(id) {
            return Ok(None);
        }
        let Some(next) = successor::open(self.volume.path(), id)? else { return Ok(None) };
        if !writable {
            return Ok(Some((FdBacking::new(next), false)));
        }
        self.take_place(id, backing.descriptor())?;
        self.succeeded.lock().remove(id);
        Ok(Some((backing.clone(), true)))
    }

    /// Copies the successor of `id` over `target`, and takes its name away. Attributes stay.
    pub(super) fn take_place(&self, id: &FileId, target: &Arc<OwnedFd>) -> Result<()> {
        let next = successor::open(self.volume.path(), id)?.ok_or(Errno::NOENT)?;
        let kept = Kept::of(&next, true)?;
        copy(&FdBacking::new(next), &FdBacking::new(target.clone()))?;
        kept.put_privileges_back(target);
        kept.put_time_back(target);
        Ok(successor::remove(&self.volume, id)?)
    }

    /// Gives the successor that has no name yet the name of the file that it replaces, durably: from now on it is that file's content.
    pub(super) fn name_successor(&self, fd: &OwnedFd, id: &FileId) -> Result<()> {
        let dir = successor::directory(&self.volume)?;
        super::create::name_it(fd, &dir, id.to_string().as_ref())?;
        successor::sync(&self.volume).inspect_err(|_| {
            // Not known to be there: as good as never named, as long as the old bytes are untouched.
            if let Err(error) = successor::remove(&self.volume, id) {
                log::error!("{error}");
            }
        })?;
        Ok(())
    }
}

/// Makes `to` the same bytes as `from`, holes included, page 0 last; each of the two durable before the next.
fn copy(from: &FdBacking, to: &FdBacking) -> io::Result<()> {
    let len = from.len()?;
    to.set_len(len)?;
    let mut at = PAGE;
    while at < len {
        let data = match rustix::fs::seek(&**from.descriptor(), SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => len,
            Err(errno) => return Err(errno.into()),
        };
        if data > at {
            to.punch(at, data - at)?;
        }
        if data >= len {
            break;
        }
        let end = rustix::fs::seek(&**from.descriptor(), SeekFrom::Hole(data))?.min(len);
        copy_range(from, to, data, end)?;
        at = end;
    }
    to.sync()?;
    let mut page = [0; PAGE as usize];
    from.read_at(0, &mut page)?;
    to.write_at(0, &[&page])?;
    to.sync()
}

fn copy_range(from: &FdBacking, to: &FdBacking, mut at: u64, end: u64) -> io::Result<()> {
    let mut buffer = Vec::new();
    while at < end {
        let (mut here, mut there) = (at, at);
        let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(
            &**from.descriptor(),
            Some(&mut here),
            &**to.descriptor(),
            Some(&mut there),
            len,
        ) {
            Ok(copied) if copied > 0 => {
                at += copied as u64;
                continue;
            }
            Err(Errno::INTR) => continue,
            // Not between these filesystems, or not in this kernel.
            Ok(_) | Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::IO) => (),
            Err(errno) => return Err(errno.into()),
        }
        buffer.resize(len.min(PIECE), 0);
        let read = from.read_at(at, &mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_at(at, &[&buffer[..read]])?;
        at += read as u64;
    }
    Ok(())
}
