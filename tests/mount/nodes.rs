//! Programs, libraries, FIFOs, sockets, devices, and the ways of opening.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::fixture::{Fixture, python, same_as_beside, sh};

#[test]
fn programs_scripts_and_libraries_run_and_are_busy_meanwhile() {
    let fixture = Fixture::new();
    let script = r##"
subprocess.run(["cp", "/bin/sleep", "sleep"])
make("script", b"#!/bin/sh\necho hello $1\n", 0o755)
say(subprocess.run(["./script", "you"], capture_output=True).stdout)
running = subprocess.Popen(["./sleep", "30"])
time.sleep(0.1)
say(outcome(os.open, "sleep", os.O_WRONLY), outcome(os.truncate, "sleep", 0), outcome(os.rename, "sleep", "moved"))
running.kill()
running.wait()
writer = os.open("moved", os.O_RDWR)
say(outcome(subprocess.run, ["./moved", "0"]))
os.close(writer)
say(subprocess.run(["./moved", "0"]).returncode)
make("not", b"#!/bin/sh\n", 0o644)
say(outcome(subprocess.run, ["./not"]))
libc_path = next(line.split()[-1] for line in open("/proc/self/maps") if "/libc.so" in line or "/libc-" in line)
subprocess.run(["cp", libc_path, "lib.so"])
say(subprocess.run([sys.executable, "-c", "import ctypes; print(ctypes.CDLL('./lib.so').abs(-5))"], capture_output=True).stdout)
"##;
    same_as_beside(&fixture, script);
}

