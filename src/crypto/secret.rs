//! Memory that holds a secret.

use std::fmt;

use zeroize::Zeroize;

/// `N` secret bytes on the heap: wiped on drop, never printed, never copied by a move.
///
/// It must never implement `Display`, `Serialize` or a `Debug` that shows its content. Comparison is in constant
/// time.
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Fills a new secret in place, so that its bytes are never on the stack of the caller.
    pub fn fill_with<E>(fill: impl FnOnce(&mut [u8; N]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Self(Box::new([0; N]));
        fill(&mut secret.0)?;
        Ok(secret)
    }

    /// A secret of fresh random bytes.
    pub fn random() -> Self {
        let mut secret = Self(Box::new([0; N]));
        super::rng::fill_secret(&mut *secret.0);
        secret
    }

    /// Copies `bytes`; `None` where their number is not `N`. The caller wipes its own copy.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != N {
            return None;
        }
        let mut secret = Self(Box::new([0; N]));
        secret.0.copy_from_slice(bytes);
        Some(secret)
    }

    /// The bytes. Every call is a place to review: what is read here leaves the type's protection.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> Clone for Secret<N> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_form_shows_no_byte() {
        let secret = Secret::<4>::from_slice(&[0xab, 0xcd, 0xef, 0x12]).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret<4>(..)");
    }

    #[test]
    fn a_slice_of_another_length_is_refused() {
        assert!(Secret::<4>::from_slice(&[0; 3]).is_none());
        assert!(Secret::<4>::from_slice(&[0; 5]).is_none());
    }
}
