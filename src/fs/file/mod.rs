//! The engine of one open file: executes reads, writes and changes of size on its ciphertext, in the orders that keep it whole
//! when the process is killed at any instant.
//!
//! It obeys the rules of `docs/FORMAT.md`, section 6: kill-safe (1: each chunk is wholly old or wholly new, and never a hole for
//! data), dirty before the first change (5), floor (6), epochs (7) and recovery (8). After a write that failed, what memory says
//! holds whether or not that write was done on disk; what a failed change began is ended before the next one. It knows nothing of inodes, keys' life cycles or
//! names.
//!
//! Lock order: `shape`, then `head`, then a segment, then `index`, then `root`.

mod commit;
mod create;
mod error;
mod examine;
mod finding;
mod head;
mod holes;
mod index;
mod look;
mod read;
mod recover;
mod repair;
mod scrub;
mod segment;
mod size;
mod write;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

pub use create::Identity;
pub use error::{FileError, Result};
pub use examine::{Examination, Part, Summary};
pub use finding::Finding;
pub use repair::{Done, Repair, repair};
pub use scrub::ScrubReport;

use super::backing::Backing;
use crate::content::keys::FileKeys;
use crate::content::layout;
use crate::content::root::{Member, Root};
use crate::crypto::mac::MacKey;
use crate::envelope::{FileId, Header};
use head::Head;
use index::Index;
use segment::Segments;

/// What reaches the disk when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// What fsync confirmed survives a loss of power, but for a chunk that was being overwritten when it happened.
    #[default]
    Default,
    /// Also that chunk: tags reach the disk before data, and data before its previous version is given up.
    Strict,
}

/// What runs a write to the backing file and sees to what it changes beside the content.
pub type Around<'a> = dyn Fn(&mut dyn FnMut() -> Result<()>) -> Result<()> + 'a;

/// An open file. It wipes its keys when it is dropped; what was not committed is recovered at the next open.
#[derive(Debug)]
pub struct CryptFile<B> {
    backing: B,
    keys: FileKeys,
    root_key: MacKey,
    header_key: MacKey,
    writable: bool,
    durability: Durability,
    /// Held for reading by what leaves the size as it is, for writing by what changes it.
    shape: RwLock<()>,
    size: AtomicU64,
    head: Mutex<Head>,
    /// The sequence number in force: no sector may have a later epoch.
    sequence: AtomicU64,
    /// The epoch that tag and index sectors are stamped with: the number of a header that is on disk if they are.
    stamp: AtomicU64,
    dirty: AtomicBool,
    /// The size that the header in force commits, while that header need not be on disk; else 0.
    floor_ahead: AtomicU64,
    /// A write of tags, index or header failed: what is on disk has to be looked at before the file can be clean.
    uncertain: AtomicBool,
    /// A change of size or a header failed half-way: what it began has to be ended before the next change.
    unfinished: AtomicBool,
    /// Writes so far of which a clean header must not be on disk without them, each counted before it is made.
    written: AtomicU64,
    /// How many of them are known to be on disk.
    synced: AtomicU64,
    /// Changes of content so far, each counted before it is made.
    changes: AtomicU64,
    /// Truncations so far: what lay below the size before one need not lie there after it.
    truncations: AtomicU64,
    segments: Segments,
    index: Mutex<Index>,
    root: Mutex<Root>,
    /// Segments whose tag sectors on disk may hold entries with two versions.
    unsettled: Mutex<BTreeSet<u64>>,
}

impl<B: Backing> CryptFile<B> {
    /// The plain size in bytes.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Where the ciphertext lies.
    pub fn backing(&self) -> &B {
        &self.backing
    }

    /// Whether there are changes since the last commit.
    pub fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// Whether it is new, and nothing was written to it yet (rule 10): its header is dirty, and it is as good as clean.
    pub fn is_new(&self) -> bool {
        self.head.lock().header.dirty && !self.is_dirty()
    }

    /// Whether it can be written.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// The header in force.
    pub fn header(&self) -> Header {
        self.head.lock().header.clone()
    }

    /// How often the content was changed since the file was opened. Every change that it counts is wholly done.
    pub fn changes(&self) -> u64 {
        let _shape = self.shape.write();
        self.changes.load(Ordering::Acquire)
    }

    /// Notes that content is about to change. The caller holds `shape` either way.
    fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.note_write();
    }

    /// Notes that something is about to be written that a clean header relies on.
    fn note_write(&self) {
        self.written.fetch_add(1, Ordering::AcqRel);
    }

    fn file_id(&self) -> FileId {
        self.keys.file_id()
    }

    /// The sequence number in force.
    fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// What tag and index sectors are stamped with.
    fn epoch(&self) -> u64 {
        self.stamp.load(Ordering::Acquire)
    }

    /// Replaces a sector's part in the content root.
    fn replace_member(&self, old: Option<&Member>, new: Option<&Member>) {
        let mut root = self.root.lock();
        old.into_iter().chain(new).for_each(|member| root.toggle(member));
    }

    /// Notes that a write of tags, index or header failed.
    fn doubt<T>(&self, outcome: std::io::Result<T>) -> Result<T> {
        outcome.map_err(|error| {
            self.uncertain.store(true, Ordering::Release);
            error.into()
        })
    }

    /// Notes that a change of size or a header failed half-way. The caller holds `shape`.
    fn interrupted(&self) {
        self.uncertain.store(true, Ordering::Release);
        self.unfinished.store(true, Ordering::Release);
    }

    fn is_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Acquire)
    }

    fn check_writable(&self) -> Result<()> {
        if self.writable { Ok(()) } else { Err(FileError::ReadOnly) }
    }

    /// The end of a range, within the largest size.
    fn end_of(offset: u64, len: u64) -> Result<u64> {
        offset.checked_add(len).filter(|end| *end <= layout::MAX_SIZE).ok_or(FileError::TooLarge)
    }
}
