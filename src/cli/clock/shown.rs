//! The clock as JSON.

use serde::Serialize;

use super::name_of;
use crate::kms::clock::{ClockView, Moved};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    time: String,
    trusted_time: String,
    system_clock: String,
    uptime_seconds: u64,
    simulated: bool,
    simulated_ahead_seconds: Option<i64>,
    jump: Option<ShownJump>,
    waiting: Vec<ShownDue>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownJump {
    ahead_seconds: u64,
    held_seconds: u64,
    remaining_seconds: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownDue {
    date: String,
    event: &'static str,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    aliases: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownMove {
    from: String,
    time: String,
    done: Vec<ShownDue>,
    unconfirmed: Vec<String>,
}

impl Shown {
    pub fn of(view: &ClockView) -> Self {
        let waiting = view.waiting.iter().map(|(date, matter, key)| ShownDue {
            date: date.to_string(),
            event: name_of(*matter),
            key: key.to_string(),
            aliases: None,
        });
        Self {
            time: view.times.claimed.to_string(),
            trusted_time: view.times.trusted.to_string(),
            system_clock: view.reading.clock.to_string(),
            uptime_seconds: view.reading.uptime.as_secs(),
            simulated: view.simulated_offset.is_some(),
            simulated_ahead_seconds: view.simulated_offset.map(|millis| millis / 1000),
            jump: view.jump.map(|jump| ShownJump {
                ahead_seconds: jump.ahead.as_secs(),
                held_seconds: jump.held.as_secs(),
                remaining_seconds: jump.remaining.as_secs(),
            }),
            waiting: waiting.collect(),
        }
    }
}

impl ShownMove {
    pub fn of(moved: &Moved) -> Self {
        let done = moved.done.iter().map(|done| ShownDue {
            date: done.date.to_string(),
            event: done.event.name(),
            key: done.event.key().to_string(),
            aliases: Some(done.aliases.clone()),
        });
        Self {
            from: moved.from.to_string(),
            time: moved.to.to_string(),
            done: done.collect(),
            unconfirmed: moved.unconfirmed.clone(),
        }
    }
}
