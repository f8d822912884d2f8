//! Requests in orders that a kernel may send them in, given to the filesystem without a mount.

use std::ffi::OsStr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use kmsfs::datakey::KeyArn;
use kmsfs::fs::revoke::KernelCache;
use kmsfs::fs::{Caller, Filesystem, Options, ROOT, Setattr, WriteKind};
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

/// A kernel that cannot drop a page because someone waits for its content, as `invalidate_inode_pages2` does.
#[derive(Default)]
struct PageUnderRead {
    reader: OnceLock<Box<dyn Fn() -> mpsc::Receiver<()> + Send + Sync>>,
    unanswered: std::sync::atomic::AtomicU32,
}

impl KernelCache for PageUnderRead {
    fn drop_attributes(&self, _ino: u64) {}

    fn drop_pages(&self, _ino: u64) {
        let answered = self.reader.get().unwrap()();
        if answered.recv_timeout(Duration::from_secs(10)).is_err() {
            self.unanswered.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn write_back(&self, _ino: u64, _offset: u64, _len: u64) {}

    fn store(&self, _ino: u64, _content: &[u8]) {}
}

/// A kernel that keeps what it is given, and takes its time for it.
#[derive(Default)]
struct Keeper {
    given: Mutex<Vec<(u64, Vec<u8>)>>,
    pause: Duration,
}

impl KernelCache for Keeper {
    fn drop_attributes(&self, _ino: u64) {}

    fn drop_pages(&self, _ino: u64) {}

    fn write_back(&self, _ino: u64, _offset: u64, _len: u64) {}

    fn store(&self, ino: u64, content: &[u8]) {
        std::thread::sleep(self.pause);
        self.given.lock().unwrap().push((ino, content.to_vec()));
    }
}

impl Keeper {
    fn taken(&self) -> Vec<(u64, Vec<u8>)> {
        std::mem::take(&mut self.given.lock().unwrap())
    }
}

/// A file of `len` bytes that the kernel found by its name, and knows nothing else of.
fn found_again(fs: &Filesystem, name: &str, len: usize) -> u64 {
    let (ino, handle) = create(fs, name);
    write(fs, handle, 0, &pattern(1, len));
    fs.release(handle).unwrap();
    fs.forget(ino, 1);
    fs.lookup(ROOT, OsStr::new(name)).unwrap().value.ino
}

#[test]
fn a_small_file_is_given_with_the_first_open_that_only_reads() {
    let fixture = Fixture::unmounted();
    let fs = filesystem(&fixture);
    let kernel = Arc::new(Keeper::default());
    fs.attach(kernel.clone());
    let open = |ino, flags| fs.open(ino, flags, ME).unwrap().value;
    let ino = found_again(&fs, "f", 5000);
    for flags in [OFlags::RDWR, OFlags::WRONLY, OFlags::RDONLY | OFlags::DIRECT] {
        fs.release(open(ino, flags)).unwrap();
    }
    assert!(kernel.taken().is_empty(), "who writes, and who reads past the cache, is given nothing");
    let writer = open(ino, OFlags::RDWR);
    fs.release(open(ino, OFlags::RDONLY)).unwrap();
    assert!(kernel.taken().is_empty(), "a page of a file that is open may be waited for");
    fs.release(writer).unwrap();
    fs.release(open(ino, OFlags::RDONLY)).unwrap();
    assert_eq!(kernel.taken(), [(ino, pattern(1, 5000))]);
    fs.release(open(ino, OFlags::RDONLY)).unwrap();
    assert!(kernel.taken().is_empty(), "it has it");
    for (name, len, is_given) in [("most", 16_384, true), ("more", 16_385, false)] {
        let ino = found_again(&fs, name, len);
        open(ino, OFlags::RDONLY);
        assert_eq!(!kernel.taken().is_empty(), is_given, "{name}");
    }
    let (ino, handle) = create(&fs, "empty");
    fs.release(handle).unwrap();
    open(ino, OFlags::RDONLY);
    assert!(kernel.taken().is_empty());
}

#[test]
fn a_file_that_does_not_authenticate_is_given_to_nobody_and_read_by_nobody() {
    let fixture = Fixture::unmounted();
    let fs = filesystem(&fixture);
    let kernel = Arc::new(Keeper::default());
    fs.attach(kernel.clone());
    let ino = found_again(&fs, "f", 5000);
    let ciphertext = fixture.dir().join("f");
    let mut bytes = std::fs::read(&ciphertext).unwrap();
    bytes[4096 + 4096 + 100] ^= 1;
    std::fs::write(&ciphertext, bytes).unwrap();
    let handle = fs.open(ino, OFlags::RDONLY, ME).unwrap().value;
    assert!(kernel.taken().is_empty());
    assert!(fixture.records("FileDamaged").is_empty(), "nobody has read it yet");
    assert_eq!(fs.read(handle, 0, &mut [0; 5000]).unwrap_err().errno(), rustix::io::Errno::IO);
    assert_eq!(fixture.records("FileDamaged").len(), 1);
}

#[test]
fn a_truncation_waits_until_the_content_that_comes_with_an_open_is_with_the_kernel() {
    let fixture = Fixture::unmounted();
    let fs = filesystem(&fixture);
    let kernel = Arc::new(Keeper { pause: Duration::from_millis(300), ..Keeper::default() });
    fs.attach(kernel.clone());
    let ino = found_again(&fs, "f", 5000);
    std::thread::scope(|scope| {
        scope.spawn(|| drop(fs.open(ino, OFlags::RDONLY, ME).unwrap()));
        std::thread::sleep(Duration::from_millis(100));
        let cut = Setattr { size: Some(0), ..Setattr::default() };
        fs.setattr(ino, None, cut, ME).unwrap();
        assert_eq!(kernel.taken().len(), 1, "the old content came first");
    });
}

#[test]
fn a_read_during_a_revocation_is_answered_also_when_the_key_came_back() {
    let fixture = Arc::new(Fixture::unmounted());
    let fs = Arc::new(filesystem(&fixture));
    let kernel = Arc::new(PageUnderRead::default());
    fs.attach(kernel.clone());
    let (_, handle) = create(&fs, "f");
    write(&fs, handle, 0, b"content");
    let key = fs.keys_in_use().remove(0);
    let (reads, home) = (fs.clone(), fixture.clone());
    let reader = move || {
        // By another process, while this mount is still at work on the revocation.
        home.with_key("enable-key", &home.key);
        let (answered, answer) = mpsc::channel();
        let reads = reads.clone();
        std::thread::spawn(move || {
            let _ = reads.read(handle, 0, &mut [0; 7]);
            let _ = answered.send(());
        });
        answer
    };
    assert!(kernel.reader.set(Box::new(reader)).is_ok());
    fixture.with_key("disable-key", &fixture.key);
    fs.key_changed(&key).unwrap();
    assert_eq!(kernel.unanswered.load(std::sync::atomic::Ordering::SeqCst), 0);
    fs.key_changed(&key).unwrap();
    assert_eq!(fs.read(handle, 0, &mut [0; 7]).unwrap().value, 7);
}
