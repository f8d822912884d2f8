//! A disk without any room left: what takes a key away, from all or from somebody, works all the same.

use std::process::Command;

/// In a mount namespace of its own: a home on a filesystem of 4 MiB that is full to the last block, in the way that `$1` mounts it.
const SCRIPT: &str = r#"
set -eu
cd "$DIRECTORY"
mkdir disk
eval "$1"
export KMSFS_HOME="$PWD/disk/home" TZ=UTC
kmsfs() { timeout -k 5 60 "$KMSFS" "$@"; }
kms() { kmsfs kms "$@" >out 2>&1; }
kmsfs setup --key-file "$PWD/key-file" >/dev/null
member() { sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p"; }
key() { kmsfs kms create-key | member KeyId; }
refused() { if kms "$@"; then echo "$* was done"; exit 1; fi; }
one=$(key); two=$(key)
state() { kmsfs kms describe-key --key-id "$1" | member KeyState; }
fill() { dd if=/dev/zero of="disk/filler$1" bs=4k 2>/dev/null || true; dd if=/dev/zero of="disk/rest$1" bs=1 2>/dev/null || true; }
fill 1
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
    grep "\"eventName\":\"$name\"" disk/home/audit.log | grep -vq errorCode || { cat disk/home/audit.log; exit 1; }
    [ "$(grep -c "\"eventName\":\"$name\"" disk/home/audit.log)" = 1 ]
done
rm disk/filler1 disk/rest1
kms enable-key --key-id "$one" || { cat out; exit 1; }
[ "$(stat -c %s disk/home/reserve)" = 524288 ]
[ $(( $(stat -c %b disk/home/reserve) * 512 )) -ge 524288 ]
kmsfs audit verify >out || { cat out; exit 1; }
echo 'as it should be'
umount disk
"#;

#[track_caller]
fn on_a_full(mount: &str) {
    let temp = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", SCRIPT, "sh", mount])
        .env("DIRECTORY", temp.path())
        .env("KMSFS", env!("CARGO_BIN_EXE_kmsfs"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("as it should be"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_key_can_be_disabled_and_scheduled_for_deletion_on_a_tmpfs_that_is_full() {
    on_a_full("mount -t tmpfs -o size=4m none disk");
}

#[test]
fn a_key_can_be_disabled_and_scheduled_for_deletion_on_an_ext4_that_is_full() {
    on_a_full(
        "truncate -s 8M image; mkfs.ext4 -q -m 0 image; mount -o loop image disk; rmdir disk/lost+found",
    );
}
