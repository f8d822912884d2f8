//! Files under imported key material: what its end and its return mean for whoever has them open (rules IMP-4 to IMP-6).

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kmsfs::store::Home;

use crate::fixture::{Fixture, errno, pattern, sh};

const EKEYEXPIRED: i32 = libc::EKEYEXPIRED;
const NEVER: [&str; 2] = ["--expiration-model", "KEY_MATERIAL_DOES_NOT_EXPIRE"];

/// A mount whose files are under a key of origin EXTERNAL; its id.
fn mounted(setup: &[&str]) -> (Fixture, String) {
    let fixture = Fixture::unmounted();
    fs::remove_dir_all(fixture.path("home")).unwrap();
    fs::remove_dir_all(fixture.dir()).unwrap();
    let key_file = fixture.path("key-file");
    fixture.ok(&[&["setup", "--key-file", key_file.to_str().unwrap()], setup].concat());
    let key = fixture.kms(&["create-key", "--origin", "EXTERNAL"])["KeyMetadata"]["KeyId"]
        .as_str()
        .unwrap()
        .to_owned();
    fixture.kms(&["create-alias", "--alias-name", "alias/mine", "--target-key-id", &key]);
    fixture.ok(&["init", fixture.dir().to_str().unwrap(), "--key", "alias/mine"]);
    (fixture, key)
}

/// Imports 32 bytes of `material` into `key` as the owner of an HSM does.
fn import(fixture: &Fixture, key: &str, material: u8, more: &[&str]) {
    let parameters = fixture.kms(&[
        "get-parameters-for-import",
        "--key-id",
        key,
        "--wrapping-algorithm",
        "RSAES_OAEP_SHA_256",
        "--wrapping-key-spec",
        "RSA_2048",
    ]);
    for (member, file) in [("PublicKey", "public"), ("ImportToken", "token")] {
        fs::write(fixture.path(file), BASE64.decode(parameters[member].as_str().unwrap()).unwrap()).unwrap();
    }
    fs::write(fixture.path("material"), [material; 32]).unwrap();
    sh(&format!(
        "cd {} && openssl pkeyutl -encrypt -pubin -keyform DER -inkey public -in material -out wrapped \
         -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256",
        fixture.temp.path().display()
    ));
    let blob = |name: &str| format!("fileb://{}", fixture.path(name).display());
    let (token, wrapped) = (blob("token"), blob("wrapped"));
    let request = [
        "import-key-material",
        "--key-id",
        key,
        "--import-token",
        &token,
        "--encrypted-key-material",
        &wrapped,
    ];
    fixture.kms(&[&request, more].concat());
}

/// Every way to the content of `path`, which `open` has open and the kernel has cached, is refused; what needs no content goes on.
#[track_caller]
fn is_expired(fixture: &Fixture, path: &Path, open: &File) {
    let mut byte = [0];
    assert_eq!(errno(File::open(path)), EKEYEXPIRED, "open");
    assert_eq!(errno(open.read_at(&mut byte, 0)), EKEYEXPIRED, "read of a cached page");
    assert_eq!(errno(open.write_at(b"x", 0)), EKEYEXPIRED, "write");
    assert_eq!(errno(open.set_len(5)), EKEYEXPIRED, "truncate by descriptor");
    assert_eq!(errno(OpenOptions::new().write(true).truncate(true).open(path)), EKEYEXPIRED, "O_TRUNC");
    assert_eq!(errno(File::create(fixture.file("new"))), EKEYEXPIRED, "create");
    assert!(fs::metadata(path).unwrap().len() > 5);
    open.sync_all().unwrap();
    fs::rename(path, fixture.file("elsewhere")).unwrap();
    fs::rename(fixture.file("elsewhere"), path).unwrap();
    assert_eq!(fixture.inspect(path)["keyState"], "PendingImport");
}

/// A file of this content, open, and with its pages cached.
fn written(fixture: &Fixture, name: &str, content: &[u8]) -> File {
    fs::write(fixture.file(name), content).unwrap();
    let open = OpenOptions::new().read(true).write(true).open(fixture.file(name)).unwrap();
    is_there(&open, content);
    open
}

#[track_caller]
fn is_there(open: &File, content: &[u8]) {
    let mut read = vec![0; content.len()];
    open.read_exact_at(&mut read, 0).unwrap();
    assert!(read == content, "the descriptor reads what was written");
}

#[test]
fn imp_5_at_its_date_a_mount_refuses_with_ekeyexpired_and_an_import_brings_all_back_on_open_descriptors() {
    let (fixture, key) = mounted(&[]);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    // Later, it is moved to where the test waits for it.
    import(&fixture, &key, 7, &["--valid-to", &format!("{}", now() + 3600.0)]);
    fixture.mount(&[]);
    let content = pattern(1, 100_000);
    let open = written(&fixture, "f", &content);
    // Far enough for a machine that is busy with other tests.
    let valid_to = now() + 10.0;
    import(&fixture, &key, 7, &["--valid-to", &format!("{valid_to}")]);
    is_there(&open, &content);

    // Nobody but the mount looks at the home from here on.
    let mut byte = [0];
    let refused_at = loop {
        let (before, outcome) = (now(), open.read_at(&mut byte, 0));
        match outcome {
            Ok(_) => assert!(before < valid_to + 8.0, "readable long after its date"),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(EKEYEXPIRED));
                break now();
            }
        }
        thread::sleep(Duration::from_millis(20));
    };
    assert!(refused_at >= valid_to, "refused {} s before its date", valid_to - refused_at);
    is_expired(&fixture, &fixture.file("f"), &open);
    let [record] = fixture.records("DeleteExpiredKeyMaterial").try_into().unwrap();
    assert!(record["resources"][0]["ARN"].as_str().unwrap().ends_with(&key));
    let metadata = &fixture.with_key("describe-key", &key)["KeyMetadata"];
    assert_eq!((&metadata["KeyState"], metadata.get("ValidTo")), (&"PendingImport".into(), None));

    let daemon = fixture.daemon();
    import(&fixture, &key, 7, &NEVER);
    is_there(&open, &content);
    open.write_all_at(b"written to again", 0).unwrap();
    assert_eq!(&fs::read(fixture.file("f")).unwrap()[..16], b"written to again");
    assert_eq!(fixture.daemon(), daemon, "it is the same mount");
}

