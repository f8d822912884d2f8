//! Reading: one read of the backing file for each segment that a request touches, decrypted straight into the answer.

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

    /// Reads what a piece of one segment holds.
    fn read_piece(
        &self,
        segment: &Segment,
        state: &SegmentState,
        piece: Range<u64>,
        out: &mut [u8],
    ) -> Result<()> {
        let first = ChunkIndex::containing(piece.start).in_segment();
        let last = ChunkIndex::containing(piece.end - 1).in_segment();
        let entries = &state.entries[first..=last];
        let Some(from) = entries.iter().position(|entry| !entry.is_hole()) else {
            out.fill(0);
            return Ok(());
        };
        // From the first to the last chunk that is stored; what lies between is read with them.
        let to = entries.iter().rposition(|entry| !entry.is_hole()).unwrap_or(from);
        let from_chunk = ChunkIndex(segment.index.first_chunk().0 + (first + from) as u64);
        with_scratch(|scratch| {
            let stored = &mut scratch[..(to - from + 1) * CHUNK];
            let read = self.backing.read_at(from_chunk.backing_offset(), stored)?;
            for (number, entry) in entries.iter().enumerate() {
                let chunk = ChunkIndex(segment.index.first_chunk().0 + (first + number) as u64);
                let at = number.saturating_sub(from) * CHUNK;
                let stored = stored.get(at..read.min(at + CHUNK)).unwrap_or(&[]);
                let wanted = piece.start.max(chunk.start())..piece.end.min(chunk.start() + CHUNK as u64);
                let part = (wanted.start - piece.start) as usize..(wanted.end - piece.start) as usize;
                let skip = (wanted.start - chunk.start()) as usize;
                self.read_chunk(segment, chunk, entry, stored, skip, &mut out[part])?;
            }
            Ok(())
        })
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
        let Some(seal) = entry.newest() else {
            out.fill(0);
            return Ok(());
        };
        let one = matches!(entry, Entry::One(_)) || self.is_dirty();
        let whole = one && skip == 0 && out.len() == seal.len();
        if whole && self.open_chunk(segment, chunk, seal, stored, out).is_ok() {
            return Ok(());
        }
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
            Entry::Two { .. } if !self.is_dirty() => Err(FileError::Unsettled(chunk.0)),
            Entry::Two { current, previous } => open(current, plain).or_else(|_| open(previous, plain)),
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
