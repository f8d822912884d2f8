//! Which key governs a file, and changing that: `kmsfs rewrap` and `kmsfs reencrypt`, mounted and not, in use and killed.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::fixture::{ENOKEY, Fixture, errno, pattern, sh};
use crate::second;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn page(path: &Path) -> Vec<u8> {
    let mut page = vec![0; 4096];
    File::open(path).unwrap().read_exact_at(&mut page, 0).unwrap();
    page
}

fn has(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}

/// `kmsfs` that is not waited for.
fn begin(fixture: &Fixture, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kmsfs"));
    command.args(arguments).env("KMSFS_HOME", fixture.path("home"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn version(fixture: &Fixture, path: &Path) -> u64 {
    fixture.inspect(path)["keyVersion"].as_u64().unwrap()
}

#[test]
fn rot_8_of_100_files_under_a_breached_version_rewrap_moves_the_headers_and_reencrypt_the_content() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.file("d")).unwrap();
    let name = |number: usize| format!("d/{number}");
    for number in 0..100 {
        fs::write(fixture.file(&name(number)), pattern(number as u64, 5_000 + number * 100)).unwrap();
    }
    fixture.with_key("rotate-key-on-demand", &fixture.key);
    fs::write(fixture.file("d/new"), "under the new one").unwrap();
    let (one, beneath) = (fixture.file("d/7"), fixture.dir().join("d/7"));
    let before = (fixture.inspect(&one), fs::read(&beneath).unwrap(), fs::metadata(&one).unwrap());
    assert_eq!(before.0["keyVersion"], 1);
    // Rewrapped: another wrap of the same data key over the same content.
    let mnt = fixture.mnt();
    let said = fixture.ok(&["rewrap", "-r", text(&mnt)]);
    assert_eq!(said, "100 files rewrapped, 1 done before\n");
    let rewrapped = (fixture.inspect(&one), fs::read(&beneath).unwrap(), fs::metadata(&one).unwrap());
    assert_eq!((&rewrapped.0["keyVersion"], &rewrapped.0["fileId"]), (&2.into(), &before.0["fileId"]));
    assert_eq!(rewrapped.1[4096..], before.1[4096..]);
    let times = |facts: &fs::Metadata| (facts.ino(), facts.mtime(), facts.mtime_nsec());
    assert_eq!(times(&rewrapped.2), times(&before.2));
    assert_eq!(fixture.ok(&["rewrap", "-r", text(&mnt)]), "0 files rewrapped, 101 done before\n");
    // Re-encrypted: nothing of what a thief had opens it.
    let said = fixture.ok(&["reencrypt", "-r", text(&fixture.dir())]);
    assert!(said.starts_with("101 files re-encrypted, "), "{said}");
    let new = (fixture.inspect(&one), fs::read(&beneath).unwrap(), fs::metadata(&one).unwrap());
    assert_ne!(new.0["fileId"], before.0["fileId"]);
    assert!(new.1[4096..].chunks(16).zip(before.1[4096..].chunks(16)).all(|(new, old)| new != old));
    assert_eq!(times(&new.2), times(&before.2));
    for number in 0..100 {
        let content = fs::read(fixture.file(&name(number))).unwrap();
        assert_eq!(content, pattern(number as u64, 5_000 + number * 100));
    }
    assert_eq!(fixture.records("ReEncrypt").len(), 100);
    fixture.umount();
    assert_eq!(fixture.ok(&["scrub", text(&fixture.dir())]), "101 files checked, 0 damaged\n");
}

#[test]
fn rot_8_the_old_wrap_is_gone_from_both_header_slots_and_the_open_file_obeys_the_new_key_alone() {
    for change in ["rewrap", "reencrypt"] {
        for reach in [Fixture::mnt, Fixture::dir] {
            let fixture = Fixture::new();
            let other = fixture.new_key("alias/other");
            let path = fixture.file("f");
            fs::write(&path, pattern(1, 300_000)).unwrap();
            fs::write(fixture.file("stays"), "x").unwrap();
            let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            file.write_all_at(b"dirty", 10).unwrap();
            let mut expected = pattern(1, 300_000);
            expected[10..15].copy_from_slice(b"dirty");
            assert!(has(&page(&fixture.dir().join("f")), &fixture.key));
            fixture.ok(&[change, text(&reach(&fixture).join("f")), "--to", "alias/other"]);
            let head = page(&fixture.dir().join("f"));
            assert!(has(&head, &other) && !has(&head, &fixture.key), "{change}");
            let mut value = [0; 200];
            let len = rustix::fs::getxattr(&path, "user.kmsfs.key-id", &mut value).unwrap();
            assert!(has(&value[..len], &other));
            // The old key is of no matter to it any more, the new one is.
            fixture.with_key("disable-key", &fixture.key);
            assert_eq!(errno(fs::read(fixture.file("stays"))), ENOKEY);
            file.write_all_at(b"more", 200_000).unwrap();
            expected[200_000..200_004].copy_from_slice(b"more");
            assert_eq!(fs::read(&path).unwrap(), expected, "{change}");
            fixture.with_key("disable-key", &other);
            assert_eq!(errno(file.read_at(&mut [0; 10], 0)), ENOKEY, "{change}");
            assert_eq!(errno(file.write_at(b"x", 0)), ENOKEY, "{change}");
            assert_eq!(errno(File::open(&path)), ENOKEY);
            fixture.with_key("enable-key", &other);
            let mut read = vec![0; 300_000];
            file.read_exact_at(&mut read, 0).unwrap();
            assert!(read == expected, "{change}");
            drop(file);
            fixture.umount();
            fixture.with_key("enable-key", &fixture.key);
            assert_eq!(fixture.ok(&["scrub", text(&fixture.dir())]), "2 files checked, 0 damaged\n");
        }
    }
}

#[test]
fn files_are_rewrapped_and_reencrypted_without_a_mount() {
    let fixture = Fixture::new();
    let other = fixture.new_key("alias/other");
    fs::create_dir(fixture.file("d")).unwrap();
    for name in ["a", "d/b"] {
        fs::write(fixture.file(name), pattern(2, 200_000)).unwrap();
    }
    fixture.umount();
    let dir = fixture.dir();
    let said = fixture.run(&["rewrap", text(&dir)]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert_eq!(fixture.ok(&["rewrap", "-r", text(&dir), "--to", "alias/other"]), "2 files rewrapped\n");
    assert!(!has(&page(&dir.join("a")), &fixture.key));
    let said = fixture.ok(&["reencrypt", text(&dir.join("a")), text(&dir.join("d/b"))]);
    assert_eq!(said, "2 files re-encrypted, 400000 bytes\n");
    assert!(fixture.inspect(&dir.join("a"))["key"].as_str().unwrap().ends_with(&other));
    // A key that is not usable, in either place.
    fixture.with_key("disable-key", &other);
    for change in ["rewrap", "reencrypt"] {
        let said = fixture.run(&[change, text(&dir.join("a")), "--to", "alias/main"]);
        assert_eq!((said.code, said.out.contains("is disabled")), (6, true), "{}", said.out);
    }
    fixture.with_key("enable-key", &other);
    fixture.with_key("disable-key", &fixture.key);
    for change in ["rewrap", "reencrypt"] {
        let said = fixture.run(&[change, text(&dir.join("a")), "--to", "alias/main"]);
        assert_eq!(said.code, 6, "{}", said.err);
    }
    fixture.mount(&[]);
    assert!(fs::read(fixture.file("a")).unwrap() == pattern(2, 200_000));
    assert!(fs::read(fixture.file("d/b")).unwrap() == pattern(2, 200_000));
    let records = fixture.records("ReEncrypt");
    assert!(records.len() >= 2);
    assert!(records[0].to_string().contains("kmsfs rewrap"), "{}", records[0]);
}

#[test]
fn reencryption_keeps_the_inode_with_its_names_attributes_times_and_holes() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    let file = File::create(&path).unwrap();
    file.write_all_at(&pattern(3, 10_000), 0).unwrap();
    file.write_all_at(&pattern(4, 10_000), 40 << 20).unwrap();
    file.set_len((60 << 20) + 77).unwrap();
    drop(file);
    fs::hard_link(&path, fixture.file("link")).unwrap();
    sh(&format!(
        "chown 1234:2345 {0}; setfattr -n user.note -v kept {0}; setfattr -n trusted.note -v kept {0}; \
         setfacl -m u:65534:r {0}; chmod u+s {0}; setcap cap_net_raw+ep {0} || true; touch -d '2001-02-03 04:05:06.789' {0}",
        path.display()
    ));
    let facts = || {
        let stat = fs::metadata(&path).unwrap();
        let attributes = sh(&format!(
            "getfattr -dm - --absolute-names {0}; getfacl -p {0}; stat -c '%i %h %a %u %g %s %y' {0} {1}",
            path.display(),
            fixture.file("link").display()
        ));
        (stat.blocks(), attributes, fs::read(&path).unwrap())
    };
    let before = facts();
    let id = fixture.inspect(&path)["fileId"].clone();
    let said = fixture.ok(&["reencrypt", "-r", text(&fixture.mnt())]);
    assert!(said.starts_with("1 file re-encrypted"), "one file of two names: {said}");
    let after = facts();
    assert_ne!(fixture.inspect(&path)["fileId"], id);
    assert_eq!(after.1, before.1);
    assert!(after.2 == before.2 && fs::read(fixture.file("link")).unwrap() == before.2);
    assert!(after.0 <= before.0 + 16, "holes stay: {} blocks, {} before", after.0, before.0);
}

#[test]
fn programs_that_write_all_the_while_lose_nothing_by_rewraps_and_reencryptions() {
    let fixture = Fixture::new();
    fixture.new_key("alias/other");
    let size = 600_000;
    let ended = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2_u64)
        .map(|seed| {
            let (path, ended) = (fixture.file(&format!("w{seed}")), ended.clone());
            thread::spawn(move || {
                let mut expected = pattern(seed, size);
                fs::write(&path, &expected).unwrap();
                let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
                let mut turn = seed;
                while !ended.load(Ordering::SeqCst) {
                    turn =
                        turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let (at, len) =
                        ((turn >> 20) as usize % (size - 9_000), 1 + (turn >> 45) as usize % 9_000);
                    let bytes = pattern(turn, len);
                    file.write_all_at(&bytes, at as u64).unwrap();
                    expected[at..at + len].copy_from_slice(&bytes);
                    let mut read = vec![0; len];
                    file.read_exact_at(&mut read, at as u64).unwrap();
                    assert!(read == bytes);
                    if turn % 64 == 0 {
                        file.sync_all().unwrap();
                    }
                    thread::sleep(Duration::from_micros(300));
                }
                (path, expected)
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(100));
    for turn in 0..40 {
        let to = ["alias/other", "alias/main"][turn % 2];
        fixture.ok(&["rewrap", text(&fixture.file("w0")), text(&fixture.file("w1")), "--to", to]);
        fixture.ok(&["reencrypt", text(&fixture.file("w0")), text(&fixture.file("w1"))]);
    }
    ended.store(true, Ordering::SeqCst);
    let written: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    for (path, expected) in &written {
        assert!(fs::read(path).unwrap() == *expected, "{}", path.display());
    }
    fixture.ok(&["reencrypt", "-r", text(&fixture.mnt())]);
    fixture.umount();
    fixture.mount(&[]);
    for (path, expected) in &written {
        assert!(fs::read(path).unwrap() == *expected, "{}", path.display());
    }
    fixture.umount();
    assert_eq!(fixture.ok(&["scrub", text(&fixture.dir())]), "2 files checked, 0 damaged\n");
}

#[test]
fn a_map_and_a_descriptor_that_are_open_go_on_over_a_reencryption() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    let script = r#"
import mmap, os, subprocess, sys
path, kmsfs = sys.argv[1:3]
fd = os.open(path, os.O_RDWR | os.O_CREAT)
os.write(fd, b"a" * 100000)
map = mmap.mmap(fd, 100000)
map[0:5] = b"first"
for turn in range(5):
    subprocess.run([kmsfs, "reencrypt", path], check=True, stdout=subprocess.DEVNULL)
    map[10 * turn:10 * turn + 3] = b"map"
    os.pwrite(fd, b"pw", 50000 + turn)
map.flush()
assert os.pread(fd, 5, 0) == b"mapst", os.pread(fd, 5, 0)
assert map[50000:50006] == b"pppppw"
print("done")
"#;
    let said = crate::fixture::said(
        Command::new("python3")
            .args(["-c", script, text(&path), env!("CARGO_BIN_EXE_kmsfs")])
            .env("KMSFS_HOME", fixture.path("home")),
    );
    assert_eq!(said.out, "done\n", "{}", said.err);
    fixture.umount();
    fixture.mount(&[]);
    let content = fs::read(&path).unwrap();
    assert_eq!(
        (&content[..5], &content[40..43], &content[50_004..50_006]),
        (&b"mapst"[..], &b"map"[..], &b"pw"[..])
    );
}

#[test]
fn a_large_file_that_is_open_is_not_reencrypted_and_who_uses_it_is_named() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    let file = File::create(&path).unwrap();
    sh(&format!("fallocate -l 257M {}", path.display()));
    let said = fixture.run(&["reencrypt", text(&path)]);
    assert_eq!(said.code, 22, "{}", said.err);
    assert!(said.out.contains("it is open, and larger than 256 MiB, by process "), "{}", said.out);
    drop(file);
    fixture.ok(&["reencrypt", text(&path)]);
    assert_eq!(fs::metadata(&path).unwrap().len(), 257 << 20);
}

/// What must hold after a kill: every file has its content, for who reads without a mount and for the next mount.
fn check_after_kill(fixture: &Fixture, files: &[(String, Vec<u8>)]) {
    for (name, content) in files {
        let read = Command::new(env!("CARGO_BIN_EXE_kmsfs"))
            .args(["decrypt", text(&fixture.dir().join(name))])
            .env("KMSFS_HOME", fixture.path("home"))
            .output()
            .unwrap();
        assert!(read.stdout == *content, "{name}: {}", String::from_utf8_lossy(&read.stderr));
    }
    let said = fixture.run(&["scrub", text(&fixture.dir())]);
    assert_eq!(said.code, 0, "{} {}", said.out, said.err);
}

fn next_is_empty(dir: &Path) -> bool {
    fs::read_dir(dir.join(".kmsfs/next")).is_ok_and(|mut entries| entries.next().is_none())
}

#[test]
fn killed_at_any_instant_without_a_mount_every_file_is_the_old_one_or_the_new_one() {
    let fixture = Fixture::new();
    fixture.new_key("alias/other");
    let files: Vec<_> = (0..6_u64)
        .map(|seed| (format!("f{seed}"), pattern(seed, 150_000 + 400_000 * seed as usize)))
        .collect();
    for (name, content) in &files {
        fs::write(fixture.file(name), content).unwrap();
    }
    fixture.umount();
    let dir = fixture.dir();
    let mut killed = 0;
    for turn in 0..24_u64 {
        let to = ["alias/other", "alias/main"][(turn / 2 % 2) as usize];
        let change = ["reencrypt", "rewrap"][usize::from(turn % 4 == 3)];
        let mut child = begin(&fixture, &[change, "-r", text(&dir), "--to", to]);
        thread::sleep(Duration::from_millis(20 + turn * 11 % 120));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        check_after_kill(&fixture, &files);
    }
    eprintln!("{killed} of 24 runs were killed before their end");
    assert!(killed > 5);
    fixture.ok(&["reencrypt", "-r", text(&dir)]);
    assert!(next_is_empty(&dir));
    check_after_kill(&fixture, &files);
    fixture.mount(&[]);
    for (name, content) in &files {
        assert!(fs::read(fixture.file(name)).unwrap() == *content);
    }
}

#[test]
fn a_mount_that_is_killed_while_it_reencrypts_leaves_the_old_file_or_the_new_one() {
    let fixture = Fixture::unmounted();
    let files: Vec<_> = (0..3_u64).map(|seed| (format!("f{seed}"), pattern(seed, 2_000_000))).collect();
    fixture.mount(&[]);
    for (name, content) in &files {
        fs::write(fixture.file(name), content).unwrap();
    }
    for turn in 0..15_u64 {
        let open = File::open(fixture.file("f0")).unwrap();
        let mut child = begin(&fixture, &["reencrypt", "-r", text(&fixture.dir())]);
        thread::sleep(Duration::from_millis(10 + turn * 13 % 90));
        fixture.kill();
        child.wait().unwrap();
        drop(open);
        check_after_kill(&fixture, &files);
        fixture.mount(&[]);
        for (name, content) in &files {
            assert!(fs::read(fixture.file(name)).unwrap() == *content);
        }
    }
    fixture.ok(&["reencrypt", "-r", text(&fixture.dir())]);
    assert!(next_is_empty(&fixture.dir()));
}

#[test]
fn a_successor_that_a_kill_left_takes_its_place_at_the_mount_or_when_the_file_is_opened() {
    let fixture = Fixture::new();
    let (path, beneath) = (fixture.file("f"), fixture.dir().join("f"));
    fs::write(&path, pattern(1, 100_000)).unwrap();
    fixture.umount();
    let id = |path: &Path| fixture.inspect(path)["fileId"].as_str().unwrap().to_owned();
    for is_listed in [false, true] {
        let (old, old_id) = (fs::read(&beneath).unwrap(), id(&beneath));
        fixture.ok(&["reencrypt", text(&beneath)]);
        let (new, new_id) = (fs::read(&beneath).unwrap(), id(&beneath));
        // As a kill leaves it: the successor has its name, and half of its bytes are in their place.
        let next = fixture.dir().join(".kmsfs/next").join(&old_id);
        fs::write(&next, &new).unwrap();
        let half = [&old[..4096], &new[4096..50_000], &old[50_000..]].concat();
        fs::write(&beneath, half).unwrap();
        let dirty = fixture.dir().join(".kmsfs/dirty");
        if is_listed {
            fs::write(&dirty, listed(&old_id, "f")).unwrap();
        } else {
            let _ = fs::remove_file(&dirty);
        }
        assert_eq!(id(&beneath), new_id, "who reads the header finds the new one");
        let reader = second::command()
            .args([
                "--home",
                text(&fixture.path("home")),
                "--scrub",
                "--output",
                text(&fixture.path("plain")),
            ])
            .arg(&beneath)
            .output()
            .unwrap();
        assert!(reader.status.success(), "{}", String::from_utf8_lossy(&reader.stdout));
        assert!(
            fs::read(fixture.path("plain")).unwrap() == pattern(1, 100_000),
            "and so does the second reader"
        );
        check_after_kill(&fixture, &[("f".into(), pattern(1, 100_000))]);
        fixture.mount(&["ro"]);
        assert!(fs::read(&path).unwrap() == pattern(1, 100_000), "read in the place of the file");
        fixture.umount();
        assert!(next.exists());
        fixture.mount(&[]);
        assert_eq!(!next.exists(), is_listed);
        assert!(fs::read(&path).unwrap() == pattern(1, 100_000));
        assert!(!next.exists());
        fixture.umount();
        assert!(fs::read(&beneath).unwrap() == new);
    }
}

/// A record of the list of dirty files (`docs/FORMAT.md`, section 10).
fn listed(id: &str, path: &str) -> Vec<u8> {
    let mut record = vec![1];
    record.extend((0..16).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap()));
    record.extend((path.len() as u16).to_be_bytes());
    record.extend(path.as_bytes());
    let check = kmsfs::crypto::hash::sha256(&[&record]);
    record.extend(&check[..8]);
    record
}