#[test]
fn imp_6_when_the_material_is_deleted_no_read_succeeds_any_more_and_nothing_is_lost() {
    let (fixture, key) = mounted(&[]);
    import(&fixture, &key, 7, &NEVER);
    fixture.new_key("alias/other");
    fixture.mount(&[]);
    fs::create_dir(fixture.file("other")).unwrap();
    rustix::fs::setxattr(
        fixture.file("other"),
        "user.kmsfs.default-key",
        b"alias/other",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let other = written(&fixture, "other/f", b"of another key");
    let content = pattern(2, 50_000);
    let open = written(&fixture, "f", &content);
    open.write_all_at(b"not synced yet", 4096).unwrap();
    let began = Instant::now();
    fixture.with_key("delete-imported-key-material", &key);
    is_expired(&fixture, &fixture.file("f"), &open);
    assert!(began.elapsed() < Duration::from_secs(20));
    is_there(&other, b"of another key");
    drop((open, other));
    // A home that is opened afresh has nothing that opens it, and only the same bytes help.
    fixture.umount();
    fixture.mount(&[]);
    assert_eq!(errno(File::open(fixture.file("f"))), EKEYEXPIRED);
    import(&fixture, &key, 7, &NEVER);
    let mut expected = content;
    expected[4096..4110].copy_from_slice(b"not synced yet");
    assert!(fs::read(fixture.file("f")).unwrap() == expected);
}

#[test]
fn imp_4_files_of_every_version_read_only_while_all_of_the_material_is_there() {
    let (fixture, key) = mounted(&[]);
    import(&fixture, &key, 1, &NEVER);
    fixture.mount(&[]);
    let old = written(&fixture, "old", b"under the first");
    let first = fixture.with_key("describe-key", &key)["KeyMetadata"]["CurrentKeyMaterialId"].clone();
    import(&fixture, &key, 2, &[NEVER.as_slice(), &["--import-type", "NEW_KEY_MATERIAL"]].concat());
    fixture.with_key("rotate-key-on-demand", &key);
    let new = written(&fixture, "new", b"under the second");
    let version = |name: &str| fixture.inspect(&fixture.file(name))["keyVersion"].clone();
    assert_eq!((version("old"), version("new")), (1.into(), 2.into()));

    let first = first.as_str().unwrap();
    fixture.kms(&["delete-imported-key-material", "--key-id", &key, "--key-material-id", first]);
    for open in [&old, &new] {
        assert_eq!(errno(open.read_at(&mut [0], 0)), EKEYEXPIRED);
    }
    import(&fixture, &key, 1, &NEVER);
    is_there(&old, b"under the first");
    is_there(&new, b"under the second");
}

#[test]
fn t_1_a_clock_that_passes_the_end_has_every_mount_refuse_before_the_command_ends() {
    let (fixture, key) = mounted(&["--simulated-clock"]);
    let home = Home::open(&fixture.path("home")).unwrap();
    let end = home.now().unwrap().plus_days(30).as_seconds_f64();
    drop(home);
    import(&fixture, &key, 7, &["--valid-to", &format!("{end}")]);
    fixture.mount(&[]);
    let open = written(&fixture, "f", b"content");
    fixture.ok(&["clock", "advance", "29d"]);
    is_there(&open, b"content");
    let said = fixture.ok(&["clock", "advance", "2d"]);
    // Not a moment later: nothing is waited for here.
    assert_eq!(errno(open.read_at(&mut [0], 0)), EKEYEXPIRED);
    is_expired(&fixture, &fixture.file("f"), &open);
    let line = said.lines().next().unwrap();
    assert!(line.contains(" material of arn:") && line.ends_with(" expired (alias/mine)"), "{said}");
    import(&fixture, &key, 7, &NEVER);
    is_there(&open, b"content");
}

#[test]
fn imp_5_a_simulated_clock_brings_the_end_at_once_and_to_the_keys_whose_end_it_is() {
    let (fixture, key) = mounted(&["--simulated-clock"]);
    let home = Home::open(&fixture.path("home")).unwrap();
    let days = |days: u32| format!("{}", home.now().unwrap().plus_days(days).as_seconds_f64());
    import(&fixture, &key, 7, &["--valid-to", &days(30)]);
    fixture.mount(&[]);
    let open = written(&fixture, "f", b"content");
    home.advance_clock(Duration::from_secs(29 * 86_400)).unwrap();
    is_there(&open, b"content");
    // Before its end comes, the end is moved.
    import(&fixture, &key, 7, &["--valid-to", &days(30)]);
    home.advance_clock(Duration::from_secs(29 * 86_400)).unwrap();
    is_there(&open, b"content");
    home.advance_clock(Duration::from_secs(86_400)).unwrap();
    assert_eq!(errno(File::open(fixture.file("f"))), EKEYEXPIRED, "an open sees it at once");
    let until = Instant::now() + Duration::from_secs(5);
    while open.read_at(&mut [0], 0).is_ok() {
        assert!(Instant::now() < until, "the mount looks at its keys every second");
        thread::sleep(Duration::from_millis(20));
    }
    is_expired(&fixture, &fixture.file("f"), &open);
}
