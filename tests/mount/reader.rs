//! What a mount wrote, read by the second reader beneath it; and refused once somebody has changed it there.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::fixture::{Fixture, pattern, said, sh};
use crate::second::{self, Reader};

const PAGE: u64 = 4096;
/// Plain sizes around the borders of chunks, segments and the first group.
const SIZES: [usize; 14] = [
    0, 1, 4_095, 4_096, 4_097, 10_000, 131_071, 131_072, 131_073, 135_168, 393_216, 393_217, 655_361,
    1_000_000,
];

pub fn reader(fixture: &Fixture) -> Reader {
    Reader::start(&["--home", fixture.path("home").to_str().unwrap()])
}

fn write(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

fn put(path: &Path, at: u64, bytes: &[u8]) {
    write(path).write_all_at(bytes, at).unwrap();
}

fn bytes(path: &Path, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    File::open(path).unwrap().read_exact_at(&mut bytes, at).unwrap();
    bytes
}

#[test]
fn what_a_mount_wrote_is_read_by_the_second_reader() {
    let fixture = Fixture::new();
    let mut expected: Vec<(String, Vec<u8>)> = Vec::new();
    for size in SIZES {
        let (name, content) = (format!("of-{size}"), pattern(size as u64 + 1, size));
        fs::write(fixture.file(&name), &content).unwrap();
        expected.push((name, content));
    }
    for (number, (name, change)) in CHANGES.iter().enumerate() {
        let mut content = pattern(number as u64, 700_000);
        fs::write(fixture.file(name), &content).unwrap();
        change(&write(&fixture.file(name)), &mut content);
        expected.push(((*name).to_owned(), content));
    }
    fixture.umount();
    let mut reader = reader(&fixture);
    for (name, content) in expected {
        let read = reader.scrub(&fixture.dir().join(&name)).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(read == content, "{name}: the second reader has other bytes");
    }
}

/// What is done to a file of 700,000 bytes, and to its model.
type Change = fn(&File, &mut Vec<u8>);

const CHANGES: [(&str, Change); 6] = [
    ("overwritten", |file, model| {
        file.write_all_at(&pattern(90, 300_000), 100_001).unwrap();
        model[100_001..400_001].copy_from_slice(&pattern(90, 300_000));
    }),
    ("appended", |file, model| {
        for seed in 0..20 {
            file.write_all_at(&pattern(seed, 3_333), model.len() as u64).unwrap();
            model.extend(pattern(seed, 3_333));
        }
    }),
    ("truncated", |file, model| {
        file.set_len(140_001).unwrap();
        model.truncate(140_001);
    }),
    ("truncated-and-grown", |file, model| {
        for size in [5_000, 600_000] {
            file.set_len(size).unwrap();
            model.resize(size as usize, 0);
        }
    }),
    ("sparse", |file, model| {
        file.write_all_at(b"far", 1_500_000).unwrap();
        model.resize(1_500_000, 0);
        model.extend(b"far");
    }),
    ("synced-and-emptied", |file, model| {
        file.sync_all().unwrap();
        file.set_len(0).unwrap();
        model.clear();
    }),
];

#[test]
fn holes_and_a_second_group_are_read_by_the_second_reader() {
    const FAR: u64 = (131_072 + (4 << 30)) + 300_000;
    let fixture = Fixture::new();
    let file = write(&fixture.file("far"));
    file.write_all_at(&pattern(1, 700_000), 0).unwrap();
    file.write_all_at(&pattern(2, 10_000), FAR).unwrap();
    drop(file);
    sh(&format!("fallocate --punch-hole --offset 5000 --length 500000 {}", fixture.file("far").display()));
    fixture.umount();
    let mut reader = reader(&fixture);
    let answer = reader.ask(&fixture.dir().join("far"), "scrub").unwrap();
    assert_eq!(answer["size"], FAR + 10_000);
    // 2 before the hole, 48 behind it, and 3 far away: the chunks that the hole's ends lie in are stored.
    assert_eq!(answer["chunks"], 2 + 48 + 3);
    let plain = File::open(reader.plaintext()).unwrap();
    let at = |offset: u64, len: usize| {
        let mut read = vec![1; len];
        plain.read_exact_at(&mut read, offset).unwrap();
        read
    };
    let mut punched = pattern(1, 700_000);
    punched[5_000..505_000].fill(0);
    assert!(at(0, 700_000) == punched && at(FAR, 10_000) == pattern(2, 10_000));
    assert!(at(FAR - 400_000, 400_000).iter().all(|byte| *byte == 0));
}

#[test]
fn the_key_service_opens_data_keys_for_the_second_reader() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), pattern(1, 5_000)).unwrap();
    fixture.umount();
    let kms = format!("{} kms", env!("CARGO_BIN_EXE_kmsfs"));
    let read = |name: &str| {
        let mut command = second::command();
        command.args(["--kms", &kms]).arg(fixture.dir().join(name));
        said(command.env("KMSFS_HOME", fixture.path("home")))
    };
    assert!(read("f").out.contains("\"size\": 5000"), "{:?}", read("f"));
    fixture.with_key("disable-key", &fixture.key);
    let refused = read("f");
    assert!(refused.code == 1 && refused.out.contains("DisabledException"), "{refused:?}");
}

