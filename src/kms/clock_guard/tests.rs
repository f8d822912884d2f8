//! What is believed, case by case: a machine whose clock is set, which sleeps, is off and is started again, and a store that is
//! written to only when a look asks for it.

use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;
/// 2026-01-01.
const START: i64 = 1_767_225_600_000;

/// What happens to a machine.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// Time passes, asleep or awake.
    Pass(i64),
    /// Somebody moves the clock.
    Set(i64),
    /// The machine is off for so long, and runs again.
    Off(i64),
    /// Somebody vouches for the clock.
    Accept,
}

use Event::{Accept, Off, Pass, Set};

/// Its name, what happens, how far the trusted and the claimed time are from the start then, and what was recorded.
type Case<'a> = (&'a str, &'a [Event], i64, i64, &'a [Finding]);

struct Machine {
    reading: Reading,
    record: ClockRecord,
    /// What was recorded.
    findings: Vec<Finding>,
    /// How often the store was written to.
    writes: usize,
}

impl Machine {
    fn new() -> Self {
        let reading = Reading { clock: Timestamp::from_millis(START), uptime: span(10 * DAY) };
        let anchor = Some(Anchor::new(&reading));
        let record = ClockRecord { latest: reading.clock, simulated_offset: None, anchor };
        Self { reading, record, findings: Vec::new(), writes: 0 }
    }

    /// The event, and a look of whoever uses the home next.
    fn then(&mut self, event: Event) -> Times {
        self.only(event);
        self.look()
    }

    /// The event, and nobody looks.
    fn only(&mut self, event: Event) {
        let clock = self.reading.clock;
        match event {
            Pass(by) => {
                self.reading = Reading { clock: moved(clock, by), uptime: self.reading.uptime + span(by) }
            }
            Set(by) => self.reading.clock = moved(clock, by),
            Off(by) => self.reading = Reading { clock: moved(clock, by), uptime: Duration::ZERO },
            Accept => self.record = accept(&self.record, &self.reading).record,
        }
    }

    fn look(&mut self) -> Times {
        let look = look(&self.record, &self.reading);
        assert_eq!(look.times.claimed, self.reading.clock.max(look.times.trusted));
        assert!(look.times.trusted >= self.record.latest);
        let anchor = look.record.anchor.as_ref().unwrap();
        assert_eq!(Anchor::from_bytes(&anchor.to_bytes()).as_ref(), Some(anchor));
        if look.is_news {
            self.record = look.record;
            self.findings.extend(look.findings);
            self.writes += 1;
        } else {
            assert!(look.findings.is_empty(), "what is found is news");
        }
        look.times
    }

    /// How far the trusted and the claimed time are from the start.
    fn after(events: &[Event]) -> (i64, i64, Vec<Finding>) {
        let mut machine = Self::new();
        let mut times = machine.look();
        for event in events {
            times = machine.then(*event);
        }
        let since = |time: Timestamp| time.as_millis() - START;
        (since(times.trusted), since(times.claimed), machine.findings)
    }
}

