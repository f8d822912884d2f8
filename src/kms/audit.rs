//! Records of what was asked and answered, in CloudTrail's shape (rules AUD-1 and AUD-2).
//!
//! A record says who asked what, of which key, and how it ended. It never holds a plaintext, a ciphertext or a key: request
//! parameters come from [`super::fields`], which keeps no blob.

mod details;
mod line;
mod log;
mod names;

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::clock_guard::{Finding, Times};
use super::ring::Keyring;
use super::{Caller, KmsError, Operation, ServiceEvent, Via};
use crate::clock::Timestamp;
use crate::context::EncryptionContext;
use crate::crypto::rng;
use crate::datakey::KeyArn;

use details::Details;
pub use log::{AuditError, AuditLog, KeyUsage, LastUse};
pub use names::event_names;

/// The version of CloudTrail's record format that these follow.
const EVENT_VERSION: &str = "1.11";
/// What asks for the keys of files, where no command does.
const MOUNT: &str = "kmsfs mount";
/// What asks otherwise.
const COMMAND: &str = "kmsfs";

/// One record. It borrows what it says: one is made for each open of a file.
#[derive(Debug, Clone)]
pub struct AuditEvent<'a> {
    user_identity: Identity<'a>,
    event_time: Timestamp,
    event_name: &'a str,
    aws_region: &'a str,
    source_ip_address: &'a str,
    user_agent: &'a str,
    error_code: Option<&'static str>,
    error_message: Option<&'a str>,
    request_parameters: Option<Parameters<'a>>,
    additional_event_data: Option<More<'a>>,
    service_event_details: Option<Details>,
    request_id: Uuid,
    event_id: Uuid,
    read_only: bool,
    resources: Vec<Resource<'a>>,
    event_type: &'static str,
    recipient_account_id: &'a str,
    tls_details: Option<TlsDetails<'a>>,
    /// The keyring that it happened under, whose alarms may sound for it.
    ring: Option<&'a Keyring>,
    /// The keys that it was about.
    keys: &'a [KeyArn],
}

/// What was asked for, without secrets.
#[derive(Debug, Clone, Copy)]
pub enum Parameters<'a> {
    /// As a request named it.
    Read(&'a Map<String, Value>),
    /// As the filesystem asks for the data key of a file.
    File {
        /// The CMK, as it is named.
        key_id: &'a str,
        /// The file's context.
        encryption_context: &'a EncryptionContext,
        /// The algorithm of symmetric keys.
        encryption_algorithm: &'static str,
    },
}

impl Parameters<'_> {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Read(map) if map.is_empty())
    }
}

/// Who did it.
#[derive(Debug, Clone)]
enum Identity<'a> {
    Caller {
        r#type: &'static str,
        arn: &'a str,
        account_id: &'a str,
        access_key_id: Option<&'a str>,
        user_name: &'a str,
    },
    Service {
        account_id: &'a str,
        invoked_by: &'static str,
    },
}

/// How the client of a server was connected.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct TlsDetails<'a> {
    tls_version: &'static str,
    cipher_suite: &'static str,
    client_provided_host_header: &'a str,
}

/// Which file it was about, or which process of this machine asked.
#[derive(Debug, Clone)]
enum More<'a> {
    Process { uid: u32, pid: u32 },
    Asked { volume: &'a str, path: &'a str, uid: u32, pid: u32 },
    Happened { volume: &'a str, path: &'a str, detail: Option<&'a str> },
}

/// A key that it was about.
#[derive(Debug, Clone)]
struct Resource<'a> {
    account: &'a str,
    arn: &'a str,
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
    /// The keyring that it happens under, where its alarms may sound.
    pub ring: Option<&'a Keyring>,
}

