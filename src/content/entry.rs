//! What a tag sector says of one chunk.

use super::layout::CHUNK;
use crate::crypto::{Nonce, Tag};

/// How one version of a chunk was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// The nonce; never used twice.
    pub nonce: Nonce,
    /// The authentication tag.
    pub tag: Tag,
    /// Its bytes: 1 to 4096.
    pub len: u16,
}

/// What a tag sector says of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Entry {
    /// It reads as zeros, and is not stored.
    #[default]
    Hole,
    /// It is stored, sealed like this.
    One(Seal),
    /// It was being overwritten: either version may be stored.
    Two {
        /// The version that was being written.
        current: Seal,
        /// The version before it.
        previous: Seal,
    },
}

impl Entry {
    /// Whether it is a hole.
    pub fn is_hole(&self) -> bool {
        matches!(self, Self::Hole)
    }

    /// The newest seal.
    pub fn newest(&self) -> Option<&Seal> {
        match self {
            Self::Hole => None,
            Self::One(seal) | Self::Two { current: seal, .. } => Some(seal),
        }
    }
}

impl Seal {
    /// The bytes of the version, as a length of memory.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Never: a version has at least one byte.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// A seal of a chunk of `len` bytes.
    ///
    /// # Panics
    /// When `len` is not 1 to 4096.
    pub fn new(nonce: Nonce, tag: Tag, len: usize) -> Self {
        assert!((1..=CHUNK).contains(&len), "a stored chunk has 1 to {CHUNK} bytes, not {len}");
        Self { nonce, tag, len: len as u16 }
    }
}
