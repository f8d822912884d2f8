//! AES key wrap with padding (RFC 5649), in which private keys too long for RSA come in.

use aws_lc_rs::key_wrap::{AES_128, AES_256, AesBlockCipher, AesKek, KeyWrapPadded};
use zeroize::Zeroizing;

use super::AuthenticationFailed;

/// Opens what was wrapped under `key`, of 16 or 32 bytes.
///
/// # Errors
/// [`AuthenticationFailed`] for a key of another length, and for what was not wrapped under this one.
pub fn unwrap(key: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, AuthenticationFailed> {
    let cipher: &'static AesBlockCipher = match key.len() {
        16 => &AES_128,
        32 => &AES_256,
        _ => return Err(AuthenticationFailed),
    };
    let kek = AesKek::new(cipher, key).map_err(|_| AuthenticationFailed)?;
    let mut out = Zeroizing::new(vec![0; wrapped.len()]);
    let len = kek.unwrap_with_padding(wrapped, &mut out).map_err(|_| AuthenticationFailed)?.len();
    out.truncate(len);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(key: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0; plain.len() + 15];
        AesKek::new(&AES_256, key).unwrap().wrap_with_padding(plain, &mut out).unwrap().to_vec()
    }

    #[test]
    fn what_is_wrapped_opens_under_its_key_only() {
        for len in [1, 7, 8, 9, 32, 2375] {
            let plain = vec![9; len];
            let wrapped = wrap(&[7; 32], &plain);
            assert_eq!(*unwrap(&[7; 32], &wrapped).unwrap(), plain);
            assert_eq!(unwrap(&[8; 32], &wrapped), Err(AuthenticationFailed));
            let mut altered = wrapped.clone();
            altered[len / 2] ^= 1;
            assert_eq!(unwrap(&[7; 32], &altered), Err(AuthenticationFailed));
            for short in [0, 1, 8, wrapped.len() - 1] {
                assert_eq!(unwrap(&[7; 32], &wrapped[..short]), Err(AuthenticationFailed), "{short}");
            }
        }
        assert_eq!(unwrap(&[7; 24], &[0; 32]), Err(AuthenticationFailed));
        assert_eq!(unwrap(&[], &[]), Err(AuthenticationFailed));
    }

    #[test]
    fn a_wrap_of_aes_128_opens_as_well() {
        let mut out = [0; 64];
        let wrapped = AesKek::new(&AES_128, &[7; 16]).unwrap().wrap_with_padding(b"short", &mut out).unwrap();
        assert_eq!(unwrap(&[7; 16], wrapped).unwrap().as_slice(), b"short");
    }
}
