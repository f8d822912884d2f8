//! Writing, in the order that keeps each chunk wholly old or wholly new.
//!
//! In each segment that a request touches: first the tag sectors of chunks that are overwritten, with both versions; then the
//! ciphertext, in one write; then the tag sectors of chunks that are new. Last, the index bits of segments that are new.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::read::{pieces, with_scratch};
use super::segment::{Segment, SegmentState};
use super::{CryptFile, Durability, FileError, Result};
use crate::content::layout::{
    self, CHUNK, CHUNKS_PER_SECTOR, ChunkIndex, SECTOR, SEGMENT_CHUNKS, SegmentIndex,
};
use crate::content::{Entry, Seal, Versions};
use crate::crypto::{NONCE_LEN, rng};
use crate::envelope::ResizeKind;
use crate::fs::backing::Backing;

/// How far ahead of its end a growing file announces its growth, in bytes: so often a header is written.
pub(super) const APPEND_AHEAD: u64 = 64 * 1024 * 1024;

/// Where the bytes of a write come from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// The caller's bytes, from the first plain offset of the write on.
    Data(&'a [u8]),
    /// Zeros.
    Zeros,
    /// What is there already, zeros behind its end: a chunk gets another length.
    Kept,
}

/// A piece of a write within one segment.
struct Piece<'a> {
    range: Range<u64>,
    source: Source<'a>,
    /// The size of the file when the write is done: what lengths the chunks have then.
    size_after: u64,
}

impl<'a> Source<'a> {
    fn at(self, skip: u64, len: usize) -> Option<&'a [u8]> {
        match self {
            Self::Data(data) => Some(&data[skip as usize..skip as usize + len]),
            Self::Zeros | Self::Kept => None,
        }
    }
}

