//! Tag sectors and index pages.

use kmsfs::content::Entry;
use kmsfs::content::sector::{
    INDEX_BODY, Place, SectorBytes, SectorError, TAG_BODY, open_index, open_tags, seal_index, seal_tags,
};
use kmsfs::crypto::content::ContentKey;
use kmsfs::crypto::rng;

use crate::input::Input;
use crate::sealing::{FILE, opened_sector, sealed_sector, secret};

/// An input that is no sector is refused; one that is sealed as a body opens, exactly where the document allows the body, and is
/// written back as it was.
pub fn tag_sector(data: &[u8]) {
    const PLACE: Place = Place::Tags(3, 5);
    let key = ContentKey::new(&secret());
    let raw: SectorBytes = Input(data).array();
    assert_eq!(open_tags(&key, FILE, PLACE, u64::MAX, &raw), Err(SectorError::Inauthentic));

    let mut input = Input(data);
    let (epoch, sequence, body) = (input.long(), input.long(), input.array::<TAG_BODY>());
    let sector = sealed_sector(&key, FILE, PLACE, epoch, &body);
    let opened = open_tags(&key, FILE, PLACE, sequence, &sector);
    match &opened {
        Ok(entries) => {
            for seal in entries.iter().flat_map(seals) {
                assert!((1..=4096).contains(&seal.len()));
            }
            let again = seal_tags(&key, FILE, PLACE, epoch, entries, &rng::nonce());
            assert_eq!(
                opened_sector::<TAG_BODY>(&key, PLACE, &again),
                body,
                "a body is written as it was read"
            );
            assert!(epoch <= sequence && is_canonical(&body));
        }
        Err(SectorError::FromTheFuture { .. }) => assert!(epoch > sequence),
        Err(SectorError::Malformed) => assert!(epoch <= sequence && !is_canonical(&body)),
        Err(SectorError::Inauthentic) => panic!("it was sealed"),
    }
}

fn seals(entry: &Entry) -> Vec<&kmsfs::content::Seal> {
    match entry {
        Entry::Hole => vec![],
        Entry::One(seal) => vec![seal],
        Entry::Two(versions) => vec![&versions.current, &versions.previous],
    }
}

/// Whether the document allows a body: no kind 3, and zeros in what an entry does not use.
fn is_canonical(body: &[u8; TAG_BODY]) -> bool {
    (0..8).all(|number| {
        let kind = body[number / 4] >> (6 - 2 * (number % 4)) & 3;
        let lengths =
            u32::from_be_bytes([0, body[2 + 3 * number], body[3 + 3 * number], body[4 + 3 * number]]);
        let seals = &body[26 + 56 * number..82 + 56 * number];
        match kind {
            0 => lengths == 0 && seals.iter().all(|byte| *byte == 0),
            1 => lengths & 0xfff == 0 && seals[28..].iter().all(|byte| *byte == 0),
            2 => true,
            _ => false,
        }
    })
}

/// As [`tag_sector`], for each of the sectors of an index page.
pub fn index_page(data: &[u8]) {
    let key = ContentKey::new(&secret());
    let mut input = Input(data);
    let sequence = input.long();
    for number in 0..8 {
        let place = Place::Index(1, number);
        let raw: SectorBytes = Input(input.0).array();
        assert!(open_index(&key, FILE, place, u64::MAX, &raw).is_err());
        let (epoch, body) = (input.long(), input.array::<INDEX_BODY>());
        let sector = sealed_sector(&key, FILE, place, epoch, &body);
        match open_index(&key, FILE, place, sequence, &sector) {
            Ok(bits) => {
                assert!(epoch <= sequence && bits == body);
                let again = seal_index(&key, FILE, place, epoch, &bits);
                assert_eq!(opened_sector::<INDEX_BODY>(&key, place, &again), body);
            }
            Err(SectorError::FromTheFuture { .. }) => assert!(epoch > sequence),
            Err(error) => panic!("it was sealed, and every body is allowed: {error}"),
        }
    }
}
