//! Importing key material with the tools of somebody who has it in an HSM: `openssl` wraps, as `docs/KEYS.md` says.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use crate::fixture::Fixture;

const KEYS: &str = include_str!("../../docs/KEYS.md");

/// What the manual says between two headings.
fn section(heading: &str) -> &'static str {
    let rest = KEYS.split_once(heading).unwrap_or_else(|| panic!("docs/KEYS.md has no {heading}")).1;
    rest.split("\n## ").next().unwrap()
}

/// Wrapping algorithms, and what makes openssl use them, from the manual's table.
fn algorithms() -> Vec<(&'static str, Vec<&'static str>)> {
    let rows = section("## Imported key material").lines().filter(|line| line.starts_with("| RSAES_"));
    let rows: Vec<_> = rows
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            (cells[1], cells[2].trim_matches('`').split(' ').collect())
        })
        .collect();
    assert_eq!(rows.len(), 3, "{rows:?}");
    rows
}

fn bash(fixture: &Fixture, script: &str) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_kmsfs")).parent().unwrap();
    Command::new("timeout")
        .args(["-k", "5", "60", "bash", "-euo", "pipefail", "-c", script])
        .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
        .env("KMSFS_HOME", fixture.path("home"))
        .current_dir(fixture.temp.path())
        .output()
        .unwrap()
}

