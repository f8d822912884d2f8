//! Randomness.

use super::Nonce;

/// Fills `out` with random bytes from AWS-LC's generator, which is seeded by the operating system and is per thread.
///
/// # Panics
/// When the operating system gives no randomness: going on would repeat nonces.
pub fn fill(out: &mut [u8]) {
    aws_lc_rs::rand::fill(out).expect("the operating system's random number generator works");
}

/// `N` random bytes that are not secret (salts, identifiers).
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    fill(&mut out);
    out
}

/// `N` fresh random nonces. One call for several costs little more than one for one.
pub fn nonces<const N: usize>() -> [Nonce; N] {
    let mut out = [Nonce::default(); N];
    fill(out.as_flattened_mut());
    out
}

/// A fresh random nonce.
pub fn nonce() -> Nonce {
    bytes()
}
