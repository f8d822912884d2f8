//! HKDF-SHA256 (RFC 5869). What it keeps between derivations is as good as its input: the crates below it are built with their
//! feature `zeroize`, which wipes that on drop.

use hkdf::Hkdf;
use sha2::Sha256;

use super::{KEY_LEN, Secret};

/// Derives a 256-bit key from `ikm`: extract with `salt`, expand with the concatenation of `info`.
///
/// The parts of `info` are joined as they are: the caller starts with a label of its purpose and gives variable
/// parts a fixed length or a length prefix, so that no two purposes share an info string.
pub fn derive(ikm: &[u8], salt: &[u8], info: &[&[u8]]) -> Secret<KEY_LEN> {
    Expander::new(ikm, salt).key(info)
}

/// HKDF with its input and salt given: derives several keys from them. It wipes them on drop.
pub struct Expander(Hkdf<Sha256>);

impl Expander {
    /// Extracts from `ikm` and `salt`.
    pub fn new(ikm: &[u8], salt: &[u8]) -> Self {
        Self(Hkdf::new(Some(salt), ikm))
    }

    /// Expands to a 256-bit key for `info` (joined as it is, see [`derive()`]).
    pub fn key(&self, info: &[&[u8]]) -> Secret<KEY_LEN> {
        Secret::fill_with(|out| self.0.expand_multi_info(info, out))
            .expect("256 bits are within what HKDF-SHA256 can expand to")
    }
}

impl std::fmt::Debug for Expander {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Expander(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
    use zeroize::ZeroizeOnDrop;

    /// RustCrypto's implementation against AWS-LC's, with and without a salt, and for an info longer than a block.
    #[test]
    fn agrees_with_the_other_implementation() {
        for (salt, info) in [(&b""[..], &b"label"[..]), (b"salt", b""), (&[7; 100], &[9; 200])] {
            let mut other = [0; KEY_LEN];
            let prk = Salt::new(HKDF_SHA256, salt).extract(b"input");
            prk.expand(&[info], HKDF_SHA256).unwrap().fill(&mut other).unwrap();
            assert_eq!(derive(b"input", salt, &[info]).expose(), &other);
        }
    }

    /// It does not compile without the feature `zeroize` of the crates that hold keys. HKDF and HMAC hold hash states only, and
    /// those wipe themselves.
    #[test]
    fn what_holds_keys_is_wiped_on_drop() {
        fn is_wiped<T: ZeroizeOnDrop>() {}
        is_wiped::<Sha256>();
        is_wiped::<aes_gcm::Aes256Gcm>();
    }

    /// RFC 5869, A.1, the first 32 bytes of its output.
    #[test]
    fn rfc_5869_case_1() {
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let key = derive(&[0x0b; 22], &salt, &[&info[..4], &info[4..]]);
        let okm = [
            0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a, 0x90, 0x43, 0x4f, 0x64, 0xd0, 0x36, 0x2f, 0x2a,
            0x2d, 0x2d, 0x0a, 0x90, 0xcf, 0x1a, 0x5a, 0x4c, 0x5d, 0xb0, 0x2d, 0x56, 0xec, 0xc4, 0xc5, 0xbf,
        ];
        assert_eq!(key.expose(), &okm);
    }
}
