//! The service itself: one door for every operation.
//!
//! An operation is read, decided on, recorded, committed and answered, in this order. What cannot be recorded is not done. What dates
//! have brought (a deletion, an expiry, a rotation) is done before anything else is looked at.

mod managed;
mod settle;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::RwLock;
use serde_json::Value;

use super::alarm::{self, AlarmSink};
use super::api::{self, Context, Reply, Request};
use super::audit::{AuditEvent, AuditLog, HomeEvent, Parameters, Scene, event_names};
use super::clock_guard::{self, Look, Reading, Times};
use super::error::Cause;
use super::fields::Fields;
use super::material::Sealer;
use super::ring::{Change, Decision, KeyStore, Keyring, StoreFailure};
use super::uses::Uses;
use super::{AwsError, Caller, KmsError, Operation, Via};
use crate::clock::{Clock, Timestamp};
use crate::datakey::KeyArn;

use settle::is_due;

/// What happened to a key that mounts must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyChange {
    /// It can be used again.
    Usable,
    /// It can no longer be used.
    Unusable,
    /// Others may use it than before.
    Access,
}

/// Is told of changes that take a key's usability away or give it back.
pub trait StateObserver: Send + Sync {
    /// Called when the change is durable, before the operation that made it is answered.
    ///
    /// # Errors
    /// A sentence that names who did not confirm; the caller of the operation gets it. The change stands.
    fn key_changed(&self, key: &KeyArn, change: KeyChange) -> Result<(), String>;
}

/// The key service.
pub struct Kms {
    store: Arc<dyn KeyStore>,
    sealer: Sealer,
    clock: Arc<dyn Clock>,
    audit: Arc<dyn AuditLog>,
    observer: RwLock<Option<Arc<dyn StateObserver>>>,
    alarms: RwLock<Option<Arc<dyn AlarmSink>>>,
    uses: Uses,
    /// The uptime, in seconds, before which the store is not asked again to remember what the clock shows.
    clock_waits_until: AtomicU64,
}

impl std::fmt::Debug for Kms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kms")
    }
}

impl Kms {
    /// A service over `store`, whose material `sealer` seals; `clock` is the machine's own.
    pub fn new(
        store: Arc<dyn KeyStore>,
        sealer: Sealer,
        clock: Arc<dyn Clock>,
        audit: Arc<dyn AuditLog>,
    ) -> Self {
        let (observer, alarms, uses) = (RwLock::new(None), RwLock::new(None), Uses::default());
        Self { store, sealer, clock, audit, observer, alarms, uses, clock_waits_until: AtomicU64::new(0) }
    }

    /// Has `observer` told of changes of keys' usability.
    pub fn set_observer(&self, observer: Arc<dyn StateObserver>) {
        *self.observer.write() = Some(observer);
    }

    /// Has `sink` do what alarms ask for (rule AUD-4).
    pub fn set_alarms(&self, sink: Arc<dyn AlarmSink>) {
        *self.alarms.write() = Some(sink);
    }

    /// Carries out `operation` for `caller`. `request` is the operation's JSON as AWS KMS takes it (blobs in base64),
    /// the answer as AWS KMS gives it (times are epoch seconds); `None` for an operation without output.
    ///
    /// # Errors
    /// [`KmsError`], as AWS KMS answers; recorded in the audit log like a success.
    pub fn call(
        &self,
        caller: &Caller,
        operation: Operation,
        request: Value,
    ) -> Result<Option<Value>, KmsError> {
        self.answer(caller, operation, Ok(request))
    }

