//! How a mount ends: asked to, in use, by a signal, by the death of its process.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::fixture::{Fixture, errno, is_mounted, kill, said, sh};

/// A process that does something on the mount, says that it has, and goes on until its input ends.
struct Busy(Child);

impl Busy {
    fn with(script: &str, at: &Path) -> Self {
        let script = format!("import os,sys\n{script}\nprint('busy',flush=True)\nsys.stdin.read()");
        let mut command = Command::new("python3");
        command.args(["-c", &script]).arg(at).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "busy\n", "{script}");
        Self(child)
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Maps a file and closes it.
const MAPS: &str = "import ctypes\nlibc=ctypes.CDLL(None)\nfd=os.open(sys.argv[1]+'/a file',os.O_RDONLY)\n\
                    libc.mmap.restype=ctypes.c_void_p\n\
                    assert libc.mmap(None,ctypes.c_size_t(4096),1,1,fd,ctypes.c_long(0))\nos.close(fd)";

fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !happened() {
        assert!(Instant::now() < limit, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn has_ended(fixture: &Fixture) -> bool {
    fixture.ok(&["status"]) == "Nothing is mounted.\n"
}

/// Kills the mount's process, and leaves the dead mount where it is.
fn die(fixture: &Fixture) {
    kill(fixture.daemon());
    until("the mount's process stays", || rustix::fs::statvfs(fixture.mnt()).is_err());
}

#[test]
fn umount_of_a_busy_mount_names_who_uses_it_and_how() {
    let fixture = Fixture::new();
    let mnt = fixture.mnt();
    fs::create_dir(fixture.file("dir")).unwrap();
    fs::write(fixture.file("a file"), [1; 5000]).unwrap();
    let ways = [
        ("f=open(sys.argv[1]+'/a file')", "a file open"),
        ("os.chdir(sys.argv[1]+'/dir')", "its working directory"),
        (MAPS, "a file)"),
        ("f=open(sys.argv[1]+'/gone','w'); os.unlink(sys.argv[1]+'/gone')", "gone (deleted) open"),
    ];
    for (script, how) in ways {
        let busy = Busy::with(script, &mnt);
        let said = fixture.run(&["umount", mnt.to_str().unwrap()]);
        assert_eq!(said.code, 8);
        let who = format!("{} is in use by python3 (process {}, ", mnt.display(), busy.0.id());
        assert!(said.err.contains(&who) && said.err.contains(how), "{how}: {}", said.err);
        assert!(said.err.contains("\nhint: ") && is_mounted(&mnt), "{}", said.err);
        busy.end();
    }
    let inner = fixture.file("dir");
    sh(&format!("mount -t tmpfs inner {}", inner.display()));
    let said = fixture.run(&["umount", mnt.to_str().unwrap()]);
    sh(&format!("umount {}", inner.display()));
    assert!(said.err.contains(&format!("in use by what is mounted on {}", inner.display())), "{}", said.err);
    fixture.umount();
    assert!(!is_mounted(&mnt));
}

#[test]
fn sigterm_and_sigint_unmount_and_leave_nothing_behind() {
    for signal in ["TERM", "INT"] {
        let fixture = Fixture::new();
        fs::write(fixture.file("f"), b"content").unwrap();
        sh(&format!("kill -{signal} {}", fixture.daemon()));
        until("the mount stays", || !is_mounted(&fixture.mnt()) && has_ended(&fixture));
        assert_eq!(fixture.inspect(&fixture.dir().join("f"))["state"], "clean");
    }
}

#[test]
fn a_signal_to_a_busy_mount_detaches_it_and_whoever_uses_it_finishes() {
    for detach in ["kill -TERM $PID", "umount -l $MNT", "fusermount3 -uz $MNT"] {
        let fixture = Fixture::new();
        let mut file =
            File::options().read(true).write(true).create_new(true).open(fixture.file("f")).unwrap();
        file.write_all(b"before ").unwrap();
        sh(&format!("PID={}; MNT={}; {detach}", fixture.daemon(), fixture.mnt().display()));
        until("the mount is not detached", || !is_mounted(&fixture.mnt()));
        file.write_all(b"after").unwrap();
        file.sync_all().unwrap();
        assert!(!has_ended(&fixture), "{detach}: the file is still open");
        drop(file);
        until("the process stays after its last user", || has_ended(&fixture));
        assert_eq!(fixture.inspect(&fixture.dir().join("f"))["state"], "clean");
        fixture.mount(&[]);
        assert_eq!(fs::read(fixture.file("f")).unwrap(), b"before after");
    }
}

#[test]
fn a_mount_whose_process_died_is_taken_away_by_the_next() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), b"content").unwrap();
    let mut open = File::open(fixture.file("f")).unwrap();
    let busy = Busy::with("os.chdir(sys.argv[1])", &fixture.mnt());
    die(&fixture);
    fixture.mount(&[]);
    assert_eq!(fs::read(fixture.file("f")).unwrap(), b"content");
    // Who was there before is not on the new mount.
    assert_eq!(errno(open.read(&mut [0; 1])), libc::ENOTCONN);
    busy.end();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let on_it = mounts.lines().filter(|line| line.split(' ').nth(4) == fixture.mnt().to_str()).count();
    assert_eq!(on_it, 1, "the dead mount is gone, not covered");
    // `umount` takes a dead one away, too, whoever is there.
    let busy = Busy::with("os.chdir(sys.argv[1])", &fixture.mnt());
    die(&fixture);
    fixture.umount();
    assert!(!is_mounted(&fixture.mnt()));
    busy.end();
}

