//! Which key a file is under, and what the key's state permits.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::XattrFlags;

use crate::fixture::{EKEYREVOKED, ENOKEY, Fixture, errno, pattern};

fn xattr(path: &Path, name: &str) -> Result<String, rustix::io::Errno> {
    let mut value = vec![0; 4096];
    let len = rustix::fs::getxattr(path, name, &mut value)?;
    Ok(String::from_utf8(value[..len].to_vec()).unwrap())
}

fn set_default_key(dir: &Path, key: &str) -> Result<(), rustix::io::Errno> {
    rustix::fs::setxattr(dir, "user.kmsfs.default-key", key.as_bytes(), XattrFlags::empty())
}

#[test]
fn a_files_key_answers_by_name_and_is_never_listed() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    fs::write(&path, b"x").unwrap();
    assert!(xattr(&path, "user.kmsfs.key-id").unwrap().ends_with(&format!(":key/{}", fixture.key)));
    assert_eq!(xattr(&path, "user.kmsfs.key-version").unwrap(), "1");
    assert_eq!(xattr(&path, "user.kmsfs.algorithm").unwrap(), "AES_256_GCM");
    assert_eq!(xattr(&path, "user.kmsfs.default-key"), Err(rustix::io::Errno::NODATA));
    assert_eq!(rustix::fs::listxattr(&path, &mut [0; 100]).unwrap(), 0);
    let set = rustix::fs::setxattr(&path, "user.kmsfs.key-id", b"x", XattrFlags::empty());
    assert_eq!(set, Err(rustix::io::Errno::PERM));
    assert_eq!(rustix::fs::removexattr(&path, "user.kmsfs.key-id"), Err(rustix::io::Errno::PERM));
    assert_eq!(set_default_key(&path, "alias/main"), Err(rustix::io::Errno::PERM));
    // The header says so whatever the key's state.
    fixture.with_key("disable-key", &fixture.key);
    assert_eq!(xattr(&path, "user.kmsfs.key-version").unwrap(), "1");
    assert_eq!(fixture.inspect(&path)["keyState"], "Disabled");
}

#[test]
fn a_directorys_default_key_is_inherited_by_new_directories() {
    let fixture = Fixture::new();
    let other = fixture.new_key("alias/other");
    let dir = fixture.file("d");
    fs::create_dir(&dir).unwrap();
    assert_eq!(xattr(&dir, "user.kmsfs.default-key"), Err(rustix::io::Errno::NODATA));
    assert_eq!(set_default_key(&dir, "alias/absent"), Err(rustix::io::Errno::NOKEY));
    // Files take symmetric keys alone.
    let signing = fixture.kms(&["create-key", "--key-spec", "ECC_NIST_P256", "--key-usage", "SIGN_VERIFY"]);
    let signing = signing["KeyMetadata"]["KeyId"].as_str().unwrap();
    assert_eq!(set_default_key(&dir, signing), Err(rustix::io::Errno::INVAL));
    set_default_key(&dir, "alias/other").unwrap();
    fs::create_dir_all(dir.join("sub/sub")).unwrap();
    for path in ["d/f", "d/sub/f", "d/sub/sub/f"] {
        fs::write(fixture.file(path), b"x").unwrap();
        assert!(fixture.inspect(&fixture.file(path))["key"].as_str().unwrap().ends_with(&other), "{path}");
    }
    assert_eq!(rustix::fs::listxattr(&dir, &mut [0; 100]).unwrap(), 0);
    assert_eq!(xattr(&dir.join("sub"), "user.kmsfs.default-key").unwrap(), "alias/other");
    rustix::fs::removexattr(&dir, "user.kmsfs.default-key").unwrap();
    fs::write(dir.join("g"), b"x").unwrap();
    assert!(fixture.inspect(&dir.join("g"))["key"].as_str().unwrap().ends_with(&fixture.key));
    // A file keeps its key when it is renamed.
    fs::rename(dir.join("sub/f"), fixture.file("moved")).unwrap();
    assert!(fixture.inspect(&fixture.file("moved"))["key"].as_str().unwrap().ends_with(&other));
}

/// A kill in between would leave a directory whose files are encrypted under another key.
#[test]
fn a_new_directory_has_its_inherited_key_before_it_has_its_name() {
    let fixture = Fixture::new();
    fixture.new_key("alias/other");
    let dir = fixture.file("d");
    fs::create_dir(&dir).unwrap();
    set_default_key(&dir, "alias/other").unwrap();
    let (beneath, ended) = (fixture.dir().join("d"), AtomicBool::new(false));
    let key_of = |path: &Path| rustix::fs::getxattr(path, "user.kmsfs.default-key", &mut [0; 256]);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !ended.load(Ordering::SeqCst) {
                for entry in fs::read_dir(&beneath).unwrap() {
                    let path = entry.unwrap().path();
                    if seen.insert(path.clone()) && key_of(&path).is_err() {
                        ended.store(true, Ordering::SeqCst);
                        panic!("{} has a name and no key", path.display());
                    }
                }
            }
            seen.len()
        });
        for number in 0..3_000 {
            if !ended.load(Ordering::SeqCst) {
                fs::create_dir(dir.join(number.to_string())).unwrap();
            }
        }
        ended.store(true, Ordering::SeqCst);
        assert!(watching.join().unwrap() > 100);
    });
    assert_eq!(errno(fs::create_dir(dir.join("7"))), libc::EEXIST);
    fs::DirBuilder::new().mode(0o1_750).create(dir.join("mode")).unwrap();
    assert_eq!(fs::metadata(dir.join("mode")).unwrap().permissions().mode() & 0o7_777, 0o1_750);
    let waiting = fixture.dir().join(".kmsfs/new");
    assert_eq!(fs::read_dir(&waiting).unwrap().count(), 0);
    // What a kill leaves there goes.
    fs::create_dir(waiting.join("left")).unwrap();
    fs::write(waiting.join("left too"), "x").unwrap();
    fixture.umount();
    fixture.mount(&[]);
    assert_eq!(fs::read_dir(&waiting).unwrap().count(), 0);
}

