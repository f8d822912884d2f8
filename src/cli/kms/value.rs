//! Values of flags, as the AWS CLI version 2 reads them: text, `file://`, `fileb://`, base64, shorthand and JSON.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

type Read<T> = Result<T, String>;

/// Text, or the text of `file://FILE`.
pub fn text(given: &str) -> Read<String> {
    match given.strip_prefix("file://") {
        None if given.starts_with("fileb://") => {
            Err("fileb:// gives bytes, and text is expected: use file://".to_owned())
        }
        None => Ok(given.to_owned()),
        Some(path) => fs::read_to_string(path).map_err(|error| unreadable(given, &error)),
    }
}

/// A whole number.
pub fn integer(given: &str) -> Read<Value> {
    let number: i64 =
        given.parse().map_err(|_| format!("invalid literal for int() with base 10: '{given}'"))?;
    Ok(Value::from(number))
}

/// A point in time, as seconds since 1970: given so, or as a date of ISO 8601. One without an offset is of the local time zone, and
/// one without a time is its midnight.
pub fn timestamp(given: &str) -> Read<Value> {
    timestamp_in(given, &TimeZone::system())
}

fn timestamp_in(given: &str, zone: &TimeZone) -> Read<Value> {
    let wrong = || format!("Invalid timestamp \"{given}\"");
    if let Some(seconds) = given.parse().ok().filter(|seconds: &f64| seconds.is_finite()) {
        return Ok(Value::from(seconds));
    }
    let time = given.parse::<jiff::Timestamp>().or_else(|_| {
        let local = given.parse::<jiff::civil::DateTime>().map_err(|_| wrong())?;
        zone.to_timestamp(local).map_err(|_| wrong())
    })?;
    Ok(Value::from(time.as_millisecond() as f64 / 1000.0))
}

/// Bytes, as base64 of the request: given in base64 themselves, or the bytes of `fileb://FILE`.
pub fn blob(given: &str) -> Read<String> {
    if let Some(path) = given.strip_prefix("fileb://") {
        return fs::read(path).map(|bytes| BASE64.encode(bytes)).map_err(|error| unreadable(given, &error));
    }
    let text = text(given)?;
    // Refused here as the AWS CLI refuses it, before anything is sent.
    let text: String = text.split_ascii_whitespace().collect();
    BASE64.decode(&text).map_err(|_| format!("Invalid base64: \"{given}\""))?;
    Ok(text)
}

/// `name=value,...`, or a JSON object of texts.
pub fn map(given: &str) -> Read<Value> {
    let given = text(given)?;
    if given.trim_start().starts_with('{') {
        let parsed = serde_json::from_str(&given).map_err(|error| format!("Invalid JSON: {error}"))?;
        return Ok(parsed);
    }
    pairs(&given).map(Value::Object)
}

/// `name={name=value,...},...`, or a JSON object of such.
pub fn maps(given: &str) -> Read<Value> {
    let given = text(given)?;
    if given.trim_start().starts_with('{') {
        return serde_json::from_str(&given).map_err(|error| format!("Invalid JSON: {error}"));
    }
    let mut members = Map::new();
    let mut rest = given.as_str();
    while !rest.is_empty() {
        let (name, behind) = rest
            .split_once("={")
            .ok_or_else(|| format!("Expected: '={{', received: '{rest}' for input: {given}"))?;
        let (inner, behind) = behind
            .split_once('}')
            .ok_or_else(|| format!("Expected: '}}', received: 'EOF' for input: {given}"))?;
        if members.insert(name.trim().to_owned(), Value::Object(pairs(inner)?)).is_some() {
            return Err(format!("Second instance of key \"{}\" encountered for input: {given}", name.trim()));
        }
        rest = match behind.strip_prefix(',') {
            Some(more) => more,
            None if behind.is_empty() => behind,
            None => return Err(format!("Expected: ',', received: '{behind}' for input: {given}")),
        };
    }
    Ok(Value::Object(members))
}

/// Texts, or one JSON list.
pub fn list(given: &[String]) -> Read<Value> {
    if let [one] = given
        && one.trim_start().starts_with('[')
    {
        return serde_json::from_str(one).map_err(|error| format!("Invalid JSON: {error}"));
    }
    given.iter().map(|item| text(item).map(Value::String)).collect::<Read<Vec<_>>>().map(Value::Array)
}

/// Structures in shorthand, or one JSON list.
pub fn structures(given: &[String]) -> Read<Value> {
    if let [one] = given
        && one.trim_start().starts_with('[')
    {
        return serde_json::from_str(one).map_err(|error| format!("Invalid JSON: {error}"));
    }
    given.iter().map(|item| map(item)).collect::<Read<Vec<_>>>().map(Value::Array)
}

