//! `kmsfs slot` and `kmsfs unlock` for scripts.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::fixture::{Fixture, Said, said};
use crate::terminal::code_in;

const CHEAP: [&str; 4] = ["--argon2-memory", "8", "--argon2-iterations", "1"];

fn with<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &CHEAP].concat()
}

/// A command whose standard input holds `text`.
fn given(fixture: &Fixture, arguments: &[&str], text: &str) -> Said {
    let mut child = fixture.command(arguments);
    let child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn slots(fixture: &Fixture) -> Value {
    serde_json::from_str(&fixture.ok(&["slot", "list", "--json"])).unwrap()
}

fn kinds(fixture: &Fixture) -> Vec<(i64, String)> {
    let slots = slots(fixture);
    let told = |slot: &Value| (slot["slot"].as_i64().unwrap(), slot["kind"].as_str().unwrap().to_owned());
    slots.as_array().unwrap().iter().map(told).collect()
}

#[test]
fn setup_prints_a_recovery_code_once_and_stores_it_nowhere() {
    let fixture = Fixture::bare();
    let out = fixture.ok(&["setup", "--key-file", "key-file"]);
    let lines: Vec<_> = out.lines().collect();
    assert!(
        lines.len() == 3 && lines[0].starts_with("The home is ") && lines[1].contains("key-file"),
        "{out}"
    );
    let code = code_in(&out);
    let bare = code.replace('-', "");
    for name in ["keys.db", "audit.log", "keys.db-wal"] {
        let bytes = fs::read(fixture.path("home").join(name)).unwrap_or_default();
        for form in [code.as_str(), bare.as_str()] {
            assert!(!bytes.windows(form.len()).any(|window| window == form.as_bytes()), "{name}");
        }
    }
    fs::remove_file(fixture.path("key-file")).unwrap();
    fixture.secret("code", &code);
    let out = fixture.ok(&["unlock", "--recovery-code-file", "code", "--key-file", "new-key"]);
    assert!(out.contains("Slot 3") && out.contains("new-key"), "{out}");
    assert_eq!(fs::metadata(fixture.path("new-key")).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(
        kinds(&fixture),
        [(1, "key-file".into()), (2, "recovery-code".into()), (3, "key-file".into())]
    );
}

#[test]
fn setup_without_a_recovery_code_says_what_that_means_and_has_none() {
    let fixture = Fixture::bare();
    let out = fixture.ok(&["setup", "--key-file", "key-file", "--no-recovery-code"]);
    assert!(out.ends_with("Without it nothing can be decrypted.\n"), "{out}");
    assert_eq!(kinds(&fixture), [(1, "key-file".into())]);
    fixture.secret("code", "0000-0000-0000-0000-0000-0000-0000");
    fixture.fails(
        &["unlock", "--recovery-code-file", "code", "--key-file", "k"],
        4,
        &["no slot", "recovery code"],
    );
    assert!(!fixture.path("k").exists());
}

#[test]
fn a_recovery_code_that_could_not_be_shown_is_no_loss() {
    let fixture = Fixture::bare();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let said = said(fixture.command(&["setup", "--key-file", "key-file"]).stdout(full));
    let hint = said.fails(1, &["standard output"]);
    assert!(hint.contains("slot add --recovery-code"), "{hint}");
    code_in(&fixture.ok(&["slot", "change", "2"]));
}

#[test]
fn a_passphrase_comes_from_a_file_a_pipe_or_standard_input() {
    for (name, line_end) in [("-", "\n"), ("/dev/stdin", ""), ("file", "\r\n")] {
        let fixture = Fixture::bare();
        let passphrase = format!("correct horse{line_end}");
        fixture.secret("file", &passphrase);
        let said = given(&fixture, &with(&["setup", "--passphrase-file", name]), &passphrase);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{name}: {}", said.out);
        fixture.secret("other", "correct horse");
        let mut command = fixture.command(&["keys"]);
        assert_eq!(self::said(command.env("KMSFS_PASSPHRASE_FILE", "other")).code, 0, "{name}");
    }
    let fixture = Fixture::bare();
    let program = env!("CARGO_BIN_EXE_kmsfs");
    let script = format!(
        "{program} setup --argon2-memory 8 --argon2-iterations 1 --passphrase-file <(printf 'correct horse\\n') > /dev/null && \
         KMSFS_PASSPHRASE_FILE=<(printf 'correct horse') {program} keys"
    );
    let mut shell = std::process::Command::new("bash");
    let said = said(shell.args(["-c", &script]).env("KMSFS_HOME", fixture.path("home")));
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
}

#[test]
fn one_variable_serves_a_script_from_setup_on() {
    let fixture = Fixture::bare();
    fixture.secret("passphrase", "correct horse\n");
    let run = |arguments: &[&str]| {
        let said = said(fixture.command(arguments).env("KMSFS_PASSPHRASE_FILE", "passphrase"));
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{arguments:?}: {}", said.out);
        said.out
    };
    assert!(run(&with(&["setup"])).contains("A passphrase unlocks it"));
    run(&["kms", "create-key"]);
    run(&["slot", "add", "--key-file", "key-file"]);
    run(&["home", "backup", "backup"]);
    run(&["--home", "other", "home", "restore", "backup"]);
    let other = Fixture::bare();
    other.secret("passphrase", "correct horse");
    let mut setup = other.command(&["setup", "--key-file", "key-file", "--no-recovery-code"]);
    assert_eq!(said(setup.env("KMSFS_PASSPHRASE_FILE", "passphrase")).code, 0);
    assert_eq!(kinds(&other), [(1, "key-file".into())], "a key file is what was asked for");
}

#[test]
fn a_passphrase_file_that_cannot_serve_is_named_and_makes_nothing() {
    let fixture = Fixture::bare();
    fixture.secret("empty", "\n");
    fixture.secret("long", &"x".repeat(5000));
    fixture.secret("open", "correct horse");
    fs::set_permissions(fixture.path("open"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(fixture.path("dir")).unwrap();
    let names = fixture.names();
    for (file, code, why) in [
        ("empty", 4, "it is empty"),
        ("long", 4, "more than 4096 bytes"),
        ("open", 4, "mode 0640"),
        ("dir", 4, "directory"),
        ("absent", 4, "no such file"),
        ("/dev/null", 4, "it is empty"),
    ] {
        let hint = fixture.fails(&with(&["setup", "--passphrase-file", file]), code, &[file, why]);
        assert!(file != "open" || hint == "chmod 600 open", "{hint}");
    }
    assert_eq!(fixture.names(), names);
}

#[test]
fn slots_are_listed_added_changed_and_removed() {
    let fixture = Fixture::bare();
    fixture.ok(&["setup", "--key-file", "key-file", "--no-recovery-code"]);
    fixture.secret("passphrase", "correct horse");
    let out = fixture.ok(&with(&["slot", "add", "--passphrase-file", "passphrase"]));
    assert_eq!(out, "Slot 2 unlocks the home with the passphrase (8 MiB, 1 iteration, 4 lanes).\n");
    let code = code_in(&fixture.ok(&["slot", "add", "--recovery-code"]));
    fixture.ok(&["slot", "add", "--key-file", "second"]);
    let listed = slots(&fixture);
    assert_eq!(listed[1]["argon2"], json!({"memoryMib": 8, "iterations": 1, "lanes": 4}));
    assert_eq!(listed[0]["keyFile"], fixture.path("key-file").to_str().unwrap());
    let table = fixture.ok(&["slot", "list"]);
    assert!(table.lines().count() == 5 && table.contains("Argon2id, 8 MiB, 1 iteration, 4 lanes"), "{table}");

    let other = code_in(&fixture.ok(&["slot", "change", "3"]));
    fixture.secret("code", &code);
    fixture.fails(&["unlock", "--recovery-code-file", "code", "--key-file", "k"], 4, &["does not unlock"]);
    fixture.secret("code", &other);
    fixture.ok(&["unlock", "--recovery-code-file", "code", "--key-file", "third"]);

    let out = fixture.ok(&["slot", "remove", "1"]);
    assert!(out.contains("is left where it is") && out.contains("still opens"), "{out}");
    assert!(fixture.path("key-file").exists());
    let names: Vec<_> = kinds(&fixture).into_iter().map(|(number, _)| number).collect();
    assert_eq!(names, [2, 3, 4, 5]);
    fixture.ok(&["slot", "change", "4", "--key-file", "fourth"]);
    assert_eq!(slots(&fixture)[2]["keyFile"], fixture.path("fourth").to_str().unwrap());
    for number in ["4", "2"] {
        fixture.ok(&["slot", "remove", number]);
    }
    let out = fixture.ok(&["slot", "remove", "5"]);
    assert!(out.contains("Only a recovery code unlocks the home now"), "{out}");
    fixture.fails(&["slot", "list"], 4, &["only a recovery code"]);
}

#[test]
fn the_last_slot_and_a_slot_that_is_not_there_are_refused_with_a_code_of_their_own() {
    let fixture = Fixture::bare();
    fixture.ok(&["setup", "--key-file", "key-file", "--no-recovery-code"]);
    let hint = fixture.fails(&["slot", "remove", "1"], 12, &["slot 1", "only one"]);
    assert!(hint.contains("slot add") && hint.contains("slot change 1"), "{hint}");
    fixture.fails(&["slot", "remove", "7"], 12, &["no slot 7"]);
    fixture.fails(&["slot", "change", "7", "--key-file", "k"], 12, &["no slot 7"]);
    assert!(!fixture.path("k").exists());
    fixture.ok(&["keys"]);
}

#[test]
fn a_cost_alone_keeps_the_passphrase_and_a_passphrase_gets_a_new_one() {
    let fixture = Fixture::bare();
    fixture.secret("passphrase", "correct horse");
    fixture.ok(&with(&["setup", "--passphrase-file", "passphrase", "--no-recovery-code"]));
    let run =
        |file: &str, arguments: &[&str]| said(fixture.command(arguments).env("KMSFS_PASSPHRASE_FILE", file));
    let cost = ["--argon2-memory", "16", "--argon2-iterations", "2", "--argon2-lanes", "1"];
    let changed = run("passphrase", &[["slot", "change", "1"].as_slice(), &cost].concat());
    assert!(changed.code == 0 && changed.out.contains("16 MiB, 2 iterations, 1 lane)"), "{changed:?}");
    assert_eq!(run("passphrase", &["keys"]).code, 0);
    fixture.secret("new", "another horse");
    let changed = run("passphrase", &with(&["slot", "change", "1", "--passphrase-file", "new"]));
    assert!(changed.code == 0 && changed.out.contains("still opens with the old secret"), "{changed:?}");
    run("passphrase", &["keys"]).fails(4, &["does not unlock"]);
    assert_eq!(run("new", &["keys"]).code, 0);
}

#[test]
fn a_cost_out_of_bounds_or_without_a_passphrase_is_refused() {
    let fixture = Fixture::new();
    fixture.secret("passphrase", "correct horse");
    for (flag, value, why) in [
        ("--argon2-memory", "7", "8 MiB"),
        ("--argon2-memory", "100000", "4096 MiB"),
        ("--argon2-iterations", "0", "1 to 10000"),
        ("--argon2-iterations", "4294967295", "1 to 10000"),
        ("--argon2-lanes", "65", "1 to 64"),
    ] {
        fixture.fails(&["slot", "add", "--passphrase-file", "passphrase", flag, value], 2, &[why]);
    }
    for arguments in [
        ["slot", "add", "--key-file", "k", "--argon2-lanes", "1"].as_slice(),
        &["slot", "add", "--recovery-code", "--argon2-lanes", "1"],
        &["setup", "--home", "other", "--key-file", "k", "--argon2-lanes", "1"],
    ] {
        fixture.fails(arguments, 2, &["cost"]);
    }
    fixture.fails(&["slot", "add"], 2, &["what the new slot is for"]);
    fixture.fails(&["slot", "change", "1"], 2, &["key file"]);
    fixture.fails(&["unlock"], 2, &["what to unlock with"]);
    fixture.fails(&["slot", "add", "--key-file", "k", "--passphrase"], 2, &["--passphrase"]);
    assert_eq!(kinds(&fixture).len(), 2);
    assert!(!fixture.path("k").exists() && !fixture.path("other").exists());
}

#[test]
fn a_key_file_that_is_elsewhere_is_named_by_the_environment() {
    let fixture = Fixture::new();
    fs::rename(fixture.path("key-file"), fixture.path("moved")).unwrap();
    let hint = fixture.fails(&["keys"], 4, &["key-file", "missing"]);
    assert!(hint.contains("KMSFS_KEY_FILE") && hint.contains("unlock --recovery-code"), "{hint}");
    let run = |file: &str, arguments: &[&str]| said(fixture.command(arguments).env("KMSFS_KEY_FILE", file));
    assert_eq!(run("moved", &["keys"]).code, 0);
    run("absent", &["keys"]).fails(4, &["absent", "missing"]);
    assert_eq!(run("moved", &["slot", "change", "1", "--key-file", "moved"]).code, 0);
    fixture.ok(&["keys"]);
}

#[test]
fn no_secret_is_told_in_an_error_or_a_log() {
    let fixture = Fixture::bare();
    fixture.secret("passphrase", "correct horse");
    let out = fixture.ok(&with(&["setup", "--passphrase-file", "passphrase"]));
    let code = code_in(&out);
    fixture.secret("code", &code);
    fixture.secret("slip", &format!("{}U", &code[..33]));
    for arguments in [
        ["keys"].as_slice(),
        &with(&["slot", "add", "--passphrase-file", "passphrase"]),
        &["slot", "list"],
        &["home", "backup", "backup"],
        &with(&["unlock", "--recovery-code-file", "code", "--passphrase-file", "passphrase"]),
        &["unlock", "--recovery-code-file", "slip", "--key-file", "k"],
    ] {
        let mut command = fixture.command(arguments);
        let said = said(command.env("KMSFS_LOG", "trace").env("KMSFS_PASSPHRASE_FILE", "passphrase"));
        for secret in ["horse", &code[..9], &code[25..]] {
            assert!(!said.err.contains(secret) && !said.out.contains(secret), "{arguments:?}: {said:?}");
        }
    }
    let log = fs::read_to_string(fixture.path("home/audit.log")).unwrap();
    assert!(!log.contains("horse") && !log.contains(&code[..9]), "{log}");
}