#[test]
fn fifos_sockets_and_devices_are_what_they_are() {
    let fixture = Fixture::open_to_all();
    let script = r#"
import socket
os.mkfifo("fifo")
if os.fork() == 0:
    open("fifo", "w").write("through the fifo")
    os._exit(0)
say(open("fifo").read())
os.wait()
server = socket.socket(socket.AF_UNIX)
server.bind("socket")
server.listen()
client = socket.socket(socket.AF_UNIX)
say(outcome(client.connect, "socket"), mode("socket"), outcome(os.open, "socket", os.O_RDWR))
for kind in (stat.S_IFCHR, stat.S_IFBLK):
    say(outcome(os.mknod, "device", 0o644 | kind, os.makedev(7, 0x12345)), mode("device"), os.lstat("device").st_rdev)
    os.unlink("device")
say(as_user(lambda: os.mknod("device", 0o644 | stat.S_IFCHR, os.makedev(1, 3))))
say(as_user(lambda: os.mknod("plain", 0o644 | stat.S_IFREG)), as_user(lambda: os.mkfifo("theirs")), mode("theirs"))
say(open("plain").read() == "")
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn a_device_opens_only_on_a_mount_with_dev() {
    let fixture = Fixture::new();
    let zero = fixture.file("zero");
    let make = format!("mknod {0} c 1 5", zero.display());
    sh(&make);
    assert_eq!(open(&zero, OFlags::RDONLY, Mode::empty()).unwrap_err(), Errno::ACCESS);
    fixture.umount();
    fixture.mount(&["dev"]);
    assert!(open(&zero, OFlags::RDONLY, Mode::empty()).is_ok());
}

#[test]
fn an_unnamed_file_is_not_supported_and_programs_do_without() {
    let fixture = Fixture::new();
    let unnamed = open(fixture.mnt(), OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR);
    assert_eq!(unnamed.unwrap_err(), Errno::OPNOTSUPP);
    let script = "import tempfile\nfile = tempfile.TemporaryFile(dir='.')\nfile.write(b'x' * 9000)\nfile.seek(8999)\n\
                  say(file.read(), os.listdir('.'))";
    assert_eq!(python(&fixture.mnt(), script), "b'x' []\n");
}

#[test]
fn flags_of_open_do_as_beside() {
    let fixture = Fixture::open_to_all();
    let script = r#"
make("f", b"content")
os.mkdir("dir")
os.symlink("f", "link")
os.symlink("loop", "loop")
os.symlink("nowhere", "broken")
flags = {name: getattr(os, name) for name in ("O_RDONLY", "O_WRONLY", "O_DIRECTORY", "O_NOFOLLOW", "O_PATH", "O_EXCL")}
for name in ("f", "dir", "link", "loop", "broken", "absent", "f/x", ""):
    for flag, bits in flags.items():
        say(name, flag, isinstance(outcome(os.open, name, bits), int), outcome(os.open, name, bits | os.O_CREAT) if isinstance(
            outcome(os.open, name, bits | os.O_CREAT), str) else "opened")
say(sorted(os.listdir(".")))
def secret():
    fd = os.open("none", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0)
    os.write(fd, b"mine")
    return os.pread(fd, 4, 0), outcome(os.open, "none", os.O_RDONLY)
say(as_user(secret), mode("none"))
os.umask(0o027)
os.close(os.open("masked", os.O_CREAT | os.O_WRONLY, 0o7777))
os.mkdir("masked dir", 0o7777)
say(mode("masked"), mode("masked dir"))
buffer = mmap.mmap(-1, 8192)
buffer.write(b"k" * 8192)
direct = os.open("direct", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
say(os.pwritev(direct, [buffer], 0), os.preadv(direct, [buffer], 4096), open("direct", "rb").read() == b"k" * 8192)
for flag in (os.O_SYNC, os.O_DSYNC):
    fd = os.open("synced", os.O_RDWR | os.O_CREAT | flag)
    say(os.write(fd, b"s" * 5000), os.pread(fd, 3, 4998))
say(outcome(os.open, "f", os.O_RDONLY | os.O_TRUNC) != 0, os.stat("f").st_size)
say(outcome(os.ftruncate, os.open("masked", os.O_RDONLY), 0), outcome(os.write, os.open("masked", os.O_RDONLY), b"x"))
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn what_only_some_filesystems_have_is_refused_by_its_errno() {
    let fixture = Fixture::new();
    let script = r#"
make("f")
fd = os.open("f", os.O_RDWR)
FIEMAP, GETFLAGS, SETFLAGS = 0xC020660B, 0x80086601, 0x40086602
say([outcome(fcntl.ioctl, fd, request, bytes(64)) for request in (FIEMAP, GETFLAGS, SETFLAGS)])
say(outcome(os.setxattr, "f", "system.other", b"x"))
"#;
    assert_eq!(python(&fixture.mnt(), script), "['ENOTSUP', 'ENOTTY', 'ENOTTY']\nENOTSUP\n");
}

#[test]
fn a_mount_without_access_times_leaves_them() {
    let script = r#"
make("f", b"x" * 5000)
os.mkdir("d")
for name in ("f", "d"):
    os.utime(name, ns=(10**9, 10**9))
open("f", "rb").read()
os.listdir("d")
say([os.stat(name).st_atime_ns > 10**9 for name in ("f", "d")])
"#;
    assert_eq!(python(&Fixture::new().mnt(), script), "[True, True]\n");
    assert_eq!(python(&Fixture::with(&["noatime"]).mnt(), script), "[False, False]\n");
}

#[test]
fn a_time_of_birth_is_not_shown() {
    let fixture = Fixture::new();
    let all = rustix::fs::StatxFlags::ALL | rustix::fs::StatxFlags::BTIME;
    let facts = rustix::fs::statx(rustix::fs::CWD, fixture.mnt(), rustix::fs::AtFlags::empty(), all).unwrap();
    assert_eq!(facts.stx_mask & rustix::fs::StatxFlags::BTIME.bits(), 0);
    assert_eq!(fs::metadata(fixture.mnt()).unwrap().blksize(), 4096);
}

#[test]
fn direct_reads_and_writes_take_any_offset_and_length() {
    let fixture = Fixture::new();
    let flags = OFlags::DIRECT | OFlags::RDWR | OFlags::CREATE;
    let file = fs::File::from(open(fixture.file("f"), flags, Mode::RUSR | Mode::WUSR).unwrap());
    file.write_all_at(&[7; 12_345], 100).unwrap();
    let mut read = [0; 5_001];
    file.read_exact_at(&mut read, 7_001).unwrap();
    assert_eq!(read, [7; 5_001]);
    assert_eq!(fs::read(fixture.file("f")).unwrap()[..101], [[0; 100].as_slice(), &[7]].concat());
}
