//! Tag sectors and index sectors, byte by byte.
//!
//! ```text
//! offset  length  field
//!      0       8  epoch: the sequence number of a header on disk when the sector was written (rule 7 of docs/FORMAT.md)
//!      8      12  nonce
//!     20      16  tag
//!     36       -  body, encrypted: 474 bytes of a tag sector, 256 of an index sector
//!      -       -  zeros up to 512
//! ```
//!
//! Associated data: `"kmsfs" | format (u16) | "t" or "i" | file id (16) | segment or group (u64) | sector (1) | epoch (u64)`.
//!
//! Body of a tag sector: 8 times 2 bits of kind (0 hole, 1 one, 2 two; the first entry in the highest bits of the first
//! byte), 8 times two 12-bit lengths minus 1 (current, previous), 8 times current nonce and tag, previous nonce and tag. What an
//! entry does not use is zero. Body of an index sector: 2,048 bits, the first segment in the highest bit of the first byte.

use std::fmt;

use super::entry::{Entry, Seal};
use super::layout::{CHUNKS_PER_SECTOR, SECTOR, SECTOR_SEGMENTS};
use crate::crypto::content::ContentKey;
use crate::crypto::{NONCE_LEN, Nonce, TAG_LEN, Tag, rng};
use crate::envelope::FileId;

const NONCE_AT: usize = 8;
const TAG_AT: usize = NONCE_AT + NONCE_LEN;
const BODY_AT: usize = TAG_AT + TAG_LEN;
const SEAL_LEN: usize = NONCE_LEN + TAG_LEN;
const KINDS_LEN: usize = 2;
const LENGTHS_LEN: usize = 3 * CHUNKS_PER_SECTOR;
const SEALS_AT: usize = KINDS_LEN + LENGTHS_LEN;
/// Bytes in the body of a tag sector.
pub const TAG_BODY: usize = SEALS_AT + CHUNKS_PER_SECTOR * 2 * SEAL_LEN;
/// Bytes in the body of an index sector.
pub const INDEX_BODY: usize = SECTOR_SEGMENTS as usize / 8;

/// Where a sector belongs: which of a file's, and of which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// A tag sector: segment, and sector in it.
    Tags(u64, u8),
    /// An index sector: group, and sector in its page.
    Index(u64, u8),
}

/// A sector as bytes.
pub type SectorBytes = [u8; SECTOR];
/// The entries of a tag sector.
pub type Entries = [Entry; CHUNKS_PER_SECTOR];
/// The bits of an index sector.
pub type Bits = [u8; INDEX_BODY];

/// What is wrong with a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectorError {
    /// Altered, or of another place.
    Inauthentic,
    /// Written after the header in force: that header is not the newest.
    FromTheFuture {
        /// The sector's epoch.
        epoch: u64,
        /// The header's sequence number.
        sequence: u64,
    },
    /// Authentic, and yet not what a writer makes.
    Malformed,
}

impl fmt::Display for SectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inauthentic => f.write_str("does not authenticate"),
            Self::FromTheFuture { epoch, sequence } => {
                write!(
                    f,
                    "is of epoch {epoch}, and the header in force is {sequence}: a newer header is missing"
                )
            }
            Self::Malformed => f.write_str("is authentic and malformed"),
        }
    }
}

/// Seals a tag sector. The nonce is fresh and random.
pub fn seal_tags(
    key: &ContentKey,
    file_id: FileId,
    place: Place,
    epoch: u64,
    entries: &Entries,
    nonce: &Nonce,
) -> SectorBytes {
    let mut body = [0; TAG_BODY];
    for (number, entry) in entries.iter().enumerate() {
        let (kind, current, previous) = match entry {
            Entry::Hole => (0, None, None),
            Entry::One(seal) => (1, Some(seal), None),
            Entry::Two(versions) => (2, Some(&versions.current), Some(&versions.previous)),
        };
        body[number / 4] |= kind << (6 - 2 * (number % 4));
        let lengths = packed_len(current) << 12 | packed_len(previous);
        let at = KINDS_LEN + 3 * number;
        body[at..at + 3].copy_from_slice(&lengths.to_be_bytes()[1..]);
        let at = SEALS_AT + number * 2 * SEAL_LEN;
        put_seal(&mut body[at..], current);
        put_seal(&mut body[at + SEAL_LEN..], previous);
    }
    seal(key, file_id, place, epoch, &body, nonce)
}

