//! Recovery codes: 130 random bits for people to write down, with two characters that catch a slip.
//!
//! ```text
//! 26 random characters | 2 check characters        of Crockford's base 32, in groups of four
//! ```
//!
//! The check characters make the 28 a word of a Reed-Solomon code over GF(32) (generator `(x - a)(x - a^2)`): any one or two wrong
//! characters are noticed, and so are two that changed places. They are for slips of the pen; what a code opens is decided by the
//! slot.

use std::fmt;

use zeroize::Zeroizing;

use crate::crypto::Secret;

/// Crockford's base 32: no I, L, O or U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Random characters.
const RANDOM: usize = 26;
/// All characters, without what stands between groups.
const LEN: usize = RANDOM + 2;
/// Characters of a group.
const GROUP: usize = 4;

/// A recovery code. It must never be stored or logged; [`RecoveryCode::reveal`] is for the one place that shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode(Secret<LEN>);

impl RecoveryCode {
    /// A new one.
    pub fn random() -> Self {
        let random = Secret::<RANDOM>::random();
        let mut values = Zeroizing::new([0; LEN]);
        values.iter_mut().zip(random.expose()).for_each(|(value, byte)| *value = byte & 31);
        let check = remainder(&values);
        values[RANDOM..].copy_from_slice(&check);
        Self(secret_of(&values))
    }

    /// Reads one as people type it: upper or lower case, with or without spaces and dashes, O for 0, I and L for 1.
    ///
    /// # Errors
    /// A sentence that says what is wrong, and repeats nothing of it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let mut values = Zeroizing::new([0; LEN]);
        let mut len = 0;
        for byte in text.iter().filter(|byte| !byte.is_ascii_whitespace() && **byte != b'-') {
            let Some(value) = value_of(*byte) else {
                return Err("a recovery code has digits and letters without I, L, O and U".to_owned());
            };
            if let Some(place) = values.get_mut(len) {
                *place = value;
            }
            len += 1;
        }
        if len != LEN {
            return Err(format!("a recovery code has {LEN} characters, and this has {len}"));
        }
        if remainder(&values) != [0; 2] {
            return Err("there is a slip in the recovery code: its check characters do not fit".to_owned());
        }
        Ok(Self(secret_of(&values)))
    }

    /// The characters as one text, in groups.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(LEN + LEN / GROUP));
        for (place, value) in self.0.expose().iter().enumerate() {
            if place > 0 && place % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET[usize::from(*value)]));
        }
        text
    }

    /// What a slot's key is derived from.
    pub(super) fn expose(&self) -> &[u8; LEN] {
        self.0.expose()
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(..)")
    }
}

fn secret_of(values: &[u8; LEN]) -> Secret<LEN> {
    let filled: Result<_, std::convert::Infallible> = Secret::fill_with(|out| {
        out.copy_from_slice(values);
        Ok(())
    });
    let Ok(secret) = filled;
    secret
}

fn value_of(byte: u8) -> Option<u8> {
    let byte = match byte.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        byte => byte,
    };
    ALPHABET.iter().position(|letter| *letter == byte).and_then(|place| u8::try_from(place).ok())
}

/// The product in GF(32), modulo x^5 + x^2 + 1.
fn times(mut one: u8, mut other: u8) -> u8 {
    let mut product = 0;
    while other > 0 {
        product ^= one * (other & 1);
        one <<= 1;
        one ^= (one >> 5) * 0b10_0101;
        other >>= 1;
    }
    product
}

/// What is left of the first characters times x^2 divided by the generator, plus the check characters: zero for a word of the code.
fn remainder(values: &[u8; LEN]) -> [u8; 2] {
    // (x - a)(x - a^2) = x^2 + (a + a^2) x + a^3, with a = 2.
    const GENERATOR: [u8; 2] = [0b110, 0b1000];
    let mut rest = [0; 2];
    for value in &values[..RANDOM] {
        let lead = value ^ rest[0];
        rest = [rest[1] ^ times(lead, GENERATOR[0]), times(lead, GENERATOR[1])];
    }
    [rest[0] ^ values[RANDOM], rest[1] ^ values[RANDOM + 1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_code_is_seven_groups_of_four_and_reads_back() {
        let code = RecoveryCode::random();
        let text = code.reveal();
        assert_eq!(text.len(), 34);
        assert!(text.split('-').all(|group| group.len() == 4) && text.split('-').count() == 7, "{}", *text);
        assert_eq!(RecoveryCode::parse(text.as_bytes()).unwrap(), code);
        assert_ne!(RecoveryCode::random(), code);
    }

    #[test]
    fn case_spaces_dashes_and_letters_that_look_like_digits_do_not_count() {
        let mut values = [0; LEN];
        values[..3].copy_from_slice(&[0, 1, 31]);
        let check = remainder(&values);
        values[RANDOM..].copy_from_slice(&check);
        let code = RecoveryCode(secret_of(&values));
        let text = code.reveal();
        let typed = text.to_lowercase().replace('-', "  ").replace('0', "o").replacen('1', "l", 1);
        for typed in
            [typed.as_str(), &typed.replace('l', "I"), &typed.replace(' ', ""), &format!("\t{typed}\r\n")]
        {
            assert_eq!(RecoveryCode::parse(typed.as_bytes()).unwrap(), code, "{typed:?}");
        }
    }

    #[test]
    fn every_single_slip_and_every_exchange_of_two_characters_is_noticed() {
        let code = RecoveryCode::random();
        let text = code.reveal().replace('-', "");
        for place in 0..LEN {
            for letter in ALPHABET.iter().filter(|letter| **letter != text.as_bytes()[place]) {
                let mut slip = text.clone().into_bytes();
                slip[place] = *letter;
                let error = RecoveryCode::parse(&slip).unwrap_err();
                assert!(error.contains("slip"), "{error}");
            }
            for other in 0..place {
                let mut slip = text.clone().into_bytes();
                slip.swap(place, other);
                assert_eq!(RecoveryCode::parse(&slip).is_ok(), slip == text.as_bytes());
            }
        }
    }

    #[test]
    fn every_two_slips_are_noticed() {
        let zero = [0; LEN];
        for (one, other) in (0..LEN).flat_map(|one| (0..one).map(move |other| (one, other))) {
            for (a, b) in (1..32).flat_map(|a| (1..32).map(move |b| (a, b))) {
                let mut slip = zero;
                (slip[one], slip[other]) = (a, b);
                assert_ne!(remainder(&slip), [0; 2], "{a} at {one} and {b} at {other}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_repeating_it() {
        for (text, says) in
            [("", "has 0"), ("ABCD", "has 4"), ("U", "without"), ("é", "without"), ("A&", "without")]
        {
            let error = RecoveryCode::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let code = RecoveryCode::random();
        assert_eq!(format!("{code:?}"), "RecoveryCode(..)");
        let long = format!("{}A", *code.reveal());
        assert!(RecoveryCode::parse(long.as_bytes()).unwrap_err().contains("has 29"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = RecoveryCode::parse(&bytes);
        }
    }
}
