//! Holes: punching and finding them, and reserving space.

use std::ops::Range;

use super::segment::{Segment, SegmentState};
use super::write::Source;
use super::{CryptFile, Durability, Result};
use crate::content::Entry;
use crate::content::layout::{CHUNK, CHUNKS_PER_SECTOR, ChunkIndex, GroupIndex, PAGE, SegmentIndex};
use crate::fs::backing::Backing;

impl<B: Backing> CryptFile<B> {
    /// Makes a range read as zeros and gives its space back; the size stays.
    ///
    /// # Errors
    /// [`super::FileError`].
    pub fn punch_hole(&self, offset: u64, len: u64) -> Result<()> {
        self.check_writable()?;
        let _shape = self.shape.write();
        self.finish()?;
        self.punch_within(offset..offset.saturating_add(len).min(self.size()))
    }

    /// Makes a range read as zeros; without `keep_size` the file grows to its end.
    ///
    /// # Errors
    /// [`super::FileError`].
    pub fn zero_range(&self, offset: u64, len: u64, keep_size: bool) -> Result<()> {
        self.check_writable()?;
        let end = Self::end_of(offset, len)?;
        let _shape = self.shape.write();
        self.finish()?;
        self.punch_within(offset..end.min(self.size()))?;
        if !keep_size && end > self.size() { self.grow_to(end) } else { Ok(()) }
    }

    /// Reserves the space of a range; without `keep_size` the file grows to its end. What was a hole reads as zeros still.
    ///
    /// # Errors
    /// [`super::FileError`]: `ENOSPC`, and `EOPNOTSUPP` where the backing filesystem cannot.
    pub fn allocate(&self, offset: u64, len: u64, keep_size: bool) -> Result<()> {
        self.check_writable()?;
        let end = Self::end_of(offset, len)?;
        let _shape = self.shape.write();
        self.finish()?;
        let first = ChunkIndex::containing(offset);
        let last = ChunkIndex::containing(end.saturating_sub(1));
        // The tag page of the first chunk's segment lies before it.
        let from = match first.segment() {
            SegmentIndex(0) => first.backing_offset(),
            segment => segment.tags_offset(),
        };
        self.backing.allocate(from, last.backing_offset() + PAGE - from)?;
        if !keep_size && end > self.size() { self.grow_to(end) } else { Ok(()) }
    }

    /// The first offset from `offset` on that is not in a hole; `None` where there is none before the end.
    ///
    /// # Errors
    /// [`super::FileError`].
    pub fn seek_data(&self, offset: u64) -> Result<Option<u64>> {
        let _shape = self.shape.read();
        let size = self.size();
        if offset >= size {
            return Ok(None);
        }
        let first = ChunkIndex::containing(offset).segment();
        for segment in self.segments_from(first, size) {
            let segment = segment?;
            let from = ChunkIndex::containing(offset.max(segment.start())).in_segment();
            let found = self.find_in(segment, from, |entry| !entry.is_hole())?;
            if let Some(chunk) = found.filter(|chunk| chunk.start() < size) {
                return Ok(Some(offset.max(chunk.start())));
            }
        }
        Ok(None)
    }

    /// The first offset from `offset` on that is in a hole; the end counts as one. `None` at or behind the end.
    ///
    /// # Errors
    /// [`super::FileError`].
    pub fn seek_hole(&self, offset: u64) -> Result<Option<u64>> {
        let _shape = self.shape.read();
        let size = self.size();
        if offset >= size {
            return Ok(None);
        }
        let mut segment = ChunkIndex::containing(offset).segment();
        while segment.start() < size {
            let from = ChunkIndex::containing(offset.max(segment.start())).in_segment();
            if let Some(chunk) = self.find_in(segment, from, Entry::is_hole)? {
                return Ok(Some(offset.max(chunk.start()).min(size)));
            }
            segment.0 += 1;
        }
        Ok(Some(size))
    }

