//! Ciphertext blobs of the key service.

use kmsfs::context::EncryptionContext;
use kmsfs::kms::ciphertext::{self, Ciphertext, OVERHEAD};
use kmsfs::kms::id::{KeyId, KeyScope, MaterialId};

use crate::input::Input;
use crate::sealing::secret;

/// No input opens; what was sealed opens as it was, and not once a byte of it is another.
pub fn ciphertext(data: &[u8]) {
    if let Some(blob) = Ciphertext::parse(data) {
        assert!(data.starts_with(b"kms") && data.len() > OVERHEAD);
        assert_eq!(blob.key.scope().code(), data[3]);
        assert_eq!([blob.key.as_bytes().as_slice(), blob.material.as_bytes()].concat(), data[4..52]);
        assert!(blob.open(&secret(), &EncryptionContext::default()).is_err(), "a blob was forged");
    }

    let mut input = Input(data);
    let scope = KeyScope::ALL[usize::from(input.byte() % 2)];
    let (key, material) = (KeyId::from_bytes(scope, input.array()), MaterialId::from_bytes(input.array()));
    let (at, change) = (usize::from(input.short()), input.byte());
    let pairs = input.byte() % 4;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let context: EncryptionContext =
        (0..pairs).map(|_| (text(input.bytes(3)), text(input.bytes(5)))).collect();
    let plaintext = if input.is_empty() { b"a" } else { input.0 };
    let mut blob = ciphertext::seal(key, material, &secret(), &context, plaintext);
    let opened = |blob: &[u8]| Ciphertext::parse(blob).and_then(|blob| blob.open(&secret(), &context).ok());
    assert_eq!(opened(&blob).expect("it was sealed").as_slice(), plaintext);
    let at = at % blob.len();
    blob[at] ^= change;
    assert_eq!(opened(&blob).is_some(), change == 0, "byte {at} of a blob was changed by {change}");
}
