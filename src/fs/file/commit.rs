//! fsync, the clean header, and rewrapping.

use std::sync::atomic::Ordering;

use super::head::{Head, NextHeader};
use super::{Around, CryptFile, Durability, FileError, Result};
use crate::content::layout::SegmentIndex;
use crate::datakey::WrappedDataKey;
use crate::envelope::{Header, ResizeKind};
use crate::fs::backing::Backing;

impl<B: Backing> CryptFile<B> {
    /// Makes everything written so far durable, and the header say so.
    ///
    /// # Errors
    /// [`FileError`]; nothing is promised then.
    pub fn sync(&self) -> Result<()> {
        self.sync_within(&|write| write(), &|backing| Ok(backing.sync()?))
    }

    /// As [`CryptFile::sync`]; `around` is handed what writes a header, while nobody else writes to the file, and `last` syncs when what
    /// is promised is written: it may do so with more than the content.
    ///
    /// One sync is enough. The header that commits the size comes after it and need not be on disk when this returns: until it is, an
    /// earlier header, the content and rule 8 tell the size as well, and what would spoil that waits for it ([`CryptFile::floor_on_disk`]).
    ///
    /// # Errors
    /// As [`CryptFile::sync`]; what `around` and `last` answer.
    pub fn sync_within(&self, around: &Around<'_>, last: &dyn Fn(&B) -> Result<()>) -> Result<()> {
        // What was written up to here is below this size; and what was begun is done, while nobody else is in.
        let (size, truncations, written, sequence) = {
            let _shape = self.shape.write();
            self.finish()?;
            let mut head = self.head.lock();
            self.say_synced(&mut head, around)?;
            let truncations = self.truncations.load(Ordering::Acquire);
            (self.size(), truncations, self.written.load(Ordering::Acquire), head.header.sequence)
        };
        last(&self.backing)?;
        self.synced.fetch_max(written, Ordering::AcqRel);
        // No change of size may be half-way while the header says where the file ends.
        let shape = self.shape.write();
        let mut head = self.head.lock();
        if head.header.sequence == sequence {
            self.note_durable(&mut head);
        }
        // What was written meanwhile may be stamped with the number of a header that need not be on disk.
        let mut is_spoilt = head.header.sequence != sequence;
        // After a truncation meanwhile, what lies below the size need not be what was synced.
        let truncated = self.truncations.load(Ordering::Acquire) != truncations;
        if self.is_dirty() && head.header.dirty && head.header.committed_size != size && !truncated {
            around(&mut || {
                let header = &head.header;
                let next = NextHeader {
                    committed_size: size,
                    acknowledged_size: header.acknowledged_size.max(size),
                    ..NextHeader::same(header)
                };
                self.write_head(&mut head, next)
            })?;
            self.note_floor(&head);
            // Nor did it wait for this one.
            is_spoilt |= self.written.load(Ordering::Acquire) != written;
        }
        if is_spoilt {
            drop(shape);
            self.backing.sync()?;
            self.note_durable(&mut head);
        }
        Ok(())
    }

    /// Has the header say that the file was synced, before it is: in the next run a header that permits a change is then on disk
    /// before the change.
    fn say_synced(&self, head: &mut Head, around: &Around<'_>) -> Result<()> {
        if head.header.synced || !self.writable {
            return Ok(());
        }
        head.header.synced = true;
        let unattested = head.header.unattested;
        let written = around(&mut || match self.is_dirty() {
            true => self.write_head(head, NextHeader::same(&head.header)),
            // Also of a new file, which is as good as clean.
            false => self.write_clean(head, unattested),
        });
        if written.is_err() {
            head.header.synced = false;
        }
        written
    }

    /// Whether turning clean will wait for the disk, as whoever holds the header does.
    pub fn commit_waits(&self) -> bool {
        let is_durable = || self.head.try_lock().is_none_or(|head| head.run_is_durable);
        self.is_dirty() && (self.durability == Durability::Strict || is_durable())
    }

