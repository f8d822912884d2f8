//! A home with a simulated clock in a directory of its own, and short ways to ask its key service.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kmsfs::clock::{Clock, ManualClock, SystemClock};
use kmsfs::kms::{Caller, KmsError, Operation, Via};
use kmsfs::store::{Home, NewSlot, SetupOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The account and region of the names in these tests.
pub const ARN_PREFIX: &str = "arn:aws:kms:us-east-1:000000000000:";
/// Seconds of a day.
pub const DAY: u64 = 86_400;

/// An open home.
pub struct Service {
    pub home: Home,
    _dir: TempDir,
}

/// A CMK's two names.
#[derive(Debug, Clone)]
pub struct Key {
    pub id: String,
    pub arn: String,
}

impl Service {
    pub fn new() -> Self {
        Self::with_clock(true)
    }

    pub fn with_clock(simulated_clock: bool) -> Self {
        Self::made(Arc::new(SystemClock), simulated_clock, false)
    }

    /// A home that takes material wrapped with RSAES_PKCS1_V1_5.
    pub fn with_legacy_wrapping() -> Self {
        Self::made(Arc::new(SystemClock), true, true)
    }

    /// A home with a real clock, on a machine whose clocks the test moves.
    pub fn on_machine(clock: &Arc<ManualClock>) -> Self {
        Self::made(clock.clone(), false, false)
    }

    /// The same with a simulated clock.
    pub fn on_machine_simulated(clock: &Arc<ManualClock>) -> Self {
        Self::made(clock.clone(), true, false)
    }

    fn made(clock: Arc<dyn Clock>, simulated_clock: bool, legacy_wrapping: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = SetupOptions {
            slots: vec![NewSlot::KeyFile(dir.path().join("key"))],
            account: "000000000000".into(),
            region: "us-east-1".into(),
            simulated_clock,
            legacy_wrapping,
        };
        let home = Home::setup_with_clock(&dir.path().join("home"), &options, clock).unwrap();
        Self { home, _dir: dir }
    }

    /// The home as the next process finds it, when this one has ended.
    pub fn close(self) -> (TempDir, Home) {
        let Self { home, _dir: temp } = self;
        let dir = home.dir().to_owned();
        drop(home);
        (temp, Home::open(&dir).unwrap())
    }

    /// The home opened once more, as another process has it.
    pub fn another(&self) -> Home {
        Home::open(self.home.dir()).unwrap()
    }

    pub fn call(&self, operation: &str, request: Value) -> Result<Option<Value>, KmsError> {
        call(&self.home, operation, request)
    }

    /// The answer of an operation that must succeed; null where it has none.
    pub fn ok(&self, operation: &str, request: Value) -> Value {
        let answer = self.call(operation, request.clone());
        answer.unwrap_or_else(|error| panic!("{operation} {request}: {error}")).unwrap_or(Value::Null)
    }

    /// The refusal of an operation that must fail, as `Name: message` or `Name`.
    pub fn refusal(&self, operation: &str, request: Value) -> String {
        match self.call(operation, request.clone()) {
            Ok(answer) => panic!("{operation} {request} answered {answer:?}"),
            Err(error) => error.to_string(),
        }
    }

    /// The refusal of an operation that user `uid` must fail with, as `Name: message`.
    pub fn refusal_to(&self, uid: u32, operation: &str, request: Value) -> String {
        match call_as(&self.home, uid, operation, request.clone()) {
            Ok(answer) => panic!("{operation} {request} answered {answer:?} to {uid}"),
            Err(error) => error.to_string(),
        }
    }

    /// The answer of an operation that user `uid` must succeed with; null where it has none.
    pub fn ok_to(&self, uid: u32, operation: &str, request: Value) -> Value {
        let answer = call_as(&self.home, uid, operation, request.clone());
        answer
            .unwrap_or_else(|error| panic!("{operation} {request} of {uid}: {error}"))
            .unwrap_or(Value::Null)
    }

    /// Puts a policy of these statements.
    pub fn put_policy(&self, key: &Key, statements: Value) {
        self.ok("PutKeyPolicy", json!({"KeyId": key.id, "Policy": policy(statements)}));
    }

    /// The answer of an operation that must succeed in `region`; null where it has none.
    pub fn ok_in(&self, region: &str, operation: &str, request: Value) -> Value {
        let answer = call_in(&self.home, region, operation, request.clone());
        answer
            .unwrap_or_else(|error| panic!("{operation} {request} in {region}: {error}"))
            .unwrap_or(Value::Null)
    }

    /// The refusal of an operation that must fail in `region`, as `Name: message` or `Name`.
    pub fn refusal_in(&self, region: &str, operation: &str, request: Value) -> String {
        match call_in(&self.home, region, operation, request.clone()) {
            Ok(answer) => panic!("{operation} {request} in {region} answered {answer:?}"),
            Err(error) => error.to_string(),
        }
    }

    pub fn key(&self) -> Key {
        self.key_of(json!({}))
    }

    pub fn key_of(&self, request: Value) -> Key {
        let metadata = &self.ok("CreateKey", request)["KeyMetadata"];
        Key { id: text(&metadata["KeyId"]), arn: text(&metadata["Arn"]) }
    }

    /// A key in a state that the operations of this version lead to.
    pub fn key_in(&self, state: &str, origin: &str) -> Key {
        let key = self.key_of(json!({"Origin": origin}));
        match (state, origin) {
            ("Enabled", "AWS_KMS") | ("PendingImport", "EXTERNAL") => (),
            ("Disabled", "AWS_KMS") => self.disable(&key),
            ("PendingDeletion", _) => {
                self.ok("ScheduleKeyDeletion", json!({"KeyId": key.id}));
            }
            _ => panic!("no operation leads a key of origin {origin} to {state}"),
        }
        assert_eq!(self.state(&key), state);
        key
    }

    pub fn describe(&self, key: &Key) -> Value {
        self.ok("DescribeKey", json!({"KeyId": key.id}))["KeyMetadata"].clone()
    }

    pub fn state(&self, key: &Key) -> String {
        text(&self.describe(key)["KeyState"])
    }

    pub fn disable(&self, key: &Key) {
        self.ok("DisableKey", json!({"KeyId": key.id}));
    }

    pub fn enable(&self, key: &Key) {
        self.ok("EnableKey", json!({"KeyId": key.id}));
    }

    pub fn alias(&self, name: &str, key: &Key) {
        self.ok("CreateAlias", json!({"AliasName": name, "TargetKeyId": key.id}));
    }

    /// A blob of `plaintext` under the key of that name, as base64.
    pub fn encrypt(&self, key: &str, plaintext: &[u8]) -> String {
        let request = json!({"KeyId": key, "Plaintext": base64(plaintext)});
        text(&self.ok("Encrypt", request)["CiphertextBlob"])
    }

    /// What a blob decrypts to.
    pub fn decrypt(&self, blob: &str) -> Vec<u8> {
        bytes(&self.ok("Decrypt", json!({"CiphertextBlob": blob}))["Plaintext"])
    }

    pub fn advance_days(&self, days: u64) {
        self.advance_seconds(days * DAY);
    }

    pub fn advance_seconds(&self, seconds: u64) {
        assert!(self.home.advance_clock(Duration::from_secs(seconds)).unwrap());
    }

    /// The records of the audit log.
    pub fn records(&self) -> Vec<Value> {
        records(self.home.dir())
    }
}

/// Asks the service of a home, as its owner.
pub fn call(home: &Home, operation: &str, request: Value) -> Result<Option<Value>, KmsError> {
    let operation = Operation::from_name(operation).unwrap_or_else(|| panic!("no operation {operation}"));
    home.kms().call(&owner(home), operation, request)
}

/// Asks the service of a home in one of its regions, as its owner.
pub fn call_in(
    home: &Home,
    region: &str,
    operation: &str,
    request: Value,
) -> Result<Option<Value>, KmsError> {
    let operation = Operation::from_name(operation).unwrap_or_else(|| panic!("no operation {operation}"));
    home.kms_in(region).unwrap().call(&owner(home), operation, request)
}

/// Asks the service of a home, as user `uid` of this machine.
pub fn call_as(home: &Home, uid: u32, operation: &str, request: Value) -> Result<Option<Value>, KmsError> {
    let operation = Operation::from_name(operation).unwrap_or_else(|| panic!("no operation {operation}"));
    home.kms().call(&home.caller(uid, 42, Via::Cli), operation, request)
}

/// The home's owner on the command line.
pub fn owner(home: &Home) -> Caller {
    home.caller(0, 42, Via::Cli)
}

/// A document of these statements.
pub fn policy(statements: Value) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

pub fn records(home: &Path) -> Vec<Value> {
    let log = std::fs::read_to_string(home.join("audit.log")).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Bytes of a blob in an answer.
pub fn bytes(value: &Value) -> Vec<u8> {
    BASE64.decode(value.as_str().unwrap_or_else(|| panic!("{value} is a blob"))).unwrap()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is a string")).to_owned()
}

/// A blob that names `key` and was never made by the service.
pub fn forged_blob(key: &Key) -> String {
    let id = uuid::Uuid::parse_str(&key.id).unwrap();
    base64(&[b"kms\x01", id.as_bytes().as_slice(), &[7; 32], &[9; 76]].concat())
}
