//! What a key governs: `kmsfs impact`, `kmsfs keys`, and what the scheduling of a deletion says (rule DEL-4).

use std::fs::{self, File};
use std::path::Path;

use serde_json::Value;

use crate::fixture::{EKEYREVOKED, Fixture, errno, pattern};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn impact(fixture: &Fixture, arguments: &[&str]) -> Value {
    let out = fixture.ok(&[&["impact", "--json"], arguments].concat());
    serde_json::from_str(&out).unwrap()
}

fn versions(report: &Value) -> Vec<(u64, u64, u64)> {
    let number = |value: &Value| value.as_u64().unwrap();
    let versions = report["volumes"][0]["versions"].as_array().unwrap();
    versions
        .iter()
        .map(|one| (number(&one["version"]), number(&one["files"]), number(&one["bytes"])))
        .collect()
}

#[test]
fn rot_8_impact_shows_which_files_are_under_an_old_version_and_a_rewrap_moves_them() {
    let fixture = Fixture::new();
    for dir in ["a", "b"] {
        fs::create_dir(fixture.file(dir)).unwrap();
        for number in 0..50 {
            fs::write(fixture.file(&format!("{dir}/{number}")), pattern(number, 1_000)).unwrap();
        }
    }
    assert_eq!(versions(&impact(&fixture, &["alias/main"])), [(1, 100, 100_000)]);
    fixture.with_key("rotate-key-on-demand", &fixture.key);
    fs::write(fixture.file("new"), "x").unwrap();
    let report = impact(&fixture, &[&fixture.key]);
    assert_eq!(versions(&report), [(1, 100, 100_000), (2, 1, 1)]);
    assert_eq!(
        (&report["files"], &report["bytes"], &report["currentVersion"]),
        (&101.into(), &100_001.into(), &2.into())
    );
    let directories = report["volumes"][0]["directories"].as_array().unwrap();
    let named: Vec<_> = directories.iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!(named, ["a", "b", "."]);
    let within = impact(&fixture, &["alias/main", text(&fixture.file("a"))]);
    assert_eq!(versions(&within), [(1, 50, 50_000)]);
    fixture.ok(&["rewrap", "-r", text(&fixture.mnt())]);
    assert_eq!(versions(&impact(&fixture, &["alias/main"])), [(2, 101, 100_001)]);
}

#[test]
fn del_4_impact_says_how_many_files_are_open_where_they_are_and_who_used_the_key_last() {
    let fixture = Fixture::new();
    let other = fixture.new_key("alias/other");
    fs::write(fixture.file("closed"), "four").unwrap();
    fs::write(fixture.file("open"), "seven b").unwrap();
    fs::hard_link(fixture.file("closed"), fixture.file("link")).unwrap();
    fs::write(fixture.file("moved"), "x").unwrap();
    fixture.ok(&["rewrap", text(&fixture.file("moved")), "--to", "alias/other"]);
    let _open = File::open(fixture.file("open")).unwrap();
    let report = impact(&fixture, &["alias/main"]);
    assert_eq!(
        (&report["files"], &report["bytes"], &report["openFiles"]),
        (&2.into(), &11.into(), &1.into())
    );
    assert_eq!(report["volumes"][0]["path"], text(&fixture.dir()));
    let last = &report["lastUse"];
    assert_eq!((&last["operation"], &last["path"]), (&"Decrypt".into(), &"open".into()));
    assert_eq!(last["by"], "arn:aws:iam::000000000000:root");
    assert_eq!(impact(&fixture, &["alias/other"])["files"], 1);
    // Whatever the key's state; and it is told who was refused.
    fixture.with_key("disable-key", &other);
    fs::read(fixture.file("moved")).unwrap_err();
    let report = impact(&fixture, &[&other]);
    assert_eq!((&report["files"], &report["state"]), (&1.into(), &"Disabled".into()));
    assert_eq!(report["lastRefusal"]["refused"], "DisabledException");
    let said = fixture.ok(&["impact", "alias/main"]);
    for line in [
        "2 files, 11 bytes, 1 open now",
        "version 1 (the current one): 2 files",
        "directory .: 2 files",
        "last used ",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(fixture.run(&["impact", "alias/none"]).code, 6);
}

#[test]
fn del_4_scheduling_a_deletion_says_what_will_be_lost_and_leaves_aws_its_answer() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), pattern(1, 12_345)).unwrap();
    let unused = fixture.new_key("alias/unused");
    let schedule = |key: &str| fixture.run(&["kms", "schedule-key-deletion", "--key-id", key]);
    let said = schedule(&unused);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "nothing is known to need it");
    let said = schedule(&fixture.key);
    assert_eq!(said.code, 0);
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(answer["KeyState"], "PendingDeletion");
    for words in ["1 file, 12345 bytes", text(&fixture.dir()), "last used "] {
        assert!(said.err.contains(words), "{words}: {}", said.err);
    }
    // A key that is asked for while it waits to be destroyed is marked.
    let keys = fixture.ok(&["keys"]);
    assert!(!keys.contains('!'), "{keys}");
    assert_eq!(errno(fs::read(fixture.file("f"))), EKEYREVOKED);
    let keys = fixture.ok(&["keys"]);
    assert!(keys.contains("PendingDeletion !"), "{keys}");
    assert!(keys.contains(&format!("! {} is pending deletion and still asked for", fixture.key)), "{keys}");
}