#[test]
fn t_2_what_is_believed_case_by_case() {
    use Finding::{Corrected, Found, Held};
    const TOLERATED: i64 = 5 * MINUTE;
    let cases: &[Case] = &[
        ("nothing happens", &[], 0, 0, &[]),
        ("time passes", &[Pass(100 * DAY)], 100 * DAY, 100 * DAY, &[]),
        ("the machine sleeps for a week", &[Pass(7 * DAY), Pass(HOUR)], 7 * DAY + HOUR, 7 * DAY + HOUR, &[]),
        ("set back by a day", &[Set(-DAY)], 0, 0, &[]),
        ("set back by a year, and an hour passes", &[Set(-YEAR), Pass(HOUR)], 54 * MINUTE, 54 * MINUTE, &[]),
        ("set back to 1970", &[Set(-START), Pass(10 * HOUR)], 9 * HOUR, 9 * HOUR, &[]),
        (
            "set back by a minute, which is caught up with",
            &[Set(-MINUTE), Pass(HOUR)],
            59 * MINUTE,
            59 * MINUTE,
            &[],
        ),
        (
            "corrected by two seconds",
            &[Set(2 * SECOND), Pass(HOUR)],
            HOUR + 2 * SECOND,
            HOUR + 2 * SECOND,
            &[],
        ),
        ("started again at once", &[Off(MINUTE), Pass(HOUR)], HOUR + MINUTE, HOUR + MINUTE, &[]),
        ("ahead by a day", &[Set(DAY)], TOLERATED, DAY, &[Found(span(DAY))]),
        (
            "ahead by a year",
            &[Set(YEAR), Pass(23 * HOUR)],
            23 * HOUR + TOLERATED,
            YEAR + 23 * HOUR,
            &[Found(span(YEAR))],
        ),
        (
            "ahead by a year for a day",
            &[Set(YEAR), Pass(24 * HOUR)],
            YEAR + DAY,
            YEAR + DAY,
            &[Found(span(YEAR)), Held(span(YEAR))],
        ),
        (
            "ahead and corrected",
            &[Set(YEAR), Pass(HOUR), Set(-YEAR)],
            HOUR + TOLERATED,
            HOUR + TOLERATED,
            &[Found(span(YEAR)), Corrected(span(YEAR))],
        ),
        (
            "ahead, corrected, and ahead again: the day begins anew",
            &[Set(YEAR), Pass(23 * HOUR), Set(-YEAR), Pass(HOUR), Set(YEAR), Pass(23 * HOUR)],
            47 * HOUR + TOLERATED,
            YEAR + 47 * HOUR,
            &[Found(span(YEAR)), Corrected(span(YEAR)), Found(span(YEAR))],
        ),
        (
            "ahead by a year, corrected to a day: that day holds from the beginning",
            &[Set(YEAR), Pass(20 * HOUR), Set(DAY - YEAR), Pass(4 * HOUR)],
            2 * DAY,
            2 * DAY,
            &[Found(span(YEAR)), Corrected(span(YEAR - DAY)), Held(span(DAY))],
        ),
        (
            "ahead and accepted",
            &[Set(YEAR), Accept, Pass(HOUR)],
            YEAR + HOUR,
            YEAR + HOUR,
            &[Found(span(YEAR))],
        ),
        (
            "accepted, and then set back: nothing is undone",
            &[Set(YEAR), Accept, Set(-YEAR), Pass(10 * HOUR)],
            YEAR + 9 * HOUR,
            YEAR + 9 * HOUR,
            &[Found(span(YEAR))],
        ),
        ("off for a month", &[Off(30 * DAY)], TOLERATED, 30 * DAY, &[Found(span(30 * DAY))]),
        (
            "off for a month, and then on for a day",
            &[Off(30 * DAY), Pass(DAY)],
            31 * DAY,
            31 * DAY,
            &[Found(span(30 * DAY)), Held(span(30 * DAY))],
        ),
        (
            "off while the clock lost its time, and then set right",
            &[Off(-START), Set(START + DAY)],
            TOLERATED,
            DAY,
            &[Found(span(DAY))],
        ),
    ];
    for (name, events, trusted, claimed, findings) in cases {
        let expected = (*trusted, *claimed, findings.to_vec());
        assert_eq!(Machine::after(events), expected, "{name}");
    }
}

#[test]
fn t_2_a_machine_that_is_off_every_night_believes_its_clock_within_a_day_of_uptime() {
    let mut machine = Machine::new();
    for day in 0..30 {
        machine.then(Off(16 * HOUR));
        let times = machine.look();
        for _ in 0..16 {
            machine.then(Pass(30 * MINUTE));
        }
        let late = times.claimed.as_millis() - times.trusted.as_millis();
        assert!(late <= 3 * 16 * HOUR, "day {day}: {} h late", late / HOUR);
        assert!(machine.record.anchor.as_ref().unwrap().steps.len() <= 4);
    }
}

#[test]
fn t_2_a_machine_that_starts_again_and_again_earns_its_uptime() {
    let mut machine = Machine::new();
    for _ in 0..2000 {
        machine.then(Off(20 * SECOND));
        for _ in 0..10 {
            machine.then(Pass(MINUTE));
        }
        assert!(machine.record.anchor.as_ref().unwrap().steps.len() <= STEPS_MAX);
    }
    let late = machine.reading.clock.as_millis() - machine.look().trusted.as_millis();
    // Of each start, at most the last half is not known when it ends, and that is believed a day of uptime later.
    assert!(late < 24 * HOUR, "{} min late", late / MINUTE);
}

#[test]
fn t_2_small_steps_do_not_add_up_to_a_large_one_that_is_believed() {
    let mut machine = Machine::new();
    // Each of them alone would be tolerated.
    for _ in 0..24 * 60 {
        machine.then(Set(4 * MINUTE));
        machine.then(Pass(MINUTE));
    }
    let trusted = machine.look().trusted.as_millis() - START;
    assert!(trusted <= 25 * HOUR, "{} h", trusted / HOUR);
    assert!(machine.findings.iter().any(|finding| matches!(finding, Finding::Found(_))));
}