/// Wraps the file `material` as `wrapped`, under the public key in the file `public`.
fn openssl(fixture: &Fixture, options: &[&str]) {
    let status = Command::new("openssl")
        .args(["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "public"])
        .args(["-in", "material", "-out", "wrapped"])
        .args(options)
        .current_dir(fixture.temp.path())
        .status()
        .unwrap();
    assert!(status.success(), "openssl {options:?}");
}

/// Fetches parameters, wraps the file `material` and imports it; what the command said.
fn import(fixture: &Fixture, key: &str, algorithm: (&str, &[&str]), spec: &str) -> crate::fixture::Said {
    let parameters = fixture.kms(&[
        "get-parameters-for-import",
        "--key-id",
        key,
        "--wrapping-algorithm",
        algorithm.0,
        "--wrapping-key-spec",
        spec,
    ]);
    for (member, file) in [("PublicKey", "public"), ("ImportToken", "token")] {
        let bytes = BASE64.decode(parameters[member].as_str().unwrap()).unwrap();
        fs::write(fixture.path(file), bytes).unwrap();
    }
    openssl(fixture, algorithm.1);
    fixture.run(&[
        "kms",
        "import-key-material",
        "--key-id",
        key,
        "--import-token",
        "fileb://token",
        "--encrypted-key-material",
        "fileb://wrapped",
        "--expiration-model",
        "KEY_MATERIAL_DOES_NOT_EXPIRE",
    ])
}

#[test]
fn imp_2_openssl_wraps_with_every_algorithm_and_every_size_of_key() {
    let fixture = Fixture::bare();
    fixture.ok(&["setup", "--key-file", "key-file", "--no-recovery-code", "--legacy-wrapping"]);
    let key = fixture.kms(&["create-key", "--origin", "EXTERNAL"])["KeyMetadata"]["KeyId"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut ids = Vec::new();
    for (name, options) in algorithms() {
        for spec in ["RSA_2048", "RSA_3072", "RSA_4096"] {
            // The same material each time: that it has one id says that each wrap gave the same bytes.
            fs::write(fixture.path("material"), [0xa5; 32]).unwrap();
            let said = import(&fixture, &key, (name, &options), spec);
            assert_eq!(said.code, 0, "{name}, {spec}: {said:?}");
            ids.push(said.out);
            fs::write(fixture.path("material"), [0x5a; 32]).unwrap();
            let said = import(&fixture, &key, (name, &options), spec);
            assert!(said.err.contains("(IncorrectKeyMaterialException)"), "{name}, {spec}: {said:?}");
        }
    }
    assert_eq!(ids.len(), 9);
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(fixture.kms(&["describe-key", "--key-id", &key])["KeyMetadata"]["KeyState"], "Enabled");
}

#[test]
fn imp_7_the_example_in_the_manual_works_and_says_that_the_material_is_the_caller_s_to_keep() {
    let fixture = Fixture::new();
    let example = section("## Imported key material").split("```sh\n").nth(1).unwrap();
    let output = bash(&fixture, example.split("```").next().unwrap());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(
        said,
        "note: this CMK is only as durable as your own copy of its key material. kmsfs never gives the material out: once \
         it has expired or\nwas deleted, only the same bytes, imported again, bring the CMK and its files back. Keep them \
         in a safe place.\n"
    );
    assert_eq!(fixture.names(), ["home", "key-file", "material.bin", "wrapping-key.der"]);
    let metadata = &fixture.kms(&["describe-key", "--key-id", "alias/mine"])["KeyMetadata"];
    assert_eq!((&metadata["KeyState"], &metadata["Origin"]), (&"Enabled".into(), &"EXTERNAL".into()));
    let blob = fixture.kms(&["encrypt", "--key-id", "alias/mine", "--plaintext", "aGVsbG8="]);
    let blob = blob["CiphertextBlob"].as_str().unwrap();
    assert_eq!(fixture.kms(&["decrypt", "--ciphertext-blob", blob])["Plaintext"], "aGVsbG8=");
}

#[test]
fn the_example_of_a_private_key_in_the_manual_works_and_openssl_verifies_what_it_signs() {
    let fixture = Fixture::new();
    let example = section("### Other kinds").split("```sh\n").nth(1).unwrap();
    let output = bash(&fixture, example.split("```").next().unwrap());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("Verified OK\n"), "{said}");
    let left = ["contract", "contract.sig", "home", "key-file", "private.pem", "public.der"];
    assert_eq!(fixture.names(), left);
}

#[test]
fn imp_3_the_date_of_an_end_is_read_as_the_aws_cli_reads_it() {
    let fixture = Fixture::new();
    let key = fixture.kms(&["create-key", "--origin", "EXTERNAL"])["KeyMetadata"]["KeyId"].clone();
    let key = key.as_str().unwrap();
    fs::write(fixture.path("material"), [1; 32]).unwrap();
    let (name, options) = &algorithms()[0];
    assert_eq!(import(&fixture, key, (name, options), "RSA_2048").code, 0);
    let day = Command::new("date").args(["-u", "-d", "+ 30 days", "+%F"]).output().unwrap();
    let day = String::from_utf8(day.stdout).unwrap().trim().to_owned();
    for (given, expected) in [
        (format!("{day}T18:00:00+01:00"), format!("{day}T17:00:00+00:00")),
        (format!("{day}T18:00:00Z"), format!("{day}T18:00:00+00:00")),
        (day.clone(), format!("{day}T00:00:00+00:00")),
    ] {
        fixture.run(&[
            "kms",
            "import-key-material",
            "--key-id",
            key,
            "--import-token",
            "fileb://token",
            "--encrypted-key-material",
            "fileb://wrapped",
            "--valid-to",
            &given,
        ]);
        let metadata = fixture.kms(&["describe-key", "--key-id", key])["KeyMetadata"].clone();
        assert_eq!(metadata["ValidTo"], expected.as_str(), "{given}");
        assert_eq!(metadata["ExpirationModel"], "KEY_MATERIAL_EXPIRES");
    }
    let read = |file: &str| BASE64.encode(fs::read(fixture.path(file)).unwrap());
    let request = |valid_to: &str| {
        let request = json!({
            "KeyId": key, "ImportToken": read("token"), "EncryptedKeyMaterial": read("wrapped"), "ValidTo": valid_to
        });
        fixture.run(&["kms", "import-key-material", "--cli-input-json", &request.to_string()])
    };
    assert_eq!(request(&format!("{day}T01:02:03Z")).code, 0);
    let metadata = fixture.kms(&["describe-key", "--key-id", key])["KeyMetadata"].clone();
    assert_eq!(metadata["ValidTo"], format!("{day}T01:02:03+00:00").as_str());
    request("tomorrow").fails(252, &["\"ValidTo\": Invalid timestamp \"tomorrow\""]);
}
