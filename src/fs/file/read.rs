//! Reading: one read of the backing file for each segment that a request touches, decrypted in the answer itself.

use std::cell::RefCell;
use std::ops::Range;

use super::segment::{Segment, SegmentState};
use super::{CryptFile, FileError, Result};
use crate::content::layout::{CHUNK, ChunkIndex, SEGMENT_CHUNKS, SegmentIndex};
use crate::content::{Entry, Seal};
use crate::fs::backing::Backing;

/// Ciphertext of a segment's chunks, one behind the other.
pub(super) type Scratch = Vec<u8>;

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Vec::new()) };
}

/// Lends this thread's buffer for the ciphertext of a segment.
pub(super) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(SEGMENT_CHUNKS as usize * CHUNK, 0);
        work(scratch)
    })
}

/// The pieces that a range of plain offsets has in its segments.
pub(super) fn pieces(range: Range<u64>) -> impl Iterator<Item = (SegmentIndex, Range<u64>)> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        (at < range.end).then(|| {
            let segment = ChunkIndex::containing(at).segment();
            let piece = at..range.end.min(segment.end());
            at = piece.end;
            (segment, piece)
        })
    })
}

/// What a request wants of one chunk.
struct Part<'a> {
    chunk: ChunkIndex,
    entry: &'a Entry,
    /// Bytes of the chunk in front of what is wanted.
    skip: usize,
    /// Where in the answer it goes.
    within: Range<usize>,
}

/// What a piece of a segment with these entries wants of each chunk.
fn parts<'a>(piece: &Range<u64>, entries: &'a [Entry]) -> impl Iterator<Item = Part<'a>> + Clone + use<'a> {
    let (start, end) = (piece.start, piece.end);
    let (first, last) = (ChunkIndex::containing(start), ChunkIndex::containing(end - 1));
    (first.0..=last.0).map(ChunkIndex).map(move |chunk| {
        let wanted = start.max(chunk.start())..end.min(chunk.start() + CHUNK as u64);
        Part {
            chunk,
            entry: &entries[chunk.in_segment()],
            skip: (wanted.start - chunk.start()) as usize,
            within: (wanted.start - start) as usize..(wanted.end - start) as usize,
        }
    })
}

