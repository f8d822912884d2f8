//! Revocation: what a mount does when a CMK stops being usable, and when it comes back.
//!
//! The order is what makes it complete:
//!
//! 1. *Gate*. New requests are refused at once, and those inside are waited for; then the lease is Draining. From here on no content leaves the
//!    mount's process, and attributes are answered with no time to keep, so that the kernel asks before each buffered
//!    read (`FUSE_AUTO_INVAL_DATA`) and is refused.
//! 2. *Invalidate*. The kernel drops the attributes and then the pages of every inode of the CMK, opened or merely
//!    cached. Pages that a shared map made dirty are written back by that, and still taken in.
//! 3. *Commit and wipe*. The lease goes to Revoked; dirty files are committed, data keys are wiped.
//! 4. *Verify*. Pages are dropped once more: a page that was locked or pinned the first time round is gone now.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::Filesystem;
use super::inode::Inode;
use super::lease::{KeyLease, LeaseEvent};
use crate::datakey::{KeyArn, Usability};

/// The kernel's caches of a mount. Calls may block until the kernel has written dirty pages back through the mount, so
/// they must come from a thread that answers no requests.
pub trait KernelCache: Send + Sync {
    /// Drops the attributes of an inode; its pages stay.
    fn drop_attributes(&self, ino: u64);

    /// Drops the pages of an inode, after writing dirty ones back.
    fn drop_pages(&self, ino: u64);

    /// Has the kernel write back what maps wrote to `len` bytes of an inode from `offset` on; pages of it are dropped.
    fn write_back(&self, ino: u64, offset: u64, len: u64);

    /// Puts content that begins at the first byte of an inode, and is all of it, into its pages. The one call that answers of requests
    /// may make: no page of the inode may be waited for, so that none is locked.
    fn store(&self, ino: u64, content: &[u8]);
}

/// What a revocation, or a revival, did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocation {
    /// Inodes whose pages were dropped.
    pub inodes: usize,
    /// Files whose data keys were wiped.
    pub files: usize,
    /// Files that could not be committed, and why: they are recovered when the CMK is usable again.
    pub uncommitted: Vec<String>,
}

/// Threads that ask the kernel to drop pages, each waiting for one inode at a time.
const DROPPERS: usize = 4;
/// How long requests inside a lease are waited for.
const GATE_LIMIT: Duration = Duration::from_secs(8);
/// Why a revocation is not complete.
const STUCK: &str = "requests in flight did not end: the backing directory does not answer";

impl Filesystem {
    /// Where the kernel's caches can be reached, once there is a mount. Only the first call counts.
    pub fn attach(&self, kernel: Arc<dyn KernelCache>) {
        let _ = self.kernel.set(kernel);
    }

    /// The CMKs that files of this mount were opened under.
    pub fn keys_in_use(&self) -> Vec<KeyArn> {
        self.leases.all().iter().map(|lease| lease.key().clone()).collect()
    }

    /// Looks at the state of `key` and does what follows from it. When it has answered, no content of a CMK that is not
    /// usable can be read through the mount any more.
    ///
    /// # Errors
    /// What could not be done, in words: the CMK's files may then still be readable.
    pub fn key_changed(&self, key: &KeyArn) -> Result<Revocation, String> {
        let Some(lease) = self.leases.existing(key) else { return Ok(Revocation::default()) };
        lease.in_turn(|| match self.keys.state(key) {
            Ok(Usability::Usable) => {
                lease.reopen(GATE_LIMIT).ok_or(STUCK)?;
                Ok(Revocation::default())
            }
            Ok(usability) => self.revoke(&lease, usability),
            Err(error) => Err(error.to_string()),
        })
    }

    fn revoke(&self, lease: &KeyLease, usability: Usability) -> Result<Revocation, String> {
        lease.close(usability);
        if lease.shift(LeaseEvent::KeyLost(usability), GATE_LIMIT, || ()).is_none() {
            // The pages of what is stuck cannot be dropped: asking would be stuck as well. But the kernel asks before each buffered
            // read from now on, and is refused.
            self.drop_attributes(&lease.inodes());
            return Err(STUCK.to_owned());
        }
        // Whoever opened a file before the gate closed has enlisted it by now.
        let inodes = lease.inodes();
        self.drop_attributes(&inodes);
        if let Some(kernel) = self.kernel.get() {
            drop_all_pages(&**kernel, &inodes);
        }
        let wiped = lease.shift(LeaseEvent::Drained, GATE_LIMIT, || self.wipe(&inodes));
        let mut outcome = wiped.ok_or(STUCK)?;
        if let Some(kernel) = self.kernel.get() {
            drop_all_pages(&**kernel, &inodes);
        }
        outcome.inodes = inodes.len();
        Ok(outcome)
    }

    fn drop_attributes(&self, inodes: &[Arc<Inode>]) {
        if let Some(kernel) = self.kernel.get() {
            inodes.iter().for_each(|inode| kernel.drop_attributes(inode.ino));
        }
    }

    /// Commits and drops the engines of `inodes`. Nobody is inside the lease.
    fn wipe(&self, inodes: &[Arc<Inode>]) -> Revocation {
        let mut outcome = Revocation::default();
        for inode in inodes {
            let Some(loaded) = inode.content.loaded.write().take() else { continue };
            outcome.files += 1;
            if let Err(error) = self.commit(inode, &loaded) {
                let what = format!("{}: {error}", inode.path().display());
                log::error!("not committed at the revocation of its key: {what}");
                outcome.uncommitted.push(what);
            }
        }
        outcome
    }
}

fn drop_all_pages(kernel: &dyn KernelCache, inodes: &[Arc<Inode>]) {
    let share = inodes.len().div_ceil(DROPPERS).max(1);
    thread::scope(|scope| {
        for inodes in inodes.chunks(share) {
            scope.spawn(move || inodes.iter().for_each(|inode| kernel.drop_pages(inode.ino)));
        }
    });
}
