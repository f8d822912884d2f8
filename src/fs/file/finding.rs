//! What an examination finds wrong, and which bytes of the file it concerns.

use std::fmt;
use std::ops::Range;

use super::FileError;
use crate::content::layout::{CHUNK, ChunkIndex};
use crate::content::sector::{Place, SectorError};

/// Something that is wrong with a file.
#[derive(Debug)]
pub struct Finding {
    /// What; for several chunks in a row, the first of them.
    pub error: FileError,
    /// The plain bytes that it concerns; none where it concerns the file as a whole.
    pub bytes: Range<u64>,
    /// Whether those bytes are there and authentic all the same.
    pub readable: bool,
}

impl Finding {
    /// Concerning the file as a whole.
    pub fn of_file(error: FileError) -> Self {
        Self { error, bytes: 0..0, readable: true }
    }

    /// Takes the next finding in, where both are one to a person: chunks in a row, or parts of one sector.
    pub fn absorb(&mut self, next: &Self) -> bool {
        let follows = self.bytes.end == next.bytes.start && self.readable == next.readable;
        let joined = match (&self.error, &next.error) {
            (FileError::Chunk(_), FileError::Chunk(_)) => follows,
            (FileError::Sector(one, SectorError::FromTheFuture { .. }), FileError::Sector(other, error)) => {
                matches!(error, SectorError::FromTheFuture { .. })
                    && follows
                    && matches!((one, other), (Place::Tags(..), Place::Tags(..)))
            }
            (FileError::Sector(one, _), FileError::Sector(other, _)) => {
                one == other && (follows || self.bytes.is_empty())
            }
            _ => false,
        };
        if joined {
            let start = if self.bytes.is_empty() { next.bytes.start } else { self.bytes.start };
            self.bytes = start..next.bytes.end;
            self.readable &= next.readable;
        }
        joined
    }

    /// Adds a finding to a list.
    pub fn join(list: &mut Vec<Self>, next: Self) {
        if !list.last_mut().is_some_and(|last| last.absorb(&next)) {
            list.push(next);
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunks = self.bytes.end.saturating_sub(self.bytes.start).div_ceil(CHUNK as u64);
        match &self.error {
            FileError::Chunk(first) if chunks > 1 => {
                let last = ChunkIndex::containing(self.bytes.end - 1).0;
                write!(f, "chunks {first} to {last} do not authenticate")?;
            }
            error => write!(f, "{error}")?,
        }
        if self.bytes.is_empty() {
            return Ok(());
        }
        write!(f, " (bytes {} to {})", self.bytes.start, self.bytes.end - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(number: u64) -> Finding {
        let start = number * CHUNK as u64;
        Finding { error: FileError::Chunk(number), bytes: start..start + CHUNK as u64, readable: false }
    }

    #[test]
    fn chunks_in_a_row_are_one_finding_and_others_are_not() {
        let mut list = Vec::new();
        [3, 4, 5, 7].map(chunk).into_iter().for_each(|next| Finding::join(&mut list, next));
        let texts: Vec<_> = list.iter().map(Finding::to_string).collect();
        assert_eq!(
            texts,
            [
                "chunks 3 to 5 do not authenticate (bytes 12288 to 24575)",
                "chunk 7 does not authenticate (bytes 28672 to 32767)"
            ]
        );
    }

    #[test]
    fn what_concerns_the_whole_file_names_no_bytes() {
        assert!(!Finding::of_file(FileError::Root).to_string().contains("bytes"));
    }
}