    /// As [`Kms::call`], of a request that may not be readable: that is refused with its error, and recorded, too.
    ///
    /// # Errors
    /// As [`Kms::call`].
    pub fn answer(
        &self,
        caller: &Caller,
        operation: Operation,
        request: Result<Value, KmsError>,
    ) -> Result<Option<Value>, KmsError> {
        let mut fields = Fields::default();
        let decoded = request.and_then(Fields::new).and_then(|read| {
            fields = match caller.via {
                Via::Server(_) => read.as_aws_reads(),
                Via::Cli | Via::Mount { .. } | Via::Tool { .. } => read,
            };
            api::decode(operation, &mut fields)
        });
        let parameters = fields.take_read();
        let record = |scene: &Scene<'_>, touched: &[KeyArn], error: Option<&KmsError>| {
            let asked = Parameters::Read(&parameters);
            let event = AuditEvent::of_call(scene, caller, operation, asked, touched, error);
            self.record(&event)
        };
        let ready = decoded.and_then(|mut request| {
            self.make_managed_if_used(operation, &parameters)?;
            request.prepare();
            Ok(request)
        });
        let request = match ready {
            Ok(request) => request,
            Err(error) => {
                let ring = self.ring()?;
                record(&self.scene(&ring), &[], Some(&error))?;
                return Err(error);
            }
        };
        let reply = if operation.is_read_only() {
            let (ring, times) = self.ring_for(&record)?;
            self.decide(&self.context(operation, caller, &ring, times), &*request, &record)?
        } else {
            self.change(operation, caller, &*request, &record)?
        };
        if let Some((key, change)) = &reply.notice {
            self.tell(key, *change)?;
        }
        Ok(reply.output)
    }

    /// The keyring as it was last read; it may have changed since.
    pub(super) fn last_ring(&self) -> Option<Arc<Keyring>> {
        self.store.last_ring()
    }

    /// The keyring that an operation is decided on. Where what is due cannot be destroyed there is none, and `record` gets that.
    pub(super) fn ring_for(&self, record: &Record<'_>) -> Result<(Arc<Keyring>, Times), KmsError> {
        self.current().or_else(|error| {
            record(&self.scene(&*self.ring()?), &[], Some(&error))?;
            Err(error)
        })
    }

    /// What operations see of one keyring at one time.
    pub(super) fn context<'a>(
        &'a self,
        operation: Operation,
        caller: &'a Caller,
        ring: &'a Keyring,
        times: Times,
    ) -> Context<'a> {
        Context::new(operation, caller, ring, times, &self.sealer, &*self.audit)
    }

    /// Where and when events of `ring` happen.
    pub(super) fn scene<'a>(&self, ring: &'a Keyring) -> Scene<'a> {
        scene_of(ring, self.now(ring))
    }

    /// Writes a record, and has the alarms sound that wait for it.
    ///
    /// # Errors
    /// `KMSInternalException`: what it was about must not be done.
    pub(super) fn record(&self, event: &AuditEvent<'_>) -> Result<(), KmsError> {
        debug_assert!(event_names().any(|name| name == event.name()), "nobody can ask for {}", event.name());
        self.audit.record(event).map_err(|error| KmsError::failed(Cause::Audit, error.to_string()))?;
        if let Some(ring) = event.may_sound()
            && let Some(sink) = self.alarms.read().as_deref()
        {
            alarm::sound(ring, event, sink);
        }
        Ok(())
    }

    /// Records what is done to the home itself rather than to a key, or that it failed. `ring` is a keyring of the home: this may be
    /// called where the store is held.
    ///
    /// # Errors
    /// `KMSInternalException`: what it was about must not be done.
    pub fn record_of_home(
        &self,
        ring: &Keyring,
        caller: &Caller,
        done: &HomeEvent,
        error: Option<&KmsError>,
    ) -> Result<(), KmsError> {
        let event = AuditEvent::of_home(&self.scene(ring), caller, done);
        self.record(&match error {
            Some(error) => event.failed(error),
            None => event,
        })
    }

    /// The time that use is judged by and that waiting periods begin at: the machine's, moved by a simulated clock, and never behind
    /// what the store has seen (rules T-1, T-2).
    pub fn now(&self, ring: &Keyring) -> Timestamp {
        self.times(ring).claimed
    }

    /// That time, and the one that destruction waits for.
    pub fn times(&self, ring: &Keyring) -> Times {
        self.look(ring).times
    }

    /// Whether something is to be done before `ring` is used, or the store is to remember what the clock shows.
    pub fn is_something_due(&self, ring: &Keyring) -> bool {
        let look = self.look(ring);
        look.is_news || ring.next_due().is_some_and(|date| date <= look.times.claimed)
    }

    /// The machine's clocks, beside what the store remembers of them.
    pub(super) fn look(&self, ring: &Keyring) -> Look {
        clock_guard::look(ring.clock(), &self.reading())
    }

    /// What the machine's clocks show.
    pub(super) fn reading(&self) -> Reading {
        Reading { clock: self.clock.now(), uptime: self.clock.uptime() }
    }

    pub(super) fn ring(&self) -> Result<Arc<Keyring>, KmsError> {
        self.store.ring().map_err(failed)
    }

    /// Decides on a request and records how it ended.
    fn decide(
        &self,
        cx: &Context<'_>,
        request: &dyn Request,
        record: &Record<'_>,
    ) -> Result<Reply, KmsError> {
        let outcome = request.handle(cx).and_then(|reply| {
            self.count_use(cx)?;
            Ok(reply)
        });
        record(&scene_of(cx.ring, cx.now), &cx.touched.borrow(), outcome.as_ref().err())?;
        outcome
    }

    /// Counts the use of the backing key that an operation encrypted under.
    ///
    /// # Errors
    /// `KMSInternalException`: what it encrypted must not be answered.
    pub(super) fn count_use(&self, cx: &Context<'_>) -> Result<(), KmsError> {
        let Some((key, material)) = cx.used.take() else { return Ok(()) };
        self.uses.count(&*self.store, key, material)
    }

    /// Decides on a request that may change keys. What falls due while it waits for the store is destroyed first: a key whose
    /// date has come is not there to be cancelled.
    fn change(
        &self,
        operation: Operation,
        caller: &Caller,
        request: &dyn Request,
        record: &Record<'_>,
    ) -> Result<Reply, KmsError> {
        let (mut ring, _) = self.ring_for(record)?;
        loop {
            if let Some(reply) = self.try_change(&ring, operation, caller, request, record)? {
                return Ok(reply);
            }
            (ring, _) = self.settle().or_else(|error| {
                record(&self.scene(&ring), &[], Some(&error))?;
                Err(error)
            })?;
        }
    }

    /// One transaction; `None` where a date has brought something that comes first. It is recorded before it is committed, so that no change goes
    /// unrecorded; where the store then fails, that is recorded, too. `known` is the keyring of a moment ago.
    fn try_change(
        &self,
        known: &Keyring,
        operation: Operation,
        caller: &Caller,
        request: &dyn Request,
        record: &Record<'_>,
    ) -> Result<Option<Reply>, KmsError> {
        let (mut decided, mut touched, mut refused, mut overdue) = (None, Vec::new(), false, false);
        let mut events = Vec::new();
        let outcome = self.store.update(&mut |ring| {
            let look = self.look(ring);
            let cx = self.context(operation, caller, ring, look.times);
            overdue = is_due(ring, &look);
            if overdue {
                return Ok(Vec::new());
            }
            let reply = self.decide(&cx, request, record);
            touched = cx.touched.take();
            refused = reply.is_err();
            let mut reply = reply?;
            for event in &reply.events {
                self.record(&AuditEvent::of_service(&self.scene(ring), event))?;
            }
            events.clone_from(&reply.events);
            let mut changes = std::mem::take(&mut reply.changes);
            if !changes.is_empty() {
                changes.push(self.seen(ring, look)?);
            }
            decided = Some(reply);
            Ok(changes)
        });
        match outcome {
            Ok(_) if overdue || decided.is_some() => Ok(decided),
            Ok(_) => Err(KmsError::failed(Cause::Store, "the key store did not ask for a decision")),
            Err(error) => {
                if !refused {
                    record(&self.scene(known), &touched, Some(&error))?;
                    self.record_failed(&events, &error)?;
                }
                Err(error)
            }
        }
    }

    /// The change that remembers a look at the clocks; what it found is recorded.
    pub(super) fn seen(&self, ring: &Keyring, look: Look) -> Result<Change, KmsError> {
        for finding in &look.findings {
            self.record(&AuditEvent::of_clock(&self.scene(ring), *finding, &look.times))?;
        }
        Ok(Change::SetClock(look.record))
    }

    /// One transaction of the store.
    pub(super) fn update(&self, decide: &mut Decision<'_>) -> Result<Arc<Keyring>, KmsError> {
        self.store.update(decide)
    }

    /// What seals backing keys.
    pub(super) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Has mounts told of a change.
    pub(super) fn tell(&self, key: &KeyArn, change: KeyChange) -> Result<(), KmsError> {
        let Some(observer) = self.observer.read().clone() else { return Ok(()) };
        observer.key_changed(key, change).map_err(|why| KmsError {
            error: AwsError::Internal,
            message: Some(format!("{key} is changed, and that stands, but {why}")),
            cause: Cause::Unconfirmed,
        })
    }
}

impl Drop for Kms {
    fn drop(&mut self) {
        if let Err(error) = self.uses.give_back(&*self.store) {
            log::warn!("the counts of keys' uses stay rounded up: {error}");
        }
    }
}

/// Records how an operation ended.
pub(super) type Record<'a> = dyn Fn(&Scene<'_>, &[KeyArn], Option<&KmsError>) -> Result<(), KmsError> + 'a;

/// Where events of `ring` happen, at `now`.
pub(super) fn scene_of(ring: &Keyring, now: Timestamp) -> Scene<'_> {
    let namespace = ring.namespace();
    Scene { account: &namespace.account, region: &namespace.region, now, ring: Some(ring) }
}

fn failed(failure: StoreFailure) -> KmsError {
    let cause = match failure {
        StoreFailure::Tampered(_) => Cause::Tampered,
        StoreFailure::Failed(_) => Cause::Store,
    };
    KmsError::failed(cause, failure.to_string())
}
