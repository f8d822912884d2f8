//! Elliptic-curve Diffie-Hellman (NIST SP 800-56A, 5.7.1.2): the secret that two key pairs of one curve share.

use aws_lc_rs::agreement::{self, ParsedPublicKey, ParsedPublicKeyFormat, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::pair::{self, Held, PrivateKey};

/// A public key that is none, or not one of the private key's curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPublicKey;

/// The secret that `key` shares with the owner of `public`, a SubjectPublicKeyInfo in DER: the x-coordinate of the common point. It is no
/// key yet, and is to be derived from.
///
/// # Errors
/// [`InvalidPublicKey`], also for a key that agrees on nothing.
pub fn agree(key: &PrivateKey, public: &[u8]) -> Result<Zeroizing<Vec<u8>>, InvalidPublicKey> {
    let Held::Ec(_, Some(private)) = &key.held else { return Err(InvalidPublicKey) };
    // AWS-LC would take the parameters of a curve in place of its name.
    if !pair::is_one_sequence(public) || algorithm(public) != algorithm(&key.public_der()) {
        return Err(InvalidPublicKey);
    }
    let public = UnparsedPublicKey::new(private.algorithm(), public);
    let public = ParsedPublicKey::try_from(public).map_err(|_| InvalidPublicKey)?;
    if public.format() != ParsedPublicKeyFormat::X509 {
        return Err(InvalidPublicKey);
    }
    agreement::agree(private, public, InvalidPublicKey, |secret| Ok(Zeroizing::new(secret.to_vec())))
}

/// The AlgorithmIdentifier of a SubjectPublicKeyInfo: `id-ecPublicKey` and the name of the curve, which PKIX wants to be a name
/// (RFC 5480, 2.1.1).
fn algorithm(public: &[u8]) -> Option<&[u8]> {
    let (content, _) = element(public)?;
    let (_, len) = element(content)?;
    content.get(..len)
}

/// The content of the DER element that `bytes` begin with, and the length of both. No key comes near 64 KiB.
fn element(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (begin, len) = match *bytes.get(1..4)? {
        [len @ 0..=0x7f, ..] => (2, usize::from(len)),
        [0x81, len, _] => (3, usize::from(len)),
        [0x82, high, low] => (4, usize::from(u16::from_be_bytes([high, low]))),
        _ => return None,
    };
    Some((bytes.get(begin..begin + len)?, begin + len))
}

#[cfg(test)]
mod tests {
    use super::super::pair::{KINDS, PairKind};
    use super::*;

    #[test]
    fn two_pairs_of_a_curve_agree_and_no_others_do() {
        for kind in KINDS {
            let (one, two) = (pair::generate(kind), pair::generate(kind));
            let [mine, theirs] =
                [&one, &two].map(|made| PrivateKey::from_pkcs8(kind, &made.private).unwrap());
            let agrees = matches!(kind, PairKind::P256 | PairKind::P384 | PairKind::P521);
            let secret = agree(&mine, &two.public);
            assert_eq!(secret.is_ok(), agrees, "{kind:?}");
            assert_eq!(secret, agree(&theirs, &one.public));
            for other in KINDS.into_iter().filter(|other| *other != kind) {
                assert_eq!(agree(&mine, &pair::generate(other).public), Err(InvalidPublicKey), "{other:?}");
            }
            for len in 0..two.public.len() {
                assert_eq!(agree(&mine, &two.public[..len]), Err(InvalidPublicKey), "{len} bytes");
            }
            assert_eq!(agree(&mine, &[two.public.as_slice(), &[0]].concat()), Err(InvalidPublicKey));
            // A bare point is no SubjectPublicKeyInfo.
            let point = two.public.iter().position(|byte| *byte == 4).unwrap_or(0);
            assert_eq!(agree(&mine, &two.public[point..]), Err(InvalidPublicKey));
        }
    }

    /// A key of P-256 as `openssl ec -param_enc explicit` writes it: prime, coefficients, generator and order stand in place of the name.
    const EXPLICIT: &[u8] = include_bytes!("../../tests/golden/spki/p256-explicit.der");

    #[test]
    fn a_curve_that_is_not_named_is_refused_also_where_it_is_a_known_one() {
        let kind = PairKind::P256;
        let mine = PrivateKey::from_pkcs8(kind, &pair::generate(kind).private).unwrap();
        assert_eq!(agree(&mine, EXPLICIT), Err(InvalidPublicKey));
        // The same point under the curve's name is taken.
        let named = &pair::generate(kind).public;
        let point = &EXPLICIT[EXPLICIT.len() - 65..];
        let same = [&named[..named.len() - 65], point].concat();
        assert!(agree(&mine, &same).is_ok());
    }
}
