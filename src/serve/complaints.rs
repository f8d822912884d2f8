//! What goes wrong for many requests at once, said once a minute.
//!
//! While the key store is gone or damaged, each request fails, and each client repeats it. A line for each would fill the disk with the
//! same words; the first of a kind is said, and those that follow within [`PERIOD`] are counted.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::kms::Cause;

/// How long one line stands for all of its kind.
const PERIOD: Duration = Duration::from_secs(60);

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Complaint {
    /// The key store could not be read or written for a request.
    Store,
    /// The key store does not authenticate.
    Tampered,
    /// The audit log could not be written.
    Audit,
    /// A credential could not be looked up.
    Signature,
    /// `/healthz` found the store not to be read.
    Health,
    /// What is due could not be done.
    Due,
    /// A connection could not be taken.
    Connection,
}

impl Complaint {
    /// That of a request that failed; none where it was refused, or where each one is of interest: a mount that did not obey.
    pub const fn of(cause: Cause) -> Option<Self> {
        match cause {
            Cause::Store => Some(Self::Store),
            Cause::Tampered => Some(Self::Tampered),
            Cause::Audit => Some(Self::Audit),
            Cause::Refused | Cause::Unconfirmed => None,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Store => "requests failed over the key store",
            Self::Tampered => "requests failed over a key store that was altered",
            Self::Audit => "requests failed over the audit log",
            Self::Signature => "signatures could not be verified",
            Self::Health => "looks at the key store failed",
            Self::Due => "attempts to do what is due failed",
            Self::Connection => "connections could not be taken",
        }
    }
}

/// What was said lately.
#[derive(Debug, Default)]
pub struct Complaints(Mutex<BTreeMap<Complaint, Said>>);

#[derive(Debug)]
struct Said {
    at: Instant,
    more: u64,
}

impl Complaints {
    /// Logs `what`, or counts it where something of its kind was said lately.
    pub fn say(&self, complaint: Complaint, what: impl Display) {
        if self.is_news(complaint, Instant::now()) {
            log::error!("{what}");
        }
    }

    /// Says how many were counted, where their minute is over.
    pub fn sum_up(&self) {
        for (complaint, more) in self.counted(Instant::now()) {
            log::error!("{more} more {} in the last {} s", complaint.words(), PERIOD.as_secs());
        }
    }

    fn is_news(&self, complaint: Complaint, now: Instant) -> bool {
        let mut said = self.0.lock();
        if let Some(said) = said.get_mut(&complaint) {
            said.more += 1;
            return false;
        }
        said.insert(complaint, Said { at: now, more: 0 });
        true
    }

    fn counted(&self, now: Instant) -> Vec<(Complaint, u64)> {
        let mut said = self.0.lock();
        let mut counted = Vec::new();
        said.retain(|complaint, said| {
            if now.duration_since(said.at) < PERIOD {
                return true;
            }
            let more = std::mem::take(&mut said.more);
            said.at = now;
            if more > 0 {
                counted.push((*complaint, more));
            }
            // What goes on is counted on; of what was over for a minute, the next one is news.
            more > 0
        });
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_said_and_the_rest_of_its_minute_counted() {
        let complaints = Complaints::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(complaints.is_news(Complaint::Store, at(0)));
        assert!(complaints.is_news(Complaint::Audit, at(1)), "another kind");
        for second in 1..60 {
            assert!(!complaints.is_news(Complaint::Store, at(second)));
        }
        assert_eq!(complaints.counted(at(59)), []);
        assert_eq!(complaints.counted(at(61)), [(Complaint::Store, 59)]);
        assert!(complaints.is_news(Complaint::Audit, at(62)), "its minute is over, and nothing came");
        assert!(!complaints.is_news(Complaint::Store, at(62)), "it goes on");
        assert_eq!(complaints.counted(at(122)), [(Complaint::Store, 1)]);
        assert_eq!(complaints.counted(at(200)), []);
        assert!(complaints.is_news(Complaint::Store, at(201)));
    }
}
