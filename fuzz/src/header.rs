//! Header slots.

use kmsfs::envelope::{MAX_SIZE, SLOT_LEN, UnverifiedHeader, WRAP_SPACE};

use crate::input::Input;
use crate::sealing::mac_key;

const MAC_AT: usize = SLOT_LEN - 32;

/// What parses is within bounds; what authenticates is written back as it was.
pub fn header(data: &[u8]) {
    let mut slot = Input(data).array::<SLOT_LEN>();
    if let Ok(parsed) = UnverifiedHeader::parse(&slot) {
        check(&parsed);
        assert!(parsed.verify(&mac_key()).is_err() || is_signed(&slot), "a MAC was forged");
    }
    slot[..12].copy_from_slice(b"kmsfs\r\n\x1a\x00\x01\x00\x01");
    let mac = mac_key().sign(&[&slot[..MAC_AT]]);
    slot[MAC_AT..].copy_from_slice(&mac);
    if let Ok(parsed) = UnverifiedHeader::parse(&slot) {
        check(&parsed);
        let header = parsed.verify(&mac_key()).expect("it was signed");
        assert_eq!(header.seal(&mac_key()).expect("it did fit"), slot, "a header is written as it was read");
    }
}

fn is_signed(slot: &[u8; SLOT_LEN]) -> bool {
    mac_key().sign(&[&slot[..MAC_AT]]) == slot[MAC_AT..]
}

fn check(parsed: &UnverifiedHeader) {
    let claims = parsed.claims();
    assert!(claims.committed_size.max(claims.acknowledged_size).max(claims.target_size) <= MAX_SIZE);
    assert!(claims.wrapped.key.as_str().len() + claims.wrapped.blob.len() <= WRAP_SPACE);
}
