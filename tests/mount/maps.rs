//! Memory maps: shared with reads and writes, across processes, beyond the end, and after the descriptor is gone.

use std::fs;

use crate::fixture::{Fixture, python, same_as_beside};

#[test]
fn maps_reads_and_writes_see_each_other_in_one_process_and_in_two() {
    let fixture = Fixture::new();
    let script = r#"
make("f", b"a" * 20000)
fd = os.open("f", os.O_RDWR)
map = mmap.mmap(fd, 20000)
map[0:3] = b"MAP"
os.pwrite(fd, b"WRITE", 9000)
say(os.pread(fd, 4, 0), map[9000:9005])
os.copy_file_range(fd, fd, 3, 0, 12000)
say(map[12000:12003])
child = os.fork()
if child == 0:
    other = mmap.mmap(os.open("f", os.O_RDWR), 20000)
    say(other[0:3], other[9000:9005])
    other[100:105] = b"CHILD"
    os._exit(0)
os.waitpid(child, 0)
say(map[100:105], os.pread(fd, 5, 100))
private = mmap.mmap(fd, 20000, flags=mmap.MAP_PRIVATE)
private[0:3] = b"own"
say(private[0:3], map[0:3])
fallocate(fd, 3, 0, 4096)
say(map[0:3], private[0:3], map[4096:4099])
os.fsync(fd)
map[200:205] = b"AFTER"
os.close(fd)
map[300:305] = b"LATER"
map.flush()
say(open("f", "rb").read()[200:305].replace(b"\0", b""))
map[400:405] = b"FINAL"
map.close()
say(open("f", "rb").read()[400:405])
# Nothing else than the map holds the file any more.
fd = os.open("g", os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 8192)
map = mmap.mmap(fd, 8192)
os.close(fd)
os.unlink("g")
map[0:2] = b"ok"
map.flush()
say(map[0:2], map[8190:8192])
"#;
    same_as_beside(&fixture, script);
    let read = fs::read(fixture.file("work/f")).unwrap();
    fixture.umount();
    fixture.mount(&[]);
    assert!(fs::read(fixture.file("work/f")).unwrap() == read);
}

#[test]
fn a_map_beyond_the_end_faults_and_what_was_cut_off_reads_as_zeros() {
    let fixture = Fixture::new();
    let script = r#"
make("f", b"a" * 20000)
def touch(at, cut):
    """How a process ends that maps the file, cuts it and then reads there."""
    child = os.fork()
    if child == 0:
        fd = os.open("f", os.O_RDWR)
        map = mmap.mmap(fd, 20000)
        map[:]
        os.ftruncate(fd, cut)
        map[at]
        os._exit(0)
    return os.waitpid(child, 0)[1]
say(touch(10000, 20000), touch(19999, 12289), touch(16384, 12288), touch(4095, 1), touch(4096, 1))
fd = os.open("f", os.O_RDWR)
os.ftruncate(fd, 5)
map = mmap.mmap(fd, 5)
os.ftruncate(fd, 4096)
say(os.pread(fd, 10, 0))
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn a_write_through_a_map_keeps_the_bits_and_not_the_capabilities() {
    let fixture = Fixture::new();
    let script = "make('f', b'z' * 5000, 0o4755)\nos.setxattr('f', 'security.capability', bytes([1, 0, 0, 2, 0, 0x20] + [0] * 14))\n\
                  fd = os.open('f', os.O_RDWR)\nmap = mmap.mmap(fd, 0)\nmap[0:1] = b'W'\nmap.flush()\n\
                  say(mode('f'), outcome(os.getxattr, 'f', 'security.capability'))";
    let said = python(&fixture.mnt(), script);
    assert_eq!(said, "0o104755 ENODATA\n");
}