impl<B: Backing> CryptFile<B> {
    /// Reads at a plain offset, and answers how many bytes there were before the end.
    ///
    /// # Errors
    /// [`FileError`] for anything that does not authenticate; what was put into `out` must not be used then.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let _shape = self.shape.read();
        self.read_within(offset, out)
    }

    /// As [`CryptFile::read_at`]; the caller holds `shape`.
    pub(super) fn read_within(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let size = self.size();
        let end = size.min(offset.saturating_add(out.len() as u64));
        if offset >= end {
            return Ok(0);
        }
        for (segment, piece) in pieces(offset..end) {
            let part = &mut out[(piece.start - offset) as usize..(piece.end - offset) as usize];
            let segment = self.segment(segment)?;
            let state = segment.state.read();
            self.read_piece(&segment, &state, piece, part)?;
        }
        Ok((end - offset) as usize)
    }

    /// Reads what a piece of one segment holds. A chunk that is wanted whole is read to where it is wanted, all such chunks at once,
    /// and decrypted there.
    fn read_piece(
        &self,
        segment: &Segment,
        state: &SegmentState,
        piece: Range<u64>,
        out: &mut [u8],
    ) -> Result<()> {
        let parts = parts(&piece, &state.entries);
        let in_place = |part: &&Part<'_>| self.is_wanted_whole(part);
        let Some(first) = parts.clone().find(|part| in_place(&part)) else {
            return parts.into_iter().try_for_each(|part| self.read_apart(segment, &part, out));
        };
        let end = parts.clone().filter(|part| in_place(&part)).last().map_or(0, |part| part.within.end);
        let from = first.within.start;
        let read = self.backing.read_at(first.chunk.backing_offset(), &mut out[from..end])?;
        for part in parts {
            let wanted = &mut out[part.within.clone()];
            let opened = match part.entry.newest() {
                Some(seal) if self.is_wanted_whole(&part) && part.within.end <= from + read => {
                    let aad = self.keys.chunk_aad(part.chunk);
                    segment.keys.content.open_in_place(&seal.nonce, &aad, wanted, &seal.tag).is_ok()
                }
                _ => false,
            };
            if !opened {
                self.read_apart(segment, &part, out)?;
            }
        }
        Ok(())
    }

    fn is_wanted_whole(&self, part: &Part<'_>) -> bool {
        let one = matches!(part.entry, Entry::One(_)) || self.is_dirty();
        let len = part.entry.newest().map(Seal::len);
        one && part.skip == 0 && len == Some(part.within.len())
    }

    /// Reads a chunk of which a part is wanted, or another version than the newest, or nothing.
    fn read_apart(&self, segment: &Segment, part: &Part<'_>, out: &mut [u8]) -> Result<()> {
        let wanted = &mut out[part.within.clone()];
        if part.entry.is_hole() {
            wanted.fill(0);
            return Ok(());
        }
        let mut stored = [0; CHUNK];
        let read = self.backing.read_at(part.chunk.backing_offset(), &mut stored)?;
        self.read_chunk(segment, part.chunk, part.entry, &stored[..read], part.skip, wanted)
    }

    /// Decrypts a chunk, or the part of it that begins behind `skip` bytes, into `out`.
    pub(super) fn read_chunk(
        &self,
        segment: &Segment,
        chunk: ChunkIndex,
        entry: &Entry,
        stored: &[u8],
        skip: usize,
        out: &mut [u8],
    ) -> Result<()> {
        let mut plain = [0; CHUNK];
        let len = self.open_entry(segment, chunk, entry, stored, &mut plain)?;
        self.check_length(chunk, len)?;
        // Behind the end of a chunk that a growth is about to pad there are zeros.
        let kept = out.len().min(len.saturating_sub(skip));
        out[..kept].copy_from_slice(&plain[skip.min(len)..][..kept]);
        out[kept..].fill(0);
        Ok(())
    }

    /// Decrypts whichever version of a chunk is stored, and answers its length.
    pub(super) fn open_entry(
        &self,
        segment: &Segment,
        chunk: ChunkIndex,
        entry: &Entry,
        stored: &[u8],
        plain: &mut [u8; CHUNK],
    ) -> Result<usize> {
        let open = |seal: &Seal, plain: &mut [u8; CHUNK]| {
            self.open_chunk(segment, chunk, seal, stored, &mut plain[..seal.len()]).map(|()| seal.len())
        };
        match entry {
            Entry::Hole => Ok(0),
            Entry::One(seal) => open(seal, plain),
            // A writer leaves none behind: the sector is older than the header.
            Entry::Two(_) if !self.is_dirty() => Err(FileError::Unsettled(chunk.0)),
            Entry::Two(versions) => {
                open(&versions.current, plain).or_else(|_| open(&versions.previous, plain))
            }
        }
    }

    /// Decrypts one version of a chunk; `out` has its length.
    pub(super) fn open_chunk(
        &self,
        segment: &Segment,
        chunk: ChunkIndex,
        seal: &Seal,
        stored: &[u8],
        out: &mut [u8],
    ) -> Result<()> {
        let stored = stored.get(..seal.len()).ok_or(FileError::Chunk(chunk.0))?;
        segment
            .keys
            .content
            .open(&seal.nonce, &self.keys.chunk_aad(chunk), stored, &seal.tag, out)
            .map_err(|_| FileError::Chunk(chunk.0))
    }

    /// In a clean file every stored chunk has the length that the size gives it.
    fn check_length(&self, chunk: ChunkIndex, found: usize) -> Result<()> {
        let expected = chunk.len_in(self.size());
        if found == expected || self.is_dirty() {
            return Ok(());
        }
        Err(FileError::ChunkLength { chunk: chunk.0, expected, found })
    }
}
