//! Recovery: what a kill left, made whole.
//!
//! The header says which change of size was under way; the entries say what is stored. A truncation is completed, a growth by a
//! hole undone, and a file that was being appended to ends where its last chunk with an entry does.

use std::sync::atomic::Ordering;

use super::size::last_segment;
use super::{CryptFile, FileError, Result};
use crate::content::Entry;
use crate::content::layout::{ChunkIndex, GroupIndex, SegmentIndex, backing_size, plain_size};
use crate::content::root::Root;
use crate::content::sector::SectorError;
use crate::envelope::{Header, ResizeKind};
use crate::fs::backing::Backing;

impl<B: Backing> CryptFile<B> {
    /// Makes a dirty file whole, and clean when it can be written. A chunk of which neither version is stored, or a segment below the
    /// floor whose tags are not (both after a loss of power), keeps it dirty; the rest can be used, and writing the whole chunk heals it.
    pub(super) fn recover(&self) -> Result<()> {
        let header = self.header();
        let size = self.surviving_size(&header)?;
        self.size.store(size, Ordering::Release);
        if self.writable { self.conclude(size) } else { Ok(()) }
    }

    /// Ends the recovery of a file that has `size` bytes; its header is dirty.
    pub(super) fn conclude(&self, size: u64) -> Result<()> {
        match self.tidy(size).and_then(|()| self.fit_all(size)).and_then(|()| self.take_stock(size)) {
            Ok(()) => (),
            Err(error @ (FileError::Unsettled(_) | FileError::Sector(..))) => {
                log::error!(
                    "not wholly recovered, and left dirty: {error} (kmsfs scrub --repair settles it)"
                );
                self.uncertain.store(true, Ordering::Release);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.backing.sync()?;
        let mut head = self.head.lock();
        self.write_clean(&mut head, true)?;
        self.backing.sync()?;
        self.note_durable(&mut head);
        Ok(())
    }

    /// Gives every stored chunk the length that `size` gives it: a loss of power may have kept a growth and not the padding of the
    /// chunk that was the last one before it.
    fn fit_all(&self, size: u64) -> Result<()> {
        self.fit_segment(SegmentIndex(0), size)?;
        for group in 0..GroupIndex::count(size) {
            for segment in self.present_segments(GroupIndex(group))? {
                self.fit_segment(segment, size)?;
            }
        }
        Ok(())
    }

    fn fit_segment(&self, index: SegmentIndex, size: u64) -> Result<()> {
        let segment = self.segment(index)?;
        let unfit: Vec<_> = {
            let state = segment.state.read();
            let chunk = |number: usize| ChunkIndex(index.first_chunk().0 + number as u64);
            let fits = |number: usize| match &state.entries[number] {
                Entry::Hole => true,
                Entry::One(seal) => seal.len() == chunk(number).len_in(size),
                // Which version is stored, and so its length, is found out.
                Entry::Two(_) => false,
            };
            (0..index.chunks()).filter(|number| !fits(*number)).map(chunk).collect()
        };
        unfit.into_iter().try_for_each(|chunk| self.fit_if_readable(chunk, size))
    }

    /// The size that a dirty file has after a kill.
    fn surviving_size(&self, header: &Header) -> Result<u64> {
        let found = self.backing.len()?;
        let floor = backing_size(header.committed_size);
        if found < floor {
            return Err(FileError::Length { expected: floor, found });
        }
        let stored = plain_size(found).size;
        // Entries are looked for as far as the backing file reaches.
        self.size.store(stored, Ordering::Release);
        let readable = self.readable(header.committed_size, stored)?;
        self.size.store(readable, Ordering::Release);
        match header.resize {
            ResizeKind::Truncate => Ok(header.target_size.min(readable)),
            ResizeKind::Grow => Ok(header.acknowledged_size.min(readable)),
            ResizeKind::None | ResizeKind::Append => {
                let end = match self.end_of_entries() {
                    // Below the floor a segment may be unreadable, and is no reason to cut.
                    Err(FileError::Sector(..)) => readable,
                    end => end?,
                };
                Ok(end.max(header.acknowledged_size).min(readable))
            }
        }
    }

    /// How far the sectors above the floor can be read, and at most `stored`. A loss of power may have kept the index bit of a new
    /// segment and not its tags; what lies there was never promised, and a file must not be lost with it.
    fn readable(&self, floor: u64, stored: u64) -> Result<u64> {
        let kept = GroupIndex::count(floor);
        for group in (kept.saturating_sub(1)..GroupIndex::count(stored)).map(GroupIndex) {
            let present = match self.present_segments(group) {
                Err(error) if group.0 >= kept && is_unwritten(&error) => {
                    return Ok(group.first_segment().start());
                }
                // Whoever reads below it is told.
                Err(FileError::Sector(..)) if group.0 < kept => continue,
                present => present?,
            };
            for segment in present.into_iter().filter(|one| one.start() >= floor && one.start() < stored) {
                match self.segment(segment) {
                    Err(error) if is_unwritten(&error) => return Ok(segment.start()),
                    read => drop(read?),
                }
            }
        }
        Ok(stored)
    }

    /// The plain offset behind the last chunk that has an entry.
    fn end_of_entries(&self) -> Result<u64> {
        for group in (0..GroupIndex::count(self.size())).rev() {
            for segment in self.present_segments(GroupIndex(group))?.into_iter().rev() {
                if segment.start() < self.size()
                    && let Some(end) = self.end_in(segment)?
                {
                    return Ok(end);
                }
            }
        }
        Ok(self.end_in(SegmentIndex(0))?.unwrap_or(0))
    }

    fn end_in(&self, index: SegmentIndex) -> Result<Option<u64>> {
        let segment = self.segment(index)?;
        let mut state = segment.state.write();
        let Some(last) = state.entries.iter().rposition(|entry| !entry.is_hole()) else { return Ok(None) };
        self.resolve(&segment, &mut state, last)?;
        let chunk = ChunkIndex(index.first_chunk().0 + last as u64);
        Ok(state.entries[last].newest().map(|seal| chunk.start() + seal.len() as u64))
    }

    /// Clears the index bits of segments that lie wholly behind `size`, in the group where it ends.
    pub(super) fn unmark_behind(&self, size: u64) -> Result<()> {
        let last = last_segment(size);
        self.segments.forget_behind(last);
        let Some(group) = GroupIndex::count(size).checked_sub(1) else { return Ok(()) };
        let behind: Vec<_> =
            self.present_segments(GroupIndex(group))?.into_iter().filter(|segment| *segment > last).collect();
        self.mark(&behind, false)
    }

    /// Looks at every sector of the file: settles chunks with two versions, and counts the content root anew.
    pub(super) fn take_stock(&self, size: u64) -> Result<()> {
        self.unsettled.lock().clear();
        self.note_write();
        self.mark(&[], true)?;
        self.settle_segment(SegmentIndex(0))?;
        for group in 0..GroupIndex::count(size) {
            for segment in self.present_segments(GroupIndex(group))? {
                self.settle_segment(segment)?;
            }
        }
        let root = self.count_root(size)?;
        *self.root.lock() = root;
        self.uncertain.store(false, Ordering::Release);
        Ok(())
    }

    /// The content root of what is on disk. Segments are read anew: what memory says of them is not asked.
    pub(super) fn count_root(&self, size: u64) -> Result<Root> {
        let mut root = Root::default();
        let mut add = |members: &[_]| members.iter().for_each(|member| root.toggle(member));
        let first = self.segments.first();
        let members = self.read_segment(first.index, &first.keys)?.members;
        first.state.write().members.copy_from_slice(&members);
        add(&members);
        for group in 0..GroupIndex::count(size) {
            add(&self.read_index_members(GroupIndex(group))?);
            for index in self.present_segments(GroupIndex(group))? {
                let segment = self.segment(index)?;
                let members = self.read_segment(index, &segment.keys)?.members;
                segment.state.write().members.copy_from_slice(&members);
                add(&members);
            }
        }
        Ok(root)
    }
}

/// Whether a sector is not what a writer leaves; one from the future is, and says that a header is missing.
fn is_unwritten(error: &FileError) -> bool {
    matches!(error, FileError::Sector(_, SectorError::Inauthentic))
}
