//! Tampering: for everything that the design lists as detected, a read gives an error or the right bytes, and never others.

use kmsfs::content::layout::{ChunkIndex, GroupIndex, PAGE, SegmentIndex, backing_size};
use kmsfs::fs::Durability;
use proptest::prelude::*;

use crate::memory::Memory;
use crate::{File, pattern};
use kmsfs::fs::backing::Backing;

const SLOT: usize = 1024;

fn this() -> File {
    File::new(1, Durability::Default)
}

/// A clean file of `len` bytes.
fn clean(len: usize) -> (Memory, Vec<u8>) {
    let (memory, plain) = (Memory::default(), pattern(len as u64, len));
    let file = this().create(&memory);
    file.write_at(0, &plain).unwrap();
    file.commit_clean().unwrap();
    (memory, plain)
}

/// A clean file of `len` bytes, the same with all of its content written again, and that content.
fn rewritten(len: usize) -> (Memory, Memory, Vec<u8>) {
    let (old, _) = clean(len);
    let memory = old.fork();
    let new = pattern(77, len);
    let file = this().open(&memory).unwrap();
    file.write_at(0, &new).unwrap();
    file.commit_clean().unwrap();
    drop(file);
    (old, memory, new)
}

/// Whether the change is noticed when the file is opened or read; wrong bytes fail the test.
fn detected(memory: &Memory, right: &[u8], what: &str) -> bool {
    let Ok(file) = this().open(memory) else { return true };
    let mut wrong = false;
    let mut buffer = vec![0; 4096];
    for at in (0..file.size()).step_by(4096) {
        match file.read_at(at, &mut buffer) {
            Err(_) => wrong = true,
            Ok(read) => {
                let expected = right.get(at as usize..).unwrap_or(&[]);
                assert!(expected.starts_with(&buffer[..read]), "{what}: wrong bytes at {at}");
            }
        }
    }
    wrong || file.size() != right.len() as u64
}

fn assert_detected(memory: &Memory, right: &[u8], what: &str) {
    assert!(detected(memory, right, what), "{what} is not detected");
}

#[test]
fn each_flipped_byte_of_a_small_file() {
    let (memory, plain) = clean(5_000);
    for at in 0..memory.size() {
        let altered = memory.fork();
        let byte = altered.bytes(at, 1)[0];
        altered.put(at, &[byte ^ 0x40]);
        let noticed = detected(&altered, &plain, &format!("byte {at}"));
        // The slot that is not in force says nothing any more; and nothing is stored behind the last byte.
        let spare = SLOT as u64..2 * SLOT as u64;
        let other = 0..SLOT as u64;
        assert!(noticed || spare.contains(&at) || other.contains(&at), "byte {at} is not detected");
    }
}

#[test]
fn exactly_one_slot_is_in_force() {
    let (memory, plain) = clean(5_000);
    let noticed = [0, SLOT as u64].map(|at| {
        let altered = memory.fork();
        altered.put(at + 100, &[memory.bytes(at + 100, 1)[0] ^ 1]);
        detected(&altered, &plain, "a slot")
    });
    assert_eq!(noticed.iter().filter(|noticed| **noticed).count(), 1);
}

#[test]
fn chunks_swapped_within_a_file() {
    let (memory, plain) = clean(400_000);
    for (one, other) in [(0, 1), (3, 40), (33, 34), (33, 97)] {
        let altered = memory.fork();
        let [one, other] = [one, other].map(|chunk| ChunkIndex(chunk).backing_offset());
        altered.put(one, &memory.bytes(other, 4096));
        altered.put(other, &memory.bytes(one, 4096));
        assert_detected(&altered, &plain, "swapped chunks");
    }
}

#[test]
fn chunks_and_sectors_swapped_across_files_under_one_data_key() {
    let (memory, plain) = clean(400_000);
    let other_memory = Memory::default();
    let mut other = this();
    other.id.0[0] ^= 1;
    let file = other.create(&other_memory);
    file.write_at(0, &pattern(9, 400_000)).unwrap();
    file.commit_clean().unwrap();
    let whole_page = |offset: u64| {
        let altered = memory.fork();
        altered.put(offset, &other_memory.bytes(offset, 4096));
        assert_detected(&altered, &plain, &format!("the page at {offset} of another file"));
    };
    let places = [0, PAGE, ChunkIndex(33).backing_offset(), SegmentIndex(1).tags_offset(), 33 * PAGE];
    places.into_iter().for_each(whole_page);
}

