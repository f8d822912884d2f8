//! The power is lost under a real filesystem: ext4 is told to stop writing at once, journal included (`EXT4_IOC_SHUTDOWN`), and what it
//! has on disk is mounted again.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::fixture::{Fixture, python, sh};

/// A volume on a disk of its own.
struct Disk(Fixture);

impl Disk {
    fn new() -> Self {
        let fixture = Fixture::unmounted();
        let (dir, disk) = (fixture.dir(), fixture.path("disk"));
        let (dir, disk) = (dir.display(), disk.display());
        sh(&format!(
            "mkdir {disk}.d; truncate -s 64M {disk}; mkfs.ext4 -q {disk}; mount -o loop {disk} {disk}.d
             cp -a {dir}/.kmsfs {disk}.d/; mount --move {disk}.d {dir}; sync -f {dir}"
        ));
        fixture.mount(&[]);
        Self(fixture)
    }

    /// Takes the power away, and mounts what is left.
    fn lose_power(&self) {
        let (dir, disk) = (self.0.dir(), self.0.path("disk"));
        let (dir, disk) = (dir.display(), disk.display());
        // _IOR('X', 125, __u32) of EXT4_GOING_FLAGS_NOLOGFLUSH
        sh(&format!(
            "python3 -c 'import fcntl, os, struct
fcntl.ioctl(os.open(\"{dir}\", os.O_RDONLY), 0x8004587d, struct.pack(\"I\", 2))'"
        ));
        self.0.kill();
        // Another mount namespace may hold on to it a little longer; as long as it does, this would be what has stopped.
        sh(&format!(
            "umount {dir}; while [[ -n $(losetup -j {disk}) ]]; do sleep 0.05; done; mount -o loop {disk} {dir}"
        ));
        self.0.mount(&[]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let (mnt, dir) = (self.0.mnt(), self.0.dir());
        sh(&format!("umount -l {} {} || true", mnt.display(), dir.display()));
    }
}

#[test]
fn an_fsync_is_of_the_attributes_too_and_of_the_name() {
    let disk = Disk::new();
    python(
        &disk.0.mnt(),
        r#"
fd = os.open("made", os.O_RDWR | os.O_CREAT, 0o600)
os.write(fd, b"x" * 1000)
os.fsync(fd)
os.fchmod(fd, 0o640)
os.setxattr(fd, "user.a", b"1")
os.utime(fd, ns=(10**18, 10**18 + 7))
os.rename("made", "named")
os.fsync(fd)
"#,
    );
    disk.lose_power();
    let facts = "stat -c '%a %.9Y' named; getfattr --absolute-names --only-values -n user.a named";
    let said = sh(&format!("cd {}/work; {facts}", disk.0.mnt().display()));
    assert_eq!(said, "640 1000000000.000000007\n1");
}

#[test]
fn what_was_synced_and_closed_is_there_whatever_of_the_close_is_on_the_disk() {
    let disk = Disk::new();
    for header in [false, true] {
        let name = format!("f-{header}");
        python(
            &disk.0.mnt(),
            &format!(
                r#"
name = "{name}"
fd = os.open(name, os.O_RDWR | os.O_CREAT)
os.write(fd, b"a" * 700000)
os.fsync(fd)
os.pwrite(fd, b"b" * 300000, 200000)
os.fsync(fd)
os.close(fd)
"#
            ),
        );
        let ciphertext = disk.0.dir().join("work").join(&name);
        // close(2) does not wait for the commit.
        let until = Instant::now() + Duration::from_secs(20);
        while disk.0.inspect(&ciphertext)["state"] == "dirty" {
            assert!(Instant::now() < until, "a closed file is never committed");
            thread::sleep(Duration::from_millis(10));
        }
        if header {
            // The kernel writes pages back when it likes to: page 0 first.
            let script = format!(
                "import ctypes, os
libc = ctypes.CDLL(None)
call = libc.sync_file_range
call.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_long, ctypes.c_uint]
assert call(os.open(\"{}\", os.O_RDWR), 0, 4096, 7) == 0",
                ciphertext.display()
            );
            sh(&format!("python3 -c '{script}'"));
        }
        disk.lose_power();
        let read = fs::read(disk.0.file(&format!("work/{name}"))).unwrap();
        let expected = [vec![b'a'; 200_000], vec![b'b'; 300_000], vec![b'a'; 200_000]].concat();
        assert!(read == expected, "{name}");
        fs::remove_dir_all(disk.0.file("work")).unwrap();
    }
}
