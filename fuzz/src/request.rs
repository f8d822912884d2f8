//! Requests of clients, from the bytes of a body to the answer and its record.

use std::sync::{Arc, Mutex, OnceLock};

use kmsfs::clock::{Clock, ManualClock, Timestamp};
use kmsfs::crypto::rng;
use kmsfs::datakey::KeyArn;
use kmsfs::kms::audit::{AuditError, AuditEvent, AuditLog, KeyUsage};
use kmsfs::kms::id::Namespace;
use kmsfs::kms::import::TokenKey;
use kmsfs::kms::material::Sealer;
use kmsfs::kms::ring::{ClockRecord, Decision, KeyStore, Keyring, StoreFailure};
use kmsfs::kms::{Caller, Cause, Client, Kms, KmsError, Operation, Via};
use kmsfs::serve::wire;
use serde_json::{Value, json};

use crate::sealing::secret;

/// What stands for the id of the key that there is.
const KEY: &str = "$KEY";
/// Makes a key of RSA, which takes long.
const SLOW: Operation = Operation::GetParametersForImport;

/// A body is read or refused; what is read is answered, or refused as AWS would, and never fails; its record is one line.
pub fn request(data: &[u8]) {
    let Some((number, body)) = data.split_first() else { return };
    let operation = Operation::ALL[usize::from(*number) % Operation::ALL.len()];
    let (ring, key) = furnished();
    let body = String::from_utf8_lossy(body).replace(KEY, key);
    let Ok(value) = wire::read(body.as_bytes()) else { return };
    assert!(value.is_object());
    if operation == SLOW {
        return;
    }
    let log = Arc::new(Log::default());
    let kms = service(ring.clone(), log.clone());
    let outcome = kms.call(&caller(), operation, value);
    if let Err(error) = &outcome {
        assert_eq!(error.cause, Cause::Refused, "{error}");
    }
    assert!(outcome.ok().flatten().is_none_or(|answer| answer.is_object()));
    let records = log.0.lock().expect("nobody panicked");
    assert!(!records.is_empty(), "it was not recorded");
    for record in &*records {
        let (end, line) = record.split_last().expect("a record is not empty");
        assert!(*end == b'\n' && !line.contains(&b'\n'));
        assert!(serde_json::from_slice::<Value>(line).is_ok());
    }
}

/// A keyring with a key that has an alias, a tag, a grant and a policy, and the key's id.
fn furnished() -> &'static (Keyring, String) {
    static FURNISHED: OnceLock<(Keyring, String)> = OnceLock::new();
    FURNISHED.get_or_init(|| {
        let namespace = Namespace { account: "000000000000".to_owned(), region: "us-east-1".to_owned() };
        let clock = ClockRecord { latest: Timestamp::from_millis(0), simulated_offset: Some(0), anchor: None };
        let kms = service(Keyring::new(namespace, clock), Arc::new(Log::default()));
        let call = |operation, request| kms.call(&caller(), operation, request).expect("it is well formed");
        let made = call(Operation::CreateKey, json!({"Tags": [{"TagKey": "a", "TagValue": "b"}]}));
        let key = made.expect("it has output")["KeyMetadata"]["KeyId"].as_str().expect("a text").to_owned();
        call(Operation::CreateAlias, json!({"AliasName": "alias/a", "TargetKeyId": key}));
        let grant = json!({"KeyId": key, "GranteePrincipal": "arn:aws:iam::000000000000:user/a", "Operations": ["Encrypt"]});
        call(Operation::CreateGrant, grant);
        ((*kms.current_ring().expect("the store is sound")).clone(), key)
    })
}

fn service(ring: Keyring, log: Arc<Log>) -> Kms {
    let sealer = Sealer::new(secret(), &secret(), TokenKey::new(secret()));
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
    Kms::new(Arc::new(Memory(Mutex::new(Arc::new(ring)))), sealer, clock, log)
}

fn caller() -> Caller {
    let client = Client {
        source: "127.0.0.1".to_owned(),
        is_local: false,
        agent: "fuzz".to_owned(),
        access_key_id: None,
        request_id: uuid::Builder::from_random_bytes(rng::bytes()).into_uuid(),
        tls: None,
    };
    let principal = "arn:aws:iam::000000000000:root".to_owned();
    Caller { principal, uid: u32::MAX, pid: 0, user: "root".to_owned(), via: Via::Server(Box::new(client)) }
}

/// A key store in memory, as [`Keyring`] itself applies changes.
struct Memory(Mutex<Arc<Keyring>>);

impl KeyStore for Memory {
    fn ring(&self) -> Result<Arc<Keyring>, StoreFailure> {
        Ok(self.0.lock().expect("nobody panicked").clone())
    }

    fn last_ring(&self) -> Option<Arc<Keyring>> {
        self.ring().ok()
    }

    fn update(&self, decide: &mut Decision<'_>) -> Result<Arc<Keyring>, KmsError> {
        let mut ring = self.0.lock().expect("nobody panicked");
        let mut next = (**ring).clone();
        decide(&ring)?.iter().for_each(|change| next.apply(change));
        *ring = Arc::new(next);
        Ok(ring.clone())
    }
}

/// Records in memory.
#[derive(Default)]
struct Log(Mutex<Vec<Vec<u8>>>);

impl AuditLog for Log {
    fn record(&self, event: &AuditEvent<'_>) -> Result<(), AuditError> {
        self.0.lock().expect("nobody panicked").push(event.to_line());
        Ok(())
    }

    fn usage(&self, _: &KeyArn) -> Result<KeyUsage, AuditError> {
        Ok(KeyUsage::default())
    }
}
