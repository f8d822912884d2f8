//! Index sectors in memory: which segments exist, read when asked for and written through.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::{CryptFile, FileError, Result};
use crate::content::layout::{GroupIndex, INDEX_SECTORS, SECTOR, SECTOR_SEGMENTS, SegmentIndex};
use crate::content::root::{self, Member};
use crate::content::sector::{self, Bits, INDEX_BODY, Place, SectorBytes};
use crate::fs::backing::Backing;

/// The groups in memory.
#[derive(Debug, Default)]
pub(super) struct Index(HashMap<u64, Group>);

/// The index page of one group.
#[derive(Debug)]
pub(super) struct Group {
    pub bits: [Bits; INDEX_SECTORS],
    pub members: [Member; INDEX_SECTORS],
    /// A bit a sector: set while what is on disk need not be what is here, since a write failed.
    pub pending: u8,
}

impl Group {
    fn empty() -> Self {
        Self {
            bits: [[0; INDEX_BODY]; INDEX_SECTORS],
            members: [Member::default(); INDEX_SECTORS],
            pending: 0,
        }
    }
}

impl Index {
    /// The sectors whose last write failed: group, and sector in it.
    fn pending(&self) -> BTreeSet<(u64, usize)> {
        let sectors = |group: &Group| {
            (0..INDEX_SECTORS).filter(|sector| group.pending >> sector & 1 != 0).collect::<Vec<_>>()
        };
        self.0
            .iter()
            .flat_map(|(number, group)| sectors(group).into_iter().map(|sector| (*number, sector)))
            .collect()
    }
}

/// Where a segment's bit is.
struct BitPlace {
    group: GroupIndex,
    sector: usize,
    byte: usize,
    mask: u8,
}

impl<B: Backing> CryptFile<B> {
    /// Whether a segment exists. Segment 0 always does.
    pub(super) fn is_present(&self, segment: SegmentIndex) -> Result<bool> {
        let Some(place) = bit_place(segment) else { return Ok(true) };
        if place.group.0 >= GroupIndex::count(self.size()) {
            return Ok(false);
        }
        let mut index = self.index.lock();
        let group = self.group(&mut index, place.group)?;
        Ok(group.bits[place.sector][place.byte] & place.mask != 0)
    }

    /// The segments of a group that exist, in order.
    pub(super) fn present_segments(&self, group: GroupIndex) -> Result<Vec<SegmentIndex>> {
        let mut index = self.index.lock();
        let bits = self.group(&mut index, group)?.bits;
        let first = group.first_segment().0;
        let mut present = Vec::new();
        for (byte_number, byte) in bits.as_flattened().iter().enumerate().filter(|(_, byte)| **byte != 0) {
            for bit in (0..8).filter(|bit| byte & (0x80 >> bit) != 0) {
                present.push(SegmentIndex(first + byte_number as u64 * 8 + bit));
            }
        }
        Ok(present)
    }

    /// Sets or clears the bits of segments, and writes each index sector that changes once; and again those whose last write failed.
    pub(super) fn mark(&self, segments: &[SegmentIndex], present: bool) -> Result<()> {
        let mut index = self.index.lock();
        let mut changed = index.pending();
        for place in segments.iter().filter_map(|segment| bit_place(*segment)) {
            let group = self.group(&mut index, place.group)?;
            let byte = &mut group.bits[place.sector][place.byte];
            *byte = if present { *byte | place.mask } else { *byte & !place.mask };
            group.pending |= 1 << place.sector;
            changed.insert((place.group.0, place.sector));
        }
        for (number, sector) in changed {
            let number = GroupIndex(number);
            let group = self.group(&mut index, number)?;
            let (bytes, member) = self.seal_index_sector(number, sector, &group.bits[sector]);
            let offset = number.index_offset() + (sector * SECTOR) as u64;
            self.doubt(self.backing.write_at(offset, &[&bytes]))?;
            self.replace_member(Some(&group.members[sector]), Some(&member));
            group.members[sector] = member;
            group.pending &= !(1 << sector);
        }
        Ok(())
    }

