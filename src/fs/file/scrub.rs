//! Looking at every byte of a file.

use super::{CryptFile, FileError, Result};
use crate::content::layout::{CHUNK, ChunkIndex, GroupIndex, SegmentIndex};
use crate::content::root::Root;
use crate::fs::backing::Backing;

/// What a scrub found.
#[derive(Debug, Default)]
pub struct ScrubReport {
    /// Chunks that are stored and authentic.
    pub chunks: u64,
    /// Everything that is wrong, in order.
    pub damage: Vec<FileError>,
}

impl<B: Backing> CryptFile<B> {
    /// Reads all sectors and all chunks, and compares the content root.
    ///
    /// # Errors
    /// [`FileError::Io`] when the backing file cannot be read; damage is reported, not an error.
    pub fn verify(&self) -> Result<ScrubReport> {
        let _shape = self.shape.write();
        let size = self.size();
        let mut report = ScrubReport::default();
        self.verify_segment(SegmentIndex(0), size, &mut report)?;
        for group in 0..GroupIndex::count(size) {
            match self.present_segments(GroupIndex(group)) {
                Ok(segments) => {
                    for segment in segments {
                        self.verify_segment(segment, size, &mut report)?;
                    }
                }
                Err(error) => report.note(error)?,
            }
        }
        match self.count_root(size) {
            Ok(root) => self.compare_root(root, &mut report),
            Err(error) => report.note(error)?,
        }
        Ok(report)
    }

    /// The root as it is known against the root as it is counted.
    fn compare_root(&self, counted: Root, report: &mut ScrubReport) {
        let known = *self.root.lock();
        if known != counted {
            report.damage.push(FileError::Root);
        }
    }

    fn verify_segment(&self, index: SegmentIndex, size: u64, report: &mut ScrubReport) -> Result<()> {
        let segment = match self.segment(index) {
            Ok(segment) => segment,
            Err(error) => return report.note(error),
        };
        let state = segment.state.read();
        for (number, entry) in state.entries.iter().enumerate().filter(|(_, entry)| !entry.is_hole()) {
            let chunk = ChunkIndex(index.first_chunk().0 + number as u64);
            let mut stored = [0; CHUNK];
            let read = self.backing.read_at(chunk.backing_offset(), &mut stored)?;
            let mut plain = [0; CHUNK];
            match self.open_entry(&segment, chunk, entry, &stored[..read], &mut plain) {
                Ok(len) if len == chunk.len_in(size) => report.chunks += 1,
                Ok(found) => {
                    let expected = chunk.len_in(size);
                    report.damage.push(FileError::ChunkLength { chunk: chunk.0, expected, found });
                }
                Err(error) => report.note(error)?,
            }
        }
        Ok(())
    }
}

impl ScrubReport {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }

    /// Notes damage; an error of the storage is none, and ends the scrub.
    fn note(&mut self, error: FileError) -> Result<()> {
        match error {
            FileError::Io(_) => Err(error),
            damage => {
                self.damage.push(damage);
                Ok(())
            }
        }
    }
}
