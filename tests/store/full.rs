//! A disk without any room left: what takes a key away, from all or from somebody, works all the same.

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::thread;

use kmsfs::kms::Operation;
use serde_json::json;
use tempfile::TempDir;

use crate::alone::is_as_it_should_be;
use crate::fixture::{Fixture, new_key, try_call};

/// A filesystem of 6 MiB, which goes also when the test fails.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "none"]).arg(disk.0.path()).status();
        assert!(mounted.unwrap().success());
        disk
    }

    fn fill(&self) {
        let mut file = File::create(self.0.path().join("filler")).unwrap();
        for piece in [4096, 1] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Each handle has a connection of its own, as a process has.
#[test]
fn keys_that_several_take_away_at_once_on_a_disk_that_is_full_are_all_taken_away() {
    const HANDLES: usize = 4;
    const KEYS: usize = 4;
    let disk = Disk::new();
    let fixture = Fixture { temp: tempfile::tempdir_in(disk.0.path()).unwrap() };
    let homes: Vec<_> = (0..HANDLES)
        .map(|handle| if handle == 0 { fixture.setup().unwrap() } else { fixture.open() })
        .collect();
    let keys: Vec<Vec<String>> = (0..HANDLES)
        .map(|handle| (0..KEYS).map(|key| new_key(&homes[0], "", &format!("alias/{handle}-{key}"))).collect())
        .collect();
    disk.fill();
    thread::scope(|scope| {
        for (home, keys) in homes.iter().zip(&keys) {
            scope.spawn(move || {
                for key in keys {
                    try_call(home, Operation::DisableKey, json!({"KeyId": key})).unwrap();
                }
            });
        }
    });
    let ring = homes[0].keyring().unwrap();
    assert!(ring.keys().all(|key| key.record.state.name() == "Disabled"));
}

/// A home on a filesystem of 4 MiB that is full to the last block, in the way that `$1` mounts it.
const SCRIPT: &str = r#"
eval "$1"
kms() { kmsfs kms "$@" >out 2>&1; }
kmsfs setup --key-file "$PWD/key-file" >/dev/null
key() { kmsfs kms create-key | member KeyId; }
refused() { if kms "$@"; then echo "$* was done"; exit 1; fi; }
one=$(key); two=$(key)
state() { kmsfs kms describe-key --key-id "$1" | member KeyState; }
fill
# Nobody has the database open: the index of its log has to be made.
[ "$(state "$one")" = Enabled ]
refused tag-resource --key-id "$one" --tags TagKey=a,TagValue=b
grep -q 'storage space\|is full' out || { cat out; exit 1; }
# Who is to lose a key by its policy loses it.
kms put-key-policy --key-id "$two" --policy '{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "kms:*", "Resource": "*"},
    {"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::000000000000:user/mallory"}, "Action": "kms:Decrypt", "Resource": "*"}
]}' || { cat out; exit 1; }
kmsfs kms get-key-policy --key-id "$two" | grep -q mallory || { echo 'the policy was not put'; exit 1; }
kms disable-key --key-id "$one" || { cat out; exit 1; }
[ "$(state "$one")" = Disabled ]
# What was left of it is filled by others meanwhile; what is kept is there again nevertheless, piece by piece.
kms schedule-key-deletion --key-id "$two" --pending-window-in-days 7 || { cat out; exit 1; }
[ "$(state "$two")" = PendingDeletion ]
# The space is not for what gives keys back.
refused enable-key --key-id "$one"
[ "$(state "$one")" = Disabled ]
for name in PutKeyPolicy DisableKey ScheduleKeyDeletion; do
    ! grep "\"eventName\":\"$name\"" disk/home/audit.log | grep -q errorCode || { cat disk/home/audit.log; exit 1; }
    [ "$(grep -c "\"eventName\":\"$name\"" disk/home/audit.log)" = 1 ]
done
rm disk/filler disk/rest
kms enable-key --key-id "$one" || { cat out; exit 1; }
[ "$(stat -c %s disk/home/reserve)" = 524288 ]
[ $(( $(stat -c %b disk/home/reserve) * 512 )) -ge 524288 ]
kmsfs audit verify >out || { cat out; exit 1; }
umount disk
"#;

#[test]
fn a_key_can_be_disabled_and_scheduled_for_deletion_on_a_tmpfs_that_is_full() {
    is_as_it_should_be(SCRIPT, &["mount -t tmpfs -o size=4m none disk"]);
}

#[test]
fn a_key_can_be_disabled_and_scheduled_for_deletion_on_an_ext4_that_is_full() {
    let mount =
        "truncate -s 8M image; mkfs.ext4 -q -m 0 image; mount -o loop image disk; rmdir disk/lost+found";
    is_as_it_should_be(SCRIPT, &[mount]);
}
