//! Requests in orders that a kernel may send them in, given to the filesystem without a mount.

use std::ffi::OsStr;
use std::sync::Arc;

use kmsfs::datakey::KeyArn;
use kmsfs::fs::{Caller, Filesystem, Options, ROOT, WriteKind};
use kmsfs::store::Home;
use kmsfs::volume::Volume;
use rustix::fs::OFlags;

use crate::fixture::{Fixture, pattern};

const ME: Caller = Caller { uid: 0, gid: 0, pid: 1 };

fn filesystem(fixture: &Fixture) -> Filesystem {
    let home = Home::open(&fixture.path("home")).unwrap();
    let volume = Volume::open(&fixture.dir(), &*home.authenticator()).unwrap();
    Filesystem::new(volume, home.data_keys(), home.authenticator(), Options::default()).unwrap()
}

fn create(fs: &Filesystem, name: &str) -> (u64, u64) {
    let (answer, handle) = fs.create(ROOT, OsStr::new(name), 0o644, ME).unwrap();
    (answer.value.ino, handle)
}

fn write(fs: &Filesystem, handle: u64, at: u64, data: &[u8]) {
    fs.write(handle, at, data, WriteKind::default()).unwrap();
}

fn size(fs: &Filesystem, name: &str) -> u64 {
    let attr = fs.lookup(ROOT, OsStr::new(name)).unwrap().value;
    fs.forget(attr.ino, 1);
    attr.size
}

#[test]
fn a_file_that_is_forgotten_before_its_release_stays_one_file() {
    // The kernel sends both at once when it needs memory, and several threads answer.
    let fixture = Fixture::unmounted();
    let fs = filesystem(&fixture);
    let (ino, first) = create(&fs, "f");
    write(&fs, first, 0, &pattern(1, 20_000));
    fs.forget(ino, 1);
    let again = fs.lookup(ROOT, OsStr::new("f")).unwrap().value;
    let second = fs.open(again.ino, OFlags::RDWR, ME).unwrap().value;
    write(&fs, second, 20_000, &pattern(2, 20_000));
    write(&fs, first, 40_000, &pattern(3, 20_000));
    fs.release(first).unwrap();
    fs.release(second).unwrap();
    fs.forget(again.ino, 1);
    let mut out = vec![0; 70_000];
    let ino = fs.lookup(ROOT, OsStr::new("f")).unwrap().value.ino;
    let third = fs.open(ino, OFlags::RDONLY, ME).unwrap().value;
    assert_eq!(fs.read(third, 0, &mut out).unwrap().value, 60_000);
    assert!(out[..20_000] == pattern(1, 20_000) && out[40_000..60_000] == pattern(3, 20_000));
    assert_eq!(fixture.inspect(&fixture.dir().join("f"))["state"], "clean");
}

#[test]
fn a_forgotten_file_with_an_open_descriptor_is_revoked() {
    let fixture = Fixture::unmounted();
    let fs = filesystem(&fixture);
    let (ino, handle) = create(&fs, "f");
    write(&fs, handle, 0, b"content");
    fs.forget(ino, 1);
    let key =
        KeyArn::new(fixture.with_key("describe-key", &fixture.key)["KeyMetadata"]["Arn"].as_str().unwrap());
    fixture.with_key("disable-key", &fixture.key);
    assert_eq!(fs.key_changed(&key).unwrap().files, 1, "the data key is wiped");
    assert_eq!(fs.read(handle, 0, &mut [0; 7]).unwrap_err().errno(), rustix::io::Errno::NOKEY);
    fs.release(handle).unwrap();
    assert_eq!(size(&fs, "f"), 7);
}

#[test]
fn forgetting_and_finding_at_once_loses_no_file_of_a_key() {
    let fixture = Fixture::unmounted();
    let fs = Arc::new(filesystem(&fixture));
    let (ino, handle) = create(&fs, "f");
    write(&fs, handle, 0, b"content");
    fs.release(handle).unwrap();
    fs.forget(ino, 1);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let fs = &fs;
            scope.spawn(move || {
                for _ in 0..300 {
                    let ino = fs.lookup(ROOT, OsStr::new("f")).unwrap().value.ino;
                    let handle = fs.open(ino, OFlags::RDONLY, ME).unwrap().value;
                    assert_eq!(fs.read(handle, 0, &mut [0; 7]).unwrap().value, 7);
                    fs.release(handle).unwrap();
                    fs.forget(ino, 1);
                }
            });
        }
    });
    let ino = fs.lookup(ROOT, OsStr::new("f")).unwrap().value.ino;
    fs.open(ino, OFlags::RDONLY, ME).unwrap();
    let key = fs.keys_in_use().remove(0);
    fixture.with_key("disable-key", &fixture.key);
    assert_eq!(fs.key_changed(&key).unwrap().inodes, 1);
}
