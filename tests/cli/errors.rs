//! Each thing that can be wrong is named in one line, with what to do next and an exit code of its own; nothing half-made stays.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use rusqlite::Connection;

use crate::fixture::{Fixture, said};

#[test]
fn no_home() {
    let fixture = Fixture::bare();
    for arguments in [
        ["keys"].as_slice(),
        &["status"],
        &["kms", "list-keys"],
        &["init", "dir", "--key", "alias/a"],
        &["mount", "dir", "mnt"],
        &["inspect", "file"],
    ] {
        let hint = fixture.fails(arguments, 3, &["no home", fixture.path("home").to_str().unwrap()]);
        assert!(hint.contains("setup --key-file"), "{hint}");
    }
    assert!(fixture.names().is_empty());
}

#[test]
fn a_home_or_something_else_is_there_already() {
    let fixture = Fixture::new();
    fixture.fails(&["setup", "--key-file", "other"], 3, &["home", "already"]);
    fs::create_dir(fixture.path("full")).unwrap();
    fs::write(fixture.path("full/file"), "").unwrap();
    fixture.fails(&["--home", "full", "setup", "--key-file", "other"], 3, &["full", "not empty"]);
    fixture.fails(&["--home", "key-file", "setup", "--key-file", "other"], 3, &["key-file"]);
    fixture.fails(&["--home", "key-file/home", "setup", "--key-file", "other"], 3, &["key-file"]);
    assert_eq!(fixture.names(), ["full", "home", "key-file"], "no other key file was made");
}

#[test]
fn an_account_or_region_that_cannot_be() {
    let fixture = Fixture::bare();
    for account in ["1", "12345678901x", "1234567890123", "", "١٢٣٤٥٦٧٨٩٠١٢"] {
        fixture.fails(&["setup", "--key-file", "k", "--account", account], 2, &["account", "12 digits"]);
    }
    for region in ["", "US", "a b", "eu/west"] {
        fixture.fails(&["setup", "--key-file", "k", "--region", region], 2, &["region"]);
    }
    assert!(fixture.names().is_empty());
}

