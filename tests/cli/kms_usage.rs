//! `kmsfs kms` with arguments that cannot be understood: exit code 252, as the AWS CLI, and the thing by name.

use crate::fixture::Fixture;

/// Flags of each operation, those that it cannot do without first (service model `kms/2014-11-01`). Not here: what needs a
/// Nitro enclave (`--recipient`), and `--dry-run-modifiers`.
const OPERATIONS: [(&str, &[&str], &[&str]); 22] = [
    ("cancel-key-deletion", &["--key-id"], &[]),
    ("create-alias", &["--alias-name", "--target-key-id"], &[]),
    (
        "create-key",
        &[],
        &[
            "--policy",
            "--description",
            "--key-usage",
            "--customer-master-key-spec",
            "--key-spec",
            "--origin",
            "--custom-key-store-id",
            "--bypass-policy-lockout-safety-check",
            "--tags",
            "--multi-region",
            "--xks-key-id",
        ],
    ),
    (
        "decrypt",
        &["--ciphertext-blob"],
        &["--encryption-context", "--grant-tokens", "--key-id", "--encryption-algorithm", "--dry-run"],
    ),
    ("delete-alias", &["--alias-name"], &[]),
    ("describe-key", &["--key-id"], &["--grant-tokens"]),
    ("disable-key", &["--key-id"], &[]),
    ("enable-key", &["--key-id"], &[]),
    (
        "encrypt",
        &["--key-id", "--plaintext"],
        &["--encryption-context", "--grant-tokens", "--encryption-algorithm", "--dry-run"],
    ),
    (
        "generate-data-key",
        &["--key-id"],
        &["--encryption-context", "--number-of-bytes", "--key-spec", "--grant-tokens", "--dry-run"],
    ),
    (
        "generate-data-key-without-plaintext",
        &["--key-id"],
        &["--encryption-context", "--number-of-bytes", "--key-spec", "--grant-tokens", "--dry-run"],
    ),
    ("generate-random", &[], &["--number-of-bytes", "--custom-key-store-id"]),
    ("get-key-last-usage", &["--key-id"], &[]),
    ("get-key-rotation-status", &["--key-id"], &[]),
    ("list-aliases", &[], &["--key-id", "--limit", "--marker"]),
    ("list-key-rotations", &["--key-id"], &["--include-key-material", "--limit", "--marker"]),
    ("list-keys", &[], &["--limit", "--marker"]),
    (
        "re-encrypt",
        &["--ciphertext-blob", "--destination-key-id"],
        &[
            "--source-encryption-context",
            "--source-key-id",
            "--destination-encryption-context",
            "--source-encryption-algorithm",
            "--destination-encryption-algorithm",
            "--grant-tokens",
            "--dry-run",
        ],
    ),
    ("rotate-key-on-demand", &["--key-id"], &[]),
    ("schedule-key-deletion", &["--key-id"], &["--pending-window-in-days"]),
    ("update-alias", &["--alias-name", "--target-key-id"], &[]),
    ("update-key-description", &["--key-id", "--description"], &[]),
];

#[test]
fn every_operation_has_the_flags_of_aws_and_names_those_it_misses() {
    let fixture = Fixture::new();
    let list = fixture.ok(&["kms", "help"]);
    for (operation, required, optional) in OPERATIONS {
        assert!(list.lines().any(|line| line.trim() == operation), "{operation} in {list}");
        let help = fixture.ok(&["kms", operation, "help"]);
        let flags: Vec<_> = help.split_whitespace().filter(|word| word.contains("--")).collect();
        for flag in required {
            assert!(flags.contains(flag), "{flag}: {help}");
        }
        for flag in optional {
            let found = flags.iter().any(|word| word.trim_start_matches('[').trim_end_matches(']') == *flag);
            assert!(found, "{flag}: {help}");
        }
        if required.is_empty() {
            continue;
        }
        let hint = fixture.fails(&["kms", operation], 252, required);
        assert_eq!(hint, format!("kmsfs kms {operation} help"));
    }
}

#[test]
fn what_is_no_operation_is_named() {
    let fixture = Fixture::new();
    for (operation, why, meant) in [
        ("create-kye", "not known", "; did you mean create-key?"),
        ("CreateKey", "not known", "; did you mean create-key?"),
        ("make-one", "not known", ""),
        ("encapsulate", "not supported by this version", ""),
    ] {
        let hint = fixture.fails(&["kms", operation], 252, &[operation, why]);
        assert_eq!(hint, format!("kmsfs kms help{meant}"));
    }
    fixture.fails(&["kms"], 252, &["no operation"]);
    fixture.fails(&["kms", "--region", "us-east-1"], 252, &["no operation"]);
}

