//! Import tokens of the key service.

use std::sync::OnceLock;

use kmsfs::clock::Timestamp;
use kmsfs::crypto::aead;
use kmsfs::kms::id::{KeyId, KeyScope};
use kmsfs::kms::import::{TokenKey, WrappingAlgorithm, WrappingKeySpec};

use crate::input::Input;
use crate::sealing::secret;

/// Of every token that is issued here.
const KEY: [u8; 16] = [3; 16];
/// And of this region.
const REGION: &str = "us-east-1";

/// No input is a token; a token is read, and not once a byte of it is another; and one whose private key is any bytes is refused, or is
/// well formed.
pub fn import_token(data: &[u8]) {
    static ISSUED: OnceLock<Vec<u8>> = OnceLock::new();
    let (tokens, key) = (TokenKey::new(secret()), KeyId::from_bytes(KeyScope::MultiRegion, KEY));
    assert!(tokens.read(data, key, REGION).is_err(), "a token was forged");

    let mut input = Input(data);
    let (at, change) = (usize::from(input.short()), input.byte());
    // Making a key takes long: one serves all inputs.
    let mut token = ISSUED
        .get_or_init(|| {
            let date = Timestamp::from_millis(1);
            tokens.issue(key, REGION, WrappingAlgorithm::OaepSha256, WrappingKeySpec::Rsa2048, date).token
        })
        .clone();
    let at = at % token.len();
    token[at] ^= change;
    assert_eq!(
        tokens.read(&token, key, REGION).is_ok(),
        change == 0,
        "byte {at} of a token was changed by {change}"
    );

    let codes = [input.byte(), input.byte()];
    let header = [b"kmt\x02".as_slice(), &KEY, &codes, &input.array::<8>()].concat();
    let aad = [b"kmsfs import token v1".as_slice(), &header, REGION.as_bytes()].concat();
    let sealed = aead::seal(&secret(), &aad, input.0);
    if tokens.read(&[header, sealed].concat(), key, REGION).is_ok() {
        assert!((1..=5).contains(&codes[0]) && (1..=3).contains(&codes[1]));
    }
}
