//! Numbers in words.

/// So many of something: `1 file`, `2 files`.
pub fn number(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A number of files.
pub fn files(count: u64) -> String {
    number(count, "file")
}
