//! Numbers and spans of time, as people write and read them.

use std::fmt;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// So many of something: `1 file`, `2 files`.
pub fn number(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A number of files.
pub fn files(count: u64) -> String {
    number(count, "file")
}

/// A span of time in words: its two largest units.
pub struct Words(pub Duration);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // To the nearest second: two looks at a clock lie some milliseconds apart.
        let seconds = (self.0 + Duration::from_millis(500)).as_secs();
        let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
        let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, _) if seconds == 0 => write!(f, "{minutes} min"),
            (0, 0, _) => write!(f, "{minutes} min {seconds} s"),
            (0, _, 0) => write!(f, "{hours} h"),
            (0, _, _) => write!(f, "{hours} h {minutes} min"),
            (1, 0, _) => f.write_str("1 day"),
            (1, _, _) => write!(f, "1 day {hours} h"),
            (_, 0, _) => write!(f, "{days} days"),
            (_, _, _) => write!(f, "{days} days {hours} h"),
        }
    }
}

/// A span as people write it. Days have 24 hours; months and years have no length of their own.
pub fn span(text: &str) -> Result<Duration, String> {
    let fails = || "expected a span such as 366d, 12h, 90m or 1w".to_owned();
    let span: Span = text.parse().map_err(|_| fails())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| fails())?;
    Duration::try_from(duration).map_err(|_| "time does not go back".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_as_people_write_it() {
        const HOUR: u64 = 3600;
        let cases = [
            ("366d", 366 * 24 * HOUR),
            ("12h", 12 * HOUR),
            ("90m", HOUR * 3 / 2),
            ("30s", 30),
            ("1w", 7 * 24 * HOUR),
            ("1d12h", 36 * HOUR),
            ("2 days 3 hours", 51 * HOUR),
            ("0s", 0),
        ];
        for (text, seconds) in cases {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "12", "1y", "1mo", "-1d", "d", "1x", "999999999999999999999d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_span_is_said_in_its_two_largest_units() {
        let cases = [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (3600, "1 h"),
            (3661, "1 h 1 min"),
            (86_400, "1 day"),
            (90_000, "1 day 1 h"),
            (366 * 86_400 + 1, "366 days"),
            (366 * 86_400 + 7200, "366 days 2 h"),
        ];
        for (seconds, words) in cases {
            assert_eq!(Words(Duration::from_secs(seconds)).to_string(), words);
        }
        assert_eq!(Words(Duration::from_millis(59_999)).to_string(), "1 min");
    }
}