#[test]
fn a_home_or_a_volume_that_was_altered_opens_nothing_for_the_second_reader() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), pattern(1, 5_000)).unwrap();
    fixture.umount();
    let (file, configuration) = (fixture.dir().join("f"), fixture.dir().join(".kmsfs/volume.json"));
    reader(&fixture).scrub(&file).unwrap();
    let original = fs::read_to_string(&configuration).unwrap();
    fs::write(&configuration, original.replace("alias/main", "alias/mine")).unwrap();
    assert!(reader(&fixture).scrub(&file).unwrap_err().contains("volume.json"));
    fs::write(&configuration, original).unwrap();
    let database = fixture.path("home/keys.db");
    sh(&format!("sqlite3 {} \"UPDATE keys SET description = 'another'\"", database.display()));
    assert!(reader(&fixture).scrub(&file).unwrap_err().contains("of table keys"));
}

#[test]
fn what_a_killed_mount_left_is_read_as_the_next_mount_recovers_it() {
    let fixture = Fixture::new();
    let names = ["appended", "overwritten", "grown", "cut", "synced"];
    let mut open = Vec::new();
    for (seed, name) in names.iter().enumerate() {
        fs::write(fixture.file(name), pattern(seed as u64, 400_000)).unwrap();
        let file = write(&fixture.file(name));
        match *name {
            "appended" => file.write_all_at(&pattern(9, 5_000), 400_000).unwrap(),
            "overwritten" => file.write_all_at(&pattern(9, 50_000), 100_000).unwrap(),
            "grown" => file.set_len(900_001).unwrap(),
            "cut" => file.set_len(150_001).unwrap(),
            _ => {
                file.write_all_at(&pattern(9, 90_000), 390_000).unwrap();
                file.sync_all().unwrap();
            }
        }
        open.push(file);
    }
    fixture.kill();
    drop(open);
    let mut reader = reader(&fixture);
    let mut found = Vec::new();
    for name in names {
        let answer =
            reader.ask(&fixture.dir().join(name), "scrub").unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(answer["dirty"], true, "{name}");
        found.push(fs::read(reader.plaintext()).unwrap());
    }
    fixture.mount(&[]);
    for (name, found) in names.iter().zip(&found) {
        assert!(fs::read(fixture.file(name)).unwrap() == *found, "{name}: recovered to other bytes");
    }
    fixture.umount();
    for (name, found) in names.iter().zip(&found) {
        assert!(reader.scrub(&fixture.dir().join(name)).unwrap() == *found, "{name}: after recovery");
    }
}

/// A volume whose files somebody changes beneath the mount.
struct Attacked {
    fixture: Fixture,
    reader: Reader,
}

