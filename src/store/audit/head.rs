//! The head of the chain: how far the log goes, in a file of its own that only who holds the log's lock writes (rule AUD-3).
//!
//! ```text
//! HOME/audit.head, 192 bytes, numbers big endian
//!   0    8   "kmsfsah1"
//!   8   16   id of the chain
//!  24    8   number of the file `audit.log` (the rotated ones have the numbers below it)
//!  32    8   end of its last record
//!  40    8   number of that record
//!  48   32   its hash
//!  80    8   highest generation of the key store that any record names
//!  88    8   up to where the file's space is reserved
//!  96    8   end, \
//! 104    8   number, > of the last record that is known to be on disk
//! 112   32   hash,   /
//! 144   16   boot id of the machine that wrote this (`/proc/sys/kernel/random/boot_id`)
//! 160   32   HMAC-SHA256 under the chain's head key, over all of the above
//! ```
//!
//! It lies within one page and is written by one call, so neither a kill nor a loss of power leaves half of it.

use super::chain::{CHAIN_ID_LEN, ChainKeys, HASH_LEN};
use crate::crypto::mac::{MAC_LEN, same};

/// Its name in a home.
pub const FILE_NAME: &str = "audit.head";
/// Bytes of a head.
pub const HEAD_LEN: usize = 192;
const MAGIC: &[u8; 8] = b"kmsfsah1";

/// A place in the chain: behind a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where the record ends in its file.
    pub end: u64,
    /// Its number; 0 before the first.
    pub number: u64,
    /// Its hash.
    pub hash: [u8; HASH_LEN],
}

/// A head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The chain.
    pub chain: [u8; CHAIN_ID_LEN],
    /// The number of the file that is appended to, from 1.
    pub file: u64,
    /// The last record.
    pub last: Place,
    /// The highest generation of the key store that a record names.
    pub generation: i64,
    /// Up to where the file's space is reserved.
    pub reserved: u64,
    /// The last record that is known to be on disk, in the same file; its end is 0 where that is in an earlier one.
    pub synced: Place,
    /// Tells one run of a machine from the next.
    pub boot: [u8; 16],
}

impl Head {
    /// Its bytes.
    pub fn encode(&self, keys: &ChainKeys) -> [u8; HEAD_LEN] {
        let mut out = Vec::with_capacity(HEAD_LEN);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.chain);
        out.extend_from_slice(&self.file.to_be_bytes());
        put(&mut out, &self.last);
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&self.reserved.to_be_bytes());
        put(&mut out, &self.synced);
        out.extend_from_slice(&self.boot);
        let mac = keys.head_mac(&out);
        out.extend_from_slice(&mac);
        let mut bytes = [0; HEAD_LEN];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// The head that `bytes` are, if it authenticates and is of the chain that `keys` are of.
    pub fn decode(bytes: &[u8; HEAD_LEN], keys: &ChainKeys) -> Option<Self> {
        let (body, mac) = bytes.split_at(HEAD_LEN - MAC_LEN);
        if !same(&keys.head_mac(body), mac) {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC)?;
        let chain = take(&mut rest)?;
        let head = Self {
            chain,
            file: number(&mut rest)?,
            last: place(&mut rest)?,
            generation: i64::from_be_bytes(take(&mut rest)?),
            reserved: number(&mut rest)?,
            synced: place(&mut rest)?,
            boot: take(&mut rest)?,
        };
        (chain == keys.id()).then_some(head)
    }

    /// The chain that a head says it is of, before anything is authenticated.
    pub fn claimed_chain(bytes: &[u8; HEAD_LEN]) -> Option<[u8; CHAIN_ID_LEN]> {
        take(&mut bytes.strip_prefix(MAGIC)?)
    }
}

fn put(out: &mut Vec<u8>, place: &Place) {
    out.extend_from_slice(&place.end.to_be_bytes());
    out.extend_from_slice(&place.number.to_be_bytes());
    out.extend_from_slice(&place.hash);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*bytes)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_be_bytes)
}

fn place(rest: &mut &[u8]) -> Option<Place> {
    Some(Place { end: number(rest)?, number: number(rest)?, hash: take(rest)? })
}

/// What tells this run of the machine from others; zeros where the kernel does not say.
pub fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    uuid::Uuid::parse_str(text.trim()).map(uuid::Uuid::into_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;

    #[test]
    fn aud_3_a_head_reads_back_and_every_flipped_bit_is_noticed() {
        let keys = ChainKeys::new([7; CHAIN_ID_LEN], &Secret::random());
        let place = |n: u8| Place { end: u64::from(n), number: u64::from(n) + 1, hash: [n; HASH_LEN] };
        let head = Head {
            chain: keys.id(),
            file: 3,
            last: place(9),
            generation: -4,
            reserved: 5,
            synced: place(2),
            boot: [8; 16],
        };
        let bytes = head.encode(&keys);
        assert_eq!(Head::decode(&bytes, &keys), Some(head));
        assert_eq!(Head::claimed_chain(&bytes), Some(keys.id()));
        for bit in 0..HEAD_LEN * 8 {
            let mut altered = bytes;
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&altered, &keys), None, "bit {bit}");
        }
        assert_eq!(Head::decode(&bytes, &ChainKeys::new([7; CHAIN_ID_LEN], &Secret::random())), None);
    }
}
