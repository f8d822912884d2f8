//! What makes a line of the audit log a link of a chain (rule AUD-3).
//!
//! Each record ends with one member more, `chain`, always written in the same way and always last:
//!
//! ```text
//! {"eventVersion":.., .. ,"chain":{"number":17,"generation":9,"previous":"<64 hex>","mac":"<64 hex>"}}\n
//!                                                                          ^
//! hash       = SHA-256(the line up to and with `"mac":"`)                  up to here
//! mac        = HMAC-SHA256(line key, hash)
//! previous   = the hash of the line before
//! number     = that of the line before, and one
//! generation = the generation of the key store that the process had seen
//! keys       = HKDF-SHA256(root key, salt = chain id, "kmsfs audit 1"), expanded for lines and for heads
//! ```
//!
//! One hash of a line serves both the chain and the MAC. Who ships the log elsewhere can follow the hashes without any key.

use std::io::Write;

use crate::crypto::hash::sha256;
use crate::crypto::mac::{MAC_LEN, MacKey};
use crate::crypto::{KEY_LEN, Secret, kdf, mac};

/// Bytes of the random id of a chain.
pub const CHAIN_ID_LEN: usize = 16;
/// Bytes of a hash.
pub const HASH_LEN: usize = 32;
/// How the member begins.
const BEGIN: &[u8] = b",\"chain\":{\"number\":";
/// What stands between a line's hashed part and its MAC.
const MAC: &[u8] = b"\"mac\":\"";
/// How a line ends, without the line feed.
const END: &[u8] = b"\"}}";
/// The longest member: two numbers of 20 digits, two times 64 hex digits, and the words.
pub const MEMBER_MAX: usize = 256;

/// A link: what a line says of its place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Counts the records of a chain from 1, over all files.
    pub number: u64,
    /// The generation of the key store that its writer had seen.
    pub generation: i64,
    /// The hash of the line before.
    pub previous: [u8; HASH_LEN],
    /// The hash of this line.
    pub hash: [u8; HASH_LEN],
}

/// Why a line is no link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoLink {
    /// It does not end as links do.
    Unchained,
    /// Its MAC is not that of its bytes.
    Altered,
}

/// The keys of one chain.
pub struct ChainKeys {
    id: [u8; CHAIN_ID_LEN],
    line: MacKey,
    head: MacKey,
}

impl std::fmt::Debug for ChainKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChainKeys(..)")
    }
}

impl ChainKeys {
    /// Those of the chain `id`; `key` is derived from the root key for this chain and nothing else.
    pub fn new(id: [u8; CHAIN_ID_LEN], key: &Secret<KEY_LEN>) -> Self {
        let keys = kdf::Expander::new(key.expose(), b"");
        let key = |label: &[u8]| MacKey::new(&keys.key(&[label]));
        Self { id, line: key(b"kmsfs audit line v1"), head: key(b"kmsfs audit head v1") }
    }

    /// The id of the chain.
    pub const fn id(&self) -> [u8; CHAIN_ID_LEN] {
        self.id
    }

    /// The MAC of a head.
    pub fn head_mac(&self, head: &[u8]) -> [u8; MAC_LEN] {
        self.head.sign(&[head])
    }

    /// Makes `line`, a JSON object and a line feed, a link; its hash.
    pub fn seal(
        &self,
        line: &mut Vec<u8>,
        number: u64,
        generation: i64,
        previous: &[u8; HASH_LEN],
    ) -> [u8; HASH_LEN] {
        line.truncate(line.len().saturating_sub(b"}\n".len()));
        line.reserve(MEMBER_MAX);
        line.extend_from_slice(BEGIN);
        // Writing to memory does not fail.
        let _ = write!(line, "{number},\"generation\":{generation},\"previous\":\"");
        push_hex(line, previous);
        line.extend_from_slice(b"\",");
        line.extend_from_slice(MAC);
        let hash = sha256(&[line]);
        push_hex(line, &self.line.sign(&[&hash]));
        line.extend_from_slice(END);
        line.push(b'\n');
        hash
    }

