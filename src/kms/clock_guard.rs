//! Which time is believed (rules T-1 and T-2). Pure: what the store remembers and one look at the machine's clocks go in, two times
//! and what is to be remembered come out.
//!
//! A clock is set by people, by programs and over the network, and one bad second of it must not destroy a key. How long the machine
//! runs cannot be set. So the store keeps an [`Anchor`], and from there on time is *earned* by uptime. What the clock is ahead
//! of that is *unexplained*: somebody has set it, or the machine was off. It is listed in [`Step`]s, and believed when it has been
//! ahead for [`HOLD`] of uptime, summed over starts of the machine, or when it is accepted by hand. Until then there are two times:
//!
//! - `claimed`, what the clock says. Who uses keys is judged by it, and waiting periods are counted from it.
//! - `trusted`, what is believed. What cannot be undone waits for it: destruction.
//!
//! A clock that is behind what was earned is not followed: time goes on from there, a tenth more slowly, until the clock has caught up.
//!
//! No boot id is needed. An uptime that is lower than the anchor's is of another start, and all of it has passed since; one that is
//! higher has passed since at least by the difference, whichever start it is of. Both explain no more than what passed. (A container may
//! have a boot id of its own each time, and yet the uptime of its host: with boot ids, that would explain far too much.)

use std::time::Duration;

use crate::clock::Timestamp;

/// How much is believed without an explanation, within [`HOLD`]: clocks are corrected by seconds, and a machine is started again
/// within minutes.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// For how much uptime a clock must be ahead before that is believed.
pub const HOLD: Duration = Duration::from_secs(24 * 3600);
/// An anchor of that age is renewed by whoever looks. What a machine ran since its last anchor is not known after it was off, so
/// anchors are renewed sooner just after its start: at twice the uptime, from [`RENEWAL_FIRST`] on.
pub const RENEWAL: Duration = Duration::from_secs(3600);
/// The lowest age at which an anchor is renewed.
pub const RENEWAL_FIRST: Duration = Duration::from_secs(60);
/// Clocks are read one after the other: less is no step.
const GRAIN: i64 = 1000;
/// Steps within one of these count as one, so that there are never more than [`STEPS_MAX`].
const BUCKET: i64 = 3600 * 1000;
/// The steps of an anchor: one for each bucket that [`HOLD`] touches.
pub const STEPS_MAX: usize = 26;

/// What the store remembers of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockRecord {
    /// The latest time that was believed: nothing goes behind it.
    pub latest: Timestamp,
    /// How far a simulated clock was moved ahead, in milliseconds; `None` for a home with a real clock.
    pub simulated_offset: Option<i64>,
    /// The last observation of a real clock. `None` for a simulated one, which is believed, and for a home that an earlier
    /// version made.
    pub anchor: Option<Anchor>,
}

/// An observation of a real clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The time then, as far as uptime explains it and what was believed before.
    pub earned: Timestamp,
    /// The machine's uptime then, in milliseconds.
    pub uptime: i64,
    /// The uptime that all observations saw, over starts of the machine, in milliseconds.
    pub lived: i64,
    /// What the clock was ahead of `earned`, oldest first.
    pub steps: Vec<Step>,
}

/// What a clock went ahead without an explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// By how much, in milliseconds: more than zero.
    pub ahead: i64,
    /// [`Anchor::lived`] when it was seen first.
    pub since: i64,
}

/// What the machine's clocks show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The clock that can be set.
    pub clock: Timestamp,
    /// The clock that cannot.
    pub uptime: Duration,
}

/// The two times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// What the clock says: refuses use, begins waiting periods. Never before `trusted`.
    pub claimed: Timestamp,
    /// What is believed: destroys.
    pub trusted: Timestamp,
}

/// What a look found that is to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The clock went ahead, by so much, and uptime does not explain it.
    Found(Duration),
    /// Of what was unexplained, so much was taken back: somebody corrected the clock.
    Corrected(Duration),
    /// So much has held for [`HOLD`], and is believed now.
    Held(Duration),
}

/// What a look at the clocks says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The times.
    pub times: Times,
    /// What the store is to remember, if it is written to.
    pub record: ClockRecord,
    /// What is to be recorded.
    pub findings: Vec<Finding>,
    /// Whether the store is to be written to for this alone.
    pub is_news: bool,
}

