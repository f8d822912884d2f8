//! Argon2id (RFC 9106, version 0x13): a key from a passphrase, at a cost that makes guessing slow.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroize;

use super::{KEY_LEN, Secret};

/// What one derivation costs. The caller bounds it where it comes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes: how many parts of the memory could be filled at the same time. They are filled one after the other here.
    pub lanes: u32,
}

/// Why no key could be derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DerivationFailed {
    /// There is not so much memory.
    OutOfMemory,
    /// Argon2 does not know such a cost or salt.
    Unsupported,
}

/// Derives a 256-bit key from `passphrase`. The memory that it fills is wiped.
///
/// # Errors
/// [`DerivationFailed`].
pub fn derive(passphrase: &[u8], salt: &[u8], cost: Argon2Cost) -> Result<Secret<KEY_LEN>, DerivationFailed> {
    let Argon2Cost { memory_kib, iterations, lanes } = cost;
    let params = Params::new(memory_kib, iterations, lanes, Some(KEY_LEN));
    let params = params.map_err(|_| DerivationFailed::Unsupported)?;
    let mut memory: Vec<Block> = Vec::new();
    memory.try_reserve_exact(params.block_count()).map_err(|_| DerivationFailed::OutOfMemory)?;
    memory.resize(params.block_count(), Block::new());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let outcome = Secret::fill_with(|out| {
        argon2.hash_password_into_with_memory(passphrase, salt, out.as_mut_slice(), &mut memory)
    });
    memory.iter_mut().for_each(Zeroize::zeroize);
    outcome.map_err(|_| DerivationFailed::Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with OpenSSL's implementation (ARGON2ID, version 0x13).
    #[test]
    fn agrees_with_another_implementation() {
        let cost = Argon2Cost { memory_kib: 256, iterations: 2, lanes: 2 };
        let key = derive(b"password", b"somesaltsomesalt", cost).unwrap();
        let hex: String = key.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "c112d2ee6b9d514413f806243187952186e8f19cacab80f20a823d549f111d2c");
    }

    #[test]
    fn passphrase_salt_and_each_part_of_the_cost_make_another_key() {
        let cost = Argon2Cost { memory_kib: 64, iterations: 1, lanes: 1 };
        let key = derive(b"a passphrase", b"somesaltsomesalt", cost).unwrap();
        for (passphrase, salt, cost) in [
            (b"A passphrase", b"somesaltsomesalt", cost),
            (b"a passphrase", b"somesaltsomesalu", cost),
            (b"a passphrase", b"somesaltsomesalt", Argon2Cost { memory_kib: 72, ..cost }),
            (b"a passphrase", b"somesaltsomesalt", Argon2Cost { iterations: 2, ..cost }),
            (b"a passphrase", b"somesaltsomesalt", Argon2Cost { lanes: 2, ..cost }),
        ] {
            assert!(derive(passphrase, salt, cost).unwrap() != key);
        }
    }

    #[test]
    fn a_cost_or_salt_that_argon2_does_not_know_is_refused() {
        let cost = Argon2Cost { memory_kib: 64, iterations: 1, lanes: 1 };
        for (salt, cost) in [
            (b"short".as_slice(), cost),
            (b"somesaltsomesalt", Argon2Cost { memory_kib: 0, ..cost }),
            (b"somesaltsomesalt", Argon2Cost { iterations: 0, ..cost }),
            (b"somesaltsomesalt", Argon2Cost { lanes: 0, ..cost }),
        ] {
            assert_eq!(derive(b"passphrase", salt, cost), Err(DerivationFailed::Unsupported));
        }
    }
}
