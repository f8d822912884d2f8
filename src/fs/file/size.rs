//! Changes of size: announced in the header first, so that a kill in the middle leaves no doubt what was meant.

use std::sync::atomic::Ordering;

use super::write::Source;
use super::{CryptFile, Durability, FileError, Result};
use crate::content::layout::{CHUNK, ChunkIndex, GroupIndex, SegmentIndex, backing_size};
use crate::content::root::Member;
use crate::envelope::ResizeKind;
use crate::fs::backing::Backing;

/// Segments that a truncation removes, and their parts in the content root.
struct Leaving {
    segments: Vec<SegmentIndex>,
    members: Vec<Member>,
}

impl<B: Backing> CryptFile<B> {
    /// Sets the size; growth is a hole.
    ///
    /// # Errors
    /// [`super::FileError`]; after an error the size is the old one or the new one.
    pub fn set_size(&self, size: u64) -> Result<()> {
        self.check_writable()?;
        Self::end_of(size, 0)?;
        let _shape = self.shape.write();
        self.finish()?;
        match size.cmp(&self.size()) {
            std::cmp::Ordering::Less => self.truncate_to(size),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => self.grow_to(size),
        }
    }

    /// Grows by a hole. The caller holds `shape` for writing.
    pub(super) fn grow_to(&self, target: u64) -> Result<()> {
        let size = self.size();
        self.announce(ResizeKind::Grow, size, target)?;
        let outcome = self.extend(size, target).and_then(|()| self.announce(ResizeKind::None, target, 0));
        match outcome {
            Ok(()) => self.size.store(target, Ordering::Release),
            Err(_) => self.undo_growth(),
        }
        outcome
    }

    fn extend(&self, size: u64, target: u64) -> Result<()> {
        self.note_change();
        self.backing.set_len(backing_size(target))?;
        if size > 0 {
            self.fit_chunk(ChunkIndex::containing(size - 1), target)?;
        }
        self.begin_groups(size, target)
    }

    /// Gives a stored chunk the length that a size gives it.
    pub(super) fn fit_chunk(&self, chunk: ChunkIndex, size: u64) -> Result<()> {
        let len = chunk.len_in(size);
        let segment = self.segment(chunk.segment())?;
        {
            let mut state = segment.state.write();
            self.resolve(&segment, &mut state, chunk.in_segment())?;
            let entry = &state.entries[chunk.in_segment()];
            if len == 0 || entry.newest().is_none_or(|seal| seal.len() == len) {
                return Ok(());
            }
        }
        self.write_range(chunk.start()..chunk.start() + len as u64, Source::Kept, size)
    }

    /// As `fit_chunk`, but for a chunk of which no version is stored: whatever its length, only writing it whole heals it.
    pub(super) fn fit_if_readable(&self, chunk: ChunkIndex, size: u64) -> Result<()> {
        match self.fit_chunk(chunk, size) {
            Err(FileError::Chunk(chunk)) => {
                log::error!("chunk {chunk} is damaged and keeps its length");
                Ok(())
            }
            fitted => fitted,
        }
    }

    /// Truncates. The caller holds `shape` for writing.
    fn truncate_to(&self, target: u64) -> Result<()> {
        let size = self.size();
        let leaving = if GroupIndex::count(target) > 0 { Some(self.leaving(size, target)?) } else { None };
        // What the truncation writes to must be readable before there is no way back.
        self.segment(last_segment(target))?;
        self.announce(ResizeKind::Truncate, target, target)?;
        // From here on there is no way back: what fails below is ended before the next change, or by recovery.
        self.truncations.fetch_add(1, Ordering::AcqRel);
        self.note_change();
        self.size.store(target, Ordering::Release);
        let outcome = self.shrink(size, target, leaving.as_ref()).and_then(|()| self.announce_cut(target));
        outcome.inspect_err(|_| self.interrupted())
    }

    /// Says that nothing lies behind `size` any more. In strict mode that is on disk by then: what lay there would come back.
    fn announce_cut(&self, size: u64) -> Result<()> {
        if self.durability == Durability::Strict {
            self.backing.sync()?;
        }
        self.announce(ResizeKind::None, size, 0)
    }

