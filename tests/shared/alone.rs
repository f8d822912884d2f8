//! Scripts in a mount namespace of their own: what they mount, and fill, nobody else sees.

use std::process::Command;

/// How long a script may take: what hangs must fail the test and not stop it.
const SECONDS: &str = "240";

/// What scripts share: they begin in a directory of their own, and a home lies on the filesystem that is mounted on `disk`.
const WORDS: &str = r#"
set -eu
cd "$DIRECTORY"
mkdir disk
export KMSFS_HOME="$PWD/disk/home" LC_ALL=C TZ=UTC
kmsfs() { timeout -k 5 60 "$KMSFS" "$@"; }
# The text of a member of a JSON answer.
member() { sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p"; }
# Fills the disk to the last byte.
fill() { dd if=/dev/zero of="disk/filler" bs=4k 2>/dev/null || true; dd if=/dev/zero of="disk/rest" bs=1 2>/dev/null || true; }
"#;

/// Runs a script of `sh` with arguments. It says in its last line that all is as it should be, or what is not.
#[track_caller]
pub fn is_as_it_should_be(script: &str, arguments: &[&str]) {
    let temp = tempfile::tempdir().unwrap();
    let script = format!("{WORDS}{script}\necho 'as it should be'\n");
    let output = Command::new("timeout")
        .args(["-k", "5", SECONDS, "unshare", "-m", "sh", "-c", &script, "sh"])
        .args(arguments)
        .env("DIRECTORY", temp.path())
        .env("KMSFS", env!("CARGO_BIN_EXE_kmsfs"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.ends_with("as it should be\n"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