#[test]
fn a_key_file_that_cannot_serve_a_new_home() {
    let fixture = Fixture::bare();
    let write = |name: &str, len: usize, mode: u32| {
        fs::write(fixture.path(name), vec![7; len]).unwrap();
        fs::set_permissions(fixture.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    write("short", 15, 0o600);
    write("long", 65_537, 0o600);
    write("open", 32, 0o640);
    write("foreign", 32, 0o600);
    std::os::unix::fs::chown(fixture.path("foreign"), Some(65_534), None).unwrap();
    fs::create_dir(fixture.path("directory")).unwrap();
    symlink("nowhere", fixture.path("dangling")).unwrap();
    let names = fixture.names();
    for (key_file, why) in [
        ("short", "less than 16 bytes"),
        ("long", "more than 64 KiB"),
        ("open", "open to others (mode 0640)"),
        ("foreign", "another user (uid 65534)"),
        ("directory", "not a regular file"),
        ("dangling", "missing"),
        ("/dev/null", "not a regular file"),
    ] {
        fixture.fails(&["setup", "--key-file", key_file], 4, &[key_file, why]);
    }
    let hint = fixture.fails(&["setup", "--key-file", "absent/key-file"], 3, &["absent/key-file"]);
    assert_eq!(hint, "mkdir -p absent");
    assert_eq!(fixture.names(), names);
}

#[test]
fn a_key_file_that_does_not_unlock() {
    let fixture = Fixture::new();
    let key_file = fixture.path("key-file");
    let name = key_file.to_str().unwrap();
    let right = fs::read(&key_file).unwrap();
    let write = |bytes: &[u8], mode: u32| {
        fs::write(&key_file, bytes).unwrap();
        fs::set_permissions(&key_file, fs::Permissions::from_mode(mode)).unwrap();
    };
    write(&[0; 32], 0o600);
    fixture.fails(&["keys"], 4, &[name, "does not unlock"]);
    write(&right[..15], 0o600);
    fixture.fails(&["keys"], 4, &[name, "less than 16"]);
    write(&right, 0o644);
    let hint = fixture.fails(&["keys"], 4, &[name, "0644"]);
    assert_eq!(hint, format!("chmod 600 {name}"));
    fs::remove_file(&key_file).unwrap();
    let hint = fixture.fails(&["keys"], 4, &[name, "missing"]);
    assert!(hint.contains(name), "{hint}");
    fs::create_dir(&key_file).unwrap();
    fixture.fails(&["keys"], 4, &[name, "not a regular file"]);
    fs::remove_dir(&key_file).unwrap();
    write(&right, 0o600);
    fixture.ok(&["keys"]);
}

#[test]
fn a_key_store_that_is_corrupted_tampered_with_or_newer() {
    let fixture = Fixture::new();
    fixture.new_key("alias/a");
    let database = fixture.path("home/keys.db");
    let pristine = fs::read(&database).unwrap();
    let every = [
        ["keys"].as_slice(),
        &["kms", "describe-key", "--key-id", "alias/a"],
        &["init", "dir", "--key", "alias/a"],
    ];
    let change = |sql: &str| {
        fs::write(&database, &pristine).unwrap();
        Connection::open(&database).unwrap().execute_batch(sql).unwrap();
    };
    for arguments in every {
        fs::write(&database, &pristine[..5000]).unwrap();
        fixture.fails(arguments, 5, &["keys.db", "corrupted"]);
        fs::write(&database, "no database").unwrap();
        fixture.fails(arguments, 5, &["keys.db", "corrupted", "not a database"]);
        change("UPDATE keys SET state = 'Disabled'");
        let hint = fixture.fails(arguments, 5, &["tampered", "keys"]);
        assert!(hint.contains("backup"), "{hint}");
        change("PRAGMA user_version = 9");
        fixture.fails(arguments, 11, &["format 9", "this version reads up to"]);
    }
    assert_eq!(fixture.names(), ["home", "key-file"]);
}

#[test]
fn a_key_that_is_unknown() {
    let fixture = Fixture::new();
    for key in ["alias/none", "00000000-0000-0000-0000-000000000000", "nonsense"] {
        let hint = fixture.fails(&["init", "dir", "--key", key], 6, &[key]);
        assert!(hint.contains("kmsfs keys"), "{hint}");
    }
    assert_eq!(fixture.names(), ["home", "key-file"]);
}

#[test]
fn a_directory_that_cannot_become_a_volume() {
    let fixture = Fixture::with_volume();
    let hint = fixture.fails(&["init", "dir", "--key", "alias/main"], 7, &["dir", "already"]);
    assert!(hint.contains("kmsfs mount dir"), "{hint}");
    fs::create_dir(fixture.path("full")).unwrap();
    fs::write(fixture.path("full/file"), "").unwrap();
    fixture.fails(&["init", "full", "--key", "alias/main"], 7, &["full", "not empty"]);
    assert_eq!(fs::read_dir(fixture.path("full")).unwrap().count(), 1);
    let hint = fixture.fails(&["init", "no/where", "--key", "alias/main"], 7, &["no/where"]);
    assert_eq!(hint, "mkdir -p no");
    fixture.fails(&["init", "key-file", "--key", "alias/main"], 7, &["key-file"]);
}

#[test]
fn a_directory_that_is_no_volume() {
    let fixture = Fixture::with_volume();
    fs::create_dir(fixture.path("plain")).unwrap();
    fs::write(fixture.path("plain/file"), "text").unwrap();
    let hint = fixture.fails(&["mount", "plain", "mnt"], 7, &["plain", "not a kmsfs volume"]);
    assert!(hint.contains("kmsfs init"), "{hint}");
    fixture.fails(&["mount", "missing", "mnt"], 7, &["missing"]);
    fixture.fails(&["inspect", "plain/file"], 7, &["plain/file", "no kmsfs volume"]);
    fixture.fails(&["inspect", "missing"], 1, &["missing"]);
    fixture.fails(&["umount", "plain"], 8, &["plain"]);
    fixture.fails(&["umount", "missing"], 8, &["missing"]);
}

#[test]
fn a_volume_that_is_newer_altered_or_of_another_home() {
    let fixture = Fixture::with_volume();
    let config = fixture.path("dir/.kmsfs/volume.json");
    let pristine = fs::read_to_string(&config).unwrap();
    let altered = |from: &str, to: &str| {
        assert!(pristine.contains(from));
        fs::write(&config, pristine.replace(from, to)).unwrap();
    };
    altered("\"format\": 1", "\"format\": 2");
    fixture.fails(&["mount", "dir", "mnt"], 11, &["dir", "format 2"]);
    altered("alias/main", "alias/evil");
    fixture.fails(&["mount", "dir", "mnt"], 5, &["volume.json"]);
    for garbage in ["", "{", "[]", "{\"format\": 1}"] {
        fs::write(&config, garbage).unwrap();
        fixture.fails(&["mount", "dir", "mnt"], 5, &["volume.json"]);
    }
    fs::write(&config, &pristine).unwrap();
    fixture.ok(&["--home", "other", "setup", "--key-file", "other-key-file"]);
    let hint = fixture.fails(&["--home", "other", "mount", "dir", "mnt"], 7, &["dir", "home"]);
    assert!(hint.contains("--home"), "{hint}");
}

#[test]
fn a_mount_option_that_is_unknown() {
    let fixture = Fixture::with_volume();
    for (options, named) in
        [("cheese", "cheese"), ("ro,threads=0", "threads=0"), ("durability=maybe", "maybe")]
    {
        fixture.fails(&["mount", "-o", options, "dir", "mnt"], 2, &[named]);
    }
}

#[test]
fn a_mount_point_that_cannot_be_used() {
    let fixture = Fixture::with_volume();
    fs::write(fixture.path("file"), "").unwrap();
    fs::create_dir_all(fixture.path("full/sub")).unwrap();
    fs::create_dir(fixture.path("dir/inside")).unwrap();
    let hint = fixture.fails(&["mount", "dir", "missing"], 8, &["missing", "does not exist"]);
    assert_eq!(hint, "mkdir missing");
    fixture.fails(&["mount", "dir", "file"], 8, &["file", "not a directory"]);
    let hint = fixture.fails(&["mount", "dir", "full"], 8, &["full", "not empty"]);
    assert!(hint.contains("nonempty"), "{hint}");
    fixture.fails(&["mount", "dir", "dir/inside"], 8, &["dir/inside"]);
    fixture.fails(&["mount", "dir", "."], 8, &["within each other"]);
    assert_eq!(fixture.ok(&["status"]), "Nothing is mounted.\n");
}

#[test]
fn arguments_that_cannot_be_understood() {
    let fixture = Fixture::new();
    for (arguments, named, hint) in [
        (["mout"].as_slice(), "mout", "kmsfs --help; did you mean mount?"),
        (&["keys", "--jsn"], "--jsn", "kmsfs keys --help; did you mean --json?"),
        (&["setup"], "--key-file", "kmsfs setup --help"),
        (&["init"], "<DIR>", "kmsfs init --help"),
        (&["mount", "dir"], "<MOUNTPOINT>", "kmsfs mount --help"),
        (&["--hme", "x", "keys"], "--hme", "kmsfs keys --help; did you mean --home?"),
    ] {
        assert_eq!(fixture.fails(arguments, 2, &[named]), hint, "{arguments:?}");
    }
}

#[test]
fn an_error_stays_one_line_whatever_a_name_holds() {
    let fixture = Fixture::with_volume();
    let name = "two\nlines\u{1b}[2Jand\ra bell\u{7}";
    fixture.fails(&["mount", name, "mnt"], 7, &["two lines"]);
    fixture.fails(&["mount", "dir", name], 8, &["two lines"]);
    fixture.fails(&["init", "new", "--key", name], 6, &["two"]);
    fixture.fails(&["inspect", name], 1, &["two lines"]);
    fixture.fails(&["--home", name, "keys"], 3, &["two lines"]);
    let said = fixture.run(&["mount", "dir", name]);
    assert!(!said.err.contains('\u{1b}') && !said.err.contains('\u{7}'), "{said:?}");
}

#[test]
fn a_pipe_or_a_directory_is_not_inspected_and_holds_nobody_up() {
    let fixture = Fixture::with_volume();
    rustix::fs::mkfifoat(rustix::fs::CWD, fixture.path("dir/pipe"), rustix::fs::Mode::RUSR).unwrap();
    fixture.fails(&["inspect", "dir/pipe"], 2, &["dir/pipe", "not a regular file"]);
    fixture.fails(&["inspect", "dir"], 2, &["dir", "not a regular file"]);
    fs::write(fixture.path("dir/garbage"), vec![7; 5000]).unwrap();
    fixture.fails(&["inspect", "dir/garbage"], 20, &["dir/garbage"]);
    fs::write(fixture.path("dir/empty"), "").unwrap();
    fixture.fails(&["inspect", "dir/empty"], 20, &["dir/empty"]);
}

#[test]
fn a_key_file_is_never_told_in_an_error_or_a_log() {
    let fixture = Fixture::bare();
    let secret = "correct horse battery staple";
    fs::write(fixture.path("key-file"), secret).unwrap();
    fs::set_permissions(fixture.path("key-file"), fs::Permissions::from_mode(0o600)).unwrap();
    fixture.ok(&["setup", "--key-file", "key-file"]);
    for arguments in [["keys"].as_slice(), &["kms", "create-key"], &["kms", "encrypt", "--key-id", "x"]] {
        let said = said(fixture.command(arguments).env("KMSFS_LOG", "trace"));
        assert!(!said.err.contains("horse") && !said.out.contains("horse"), "{said:?}");
    }
}

#[test]
fn words_that_are_no_text_are_paths_or_refused_and_nothing_panics() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let fixture = Fixture::bare();
    let odd = OsStr::from_bytes(b"odd-\xff\xfe");
    let run = |words: &[&OsStr]| said(fixture.command(&[]).args(words));
    let text = OsStr::new;
    assert_eq!(
        run(&[text("--home"), odd, text("setup"), text("--key-file"), OsStr::from_bytes(b"k\xff")]).code,
        0
    );
    assert_eq!(run(&[text("--home"), odd, text("kms"), text("create-key")]).code, 0);
    fixture.ok(&["setup", "--key-file", "key-file"]);
    fixture.new_key("alias/a");
    run(&[odd]).fails(2, &[]);
    run(&[text("kms"), odd]).fails(2, &["UTF-8"]);
    run(&[text("kms"), text("describe-key"), text("--key-id"), odd]).fails(2, &["UTF-8"]);
    run(&[text("init"), text("new"), text("--key"), odd]).fails(2, &["UTF-8"]);
    run(&[text("mount"), odd, text("mnt")]).fails(7, &["odd-"]);
    run(&[text("inspect"), text("--json"), odd]).fails(7, &["odd-"]);
    let volume = OsStr::from_bytes(b"volume-\xff");
    assert_eq!(run(&[text("init"), volume, text("--key"), text("alias/a")]).code, 0);
}
