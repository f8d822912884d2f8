//! Looking at one segment or index page straight from the storage, each of its sectors and chunks by itself.
//!
//! Elsewhere in the engine one sector that does not authenticate makes a whole segment unreadable, and what was read once is kept in
//! memory. Here each part stands for itself, and nothing is kept: what a tool needs that looks at damage, or beside a mount.

use std::ops::Range;

use super::segment::Segment;
use super::{CryptFile, Result};
use crate::content::layout::{
    CHUNK, CHUNKS_PER_SECTOR, ChunkIndex, GROUP_SEGMENTS, GroupIndex, INDEX_SECTORS, SECTOR, SECTOR_SEGMENTS,
    SEGMENT_CHUNKS, SegmentIndex,
};
use crate::content::root::{self, Root};
use crate::content::sector::{self, Bits, Entries, Place, SectorBytes, SectorError};
use crate::content::{Entry, Seal, Versions};
use crate::fs::backing::Backing;

/// A sector as it was found: what it says and its epoch, or that it does not authenticate.
pub(super) type Found<T> = std::result::Result<(u64, T), SectorError>;

/// An index page as it was found.
pub(super) struct GroupLook {
    pub sectors: [Found<Bits>; INDEX_SECTORS],
}

/// Whether a segment exists, as its index bit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Yes,
    No,
    /// The index sector does not authenticate: only the segment's own tags can tell.
    Unknown,
}

/// A chunk as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkLook {
    /// Its tag sector does not authenticate.
    Unknown,
    Hole,
    /// It is stored, as this seal says.
    Stored(Seal),
    /// It should be stored, and no version of it authenticates.
    Lost(Seal),
}

/// One segment as it was found, and the room for it: lent from one segment to the next.
pub(super) struct SegmentLook {
    raw: Vec<u8>,
    /// What was read before, where a second look had to be taken.
    before: Vec<u8>,
    /// The plaintext, chunk by chunk; zeros where there is none.
    pub plain: Vec<u8>,
    /// Sector by sector; the entries as they are stored.
    pub sectors: Vec<Found<Entries>>,
    pub chunks: Vec<ChunkLook>,
    read: usize,
}

impl GroupLook {
    /// Whether the segment with a number within the group exists.
    pub fn presence(&self, within: u64) -> Presence {
        let (sector, bit) = ((within / SECTOR_SEGMENTS) as usize, within % SECTOR_SEGMENTS);
        match &self.sectors[sector] {
            Err(_) => Presence::Unknown,
            Ok((_, bits)) if bits[(bit / 8) as usize] & 0x80 >> (bit % 8) != 0 => Presence::Yes,
            Ok(_) => Presence::No,
        }
    }
}

impl SegmentLook {
    pub fn new() -> Self {
        let room = (CHUNKS_PER_SECTOR * SECTOR) + SEGMENT_CHUNKS as usize * CHUNK;
        Self {
            raw: vec![0; room],
            before: Vec::new(),
            plain: vec![0; SEGMENT_CHUNKS as usize * CHUNK],
            sectors: Vec::new(),
            chunks: Vec::new(),
            read: 0,
        }
    }

    /// Whether a tag sector authenticates: the segment was written at some time.
    pub fn exists(&self) -> bool {
        self.sectors.iter().any(Found::is_ok)
    }

    /// The bytes of a sector, and of a chunk as far as they are there.
    fn sector_bytes(raw: &[u8], number: usize) -> &[u8] {
        &raw[number * SECTOR..][..SECTOR]
    }

    fn chunk_range(&self, number: usize) -> Range<usize> {
        let at = self.sectors.len() * SECTOR + number * CHUNK;
        at.min(self.read)..(at + CHUNK).min(self.read)
    }

