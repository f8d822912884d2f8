//! Answers as the AWS CLI version 2 prints them: JSON with four blanks, times in ISO 8601 in the local time zone.

use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

/// The members that hold times, in epoch seconds (service model `kms/2014-11-01`).
const TIMES: [&str; 12] = [
    "CreationDate",
    "LastUpdatedDate",
    "DeletionDate",
    "ValidTo",
    "ParametersValidTo",
    "RotationDate",
    "NextRotationDate",
    "OnDemandRotationStartDate",
    "LastUsedDate",
    "Timestamp",
    "TrackingStartDate",
    "KeyCreationDate",
];

/// An answer as text.
pub fn render(answer: &Value) -> String {
    let mut answer = answer.clone();
    write_times(&mut answer, &TimeZone::system());
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    answer.serialize(&mut serializer).expect("a JSON value is JSON");
    text.push(b'\n');
    String::from_utf8(text).expect("JSON is UTF-8")
}

fn write_times(value: &mut Value, zone: &TimeZone) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_f64() {
                    Some(seconds) if TIMES.contains(&name.as_str()) => {
                        *member = Value::String(iso(seconds, zone))
                    }
                    _ => write_times(member, zone),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| write_times(item, zone)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

/// `2026-11-24T08:41:00.123000+00:00`; without a fraction where it is zero.
fn iso(seconds: f64, zone: &TimeZone) -> String {
    let micros = (seconds * 1_000_000.0).round() as i64;
    let Ok(time) = jiff::Timestamp::from_microsecond(micros) else { return seconds.to_string() };
    let format = if micros % 1_000_000 == 0 { "%Y-%m-%dT%H:%M:%S%:z" } else { "%Y-%m-%dT%H:%M:%S.%6f%:z" };
    time.to_zoned_datetime(zone.clone()).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_iso_8601_with_an_offset() {
        assert_eq!(iso(1_700_000_000.12, &TimeZone::UTC), "2023-11-14T22:13:20.120000+00:00");
        assert_eq!(iso(1_700_000_000.0, &TimeZone::UTC), "2023-11-14T22:13:20+00:00");
    }

    #[test]
    fn only_members_that_are_times_become_times() {
        let mut answer =
            json!({"CreationDate": 0.0, "PendingWindowInDays": 7, "Keys": [{"DeletionDate": 1.5}]});
        write_times(&mut answer, &TimeZone::UTC);
        assert_eq!(
            answer,
            json!({
                "CreationDate": "1970-01-01T00:00:00+00:00",
                "PendingWindowInDays": 7,
                "Keys": [{"DeletionDate": "1970-01-01T00:00:01.500000+00:00"}]
            })
        );
    }

    #[test]
    fn json_is_indented_by_four_and_keeps_its_order() {
        assert_eq!(
            render(&json!({"b": 1, "a": [true]})),
            "{\n    \"b\": 1,\n    \"a\": [\n        true\n    ]\n}\n"
        );
    }
}
