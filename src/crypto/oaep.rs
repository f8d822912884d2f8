//! RSAES-OAEP (RFC 8017, 7.1) under keys of the service; the label is empty. Keys that wrap imports are in [`super::transport`].

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey,
    OaepPublicEncryptingKey,
};
use zeroize::Zeroizing;

use super::AuthenticationFailed;
use super::pair::{Held, PrivateKey};

/// The hash function of the padding and of its mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Oaep {
    /// SHA-1. It needs no collision resistance.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Oaep {
    const fn algorithm(self) -> &'static OaepAlgorithm {
        match self {
            Self::Sha1 => &OAEP_SHA1_MGF1SHA1,
            Self::Sha256 => &OAEP_SHA256_MGF1SHA256,
        }
    }
}

/// How many bytes are encrypted under `key` at most; `None` for a key that encrypts nothing.
pub fn most(key: &PrivateKey, oaep: Oaep) -> Option<usize> {
    let public = OaepPublicEncryptingKey::new(key.encrypting()?).ok()?;
    Some(public.max_plaintext_size(oaep.algorithm()))
}

/// Encrypts under the public key of `key`; `None` for too many bytes, and for a key that encrypts nothing.
pub fn encrypt(key: &PrivateKey, oaep: Oaep, plaintext: &[u8]) -> Option<Vec<u8>> {
    let public = OaepPublicEncryptingKey::new(key.encrypting()?).ok()?;
    let mut out = vec![0; public.ciphertext_size()];
    let len = public.encrypt(oaep.algorithm(), plaintext, &mut out, None).ok()?.len();
    out.truncate(len);
    Some(out)
}

/// Decrypts.
///
/// # Errors
/// [`AuthenticationFailed`] for what was not encrypted under this public key in this way.
pub fn decrypt(
    key: &PrivateKey,
    oaep: Oaep,
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AuthenticationFailed> {
    let Held::Rsa(_, private) = &key.held else { return Err(AuthenticationFailed) };
    let private = OaepPrivateDecryptingKey::new(private.clone()).map_err(|_| AuthenticationFailed)?;
    let mut out = Zeroizing::new(vec![0; private.min_output_size()]);
    let opened = private.decrypt(oaep.algorithm(), ciphertext, &mut out, None);
    let len = opened.map_err(|_| AuthenticationFailed)?.len();
    out.truncate(len);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::pair::{self, PairKind};
    use super::super::transport::{Modulus, Padding, TransportKey};
    use super::*;

    #[test]
    fn what_is_encrypted_opens_here_and_in_the_other_library() {
        let made = pair::generate(PairKind::Rsa(Modulus::Bits2048));
        let key = PrivateKey::from_pkcs8(PairKind::Rsa(Modulus::Bits2048), &made.private).unwrap();
        let other = TransportKey::from_pkcs8(&made.private).unwrap();
        for (oaep, padding, len) in
            [(Oaep::Sha1, Padding::OaepSha1, 214), (Oaep::Sha256, Padding::OaepSha256, 190)]
        {
            assert_eq!(most(&key, oaep), Some(len));
            let plaintext = vec![5; len];
            let sealed = encrypt(&key, oaep, &plaintext).unwrap();
            assert_eq!(sealed.len(), 256);
            assert_eq!(*decrypt(&key, oaep, &sealed).unwrap(), plaintext);
            assert_eq!(*other.unwrap(padding, &sealed).unwrap(), plaintext);
            assert!(encrypt(&key, oaep, &vec![5; len + 1]).is_none());
            let another = if oaep == Oaep::Sha1 { Oaep::Sha256 } else { Oaep::Sha1 };
            assert_eq!(decrypt(&key, another, &sealed), Err(AuthenticationFailed));
            for len in [0, 1, 255] {
                assert_eq!(decrypt(&key, oaep, &sealed[..len]), Err(AuthenticationFailed));
            }
            assert_eq!(decrypt(&key, oaep, &[0xff; 256]), Err(AuthenticationFailed));
        }
        let ec = PrivateKey::from_pkcs8(PairKind::P256, &pair::generate(PairKind::P256).private).unwrap();
        assert_eq!(most(&ec, Oaep::Sha1), None);
        assert!(encrypt(&ec, Oaep::Sha1, b"x").is_none() && decrypt(&ec, Oaep::Sha1, b"x").is_err());
    }
}
