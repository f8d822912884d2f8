//! The end of a server: what has begun is answered.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::fixture::{Server, request};

#[test]
fn a_request_in_work_is_answered_when_the_server_is_stopped_and_idle_connections_end() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::new();
        let mut idle = server.connect();
        assert_eq!(idle.call("ListKeys", &json!({})).status, 200);
        let silent = server.connect();
        let mut busy = server.connect();
        let whole = request("CreateKey", "{\"Description\": \"at the last moment\"}");
        let (first, last) = whole.split_at(whole.len() - 5);
        busy.send(first);
        wait_until(|| server.metric("kmsfs_requests_in_flight") >= 1.0);
        server.signal(signal);
        assert!(idle.until_end().is_empty());
        wait_until(|| std::net::TcpStream::connect(&server.address).is_err());
        busy.send(last);
        let answer = busy.receive();
        assert_eq!(answer.json()["KeyMetadata"]["Description"], "at the last moment");
        busy.until_end();
        let (code, err) = server.ended();
        assert_eq!(code, 0, "{err}");
        assert_eq!(server.home.record_of(answer.request_id())["eventName"], "CreateKey");
        drop(silent);
    }
}

#[test]
fn a_client_that_does_not_end_holds_up_the_end_no_longer_than_its_time() {
    let mut server = crate::fixture::Home::new().serve(&["--timeout", "2"]);
    let mut busy = server.connect();
    let whole = request("CreateKey", "{}");
    busy.send(&whole[..whole.len() - 1]);
    wait_until(|| server.metric("kmsfs_requests_in_flight") >= 1.0);
    let begun = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ended().0, 0);
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::new();
    let mut busy = server.connect();
    let whole = request("CreateKey", "{}");
    busy.send(&whole[..whole.len() - 1]);
    wait_until(|| server.metric("kmsfs_requests_in_flight") >= 1.0);
    server.signal("TERM");
    wait_until(|| std::net::TcpStream::connect(&server.address).is_err());
    let begun = Instant::now();
    server.signal("TERM");
    let (code, err) = server.ended();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((code, err.contains("a second signal")), (0, true), "{err}");
}

fn wait_until(mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + crate::fixture::PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "it does not come to that");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_key_store_that_is_gone_is_told_in_a_few_lines_and_not_with_each_request() {
    let mut server = Server::new();
    let key = server.new_key();
    std::fs::rename(server.home.path("home/keys.db"), server.home.path("away")).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    for _ in 0..200 {
        let failed = server.call("Encrypt", json!({"KeyId": key, "Plaintext": "AAAA"}));
        assert_eq!((failed.status, &failed.json()["__type"]), (500, &json!("KMSInternalException")));
    }
    server.signal("TERM");
    let (code, err) = server.ended();
    let lines = err.lines().filter(|line| line.contains("keys.db")).count();
    assert!(code == 0 && (1..8).contains(&lines), "{code}, {lines}: {err}");
}
