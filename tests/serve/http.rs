//! HTTP as clients may speak it, and as none should.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use serde_json::json;

use crate::fixture::{request, shared};

#[test]
fn a_request_that_is_no_http_is_refused_and_the_server_lives() {
    let server = shared();
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(70_000));
    let wide = format!("POST / HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "x".repeat(300_000));
    let many = format!("POST / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    for (bytes, statuses) in [
        ("nonsense\r\n\r\n", [400, 400]),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\r\n\r\n", [400, 400]),
        ("POST / HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n", [400, 400]),
        ("POST / HTTP/9.9\r\nhost: x\r\n\r\n", [400, 400]),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", [400, 400]),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx", [400, 400]),
        ("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", [400, 400]),
        (&long, [414, 431]),
        (&wide, [431, 431]),
        (&many, [431, 431]),
    ] {
        let mut client = server.connect();
        // It may be refused before it is sent as a whole.
        let _ = client.stream().write_all(bytes.as_bytes());
        let answer = client.receive();
        assert!(statuses.contains(&answer.status), "{answer:?} for {}", &bytes[..bytes.len().min(60)]);
        client.until_end();
    }
    server.ok("ListKeys", json!({}));
}

#[test]
fn a_length_beside_chunks_does_not_smuggle_a_second_request() {
    let mut client = shared().connect();
    let inner = String::from_utf8(request("MakeCoffee", "{}")).unwrap();
    let len = inner.len() + 5;
    let bytes = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: TrentService.ListKeys\r\ncontent-length: {len}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}"
    );
    client.send(bytes.as_bytes());
    let first = client.receive();
    // Whatever is made of it, it is one request and no more (RFC 9112, 6.3: such a connection is closed).
    assert!([200, 400].contains(&first.status), "{first:?}");
    assert!(client.try_receive().is_none_or(|second| second.status == 400));
}

#[test]
fn a_body_in_chunks_is_taken() {
    let bytes = b"POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: TrentService.GenerateRandom\r\ntransfer-encoding: chunked\r\n\r\n\
        9\r\n{\"NumberO\r\n13;x=y\r\nfBytes\": 16       }\r\n0\r\n\r\n";
    let answer = shared().connect().exchange(bytes);
    assert_eq!((answer.status, answer.json()["Plaintext"].as_str().unwrap().len()), (200, 24), "{answer:?}");
}

#[test]
fn a_body_is_asked_for_where_the_client_waits_for_that() {
    let mut client = shared().connect();
    client.send(
        b"POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: TrentService.ListKeys\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.receive().status, 100);
    assert_eq!(client.exchange(b"{}").status, 200);
}

#[test]
fn a_body_that_is_too_large_is_refused_announced_or_not_and_at_any_size() {
    let server = shared();
    let too_large = json!({"__type": "RequestEntityTooLargeException", "message": "The request is larger than 524288 bytes."});
    let head = "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: TrentService.ListKeys\r\n";
    let body = "x".repeat(600_000);
    let announced = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let huge = format!("{head}content-length: 99999999999999\r\n\r\n");
    for bytes in [announced, chunked, huge] {
        let mut client = server.connect();
        client.send(bytes.as_bytes());
        let answer = client.receive();
        answer.is_error(413, too_large.clone());
        assert_eq!(answer.header("connection"), Some("close"));
        client.until_end();
    }
    // What AWS takes is taken: a policy of 32 KB, each letter of it escaped.
    let escaped = r"\u0020".repeat(32 * 1024);
    let answer = server.connect().exchange(&request("CreateKey", &format!("{{\"Policy\": \"{escaped}\"}}")));
    assert_eq!(answer.json()["__type"], "MalformedPolicyDocumentException", "{answer:?}");
}

#[test]
fn a_client_that_says_no_more_still_gets_its_answer() {
    let mut client = shared().connect();
    client.send(&request("ListKeys", "{}"));
    client.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.receive().status, 200);
    assert!(client.until_end().is_empty());
}

#[test]
fn a_client_that_leaves_in_the_middle_harms_nobody() {
    let server = shared();
    let whole = request("CreateKey", "{\"Description\": \"left\"}");
    for len in [1, 30, whole.len() - 1, whole.len()] {
        let mut client = server.connect();
        client.send(&whole[..len]);
        drop(client);
    }
    server.ok("ListKeys", json!({}));
}

#[test]
fn requests_sent_ahead_are_answered_in_their_order() {
    let mut client = shared().connect();
    let mut bytes = Vec::new();
    for len in 1..=50 {
        bytes.extend(request("GenerateRandom", &format!("{{\"NumberOfBytes\": {len}}}")));
    }
    client.send(&bytes);
    for len in 1..=50_usize {
        let answer = client.receive();
        assert_eq!(answer.json()["Plaintext"].as_str().unwrap().len(), len.div_ceil(3) * 4, "{len}");
    }
}

#[test]
fn a_client_of_http_1_0_is_answered() {
    let mut client = shared().connect();
    let answer = client
        .exchange(b"POST / HTTP/1.0\r\nx-amz-target: TrentService.ListKeys\r\ncontent-length: 2\r\n\r\n{}");
    assert_eq!(answer.status, 200);
    assert!(client.until_end().is_empty());
}

#[test]
fn two_hundred_clients_at_once_are_all_answered() {
    let server = shared();
    let key = server.new_key();
    let mut clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
    thread::scope(|scope| {
        for client in &mut clients {
            let key = &key;
            scope.spawn(move || {
                for _ in 0..3 {
                    let answer = client.call("GenerateDataKey", &json!({"KeyId": key, "KeySpec": "AES_256"}));
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            });
        }
    });
    assert!(server.metric("kmsfs_connections") >= 200.0);
}

#[test]
fn a_head_request_of_the_health_has_no_body() {
    let mut client = shared().connect();
    client.send(b"HEAD /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let mut text = String::new();
    client.stream().read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\n"), "{text}");
}
