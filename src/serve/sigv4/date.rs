//! When a request was signed: within five minutes of now.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::HeaderValue;
use jiff::civil;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

use super::{incomplete, invalid};
use crate::clock::Timestamp;
use crate::serve::auth::Refusal;

/// How far the clocks of a client and the server may be apart (AWS KMS answers `5 min.`).
const SKEW_MINUTES: i64 = 5;

/// A time in whole seconds; written in the basic format of ISO 8601, `20261125T051200Z`, as it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignedAt(jiff::Timestamp);

impl SignedAt {
    /// Reads `x-amz-date`, or `date` where there is no such header: the basic format of ISO 8601, or that of HTTP's own dates.
    ///
    /// # Errors
    /// `IncompleteSignatureException` for every other text.
    pub fn parse(header: Option<&HeaderValue>) -> Result<Self, Refusal> {
        let text = header.map(HeaderValue::as_bytes).unwrap_or_default();
        let time = std::str::from_utf8(text).ok().and_then(|text| basic(text).or_else(|| of_http(text)));
        time.map(Self).ok_or_else(|| {
            let got = String::from_utf8_lossy(text);
            incomplete(format!(
                "Date must be in ISO-8601 'basic format'. Got '{got}'. See http://en.wikipedia.org/wiki/ISO_8601"
            ))
        })
    }

    /// Whether it is near enough to `now`.
    ///
    /// # Errors
    /// `InvalidSignatureException`.
    pub fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        let Some(now) = jiff::Timestamp::from_second(now.as_millis().div_euclid(1000)).ok().map(Self) else {
            return Err(invalid("Signature expired"));
        };
        let (earliest, latest) = (now.minutes_later(-SKEW_MINUTES), now.minutes_later(SKEW_MINUTES));
        if *self < earliest {
            return Err(invalid(format!(
                "Signature expired: {self} is now earlier than {earliest} ({now} - {SKEW_MINUTES} min.)"
            )));
        }
        if *self > latest {
            return Err(invalid(format!(
                "Signature not yet current: {self} is still later than {latest} ({now} + {SKEW_MINUTES} min.)"
            )));
        }
        Ok(())
    }

    /// The day of it, `20261125`.
    pub fn day(&self) -> String {
        self.0.strftime("%Y%m%d").to_string()
    }

    /// As the crate that signs takes it.
    pub fn system_time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(self.0.as_second()).unwrap_or(0))
    }

    fn minutes_later(self, minutes: i64) -> Self {
        let later = jiff::Timestamp::from_second(self.0.as_second().saturating_add(minutes * 60));
        later.map_or(self, Self)
    }
}

impl fmt::Display for SignedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y%m%dT%H%M%SZ"))
    }
}

/// `20261125T051200Z`, and nothing before or behind it.
fn basic(text: &str) -> Option<jiff::Timestamp> {
    let bytes: &[u8; 16] = text.as_bytes().try_into().ok()?;
    let are_digits = (0..15).filter(|place| *place != 8).all(|place| bytes[place].is_ascii_digit());
    if !are_digits || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i8>().ok();
    let year = text.get(..4)?.parse().ok()?;
    let time = civil::DateTime::new(
        year,
        number(4, 6)?,
        number(6, 8)?,
        number(9, 11)?,
        number(11, 13)?,
        number(13, 15)?,
        0,
    );
    TimeZone::UTC.to_timestamp(time.ok()?).ok()
}

/// `Wed, 25 Nov 2026 05:12:00 GMT` (RFC 9110, 5.6.7).
fn of_http(text: &str) -> Option<jiff::Timestamp> {
    rfc2822::parse(text).ok().map(|time| time.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SignedAt, Refusal> {
        SignedAt::parse(HeaderValue::from_str(text).ok().as_ref())
    }

    #[test]
    fn a_date_is_read_in_both_formats_and_written_in_one() {
        for text in ["20261125T051200Z", "Wed, 25 Nov 2026 05:12:00 GMT"] {
            let at = parse(text).unwrap();
            assert_eq!((at.to_string().as_str(), at.day().as_str()), ("20261125T051200Z", "20261125"));
        }
    }

    #[test]
    fn every_other_text_is_no_date() {
        for text in [
            "",
            "201",
            "20261125T051200",
            "20261125T051200z",
            "20261125t051200Z",
            "20261125T051200ZZ",
            "20261325T051200Z",
            "20261125T251200Z",
            "20261125T051260Z",
            "+0261125T051200Z",
            "2026-11-25T05:12:00Z",
            "20261125T05120 Z",
        ] {
            let refusal = parse(text).unwrap_err();
            assert_eq!(refusal.name, "IncompleteSignatureException", "{text}");
            let expected = format!(
                "Date must be in ISO-8601 'basic format'. Got '{text}'. See http://en.wikipedia.org/wiki/ISO_8601"
            );
            assert_eq!(refusal.message, expected);
        }
    }

    #[test]
    fn a_request_is_good_for_five_minutes_before_and_after() {
        let at = parse("20261125T051200Z").unwrap();
        let signed = Timestamp::from_millis(at.0.as_millisecond());
        let later = |seconds: i64| Timestamp::from_millis(signed.as_millis() + seconds * 1000);
        for seconds in [-300, -1, 0, 1, 300] {
            assert_eq!(at.check(later(seconds)), Ok(()), "{seconds}");
        }
        for (seconds, message) in [
            (
                301,
                "Signature expired: 20261125T051200Z is now earlier than 20261125T051201Z (20261125T051701Z - 5 min.)",
            ),
            (
                -301,
                "Signature not yet current: 20261125T051200Z is still later than 20261125T051159Z (20261125T050659Z + 5 min.)",
            ),
        ] {
            let refusal = at.check(later(seconds)).unwrap_err();
            assert_eq!((refusal.name, refusal.message.as_str()), ("InvalidSignatureException", message));
        }
        assert!(at.check(Timestamp::from_millis(i64::MAX)).is_err());
    }
}
