//! The keys of one file, derived from its data key.
//!
//! HKDF-SHA256 with the file id as salt; the info strings are the labels below, followed by the number of the segment or group
//! (8 bytes, big-endian). Each segment has keys of its own, so that random 96-bit nonces stay far below 2^32 for any key.

use super::layout::{ChunkIndex, GroupIndex, SegmentIndex};
use crate::crypto::content::ContentKey;
use crate::crypto::kdf::Expander;
use crate::crypto::mac::MacKey;
use crate::datakey::DataKey;
use crate::envelope::FileId;

const HEADER: &[u8] = b"kmsfs 1 header";
const CONTENT: &[u8] = b"kmsfs 1 content";
const TAGS: &[u8] = b"kmsfs 1 tags";
const INDEX: &[u8] = b"kmsfs 1 index";
const ROOT: &[u8] = b"kmsfs 1 root";

/// What all keys of a file are derived from.
#[derive(Debug)]
pub struct FileKeys {
    expander: Expander,
    file_id: FileId,
}

/// The keys of one segment.
#[derive(Debug)]
pub struct SegmentKeys {
    /// Seals chunks.
    pub content: ContentKey,
    /// Seals tag sectors.
    pub tags: ContentKey,
}

impl FileKeys {
    /// Prepares the keys of the file `file_id`.
    pub fn new(data_key: &DataKey, file_id: FileId) -> Self {
        Self { expander: Expander::new(data_key.expose(), &file_id.0), file_id }
    }

    /// The file.
    pub fn file_id(&self) -> FileId {
        self.file_id
    }

    /// Authenticates header slots.
    pub fn header(&self) -> MacKey {
        MacKey::new(&self.expander.key(&[HEADER]))
    }

    /// The pseudo-random function of the content root.
    pub fn root(&self) -> MacKey {
        MacKey::new(&self.expander.key(&[ROOT]))
    }

    /// The keys of a segment.
    pub fn segment(&self, segment: SegmentIndex) -> SegmentKeys {
        let number = segment.0.to_be_bytes();
        SegmentKeys {
            content: ContentKey::new(&self.expander.key(&[CONTENT, &number])),
            tags: ContentKey::new(&self.expander.key(&[TAGS, &number])),
        }
    }

    /// Seals the index sectors of a group.
    pub fn index(&self, group: GroupIndex) -> ContentKey {
        ContentKey::new(&self.expander.key(&[INDEX, &group.0.to_be_bytes()]))
    }

    /// The associated data of a chunk: `"kmsfs" | format (u16) | "c" | file id | chunk (u64)`.
    pub fn chunk_aad(&self, chunk: ChunkIndex) -> [u8; 32] {
        let mut aad = [0; 32];
        aad[..5].copy_from_slice(b"kmsfs");
        aad[5..7].copy_from_slice(&crate::envelope::VERSION.to_be_bytes());
        aad[7] = b'c';
        aad[8..24].copy_from_slice(&self.file_id.0);
        aad[24..].copy_from_slice(&chunk.0.to_be_bytes());
        aad
    }
}