    /// Turns the file clean: whoever opens it next finds exactly this, or an error.
    ///
    /// # Errors
    /// [`FileError`]; the file stays dirty then and is recovered at its next open.
    pub fn commit_clean(&self) -> Result<()> {
        let _shape = self.shape.write();
        if !self.is_dirty() {
            return Ok(());
        }
        self.check_writable()?;
        self.finish()?;
        let mut unattested = self.head.lock().header.unattested;
        if self.uncertain.load(Ordering::Acquire) {
            self.take_stock(self.size())?;
            unattested = true;
        }
        self.settle()?;
        let mut head = self.head.lock();
        let unsynced = head.run_is_durable
            && self.written.load(Ordering::Acquire) != self.synced.load(Ordering::Acquire);
        if self.durability == Durability::Strict || unsynced {
            // A clean header on disk without what it speaks of would take with it what was synced before.
            self.backing.sync()?;
        }
        self.write_clean(&mut head, unattested)?;
        if self.durability == Durability::Strict {
            self.backing.sync()?;
            self.note_durable(&mut head);
        }
        Ok(())
    }

    /// Writes a clean header for the present size.
    pub(super) fn write_clean(&self, head: &mut Head, unattested: bool) -> Result<()> {
        let size = self.size();
        self.write_head(
            head,
            NextHeader {
                dirty: false,
                unattested,
                committed_size: size,
                acknowledged_size: size,
                resize: ResizeKind::None,
                target_size: 0,
            },
        )
    }

    /// Writes every tag sector that may hold two versions of a chunk with the one that is stored.
    fn settle(&self) -> Result<()> {
        let unsettled = std::mem::take(&mut *self.unsettled.lock());
        for (number, index) in unsettled.iter().enumerate() {
            if let Err(error) = self.settle_segment(SegmentIndex(*index)) {
                self.unsettled.lock().extend(unsettled.iter().skip(number));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Settles one segment; it may have been forgotten and read again meanwhile.
    pub(super) fn settle_segment(&self, index: SegmentIndex) -> Result<()> {
        if index.start() >= self.size() && index.0 != 0 {
            return Ok(());
        }
        let segment = self.segment(index)?;
        let mut state = segment.state.write();
        if !state.present {
            return Ok(());
        }
        let unsettled = state.unsettled;
        for number in (0..index.sectors()).filter(|number| unsettled >> number & 1 != 0) {
            let chunks = number * 8..(number + 1) * 8;
            for chunk in chunks {
                self.resolve(&segment, &mut state, chunk)?;
            }
            if state.has_two(number) {
                return Err(FileError::Unsettled(index.first_chunk().0 + (number * 8) as u64));
            }
            // A clean header must not be on disk beside the sector as it was.
            self.note_write();
            self.write_sectors(&segment, &mut state, number, number)?;
        }
        Ok(())
    }

    /// Puts another wrap of the same data key into both slots, one after the other, each durable before the next: the old wrap is
    /// gone when it returns. State, sizes and content stay.
    ///
    /// # Errors
    /// [`FileError::Header`] for a wrap that does not fit; then nothing changed.
    pub fn rewrap(&self, wrapped: &WrappedDataKey) -> Result<()> {
        self.rewrap_within(wrapped, |write| write())
    }

    /// As [`CryptFile::rewrap`]; `around` is handed what writes, while nobody else writes to the file.
    ///
    /// # Errors
    /// As [`CryptFile::rewrap`]; what `around` answers.
    pub fn rewrap_within(
        &self,
        wrapped: &WrappedDataKey,
        around: impl FnOnce(&dyn Fn() -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        self.check_writable()?;
        Header::check_wrap(wrapped)?;
        let _shape = self.shape.write();
        self.finish()?;
        around(&|| self.write_wrap(wrapped))
    }

    /// The wrap that the header on disk has now. Who writes to the file may be another process; a header that this file's data key
    /// does not prove is left aside.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn wrapped_now(&self) -> Result<WrappedDataKey> {
        let identity = Self::identify(&self.backing)?;
        let proved = identity.claims.into_iter().find_map(|(_, claim)| claim.verify(&self.header_key).ok());
        Ok(proved.map_or_else(|| self.header().wrapped, |header| header.wrapped))
    }

    fn write_wrap(&self, wrapped: &WrappedDataKey) -> Result<()> {
        let mut head = self.head.lock();
        head.header.wrapped = wrapped.clone();
        for _slot in 0..2 {
            let header = &head.header;
            if self.is_dirty() {
                let next = NextHeader { acknowledged_size: self.size(), ..NextHeader::same(header) };
                self.write_head(&mut head, next)?;
            } else {
                let unattested = header.unattested;
                self.write_clean(&mut head, unattested)?;
            }
            self.backing.sync()?;
            self.note_durable(&mut head);
        }
        Ok(())
    }
}
