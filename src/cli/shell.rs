//! Words for a shell: what a hint shows can be pasted as it stands.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What a shell takes as it is, beside letters and digits.
const PLAIN: &str = "_@%+=:,./-";

/// A path as one word of a command, in quotes where a shell would make something else of it. One that begins like an option gets a directory
/// before it.
pub fn word(path: impl AsRef<OsStr>) -> String {
    let path = path.as_ref();
    let before = if path.as_bytes().starts_with(b"-") { "./" } else { "" };
    match path.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => format!("{before}{text}"),
        Some(text) if !text.chars().any(char::is_control) => {
            format!("{before}'{}'", text.replace('\'', r"'\''"))
        }
        _ => format!("{before}$'{}'", escaped(path.as_bytes())),
    }
}

fn is_plain(letter: char) -> bool {
    letter.is_alphanumeric() || PLAIN.contains(letter)
}

/// Bytes as a shell reads them in `$'...'` (POSIX.1-2024, "Dollar-Single-Quotes"): what is no text, and what would move a terminal's cursor,
/// by its number. Three octal digits end a number whatever comes behind it.
fn escaped(bytes: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
        byte if byte.is_ascii_graphic() || *byte == b' ' => char::from(*byte).to_string(),
        byte => format!("\\{byte:03o}"),
    };
    bytes.iter().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_plain_path_stays_as_it_is_and_another_one_is_quoted() {
        for plain in ["/srv/vault", "a.b-c_d", "jürgen/日本", "./x:1,2=3@4%5+6"] {
            assert_eq!(word(plain), plain);
        }
        assert_eq!(word("my files"), "'my files'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!(word("-r"), "./-r");
        assert_eq!(word(""), "''");
        assert_eq!(word("a\nb"), r"$'a\012b'");
    }

    #[test]
    fn a_shell_reads_back_every_byte_that_a_path_can_have() {
        let names = (1..=255).map(|byte| vec![byte]).chain([
            (1..=255).collect(),
            b"~/a $HOME `id` \"x\" \\n !! *?[a] {b,c} #;&|<>()".to_vec(),
            b"\n7".to_vec(),
        ]);
        for bytes in names {
            let path = std::ffi::OsString::from_vec(bytes.clone());
            let script = format!("printf %s {}", word(&path));
            let said = Command::new("bash").args(["-c", &script]).output().unwrap().stdout;
            let said = said.strip_prefix(b"./").filter(|_| bytes.starts_with(b"-")).unwrap_or(&said);
            assert_eq!(said, bytes, "{script}");
        }
    }
}