#[test]
fn del_4_a_file_whose_header_cannot_be_read_is_counted_and_named() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), "x").unwrap();
    fs::write(fixture.dir().join("garbage"), "garbage").unwrap();
    let said = fixture.run(&["impact", "alias/main"]);
    assert_eq!(said.code, 20, "{}", said.err);
    assert!(said.out.contains("1 file, 1 bytes") && said.out.contains("damaged: "), "{}", said.out);
    assert!(said.err.contains("1 file without a header that can be read"), "{}", said.err);
}

#[test]
fn volumes_are_known_from_when_they_are_made_and_found_where_they_were_mounted_last() {
    let fixture = Fixture::unmounted();
    assert_eq!(impact(&fixture, &["alias/main"])["volumes"].as_array().unwrap().len(), 1);
    let moved = fixture.path("moved");
    fs::rename(fixture.dir(), &moved).unwrap();
    let report = impact(&fixture, &["alias/main"]);
    assert_eq!(report["absent"][0]["path"], text(&fixture.dir()));
    fixture.ok(&["mount", text(&moved), text(&fixture.mnt())]);
    fs::write(fixture.file("f"), "x").unwrap();
    let report = impact(&fixture, &["alias/main"]);
    assert_eq!((report["volumes"][0]["path"].as_str(), &report["files"]), (Some(text(&moved)), &1.into()));
    assert_eq!(report["absent"], Value::Array(vec![]));
}

#[test]
fn keys_lists_what_was_counted_last_and_when_a_key_was_used() {
    let fixture = Fixture::new();
    fixture.new_key("alias/unused");
    fs::write(fixture.file("f"), pattern(1, 777)).unwrap();
    let keys = |arguments: &[&str]| -> Vec<Value> {
        serde_json::from_str(&fixture.ok(&[&["keys", "--json"], arguments].concat())).unwrap()
    };
    let of = |keys: &[Value], alias: &str| -> Value {
        keys.iter().find(|key| key["aliases"][0] == alias).unwrap().clone()
    };
    assert_eq!(of(&keys(&[]), "alias/main")["files"], Value::Null);
    assert!(fixture.ok(&["keys"]).contains("not counted yet"));
    let counted = keys(&["--count"]);
    let main = of(&counted, "alias/main");
    assert_eq!((&main["files"], &main["bytes"]), (&1.into(), &777.into()));
    assert_eq!(main["lastUse"]["operation"], "GenerateDataKey");
    assert_eq!(of(&counted, "alias/unused")["files"], 0);
    fs::write(fixture.file("g"), "x").unwrap();
    assert_eq!(of(&keys(&[]), "alias/main")["files"], 1, "as it was counted");
    fixture.ok(&["impact", "alias/unused"]);
    assert_eq!(of(&keys(&[]), "alias/main")["files"], 2, "one count counts all keys");
    let said = fixture.ok(&["keys"]);
    assert!(said.contains("Files as counted at 20") && !said.contains('\x1b'), "{said}");
}
