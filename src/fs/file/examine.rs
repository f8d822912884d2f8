//! Reading a file part by part, whatever is wrong with it: what authenticates is given out, and what does not is named with the bytes
//! that it concerns.
//!
//! It reads as `docs/FORMAT.md` says (section 5) where the file can be opened at all. Where it cannot (its length or its newest header
//! is not what it should be), the size is what the backing file and the chunks in it say, and each chunk still has to authenticate.
//! Memory is bounded: one segment, one index page.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::create::verified;
use super::finding::Finding;
use super::head::Head;
use super::look::{ChunkLook, GroupLook, Presence, SegmentLook, trouble_of};
use super::segment::{Segment, SegmentState};
use super::{CryptFile, Durability, FileError, Identity, Result};
use crate::content::Entry;
use crate::content::layout::{
    CHUNK, CHUNKS_PER_SECTOR, ChunkIndex, GROUP_SEGMENTS, GroupIndex, HEAD_TAGS, SECTOR, SECTOR_SEGMENTS,
    SegmentIndex, plain_size,
};
use crate::content::root::Root;
use crate::content::sector::{self, Place, SectorBytes};
use crate::datakey::DataKey;
use crate::envelope::{Header, ResizeKind, SLOT_LEN};
use crate::fs::backing::Backing;

/// A part of a file, in the order of its bytes; together the parts are all of it.
#[derive(Debug)]
pub enum Part<'a> {
    /// Content, from a plain offset on.
    Data(u64, &'a [u8]),
    /// Zeros that are not stored.
    Hole(Range<u64>),
    /// Something wrong. Where its bytes are not readable nothing else is told of them; others follow.
    Wrong(Finding),
}

/// What an examination saw.
#[derive(Debug, Default)]
pub struct Summary {
    /// Chunks that are stored and authentic.
    pub chunks: u64,
    /// The latest epoch of a sector.
    pub latest: u64,
}

/// A file that is looked at.
#[derive(Debug)]
pub struct Examination<B> {
    file: CryptFile<B>,
    slots: [u8; 2 * SLOT_LEN],
    size: u64,
    /// Whether it can be opened as it is.
    is_sound: bool,
    /// Why not, until somebody asks.
    refusal: Option<FileError>,
    live: bool,
    changing: AtomicBool,
}

impl<B: Backing + Clone> Examination<B> {
    /// Opens a file with the data key that its identity led to. `live` says that a mount may be writing to it.
    ///
    /// # Errors
    /// [`FileError`] where nothing can be read at all: no header authenticates, or the storage fails.
    pub fn open(backing: B, identity: &Identity, data_key: &DataKey, live: bool) -> Result<Self> {
        let mut slots = [0; 2 * SLOT_LEN];
        slots.copy_from_slice(&identity.page[..2 * SLOT_LEN]);
        let changing = AtomicBool::new(false);
        let refusal = match CryptFile::open(backing.clone(), identity, data_key, false, Durability::Default) {
            Ok(file) => {
                let size = file.size();
                return Ok(Self { file, slots, size, is_sound: true, refusal: None, live, changing });
            }
            Err(error @ (FileError::Header(_) | FileError::Io(_))) => return Err(error),
            Err(error) => error,
        };
        let file = unchecked(backing, identity, data_key, false)?;
        let size = file.likely_size(&file.header(), misses_header(&file, identity))?;
        Ok(Self { file, slots, size, is_sound: false, refusal: Some(refusal), live, changing })
    }
}

impl<B: Backing> Examination<B> {
    /// The plain size.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The header in force.
    pub fn header(&self) -> Header {
        self.file.header()
    }

    /// Whether it is new, and nothing was written to it yet.
    pub fn is_new(&self) -> bool {
        self.is_sound && self.file.is_new()
    }

    /// What is wrong with the file as a whole, so that it cannot be opened as it is; told once.
    pub fn refusal(&mut self) -> Option<Finding> {
        self.refusal.take().map(Finding::of_file)
    }

