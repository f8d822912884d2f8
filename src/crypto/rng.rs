//! Randomness: secret bytes, and bytes that are to be seen (nonces, salts, identifiers).
//!
//! Both are of AWS-LC's generator, which the operating system seeds. A call of it costs as much as hundreds of bytes do, and a new
//! file takes ten draws of a few bytes: so each thread keeps a supply of bytes that are to be seen, drawn at once. Secret bytes are never
//! of the supply, so that whoever saw its memory would know no key of it; and no byte of it is given twice:
//!
//! - one that is given is wiped there;
//! - in a process that `fork(2)` made the supply is empty, since the kernel wipes its memory ([`WipedOnFork`]);
//! - where the kernel cannot do that, there is no supply.

use std::cell::RefCell;

use zeroize::Zeroize;

use super::Nonce;
use crate::sys::WipedOnFork;

/// What stands in front of a supply: how many bytes are left of it (u16), behind one another at its end.
const LEFT: usize = 2;
/// Larger draws are not of the supply.
const MOST: usize = 1024;

thread_local! {
    static SUPPLY: RefCell<Option<WipedOnFork>> = RefCell::new(WipedOnFork::new());
}

/// Fills `out` with secret random bytes.
///
/// # Panics
/// When the operating system gives no randomness: going on would repeat nonces.
pub fn fill_secret(out: &mut [u8]) {
    aws_lc_rs::rand::fill(out).expect("the operating system's random number generator works");
}

/// Fills `out` with random bytes that are not secret.
///
/// # Panics
/// As [`fill_secret`].
pub fn fill(out: &mut [u8]) {
    let mut supplied = false;
    if out.len() <= MOST {
        // A thread that is ending has no supply any more.
        let _ = SUPPLY.try_with(|supply| {
            if let Some(page) = supply.borrow_mut().as_mut() {
                take(page.bytes(), out);
                supplied = true;
            }
        });
    }
    if !supplied {
        fill_secret(out);
    }
}

/// Takes bytes from the end of a supply, which is filled where it has too few.
fn take(page: &mut [u8], out: &mut [u8]) {
    let (left, supply) = page.split_first_chunk_mut::<LEFT>().expect("a page is longer");
    let mut have = usize::from(u16::from_ne_bytes(*left));
    if have < out.len() {
        fill_secret(supply);
        have = supply.len();
    }
    let given = &mut supply[have - out.len()..have];
    out.copy_from_slice(given);
    given.zeroize();
    *left = u16::try_from(have - out.len()).expect("a page is below 64 KiB").to_ne_bytes();
}

/// `N` random bytes that are not secret.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    fill(&mut out);
    out
}

/// `N` fresh random nonces.
pub fn nonces<const N: usize>() -> [Nonce; N] {
    let mut out = [Nonce::default(); N];
    fill(out.as_flattened_mut());
    out
}

/// A fresh random nonce.
pub fn nonce() -> Nonce {
    bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_byte_of_a_supply_is_given_twice_and_what_is_given_is_wiped() {
        let mut page = [0; 64];
        let mut out = [0; 20];
        take(&mut page, &mut out);
        assert_eq!(page[..LEFT], 42_u16.to_ne_bytes());
        assert_eq!(page[LEFT + 42..], [0; 20]);
        let next: [u8; 20] = page[LEFT + 22..LEFT + 42].try_into().unwrap();
        take(&mut page, &mut out);
        assert_eq!(out, next);
        assert_eq!(page[LEFT + 22..], [0; 40]);
        // 22 are left: with 2 more there is a new supply, and what was left of the old one is given to nobody.
        take(&mut page, &mut out);
        let rest: [u8; 2] = page[LEFT..LEFT + 2].try_into().unwrap();
        take(&mut page, &mut out);
        assert!(page[..LEFT] == 42_u16.to_ne_bytes() && page[LEFT..LEFT + 2] != rest);
    }

    #[test]
    fn nonces_of_many_threads_and_sizes_differ() {
        let draw = || (0..2000).flat_map(|_| [nonce()].into_iter().chain(nonces::<3>())).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draw)).collect();
        let drawn: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 4 * 8000);
    }

    #[test]
    fn a_draw_larger_than_a_supply_is_whole() {
        for len in [MOST - 1, MOST, MOST + 1, 100_000] {
            let mut out = vec![0; len];
            fill(&mut out);
            assert!(out.iter().filter(|byte| **byte == 0).count() < len / 100 + 30, "{len}");
        }
    }
}