/// Shorthand pairs. A value in quotes may hold commas, and a backslash takes the next letter as it is.
fn pairs(given: &str) -> Read<Map<String, Value>> {
    let mut pairs = Map::new();
    let mut rest = given;
    while !rest.is_empty() {
        let (name, behind) = rest
            .split_once('=')
            .ok_or_else(|| format!("Expected: '=', received: 'EOF' for input: {given}"))?;
        if name.trim().is_empty() {
            return Err(format!("Expected: a name, received: '=' for input: {given}"));
        }
        if let Some(wrong) = name.trim().chars().find(|letter| ",\"'[]{}".contains(*letter)) {
            return Err(format!("Expected: '=', received: '{wrong}' for input: {given}"));
        }
        // With the AWS CLI these begin a list or a structure; where text belongs they are a mistake.
        if behind.starts_with(['[', '{']) {
            return Err(format!("Invalid type for {}: text is expected, in input: {given}", name.trim()));
        }
        let (value, behind) = shorthand_value(behind, given)?;
        if pairs.insert(name.trim().to_owned(), Value::String(value)).is_some() {
            return Err(format!("Second instance of key \"{}\" encountered for input: {given}", name.trim()));
        }
        rest = behind;
    }
    Ok(pairs)
}

/// The value in front, and what is behind its comma.
fn shorthand_value<'a>(rest: &'a str, given: &str) -> Read<(String, &'a str)> {
    let quote = rest.chars().next().filter(|letter| matches!(letter, '"' | '\''));
    let mut value = String::new();
    let mut letters = rest.char_indices().skip(usize::from(quote.is_some()));
    while let Some((at, letter)) = letters.next() {
        match (letter, quote) {
            ('\\', _) => value.extend(letters.next().map(|(_, letter)| letter)),
            (letter, Some(quote)) if letter == quote => {
                let behind = &rest[at + letter.len_utf8()..];
                return match behind.strip_prefix(',') {
                    Some(behind) => Ok((value, behind)),
                    None if behind.is_empty() => Ok((value, behind)),
                    None => Err(format!("Expected: ',', received: '{behind}' for input: {given}")),
                };
            }
            (',', None) => return Ok((value, &rest[at + 1..])),
            (letter, _) => value.push(letter),
        }
    }
    match quote {
        Some(quote) => Err(format!("Expected: '{quote}', received: 'EOF' for input: {given}")),
        None => Ok((value, "")),
    }
}

fn unreadable(given: &str, error: &std::io::Error) -> String {
    format!("Unable to load paramfile {given}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shorthand_and_json_are_one() {
        let expected = json!({"a": "1", "b": "2,3"});
        for given in [r#"a=1,b="2,3""#, "a=1,b='2,3'", r"a=1,b=2\,3", r#"{"a":"1","b":"2,3"}"#] {
            assert_eq!(map(given).unwrap(), expected, "{given}");
        }
        assert_eq!(map("a=").unwrap(), json!({"a": ""}));
    }

    #[test]
    fn maps_in_a_structure_have_braces() {
        let expected = json!({"EncryptionContextSubset": {"a": "1", "b": "2"}});
        for given in
            ["EncryptionContextSubset={a=1,b=2}", r#"{"EncryptionContextSubset": {"a": "1", "b": "2"}}"#]
        {
            assert_eq!(maps(given).unwrap(), expected, "{given}");
        }
        assert_eq!(maps("a={},b={c=d}").unwrap(), json!({"a": {}, "b": {"c": "d"}}));
        for given in ["a", "a=b", "a={b", "a={b=c}x", "a={b=c},a={}", "a={b}", "{"] {
            assert!(maps(given).is_err(), "{given}");
        }
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        for given in [
            "a", "a=1,b", "a='1", "a=1,a=2", "a='1'x", "a=1,,b=2", "a=[1]", "a={b=1}", "{a}=1", "=1", "'a'=1",
        ] {
            assert!(map(given).is_err(), "{given}");
        }
    }

    #[test]
    fn times_are_iso_8601_or_seconds() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        for (given, seconds) in [
            ("1700000000", 1_700_000_000.0),
            ("1700000000.12", 1_700_000_000.12),
            ("2023-11-14T22:13:20Z", 1_700_000_000.0),
            ("2023-11-14T22:13:20.120+00:00", 1_700_000_000.12),
            ("2023-11-14T23:13:20+0100", 1_700_000_000.0),
            ("2023-11-15T00:13:20", 1_700_000_000.0),
            ("2023-11-15 00:13:20", 1_700_000_000.0),
            ("2023-11-15", 1_699_999_200.0),
        ] {
            assert_eq!(timestamp_in(given, &zone), Ok(Value::from(seconds)), "{given}");
        }
        for given in ["", "tomorrow", "14.11.2023", "2023-13-01", "NaN", "inf", "12:00"] {
            assert_eq!(timestamp_in(given, &zone), Err(format!("Invalid timestamp \"{given}\"")));
        }
    }

    #[test]
    fn bytes_are_base64_or_a_file() {
        assert_eq!(blob("aGVsbG8=").unwrap(), "aGVsbG8=");
        assert!(blob("hello").unwrap_err().contains("Invalid base64"));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), b"hello").unwrap();
        assert_eq!(blob(&format!("fileb://{}", file.path().display())).unwrap(), "aGVsbG8=");
        assert!(blob("fileb:///does/not/exist").is_err());
    }
}
