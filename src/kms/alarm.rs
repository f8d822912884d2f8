//! Alarms (rule AUD-4): what is done when a record of a kind is written. This module says when one sounds; whoever has the key service
//! does what it asks for, because the key service itself runs no commands and writes no files.

use std::time::Duration;

use super::Operation;
use super::audit::AuditEvent;
use super::id::KeyId;
use super::ring::Keyring;
use super::state::KeyState;
use crate::clock::Timestamp;
use crate::datakey::KeyArn;

/// How often an alarm sounds at most where nobody says it. CloudWatch, where AWS KMS has such alarms, looks at one minute at a time in
/// the example of the Developer Guide ("Create an alarm that detects use of a KMS key pending deletion").
pub const PERIOD: Duration = Duration::from_secs(60);
/// The longest period: a day, as for alarms of CloudWatch.
pub const PERIOD_MAX: Duration = Duration::from_secs(86_400);
/// The longest name, and the longest name of an event, in bytes.
const NAME_MAX: usize = 64;
/// The longest command, path or URL, in bytes.
pub const ACTION_MAX: usize = 4096;

/// The operations that use a key.
pub const USES: [Operation; 12] = [
    Operation::Encrypt,
    Operation::Decrypt,
    Operation::ReEncrypt,
    Operation::GenerateDataKey,
    Operation::GenerateDataKeyWithoutPlaintext,
    Operation::GenerateDataKeyPair,
    Operation::GenerateDataKeyPairWithoutPlaintext,
    Operation::Sign,
    Operation::Verify,
    Operation::GenerateMac,
    Operation::VerifyMac,
    Operation::DeriveSharedSecret,
];

/// An alarm that somebody made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmRecord {
    /// Its name.
    pub name: String,
    /// The CMK that it watches; every one where there is none.
    pub key: Option<KeyId>,
    /// What for.
    pub watch: Watch,
    /// What it does.
    pub action: Action,
    /// It sounds at most once in so long; whole seconds.
    pub period: Duration,
    /// When it was made.
    pub created: Timestamp,
}

/// What an alarm waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watch {
    /// A use of a key that was refused because the key is disabled or pending deletion.
    Refused,
    /// An event of this name, however it ended.
    Event(String),
}

/// What an alarm does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Runs this command of `sh`.
    Command(String),
    /// Appends the record to this file.
    File(String),
    /// Posts the record to this URL.
    Post(String),
}

impl Watch {
    /// As it is stored: `refused`, or `event:NAME`.
    pub fn to_text(&self) -> String {
        match self {
            Self::Refused => "refused".to_owned(),
            Self::Event(name) => format!("event:{name}"),
        }
    }

    /// From what [`Watch::to_text`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("event:") {
            None => (text == "refused").then_some(Self::Refused),
            Some(name) => is_event_name(name).then(|| Self::Event(name.to_owned())),
        }
    }
}

impl Action {
    /// `command`, `file` or `post`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Command(_) => "command",
            Self::File(_) => "file",
            Self::Post(_) => "post",
        }
    }

    /// The command, path or URL.
    pub fn target(&self) -> &str {
        match self {
            Self::Command(target) | Self::File(target) | Self::Post(target) => target,
        }
    }

    /// As it is stored: the kind, a colon, the target.
    pub fn to_text(&self) -> String {
        format!("{}:{}", self.kind(), self.target())
    }

    /// From what [`Action::to_text`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, target) = text.split_once(':')?;
        let target = Some(target).filter(|target| is_target(target))?.to_owned();
        match kind {
            "command" => Some(Self::Command(target)),
            "file" => Some(Self::File(target)),
            "post" => Some(Self::Post(target)),
            _ => None,
        }
    }
}

/// Whether an alarm can have that name: letters, digits, `-` and `_` of ASCII, at most 64.
pub fn is_name(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(is_fit)
}

/// Whether an event can have that name: letters and digits of ASCII, at most 64.
pub fn is_event_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a command, path or URL can be that: not empty, at most [`ACTION_MAX`] bytes, without NUL.
pub fn is_target(text: &str) -> bool {
    (1..=ACTION_MAX).contains(&text.len()) && !text.contains('\0')
}