impl<B: Backing> CryptFile<B> {
    /// Writes at a plain offset; what lies between the end and the offset becomes a hole. When it returns, the bytes are in the
    /// backing file.
    ///
    /// # Errors
    /// [`FileError`]; part of the data may be written then, each chunk of it wholly.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.check_writable()?;
        let end = Self::end_of(offset, data.len() as u64)?;
        if data.is_empty() {
            return Ok(());
        }
        {
            let _shape = self.shape.read();
            if end <= self.size() && !self.is_unfinished() {
                self.ensure_dirty()?;
                return self.write_range(offset..end, Source::Data(data), self.size());
            }
        }
        let _shape = self.shape.write();
        self.finish()?;
        self.write_extending(offset..end, data)
    }

    /// Writes at the end, wherever that is, and answers where the data begins.
    ///
    /// # Errors
    /// As [`CryptFile::write_at`].
    pub fn append(&self, data: &[u8]) -> Result<u64> {
        self.check_writable()?;
        let _shape = self.shape.write();
        self.finish()?;
        let offset = self.size();
        let end = Self::end_of(offset, data.len() as u64)?;
        if !data.is_empty() {
            self.write_extending(offset..end, data)?;
        }
        Ok(offset)
    }

    /// Writes a range that may end behind the file. The caller holds `shape` for writing.
    fn write_extending(&self, range: Range<u64>, data: &[u8]) -> Result<()> {
        let size = self.size();
        if range.end <= size {
            self.ensure_dirty()?;
            return self.write_range(range, Source::Data(data), size);
        }
        if range.start > size {
            self.grow_to(range.start)?;
        }
        let size = self.size();
        self.announce_append(size, range.end)?;
        let outcome = self
            .reach(size, range.end)
            .and_then(|()| self.begin_groups(size, range.end))
            .and_then(|()| self.write_range(range.clone(), Source::Data(data), range.end));
        match outcome {
            Ok(()) => self.size.store(range.end, Ordering::Release),
            Err(_) => self.undo_growth(),
        }
        outcome
    }

    /// In strict mode, before the last chunk gets longer: its new bytes must not be on disk with the old size of the backing file, which
    /// would cut them off.
    fn reach(&self, size: u64, end: u64) -> Result<()> {
        if self.durability == Durability::Strict && !size.is_multiple_of(CHUNK as u64) {
            self.backing.set_len(layout::backing_size(end))?;
        }
        Ok(())
    }

    /// The header must say that the file is growing, and how far it may.
    fn announce_append(&self, size: u64, end: u64) -> Result<()> {
        let announced = {
            let head = self.head.lock();
            head.header.dirty && head.header.resize == ResizeKind::Append && head.header.target_size >= end
        };
        if announced {
            // A new file's header has permitted it, and until now nothing had changed.
            self.dirty.store(true, Ordering::Release);
            return Ok(());
        }
        let target = end.saturating_add(APPEND_AHEAD).min(layout::MAX_SIZE);
        self.announce(ResizeKind::Append, size, target)
    }

    /// Writes a range; the size is `size_after` when all of it is done. The caller holds `shape` and made the file dirty.
    pub(super) fn write_range(&self, range: Range<u64>, source: Source<'_>, size_after: u64) -> Result<()> {
        self.note_change();
        let mut newborn = Vec::new();
        let start = range.start;
        let mut outcome = Ok(());
        for (index, piece) in pieces(range) {
            let source = match source {
                Source::Data(data) => {
                    Source::Data(&data[(piece.start - start) as usize..(piece.end - start) as usize])
                }
                Source::Zeros | Source::Kept => source,
            };
            outcome = self.write_piece(index, &Piece { range: piece, source, size_after }, &mut newborn);
            if outcome.is_err() {
                break;
            }
        }
        if !newborn.is_empty() {
            if self.durability == Durability::Strict {
                self.backing.sync()?;
            }
            let segments: Vec<_> = newborn.iter().map(|segment: &Arc<Segment>| segment.index).collect();
            self.mark(&segments, true)?;
            newborn.iter().for_each(|segment| segment.state.write().marked = true);
        }
        outcome
    }

    fn write_piece(
        &self,
        index: SegmentIndex,
        piece: &Piece<'_>,
        newborn: &mut Vec<Arc<Segment>>,
    ) -> Result<()> {
        let segment = self.segment(index)?;
        if index.start() < self.floor_ahead.load(Ordering::Acquire) && !segment.state.read().present {
            self.floor_on_disk()?;
        }
        let mut state = segment.state.write();
        with_scratch(|scratch| {
            let first = ChunkIndex::containing(piece.range.start);
            let last = ChunkIndex::containing(piece.range.end - 1);
            let seals = self.seal_chunks(&segment, &state, piece, scratch)?;
            let bytes = (last.0 - first.0) as usize * CHUNK + last.len_in(piece.size_after);
            self.store(&segment, &mut state, first, &seals, &scratch[..bytes])
        })?;
        if !state.marked {
            newborn.push(segment.clone());
        }
        Ok(())
    }

    /// Encrypts the chunks of a piece into `scratch`, one behind the other, reading what the piece leaves of them.
    fn seal_chunks(
        &self,
        segment: &Segment,
        state: &SegmentState,
        piece: &Piece<'_>,
        scratch: &mut [u8],
    ) -> Result<Vec<Seal>> {
        let first = ChunkIndex::containing(piece.range.start);
        let last = ChunkIndex::containing(piece.range.end - 1);
        let count = (last.0 - first.0 + 1) as usize;
        let mut nonces = [0; NONCE_LEN * SEGMENT_CHUNKS as usize];
        rng::fill(&mut nonces[..NONCE_LEN * count]);
        let mut seals = Vec::with_capacity(count);
        for (number, nonce) in nonces.as_chunks::<NONCE_LEN>().0[..count].iter().enumerate() {
            let chunk = ChunkIndex(first.0 + number as u64);
            let len = chunk.len_in(piece.size_after);
            let part =
                piece.range.start.max(chunk.start())..piece.range.end.min(chunk.start() + CHUNK as u64);
            let skip = (part.start - chunk.start()) as usize;
            let part_len = (part.end - part.start) as usize;
            let given = piece.source.at(part.start - piece.range.start, part_len);
            let out = &mut scratch[number * CHUNK..][..len];
            let aad = self.keys.chunk_aad(chunk);
            let tag = match given {
                Some(data) if part_len == len => segment.keys.content.seal(nonce, &aad, data, out),
                _ => {
                    let kept = matches!(piece.source, Source::Kept);
                    let mut plain = self.old_chunk(segment, state, chunk, part_len == len && !kept)?;
                    match given {
                        Some(data) => plain[skip..skip + part_len].copy_from_slice(data),
                        None if kept => (),
                        None => plain[skip..skip + part_len].fill(0),
                    }
                    segment.keys.content.seal(nonce, &aad, &plain[..len], out)
                }
            };
            seals.push(Seal::new(*nonce, tag, len));
        }
        Ok(seals)
    }

    /// A chunk as it is now, zeros behind its end; all zeros where `replaced` says that nothing of it stays.
    fn old_chunk(
        &self,
        segment: &Segment,
        state: &SegmentState,
        chunk: ChunkIndex,
        replaced: bool,
    ) -> Result<[u8; CHUNK]> {
        let mut plain = [0; CHUNK];
        let entry = &state.entries[chunk.in_segment()];
        if replaced || entry.is_hole() {
            return Ok(plain);
        }
        let mut stored = [0; CHUNK];
        let read = self.backing.read_at(chunk.backing_offset(), &mut stored)?;
        let len = self.open_entry(segment, chunk, entry, &stored[..read], &mut plain)?;
        plain[len..].fill(0);
        Ok(plain)
    }

    /// Stores sealed chunks in the order that keeps them whole; `state` says afterwards what is stored.
    fn store(
        &self,
        segment: &Segment,
        state: &mut SegmentState,
        first: ChunkIndex,
        seals: &[Seal],
        ciphertext: &[u8],
    ) -> Result<()> {
        let from = first.in_segment();
        let chunks = from..from + seals.len();
        let offset = first.backing_offset();
        let (from_sector, to_sector) = (from / CHUNKS_PER_SECTOR, (chunks.end - 1) / CHUNKS_PER_SECTOR);
        if !state.present {
            return self.store_newborn(segment, state, first, seals, ciphertext);
        }
        let old: Vec<Entry> = state.entries[chunks.clone()].to_vec();
        let overwrites = old.iter().any(|entry| !entry.is_hole());
        let creates = old.iter().any(Entry::is_hole);
        if overwrites {
            for number in chunks.clone() {
                // Before a chunk gets a third version, it is known which of two is stored.
                self.resolve(segment, state, number)?;
            }
            for (number, seal) in chunks.clone().zip(seals) {
                if let Some(previous) = state.entries[number].newest().copied() {
                    state.entries[number] = Entry::two(*seal, previous);
                }
            }
            self.unsettled.lock().insert(segment.index.0);
            self.write_sectors(segment, state, from_sector, to_sector)?;
            if self.durability == Durability::Strict {
                self.backing.sync()?;
            }
        }
        self.backing.write_at(offset, &[ciphertext])?;
        for (number, seal) in chunks.zip(seals) {
            state.entries[number] = Entry::One(*seal);
        }
        if creates {
            if self.durability == Durability::Strict {
                // A hole that was synced must not become a chunk whose data is not there.
                self.backing.sync()?;
            }
            self.write_sectors(segment, state, from_sector, to_sector)?;
        }
        Ok(())
    }

    /// Stores the first chunks of a segment that does not exist yet: until its index bit is set, nothing reads it.
    fn store_newborn(
        &self,
        segment: &Segment,
        state: &mut SegmentState,
        first: ChunkIndex,
        seals: &[Seal],
        ciphertext: &[u8],
    ) -> Result<()> {
        let mut new = SegmentState { marked: false, ..SegmentState::empty(segment.index) };
        for (number, seal) in seals.iter().enumerate() {
            new.entries[first.in_segment() + number] = Entry::One(*seal);
        }
        let mut page = [0; CHUNKS_PER_SECTOR * SECTOR];
        let nonces = rng::nonces::<CHUNKS_PER_SECTOR>();
        for (number, nonce) in nonces.iter().enumerate().take(segment.index.sectors()) {
            let bytes = self.seal_sector(segment, &new, number, self.epoch(), nonce);
            new.members[number] = self.sector_member(segment, number, &bytes);
            page[number * SECTOR..][..SECTOR].copy_from_slice(&bytes);
        }
        let tags = segment.index.tags_offset();
        if first.in_segment() == 0 {
            self.backing.write_at(tags, &[&page, ciphertext])?;
        } else {
            self.backing.write_at(tags, &[&page])?;
            self.backing.write_at(first.backing_offset(), &[ciphertext])?;
        }
        new.members.iter().for_each(|member| self.replace_member(None, Some(member)));
        *state = new;
        Ok(())
    }

    /// Finds out which of two versions of a chunk is stored. One that neither fits is left as it is: overwriting it whole heals it.
    pub(super) fn resolve(&self, segment: &Segment, state: &mut SegmentState, number: usize) -> Result<()> {
        let Entry::Two(versions) = &state.entries[number] else { return Ok(()) };
        let Versions { current, previous } = **versions;
        let chunk = ChunkIndex(segment.index.first_chunk().0 + number as u64);
        let mut stored = [0; CHUNK];
        let read = self.backing.read_at(chunk.backing_offset(), &mut stored)?;
        let mut plain = [0; CHUNK];
        for seal in [current, previous] {
            let fits = self.open_chunk(segment, chunk, &seal, &stored[..read], &mut plain[..seal.len()]);
            match fits {
                Ok(()) => {
                    state.entries[number] = Entry::One(seal);
                    return Ok(());
                }
                Err(FileError::Chunk(_)) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