    /// Takes everything behind `target` away.
    fn shrink(&self, size: u64, target: u64, leaving: Option<&Leaving>) -> Result<()> {
        if target > 0 {
            self.fit_chunk(ChunkIndex::containing(target - 1), target)?;
        }
        self.cut(target)?;
        self.clear_behind(target)?;
        let Some(leaving) = leaving else {
            self.keep_first_segment();
            return Ok(());
        };
        let kept_groups = GroupIndex::count(target);
        let in_kept_groups =
            |segment: &&SegmentIndex| segment.group().is_some_and(|(group, _)| group.0 < kept_groups);
        let unmarked: Vec<_> = leaving.segments.iter().filter(in_kept_groups).copied().collect();
        // Before that: a sector of theirs whose last write failed is not written again.
        self.end_groups(size, target);
        self.mark(&unmarked, false)?;
        leaving.members.iter().for_each(|member| self.replace_member(Some(member), None));
        self.segments.forget_behind(last_segment(target));
        Ok(())
    }

    /// Forgets everything but the first segment, where the file ends: its tags alone are the content root, whatever and how much there
    /// was behind it.
    fn keep_first_segment(&self) {
        self.forget_groups_behind(0);
        self.segments.forget_behind(SegmentIndex(0));
        *self.root.lock() = self.segments.first().state.read().root();
    }

    /// Cuts the backing file, or extends it. In strict mode what the last chunk was shortened to is on disk before the cut, which its
    /// longer version does not survive.
    fn cut(&self, size: u64) -> Result<()> {
        if self.durability == Durability::Strict {
            self.backing.sync()?;
        }
        Ok(self.backing.set_len(backing_size(size))?)
    }

    /// The segments that exist wholly behind `target`, with their members; they are read while they are still there.
    fn leaving(&self, size: u64, target: u64) -> Result<Leaving> {
        let mut leaving = Leaving { segments: Vec::new(), members: Vec::new() };
        let last = last_segment(target);
        let first_group = last.group().map_or(0, |(group, _)| group.0);
        for group in first_group..GroupIndex::count(size) {
            for segment in self.present_segments(GroupIndex(group))?.into_iter().filter(|one| *one > last) {
                match self.segment(segment) {
                    Ok(segment) => leaving.members.extend_from_slice(&segment.state.read().members),
                    // Damaged, and about to be gone: the content root is counted anew without it.
                    Err(FileError::Sector(..)) => self.uncertain.store(true, Ordering::Release),
                    Err(error) => return Err(error),
                }
                leaving.segments.push(segment);
            }
        }
        Ok(leaving)
    }

    /// Makes the chunks behind `size` holes in the segment that it lies in.
    pub(super) fn clear_behind(&self, size: u64) -> Result<()> {
        let index = last_segment(size);
        let segment = self.segment(index)?;
        let mut state = segment.state.write();
        let kept = size.div_ceil(CHUNK as u64).saturating_sub(index.first_chunk().0) as usize;
        let behind = state.entries.iter().skip(kept).any(|entry| !entry.is_hole());
        if !state.present || !behind {
            return Ok(());
        }
        let chunks = kept..state.entries.len();
        self.make_holes(&segment, &mut state, chunks)
    }

    /// After a growth that failed: nothing is left of it, now or before the next change.
    pub(super) fn undo_growth(&self) {
        self.interrupted();
        if let Err(error) = self.finish() {
            log::warn!("a failed growth from {} bytes is not undone yet: {error}", self.size());
        }
    }

    /// Ends what a failed change of size or header began: the file on disk has the size that it has here, and its header says so. The
    /// caller holds `shape` for writing.
    pub(super) fn finish(&self) -> Result<()> {
        if !self.is_unfinished() {
            return Ok(());
        }
        let size = self.size();
        self.note_write();
        self.tidy(size)?;
        self.announce_cut(size)?;
        self.unfinished.store(false, Ordering::Release);
        Ok(())
    }

    /// Takes everything behind `size` away, as far as it is there: after a change that failed or was killed.
    pub(super) fn tidy(&self, size: u64) -> Result<()> {
        if size > 0 {
            self.fit_if_readable(ChunkIndex::containing(size - 1), size)?;
        }
        self.cut(size)?;
        self.forget_groups_behind(size);
        self.clear_behind(size)?;
        self.unmark_behind(size)
    }
}

/// The segment that the last byte of a size lies in.
pub(super) fn last_segment(size: u64) -> SegmentIndex {
    ChunkIndex::containing(size.saturating_sub(1)).segment()
}