/// Whether an alarm can have that period: whole seconds, one to [`PERIOD_MAX`].
pub fn is_period(period: Duration) -> bool {
    period.subsec_nanos() == 0 && (1..=PERIOD_MAX.as_secs()).contains(&period.as_secs())
}

/// An alarm that sounds.
#[derive(Debug, Clone, Copy)]
pub struct Alert<'a> {
    /// Which one; none for the alarm that every key that is pending deletion has.
    pub alarm: Option<&'a AlarmRecord>,
    /// The key that it is about, if any.
    pub key: Option<&'a KeyArn>,
    /// What was recorded.
    pub event: &'a AuditEvent<'a>,
}

/// Does what alarms ask for.
pub trait AlarmSink: Send + Sync {
    /// An alarm sounds: the record is written, and its answer waits. This must not wait, and it sees to the period.
    fn sound(&self, alert: &Alert<'_>);
}

/// The alarms that sound for an event, of those of the keyring that it happened under.
pub fn sound(ring: &Keyring, event: &AuditEvent<'_>, sink: &dyn AlarmSink) {
    let refused = refused_key(ring, event);
    for alarm in ring.alarms() {
        let key = match &alarm.watch {
            Watch::Refused => match refused {
                Some((id, arn, _)) if alarm.key.is_none_or(|watched| watched == id) => Some(arn),
                Some(_) | None => continue,
            },
            Watch::Event(name) if name != event.name() => continue,
            Watch::Event(_) => match alarm.key {
                None => event.keys().first(),
                Some(watched) => {
                    match event.keys().iter().find(|arn| ring.namespace().key_id_of(arn) == Some(watched)) {
                        Some(arn) => Some(arn),
                        None => continue,
                    }
                }
            },
        };
        sink.sound(&Alert { alarm: Some(alarm), key, event });
    }
    if let Some((_, arn, state)) = refused
        && state.is_pending_deletion()
    {
        sink.sound(&Alert { alarm: None, key: Some(arn), event });
    }
}

/// The key whose use the event says was refused for being disabled or pending deletion, and which of both it is.
fn refused_key<'a>(ring: &Keyring, event: &AuditEvent<'a>) -> Option<(KeyId, &'a KeyArn, KeyState)> {
    let is_use = USES.iter().any(|operation| operation.name() == event.name());
    let is_for_its_state =
        matches!(event.error_code(), Some("DisabledException" | "KMSInvalidStateException"));
    if !is_use || !is_for_its_state {
        return None;
    }
    // Where an operation names two keys, it ends at the one that cannot be used.
    event.keys().iter().rev().find_map(|arn| {
        let id = ring.namespace().key_id_of(arn)?;
        let state = ring.key(id)?.record.state;
        (state == KeyState::Disabled || state.is_pending_deletion()).then_some((id, arn, state))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_alarm_watches_and_does_comes_back_from_its_text() {
        for watch in [Watch::Refused, Watch::Event("Decrypt".to_owned())] {
            assert_eq!(Watch::parse(&watch.to_text()), Some(watch));
        }
        for action in
            [Action::Command("a: b".into()), Action::File("/x".into()), Action::Post("http://[::1]/".into())]
        {
            assert_eq!(Action::parse(&action.to_text()), Some(action));
        }
        for wrong in ["", "event:", "event:a b", "Refused"] {
            assert_eq!(Watch::parse(wrong), None);
        }
        for wrong in ["", "command", "command:", "print:x", "file:a\0b"] {
            assert_eq!(Action::parse(wrong), None);
        }
    }

    #[test]
    fn names_and_periods_have_limits() {
        assert!(is_name("who-needs_it2") && is_name(&"a".repeat(64)));
        assert!(!is_name("") && !is_name("a b") && !is_name(&"a".repeat(65)) && !is_name("ü"));
        assert!(is_period(PERIOD) && is_period(PERIOD_MAX) && is_period(Duration::from_secs(1)));
        assert!(!is_period(Duration::ZERO) && !is_period(Duration::from_millis(1500)));
        assert!(!is_period(PERIOD_MAX + Duration::from_secs(1)));
    }
}
