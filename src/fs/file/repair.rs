//! Mending a file: it can be opened again, keeps every chunk that authenticates, and says of the others that they are lost.
//!
//! No content is made up. A chunk that is lost gets an entry that nothing opens, so that reading it is an error until it is written
//! whole; so does a chunk that may have been a hole, where the sector that would say so is gone. What lay behind a cut is named.
//!
//! Kill-safe: first a dirty header says how long the file is (as the target of a truncation, so that an ordinary recovery ends there,
//! too), and nothing below that is given up; then sectors are mended one by one; then recovery goes its usual way. Stopped anywhere,
//! it can be begun again.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::Ordering;

use super::examine::{misses_header, unchecked};
use super::head::NextHeader;
use super::look::{ChunkLook, Presence, SegmentLook};
use super::segment::{Segment, SegmentState};
use super::{CryptFile, Durability, Examination, FileError, Finding, Identity, Part, Result, Summary};
use crate::content::layout::{
    CHUNKS_PER_SECTOR, ChunkIndex, GROUP_SEGMENTS, GroupIndex, INDEX_SECTORS, SECTOR_SEGMENTS, SegmentIndex,
    backing_size,
};
use crate::content::root::Root;
use crate::content::sector::{Bits, INDEX_BODY};
use crate::content::{Entry, Seal};
use crate::crypto::rng;
use crate::datakey::DataKey;
use crate::envelope::{Header, ResizeKind};
use crate::fs::backing::Backing;

/// What a repair did to a file, and what it could not mend.
#[derive(Debug, Default)]
pub struct Repair {
    /// What was done, in the order in which it was.
    pub done: Vec<Done>,
    /// What is wrong still.
    pub left: Vec<Finding>,
    /// Chunks that are stored and authentic.
    pub chunks: u64,
    /// The plain size.
    pub size: u64,
}

/// One thing that a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The file was dirty, as a killed mount leaves it.
    Recovered,
    /// Its header said that it was clean, and yet writes to it were under way.
    Settled,
    /// The newest header did not authenticate; another one was made.
    HeaderMade,
    /// The file has another size than its header said, in bytes.
    Resized {
        /// By the header.
        from: u64,
        /// Now.
        to: u64,
    },
    /// These bytes are not there any more: the file ends before them.
    CutOff(Range<u64>),
    /// These bytes, behind the end that the header knew, were not stored as far as can be known; they read as zeros.
    Unstored(Range<u64>),
    /// Bytes of ciphertext behind the end that belong to no chunk were removed.
    Trimmed(u64),
    /// Tag and index sectors that could not be used were written anew.
    SectorsMade(u64),
    /// Everything was verified, and the header says so again.
    Attested,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = |range: &Range<u64>| range.end.saturating_sub(1);
        match self {
            Self::Recovered => f.write_str("was left half written, and is whole"),
            Self::Settled => {
                f.write_str("was being written although its header did not say so, and is settled")
            }
            Self::HeaderMade => f.write_str(
                "had lost its newest header; it has another one, and the size that its ciphertext has",
            ),
            Self::Resized { from, to } => write!(f, "has {to} bytes now; its header said {from}"),
            Self::CutOff(range) => {
                write!(f, "ends where it was cut: bytes {} to {} are lost", range.start, last(range))
            }
            Self::Unstored(range) => write!(
                f,
                "bytes {} to {}, behind its former end, are not stored and read as zeros",
                range.start,
                last(range)
            ),
            Self::Trimmed(bytes) => write!(f, "{bytes} bytes of ciphertext behind its end are removed"),
            Self::SectorsMade(1) => f.write_str("a damaged sector of its tags or index is replaced"),
            Self::SectorsMade(count) => {
                write!(f, "{count} damaged sectors of its tags or index are replaced")
            }
            Self::Attested => f.write_str("its content root is confirmed"),
        }
    }
}

/// Repairs a file. Nobody else may use it meanwhile.
///
/// # Errors
/// [`FileError`] where nothing can be read at all, or the storage fails; it can be begun again then.
pub fn repair<B: Backing + Clone>(backing: B, identity: &Identity, data_key: &DataKey) -> Result<Repair> {
    let seen = Survey::of(backing.clone(), identity, data_key)?;
    let header = seen.examination.header();
    let mut done = Vec::new();
    if seen.needs_mending() {
        seen.mend(backing.clone(), identity, data_key, &mut done)?;
    } else if header.dirty && !seen.examination.is_new() {
        drop(CryptFile::open(backing.clone(), identity, data_key, true, Durability::Default)?);
        done.push(Done::Recovered);
    }
    let seen = if done.is_empty() { seen } else { Survey::again(&backing, data_key)? };
    if seen.found.is_empty() && seen.examination.header().unattested {
        let identity = CryptFile::identify(&backing)?;
        let file = CryptFile::open(backing, &identity, data_key, true, Durability::Default)?;
        file.attest()?;
        done.push(Done::Attested);
    }
    let size = seen.examination.size();
    Ok(Repair { done, left: seen.found, chunks: seen.summary.chunks, size })
}

