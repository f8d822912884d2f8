//! Every operation is answered, and keys live their lives over the wire as they do on the command line.

use kmsfs::kms::Operation;
use serde_json::json;

use crate::fixture::{Server, shared};

#[test]
fn every_operation_is_answered_by_what_it_is_and_never_by_a_failure() {
    let mut client = shared().connect();
    for operation in Operation::ALL {
        let answer = client.call(operation.name(), &json!({}));
        assert!([200, 400].contains(&answer.status), "{}: {answer:?}", operation.name());
        if answer.status == 400 {
            let name = answer.json()["__type"].as_str().unwrap().to_owned();
            assert!(
                ["ValidationException", "NotFoundException"].contains(&name.as_str()),
                "{}: {name}",
                operation.name()
            );
        }
    }
}

#[test]
fn what_one_door_makes_the_other_opens() {
    let server = shared();
    let key = server.new_key();
    let blob = server
        .ok("Encrypt", json!({"KeyId": key, "Plaintext": "aGVsbG8=", "EncryptionContext": {"a": "bc"}}));
    let blob = blob["CiphertextBlob"].as_str().unwrap();
    let open = |context: &str| {
        server.home.run(&["kms", "decrypt", "--ciphertext-blob", blob, "--encryption-context", context])
    };
    let opened = open("a=bc");
    assert!(opened.out.contains("aGVsbG8="), "{opened:?}");
    assert!(open("ab=c").err.contains("InvalidCiphertextException"));
    server.home.ok(&["kms", "disable-key", "--key-id", &key]);
    let refused = server.call("Decrypt", json!({"CiphertextBlob": blob, "EncryptionContext": {"a": "bc"}}));
    let message = format!("arn:aws:kms:us-east-1:000000000000:key/{key} is disabled.");
    refused.is_error(400, json!({"__type": "DisabledException", "message": message}));
}

#[test]
fn metrics_count_requests_by_operation_and_outcome_and_name_no_key() {
    let server = shared();
    let series = "kmsfs_requests_total{operation=\"GetKeyPolicy\",outcome=\"success\"}";
    let refused = "kmsfs_requests_total{operation=\"GetKeyPolicy\",outcome=\"NotFoundException\"}";
    let before = (server.metric(series), server.metric(refused));
    let key = server.new_key();
    server.ok("GetKeyPolicy", json!({"KeyId": key}));
    server.call("GetKeyPolicy", json!({"KeyId": "none"}));
    assert_eq!((server.metric(series), server.metric(refused)), (before.0 + 1.0, before.1 + 1.0));
    let answer = server.connect().exchange(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    assert!(!text.contains(&key) && !text.contains("arn:"), "{text}");
    assert!(server.metric("kmsfs_keys{region=\"us-east-1\",state=\"Enabled\"}") >= 1.0);
    assert!(server.metric("kmsfs_connections") >= 1.0);
    assert_eq!(server.metric("kmsfs_up"), 1.0);
    // A client makes no series of its own.
    server.call("MakeCoffee", json!({}));
    assert!(
        server.metric("kmsfs_requests_total{operation=\"Unknown\",outcome=\"UnknownOperationException\"}")
            >= 1.0
    );
    each_line_is_of_the_format(&text);
}

fn each_line_is_of_the_format(text: &str) {
    let line = regex::Regex::new(
        r#"^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+)$"#,
    );
    let line = line.unwrap();
    assert_eq!(text.lines().find(|text| !line.is_match(text)), None);
}

#[test]
fn an_encryption_context_has_8_kib_at_most_and_no_record_has_more_of_what_is_refused() {
    let server = shared();
    let key = server.new_key();
    let context = |len: usize| json!({"a": "x".repeat(len - r#"{"a":""}"#.len())});
    let with = |len| json!({"KeyId": key, "Plaintext": "AAAA", "EncryptionContext": context(len)});
    let largest = server.ok("Encrypt", with(8192));
    let open = json!({"CiphertextBlob": largest["CiphertextBlob"], "EncryptionContext": context(8192)});
    assert_eq!(server.ok("Decrypt", open)["Plaintext"], "AAAA");
    for len in [8193, 200_000] {
        let refused = server.call("Encrypt", with(len));
        let message = "1 validation error detected: Value at 'encryptionContext' failed to satisfy constraint: Member must have length \
            less than or equal to 8192 bytes as JSON";
        refused.is_error(400, json!({"__type": "ValidationException", "message": message}));
        let record = server.home.record_of(refused.request_id()).to_string();
        assert!(record.len() < 10_000, "{} bytes", record.len());
    }
    let refused = server.call("DescribeKey", json!({"KeyId": "k".repeat(200_000)}));
    let record = server.home.record_of(refused.request_id());
    assert_eq!(record["requestParameters"]["keyId"], "omitted: too large");
    assert_eq!(record["errorMessage"].as_str().unwrap().len(), 1024);
    let typed = context(8193).to_string();
    let args = ["kms", "encrypt", "--key-id", &key, "--plaintext", "AAAA", "--encryption-context", &typed];
    let said = server.home.run(&args);
    assert!(said.code != 0 && said.err.contains("8192 bytes"), "{said:?}");
}

#[test]
fn the_series_of_regions_are_bounded_whoever_makes_them() {
    let server = Server::new();
    for number in 0..40 {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: TrentService.CreateKey\r\ncontent-length: 2\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=a/20260101/zz-made-{number}/kms/aws4_request\r\n\r\n{{}}"
        );
        assert_eq!(server.connect().exchange(head.as_bytes()).status, 200);
    }
    let text = server.connect().exchange(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").text();
    let enabled: Vec<_> =
        text.lines().filter(|line| line.starts_with("kmsfs_keys{") && line.contains("\"Enabled\"")).collect();
    assert_eq!(enabled.len(), 33, "{enabled:?}");
    assert_eq!(server.metric(r#"kmsfs_keys{region="(others)",state="Enabled"}"#), 9.0);
}
