//! What people do with the home's clock: look at it, move a simulated one, vouch for a real one (rules T-1 and T-2).
//!
//! A simulated clock that is moved passes each date on the way, as if somebody looked all the time; one that is accepted has passed
//! them. Moving and accepting carry out all that falls due by it in the same transaction, so that no other process comes first, and whoever
//! asked learns of each.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use super::audit::{AuditEvent, HomeEvent};
use super::clock_guard::{self, ClockRecord, Jump, Reading, Times};
use super::due::{self, Happening, Matter, ServiceEvent};
use super::ring::{Change, Keyring};
use super::service::scene_of;
use super::{Caller, KeyChange, Kms, KmsError};
use crate::clock::Timestamp;
use crate::datakey::KeyArn;

/// What the home's clock shows.
#[derive(Debug, Clone)]
pub struct ClockView {
    /// The home's times.
    pub times: Times,
    /// The machine's clocks.
    pub reading: Reading,
    /// How far a simulated clock is ahead of the machine's, in milliseconds; `None` for a home with a real clock.
    pub simulated_offset: Option<i64>,
    /// The time that uptime explains; `None` with a simulated clock.
    pub earned: Option<Timestamp>,
    /// What the clock is ahead of what is explained.
    pub jump: Option<Jump>,
    /// What dates have brought by the clock, and what waits until that is believed: when, what, and of which key.
    pub waiting: Vec<(Timestamp, Matter, KeyArn)>,
}

/// Where a simulated clock is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Ahead by so much.
    By(Duration),
    /// To a time that is not before the present one.
    To(Timestamp),
}

/// Something that fell due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its date.
    pub date: Timestamp,
    /// The aliases that the key had, in the order of their names.
    pub aliases: Vec<String>,
    /// What was done, and to which key.
    pub event: ServiceEvent,
}

impl Done {
    pub(super) fn of(ring: &Keyring, date: Timestamp, event: ServiceEvent) -> Self {
        let id = ring.namespace().key_id_of(event.key());
        let aliases = ring.aliases().filter(|alias| Some(alias.key) == id);
        Self { date, aliases: aliases.map(|alias| alias.name.to_string()).collect(), event }
    }
}

/// What came of moving or accepting a clock.
#[derive(Debug, Clone)]
pub struct Moved {
    /// The home's time before: the one that was trusted.
    pub from: Timestamp,
    /// The home's time from then on.
    pub to: Timestamp,
    /// What fell due, in its order of time.
    pub done: Vec<Done>,
    /// Mounts that did not confirm what follows from that, in words.
    pub unconfirmed: Vec<String>,
}

/// Why a clock is not moved or accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClockError {
    /// A real clock is the machine's, and nobody else's to move.
    NotSimulated,
    /// A simulated clock is believed as it is.
    Simulated,
    /// Time goes ahead only.
    Backwards {
        /// The home's time.
        now: Timestamp,
        /// What was asked for.
        asked: Timestamp,
    },
    /// No date can be written for it.
    TooFar,
    /// The key service failed.
    Failed(KmsError),
}

impl fmt::Display for ClockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSimulated => f.write_str("this home's clock is the machine's, and cannot be moved here"),
            Self::Simulated => f.write_str("this home's clock is simulated, and believed as it is"),
            Self::Backwards { now, asked } => {
                write!(f, "{asked} is before the home's time, {now}, and time does not go back")
            }
            Self::TooFar => write!(f, "that is after {LAST}, and a simulated clock goes no further"),
            Self::Failed(error) => write!(f, "{}", error.words()),
        }
    }
}

impl std::error::Error for ClockError {}

impl From<KmsError> for ClockError {
    fn from(error: KmsError) -> Self {
        Self::Failed(error)
    }
}

/// 2200-01-01T00:00:00Z. A simulated clock goes no further: each rotation on the way leaves a backing key.
const LAST: Timestamp = Timestamp::from_millis(7_258_118_400_000);

impl Kms {
    /// What the home's clock shows, after all that is due.
    ///
    /// # Errors
    /// `KMSInternalException`: the store or the audit log failed.
    pub fn clock(&self) -> Result<ClockView, KmsError> {
        self.current_ring()?;
        // As it is stored: what waits is still there.
        let (ring, reading) = (self.ring()?, self.reading());
        let look = clock_guard::look(ring.clock(), &reading);
        let anchor = look.record.anchor.as_ref();
        let waiting = due::waiting(&ring, look.times.claimed);
        let arn = |key| ring.namespace().key_arn(key);
        Ok(ClockView {
            times: look.times,
            reading,
            simulated_offset: look.record.simulated_offset,
            earned: anchor.map(|anchor| anchor.earned),
            jump: anchor.and_then(|anchor| anchor.jump()),
            waiting: waiting.into_iter().map(|(date, matter, key)| (date, matter, arn(key))).collect(),
        })
    }

    /// The time that a simulated clock is to show after `to`.
    ///
    /// # Errors
    /// [`ClockError`], as [`Kms::move_clock`].
    pub fn clock_after(&self, to: Move) -> Result<Timestamp, ClockError> {
        target(self.ring()?.clock(), &self.reading(), to).map(|record| record.latest)
    }

    /// When the next date of a key of this region comes, as its keyring is now.
    ///
    /// # Errors
    /// `KMSInternalException`: the store failed.
    pub fn next_due(&self) -> Result<Option<Timestamp>, KmsError> {
        Ok(self.ring()?.next_due())
    }

