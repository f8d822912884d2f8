//! What the files of the database keep of rows that are gone.

use std::collections::{HashMap, HashSet};
use std::fs;

use super::*;
use crate::clock::Timestamp;
use crate::kms::id::{KeyId, KeyScope, MaterialId};
use crate::kms::key::{KeyRecord, MaterialRecord, RotationKind, Tombstone};
use crate::kms::material::SealedMaterial;
use crate::kms::ring::Change;
use crate::kms::state::KeyState;
use crate::store::root::RootKey;
use crate::store::slot::SlotSecret;
use crate::store::{Home, NewSlot, SetupOptions, keyfile};

const SEALED_LEN: usize = 60;

/// The store of a fresh home.
fn store(dir: &Path) -> SqliteStore {
    let options = SetupOptions::new(vec![NewSlot::KeyFile(dir.join("key"))]);
    drop(Home::setup(&dir.join("home"), &options).unwrap());
    another(dir)
}

/// The same store, as another process has it.
fn another(dir: &Path) -> SqliteStore {
    let path = dir.join("home").join(database::FILE_NAME);
    let connection = database::open(&path).unwrap();
    let slot = tables::slots(&connection, &path).unwrap().remove(0);
    let key_file = keyfile::read(&dir.join("key")).unwrap();
    let slot = Slot::of(&slot).unwrap();
    let root = RootKey::unlock(&slot, SlotSecret::KeyFile(&key_file)).unwrap().unwrap();
    SqliteStore::new(&path, connection, root.ledger(), 0).unwrap()
}

fn change(store: &SqliteStore, changes: Vec<Change>) {
    store.update(&mut |_| Ok(changes.clone())).unwrap();
}

/// The same bytes at every run (SplitMix64), so that rows move from page to page in the same way.
fn bytes<const N: usize>(state: &mut u64) -> [u8; N] {
    std::array::from_fn(|_| {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 56) as u8
    })
}

fn key(state: &mut u64) -> KeyRecord {
    KeyRecord::of_test(KeyId::from_bytes(KeyScope::SingleRegion, bytes(state)))
}

fn material(state: &mut u64, key: KeyId, version: u32) -> MaterialRecord {
    let rotation = (version > 1).then_some((RotationKind::OnDemand, Timestamp::from_millis(1 << 40)));
    let id = MaterialId::from_bytes(bytes(state));
    let sealed = SealedMaterial::from_sealed(bytes::<SEALED_LEN>(state).to_vec());
    MaterialRecord { id, key, version, rotation, sealed: Some(sealed), imported: None, uses: 0 }
}

fn destroy(store: &SqliteStore, key: KeyId) -> Change {
    let (created, deleted) = (Timestamp::from_millis(0), Timestamp::from_millis(1));
    let arn = store.ring().unwrap().namespace().key_arn(key);
    Change::DestroyKey(Tombstone { key, arn, created, deleted })
}

/// How many of `sealed` are somewhere in the files of the database.
fn left(dir: &Path, sealed: &HashSet<Vec<u8>>) -> usize {
    let files = fs::read_dir(dir.join("home")).unwrap().map(|entry| entry.unwrap().path());
    let disk: Vec<u8> =
        files.filter(|path| path.is_file()).flat_map(|path| fs::read(path).unwrap()).collect();
    let by_start: HashMap<&[u8], &[u8]> =
        sealed.iter().map(|bytes| (&bytes[..8], bytes.as_slice())).collect();
    let parts = disk.windows(SEALED_LEN);
    let found = parts.filter(|part| by_start.get(&part[..8]).is_some_and(|bytes| bytes == part));
    found.collect::<HashSet<_>>().len()
}

