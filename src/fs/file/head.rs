//! Page 0's header slots: which is in force, and writing the next.

use std::sync::atomic::Ordering;

use super::{CryptFile, Result};
use crate::content::layout::{HEAD_TAGS, SECTOR};
use crate::content::root::Root;
use crate::content::sector::SectorBytes;
use crate::crypto::{NONCE_LEN, rng};
use crate::envelope::{Header, ResizeKind, SLOT_LEN};
use crate::fs::Durability;
use crate::fs::backing::Backing;

/// The header in force and the bytes of both slots.
#[derive(Debug)]
pub(super) struct Head {
    /// The header in force.
    pub header: Header,
    /// Both slots as they are on disk; apart, since a file is moved about when it is opened.
    pub slots: Box<[[u8; SLOT_LEN]; 2]>,
    /// The slot that is known to be on disk durably: it is not overwritten.
    pub durable: usize,
    /// The slot of the header in force.
    pub current: usize,
    /// Whether a header of the present dirty run is on disk durably. Sectors are then stamped with its number and not with later
    /// ones: a loss of power must not leave a sector beside it that says a newer header is missing.
    pub run_is_durable: bool,
}

/// Bytes of the mask of a content root.
const ROOT_MASK_LEN: usize = 16;

/// What a new header changes.
pub(super) struct NextHeader {
    pub dirty: bool,
    pub unattested: bool,
    pub committed_size: u64,
    pub acknowledged_size: u64,
    pub resize: ResizeKind,
    pub target_size: u64,
}

impl NextHeader {
    /// A dirty header that says what `header` says.
    pub fn same(header: &Header) -> Self {
        Self {
            dirty: true,
            unattested: header.unattested,
            committed_size: header.committed_size,
            acknowledged_size: header.acknowledged_size,
            resize: header.resize,
            target_size: header.target_size,
        }
    }

    /// A dirty header that keeps what `header` says and acknowledges `size`.
    pub fn dirty(header: &Header, size: u64) -> Self {
        Self {
            dirty: true,
            unattested: header.unattested,
            committed_size: header.committed_size.min(size),
            acknowledged_size: size,
            resize: ResizeKind::None,
            target_size: 0,
        }
    }
}

impl<B: Backing> CryptFile<B> {
    /// Writes the dirty header before the first change since a commit. The caller holds `shape` either way.
    pub(super) fn ensure_dirty(&self) -> Result<()> {
        if self.dirty.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut head = self.head.lock();
        if self.dirty.load(Ordering::Acquire) {
            return Ok(());
        }
        let next = NextHeader::dirty(&head.header, self.size());
        self.write_head(&mut head, next)
    }

    /// Makes the header say that the file has `size` bytes, where only its entries say so yet: the last of them are about to
    /// become holes. The caller holds `shape` either way.
    pub(super) fn acknowledge(&self, size: u64) -> Result<()> {
        self.floor_on_disk()?;
        let known = {
            let head = self.head.lock();
            self.is_dirty() && head.header.dirty && head.header.acknowledged_size == size
        };
        if known { Ok(()) } else { self.announce(ResizeKind::None, size, 0) }
    }

    /// Announces a change of size, or its end.
    pub(super) fn announce(&self, resize: ResizeKind, acknowledged: u64, target: u64) -> Result<()> {
        let mut head = self.head.lock();
        let mut next = NextHeader::dirty(&head.header, acknowledged);
        // The floor is what is there at both ends of the change.
        let floor = match resize {
            ResizeKind::Truncate => target,
            ResizeKind::None | ResizeKind::Append | ResizeKind::Grow => acknowledged,
        };
        next.committed_size = head.header.committed_size.min(floor);
        next.resize = resize;
        next.target_size = target;
        self.write_head(&mut head, next)
    }

