//! One header slot, byte by byte. All numbers are big-endian.
//!
//! ```text
//! offset  length  field
//!      0       8  magic "kmsfs\r\n\x1a"
//!      8       2  format version (1)
//!     10       2  suite (1)
//!     12       4  flags: 1 dirty, 2 root not attested, 4 synced
//!     16       8  sequence number
//!     24      16  file id
//!     40       8  committed size: what the last commit or fsync left, in bytes
//!     48       8  acknowledged size: at least as long as this, as far as the backing file is, in bytes
//!     56       8  target size of a change of size under way
//!     64       4  kind of that change: 0 none, 1 append, 2 grow, 3 truncate
//!     68       4  version of the backing key
//!     72      32  key material id
//!    104      16  random bytes of the root's mask
//!    120      32  content root, masked
//!    152       2  length of the CMK's ARN
//!    154       2  length of the wrapped data key
//!    156       -  ARN, then wrapped data key, then zeros up to 992
//!    992      32  HMAC-SHA256 over bytes 0 to 991
//! ```

use std::fmt;

use super::FileId;
use crate::crypto::mac::{MAC_LEN, MacKey};
use crate::datakey::{KeyArn, MATERIAL_ID_LEN, WrappedDataKey};

/// Bytes in a slot.
pub const SLOT_LEN: usize = 1024;
/// The format version that this project writes and reads.
pub const VERSION: u16 = 1;
/// AES-256-GCM over 4096-byte chunks, HKDF-SHA256, HMAC-SHA256.
pub const SUITE: u16 = 1;
/// Bytes that the ARN and the wrapped data key share.
pub const WRAP_SPACE: usize = MAC_AT - WRAP_AT;

/// The largest plain size, in bytes: 16 TiB.
pub const MAX_SIZE: u64 = 1 << 44;

const MAGIC: [u8; 8] = *b"kmsfs\r\n\x1a";
const WRAP_AT: usize = 156;
const MAC_AT: usize = SLOT_LEN - MAC_LEN;
const FLAG_DIRTY: u32 = 1;
const FLAG_UNATTESTED: u32 = 2;
const FLAG_SYNCED: u32 = 4;

/// A change of size under way, so that a reader after a kill knows what was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResizeKind {
    /// None.
    None,
    /// Writes past the end: the file ends where its last chunk with an entry does.
    Append,
    /// Growth by a hole: undone back to the acknowledged size.
    Grow,
    /// Truncation: completed.
    Truncate,
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Counts up with each header that is written.
    pub sequence: u64,
    /// Whether the file may have changed since.
    pub dirty: bool,
    /// The content root was recomputed after a crash and not yet confirmed by a scrub.
    pub unattested: bool,
    /// The file was synced at some time: the first dirty header after a clean one reaches the disk before what it permits.
    pub synced: bool,
    /// The file's identity.
    pub file_id: FileId,
    /// The size at the last commit or fsync, in bytes: below it everything must be there.
    pub committed_size: u64,
    /// The size when this header was written, in bytes.
    pub acknowledged_size: u64,
    /// A change of size under way.
    pub resize: ResizeKind,
    /// Its target, in bytes.
    pub target_size: u64,
    /// The random bytes that the root is masked with.
    pub root_mask: [u8; 16],
    /// The content root, masked.
    pub root: [u8; 32],
    /// The data key.
    pub wrapped: WrappedDataKey,
}

/// What is wrong with a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// All bytes are zero: never written.
    Empty,
    /// Not a header of this project.
    NotAHeader,
    /// Of a later format: the version found.
    NewerVersion(u16),
    /// Of a suite that is not known: the suite found.
    UnknownSuite(u16),
    /// A field has a value that no writer gives it.
    Malformed(&'static str),
    /// The MAC is not of these bytes under this file's key.
    Inauthentic,
    /// ARN and wrapped data key together are longer than a slot holds: bytes needed.
    WrapTooLong(usize),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the header slot was never written"),
            Self::NotAHeader => f.write_str("not the header of a kmsfs file"),
            Self::NewerVersion(found) => write!(f, "file format {found}, expected {VERSION}"),
            Self::UnknownSuite(found) => write!(f, "cipher suite {found}, expected {SUITE}"),
            Self::Malformed(field) => write!(f, "the header's {field} has an impossible value"),
            Self::Inauthentic => f.write_str("the header does not authenticate"),
            Self::WrapTooLong(needed) => {
                write!(
                    f,
                    "the key's ARN and the wrapped data key need {needed} bytes, and a header holds {WRAP_SPACE}"
                )
            }
        }
    }
}

impl std::error::Error for HeaderError {}

/// What a slot's bytes claim, before anything proves it.
#[derive(Debug, Clone)]
pub struct UnverifiedHeader {
    claimed: Header,
    bytes: Box<[u8; SLOT_LEN]>,
}

