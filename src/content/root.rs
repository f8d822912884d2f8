//! The content root: one value over all tag and index sectors of a file, kept up at constant cost a write.
//!
//! It is the XOR of a pseudo-random function of each sector. As stored it is masked with the function of fresh random bytes, so
//! that roots of successive commits show no linear relation. It authenticates nothing by itself: the header that holds it does.
//!
//! ```text
//! member(sector) = HMAC-SHA256(root key, kind "t" or "i" | segment or group (u64) | sector (1) | epoch, nonce, tag (36))
//! stored root    = XOR of all members  XOR  HMAC-SHA256(root key, "m" | mask (16))
//! ```

use super::sector::{Place, SectorBytes, identity};
use crate::crypto::mac::{MAC_LEN, MacKey};

/// A sector's part in the root.
pub type Member = [u8; MAC_LEN];

/// The XOR of the members of a file's sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Root(pub Member);

impl Root {
    /// Adds a member, or takes it away: both are the same.
    pub fn toggle(&mut self, member: &Member) {
        self.0.iter_mut().zip(member).for_each(|(root, member)| *root ^= member);
    }

    /// The root as a header stores it, and back again.
    pub fn masked(mut self, key: &MacKey, mask: &[u8; 16]) -> Self {
        self.toggle(&key.sign(&[b"m", mask]));
        self
    }
}

/// The member of a sector.
pub fn member(key: &MacKey, place: Place, sector: &SectorBytes) -> Member {
    let (kind, number, within) = match place {
        Place::Tags(segment, sector) => (b"t", segment, sector),
        Place::Index(group, sector) => (b"i", group, sector),
    };
    key.sign(&[kind, &number.to_be_bytes(), &[within], identity(sector)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;

    #[test]
    fn masking_twice_gives_the_root_back() {
        let key = MacKey::new(&Secret::random());
        let mut root = Root::default();
        root.toggle(&member(&key, Place::Tags(0, 0), &[7; 512]));
        let stored = root.masked(&key, &[1; 16]);
        assert_ne!(stored, root);
        assert_ne!(stored, root.masked(&key, &[2; 16]));
        assert_eq!(stored.masked(&key, &[1; 16]), root);
    }

    #[test]
    fn a_sector_in_another_place_is_another_member() {
        let key = MacKey::new(&Secret::random());
        let sector = [7; 512];
        let members = [Place::Tags(0, 0), Place::Tags(0, 1), Place::Tags(1, 0), Place::Index(0, 0)]
            .map(|place| member(&key, place, &sector));
        for (number, one) in members.iter().enumerate() {
            assert!(members[number + 1..].iter().all(|other| other != one));
        }
    }
}
