//! Files under a key of several regions: the key of the home's own region governs them, and a related key opens their data keys.

use std::fs;

use crate::fixture::{ENOKEY, Fixture, errno};

/// A mount whose new files are under a multi-Region key that has a replica in `eu-west-1`; the key's id.
fn related(fixture: &Fixture) -> String {
    let made = fixture.kms(&["create-key", "--multi-region"]);
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    fixture.kms(&["replicate-key", "--key-id", &key, "--replica-region", "eu-west-1"]);
    fixture.kms(&["update-alias", "--alias-name", "alias/main", "--target-key-id", &key]);
    key
}

#[test]
fn a_mount_obeys_the_key_of_its_region_and_no_related_one() {
    let fixture = Fixture::new();
    let key = related(&fixture);
    fs::write(fixture.file("f"), b"of several regions").unwrap();
    let named = fixture.inspect(&fixture.file("f"))["key"].as_str().unwrap().to_owned();
    assert!(named.starts_with("arn:aws:kms:us-east-1:") && named.ends_with(&key), "{named}");
    let open = fs::File::open(fixture.file("f")).unwrap();
    let read = || std::os::unix::fs::FileExt::read_at(&open, &mut [0; 4], 0);
    fixture.kms(&["--region", "eu-west-1", "disable-key", "--key-id", &key]);
    assert_eq!(fs::read(fixture.file("f")).unwrap(), b"of several regions");
    assert_eq!(read().unwrap(), 4);
    fixture.kms(&["disable-key", "--key-id", &key]);
    assert_eq!(errno(fs::read(fixture.file("f"))), ENOKEY);
    assert_eq!(errno(read()), ENOKEY);
    fixture.kms(&["--region", "eu-west-1", "enable-key", "--key-id", &key]);
    assert_eq!(errno(fs::read(fixture.file("f"))), ENOKEY, "a replica gives nothing back");
    fixture.kms(&["enable-key", "--key-id", &key]);
    assert_eq!(fs::read(fixture.file("f")).unwrap(), b"of several regions");
    assert_eq!(read().unwrap(), 4);
}

#[test]
fn files_are_read_after_rotations_and_after_their_key_became_a_replica() {
    let fixture = Fixture::new();
    let key = related(&fixture);
    fs::write(fixture.file("old"), b"old").unwrap();
    fixture.kms(&["rotate-key-on-demand", "--key-id", &key]);
    fixture.kms(&["update-primary-region", "--key-id", &key, "--primary-region", "eu-west-1"]);
    fixture.kms(&["--region", "eu-west-1", "rotate-key-on-demand", "--key-id", &key]);
    fs::write(fixture.file("new"), b"new").unwrap();
    assert_eq!(fixture.inspect(&fixture.file("new"))["keyVersion"], 3);
    fixture.umount();
    fixture.mount(&[]);
    assert_eq!(fs::read(fixture.file("old")).unwrap(), b"old");
    assert_eq!(fs::read(fixture.file("new")).unwrap(), b"new");
}

#[test]
fn the_data_key_of_a_file_is_decrypted_by_a_related_key_of_another_region() {
    let fixture = Fixture::new();
    related(&fixture);
    fs::write(fixture.file("f"), b"x").unwrap();
    fixture.umount();
    let header = fs::read(fixture.dir().join("f")).unwrap();
    let at = header.windows(4).position(|bytes| bytes == b"kms\x02").expect("a wrapped data key");
    let blob = fixture.path("blob");
    fs::write(&blob, &header[at..at + 128]).unwrap();
    let inspected = fixture.inspect(&fixture.dir().join("f"));
    let configuration = fs::read_to_string(fixture.dir().join(".kmsfs/volume.json")).unwrap();
    let configuration: serde_json::Value = serde_json::from_str(&configuration).unwrap();
    let context = serde_json::json!({
        "kmsfs:volume": configuration["id"], "kmsfs:file": inspected["fileId"]
    });
    let opened = |region: &str| {
        fixture.kms(&[
            "--region",
            region,
            "decrypt",
            "--ciphertext-blob",
            &format!("fileb://{}", blob.display()),
            "--encryption-context",
            &context.to_string(),
        ])["Plaintext"]
            .clone()
    };
    assert_eq!(opened("us-east-1"), opened("eu-west-1"));
}

/// FORMAT.md, sections 3 and 12: with the key file alone.
#[test]
fn the_second_reader_reads_a_file_under_a_key_of_several_regions() {
    let fixture = Fixture::new();
    related(&fixture);
    fs::write(fixture.file("f"), vec![b'm'; 10_000]).unwrap();
    fixture.umount();
    let mut reader = crate::reader::reader(&fixture);
    assert_eq!(reader.scrub(&fixture.dir().join("f")).unwrap(), vec![b'm'; 10_000]);
}
