//! Directories, links, renames, extended attributes and the reserved name.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, symlink};

use rustix::fs::XattrFlags;

use crate::fixture::{ENOKEY, Fixture, errno, pattern};

#[test]
fn the_reserved_name_is_not_listed_not_found_and_cannot_be_made() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), b"x").unwrap();
    let names: Vec<_> =
        fs::read_dir(fixture.mnt()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["f"]);
    let reserved = fixture.file(".kmsfs");
    assert_eq!(errno(fs::metadata(&reserved)), libc::ENOENT);
    assert_eq!(errno(fs::metadata(reserved.join("volume.json"))), libc::ENOENT);
    assert_eq!(errno(fs::create_dir(&reserved)), libc::EPERM);
    assert_eq!(errno(fs::write(&reserved, b"x")), libc::EPERM);
    assert_eq!(errno(symlink("x", &reserved)), libc::EPERM);
    assert_eq!(errno(fs::hard_link(fixture.file("f"), &reserved)), libc::EPERM);
    assert_eq!(errno(fs::rename(fixture.file("f"), &reserved)), libc::EPERM);
    assert_eq!(errno(fs::remove_dir(&reserved)), libc::ENOENT);
    // Below the root it is a name like any other.
    fs::create_dir_all(fixture.file("d/.kmsfs")).unwrap();
    assert!(fixture.dir().join(".kmsfs/volume.json").exists());
}

#[test]
fn an_open_file_goes_on_when_it_is_renamed_over_and_unlinked() {
    let fixture = Fixture::new();
    let (a, b) = (fixture.file("a"), fixture.file("b"));
    fs::write(&a, pattern(1, 50_000)).unwrap();
    fs::write(&b, pattern(2, 50_000)).unwrap();
    let mut old_b = OpenOptions::new().read(true).write(true).open(&b).unwrap();
    fs::rename(&a, &b).unwrap();
    assert!(fs::read(&b).unwrap() == pattern(1, 50_000));
    let mut read = Vec::new();
    old_b.read_to_end(&mut read).unwrap();
    assert!(read == pattern(2, 50_000));
    old_b.write_all(b"more").unwrap();
    assert_eq!(old_b.metadata().unwrap().len(), 50_004);
    assert_eq!(old_b.metadata().unwrap().nlink(), 0);
    let now_b = File::open(&b).unwrap();
    fs::remove_file(&b).unwrap();
    assert_eq!(now_b.metadata().unwrap().len(), 50_000);
    assert_eq!(errno(fs::metadata(&b)), libc::ENOENT);
}

#[test]
fn a_file_without_a_name_is_read_after_its_last_writer_has_closed_it_and_its_key_came_back() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    let writer = OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
    let reader = File::open(&path).unwrap();
    writer.write_all_at(&pattern(1, 300_000), 0).unwrap();
    writer.sync_all().unwrap();
    writer.write_all_at(&pattern(2, 200_000), 50_000).unwrap();
    fs::remove_file(&path).unwrap();
    drop(writer);
    let expected = [&pattern(1, 300_000)[..50_000], &pattern(2, 200_000), &pattern(1, 300_000)[250_000..]];
    let mut read = vec![0; 300_000];
    for _ in 0..2 {
        reader.read_exact_at(&mut read, 0).unwrap();
        assert!(read == expected.concat());
        fixture.with_key("disable-key", &fixture.key);
        assert_eq!(errno(reader.read_at(&mut read, 0)), ENOKEY);
        fixture.with_key("enable-key", &fixture.key);
    }
    // In place of a link: a descriptor of it can be opened again.
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
    OpenOptions::new().write(true).open(again).unwrap().write_all_at(b"more", 0).unwrap();
    reader.read_exact_at(&mut read[..10], 0).unwrap();
    assert_eq!((&read[..4], &read[4..10]), (&b"more"[..], &pattern(1, 10)[4..]));
}

#[test]
fn an_open_file_follows_its_directory() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.file("one/two")).unwrap();
    let mut file = File::create(fixture.file("one/two/f")).unwrap();
    file.write_all(b"before ").unwrap();
    fs::rename(fixture.file("one"), fixture.file("uno")).unwrap();
    file.write_all(b"after").unwrap();
    drop(file);
    assert_eq!(fs::read(fixture.file("uno/two/f")).unwrap(), b"before after");
}

