//! Recovery of files that a killed mount left dirty, and keeping the list of them right.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::backing::FdBacking;
use super::errno::{FsError, Result};
use super::file::CryptFile;
use super::inode::Inode;
use super::loaded::Engine;
use super::setattr::with_attributes_kept;
use super::{Caller, Filesystem};
use crate::datakey::Incident;
use crate::envelope::FileId;
use crate::volume::records::{self, Oddity};

/// What became of a file that was found on the list of dirty files.
enum Outcome {
    /// It was half written, and is whole and clean.
    Recovered,
    /// It was committed already, or not written to yet; only the list did not say so.
    Clean,
    /// It is not there any more, or another file has its name.
    Gone,
}

/// Files that are recovered at a time.
const RECOVERERS: usize = 16;

impl Filesystem {
    /// Recovers the files that the last mount left dirty. What cannot be recovered now (its CMK is not usable) stays on
    /// the list: it is recovered at its first open, or at the next mount.
    ///
    /// # Errors
    /// When the list cannot be written.
    pub fn recover(&self, caller: Caller) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        self.finish_reencryption()?;
        self.remove_leftovers();
        let entries = self.dirty.entries();
        let (next, outcome) = (AtomicUsize::new(0), Mutex::new(Ok(())));
        // Each waits for the disk three times; what they wait for together costs the disk as much once.
        thread::scope(|scope| {
            for _ in 0..RECOVERERS.min(entries.len()) {
                scope.spawn(|| {
                    while let Some((file_id, path)) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = self.recover_listed(file_id, path, caller) {
                            *outcome.lock() = Err(error);
                        }
                    }
                });
            }
        });
        outcome.into_inner()
    }

    /// Removes what was being made when the mount before was killed, and never got its name.
    fn remove_leftovers(&self) {
        let leftovers = records::oddities(&self.volume)
            .map(|odd| odd.into_iter().filter(|odd| matches!(odd, Oddity::Leftover(_))).collect::<Vec<_>>());
        let removed = leftovers
            .and_then(|odd| odd.iter().try_for_each(|odd| records::remove_leftover(&self.volume, odd)));
        if let Err(error) = removed {
            log::warn!("what was left over stays: {error}");
        }
    }

    fn recover_listed(&self, file_id: &FileId, path: &Path, caller: Caller) -> Result<()> {
        match self.recover_one(file_id, path, caller) {
            Ok(Outcome::Recovered) => {
                log::warn!("recovered {}: the mount before ended while it was written", path.display());
                Ok(self.dirty.remove(file_id)?)
            }
            Ok(Outcome::Clean | Outcome::Gone) => Ok(self.dirty.remove(file_id)?),
            Err(error) => {
                log::warn!("{} is not recovered yet: {error}", path.display());
                Ok(())
            }
        }
    }

    fn recover_one(&self, file_id: &FileId, path: &Path, caller: Caller) -> Result<Outcome> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let fd = match rustix::fs::openat2(self.volume.dir(), path, flags, Mode::empty(), resolve) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR) => return Ok(Outcome::Gone),
            Err(errno) => return Err(errno.into()),
        };
        let damaged = |error| FsError::File { path: path.display().to_string(), error };
        let backing = FdBacking::new(fd);
        let identity = Engine::identify(&backing).map_err(damaged)?;
        if identity.file_id() != *file_id {
            return Ok(Outcome::Gone);
        }
        let asker = self.asker(caller, path.as_os_str());
        let context = self.context(file_id);
        let data_key = self.keys.unwrap(&asker, identity.wrapped(), &context)?;
        let fd = backing.descriptor().clone();
        let is_new = with_attributes_kept(&fd, || {
            let engine = CryptFile::open(backing, &identity, &data_key, true, self.options.durability);
            engine.and_then(|engine| engine.commit_clean().map(|()| engine.is_new())).map_err(damaged)
        })?;
        if !identity.claims().dirty || is_new {
            return Ok(Outcome::Clean);
        }
        let key = &identity.wrapped().key;
        self.keys.report(self.volume.id(), &asker.path, Some(key), &Incident::Recovered);
        Ok(Outcome::Recovered)
    }

    /// After `moved` got other names: the list's paths follow them, and what lies beneath them. The rename is done and stays,
    /// so a list that cannot be written is no error of it: the file is then recovered at its first open.
    pub(super) fn follow_dirty<'a>(&self, moved: impl IntoIterator<Item = &'a Arc<Inode>>) {
        if self.dirty.is_empty() {
            return;
        }
        for inode in moved {
            if inode.kind() == FileType::Directory {
                self.table.all().iter().for_each(|inode| self.follow_one(inode));
            } else {
                self.follow_one(inode);
            }
        }
    }

    fn follow_one(&self, inode: &Inode) {
        let listed = inode.content.listed.lock();
        if *listed
            && let Some(loaded) = inode.content.current()
            && let Err(error) = self.dirty.rename(&loaded.file_id, &inode.path())
        {
            log::error!("the list of dirty files does not follow {}: {error}", inode.path().display());
        }
    }

    /// Commits every file that is still open, when the mount ends.
    pub fn commit_all(&self) {
        self.ending.store(true, Ordering::Release);
        *self.ended.write() = true;
        for inode in self.table.all() {
            if let Some(loaded) = inode.content.current()
                && let Err(error) = self.commit(&inode, &loaded)
            {
                log::error!("{} is not committed: {error}", inode.path().display());
            }
            inode.content.loaded.write().take();
        }
        if let Err(error) = self.dirty.finish() {
            log::error!("{error}");
        }
    }
}
