//! HMAC-SHA256 (RFC 2104) with a key schedule that is computed once.

use aws_lc_rs::hmac;

use super::{AuthenticationFailed, KEY_LEN, Secret};

/// Bytes in an HMAC-SHA256.
pub const MAC_LEN: usize = 32;

/// A key for HMAC-SHA256; also used as a pseudo-random function. On the heap: it has some 700 bytes, and is moved about.
pub struct MacKey(Box<hmac::Key>);

impl MacKey {
    /// Prepares `key`. AWS-LC wipes its own copy on drop.
    pub fn new(key: &Secret<KEY_LEN>) -> Self {
        Self(Box::new(hmac::Key::new(hmac::HMAC_SHA256, key.expose())))
    }

    /// The MAC of the concatenation of `parts`. The caller makes their boundaries unambiguous.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; MAC_LEN] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        let mut out = [0; MAC_LEN];
        out.copy_from_slice(context.sign().as_ref());
        out
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

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::hmac::{Hmac, KeyInit, Mac};

    /// The AWS-LC implementation against RustCrypto's on the same input, in one part and in several.
    #[test]
    fn agrees_with_the_other_implementation() {
        let key = Secret::<KEY_LEN>::from_slice(&[7; KEY_LEN]).unwrap();
        let mut other = Hmac::<sha2::Sha256>::new_from_slice(key.expose()).unwrap();
        other.update(b"one and two");
        let ours = MacKey::new(&key).sign(&[b"one ", b"and ", b"two"]);
        assert_eq!(ours.as_slice(), other.finalize().into_bytes().as_slice());
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