#[test]
fn a_default_key_altered_beneath_the_mount_is_refused() {
    let fixture = Fixture::new();
    fixture.new_key("alias/other");
    fs::create_dir(fixture.file("d")).unwrap();
    set_default_key(&fixture.file("d"), "alias/other").unwrap();
    let below = fixture.dir().join("d");
    let mut stored = vec![0; 4096];
    let len = rustix::fs::getxattr(&below, "user.kmsfs.default-key", &mut stored).unwrap();
    stored.truncate(len);
    *stored.last_mut().unwrap() ^= 1;
    rustix::fs::setxattr(&below, "user.kmsfs.default-key", &stored, XattrFlags::empty()).unwrap();
    assert_eq!(errno(File::create(fixture.file("d/f"))), libc::EIO);
}

#[test]
fn rot_1_old_files_read_after_a_rotation_and_new_ones_are_under_the_new_version() {
    let fixture = Fixture::new();
    let (old, new) = (fixture.file("old"), fixture.file("new"));
    fs::write(&old, b"old").unwrap();
    fixture.with_key("rotate-key-on-demand", &fixture.key);
    fs::write(&new, b"new").unwrap();
    assert_eq!((fs::read(&old).unwrap(), fs::read(&new).unwrap()), (b"old".to_vec(), b"new".to_vec()));
    assert_eq!(fixture.inspect(&old)["keyVersion"], 1);
    assert_eq!(fixture.inspect(&new)["keyVersion"], 2);
    assert_eq!(xattr(&new, "user.kmsfs.key-version").unwrap(), "2");
    fs::write(&old, b"written again").unwrap();
    assert_eq!(fixture.inspect(&old)["keyVersion"], 1, "a file keeps its data key");
}

#[test]
fn rot_9_an_alias_moves_and_old_files_go_on_needing_the_old_key() {
    let fixture = Fixture::new();
    let (a, b) = (fixture.file("A"), fixture.file("B"));
    fs::write(&a, b"document A").unwrap();
    let key_b = fixture.kms(&["create-key"])["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    fixture.kms(&["update-alias", "--alias-name", "alias/main", "--target-key-id", &key_b]);
    fs::write(&b, b"document B").unwrap();
    fixture.with_key("disable-key", &fixture.key);
    assert_eq!(errno(fs::read(&a)), ENOKEY);
    assert_eq!(fs::read(&b).unwrap(), b"document B");
    fixture.with_key("enable-key", &fixture.key);
    assert_eq!(fs::read(&a).unwrap(), b"document A");
}

#[test]
fn each_state_of_the_key_has_its_errno_on_every_way_to_the_content() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    fs::write(&path, pattern(1, 10_000)).unwrap();
    let open = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut byte = [0];
    // Cached by this read.
    open.read_exact_at(&mut byte, 0).unwrap();
    let mut refused = |expected: i32| {
        assert_eq!(errno(File::open(&path)), expected, "open");
        assert_eq!(errno(open.read_at(&mut byte, 0)), expected, "read of a cached page");
        assert_eq!(errno(open.write_at(b"x", 0)), expected, "write");
        assert_eq!(errno(open.set_len(5)), expected, "truncate by descriptor");
        assert_eq!(errno(OpenOptions::new().write(true).truncate(true).open(&path)), expected, "O_TRUNC");
        assert_eq!(errno(File::create(fixture.file("new"))), expected, "create");
        assert!(!fixture.file("new").exists(), "nothing is left half made");
        // Without the content everything goes on.
        assert_eq!(fs::metadata(&path).unwrap().len(), 10_000);
        open.sync_all().unwrap();
        fs::rename(&path, fixture.file("g")).unwrap();
        fs::rename(fixture.file("g"), &path).unwrap();
    };
    fixture.with_key("disable-key", &fixture.key);
    refused(ENOKEY);
    fixture.kms(&["schedule-key-deletion", "--key-id", &fixture.key, "--pending-window-in-days", "7"]);
    refused(EKEYREVOKED);
    // DEL-2: a cancelled deletion leaves the key disabled.
    fixture.with_key("cancel-key-deletion", &fixture.key);
    refused(ENOKEY);
    fixture.with_key("enable-key", &fixture.key);
    let mut all = vec![0; 10_000];
    open.read_exact_at(&mut all, 0).unwrap();
    assert!(
        all == pattern(1, 10_000),
        "the descriptor that was open before reads again, and nothing was changed"
    );
    open.write_all_at(b"x", 0).unwrap();
}

#[test]
fn aud_2_each_open_is_one_record_with_the_files_path() {
    let fixture = Fixture::new();
    let path = fixture.file("some name");
    fs::write(&path, b"x").unwrap();
    let first = File::open(&path).unwrap();
    let second = File::open(&path).unwrap();
    drop((first, second));
    fixture.with_key("disable-key", &fixture.key);
    assert_eq!(errno(File::open(&path)), ENOKEY);
    let log = fs::read_to_string(fixture.path("home/audit.log")).unwrap();
    let records: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| {
        let about = records.iter().filter(|record| record["additionalEventData"]["path"] == "some name");
        about.filter(|record| record["eventName"] == name && record["errorCode"].is_null()).count()
    };
    assert_eq!(of("GenerateDataKey"), 1);
    assert_eq!(of("Decrypt"), 2, "also the open that a data key in memory served");
    assert!(!log.contains("Plaintext") && !log.contains("CiphertextBlob"));
}
