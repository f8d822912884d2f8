//! What the machine lacks: no FUSE device, no helper to mount with, no room. Each is made real in a mount namespace of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use crate::fixture::{Fixture, Said, said};

const NOBODY: u32 = 65_534;

impl Fixture {
    /// Runs a shell script in a private mount namespace, where `kmsfs` is the program and the directory is the test's.
    fn in_namespace(&self, script: &str) -> Said {
        let bin = self.path("bin");
        if !bin.exists() {
            fs::create_dir(&bin).unwrap();
            fs::copy(env!("CARGO_BIN_EXE_kmsfs"), bin.join("kmsfs")).unwrap();
        }
        let script = format!("set -eu; mount --make-rprivate /; PATH={}:$PATH; {script}", bin.display());
        let mut command = Command::new("timeout");
        command.args(["-k", "5", "60", "unshare", "-m", "bash", "-c", &script]);
        command.env("KMSFS_HOME", self.path("home")).env_remove("KMSFS_LOG").current_dir(self.temp.path());
        said(&mut command)
    }

    /// Everything in the directory, and the directory, is nobody's.
    fn give_to_nobody(&self) {
        let all = said(Command::new("chown").args(["-R", "65534:65534"]).arg(self.temp.path()));
        assert_eq!(all.code, 0, "{all:?}");
        fs::set_permissions(self.temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(self.temp.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// A `/dev` of its own, with what a program needs.
const OWN_DEV: &str = "mkdir -p own-dev; mount -t tmpfs none own-dev; \
     cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom own-dev/";

const AS_NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

#[test]
fn a_machine_without_a_fuse_device_is_told_how_to_get_one() {
    let fixture = Fixture::with_volume();
    let said = fixture.in_namespace(&format!("{OWN_DEV}; mount --bind own-dev /dev; kmsfs mount dir mnt"));
    let hint = said.fails(9, &["/dev/fuse", "does not exist"]);
    assert!(hint.contains("modprobe fuse") && hint.contains("--device /dev/fuse"), "{hint}");
}

#[test]
fn a_fuse_device_that_is_none_is_refused_before_the_mount_seems_to_work() {
    let fixture = Fixture::with_volume();
    let said = fixture.in_namespace("mount --bind /dev/null /dev/fuse; kmsfs mount dir mnt");
    said.fails(9, &["mnt"]);
    fixture.ok(&["status"]);
}

#[test]
fn a_fuse_device_that_the_user_may_not_open_is_named() {
    let fixture = Fixture::with_volume();
    fixture.give_to_nobody();
    let script = format!(
        "{OWN_DEV}; mknod -m 600 own-dev/fuse c 10 229; mount --bind own-dev /dev; \
         exec {AS_NOBODY} kmsfs mount dir mnt"
    );
    let hint = fixture.in_namespace(&script).fails(9, &["/dev/fuse", "Permission denied"]);
    assert!(hint.contains("chmod 666 /dev/fuse"), "{hint}");
}

#[test]
fn an_ordinary_user_without_fusermount3_is_told_what_to_install() {
    let fixture = Fixture::with_volume();
    fixture.give_to_nobody();
    let script = format!(
        "{OWN_DEV}; mknod -m 666 own-dev/fuse c 10 229; mount --bind own-dev /dev; mkdir none; \
         exec {AS_NOBODY} env PATH=$PWD/none $PWD/bin/kmsfs mount dir mnt"
    );
    let hint = fixture.in_namespace(&script).fails(9, &["fusermount3"]);
    assert!(hint.contains("fuse3"), "{hint}");
}

#[test]
fn a_home_of_somebody_else_is_told_apart_from_no_home() {
    let fixture = Fixture::new();
    fs::set_permissions(fixture.temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let said = fixture.in_namespace(&format!("exec {AS_NOBODY} kmsfs keys"));
    let hint = said.fails(3, &["home/keys.db", "Permission denied"]);
    assert!(!hint.contains("setup"), "{hint}");
}

#[test]
fn an_ordinary_user_makes_and_uses_a_home_of_their_own() {
    let fixture = Fixture::bare();
    fixture.give_to_nobody();
    let script =
        format!("exec {AS_NOBODY} bash -c 'kmsfs setup --key-file k && kmsfs kms create-key && kmsfs keys'");
    let said = fixture.in_namespace(&script);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert!(said.out.contains("AWS_KMS"), "{}", said.out);
}

#[test]
fn a_home_cannot_take_the_place_of_a_mount_and_says_where_it_can_be() {
    let fixture = Fixture::bare();
    fs::create_dir(fixture.path("volume")).unwrap();
    let said = fixture.in_namespace(
        "mount -t tmpfs none volume; code=0; kmsfs --home volume setup --key-file key-file || code=$?; \
         ls -A volume; kmsfs --home volume/home setup --key-file key-file > made.txt; exit $code",
    );
    let hint = said.fails(3, &["volume"]);
    assert!(hint.contains("a directory in it"), "{hint}");
    assert_eq!(fixture.names(), ["bin", "key-file", "made.txt", "volume"]);
}

#[test]
fn a_setup_without_room_leaves_nothing() {
    let fixture = Fixture::bare();
    fs::create_dir(fixture.path("small")).unwrap();
    let said = fixture.in_namespace(
        "mount -t tmpfs -o size=32k none small; code=0; \
         kmsfs --home small/a/home setup --key-file small/key-file || code=$?; ls -A small; exit $code",
    );
    said.fails(3, &["home"]);
}

#[test]
fn a_command_on_a_full_disk_is_refused_and_works_again_with_room() {
    let fixture = Fixture::bare();
    fs::create_dir(fixture.path("small")).unwrap();
    let said = fixture.in_namespace(
        "export KMSFS_HOME=small/home; mount -t tmpfs -o size=512k none small; \
         kmsfs setup --key-file small/key-file > setup.txt; kmsfs kms create-key > first.json; \
         kmsfs keys --json > before.json; dd if=/dev/zero of=small/filler bs=4k 2> /dev/null || true; \
         code=0; kmsfs kms create-key || code=$?; rm small/filler; \
         kmsfs keys --json | cmp - before.json; kmsfs kms create-key > second.json; exit $code",
    );
    let hint = said.fails(3, &["small/home", "no storage space"]);
    assert!(hint.contains("df "), "{hint}");
}

#[test]
fn a_change_that_runs_out_of_room_anywhere_is_made_wholly_or_not_at_all() {
    let fixture = Fixture::bare();
    fs::create_dir(fixture.path("small")).unwrap();
    // From no page to more than a change takes; what was acknowledged is there, and nothing else.
    let said = fixture.in_namespace(
        "export KMSFS_HOME=small/home; mount -t tmpfs -o size=1m none small; \
         kmsfs setup --key-file small/key-file > setup.txt; made=0; failed=0; \
         for free in $(seq 0 40); do \
             dd if=/dev/zero of=small/filler bs=4k 2> /dev/null || true; \
             truncate -s -$((free * 4096)) small/filler; \
             if kmsfs kms create-key > out.json 2> err.txt; then made=$((made + 1)); \
             else failed=$((failed + 1)); \
                 grep -q '^kmsfs: ' err.txt && grep -q '^hint: ' err.txt && test ! -s out.json || { cat err.txt; exit 1; }; \
             fi; \
             rm small/filler; \
             found=$(kmsfs keys --json | grep -c keyId || true); \
             test $found = $made || { echo \"$free pages: $found keys, $made acknowledged\"; cat err.txt; exit 1; }; \
         done; echo made $made, failed $failed; test $made -gt 0 -a $failed -gt 0",
    );
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
}
