//! Descriptors of directories that are kept open, so that what lies in them is found at no cost.
//!
//! There are as many as a fair part of the process's own limit, and the one that was opened first is given up for a new one. A
//! directory without one is opened from the nearest directory above it that has one, from the top down: the depth of a tree
//! costs neither stack nor more than a few descriptors.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::process::Resource;

use super::errno::Result;
use super::inode::Inode;

/// Descriptors that are kept at most, whatever the process may have.
const MOST: u64 = 8_192;
/// And at least: a directory and the one above it, for each of the event loops.
const LEAST: u64 = 128;

static LIMIT: LazyLock<usize> = LazyLock::new(|| {
    let descriptors = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    (descriptors / 4).clamp(LEAST, MOST) as usize
});

/// The directories that have one, in the order that they got it; some may have been forgotten since. Nothing else is locked while
/// this is.
static HELD: Mutex<VecDeque<Weak<Inode>>> = Mutex::new(VecDeque::new());

impl Inode {
    /// A descriptor (`O_PATH`) of this directory, kept for the next use.
    pub fn directory(self: &Arc<Self>) -> Result<Arc<OwnedFd>> {
        if self.kind() != FileType::Directory {
            return Err(Errno::NOTDIR.into());
        }
        if let Some(fd) = self.held() {
            return Ok(fd);
        }
        let mut above = Vec::new();
        let mut next = self.parent();
        while let Some(dir) = next.filter(|dir| dir.held().is_none()) {
            next = dir.parent();
            above.push(dir);
        }
        for dir in above.iter().rev() {
            dir.hold()?;
        }
        self.hold()
    }

    /// Opens this directory and keeps the descriptor.
    fn hold(self: &Arc<Self>) -> Result<Arc<OwnedFd>> {
        let fd = self.pin()?;
        if self.keep(&fd) {
            HELD.lock().push_back(Arc::downgrade(self));
            give_up_first();
        }
        Ok(fd)
    }
}

/// Gives up the descriptors that are too many: one, or two where one was in use lately.
fn give_up_first() {
    for _ in 0..2 {
        let first = {
            let mut held = HELD.lock();
            if held.len() <= *LIMIT {
                return;
            }
            held.pop_front().and_then(|first| first.upgrade())
        };
        // One that is looked through right now is busy, and so worth keeping.
        if let Some(dir) = first
            && !dir.give_up_descriptor()
        {
            HELD.lock().push_back(Arc::downgrade(&dir));
        }
    }
}
