//! When a key was used last, and by whom: the log read backwards.
//!
//! A use is a cryptographic operation, as in AWS's `GetKeyLastUsage`. Only authentic records count.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;

use serde_json::Value;

use super::FileAuditLog;
use super::read::Entry;
use crate::datakey::KeyArn;
use crate::kms::Operation;
use crate::kms::alarm::USES;

/// How far back the log is read for the last use of keys, in bytes: some ten seconds of work. What is further back is not found.
pub const REACH: u64 = 1024 * 1024 * 1024;

/// A use of a key, or an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// When: RFC 3339, UTC, milliseconds.
    pub time: String,
    /// The operation: `Decrypt`.
    pub operation: String,
    /// The id of the event.
    pub event_id: String,
    /// Who: the ARN of the principal.
    pub principal: String,
    /// The user's name.
    pub user: String,
    /// The path of the file, within its volume, where it was about one.
    pub path: Option<String>,
    /// The error's name, where it was refused.
    pub error: Option<String>,
}

/// What the log says of the use of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    /// The last use that succeeded.
    pub used: Option<Use>,
    /// The last one that was refused, for whatever reason.
    pub refused: Option<Use>,
    /// The last one that was refused since the key's deletion was scheduled, if it still is.
    pub refused_since_scheduled: Option<Use>,
    /// How many were refused since then.
    pub times_refused: u64,
    is_closed: bool,
}

impl Use {
    fn of(entry: &Entry) -> Self {
        let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let record = &entry.record;
        let file = &record["additionalEventData"];
        Self {
            time: text(record, "eventTime"),
            operation: text(record, "eventName"),
            event_id: text(record, "eventID"),
            principal: text(&record["userIdentity"], "arn"),
            user: text(&record["userIdentity"], "userName"),
            path: file["path"].as_str().map(str::to_owned),
            error: entry.text("errorCode").map(str::to_owned),
        }
    }
}

impl Uses {
    /// Takes in a record of the key; an older one each time.
    fn meet(&mut self, entry: &Entry) {
        let name = entry.text("eventName").unwrap_or_default();
        let is_refused = entry.record.get("errorCode").is_some();
        if USES.iter().any(|operation| operation.name() == name) {
            let slot = if is_refused { &mut self.refused } else { &mut self.used };
            slot.get_or_insert_with(|| Use::of(entry));
            if is_refused && !self.is_closed {
                self.times_refused += 1;
            }
        }
        let begins = name == Operation::ScheduleKeyDeletion.name();
        if !self.is_closed && !is_refused && (begins || name == Operation::CancelKeyDeletion.name()) {
            self.is_closed = true;
            match begins {
                true => self.refused_since_scheduled = self.refused.clone(),
                false => self.times_refused = 0,
            }
        }
    }

    fn is_known(&self, is_pending: bool) -> bool {
        self.used.is_some() && (!is_pending || self.is_closed)
    }
}

impl FileAuditLog {
    /// The last uses of each key; `pending` are those of them whose deletion is scheduled. The log is read backwards until all are
    /// known, but for no more than `reach` bytes.
    ///
    /// # Errors
    /// Whatever the files answer.
    pub fn uses(
        &self,
        keys: &[KeyArn],
        pending: &[KeyArn],
        reach: u64,
    ) -> io::Result<BTreeMap<KeyArn, Uses>> {
        let mut uses: BTreeMap<KeyArn, Uses> =
            keys.iter().map(|key| (key.clone(), Uses::default())).collect();
        let mut left = reach;
        self.each_backwards(
            |line| {
                left = left.saturating_sub(line.len() as u64);
                if left > 0 { ControlFlow::Continue(true) } else { ControlFlow::Break(()) }
            },
            |entry| {
                let resources = entry.record["resources"].as_array().into_iter().flatten();
                for arn in resources.filter_map(|resource| resource["ARN"].as_str()) {
                    if let Some(uses) = uses.get_mut(&KeyArn::new(arn)).filter(|_| entry.is_authentic) {
                        uses.meet(&entry);
                    }
                }
                match uses.iter().all(|(key, uses)| uses.is_known(pending.contains(key))) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            },
        )?;
        for (key, uses) in &mut uses {
            if !pending.contains(key) {
                (uses.refused_since_scheduled, uses.times_refused) = (None, 0);
            }
        }
        Ok(uses)
    }
}
