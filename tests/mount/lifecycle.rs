//! Mounting, unmounting, and everything that can be wrong with either.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::fixture::{Fixture, errno, kill, said, sh};

#[test]
fn everything_is_committed_when_umount_returns() {
    let fixture = Fixture::new();
    for number in 0..50 {
        fs::write(fixture.file(&format!("f{number}")), [1; 5_000]).unwrap();
    }
    fixture.umount();
    for number in 0..50 {
        assert_eq!(fixture.inspect(&fixture.dir().join(format!("f{number}")))["state"], "clean");
    }
    assert_eq!(fixture.ok(&["status"]), "Nothing is mounted.\n");
}

#[test]
fn plain_umount_and_fusermount_end_the_mount() {
    let fixture = Fixture::new();
    let mnt = fixture.mnt();
    for program in ["umount", "fusermount3 -u"] {
        fs::write(fixture.file("f"), program).unwrap();
        sh(&format!("{program} {}", mnt.display()));
        let until = Instant::now() + Duration::from_secs(10);
        while fixture.ok(&["status"]) != "Nothing is mounted.\n" {
            assert!(Instant::now() < until, "the mount's process stays after {program}");
            std::thread::sleep(Duration::from_millis(10));
        }
        fixture.mount(&[]);
        assert_eq!(fs::read_to_string(fixture.file("f")).unwrap(), program);
    }
}

#[test]
fn mount_8_mounts_and_umount_8_unmounts() {
    let fixture = Fixture::unmounted();
    let (dir, mnt, home) = (fixture.dir(), fixture.mnt(), fixture.path("home"));
    let bin = fixture.path("bin");
    fs::create_dir(&bin).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_kmsfs"), bin.join("kmsfs")).unwrap();
    let (dir, mnt, home, bin) = (dir.display(), mnt.display(), home.display(), bin.display());
    // As mount(8) reads it in /etc/fstab: it hands no environment on, and the program must be where the system's are.
    let options = format!("home={home},nofail,noatime,allow_other");
    let script = format!(
        "set -e; mount --bind {bin} /usr/local/sbin; mount -t fuse.kmsfs -o {options} {dir} {mnt}
         echo content > {mnt}/f; umount {mnt}"
    );
    sh(&format!("unshare --mount bash -c '{script}'"));
    let until = Instant::now() + Duration::from_secs(10);
    while fixture.ok(&["status"]) != "Nothing is mounted.\n" {
        assert!(Instant::now() < until, "the mount's process stays");
        std::thread::sleep(Duration::from_millis(10));
    }
    fixture.mount(&[]);
    assert_eq!(fs::read(fixture.file("f")).unwrap(), b"content\n");
}

#[test]
fn a_volume_is_mounted_once_for_writing() {
    let fixture = Fixture::new();
    let other = fixture.path("other");
    fs::create_dir(&other).unwrap();
    let said = fixture.run(&["mount", fixture.dir().to_str().unwrap(), other.to_str().unwrap()]);
    assert_eq!(said.code, 7);
    assert!(said.err.contains("is in use already (process "), "{}", said.err);
    assert!(said.err.contains(fixture.mnt().to_str().unwrap()), "{}", said.err);
}

#[test]
fn a_read_only_mount_reads_and_changes_nothing() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), b"content").unwrap();
    fixture.umount();
    fixture.mount(&["ro"]);
    assert_eq!(fs::read(fixture.file("f")).unwrap(), b"content");
    assert_eq!(errno(OpenOptions::new().write(true).open(fixture.file("f"))), libc::EROFS);
    assert_eq!(errno(File::create(fixture.file("g"))), libc::EROFS);
    assert_eq!(errno(fs::remove_file(fixture.file("f"))), libc::EROFS);
    assert_eq!(errno(fs::create_dir(fixture.file("d"))), libc::EROFS);
}

#[test]
fn wrong_mount_points_and_volumes_are_named() {
    let fixture = Fixture::unmounted();
    let (dir, mnt) = (fixture.dir(), fixture.mnt());
    let (dir, mnt) = (dir.to_str().unwrap(), mnt.to_str().unwrap());
    let refused = |dir: &str, mnt: &str, code: i32, what: &str| {
        let said = fixture.run(&["mount", dir, mnt]);
        assert_eq!(said.code, code, "{}", said.err);
        assert!(said.err.starts_with("kmsfs: ") && said.err.contains(what), "{}", said.err);
        assert_eq!(said.err.trim_end().lines().count(), 2, "one line and one hint: {}", said.err);
        assert!(said.err.contains("\nhint: "), "{}", said.err);
    };
    let absent = fixture.path("absent");
    refused(dir, absent.to_str().unwrap(), 8, "does not exist");
    let file = fixture.path("file");
    fs::write(&file, b"x").unwrap();
    refused(dir, file.to_str().unwrap(), 8, "is not a directory");
    let full = fixture.path("full");
    fs::create_dir_all(full.join("x")).unwrap();
    refused(dir, full.to_str().unwrap(), 8, "is not empty");
    refused(dir, dir, 8, "lie within each other");
    refused(full.to_str().unwrap(), mnt, 7, "is not a kmsfs volume");
    fixture.mount(&[]);
    refused(dir, mnt, 8, "is busy");
    let said = fixture.run(&["mount", "-o", "cheese", dir, mnt]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("\"cheese\""));
    let said = fixture.run(&["umount", full.to_str().unwrap()]);
    assert_eq!(said.code, 8);
    assert!(said.err.contains("no kmsfs is mounted on"));
}