/// All that is to be known of a file before it is changed.
struct Survey<B> {
    examination: Examination<B>,
    found: Vec<Finding>,
    holes: Vec<Range<u64>>,
    summary: Summary,
}

impl<B: Backing + Clone> Survey<B> {
    fn again(backing: &B, data_key: &DataKey) -> Result<Self> {
        Self::of(backing.clone(), &CryptFile::identify(backing)?, data_key)
    }

    fn of(backing: B, identity: &Identity, data_key: &DataKey) -> Result<Self> {
        let mut examination = Examination::open(backing, identity, data_key, false)?;
        let mut found = Vec::from_iter(examination.refusal());
        let mut holes = Vec::new();
        let known = examination.header().committed_size;
        let summary = examination.parts(|part| {
            match part {
                Part::Wrong(finding) => Finding::join(&mut found, finding),
                Part::Hole(range) if range.end > known => join(&mut holes, range.start.max(known)..range.end),
                Part::Data(..) | Part::Hole(_) => (),
            }
            Ok::<_, FileError>(())
        })?;
        Ok(Self { examination, found, holes, summary })
    }

    /// Whether there is something that can be mended: a chunk that is lost in a file that is whole otherwise cannot, and which part of a
    /// file is older than its content root cannot be known.
    fn needs_mending(&self) -> bool {
        let is_dirty = self.examination.header().dirty;
        self.found.iter().any(|finding| match finding.error {
            FileError::Chunk(_) => is_dirty,
            FileError::Root => false,
            _ => true,
        })
    }

    fn mend(&self, backing: B, identity: &Identity, data_key: &DataKey, done: &mut Vec<Done>) -> Result<()> {
        let size = self.examination.size();
        let found = backing.len()?;
        let file = unchecked(backing, identity, data_key, true)?;
        let header = file.header();
        let misses_header = misses_header(&file, identity);
        let made = file.mend(size, self.summary.latest)?;
        self.tell(&header, size, misses_header, done);
        match found.saturating_sub(backing_size(size)) {
            0 => (),
            _ if header.dirty => (),
            behind => done.push(Done::Trimmed(behind)),
        }
        if made > 0 {
            done.push(Done::SectorsMade(made));
        }
        if done.is_empty() {
            done.push(Done::Settled);
        }
        Ok(())
    }

    fn tell(&self, header: &Header, size: u64, misses_header: bool, done: &mut Vec<Done>) {
        if misses_header {
            done.push(Done::HeaderMade);
            return;
        }
        if header.dirty {
            done.push(Done::Recovered);
        }
        let known = header.committed_size;
        if size < known {
            done.push(Done::Resized { from: known, to: size });
            done.push(Done::CutOff(size..known));
        } else if size > known && !header.dirty {
            done.push(Done::Resized { from: known, to: size });
            done.extend(self.holes.iter().cloned().map(Done::Unstored));
        }
    }
}

impl<B: Backing> CryptFile<B> {
    /// Mends a file that has `size` bytes and no sector of a later epoch than `latest`; answers how many sectors were replaced.
    fn mend(&self, size: u64, latest: u64) -> Result<u64> {
        let sequence = self.sequence().max(latest);
        self.sequence.store(sequence, Ordering::Release);
        self.size.store(size, Ordering::Release);
        let mut look = SegmentLook::new();
        let first = self.segments.first();
        let (entries, touched) = self.mended(&first, size, &mut look)?;
        let mut replaced = look.sectors.iter().filter(|found| found.is_err()).count() as u64;
        *first.state.write() = SegmentState { entries, ..SegmentState::empty(first.index) };
        {
            let mut head = self.head.lock();
            head.header.sequence = sequence;
            let next = NextHeader {
                dirty: true,
                unattested: true,
                committed_size: size,
                acknowledged_size: size,
                resize: ResizeKind::Truncate,
                target_size: size,
            };
            self.write_head(&mut head, next)?;
            self.backing.sync()?;
            self.note_durable(&mut head);
        }
        if let Some(range) = touched.filter(|range| range.end > 1) {
            let mut state = first.state.write();
            self.write_sectors(&first, &mut state, range.start.max(1), range.end - 1)?;
        }
        for number in 0..GroupIndex::count(size) {
            replaced += self.mend_group(GroupIndex(number), size, &mut look)?;
        }
        self.conclude(size)?;
        Ok(replaced)
    }

