//! Alarms in the key store, and when they sound (rule AUD-4).

use std::sync::Arc;
use std::time::Duration;

use kmsfs::kms::alarm::{AlarmSink, Alert, Watch};
use kmsfs::kms::{Operation, Via};
use kmsfs::store::{AlarmError, Home};
use parking_lot::Mutex;
use serde_json::json;

use crate::fixture::{Fixture, add_alarm, call, new_key, rows_of, try_call};

fn names(home: &Home) -> Vec<String> {
    home.keyring().unwrap().alarms().map(|alarm| alarm.name.clone()).collect()
}

/// Remembers what sounded: the alarm's name, `-` for the one that a key has by itself, and the event.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl AlarmSink for Heard {
    fn sound(&self, alert: &Alert<'_>) {
        let name = alert.alarm.map_or("-", |alarm| &alarm.name);
        self.0.lock().push(format!("{name} {}", alert.event.name()));
    }
}

impl Heard {
    fn by(home: &Home) -> Arc<Self> {
        let heard = Arc::new(Self::default());
        home.set_alarms(heard.clone());
        heard
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

#[test]
fn aud_4_an_alarm_is_kept_and_removed_and_its_name_is_its_own() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    add_alarm(&home, "b", None, Watch::Refused).unwrap();
    add_alarm(&home, "a", None, Watch::Event("Decrypt".to_owned())).unwrap();
    assert_eq!(add_alarm(&home, "a", None, Watch::Refused), Err(AlarmError::Exists("a".to_owned())));
    let again = fixture.open();
    assert_eq!(names(&again), ["a", "b"]);
    let caller = again.caller(0, 1, Via::Cli);
    again.remove_alarm(&caller, "b").unwrap();
    assert_eq!(again.remove_alarm(&caller, "b"), Err(AlarmError::NotFound("b".to_owned())));
    assert_eq!(names(&home), ["a"], "the other process sees it");
}

#[test]
fn aud_4_a_destroyed_keys_alarms_go_with_it() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let key = new_key(&home, "k", "alias/k");
    add_alarm(&home, "of-key", Some(&key), Watch::Refused).unwrap();
    add_alarm(&home, "of-all", None, Watch::Refused).unwrap();
    call(&home, Operation::ScheduleKeyDeletion, json!({"KeyId": key, "PendingWindowInDays": 7}));
    assert!(home.advance_clock(Duration::from_secs(8 * 86_400)).unwrap());
    assert_eq!(names(&home), ["of-all"]);
    drop(home);
    assert_eq!(names(&fixture.open()), ["of-all"]);
    assert_eq!(rows_of(&fixture.connect(), "alarms").len(), 1);
}

#[test]
fn aud_4_a_refused_use_sounds_the_alarms_of_its_key_and_of_every_key() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let [one, other] = ["one", "other"].map(|name| new_key(&home, name, &format!("alias/{name}")));
    add_alarm(&home, "every", None, Watch::Refused).unwrap();
    add_alarm(&home, "one", Some(&one), Watch::Refused).unwrap();
    add_alarm(&home, "other", Some(&other), Watch::Refused).unwrap();
    let heard = Heard::by(&home);
    let encrypt = || try_call(&home, Operation::Encrypt, json!({"KeyId": one, "Plaintext": "eA=="}));
    encrypt().unwrap();
    assert!(heard.take().is_empty(), "it was no refused use");
    call(&home, Operation::DisableKey, json!({"KeyId": one}));
    encrypt().unwrap_err();
    assert_eq!(heard.take(), ["every Encrypt", "one Encrypt"]);
    call(&home, Operation::ScheduleKeyDeletion, json!({"KeyId": one, "PendingWindowInDays": 7}));
    encrypt().unwrap_err();
    assert_eq!(heard.take(), ["every Encrypt", "one Encrypt", "- Encrypt"], "it has one by itself");
    // What is refused and no use of the key, or refused for something else, sounds none.
    try_call(&home, Operation::EnableKey, json!({"KeyId": one})).unwrap_err();
    try_call(&home, Operation::Encrypt, json!({"KeyId": other, "Plaintext": ""})).unwrap_err();
    assert!(heard.take().is_empty());
}

#[test]
fn aud_4_an_event_sounds_the_alarms_that_wait_for_it_however_it_ended() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let [one, other] = ["one", "other"].map(|name| new_key(&home, name, &format!("alias/{name}")));
    add_alarm(&home, "one", Some(&one), Watch::Event("DisableKey".to_owned())).unwrap();
    // Another process makes one, too.
    add_alarm(&fixture.open(), "every", None, Watch::Event("DisableKey".to_owned())).unwrap();
    let heard = Heard::by(&home);
    call(&home, Operation::DisableKey, json!({"KeyId": other}));
    assert_eq!(heard.take(), ["every DisableKey"]);
    call(&home, Operation::DisableKey, json!({"KeyId": one}));
    assert_eq!(heard.take(), ["every DisableKey", "one DisableKey"]);
    call(&home, Operation::ScheduleKeyDeletion, json!({"KeyId": one, "PendingWindowInDays": 7}));
    try_call(&home, Operation::DisableKey, json!({"KeyId": one})).unwrap_err();
    assert_eq!(heard.take(), ["every DisableKey", "one DisableKey"]);
}
