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

/// The most memory that the server has had so far, in bytes.
fn peak_memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn bodies_of_nobody_that_do_not_end_take_a_bounded_part_of_memory_and_nobody_s_time() {
    let home = Home::new();
    let server = home.serve_signed(&["--timeout", "4"]);
    let health = || server.connect().exchange(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").status;
    assert_eq!(health(), 200);
    let before = peak_memory(&server);
    let head = "POST / HTTP/1.1\r\nhost: x\r\nauthorization: AWS4-HMAC-SHA256 none\r\n";
    // Half with a length, half in one chunk that never ends. All but the last kilobyte comes.
    let heads = ["content-length: 500000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n7a120\r\n"];
    let body = vec![b'x'; 499_000];
    let clients: Vec<_> = (0..400)
        .map(|number| {
            let mut client = server.connect();
            client.send(format!("{head}{}", heads[number % 2]).as_bytes());
            client
        })
        .collect();
    thread::scope(|scope| {
        let body = &body;
        for part in clients.chunks(100) {
            scope.spawn(move || {
                for client in part {
                    client.stream().set_nonblocking(true).unwrap();
                    // As much as the server and the kernel take.
                    let _ = client.stream().write_all(body);
                }
                let until = Instant::now() + Duration::from_secs(2);
                while Instant::now() < until {
                    for client in part {
                        let _ = client.stream().write(&body[..65536]);
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
        // A small request is not held up by them.
        let mut signed_wrongly = server.connect();
        let small = format!("{head}x-amz-target: TrentService.ListKeys\r\ncontent-length: 2\r\n\r\n{{}}");
        let (answer, took) = time_of(|| signed_wrongly.exchange(small.as_bytes()));
        assert!(answer.status == 400 && took < Duration::from_secs(2), "{took:?}: {answer:?}");
        assert_eq!(health(), 200);
    });
    let grown = peak_memory(&server) - before;
    assert!(grown < 128 * 1024 * 1024, "{} MiB more", grown / 1024 / 1024);
    drop(clients);
    // What they had is free again.
    let whole = format!("{head}content-length: 500000\r\n\r\n{}", "x".repeat(500_000));
    let until = Instant::now() + Duration::from_secs(10);
    while server.connect().exchange(whole.as_bytes()).status != 400 {
        assert!(Instant::now() < until, "no room comes back");
    }
}

#[test]
fn a_large_body_that_finds_no_room_is_told_to_try_again() {
    let server = Home::new().serve(&["--timeout", "2"]);
    let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n";
    let mut clients: Vec<_> = (0..80).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(head.as_bytes());
    }
    let mut answers: Vec<_> = clients.iter_mut().map(|client| client.receive()).collect();
    answers.sort_by_key(|answer| answer.status);
    let (late, without_room) = answers.split_at(67);
    late.iter().for_each(|answer| answer.is_error(408, json!({"__type": "RequestTimeoutException"})));
    let said = "The server reads too many large requests. Try again.";
    for answer in without_room {
        answer.is_error(503, json!({"__type": "ServiceUnavailableException", "message": said}));
    }
}

#[test]
fn a_body_that_comes_a_byte_at_a_time_or_in_chunks_without_end_has_its_time() {
    let server = hurried();
    thread::scope(|scope| {
        for (head, piece) in [
            ("content-length: 100\r\n\r\n", &b"x"[..]),
            ("transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        ] {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.connect();
                client.send(format!("POST / HTTP/1.1\r\nhost: x\r\n{head}").as_bytes());
                let begun = Instant::now();
                for _ in 0..12 {
                    if client.stream().write_all(piece).is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(70));
                }
                client.receive().is_error(408, json!({"__type": "RequestTimeoutException"}));
                is_about(begun.elapsed(), 1);
            });
        }
        scope.spawn(|| {
            // Chunks without end, as fast as they go.
            let mut client = server.connect();
            client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
            let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 65536], b"\r\n".to_vec()].concat();
            let sent = (0..1000).take_while(|_| client.stream().write_all(&chunk).is_ok()).count();
            assert!(sent < 1000, "64 MB were taken");
            client.until_end_or_broken();
        });
    });
}