#[test]
fn sectors_swapped() {
    let (memory, plain) = clean(600_000);
    let tags = SegmentIndex(1).tags_offset();
    for (one, other) in
        [(2048, 2560), (tags, tags + 512), (tags, SegmentIndex(2).tags_offset()), (tags, 2048)]
    {
        let altered = memory.fork();
        altered.put(one, &memory.bytes(other, 512));
        altered.put(other, &memory.bytes(one, 512));
        assert_detected(&altered, &plain, "swapped sectors");
    }
}

#[test]
fn truncation_at_every_kind_of_place() {
    let (memory, plain) = clean(400_000);
    for size in [
        0,
        100,
        1024,
        4096,
        5000,
        33 * PAGE,
        33 * PAGE + 5,
        34 * PAGE,
        35 * PAGE,
        36 * PAGE,
        memory.size() - 1,
    ] {
        let altered = memory.fork();
        altered.set_len(size).unwrap();
        assert_detected(&altered, &plain, &format!("truncation to {size}"));
    }
}

#[test]
fn appended_bytes() {
    let (memory, plain) = clean(5_000);
    for extra in [1, 4096, 1 << 20] {
        let altered = memory.fork();
        altered.put(memory.size(), &vec![0; extra]);
        assert_detected(&altered, &plain, &format!("{extra} appended bytes"));
    }
}

#[test]
fn zeroed_pages() {
    let (memory, plain) = clean(400_000);
    for page in 0..memory.size() / PAGE {
        let altered = memory.fork();
        altered.put(page * PAGE, &[0; PAGE as usize]);
        assert_detected(&altered, &plain, &format!("zeroed page {page}"));
    }
}

#[test]
fn a_header_grafted_from_another_file() {
    let (memory, plain) = clean(5_000);
    let other_memory = Memory::default();
    let other = File::new(2, Durability::Default);
    drop(other.create(&other_memory));
    let altered = memory.fork();
    altered.put(0, &other_memory.bytes(0, 2 * SLOT));
    assert_detected(&altered, &plain, "a grafted header");
}

#[test]
fn a_header_rolled_back_alone() {
    let memory = Memory::default();
    let file = this().create(&memory);
    file.write_at(0, &pattern(1, 100_000)).unwrap();
    file.commit_clean().unwrap();
    let old = memory.fork();
    file.write_at(0, &pattern(2, 90_000)).unwrap();
    file.set_size(90_000).unwrap();
    file.commit_clean().unwrap();
    let plain = pattern(2, 90_000);
    for slots in [0..SLOT, SLOT..2 * SLOT, 0..2 * SLOT] {
        let altered = memory.fork();
        altered.put(slots.start as u64, &old.bytes(slots.start as u64, slots.len()));
        let noticed = detected(&altered, &plain, "a header rolled back");
        // One of the slots alone may be the one that is not in force.
        assert!(noticed || slots.len() == SLOT);
    }
}

#[test]
fn the_newer_slot_removed() {
    let memory = Memory::default();
    let file = this().create(&memory);
    file.write_at(0, &pattern(1, 10_000)).unwrap();
    file.commit_clean().unwrap();
    drop(file);
    let plain = pattern(1, 10_000);
    let mut noticed = 0;
    for slot in 0..2 {
        let altered = memory.fork();
        altered.put((slot * SLOT) as u64, &[0; SLOT]);
        noticed += usize::from(detected(&altered, &plain, "a slot removed"));
    }
    assert_eq!(noticed, 1, "the slot in force is missed, the other is not");
}

#[test]
fn an_old_dirty_slot_does_not_pass_for_a_crash() {
    let memory = Memory::default();
    let file = this().create(&memory);
    file.write_at(0, &pattern(1, 10_000)).unwrap();
    let dirty = memory.fork();
    file.commit_clean().unwrap();
    let plain = pattern(1, 10_000);
    let altered = memory.fork();
    altered.put(0, &dirty.bytes(0, 2 * SLOT));
    assert_detected(&altered, &plain, "an old dirty header");
}

