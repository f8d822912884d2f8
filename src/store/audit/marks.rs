//! What the log says about itself: records that begin the chain, or say what was found when it was gone on with.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::chain::hex;
use super::scan::Region;

/// The first record of a chain: its id, and the length and SHA-256 of what stood in the file before it.
pub const BEGIN: &str = "BeginAuditChain";
/// A writer was killed in the middle of a line: where, how many bytes, their SHA-256.
pub const TORN: &str = "CloseTornAuditLine";
/// The machine stopped before records were on disk: the first and the last of their numbers.
pub const LOST: &str = "AuditRecordsLost";
/// The log was found as no kill and no loss of power leaves it.
pub const ALTERED: &str = "AuditLogAltered";
/// The file was full, and another one goes on.
pub const ROTATED: &str = "RotateAuditLog";

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// [`BEGIN`]: the length of what stood before, and its SHA-256 in hex.
    Begin(u64, String),
    /// [`TORN`].
    Torn(Option<Span>),
    /// [`LOST`]: the first and the last number, and what stood in their place.
    Lost(u64, u64, Option<Span>),
    /// [`ALTERED`]: in words.
    Altered(String),
}

/// Bytes that are no record: a place in the file, their number, their SHA-256 in hex.
pub type Span = (u64, u64, String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Name<'a> {
    #[serde(borrow)]
    event_name: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    request_parameters: Said,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Said {
    earlier_bytes: u64,
    earlier_sha256: String,
    offset: u64,
    bytes: u64,
    sha256: String,
    from: u64,
    to: u64,
    what: String,
}

impl Mark {
    /// The mark that a line is, if it is one. The line has been authenticated.
    pub fn of(line: &[u8]) -> Option<Self> {
        let Name { event_name } = serde_json::from_slice(line).ok()?;
        if ![BEGIN, TORN, LOST, ALTERED].contains(&&*event_name) {
            return None;
        }
        let Line { request_parameters: said } = serde_json::from_slice(line).ok()?;
        let span = (said.bytes > 0).then_some((said.offset, said.bytes, said.sha256));
        match &*event_name {
            BEGIN => Some(Self::Begin(said.earlier_bytes, said.earlier_sha256)),
            TORN => Some(Self::Torn(span)),
            LOST => Some(Self::Lost(said.from, said.to, span)),
            _ => Some(Self::Altered(said.what)),
        }
    }
}

/// Parameters of a mark.
pub fn parameters<const N: usize>(values: [(&str, Value); N]) -> Map<String, Value> {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Adds what stands in the file and is no record.
pub fn add_region(parameters: &mut Map<String, Value>, region: &Region) {
    let (offset, bytes, digest) = region.span();
    parameters.insert("offset".to_owned(), offset.into());
    parameters.insert("bytes".to_owned(), bytes.into());
    parameters.insert("sha256".to_owned(), digest.into());
}

/// Parameters of [`BEGIN`].
pub fn begin(chain: &[u8], earlier_bytes: u64, earlier_sha256: &[u8]) -> Map<String, Value> {
    parameters([
        ("chain", hex(chain).into()),
        ("earlierBytes", earlier_bytes.into()),
        ("earlierSha256", hex(earlier_sha256).into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::audit::event_names;

    #[test]
    fn each_mark_can_be_asked_for() {
        for mark in [BEGIN, TORN, LOST, ALTERED, ROTATED] {
            assert!(event_names().any(|name| name == mark), "{mark}");
        }
    }
}
