//! Where everything lies: offsets and sizes, as arithmetic.
//!
//! ```text
//! page 0        slot A (1024) | slot B (1024) | 4 tag sectors (512) of segment 0
//! pages 1..=32  segment 0: 32 chunks
//! then groups:  index page (8 index sectors: a bit for each of 16,384 segments)
//!               | tag page (8 tag sectors) | 64 chunks      segment 1
//!               | tag page | 64 chunks                      segment 2 ...
//! ```

/// Bytes in a page of the backing file; all offsets are multiples of it.
pub const PAGE: u64 = 4096;
/// Bytes of plaintext, and of ciphertext, in a whole chunk.
pub const CHUNK: usize = 4096;
/// Bytes in a tag sector or an index sector.
pub const SECTOR: usize = 512;
/// Chunks that a tag sector describes.
pub const CHUNKS_PER_SECTOR: usize = 8;
/// Chunks in segment 0.
pub const FIRST_SEGMENT_CHUNKS: u64 = 32;
/// Chunks in every other segment.
pub const SEGMENT_CHUNKS: u64 = 64;
/// Segments in a group.
pub const GROUP_SEGMENTS: u64 = 16_384;
/// Bits in an index sector, one a segment.
pub const SECTOR_SEGMENTS: u64 = 2_048;
/// Index sectors in an index page.
pub const INDEX_SECTORS: usize = 8;
/// Where the tag sectors of segment 0 begin in page 0.
pub const HEAD_TAGS: u64 = 2048;
pub use crate::envelope::MAX_SIZE;

/// Pages of one segment of a group: its tag page and its chunks.
const SEGMENT_PAGES: u64 = 1 + SEGMENT_CHUNKS;
/// Pages of a group.
const GROUP_PAGES: u64 = 1 + GROUP_SEGMENTS * SEGMENT_PAGES;
/// Pages before the first group.
const HEAD_PAGES: u64 = 1 + FIRST_SEGMENT_CHUNKS;

/// The number of a chunk in its file, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkIndex(pub u64);

/// The number of a segment in its file, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentIndex(pub u64);

/// The number of a group in its file, from 0; segment 0 is in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupIndex(pub u64);

/// A plain size computed from a backing file's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainSize {
    /// The plain size in bytes, rounded down.
    pub size: u64,
    /// Whether a plain size maps to exactly this backing size.
    pub exact: bool,
}

impl ChunkIndex {
    /// The chunk that the plain offset `offset` lies in.
    pub fn containing(offset: u64) -> Self {
        Self(offset / CHUNK as u64)
    }

    /// The plain offset of its first byte.
    pub fn start(self) -> u64 {
        self.0 * CHUNK as u64
    }

    /// The bytes it has in a file of the plain size `size`: 0 to 4096.
    pub fn len_in(self, size: u64) -> usize {
        size.saturating_sub(self.start()).min(CHUNK as u64) as usize
    }

    /// Its segment.
    pub fn segment(self) -> SegmentIndex {
        match self.0.checked_sub(FIRST_SEGMENT_CHUNKS) {
            None => SegmentIndex(0),
            Some(rest) => SegmentIndex(1 + rest / SEGMENT_CHUNKS),
        }
    }

    /// Its number within its segment.
    pub fn in_segment(self) -> usize {
        (self.0 - self.segment().first_chunk().0) as usize
    }

    /// Where its ciphertext begins in the backing file.
    pub fn backing_offset(self) -> u64 {
        let segment = self.segment();
        let first = if segment.0 == 0 { PAGE } else { segment.tags_offset() + PAGE };
        first + self.in_segment() as u64 * PAGE
    }
}

impl SegmentIndex {
    /// Its first chunk.
    pub fn first_chunk(self) -> ChunkIndex {
        match self.0.checked_sub(1) {
            None => ChunkIndex(0),
            Some(rest) => ChunkIndex(FIRST_SEGMENT_CHUNKS + rest * SEGMENT_CHUNKS),
        }
    }

    /// How many chunks it has.
    pub fn chunks(self) -> usize {
        if self.0 == 0 { FIRST_SEGMENT_CHUNKS as usize } else { SEGMENT_CHUNKS as usize }
    }

    /// How many tag sectors it has.
    pub fn sectors(self) -> usize {
        self.chunks() / CHUNKS_PER_SECTOR
    }

    /// Where its tag sectors begin in the backing file.
    pub fn tags_offset(self) -> u64 {
        match self.group() {
            None => HEAD_TAGS,
            Some((group, within)) => group.index_offset() + PAGE * (1 + within * SEGMENT_PAGES),
        }
    }

    /// Its group and its number there; segment 0 has none.
    pub fn group(self) -> Option<(GroupIndex, u64)> {
        let rest = self.0.checked_sub(1)?;
        Some((GroupIndex(rest / GROUP_SEGMENTS), rest % GROUP_SEGMENTS))
    }

    /// The plain offset of its first byte.
    pub fn start(self) -> u64 {
        self.first_chunk().start()
    }

