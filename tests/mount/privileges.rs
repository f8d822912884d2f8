//! What a file lends to who executes it goes as soon as others could have changed it, as on the filesystem beside.

use crate::fixture::{Fixture, python, same_as_beside, sh};

/// Every way to change a file, by name.
const WAYS: &str = r#"
def opened(flags, change):
    def way():
        fd = os.open("f", flags)
        answer = change(fd)
        os.close(fd)
        return answer
    return way
def through_map(fd):
    with mmap.mmap(fd, 0) as map:
        map[0:1] = b"W"
        map.flush()
make("source", b"s" * 10000)
source = os.open("source", os.O_RDONLY)
WAYS = {
    "write": opened(os.O_WRONLY, lambda fd: os.write(fd, b"w")),
    "copy": opened(os.O_WRONLY, lambda fd: os.copy_file_range(source, fd, 100, 0)),
    "open with O_TRUNC": opened(os.O_WRONLY | os.O_TRUNC, lambda fd: None),
    "cut": opened(os.O_WRONLY, lambda fd: os.ftruncate(fd, 5)),
    "grow": opened(os.O_WRONLY, lambda fd: os.ftruncate(fd, 20000)),
    "keep the size": opened(os.O_WRONLY, lambda fd: os.ftruncate(fd, 10000)),
    "allocate": opened(os.O_WRONLY, lambda fd: fallocate(fd, 0, 0, 50000)),
    "punch": opened(os.O_WRONLY, lambda fd: fallocate(fd, 3, 0, 5000)),
}
"#;

#[test]
fn set_user_id_and_set_group_id_go_with_every_change_by_others() {
    let fixture = Fixture::open_to_all();
    let script = r#"
WAYS["map"] = opened(os.O_RDWR, through_map)
for bits in (0o4777, 0o2777, 0o6777, 0o4755):
    for owner in ((0, 0), (NOBODY, NOBODY)):
        for name, way in WAYS.items():
            for who in (way, lambda: as_user(way)):
                make("f", b"z" * 10000, bits, owner)
                say(oct(bits), owner, name, outcome(who), mode("f"))
    make("f", b"z", bits, (NOBODY, NOBODY))
    say("chown", as_user(lambda: os.chown("f", -1, NOBODY)), mode("f"))
    make("f", b"z", bits)
    say("chown by root", os.chown("f", 12, 12), mode("f"))
"#;
    same_as_beside(&fixture, &format!("{WAYS}{script}"));
}

#[test]
fn capabilities_go_with_every_change() {
    let fixture = Fixture::open_to_all();
    let script = r#"
WAYS["chown"] = lambda: os.chown("f", 1, 1)
capability = bytes([1, 0, 0, 2, 0, 0x20, 0, 0] + [0] * 12)
for name, way in WAYS.items():
    for who in (way, lambda: as_user(way)):
        make("f", b"z" * 10000, 0o777)
        os.setxattr("f", "security.capability", capability)
        say(name, outcome(who), outcome(os.getxattr, "f", "security.capability"))
make("f", b"z", 0o777, (NOBODY, NOBODY))
say(as_user(lambda: os.setxattr("f", "security.capability", capability)))
"#;
    same_as_beside(&fixture, &format!("{WAYS}{script}"));
}