    /// Whether everything that cannot be used was the same in the look before: it is not being written just now.
    fn is_settled(&self) -> bool {
        if self.before.len() != self.read {
            return false;
        }
        let same = |range: Range<usize>| self.raw.get(range.clone()) == self.before.get(range);
        self.chunks.iter().enumerate().all(|(number, chunk)| match chunk {
            ChunkLook::Hole | ChunkLook::Stored(_) => true,
            ChunkLook::Unknown | ChunkLook::Lost(_) => {
                let sector = number / CHUNKS_PER_SECTOR * SECTOR;
                same(sector..sector + SECTOR) && same(self.chunk_range(number))
            }
        })
    }

    fn is_whole(&self) -> bool {
        self.chunks.iter().all(|chunk| matches!(chunk, ChunkLook::Hole | ChunkLook::Stored(_)))
    }
}

impl<B: Backing> CryptFile<B> {
    /// Looks at an index page.
    pub(super) fn look_at_group(&self, number: GroupIndex, root: &mut Root) -> Result<GroupLook> {
        let mut page = [0; INDEX_SECTORS * SECTOR];
        self.backing.read_at(number.index_offset(), &mut page)?;
        let key = self.keys.index(number);
        let mut sectors = [const { Err(SectorError::Inauthentic) }; INDEX_SECTORS];
        for (within, bytes) in page.as_chunks::<SECTOR>().0.iter().enumerate() {
            let place = Place::Index(number.0, within as u8);
            sectors[within] = sector::open_index(&key, self.file_id(), place, u64::MAX, bytes)
                .map(|bits| (sector::epoch(bytes), bits));
            root.toggle(&root::member(&self.root_key, place, bytes));
        }
        Ok(GroupLook { sectors })
    }

    /// Looks at a segment; chunks behind `size` are left out. Where something cannot be used and `live` says that a mount may be
    /// writing, it looks again until all is well or nothing changes any more; otherwise answers `false`.
    pub(super) fn look_at_segment(
        &self,
        segment: &Segment,
        size: u64,
        live: bool,
        look: &mut SegmentLook,
        root: &mut Root,
    ) -> Result<bool> {
        look.before.clear();
        for _ in 0..if live { LOOKS } else { 1 } {
            let mut counted = *root;
            self.look_once(segment, size, look, &mut counted)?;
            if look.is_whole() || !live || look.is_settled() {
                *root = counted;
                return Ok(true);
            }
            look.before.clear();
            look.before.extend_from_slice(&look.raw[..look.read]);
            std::thread::sleep(PAUSE);
        }
        Ok(false)
    }

    fn look_once(&self, segment: &Segment, size: u64, look: &mut SegmentLook, root: &mut Root) -> Result<()> {
        let index = segment.index;
        let (sectors, chunks) = (index.sectors(), index.chunks());
        let len = sectors * SECTOR + chunks * CHUNK;
        // Tags and chunks lie one behind the other: what one read gets fits together as well as it can.
        look.read = self.backing.read_at(index.tags_offset(), &mut look.raw[..len])?;
        look.raw[look.read..].fill(0);
        look.sectors.clear();
        look.chunks.clear();
        for number in 0..sectors {
            let bytes: &SectorBytes =
                SegmentLook::sector_bytes(&look.raw, number).try_into().expect("a sector's bytes");
            let place = Place::Tags(index.0, number as u8);
            let opened = sector::open_tags(&segment.keys.tags, self.file_id(), place, u64::MAX, bytes);
            look.sectors.push(opened.map(|entries| (sector::epoch(bytes), entries)));
            root.toggle(&root::member(&self.root_key, place, bytes));
        }
        for number in 0..chunks {
            let chunk = ChunkIndex(index.first_chunk().0 + number as u64);
            if chunk.start() >= size {
                break;
            }
            let stored = look.raw.get(look.chunk_range(number)).unwrap_or(&[]);
            let plain = &mut look.plain[number * CHUNK..][..CHUNK];
            let found = match &look.sectors[number / CHUNKS_PER_SECTOR] {
                Err(_) => ChunkLook::Unknown,
                Ok((_, entries)) => {
                    self.look_at_chunk(segment, chunk, &entries[number % CHUNKS_PER_SECTOR], stored, plain)
                }
            };
            let kept = if let ChunkLook::Stored(seal) = found { seal.len() } else { 0 };
            plain[kept..].fill(0);
            look.chunks.push(found);
        }
        Ok(())
    }