#[test]
fn an_ordinary_user_mounts_by_fusermount() {
    let temp = tempfile::tempdir().unwrap();
    let at = temp.path().to_str().unwrap();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_kmsfs"), temp.path().join("kmsfs")).unwrap();
    let script = "set -eu; cd $1; mkdir work; cd work; export KMSFS_HOME=$1/work/home; k=$1/kmsfs; mkdir mnt
         trap 'fusermount3 -uq mnt || true' EXIT
         $k setup --key-file kf > /dev/null
         id=$($k kms create-key | grep '\"KeyId\"' | cut -d'\"' -f4); $k init dir --key $id > /dev/null
         $k mount dir mnt; echo content > mnt/f; chmod 600 mnt/f; test \"$(cat mnt/f)\" = content
         test \"$(stat -c %u mnt/f)\" = \"$(id -u)\"
         $k kms disable-key --key-id $id; ! cat mnt/f 2> err; grep -q 'Required key not available' err
         $k kms enable-key --key-id $id; test \"$(cat mnt/f)\" = content
         mkdir mnt/listed; touch mnt/listed/a mnt/listed/b; sleep 1.1; chmod 444 mnt/listed; test \"$(ls mnt/listed)\" = \"$(printf 'a\\nb')\"
         ! cat mnt/listed/a 2> err; chmod 755 mnt/listed; cat mnt/listed/a mnt/listed/b
         ! $k mount -o allow_other dir mnt 2> err
         (cd mnt; ! $k umount ../mnt 2> ../err); grep -q 'in use by .*, its working directory' err
         kill -KILL $($k status --json | grep '\"pid\"' | tr -dc 0-9); while ls mnt > /dev/null 2>&1; do sleep 0.05; done
         $k mount dir mnt; test \"$(cat mnt/f)\" = content
         $k umount mnt; ! mountpoint -q mnt; echo done";
    sh(&format!("chown nobody {at}"));
    // A namespace of its own has /dev/fuse with its usual mode, whatever the machine's is; and with it goes what a failure leaves mounted.
    let outer = "set -eu; mknod $1/fuse c 10 229; chmod 666 $1/fuse; mount --bind $1/fuse /dev/fuse
         exec timeout 120 setpriv --reuid=nobody --regid=nogroup --clear-groups bash -c \"$2\" bash $1";
    let said = said(Command::new("unshare").args(["--mount", "bash", "-c", outer, "bash", at, script]));
    assert_eq!((said.code, said.out.as_str()), (0, "done\n"), "{}", said.err);
}

#[test]
fn other_users_are_let_in_by_allow_other_and_own_what_they_make() {
    let fixture = Fixture::with(&["allow_other"]);
    fs::set_permissions(fixture.temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(fixture.mnt(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(fixture.file("private"), b"x").unwrap();
    fs::set_permissions(fixture.file("private"), fs::Permissions::from_mode(0o600)).unwrap();
    let mnt = fixture.mnt();
    let mnt = mnt.display();
    let as_nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups";
    let script = format!(
        "umask 022; echo mine > {mnt}/mine; mkdir {mnt}/d; ln -s x {mnt}/d/l; stat -c '%U %a' {mnt}/mine {mnt}/d {mnt}/d/l
         ! cat {mnt}/private 2>/dev/null"
    );
    let out = sh(&format!("{as_nobody} bash -euc '{}'", script.replace('\'', "'\\''")));
    assert_eq!(out, "nobody 644\nnobody 755\nnobody 777\n");
}

#[test]
fn a_panic_ends_the_mount_and_leaves_nobody_waiting() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), b"content").unwrap();
    // A time that the decoder of requests cannot represent.
    let script = "import os,sys\nos.utime(sys.argv[1], ns=(0, -(2**63) * 10**9 + 1))";
    let mut child = Command::new("python3").args(["-c", script]).arg(fixture.file("f")).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            kill(fixture.daemon());
            panic!("the request is never answered");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if fs::metadata(fixture.file("f")).is_err() {
        fixture.umount();
        fixture.mount(&[]);
    }
    assert_eq!(fs::read(fixture.file("f")).unwrap(), b"content");
}