#[test]
fn global_flags_that_do_nothing_here_are_refused_by_name_wherever_they_stand() {
    let fixture = Fixture::new();
    for flag in [
        "--profile",
        "--endpoint-url",
        "--query",
        "--debug",
        "--no-verify-ssl",
        "--no-sign-request",
        "--ca-bundle",
        "--cli-read-timeout",
        "--cli-connect-timeout",
        "--cli-binary-format",
        "--cli-input-yaml",
        "--generate-cli-skeleton",
        "--color",
        "--no-cli-pager",
        "--cli-auto-prompt",
        "--no-cli-auto-prompt",
    ] {
        fixture.fails(&["kms", "list-keys", flag], 252, &[flag, "not supported"]);
        fixture.fails(&["kms", flag, "list-keys"], 252, &[flag, "not supported"]);
    }
    for output in ["text", "table", "yaml"] {
        fixture.fails(&["kms", "list-keys", "--output", output], 252, &[output, "json"]);
    }
    fixture.fails(&["kms", "--nonsense", "list-keys"], 252, &["Unknown options: --nonsense"]);
}

#[test]
fn flags_and_values_that_cannot_be_understood_are_named() {
    let fixture = Fixture::new();
    let id = fixture.new_key("alias/a");
    for (arguments, named) in [
        (
            ["describe-key", "--key-id", &id, "--nonsense", "x"].as_slice(),
            ["Unknown options: --nonsense", "describe-key"],
        ),
        (&["describe-key", "--key-id", &id, "word"], ["Unknown options: word", "describe-key"]),
        (&["describe-key", "--key-id"], ["--key-id", "expected one argument"]),
        (&["describe-key", "--key-id", "--grant-tokens", "x"], ["--key-id", "expected one argument"]),
        (&["describe-key", "--key-id", "fileb://x"], ["--key-id", "file://"]),
        (&["describe-key", "--key-id", "file://absent"], ["--key-id", "file://absent"]),
        (&["encrypt", "--key-id", &id, "--plaintext", "hello"], ["--plaintext", "Invalid base64"]),
        (&["encrypt", "--key-id", &id, "--plaintext", "fileb://absent"], ["--plaintext", "fileb://absent"]),
        (&["generate-random", "--number-of-bytes", "many"], ["--number-of-bytes", "many"]),
        (&["list-keys", "--max-items", "-1"], ["--max-items", "-1"]),
        (&["list-keys", "--starting-token", "nonsense"], ["list-keys", "starting token"]),
        (&["list-keys", "--limit", "2", "--max-items", "1"], ["list-keys", "--max-items"]),
        (&["list-keys", "--no-paginate", "--page-size", "1"], ["list-keys", "--page-size"]),
        (
            &["create-key", "--key", "x"],
            ["create-key", "ambiguous option: --key could match --key-usage, --key-spec"],
        ),
        (
            &["encrypt", "--key-id", &id, "--plaintext", "aGVsbG8=", "--encryption-context", "a=1,,b=2"],
            ["--encryption-context", "a=1,,b=2"],
        ),
        (&["create-key", "--max-items", "1"], ["create-key", "--max-items"]),
        (&["create-key", "--cli-input-json", "nonsense"], ["--cli-input-json", "JSON"]),
        (&["create-key", "--cli-input-json", r#"{"Descripton": "x"}"#], ["--cli-input-json", "Descripton"]),
        (
            &["encrypt", "--key-id", &id, "--plaintext", "aGVsbG8=", "--encryption-context", "a"],
            ["--encryption-context", "Expected: '='"],
        ),
        (
            &["encrypt", "--key-id", &id, "--plaintext", "aGVsbG8=", "--encryption-context", "{\"a\":"],
            ["--encryption-context", "Invalid JSON"],
        ),
    ] {
        fixture.fails(&[&["kms"], arguments].concat(), 252, &named);
    }
    let keys = fixture.kms(&["list-keys"]);
    assert_eq!(keys["Keys"].as_array().unwrap().len(), 1, "none of it did anything");
}
