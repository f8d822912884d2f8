//! What slow and hostile clients may take, and what others notice of them: nothing.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::fixture::{Home, Server, request};

/// A second for everything but being idle, for which there are three, and eight connections.
fn hurried() -> Server {
    Home::new().serve(&["--timeout", "1", "--idle-timeout", "3", "--max-connections", "8"])
}

/// How long `work` takes.
fn time_of<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    (work(), begun.elapsed())
}

#[track_caller]
fn is_about(took: Duration, seconds: u64) {
    let range = Duration::from_millis(seconds * 1000 - 150)..Duration::from_secs(seconds + 3);
    assert!(range.contains(&took), "{took:?} and not {seconds} s");
}

#[test]
fn a_client_has_a_time_for_each_thing_and_no_more() {
    let server = hurried();
    let whole = request("ListKeys", "{}");
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.connect();
            is_about(time_of(|| client.until_end()).1, 1);
        });
        scope.spawn(|| {
            // A letter at a time, so that something always happens.
            let mut client = server.connect();
            let (_, took) = time_of(|| {
                for letter in &whole {
                    if client.stream().write_all(&[*letter]).is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(50));
                }
                client.until_end_or_broken();
            });
            is_about(took, 1);
        });
        scope.spawn(|| {
            let mut client = server.connect();
            client.send(&whole[..whole.len() - 1]);
            let (answer, took) = time_of(|| client.receive());
            is_about(took, 1);
            answer.is_error(408, json!({"__type": "RequestTimeoutException"}));
            client.until_end();
        });
        scope.spawn(|| {
            let mut client = server.connect();
            assert_eq!(client.exchange(&whole).status, 200);
            thread::sleep(Duration::from_millis(1500));
            assert_eq!(client.exchange(&whole).status, 200, "idle for less than it may be");
            is_about(time_of(|| client.until_end()).1, 3);
        });
        scope.spawn(|| {
            // After an idle time, a head has its own time again.
            let mut client = server.connect();
            assert_eq!(client.exchange(&whole).status, 200);
            client.send(&whole[..10]);
            is_about(time_of(|| client.until_end()).1, 1);
        });
    });
    for reason in ["head", "body", "idle"] {
        let series = format!("kmsfs_connections_ended_total{{reason=\"{reason}\"}}");
        assert!(server.metric(&series) >= 1.0, "{series}");
    }
}

#[test]
fn a_client_that_takes_no_answers_is_cut_off() {
    let server = hurried();
    let mut client = server.connect();
    let ahead = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    let until = Instant::now() + Duration::from_secs(30);
    // The kernel's buffers fill up in both directions first.
    while client.stream().write_all(&ahead).is_ok() {
        assert!(Instant::now() < until, "it is not cut off");
    }
    assert!(server.metric("kmsfs_connections_ended_total{reason=\"answer\"}") >= 1.0);
    client.until_end_or_broken();
}

#[test]
fn where_all_places_are_taken_idle_and_slow_connections_make_room() {
    let server = hurried();
    let mut idle: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut idle {
        assert_eq!(client.call("ListKeys", &json!({})).status, 200);
    }
    let (_, took) = time_of(|| server.ok("ListKeys", json!({})));
    assert!(took < Duration::from_millis(1500), "{took:?}");
    // Who sends nothing or half a request holds up the next for a second and no longer.
    let slow: Vec<_> = (0..8)
        .map(|_| {
            let mut client = server.connect();
            client.send(b"POST / HTT");
            client
        })
        .collect();
    let (_, took) = time_of(|| server.ok("ListKeys", json!({})));
    assert!(took < Duration::from_secs(3), "{took:?}");
    drop(slow);
}

#[test]
fn a_handshake_that_does_not_come_makes_room_as_well() {
    let home = Home::new();
    crate::tls::make_certificate(&home, "ec");
    let server = home.serve(&["--tls-cert", "tls.crt", "--tls-key", "tls.key", "--max-connections", "4"]);
    let silent: Vec<_> = (0..4).map(|_| server.connect()).collect();
    let (answer, took) = time_of(|| crate::tls::exchange(&server, &[], &crate::tls::closing("ListKeys")));
    assert!(answer.starts_with("HTTP/1.1 200 OK") && took < Duration::from_secs(4), "{took:?}: {answer}");
    drop(silent);
}

#[test]
fn others_are_served_while_many_are_slow() {
    let server = Home::new().serve(&["--timeout", "5"]);
    let slow: Vec<_> = (0..300)
        .map(|number| {
            let mut client = server.connect();
            let whole = request("ListKeys", "{}");
            client.send(&whole[..number % whole.len()]);
            client
        })
        .collect();
    let (_, took) = time_of(|| {
        for _ in 0..20 {
            server.ok("ListKeys", json!({}));
        }
    });
    assert!(took < Duration::from_secs(2), "{took:?}");
    drop(slow);
}