impl UnverifiedHeader {
    /// Reads a slot.
    ///
    /// # Errors
    /// As [`HeaderError`] says, but for authenticity.
    pub fn parse(bytes: &[u8; SLOT_LEN]) -> Result<Self, HeaderError> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(HeaderError::Empty);
        }
        if array::<8>(bytes, 0) != MAGIC {
            return Err(HeaderError::NotAHeader);
        }
        match u16::from_be_bytes(array(bytes, 8)) {
            VERSION => (),
            found if found > VERSION => return Err(HeaderError::NewerVersion(found)),
            _ => return Err(HeaderError::NotAHeader),
        }
        match u16::from_be_bytes(array(bytes, 10)) {
            SUITE => (),
            found => return Err(HeaderError::UnknownSuite(found)),
        }
        Ok(Self { claimed: parse_fields(bytes)?, bytes: Box::new(*bytes) })
    }

    /// The file id that the slot claims.
    pub fn file_id(&self) -> FileId {
        self.claimed.file_id
    }

    /// The sequence number that the slot claims.
    pub fn sequence(&self) -> u64 {
        self.claimed.sequence
    }

    /// The wrapped data key that the slot claims; opening it and then [`UnverifiedHeader::verify`] is the proof.
    pub fn wrapped(&self) -> &WrappedDataKey {
        &self.claimed.wrapped
    }

    /// All that the slot claims, for showing to people.
    pub fn claims(&self) -> &Header {
        &self.claimed
    }

    /// Checks the slot under the file's header key.
    ///
    /// # Errors
    /// [`HeaderError::Inauthentic`].
    pub fn verify(self, key: &MacKey) -> Result<Header, HeaderError> {
        let mac = array(&self.bytes, MAC_AT);
        key.verify(&[&self.bytes[..MAC_AT]], &mac).map_err(|_| HeaderError::Inauthentic)?;
        Ok(self.claimed)
    }
}

impl Header {
    /// Checks that a wrapped data key fits into a header.
    ///
    /// # Errors
    /// [`HeaderError::WrapTooLong`].
    pub fn check_wrap(wrapped: &WrappedDataKey) -> Result<(), HeaderError> {
        let needed = wrapped.key.as_str().len() + wrapped.blob.len();
        if needed > WRAP_SPACE { Err(HeaderError::WrapTooLong(needed)) } else { Ok(()) }
    }

    /// Writes a slot and its MAC.
    ///
    /// # Errors
    /// [`HeaderError::WrapTooLong`].
    pub fn seal(&self, key: &MacKey) -> Result<[u8; SLOT_LEN], HeaderError> {
        Self::check_wrap(&self.wrapped)?;
        let arn = self.wrapped.key.as_str().as_bytes();
        let flags = u32::from(self.dirty) * FLAG_DIRTY
            + u32::from(self.unattested) * FLAG_UNATTESTED
            + u32::from(self.synced) * FLAG_SYNCED;
        let mut slot = [0; SLOT_LEN];
        let mut fields = Fields { slot: &mut slot, at: 0 };
        fields.put(&MAGIC);
        fields.put(&VERSION.to_be_bytes());
        fields.put(&SUITE.to_be_bytes());
        fields.put(&flags.to_be_bytes());
        fields.put(&self.sequence.to_be_bytes());
        fields.put(&self.file_id.0);
        fields.put(&self.committed_size.to_be_bytes());
        fields.put(&self.acknowledged_size.to_be_bytes());
        fields.put(&self.target_size.to_be_bytes());
        fields.put(&resize_code(self.resize).to_be_bytes());
        fields.put(&self.wrapped.version.to_be_bytes());
        fields.put(&self.wrapped.material_id);
        fields.put(&self.root_mask);
        fields.put(&self.root);
        // Both lengths are at most WRAP_SPACE, which fits.
        fields.put(&(arn.len() as u16).to_be_bytes());
        fields.put(&(self.wrapped.blob.len() as u16).to_be_bytes());
        fields.put(arn);
        fields.put(&self.wrapped.blob);
        let mac = key.sign(&[&slot[..MAC_AT]]);
        slot[MAC_AT..].copy_from_slice(&mac);
        Ok(slot)
    }
}

struct Fields<'a> {
    slot: &'a mut [u8; SLOT_LEN],
    at: usize,
}