#[test]
fn what_only_syncs_takes_no_capabilities() {
    let fixture = Fixture::open_to_all();
    let script = r#"
capability = bytes([1, 0, 0, 2, 0, 0x20, 0, 0] + [0] * 12)
has = lambda: outcome(os.getxattr, "f", "security.capability") == capability
make("f", b"z" * 10000, 0o755)
os.setxattr("f", "security.capability", capability)
say("of a file that was closed", subprocess.run(["sync", "f"]).returncode, has())
fd = os.open("f", os.O_RDWR)
for change in (lambda: None, lambda: os.write(fd, b"w" * 200000), lambda: os.ftruncate(fd, 5)):
    change()
    os.setxattr("f", "security.capability", capability)
    for call in (os.fdatasync, os.fsync):
        call(fd)
        say(has())
os.close(fd)
say(has())
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn an_access_control_list_takes_set_group_id_from_who_is_not_in_the_group() {
    let fixture = Fixture::open_to_all();
    let script = r#"
for groups in ([], [100], [4, 100]):
    for group in (0, 100, NOBODY):
        make("f", b"x", 0o2775, (NOBODY, group))
        os.chmod("f", 0o2775)
        run = lambda: subprocess.run(["setfacl", "-m", "u:3:rwx", "f"]).returncode
        say(groups, group, as_user(run, groups=groups), mode("f"))
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn set_group_id_of_a_directory_is_handed_down_and_not_given_to_strangers() {
    let fixture = Fixture::open_to_all();
    let script = r#"
os.mkdir("shared")
os.chown("shared", 0, 100)
os.chmod("shared", 0o2777)
def fill():
    os.umask(0o027)
    os.mkdir("shared/dir")
    os.close(os.open("shared/file", os.O_CREAT | os.O_WRONLY, 0o2775))
    os.mkfifo("shared/fifo")
    os.symlink("x", "shared/link")
    os.mknod("shared/node", 0o2755 | stat.S_IFREG)
    os.close(os.open("own", os.O_CREAT | os.O_WRONLY, 0o7777))
    os.mkdir("own dir", 0o7777)
say(as_user(fill))
for name in ["shared/" + name for name in sorted(os.listdir("shared"))] + ["own", "own dir"]:
    facts = os.lstat(name)
    say(name, facts.st_uid, facts.st_gid, mode(name))
make("mine", b"x", 0o755, (NOBODY, 0))
say("chmod in a strange group", as_user(lambda: os.chmod("mine", 0o2755)), mode("mine"))
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn set_user_id_does_not_count_on_a_mount_unless_suid_is_given() {
    let fixture = Fixture::open_to_all();
    let who = |fixture: &Fixture| {
        let mnt = fixture.mnt();
        let mnt = mnt.display();
        sh(&format!(
            "cp /usr/bin/id {mnt}/id; chmod 4755 {mnt}/id; setpriv --reuid=65534 --clear-groups {mnt}/id -u"
        ))
    };
    assert_eq!(who(&fixture), "65534\n");
    fixture.umount();
    fixture.mount(&["allow_other", "suid"]);
    assert_eq!(who(&fixture), "0\n");
}

#[test]
fn a_sticky_directory_keeps_others_from_removing_what_is_not_theirs() {
    let fixture = Fixture::open_to_all();
    let script = r#"
os.mkdir("sticky")
os.chmod("sticky", 0o1777)
make("sticky/file", b"x", 0o666)
make("sticky/theirs", b"x", 0o666, (NOBODY, NOBODY))
say(as_user(lambda: os.unlink("sticky/file")), as_user(lambda: os.rename("sticky/file", "sticky/other")))
say(as_user(lambda: os.rename("sticky/theirs", "sticky/file")), as_user(lambda: os.unlink("sticky/theirs")))
say(as_user(lambda: os.setxattr("sticky", "user.a", b"1")))
"#;
    same_as_beside(&fixture, script);
}

#[test]
fn what_a_kernel_does_not_ask_for_keeps_the_bits() {
    let fixture = Fixture::open_to_all();
    let script = r#"
make("f", b"x", 0o6775, (NOBODY, NOBODY))
say(as_user(lambda: os.chown("f", -1, -1)), mode("f"))
make("f", b"x", 0o2767, (0, 0))
say(as_user(lambda: os.write(os.open("f", os.O_WRONLY), b"w")), mode("f"))
"#;
    assert_eq!(python(&fixture.mnt(), script), "None 0o106775\n1 0o102767\n");
}

/// What a process of root does that has no capability: `setpriv` gives it none, and the bounding set none to what it executes.
const ROOT_WITHOUT_CAPABILITIES: &str = r#"
def bare(command):
    words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "sh", "-c", command]
    return subprocess.run(words, capture_output=True, text=True).stdout
"#;

#[test]
fn on_a_mount_of_root_alone_permission_bits_decide_where_it_asks_for_that() {
    let script = r#"
make("f", b"theirs", 0o600, (NOBODY, NOBODY))
os.mkdir("d", 0o700)
os.chown("d", NOBODY, NOBODY)
say(bare("cat f; touch d/made && echo made; chmod 777 f && echo changed"))
"#;
    let script = format!("{ROOT_WITHOUT_CAPABILITIES}{script}");
    let fixture = Fixture::with(&["default_permissions"]);
    same_as_beside(&fixture, &script);
    fixture.umount();
    fixture.mount(&[]);
    std::fs::remove_dir_all(fixture.file("work")).unwrap();
    assert_eq!(python(&fixture.mnt(), &script), "theirsmade\nchanged\n\n");
}

#[test]
fn root_executes_only_what_somebody_may() {
    let script = r#"
make("f", b'#!/bin/sh\necho ran\n', 0o644)
os.mkdir("d", 0o000)
run = lambda: subprocess.run(["./f"], capture_output=True, text=True).stdout
for bits in (0o600, 0o644, 0o000, 0o010, 0o001, 0o100):
    os.chmod("f", bits)
    say(oct(bits), [os.access("f", how) for how in (os.F_OK, os.R_OK, os.W_OK, os.X_OK)], outcome(run))
say([os.access("d", how) for how in (os.R_OK, os.W_OK, os.X_OK)], outcome(os.chdir, "d"), os.access("missing", os.F_OK))
"#;
    for options in [&[][..], &["default_permissions"]] {
        same_as_beside(&Fixture::with(options), script);
    }
}

#[test]
fn an_access_control_list_is_kept_and_inherited_on_a_mount_of_root_alone() {
    let script = r#"
os.mkdir("d")
make("f", b"x", 0o600)
for words in (["-m", "u:3:rw", "f"], ["-d", "-m", "u:3:rwx,g::r", "d"]):
    say(subprocess.run(["setfacl", *words]).returncode)
say(mode("f"))
os.umask(0o027)
make("d/f", b"x", 0o644)
os.mkdir("d/d")
say(subprocess.run("getfacl -R .", shell=True, capture_output=True, text=True).stdout)
os.chmod("f", 0o640)
say(subprocess.run(["getfacl", "f"], capture_output=True, text=True).stdout)
"#;
    same_as_beside(&Fixture::new(), script);
}
