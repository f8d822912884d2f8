//! What happens between two steps of an operation: a clock that moves, a log that is full, a store that fails, mounts that are
//! told. The store and the log are stand-ins that can be made to do so at a chosen step.

use std::sync::Arc;
use std::time::Duration;

use kmsfs::clock::{Clock, ManualClock, Timestamp};
use kmsfs::crypto::Secret;
use kmsfs::datakey::KeyArn;
use kmsfs::kms::audit::{AuditError, AuditEvent, AuditLog, KeyUsage};
use kmsfs::kms::error::Cause;
use kmsfs::kms::id::{KeyId, Namespace};
use kmsfs::kms::import::TokenKey;
use kmsfs::kms::key::{Imported, MaterialRecord};
use kmsfs::kms::material::Sealer;
use kmsfs::kms::ring::{Change, ClockRecord, Decision, KeyStore, Keyring, StoreFailure};
use kmsfs::kms::{Caller, KeyChange, Kms, KmsError, Operation, StateObserver, Via};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::fixture::Service;

const START: i64 = 1_800_000_000_000;
const DAY: Duration = Duration::from_secs(86_400);

type Hook = Box<dyn FnMut() + Send>;

/// A keyring in memory, with something that happens when the next transaction begins.
struct Memory {
    ring: Mutex<Arc<Keyring>>,
    before_update: Mutex<Option<Hook>>,
    fail_commit: Mutex<bool>,
}

impl KeyStore for Memory {
    fn ring(&self) -> Result<Arc<Keyring>, StoreFailure> {
        Ok(self.ring.lock().clone())
    }

    fn last_ring(&self) -> Option<Arc<Keyring>> {
        Some(self.ring.lock().clone())
    }

    fn update(&self, decide: &mut Decision<'_>) -> Result<Arc<Keyring>, KmsError> {
        if let Some(mut hook) = self.before_update.lock().take() {
            hook();
        }
        let mut ring = self.ring.lock();
        let changes = decide(&ring)?;
        if *self.fail_commit.lock() {
            return Err(KmsError::failed(Cause::Store, "the disk is full"));
        }
        let mut next = (**ring).clone();
        changes.iter().for_each(|change| next.apply(change));
        *ring = Arc::new(next);
        Ok(ring.clone())
    }
}

/// A log in memory that can be full; and what mounts were told, in one order with the records.
#[derive(Default)]
struct Journal {
    lines: Mutex<Vec<String>>,
    full: Mutex<bool>,
    deaf: Mutex<bool>,
}

impl AuditLog for Journal {
    fn record(&self, event: &AuditEvent<'_>) -> Result<(), AuditError> {
        if *self.full.lock() {
            return Err(AuditError("no space left".into()));
        }
        let record: Value = serde_json::from_slice(&event.to_line()).unwrap();
        let outcome = record.get("errorCode").and_then(Value::as_str).unwrap_or("ok");
        self.lines.lock().push(format!("{} {outcome}", record["eventName"].as_str().unwrap()));
        Ok(())
    }

    fn usage(&self, _: &KeyArn) -> Result<KeyUsage, AuditError> {
        Err(AuditError("it cannot be read".into()))
    }
}

impl StateObserver for Journal {
    fn key_changed(&self, _: &KeyArn, change: KeyChange) -> Result<(), String> {
        self.lines.lock().push(format!("told {change:?}"));
        if *self.deaf.lock() { Err("the mount /m did not confirm".into()) } else { Ok(()) }
    }
}

struct Bench {
    kms: Kms,
    store: Arc<Memory>,
    clock: Arc<ManualClock>,
    journal: Arc<Journal>,
}

impl Bench {
    fn new() -> Self {
        let namespace = Namespace { account: "000000000000".into(), region: "us-east-1".into() };
        let latest = Timestamp::from_millis(START);
        let ring = Keyring::new(namespace, ClockRecord { latest, simulated_offset: None, anchor: None });
        let store = Arc::new(Memory {
            ring: Mutex::new(Arc::new(ring)),
            before_update: Mutex::default(),
            fail_commit: Mutex::default(),
        });
        let clock = Arc::new(ManualClock::new(latest));
        let journal = Arc::new(Journal::default());
        let tokens = TokenKey::new(Secret::random());
        let sealer = Sealer::new(Secret::random(), &Secret::random(), tokens);
        let kms = Kms::new(store.clone(), sealer, clock.clone(), journal.clone());
        kms.set_observer(journal.clone());
        Self { kms, store, clock, journal }
    }

