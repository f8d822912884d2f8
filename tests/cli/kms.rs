//! `kmsfs kms`: what someone knows from `aws kms`. Flags and members are those of the service model `kms/2014-11-01`.

use std::fs;

use serde_json::{Value, json};

use crate::fixture::{Fixture, Said};

impl Said {
    /// Refused by the service, in the AWS CLI's words.
    #[track_caller]
    pub fn refused(&self, error: &str, operation: &str, message: &str) {
        let expected =
            format!("\nAn error occurred ({error}) when calling the {operation} operation: {message}\n");
        assert_eq!((self.code, self.out.as_str(), self.err.as_str()), (254, "", expected.as_str()));
    }
}

fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn output_is_json_with_four_blanks_and_iso_times() {
    let fixture = Fixture::new();
    let id = fixture.new_key("alias/a");
    let out = fixture.ok(&["kms", "describe-key", "--key-id", &id]);
    assert!(out.starts_with("{\n    \"KeyMetadata\": {\n        \""), "{out}");
    assert!(out.ends_with("\n    }\n}\n"), "{out}");
    let created = out.lines().find(|line| line.contains("CreationDate")).unwrap().trim();
    let time = created.strip_prefix("\"CreationDate\": \"").unwrap().strip_suffix("\",").unwrap();
    assert!(time.ends_with("+00:00") && time.len() >= 25 && &time[10..11] == "T", "{time}");
    let elsewhere = crate::fixture::said(
        fixture.command(&["kms", "describe-key", "--key-id", &id]).env("TZ", "Asia/Kolkata"),
    );
    assert!(elsewhere.out.contains("+05:30\""), "{}", elsewhere.out);
}

#[test]
fn answers_have_the_members_of_the_service_model() {
    let fixture = Fixture::new();
    let id = fixture.new_key("alias/a");
    let key = |operation: &str| fixture.kms(&[operation, "--key-id", &id]);
    let metadata = [
        "AWSAccountId",
        "Arn",
        "CreationDate",
        "CurrentKeyMaterialId",
        "CustomerMasterKeySpec",
        "Description",
        "Enabled",
        "EncryptionAlgorithms",
        "KeyId",
        "KeyManager",
        "KeySpec",
        "KeyState",
        "KeyUsage",
        "MultiRegion",
        "Origin",
    ];
    assert_eq!(members(&fixture.kms(&["create-key"])["KeyMetadata"]), metadata);
    let described = key("describe-key");
    assert_eq!(members(&described["KeyMetadata"]), metadata);
    let encrypted = fixture.kms(&["encrypt", "--key-id", "alias/a", "--plaintext", "aGVsbG8="]);
    assert_eq!(members(&encrypted), ["CiphertextBlob", "EncryptionAlgorithm", "KeyId"]);
    let blob = text(&encrypted["CiphertextBlob"]);
    let decrypted = fixture.kms(&["decrypt", "--ciphertext-blob", blob]);
    assert_eq!(members(&decrypted), ["EncryptionAlgorithm", "KeyId", "KeyMaterialId", "Plaintext"]);
    assert_eq!(decrypted["Plaintext"], "aGVsbG8=");
    let again = fixture.kms(&["re-encrypt", "--ciphertext-blob", blob, "--destination-key-id", "alias/a"]);
    assert_eq!(
        members(&again),
        [
            "CiphertextBlob",
            "DestinationEncryptionAlgorithm",
            "DestinationKeyMaterialId",
            "KeyId",
            "SourceEncryptionAlgorithm",
            "SourceKeyId",
            "SourceKeyMaterialId",
        ]
    );
    let data_key = fixture.kms(&["generate-data-key", "--key-id", "alias/a", "--key-spec", "AES_256"]);
    assert_eq!(members(&data_key), ["CiphertextBlob", "KeyId", "KeyMaterialId", "Plaintext"]);
    let sealed = fixture.kms(&[
        "generate-data-key-without-plaintext",
        "--key-id",
        "alias/a",
        "--number-of-bytes",
        "9",
    ]);
    assert_eq!(members(&sealed), ["CiphertextBlob", "KeyId", "KeyMaterialId"]);
    assert_eq!(members(&fixture.kms(&["generate-random", "--number-of-bytes", "3"])), ["Plaintext"]);
    assert_eq!(members(&key("rotate-key-on-demand")), ["KeyId"]);
    let rotations = key("list-key-rotations");
    assert_eq!(members(&rotations), ["Rotations"]);
    assert_eq!(members(&fixture.kms(&["list-keys"])["Keys"][0]), ["KeyArn", "KeyId"]);
    assert_eq!(
        members(&fixture.kms(&["list-aliases"])["Aliases"][0]),
        ["AliasArn", "AliasName", "CreationDate", "LastUpdatedDate", "TargetKeyId"]
    );
    let usage = key("get-key-last-usage");
    assert_eq!(members(&usage), ["KeyCreationDate", "KeyId", "KeyLastUsage", "TrackingStartDate"]);
    assert_eq!(
        members(&usage["KeyLastUsage"]),
        ["CloudTrailEventId", "KmsRequestId", "Operation", "Timestamp"]
    );
    for time in [&usage["TrackingStartDate"], &usage["KeyCreationDate"], &usage["KeyLastUsage"]["Timestamp"]]
    {
        assert!(text(time).contains('T'), "{usage}");
    }
    let status = key("get-key-rotation-status");
    assert_eq!(status["KeyRotationEnabled"], false);
    let scheduled = key("schedule-key-deletion");
    assert_eq!(members(&scheduled), ["DeletionDate", "KeyId", "KeyState", "PendingWindowInDays"]);
    assert_eq!(
        (&scheduled["KeyState"], &scheduled["PendingWindowInDays"]),
        (&json!("PendingDeletion"), &json!(30))
    );
    assert_eq!(members(&key("cancel-key-deletion")), ["KeyId"]);
    for (operation, more) in [
        ("enable-key", [].as_slice()),
        ("disable-key", &[]),
        ("update-key-description", &["--description", "text"]),
    ] {
        let arguments = [&["kms", operation, "--key-id", &id], more].concat();
        assert_eq!(fixture.ok(&arguments), "", "{operation} answers nothing");
    }
    let alias = ["--alias-name", "alias/b", "--target-key-id", &id];
    assert_eq!(fixture.ok(&[&["kms", "create-alias"], alias.as_slice()].concat()), "");
    assert_eq!(fixture.ok(&[&["kms", "update-alias"], alias.as_slice()].concat()), "");
    assert_eq!(fixture.ok(&["kms", "delete-alias", "--alias-name", "alias/b"]), "");
}

