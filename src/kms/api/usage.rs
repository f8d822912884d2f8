//! GetKeyLastUsage: what the audit log says of a key's last use.

use serde::Serialize;

use super::{Context, Decode, Reply, Request};
use crate::kms::KmsError;
use crate::kms::audit::LastUse;
use crate::kms::error::Cause;
use crate::kms::fields::Fields;
use crate::kms::reference::Form;

#[derive(Debug)]
pub(super) struct GetKeyLastUsage(String);

impl Decode for GetKeyLastUsage {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self(fields.key_id("KeyId")?))
    }
}

impl Request for GetKeyLastUsage {
    /// Records begin with the home, so that a key is on record since it was made, unless old records were taken away or are too far back:
    /// then since the oldest one that can be looked at (AWS KMS API, GetKeyLastUsage, `TrackingStartDate`).
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.0, Form::IdOrArn)?;
        let usage =
            cx.log.usage(&cx.arn(key)).map_err(|error| KmsError::failed(Cause::Audit, error.to_string()))?;
        let created = key.record.created;
        Reply::answer(&Usage {
            key_id: key.record.id.to_string(),
            key_last_usage: usage.last.map(Last::from).unwrap_or_default(),
            tracking_start_date: usage.since.unwrap_or(cx.now).max(created).as_seconds_f64(),
            key_creation_date: created.as_seconds_f64(),
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    key_id: String,
    key_last_usage: Last,
    tracking_start_date: f64,
    key_creation_date: f64,
}

/// An object without members for a key that was not used (AWS KMS API, GetKeyLastUsageResponse).
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Last {
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_trail_event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_request_id: Option<String>,
}

impl From<LastUse> for Last {
    fn from(last: LastUse) -> Self {
        let LastUse { operation, time, event_id, request_id } = last;
        Self {
            operation: Some(operation),
            timestamp: Some(time.as_seconds_f64()),
            cloud_trail_event_id: Some(event_id),
            kms_request_id: request_id,
        }
    }
}