    /// The plain offset behind its last byte.
    pub fn end(self) -> u64 {
        self.start() + (self.chunks() * CHUNK) as u64
    }
}

impl GroupIndex {
    /// Where its index page lies in the backing file.
    pub fn index_offset(self) -> u64 {
        PAGE * (HEAD_PAGES + self.0 * GROUP_PAGES)
    }

    /// Its first segment.
    pub fn first_segment(self) -> SegmentIndex {
        SegmentIndex(1 + self.0 * GROUP_SEGMENTS)
    }

    /// How many groups a file of the plain size `size` has.
    pub fn count(size: u64) -> u64 {
        let rest = size.saturating_sub(FIRST_SEGMENT_CHUNKS * CHUNK as u64);
        rest.div_ceil(GROUP_SEGMENTS * SEGMENT_CHUNKS * CHUNK as u64)
    }
}

/// The size of the backing file of a plain size, in bytes.
pub fn backing_size(plain: u64) -> u64 {
    if plain == 0 {
        return PAGE;
    }
    let last = ChunkIndex::containing(plain - 1);
    last.backing_offset() + last.len_in(plain) as u64
}

/// The plain size of a backing size. Exact for every size that [`backing_size`] gives; any other is rounded down, and a
/// backing file shorter than a page has the plain size 0.
pub fn plain_size(backing: u64) -> PlainSize {
    if backing <= PAGE {
        return PlainSize { size: 0, exact: backing == PAGE };
    }
    let (page, within) = ((backing - 1) / PAGE, (backing - 1) % PAGE + 1);
    let exact = |chunk: ChunkIndex| PlainSize { size: chunk.start() + within, exact: true };
    let Some(rest) = page.checked_sub(HEAD_PAGES) else { return exact(ChunkIndex(page - 1)) };
    let group = GroupIndex(rest / GROUP_PAGES);
    let Some(rest) = (rest % GROUP_PAGES).checked_sub(1) else {
        return PlainSize { size: group.first_segment().start(), exact: false };
    };
    let segment = SegmentIndex(group.first_segment().0 + rest / SEGMENT_PAGES);
    match (rest % SEGMENT_PAGES).checked_sub(1) {
        None => PlainSize { size: segment.start(), exact: false },
        Some(chunk) => exact(ChunkIndex(segment.first_chunk().0 + chunk)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    const GIB: u64 = 1024 * MIB;

    #[test]
    fn the_worked_sizes_of_the_documentation() {
        let document = include_str!("../../docs/FORMAT.md");
        let sizes = [
            0,
            1,
            4096,
            4097,
            128 * KIB,
            128 * KIB + 1,
            384 * KIB,
            384 * KIB + 1,
            GIB,
            4 * GIB + 128 * KIB + 1,
            MAX_SIZE,
        ];
        for plain in sizes {
            let row = format!("| {plain} | {} |", backing_size(plain));
            assert!(document.contains(&row), "docs/FORMAT.md lacks: {row}");
        }
    }

    #[test]
    fn a_group_ends_where_the_next_index_page_begins() {
        let last = SegmentIndex(GROUP_SEGMENTS);
        assert_eq!(last.group(), Some((GroupIndex(0), GROUP_SEGMENTS - 1)));
        let next = SegmentIndex(GROUP_SEGMENTS + 1);
        assert_eq!(next.group(), Some((GroupIndex(1), 0)));
        assert_eq!(GroupIndex(1).index_offset(), backing_size(last.end()));
        assert_eq!(next.tags_offset(), GroupIndex(1).index_offset() + PAGE);
    }

    #[test]
    fn backing_sizes_that_no_file_has_are_rounded_down() {
        for (backing, plain) in
            [(0, 0), (4095, 0), (33 * PAGE + 1, 128 * KIB), (34 * PAGE, 128 * KIB), (35 * PAGE, 128 * KIB)]
        {
            assert_eq!(plain_size(backing), PlainSize { size: plain, exact: false }, "{backing}");
        }
    }

    proptest! {
        #[test]
        fn a_plain_size_comes_back_from_its_backing_size(plain in 0..=MAX_SIZE) {
            prop_assert_eq!(plain_size(backing_size(plain)), PlainSize { size: plain, exact: true });
        }

        #[test]
        fn backing_sizes_grow_with_plain_sizes(plain in 0..MAX_SIZE) {
            prop_assert!(backing_size(plain) < backing_size(plain + 1));
        }

        #[test]
        fn a_chunk_is_found_where_its_segment_says(chunk in 0..MAX_SIZE / CHUNK as u64) {
            let chunk = ChunkIndex(chunk);
            let segment = chunk.segment();
            prop_assert_eq!(segment.first_chunk().0 + chunk.in_segment() as u64, chunk.0);
            prop_assert!(chunk.in_segment() < segment.chunks());
            prop_assert!(chunk.start() >= segment.start() && chunk.start() < segment.end());
        }
    }
}
