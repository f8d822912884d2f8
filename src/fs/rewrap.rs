//! Moving a file's data key to another wrap: under the newest backing key of its CMK, or under another CMK.
//!
//! The header on disk changes first, then what the mount obeys. Between the two the file is still let in by the lease of the CMK
//! that it was under; when the call returns it obeys the new one alone, descriptors that are open included.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::backing::Backing;
use super::errno::{FsError, Result};
use super::inode::Inode;
use super::lease::{Access, KeyLease};
use super::loaded::Loaded;
use super::open::Engaged;
use super::setattr::with_attributes_kept;
use super::{Caller, Filesystem};
use crate::datakey::{KeyArn, Usability, WrappedDataKey};

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The CMK and the version of its backing key before.
    pub from: (KeyArn, u32),
    /// And now.
    pub to: (KeyArn, u32),
    /// The plain size, in bytes.
    pub size: u64,
}

impl Moved {
    pub(super) fn between(from: &WrappedDataKey, to: &WrappedDataKey, size: u64) -> Self {
        Self { from: (from.key.clone(), from.version), to: (to.key.clone(), to.version), size }
    }
}

/// How long requests inside a lease are waited for, as by a revocation.
const LIMIT: Duration = Duration::from_secs(8);
const STUCK: &str = "requests in flight did not end: the backing directory does not answer";

impl Filesystem {
    /// Wraps the data key of the file at `path` (within the volume) under the newest backing key of `to` (id, ARN or alias), or of
    /// the CMK that it is under; recorded as ReEncrypt. Content and attributes stay, and nothing of the old wrap is left.
    ///
    /// # Errors
    /// The key service's refusal: then nothing changed. `EROFS`, `ENOENT`, `EIO`.
    pub fn rewrap(&self, path: &Path, to: Option<&str>, caller: Caller) -> Result<Moved> {
        self.may_change()?;
        let _governing = self.governing()?;
        let reached = self.reach(path, caller)?;
        let (inode, asker) = (&reached.inode, &reached.asker);
        let _alone = inode.content.governing.lock();
        let _open = self.open_briefly(inode);
        let Engaged { inside, loaded } = self.engage(inode, Access::Write, asker)?;
        let before = loaded.wrapped.read().clone();
        let after = self.keys.rewrap(asker, &before, &loaded.context, to)?;
        // What is written while others wait is then little.
        loaded.engine.backing().sync()?;
        let fd = loaded.engine.backing().descriptor();
        let outcome = {
            let _times = inode.times.lock();
            loaded.engine.rewrap_within(&after, |write| with_attributes_kept(fd, write))
        };
        drop(inside);
        // Also after an error: what the header says next, the mount has to obey.
        self.obey(inode, &loaded, loaded.engine.header().wrapped)?;
        outcome.map_err(|error| self.damaged(inode, error))?;
        Ok(Moved::between(&before, &after, loaded.engine.size()))
    }

    /// Looks at the header of the file at `path` again, which somebody else may have rewrapped: for a mount that reads beside.
    ///
    /// # Errors
    /// `ENOENT`, `EIO`.
    pub fn reread(&self, path: &Path, caller: Caller) -> Result<()> {
        let reached = self.reach(path, caller)?;
        let inode = &reached.inode;
        let _alone = inode.content.governing.lock();
        // A file that nobody has open is read anew when it is opened.
        let Some(loaded) = inode.content.current() else { return Ok(()) };
        let wrapped = loaded.engine.wrapped_now().map_err(|error| self.damaged(inode, error))?;
        self.obey(inode, &loaded, wrapped)
    }

    /// Has an open file obey the CMK of `wrapped`, which its header names now.
    fn obey(&self, inode: &Arc<Inode>, loaded: &Loaded, wrapped: WrappedDataKey) -> Result<()> {
        let Some(from) = inode.content.lease.lock().clone() else { return Ok(()) };
        let to = self.leases.of(&wrapped.key);
        let adopt = || {
            *loaded.wrapped.write() = wrapped;
            Ok(true)
        };
        let adopted =
            if Arc::ptr_eq(&from, &to) { adopt() } else { self.hand_over(inode, &from, &to, adopt) };
        adopted.map(drop)
    }

    /// Runs `change` while nobody is at work under `from`, and puts `inode` under `to` where it answers true.
    pub(super) fn hand_over(
        &self,
        inode: &Arc<Inode>,
        from: &Arc<KeyLease>,
        to: &Arc<KeyLease>,
        change: impl FnOnce() -> Result<bool>,
    ) -> Result<bool> {
        let hand = || {
            from.alone(LIMIT, || {
                let outcome = change();
                if matches!(outcome, Ok(true)) && !Arc::ptr_eq(from, to) {
                    to.enlist(inode);
                    *inode.content.lease.lock() = Some(to.clone());
                    from.dismiss(inode);
                }
                outcome
            })
        };
        // No revocation of either is under way meanwhile, and each sees the file on one side.
        let outcome = match from.key().cmp(to.key()) {
            std::cmp::Ordering::Less => from.in_turn(|| to.in_turn(hand)),
            std::cmp::Ordering::Equal => from.in_turn(hand),
            std::cmp::Ordering::Greater => to.in_turn(|| from.in_turn(hand)),
        };
        let outcome = outcome.unwrap_or_else(|| Err(FsError::Busy(STUCK.to_owned())))?;
        // One that was lost after it gave the wrap, and before the file was under it, has been revoked without the file.
        if self.keys.state(to.key())? != Usability::Usable {
            self.key_changed(to.key()).map_err(FsError::Busy)?;
        }
        Ok(outcome)
    }
}
