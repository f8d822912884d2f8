//! EnableKey, DisableKey, ScheduleKeyDeletion, CancelKeyDeletion (rules ST-1 to ST-3, DEL-1, DEL-2, ROT-3).

use serde::Serialize;

use super::{Context, Decode, Reply, Request, json};
use crate::clock::Timestamp;
use crate::datakey::Usability;
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
        transition(cx, key, Event::Enable, Deletion::Never)
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
        transition(cx, key, Event::Disable, Deletion::Never)
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
                    "PendingWindowInDays must be between {} and {}",
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
        // A primary goes last: its waiting period begins when its last replica is gone.
        let has_replicas = key.record.is_primary() && cx.ring.is_elsewhere(key.record.id);
        let (event, state) = match has_replicas {
            true => (Event::ScheduleDeletionWithReplicas, KeyState::PendingReplicaDeletion),
            false => (Event::ScheduleDeletion, KeyState::PendingDeletion),
        };
        let deletion = match has_replicas {
            true => Deletion::AfterReplicas(self.days),
            false => Deletion::At(cx.now.plus_days(self.days)),
        };
        let reply = transition(cx, key, event, deletion)?;
        let scheduled = Scheduled {
            key_id: cx.arn(key).to_string(),
            deletion_date: deletion.date().map(Timestamp::as_seconds_f64),
            key_state: state.name(),
            pending_window_in_days: self.days,
        };
        Ok(Reply { output: Some(json(&scheduled)?), ..reply })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Scheduled {
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_date: Option<f64>,
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
        let reply = transition(cx, key, event, Deletion::Never)?;
        Ok(Reply { output: Some(json(&Cancelled { key_id: cx.arn(key).to_string() })?), ..reply })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Cancelled {
    key_id: String,
}

/// When a key is to be destroyed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deletion {
    /// Nobody asked for it.
    Never,
    /// At that date.
    At(Timestamp),
    /// So many days after its last replica.
    AfterReplicas(u32),
}

impl Deletion {
    /// What is planned for `key` already.
    pub const fn of(record: &KeyRecord) -> Self {
        match (record.deletion_date, record.pending_window_days) {
            (Some(date), _) => Self::At(date),
            (None, Some(days)) => Self::AfterReplicas(days),
            (None, None) => Self::Never,
        }
    }

    const fn date(self) -> Option<Timestamp> {
        match self {
            Self::At(date) => Some(date),
            Self::Never | Self::AfterReplicas(_) => None,
        }
    }

    const fn days(self) -> Option<u32> {
        match self {
            Self::AfterReplicas(days) => Some(days),
            Self::Never | Self::At(_) => None,
        }
    }
}

/// Moves `key` to where `event` leads. A mount is told also when the state stays: a revocation that it did not
/// confirm is completed by asking again.
pub(super) fn transition(
    cx: &Context<'_>,
    key: &Key,
    event: Event,
    deletion: Deletion,
) -> Result<Reply, KmsError> {
    let from = key.record.state;
    let Next::To(state) = next(from, event) else {
        return Err(KmsError::failed(
            Cause::Store,
            format!("the state table permits {event:?} in {} but leads nowhere", from.name()),
        ));
    };
    let (deletion_date, pending_window_days) = (deletion.date(), deletion.days());
    let record = KeyRecord { state, deletion_date, pending_window_days, ..key.record.clone() };
    let change = match state.usability() {
        Usability::Usable => KeyChange::Usable,
        Usability::Disabled
        | Usability::PendingDeletion
        | Usability::PendingImport
        | Usability::Denied
        | Usability::Unknown => KeyChange::Unusable,
    };
    let mut reply = Reply { notice: Some((cx.arn(key), change)), ..Reply::default() };
    if record != key.record {
        reply.changes.push(Change::PutKey(record.clone()));
    }
    if matches!(event, Event::Enable | Event::CancelDeletion) {
        catch_up(cx, &record, &mut reply);
    }
    Ok(reply)
}

/// The rotation that was due while a key could not be rotated is made at once (rule ROT-3). `record` is what the key became.
fn catch_up(cx: &Context<'_>, record: &KeyRecord, reply: &mut Reply) {
    let is_due = record.rotation.is_some_and(|schedule| schedule.next <= cx.trusted);
    if !is_due || record.is_replica() {
        return;
    }
    let mut ring = cx.ring.clone();
    reply.changes.iter().for_each(|change| ring.apply(change));
    if let Some(Happening { events, changes }) =
        due::rotation(&ring, record.id, RotationKind::Automatic, cx.trusted, cx.sealer)
    {
        reply.changes.extend(changes);
        reply.events.extend(events);
    }
}