#[test]
fn a_mount_that_reads_beside_follows_a_rewrap_and_is_in_the_way_of_a_reencryption() {
    let fixture = Fixture::new();
    let other = fixture.new_key("alias/other");
    fs::write(fixture.file("f"), "content").unwrap();
    fixture.umount();
    fixture.mount(&["ro"]);
    let file = File::open(fixture.file("f")).unwrap();
    fixture.ok(&["rewrap", text(&fixture.dir().join("f")), "--to", "alias/other"]);
    fixture.with_key("disable-key", &fixture.key);
    let mut content = [0; 7];
    file.read_exact_at(&mut content, 0).unwrap();
    fixture.with_key("disable-key", &other);
    assert_eq!(errno(file.read_at(&mut content, 0)), ENOKEY);
    let said = fixture.run(&["reencrypt", text(&fixture.dir().join("f"))]);
    assert_eq!(said.code, 7);
    assert!(said.err.contains("is mounted read-only on"), "{}", said.err);
}

#[test]
fn a_reencryption_that_finds_no_room_leaves_the_file_as_it_was() {
    let fixture = Fixture::unmounted();
    let disk = fixture.path("disk");
    fs::create_dir(&disk).unwrap();
    sh(&format!("mount -t tmpfs -o size=8m none {}", disk.display()));
    let outcome = std::panic::catch_unwind(|| {
        let (volume, mnt) = (disk.join("v"), fixture.mnt());
        fixture.ok(&["init", text(&volume), "--key", "alias/main"]);
        fixture.ok(&["mount", text(&volume), text(&mnt)]);
        fs::write(mnt.join("f"), pattern(1, 5 << 20)).unwrap();
        let said = fixture.run(&["reencrypt", text(&mnt.join("f"))]);
        assert_eq!(said.code, 1, "{} {}", said.out, said.err);
        assert!(said.out.contains("No space left on device"), "{}", said.out);
        assert!(fs::read(mnt.join("f")).unwrap() == pattern(1, 5 << 20));
        assert!(next_is_empty(&volume));
        fixture.umount();
    });
    if outcome.is_err() {
        let _ = fixture.run(&["umount", text(&fixture.mnt())]);
    }
    sh(&format!("umount -l {}", disk.display()));
    outcome.unwrap();
}

