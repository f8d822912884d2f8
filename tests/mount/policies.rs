//! Who may open what by the key's policy, on a mount that every user can use.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::fixture::{Fixture, errno, pattern, said};

const EACCES: i32 = libc::EACCES;
const ROOT: &str = "arn:aws:iam::000000000000:root";
const DAEMON: &str = "arn:aws:iam::000000000000:user/daemon";

/// What the owner needs to manage the key, without the use of it.
fn administration() -> Value {
    json!({"Effect": "Allow", "Principal": {"AWS": ROOT}, "NotAction": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": "*"})
}

fn use_by(principal: &str) -> Value {
    json!({"Effect": "Allow", "Principal": {"AWS": principal}, "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": "*"})
}

/// The owner alone, by the name that no other principal has.
fn use_by_owner() -> Value {
    let mut statement = use_by(ROOT);
    statement["Condition"] = json!({"StringEquals": {"aws:PrincipalArn": ROOT}});
    statement
}

impl Fixture {
    fn put_policy(&self, statements: Value) {
        let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        self.kms(&["put-key-policy", "--key-id", &self.key, "--policy", &policy]);
    }

    /// A file that everybody may read and write, as far as mode bits go.
    fn shared_file(&self, name: &str, content: &[u8]) -> std::path::PathBuf {
        let path = self.file(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        path
    }
}

/// What the user called `user` is told when a line of Python is run as him with the path `path`.
#[track_caller]
fn as_user(user: &str, line: &str, path: &Path) -> String {
    let script = format!(
        "import os,sys,errno,pwd\nuser,path=sys.argv[1:]\nos.setgroups([])\nos.setgid(65534)\n\
         os.setuid(pwd.getpwnam(user).pw_uid)\n\
         try:\n {line}\n print('ok')\nexcept OSError as e:\n print(errno.errorcode[e.errno])"
    );
    let said = said(Command::new("python3").args(["-c", &script, user]).arg(path));
    assert_eq!(said.code, 0, "{}", said.err);
    said.out.trim_end().to_owned()
}

const WAYS: [&str; 5] = [
    "os.read(os.open(path, os.O_RDONLY), 1)",
    "os.write(os.open(path, os.O_WRONLY), b'x')",
    "os.open(path, os.O_WRONLY | os.O_TRUNC)",
    "os.truncate(path, 5)",
    "os.open(path, os.O_RDWR | os.O_APPEND)",
];
const CREATE: &str = "os.close(os.open(path + '.new', os.O_CREAT | os.O_EXCL | os.O_WRONLY))";

#[test]
fn pol_2_a_user_opens_what_the_policy_lets_him_whatever_the_mode_bits_let() {
    let fixture = Fixture::open_to_all();
    fs::set_permissions(fixture.mnt(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = fixture.shared_file("f", b"content");
    for user in ["daemon", "nobody"] {
        assert_eq!(as_user(user, WAYS[0], &path), "ok", "by the default policy");
    }
    fixture.put_policy(json!([administration(), use_by_owner(), use_by(DAEMON)]));
    // Its data key is in memory from now on; that helps nobody who may not.
    let open = File::open(&path).unwrap();
    for way in WAYS {
        assert_eq!(as_user("nobody", way, &path), "EACCES", "{way}");
        assert_eq!(open.metadata().unwrap().len(), 7);
    }
    drop(open);
    for way in WAYS {
        assert_eq!(as_user("nobody", way, &path), "EACCES", "{way}");
    }
    assert_eq!(fs::read(&path).unwrap(), b"content");
    assert_eq!(as_user("nobody", CREATE, &path), "EACCES");
    assert!(!fixture.file("f.new").exists(), "nothing is left half made");
    assert_eq!(as_user("daemon", CREATE, &path), "ok");
    for way in WAYS {
        assert_eq!(as_user("daemon", way, &path), "ok", "{way}");
    }
    // Mode bits go on counting for whom the policy lets.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(as_user("daemon", WAYS[0], &path), "EACCES");
    let refused =
        fixture.records("Decrypt").into_iter().find(|record| record["errorCode"] == "AccessDeniedException");
    let refused = refused.expect("a refused open is recorded");
    assert_eq!(refused["userIdentity"]["arn"], "arn:aws:iam::000000000000:user/nobody");
    assert_eq!(refused["additionalEventData"]["path"], "f");
}

#[test]
fn pol_2_names_attributes_and_removal_need_no_permission_of_the_key() {
    let fixture = Fixture::open_to_all();
    fs::set_permissions(fixture.mnt(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = fixture.shared_file("f", b"content");
    fixture.put_policy(json!([administration(), use_by_owner()]));
    for way in [
        "os.stat(path)",
        "os.listdir(os.path.dirname(path))",
        "os.getxattr(path, 'user.kmsfs.key-id')",
        "os.rename(path, path + '2')",
        "os.mkdir(path)",
        "os.unlink(path + '2')",
    ] {
        assert_eq!(as_user("nobody", way, &path), "ok", "{way}");
    }
}

#[test]
fn pol_2_who_loses_the_permission_opens_nothing_more_at_once() {
    let fixture = Fixture::open_to_all();
    let path = fixture.shared_file("f", b"content");
    for _ in 0..5 {
        fixture.put_policy(json!([administration(), use_by_owner(), use_by(DAEMON)]));
        assert_eq!(as_user("daemon", WAYS[0], &path), "ok");
        fixture.put_policy(json!([administration(), use_by_owner()]));
        assert_eq!(as_user("daemon", WAYS[0], &path), "EACCES");
        assert_eq!(fs::read(&path).unwrap(), b"content");
    }
}

#[test]
fn what_nobody_may_use_any_more_is_taken_from_descriptors_and_the_cache_and_comes_back() {
    let fixture = Fixture::open_to_all();
    let path = fixture.file("f");
    fs::write(&path, pattern(1, 10_000)).unwrap();
    let open = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut all = vec![0; 10_000];
    open.read_exact_at(&mut all, 0).unwrap();
    fixture.put_policy(json!([administration()]));
    assert_eq!(errno(open.read_at(&mut [0], 0)), EACCES, "read of a cached page");
    assert_eq!(errno(open.write_at(b"x", 0)), EACCES);
    assert_eq!(errno(open.set_len(5)), EACCES);
    assert_eq!(errno(File::open(&path)), EACCES);
    assert_eq!(errno(File::create(fixture.file("new"))), EACCES);
    assert!(!fixture.file("new").exists());
    assert_eq!(fs::metadata(&path).unwrap().len(), 10_000);
    fixture.put_policy(json!([administration(), use_by_owner()]));
    let mut again = vec![0; 10_000];
    open.read_exact_at(&mut again, 0).unwrap();
    assert!(again == pattern(1, 10_000));
    // Another user's permission keeps descriptors open, since pages are shared; new opens ask for one's own.
    fixture.put_policy(json!([administration(), use_by(DAEMON)]));
    open.read_exact_at(&mut again, 0).unwrap();
    assert_eq!(errno(File::open(&path)), EACCES);
}

#[test]
fn on_a_mount_of_one_user_only_his_permission_counts() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    let mut open = File::create_new(&path).unwrap();
    open.write_all(b"content").unwrap();
    fixture.put_policy(json!([administration(), use_by(DAEMON)]));
    assert_eq!(errno(open.write_all(b"x")), EACCES);
    assert_eq!(errno(fs::read(&path)), EACCES);
    fixture.put_policy(json!([administration(), use_by_owner()]));
    assert_eq!(fs::read(&path).unwrap(), b"content");
}

#[test]
fn a_file_that_was_left_dirty_is_recovered_when_somebody_who_may_opens_it() {
    let fixture = Fixture::open_to_all();
    let path = fixture.shared_file("f", b"content");
    let mut open = OpenOptions::new().append(true).open(&path).unwrap();
    open.write_all(b" and more").unwrap();
    fixture.put_policy(json!([administration(), use_by(DAEMON)]));
    fixture.kill();
    drop(open);
    fixture.mount(&["allow_other"]);
    assert_eq!(errno(fs::read(&path)), EACCES);
    assert_eq!(
        as_user("daemon", "assert os.read(os.open(path, os.O_RDONLY), 99) == b'content and more'", &path),
        "ok"
    );
    assert_eq!(fixture.inspect(&path)["state"], "clean");
}

#[test]
fn a_grant_lets_a_user_open_files_until_it_is_revoked_and_takes_descriptors_with_the_last() {
    let fixture = Fixture::open_to_all();
    let path = fixture.shared_file("f", b"content");
    let open = File::open(&path).unwrap();
    fixture.put_policy(json!([administration()]));
    assert_eq!(errno(open.read_at(&mut [0], 0)), EACCES);
    let key = &fixture.key;
    let create = |who: &str| {
        let made = fixture.kms(&[
            "create-grant",
            "--key-id",
            key,
            "--grantee-principal",
            who,
            "--operations",
            "Decrypt",
            "--constraints",
            &format!("EncryptionContextSubset={{kmsfs:volume={}}}", volume(&fixture)),
        ]);
        made["GrantId"].as_str().unwrap().to_owned()
    };
    let id = create(DAEMON);
    assert_eq!(as_user("daemon", WAYS[0], &path), "ok");
    assert_eq!(as_user("nobody", WAYS[0], &path), "EACCES");
    assert_eq!(as_user("daemon", CREATE, &path), "EACCES", "that is GenerateDataKey");
    fixture.kms(&["revoke-grant", "--key-id", key, "--grant-id", &id]);
    assert_eq!(as_user("daemon", WAYS[0], &path), "EACCES");
    let id = create(ROOT);
    open.read_exact_at(&mut [0; 7], 0).unwrap();
    assert_eq!(as_user("nobody", WAYS[0], &path), "ok", "the account means all of its users");
    fixture.kms(&["revoke-grant", "--key-id", key, "--grant-id", &id]);
    assert_eq!(errno(open.read_at(&mut [0], 0)), EACCES);
}

fn volume(fixture: &Fixture) -> String {
    let status: Value = serde_json::from_str(&fixture.ok(&["status", "--json"])).unwrap();
    status[0]["volumeId"].as_str().unwrap().to_owned()
}
