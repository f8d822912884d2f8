//! Reading directories.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::{AtFlags, FileType, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use super::errno::Result;
use super::inode::Inode;
use super::{Answer, Attr, Filesystem, RESERVED, ROOT};

/// Bytes of directory that are read at a time.
const BATCH: usize = 32 * 1024;

/// An open directory.
#[derive(Debug)]
pub struct DirStream {
    inode: Arc<Inode>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    fd: OwnedFd,
    /// Entries that were read and not yet given out.
    ahead: VecDeque<DirEntry>,
    /// The cookie of the entry that was given out last: where `ahead` begins.
    position: u64,
}

/// An entry of a directory.
#[derive(Debug)]
pub struct DirEntry {
    /// Its name.
    pub name: CString,
    /// The mount's inode number; for people, the kernel asks again.
    pub ino: u64,
    /// Its inode number in the backing directory.
    backing: u64,
    /// What kind of object it is, as far as the backing filesystem says it here.
    pub kind: FileType,
    /// What to ask for the entry after this one with.
    pub next: u64,
}

impl DirEntry {
    /// Its name.
    pub fn name(&self) -> &OsStr {
        OsStr::from_bytes(self.name.to_bytes())
    }

    fn is_dots(&self) -> bool {
        matches!(self.name.to_bytes(), b"." | b"..")
    }
}

impl Filesystem {
    /// Opens a directory.
    ///
    /// # Errors
    /// `ENOTDIR`, `EACCES`.
    pub fn opendir(&self, ino: u64) -> Result<u64> {
        let inode = self.table.find(ino)?;
        let fd = inode.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
        self.leave_access_time(&fd);
        let state = Mutex::new(State { fd, ahead: VecDeque::new(), position: 0 });
        Ok(self.dirs.add(DirStream { inode, state }))
    }

    /// Closes a directory.
    ///
    /// # Errors
    /// `ESTALE` for an unknown handle.
    pub fn releasedir(&self, handle: u64) -> Result<()> {
        self.dirs.remove(handle).map(|_| ())
    }

    /// Gives the entries after `offset` (0, or a [`DirEntry::next`]) to `take`, until it answers false: that entry is not
    /// taken and comes again.
    ///
    /// # Errors
    /// Whatever the backing directory answers.
    pub fn readdir(&self, handle: u64, offset: u64, mut take: impl FnMut(&DirEntry) -> bool) -> Result<()> {
        let stream = self.dirs.find(handle)?;
        self.each(&stream, offset, |entry| Ok(take(entry)))
    }

    /// As [`Filesystem::readdir`], with each entry's attributes, and one reference to its inode for each one taken (but
    /// for `.` and `..`, which come without attributes).
    ///
    /// # Errors
    /// Whatever the backing directory answers.
    pub fn readdirplus(
        &self,
        handle: u64,
        offset: u64,
        mut take: impl FnMut(&DirEntry, Option<Answer<Attr>>) -> bool,
    ) -> Result<()> {
        let stream = self.dirs.find(handle)?;
        self.each(&stream, offset, |entry| {
            if entry.is_dots() {
                return Ok(take(entry, None));
            }
            let answer = match self.entry(&stream.inode, entry.name()) {
                Ok(answer) => answer,
                // Removed since the directory was read.
                Err(error) if error.errno() == Errno::NOENT => return Ok(true),
                // Who may list a directory and not search it gets its names, and the kernel lets nobody to them.
                Err(error) if error.errno() == Errno::ACCESS => self.unseen(&stream, entry).ok_or(error)?,
                Err(error) => return Err(error),
            };
            let ino = answer.value.ino;
            let taken = take(entry, Some(answer));
            if !taken {
                self.forget(ino, 1);
            }
            Ok(taken)
        })
    }

    /// An entry that cannot be looked at, with what the directory says of it. Not to be kept.
    fn unseen(&self, stream: &DirStream, entry: &DirEntry) -> Option<Answer<Attr>> {
        let mut stat = stream.inode.stat().ok().filter(|_| entry.kind != FileType::Unknown)?;
        (stat.st_ino, stat.st_mode) = (entry.backing, entry.kind.as_raw_mode());
        (stat.st_size, stat.st_blocks, stat.st_nlink) = (0, 0, 1);
        let inode = self.table.remember(&stat, &stream.inode, entry.name());
        Some(Answer { value: Attr::new(inode.ino, stat, None, Duration::ZERO), inside: None })
    }

    fn each(
        &self,
        stream: &DirStream,
        offset: u64,
        mut take: impl FnMut(&DirEntry) -> Result<bool>,
    ) -> Result<()> {
        let mut state = stream.state.lock();
        if offset != state.position {
            state.ahead.clear();
            rustix::fs::seek(&state.fd, SeekFrom::Start(offset))?;
            state.position = offset;
        }
        loop {
            if state.ahead.is_empty() {
                self.read_ahead(stream, &mut state)?;
            }
            let Some(entry) = state.ahead.pop_front() else { return Ok(()) };
            match take(&entry) {
                Ok(true) => state.position = entry.next,
                Ok(false) => {
                    state.ahead.push_front(entry);
                    return Ok(());
                }
                Err(error) => {
                    state.ahead.push_front(entry);
                    return Err(error);
                }
            }
        }
    }

    /// Reads the next batch of entries. The reserved name is left out.
    fn read_ahead(&self, stream: &DirStream, state: &mut State) -> Result<()> {
        let mut buffer = [const { MaybeUninit::uninit() }; BATCH];
        let State { fd, ahead, .. } = state;
        let mut entries = RawDir::new(&*fd, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let hidden = stream.inode.ino == ROOT && entry.file_name().to_bytes() == RESERVED.as_bytes();
            if !hidden {
                ahead.push_back(DirEntry {
                    name: entry.file_name().to_owned(),
                    ino: self.listed_number(stream, entry.file_name(), entry.ino()),
                    backing: entry.ino(),
                    kind: entry.file_type(),
                    next: entry.next_entry_cookie(),
                });
            }
            if entries.is_buffer_empty() && !ahead.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// The number to list an entry under. Beneath a directory on the root's device that is the entry's own; elsewhere it
    /// takes a look at the object.
    fn listed_number(&self, stream: &DirStream, name: &CStr, ino: u64) -> u64 {
        let here = |name: &CStr| {
            let dir = stream.inode.directory().ok()?;
            let stat = rustix::fs::statat(&*dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            Some(self.table.number(&stat))
        };
        match name.to_bytes() {
            b".." if stream.inode.ino == ROOT => ROOT,
            _ if ino == ROOT || ino == self.table.root().backing_number() => here(name).unwrap_or(ino),
            _ => ino,
        }
    }
}
