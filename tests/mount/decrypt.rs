//! `kmsfs decrypt`: what it writes, byte by byte, with and without damage, with and without a mount.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::fixture::{Fixture, Said, pattern, said, sh};

const CHUNK: usize = 4096;
const DAMAGED: i32 = 20;
const SKIPPED: i32 = 21;

/// Ends a thread, also when the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `kmsfs decrypt` into the file `out`.
fn decrypt(fixture: &Fixture, file: &Path, more: &[&str]) -> Said {
    let out = fixture.path("out");
    let mut arguments = vec!["decrypt", file.to_str().unwrap(), "-o", out.to_str().unwrap()];
    arguments.extend(more);
    fixture.run(&arguments)
}

/// The same, which must succeed; what it wrote.
fn content(fixture: &Fixture, file: &Path) -> Vec<u8> {
    let said = decrypt(fixture, file, &["--force"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    fs::read(fixture.path("out")).unwrap()
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// A volume with one closed file `f` of several segments, unmounted; its content.
fn unmounted_with_file() -> (Fixture, Vec<u8>) {
    let fixture = Fixture::new();
    let bytes = pattern(3, 900_000);
    fs::write(fixture.file("f"), &bytes).unwrap();
    fixture.umount();
    (fixture, bytes)
}

#[test]
fn files_of_every_size_come_out_as_they_went_in_mounted_or_not() {
    let fixture = Fixture::new();
    let sizes = [0, 1, 4095, 4096, 4097, 131_072, 131_073, 393_217, 900_000];
    for size in sizes {
        fs::write(fixture.file(&format!("f{size}")), pattern(size as u64, size)).unwrap();
    }
    fixture.umount();
    let check = |dir: &Path| {
        for size in sizes {
            assert!(content(&fixture, &dir.join(format!("f{size}"))) == pattern(size as u64, size), "{size}");
        }
    };
    check(&fixture.dir());
    fixture.mount(&[]);
    check(&fixture.dir());
    check(&fixture.mnt());
    let piped = sh(&format!(
        "KMSFS_HOME={} {} decrypt {} | cmp - {} && echo same",
        fixture.path("home").display(),
        env!("CARGO_BIN_EXE_kmsfs"),
        fixture.dir().join("f900000").display(),
        fixture.file("f900000").display(),
    ));
    assert_eq!(piped, "same\n");
}

#[test]
fn holes_stay_holes() {
    let fixture = Fixture::new();
    let file = fs::File::create(fixture.file("sparse")).unwrap();
    file.set_len(300 << 20).unwrap();
    file.write_all_at(&pattern(1, 10_000), 100 << 20).unwrap();
    drop(file);
    fixture.umount();
    assert_eq!(decrypt(&fixture, &fixture.dir().join("sparse"), &[]).code, 0);
    let facts = fs::metadata(fixture.path("out")).unwrap();
    assert_eq!(facts.len(), 300 << 20);
    assert!(facts.blocks() * 512 < 1 << 20, "{} blocks", facts.blocks());
    let mut bytes = vec![0; 10_000];
    fs::File::open(fixture.path("out")).unwrap().read_exact_at(&mut bytes, 100 << 20).unwrap();
    assert!(bytes == pattern(1, 10_000));
}

#[test]
fn an_output_that_exists_is_replaced_only_by_force_and_gets_its_name_when_it_is_whole() {
    let (fixture, bytes) = unmounted_with_file();
    let file = fixture.dir().join("f");
    fs::write(fixture.path("out"), "mine").unwrap();
    let refused = decrypt(&fixture, &file, &[]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("exists already") && refused.err.contains("--force"), "{}", refused.err);
    assert_eq!(fs::read(fixture.path("out")).unwrap(), b"mine");
    assert!(content(&fixture, &file) == bytes);
    assert_eq!(fs::metadata(fixture.path("out")).unwrap().permissions().mode() & 0o777, 0o600);
    // Where it fails, what was there stays, and nothing is left beside it.
    flip(&file, 300_000);
    let before = names(fixture.temp.path());
    assert_eq!(decrypt(&fixture, &file, &["--force"]).code, DAMAGED);
    assert!(fs::read(fixture.path("out")).unwrap() == bytes);
    assert_eq!(names(fixture.temp.path()), before);
}

#[test]
fn plaintext_is_not_written_over_the_ciphertext_nor_among_it() {
    let (fixture, _) = unmounted_with_file();
    let file = fixture.dir().join("f");
    let before = fs::read(&file).unwrap();
    for out in [file.clone(), fixture.dir().join("plain")] {
        let arguments = ["decrypt", file.to_str().unwrap(), "-o", out.to_str().unwrap(), "--force"];
        let said = fixture.run(&arguments);
        assert_eq!(said.code, 2, "{}", said.err);
    }
    assert!(fs::read(&file).unwrap() == before && !fixture.dir().join("plain").exists());
}

#[test]
fn the_first_bad_chunk_ends_it_and_skip_bad_writes_zeros_for_each() {
    let (fixture, bytes) = unmounted_with_file();
    let file = fixture.dir().join("f");
    // Chunk 3, chunks 100 and 101, and the short last one.
    let backing = |chunk: u64| match chunk {
        0..32 => 4096 * (1 + chunk),
        _ => 4096 * (34 + 65 * ((chunk - 32) / 64) + 1 + (chunk - 32) % 64),
    };
    for chunk in [3, 100, 101, 219] {
        flip(&file, backing(chunk) + 7);
    }
    let said = decrypt(&fixture, &file, &[]);
    assert_eq!(said.code, DAMAGED);
    assert!(
        said.err.contains("/dir/f: chunk 3 does not authenticate (bytes 12288 to 16383)"),
        "{}",
        said.err
    );
    assert!(said.err.contains("hint: ") && said.err.contains("--skip-bad"), "{}", said.err);
    assert!(!fixture.path("out").exists());
    let to_stdout = Command::new(env!("CARGO_BIN_EXE_kmsfs"))
        .args(["decrypt", file.to_str().unwrap()])
        .env("KMSFS_HOME", fixture.path("home"))
        .output()
        .unwrap();
    assert_eq!(to_stdout.status.code(), Some(DAMAGED));
    assert!(to_stdout.stdout == bytes[..3 * CHUNK], "what was written before it is right");
    let said = decrypt(&fixture, &file, &["--skip-bad"]);
    assert_eq!(said.code, SKIPPED);
    let lines: Vec<_> = said.err.lines().collect();
    assert_eq!(lines.len(), 5, "{}", said.err);
    assert!(
        lines[1].ends_with("chunks 100 to 101 do not authenticate (bytes 409600 to 417791): zeros"),
        "{}",
        lines[1]
    );
    assert!(
        lines[3].contains(&format!("{} bytes are lost", 3 * CHUNK + 900_000 - 219 * CHUNK)),
        "{}",
        lines[3]
    );
    let mut expected = bytes;
    expected[3 * CHUNK..4 * CHUNK].fill(0);
    expected[100 * CHUNK..102 * CHUNK].fill(0);
    expected[219 * CHUNK..].fill(0);
    assert!(fs::read(fixture.path("out")).unwrap() == expected);
    assert!(!fixture.records("FileDamaged").is_empty());
}

#[test]
fn skip_bad_survives_a_sector_an_index_sector_a_header_slot_and_a_wrong_length() {
    let (fixture, bytes) = unmounted_with_file();
    let file = fixture.dir().join("f");
    let good = fs::read(&file).unwrap();
    let sequence = |slot: usize| u64::from_be_bytes(good[slot * 1024 + 16..][..8].try_into().unwrap());
    let newest = 1024 * u64::from(sequence(1) > sequence(0));
    let zeros = |from: usize, to: usize| {
        let mut expected = bytes.clone();
        expected[from * CHUNK..to * CHUNK].fill(0);
        expected
    };
    // Where a bit flips, and what is read then.
    let cases = [
        ("tag sector 1", 2048 + 512 + 50, zeros(8, 16)),
        ("tag sector 0 of segment 1", 4096 * 34 + 50, zeros(32, 40)),
        ("an index sector", 4096 * 33 + 50, bytes.clone()),
        ("the newest header's MAC", newest + 1000, bytes.clone()),
        ("the newest header's magic", newest, bytes.clone()),
        ("the newest header's wrapped key", newest + 300, bytes.clone()),
        ("the newest header's ARN", newest + 160, bytes.clone()),
    ];
    for (what, at, expected) in cases {
        fs::write(&file, &good).unwrap();
        flip(&file, at);
        let strict = decrypt(&fixture, &file, &["--force"]);
        assert_eq!(strict.code, DAMAGED, "{what}: {}", strict.err);
        let said = decrypt(&fixture, &file, &["--skip-bad", "--force"]);
        assert_eq!(said.code, SKIPPED, "{what}: {}", said.err);
        assert!(fs::read(fixture.path("out")).unwrap() == expected, "{what}");
    }
    fs::write(&file, &good[..good.len() - 4096]).unwrap();
    let said = decrypt(&fixture, &file, &["--skip-bad", "--force"]);
    assert_eq!(said.code, SKIPPED);
    let found = fs::read(fixture.path("out")).unwrap();
    let whole = found.len() / CHUNK * CHUNK;
    assert!(found.len() == bytes.len() - 4096 && found[..whole] == bytes[..whole]);
}

#[test]
fn what_is_no_file_of_a_volume_is_refused_with_what_to_do() {
    let (fixture, bytes) = unmounted_with_file();
    let copy = fixture.path("copy");
    fs::copy(fixture.dir().join("f"), &copy).unwrap();
    let said = decrypt(&fixture, &copy, &[]);
    assert_eq!(said.code, 7, "{}", said.err);
    assert!(said.err.contains("--volume-id"), "{}", said.err);
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(fixture.dir().join(".kmsfs/volume.json")).unwrap()).unwrap();
    let said = decrypt(&fixture, &copy, &["--volume-id", config["id"].as_str().unwrap()]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(fs::read(fixture.path("out")).unwrap() == bytes);
    let other = "00000000-0000-4000-8000-000000000000";
    let said = decrypt(&fixture, &copy, &["--volume-id", other, "--force"]);
    assert_eq!(said.code, DAMAGED, "{}", said.err);
    assert!(fs::read(fixture.path("out")).unwrap() == bytes, "what was there stays");
    fs::write(fixture.dir().join("empty"), "").unwrap();
    fs::write(fixture.dir().join("foreign"), "plain text").unwrap();
    for (name, code) in [("empty", DAMAGED), ("foreign", DAMAGED), ("nothing", 1), (".", 2)] {
        let said = decrypt(&fixture, &fixture.dir().join(name), &["--force"]);
        assert_eq!(said.code, code, "{name}: {}", said.err);
        assert_eq!(said.err.lines().count(), 2, "{}", said.err);
    }
}

#[test]
fn a_key_that_cannot_be_used_refuses_and_each_use_is_recorded() {
    let (fixture, bytes) = unmounted_with_file();
    let file = fixture.dir().join("f");
    fixture.with_key("disable-key", &fixture.key);
    let said = decrypt(&fixture, &file, &[]);
    assert_eq!(said.code, 6);
    assert!(said.err.contains(&format!("{} is disabled", fixture.key)), "{}", said.err);
    assert!(said.err.contains("/dir/f: "), "{}", said.err);
    assert!(!fixture.path("out").exists());
    fixture.with_key("enable-key", &fixture.key);
    assert!(content(&fixture, &file) == bytes);
    let records: Vec<_> = fixture
        .records("Decrypt")
        .into_iter()
        .filter(|record| record["userAgent"] == "kmsfs decrypt")
        .collect();
    let [refused, given] = records.as_slice() else { panic!("{records:#?}") };
    assert_eq!(refused["errorCode"], "DisabledException");
    assert_eq!(given["additionalEventData"]["path"], "f");
    assert_eq!(given["errorCode"], serde_json::Value::Null);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (fixture, bytes) = unmounted_with_file();
    let out = sh(&format!(
        "set +o pipefail; KMSFS_HOME={} {} decrypt {} 2>{} | head -c 10 | wc -c; echo ${{PIPESTATUS[0]}}",
        fixture.path("home").display(),
        env!("CARGO_BIN_EXE_kmsfs"),
        fixture.dir().join("f").display(),
        fixture.path("err").display(),
    ));
    assert_eq!(out, "10\n0\n");
    assert_eq!(fs::read_to_string(fixture.path("err")).unwrap(), "");
    let full = said(
        Command::new("bash")
            .args([
                "-c",
                &format!(
                    "{} decrypt {} >/dev/full",
                    env!("CARGO_BIN_EXE_kmsfs"),
                    fixture.dir().join("f").display()
                ),
            ])
            .env("KMSFS_HOME", fixture.path("home")),
    );
    assert_eq!(full.code, 1, "{}", full.err);
    assert!(full.err.contains("standard output cannot be written"), "{}", full.err);
    drop(bytes);
}

#[test]
fn a_terminal_is_shown_text_and_nothing_that_it_would_obey() {
    let fixture = Fixture::new();
    fs::write(fixture.file("text"), "hello\n").unwrap();
    fs::write(fixture.file("binary"), "a\u{1b}[2Jb").unwrap();
    fixture.umount();
    let on_terminal = |words: &str| {
        let command = format!("{} decrypt {words}", env!("CARGO_BIN_EXE_kmsfs"));
        let mut script = Command::new("timeout");
        script.args(["-k", "5", "60", "script", "-qec", &command, "/dev/null"]);
        said(script.env("KMSFS_HOME", fixture.path("home")).current_dir(fixture.dir()))
    };
    let shown = on_terminal("text");
    assert_eq!((shown.code, shown.out.as_str()), (0, "hello\r\n"));
    let refused = on_terminal("binary");
    assert_eq!(refused.code, 2);
    assert!(
        refused.out.contains("the content is not text") && !refused.out.contains('\u{1b}'),
        "{}",
        refused.out
    );
    assert_eq!(on_terminal("binary -o -").out, "a\u{1b}[2Jb");
}

#[test]
fn a_file_that_a_killed_mount_left_dirty_is_read_as_it_stands_and_not_changed() {
    let fixture = Fixture::new();
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(fixture.file("f")).unwrap();
    let mut bytes = pattern(1, 300_000);
    file.write_all_at(&bytes, 0).unwrap();
    file.write_all_at(&pattern(2, 9_000), 50_000).unwrap();
    bytes[50_000..59_000].copy_from_slice(&pattern(2, 9_000));
    fixture.kill();
    drop(file);
    let ciphertext = fixture.dir().join("f");
    assert_eq!(fixture.inspect(&ciphertext)["state"], "dirty");
    let before = fs::read(&ciphertext).unwrap();
    assert!(content(&fixture, &ciphertext) == bytes);
    assert!(fs::read(&ciphertext).unwrap() == before);
}

#[test]
fn beside_a_writer_every_chunk_is_one_that_was_written() {
    let fixture = Fixture::new();
    let versions: Vec<_> = (0..8).map(|seed| pattern(seed + 1, 400_000)).collect();
    fs::write(fixture.file("f"), &versions[0]).unwrap();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let file = OpenOptions::new().write(true).open(fixture.file("f")).unwrap();
            for version in versions.iter().cycle() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                file.write_all_at(version, 0).unwrap();
            }
        });
        let _end = End(&ended);
        let mut whole = 0;
        for _ in 0..10 {
            let said = decrypt(&fixture, &fixture.dir().join("f"), &["--force"]);
            if said.code != 0 {
                assert!(said.err.contains("was written to while it was read"), "{}", said.err);
                continue;
            }
            whole += 1;
            let found = fs::read(fixture.path("out")).unwrap();
            let is_known = found.len() == 400_000
                && found.chunks(CHUNK).enumerate().all(|(number, chunk)| {
                    versions.iter().any(|version| &version[number * CHUNK..][..chunk.len()] == chunk)
                });
            assert!(is_known, "a chunk that nobody wrote");
        }
        assert!(whole > 0, "it was never read");
    });
}

fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}