    /// The link that a line is, with or without its line feed.
    ///
    /// # Errors
    /// [`NoLink`]; nothing else of the line counts then.
    pub fn open(&self, line: &[u8]) -> Result<Link, NoLink> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mac_at = line.len().checked_sub(END.len() + 2 * MAC_LEN).ok_or(NoLink::Unchained)?;
        let (hashed, rest) = line.split_at(mac_at);
        if !hashed.ends_with(MAC) || !rest.ends_with(END) {
            return Err(NoLink::Unchained);
        }
        let said = from_hex::<MAC_LEN>(&rest[..2 * MAC_LEN]).ok_or(NoLink::Altered)?;
        let hash = sha256(&[hashed]);
        if !mac::same(&self.line.sign(&[&hash]), &said) {
            return Err(NoLink::Altered);
        }
        member(hashed, hash).ok_or(NoLink::Unchained)
    }
}

/// The member at the end of a line's hashed part.
fn member(hashed: &[u8], hash: [u8; HASH_LEN]) -> Option<Link> {
    let from = hashed.len().saturating_sub(MEMBER_MAX);
    let begin = hashed[from..].windows(BEGIN.len()).rposition(|window| window == BEGIN)?;
    let member = std::str::from_utf8(&hashed[from + begin + BEGIN.len()..]).ok()?;
    let (number, rest) = member.split_once(",\"generation\":")?;
    let (generation, rest) = rest.split_once(",\"previous\":\"")?;
    let previous = from_hex(rest.strip_suffix("\",\"mac\":\"")?.as_bytes())?;
    Some(Link { number: number.parse().ok()?, generation: generation.parse().ok()?, previous, hash })
}

/// Appends `bytes` as hex digits.
fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let begin = text.len();
    text.resize(begin + 2 * bytes.len(), 0);
    let (pairs, _) = text[begin..].as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
}

/// `bytes` as hex digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text.into_iter().map(char::from).collect()
}

/// The bytes of `2 * N` lower-case hex digits.
pub fn from_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut out = [0; N];
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> ChainKeys {
        ChainKeys::new([1; CHAIN_ID_LEN], &Secret::random())
    }

    fn sealed(keys: &ChainKeys) -> (Vec<u8>, [u8; HASH_LEN]) {
        let mut line = b"{\"eventName\":\"Decrypt\"}\n".to_vec();
        let hash = keys.seal(&mut line, 7, 3, &[5; HASH_LEN]);
        (line, hash)
    }

    #[test]
    fn aud_3_a_link_is_json_and_reads_back() {
        let keys = keys();
        let (line, hash) = sealed(&keys);
        let json: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(json["eventName"], "Decrypt");
        assert_eq!(json["chain"]["number"], 7);
        assert_eq!(json["chain"]["previous"], "05".repeat(HASH_LEN));
        let link = Link { number: 7, generation: 3, previous: [5; HASH_LEN], hash };
        assert_eq!(keys.open(&line), Ok(link));
        assert_eq!(keys.open(&line[..line.len() - 1]), Ok(link));
        assert!(line.len() < b"{\"eventName\":\"Decrypt\"}\n".len() + MEMBER_MAX);
    }

    #[test]
    fn aud_3_every_flipped_bit_and_every_cut_of_a_line_is_noticed() {
        let keys = keys();
        let (line, _) = sealed(&keys);
        for bit in 0..(line.len() - 1) * 8 {
            let mut altered = line.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(keys.open(&altered).is_err(), "bit {bit}");
        }
        for len in 0..line.len() - 1 {
            assert!(keys.open(&line[..len]).is_err(), "{len} bytes");
        }
        assert_eq!(ChainKeys::new([1; CHAIN_ID_LEN], &Secret::random()).open(&line), Err(NoLink::Altered));
        assert_eq!(keys.open(b"{\"eventName\":\"Decrypt\"}\n"), Err(NoLink::Unchained));
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_link_and_do_not_panic(bytes: Vec<u8>) {
            let keys = keys();
            prop_assert!(keys.open(&bytes).is_err());
            let mut line = bytes;
            keys.seal(&mut line, u64::MAX, i64::MIN, &[0xff; HASH_LEN]);
            prop_assert_eq!(keys.open(&line).unwrap().generation, i64::MIN);
        }
    }
}
