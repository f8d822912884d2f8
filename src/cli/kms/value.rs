//! Values of flags, as the AWS CLI version 2 reads them: text, `file://`, `fileb://`, base64, shorthand and JSON.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
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
    fn what_is_no_pair_is_refused() {
        for given in [
            "a", "a=1,b", "a='1", "a=1,a=2", "a='1'x", "a=1,,b=2", "a=[1]", "a={b=1}", "{a}=1", "=1", "'a'=1",
        ] {
            assert!(map(given).is_err(), "{given}");
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
