//! `kmsfs setup`, and where a home is looked for.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::Value;

use crate::fixture::{Fixture, said};

#[test]
fn a_key_file_that_is_absent_is_made_for_its_owner_alone() {
    let fixture = Fixture::bare();
    let out = fixture.ok(&["setup", "--key-file", "key-file"]);
    assert!(out.contains("keep a copy"), "{out}");
    let facts = fs::metadata(fixture.path("key-file")).unwrap();
    assert_eq!((facts.mode() & 0o7777, facts.len()), (0o600, 32));
    assert_eq!(fixture.names(), ["home", "key-file"]);
    assert_eq!(fs::metadata(fixture.path("home")).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn a_key_file_that_is_there_is_used_and_left_as_it_is() {
    let fixture = Fixture::bare();
    fs::write(fixture.path("key-file"), b"sixteen or more bytes").unwrap();
    fs::set_permissions(fixture.path("key-file"), fs::Permissions::from_mode(0o400)).unwrap();
    fixture.ok(&["setup", "--key-file", "key-file"]);
    assert_eq!(fs::read(fixture.path("key-file")).unwrap(), b"sixteen or more bytes");
    fixture.kms(&["create-key"]);
    fs::remove_file(fixture.path("key-file")).unwrap();
    fs::write(fixture.path("key-file"), b"sixteen or more Bytes").unwrap();
    fs::set_permissions(fixture.path("key-file"), fs::Permissions::from_mode(0o400)).unwrap();
    fixture.fails(&["keys"], 4, &["key-file", "does not unlock"]);
}

#[test]
fn later_commands_unlock_by_themselves_from_any_directory() {
    let fixture = Fixture::new();
    let mut command = fixture.command(&["keys"]);
    assert_eq!(said(command.current_dir("/")).code, 0);
}

#[test]
fn account_and_region_are_in_every_name() {
    let fixture = Fixture::bare();
    fixture.ok(&["setup", "--key-file", "k", "--account", "123456789012", "--region", "eu-central-1"]);
    let metadata = &fixture.kms(&["create-key", "--region", "eu-central-1"])["KeyMetadata"];
    let arn = metadata["Arn"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:kms:eu-central-1:123456789012:key/"), "{arn}");
    assert_eq!(metadata["AWSAccountId"], "123456789012");
    assert_eq!(fixture.kms(&["list-keys"])["Keys"][0]["KeyArn"], arn);
    assert_eq!(fixture.kms(&["list-keys", "--region", "us-east-1"])["Keys"], serde_json::json!([]));
}

#[test]
fn a_home_is_where_the_flag_says_then_the_environment_then_xdg_then_home() {
    let fixture = Fixture::bare();
    let path = |name: &str| fixture.path(name);
    let place = |flag: Option<&str>, kmsfs: Option<&str>, xdg: Option<&str>, home: Option<&str>| {
        let mut arguments = vec!["status"];
        let flag = flag.map(|flag| path(flag).into_os_string().into_string().unwrap());
        if let Some(flag) = &flag {
            arguments.extend(["--home", flag]);
        }
        let mut command = fixture.without_home(&arguments);
        for (name, value) in [("KMSFS_HOME", kmsfs), ("XDG_DATA_HOME", xdg), ("HOME", home)] {
            if let Some(value) = value {
                command.env(name, if value.is_empty() { value.into() } else { path(value) });
            }
        }
        let said = said(&mut command);
        said.fails(3, &["home"]);
        said.err
    };
    let all = Some("kmsfs-home");
    assert!(place(Some("flag"), all, Some("xdg"), Some("user")).contains("/flag\n"));
    assert!(place(None, all, Some("xdg"), Some("user")).contains("/kmsfs-home\n"));
    assert!(place(None, None, Some("xdg"), Some("user")).contains("/xdg/kmsfs\n"));
    assert!(place(None, None, None, Some("user")).contains("/user/.local/share/kmsfs\n"));
    assert!(place(None, Some(""), Some("xdg"), None).contains("/xdg/kmsfs\n"), "empty is not set");
    assert!(place(None, None, None, None).contains("--home"));
}

#[test]
fn the_default_home_is_made_with_the_directories_above_it() {
    let fixture = Fixture::bare();
    let mut command = fixture.without_home(&["setup", "--key-file", "key-file"]);
    command.env("XDG_DATA_HOME", fixture.path("a/b"));
    assert_eq!(said(&mut command).code, 0);
    assert!(fixture.path("a/b/kmsfs/keys.db").is_file());
    let before_the_command = fixture.path("a/b/kmsfs");
    let before_the_command = before_the_command.to_str().unwrap();
    for arguments in [
        ["--home", before_the_command, "kms", "list-keys"],
        ["kms", "--home", before_the_command, "list-keys"],
        ["kms", "list-keys", "--home", before_the_command],
    ] {
        assert_eq!(said(&mut fixture.without_home(&arguments)).code, 0, "{arguments:?}");
    }
}

#[test]
fn a_simulated_clock_is_asked_for() {
    let fixture = Fixture::bare();
    fixture.ok(&["setup", "--key-file", "key-file", "--simulated-clock"]);
    assert_eq!(
        serde_json::from_str::<Value>(&fixture.ok(&["keys", "--json"])).unwrap(),
        Value::Array(vec![])
    );
}