#[test]
fn an_old_chunk_put_back() {
    let (old, memory, new) = rewritten(400_000);
    for chunk in [0, 31, 32, 50, 97].map(ChunkIndex) {
        let altered = memory.fork();
        altered.put(chunk.backing_offset(), &old.bytes(chunk.backing_offset(), 4096));
        assert_detected(&altered, &new, "an old chunk");
    }
}

#[test]
fn an_old_sector_and_its_chunks_put_back_are_found_by_a_scrub() {
    let (old, memory, _) = rewritten(600_000);
    let from = SegmentIndex(1).tags_offset();
    memory.put(from, &old.bytes(from, (65 * PAGE) as usize));
    let file = this().open(&memory).unwrap();
    let report = file.verify().unwrap();
    assert!(!report.is_whole(), "a scrub finds an old segment");
}

#[test]
fn a_sector_of_a_small_file_put_back_is_found_at_open() {
    let (old, memory, _) = rewritten(60_000);
    memory.put(2560, &old.bytes(2560, 512));
    memory.put(9 * PAGE, &old.bytes(9 * PAGE, 8 * PAGE as usize));
    assert!(this().open(&memory).is_err());
}

#[test]
fn a_header_of_another_version_or_suite() {
    let (memory, plain) = clean(5_000);
    for (at, value) in [(8, 0u16), (8, 2), (8, u16::MAX), (10, 0), (10, 2)] {
        let altered = memory.fork();
        for slot in 0..2 {
            altered.put((slot * SLOT + at) as u64, &value.to_be_bytes());
        }
        assert_detected(&altered, &plain, "a downgraded header");
    }
}

#[test]
fn a_header_put_back_with_the_tags_and_chunks_of_the_first_segment_alone() {
    let (old, memory, _) = rewritten(400_000);
    memory.put(0, &old.bytes(0, (33 * PAGE) as usize));
    let file = this().open(&memory).unwrap();
    for at in [131_072, 393_215] {
        assert!(file.read_at(at, &mut [0; 100]).is_err(), "at {at}: sectors newer than the header");
    }
}

#[test]
fn the_previous_version_of_a_chunk_under_a_clean_header() {
    let (memory, plain) = clean(400_000);
    let file = this().open(&memory).unwrap();
    let old = memory.fork();
    file.write_at(200_000, &pattern(77, 20_000)).unwrap();
    let dirty = memory.fork();
    file.commit_clean().unwrap();
    drop(file);
    let (tags, chunk) = (SegmentIndex(1).tags_offset(), ChunkIndex(50).backing_offset());
    memory.put(tags, &dirty.bytes(tags, PAGE as usize));
    memory.put(chunk, &old.bytes(chunk, PAGE as usize));
    let file = this().open(&memory).unwrap();
    assert!(file.read_at(50 * PAGE, &mut [0; 100]).is_err());
    // The other chunks of the sector are not lost with it.
    let mut out = [0; 100];
    file.read_at(40 * PAGE, &mut out).unwrap();
    assert_eq!(out, plain[40 * PAGE as usize..][..100]);
}

#[test]
fn old_index_bits_put_back_are_found_by_a_scrub() {
    let memory = Memory::default();
    let file = this().create(&memory);
    file.set_size(700_000).unwrap();
    file.commit_clean().unwrap();
    let old = memory.fork();
    file.write_at(200_000, &pattern(1, 100_000)).unwrap();
    file.commit_clean().unwrap();
    drop(file);
    memory.put(33 * PAGE, &old.bytes(33 * PAGE, PAGE as usize));
    let report = this().open(&memory).unwrap().verify().unwrap();
    assert!(!report.is_whole());
}