#[test]
fn a_stopped_reencryption_is_gone_on_with_where_it_was_stopped() {
    let fixture = Fixture::new();
    for number in 0..20 {
        fs::write(fixture.file(&format!("{number}")), pattern(number, 10_000)).unwrap();
    }
    // One that cannot be done, so that the run is not complete.
    fixture.umount();
    let dir = fixture.dir();
    let stored = fs::read(dir.join("7")).unwrap();
    fs::write(dir.join("7"), [&stored[..4096], &[0; 100], &stored[4196..]].concat()).unwrap();
    let said = fixture.run(&["reencrypt", "-r", "--json", text(&dir)]);
    assert_eq!(said.code, 20, "{}", said.err);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&report["summary"]["moved"], &report["summary"]["damaged"]), (&19.into(), &1.into()));
    fs::write(dir.join("7"), stored).unwrap();
    let said = fixture.ok(&["reencrypt", "-r", "--resume", text(&dir)]);
    assert_eq!(said, "1 file re-encrypted, 10000 bytes, 19 done before\n");
    let said = fixture.ok(&["reencrypt", "-r", "--resume", text(&dir)]);
    assert_eq!(said, "20 files re-encrypted, 200000 bytes\n", "that run had ended");
}

#[test]
fn a_revocation_ends_a_reencryption_and_is_not_held_up_by_it() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    fs::write(&path, pattern(1, 40 << 20)).unwrap();
    let mut child = begin(&fixture, &["reencrypt", text(&path)]);
    thread::sleep(Duration::from_millis(60));
    let began = std::time::Instant::now();
    fixture.with_key("disable-key", &fixture.key);
    assert!(began.elapsed() < Duration::from_secs(2));
    let code = child.wait().unwrap().code();
    assert!(code == Some(6) || code == Some(0), "{code:?}");
    assert_eq!(errno(File::open(&path)), ENOKEY);
    fixture.with_key("enable-key", &fixture.key);
    assert!(fs::read(&path).unwrap() == pattern(1, 40 << 20));
}