/// Opens a tag sector; the header in force has the number `sequence`.
///
/// # Errors
/// As [`SectorError`] says.
pub fn open_tags(
    key: &ContentKey,
    file_id: FileId,
    place: Place,
    sequence: u64,
    sector: &SectorBytes,
) -> Result<Entries, SectorError> {
    let body = open::<TAG_BODY>(key, file_id, place, sequence, sector)?;
    let mut entries = Entries::default();
    for (number, entry) in entries.iter_mut().enumerate() {
        let at = KINDS_LEN + 3 * number;
        let lengths = u32::from_be_bytes([0, body[at], body[at + 1], body[at + 2]]);
        let at = SEALS_AT + number * 2 * SEAL_LEN;
        let current = (&body[at..at + SEAL_LEN], lengths >> 12);
        let previous = (&body[at + SEAL_LEN..at + 2 * SEAL_LEN], lengths & 0xfff);
        *entry = match body[number / 4] >> (6 - 2 * (number % 4)) & 3 {
            0 if is_unused(current) && is_unused(previous) => Entry::Hole,
            1 if is_unused(previous) => Entry::One(take_seal(current)),
            2 => Entry::two(take_seal(current), take_seal(previous)),
            _ => return Err(SectorError::Malformed),
        };
    }
    Ok(entries)
}

/// Seals an index sector.
pub fn seal_index(key: &ContentKey, file_id: FileId, place: Place, epoch: u64, bits: &Bits) -> SectorBytes {
    seal(key, file_id, place, epoch, bits, &rng::nonce())
}

/// Opens an index sector; the header in force has the number `sequence`.
///
/// # Errors
/// As [`SectorError`] says.
pub fn open_index(
    key: &ContentKey,
    file_id: FileId,
    place: Place,
    sequence: u64,
    sector: &SectorBytes,
) -> Result<Bits, SectorError> {
    open(key, file_id, place, sequence, sector)
}

/// The epoch that a sector claims; it is authentic where the sector is.
pub fn epoch(sector: &SectorBytes) -> u64 {
    u64::from_be_bytes(sector[..NONCE_AT].try_into().expect("8 bytes"))
}

/// What the content root covers of a sector: epoch, nonce and tag, which commit to the rest.
pub fn identity(sector: &SectorBytes) -> &[u8] {
    &sector[..BODY_AT]
}

fn seal<const N: usize>(
    key: &ContentKey,
    file_id: FileId,
    place: Place,
    epoch: u64,
    body: &[u8; N],
    nonce: &Nonce,
) -> SectorBytes {
    let mut sector = [0; SECTOR];
    let aad = aad(file_id, place, epoch);
    let tag = key.seal(nonce, &aad, body, &mut sector[BODY_AT..BODY_AT + N]);
    sector[..NONCE_AT].copy_from_slice(&epoch.to_be_bytes());
    sector[NONCE_AT..TAG_AT].copy_from_slice(nonce);
    sector[TAG_AT..BODY_AT].copy_from_slice(&tag);
    sector
}

fn open<const N: usize>(
    key: &ContentKey,
    file_id: FileId,
    place: Place,
    sequence: u64,
    sector: &SectorBytes,
) -> Result<[u8; N], SectorError> {
    let epoch = epoch(sector);
    let nonce: &Nonce = sector[NONCE_AT..TAG_AT].try_into().expect("12 bytes");
    let tag: &Tag = sector[TAG_AT..BODY_AT].try_into().expect("16 bytes");
    let (sealed, zeros) = sector[BODY_AT..].split_at(N);
    if zeros.iter().any(|byte| *byte != 0) {
        return Err(SectorError::Inauthentic);
    }
    let mut body = [0; N];
    key.open(nonce, &aad(file_id, place, epoch), sealed, tag, &mut body)
        .map_err(|_| SectorError::Inauthentic)?;
    // Told only of an authentic sector: a forged epoch is no hint of a missing header.
    if epoch > sequence {
        return Err(SectorError::FromTheFuture { epoch, sequence });
    }
    Ok(body)
}

fn aad(file_id: FileId, place: Place, epoch: u64) -> [u8; 41] {
    let (kind, number, sector) = match place {
        Place::Tags(segment, sector) => (b't', segment, sector),
        Place::Index(group, sector) => (b'i', group, sector),
    };
    let mut aad = [0; 41];
    aad[..5].copy_from_slice(b"kmsfs");
    aad[5..7].copy_from_slice(&crate::envelope::VERSION.to_be_bytes());
    aad[7] = kind;
    aad[8..24].copy_from_slice(&file_id.0);
    aad[24..32].copy_from_slice(&number.to_be_bytes());
    aad[32] = sector;
    aad[33..].copy_from_slice(&epoch.to_be_bytes());
    aad
}

fn packed_len(seal: Option<&Seal>) -> u32 {
    seal.map_or(0, |seal| u32::from(seal.len) - 1)
}

