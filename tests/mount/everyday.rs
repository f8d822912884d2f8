//! What every program does with files.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::thread;
use std::time::Duration;

use rustix::fs::{FallocateFlags, Timespec, Timestamps};

use crate::fixture::{Fixture, errno, pattern};

#[test]
fn what_is_written_is_read_also_after_a_remount() {
    let fixture = Fixture::new();
    let sizes = [0, 1, 4095, 4096, 4097, 131_072, 131_073, 1_000_000];
    for size in sizes {
        fs::write(fixture.file(&format!("f{size}")), pattern(size as u64, size)).unwrap();
    }
    fixture.umount();
    fixture.mount(&[]);
    for size in sizes {
        let read = fs::read(fixture.file(&format!("f{size}"))).unwrap();
        assert!(read == pattern(size as u64, size), "{size} bytes");
        assert_eq!(fs::metadata(fixture.file(&format!("f{size}"))).unwrap().len(), size as u64);
    }
}

#[test]
fn the_ciphertext_shows_no_plaintext() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), b"a very secret sentence".repeat(1000)).unwrap();
    fixture.umount();
    let ciphertext = fs::read(fixture.dir().join("f")).unwrap();
    assert!(!ciphertext.windows(11).any(|window| window == b"very secret"));
}

#[test]
fn open_flags_mean_what_they_mean() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(&path)
        .unwrap()
        .write_all(b"12345")
        .unwrap();
    assert_eq!(errno(OpenOptions::new().write(true).create_new(true).open(&path)), libc::EEXIST);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"678").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"12345678");
    drop(OpenOptions::new().write(true).truncate(true).open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn two_appending_descriptors_lose_nothing() {
    let fixture = Fixture::new();
    let path = fixture.file("log");
    let mut one = OpenOptions::new().append(true).create(true).open(&path).unwrap();
    let mut two = OpenOptions::new().append(true).open(&path).unwrap();
    for number in 0..200 {
        writeln!(one, "one {number}").unwrap();
        writeln!(two, "two {number}").unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 400);
}

#[test]
fn a_file_shrinks_and_grows() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    fs::write(&path, pattern(1, 300_000)).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(10_001).unwrap();
    file.set_len(200_000).unwrap();
    let mut expected = pattern(1, 10_001);
    expected.resize(200_000, 0);
    assert!(fs::read(&path).unwrap() == expected);
}

#[test]
fn a_sparse_file_of_6_gib_costs_little_and_knows_its_holes() {
    let fixture = Fixture::new();
    let path = fixture.file("sparse");
    let far = 6 << 30;
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    file.write_all_at(b"far", far).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), far + 3);
    assert!(fs::metadata(&path).unwrap().blocks() * 512 < 2 << 20, "it is stored sparsely");
    let data = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)).unwrap();
    assert_eq!(data, far);
    assert_eq!(rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0)).unwrap(), 0);
    let mut around = [1; 10];
    file.read_exact_at(&mut around, far - 7).unwrap();
    assert_eq!(&around, b"\0\0\0\0\0\0\0far");
    drop(file);
    fixture.umount();
    fixture.mount(&[]);
    let file = File::open(&path).unwrap();
    file.read_exact_at(&mut around, far - 7).unwrap();
    assert_eq!(&around, b"\0\0\0\0\0\0\0far");
}

#[test]
fn space_is_allocated_punched_and_zeroed() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    fs::write(&path, pattern(1, 100_000)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut expected = pattern(1, 100_000);
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&file, punch, 5_000, 50_000).unwrap();
    expected[5_000..55_000].fill(0);
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 90_000, 30_000).unwrap();
    expected.resize(120_000, 0);
    rustix::fs::fallocate(&file, FallocateFlags::ZERO_RANGE, 80_000, 50_000).unwrap();
    expected[80_000..].fill(0);
    expected.resize(130_000, 0);
    rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 400_000).unwrap();
    assert!(fs::read(&path).unwrap() == expected);
    let collapse = rustix::fs::fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, 4096);
    assert_eq!(collapse, Err(rustix::io::Errno::OPNOTSUPP));
}

#[test]
fn times_owners_and_modes_stay_as_they_are_set() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"content").unwrap();
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time(1_000, 1), last_modification: time(-5, 999_999_999) };
    rustix::fs::futimens(&file, &times).unwrap();
    // Closing commits the file, which is no modification.
    drop(file);
    let facts = fs::metadata(&path).unwrap();
    assert_eq!((facts.mtime(), facts.mtime_nsec()), (-5, 999_999_999));
    assert_eq!((facts.atime(), facts.atime_nsec()), (1_000, 1));
    std::os::unix::fs::chown(&path, Some(12), Some(34)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).unwrap();
    let facts = fs::metadata(&path).unwrap();
    assert_eq!((facts.uid(), facts.gid(), facts.mode() & 0o7777), (12, 34, 0o4751));
    fixture.umount();
    fixture.mount(&[]);
    let again = fs::metadata(&path).unwrap();
    assert_eq!((again.mtime(), again.uid(), again.mode()), (-5, 12, facts.mode()));
}

#[test]
fn fsync_and_statfs_answer() {
    let fixture = Fixture::new();
    let mut file = File::create(fixture.file("f")).unwrap();
    file.write_all(b"content").unwrap();
    file.sync_all().unwrap();
    file.sync_data().unwrap();
    File::open(fixture.mnt()).unwrap().sync_all().unwrap();
    let stat = rustix::fs::statvfs(fixture.mnt()).unwrap();
    assert!(stat.f_blocks > 0 && stat.f_namemax == 255);
}