#[test]
fn t_2_the_store_is_written_to_when_there_is_news_and_once_an_hour() {
    let mut machine = Machine::new();
    let minutes = |machine: &mut Machine, count: usize| {
        for _ in 0..count {
            machine.then(Pass(MINUTE));
        }
    };
    minutes(&mut machine, 59);
    assert_eq!(machine.writes, 0);
    machine.then(Pass(MINUTE));
    assert_eq!(machine.writes, 1, "the anchor is an hour old");
    machine.then(Set(DAY));
    assert_eq!(machine.writes, 2);
    minutes(&mut machine, 59);
    assert_eq!(machine.writes, 2, "a jump is recorded once");
    machine.then(Off(SECOND));
    assert_eq!(machine.writes, 3, "the machine was started anew");
    minutes(&mut machine, 300);
    assert_eq!(machine.writes, 3 + 7 + 3, "after 1, 2, 4, 8, 16, 32 and 64 minutes, and each hour");
}

#[test]
fn t_2_what_nobody_saw_is_not_explained_after_the_machine_was_off() {
    let mut machine = Machine::new();
    machine.only(Pass(3 * DAY));
    machine.only(Off(MINUTE));
    machine.only(Pass(HOUR));
    let times = machine.look();
    assert_eq!(times.trusted.as_millis() - START, HOUR + 5 * MINUTE);
    assert_eq!(times.claimed.as_millis() - START, 3 * DAY + HOUR + MINUTE);
}

#[test]
fn t_2_an_uptime_that_is_higher_explains_the_difference_whichever_start_it_is_of() {
    // A container with a boot id of its own each time, on a host that has been running for long: no more than what passed.
    let mut machine = Machine::new();
    machine.then(Pass(MINUTE));
    let times = machine.then(Set(9 * DAY));
    assert_eq!(times.trusted.as_millis() - START, 6 * MINUTE);
    // Behind, too, the whole of a foreign uptime moves nothing.
    let mut machine = Machine::new();
    machine.only(Set(-YEAR));
    machine.reading.uptime = span(9 * DAY);
    assert_eq!(machine.look().trusted.as_millis(), START);
}

#[test]
fn t_2_a_home_without_an_anchor_believes_uptime_since_its_last_change_and_waits_for_the_rest() {
    let latest = Timestamp::from_millis(START);
    let reading = Reading { clock: moved(latest, 30 * DAY), uptime: span(2 * DAY) };
    let look = look(&ClockRecord { latest, simulated_offset: None, anchor: None }, &reading);
    assert_eq!(look.times.trusted, moved(latest, 2 * DAY + 5 * MINUTE));
    assert_eq!(look.times.claimed, reading.clock);
    assert_eq!(look.findings, [Finding::Found(span(28 * DAY))]);
    assert!(look.is_news);
}

#[test]
fn t_1_a_simulated_clock_is_believed_and_does_not_go_behind_the_latest_time() {
    let latest = Timestamp::from_millis(START);
    let known = ClockRecord { latest, simulated_offset: Some(YEAR), anchor: None };
    for (clock, shown) in [(0, YEAR), (DAY, YEAR + DAY), (-2 * YEAR, 0)] {
        let reading = Reading { clock: moved(latest, clock), uptime: Duration::ZERO };
        let look = look(&known, &reading);
        let shown = moved(latest, shown);
        assert_eq!(look.times, Times { claimed: shown, trusted: shown });
        assert_eq!((look.record.latest, look.is_news), (shown, false));
    }
}

#[test]
fn a_jump_says_how_long_it_has_held_and_what_is_left() {
    let mut machine = Machine::new();
    let jump = |machine: &Machine| look(&machine.record, &machine.reading).record.anchor.unwrap().jump();
    assert_eq!(jump(&machine), None);
    machine.then(Set(4 * MINUTE));
    assert_eq!(jump(&machine), None, "tolerated");
    machine.then(Set(DAY));
    machine.then(Pass(6 * HOUR));
    let found = jump(&machine).unwrap();
    assert_eq!((found.ahead, found.held), (span(DAY + 4 * MINUTE), span(6 * HOUR)));
    assert_eq!(found.remaining, span(18 * HOUR));
    machine.then(Pass(18 * HOUR));
    assert_eq!(jump(&machine), None);
}

