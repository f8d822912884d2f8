//! The key that all targets seal under, and sectors sealed by hand: as `docs/FORMAT.md` says it, not as kmsfs does it.

use kmsfs::content::sector::{Place, SectorBytes};
use kmsfs::crypto::Secret;
use kmsfs::crypto::content::ContentKey;
use kmsfs::crypto::mac::MacKey;
use kmsfs::datakey::Authenticator;
use kmsfs::envelope::FileId;

/// The bytes of every key.
pub const KEY: [u8; 32] = [1; 32];
/// The file that everything is of.
pub const FILE: FileId = FileId([2; 16]);

/// [`KEY`] as a secret.
pub fn secret() -> Secret<32> {
    Secret::from_slice(&KEY).expect("32 bytes")
}

/// [`KEY`] as a key for MACs.
pub fn mac_key() -> MacKey {
    MacKey::new(&secret())
}

/// A sector with a body of any bytes, which authenticates.
pub fn sealed_sector(key: &ContentKey, file: FileId, place: Place, epoch: u64, body: &[u8]) -> SectorBytes {
    let mut sector = [0; 512];
    let nonce = [7; 12];
    let tag = key.seal(&nonce, &aad(file, place, epoch), body, &mut sector[36..36 + body.len()]);
    sector[..8].copy_from_slice(&epoch.to_be_bytes());
    sector[8..20].copy_from_slice(&nonce);
    sector[20..36].copy_from_slice(&tag);
    sector
}

/// The body of a sector that kmsfs sealed.
pub fn opened_sector<const N: usize>(key: &ContentKey, place: Place, sector: &SectorBytes) -> [u8; N] {
    let epoch = u64::from_be_bytes(sector[..8].try_into().expect("8 bytes"));
    let (nonce, tag) =
        (sector[8..20].try_into().expect("12 bytes"), sector[20..36].try_into().expect("16 bytes"));
    let mut body = [0; N];
    key.open(&nonce, &aad(FILE, place, epoch), &sector[36..36 + N], &tag, &mut body)
        .expect("what kmsfs seals is as the document says");
    body
}

fn aad(file: FileId, place: Place, epoch: u64) -> Vec<u8> {
    let (kind, number, sector) = match place {
        Place::Tags(segment, sector) => (b"t", segment, sector),
        Place::Index(group, sector) => (b"i", group, sector),
    };
    [b"kmsfs\x00\x01".as_slice(), kind, &file.0, &number.to_be_bytes(), &[sector], &epoch.to_be_bytes()]
        .concat()
}

/// A home whose volume key is [`KEY`].
pub struct Home;

impl Home {
    /// Its identity.
    pub const ID: &'static str = "home-1";
}

impl Authenticator for Home {
    fn mac(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        mac_key().sign(&[&(purpose.len() as u64).to_be_bytes(), purpose.as_bytes(), message])
    }

    fn identity(&self) -> String {
        Self::ID.to_owned()
    }
}
