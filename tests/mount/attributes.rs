//! Extended attributes of every kind, and times.

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::fixture::{Fixture, same_as_beside};

#[test]
fn attributes_of_all_namespaces_are_as_beside() {
    let fixture = Fixture::open_to_all();
    let script = r#"
make("f", b"x", 0o644, (NOBODY, NOBODY))
for name in ("trusted.t", "user.u", "security.foo", "foo.bar", "user.", "system.foo", "user." + "n" * 251):
    say(name[:20], outcome(os.setxattr, "f", name, b"1"), outcome(os.getxattr, "f", name))
nobody = [lambda: sorted(os.listxattr("f")), lambda: os.getxattr("f", "trusted.t"), lambda: os.setxattr("f", "trusted.t", b"2"),
          lambda: os.removexattr("f", "trusted.t"), lambda: os.setxattr("f", "security.foo", b"2"), lambda: os.setxattr("f", "user.n", b"2")]
say(sorted(os.listxattr("f")), [as_user(call) for call in nobody])
say(as_user(lambda: os.setxattr("f", "user.n", b"3"), uid=1234), as_user(lambda: os.getxattr("f", "user.n"), uid=1234))
for flags in (os.XATTR_CREATE, os.XATTR_REPLACE):
    say(outcome(os.setxattr, "f", "user.u", b"2", flags), outcome(os.setxattr, "f", "user.new%d" % flags, b"2", flags))
say(outcome(os.getxattr, "f", "user.absent"), outcome(os.removexattr, "f", "user.absent"))
for size in (0, 1, 255, 256, 257, 1000, 3500, 65536, 65537):
    say(size, outcome(os.setxattr, "f", "user.big", b"v" * size), len(outcome(os.getxattr, "f", "user.big")))
buffer = ctypes.create_string_buffer(4)
say([c("getxattr", b"f", name, buffer, size) for name in (b"user.big", b"user.u", b"user.absent") for size in (0, 1, 4)])
say([c("listxattr", b"f", buffer, size) for size in (0, 4)])
os.symlink("f", "link")
os.mkdir("dir")
os.mkfifo("fifo")
for name in ("link", "dir", "fifo"):
    for attribute in ("user.a", "trusted.a", "security.a"):
        say(name, attribute, outcome(os.setxattr, name, attribute, b"1", follow_symlinks=False),
            outcome(os.getxattr, name, attribute, follow_symlinks=False))
    say(sorted(os.listxattr(name, follow_symlinks=False)), outcome(os.removexattr, name, "trusted.a", follow_symlinks=False))
fd = os.open("gone", os.O_RDWR | os.O_CREAT)
os.unlink("gone")
say(os.setxattr(fd, "user.a", b"1"), os.getxattr(fd, "user.a"), os.listxattr(fd))
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn this_filesystems_own_attributes_answer_by_name_and_are_never_listed() {
    let fixture = Fixture::new();
    std::fs::write(fixture.file("f"), b"x").unwrap();
    let mut value = [0; 200];
    let len = rustix::fs::getxattr(fixture.file("f"), "user.kmsfs.key-id", &mut value).unwrap();
    assert!(value[..len].ends_with(fixture.key.as_bytes()));
    assert_eq!(rustix::fs::listxattr(fixture.file("f"), &mut value), Ok(0));
    let set = rustix::fs::setxattr(fixture.file("f"), "user.kmsfs.key-id", b"x", XattrFlags::empty());
    assert_eq!(set, Err(Errno::PERM));
    assert_eq!(rustix::fs::removexattr(fixture.file("f"), "user.kmsfs.algorithm"), Err(Errno::PERM));
    assert_eq!(rustix::fs::getxattr(fixture.mnt(), "user.kmsfs.key-id", &mut value), Err(Errno::NODATA));
}

#[test]
fn times_are_kept_to_the_nanosecond_before_1970_and_after_2038() {
    let fixture = Fixture::open_to_all();
    let script = r#"
G = 10 ** 9
make("f")
os.symlink("f", "link")
os.mkdir("dir")
for name in ("f", "link", "dir"):
    for time_ns in (0, 1, -1, -G - 1, 2**31 * G + 7, 2**33 * G + 5, -2**31 * G, -2**31 * G - 1, 1234567890123456789):
        answer = outcome(os.utime, name, ns=(time_ns, time_ns), follow_symlinks=False)
        facts = os.lstat(name)
        say(name, time_ns, answer, facts.st_atime_ns, facts.st_mtime_ns)
NOW, OMIT = 2**30 - 1, 2**30 - 2
class Time(ctypes.Structure):
    _fields_ = [("s", ctypes.c_long), ("ns", ctypes.c_long)]
for atime, mtime in ((5, OMIT), (OMIT, 7), (NOW, OMIT), (OMIT, NOW), (OMIT, OMIT), (10**9, 0), (-1, 0)):
    os.utime("f", ns=(1, 2))
    answer = c("utimensat", -100, b"f", ctypes.byref((Time * 2)(Time(0, atime), Time(0, mtime))), 0)
    facts = os.stat("f")
    say(atime, mtime, answer, min(facts.st_atime_ns, G), min(facts.st_mtime_ns, G))
say(as_user(lambda: os.utime("f")), as_user(lambda: os.utime("f", ns=(1, 1))))
os.chmod("f", 0o666)
say(as_user(lambda: os.utime("f")), as_user(lambda: os.utime("f", ns=(1, 1))))
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn every_change_moves_the_times_that_it_should() {
    let fixture = Fixture::open_to_all();
    let script = r#"
make("f", b"content")
os.mkdir("dir")
fd = os.open("f", os.O_RDWR)
def moved(what, name, call):
    os.utime(name, ns=(10**9, 10**9))
    before = os.lstat(name).st_ctime_ns
    time.sleep(0.02)
    call()
    facts = os.lstat(name)
    # The time of access is that of the ciphertext, of which a write may read a part.
    accessed = facts.st_atime_ns > 10**9 if what in ("read", "listing", "chmod") else None
    say(what, accessed, facts.st_mtime_ns > 10**9, facts.st_ctime_ns > before)
moved("read", "f", lambda: os.pread(fd, 3, 0))
moved("write", "f", lambda: os.pwrite(fd, b"w", 0))
moved("write of nothing", "f", lambda: os.write(fd, b""))
moved("fsync", "f", lambda: os.fsync(fd))
moved("truncate", "f", lambda: os.truncate("f", 3))
moved("truncate to the same", "f", lambda: os.truncate("f", 3))
moved("ftruncate to the same", "f", lambda: os.ftruncate(fd, 3))
moved("open with O_TRUNC", "f", lambda: os.close(os.open("f", os.O_WRONLY | os.O_TRUNC)))
moved("and of an empty file", "f", lambda: os.close(os.open("f", os.O_WRONLY | os.O_TRUNC)))
moved("chmod", "f", lambda: os.chmod("f", 0o600))
moved("chown", "f", lambda: os.chown("f", 1, 1))
moved("setxattr", "f", lambda: os.setxattr("f", "user.a", b"1"))
moved("link", "f", lambda: os.link("f", "g"))
moved("unlink", "f", lambda: os.unlink("g"))
moved("listing", "dir", lambda: os.listdir("dir"))
moved("creation", "dir", lambda: make("dir/f"))
moved("change beneath", "dir", lambda: os.truncate("dir/f", 9))
moved("removal", "dir", lambda: os.unlink("dir/f"))
"#;
    same_as_beside(&fixture, script);
}

/// What git keeps of a file is what it was before it was closed.
#[test]
fn no_time_moves_by_closing_or_syncing_a_file() {
    let fixture = Fixture::open_to_all();
    let script = r#"
facts = {}
for number in range(40):
    name = "f%d" % number
    fd = os.open(name, os.O_RDWR | os.O_CREAT)
    os.write(fd, b"x" * (number * 7919))
    if number % 3 == 0:
        os.utime(name, ns=(5, 5))
    facts[name] = os.fstat(fd)
    if number % 2:
        os.fsync(fd)
    os.close(fd)
for wait in (0.0, 1.5):
    time.sleep(wait)
    for name, before in facts.items():
        now = os.stat(name)
        say(name, now.st_mtime_ns == before.st_mtime_ns, now.st_ctime_ns == before.st_ctime_ns)
for name, before in facts.items():
    os.chmod(name, 0o600)
    say(name, os.stat(name).st_ctime_ns > before.st_ctime_ns)
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn counts_of_links_and_blocks_follow() {
    let fixture = Fixture::new();
    let script = r#"
make("f", os.urandom(1 << 20))
os.link("f", "g")
say(os.stat("f").st_nlink, os.stat("g").st_nlink, os.stat("f").st_ino == os.stat("g").st_ino)
os.unlink("f")
say(os.stat("g").st_nlink)
os.makedirs("dir/one")
os.mkdir("dir/two")
say(os.stat("dir").st_nlink, outcome(os.link, "dir", "other"))
os.rmdir("dir/one")
say(os.stat("dir").st_nlink)
os.symlink("g", "link")
say(outcome(os.link, "link", "link2", follow_symlinks=False), os.readlink("link2"), os.lstat("link").st_nlink)
for number in range(2000):
    os.link("g", "dir/%d" % number)
say(os.stat("g").st_nlink)
subprocess.run(["rm", "-r", "dir"])
os.sync()
say(os.stat("g").st_nlink, os.stat("g").st_size, os.stat("g").st_blksize, os.stat("g").st_blocks * 512 // 100000)
"#;
    same_as_beside(&fixture, script);
}