#[test]
fn an_anchor_that_was_not_written_here_is_refused() {
    let bytes = |integers: &[i64]| integers.iter().flat_map(|one| one.to_be_bytes()).collect::<Vec<_>>();
    for good in [vec![5, 6, 7], vec![5, 6, 7, 1, 0, 2, 7]] {
        let anchor = Anchor::from_bytes(&bytes(&good)).unwrap();
        assert_eq!(anchor.to_bytes(), bytes(&good));
    }
    let bad = [vec![], vec![5, 6], vec![5, 6, 7, 1], vec![5, -1, 7], vec![5, 6, -7], vec![5, 6, 7, 0, 1]];
    for bad in bad.into_iter().chain([vec![5, 6, 7, 1, 8], vec![5, 6, 7, 1, -1]]) {
        assert_eq!(Anchor::from_bytes(&bytes(&bad)), None, "{bad:?}");
    }
    assert_eq!(Anchor::from_bytes(&bytes(&[5, 6, 7])[1..]), None);
    let many = [vec![5, 6, 7], [1, 0].repeat(STEPS_MAX + 1)].concat();
    assert_eq!(Anchor::from_bytes(&bytes(&many)), None);
}

fn event() -> impl Strategy<Value = Event> {
    let span = prop_oneof![0..MINUTE, 0..DAY, 0..YEAR];
    prop_oneof![
        4 => span.clone().prop_map(Pass),
        2 => (-2 * YEAR..2 * YEAR).prop_map(Set),
        2 => span.prop_map(Off),
        1 => Just(Accept),
    ]
}

proptest! {
    /// The rule itself: what is trusted never goes back, and never ahead of uptime, what was tolerated, and what was ahead a day of
    /// uptime ago.
    #[test]
    fn t_2_trusted_time_never_goes_back_and_never_ahead_of_what_held(events in prop::collection::vec(event(), 0..40)) {
        let mut machine = Machine::new();
        let mut last = machine.look().trusted;
        let mut lived = 0;
        // The furthest that the clock was claimed to be, after how much uptime.
        let mut claims = vec![(0, START)];
        for event in events {
            let times = machine.then(event);
            lived += if let Pass(by) = event { by } else { 0 };
            claims.push((lived, times.claimed.as_millis()));
            let accepted = matches!(event, Accept);
            if matches!(event, Off(_)) {
                // What ran since the last anchor is not known any more.
                last = machine.record.latest;
            }
            // What was stored, and so what was done, stands (see `look`). What was not yet may be corrected: by what is tolerated, and
            // by a tenth of an anchor's age.
            prop_assert!(accepted || moved(times.trusted, 12 * MINUTE) >= last, "{event:?} takes back");
            if accepted {
                claims.push((lived - DAY, times.claimed.as_millis()));
            }
            let believable = claims.iter().filter(|(when, _)| lived - when >= DAY || *when == 0);
            let furthest = believable.map(|(when, claim)| claim + (lived - when)).max().unwrap_or(i64::MAX);
            prop_assert!(
                times.trusted.as_millis() <= furthest.max(START + lived) + 5 * MINUTE + SECOND,
                "{event:?}: {} is more than {furthest}", times.trusted
            );
            last = last.max(times.trusted);
        }
    }

    #[test]
    fn any_record_and_any_reading_are_looked_at_without_a_panic(
        earned: i64, uptime in 0..=i64::MAX, lived in 0..=i64::MAX, ahead in 1..=i64::MAX, latest: i64, clock: i64, now: u64,
    ) {
        let steps = vec![Step { ahead, since: 0 }, Step { ahead, since: lived }];
        let earned = Timestamp::from_millis(earned);
        let anchor = Some(Anchor { earned, uptime, lived, steps });
        let known = ClockRecord { latest: Timestamp::from_millis(latest), simulated_offset: None, anchor };
        let reading = Reading { clock: Timestamp::from_millis(clock), uptime: Duration::from_millis(now) };
        let look = look(&known, &reading);
        prop_assert!(look.times.trusted <= look.times.claimed);
        prop_assert!(look.times.trusted >= known.latest);
        accept(&known, &reading);
    }

    #[test]
    fn any_bytes_are_an_anchor_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(anchor) = Anchor::from_bytes(&bytes) {
            prop_assert_eq!(anchor.to_bytes(), bytes);
        }
    }
}