    fn look_at_chunk(
        &self,
        segment: &Segment,
        chunk: ChunkIndex,
        entry: &Entry,
        stored: &[u8],
        plain: &mut [u8],
    ) -> ChunkLook {
        let mut open = |seal: &Seal| {
            self.open_chunk(segment, chunk, seal, stored, &mut plain[..seal.len()])
                .is_ok()
                .then_some(ChunkLook::Stored(*seal))
        };
        match entry {
            Entry::Hole => ChunkLook::Hole,
            Entry::One(seal) => open(seal).unwrap_or(ChunkLook::Lost(*seal)),
            Entry::Two(versions) => {
                let Versions { current, previous } = &**versions;
                open(current).or_else(|| open(previous)).unwrap_or(ChunkLook::Lost(*current))
            }
        }
    }

    /// The plain offset behind the last chunk from `from` on that is stored and authentic, in a file of at most `size` bytes; 0 where
    /// there is none.
    pub(super) fn end_of_authentic(&self, from: u64, size: u64) -> Result<u64> {
        let mut look = SegmentLook::new();
        let mut end_in = |index: SegmentIndex, presence| -> Result<Option<u64>> {
            if presence == Presence::No {
                return Ok(None);
            }
            let segment = self.unread_segment(index);
            self.look_at_segment(&segment, size, false, &mut look, &mut Root::default())?;
            let last = look.chunks.iter().enumerate().rev().find_map(|(number, chunk)| match chunk {
                ChunkLook::Stored(seal) => Some((number, seal.len())),
                ChunkLook::Unknown | ChunkLook::Hole | ChunkLook::Lost(_) => None,
            });
            Ok(last
                .map(|(number, len)| ChunkIndex(index.first_chunk().0 + number as u64).start() + len as u64))
        };
        for number in (GroupIndex::count(from).saturating_sub(1)..GroupIndex::count(size)).rev() {
            if self.is_unstored_group(GroupIndex(number))? {
                continue;
            }
            let group = self.look_at_group(GroupIndex(number), &mut Root::default())?;
            let first = GroupIndex(number).first_segment();
            for within in (0..GROUP_SEGMENTS).rev() {
                let index = SegmentIndex(first.0 + within);
                if index.start() < size
                    && index.end() > from
                    && let Some(end) = end_in(index, group.presence(within))?
                {
                    return Ok(end);
                }
            }
        }
        Ok(end_in(SegmentIndex(0), Presence::Yes)?.unwrap_or(0))
    }

    /// Whether nothing of a group is stored, so that no sector or chunk of it can be authentic: a file that somebody made terabytes
    /// longer is not to be read through.
    pub(super) fn is_unstored_group(&self, number: GroupIndex) -> Result<bool> {
        Ok(self.backing.is_unstored(number.index_offset()..GroupIndex(number.0 + 1).index_offset())?)
    }

    /// A segment's keys, without what memory says of it.
    pub(super) fn unread_segment(&self, index: SegmentIndex) -> Segment {
        Segment::known(index, self.keys.segment(index), super::segment::SegmentState::hole(index))
    }
}

/// What is wrong with a sector, where something is; `sequence` is the header in force.
pub(super) fn trouble_of<T>(found: &Found<T>, sequence: u64) -> Option<SectorError> {
    match found {
        Err(error) => Some(*error),
        Ok((epoch, _)) if *epoch > sequence => Some(SectorError::FromTheFuture { epoch: *epoch, sequence }),
        Ok(_) => None,
    }
}

/// How often a part that cannot be used is looked at, where a mount may be writing it.
const LOOKS: usize = 10;
/// How long a writer may be between a chunk's tags and its data.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(30);
