//! Recovery: what a kill left, made whole.
//!
//! The header says which change of size was under way; the entries say what is stored. A truncation is completed, a growth by a
//! hole undone, and a file that was being appended to ends where its last chunk with an entry does.

use std::sync::atomic::Ordering;

use super::size::last_segment;
use super::{CryptFile, FileError, Result};
use crate::content::layout::{ChunkIndex, GroupIndex, SegmentIndex, backing_size, plain_size};
use crate::content::root::Root;
use crate::envelope::{Header, ResizeKind};
use crate::fs::backing::Backing;

impl<B: Backing> CryptFile<B> {
    /// Makes a dirty file whole, and clean when it can be written. A chunk of which neither version is stored (after a loss of
    /// power) keeps it dirty; the rest can be used.
    pub(super) fn recover(&self) -> Result<()> {
        let header = self.header();
        let size = self.surviving_size(&header)?;
        self.size.store(size, Ordering::Release);
        if !self.writable {
            return Ok(());
        }
        if size > 0 {
            self.fit_chunk(ChunkIndex::containing(size - 1), size)?;
        }
        self.backing.set_len(backing_size(size))?;
        self.clear_behind(size)?;
        self.unmark_behind(size)?;
        match self.take_stock(size) {
            Ok(()) => (),
            Err(FileError::Unsettled(chunk)) => {
                log::error!(
                    "chunk {chunk} has two versions and neither is stored: writing it whole heals it"
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
        head.durable = head.current;
        Ok(())
    }

    /// The size that a dirty file has after a kill.
    fn surviving_size(&self, header: &Header) -> Result<u64> {
        let found = self.backing.len()?;
        let floor = backing_size(header.committed_size);
        if found < floor {
            return Err(FileError::Length { expected: floor, found });
        }
        let stored = plain_size(found).size;
        match header.resize {
            ResizeKind::Truncate => Ok(header.target_size.min(stored)),
            ResizeKind::Grow => Ok(header.acknowledged_size.min(stored)),
            ResizeKind::None | ResizeKind::Append => {
                // Entries are looked for as far as the backing file reaches.
                self.size.store(stored, Ordering::Release);
                let acknowledged = header.acknowledged_size.min(stored);
                Ok(self.end_of_entries()?.max(acknowledged).min(stored))
            }
        }
    }

    /// The plain offset behind the last chunk that has an entry.
    fn end_of_entries(&self) -> Result<u64> {
        for group in (0..GroupIndex::count(self.size())).rev() {
            for segment in self.present_segments(GroupIndex(group))?.into_iter().rev() {
                if let Some(end) = self.end_in(segment)? {
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
    fn unmark_behind(&self, size: u64) -> Result<()> {
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