    /// Whether a segment's index bit need not be on disk as it is here.
    pub(super) fn mark_is_pending(&self, segment: SegmentIndex) -> bool {
        let index = self.index.lock();
        bit_place(segment).is_some_and(|place| {
            index.0.get(&place.group.0).is_some_and(|group| group.pending >> place.sector & 1 != 0)
        })
    }

    /// Writes the index pages of groups that a growth from `old` to `new` bytes begins.
    pub(super) fn begin_groups(&self, old: u64, new: u64) -> Result<()> {
        let mut index = self.index.lock();
        for number in GroupIndex::count(old)..GroupIndex::count(new) {
            let number = GroupIndex(number);
            let mut page = [0; INDEX_SECTORS * SECTOR];
            let mut group = Group::empty();
            for sector in 0..INDEX_SECTORS {
                let (bytes, member) = self.seal_index_sector(number, sector, &group.bits[sector]);
                page[sector * SECTOR..][..SECTOR].copy_from_slice(&bytes);
                group.members[sector] = member;
            }
            self.doubt(self.backing.write_at(number.index_offset(), &[&page]))?;
            group.members.iter().for_each(|member| self.replace_member(None, Some(member)));
            index.0.insert(number.0, group);
        }
        Ok(())
    }

    /// Takes over what a repair found out of a group's index page. The sectors that `pending` has a bit of are written with the next
    /// mark.
    pub(super) fn adopt_group(&self, number: GroupIndex, bits: [Bits; INDEX_SECTORS], pending: u8) {
        self.index.lock().0.insert(number.0, Group { bits, pending, ..Group::empty() });
    }

    /// Forgets the groups behind a size that a truncation left; their pages are gone from the backing file.
    pub(super) fn end_groups(&self, old: u64, new: u64) {
        let mut index = self.index.lock();
        for number in GroupIndex::count(new)..GroupIndex::count(old) {
            if let Some(group) = index.0.remove(&number) {
                group.members.iter().for_each(|member| self.replace_member(Some(member), None));
            }
        }
    }

    /// Forgets the groups behind `size` without a look at the content root.
    pub(super) fn forget_groups_behind(&self, size: u64) {
        self.index.lock().0.retain(|number, _| *number < GroupIndex::count(size));
    }

    /// The members of a group's index sectors as they are on disk; memory takes them over.
    pub(super) fn read_index_members(&self, number: GroupIndex) -> Result<[Member; INDEX_SECTORS]> {
        let mut index = self.index.lock();
        let members = self.read_group(number)?.members;
        self.group(&mut index, number)?.members = members;
        Ok(members)
    }

    fn seal_index_sector(&self, group: GroupIndex, sector: usize, bits: &Bits) -> (SectorBytes, Member) {
        let place = Place::Index(group.0, sector as u8);
        let key = self.keys.index(group);
        let bytes = sector::seal_index(&key, self.file_id(), place, self.epoch(), bits);
        let member = root::member(&self.root_key, place, &bytes);
        (bytes, member)
    }

    /// A group, from memory or from disk.
    fn group<'a>(&self, index: &'a mut Index, number: GroupIndex) -> Result<&'a mut Group> {
        Ok(match index.0.entry(number.0) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(self.read_group(number)?),
        })
    }

    fn read_group(&self, number: GroupIndex) -> Result<Group> {
        let mut page = [0; INDEX_SECTORS * SECTOR];
        self.backing.read_at(number.index_offset(), &mut page)?;
        let key = self.keys.index(number);
        let mut group = Group::empty();
        for (sector, bytes) in page.as_chunks::<SECTOR>().0.iter().enumerate() {
            let place = Place::Index(number.0, sector as u8);
            group.bits[sector] = sector::open_index(&key, self.file_id(), place, self.sequence(), bytes)
                .map_err(|error| FileError::Sector(place, error))?;
            group.members[sector] = root::member(&self.root_key, place, bytes);
        }
        Ok(group)
    }
}

fn bit_place(segment: SegmentIndex) -> Option<BitPlace> {
    let (group, within) = segment.group()?;
    let bit = within % SECTOR_SEGMENTS;
    Some(BitPlace {
        group,
        sector: (within / SECTOR_SEGMENTS) as usize,
        byte: (bit / 8) as usize,
        mask: 0x80 >> (bit % 8),
    })
}
