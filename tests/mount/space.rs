//! Space: allocation, holes, copies of ranges, and what happens when there is none left.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use crate::alone::is_as_it_should_be;
use crate::fixture::{Fixture, errno, pattern, same_as_beside, sh};

fn new_file(fixture: &Fixture, name: &str) -> File {
    File::options().read(true).write(true).create_new(true).open(fixture.file(name)).unwrap()
}

#[test]
fn every_mode_of_fallocate_does_as_beside_at_any_offset() {
    let fixture = Fixture::new();
    let script = r#"
KEEP, PUNCH, ZERO = 1, 2, 0x10
fd = os.open("f", os.O_RDWR | os.O_CREAT)
os.write(fd, b"y" * 300000)
for mode in (0, KEEP, PUNCH | KEEP, ZERO, ZERO | KEEP):
    for offset, length in [(5000, 3000), (4096, 4096), (1, 1), (4095, 2), (130000, 9000), (290000, 50000), (900000, 10)]:
        answer = fallocate(fd, mode, offset, length)
        data = os.pread(fd, 2 << 20, 0)
        say(mode, offset, length, answer, len(data), data.count(0), data.rstrip(b"\0").count(0))
    os.pwrite(fd, b"z" * 5000, 128000)
for mode, offset, length in [(PUNCH, 0, 5), (0, -1, 5), (0, 5, 0), (0, 5, -1), (0, 1 << 62, 1 << 62)]:
    say(fallocate(fd, mode, offset, length))
say(fallocate(os.open("f", os.O_RDONLY), 0, 0, 5), fallocate(os.open(".", os.O_RDONLY), 0, 0, 5))
for mode in (0, KEEP, PUNCH | KEEP, ZERO):
    os.utime("f", ns=(5, 5))
    fallocate(fd, mode, 0, 10)
    say(mode, "is a modification:", os.fstat(fd).st_mtime_ns > 5)
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn collapsing_and_inserting_are_not_supported() {
    let fixture = Fixture::new();
    let file = new_file(&fixture, "f");
    file.write_all_at(&[1; 40_000], 0).unwrap();
    for mode in [FallocateFlags::COLLAPSE_RANGE, FallocateFlags::INSERT_RANGE, FallocateFlags::UNSHARE_RANGE]
    {
        assert_eq!(fallocate(&file, mode, 0, 4096), Err(Errno::OPNOTSUPP));
    }
    assert_eq!(fs::read(fixture.file("f")).unwrap(), [1; 40_000]);
}

#[test]
fn keep_size_reserves_space_behind_the_end_until_the_file_is_cut() {
    let fixture = Fixture::new();
    let file = new_file(&fixture, "f");
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1 << 20).unwrap();
    let blocks = || fs::metadata(fixture.file("f")).unwrap().blocks() * 512;
    assert!(blocks() >= 1 << 20 && file.metadata().unwrap().len() == 0);
    file.write_all_at(b"content", 0).unwrap();
    drop(file);
    assert!(blocks() >= 1 << 20, "a close gives nothing back");
    OpenOptions::new().write(true).open(fixture.file("f")).unwrap().set_len(3).unwrap();
    assert!(blocks() < 1 << 20);
    assert_eq!(fs::read(fixture.file("f")).unwrap(), b"con");
}

#[test]
fn allocated_space_and_what_was_never_written_is_a_hole() {
    let fixture = Fixture::new();
    let file = new_file(&fixture, "f");
    fallocate(&file, FallocateFlags::empty(), 0, 100_000).unwrap();
    assert_eq!(seek(&file, SeekFrom::Hole(0)), Ok(0));
    assert_eq!(seek(&file, SeekFrom::Data(0)), Err(Errno::NXIO));
    file.write_all_at(b"x", 50_000).unwrap();
    assert_eq!(seek(&file, SeekFrom::Data(0)), Ok(49_152), "the chunk of 4096 bytes that was written");
    assert_eq!(seek(&file, SeekFrom::Hole(49_152)), Ok(53_248));
}

