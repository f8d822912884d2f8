//! When keys were used last, and by whom, as the audit log says.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

use serde::{Deserialize, Serialize};

use crate::store::Home;

/// The operations that use a key, rather than manage it.
const USES: [&str; 6] =
    ["Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateMac"];

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

/// What is known of the uses of one key.
#[derive(Debug, Clone, Default)]
pub struct Uses {
    /// The last one that was permitted.
    pub permitted: Option<LastUse>,
    /// The last one that was refused, after that.
    pub refused: Option<LastUse>,
}

impl LastUse {
    /// For people.
    pub fn to_text(&self) -> String {
        let of = self.path.as_ref().map(|path| format!(" of {path}")).unwrap_or_default();
        format!("{}, {}{of} by {}", self.time, self.operation, self.by)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    event_time: String,
    event_name: String,
    error_code: Option<String>,
    user_identity: Identity,
    additional_event_data: Option<Data>,
    #[serde(default)]
    resources: Vec<Resource>,
    request_parameters: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Identity {
    arn: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    path: Option<String>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "ARN")]
    arn: String,
}

/// The uses of all keys, by ARN.
///
/// # Errors
/// Where the log cannot be read. Lines that are no records are passed over.
pub fn uses(home: &Home) -> io::Result<HashMap<String, Uses>> {
    let mut uses: HashMap<String, Uses> = HashMap::new();
    let mut log = BufReader::new(File::open(home.dir().join(LOG))?);
    let mut line = Vec::new();
    while log.read_until(b'\n', &mut line)? > 0 {
        if let Ok(event) = serde_json::from_slice::<Event>(&line)
            && USES.contains(&event.event_name.as_str())
        {
            note(&mut uses, event);
        }
        line.clear();
    }
    Ok(uses)
}

/// The log's name in the home.
const LOG: &str = "audit.log";

fn note(uses: &mut HashMap<String, Uses>, event: Event) {
    let last = LastUse {
        time: event.event_time,
        operation: event.event_name,
        by: event.user_identity.arn.unwrap_or_else(|| "the service".to_owned()),
        path: event.additional_event_data.and_then(|data| data.path),
        refused: event.error_code,
    };
    let asked = event.request_parameters.as_ref().and_then(|asked| asked["keyId"].as_str());
    let named = asked.filter(|asked| asked.contains(":key/")).map(str::to_owned);
    let mut keys: Vec<_> = event.resources.into_iter().map(|resource| resource.arn).chain(named).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let uses = uses.entry(key).or_default();
        if last.refused.is_some() {
            uses.refused = Some(last.clone());
        } else {
            *uses = Uses { permitted: Some(last.clone()), refused: None };
        }
    }
}