fn put_seal(out: &mut [u8], seal: Option<&Seal>) {
    if let Some(seal) = seal {
        out[..NONCE_LEN].copy_from_slice(&seal.nonce);
        out[NONCE_LEN..SEAL_LEN].copy_from_slice(&seal.tag);
    }
}

/// Whether a version's bytes and length are those of none.
fn is_unused((bytes, packed_len): (&[u8], u32)) -> bool {
    packed_len == 0 && bytes.iter().all(|byte| *byte == 0)
}

fn take_seal((bytes, packed_len): (&[u8], u32)) -> Seal {
    Seal {
        nonce: bytes[..NONCE_LEN].try_into().expect("12 bytes"),
        tag: bytes[NONCE_LEN..SEAL_LEN].try_into().expect("16 bytes"),
        // 12 bits: at most 4096 when the 1 is back.
        len: packed_len as u16 + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;
    use proptest::prelude::*;

    const ID: FileId = FileId([3; 16]);
    const PLACE: Place = Place::Tags(1, 2);

    fn sealed(len: u16, byte: u8) -> Seal {
        Seal { nonce: [byte; NONCE_LEN], tag: [byte + 1; TAG_LEN], len }
    }

    fn entries() -> Entries {
        let mut entries = Entries::default();
        entries[0] = Entry::One(sealed(4096, 1));
        entries[1] = Entry::two(sealed(1, 3), sealed(4096, 5));
        entries[7] = Entry::One(sealed(17, 7));
        entries
    }

    #[test]
    fn a_tag_sector_uses_510_bytes() {
        assert_eq!(BODY_AT + TAG_BODY, 510);
    }

    #[test]
    fn entries_survive_their_sector() {
        let key = ContentKey::new(&Secret::random());
        let sector = seal_tags(&key, ID, PLACE, 4, &entries(), &rng::nonce());
        assert_eq!(open_tags(&key, ID, PLACE, 4, &sector), Ok(entries()));
    }

    #[test]
    fn another_place_file_or_epoch_is_refused() {
        let key = ContentKey::new(&Secret::random());
        let sector = seal_tags(&key, ID, PLACE, 4, &entries(), &rng::nonce());
        for place in [Place::Tags(1, 3), Place::Tags(2, 2), Place::Index(1, 2)] {
            assert_eq!(open_tags(&key, ID, place, 4, &sector), Err(SectorError::Inauthentic));
        }
        assert_eq!(open_tags(&key, FileId([4; 16]), PLACE, 4, &sector), Err(SectorError::Inauthentic));
        let future = SectorError::FromTheFuture { epoch: 4, sequence: 3 };
        assert_eq!(open_tags(&key, ID, PLACE, 3, &sector), Err(future));
    }

    #[test]
    fn what_an_entry_does_not_use_is_zero_or_refused() {
        let key = ContentKey::new(&Secret::random());
        let lengths = |number: usize| KINDS_LEN + 3 * number;
        let previous = |number: usize| SEALS_AT + number * 2 * SEAL_LEN + SEAL_LEN;
        let unused = [lengths(2), lengths(2) + 2, lengths(7) + 2, previous(2) - 1, previous(2), previous(7)];
        let good = seal_tags(&key, ID, PLACE, 4, &entries(), &rng::nonce());
        let body = open::<TAG_BODY>(&key, ID, PLACE, 4, &good).unwrap();
        for at in unused {
            let mut body = body;
            body[at] |= 1;
            let sector = seal(&key, ID, PLACE, 4, &body, &rng::nonce());
            assert_eq!(open_tags(&key, ID, PLACE, 4, &sector), Err(SectorError::Malformed), "byte {at}");
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let key = ContentKey::new(&Secret::random());
        let tags = seal_tags(&key, ID, PLACE, 4, &entries(), &rng::nonce());
        let index = seal_index(&key, ID, Place::Index(0, 0), 4, &[0x5a; INDEX_BODY]);
        for bit in 0..SECTOR * 8 {
            let (mut tags, mut index) = (tags, index);
            tags[bit / 8] ^= 1 << (bit % 8);
            index[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_tags(&key, ID, PLACE, 4, &tags), Err(SectorError::Inauthentic), "bit {bit}");
            assert!(open_index(&key, ID, Place::Index(0, 0), 4, &index).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn opening_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), SECTOR)) {
            let key = ContentKey::new(&Secret::random());
            let sector: SectorBytes = bytes.try_into().unwrap();
            prop_assert!(open_tags(&key, ID, PLACE, u64::MAX, &sector).is_err());
        }
    }
}
