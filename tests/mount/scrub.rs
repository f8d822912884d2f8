//! `kmsfs scrub`: what it finds, what it calls whole, and what it repairs.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::fixture::{Fixture, Said, errno, pattern};

const DAMAGED: i32 = 20;

fn scrub(fixture: &Fixture, arguments: &[&str]) -> Said {
    let dir = fixture.dir();
    fixture.run(&[&["scrub", dir.to_str().unwrap()], arguments].concat())
}

fn json(fixture: &Fixture, arguments: &[&str]) -> (i32, Value) {
    let said = scrub(fixture, &[&["--json"], arguments].concat());
    (said.code, serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}")))
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn cut(path: &Path, by: i64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len() as i64 + by;
    file.set_len(len as u64).unwrap();
}

/// Ends a thread, also when the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn thousands_of_whole_files_are_whole_mounted_or_not() {
    let fixture = Fixture::new();
    for dir in 0..4 {
        fs::create_dir(fixture.file(&format!("d{dir}"))).unwrap();
        for number in 0..500 {
            fs::write(fixture.file(&format!("d{dir}/f{number}")), pattern(number, number as usize * 40))
                .unwrap();
        }
    }
    fs::hard_link(fixture.file("d0/f1"), fixture.file("again")).unwrap();
    symlink("/etc/passwd", fixture.file("link")).unwrap();
    let (code, mounted) = json(&fixture, &[]);
    assert_eq!((code, &mounted["summary"]["checked"]), (0, &Value::from(2000)), "{mounted}");
    fixture.umount();
    let (code, report) = json(&fixture, &[]);
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["summary"]["checked"], 2000, "a file of two names is checked once");
    assert_eq!(report["files"], Value::from(Vec::<Value>::new()));
    let said = fixture.run(&["scrub", fixture.dir().join("d1").to_str().unwrap()]);
    assert_eq!((said.code, said.out.as_str()), (0, "500 files checked, 0 damaged\n"));
}

#[test]
fn each_kind_of_damage_is_named_and_recorded() {
    let fixture = Fixture::new();
    let names = ["chunk", "tags", "index", "header", "short", "long", "old", "whole"];
    for name in names {
        fs::write(fixture.file(name), pattern(1, 400_000)).unwrap();
    }
    fixture.umount();
    let path = |name: &str| fixture.dir().join(name);
    // A segment as it was, put back.
    let old = fs::read(path("old")).unwrap()[4096 * 34..4096 * 99].to_vec();
    fixture.mount(&[]);
    let file = OpenOptions::new().write(true).open(fixture.file("old")).unwrap();
    file.write_all_at(&pattern(2, 5_000), 200_000).unwrap();
    drop(file);
    fixture.umount();
    OpenOptions::new().write(true).open(path("old")).unwrap().write_all_at(&old, 4096 * 34).unwrap();
    flip(&path("chunk"), 4096 * 3 + 5);
    flip(&path("tags"), 4096 * 34 + 700);
    flip(&path("index"), 4096 * 33 + 50);
    (0..2).for_each(|slot| flip(&path("header"), slot * 1024 + 1000));
    cut(&path("short"), -100);
    cut(&path("long"), 100);
    fs::write(path("empty"), "").unwrap();
    fs::write(path("foreign"), "plain text").unwrap();
    let said = scrub(&fixture, &[]);
    assert_eq!(said.code, DAMAGED, "{said:?}");
    for (name, what) in [
        ("chunk", "chunk 2 does not authenticate (bytes 8192 to 12287)"),
        ("tags", "tag sector 1 of segment 1 does not authenticate (bytes 163840 to 196607)"),
        ("index", "index sector 0 of group 0 does not authenticate"),
        ("header", "the header does not authenticate"),
        ("short", "the ciphertext has "),
        ("long", "the ciphertext has "),
        ("old", "the content root is not that of the file's tags"),
        ("empty", "the ciphertext has no byte"),
        ("foreign", "not the header of a kmsfs file"),
    ] {
        let line = format!("damaged: {}: {what}", path(name).display());
        assert!(said.out.contains(&line), "{line}\n{}", said.out);
    }
    assert!(!said.out.contains("/whole"), "{}", said.out);
    assert!(said.out.ends_with("10 files checked, 9 damaged\n"), "{}", said.out);
    assert!(said.err.starts_with("kmsfs: 9 files are damaged\nhint: kmsfs scrub --repair"), "{}", said.err);
    let recorded: Vec<_> = fixture.records("FileDamaged");
    assert_eq!(recorded.len(), 9);
    assert!(recorded.iter().all(|record| record["userAgent"] == "kmsfs scrub"), "{recorded:#?}");
    let (code, report) = json(&fixture, &[]);
    let chunk = report["files"].as_array().unwrap().iter().find(|file| file["path"] == "chunk").unwrap();
    assert_eq!((code, &chunk["state"]), (DAMAGED, &Value::from("damaged")));
    assert_eq!(chunk["findings"][0]["firstByte"], 8192);
    assert_eq!(chunk["findings"][0]["readable"], false);
}

