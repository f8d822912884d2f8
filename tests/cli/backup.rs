//! `kmsfs home backup` and `restore`, and a volume whose home is another one.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::fixture::{Fixture, said};
use crate::terminal::code_in;

#[test]
fn a_home_is_backed_up_lost_and_restored() {
    let fixture = Fixture::with_volume();
    let keys = fixture.ok(&["keys"]);
    let out = fixture.ok(&["home", "backup", "backup"]);
    assert!(out.contains("backup holds the home"), "{out}");
    assert_eq!(fs::metadata(fixture.path("backup")).unwrap().permissions().mode() & 0o7777, 0o600);
    fixture.fails(&["home", "restore", "backup"], 3, &["there is a home", "already"]);
    fs::remove_dir_all(fixture.path("home")).unwrap();
    let out = fixture.ok(&["home", "restore", "backup"]);
    assert!(out.contains("as it was when the backup was made"), "{out}");
    assert_eq!(fixture.ok(&["keys"]), keys);
    assert_eq!(fixture.names(), ["backup", "dir", "home", "key-file", "mnt"]);
}

#[test]
fn a_backup_takes_no_place_of_a_file_unless_it_is_told_to() {
    let fixture = Fixture::new();
    fixture.ok(&["home", "backup", "backup"]);
    let before = fs::read(fixture.path("backup")).unwrap();
    let hint = fixture.fails(&["home", "backup", "backup"], 2, &["backup", "there already"]);
    assert!(hint.contains("--force"), "{hint}");
    assert_eq!(fs::read(fixture.path("backup")).unwrap(), before);
    fixture.ok(&["home", "backup", "--force", "backup"]);
    assert_ne!(fs::read(fixture.path("backup")).unwrap(), before);
    fixture.fails(&["home", "backup", "--force", "/dev/null"], 2, &["/dev/null"]);
    let hint = fixture.fails(&["home", "backup", "absent/backup"], 3, &["absent/backup"]);
    assert_eq!(hint, "mkdir -p absent");
}

#[test]
fn what_is_no_whole_backup_is_refused_and_makes_no_home() {
    let fixture = Fixture::new();
    fixture.ok(&["home", "backup", "backup"]);
    let bytes = fs::read(fixture.path("backup")).unwrap();
    fs::write(fixture.path("cut"), &bytes[..bytes.len() - 1]).unwrap();
    fs::write(fixture.path("garbage"), "garbage").unwrap();
    for file in ["cut", "garbage", "key-file"] {
        let restore = ["--home", "other", "home", "restore", file];
        let hint = fixture.fails(&restore, 5, &[file, "not a whole backup"]);
        assert!(hint.contains("another backup"), "{hint}");
    }
    fixture.fails(&["--home", "other", "home", "restore", "absent"], 3, &["absent"]);
    assert_eq!(fixture.names(), ["backup", "cut", "garbage", "home", "key-file"]);
}

#[test]
fn a_home_is_restored_by_its_recovery_code_where_its_key_file_is_not() {
    let fixture = Fixture::bare();
    let code = code_in(&fixture.ok(&["setup", "--key-file", "key-file"]));
    fixture.ok(&["home", "backup", "backup"]);
    fixture.secret("code", &code);
    fs::remove_file(fixture.path("key-file")).unwrap();
    fixture.fails(&["--home", "other", "home", "restore", "backup"], 4, &["key-file", "missing"]);
    let restore = ["--home", "other", "home", "restore", "backup", "--recovery-code-file", "code"];
    let out = fixture.ok(&restore);
    assert!(out.contains("KMSFS_KEY_FILE") && out.contains("slot change 1 --key-file"), "{out}");
    let unlock = ["--home", "other", "unlock", "--recovery-code-file", "code", "--key-file", "new"];
    fixture.ok(&unlock);
    fixture.ok(&["--home", "other", "keys"]);
}

#[test]
fn a_volume_of_another_home_says_what_leads_to_its_files() {
    let fixture = Fixture::with_volume();
    fixture.ok(&["--home", "other", "setup", "--key-file", "other-key"]);
    let named = ["dir", "belongs to the home"];
    let hint = fixture.fails(&["--home", "other", "mount", "dir", "mnt"], 7, &named);
    let ways = ["--home DIR", "home restore", "its files are copied"];
    assert!(ways.iter().all(|way| hint.contains(way)), "{hint}");
    // A home that was restored is the same home.
    fixture.ok(&["home", "backup", "backup"]);
    fixture.ok(&["--home", "restored", "home", "restore", "backup"]);
    let said = said(&mut fixture.command(&["--home", "restored", "mount", "dir", "absent"]));
    said.fails(8, &["absent"]);
}