#[test]
fn hard_links_are_one_file() {
    let fixture = Fixture::new();
    let (a, b) = (fixture.file("a"), fixture.file("b"));
    fs::write(&a, b"one").unwrap();
    fs::hard_link(&a, &b).unwrap();
    fs::write(&b, b"two!").unwrap();
    assert_eq!(fs::read(&a).unwrap(), b"two!");
    let (facts_a, facts_b) = (fs::metadata(&a).unwrap(), fs::metadata(&b).unwrap());
    assert_eq!((facts_a.ino(), facts_a.nlink()), (facts_b.ino(), 2));
    fs::remove_file(&a).unwrap();
    assert_eq!(fs::read(&b).unwrap(), b"two!");
    assert_eq!(fs::metadata(&b).unwrap().nlink(), 1);
}

#[test]
fn symbolic_links_and_nodes_are_what_they_are() {
    let fixture = Fixture::new();
    symlink("target/of the link", fixture.file("link")).unwrap();
    assert_eq!(fs::read_link(fixture.file("link")).unwrap().to_str(), Some("target/of the link"));
    assert_eq!(fs::symlink_metadata(fixture.file("link")).unwrap().len(), 18);
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let make = |name, kind| rustix::fs::mknodat(rustix::fs::CWD, fixture.file(name), kind, mode, 0);
    make("fifo", rustix::fs::FileType::Fifo).unwrap();
    make("plain", rustix::fs::FileType::RegularFile).unwrap();
    assert!(fs::metadata(fixture.file("fifo")).unwrap().file_type().is_fifo());
    fs::write(fixture.file("plain"), b"content").unwrap();
    assert_eq!(fs::read(fixture.file("plain")).unwrap(), b"content");
}

#[test]
fn a_directory_of_5000_entries_is_listed_whole_also_while_it_changes() {
    let fixture = Fixture::new();
    let dir = fixture.file("many");
    fs::create_dir(&dir).unwrap();
    let names: BTreeSet<_> = (0..5_000).map(|number| format!("entry-{number:05}")).collect();
    names.iter().for_each(|name| drop(File::create(dir.join(name)).unwrap()));
    let listed = |dir: &std::path::Path| -> BTreeSet<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(listed(&dir), names);
    for entry in fs::read_dir(&dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().len(), 0);
        fs::remove_file(entry.path()).unwrap();
    }
    assert_eq!(listed(&dir), BTreeSet::new());
    fs::remove_dir(&dir).unwrap();
}

#[test]
fn extended_attributes_are_kept() {
    let fixture = Fixture::new();
    let path = fixture.file("f");
    fs::write(&path, b"x").unwrap();
    rustix::fs::setxattr(&path, "user.one", b"value", XattrFlags::CREATE).unwrap();
    let again = rustix::fs::setxattr(&path, "user.one", b"value", XattrFlags::CREATE);
    assert_eq!(again, Err(rustix::io::Errno::EXIST));
    rustix::fs::setxattr(&path, "user.big", &pattern(1, 3_000), XattrFlags::empty()).unwrap();
    fixture.umount();
    fixture.mount(&[]);
    let mut value = vec![0; 4_000];
    let len = rustix::fs::getxattr(&path, "user.big", &mut value).unwrap();
    assert!(value[..len] == pattern(1, 3_000));
    let mut names = vec![0; 1_000];
    let len = rustix::fs::listxattr(&path, &mut names).unwrap();
    let names: BTreeSet<&[u8]> =
        names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    assert_eq!(names, BTreeSet::from([&b"user.one"[..], b"user.big"]));
    rustix::fs::removexattr(&path, "user.one").unwrap();
    assert_eq!(rustix::fs::getxattr(&path, "user.one", &mut value), Err(rustix::io::Errno::NODATA));
}

#[test]
fn names_of_255_bytes_and_deep_trees_work() {
    let fixture = Fixture::new();
    let long = "n".repeat(255);
    fs::write(fixture.file(&long), b"x").unwrap();
    assert_eq!(errno(fs::write(fixture.file(&"n".repeat(256)), b"x")), libc::ENAMETOOLONG);
    let deep = fixture.file(&vec!["d"; 200].join("/"));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f"), b"deep").unwrap();
    fixture.umount();
    fixture.mount(&[]);
    assert_eq!(fs::read(deep.join("f")).unwrap(), b"deep");
}