#[test]
fn a_repair_makes_files_that_can_be_opened_and_keeps_what_authenticates() {
    let fixture = Fixture::new();
    let bytes = pattern(1, 400_000);
    for name in ["chunk", "tags", "index", "short", "long"] {
        fs::write(fixture.file(name), &bytes).unwrap();
    }
    fixture.umount();
    let path = |name: &str| fixture.dir().join(name);
    flip(&path("chunk"), 4096 * 3 + 5);
    flip(&path("tags"), 2048 + 600);
    flip(&path("index"), 4096 * 33 + 50);
    // Through the tag page of the last segment.
    cut(&path("short"), -4096 * 2);
    cut(&path("long"), 100);
    let modified = fs::metadata(path("tags")).unwrap().modified().unwrap();
    let said = scrub(&fixture, &["--repair"]);
    assert_eq!(said.code, DAMAGED, "what is lost is lost: {said:?}");
    for (name, what) in [
        ("tags", "a damaged sector of its tags or index is replaced"),
        ("index", "a damaged sector of its tags or index is replaced"),
        ("short", "ends where it was cut: bytes 393216 to 399999 are lost"),
        ("long", "100 bytes of ciphertext behind its end are removed"),
        ("long", "its content root is confirmed"),
    ] {
        let line = format!("repaired: {}: {what}", path(name).display());
        assert!(said.out.contains(&line), "{line}\n{}", said.out);
    }
    assert!(!fixture.records("FileRepaired").is_empty());
    assert_eq!(fs::metadata(path("tags")).unwrap().modified().unwrap(), modified);
    let again = scrub(&fixture, &["--repair"]);
    assert!(!again.out.contains("repaired"), "{}", again.out);
    fixture.mount(&[]);
    assert!(fs::read(fixture.file("index")).unwrap() == bytes);
    assert!(fs::read(fixture.file("long")).unwrap() == bytes);
    let read = |name: &str, at: u64, len: usize| {
        let mut out = vec![0; len];
        fs::File::open(fixture.file(name)).unwrap().read_exact_at(&mut out, at).map(|()| out)
    };
    assert_eq!(errno(read("tags", 8 * 4096, 4096)), libc::EIO);
    assert!(read("tags", 16 * 4096, 300_000).unwrap() == bytes[16 * 4096..][..300_000]);
    assert!(fs::read(fixture.file("short")).unwrap() == bytes[..393_216]);
    // Written again, it is healed.
    let file = OpenOptions::new().write(true).open(fixture.file("tags")).unwrap();
    file.write_all_at(&bytes[8 * 4096..16 * 4096], 8 * 4096).unwrap();
    drop(file);
    assert!(fs::read(fixture.file("tags")).unwrap() == bytes);
}

#[test]
fn what_a_killed_mount_left_is_recovered_and_leaves_the_list() {
    let fixture = Fixture::new();
    let file = fs::File::create(fixture.file("f")).unwrap();
    file.write_all_at(&pattern(1, 300_000), 0).unwrap();
    fixture.kill();
    drop(file);
    let said = scrub(&fixture, &[]);
    assert_eq!((said.code, said.out.as_str()), (0, "1 file checked, 0 damaged\n"), "{}", said.err);
    let said = scrub(&fixture, &["--repair"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("was left half written, and is whole"), "{}", said.out);
    assert_eq!(fixture.inspect(&fixture.dir().join("f"))["state"], "clean");
    assert_eq!(fixture.records("FileRecovered").len(), 1);
    let list = fs::read(fixture.dir().join(".kmsfs/dirty")).unwrap();
    assert!(kmsfs::volume::dirty::replay(&list).is_empty());
    fixture.mount(&[]);
    assert!(fs::read(fixture.file("f")).unwrap() == pattern(1, 300_000));
    assert_eq!(fixture.records("FileRecovered").len(), 1, "the mount had nothing to recover");
}

#[test]
fn a_repair_needs_a_volume_that_nothing_writes_to() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), "content").unwrap();
    let said = scrub(&fixture, &["--repair"]);
    assert_eq!(said.code, 7);
    assert!(said.err.contains("is in use already (process "), "{}", said.err);
    assert!(said.err.contains("hint: kmsfs umount"), "{}", said.err);
    assert_eq!(scrub(&fixture, &[]).code, 0);
    fixture.umount();
    fixture.mount(&["ro"]);
    assert_eq!(scrub(&fixture, &["--repair"]).code, 0);
}

#[test]
fn beside_a_writer_nothing_is_called_damaged() {
    let fixture = Fixture::new();
    fs::write(fixture.file("still"), pattern(1, 200_000)).unwrap();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for seed in 0.. {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let file = OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(seed % 7 == 0)
                    .open(fixture.file("busy"));
                file.unwrap().write_all_at(&pattern(seed, 300_000), seed % 5 * 70_000).unwrap();
            }
        });
        let _end = End(&ended);
        for _ in 0..5 {
            let (code, report) = json(&fixture, &[]);
            assert_eq!((code, &report["summary"]["damaged"]), (0, &Value::from(0)), "{report}");
        }
    });
}