#[test]
fn a_shared_map_writes_and_reads() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    fs::write(&path, vec![b'.'; 20_000]).unwrap();
    let script = "import mmap,sys\nf=open(sys.argv[1],'r+b')\nm=mmap.mmap(f.fileno(),0)\nm[5000:5005]=b'hello'\nm.flush()\n\
                  m[9000:9002]=b'hi'\nm.close()";
    let status = std::process::Command::new("python3").args(["-c", script]).arg(&path).status().unwrap();
    assert!(status.success());
    fixture.umount();
    fixture.mount(&[]);
    let read = fs::read(&path).unwrap();
    assert_eq!((&read[5000..5005], &read[9000..9002]), (&b"hello"[..], &b"hi"[..]));
}

#[test]
fn reads_and_seeks_mix_with_writes() {
    let fixture = Fixture::new();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(fixture.file("f"))
        .unwrap();
    let mut expected = vec![0; 150_000];
    for step in 0..200_u64 {
        let at = (step * 7_919) % 140_000;
        let bytes = pattern(step, 1 + (step as usize * 37) % 9_000);
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&bytes).unwrap();
        expected[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
    }
    let size = file.metadata().unwrap().len() as usize;
    let mut read = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut read).unwrap();
    assert!(read == expected[..size]);
}

#[test]
fn a_file_that_is_closed_unwritten_is_not_changed_by_that() {
    let fixture = Fixture::new();
    let changed = |path: &std::path::Path| {
        let facts = fs::metadata(path).unwrap();
        (facts.ctime(), facts.ctime_nsec())
    };
    let paths: Vec<_> = (0..20).map(|number| fixture.file(&format!("f{number}"))).collect();
    let made: Vec<_> = paths
        .iter()
        .map(|path| {
            let file = File::create(path).unwrap();
            let made = changed(path);
            drop(file);
            made
        })
        .collect();
    fixture.umount();
    let kept: Vec<_> = (0..20).map(|number| changed(&fixture.dir().join(format!("f{number}")))).collect();
    assert_eq!(kept, made);
}

#[test]
fn a_time_set_right_after_closing_stays() {
    let fixture = Fixture::new();
    let path = |number: i64| fixture.file(&format!("f{number}"));
    let time = |number| Timespec { tv_sec: 1_000_000_000 + number, tv_nsec: 5 };
    thread::scope(|scope| {
        for worker in 0..3 {
            let (path, time) = (&path, &time);
            scope.spawn(move || {
                for number in (worker..600).step_by(3) {
                    fs::write(path(number), pattern(1, 3_000)).unwrap();
                    // The commit of the closed file may be under way.
                    let times = Timestamps { last_access: time(number), last_modification: time(number) };
                    let flags = rustix::fs::AtFlags::empty();
                    rustix::fs::utimensat(rustix::fs::CWD, path(number), &times, flags).unwrap();
                }
            });
        }
    });
    fixture.umount();
    for number in 0..600 {
        let facts = fs::metadata(fixture.dir().join(format!("f{number}"))).unwrap();
        assert_eq!((facts.mtime(), facts.mtime_nsec()), (1_000_000_000 + number, 5), "file {number}");
    }
}

#[test]
fn a_write_beside_an_fsync_keeps_its_time() {
    let fixture = Fixture::new();
    let file = File::create(fixture.file("f")).unwrap();
    for round in 0..200_u64 {
        // The file grew: there is a header to write when it is synced.
        file.write_all_at(&[1; 4096], round * 4096).unwrap();
        thread::sleep(Duration::from_millis(5));
        let began = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        thread::scope(|scope| {
            scope.spawn(|| file.sync_all().unwrap());
            thread::sleep(Duration::from_micros(round * 17 % 1500));
            file.write_all_at(b"y", 100).unwrap();
        });
        let facts = fs::metadata(fixture.file("f")).unwrap();
        let modified = (facts.mtime(), facts.mtime_nsec());
        assert!(modified >= (began.tv_sec, began.tv_nsec), "round {round}: {modified:?} is before {began:?}");
    }
}

#[test]
fn privileges_that_are_given_before_closing_stay() {
    let fixture = Fixture::new();
    // A capability as `setcap cap_net_raw+ep` gives it (capabilities(7), version 2).
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let is_kept = |path: &std::path::Path| {
        let mut value = [0; 64];
        let len = rustix::fs::getxattr(path, "security.capability", &mut value).unwrap();
        value[..len] == capability && fs::metadata(path).unwrap().mode() & 0o7777 == 0o4711
    };
    let give = |name: &str| {
        let mut file = File::create(fixture.file(name)).unwrap();
        file.write_all(&pattern(1, 10_000)).unwrap();
        rustix::fs::fsetxattr(&file, "security.capability", &capability, rustix::fs::XattrFlags::empty())
            .unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o4711)).unwrap();
        file
    };
    drop(give("closed"));
    let killed = give("killed");
    fixture.kill();
    drop(killed);
    fixture.mount(&[]);
    for name in ["closed", "killed"] {
        assert!(is_kept(&fixture.file(name)), "{name}");
    }
    // A write takes them away, as on any filesystem.
    OpenOptions::new().append(true).open(fixture.file("closed")).unwrap().write_all(b"more").unwrap();
    fixture.umount();
    assert!(rustix::fs::getxattr(fixture.dir().join("closed"), "security.capability", &mut [0; 64]).is_err());
    assert!(is_kept(&fixture.dir().join("killed")));
}