    fn call(&self, operation: Operation, request: Value) -> Result<Option<Value>, KmsError> {
        let principal = "arn:aws:iam::000000000000:root".into();
        let caller = Caller { principal, uid: 0, pid: 1, user: "root".into(), via: Via::Cli };
        self.kms.call(&caller, operation, request)
    }

    fn key(&self) -> String {
        let made = self.call(Operation::CreateKey, json!({})).unwrap().unwrap();
        made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    }

    fn state(&self, key: &str) -> Result<String, String> {
        let described = self.call(Operation::DescribeKey, json!({"KeyId": key}));
        let described = described.map_err(|error| error.error.name().to_owned())?.unwrap();
        Ok(described["KeyMetadata"]["KeyState"].as_str().unwrap().to_owned())
    }

    fn schedule(&self, key: &str) {
        let request = json!({"KeyId": key, "PendingWindowInDays": 7});
        self.call(Operation::ScheduleKeyDeletion, request).unwrap();
    }

    /// What was recorded and told since the last time.
    fn news(&self) -> Vec<String> {
        std::mem::take(&mut *self.journal.lines.lock())
    }
}

#[test]
fn del_3_a_date_that_comes_while_an_operation_waits_for_the_store_is_kept() {
    for (operation, more) in [
        (Operation::CancelKeyDeletion, json!({})),
        (Operation::DeleteAlias, json!({"AliasName": "alias/it"})),
        (Operation::UpdateKeyDescription, json!({"Description": "d"})),
    ] {
        let bench = Bench::new();
        let key = bench.key();
        bench.call(Operation::CreateAlias, json!({"AliasName": "alias/it", "TargetKeyId": key})).unwrap();
        bench.schedule(&key);
        bench.news();
        let clock = bench.clock.clone();
        *bench.store.before_update.lock() = Some(Box::new(move || clock.advance(8 * DAY)));
        let request = if operation == Operation::DeleteAlias {
            more
        } else {
            let mut request = more;
            request["KeyId"] = json!(key);
            request
        };
        let error = bench.call(operation, request).unwrap_err();
        assert_eq!(error.error.name(), "NotFoundException", "{operation:?}");
        let refused = format!("{} NotFoundException", operation.name());
        assert_eq!(bench.news(), ["DeleteKey ok", "told Unusable", &refused]);
        assert_eq!(bench.state(&key), Err("NotFoundException".into()));
    }
}

#[test]
fn t_2_setting_the_clock_back_undoes_nothing() {
    let bench = Bench::new();
    let key = bench.key();
    bench.clock.advance(100 * DAY);
    bench.schedule(&key);
    let ring = bench.store.ring().unwrap();
    let seen = bench.kms.now(&ring);
    bench.clock.set(Timestamp::from_millis(0));
    assert_eq!(bench.kms.now(&ring), seen);
    assert_eq!(bench.state(&key), Ok("PendingDeletion".into()));
    bench.clock.set(Timestamp::from_millis(START).saturating_add(100 * DAY));
    bench.clock.advance(7 * DAY);
    assert_eq!(bench.state(&key), Err("NotFoundException".into()));
    bench.clock.set(Timestamp::from_millis(START));
    assert_eq!(bench.state(&key), Err("NotFoundException".into()));
    let ring = bench.store.ring().unwrap();
    assert!(bench.kms.now(&ring) >= Timestamp::from_millis(START).saturating_add(107 * DAY));
}

#[test]
fn t_2_a_jump_that_the_store_does_not_take_destroys_nothing_and_stops_nobody() {
    let bench = Bench::new();
    let key = bench.key();
    bench.schedule(&key);
    bench.news();
    bench.clock.set(Timestamp::from_millis(START).saturating_add(100 * DAY));
    *bench.store.fail_commit.lock() = true;
    assert_eq!(bench.state(&key), Ok("PendingDeletion".into()));
    bench.call(Operation::GenerateRandom, json!({"NumberOfBytes": 1})).unwrap();
    let failed = bench.news().iter().filter(|line| *line == "ClockJumpFound KMSInternalException").count();
    assert_eq!(failed, 1, "what was recorded did not come to be, and is not tried at each use");
    bench.clock.advance(Duration::from_secs(60));
    *bench.store.fail_commit.lock() = false;
    assert_eq!(bench.state(&key), Ok("PendingDeletion".into()));
    assert_eq!(bench.news(), ["ClockJumpFound ok", "DescribeKey ok"]);
}

