//! Renaming, with all flags of `renameat2(2)`.

use crate::fixture::{Fixture, same_as_beside};

const RENAME: &str = r#"
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
def rename(old, new, flags=0):
    return c("renameat2", -100, old.encode(), -100, new.encode(), flags)
def content(name):
    return outcome(lambda: open(name).read())
"#;

#[test]
fn noreplace_refuses_an_existing_name_and_exchange_swaps_two_of_any_kind() {
    let fixture = Fixture::new();
    let script = r#"
make("a", b"1")
make("b", b"2")
say(rename("a", "b", NOREPLACE), content("a"), content("b"))
say(rename("a", "c", NOREPLACE), content("a"), content("c"))
say(rename("b", "c", EXCHANGE), content("b"), content("c"))
os.mkdir("dir")
make("dir/inner", b"3")
os.symlink("nowhere", "link")
opened = open("b", "r+")
say(rename("b", "dir", EXCHANGE), content("b/inner"), content("dir"), opened.read())
say(rename("dir", "b/inner", EXCHANGE), content("dir"), content("b/inner"))
say(rename("link", "c", EXCHANGE), os.readlink("c"), content("link"))
opened.write(" and more")
opened.close()
say(content("b/inner"), rename("absent", "c", EXCHANGE), rename("c", "absent", EXCHANGE))
say(rename("c", "absent", NOREPLACE | EXCHANGE), rename("c", "absent", 8))
"#;
    same_as_beside(&fixture, &format!("{RENAME}{script}"));
}

#[test]
fn whiteout_leaves_a_device_of_number_zero_behind() {
    let fixture = Fixture::open_to_all();
    let script = r#"
make("a", b"1")
say(rename("a", "b", WHITEOUT), content("b"), mode("a"), os.lstat("a").st_rdev)
say(rename("b", "c", WHITEOUT | NOREPLACE), rename("c", "d", WHITEOUT | EXCHANGE), sorted(os.listdir(".")))
make("theirs", b"1", 0o644, (NOBODY, NOBODY))
say(as_user(lambda: rename("theirs", "moved", WHITEOUT)), os.lstat("theirs").st_uid, os.lstat("theirs").st_gid)
"#;
    same_as_beside(&fixture, &format!("{RENAME}{script}"));
}

#[test]
fn a_rename_that_cannot_be_says_why() {
    let fixture = Fixture::new();
    let script = r#"
os.makedirs("dir/sub")
os.mkdir("full")
os.mkdir("empty")
make("full/f")
make("file")
os.link("file", "same")
for old, new in [("dir", "file"), ("file", "dir"), ("dir", "dir/sub/x"), ("dir", "full"), ("empty", "full"),
                 ("dir", "full/.."), (".", "x"), ("file", "same"), ("file", "file/x"), ("absent", "x"),
                 ("dir", "empty"), ("file", "n" * 256), ("same", "full/f")]:
    say(old[:9], new[:9], rename(old, new))
say([(at, sorted(dirs), sorted(files)) for at, dirs, files in sorted(os.walk("."))])
"#;
    same_as_beside(&fixture, &format!("{RENAME}{script}"));
}