    /// The segments from `first` on that exist, each group's when they are asked for.
    fn segments_from(
        &self,
        first: SegmentIndex,
        size: u64,
    ) -> impl Iterator<Item = Result<SegmentIndex>> + use<'_, B> {
        let zero = (first.0 == 0).then_some(Ok(SegmentIndex(0)));
        let groups = first.group().map_or(0, |(group, _)| group.0)..GroupIndex::count(size);
        let present = groups.flat_map(move |group| match self.present_segments(GroupIndex(group)) {
            Ok(present) => present.into_iter().filter(|segment| *segment >= first).map(Ok).collect(),
            Err(error) => vec![Err(error)],
        });
        zero.into_iter().chain(present)
    }

    fn find_in(
        &self,
        index: SegmentIndex,
        from: usize,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<Option<ChunkIndex>> {
        let segment = self.segment(index)?;
        let state = segment.state.read();
        let found = state.entries[from..].iter().position(wanted);
        Ok(found.map(|number| ChunkIndex(index.first_chunk().0 + (from + number) as u64)))
    }

    /// Punches within the file. The caller holds `shape`.
    fn punch_within(&self, range: Range<u64>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let size = self.size();
        self.acknowledge(size)?;
        let chunk = CHUNK as u64;
        let first_whole = range.start.div_ceil(chunk);
        // The last chunk of a file is whole although it is short.
        let end_whole = if range.end == size { size.div_ceil(chunk) } else { range.end / chunk };
        if first_whole > end_whole {
            return self.zero_stored(range, size);
        }
        self.zero_stored(range.start..(first_whole * chunk).min(range.end), size)?;
        self.zero_stored((end_whole * chunk).max(range.start).min(range.end)..range.end, size)?;
        let whole = first_whole..end_whole;
        if whole.is_empty() {
            return Ok(());
        }
        for segment in self.segments_from(ChunkIndex(whole.start).segment(), size) {
            let segment = segment?;
            if segment.first_chunk().0 >= whole.end {
                break;
            }
            self.punch_segment(segment, &whole)?;
        }
        Ok(())
    }

    /// Writes zeros over a part of one chunk, where it is stored.
    fn zero_stored(&self, range: Range<u64>, size: u64) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let chunk = ChunkIndex::containing(range.start);
        let segment = self.segment(chunk.segment())?;
        let is_hole = segment.state.read().entries[chunk.in_segment()].is_hole();
        if is_hole { Ok(()) } else { self.write_range(range, Source::Zeros, size) }
    }

    /// Has the tags say that chunks are holes. Where that fails they are what they were: whether the tags on disk say so or not,
    /// the next write of one of them then begins with its tags.
    pub(super) fn make_holes(
        &self,
        segment: &Segment,
        state: &mut SegmentState,
        chunks: Range<usize>,
    ) -> Result<()> {
        self.note_change();
        let before = state.entries[chunks.clone()].to_vec();
        state.entries[chunks.clone()].fill(Entry::Hole);
        let sectors = chunks.start / CHUNKS_PER_SECTOR..=(chunks.end - 1) / CHUNKS_PER_SECTOR;
        let written = self.write_sectors(segment, state, *sectors.start(), *sectors.end());
        if written.is_err() {
            state.entries[chunks].clone_from_slice(&before);
        }
        written
    }

    /// Makes holes of the chunks of one segment that lie in `chunks`: first the tags say so, then the space is given back.
    fn punch_segment(&self, index: SegmentIndex, chunks: &Range<u64>) -> Result<()> {
        let base = index.first_chunk().0;
        let from = chunks.start.max(base) - base;
        let to = chunks.end.min(base + index.chunks() as u64) - base;
        let (from, to) = (from as usize, to as usize);
        let segment = self.segment(index)?;
        let mut state = segment.state.write();
        if from >= to || state.entries[from..to].iter().all(Entry::is_hole) {
            return Ok(());
        }
        self.make_holes(&segment, &mut state, from..to)?;
        if self.durability == Durability::Strict {
            self.backing.sync()?;
        }
        let offset = ChunkIndex(base + from as u64).backing_offset();
        Ok(self.backing.punch(offset, (to - from) as u64 * PAGE)?)
    }
}
