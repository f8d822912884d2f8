//! The last use of a key, for people and programs.

use serde::Serialize;

use crate::store::audit::usage::Use;

/// A use of a key, or an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastUse {
    /// When, as the record says it.
    pub time: String,
    /// The operation.
    pub operation: String,
    /// Who: a principal's ARN.
    pub by: String,
    /// The file within its volume, where a mount or a command asked for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Why it was refused, where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl From<Use> for LastUse {
    fn from(last: Use) -> Self {
        let Use { time, operation, principal, path, error, event_id: _, user: _ } = last;
        Self { time, operation, by: principal, path, refused: error }
    }
}

impl LastUse {
    /// For people.
    pub fn to_text(&self) -> String {
        let of = self.path.as_ref().map(|path| format!(" of {path}")).unwrap_or_default();
        format!("{}, {}{of} by {}", self.time, self.operation, self.by)
    }
}
