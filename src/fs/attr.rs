//! File attributes as the mount shows them.

use std::time::Duration;

use rustix::fs::{FileType, Stat};

use crate::content::layout;

/// How long the kernel may keep attributes and names without asking again, when nothing forbids it.
///
/// One read-write mount owns a volume, so this only bounds how long a change made beneath the mount goes unseen.
pub const CACHE_TIME: Duration = Duration::from_secs(1);

/// What `stat` answers for an inode of the mount.
#[derive(Debug, Clone, Copy)]
pub struct Attr {
    /// The mount's inode number.
    pub ino: u64,
    /// The size as programs see it, in bytes.
    pub size: u64,
    /// Everything else, as the backing file has it.
    pub stat: Stat,
    /// How long the kernel may keep this.
    pub ttl: Duration,
}

impl Attr {
    /// Attributes of `stat` under the number `ino`. The size of a regular file is computed from its ciphertext's
    /// size; `open_size` overrides it while the file is open, since ciphertext may then be ahead of its header.
    pub fn new(ino: u64, stat: Stat, open_size: Option<u64>, ttl: Duration) -> Self {
        let backing = u64::try_from(stat.st_size).unwrap_or(0);
        let size = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => open_size.unwrap_or_else(|| layout::plain_size(backing).size),
            _ => backing,
        };
        Self { ino, size, stat, ttl }
    }

    /// What kind of file it is.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}
