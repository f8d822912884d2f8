//! What a home knows of the encrypted directories whose files its keys govern: for people, who ask what a key governs. Nothing is
//! decided on it; the files' own headers say which key they need.

use crate::clock::Timestamp;
use crate::datakey::KeyArn;

/// An encrypted directory that was made or mounted with this home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeRecord {
    /// The volume's id.
    pub id: String,
    /// Where it was seen last: an absolute path.
    pub path: String,
    /// When.
    pub seen: Timestamp,
    /// What was counted in it last.
    pub count: Option<Count>,
}

/// A count of a volume's files by what governs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// When it was made.
    pub at: Timestamp,
    /// What it found, in the order of keys and versions.
    pub usage: Vec<KeyUsage>,
}

/// The files under one version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUsage {
    /// The CMK.
    pub key: KeyArn,
    /// The version of its backing key.
    pub version: u32,
    /// How many files.
    pub files: u64,
    /// Their plain sizes together.
    pub bytes: u64,
}

/// How long a volume that is where it was is not noted again, in milliseconds: each note is a transaction of the key store.
const FRESH: i64 = 86_400_000;

impl VolumeRecord {
    /// Whether it says nothing that `known` does not, but for a time that is not much later.
    pub fn is_known(&self, known: &Self) -> bool {
        let age = self.seen.as_millis().saturating_sub(known.seen.as_millis());
        self.path == known.path && self.count.is_none() && (0..FRESH).contains(&age)
    }

    /// As it is kept where `known` was: what was counted stays until it is counted again.
    pub fn after(self, known: Option<&Self>) -> Self {
        let count = self.count.or_else(|| known.and_then(|known| known.count.clone()));
        Self { count, ..self }
    }
}