#[test]
fn an_ordinary_users_files_keep_their_owner_and_mode_when_root_reencrypts_them() {
    let fixture = Fixture::open_to_all();
    let path = fixture.file("f");
    fs::write(&path, "x").unwrap();
    std::os::unix::fs::chown(&path, Some(1000), Some(1000)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6751)).unwrap();
    for change in ["rewrap", "reencrypt"] {
        fixture.with_key("rotate-key-on-demand", &fixture.key);
        fixture.ok(&[change, text(&path)]);
        let facts = fs::metadata(&path).unwrap();
        assert_eq!((facts.uid(), facts.gid(), facts.mode() & 0o7777), (1000, 1000, 0o6751), "{change}");
    }
    assert_eq!(version(&fixture, &path), 3);
}

#[test]
fn what_is_no_file_and_what_is_in_no_volume_is_named() {
    let fixture = Fixture::new();
    let elsewhere: PathBuf = fixture.path("elsewhere");
    fs::write(&elsewhere, "x").unwrap();
    for change in ["rewrap", "reencrypt"] {
        assert_eq!(fixture.run(&[change, text(&elsewhere)]).code, 7);
        assert_eq!(fixture.run(&[change, text(&fixture.mnt())]).code, 2);
        assert_eq!(fixture.run(&[change, "-r", text(&fixture.mnt()), "--to", "alias/none"]).code, 6);
        assert_eq!(fixture.run(&[change, text(&fixture.dir().join(".kmsfs/lock"))]).code, 2);
    }
}
