//! Who asks: signatures that are asked for, and what records say of a client.

use serde_json::json;

use crate::fixture::{Home, request, shared};

#[test]
fn without_a_signature_nothing_is_answered_but_how_the_server_is() {
    let server = Home::new().serve_signed(&[]);
    let missing = json!({"__type": "MissingAuthenticationTokenException", "message": "Request is missing Authentication Token"});
    server.call("ListKeys", json!({})).is_error(400, missing.clone());
    server.call("MakeCoffee", json!({})).is_error(400, missing.clone());
    server.connect().exchange(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").is_error(400, missing.clone());
    server.connect().exchange(b"PUT /healthz HTTP/1.1\r\nhost: x\r\n\r\n").is_error(400, missing);
    for (path, starts) in [("/healthz", "ok\n"), ("/metrics", "# HELP")] {
        let answer = server.connect().exchange(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
        assert_eq!((answer.status, answer.text().starts_with(starts)), (200, true));
    }
    assert!(server.home.records().iter().all(|record| record["eventName"] != "ListKeys"));
}

#[test]
fn a_record_of_the_wire_says_where_from_with_what_and_has_the_answer_s_id() {
    let server = shared();
    let key = server.new_key();
    let answer = server.call("Encrypt", json!({"KeyId": key, "Plaintext": "c2VjcmV0"}));
    let record = server.home.record_of(answer.request_id());
    assert_eq!(record["eventName"], "Encrypt");
    assert_eq!(record["eventType"], "AwsApiCall");
    assert_eq!((&record["sourceIPAddress"], &record["userAgent"]), (&json!("127.0.0.1"), &json!("test/1")));
    assert_eq!(record["userIdentity"]["arn"], "arn:aws:iam::000000000000:root");
    assert_eq!(record["userIdentity"]["type"], "Root");
    assert_eq!(record["userIdentity"].get("accessKeyId"), None);
    assert_eq!(record["requestParameters"]["keyId"], key);
    assert!(!record.to_string().contains("c2VjcmV0"), "no plaintext");
    let refused = server.call("Decrypt", json!({"CiphertextBlob": "AAAA"}));
    assert_eq!(server.home.record_of(refused.request_id())["errorCode"], "InvalidCiphertextException");
}

#[test]
fn aud_1_a_request_that_cannot_be_read_is_recorded_under_the_operation_that_it_names() {
    let server = shared();
    for body in ["{", "[]", "7", "{\"KeyId\": \"secret\", \"KeyId\": \"secret\"}"] {
        let answer = server.connect().exchange(&request("Encrypt", body));
        assert_eq!((answer.status, &answer.json()["__type"]), (400, &json!("SerializationException")));
        let record = server.home.record_of(answer.request_id());
        assert_eq!(
            (&record["eventName"], &record["errorCode"]),
            (&json!("Encrypt"), &json!("SerializationException"))
        );
        assert_eq!(record["requestParameters"], json!(null), "nothing was read");
        assert!(!record.to_string().contains("secret"));
    }
}

#[test]
fn a_client_s_name_for_itself_is_cut_and_cannot_break_a_record() {
    let server = shared();
    let agent = format!("evil\u{7f}\"}},{}", "x".repeat(5000));
    let bytes = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nuser-agent: {agent}\r\nx-amz-target: TrentService.ListKeys\r\n\r\n"
    );
    let answer = server.connect().exchange(bytes.replace('\u{7f}', "\u{e9}").as_bytes());
    let record = server.home.record_of(answer.request_id());
    assert_eq!(record["userAgent"].as_str().unwrap().chars().count(), 1024);
    assert!(server.home.ok(&["audit", "verify"]).contains("records"));
}

#[test]
fn a_web_page_is_not_answered_where_everybody_is_trusted() {
    let server = shared();
    let mut bytes = request("ListKeys", "{}");
    let at = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    bytes.splice(at..at, b"\r\norigin: http://rebound.example".iter().copied());
    let answer = server.connect().exchange(&bytes);
    assert_eq!((answer.status, answer.json()["__type"].as_str().unwrap()), (400, "AccessDeniedException"));
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn aud_4_an_alarm_sounds_for_what_is_refused_over_the_wire() {
    let home = Home::new();
    home.ok(&["alarm", "add", "who", "--file", "who.log"]);
    let server = home.serve(&[]);
    let key = server.new_key();
    server.ok("DisableKey", json!({"KeyId": key}));
    let refused = server.call("Encrypt", json!({"KeyId": key, "Plaintext": "AAAA"}));
    assert_eq!(refused.status, 400);
    let log = server.home.path("who.log");
    let until = std::time::Instant::now() + crate::fixture::PATIENCE;
    while !std::fs::read_to_string(&log).is_ok_and(|log| log.contains(refused.request_id())) {
        assert!(std::time::Instant::now() < until, "no alarm");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