#[test]
fn files_whose_key_cannot_be_used_are_named_as_not_checked() {
    let fixture = Fixture::new();
    fs::write(fixture.file("shut"), "content").unwrap();
    fixture.umount();
    fixture.with_key("disable-key", &fixture.key);
    let said = scrub(&fixture, &[]);
    assert_eq!(said.code, 6, "nothing was checked: {said:?}");
    let line = format!("not checked: {}: ", fixture.dir().join("shut").display());
    assert!(said.out.contains(&line) && said.out.contains("is disabled"), "{}", said.out);
    fixture.with_key("enable-key", &fixture.key);
    let other = fixture.new_key("alias/other");
    fixture.mount(&[]);
    fs::create_dir(fixture.file("d")).unwrap();
    let named = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(fixture.file("d"), "user.kmsfs.default-key", other.as_bytes(), named).unwrap();
    fs::write(fixture.file("d/open"), "content").unwrap();
    fixture.umount();
    fixture.with_key("disable-key", &fixture.key);
    let said = scrub(&fixture, &["--repair"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.ends_with("1 file checked, 0 damaged, 1 not checked\n"), "{}", said.out);
}

#[test]
fn the_volumes_own_records_are_looked_at() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.file("d")).unwrap();
    let named = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(fixture.file("d"), "user.kmsfs.default-key", fixture.key.as_bytes(), named).unwrap();
    fixture.umount();
    fs::create_dir_all(fixture.dir().join(".kmsfs/new")).unwrap();
    fs::write(fixture.dir().join(".kmsfs/new/00"), "").unwrap();
    fs::write(fixture.dir().join(".kmsfs/notes"), "").unwrap();
    let said = scrub(&fixture, &[]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.contains(".kmsfs/new/00: is left over") && said.out.contains(".kmsfs/notes: is nothing")
    );
    assert_eq!(scrub(&fixture, &["--repair"]).code, 0);
    assert!(!fixture.dir().join(".kmsfs/new/00").exists() && fixture.dir().join(".kmsfs/notes").exists());
    rustix::fs::setxattr(fixture.dir().join("d"), "user.kmsfs.default-key", b"forged", named).unwrap();
    let said = scrub(&fixture, &[]);
    assert_eq!(said.code, DAMAGED);
    assert!(
        said.out.contains("/dir/d: the volume's records were altered: a directory's default key"),
        "{}",
        said.out
    );
}

#[test]
fn terabytes_that_are_not_stored_behind_a_file_hold_nobody_up() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), pattern(1, 300_000)).unwrap();
    fixture.umount();
    cut(&fixture.dir().join("f"), 12 << 40);
    let said = scrub(&fixture, &[]);
    assert!(said.code == DAMAGED && said.out.contains("/f: "), "{said:?}");
    let out = fixture.path("out");
    let arguments = ["--skip-bad", "-o", out.to_str().unwrap()];
    fixture.run(&[&["decrypt", fixture.dir().join("f").to_str().unwrap()][..], &arguments].concat());
    assert!(fs::read(&out).unwrap() == pattern(1, 300_000));
    assert_eq!(scrub(&fixture, &["--repair"]).code, 0);
    fixture.mount(&[]);
    assert!(fs::read(fixture.file("f")).unwrap() == pattern(1, 300_000));
}

#[test]
fn a_link_among_the_records_leads_a_repair_nowhere() {
    let fixture = Fixture::unmounted();
    fs::create_dir(fixture.path("elsewhere")).unwrap();
    fs::write(fixture.path("elsewhere/kept"), "kept").unwrap();
    symlink(fixture.path("elsewhere"), fixture.dir().join(".kmsfs/new")).unwrap();
    let said = scrub(&fixture, &["--repair"]);
    assert!(said.out.contains("odd: ") && said.out.contains(".kmsfs/new: is nothing that"), "{said:?}");
    assert!(fixture.path("elsewhere/kept").exists(), "{said:?}");
}

#[test]
fn a_scrub_that_cannot_say_what_it_finds_ends() {
    const FILES: usize = 400;
    let fixture = Fixture::new();
    (0..FILES).for_each(|file| fs::write(fixture.file(&format!("f{file}")), "content").unwrap());
    fixture.umount();
    fixture.with_key("disable-key", &fixture.key);
    let before = fixture.records("Decrypt").len();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kmsfs"));
    command.arg("scrub").arg(fixture.dir()).env("KMSFS_HOME", fixture.path("home"));
    let status = command.stdout(full).stderr(Stdio::null()).status().unwrap();
    let asked = fixture.records("Decrypt").len() - before;
    assert!((1..FILES / 2).contains(&asked), "{asked} files after the first that was not told, {status}");
}

#[test]
fn what_is_in_no_volume_is_refused() {
    let fixture = Fixture::unmounted();
    for (path, code) in [
        (fixture.temp.path().to_owned(), 7),
        (fixture.dir().join("no"), 1),
        (fixture.dir().join(".kmsfs"), 2),
    ] {
        let said = fixture.run(&["scrub", path.to_str().unwrap()]);
        assert_eq!(said.code, code, "{said:?}");
        assert_eq!(said.err.lines().count(), 2, "{said:?}");
    }
}