impl<'a> AuditEvent<'a> {
    /// The record of an operation that a caller asked for.
    pub fn of_call(
        scene: &Scene<'a>,
        caller: &'a Caller,
        operation: Operation,
        parameters: Parameters<'a>,
        touched: &'a [KeyArn],
        error: Option<&'a KmsError>,
    ) -> Self {
        let (uid, pid) = (caller.uid, caller.pid);
        let bare = Self::bare(scene, operation.name(), "AwsApiCall", touched);
        let bare = match &caller.via {
            Via::Cli => bare,
            Via::Mount { volume, path } => Self {
                user_agent: MOUNT,
                additional_event_data: Some(More::Asked { volume, path, uid, pid }),
                ..bare
            },
            Via::Tool { name, volume, path } => Self {
                user_agent: name,
                additional_event_data: Some(More::Asked { volume, path, uid, pid }),
                ..bare
            },
            Via::Server(client) => Self {
                source_ip_address: &client.source,
                user_agent: &client.agent,
                additional_event_data: client.is_local.then_some(More::Process { uid, pid }),
                request_id: client.request_id,
                tls_details: client.tls.as_ref().map(|tls| TlsDetails {
                    tls_version: tls.version,
                    cipher_suite: tls.cipher_suite,
                    client_provided_host_header: &tls.host,
                }),
                ..bare
            },
        };
        Self {
            user_identity: identity(scene, caller),
            error_code: error.map(|error| error.error.name()),
            error_message: error.and_then(said),
            request_parameters: Some(parameters).filter(|parameters| !parameters.is_empty()),
            read_only: operation.is_read_only(),
            ..bare
        }
    }

    /// The record of something that the service did by itself, such as the destruction of a key whose date has come.
    pub fn of_service(scene: &Scene<'a>, event: &'a ServiceEvent) -> Self {
        Self {
            // What is done to one of several related keys happens where that is.
            aws_region: event.key().region().unwrap_or(scene.region),
            service_event_details: Some(Details::of(event)),
            ..Self::bare(scene, event.name(), "AwsServiceEvent", std::slice::from_ref(event.key()))
        }
    }

    /// The record of what the service found about the clock (rule T-2).
    pub fn of_clock(scene: &Scene<'a>, finding: Finding, times: &Times) -> Self {
        let details = Details::Clock {
            seconds: finding.span().as_secs(),
            claimed_time: times.claimed.to_string(),
            trusted_time: times.trusted.to_string(),
        };
        let bare = Self::bare(scene, finding.name(), "AwsServiceEvent", &[]);
        Self { service_event_details: Some(details), ..bare }
    }

    /// The record of something that a mount, or the command `tool`, found or did to a file, which no caller asked for.
    pub fn of_file(
        scene: &Scene<'a>,
        name: &'a str,
        tool: Option<&'static str>,
        volume: &'a str,
        path: &'a str,
        detail: Option<&'a str>,
        touched: &'a [KeyArn],
    ) -> Self {
        Self {
            user_agent: tool.unwrap_or(MOUNT),
            additional_event_data: Some(More::Happened { volume, path, detail }),
            read_only: true,
            ..Self::bare(scene, name, "AwsServiceEvent", touched)
        }
    }

    /// The record of what the audit log says about itself, such as that it goes on after a kill.
    pub fn of_log(scene: &Scene<'a>, name: &'a str, said: &'a Map<String, Value>) -> Self {
        Self {
            request_parameters: Some(Parameters::Read(said)),
            read_only: true,
            ..Self::bare(scene, name, "AwsServiceEvent", &[])
        }
    }

    /// The record of what a caller did to the home itself, such as giving it another unlock slot.
    pub fn of_home(scene: &Scene<'a>, caller: &'a Caller, done: &'a HomeEvent) -> Self {
        Self {
            user_identity: identity(scene, caller),
            request_parameters: Some(Parameters::Read(&done.parameters)),
            read_only: done.read_only,
            ..Self::bare(scene, done.name, "AwsServiceEvent", &[])
        }
    }

    /// The same event as one that did not come to be.
    pub fn failed(self, error: &'a KmsError) -> Self {
        Self { error_code: Some(error.error.name()), error_message: said(error), ..self }
    }

