//! What dates bring and what the clock shows, before anything else is decided on (rules DEL-3, IMP-5, ROT-10 and T-2).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{KeyChange, Kms};
use crate::kms::KmsError;
use crate::kms::audit::AuditEvent;
use crate::kms::clock::Done;
use crate::kms::clock_guard::{Look, Times};
use crate::kms::due::{self, Happening, ServiceEvent};
use crate::kms::ring::Keyring;

/// How long after a store did not take what the clock shows it is asked again.
const CLOCK_RETRY: Duration = Duration::from_secs(60);

impl Kms {
    /// The keyring as it is now, after everything that dates have brought. What the clock did that is to be recorded is, and the
    /// anchor of time is renewed now and then (rule T-2). Material that has expired by a clock that is not trusted is not there in
    /// it: it is not used, and not destroyed either.
    ///
    /// # Errors
    /// `KMSInternalException`: the store or the audit log failed. Where only rotations could not be made, that is no error: what is
    /// encrypted already can be read, and nothing is encrypted under a key whose rotation is due (`api::sealing::seal`).
    pub fn current_ring(&self) -> Result<Arc<Keyring>, KmsError> {
        self.current().map(|(ring, _)| ring)
    }

    /// As [`Kms::current_ring`], and the times that it is of: an operation looks at the clocks once.
    pub(super) fn current(&self) -> Result<(Arc<Keyring>, Times), KmsError> {
        let ring = self.ring()?;
        let look = self.look(&ring);
        let is_due = is_due(&ring, &look);
        let waits = || self.clock_waits_until.load(Ordering::Relaxed) > self.clock.uptime().as_secs();
        if !is_due && (!look.is_news || waits()) {
            return Ok((as_claimed(ring, look.times), look.times));
        }
        let settled = self.settle().map(|(settled, _)| settled).or_else(|error| {
            if is_due && !due::only_rotations(&ring, look.times.trusted) {
                return Err(error);
            }
            if is_due {
                log::warn!("keys whose rotation is due are not rotated: {error}");
            } else {
                // Nothing is done for it, so nothing hangs on it: without it less time is believed, and never more.
                log::warn!("what the clock shows cannot be remembered: {error}");
                let again = self.clock.uptime() + CLOCK_RETRY;
                self.clock_waits_until.store(again.as_secs(), Ordering::Relaxed);
            }
            Ok(ring)
        })?;
        let times = self.times(&settled);
        Ok((as_claimed(settled, times), times))
    }

    /// Does what dates have brought by now; what that was.
    ///
    /// # Errors
    /// As [`Kms::current_ring`], also where only rotations could not be made.
    pub fn do_what_is_due(&self) -> Result<Vec<Done>, KmsError> {
        self.settle().map(|(_, done)| done)
    }

    /// Remembers what the clock shows (rule T-2), does what dates have brought (rules DEL-3, IMP-5, ROT-10), and tells mounts.
    pub(super) fn settle(&self) -> Result<(Arc<Keyring>, Vec<Done>), KmsError> {
        let (mut done, mut found) = (Vec::new(), Vec::new());
        let outcome = self.store.update(&mut |ring| {
            let look = self.look(ring);
            let now = look.times.trusted;
            let happenings = due::happenings(ring, now, &self.sealer);
            found.extend(look.findings.iter().map(|finding| (*finding, look.times)));
            let mut changes = Vec::new();
            if look.is_news || !happenings.is_empty() {
                changes.push(self.seen(ring, look)?);
            }
            for (date, Happening { events, changes: brought }) in happenings {
                for event in events {
                    self.record(&AuditEvent::of_service(&self.scene(ring), &event))?;
                    done.push(Done::of(ring, date, event));
                }
                changes.extend(brought);
            }
            Ok(changes)
        });
        let recorded: Vec<_> = done.iter().map(|done| done.event.clone()).collect();
        let ring = outcome.or_else(|error| {
            let ring = self.ring()?;
            for (finding, times) in &found {
                self.record(&AuditEvent::of_clock(&self.scene(&ring), *finding, times).failed(&error))?;
            }
            self.record_failed(&recorded, &error)?;
            Err(error)
        })?;
        // A key pending deletion is unusable already: a mount that does not confirm now has nothing of it.
        for key in recorded.iter().filter(|event| event.takes_away()).map(ServiceEvent::key) {
            if let Err(why) = self.tell(key, KeyChange::Unusable) {
                log::warn!("{key} can no longer be used: {why}");
            }
        }
        Ok((ring, done))
    }

    /// Records that what was recorded did not come to be.
    pub(in crate::kms) fn record_failed(
        &self,
        recorded: &[ServiceEvent],
        error: &KmsError,
    ) -> Result<(), KmsError> {
        let ring = self.ring()?;
        let record = |event| self.record(&AuditEvent::of_service(&self.scene(&ring), event).failed(error));
        recorded.iter().try_for_each(record)
    }
}

/// Whether a date of a key has come. All that is done by dates changes keys for good, so it goes by what is trusted.
pub(super) fn is_due(ring: &Keyring, look: &Look) -> bool {
    ring.next_due().is_some_and(|date| date <= look.times.trusted)
}

/// The keyring without material that has expired by what the clock claims.
fn as_claimed(ring: Arc<Keyring>, times: Times) -> Arc<Keyring> {
    let Times { claimed, trusted } = times;
    if claimed <= trusted || ring.next_due().is_none_or(|date| date > claimed) {
        return ring;
    }
    let expired = due::expiries(&ring, claimed);
    if expired.is_empty() {
        return ring;
    }
    let mut without = (*ring).clone();
    expired.iter().for_each(|change| without.apply(change));
    Arc::new(without)
}