#[test]
fn a_refusal_is_in_the_words_of_the_aws_cli() {
    let fixture = Fixture::new();
    let id = fixture.new_key("alias/a");
    let arn = format!("arn:aws:kms:us-east-1:000000000000:key/{id}");
    fixture.kms(&["disable-key", "--key-id", &id]);
    let said = fixture.run(&["kms", "encrypt", "--key-id", &id, "--plaintext", "aGVsbG8="]);
    said.refused("DisabledException", "Encrypt", &format!("{arn} is disabled."));
    let said = fixture.run(&["kms", "cancel-key-deletion", "--key-id", &id]);
    assert!(said.err.starts_with(
        "\nAn error occurred (KMSInvalidStateException) when calling the CancelKeyDeletion operation: "
    ));
    fixture.run(&["kms", "describe-key", "--key-id", "nonsense"]).refused(
        "NotFoundException",
        "DescribeKey",
        "Invalid keyId 'nonsense'",
    );
    let unknown = "00000000-0000-0000-0000-000000000000";
    fixture.run(&["kms", "describe-key", "--key-id", unknown]).refused(
        "NotFoundException",
        "DescribeKey",
        &format!("Key 'arn:aws:kms:us-east-1:000000000000:key/{unknown}' does not exist"),
    );
    let said = fixture.run(&["kms", "decrypt", "--ciphertext-blob", "aGVsbG8="]);
    said.refused("InvalidCiphertextException", "Decrypt", "");
    let said =
        fixture.run(&["kms", "schedule-key-deletion", "--key-id", &id, "--pending-window-in-days", "6"]);
    assert!(
        said.err.contains("(ValidationException) when calling the ScheduleKeyDeletion operation: "),
        "{said:?}"
    );
    assert_eq!(said.code, 254);
}