impl Anchor {
    /// The first one of a home.
    pub fn new(reading: &Reading) -> Self {
        Self { earned: reading.clock, uptime: millis(reading.uptime), lived: 0, steps: Vec::new() }
    }

    /// What is unexplained, and more than is tolerated.
    pub fn jump(&self) -> Option<Jump> {
        let ahead = self.unexplained();
        let first = self.steps.first().filter(|_| ahead > millis(TOLERANCE))?;
        let longest = self.steps.last().unwrap_or(first);
        Some(Jump {
            ahead: span(ahead),
            held: span(self.lived.saturating_sub(first.since)),
            remaining: HOLD.saturating_sub(span(self.lived.saturating_sub(longest.since))),
        })
    }

    fn unexplained(&self) -> i64 {
        self.steps.iter().fold(0_i64, |sum, step| sum.saturating_add(step.ahead))
    }

    /// Notes that the clock went ahead by so much.
    fn step_ahead(&mut self, ahead: i64) {
        match self.steps.last_mut() {
            Some(last) if last.since / BUCKET == self.lived / BUCKET => {
                *last = Step { ahead: last.ahead.saturating_add(ahead), since: self.lived };
            }
            Some(_) | None => self.steps.push(Step { ahead, since: self.lived }),
        }
    }

    /// Takes so much back, of what is youngest first.
    fn step_back(&mut self, mut back: i64) {
        while let Some(last) = self.steps.last_mut().filter(|_| back > 0) {
            let taken = back.min(last.ahead);
            last.ahead -= taken;
            back -= taken;
            if last.ahead == 0 {
                self.steps.pop();
            }
        }
    }

    /// Believes what has held for long enough; how much that is.
    fn believe_what_held(&mut self) -> i64 {
        let lived = self.lived;
        let has_held = |step: &Step| lived.saturating_sub(step.since) >= millis(HOLD);
        let held: i64 = self
            .steps
            .iter()
            .filter(|step| has_held(step))
            .fold(0, |sum: i64, step| sum.saturating_add(step.ahead));
        self.steps.retain(|step| !has_held(step));
        self.earned = moved(self.earned, held);
        held
    }
}

/// How an anchor is stored: integers of 8 bytes, big-endian.
///
/// | integer | content |
/// |---|---|
/// | 0 | `earned`, milliseconds since 1970 |
/// | 1 | `uptime`, milliseconds |
/// | 2 | `lived`, milliseconds |
/// | 3, 4; 5, 6; ... | `ahead` and `since` of each step, milliseconds |
impl Anchor {
    /// As it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let steps = self.steps.iter().flat_map(|step| [step.ahead, step.since]);
        let integers = [self.earned.as_millis(), self.uptime, self.lived].into_iter().chain(steps);
        integers.flat_map(i64::to_be_bytes).collect()
    }

    /// From what is stored; `None` for what [`Anchor::to_bytes`] does not write.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (integers, rest) = bytes.as_chunks::<8>();
        let integers: Vec<_> = integers.iter().map(|bytes| i64::from_be_bytes(*bytes)).collect();
        let (&[earned, uptime, lived], steps) = integers.split_first_chunk::<3>()?;
        let (pairs, odd) = steps.as_chunks::<2>();
        let steps: Vec<_> = pairs.iter().map(|&[ahead, since]| Step { ahead, since }).collect();
        let are_steps = steps.iter().all(|step| step.ahead > 0 && (0..=lived).contains(&step.since));
        let fits = rest.is_empty() && odd.is_empty() && steps.len() <= STEPS_MAX;
        let earned = Timestamp::from_millis(earned);
        (fits && are_steps && uptime >= 0 && lived >= 0).then_some(Self { earned, uptime, lived, steps })
    }
}

impl Finding {
    /// Its name in the audit log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Found(_) => "ClockJumpFound",
            Self::Corrected(_) => "ClockJumpCorrected",
            Self::Held(_) => "ClockJumpHeld",
        }
    }

    /// By how much.
    pub const fn span(self) -> Duration {
        match self {
            Self::Found(span) | Self::Corrected(span) | Self::Held(span) => span,
        }
    }
}