#[test]
fn t_2_material_that_has_expired_by_a_clock_that_is_ahead_is_not_used_and_not_destroyed() {
    let bench = Bench::new();
    let key = bench.key();
    let id = KeyId::parse(&key).unwrap();
    let expiry = Timestamp::from_millis(START).saturating_add(10 * DAY);
    bench
        .store
        .update(&mut |ring| {
            let material = ring.key(id).unwrap().current().unwrap();
            let imported =
                Some(Imported { valid_to: Some(expiry), description: String::new(), pending: false });
            Ok(vec![Change::PutMaterial(MaterialRecord { imported, ..material.as_ref().clone() })])
        })
        .unwrap();
    let is_there = || bench.store.ring().unwrap().key(id).unwrap().has_all_material();
    let encrypt = || bench.call(Operation::Encrypt, json!({"KeyId": key, "Plaintext": "eA=="})).map(drop);
    encrypt().unwrap();
    bench.clock.set(expiry);
    assert_eq!(encrypt().unwrap_err().error.name(), "KMSInvalidStateException");
    assert_eq!(bench.state(&key), Ok("PendingImport".into()));
    assert!(is_there());
    // Another change of the key meanwhile leaves it as it is.
    let described = json!({"KeyId": key, "Description": "d"});
    bench.call(Operation::UpdateKeyDescription, described).unwrap();
    assert!(is_there());
    bench.clock.set(Timestamp::from_millis(START));
    encrypt().unwrap();
    assert_eq!(bench.state(&key), Ok("Enabled".into()));
    bench.clock.set(expiry);
    bench.clock.advance(DAY);
    assert_eq!(bench.state(&key), Ok("PendingImport".into()));
    assert!(is_there(), "the day begins anew where the clock was corrected");
    bench.clock.advance(DAY);
    assert_eq!(bench.state(&key), Ok("PendingImport".into()));
    assert!(!is_there(), "it has held for a day");
}

#[test]
fn t_1_only_a_simulated_clock_can_be_moved_and_then_for_every_process() {
    let service = Service::with_clock(false);
    let before = service.home.now().unwrap();
    assert_eq!(service.home.advance_clock(DAY), Ok(false));
    assert!(service.home.now().unwrap() < before.saturating_add(DAY));

    let service = Service::new();
    let other = service.another();
    let before = other.now().unwrap();
    assert_eq!(service.home.advance_clock(DAY), Ok(true));
    assert_eq!(service.home.advance_clock(DAY), Ok(true));
    for home in [&other, &service.another()] {
        assert!(home.now().unwrap() >= before.saturating_add(2 * DAY));
    }
}

#[test]
fn aud_1_what_cannot_be_recorded_is_neither_done_nor_given() {
    let bench = Bench::new();
    let key = bench.key();
    let doomed = bench.key();
    bench.schedule(&doomed);
    bench.news();
    *bench.journal.full.lock() = true;
    for (operation, request) in [
        (Operation::DisableKey, json!({"KeyId": key})),
        (Operation::CreateKey, json!({})),
        (Operation::GenerateDataKey, json!({"KeyId": key, "KeySpec": "AES_256"})),
        (Operation::DescribeKey, json!({"KeyId": key})),
        (Operation::DescribeKey, json!({"KeyId": 5})),
    ] {
        let error = bench.call(operation, request).unwrap_err();
        assert_eq!(
            (error.error.name(), error.cause),
            ("KMSInternalException", Cause::Audit),
            "{operation:?}"
        );
    }
    bench.clock.advance(7 * DAY);
    assert!(bench.call(Operation::ListKeys, json!({})).is_err());
    *bench.journal.full.lock() = false;
    let ring = bench.store.ring().unwrap();
    assert_eq!(ring.keys().count(), 2, "nothing was made and nothing destroyed");
    assert_eq!(bench.news(), Vec::<String>::new());
    assert_eq!(bench.state(&key), Ok("Enabled".into()));
    assert_eq!(bench.state(&doomed), Err("NotFoundException".into()));
}

#[test]
fn aud_1_a_change_that_could_not_be_stored_is_recorded_as_failed() {
    let bench = Bench::new();
    let key = bench.key();
    bench.news();
    *bench.store.fail_commit.lock() = true;
    let error = bench.call(Operation::DisableKey, json!({"KeyId": key})).unwrap_err();
    assert_eq!((error.error.name(), error.cause), ("KMSInternalException", Cause::Store));
    assert_eq!(bench.news(), ["DisableKey ok", "DisableKey KMSInternalException"]);
    *bench.store.fail_commit.lock() = false;
    assert_eq!(bench.state(&key), Ok("Enabled".into()));
    // A refusal is recorded once, whatever the store would have done.
    *bench.store.fail_commit.lock() = true;
    bench.news();
    bench.call(Operation::CancelKeyDeletion, json!({"KeyId": key})).unwrap_err();
    assert_eq!(bench.news(), ["CancelKeyDeletion KMSInvalidStateException"]);
}

