//! Segments in memory: their keys and the entries of their tag sectors, read once and written through.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use super::{CryptFile, Durability, FileError, Result};
use crate::content::Entry;
use crate::content::keys::SegmentKeys;
use crate::content::layout::{CHUNKS_PER_SECTOR, SECTOR, SegmentIndex};
use crate::content::root::{self, Member, Root};
use crate::content::sector::{self, Entries, Place, SectorBytes};
use crate::crypto::{Nonce, rng};
use crate::fs::backing::Backing;

/// Segments that an open file keeps in memory at most, but for those in use: 4 KiB each, so 8 MiB for 512 MiB of content.
const KEPT: usize = 2048;
/// Segments that all open files together keep, 128 MiB of them: from then on each file keeps [`KEPT_LEAST`]. A database may have
/// hundreds of large files open.
const KEPT_IN_ALL: usize = 32 * 1024;
const KEPT_LEAST: usize = 64;
/// How many that are now.
static IN_ALL: AtomicUsize = AtomicUsize::new(0);

/// One segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub index: SegmentIndex,
    pub keys: SegmentKeys,
    pub state: RwLock<SegmentState>,
    /// Whether `state` is what is on disk; held while it is read.
    read: Mutex<bool>,
}

impl Segment {
    /// A segment whose state is known.
    pub fn known(index: SegmentIndex, keys: SegmentKeys, state: SegmentState) -> Self {
        Self { index, keys, state: RwLock::new(state), read: Mutex::new(true) }
    }

    fn unread(index: SegmentIndex, keys: SegmentKeys) -> Self {
        let state = RwLock::new(SegmentState::hole(index));
        Self { index, keys, state, read: Mutex::new(false) }
    }
}

/// What its tag sectors say.
#[derive(Debug)]
pub(super) struct SegmentState {
    /// Whether it exists on disk; otherwise it is one hole, and its tag page means nothing.
    pub present: bool,
    /// Whether its index bit is known to be set on disk. Whoever writes to it before that sets it too: what is acknowledged must not
    /// hang on the write of someone else.
    pub marked: bool,
    /// An entry a chunk. An overwrite that was completed here is one version, whatever is on disk still.
    pub entries: Vec<Entry>,
    /// Each sector's part in the content root, while the segment is present.
    pub members: Vec<Member>,
    /// A bit a sector: set while the sector on disk may hold an entry with two versions, or its last write failed.
    pub unsettled: u8,
}

impl SegmentState {
    /// A segment that is one hole.
    pub fn hole(index: SegmentIndex) -> Self {
        Self {
            present: false,
            marked: false,
            entries: vec![Entry::Hole; index.chunks()],
            members: vec![Member::default(); index.sectors()],
            unsettled: 0,
        }
    }

    /// A segment that exists and holds nothing.
    pub fn empty(index: SegmentIndex) -> Self {
        Self { present: true, marked: true, ..Self::hole(index) }
    }

    /// The entries of a sector.
    pub fn sector(&self, sector: usize) -> &Entries {
        self.entries[sector * CHUNKS_PER_SECTOR..].first_chunk().expect("a sector has 8 entries")
    }

    /// What its sectors, all of them, are in the content root.
    pub fn root(&self) -> Root {
        let mut root = Root::default();
        self.members.iter().for_each(|member| root.toggle(member));
        root
    }

    /// Notes that a sector is on disk as it is here.
    pub fn note_written(&mut self, sector: usize) {
        let bit = 1 << sector;
        if self.has_two(sector) {
            self.unsettled |= bit;
        } else {
            self.unsettled &= !bit;
        }
    }

    /// Whether an entry of a sector has two versions in memory.
    pub fn has_two(&self, sector: usize) -> bool {
        self.sector(sector).iter().any(|entry| matches!(entry, Entry::Two(_)))
    }
}

/// The segments in memory.
#[derive(Debug)]
pub(super) struct Segments {
    first: Arc<Segment>,
    others: RwLock<HashMap<u64, Arc<Segment>>>,
}

impl Segments {
    pub fn new(first: Segment) -> Self {
        Self { first: Arc::new(first), others: RwLock::default() }
    }

    /// Segment 0.
    pub fn first(&self) -> Arc<Segment> {
        self.first.clone()
    }

    /// The segment of a number, made where it is not in memory.
    fn kept(&self, index: SegmentIndex, make: impl FnOnce() -> Segment) -> Arc<Segment> {
        if let Some(segment) = self.others.read().get(&index.0) {
            return segment.clone();
        }
        let mut others = self.others.write();
        let most = if IN_ALL.load(Ordering::Relaxed) < KEPT_IN_ALL { KEPT } else { KEPT_LEAST };
        if others.len() >= most {
            // Nobody can begin to use one while the map is locked; what is written through can be forgotten.
            let mut left = most / 2;
            retain(&mut others, |_, segment| {
                left = left.saturating_sub(1);
                left > 0 || Arc::strong_count(segment) > 1
            });
        }
        let made = || {
            IN_ALL.fetch_add(1, Ordering::Relaxed);
            Arc::new(make())
        };
        others.entry(index.0).or_insert_with(made).clone()
    }

    /// Forgets the segments behind one; nobody uses them.
    pub fn forget_behind(&self, last: SegmentIndex) {
        retain(&mut self.others.write(), |number, _| number <= last.0);
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        retain(self.others.get_mut(), |_, _| false);
    }
}

/// Forgets the segments that `stays` is false of.
fn retain(segments: &mut HashMap<u64, Arc<Segment>>, mut stays: impl FnMut(u64, &Arc<Segment>) -> bool) {
    let before = segments.len();
    segments.retain(|number, segment| stays(*number, segment));
    IN_ALL.fetch_sub(before - segments.len(), Ordering::Relaxed);
}