impl Attacked {
    fn new() -> Self {
        let fixture = Fixture::new();
        let reader = reader(&fixture);
        for (name, seed) in [("small", 1), ("large", 2), ("small-2", 3), ("large-2", 4)] {
            let size = if name.starts_with("small") { 10_000 } else { 700_000 };
            fs::write(fixture.file(name), pattern(seed, size)).unwrap();
        }
        let mut attacked = Self { fixture, reader };
        for name in ["small", "large", "small-2", "large-2"] {
            attacked.settle(name);
        }
        attacked
    }

    /// Waits until a file is clean: close(2) does not wait for that, and while a file is dirty its previous version passes.
    fn settle(&mut self, name: &str) {
        let path = self.fixture.dir().join(name);
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while self.reader.ask(&path, "scrub").map_or(true, |answer| answer["dirty"] == true) {
            assert!(std::time::Instant::now() < until, "{name} stays dirty");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Changes a copy of a file, which the reader must refuse.
    fn refuses(&mut self, name: &str, what: &str, change: impl FnOnce(&Path)) {
        let copy = self.fixture.dir().join("attacked");
        fs::copy(self.fixture.dir().join(name), &copy).unwrap();
        self.reader.scrub(&copy).unwrap_or_else(|why| panic!("{name}, unchanged: {why}"));
        change(&copy);
        let read = self.reader.scrub(&copy);
        assert!(read.is_err(), "{name}, {what}: it was read");
    }

    /// Writes a file through the mount with other bytes, and then as it was; its ciphertext from before that, and from between.
    fn rewrite(&mut self, name: &str, range: std::ops::Range<usize>) -> [Vec<u8>; 2] {
        let below = self.fixture.dir().join(name);
        let (before, plain) = (fs::read(&below).unwrap(), fs::read(self.fixture.file(name)).unwrap());
        let at = range.start as u64;
        put(&self.fixture.file(name), at, &pattern(77, range.len()));
        self.settle(name);
        let between = fs::read(&below).unwrap();
        put(&self.fixture.file(name), at, &plain[range]);
        self.settle(name);
        [before, between]
    }
}

#[test]
fn flipped_swapped_cut_and_zeroed_bytes_are_refused_by_the_second_reader() {
    let mut attacked = Attacked::new();
    // Every region: the slot in force (B, since a file that was written once has header 3 in slot A: both are tried below), tag
    // sectors, chunks, the index page, tag pages and chunks behind them.
    for (name, offsets) in [
        ("small", &[2048u64, 2060, 2100, 2557, 2559, 2600, 3100, 3600, 4096, 8191, 8192, 12_288, 14_095][..]),
        (
            "large",
            &[
                2048, 3600, 4096, 135_167, 135_168, 135_500, 138_000, 139_264, 143_000, 143_360, 409_600,
                700_000,
            ],
        ),
    ] {
        for at in offsets {
            attacked.refuses(name, &format!("flipped at {at}"), |path| {
                put(path, *at, &[bytes(path, *at, 1)[0] ^ 0x10])
            });
        }
        for size in [0, 1, 4_095, 4_096, 4_097, 12_288] {
            attacked.refuses(name, &format!("cut to {size}"), |path| write(path).set_len(size).unwrap());
        }
        attacked.refuses(name, "cut by a byte", |path| {
            write(path).set_len(fs::metadata(path).unwrap().len() - 1).unwrap();
        });
        for more in [1, 4_096] {
            let appended = |path: &Path| put(path, fs::metadata(path).unwrap().len(), &vec![0; more]);
            attacked.refuses(name, &format!("{more} bytes appended"), appended);
        }
    }
    for (one, other) in [(1, 2), (1, 40), (35, 36), (35, 110), (0, 33), (33, 34), (34, 99)] {
        attacked.refuses("large", &format!("pages {one} and {other} swapped"), |path| {
            let (page_one, page_other) = (bytes(path, one * PAGE, 4096), bytes(path, other * PAGE, 4096));
            put(path, one * PAGE, &page_other);
            put(path, other * PAGE, &page_one);
        });
    }
    for page in [0, 1, 32, 33, 34, 35, 99, 120] {
        attacked.refuses("large", &format!("page {page} zeroed"), |path| put(path, page * PAGE, &[0; 4096]));
    }
}

#[test]
fn what_is_of_another_file_is_refused_by_the_second_reader() {
    let mut attacked = Attacked::new();
    for (name, pages) in [("small", &[1u64, 2][..]), ("large", &[1, 33, 34, 35, 99, 100])] {
        let other = attacked.fixture.dir().join(format!("{name}-2"));
        attacked.refuses(name, "both header slots", |path| put(path, 0, &bytes(&other, 0, 2048)));
        attacked.refuses(name, "tag sectors of page 0", |path| put(path, 2048, &bytes(&other, 2048, 2048)));
        attacked.refuses(name, "page 0", |path| put(path, 0, &bytes(&other, 0, 4096)));
        for page in pages {
            attacked.refuses(name, &format!("page {page}"), |path| {
                put(path, page * PAGE, &bytes(&other, page * PAGE, 4096));
            });
        }
    }
}

#[test]
fn what_was_put_back_is_refused_by_the_second_reader() {
    let mut attacked = Attacked::new();
    for name in ["small", "large"] {
        let [before, between] = attacked.rewrite(name, 0..10_000);
        attacked.refuses(name, "header slots of before", |path| put(path, 0, &before[..2048]));
        attacked.refuses(name, "header slots of between", |path| put(path, 0, &between[..2048]));
        attacked.refuses(name, "page 0 of before", |path| put(path, 0, &before[..4096]));
        attacked.refuses(name, "a chunk of between", |path| put(path, 4096, &between[4096..8192]));
        attacked.refuses(name, "a tag sector of between", |path| put(path, 2048, &between[2048..2560]));
        attacked.refuses(name, "tags and chunks of between", |path| {
            put(path, 2048, &between[2048..16_384.min(between.len())])
        });
        attacked.refuses(name, "the newer slot removed", |path| {
            let number = |slot: u64| bytes(path, slot * 1024 + 16, 8);
            let newer = u64::from(number(1) > number(0));
            put(path, newer * 1024, &[0; 1024]);
        });
    }
    // What reading a large file alone does not find: a whole segment as it was, and its index bit.
    let [before, _] = attacked.rewrite("large", 131_072..393_216);
    attacked.refuses("large", "a segment of before", |path| {
        put(path, 34 * PAGE, &before[34 * 4096..99 * 4096]);
    });
    let sparse = attacked.fixture.file("sparse");
    put(&sparse, 699_999, &[1]);
    attacked.settle("sparse");
    let empty = bytes(&attacked.fixture.dir().join("sparse"), 33 * PAGE, 4096);
    put(&sparse, 200_000, &pattern(1, 5_000));
    attacked.settle("sparse");
    attacked.refuses("sparse", "an index page of before", |path| put(path, 33 * PAGE, &empty));
}

#[test]
fn a_flip_in_a_header_is_refused_where_it_is_in_force_and_harmless_where_it_is_not() {
    let mut attacked = Attacked::new();
    let copy = attacked.fixture.dir().join("attacked");
    for slot in 0..2 {
        for at in [
            0u64, 9, 11, 15, 20, 30, 47, 55, 63, 67, 71, 90, 110, 130, 153, 155, 160, 250, 800, 991, 992,
            1023,
        ] {
            let original = attacked.fixture.dir().join("small");
            let in_force = bytes(&original, 16, 8) < bytes(&original, 1024 + 16, 8);
            fs::copy(&original, &copy).unwrap();
            let at = slot * 1024 + at;
            put(&copy, at, &[bytes(&copy, at, 1)[0] ^ 1]);
            match attacked.reader.scrub(&copy) {
                Err(why) => assert!(in_force == (slot == 1), "flipped at {at}: {why}"),
                Ok(read) => assert!(in_force != (slot == 1) && read == pattern(1, 10_000), "flipped at {at}"),
            }
        }
    }
}