    /// Moves a simulated clock ahead, and does what falls due on the way in this region.
    ///
    /// # Errors
    /// [`ClockError`]; nothing is changed then.
    pub fn move_clock(&self, caller: &Caller, to: Move) -> Result<Moved, ClockError> {
        let mut refusal = None;
        let event = HomeEvent { name: to.event(), parameters: to.parameters(), read_only: false };
        let moved = self.change_clock(caller, &event, Passing::DateByDate, &mut |ring| {
            let target = target(ring.clock(), &self.reading(), to);
            target.map_err(|error| refusal = Some(error)).ok()
        })?;
        match (moved, refusal) {
            (Some(moved), _) => Ok(moved),
            (None, refusal) => Err(refusal.unwrap_or(ClockError::NotSimulated)),
        }
    }

    /// Believes what the machine's clock shows, and does what waited for that. `None` where there is nothing to believe.
    ///
    /// # Errors
    /// [`ClockError`]; nothing is changed then.
    pub fn accept_clock(&self, caller: &Caller) -> Result<Option<Moved>, ClockError> {
        let view = self.clock()?;
        if view.simulated_offset.is_some() {
            return Err(ClockError::Simulated);
        }
        let ahead = view.jump.map_or(0, |jump| jump.ahead.as_secs());
        let parameters = Map::from_iter([("seconds".to_owned(), Value::from(ahead))]);
        let event = HomeEvent { name: "AcceptClockJump", parameters, read_only: false };
        let moved = self.change_clock(caller, &event, Passing::AtOnce, &mut |ring| {
            let known = clock_guard::look(ring.clock(), &self.reading()).record;
            known.anchor.as_ref()?.jump()?;
            Some(clock_guard::accept(ring.clock(), &self.reading()).record)
        })?;
        Ok(moved)
    }

    /// One transaction: the clock becomes what `decide` says, and what falls due by that is done. `None` where it says nothing.
    fn change_clock(
        &self,
        caller: &Caller,
        event: &HomeEvent,
        passing: Passing,
        decide: &mut dyn FnMut(&Keyring) -> Option<ClockRecord>,
    ) -> Result<Option<Moved>, KmsError> {
        let mut moved = None;
        self.current_ring()?;
        let outcome = self.update(&mut |ring| {
            let Some(record) = decide(ring) else { return Ok(Vec::new()) };
            let (from, to) = (self.times(ring).trusted, record.latest);
            self.record_of_home(ring, caller, event, None)?;
            let moved = moved.insert(Moved { from, to, done: Vec::new(), unconfirmed: Vec::new() });
            let mut changes = vec![Change::SetClock(record)];
            self.let_pass(ring, passing, moved, &mut changes)?;
            Ok(changes)
        });
        if let (Err(error), Some(moved)) = (&outcome, &moved) {
            let recorded: Vec<_> = moved.done.iter().map(|done| done.event.clone()).collect();
            self.record_failed(&recorded, error)?;
            self.record_of_home(&*self.ring()?, caller, event, Some(error))?;
        }
        outcome?;
        if let Some(moved) = &mut moved {
            let taken = moved.done.iter().filter(|done| done.event.takes_away());
            let told = taken.map(|done| self.tell(done.event.key(), KeyChange::Unusable));
            moved.unconfirmed = told.filter_map(|told| Some(told.err()?.words())).collect();
        }
        Ok(moved)
    }

    /// What falls due while the clock goes from one time to the other, recorded, and the changes that do it.
    fn let_pass(
        &self,
        ring: &Keyring,
        passing: Passing,
        moved: &mut Moved,
        changes: &mut Vec<Change>,
    ) -> Result<(), KmsError> {
        let mut ring = ring.clone();
        while let Some(next) = ring.next_due().filter(|date| *date <= moved.to) {
            let now = match passing {
                Passing::DateByDate => next.max(moved.from),
                Passing::AtOnce => moved.to,
            };
            let happenings = due::happenings(&ring, now, self.sealer());
            if happenings.is_empty() {
                break;
            }
            for (date, Happening { events, changes: brought }) in happenings {
                for event in events {
                    let scene = scene_of(&ring, now);
                    self.record(&AuditEvent::of_service(&scene, &event))?;
                    moved.done.push(Done::of(&ring, date, event));
                }
                brought.iter().for_each(|change| ring.apply(change));
                changes.extend(brought);
            }
        }
        Ok(())
    }
}

/// How a clock goes from one time to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passing {
    /// As if somebody had looked all the time: a key rotates as often as its schedule says.
    DateByDate,
    /// As if nobody had: what is due is done now.
    AtOnce,
}

impl Move {
    const fn event(self) -> &'static str {
        match self {
            Self::By(_) => "AdvanceClock",
            Self::To(_) => "SetClock",
        }
    }

    fn parameters(self) -> Map<String, Value> {
        let (name, value) = match self {
            Self::By(span) => ("seconds", span.as_secs().into()),
            Self::To(time) => ("time", time.to_string().into()),
        };
        Map::from_iter([(name.to_owned(), value)])
    }
}

/// What a simulated clock is to become.
fn target(clock: &ClockRecord, reading: &Reading, to: Move) -> Result<ClockRecord, ClockError> {
    if clock.simulated_offset.is_none() {
        return Err(ClockError::NotSimulated);
    }
    let now = clock_guard::look(clock, reading).times.trusted;
    let latest = match to {
        Move::By(span) => now.saturating_add(span),
        Move::To(asked) if asked < now => return Err(ClockError::Backwards { now, asked }),
        Move::To(asked) => asked,
    };
    if latest > LAST {
        return Err(ClockError::TooFar);
    }
    // Not so much more than before: the machine's clock may have been set back, and the home's would stand still for that long.
    let simulated_offset = Some(latest.as_millis().saturating_sub(reading.clock.as_millis()));
    Ok(ClockRecord { latest, simulated_offset, anchor: None })
}