impl Fields<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.slot[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

fn parse_fields(bytes: &[u8; SLOT_LEN]) -> Result<Header, HeaderError> {
    let flags = u32::from_be_bytes(array(bytes, 12));
    if flags & !(FLAG_DIRTY | FLAG_UNATTESTED | FLAG_SYNCED) != 0 {
        return Err(HeaderError::Malformed("flags"));
    }
    let arn_len = usize::from(u16::from_be_bytes(array(bytes, 152)));
    let blob_len = usize::from(u16::from_be_bytes(array(bytes, 154)));
    if arn_len + blob_len > WRAP_SPACE {
        return Err(HeaderError::Malformed("length of the wrapped data key"));
    }
    let (arn, rest) = bytes[WRAP_AT..MAC_AT].split_at(arn_len);
    let (blob, zeros) = rest.split_at(blob_len);
    if zeros.iter().any(|byte| *byte != 0) {
        return Err(HeaderError::Malformed("reserved part"));
    }
    let sizes = [number(bytes, 40), number(bytes, 48), number(bytes, 56)];
    if sizes.iter().any(|size| *size > MAX_SIZE) {
        return Err(HeaderError::Malformed("size"));
    }
    let [committed_size, acknowledged_size, target_size] = sizes;
    let arn = std::str::from_utf8(arn).map_err(|_| HeaderError::Malformed("ARN"))?;
    Ok(Header {
        sequence: number(bytes, 16),
        dirty: flags & FLAG_DIRTY != 0,
        unattested: flags & FLAG_UNATTESTED != 0,
        synced: flags & FLAG_SYNCED != 0,
        file_id: FileId(array(bytes, 24)),
        committed_size,
        acknowledged_size,
        target_size,
        resize: resize_kind(u32::from_be_bytes(array(bytes, 64)))?,
        root_mask: array(bytes, 104),
        root: array(bytes, 120),
        wrapped: WrappedDataKey {
            key: KeyArn::new(arn),
            version: u32::from_be_bytes(array(bytes, 68)),
            material_id: array::<MATERIAL_ID_LEN>(bytes, 72),
            blob: blob.to_vec(),
        },
    })
}

fn resize_code(kind: ResizeKind) -> u32 {
    match kind {
        ResizeKind::None => 0,
        ResizeKind::Append => 1,
        ResizeKind::Grow => 2,
        ResizeKind::Truncate => 3,
    }
}

fn resize_kind(code: u32) -> Result<ResizeKind, HeaderError> {
    match code {
        0 => Ok(ResizeKind::None),
        1 => Ok(ResizeKind::Append),
        2 => Ok(ResizeKind::Grow),
        3 => Ok(ResizeKind::Truncate),
        _ => Err(HeaderError::Malformed("kind of a change of size")),
    }
}

fn number(bytes: &[u8; SLOT_LEN], at: usize) -> u64 {
    u64::from_be_bytes(array(bytes, at))
}

/// `N` bytes at a constant offset within the slot.
fn array<const N: usize>(bytes: &[u8; SLOT_LEN], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;
    use proptest::prelude::*;

    fn header() -> Header {
        Header {
            sequence: 7,
            dirty: true,
            unattested: false,
            synced: true,
            file_id: FileId([9; 16]),
            committed_size: 1,
            acknowledged_size: 2,
            resize: ResizeKind::Grow,
            target_size: 3,
            root_mask: [4; 16],
            root: [5; 32],
            wrapped: WrappedDataKey {
                key: KeyArn::new("arn:aws:kms:us-east-1:000000000000:key/x"),
                version: 6,
                material_id: [8; 32],
                blob: vec![1, 2, 3],
            },
        }
    }

    #[test]
    fn a_header_survives_its_slot() {
        let key = MacKey::new(&Secret::random());
        let slot = header().seal(&key).unwrap();
        let parsed = UnverifiedHeader::parse(&slot).unwrap();
        assert_eq!(parsed.verify(&key).unwrap(), header());
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let key = MacKey::new(&Secret::random());
        let slot = header().seal(&key).unwrap();
        for bit in 0..SLOT_LEN * 8 {
            let mut altered = slot;
            altered[bit / 8] ^= 1 << (bit % 8);
            let verified = UnverifiedHeader::parse(&altered).and_then(|header| header.verify(&key));
            assert!(verified.is_err(), "bit {bit}");
        }
    }

    /// The key's holder alone can make one. Arithmetic on it must not overflow all the same.
    #[test]
    fn a_size_that_no_file_has_is_refused() {
        let key = MacKey::new(&Secret::random());
        for size in [MAX_SIZE + 1, u64::MAX] {
            let sized = |committed_size, acknowledged_size, target_size| Header {
                committed_size,
                acknowledged_size,
                target_size,
                ..header()
            };
            for header in [sized(size, 1, 1), sized(1, size, 1), sized(1, 1, size)] {
                let parsed = UnverifiedHeader::parse(&header.seal(&key).unwrap());
                assert_eq!(parsed.unwrap_err(), HeaderError::Malformed("size"));
            }
        }
    }

    #[test]
    fn a_wrapped_key_that_does_not_fit_is_refused_with_what_it_needs() {
        let mut long = header();
        long.wrapped.blob = vec![0; WRAP_SPACE];
        let needed = WRAP_SPACE + long.wrapped.key.as_str().len();
        let key = MacKey::new(&Secret::random());
        assert_eq!(long.seal(&key), Err(HeaderError::WrapTooLong(needed)));
    }

    proptest! {
        #[test]
        fn parsing_any_bytes_never_panics(start in proptest::collection::vec(any::<u8>(), 0..200), with_magic: bool) {
            let mut slot = [0; SLOT_LEN];
            slot[..start.len()].copy_from_slice(&start);
            if with_magic {
                slot[..12].copy_from_slice(&[b'k', b'm', b's', b'f', b's', b'\r', b'\n', 0x1a, 0, 1, 0, 1]);
            }
            let _ = UnverifiedHeader::parse(&slot);
        }
    }
}
