//! When a key was used last, and by whom: the log read backwards.
//!
//! A use is a cryptographic operation, as in AWS's `GetKeyLastUsage`. Only authentic records count.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use serde_json::Value;

use super::FileAuditLog;
use super::read::{Entry, LogFile};
use crate::clock::Timestamp;
use crate::datakey::KeyArn;
use crate::kms::Operation;
use crate::kms::alarm::USES;
use crate::kms::audit::{KeyUsage, LastUse};

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
    /// Whether the record of the key's making was met: older ones are of an earlier key with that ARN, if of any.
    has_begun: bool,
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
    fn meet(&mut self, entry: &Entry, key: &KeyArn) {
        if self.has_begun {
            return;
        }
        self.has_begun = makes(entry, key);
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
        self.has_begun || self.used.is_some() && (!is_pending || self.is_closed)
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
                    let arn = KeyArn::new(arn);
                    if let Some(uses) = uses.get_mut(&arn).filter(|_| entry.is_authentic) {
                        uses.meet(&entry, &arn);
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

    /// The last use of one key that succeeded, and how far back the records go: both within `reach` bytes. Only lines that name the key
    /// are read as records, and none before the one of the key's making: anybody who may look at a key may ask for this.
    ///
    /// # Errors
    /// Whatever the files answer.
    pub fn usage_of(&self, key: &KeyArn, reach: u64) -> io::Result<KeyUsage> {
        let since = self.since(reach)?;
        let (mut left, mut last) = (reach, None);
        self.each_backwards(
            |line| {
                left = left.saturating_sub(line.len() as u64);
                if left > 0 { ControlFlow::Continue(names(line, key)) } else { ControlFlow::Break(()) }
            },
            |entry| {
                let event = entry.text("eventName").unwrap_or_default();
                let succeeded = entry.record.get("errorCode").is_none();
                if !entry.is_authentic || !succeeded || !concerns(&entry, key) {
                    return ControlFlow::Continue(());
                }
                if USES.iter().any(|operation| operation.name() == event) {
                    last = last_use(&entry);
                }
                match last.is_some() || makes(&entry, key) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            },
        )?;
        Ok(KeyUsage { last, since })
    }

    /// The time of the oldest authentic record among the last `reach` bytes.
    fn since(&self, reach: u64) -> io::Result<Option<Timestamp>> {
        let (mut left, mut oldest) = (reach, None);
        for LogFile { file, len, .. } in self.files()?.files.iter().rev() {
            oldest = self.first_time(file, len.saturating_sub(left), *len)?.or(oldest);
            left = left.saturating_sub(*len);
            if left == 0 {
                break;
            }
        }
        Ok(oldest)
    }

    /// The time of the first authentic record of a file that begins after `begin`, or there where that is the file's beginning.
    fn first_time(&self, mut file: &File, begin: u64, len: u64) -> io::Result<Option<Timestamp>> {
        file.seek(SeekFrom::Start(begin))?;
        let mut lines = BufReader::new(file.take(len - begin));
        let mut line = Vec::new();
        if begin > 0 {
            lines.read_until(b'\n', &mut line)?;
        }
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            let entry = self.entry(&line).filter(|entry| entry.is_authentic);
            if let Some(time) = entry.and_then(|entry| Timestamp::parse(entry.text("eventTime")?)) {
                return Ok(Some(time));
            }
        }
    }
}

fn last_use(entry: &Entry) -> Option<LastUse> {
    let text = |name| entry.text(name).map(str::to_owned);
    Some(LastUse {
        operation: text("eventName")?,
        time: Timestamp::parse(entry.text("eventTime")?)?,
        event_id: text("eventID")?,
        request_id: text("requestID"),
    })
}

/// Whether a record is the one of the key's making. That of a ReplicateKey is of the primary's region and names both: it makes the key of
/// the other region. A replica may have been made there before, and was destroyed.
fn makes(entry: &Entry, key: &KeyArn) -> bool {
    let event = entry.text("eventName").unwrap_or_default();
    let is_made = event == Operation::CreateKey.name()
        || event == Operation::ReplicateKey.name() && entry.text("awsRegion") != key.region();
    is_made && entry.record.get("errorCode").is_none()
}

/// Whether the key's ARN stands anywhere in a line.
fn names(line: &[u8], key: &KeyArn) -> bool {
    let arn = key.as_str().as_bytes();
    line.windows(arn.len()).any(|window| window == arn)
}

/// Whether the key is among those that the record is about.
fn concerns(entry: &Entry, key: &KeyArn) -> bool {
    let mut resources = entry.record["resources"].as_array().into_iter().flatten();
    resources.any(|resource| resource["ARN"].as_str() == Some(key.as_str()))
}
