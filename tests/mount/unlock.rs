//! Mounts of a home that a passphrase unlocks, and backups of a home that is mounted.

use std::fs;
use std::thread;

use crate::fixture::{ENOKEY, Fixture, errno, is_mounted, pattern, sh};

/// `kmsfs` with the passphrase through a pipe, which can be read once.
fn with_passphrase(fixture: &Fixture, arguments: &str) -> String {
    sh(&format!(
        "cd {}; export KMSFS_HOME=$PWD/home; KMSFS_PASSPHRASE_FILE=<(printf 'correct horse\\n') {} {arguments}",
        fixture.temp.path().display(),
        env!("CARGO_BIN_EXE_kmsfs")
    ))
}

/// A volume whose home has a passphrase as its only slot.
fn fixture() -> Fixture {
    let fixture = Fixture::unmounted();
    sh(&format!(
        "cd {}; export KMSFS_HOME=$PWD/home; {k} slot add --passphrase-file <(printf 'correct horse') \
         --argon2-memory 8 --argon2-iterations 1; {k} slot remove 2; {k} slot remove 1",
        fixture.temp.path().display(),
        k = env!("CARGO_BIN_EXE_kmsfs")
    ));
    fixture
}

#[test]
fn a_mount_is_unlocked_once_and_unmounted_without_the_passphrase() {
    let fixture = fixture();
    let refused = fixture.run(&["mount", fixture.dir().to_str().unwrap(), fixture.mnt().to_str().unwrap()]);
    assert!(refused.code == 4 && refused.err.contains("passphrase"), "{refused:?}");
    with_passphrase(&fixture, "mount dir mnt");
    assert!(is_mounted(&fixture.mnt()));
    fs::write(fixture.file("file"), "content").unwrap();
    assert!(fixture.ok(&["status"]).contains("1 key used"));
    with_passphrase(&fixture, &format!("kms disable-key --key-id {}", fixture.key));
    assert_eq!(errno(fs::read(fixture.file("file"))), ENOKEY);
    with_passphrase(&fixture, &format!("kms enable-key --key-id {}", fixture.key));
    assert_eq!(fs::read(fixture.file("file")).unwrap(), b"content");
    fixture.umount();
    assert!(!is_mounted(&fixture.mnt()));
    with_passphrase(&fixture, "mount dir mnt");
    assert_eq!(fs::read(fixture.file("file")).unwrap(), b"content");
    fixture.umount();
}

#[test]
fn a_backup_while_files_are_written_opens_those_that_were_there_before_it() {
    let fixture = Fixture::new();
    let before = pattern(1, 300_000);
    fs::write(fixture.file("before"), &before).unwrap();
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for number in 0..60 {
                fs::write(fixture.file(&format!("during-{number}")), pattern(number, 5_000)).unwrap();
            }
        });
        let file = fixture.path("backup");
        for _ in 0..4 {
            fixture.ok(&["home", "backup", "--force", file.to_str().unwrap()]);
        }
        writing.join().unwrap();
    });
    fixture.umount();
    fs::rename(fixture.path("home"), fixture.path("lost")).unwrap();
    fixture.ok(&["home", "restore", fixture.path("backup").to_str().unwrap()]);
    fixture.mount(&[]);
    assert_eq!(fs::read(fixture.file("before")).unwrap(), before);
    // Under a key that the backup has, also what came later opens.
    for number in 0..60 {
        assert_eq!(fs::read(fixture.file(&format!("during-{number}"))).unwrap(), pattern(number, 5_000));
    }
    let records = fixture.records("RestoreHome");
    assert_eq!(records.len(), 1, "every line of the restored log is whole");
    fixture.umount();
}

/// What the documents say of a restored home that is older than its volumes.
#[test]
fn a_home_of_yesterday_opens_no_file_under_a_key_or_version_of_today() {
    let fixture = Fixture::unmounted();
    let backup = fixture.path("backup");
    fixture.ok(&["home", "backup", backup.to_str().unwrap()]);
    fixture.mount(&[]);
    fs::write(fixture.file("old"), "old version").unwrap();
    fixture.with_key("rotate-key-on-demand", &fixture.key);
    fs::write(fixture.file("new"), "new version").unwrap();
    fixture.with_key("disable-key", &fixture.key);
    fixture.umount();
    fs::rename(fixture.path("home"), fixture.path("newer")).unwrap();
    fixture.ok(&["home", "restore", backup.to_str().unwrap()]);
    fixture.mount(&[]);
    assert_eq!(fs::read(fixture.file("old")).unwrap(), b"old version", "enabled again, as it was then");
    let refused = errno(fs::read(fixture.file("new")));
    assert_eq!(refused, libc::EIO);
    fixture.umount();
}
