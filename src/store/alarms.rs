//! The alarms of a home: made and removed, in one transaction with their record (rule AUD-4).

use std::fmt;

use serde_json::{Map, Value};

use super::home::Home;
use crate::kms::alarm::AlarmRecord;
use crate::kms::ring::{Change, Keyring};
use crate::kms::{Caller, KmsError};

/// Why an alarm cannot be made or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlarmError {
    /// There is an alarm of this name.
    Exists(String),
    /// There is none of this name.
    NotFound(String),
    /// The store or the audit log failed.
    Failed(KmsError),
}

impl fmt::Display for AlarmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(name) => write!(f, "there is an alarm {name} already"),
            Self::NotFound(name) => write!(f, "there is no alarm {name}"),
            Self::Failed(error) => f.write_str(&error.words()),
        }
    }
}

impl std::error::Error for AlarmError {}

impl From<KmsError> for AlarmError {
    fn from(error: KmsError) -> Self {
        Self::Failed(error)
    }
}

impl Home {
    /// Makes an alarm.
    ///
    /// # Errors
    /// [`AlarmError`]. Nothing is changed then.
    pub fn add_alarm(&self, caller: &Caller, alarm: &AlarmRecord) -> Result<(), AlarmError> {
        self.change_recorded(caller, "AddAlarm", |ring| match ring.alarm(&alarm.name) {
            Some(_) => Err(AlarmError::Exists(alarm.name.clone())),
            None => Ok((facts(ring, alarm), Change::PutAlarm(alarm.clone()))),
        })
    }

    /// Removes an alarm.
    ///
    /// # Errors
    /// [`AlarmError`]. Nothing is changed then.
    pub fn remove_alarm(&self, caller: &Caller, name: &str) -> Result<(), AlarmError> {
        self.change_recorded(caller, "RemoveAlarm", |ring| match ring.alarm(name) {
            Some(alarm) => Ok((facts(ring, alarm), Change::RemoveAlarm(name.to_owned()))),
            None => Err(AlarmError::NotFound(name.to_owned())),
        })
    }
}

/// What the audit log keeps of an alarm: not what it does, where a command may hold a secret, but of which kind that is.
fn facts(ring: &Keyring, alarm: &AlarmRecord) -> Map<String, Value> {
    let key = alarm.key.map(|key| ring.namespace().key_arn(key).to_string());
    Map::from_iter([
        ("alarm".to_owned(), alarm.name.clone().into()),
        ("keyId".to_owned(), key.into()),
        ("watch".to_owned(), alarm.watch.to_text().into()),
        ("action".to_owned(), alarm.action.kind().into()),
        ("period".to_owned(), alarm.period.as_secs().into()),
    ])
}