impl<B: Backing> CryptFile<B> {
    /// A segment, from memory or from disk.
    pub(super) fn segment(&self, index: SegmentIndex) -> Result<Arc<Segment>> {
        if index.0 == 0 {
            return Ok(self.segments.first());
        }
        let segment = self.segments.kept(index, || Segment::unread(index, self.keys.segment(index)));
        let mut read = segment.read.lock();
        if !*read {
            if self.is_present(index)? {
                let mut state = self.read_segment(index, &segment.keys)?;
                state.marked = !self.mark_is_pending(index);
                *segment.state.write() = state;
            }
            *read = true;
        }
        drop(read);
        Ok(segment)
    }

    /// Reads and opens the tag sectors of a segment that is present.
    pub(super) fn read_segment(&self, index: SegmentIndex, keys: &SegmentKeys) -> Result<SegmentState> {
        let mut page = [0; CHUNKS_PER_SECTOR * SECTOR];
        let page = &mut page[..index.sectors() * SECTOR];
        self.backing.read_at(index.tags_offset(), page)?;
        self.open_segment(index, keys, page)
    }

    /// Opens the tag sectors of a segment.
    pub(super) fn open_segment(
        &self,
        index: SegmentIndex,
        keys: &SegmentKeys,
        page: &[u8],
    ) -> Result<SegmentState> {
        let mut state = SegmentState::empty(index);
        for (number, bytes) in page.chunks_exact(SECTOR).enumerate() {
            let bytes: &SectorBytes = bytes.try_into().expect("a sector's bytes");
            let place = Place::Tags(index.0, number as u8);
            let entries = sector::open_tags(&keys.tags, self.file_id(), place, self.sequence(), bytes)
                .map_err(|error| FileError::Sector(place, error))?;
            let from = number * CHUNKS_PER_SECTOR;
            state.entries[from..from + CHUNKS_PER_SECTOR].clone_from_slice(&entries);
            state.members[number] = root::member(&self.root_key, place, bytes);
            if state.has_two(number) {
                state.unsettled |= 1 << number;
            }
        }
        if state.unsettled != 0 {
            self.unsettled.lock().insert(index.0);
        }
        Ok(state)
    }

    /// A sector of a segment as it is in memory, sealed.
    pub(super) fn seal_sector(
        &self,
        segment: &Segment,
        state: &SegmentState,
        number: usize,
        epoch: u64,
        nonce: &Nonce,
    ) -> SectorBytes {
        let place = Place::Tags(segment.index.0, number as u8);
        sector::seal_tags(&segment.keys.tags, self.file_id(), place, epoch, state.sector(number), nonce)
    }

    /// A sector's part in the content root.
    pub(super) fn sector_member(&self, segment: &Segment, number: usize, bytes: &SectorBytes) -> Member {
        root::member(&self.root_key, Place::Tags(segment.index.0, number as u8), bytes)
    }

    /// Writes the sectors `from..=to` of a segment that is present, in one write.
    pub(super) fn write_sectors(
        &self,
        segment: &Segment,
        state: &mut SegmentState,
        from: usize,
        to: usize,
    ) -> Result<()> {
        self.before_giving_up(state, from, to)?;
        let mut page = [0; CHUNKS_PER_SECTOR * SECTOR];
        let mut members = [Member::default(); CHUNKS_PER_SECTOR];
        let nonces = rng::nonces::<CHUNKS_PER_SECTOR>();
        for number in from..=to {
            let bytes = self.seal_sector(segment, state, number, self.epoch(), &nonces[number]);
            members[number] = self.sector_member(segment, number, &bytes);
            page[(number - from) * SECTOR..][..SECTOR].copy_from_slice(&bytes);
        }
        let offset = segment.index.tags_offset() + (from * SECTOR) as u64;
        let written = self.backing.write_at(offset, &[&page[..(to - from + 1) * SECTOR]]);
        if written.is_err() {
            (from..=to).for_each(|number| state.unsettled |= 1 << number);
            self.unsettled.lock().insert(segment.index.0);
        }
        self.doubt(written)?;
        for (number, member) in members.iter().enumerate().take(to + 1).skip(from) {
            self.replace_member(Some(&state.members[number]), Some(member));
            state.members[number] = *member;
            state.note_written(number);
        }
        Ok(())
    }

    /// In strict mode, before sectors are written that give previous versions of chunks up: the current ones must be on disk.
    pub(super) fn before_giving_up(&self, state: &SegmentState, from: usize, to: usize) -> Result<()> {
        let two = (from..=to).any(|number| state.unsettled >> number & 1 != 0);
        if self.durability == Durability::Strict && two {
            self.backing.sync()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::keys::FileKeys;
    use crate::crypto::Secret;
    use crate::envelope::FileId;

    #[test]
    fn many_open_files_keep_no_more_than_a_few_segments_each() {
        const FILES: usize = 24;
        let keys = FileKeys::new(&Secret::random(), FileId([1; 16]));
        let unread = |number| Segment::unread(SegmentIndex(number), keys.segment(SegmentIndex(number)));
        let files: Vec<_> = (0..FILES).map(|_| Segments::new(unread(0))).collect();
        for file in &files {
            (1..=KEPT as u64).for_each(|number| drop(file.kept(SegmentIndex(number), || unread(number))));
        }
        let kept = || files.iter().map(|file| file.others.read().len()).sum::<usize>();
        assert!(kept() > KEPT_IN_ALL / 2 && kept() <= KEPT_IN_ALL + FILES * KEPT_LEAST, "{}", kept());
        assert!(IN_ALL.load(Ordering::Relaxed) >= kept());
        drop(files);
        assert!(IN_ALL.load(Ordering::Relaxed) < KEPT_IN_ALL);
    }
}