#[test]
fn the_mount_of_another_program_is_left_alone_dead_or_alive() {
    let fixture = Fixture::unmounted();
    let (dir, mnt) = (fixture.dir(), fixture.mnt());
    let (dir, mnt) = (dir.to_str().unwrap(), mnt.to_str().unwrap());
    sh(&format!("mount -t tmpfs other {mnt}"));
    let alive = fixture.run(&["mount", dir, mnt]);
    let umount = fixture.run(&["umount", mnt]);
    sh(&format!("umount {mnt}"));
    assert!(alive.code == 8 && alive.err.contains("something is mounted there"), "{}", alive.err);
    assert!(umount.code == 8 && umount.err.contains("no kmsfs is mounted on"), "{}", umount.err);
    // A mount of FUSE without a process behind it from the beginning.
    let fuse = "import ctypes,os,sys\nfd=os.open('/dev/fuse',os.O_RDWR)\nlibc=ctypes.CDLL(None)\n\
                options=f'fd={fd},rootmode=40000,user_id=0,group_id=0'.encode()\n\
                assert libc.mount(b'other',sys.argv[1].encode(),b'fuse.other',0,options)==0";
    assert_eq!(said(Command::new("python3").args(["-c", fuse, mnt])).code, 0);
    let dead = fixture.run(&["mount", dir, mnt]);
    sh(&format!("umount -l {mnt}"));
    assert!(dead.code == 8 && dead.err.contains("another program, whose process died"), "{}", dead.err);
}

#[test]
fn the_limit_of_a_shell_on_the_size_of_files_does_not_end_its_mount() {
    let powerless = "setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource";
    // One that can be lifted, and one that cannot.
    for (limit, start, most) in [("-S -f", "", 3 << 20), ("-f", powerless, 1 << 20)] {
        let fixture = Fixture::unmounted();
        sh(&format!(
            "export KMSFS_HOME={}; ulimit {limit} 1024; {start} {} mount {} {}",
            fixture.path("home").display(),
            env!("CARGO_BIN_EXE_kmsfs"),
            fixture.dir().display(),
            fixture.mnt().display()
        ));
        let mut file = OpenOptions::new().write(true).create_new(true).open(fixture.file("f")).unwrap();
        let written = (0..48).try_for_each(|_| file.write_all(&[1; 1 << 16]));
        if most < 3 << 20 {
            assert_eq!(errno(written), libc::EFBIG);
        } else {
            written.unwrap();
        }
        let size = fs::metadata(fixture.file("f")).unwrap().len();
        assert!(size <= most && size > 500_000, "{size}");
        assert!(fs::read(fixture.file("f")).unwrap().iter().all(|byte| *byte == 1));
    }
}