/// A clock that is ahead of what is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// By how much.
    pub ahead: Duration,
    /// For how much uptime, the oldest part of it.
    pub held: Duration,
    /// How much uptime is to pass until all of it is believed.
    pub remaining: Duration,
}

/// Looks at the clocks.
pub fn look(known: &ClockRecord, reading: &Reading) -> Look {
    match known.simulated_offset {
        Some(offset) => simulated(known, moved(reading.clock, offset)),
        None => real(known, reading),
    }
}

/// As [`look`], and what is unexplained is believed at once, since somebody vouches for it.
pub fn accept(known: &ClockRecord, reading: &Reading) -> Look {
    let mut look = look(known, reading);
    if let Some(anchor) = &mut look.record.anchor {
        anchor.earned = anchor.earned.max(reading.clock);
        anchor.steps.clear();
        look.times = times(anchor, known.latest, reading);
        look.record.latest = look.times.trusted;
        look.is_news = true;
    }
    look
}

fn simulated(known: &ClockRecord, shown: Timestamp) -> Look {
    let now = shown.max(known.latest);
    Look {
        times: Times { claimed: now, trusted: now },
        record: ClockRecord { latest: now, ..known.clone() },
        findings: Vec::new(),
        is_news: false,
    }
}

fn real(known: &ClockRecord, reading: &Reading) -> Look {
    // A home from before anchors: the time of its last change is what is known.
    let first = || Anchor { earned: known.latest, uptime: 0, lived: 0, steps: Vec::new() };
    let before = known.anchor.clone().unwrap_or_else(first);
    let uptime = millis(reading.uptime);
    let same_start = uptime >= before.uptime;
    let passed = if same_start { uptime - before.uptime } else { uptime };
    let explained = moved(before.earned, passed);
    let earned = if reading.clock >= explained {
        explained
    } else {
        // A machine that was started anew has shown nothing that a clock that is behind would go on by.
        let slowly = if same_start { passed - passed / 10 } else { 0 };
        reading.clock.max(moved(before.earned, slowly))
    };
    let mut anchor = Anchor { earned, uptime, lived: before.lived.saturating_add(passed), ..before.clone() };
    let findings = follow(&mut anchor, reading.clock);
    let times = times(&anchor, known.latest, reading);
    let is_old = passed >= before.uptime.clamp(millis(RENEWAL_FIRST), millis(RENEWAL));
    let is_news = known.anchor.is_none() || !same_start || is_old || !findings.is_empty();
    let record = ClockRecord { latest: times.trusted, simulated_offset: None, anchor: Some(anchor) };
    Look { times, record, findings, is_news }
}

/// Brings the steps to what the clock is ahead now.
fn follow(anchor: &mut Anchor, clock: Timestamp) -> Vec<Finding> {
    let tolerated = millis(TOLERANCE);
    let ahead = clock.as_millis().saturating_sub(anchor.earned.as_millis()).max(0);
    let before = anchor.unexplained();
    let mut findings = Vec::new();
    if ahead.saturating_sub(before) >= GRAIN {
        anchor.step_ahead(ahead - before);
        if ahead > tolerated && (before <= tolerated || ahead - before > tolerated) {
            findings.push(Finding::Found(span(ahead - before)));
        }
    } else if ahead < before {
        anchor.step_back(before - ahead);
        if before > tolerated && (ahead <= tolerated || before - ahead > tolerated) {
            findings.push(Finding::Corrected(span(before - ahead)));
        }
    }
    let unexplained = anchor.unexplained();
    let held = anchor.believe_what_held();
    if unexplained > tolerated && (held > tolerated || unexplained - held <= tolerated) && held > 0 {
        findings.push(Finding::Held(span(held)));
    }
    findings
}

fn times(anchor: &Anchor, latest: Timestamp, reading: &Reading) -> Times {
    let ahead = reading.clock.as_millis().saturating_sub(anchor.earned.as_millis());
    let trusted = moved(anchor.earned, ahead.clamp(0, millis(TOLERANCE))).max(latest);
    Times { claimed: reading.clock.max(trusted), trusted }
}

fn moved(time: Timestamp, by: i64) -> Timestamp {
    Timestamp::from_millis(time.as_millis().saturating_add(by))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn span(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests;