#[test]
fn data_and_holes_are_found_as_beside() {
    let fixture = Fixture::new();
    let script = r#"
fd = os.open("f", os.O_RDWR | os.O_CREAT)
def seeks(offset):
    return [outcome(os.lseek, fd, offset, whence) for whence in (os.SEEK_DATA, os.SEEK_HOLE)]
say(seeks(0))
os.ftruncate(fd, 1 << 20)
for at in (8192, 127 * 1024, 128 * 1024, 500 * 4096):
    os.pwrite(fd, b"d" * 4096, at)
for at in (0, 1, 8191, 8192, 8193, 12287, 12288, 130047, 130048, 131072, 139264, 2047999, 2048000, 2052095, 2052096, 9000000, -1):
    say(at, seeks(at))
fallocate(fd, 3, 8192, 4096)
os.ftruncate(fd, 2060000)
say(seeks(0), seeks(2052096), seeks(2059999), seeks(2060000))
say(outcome(os.lseek, fd, 0, 9))
"#;
    same_as_beside(&fixture, script);
}

/// A copy by who leaves holes out must not leave out what a map has written.
#[test]
fn what_a_map_wrote_to_a_hole_is_data_before_it_is_written_back() {
    let fixture = Fixture::new();
    let script = r#"
fd = os.open("f", os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 8 << 20)
reader = os.open("f", os.O_RDONLY)
map = mmap.mmap(fd, 8 << 20)
for at in (7000000, 5000000, 3, 6000000):
    map[at : at + 10] = b"x" * 10
    say(at, [os.lseek(reader, start, os.SEEK_DATA) // 4096 for start in (0, 10000, at - 20000) if 0 <= start <= at])
    say(bytes(map[at : at + 11]))
say(outcome(os.lseek, reader, 7100000, os.SEEK_DATA), outcome(os.lseek, reader, 9 << 20, os.SEEK_DATA))
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn programs_that_copy_sparse_files_keep_their_holes() {
    let fixture = Fixture::new();
    let file = new_file(&fixture, "sparse");
    file.write_all_at(b"one", 3 << 20).unwrap();
    file.write_all_at(b"two", 40 << 20).unwrap();
    file.set_len(64 << 20).unwrap();
    drop(file);
    sh(&format!(
        "cd {}; cp sparse by-cp; cp --sparse=always by-cp again; mkdir tar; tar -cSf t.tar sparse; tar -C tar -xSf t.tar
         rsync -S sparse by-rsync; for copy in by-cp again tar/sparse by-rsync; do
         cmp sparse $copy; test $(du -k $copy | cut -f1) -lt 1000; done; test $(stat -c %s t.tar) -lt 100000",
        fixture.mnt().display()
    ));
}

#[test]
fn ranges_are_copied_as_beside_and_seen_in_the_cache() {
    let fixture = Fixture::new();
    let script = r#"
data = bytes(range(256)) * 400
make("source", data)
make("target", b"old" * 40000)
source, target = os.open("source", os.O_RDWR), os.open("target", os.O_RDWR)
copy = lambda *arguments: outcome(os.copy_file_range, *arguments)
reader = mmap.mmap(target, 0, prot=mmap.PROT_READ)
say(reader[:3], os.pread(target, 3, 4096))
say(copy(source, target, 50000, 100, 5000), reader[4990:5010], os.pread(target, 50000, 5000) == data[100:50100])
say(copy(source, target, 10, len(data), 0), copy(source, target, 100, len(data) - 30, 0), copy(source, target, 1, 1 << 40, 0))
say(copy(source, source, 1000, 0, 60000), os.pread(source, 1000, 60000) == data[:1000])
say(copy(source, source, 1000, 0, 500), copy(source, source, 1000, 500, 0))
say(copy(source, os.open("target", os.O_WRONLY | os.O_APPEND), 10, 0), copy(source, os.open("target", os.O_RDONLY), 10, 0))
say(copy(source, os.open(".", os.O_RDONLY), 10, 0), copy(os.open("target", os.O_WRONLY), source, 10, 0))
say(copy(source, target, 2000, 0, 500000), os.fstat(target).st_size, os.pread(target, 100, 400000) == bytes(100))
mapped = mmap.mmap(source, 0)
mapped[7:12] = b"dirty"
say(copy(source, target, 20, 0, 0), os.pread(target, 20, 0))
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn a_hole_that_is_copied_by_copy_file_range_is_written_as_zeros() {
    let fixture = Fixture::new();
    let (source, target) = (new_file(&fixture, "source"), new_file(&fixture, "target"));
    source.set_len(1 << 20).unwrap();
    let copied = rustix::fs::copy_file_range(&source, None, &target, None, 1 << 20).unwrap();
    assert_eq!(copied, 1 << 20);
    assert_eq!(seek(&target, SeekFrom::Data(0)), Ok(0));
    let clone = rustix::fs::ioctl_ficlone(&target, &source);
    assert_eq!(clone, Err(Errno::OPNOTSUPP), "and two files never share their ciphertext");
}

/// A volume on a filesystem of its own that holds 8 MiB.
fn small(kind: &str) -> Fixture {
    let fixture = Fixture::unmounted();
    let (dir, disk) = (fixture.dir(), fixture.path("disk"));
    let (dir, disk) = (dir.display(), disk.display());
    let mount = match kind {
        "tmpfs" => format!("mount -t tmpfs -o size=8M small {disk}.d"),
        _ => format!(
            "truncate -s 9M {disk}; mkfs.ext4 -q -O ^has_journal {disk}; mount -o loop {disk} {disk}.d"
        ),
    };
    sh(&format!("mkdir {disk}.d; {mount}; cp -a {dir}/.kmsfs {disk}.d/; mount --move {disk}.d {dir}"));
    fixture.mount(&[]);
    fixture
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing_wrong() {
    for kind in ["tmpfs", "ext4"] {
        let fixture = small(kind);
        let kept = pattern(3, 1_000_000);
        fs::write(fixture.file("kept"), &kept).unwrap();
        let file = new_file(&fixture, "f");
        assert_eq!(fallocate(&file, FallocateFlags::empty(), 0, 100 << 20), Err(Errno::NOSPC), "{kind}");
        assert_eq!(file.metadata().unwrap().len(), 0);
        let mut written = 0;
        let full = loop {
            match file.write_all_at(&pattern(written, 65_536), written * 65_536) {
                Ok(()) => written += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(full.raw_os_error(), Some(libc::ENOSPC), "{kind}");
        assert!(written > 40);
        let stays = |fixture: &Fixture| {
            assert!(fs::read(fixture.file("kept")).unwrap() == kept);
            let read = fs::read(fixture.file("f")).unwrap();
            for number in 0..written {
                let at = number as usize * 65_536;
                assert!(read[at..at + 65_536] == pattern(number, 65_536), "{kind}: {number}");
            }
        };
        stays(&fixture);
        // An overwrite needs no room; a new file may find none, and is then not there.
        file.write_all_at(&pattern(0, 65_536), 0).unwrap();
        while let Ok(()) = fs::write(fixture.file("filler"), pattern(1, 4_096)).and_then(|()| {
            fs::rename(
                fixture.file("filler"),
                fixture.file(&format!("filler-{}", fs::read_dir(fixture.mnt())?.count())),
            )
        }) {}
        assert_eq!(errno(fs::write(fixture.file("late"), pattern(1, 100_000))), libc::ENOSPC);
        drop(file);
        fixture.umount();
        fixture.mount(&[]);
        stays(&fixture);
        fs::remove_file(fixture.file("f")).unwrap();
        // The close of who read it last may still be on its way to the mount's process, which is when its space is free.
        let until = Instant::now() + Duration::from_secs(20);
        while rustix::fs::statvfs(fixture.mnt()).is_ok_and(|stat| stat.f_bavail * stat.f_frsize < 2 << 20) {
            assert!(Instant::now() < until, "{kind}: a removed file's space stays taken");
            thread::sleep(Duration::from_millis(10));
        }
        fs::write(fixture.file("after"), &kept).unwrap();
        assert!(fs::read(fixture.file("after")).unwrap() == kept);
        fixture.umount();
        sh(&format!("umount {}", fixture.dir().display()));
    }
}

/// Also where the list of files that a kill may leave half written finds no room for more of them.
#[test]
fn on_a_full_disk_files_are_cut_punched_and_written_over() {
    const FILES: u64 = 300;
    for kind in ["tmpfs", "ext4"] {
        let fixture = small(kind);
        let name = |number: u64| fixture.file(&format!("a-name-of-some-length-{number}"));
        (0..FILES).for_each(|number| fs::write(name(number), pattern(number, 5_000)).unwrap());
        let mut full = File::create(fixture.dir().join("rest")).unwrap();
        for piece in [65_536, 4_096, 1] {
            while full.write_all(&pattern(2, piece)).is_ok() {}
        }
        let punches = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        for number in 0..FILES {
            let file = OpenOptions::new().write(true).open(name(number)).unwrap();
            match number % 3 {
                0 => file.write_all_at(&pattern(number + 1, 5_000), 0).unwrap(),
                1 => fallocate(&file, punches, 0, 5_000).unwrap(),
                _ => file.set_len(10).unwrap(),
            }
        }
        fixture.kill();
        fixture.mount(&[]);
        for number in 0..FILES {
            let expected = match number % 3 {
                0 => pattern(number + 1, 5_000),
                1 => vec![0; 5_000],
                _ => pattern(number, 10),
            };
            assert!(fs::read(name(number)).unwrap() == expected, "{kind}: {number}");
        }
        fixture.umount();
        drop(full);
        sh(&format!("umount {}", fixture.dir().display()));
    }
}

#[test]
fn the_limit_of_who_writes_on_the_size_of_files_holds() {
    let fixture = Fixture::new();
    let script = r#"
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
fd = os.open("f", os.O_CREAT | os.O_RDWR)
say(os.write(fd, b"x" * 20000), outcome(os.write, fd, b"x"), outcome(os.ftruncate, fd, 20000))
say(fallocate(fd, 0, 0, 20000), outcome(os.pwrite, fd, b"x", 10000), os.fstat(fd).st_size)
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn the_largest_file_has_16_tib() {
    let fixture = Fixture::unmounted();
    // Not a matter of the filesystem below: tmpfs holds larger ones.
    sh(&format!(
        "cd {0}; mkdir m; mount -t tmpfs big m; cp -a .kmsfs m/; mount --move m {0}",
        fixture.dir().display()
    ));
    fixture.mount(&[]);
    let file = new_file(&fixture, "f");
    file.set_len(1 << 44).unwrap();
    assert_eq!(errno(file.set_len((1 << 44) + 1)), libc::EFBIG);
    assert_eq!(errno(file.write_all_at(b"x", 1 << 44)), libc::EFBIG);
    file.write_all_at(b"x", (1 << 44) - 1).unwrap();
    let mut last = [0];
    file.read_exact_at(&mut last, (1 << 44) - 1).unwrap();
    assert_eq!(&last, b"x");
    drop(file);
    fixture.umount();
    sh(&format!("umount {}", fixture.dir().display()));
}

/// A home on a disk that is full to the last block; the volume is elsewhere.
const FULL_HOME: &str = r#"
mkdir mnt
mount -t tmpfs -o size=4m none disk
kmsfs setup --key-file "$PWD/key-file" >setup.txt
id=$(kmsfs kms create-key | member KeyId)
kmsfs init volume --key "$id" >init.txt
kmsfs mount volume mnt
trap 'kmsfs umount mnt; umount disk' EXIT
echo hello >mnt/a
fill
exec 5<mnt/a
[ "$(cat mnt/a)" = hello ]
kmsfs kms disable-key --key-id "$id"
if cat mnt/a 2>by-name.txt || cat <&5 2>by-descriptor.txt; then echo 'it can be read'; exit 1; fi
grep -q 'Required key not available' by-name.txt
grep -q 'Required key not available' by-descriptor.txt
exec 5<&-
[ "$(grep -c '"eventName":"DisableKey"' disk/home/audit.log)" = 1 ]
"#;

#[test]
fn a_key_that_is_disabled_while_the_home_s_disk_is_full_opens_nothing_more_in_a_mount() {
    is_as_it_should_be(FULL_HOME, &[]);
}
