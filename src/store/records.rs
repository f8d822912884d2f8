//! The audit log of a home that is made, opened or restored: its chain begins with the home, and the log and the key store vouch for
//! each other.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use serde_json::{Map, Value};

use super::HomeError;
use super::audit::usage::Uses;
use super::audit::verify::Report;
use super::audit::{self, FileAuditLog, Opening};
use super::home::Home;
use super::root::RootKey;
use super::sqlite::SqliteStore;
use super::tables::AuditFacts;
use crate::clock::Clock;
use crate::datakey::KeyArn;
use crate::kms::audit::{AuditEvent, AuditLog, HomeEvent, Scene};
use crate::kms::clock_guard::{self, Reading};
use crate::kms::ring::{Change, KeyStore, Keyring};
use crate::kms::{Caller, KmsError};
use crate::sys;

impl Home {
    /// Verifies the audit log, record by record.
    ///
    /// # Errors
    /// [`HomeError::Io`].
    pub fn verify_records(&self) -> Result<Report, HomeError> {
        self.log().verify().map_err(|error| self.log_failed(error))
    }

    /// The last uses of keys of `ring`, for people (`audit::usage`).
    ///
    /// # Errors
    /// [`HomeError::Io`], and failures of the database.
    pub fn uses(&self, ring: &Keyring, keys: &[KeyArn]) -> Result<BTreeMap<KeyArn, Uses>, HomeError> {
        let pending = ring.keys().filter(|key| key.record.state.is_pending_deletion());
        let pending: Vec<_> = pending.map(|key| ring.namespace().key_arn(key.record.id)).collect();
        self.log().uses(keys, &pending, audit::usage::REACH).map_err(|error| self.log_failed(error))
    }

    /// Begins the next file of the audit log.
    ///
    /// # Errors
    /// [`HomeError::Audit`]: nothing was done. Failures of the database.
    pub fn rotate_records(&self, caller: &Caller) -> Result<(), HomeError> {
        self.record_of_log(caller, "RotateAuditLog", Map::new())?;
        let ring = self.ring()?;
        let namespace = ring.namespace();
        let now = self.kms().now(&ring);
        let scene = Scene { account: &namespace.account, region: &namespace.region, now, ring: None };
        let rotated = self.log().rotate_now(&AuditEvent::of_log(&scene, "RotateAuditLog", &Map::new()));
        rotated.map_err(|error| HomeError::Audit(error.to_string()))
    }

    /// Sets how many bytes a file of the audit log becomes; `None` is [`audit::FILE_LEN`]. Processes that have the home open go on as
    /// before.
    ///
    /// # Errors
    /// As [`Home::rotate_records`].
    pub fn set_record_file_len(&self, caller: &Caller, len: Option<u64>) -> Result<(), HomeError> {
        let said = Map::from_iter([("bytes".to_owned(), len.into())]);
        self.record_of_log(caller, "SetAuditFileSize", said)?;
        self.store().set_audit_file_len(len.map(|len| i64::try_from(len).unwrap_or(i64::MAX)))
    }

    /// One change of something that the home has beside keys, in one transaction. It is recorded before it is committed; where the store
    /// then fails, that is recorded, too.
    ///
    /// # Errors
    /// What `decide` answers, and failures of the store or the log. Nothing is changed then.
    pub(super) fn change_recorded<E: From<KmsError>>(
        &self,
        caller: &Caller,
        name: &'static str,
        decide: impl Fn(&Keyring) -> Result<(Map<String, Value>, Change), E>,
    ) -> Result<(), E> {
        let (mut refused, mut recorded) = (None, None);
        let outcome = self.store().update(&mut |ring| match decide(ring) {
            Err(error) => {
                refused = Some(error);
                Ok(Vec::new())
            }
            Ok((parameters, change)) => {
                let event = HomeEvent { name, parameters, read_only: false };
                self.kms().record_of_home(ring, caller, &event, None)?;
                recorded = Some(event);
                Ok(vec![change])
            }
        });
        match (outcome, refused) {
            (Ok(_), None) => Ok(()),
            (Ok(_), Some(error)) => Err(error),
            (Err(error), _) => {
                if let (Some(event), Some(ring)) = (&recorded, self.store().last_ring()) {
                    self.kms().record_of_home(&ring, caller, event, Some(&error))?;
                }
                Err(error.into())
            }
        }
    }

