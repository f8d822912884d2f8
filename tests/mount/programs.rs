//! Programs that people use, on the mount.

use crate::fixture::{Fixture, sh};

/// A small tree with everything that a copy can get wrong.
fn tree(at: &str) -> String {
    format!(
        "mkdir -p {at}/a/b/c; head -c 300000 /dev/urandom > {at}/a/big; echo text > {at}/a/b/text; : > {at}/empty
         ln -s b/text {at}/a/link; ln {at}/a/big {at}/hard; mkfifo {at}/fifo; chmod 4750 {at}/a/b/text
         truncate -s 5M {at}/sparse; echo end >> {at}/sparse; setfattr -n user.color -v blue {at}/a/big
         chown 1:2 {at}/a/b/text; touch -d '2001-02-03 04:05:06.789' {at}/a/b/text {at}/a/b {at}/empty"
    )
}

/// Everything that tells two trees apart, but for inode numbers and times of access and change.
fn listing(at: &str) -> String {
    sh(&format!(
        "cd {at}; find . -printf '%p %y %m %U %G %n %l ' -type f -printf '%s ' -o -printf '' | sort > /dev/null
         find . \\( -type d -printf '%p %y %m %U %G %T@\\n' \\) -o -printf '%p %y %m %U %G %s %n %l %T@\\n' | sort
         find . -type f | sort | xargs sha256sum; getfattr -R -d . 2>/dev/null"
    ))
}

// `-@ -1`: rsync compares whole seconds otherwise, and leaves a time that is within the second.
#[test]
fn copies_by_rsync_cp_and_tar_are_the_same_inside_and_outside() {
    let fixture = Fixture::new();
    let (outside, inside) = (fixture.path("outside"), fixture.mnt());
    let (outside, inside) = (outside.to_str().unwrap(), inside.to_str().unwrap());
    sh(&tree(outside));
    sh(&format!(
        "rsync -aHAX -@ -1 {outside}/ {inside}/rsync/; cp -a {outside} {inside}/cp
         mkdir {inside}/tar; tar --xattrs -C {outside} -cf - . | tar --xattrs --xattrs-include='*' -C {inside}/tar -xpf -
         rsync -aHAX -@ -1 {inside}/rsync/ {inside}/again/; mkdir {inside}/made"
    ));
    sh(&tree(&format!("{inside}/made")));
    let expected = listing(outside);
    for copy in ["rsync", "cp", "tar", "again"] {
        assert_eq!(listing(&format!("{inside}/{copy}")), expected, "{copy}");
    }
    fixture.umount();
    fixture.mount(&[]);
    for copy in ["rsync", "cp", "tar", "again"] {
        assert_eq!(listing(&format!("{inside}/{copy}")), expected, "{copy} after a remount");
    }
}

#[test]
fn sqlite_in_wal_mode_keeps_its_integrity() {
    let fixture = Fixture::new();
    let database = fixture.file("db");
    let database = database.to_str().unwrap();
    let rows = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<20000) \
                INSERT INTO t SELECT x, hex(randomblob(50)) FROM c";
    sh(&format!("sqlite3 {database} 'PRAGMA journal_mode=WAL; CREATE TABLE t(a,b); {rows};'"));
    sh(&format!(
        "sqlite3 {database} 'UPDATE t SET b=hex(randomblob(60)) WHERE a%3=0; DELETE FROM t WHERE a%7=0; VACUUM;'"
    ));
    fixture.umount();
    fixture.mount(&[]);
    let answer = sh(&format!("sqlite3 {database} 'PRAGMA integrity_check; SELECT count(*) FROM t;'"));
    assert_eq!(answer, "ok\n17143\n");
}

#[test]
fn git_clones_and_checks_its_objects() {
    let fixture = Fixture::new();
    let (outside, inside) = (fixture.path("repo"), fixture.file("clone"));
    let (outside, inside) = (outside.to_str().unwrap(), inside.to_str().unwrap());
    sh(&format!(
        "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
         git init -q {outside}; cd {outside}; git config gc.auto 0
         for n in 1 2 3 4 5; do head -c 20000 /dev/urandom | base64 > file$n; git add .; git commit -qm $n; done
         git clone -q --no-hardlinks {outside} {inside}; cd {inside}; git fsck --strict
         echo more >> file1; git commit -qam more; git gc -q; git fsck --strict; git status --porcelain"
    ));
    assert_eq!(sh(&format!("git -C {inside} log --oneline | wc -l")).trim(), "6");
}

#[test]
fn fio_verifies_what_it_wrote_in_random_sizes() {
    let fixture = Fixture::new();
    let mnt = fixture.mnt();
    let mnt = mnt.to_str().unwrap();
    let common = format!(
        "--directory={mnt} --size=24M --verify=crc32c --verify_fatal=1 --do_verify=1 \
                 --verify_state_save=0 --minimal"
    );
    sh(&format!("fio --name=mixed --rw=randrw --bsrange=512-64k --bs_unaligned=1 --ioengine=psync {common}"));
    sh(&format!("fio --name=maps --rw=randwrite --bs=4k --ioengine=mmap --numjobs=2 {common}"));
    sh(&format!("fio --name=direct --rw=randwrite --bs=4k --direct=1 --ioengine=psync {common}"));
    sh(&format!("fio --name=synced --rw=randwrite --bs=8k --fsync=16 --ioengine=psync {common}"));
}
