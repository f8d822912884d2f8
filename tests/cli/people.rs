//! `kmsfs keys`, `status`, `inspect` and the help texts.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::fixture::{Fixture, said};

fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn keys_are_a_table_for_people_and_json_for_programs() {
    let fixture = Fixture::new();
    assert!(fixture.ok(&["keys"]).contains("kmsfs kms create-key"));
    assert_eq!(fixture.ok(&["keys", "--json"]), "[]\n");
    let main = fixture.new_key("alias/main");
    fixture.kms(&["create-alias", "--alias-name", "alias/second", "--target-key-id", &main]);
    let leaving = fixture.new_key("alias/leaving");
    fixture.kms(&["rotate-key-on-demand", "--key-id", &main]);
    fixture.kms(&["schedule-key-deletion", "--key-id", &leaving]);
    let listed: Value = serde_json::from_str(&fixture.ok(&["keys", "--json"])).unwrap();
    let [first, second] = listed.as_array().unwrap().as_slice() else { panic!("{listed}") };
    let expected = "aliases keyId arn state origin spec usage manager multiRegionKeyType primaryRegion replicaRegions version versions created \
                    nextRotation deletionDate expiryDate \
                    description files bytes lastUse lastRefusal usedWhilePendingDeletion";
    assert_eq!(members(first), expected.split(' ').collect::<Vec<_>>());
    assert_eq!(first["aliases"], json!(["alias/main", "alias/second"]));
    assert_eq!(first["keyId"], main);
    assert_eq!(first["arn"], format!("arn:aws:kms:us-east-1:000000000000:key/{main}"));
    assert_eq!((&first["state"], &first["origin"]), (&json!("Enabled"), &json!("AWS_KMS")));
    assert_eq!((&first["version"], &first["deletionDate"]), (&json!(2), &Value::Null));
    assert_eq!(second["state"], "PendingDeletion");
    assert!(second["deletionDate"].as_str().unwrap().ends_with('Z'));
    let table = fixture.ok(&["keys"]);
    let lines: Vec<_> = table.lines().collect();
    let head = "ALIAS KEY ID STATE ORIGIN VERSION NEXT ROTATION ENDS FILES BYTES LAST USED";
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>().join(" "), head);
    assert!(lines[1].starts_with(&format!("alias/main,alias/second  {main}  Enabled ")), "{table}");
    let column = lines[0].find("STATE").unwrap();
    assert!(lines[2][column..].starts_with("PendingDeletion"), "{table}");
}

#[test]
fn status_lists_nothing_where_nothing_is_mounted() {
    let fixture = Fixture::new();
    assert_eq!(fixture.ok(&["status"]), "Nothing is mounted.\n");
    assert_eq!(fixture.ok(&["status", "--json"]), "[]\n");
}

#[test]
fn status_and_inspect_tell_of_a_mount_and_its_files() {
    let fixture = Fixture::with_volume();
    fixture.ok(&["mount", "dir", "mnt"]);
    let written = fs::write(fixture.path("mnt/file"), "twelve bytes");
    let mounts = fixture.run(&["status", "--json"]).out;
    let modes: Vec<_> = ["home", "home/run"]
        .into_iter()
        .flat_map(|dir| fs::read_dir(fixture.path(dir)).unwrap())
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), entry.metadata().unwrap().mode()))
        .collect();
    let inspected = fixture.run(&["inspect", "--json", "mnt/file"]).out;
    let text = fixture.run(&["inspect", "mnt/file"]).out;
    fixture.ok(&["umount", "mnt"]);
    written.unwrap();
    for (name, mode) in &modes {
        let expected = if mode & libc::S_IFMT == libc::S_IFDIR { 0o700 } else { 0o600 };
        assert_eq!(mode & 0o7777, expected, "{name:?}");
    }
    assert!(modes.iter().any(|(_, mode)| mode & libc::S_IFMT == libc::S_IFSOCK), "{modes:?}");
    let mounts: Value = serde_json::from_str(&mounts).unwrap();
    let expected = ["volumeId", "dir", "mountpoint", "pid", "keys", "openFiles", "openByKey", "readOnly"];
    assert_eq!(members(&mounts[0]), expected);
    assert_eq!(mounts[0]["mountpoint"], fixture.path("mnt").to_str().unwrap());
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(
        members(&inspected),
        [
            "ciphertext",
            "volume",
            "path",
            "fileId",
            "key",
            "keyState",
            "aliases",
            "keyVersion",
            "currentKeyVersion",
            "keyMaterialId",
            "format",
            "suite",
            "size",
            "ciphertextSize",
            "state",
            "sequence"
        ]
    );
    assert_eq!(inspected["path"], "file");
    assert_eq!(inspected["ciphertext"], fixture.path("dir/file").to_str().unwrap());
    assert_eq!((&inspected["size"], &inspected["keyState"]), (&json!(12), &json!("Enabled")));
    assert_eq!(inspected["aliases"], json!(["alias/main"]));
    assert!(text.contains("12 bytes") && text.contains("alias/main"), "{text}");
    let again: Value = serde_json::from_str(&fixture.ok(&["inspect", "--json", "dir/file"])).unwrap();
    assert_eq!(again["keyMaterialId"], inspected["keyMaterialId"], "the ciphertext tells it too");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let fixture = Fixture::new();
    (0..3).for_each(|_| drop(fixture.kms(&["create-key"])));
    for command in ["keys", "kms list-keys", "kms help", "--help"] {
        let script = format!("set -o pipefail; {} {command} | head -c 0", env!("CARGO_BIN_EXE_kmsfs"));
        let mut shell = Command::new("bash");
        let said = said(shell.args(["-c", &script]).env("KMSFS_HOME", fixture.path("home")));
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{command}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let fixture = Fixture::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let said = said(fixture.command(&["keys"]).stdout(full));
    said.fails(1, &["standard output"]);
}

#[test]
fn help_says_what_each_command_does() {
    let fixture = Fixture::bare();
    let help = fixture.ok(&["--help"]);
    for command in
        ["setup", "slot", "unlock", "home", "kms", "init", "mount", "umount", "keys", "inspect", "status"]
    {
        let line = help.lines().find(|line| line.trim().starts_with(&format!("{command} ")));
        assert!(line.is_some_and(|line| line.trim().len() > command.len() + 10), "{command}: {help}");
        let own = fixture.ok(&[command, "--help"]);
        assert!(own.contains(&format!("Usage: kmsfs {command}")), "{own}");
        if command != "kms" {
            assert!(own.contains("--home"), "{own}");
        }
    }
    for code in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "252", "254", "255"] {
        assert!(help.lines().any(|line| line.trim().starts_with(&format!("{code}  "))), "{code}: {help}");
    }
    for variable in ["KMSFS_HOME", "KMSFS_KEY_FILE", "KMSFS_PASSPHRASE_FILE", "KMSFS_LOG"] {
        assert!(help.contains(variable), "{variable}: {help}");
    }
    for arguments in [
        ["slot", "list"],
        ["slot", "add"],
        ["slot", "remove"],
        ["slot", "change"],
        ["home", "backup"],
        ["home", "restore"],
    ] {
        let own = fixture.ok(&[arguments.as_slice(), &["--help"]].concat());
        assert!(own.contains(&format!("Usage: kmsfs {}", arguments.join(" "))), "{own}");
    }
    assert!(fixture.ok(&["mount", "--help"]).contains("allow_other"));
    assert!(fixture.ok(&["setup", "--help"]).contains("--simulated-clock"));
    assert!(fixture.ok(&["--version"]).starts_with("kmsfs "));
}
