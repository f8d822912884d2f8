//! Records of what was asked and answered, in CloudTrail's shape (rules AUD-1 and AUD-2).
//!
//! A record says who asked what, of which key, and how it ended. It never holds a plaintext, a ciphertext or a key: request
//! parameters come from [`super::fields`], which keeps no blob.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Caller, KmsError, Operation, Via};
use crate::clock::Timestamp;
use crate::crypto::rng;
use crate::datakey::KeyArn;

/// The version of CloudTrail's record format that these follow.
const EVENT_VERSION: &str = "1.11";
/// What asks for the keys of files, where no command does.
const MOUNT: &str = "kmsfs mount";

/// One record.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    event_version: &'static str,
    user_identity: Value,
    event_time: String,
    event_source: &'static str,
    event_name: String,
    aws_region: String,
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: &'static str,
    user_agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    request_parameters: Value,
    response_elements: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_event_data: Option<Value>,
    #[serde(rename = "requestID")]
    request_id: String,
    #[serde(rename = "eventID")]
    event_id: String,
    read_only: bool,
    resources: Vec<Value>,
    event_type: &'static str,
    management_event: bool,
    recipient_account_id: String,
    event_category: &'static str,
}

/// Something that is done to a home itself, and that AWS has no operation for.
#[derive(Debug, Clone)]
pub struct HomeEvent {
    /// Its name: `AddUnlockSlot`.
    pub name: &'static str,
    /// What was asked for. No secret is among it.
    pub parameters: Map<String, Value>,
    /// Whether it leaves the home as it was.
    pub read_only: bool,
}

/// Where and when an event happens.
#[derive(Debug, Clone)]
pub struct Scene<'a> {
    /// The account of the home.
    pub account: &'a str,
    /// Its region.
    pub region: &'a str,
    /// The time, by the home's clock.
    pub now: Timestamp,
}

impl AuditEvent {
    /// The record of an operation that a caller asked for.
    pub fn of_call(
        scene: &Scene<'_>,
        caller: &Caller,
        operation: Operation,
        parameters: Map<String, Value>,
        touched: &[KeyArn],
        error: Option<&KmsError>,
    ) -> Self {
        let (user_agent, more) = match &caller.via {
            Via::Cli => ("kmsfs".to_owned(), None),
            Via::Mount { volume, path } => (MOUNT.to_owned(), Some(of_file(caller, volume, path))),
            Via::Tool { name, volume, path } => ((*name).to_owned(), Some(of_file(caller, volume, path))),
        };
        Self {
            user_identity: identity(scene, caller),
            user_agent,
            error_code: error.map(|error| error.error.name()),
            error_message: error.and_then(|error| error.message.clone()),
            request_parameters: if parameters.is_empty() { Value::Null } else { Value::Object(parameters) },
            additional_event_data: more,
            read_only: operation.is_read_only(),
            ..Self::bare(scene, operation.name(), "AwsApiCall", touched)
        }
    }

    /// The record of something that the service did by itself, such as the destruction of a key whose date has come.
    pub fn of_service(scene: &Scene<'_>, name: &str, touched: &[KeyArn]) -> Self {
        Self::bare(scene, name, "AwsServiceEvent", touched)
    }

    /// The record of something that a mount, or the command `tool`, found or did to a file, which no caller asked for.
    pub fn of_file(
        scene: &Scene<'_>,
        name: &str,
        tool: Option<&'static str>,
        volume: &str,
        path: &str,
        detail: Option<&str>,
        touched: &[KeyArn],
    ) -> Self {
        Self {
            user_agent: tool.unwrap_or(MOUNT).to_owned(),
            additional_event_data: Some(json!({"volume": volume, "path": path, "detail": detail})),
            read_only: true,
            ..Self::of_service(scene, name, touched)
        }
    }

    /// The record of what a caller did to the home itself, such as giving it another unlock slot.
    pub fn of_home(scene: &Scene<'_>, caller: &Caller, done: &HomeEvent) -> Self {
        Self {
            user_identity: identity(scene, caller),
            request_parameters: Value::Object(done.parameters.clone()),
            read_only: done.read_only,
            ..Self::bare(scene, done.name, "AwsServiceEvent", &[])
        }
    }

    /// The same event as one that did not come to be.
    pub fn failed(self, error: &KmsError) -> Self {
        Self { error_code: Some(error.error.name()), error_message: error.message.clone(), ..self }
    }

