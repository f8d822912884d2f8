//! Trees as deep, and directories as full, as programs make them.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;

use kmsfs::fs::{Caller, Filesystem, Options, ROOT};
use kmsfs::store::Home;
use kmsfs::volume::Volume;

use crate::fixture::{Fixture, python, same_as_beside, sh};

const ME: Caller = Caller { uid: 0, gid: 0, pid: 1 };

/// Goes to `sys.argv[1]` and `sys.argv[2]` levels down, and runs what `sys.argv[3]` says there.
const DOWN: &str = "import os,sys\nos.chdir(sys.argv[1])\nfor n in range(int(sys.argv[2])):\n    \
                    os.path.isdir('d') or os.mkdir('d')\n    os.chdir('d')\nexec(sys.argv[3])";

#[test]
fn the_depth_of_a_tree_costs_neither_stack_nor_descriptors() {
    let fixture = Fixture::unmounted();
    let (home, dir) = (fixture.path("home"), fixture.dir());
    let deep = move || {
        let home = Home::open(&home).unwrap();
        let volume = Volume::open(&dir, &*home.authenticator()).unwrap();
        let fs = Filesystem::new(volume, home.data_keys(), home.authenticator(), Options::default()).unwrap();
        let mut inodes = vec![ROOT];
        for _ in 0..10_000 {
            let made = fs.mkdir(*inodes.last().unwrap(), OsStr::new("d"), 0o755, ME).unwrap();
            inodes.push(made.value.ino);
        }
        let (answer, handle) = fs.create(inodes[10_000], OsStr::new("f"), 0o644, ME).unwrap();
        fs.release(handle).unwrap();
        fs.forget(answer.value.ino, 1);
        drop(answer);
        // The upper half was given up meanwhile, and is found again; then the lower half from there.
        assert_eq!(fs.lookup(inodes[4_000], OsStr::new("d")).unwrap().value.ino, inodes[4_001]);
        assert!(fs.lookup(inodes[10_000], OsStr::new("f")).is_ok());
        // As the kernel forgets a tree: from its top, while what lies beneath is still known.
        inodes[1..].iter().for_each(|ino| fs.forget(*ino, 1));
    };
    let outcome = thread::Builder::new().stack_size(256 * 1024).spawn(deep).unwrap().join();
    // Who removes the fixture goes down by recursion.
    sh(&format!("rm -r {}/d", fixture.dir().display()));
    outcome.unwrap();
}

#[test]
fn a_file_deeper_than_a_path_can_say_is_written_found_and_recovered() {
    let fixture = Fixture::new();
    let mnt = fixture.mnt();
    let at = |script: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", DOWN]).arg(&mnt).args(["2500", script]);
        command
    };
    let write =
        "f=open('f','w'); f.write('deep'*2000); f.flush(); print('written',flush=True); sys.stdin.read()";
    let mut writer = at(write).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(writer.stdout.as_mut().unwrap()), &mut said)
        .unwrap();
    assert_eq!(said, "written\n");
    fixture.kill();
    drop(writer.stdin.take());
    writer.wait().unwrap();
    fixture.mount(&[]);
    let read = "assert open('f').read() == 'deep'*2000; os.rename('f','g'); assert os.listdir('.') == ['g']";
    assert!(at(read).status().unwrap().success());
    sh(&format!("mv {0}/d {0}/moved; mkdir {0}/top; mv {0}/moved {0}/top/d; rm -r {0}/top", mnt.display()));
    assert_eq!(fs::read_dir(&mnt).unwrap().count(), 0);
}

#[test]
fn a_directory_of_100000_entries_is_listed_whole_and_once_also_from_the_middle() {
    let fixture = Fixture::new();
    // Names are in the clear: what was made beneath is there.
    let make = "for number in range(100000):\n    os.symlink('x', 'entry-%06d' % number)";
    python(&fixture.dir(), make);
    let script = r#"
os.chdir("../many")
names = set("entry-%06d" % number for number in range(100000))
listed = os.listdir(".")
say(len(listed), set(listed) == names, subprocess.run("ls -f | wc -l", shell=True, capture_output=True).stdout)
class Entry(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_ulong), ("off", ctypes.c_long), ("len", ctypes.c_ushort), ("kind", ctypes.c_ubyte), ("name", ctypes.c_char * 256)]
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long
stream = ctypes.c_void_p(libc.opendir(b"."))
def following():
    entry = libc.readdir(stream)
    return entry and ctypes.cast(entry, ctypes.POINTER(Entry)).contents.name
first = [following() for _ in range(30000)]
middle = libc.telldir(stream)
rest = [following() for _ in range(70002)]
say(following(), len(set(first + rest)))
libc.seekdir(stream, ctypes.c_long(middle))
say([following() for _ in range(70002)] == rest)
libc.rewinddir(stream)
say([following() for _ in range(30000)] == first)
# What is there all the time is listed once, whatever goes and comes meanwhile.
libc.rewinddir(stream)
seen, gone = [], set()
while name := following():
    seen.append(name)
    if len(seen) % 40 == 0:
        for other in (seen[-1], b"entry-%06d" % (len(seen) * 7 % 100000)):
            if other.startswith(b"entry") and other not in gone:
                os.unlink(other)
                gone.add(other)
        os.symlink("x", "new-%d" % len(seen))
stayed = [name for name in seen if name.startswith(b"entry") and name not in gone]
say(len(stayed) == len(set(stayed)) == 100000 - len(gone), len(gone) > 4000)
"#;
    fs::rename(fixture.file("work"), fixture.file("many")).unwrap();
    let said = python(&fixture.mnt(), script);
    let expected = "100000 True b'100002\\n'\nNone 100002\nTrue\nTrue\nTrue True\n";
    assert_eq!(said, expected);
}

#[test]
fn names_are_any_255_bytes() {
    let fixture = Fixture::new();
    let script = r#"
names = [b"n" * 255, b"\xff\xfe\x80", b"new\nline", b"-rf", b" ", b"...", "\u00e9".encode(), "e\u0301".encode(), b"\\", b"a" * 254 + b"\xc3"]
for name in names + [b"n" * 256, b"\xff" * 256, b"."]:
    say(name[:9], outcome(make, name), outcome(os.link, name, name[:-1] + b"L"), outcome(os.mkdir, name + b"d"))
say(sorted(os.listdir(b".")))
for length in (1, 4095, 4096):
    say(length, outcome(os.symlink, "s" * length, "link%d" % length), len(outcome(os.readlink, "link%d" % length)))
os.makedirs("/".join(["d" * 200] * 19))
say(outcome(make, "/".join(["d" * 200] * 19 + ["f" * 200])), outcome(make, "/".join(["d" * 200] * 19 + ["f" * 255 + "/" + "g" * 40])))
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn a_removed_directory_that_somebody_is_in_goes_on() {
    let fixture = Fixture::new();
    let script = r#"
os.mkdir("dir")
os.chdir("dir")
os.rmdir("../dir")
say(os.listdir("."), outcome(make, "f"), outcome(os.mkdir, "d"), outcome(os.getcwd), os.stat(".").st_nlink)
"#;
    same_as_beside(&fixture, script);
}
