//! A home's clock that is moved while the home is in use (rule T-1): when the command ends, every mount obeys what fell due.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;

use serde_json::json;

use crate::fixture::{EKEYREVOKED, Fixture, errno};

#[test]
fn t_1_eight_days_past_a_schedule_a_key_is_gone_and_its_files_say_so() {
    let fixture = Fixture::with_simulated_clock();
    let mut file = File::create(fixture.file("f")).unwrap();
    file.write_all(b"content").unwrap();
    fixture.kms(&["schedule-key-deletion", "--key-id", &fixture.key, "--pending-window-in-days", "7"]);
    let said = fixture.ok(&["clock", "advance", "6d"]);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(fixture.inspect(&fixture.file("f"))["keyState"], "PendingDeletion");
    let said = fixture.ok(&["clock", "advance", "2d"]);
    assert!(said.lines().next().unwrap().ends_with("(alias/main)"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_eq!(errno(fs::read(fixture.file("f"))), EKEYREVOKED);
    assert_eq!(errno(file.write_at(b"x", 0)), EKEYREVOKED);
    assert_eq!(fixture.run(&["kms", "describe-key", "--key-id", &fixture.key]).code, 254);
    assert_eq!(fixture.inspect(&fixture.file("f"))["keyState"], "Deleted");
    assert!(fixture.ok(&["keys"]).contains("Deleted"));
    assert_eq!(fixture.records("DeleteKey").len(), 1, "the mount saw that it was done");
}

#[test]
fn t_1_366_days_on_a_key_has_rotated_and_new_files_have_its_new_version() {
    let fixture = Fixture::with_simulated_clock();
    fs::write(fixture.file("old"), b"old").unwrap();
    fixture.with_key("enable-key-rotation", &fixture.key);
    let said = fixture.ok(&["clock", "advance", "366d", "--json"]);
    let moved: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(moved["done"][0]["event"], json!("RotateKey"));
    assert_eq!(moved["done"].as_array().unwrap().len(), 1);
    fs::write(fixture.file("new"), b"new").unwrap();
    let version = |name: &str| fixture.inspect(&fixture.file(name))["keyVersion"].clone();
    assert_eq!((version("old"), version("new")), (json!(1), json!(2)));
    assert_eq!(fs::read(fixture.file("old")).unwrap(), b"old");
    // Once more, and the file of before is as it was.
    fixture.ok(&["clock", "advance", "366d"]);
    assert_eq!(fs::read(fixture.file("old")).unwrap(), b"old");
    assert_eq!(fixture.records("RotateKey").len(), 2);
}

#[test]
fn t_1_a_clock_that_was_moved_shows_in_the_records_of_a_mount() {
    let fixture = Fixture::with_simulated_clock();
    fixture.ok(&["clock", "set", "2150-01-01T00:00:00Z"]);
    fs::write(fixture.file("f"), b"x").unwrap();
    let record = &fixture.records("GenerateDataKey")[0];
    assert!(record["eventTime"].as_str().unwrap().starts_with("2150-01-01T00:"), "{record}");
}