    /// Writes the next header and, in the same write within page 0, tag sector 0 stamped with its sequence number: whoever kills
    /// the header afterwards leaves a sector of a later epoch behind.
    pub(super) fn write_head(&self, head: &mut Head, next: NextHeader) -> Result<()> {
        let sequence = head.header.sequence + 1;
        let segment = self.segments.first();
        let mut state = segment.state.write();
        self.before_giving_up(&state, 0, 0)?;
        let random: [u8; NONCE_LEN + ROOT_MASK_LEN] = rng::bytes();
        let (nonce, root_mask) = random.split_first_chunk().expect("a nonce is in front");
        let stamped = self.seal_sector(&segment, &state, 0, sequence, nonce);
        let member = self.sector_member(&segment, 0, &stamped);
        self.replace_member(Some(&state.members[0]), Some(&member));
        state.members[0] = member;
        let root_mask = root_mask.try_into().expect("the mask is behind the nonce");
        let header = Header {
            sequence,
            dirty: next.dirty,
            unattested: next.unattested,
            committed_size: next.committed_size,
            acknowledged_size: next.acknowledged_size,
            resize: next.resize,
            target_size: next.target_size,
            root_mask,
            root: self.root_as_stored(&root_mask),
            ..head.header.clone()
        };
        let slot = 1 - head.durable;
        let written = header.seal(&self.header_key)?;
        // Whoever synced the file relies on what was in it, and so on a header on disk that says that it is being changed.
        let begins_run = next.dirty && !head.header.dirty && head.header.synced;
        let lowers_floor = head.run_is_durable && header.committed_size < head.header.committed_size;
        if let Err(error) = self.write_slot(head, slot, &written, &stamped) {
            // Which header is in force on disk is not known now: the next change writes another one first.
            self.interrupted();
            self.dirty.store(true, Ordering::Release);
            return Err(error.into());
        }
        state.note_written(0);
        head.slots[slot] = written;
        head.current = slot;
        head.header = header;
        self.dirty.store(next.dirty, Ordering::Release);
        self.sequence.store(sequence, Ordering::Release);
        head.run_is_durable &= next.dirty;
        if !head.run_is_durable {
            self.stamp.store(sequence, Ordering::Release);
        }
        drop(state);
        // What it permits (sectors of its epoch, a backing file below the old floor) must not reach the disk before it.
        if next.dirty && (self.durability == Durability::Strict || lowers_floor || begins_run) {
            self.backing.sync().inspect_err(|_| self.interrupted())?;
            self.note_durable(head);
        }
        Ok(())
    }

    /// Notes that the header in force is on disk durably.
    pub(super) fn note_durable(&self, head: &mut Head) {
        head.durable = head.current;
        head.run_is_durable = head.header.dirty;
        self.stamp.store(head.header.sequence, Ordering::Release);
        self.floor_ahead.store(0, Ordering::Release);
    }

    /// Notes that the header in force commits a size and need not be on disk.
    pub(super) fn note_floor(&self, head: &Head) {
        if head.durable != head.current {
            self.floor_ahead.store(head.header.committed_size, Ordering::Release);
        }
    }

    /// Sees that the header that commits the size is on disk, before a change after which an earlier one would not tell it: before a
    /// segment below that size comes to be, whose tags a loss of power may take, and before chunks become holes. The caller holds
    /// `shape` either way.
    pub(super) fn floor_on_disk(&self) -> Result<()> {
        if self.floor_ahead.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let mut head = self.head.lock();
        if self.floor_ahead.load(Ordering::Acquire) != 0 {
            self.backing.sync()?;
            self.note_durable(&mut head);
        }
        Ok(())
    }

    /// One write within page 0, from the slot to tag sector 0.
    fn write_slot(
        &self,
        head: &Head,
        slot: usize,
        written: &[u8; SLOT_LEN],
        sector: &SectorBytes,
    ) -> std::io::Result<()> {
        let mut bytes = [0; HEAD_TAGS as usize + SECTOR];
        bytes[..SLOT_LEN].copy_from_slice(&head.slots[0]);
        bytes[SLOT_LEN..2 * SLOT_LEN].copy_from_slice(&head.slots[1]);
        bytes[slot * SLOT_LEN..(slot + 1) * SLOT_LEN].copy_from_slice(written);
        bytes[HEAD_TAGS as usize..].copy_from_slice(sector);
        let from = slot * SLOT_LEN;
        self.backing.write_at(from as u64, &[&bytes[from..]])
    }

    fn root_as_stored(&self, mask: &[u8; 16]) -> [u8; 32] {
        let root: Root = *self.root.lock();
        root.masked(&self.root_key, mask).0
    }
}