    fn bare(scene: &Scene<'_>, name: &str, event_type: &'static str, touched: &[KeyArn]) -> Self {
        let resource =
            |arn: &KeyArn| json!({"accountId": scene.account, "type": "AWS::KMS::Key", "ARN": arn.as_str()});
        let [request_id, event_id] = random_ids();
        Self {
            event_version: EVENT_VERSION,
            user_identity: json!({"accountId": scene.account, "invokedBy": "kms.amazonaws.com"}),
            event_time: scene.now.to_string(),
            event_source: "kms.amazonaws.com",
            event_name: name.to_owned(),
            aws_region: scene.region.to_owned(),
            source_ip_address: "127.0.0.1",
            user_agent: "kmsfs".to_owned(),
            error_code: None,
            error_message: None,
            request_parameters: Value::Null,
            response_elements: Value::Null,
            additional_event_data: None,
            request_id,
            event_id,
            read_only: false,
            resources: touched.iter().map(resource).collect(),
            event_type,
            management_event: true,
            recipient_account_id: scene.account.to_owned(),
            event_category: "Management",
        }
    }

    /// Whether it leaves every key as it was.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The record as one line, with its end.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("strings, numbers and JSON values are JSON");
        line.push(b'\n');
        line
    }
}

/// Who asked for a file's key, and for which.
fn of_file(caller: &Caller, volume: &str, path: &str) -> Value {
    json!({"volume": volume, "path": path, "uid": caller.uid, "pid": caller.pid})
}

/// Two UUIDs of version 4, without a system call for their randomness: one record is written for each open of a file.
fn random_ids() -> [String; 2] {
    let random: [u8; 32] = rng::bytes();
    let [one, other] = *random.as_chunks::<16>().0 else { unreachable!("32 bytes are twice 16") };
    [one, other].map(|bytes| uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

fn identity(scene: &Scene<'_>, caller: &Caller) -> Value {
    let kind = if caller.principal.ends_with(":root") { "Root" } else { "IAMUser" };
    json!({
        "type": kind,
        "arn": caller.principal,
        "accountId": scene.account,
        "userName": caller.user,
    })
}

/// A record could not be written; what it was about must not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditError(pub String);

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the audit log cannot be written: {}", self.0)
    }
}

impl std::error::Error for AuditError {}

/// Keeps records. Used from many threads at once.
pub trait AuditLog: Send + Sync {
    /// Writes a record; one that changes a key reaches the disk before this returns.
    ///
    /// # Errors
    /// [`AuditError`]; nothing of the record counts then.
    fn record(&self, event: &AuditEvent) -> Result<(), AuditError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::AwsError;

    fn scene() -> Scene<'static> {
        Scene { account: "000000000000", region: "us-east-1", now: Timestamp::from_millis(0) }
    }

    fn caller(via: Via) -> Caller {
        let principal = "arn:aws:iam::000000000000:root".into();
        Caller { principal, uid: 7, pid: 8, user: "root".into(), via }
    }

    #[test]
    fn aud_1_a_refused_open_names_file_caller_and_error() {
        let via = Via::Mount { volume: "v".into(), path: "a/b".into() };
        let error = KmsError::new(AwsError::Disabled, "X is disabled.");
        let arn = KeyArn::new("arn:aws:kms:us-east-1:000000000000:key/k");
        let event =
            AuditEvent::of_call(&scene(), &caller(via), Operation::Decrypt, Map::new(), &[arn], Some(&error));
        let line: Value = serde_json::from_slice(&event.to_line()).unwrap();
        assert_eq!(line["eventName"], "Decrypt");
        assert_eq!(line["eventTime"], "1970-01-01T00:00:00.000Z");
        assert_eq!(line["errorCode"], "DisabledException");
        assert_eq!(line["readOnly"], true);
        assert_eq!(line["additionalEventData"], json!({"volume": "v", "path": "a/b", "uid": 7, "pid": 8}));
        assert_eq!(line["resources"][0]["ARN"], "arn:aws:kms:us-east-1:000000000000:key/k");
        assert_eq!(line["userIdentity"]["type"], "Root");
    }

    #[test]
    fn a_record_is_one_line() {
        let event = AuditEvent::of_service(&scene(), "DeleteKey", &[]);
        let line = event.to_line();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(line.last(), Some(&b'\n'));
    }
}
