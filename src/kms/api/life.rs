//! EnableKey, DisableKey, ScheduleKeyDeletion, CancelKeyDeletion (rules ST-1 to ST-3, DEL-1, DEL-2, ROT-3).

use serde::Serialize;

use super::{Context, Decode, Reply, Request, json};
use crate::clock::Timestamp;
use crate::kms::due::{self, Happening};
use crate::kms::error::Cause;
use crate::kms::fields::Fields;
use crate::kms::key::{Key, KeyRecord, RotationKind};
use crate::kms::reference::Form;
use crate::kms::ring::Change;
use crate::kms::state::{Event, KeyState, Next, next};
use crate::kms::{AwsError, KeyChange, KmsError};

/// The waiting period before a deletion, in days, where none is asked for.
const PENDING_WINDOW_DEFAULT: u32 = 30;
/// The waiting periods that may be asked for (rule DEL-1).
const PENDING_WINDOW: std::ops::RangeInclusive<u32> = 7..=30;

#[derive(Debug)]
pub(super) struct EnableKey(String);

impl Decode for EnableKey {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self(fields.key_id("KeyId")?))
    }
}

impl Request for EnableKey {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.0, Form::IdOrArn)?;
        transition(cx, key, Event::Enable, None)
    }
}

#[derive(Debug)]
pub(super) struct DisableKey(String);

impl Decode for DisableKey {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self(fields.key_id("KeyId")?))
    }
}

impl Request for DisableKey {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.0, Form::IdOrArn)?;
        transition(cx, key, Event::Disable, None)
    }
}

#[derive(Debug)]
pub(super) struct ScheduleKeyDeletion {
    key_id: String,
    days: u32,
}

impl Decode for ScheduleKeyDeletion {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        // The shape takes 1 to 365; the service narrows that.
        let days = fields.integer("PendingWindowInDays", 1..=365)?.unwrap_or(PENDING_WINDOW_DEFAULT);
        fields.finish()?;
        if !PENDING_WINDOW.contains(&days) {
            return Err(KmsError::new(
                AwsError::Validation,
                format!(
                    "PendingWindowInDays must be between {} and {} (inclusive).",
                    PENDING_WINDOW.start(),
                    PENDING_WINDOW.end()
                ),
            ));
        }
        Ok(Self { key_id, days })
    }
}

impl Request for ScheduleKeyDeletion {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::IdOrArn)?;
        let date = cx.now.plus_days(self.days);
        let reply = transition(cx, key, Event::ScheduleDeletion, Some(date))?;
        let scheduled = Scheduled {
            key_id: cx.arn(key).to_string(),
            deletion_date: date.as_seconds_f64(),
            key_state: KeyState::PendingDeletion.name(),
            pending_window_in_days: self.days,
        };
        Ok(Reply { output: Some(json(&scheduled)?), ..reply })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Scheduled {
    key_id: String,
    deletion_date: f64,
    key_state: &'static str,
    pending_window_in_days: u32,
}

#[derive(Debug)]
pub(super) struct CancelKeyDeletion(String);

impl Decode for CancelKeyDeletion {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self(fields.key_id("KeyId")?))
    }
}

impl Request for CancelKeyDeletion {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.0, Form::IdOrArn)?;
        let event =
            if key.has_all_material() { Event::CancelDeletion } else { Event::CancelDeletionWithoutMaterial };
        let reply = transition(cx, key, event, None)?;
        Ok(Reply { output: Some(json(&Cancelled { key_id: cx.arn(key).to_string() })?), ..reply })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Cancelled {
    key_id: String,
}

/// Moves `key` to where `event` leads. A mount is told also when the state stays: a revocation that it did not
/// confirm is completed by asking again.
pub(super) fn transition(
    cx: &Context<'_>,
    key: &Key,
    event: Event,
    deletion_date: Option<Timestamp>,
) -> Result<Reply, KmsError> {
    let from = key.record.state;
    let Next::To(state) = next(from, event) else {
        return Err(KmsError::failed(
            Cause::Store,
            format!("the state table permits {event:?} in {} but leads nowhere", from.name()),
        ));
    };
    let record = KeyRecord { state, deletion_date, ..key.record.clone() };
    let change = match state {
        KeyState::Enabled => KeyChange::Usable,
        KeyState::Disabled | KeyState::PendingDeletion | KeyState::PendingImport | KeyState::Unavailable => {
            KeyChange::Unusable
        }
    };
    let mut reply = Reply { notice: Some((cx.arn(key), change)), ..Reply::default() };
    if record != key.record {
        reply.changes.push(Change::PutKey(record.clone()));
    }
    if matches!(event, Event::Enable | Event::CancelDeletion) {
        let moved = Key { record, ..key.clone() };
        catch_up(cx, &moved, &mut reply);
    }
    Ok(reply)
}

/// The rotation that was due while `key` could not be rotated is made at once (rule ROT-3).
fn catch_up(cx: &Context<'_>, key: &Key, reply: &mut Reply) {
    let is_due = key.record.rotation.is_some_and(|schedule| schedule.next <= cx.trusted);
    if is_due {
        let Happening { event, changes } =
            due::rotation(cx.ring, key, RotationKind::Automatic, cx.trusted, cx.sealer);
        reply.changes.extend(changes);
        reply.events.push(event);
    }
}
