//! The default key of a directory, as the backing directory's extended attribute `user.kmsfs.default-key` keeps it.
//!
//! ```text
//! version (1 byte: 1) | HMAC-SHA256 (32 bytes) | key id, ARN or alias (UTF-8, 1 to 2048 bytes)
//! ```
//!
//! The MAC covers the volume's id and the key: a value that was altered, or brought from another volume, is refused. A value
//! moved between directories of one volume is not detected, no more than the directories themselves moved would be.

use super::VolumeError;
use crate::crypto::mac::{MAC_LEN, same};
use crate::datakey::Authenticator;

const VERSION: u8 = 1;
/// The longest key reference, in bytes, as AWS KMS limits KeyId.
pub const KEY_MAX: usize = 2048;
const PURPOSE: &str = "kmsfs directory default key 1";

/// The stored form of `key` for the volume `volume_id`.
pub fn encode(key: &str, volume_id: &str, auth: &dyn Authenticator) -> Vec<u8> {
    let mut stored = vec![VERSION];
    stored.extend_from_slice(&mac(key, volume_id, auth));
    stored.extend_from_slice(key.as_bytes());
    stored
}

/// The key in a stored form.
///
/// # Errors
/// [`VolumeError::Tampered`] for anything that [`encode`] did not make for this volume in this home.
pub fn decode(stored: &[u8], volume_id: &str, auth: &dyn Authenticator) -> Result<String, VolumeError> {
    let refused = |why: &str| VolumeError::Tampered(format!("a directory's default key {why}"));
    let (&version, rest) = stored.split_first().ok_or_else(|| refused("is empty"))?;
    if version != VERSION {
        return Err(refused(&format!("has version {version}, expected {VERSION}")));
    }
    let (found, key) = rest.split_first_chunk::<MAC_LEN>().ok_or_else(|| refused("is too short"))?;
    let key = std::str::from_utf8(key).map_err(|_| refused("is not text"))?;
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(refused(&format!("has {} bytes, expected 1 to {KEY_MAX}", key.len())));
    }
    if !same(&mac(key, volume_id, auth), found) {
        return Err(refused("does not authenticate"));
    }
    Ok(key.to_owned())
}

fn mac(key: &str, volume_id: &str, auth: &dyn Authenticator) -> [u8; MAC_LEN] {
    let mut message = (volume_id.len() as u64).to_be_bytes().to_vec();
    message.extend_from_slice(volume_id.as_bytes());
    message.extend_from_slice(key.as_bytes());
    auth.mac(PURPOSE, &message)
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::TestHome;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_comes_back_for_the_same_volume_and_home_only() {
        let home = TestHome::new();
        let stored = encode("alias/a", "volume-1", &home);
        assert_eq!(decode(&stored, "volume-1", &home).unwrap(), "alias/a");
        assert!(decode(&stored, "volume-2", &home).is_err());
        assert!(decode(&stored, "volume-1", &TestHome::new()).is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let home = TestHome::new();
        let stored = encode("alias/a", "v", &home);
        for bit in 0..stored.len() * 8 {
            let mut altered = stored.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&altered, "v", &home).is_err(), "bit {bit}");
        }
        for len in 0..stored.len() {
            assert!(decode(&stored[..len], "v", &home).is_err(), "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes, "v", &TestHome::new()).is_err());
        }
    }
}