#[test]
fn a_dirty_file_has_no_hole_below_its_floor_that_it_did_not_have() {
    let memory = Memory::default();
    let file = this().create(&memory);
    let plain = pattern(1, 400_000);
    file.write_at(0, &plain).unwrap();
    file.sync().unwrap();
    drop(file);
    for page in 0..memory.size() / PAGE {
        let altered = memory.fork();
        altered.put(page * PAGE, &[0; PAGE as usize]);
        assert_detected(&altered, &plain, &format!("zeroed page {page} of a dirty file"));
    }
    for size in [PAGE, 33 * PAGE, 36 * PAGE, memory.size() - 1] {
        let altered = memory.fork();
        altered.set_len(size).unwrap();
        assert!(this().open(&altered).is_err(), "cut to {size}, below its floor");
    }
}

#[test]
fn a_dirty_file_above_its_floor_is_cut_and_never_filled_with_zeros() {
    let memory = Memory::default();
    let file = this().create(&memory);
    let plain = pattern(1, 700_000);
    file.write_at(0, &plain[..100_000]).unwrap();
    file.sync().unwrap();
    file.append(&plain[100_000..]).unwrap();
    drop(file);
    for page in 0..memory.size() / PAGE {
        let altered = memory.fork();
        altered.put(page * PAGE, &[0; PAGE as usize]);
        // Wrong bytes fail within.
        assert_detected(&altered, &plain, &format!("zeroed page {page} above the floor"));
    }
}

#[test]
fn a_damaged_segment_can_be_truncated_away() {
    let (memory, plain) = clean(400_000);
    memory.put(SegmentIndex(2).tags_offset(), &[0; PAGE as usize]);
    let file = this().open(&memory).unwrap();
    assert!(file.read_at(399_000, &mut [0; 100]).is_err());
    assert!(file.set_size(395_000).is_err(), "what stays of it is damaged");
    file.set_size(300_000).unwrap();
    file.commit_clean().unwrap();
    drop(file);
    let file = this().open(&memory).unwrap();
    assert!(crate::content(&file).unwrap() == plain[..300_000]);
    assert!(file.verify().unwrap().is_whole());
}

#[test]
fn a_damaged_index_can_be_truncated_away() {
    for size in [0, 5, 131_072] {
        let (memory, plain) = clean(400_000);
        memory.put(GroupIndex(0).index_offset(), &[0; PAGE as usize]);
        let file = this().open(&memory).unwrap();
        assert!(file.set_size(300_000).is_err(), "what stays of it is damaged");
        file.set_size(size).unwrap();
        file.commit_clean().unwrap();
        drop(file);
        let file = this().open(&memory).unwrap();
        assert!(crate::content(&file).unwrap() == plain[..size as usize]);
        assert!(file.verify().unwrap().is_whole());
    }
}

#[test]
fn an_authentic_header_of_a_longer_file_does_not_reach_past_the_largest_size() {
    let memory = Memory::default();
    let file = this().create(&memory);
    file.write_at(0, b"x").unwrap();
    drop(file);
    for size in [backing_size(1 << 44), backing_size(1 << 44) + 1, i64::MAX as u64] {
        let altered = memory.fork();
        altered.set_len(size).unwrap();
        assert!(!detected(&altered, b"x", "a dirty file grown by zeros"), "it is what a crash leaves");
    }
}

#[test]
fn backing_sizes_are_as_the_layout_says() {
    for len in [0usize, 1, 4096, 4097, 131_072, 131_073, 400_000] {
        let (memory, _) = clean(len);
        assert_eq!(memory.size(), backing_size(len as u64), "{len} bytes");
    }
}

proptest! {
    #![proptest_config(crate::cases(200))]

    #[test]
    fn any_corruption_gives_an_error_or_the_right_bytes(
        places in proptest::collection::vec((0u64..460_000, proptest::collection::vec(any::<u8>(), 1..600)), 1..6),
        dirty: bool,
    ) {
        let (memory, plain) = clean(400_000);
        if dirty {
            let file = this().open(&memory).unwrap();
            file.write_at(0, &plain[..10_000]).unwrap();
        }
        for (at, bytes) in places {
            let at = at.min(memory.size() - 1);
            let len = bytes.len().min((memory.size() - at) as usize);
            memory.put(at, &bytes[..len]);
        }
        detected(&memory, &plain, "a corruption");
    }

    #[test]
    fn any_bytes_open_or_fail_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..10_000)) {
        let memory = Memory::default();
        memory.put(0, &bytes);
        let _ = this().open(&memory);
    }
}
