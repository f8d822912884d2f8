//! HMAC (RFC 2104): HMAC-SHA256 with a key schedule that is computed once, and HMAC of a chosen hash function for keys of users.

use ::hmac::{Hmac, KeyInit, Mac};
use aws_lc_rs::hmac;
use sha2::Sha256;

use super::hash::HashFunction;
use super::{AuthenticationFailed, KEY_LEN, Secret};

/// Bytes in an HMAC-SHA256.
pub const MAC_LEN: usize = 32;

/// A key for HMAC-SHA256; also used as a pseudo-random function.
///
/// RustCrypto's implementation, since most of our messages have a block or two: making a key takes a third of the time that it takes with AWS-LC
/// and a MAC of 32 bytes two thirds. The hash states wipe themselves on drop.
#[derive(Clone)]
pub struct MacKey(Hmac<Sha256>);

impl MacKey {
    /// Prepares `key`.
    pub fn new(key: &Secret<KEY_LEN>) -> Self {
        Self(Hmac::new_from_slice(key.expose()).expect("HMAC takes a key of any length"))
    }

    /// The MAC of the concatenation of `parts`. The caller makes their boundaries unambiguous.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; MAC_LEN] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Checks a MAC in constant time.
    ///
    /// # Errors
    /// [`AuthenticationFailed`] when `mac` is not the MAC of `parts` under this key.
    pub fn verify(&self, parts: &[&[u8]], mac: &[u8; MAC_LEN]) -> Result<(), AuthenticationFailed> {
        if same(&self.sign(parts), mac) { Ok(()) } else { Err(AuthenticationFailed) }
    }
}

/// Whether two MACs are the same, compared in constant time.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    one.ct_eq(other).into()
}

/// The HMAC of `message` under a key of any length.
pub fn tag(hash: HashFunction, key: &[u8], message: &[u8]) -> Vec<u8> {
    let algorithm = match hash {
        HashFunction::Sha224 => hmac::HMAC_SHA224,
        HashFunction::Sha256 => hmac::HMAC_SHA256,
        HashFunction::Sha384 => hmac::HMAC_SHA384,
        HashFunction::Sha512 => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RustCrypto's implementation against AWS-LC's on the same input, in one part and in several.
    #[test]
    fn agrees_with_the_other_implementation() {
        let key = Secret::<KEY_LEN>::from_slice(&[7; KEY_LEN]).unwrap();
        let other = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), b"one and two");
        let ours = MacKey::new(&key).sign(&[b"one ", b"and ", b"two"]);
        assert_eq!(ours.as_slice(), other.as_ref());
    }

    /// RFC 4231, 4.2 and 4.7: a key of 20 bytes, and one that is longer than a block.
    #[test]
    fn tags_are_those_of_rfc_4231() {
        let begins = |hash: HashFunction, key: &[u8], message: &[u8]| {
            let tag = tag(hash, key, message);
            assert_eq!(tag.len(), hash.digest_len());
            tag[..4].to_vec()
        };
        let (short, long) = ([0x0b; 20], [0xaa; 131]);
        let larger = b"Test Using Larger Than Block-Size Key - Hash Key First";
        for (hash, one, two) in [
            (HashFunction::Sha224, [0x89, 0x6f, 0xb1, 0x12], [0x95, 0xe9, 0xa0, 0xdb]),
            (HashFunction::Sha256, [0xb0, 0x34, 0x4c, 0x61], [0x60, 0xe4, 0x31, 0x59]),
            (HashFunction::Sha384, [0xaf, 0xd0, 0x39, 0x44], [0x4e, 0xce, 0x08, 0x44]),
            (HashFunction::Sha512, [0x87, 0xaa, 0x7c, 0xde], [0x80, 0xb2, 0x42, 0x63]),
        ] {
            assert_eq!(begins(hash, &short, b"Hi There"), one, "{hash:?}");
            assert_eq!(begins(hash, &long, larger), two, "{hash:?}");
        }
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        let key = MacKey::new(&Secret::random());
        let mut mac = key.sign(&[b"message"]);
        key.verify(&[b"message"], &mac).unwrap();
        mac[31] ^= 1;
        assert_eq!(key.verify(&[b"message"], &mac), Err(AuthenticationFailed));
    }
}