#[test]
fn an_alias_names_a_key_in_cryptographic_operations_and_nowhere_else() {
    let fixture = Fixture::new();
    let id = fixture.new_key("alias/a");
    let blob = fixture.kms(&["encrypt", "--key-id", &id, "--plaintext", "aGVsbG8="]);
    let blob = text(&blob["CiphertextBlob"]).to_owned();
    let alias_arn = "arn:aws:kms:us-east-1:000000000000:alias/a";
    for alias in ["alias/a", alias_arn] {
        fixture.kms(&["describe-key", "--key-id", alias]);
        fixture.kms(&["encrypt", "--key-id", alias, "--plaintext", "aGVsbG8="]);
        fixture.kms(&["decrypt", "--key-id", alias, "--ciphertext-blob", &blob]);
        fixture.kms(&["generate-data-key", "--key-id", alias, "--key-spec", "AES_128"]);
        fixture.kms(&["generate-data-key-without-plaintext", "--key-id", alias, "--key-spec", "AES_128"]);
        let both = ["--source-key-id", alias, "--destination-key-id", alias, "--ciphertext-blob", &blob];
        fixture.kms(&[&["re-encrypt"], both.as_slice()].concat());
        for (operation, more) in [
            ("enable-key", [].as_slice()),
            ("disable-key", &[]),
            ("rotate-key-on-demand", &[]),
            ("get-key-rotation-status", &[]),
            ("get-key-last-usage", &[]),
            ("list-key-rotations", &[]),
            ("schedule-key-deletion", &[]),
            ("cancel-key-deletion", &[]),
            ("update-key-description", &["--description", "x"]),
            ("list-aliases", &[]),
        ] {
            let said = fixture.run(&[&["kms", operation, "--key-id", alias], more].concat());
            assert_eq!((said.code, said.out.as_str()), (254, ""), "{operation} {alias}: {said:?}");
        }
    }
    assert_eq!(fixture.kms(&["describe-key", "--key-id", &id])["KeyMetadata"]["KeyState"], "Enabled");
}

#[test]
fn bytes_are_base64_or_a_file_and_text_may_be_a_file() {
    let fixture = Fixture::new();
    fixture.new_key("alias/a");
    fs::write(fixture.path("plain"), b"\x00binary\xff").unwrap();
    fs::write(fixture.path("base64"), "aGVsbG8=\n").unwrap();
    fs::write(fixture.path("id"), "alias/a").unwrap();
    for (plaintext, expected) in
        [("fileb://plain", "AGJpbmFyef8="), ("file://base64", "aGVsbG8="), ("aGVsbG8=", "aGVsbG8=")]
    {
        let sealed = fixture.kms(&["encrypt", "--key-id", "file://id", "--plaintext", plaintext]);
        let opened = fixture.kms(&["decrypt", "--ciphertext-blob", text(&sealed["CiphertextBlob"])]);
        assert_eq!(opened["Plaintext"], expected, "{plaintext}");
    }
}