    /// Mends the segments of a group, and then its index page.
    fn mend_group(&self, number: GroupIndex, size: u64, look: &mut SegmentLook) -> Result<u64> {
        let group = self.look_at_group(number, &mut Root::default())?;
        let mut replaced = 0;
        let mut bits = [[0; INDEX_BODY]; INDEX_SECTORS];
        let mut bad = 0;
        for (sector, found) in group.sectors.iter().enumerate() {
            match found {
                Ok((_, known)) => bits[sector] = *known,
                Err(_) => bad |= 1 << sector,
            }
        }
        let first = number.first_segment();
        for within in 0..GROUP_SEGMENTS {
            let index = SegmentIndex(first.0 + within);
            if index.start() >= size {
                break;
            }
            if group.presence(within) != Presence::No {
                replaced += self.mend_segment(index, size, look)?;
                set_bit(&mut bits, within);
            }
        }
        self.adopt_group(number, bits, bad);
        if bad != 0 {
            // What the bits speak of is on disk before them.
            self.backing.sync()?;
            self.mark(&[], true)?;
        }
        Ok(replaced + u64::from(bad.count_ones()))
    }

    fn mend_segment(&self, index: SegmentIndex, size: u64, look: &mut SegmentLook) -> Result<u64> {
        let segment = self.unread_segment(index);
        let (entries, touched) = self.mended(&segment, size, look)?;
        if let Some(range) = touched {
            let mut state = SegmentState { entries, ..SegmentState::empty(index) };
            self.write_sectors(&segment, &mut state, range.start, range.end - 1)?;
        }
        Ok(look.sectors.iter().filter(|found| found.is_err()).count() as u64)
    }

    /// The entries that a segment has when it is mended, and the sectors that have to be written for it.
    fn mended(
        &self,
        segment: &Segment,
        size: u64,
        look: &mut SegmentLook,
    ) -> Result<(Vec<Entry>, Option<Range<usize>>)> {
        self.look_at_segment(segment, size, false, look, &mut Root::default())?;
        let index = segment.index;
        let mut entries = vec![Entry::Hole; index.chunks()];
        let mut touched: Option<Range<usize>> = None;
        for (number, entry) in entries.iter_mut().enumerate() {
            let sector = number / CHUNKS_PER_SECTOR;
            let stored = look.sectors[sector].as_ref().ok().map(|(_, old)| &old[number % CHUNKS_PER_SECTOR]);
            let chunk = ChunkIndex(index.first_chunk().0 + number as u64);
            *entry = match look.chunks.get(number) {
                // Behind the end: recovery makes holes of them.
                None => stored.cloned().unwrap_or_default(),
                Some(ChunkLook::Hole) => Entry::Hole,
                Some(ChunkLook::Stored(seal)) => Entry::One(*seal),
                Some(ChunkLook::Lost(seal)) => {
                    Entry::One(Seal::new(seal.nonce, seal.tag, chunk.len_in(size)))
                }
                Some(ChunkLook::Unknown) => {
                    Entry::One(Seal::new(rng::bytes(), rng::bytes(), chunk.len_in(size)))
                }
            };
            if stored != Some(&*entry) {
                let range = touched.get_or_insert(sector..sector + 1);
                range.end = sector + 1;
            }
        }
        Ok((entries, touched))
    }

    /// Says in the header that the content root is confirmed. The caller has verified every chunk.
    ///
    /// # Errors
    /// [`FileError::Root`] where it is not that of the sectors.
    fn attest(&self) -> Result<()> {
        let _shape = self.shape.write();
        if self.count_root(self.size())? != *self.root.lock() {
            return Err(FileError::Root);
        }
        let mut head = self.head.lock();
        self.write_clean(&mut head, false)?;
        self.backing.sync()?;
        self.note_durable(&mut head);
        Ok(())
    }
}

fn set_bit(bits: &mut [Bits; INDEX_SECTORS], within: u64) {
    let (sector, bit) = ((within / SECTOR_SEGMENTS) as usize, within % SECTOR_SEGMENTS);
    bits[sector][(bit / 8) as usize] |= 0x80 >> (bit % 8);
}

/// Adds a range to a list of ranges in order.
fn join(list: &mut Vec<Range<u64>>, next: Range<u64>) {
    match list.last_mut() {
        Some(last) if last.end == next.start => last.end = next.end,
        _ => list.push(next),
    }
}