    /// Whether the file was written since it was opened: what was read need not be of one time, and what seemed wrong need not be.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn is_changing(&self) -> Result<bool> {
        let mut now = [0; 2 * SLOT_LEN];
        self.file.backing.read_at(0, &mut now)?;
        Ok(now != self.slots || self.changing.load(Ordering::Relaxed))
    }

    /// Goes through the whole file, from its first byte to its last.
    ///
    /// # Errors
    /// [`FileError::Io`], and whatever `take` answers.
    pub fn parts<E: From<FileError>>(
        &self,
        mut take: impl FnMut(Part<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<Summary, E> {
        let mut walk = Walk {
            look: SegmentLook::new(),
            root: Root::default(),
            summary: Summary::default(),
            is_proved: self.is_sound,
        };
        self.segment(SegmentIndex(0), None, &mut walk, &mut take)?;
        for number in 0..GroupIndex::count(self.size) {
            let group = self.file.look_at_group(GroupIndex(number), &mut walk.root)?;
            self.index(GroupIndex(number), &group, &mut walk, &mut take)?;
            let first = GroupIndex(number).first_segment();
            let is_unstored = group.sectors.iter().any(|sector| sector.is_err())
                && self.file.is_unstored_group(GroupIndex(number))?;
            for within in 0..GROUP_SEGMENTS {
                let index = SegmentIndex(first.0 + within);
                if index.start() >= self.size {
                    break;
                }
                match group.presence(within) {
                    Presence::No => take(Part::Hole(index.start()..index.end().min(self.size)))?,
                    Presence::Yes => self.segment(index, None, &mut walk, &mut take)?,
                    Presence::Unknown => {
                        let sector = (within / SECTOR_SEGMENTS) as usize;
                        let place = Place::Index(number, sector as u8);
                        let unknown = trouble_of(&group.sectors[sector], self.file.sequence());
                        match unknown.map(|error| (place, error)) {
                            Some(unlisted) if is_unstored => take(self.lost(index, unlisted))?,
                            unlisted => self.segment(index, unlisted, &mut walk, &mut take)?,
                        }
                    }
                }
            }
        }
        // A root that was never counted, or of other sectors, says nothing.
        if walk.is_proved && !self.file.is_dirty() && walk.root != *self.file.root.lock() {
            take(Part::Wrong(Finding::of_file(FileError::Root)))?;
        }
        Ok(walk.summary)
    }

    /// What is wrong with index sectors; which bytes that concerns, their segments tell.
    fn index<E: From<FileError>>(
        &self,
        number: GroupIndex,
        group: &GroupLook,
        walk: &mut Walk,
        take: &mut impl FnMut(Part<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        for (sector, found) in group.sectors.iter().enumerate() {
            if let Ok((epoch, _)) = found {
                walk.summary.latest = walk.summary.latest.max(*epoch);
            }
            if let Some(error) = trouble_of(found, self.file.sequence()) {
                walk.is_proved = false;
                let error = FileError::Sector(Place::Index(number.0, sector as u8), error);
                take(Part::Wrong(Finding { error, bytes: 0..0, readable: true }))?;
            }
        }
        Ok(())
    }

    /// One segment; `unlisted` where its index sector cannot say whether it exists.
    fn segment<E: From<FileError>>(
        &self,
        index: SegmentIndex,
        unlisted: Option<(Place, sector::SectorError)>,
        walk: &mut Walk,
        take: &mut impl FnMut(Part<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let segment = self.file.unread_segment(index);
        let look = &mut walk.look;
        if !self.file.look_at_segment(&segment, self.size, self.live, look, &mut walk.root)? {
            self.changing.store(true, Ordering::Relaxed);
        }
        if let Some(unlisted) = unlisted
            && !look.exists()
        {
            return take(self.lost(index, unlisted));
        }
        for number in 0..index.sectors() {
            if let Ok((epoch, _)) = &look.sectors[number] {
                walk.summary.latest = walk.summary.latest.max(*epoch);
            }
            let first = ChunkIndex(index.first_chunk().0 + (number * CHUNKS_PER_SECTOR) as u64);
            let bytes = first.start()
                ..(first.start() + (CHUNKS_PER_SECTOR * CHUNK) as u64).min(self.size.max(first.start()));
            if let Some(error) = trouble_of(&look.sectors[number], self.file.sequence()) {
                walk.is_proved = false;
                let error = FileError::Sector(Place::Tags(index.0, number as u8), error);
                let readable = look.sectors[number].is_ok() || bytes.is_empty();
                take(Part::Wrong(Finding { error, bytes, readable }))?;
            }
            self.chunks(index, number, walk_chunks(look, number), &mut walk.summary, take)?;
        }
        Ok(())
    }

    /// A segment that nothing tells of but an index sector that cannot be used.
    fn lost(&self, index: SegmentIndex, (place, error): (Place, sector::SectorError)) -> Part<'static> {
        let bytes = index.start()..index.end().min(self.size);
        Part::Wrong(Finding { error: FileError::Sector(place, error), bytes, readable: false })
    }

    /// The chunks of one tag sector; those that are stored one behind the other are given out together.
    fn chunks<E: From<FileError>>(
        &self,
        index: SegmentIndex,
        sector: usize,
        (entries, chunks, plain): (Option<&[Entry]>, &[ChunkLook], &[u8]),
        summary: &mut Summary,
        take: &mut impl FnMut(Part<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let base = ChunkIndex(index.first_chunk().0 + (sector * CHUNKS_PER_SECTOR) as u64).start();
        // What is stored from here on is not given out yet.
        let mut pending: Range<usize> = 0..0;
        for (number, found) in chunks.iter().enumerate() {
            let chunk = ChunkIndex::containing(base + (number * CHUNK) as u64);
            let bytes = chunk.start()..chunk.start() + chunk.len_in(self.size) as u64;
            let at = number * CHUNK;
            let wrong = self.trouble_of_chunk(chunk, entries.map(|entries| &entries[number]), found);
            if !matches!(found, ChunkLook::Stored(_)) || wrong.is_some() {
                give(base, plain, &mut pending, take)?;
            }
            if let Some((error, readable)) = wrong {
                take(Part::Wrong(Finding { error, bytes: bytes.clone(), readable }))?;
            }
            match found {
                ChunkLook::Unknown | ChunkLook::Lost(_) => (),
                ChunkLook::Hole => take(Part::Hole(bytes))?,
                ChunkLook::Stored(_) => {
                    summary.chunks += 1;
                    if pending.is_empty() {
                        pending.start = at;
                    }
                    pending.end = at + chunk.len_in(self.size);
                }
            }
        }
        give(base, plain, &mut pending, take)
    }

    /// What is wrong with a chunk beyond its tag sector, and whether its bytes are there all the same.
    fn trouble_of_chunk(
        &self,
        chunk: ChunkIndex,
        entry: Option<&Entry>,
        found: &ChunkLook,
    ) -> Option<(FileError, bool)> {
        let expected = chunk.len_in(self.size);
        let is_dirty = self.file.is_dirty();
        match found {
            ChunkLook::Unknown | ChunkLook::Hole => None,
            ChunkLook::Lost(_) => Some((FileError::Chunk(chunk.0), false)),
            ChunkLook::Stored(_) if matches!(entry, Some(Entry::Two(_))) && !is_dirty => {
                Some((FileError::Unsettled(chunk.0), true))
            }
            ChunkLook::Stored(seal) if seal.len() != expected && !is_dirty => {
                let found = seal.len();
                Some((FileError::ChunkLength { chunk: chunk.0, expected, found }, true))
            }
            ChunkLook::Stored(_) => None,
        }
    }
}

impl Identity {
    /// As if the newest slot could not be read: it may have been altered.
    pub fn older(&self) -> Option<Self> {
        let claims = self.claims.get(1..).filter(|claims| !claims.is_empty())?.to_vec();
        Some(Self { page: self.page.clone(), claims })
    }
}

/// What is carried through a file.
struct Walk {
    look: SegmentLook,
    root: Root,
    summary: Summary,
    /// Whether each sector so far is one of the header in force: only then the content root can be compared.
    is_proved: bool,
}

/// What a look says of the chunks of one tag sector.
fn walk_chunks(look: &SegmentLook, sector: usize) -> (Option<&[Entry]>, &[ChunkLook], &[u8]) {
    let from = (sector * CHUNKS_PER_SECTOR).min(look.chunks.len());
    let to = (from + CHUNKS_PER_SECTOR).min(look.chunks.len());
    let entries = look.sectors[sector].as_ref().ok().map(|(_, entries)| entries.as_slice());
    (entries, &look.chunks[from..to], &look.plain[sector * CHUNKS_PER_SECTOR * CHUNK..])
}

/// Gives out what was gathered.
fn give<E>(
    base: u64,
    plain: &[u8],
    pending: &mut Range<usize>,
    take: &mut impl FnMut(Part<'_>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let range = std::mem::take(pending);
    if range.is_empty() { Ok(()) } else { take(Part::Data(base + range.start as u64, &plain[range])) }
}

/// A file whose header authenticates, and nothing else is known of.
pub(super) fn unchecked<B: Backing>(
    backing: B,
    identity: &Identity,
    data_key: &DataKey,
    writable: bool,
) -> Result<CryptFile<B>> {
    let (slot, keys, header) = verified(identity, data_key)?;
    let first = SegmentIndex(0);
    let mut slots = Box::new([[0; SLOT_LEN]; 2]);
    slots.as_flattened_mut().copy_from_slice(&identity.page[..2 * SLOT_LEN]);
    let head = Head { header, slots, durable: slot, current: slot, run_is_durable: false };
    let segment = Segment::known(first, keys.segment(first), SegmentState::empty(first));
    Ok(CryptFile::assemble(backing, keys, writable, Durability::Default, head, segment, Root::default()))
}

/// Whether tag sector 0, which every header is written with, says that there was a newer header than the one in force.
pub(super) fn misses_header<B: Backing>(file: &CryptFile<B>, identity: &Identity) -> bool {
    let bytes: &SectorBytes =
        identity.page[HEAD_TAGS as usize..][..SECTOR].try_into().expect("a sector's bytes");
    let key = &file.segments.first().keys.tags;
    let opened = sector::open_tags(key, file.file_id(), Place::Tags(0, 0), u64::MAX, bytes);
    opened.is_ok() && sector::epoch(bytes) > file.sequence()
}

impl<B: Backing> CryptFile<B> {
    /// The size of a file that cannot be opened: as much as is known to belong to it, and what authenticates behind that.
    pub(super) fn likely_size(&self, header: &Header, misses_header: bool) -> Result<u64> {
        let stored = plain_size(self.backing.len()?).size;
        if misses_header {
            return Ok(stored);
        }
        let known = match (header.dirty, header.resize) {
            (true, ResizeKind::Truncate) => return Ok(header.target_size.min(stored)),
            (true, ResizeKind::Grow) => return Ok(header.acknowledged_size.min(stored)),
            (true, ResizeKind::None | ResizeKind::Append) => header.acknowledged_size,
            (false, _) => header.committed_size,
        };
        if stored <= known {
            return Ok(stored);
        }
        Ok(self.end_of_authentic(known, stored)?.clamp(known, stored))
    }
}