#[test]
fn a_context_in_shorthand_json_or_a_file_is_one() {
    let fixture = Fixture::new();
    fixture.new_key("alias/a");
    fs::write(fixture.path("context"), r#"{"b": "2,3", "a": "1"}"#).unwrap();
    let base = ["encrypt", "--key-id", "alias/a", "--plaintext", "aGVsbG8=", "--encryption-context"];
    let sealed = fixture.kms(&[&base, ["a=1,b='2,3'"].as_slice()].concat());
    let blob = text(&sealed["CiphertextBlob"]);
    for context in ["b=\"2,3\",a=1", r#"{"a":"1","b":"2,3"}"#, "file://context", r"a=1,b=2\,3"] {
        let opened = fixture.kms(&["decrypt", "--ciphertext-blob", blob, "--encryption-context", context]);
        assert_eq!(opened["Plaintext"], "aGVsbG8=", "{context}");
    }
    let said = fixture.run(&["kms", "decrypt", "--ciphertext-blob", blob, "--encryption-context", "a=1,b=2"]);
    said.refused("InvalidCiphertextException", "Decrypt", "");
    assert_eq!(fixture.run(&["kms", "decrypt", "--ciphertext-blob", blob]).code, 254);
}

#[test]
fn a_request_in_json_is_taken_and_flags_win() {
    let fixture = Fixture::new();
    let input = r#"{"Description": "from json", "KeyUsage": "ENCRYPT_DECRYPT"}"#;
    fs::write(fixture.path("input"), input).unwrap();
    let described = |arguments: &[&str]| {
        let answer = fixture.kms(&[&["create-key"], arguments].concat());
        text(&answer["KeyMetadata"]["Description"]).to_owned()
    };
    assert_eq!(described(&["--cli-input-json", input]), "from json");
    assert_eq!(described(&["--cli-input-json", "file://input"]), "from json");
    assert_eq!(described(&["--cli-input-json", input, "--description", "from flag"]), "from flag");
    assert_eq!(described(&["--description=joined"]), "joined");
    assert_eq!(described(&["--description", "ünïcödé"]), "ünïcödé");
    assert!(
        fixture.ok(&["kms", "create-key", "--description", "ü"]).contains("\"ü\""),
        "as the AWS CLI prints it"
    );
}

#[test]
fn lists_are_whole_or_in_pages_as_asked() {
    let fixture = Fixture::new();
    let mut ids: Vec<String> = (0..5).map(|number| fixture.new_key(&format!("alias/{number}"))).collect();
    ids.sort();
    let listed = |answer: &Value| -> Vec<String> {
        answer["Keys"].as_array().unwrap().iter().map(|key| text(&key["KeyId"]).to_owned()).collect()
    };
    let whole = fixture.kms(&["list-keys"]);
    assert_eq!(members(&whole), ["Keys"]);
    let order = listed(&whole);
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!(sorted, ids);
    assert_eq!(fixture.kms(&["list-keys", "--page-size", "2"]), whole);
    let by_hand = fixture.kms(&["list-keys", "--limit", "2"]);
    assert_eq!(members(&by_hand), ["Keys", "NextMarker", "Truncated"]);
    assert_eq!(by_hand["Truncated"], true);
    let next = fixture.kms(&["list-keys", "--limit", "9", "--marker", text(&by_hand["NextMarker"])]);
    assert_eq!((members(&next), &next["Truncated"]), (vec!["Keys", "Truncated"], &json!(false)));
    assert_eq!([listed(&by_hand), listed(&next)].concat(), order);
    let unpaged = fixture.kms(&["list-keys", "--no-paginate"]);
    assert_eq!(members(&unpaged), ["Keys", "Truncated"]);
    let mut seen = Vec::new();
    let mut answer = fixture.kms(&["list-keys", "--max-items", "2"]);
    loop {
        seen.extend(listed(&answer));
        let Some(token) = answer.get("NextToken").map(|token| text(token).to_owned()) else { break };
        answer = fixture.kms(&["list-keys", "--max-items", "2", "--starting-token", &token]);
    }
    assert_eq!(seen, order);
    let aliases = fixture.kms(&["list-aliases", "--key-id", &ids[0]]);
    assert_eq!(aliases["Aliases"].as_array().unwrap().len(), 1);
}

#[test]
fn a_dry_run_does_nothing_and_says_that_it_would() {
    let fixture = Fixture::new();
    fixture.new_key("alias/a");
    let base = ["kms", "encrypt", "--key-id", "alias/a", "--plaintext", "aGVsbG8="];
    let said = fixture.run(&[&base, ["--dry-run"].as_slice()].concat());
    said.refused(
        "DryRunOperationException",
        "Encrypt",
        "The request would have succeeded, but the DryRun option is set.",
    );
    fixture.ok(&[&base, ["--no-dry-run"].as_slice()].concat());
}

#[test]
fn global_flags_may_stand_before_or_behind_the_operation() {
    let fixture = Fixture::new();
    for arguments in [
        ["--region", "us-east-1", "list-keys"].as_slice(),
        &["--region=us-east-1", "--output", "json", "list-keys"],
        &["list-keys", "--region", "us-east-1", "--output=json"],
    ] {
        assert_eq!(fixture.kms(arguments), json!({"Keys": []}), "{arguments:?}");
    }
}

#[test]
fn the_beginning_of_a_flag_stands_for_it_where_it_is_the_only_one() {
    let fixture = Fixture::new();
    let id = fixture.new_key("alias/a");
    let described = fixture.kms(&["describe-key", "--key", "alias/a"]);
    assert_eq!(described["KeyMetadata"]["KeyId"], id);
    let sealed = fixture.kms(&["encrypt", "--key=alias/a", "--plain", "aGVsbG8=", "--encryption-c", "a=1"]);
    let blob = text(&sealed["CiphertextBlob"]);
    fixture.kms(&["decrypt", "--ciphertext", blob, "--encryption-context", "a=1", "--reg", "us-east-1"]);
    assert_eq!(fixture.kms(&["list-keys", "--max", "1"])["Keys"].as_array().unwrap().len(), 1);
}