    fn bare(scene: &Scene<'a>, name: &'a str, event_type: &'static str, touched: &'a [KeyArn]) -> Self {
        let account = scene.account;
        let resource = |arn: &'a KeyArn| Resource { account, arn: arn.as_str() };
        let [request_id, event_id] = random_ids();
        Self {
            user_identity: Identity::Service { account_id: account, invoked_by: "kms.amazonaws.com" },
            event_time: scene.now,
            event_name: name,
            aws_region: scene.region,
            source_ip_address: "127.0.0.1",
            user_agent: COMMAND,
            error_code: None,
            error_message: None,
            request_parameters: None,
            additional_event_data: None,
            service_event_details: None,
            request_id,
            event_id,
            read_only: false,
            resources: touched.iter().map(resource).collect(),
            event_type,
            recipient_account_id: account,
            tls_details: None,
            ring: scene.ring,
            keys: touched,
        }
    }

    /// Where and when it happened.
    pub fn scene(&self) -> Scene<'a> {
        Scene {
            account: self.recipient_account_id,
            region: self.aws_region,
            now: self.event_time,
            ring: None,
        }
    }

    /// The keyring that it happened under, where an alarm of it may sound for this: a success in a home without alarms sounds none.
    pub fn may_sound(&self) -> Option<&'a Keyring> {
        self.ring.filter(|ring| self.error_code.is_some() || ring.has_alarms())
    }

    /// Its name: `Decrypt`.
    pub fn name(&self) -> &'a str {
        self.event_name
    }

    /// The error's name, where it was refused.
    pub fn error_code(&self) -> Option<&'static str> {
        self.error_code
    }

    /// The keys that it was about.
    pub fn keys(&self) -> &'a [KeyArn] {
        self.keys
    }

    /// Who asked: the ARN of the principal, or the name of the service.
    pub fn principal(&self) -> &'a str {
        match self.user_identity {
            Identity::Caller { arn, .. } => arn,
            Identity::Service { invoked_by, .. } => invoked_by,
        }
    }

    /// The file within its volume, where it was about one.
    pub fn path(&self) -> Option<&'a str> {
        match self.additional_event_data {
            Some(More::Asked { path, .. } | More::Happened { path, .. }) => Some(path),
            Some(More::Process { .. }) | None => None,
        }
    }

    /// Whether a program in a mount asked, and no command.
    pub fn is_of_mount(&self) -> bool {
        self.user_agent == MOUNT
    }

    /// Whether it leaves every key as it was.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }
}

/// Two UUIDs of version 4, without a system call for their randomness.
fn random_ids() -> [Uuid; 2] {
    let random: [u8; 32] = rng::bytes();
    let [one, other] = *random.as_chunks::<16>().0 else { unreachable!("32 bytes are twice 16") };
    [one, other].map(|bytes| uuid::Builder::from_random_bytes(bytes).into_uuid())
}

fn identity<'a>(scene: &Scene<'a>, caller: &'a Caller) -> Identity<'a> {
    let r#type = kind(&caller.principal);
    let access_key_id = match &caller.via {
        Via::Server(client) => client.access_key_id.as_deref(),
        Via::Cli | Via::Mount { .. } | Via::Tool { .. } => None,
    };
    let (arn, account_id, user_name) = (&caller.principal, scene.account, &caller.user);
    Identity::Caller { r#type, arn, account_id, access_key_id, user_name }
}

/// What kind of principal has that ARN (CloudTrail User Guide, "CloudTrail userIdentity element").
fn kind(principal: &str) -> &'static str {
    let resource = principal.splitn(6, ':').nth(5).and_then(|resource| resource.split('/').next());
    match resource.unwrap_or_default() {
        "root" => "Root",
        "role" => "Role",
        "assumed-role" => "AssumedRole",
        "federated-user" => "FederatedUser",
        _ => "IAMUser",
    }
}

/// The message of an error, as far as a record holds it: it may quote what a client sent (CloudTrail User Guide, "errorMessage": 1 KB).
fn said(error: &KmsError) -> Option<&str> {
    let message = error.message.as_deref()?;
    Some(&message[..message.floor_char_boundary(ERROR_LEN_MAX)])
}

/// Bytes of an error's message in a record.
const ERROR_LEN_MAX: usize = 1024;

#[cfg(test)]
mod tests;
