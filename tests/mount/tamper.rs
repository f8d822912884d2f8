//! The ciphertext is attacked beneath the mount; a read gives an error or the right bytes.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::fixture::{Fixture, errno, pattern};

const LEN: usize = 400_000;

/// Attacks a copy of the ciphertext of one file, and reads it through the mount.
fn attack(fixture: &Fixture, what: &str, change: impl FnOnce(&Path)) {
    let (below, above) = (fixture.dir().join("victim"), fixture.file("victim"));
    let _ = fs::remove_file(&above);
    fs::write(&above, pattern(7, LEN)).unwrap();
    change(&below);
    // A name that the kernel has not seen: nothing of the file is cached.
    fs::rename(&above, fixture.file("attacked")).unwrap();
    let outcome = fs::read(fixture.file("attacked"));
    match outcome {
        Ok(read) => assert!(read == pattern(7, LEN), "{what}: wrong bytes came back as good"),
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EIO), "{what}"),
    }
    fs::remove_file(fixture.file("attacked")).unwrap();
}

fn bytes(path: &Path, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    OpenOptions::new().read(true).open(path).unwrap().read_exact_at(&mut bytes, at).unwrap();
    bytes
}

fn put(path: &Path, at: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

#[test]
fn flips_swaps_truncations_and_zeroed_pages_never_give_wrong_bytes() {
    let fixture = Fixture::new();
    for at in [0, 100, 1030, 2048, 2100, 4096, 50_000, 135_168, 139_264, 143_360, 300_000] {
        attack(&fixture, &format!("flip at {at}"), |path| {
            let byte = bytes(path, at, 1)[0];
            put(path, at, &[byte ^ 1]);
        });
    }
    for (one, other) in [(1, 2), (1, 40), (35, 36), (35, 100), (0, 33), (33, 34)] {
        attack(&fixture, &format!("pages {one} and {other} swapped"), |path| {
            let (page_one, page_other) = (bytes(path, one * 4096, 4096), bytes(path, other * 4096, 4096));
            put(path, one * 4096, &page_other);
            put(path, other * 4096, &page_one);
        });
    }
    for page in [0, 1, 33, 34, 35, 60] {
        attack(&fixture, &format!("page {page} zeroed"), |path| put(path, page * 4096, &[0; 4096]));
    }
    for size in [0, 1, 4096, 5_000, 135_168, 200_000, 400_000] {
        attack(&fixture, &format!("cut to {size}"), |path| {
            OpenOptions::new().write(true).open(path).unwrap().set_len(size).unwrap();
        });
    }
    attack(&fixture, "appended", |path| {
        let size = fs::metadata(path).unwrap().len();
        put(path, size, &[0; 10_000]);
    });
}

#[test]
fn grafted_and_rolled_back_headers_never_give_wrong_bytes() {
    let fixture = Fixture::new();
    fs::write(fixture.file("other"), pattern(8, LEN)).unwrap();
    let other = fixture.dir().join("other");
    attack(&fixture, "a header grafted", |path| put(path, 0, &bytes(&other, 0, 2048)));
    attack(&fixture, "page 0 grafted", |path| put(path, 0, &bytes(&other, 0, 4096)));
    attack(&fixture, "a chunk of another file", |path| put(path, 8192, &bytes(&other, 8192, 4096)));
    attack(&fixture, "a header rolled back", |path| {
        let old = bytes(path, 0, 2048);
        let above = fixture.file("victim");
        let file = OpenOptions::new().write(true).open(&above).unwrap();
        file.write_all_at(&pattern(9, 5_000), 0).unwrap();
        file.write_all_at(&pattern(7, 5_000), 0).unwrap();
        drop(file);
        put(path, 0, &old);
    });
    attack(&fixture, "an old chunk put back", |path| {
        let above = fixture.file("victim");
        let file = OpenOptions::new().write(true).open(&above).unwrap();
        file.write_all_at(&pattern(9, 4_096), 0).unwrap();
        drop(file);
        let old = bytes(path, 4096, 4096);
        let file = OpenOptions::new().write(true).open(&above).unwrap();
        file.write_all_at(&pattern(7, 4_096), 0).unwrap();
        drop(file);
        put(path, 4096, &old);
    });
}

#[test]
fn a_file_of_no_byte_is_an_error_and_can_be_replaced() {
    let fixture = Fixture::new();
    fs::write(fixture.dir().join("empty"), b"").unwrap();
    fs::write(fixture.dir().join("foreign"), b"a file that was put there").unwrap();
    assert_eq!(errno(fs::read(fixture.file("empty"))), libc::EIO);
    assert_eq!(errno(fs::read(fixture.file("foreign"))), libc::EIO);
    fs::write(fixture.file("new"), b"content").unwrap();
    fs::rename(fixture.file("new"), fixture.file("empty")).unwrap();
    assert_eq!(fs::read(fixture.file("empty")).unwrap(), b"content");
    fs::remove_file(fixture.file("foreign")).unwrap();
}

#[test]
fn a_damaged_chunk_leaves_the_others_readable() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), pattern(7, LEN)).unwrap();
    fixture.umount();
    let below = fixture.dir().join("f");
    put(&below, 40 * 4096 + 5, &[bytes(&below, 40 * 4096 + 5, 1)[0] ^ 1]);
    fixture.mount(&[]);
    let file = fs::File::open(fixture.file("f")).unwrap();
    let mut page = [0; 4096];
    file.read_exact_at(&mut page, 0).unwrap();
    assert!(page == pattern(7, LEN)[..4096]);
    // Chunk 38: after 33 pages of head and segment 0, an index page and a tag page.
    let damaged = (40 - 35 + 32) * 4096;
    for _ in 0..3 {
        assert_eq!(errno(file.read_at(&mut page, damaged)), libc::EIO);
    }
    let records = fixture.records("FileDamaged");
    assert_eq!(records.len(), 1, "{records:?}");
    let told = &records[0]["additionalEventData"];
    assert_eq!((&told["path"], &told["detail"]), (&"f".into(), &"chunk 37 does not authenticate".into()));
    // Written whole, it is healed.
    let file = OpenOptions::new().read(true).write(true).open(fixture.file("f")).unwrap();
    file.write_all_at(&[9; 4096], damaged).unwrap();
    file.read_exact_at(&mut page, damaged).unwrap();
    assert_eq!(page, [9; 4096]);
}

/// A record takes room on the disk that the keys are on, and a program may read damage as often as it likes.
#[test]
fn damage_that_is_read_again_and_again_makes_few_records() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), pattern(1, 32 * 4096)).unwrap();
    fixture.umount();
    for page in 1..=32 {
        let path = fixture.dir().join("f");
        let byte = bytes(&path, page * 4096, 1)[0];
        put(&path, page * 4096, &[byte ^ 1]);
    }
    fixture.mount(&[]);
    let file = fs::File::open(fixture.file("f")).unwrap();
    for chunk in (0..30).flat_map(|_| [0, 7, 3, 20]) {
        assert_eq!(errno(file.read_at(&mut [0; 10], chunk * 4096)), libc::EIO);
    }
    let records = fixture.records("FileDamaged").len();
    assert_eq!(records, 4, "one of each chunk");
}