/// SQLite overwrites what it deletes, but not the copy that stays in a page when a growing table moves a row to another one.
#[test]
fn del_3_no_copy_of_a_destroyed_row_is_left_in_a_page_that_it_was_moved_from() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let mut state = 1;
    let keys: Vec<KeyRecord> = (0..1200).map(|_| key(&mut state)).collect();
    let made = |state: &mut u64, key: &KeyRecord, versions: std::ops::RangeInclusive<u32>| {
        versions.map(|version| Change::PutMaterial(material(state, key.id, version))).collect::<Vec<_>>()
    };
    change(&store, keys.iter().cloned().map(Change::PutKey).collect());
    change(&store, keys.iter().flat_map(|key| made(&mut state, key, 1..=1)).collect());
    let versions = |place: usize| 1 + place as u32 % 4;
    let rotated = keys.iter().enumerate();
    change(&store, rotated.flat_map(|(place, key)| made(&mut state, key, 2..=versions(place))).collect());

    let doomed: Vec<KeyId> =
        keys.iter().enumerate().filter(|(place, _)| place % 3 > 0).map(|(_, key)| key.id).collect();
    let ring = store.ring().unwrap();
    let sealed: HashSet<Vec<u8>> = doomed
        .iter()
        .flat_map(|id| &ring.key(*id).unwrap().materials)
        .map(|material| material.sealed.as_ref().unwrap().as_sealed().to_vec())
        .collect();
    assert_eq!(left(dir.path(), &sealed), sealed.len(), "the search finds what is there");
    for batch in 0..5 {
        let batch = doomed.iter().skip(batch).step_by(5);
        change(&store, batch.map(|id| destroy(&store, *id)).collect());
    }
    assert_eq!(left(dir.path(), &sealed), 0, "of {} destroyed backing keys", sealed.len());
}

/// The hook runs when a commit is done and before whatever this process does next.
#[test]
fn st_3_a_commit_of_another_process_right_after_ones_own_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (store(dir.path()), another(dir.path()));
    let mut state = 1;
    let keys = [key(&mut state), key(&mut state)];
    change(&one, keys.iter().cloned().map(Change::PutKey).collect());
    let [mine, theirs] = keys.map(|key| KeyRecord { state: KeyState::Disabled, ..key });
    let ids = [mine.id, theirs.id];
    let mut theirs = Some(theirs);
    let hook = move |_: &mut rusqlite::hooks::Wal, _| {
        theirs.take().into_iter().for_each(|record| change(&other, vec![Change::PutKey(record)]));
        Ok(())
    };
    one.connection.lock().wal_hook(Some(hook)).unwrap();
    change(&one, vec![Change::PutKey(mine)]);
    let ring = one.ring().unwrap();
    assert_eq!(ids.map(|id| ring.key(id).unwrap().record.state), [KeyState::Disabled; 2]);
}

/// A disk that cannot sync may have taken the commit all the same: after a kill it is found in the log, and the slot with it.
#[test]
fn a_key_file_that_was_made_for_a_slot_stays_there_where_the_commit_failed_and_goes_where_none_was_tried() {
    let dir = tempfile::tempdir().unwrap();
    drop(store(dir.path()));
    let home = Home::open(&dir.path().join("home")).unwrap();
    let caller = home.caller(0, 1, crate::kms::Via::Cli);
    let (made, slot) = (dir.path().join("made"), |path: &Path| NewSlot::KeyFile(path.to_owned()));
    home.store().connection.lock().commit_hook(Some(|| true)).unwrap();
    assert!(home.change_slot(&caller, 1, &slot(&made)).is_err());
    assert!(made.exists());
    home.store().connection.lock().commit_hook(None::<fn() -> bool>).unwrap();
    home.change_slot(&caller, 1, &slot(&made)).unwrap();
    let other = dir.path().join("other");
    assert!(home.change_slot(&caller, 7, &slot(&other)).is_err());
    fs::remove_file(dir.path().join("home/audit.log")).unwrap();
    fs::create_dir(dir.path().join("home/audit.log")).unwrap();
    assert!(home.add_slot(&caller, &slot(&other)).is_err() && !other.exists());
}
