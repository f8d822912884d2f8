//! Locks, across processes of one mount, and what tells of changes.

use crate::fixture::{Fixture, same_as_beside, sh};

#[test]
fn flock_excludes_across_processes_and_ends_with_the_descriptor() {
    let fixture = Fixture::new();
    let script = r#"
NB = fcntl.LOCK_NB
make("f")
mine = os.open("f", os.O_RDWR)
fcntl.flock(mine, fcntl.LOCK_EX)
def attempt(how):
    fd = os.open("f", os.O_RDWR)
    return fcntl.flock(fd, how | NB)
say(as_user(lambda: attempt(fcntl.LOCK_SH), 0, 0), as_user(lambda: attempt(fcntl.LOCK_EX), 0, 0))
fcntl.flock(mine, fcntl.LOCK_SH)
say(as_user(lambda: attempt(fcntl.LOCK_SH), 0, 0), as_user(lambda: attempt(fcntl.LOCK_EX), 0, 0))
shared = os.dup(mine)
os.close(mine)
say(as_user(lambda: attempt(fcntl.LOCK_EX), 0, 0))
os.close(shared)
say(as_user(lambda: attempt(fcntl.LOCK_EX), 0, 0))
# Who waits is let in when the holder is killed.
holder = subprocess.Popen(["flock", "f", "sleep", "60"])
while subprocess.run(["flock", "-n", "f", "true"]).returncode == 0:
    time.sleep(0.01)
waiter = subprocess.Popen(["flock", "f", "echo", "let in"], stdout=subprocess.PIPE)
time.sleep(0.1)
say(waiter.poll())
subprocess.run(["pkill", "-P", str(holder.pid)])
say(waiter.communicate()[0], holder.wait() != 0)
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn record_locks_exclude_wait_and_find_deadlocks() {
    let fixture = Fixture::new();
    let script = r#"
EX, SH, UN, NB = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN, fcntl.LOCK_NB
make("f", b"x" * 1000)
fd = os.open("f", os.O_RDWR)
fcntl.lockf(fd, EX, 100, 0)
def attempt(how, length, start):
    return fcntl.lockf(os.open("f", os.O_RDWR), how | NB, length, start)
other = lambda *arguments: as_user(lambda: attempt(*arguments), 0, 0)
say(other(EX, 10, 50), other(SH, 10, 99), other(EX, 10, 100), other(EX, 0, 0))
def holder():
    lock = fcntl.fcntl(os.open("f", os.O_RDWR), fcntl.F_GETLK, __import__("struct").pack("hhqqi4x", fcntl.F_WRLCK, 0, 10, 10, 0))
    kind, _, start, length, pid = __import__("struct").unpack("hhqqi4x", lock)
    return kind == fcntl.F_WRLCK, start, length, pid == os.getppid()
say(as_user(holder, 0, 0))
# Any descriptor of the file that is closed gives up the process's locks.
os.close(os.open("f", os.O_RDONLY))
say(other(EX, 0, 0))
# Two that wait for each other: the second is told.
def first():
    fd = os.open("f", os.O_RDWR)
    fcntl.lockf(fd, EX, 1, 1)
    os.write(ready, b"r")
    fcntl.lockf(fd, EX, 1, 0)
fd = os.open("f", os.O_RDWR)
fcntl.lockf(fd, EX, 1, 0)
wait, ready = os.pipe()
child = os.fork()
if child == 0:
    say(outcome(first))
    os._exit(0)
os.read(wait, 1)
time.sleep(0.2)
say(outcome(fcntl.lockf, fd, EX, 1, 1))
fcntl.lockf(fd, UN, 1, 0)
os.waitpid(child, 0)
# Those of an open file description, which outlive other descriptors.
OFD_SETLK, flock = 37, lambda kind: __import__("struct").pack("hhqqi4x", kind, 0, 0, 0, 0)
one, two = os.open("f", os.O_RDWR), os.open("f", os.O_RDWR)
say(outcome(fcntl.fcntl, one, OFD_SETLK, flock(fcntl.F_WRLCK)) == flock(fcntl.F_WRLCK))
os.close(os.open("f", os.O_RDWR))
say(outcome(fcntl.fcntl, two, OFD_SETLK, flock(fcntl.F_WRLCK)), other(SH, 0, 0))
os.close(one)
say(outcome(fcntl.fcntl, two, OFD_SETLK, flock(fcntl.F_WRLCK)) == flock(fcntl.F_WRLCK))
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn a_lock_is_one_of_the_mount_and_not_of_the_ciphertext() {
    let fixture = Fixture::new();
    std::fs::write(fixture.file("f"), b"x").unwrap();
    let (inside, beneath) = (fixture.file("f"), fixture.dir().join("f"));
    let (inside, beneath) = (inside.display(), beneath.display());
    sh(&format!("flock -n {inside} flock -n {beneath} true; ! flock -n {inside} flock -n {inside} true"));
}

#[test]
fn leases_are_given_and_broken() {
    let fixture = Fixture::new();
    let script = r#"
broken = []
signal.signal(signal.SIGIO, lambda *_: broken.append(1))
make("f")
fd = os.open("f", os.O_RDONLY)
say(outcome(fcntl.fcntl, fd, fcntl.F_SETLEASE, fcntl.F_RDLCK), fcntl.fcntl(fd, fcntl.F_GETLEASE))
say(outcome(os.open, "f", os.O_WRONLY | os.O_NONBLOCK), len(broken))
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn inotify_tells_of_changes_through_the_mount() {
    let fixture = Fixture::new();
    let script = r#"
struct = __import__("struct")
watch = libc.inotify_init()
say(libc.inotify_add_watch(watch, b".", 0x3c7))
make("f", b"content")
os.chmod("f", 0o600)
os.rename("f", "g")
os.unlink("g")
os.mkdir("d")
events, at = os.read(watch, 65536), 0
while at < len(events):
    _, mask, _, length = struct.unpack_from("iIII", events, at)
    say(hex(mask), events[at + 16 : at + 16 + length].rstrip(b"\0"))
    at += 16 + length
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn several_processes_that_append_never_overlap() {
    let fixture = Fixture::new();
    let script = r#"
def append(who):
    fd = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for number in range(500):
        os.write(fd, ("%d %d %s\n" % (who, number, "x" * (who * 37 + number % 90))).encode())
    os._exit(0)
children = []
for who in range(4):
    child = os.fork()
    if child == 0:
        append(who)
    children.append(child)
[os.waitpid(child, 0) for child in children]
lines = open("log").read().splitlines()
say(len(lines))
for who in range(4):
    own = [line.split() for line in lines if line.startswith("%d " % who)]
    say(who, [int(words[1]) for words in own] == list(range(500)),
        all(len(words[2:] and words[2]) == who * 37 + int(words[1]) % 90 for words in own if len(words) > 2))
fd = os.open("log", os.O_RDWR | os.O_APPEND)
size = os.fstat(fd).st_size
say(os.pwrite(fd, b"at the end", 0), os.fstat(fd).st_size - size, os.pread(fd, 10, size))
"#;
    same_as_beside(&fixture, script);
}