#[test]
fn aud_1_a_use_that_could_not_make_the_managed_key_is_recorded_as_failed() {
    let bench = Bench::new();
    *bench.store.fail_commit.lock() = true;
    let error = bench.call(Operation::DescribeKey, json!({"KeyId": "alias/aws/kmsfs"})).unwrap_err();
    assert_eq!((error.error.name(), error.cause), ("KMSInternalException", Cause::Store));
    let all = ["CreateKey ok", "CreateKey KMSInternalException", "DescribeKey KMSInternalException"];
    assert_eq!(bench.news(), all);
}

#[test]
fn aud_1_a_destruction_that_could_not_be_stored_is_recorded_as_failed_and_so_is_what_waited_for_it() {
    for (operation, request) in [
        (Operation::ListKeys, json!({})),
        (Operation::CreateKey, json!({})),
        (Operation::GenerateRandom, json!({"NumberOfBytes": 1})),
    ] {
        let bench = Bench::new();
        let key = bench.key();
        bench.schedule(&key);
        bench.clock.advance(7 * DAY);
        bench.news();
        *bench.store.fail_commit.lock() = true;
        let error = bench.call(operation, request).unwrap_err();
        assert_eq!((error.error.name(), error.cause), ("KMSInternalException", Cause::Store));
        let failed = format!("{} KMSInternalException", operation.name());
        assert_eq!(bench.news(), ["DeleteKey ok", "DeleteKey KMSInternalException", &failed]);
        *bench.store.fail_commit.lock() = false;
        assert_eq!(bench.state(&key), Err("NotFoundException".into()));
        assert_eq!(bench.news()[..2], ["DeleteKey ok", "told Unusable"]);
    }
}

#[test]
fn st_3_mounts_are_told_when_a_change_is_recorded_and_before_it_is_answered() {
    let bench = Bench::new();
    let key = bench.key();
    bench.news();
    for (operation, told) in [
        (Operation::DisableKey, "told Unusable"),
        // Asking again completes a revocation that a mount did not confirm.
        (Operation::DisableKey, "told Unusable"),
        (Operation::EnableKey, "told Usable"),
        (Operation::ScheduleKeyDeletion, "told Unusable"),
        (Operation::CancelKeyDeletion, "told Unusable"),
    ] {
        bench.call(operation, json!({"KeyId": key})).unwrap();
        assert_eq!(bench.news(), [format!("{} ok", operation.name()), told.to_owned()]);
    }
    for operation in [Operation::CancelKeyDeletion, Operation::RotateKeyOnDemand] {
        bench.call(operation, json!({"KeyId": key})).unwrap_err();
        assert_eq!(bench.news().len(), 1, "a refusal is told to nobody");
    }
    bench.call(Operation::EnableKey, json!({"KeyId": key})).unwrap();
    bench.news();
    bench.call(Operation::RotateKeyOnDemand, json!({"KeyId": key})).unwrap();
    assert_eq!(bench.news(), ["RotateKeyOnDemand ok", "RotateKey ok"], "rotation takes nothing away");
}

#[test]
fn st_3_a_mount_that_does_not_confirm_is_named_and_the_change_stands() {
    let bench = Bench::new();
    let key = bench.key();
    *bench.journal.deaf.lock() = true;
    let error = bench.call(Operation::DisableKey, json!({"KeyId": key})).unwrap_err();
    assert_eq!(error.cause, Cause::Unconfirmed);
    assert!(
        error.message.unwrap().ends_with("is changed, and that stands, but the mount /m did not confirm")
    );
    assert_eq!(bench.state(&key), Ok("Disabled".into()));
    // A destruction stops for nobody.
    bench.journal.lines.lock().clear();
    let _ = bench.call(Operation::ScheduleKeyDeletion, json!({"KeyId": key}));
    bench.clock.advance(30 * DAY);
    assert_eq!(bench.state(&key), Err("NotFoundException".into()));
}

#[test]
fn the_clock_of_a_bench_is_what_the_service_goes_by() {
    let bench = Bench::new();
    bench.clock.advance(DAY);
    let ring = bench.store.ring().unwrap();
    assert_eq!(bench.kms.now(&ring), bench.clock.now());
}