    fn record_of_log(
        &self,
        caller: &Caller,
        name: &'static str,
        parameters: Map<String, Value>,
    ) -> Result<(), HomeError> {
        let event = HomeEvent { name, parameters, read_only: false };
        let recorded = self.kms().record_of_home(&*self.ring()?, caller, &event, None);
        recorded.map_err(|error| HomeError::Audit(error.words()))
    }

    /// The error of a log that cannot be read.
    fn log_failed(&self, error: io::Error) -> HomeError {
        HomeError::Io(self.dir().join(audit::FILE_NAME), error)
    }
}

/// The highest generation of the key store that the audit log says was seen; 0 where it says nothing that authenticates. A store
/// that is older is an older copy.
///
/// # Errors
/// [`HomeError::Io`].
pub fn seen_generation(dir: &Path, root: &RootKey) -> Result<i64, HomeError> {
    let head = dir.join(audit::HEAD_NAME);
    // A pipe in its place would be waited for.
    let seen = || match sys::open_regular(OpenOptions::new().read(true), OFlags::empty(), &head) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => audit::seen_generation(dir, |chain| root.audit(chain)),
    };
    Ok(seen().map_err(|error| HomeError::Io(head.clone(), error))?.unwrap_or(0))
}

/// Opens the log, and begins its chain in a home that has none.
///
/// # Errors
/// Failures of files and of the database.
pub fn open(
    dir: &Path,
    root: &RootKey,
    store: &SqliteStore,
    clock: &dyn Clock,
) -> Result<Arc<FileAuditLog>, HomeError> {
    let io = |error| HomeError::Io(dir.join(audit::FILE_NAME), error);
    let facts = begin(dir, root, store, clock, false)?;
    let opening = Opening {
        keys: root.audit(facts.chain),
        generation: store.generation(),
        known: facts.number.unsigned_abs(),
        file_len: facts.file_len.map_or(audit::FILE_LEN, i64::unsigned_abs),
    };
    let log = Arc::new(FileAuditLog::open(dir, opening).map_err(io)?);
    store.set_log(log.clone());
    Ok(log)
}

/// Begins a chain in a home that has none, or `anew` in one that is restored: the records that it had then are covered by the first
/// of the new chain.
///
/// # Errors
/// Failures of files and of the database.
pub fn begin(
    dir: &Path,
    root: &RootKey,
    store: &SqliteStore,
    clock: &dyn Clock,
    anew: bool,
) -> Result<AuditFacts, HomeError> {
    store.audit(anew, |chain, ring, generation| {
        let namespace = ring.namespace();
        // There is no key service to ask yet.
        let reading = Reading { clock: clock.now(), uptime: clock.uptime() };
        let now = clock_guard::look(ring.clock(), &reading).times.claimed;
        let scene = Scene { account: &namespace.account, region: &namespace.region, now, ring: None };
        let begun = audit::begin(dir, &root.audit(chain), &scene, generation);
        begun.map_err(|error| HomeError::Io(dir.join(audit::FILE_NAME), error))
    })
}

/// What keeps the records: the log. Nothing turns that off, but for a build that only measures.
#[cfg(not(feature = "bench-without-audit"))]
pub fn kept_in(log: Arc<FileAuditLog>) -> Arc<dyn AuditLog> {
    log
}

/// What keeps the records: the log, or nothing where `KMSFS_BENCH_AUDIT=off`, to measure what the log costs. Never in a build that anybody
/// is given.
#[cfg(feature = "bench-without-audit")]
pub fn kept_in(log: Arc<FileAuditLog>) -> Arc<dyn AuditLog> {
    struct Nowhere;

    impl AuditLog for Nowhere {
        fn record(&self, _: &AuditEvent<'_>) -> Result<(), crate::kms::audit::AuditError> {
            Ok(())
        }

        fn usage(&self, _: &KeyArn) -> Result<crate::kms::audit::KeyUsage, crate::kms::audit::AuditError> {
            Ok(crate::kms::audit::KeyUsage::default())
        }
    }

    match std::env::var_os("KMSFS_BENCH_AUDIT") {
        Some(off) if off == "off" => {
            log::error!("this build measures, and records nothing");
            Arc::new(Nowhere)
        }
        _ => log,
    }
}
