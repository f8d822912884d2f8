//! Commands beside a server that is busy: one audit log, and everybody's turn.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::fixture::{Server, request};

#[test]
fn commands_get_their_turn_beside_sixteen_clients_and_nothing_is_kept_when_those_fall_silent() {
    let server = Server::new();
    let (used, changed) = (server.new_key(), server.new_key());
    let encrypt = request("Encrypt", &json!({"KeyId": used, "Plaintext": "AAAA"}).to_string());
    let (is_over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut slowest = Duration::ZERO;
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = server.connect();
                while !is_over.load(Ordering::SeqCst) {
                    assert_eq!(client.exchange(&encrypt).status, 200);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for number in 0..12 {
            let operation = ["describe-key", "disable-key", "enable-key"][number % 3];
            let begun = Instant::now();
            server.home.ok(&["kms", operation, "--key-id", &changed]);
            slowest = slowest.max(begun.elapsed());
        }
        is_over.store(true, Ordering::SeqCst);
    });
    assert!(slowest < Duration::from_secs(5), "{slowest:?}, beside {answered:?} requests");
    assert!(answered.load(Ordering::SeqCst) > 100, "the server was not busy: {answered:?}");
    // No thread of the server does anything more; the turn that it keeps ends all the same.
    let head = File::open(server.home.path("home/audit.head")).unwrap();
    let until = Instant::now() + Duration::from_secs(1);
    while flock(&head, FlockOperation::NonBlockingLockExclusive).is_err() {
        assert!(Instant::now() < until, "the lock is kept");
        thread::sleep(Duration::from_millis(1));
    }
}
