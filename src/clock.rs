//! Time, from one place (rule T-1).
//!
//! Nothing else in the project asks the operating system for the date where a key's life depends on it: due
//! rotations, expiries and deletions all follow a [`Clock`], which tests and demonstrations can move.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time: milliseconds since 1970-01-01 00:00:00 UTC. AWS KMS answers times with this resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The point in time that a text of RFC 3339 names: `2026-11-24T08:41:00Z`.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|time| Self(time.as_millisecond()))
    }

    /// Seconds since the epoch, with their fraction, as AWS's JSON writes times.
    pub fn as_seconds_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// `self + duration`; the far future instead of an overflow.
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// `self + days` of 24 hours.
    pub fn plus_days(self, days: u32) -> Self {
        self.saturating_add(Duration::from_secs(u64::from(days) * 86_400))
    }
}

impl Timestamp {
    /// How much later it is than `earlier`; nothing where it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-11-24T08:41:00.123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{} ms since 1970", self.0),
        }
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync {
    /// The present, as the machine's clock shows it: anybody who may set that clock moves it.
    fn now(&self) -> Timestamp;

    /// How long the machine has been running, sleep included. It is counted and cannot be set; it begins anew at each start of
    /// the machine.
    fn uptime(&self) -> Duration;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    /// `CLOCK_BOOTTIME` (clock_gettime(2)), which the kernel answers without a system call.
    fn uptime(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::try_from(time).unwrap_or_default()
    }
}

/// A clock that stands still until it is moved; for tests. The machine that it stands for has just been started.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicI64,
    uptime: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { now: AtomicI64::new(now.as_millis()), uptime: AtomicU64::new(0) }
    }

    /// Time passes, asleep or awake.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().saturating_add(by));
        self.uptime.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Sets it, also back. No time passes by that.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.as_millis(), Ordering::SeqCst);
    }

    /// The machine is off for so long, and started again.
    pub fn power_off(&self, off: Duration) {
        self.set(self.now().saturating_add(off));
        self.uptime.store(0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.uptime.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_as_rfc_3339_with_milliseconds() {
        assert_eq!(Timestamp::from_millis(1_700_000_000_120).to_string(), "2023-11-14T22:13:20.120Z");
    }

    #[test]
    fn a_text_of_rfc_3339_is_a_timestamp() {
        let time = Timestamp::from_millis(1_700_000_000_120);
        for text in ["2023-11-14T22:13:20.120Z", "2023-11-14T23:13:20.120+01:00"] {
            assert_eq!(Timestamp::parse(text), Some(time), "{text}");
        }
        assert_eq!(Timestamp::parse("2023-11-14"), None);
    }

    #[test]
    fn the_systems_clock_and_uptime_run() {
        let (now, uptime) = (SystemClock.now(), SystemClock.uptime());
        std::thread::sleep(Duration::from_millis(20));
        assert!(SystemClock.uptime() >= uptime + Duration::from_millis(20));
        assert!(uptime > Duration::ZERO && now > Timestamp::from_millis(1_700_000_000_000));
    }

    #[test]
    fn a_date_out_of_range_prints_and_does_not_panic() {
        assert_eq!(
            Timestamp::from_millis(i64::MAX).plus_days(1).to_string(),
            "9223372036854775807 ms since 1970"
        );
    }
}
