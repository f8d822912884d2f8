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

/// What a tag sector says of one chunk. An open file has many of them in memory, and few with two versions: those are apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Entry {
    /// It reads as zeros, and is not stored.
    #[default]
    Hole,
    /// It is stored, sealed like this.
    One(Seal),
    /// It was being overwritten: either version may be stored.
    Two(Box<Versions>),
}

/// The two versions of a chunk that was being overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The one that was being written.
    pub current: Seal,
    /// The one before it.
    pub previous: Seal,
}

impl Entry {
    /// A chunk that is being overwritten.
    pub fn two(current: Seal, previous: Seal) -> Self {
        Self::Two(Box::new(Versions { current, previous }))
    }

    /// Whether it is a hole.
    pub fn is_hole(&self) -> bool {
        matches!(self, Self::Hole)
    }

    /// The newest seal.
    pub fn newest(&self) -> Option<&Seal> {
        match self {
            Self::Hole => None,
            Self::One(seal) => Some(seal),
            Self::Two(versions) => Some(&versions.current),
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
