//! What the server counts, in the text format of Prometheus, version 0.0.4.
//!
//! Names of operations, regions, states and errors are the only labels: no metric holds a key's id or a principal. A client that may create
//! keys has its region counted, up to a number of them, and can make no other series.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::Backend;
use crate::kms::state::KeyState;

/// The content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The operation of what names none that there is.
pub const UNKNOWN: &str = "Unknown";
/// The outcome of what was answered as asked.
pub const SUCCESS: &str = "success";
/// Upper bounds of the histogram's buckets, in seconds.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Regions that have series of their own: the home's, and the first of the others in the order of their names. A client with a credential may use any number.
const REGIONS: usize = 32;
/// What all others together are called; no region can be.
const OTHERS: &str = "(others)";

/// What a client took too long for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Late {
    /// The TLS handshake.
    Handshake,
    /// The head of a request.
    Head,
    /// The body of a request.
    Body,
    /// The next request; that is no fault of its.
    Idle,
    /// Taking the answer.
    Answer,
    /// Making room where others wait.
    Pressure,
}

impl Late {
    const fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Head => "head",
            Self::Body => "body",
            Self::Idle => "idle",
            Self::Answer => "answer",
            Self::Pressure => "pressure",
        }
    }
}

#[derive(Debug, Default, Clone)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// What is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    durations: Mutex<BTreeMap<&'static str, Histogram>>,
    late: Mutex<BTreeMap<Late, u64>>,
    accepted: AtomicU64,
    open: AtomicU64,
    in_work: AtomicU64,
}

/// Counts one down when it is dropped.
#[derive(Debug)]
pub struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    fn up(value: &'a AtomicU64) -> Self {
        value.fetch_add(1, Ordering::Relaxed);
        Self(value)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// A connection is there for as long as the answer is.
    pub fn connection(&self) -> Gauge<'_> {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Gauge::up(&self.open)
    }

    /// A request is in work for as long as the answer is.
    pub fn in_work(&self) -> Gauge<'_> {
        Gauge::up(&self.in_work)
    }

    /// Counts a connection that ended because its client took too long.
    pub fn late(&self, late: Late) {
        *self.late.lock().entry(late).or_default() += 1;
    }

    /// Counts a request for `operation` that ended with `outcome`: [`SUCCESS`], or the name of an error.
    pub fn request(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        *self.requests.lock().entry((operation, outcome)).or_default() += 1;
        let seconds = took.as_secs_f64();
        let mut durations = self.durations.lock();
        let histogram = durations.entry(operation).or_default();
        histogram.count += 1;
        histogram.sum += seconds;
        if let Some(bucket) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            histogram.buckets[bucket] += 1;
        }
    }

    /// Everything, as text; blocks while it asks the home.
    pub fn render(&self, backend: &dyn Backend) -> String {
        let mut text = String::new();
        self.render_requests(&mut text);
        let gauges = [
            ("kmsfs_requests_in_flight", "gauge", "Requests in work.", &self.in_work),
            ("kmsfs_connections", "gauge", "Connections that are open.", &self.open),
            ("kmsfs_connections_accepted_total", "counter", "Connections that were taken.", &self.accepted),
        ];
        for (name, kind, help, value) in gauges {
            head(&mut text, name, kind, help);
            let _ = writeln!(text, "{name} {}", value.load(Ordering::Relaxed));
        }
        head(
            &mut text,
            "kmsfs_connections_ended_total",
            "counter",
            "Connections that were ended because the client took too long, or to make room.",
        );
        for (late, count) in &*self.late.lock() {
            let _ = writeln!(text, "kmsfs_connections_ended_total{{reason=\"{}\"}} {count}", late.name());
        }
        render_home(&mut text, backend);
        head(&mut text, "kmsfs_build_info", "gauge", "The version of kmsfs; always 1.");
        let _ = writeln!(text, "kmsfs_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
        text
    }

    fn render_requests(&self, text: &mut String) {
        let (name, help) = ("kmsfs_requests_total", "Requests that were answered.");
        head(text, name, "counter", help);
        for ((operation, outcome), count) in &*self.requests.lock() {
            let _ = writeln!(text, "{name}{{operation=\"{operation}\",outcome=\"{outcome}\"}} {count}");
        }
        let name = "kmsfs_request_duration_seconds";
        head(text, name, "histogram", "From the head of a request to its answer.");
        for (operation, histogram) in &*self.durations.lock() {
            let mut below = 0;
            for (bound, count) in BUCKETS.iter().zip(histogram.buckets) {
                below += count;
                let _ = writeln!(text, "{name}_bucket{{operation=\"{operation}\",le=\"{bound}\"}} {below}");
            }
            let Histogram { count, sum, .. } = histogram;
            let _ = writeln!(text, "{name}_bucket{{operation=\"{operation}\",le=\"+Inf\"}} {count}");
            let _ = writeln!(text, "{name}_sum{{operation=\"{operation}\"}} {sum}");
            let _ = writeln!(text, "{name}_count{{operation=\"{operation}\"}} {count}");
        }
    }
}

/// What the home says; `kmsfs_up` is 0 where it cannot be asked.
fn render_home(text: &mut String, backend: &dyn Backend) {
    let keys = keys_by_state(backend);
    head(text, "kmsfs_up", "gauge", "Whether the key store can be read.");
    let _ = writeln!(text, "kmsfs_up {}", u8::from(keys.is_some()));
    head(text, "kmsfs_keys", "gauge", "Keys by region and state.");
    for ((region, state), count) in keys.unwrap_or_default() {
        let _ = writeln!(text, "kmsfs_keys{{region=\"{}\",state=\"{state}\"}} {count}", label(&region));
    }
    head(text, "kmsfs_mounts", "gauge", "Live mounts that use the home.");
    if let Ok(mounts) = backend.mounts() {
        let _ = writeln!(text, "kmsfs_mounts {mounts}");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    head(text, "kmsfs_time_seconds", "gauge", "The machine's clock.");
    let _ = writeln!(text, "kmsfs_time_seconds {}", now.as_secs_f64());
}

fn keys_by_state(backend: &dyn Backend) -> Option<BTreeMap<(String, &'static str), u64>> {
    let mut keys = BTreeMap::new();
    for (number, (region, kms)) in backend.regions().ok()?.into_iter().enumerate() {
        let region = if number < REGIONS { region } else { OTHERS.to_owned() };
        for state in KeyState::ALL {
            keys.entry((region.clone(), state.name())).or_default();
        }
        for key in kms.current_ring().ok()?.keys() {
            *keys.entry((region.clone(), key.record.state.name())).or_default() += 1;
        }
    }
    Some(keys)
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A text as the value of a label.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
