//! `docs/SERVE.md` says what is so.

use std::collections::BTreeSet;
use std::time::Duration;

use kmsfs::serve::limits::{
    BODIES_BYTES, BODY_BYTES, CHANGES, HEAD_BYTES, HEADERS, Limits, OPERATIONS, SMALL_BODY_BYTES,
};

use crate::fixture::shared;

const DOCUMENT: &str = include_str!("../../docs/SERVE.md");

#[test]
fn the_documented_metrics_are_those_that_there_are() {
    let text = shared().connect().exchange(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `kmsfs_")?.split('`').next());
    let documented: BTreeSet<_> = rows.map(|name| format!("kmsfs_{name}")).collect();
    assert_eq!(types.map(str::to_owned).collect::<BTreeSet<_>>(), documented);
}

#[test]
fn the_documented_limits_are_those_of_the_code() {
    assert_eq!((BODY_BYTES, HEAD_BYTES, HEADERS, OPERATIONS, CHANGES), (524_288, 65_536, 100, 64, 16));
    assert_eq!((SMALL_BODY_BYTES, BODIES_BYTES), (16 * 1024, 32 * 1024 * 1024));
    let seconds = Duration::from_secs;
    let limits = Limits { connections: 1024, client: seconds(10), idle: seconds(120), stop: seconds(20) };
    assert_eq!(Limits::default(), limits);
    for row in [
        "| body of a request | 524,288 bytes |",
        "| bodies above 16 KiB, all together | 32 MiB |",
        "| head of a request | about 65,536 bytes, 100 headers |",
        "| 10 seconds each (`--timeout`) |",
        "| 120 seconds (`--idle-timeout`) |",
        "| connections | 1,024 (`--max-connections`),",
        "| operations in work | 64, of them 16 that may change a key |",
        "| requests in work when the server is stopped | 20 seconds |",
    ] {
        assert!(DOCUMENT.contains(row), "{row}");
    }
}
