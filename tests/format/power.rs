//! The power is lost: of each page written since the last sync any version may be on disk, and of the size too. What was synced is
//! there, and nothing is ever silently wrong.

use kmsfs::fs::Durability;
use kmsfs::fs::file::{CryptFile, FileError};
use proptest::prelude::*;

use crate::memory::Memory;
use crate::model::{Step, step};
use crate::{File, neither, pattern};

const CHUNK: usize = 4096;

/// Everything that the file may be after a loss of power: what it was at the last sync and at each step since; and what was punched
/// since then, whatever it read as before.
#[derive(Clone)]
struct Since(Vec<Vec<u8>>, Vec<std::ops::Range<u64>>);

impl Since {
    fn step(&mut self, step: &Step) {
        let mut next = self.0.last().expect("never empty").clone();
        step.expect(&mut next);
        self.0.push(next);
        if let Step::Punch { offset, len } | Step::Zero { offset, len, .. } = *step {
            self.1.push(offset..offset + len);
        }
    }

    /// Has a script done, as far as that goes; whether it was stopped, and whether it has synced.
    fn follow(&mut self, file: &CryptFile<Memory>, script: &[Step]) -> (bool, bool) {
        let mut synced = false;
        for step in script {
            self.step(step);
            if step.apply(file).is_err() {
                return (true, synced);
            }
            if matches!(step, Step::Sync) {
                self.synced();
                synced = true;
            }
        }
        (false, synced)
    }

    fn synced(&mut self) {
        self.0.drain(..self.0.len() - 1);
        self.1.clear();
    }

    /// Whether a chunk, or the segment that it lies in where that was a hole, was written or cut off since the sync.
    fn is_touched(&self, chunk: usize) -> bool {
        let part = |version: &[u8], range: std::ops::Range<usize>| {
            let mut part = version.get(range.start..version.len().min(range.end)).unwrap_or(&[]).to_vec();
            part.resize(range.len(), 0);
            part
        };
        let differs = |range: std::ops::Range<usize>| {
            let first = part(&self.0[0], range.clone());
            self.0.iter().any(|version| part(version, range.clone()) != first)
        };
        let segment =
            if chunk < 32 { 0..32 } else { (chunk - 32) / 64 * 64 + 32..(chunk - 32) / 64 * 64 + 96 };
        let bytes = segment.start * CHUNK..segment.end * CHUNK;
        let was_hole = part(&self.0[0], bytes.clone()).iter().all(|byte| *byte == 0);
        // A hole is one by its tags, and those are gone where the file was cut before them.
        let was_cut = self.0.iter().any(|version| version.len() <= chunk * CHUNK);
        // The last chunk is written anew when the file grows.
        let len = |version: &[u8]| version.len().clamp(chunk * CHUNK, (chunk + 1) * CHUNK);
        let has_grown = self.0.iter().any(|version| len(version) != len(&self.0[0]));
        let (start, end) = ((chunk * CHUNK) as u64, ((chunk + 1) * CHUNK) as u64);
        let was_punched = self.1.iter().any(|range| range.start < end && start < range.end);
        was_cut
            || has_grown
            || was_punched
            || differs(chunk * CHUNK..(chunk + 1) * CHUNK)
            || (was_hole && differs(bytes))
    }
}

/// What is left after a loss of power, checked; `all` chunks must be readable, or those not written since the sync.
fn check(this: &File, left: &Memory, since: &Since, all: bool, what: &str) {
    let file = this.open(left).unwrap_or_else(|error| panic!("{what}: open: {error}"));
    let sizes = since.0.iter().map(Vec::len);
    let (least, most) = (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0));
    let size = file.size() as usize;
    assert!((least..=most).contains(&size), "{what}: size {size}, expected {least} to {most}");
    let mut found = vec![0; size];
    let mut unreadable = Vec::new();
    for (number, out) in found.chunks_mut(CHUNK).enumerate() {
        match file.read_at((number * CHUNK) as u64, out) {
            Ok(_) => (),
            Err(FileError::Chunk(_) | FileError::Sector(..) | FileError::Unsettled(_)) => {
                assert!(!all && since.is_touched(number), "{what}: chunk {number} is unreadable");
                out.copy_from_slice(
                    &since.0[0]
                        .iter()
                        .chain(std::iter::repeat(&0))
                        .skip(number * CHUNK)
                        .take(out.len())
                        .copied()
                        .collect::<Vec<_>>(),
                );
                unreadable.push(number);
            }
            Err(error) => panic!("{what}: chunk {number}: {error}"),
        }
    }
    if let Some(chunk) = neither(&found, &since.0) {
        panic!("{what}: chunk {chunk} is none of its versions");
    }
}

/// Numbers below what is asked for, the same ones for the same seed.
fn choices(seed: u64) -> impl FnMut(usize) -> usize {
    let choices = pattern(seed, 4096);
    let mut at = 0;
    move |below| {
        at = (at + 1) % choices.len();
        choices[at] as usize % below
    }
}

/// Stops `script` after `stop` changes, and takes the power away in several ways; `false` where all of it was done. Before the first
/// sync of a run only strict mode promises anything, so the check begins there.
fn cut(this: &File, start: &Memory, script: &[Step], durability: Durability, stop: u64) -> bool {
    let memory = start.fork();
    memory.keep_disk();
    let file = this.open(&memory).unwrap();
    memory.stop_after(stop);
    let mut since = Since(vec![Vec::new()], Vec::new());
    let (stopped, synced) = since.follow(&file, script);
    let is_promised = synced || durability == Durability::Strict;
    for way in 0..if is_promised { 8 } else { 0 } {
        let mut any = choices(stop * 7 + way);
        let (old, new) = (|_: usize| 0, |below: usize| below - 1);
        let left = match way {
            0 => memory.lose_power(old, old),
            1 => memory.lose_power(new, new),
            2 => memory.lose_power(old, new),
            3 => memory.lose_power(new, old),
            _ => {
                let size = any(usize::MAX);
                memory.lose_power(any, |below| size % below)
            }
        };
        let what = format!("{durability:?}, stop {stop}, way {way}");
        check(this, &left, &since, durability == Durability::Strict, &what);
    }
    stopped
}

fn cut_everywhere(script: &[Step], durability: Durability) {
    let this = File::new(1, durability);
    let start = this.empty();
    (0..).take_while(|stop| cut(&this, &start, script, durability, *stop)).for_each(drop);
}

fn both(script: &[Step]) {
    cut_everywhere(script, Durability::Default);
    cut_everywhere(script, Durability::Strict);
}

fn write(offset: u64, len: usize, seed: u64) -> Step {
    Step::Write { offset, len, seed }
}

#[test]
fn what_was_synced_survives_appends_after_it() {
    both(&[
        Step::Append { len: 150_000, seed: 1 },
        Step::Sync,
        Step::Append { len: 50_000, seed: 2 },
        Step::Append { len: 700_000, seed: 3 },
        Step::Sync,
        Step::Append { len: 10, seed: 4 },
        Step::Append { len: 300_000, seed: 5 },
        Step::Reopen,
    ]);
}

#[test]
fn what_was_synced_survives_overwrites_and_writes_into_holes_after_it() {
    both(&[
        write(0, 300_000, 1),
        Step::Resize(1_000_000),
        Step::Sync,
        write(100, 9_000, 2),
        write(900_000, 5_000, 3),
        write(990_000, 5_000, 7),
        write(200_000, 50_000, 4),
        write(200_000, 50_000, 5),
        Step::Punch { offset: 150_000, len: 20_000 },
        write(160_000, 5_000, 6),
        Step::Reopen,
    ]);
}

#[test]
fn what_was_synced_survives_changes_of_size_after_it() {
    both(&[
        write(0, 700_000, 1),
        Step::Sync,
        Step::Resize(450_001),
        Step::Resize(600_000),
        Step::Append { len: 10_000, seed: 2 },
        Step::Sync,
        Step::Resize(100_000),
        Step::Append { len: 300_000, seed: 3 },
        Step::Reopen,
    ]);
}

#[test]
fn what_was_synced_survives_later_runs_that_are_not() {
    both(&[
        write(0, 300_000, 1),
        Step::Sync,
        Step::Reopen,
        Step::Append { len: 50_000, seed: 2 },
        Step::Reopen,
        Step::Resize(200_001),
        write(100, 9_000, 3),
        Step::Reopen,
        Step::Append { len: 300_000, seed: 4 },
        Step::Resize(0),
        Step::Append { len: 10, seed: 5 },
        Step::Reopen,
    ]);
}

/// The header that commits the size is not on disk yet when the fsync returns.
#[test]
fn what_was_synced_survives_holes_and_segments_made_in_it_right_after() {
    both(&[
        Step::Append { len: 150_000, seed: 1 },
        Step::Resize(1_500_000),
        Step::Append { len: 5_000, seed: 2 },
        Step::Sync,
        write(500_000, 5_000, 3),
        Step::Sync,
        Step::Append { len: 9_000, seed: 4 },
        Step::Sync,
        Step::Punch { offset: 1_450_000, len: 1_000_000 },
        write(1_000_000, 5_000, 5),
        Step::Sync,
        Step::Zero { offset: 900_000, len: 1_000_000, keep_size: true },
        Step::Append { len: 10, seed: 6 },
        Step::Resize(1_400_000),
        write(700_000, 5_000, 7),
        Step::Reopen,
    ]);
    both(&[
        Step::Append { len: 20_000, seed: 1 },
        Step::Sync,
        Step::Punch { offset: 0, len: 20_000 },
        Step::Append { len: 10, seed: 2 },
        Step::Reopen,
    ]);
    both(&[
        Step::Append { len: 200_000, seed: 1 },
        Step::Resize(1_200_000),
        Step::Sync,
        Step::Append { len: 10, seed: 2 },
        Step::Sync,
        write(600_000, 10, 3),
        Step::Append { len: 10, seed: 4 },
        Step::Reopen,
    ]);
}

#[test]
fn what_was_synced_survives_a_log_that_is_appended_to_and_closed() {
    let mut script: Vec<_> =
        (0..12).flat_map(|seed| [Step::Append { len: 1_500, seed }, Step::Sync]).collect();
    script.extend([Step::Reopen, Step::Append { len: 5_000, seed: 20 }, Step::Sync, Step::Reopen]);
    script.extend([write(0, 5_000, 21), Step::Sync, Step::Reopen, Step::Resize(1_000), Step::Sync]);
    both(&script);
}

#[test]
fn an_fsync_is_one_sync() {
    let this = File::new(1, Durability::Default);
    let memory = this.empty();
    let file = this.open(&memory).unwrap();
    for (step, syncs) in [
        (Step::Append { len: 150_000, seed: 1 }, 0),
        (Step::Sync, 1),
        (Step::Append { len: 10_000, seed: 2 }, 0),
        (Step::Sync, 1),
        (write(5_000, 9_000, 3), 0),
        (Step::Sync, 1),
        (Step::Resize(1_000_000), 0),
        (Step::Sync, 1),
        // The header that commits the size comes first.
        (write(500_000, 10, 4), 1),
        (write(501_000, 10, 4), 0),
        (Step::Sync, 1),
        (Step::Append { len: 10, seed: 5 }, 0),
        (Step::Sync, 1),
        (Step::Punch { offset: 990_000, len: 100_000 }, 1),
        (Step::Sync, 1),
        (Step::Sync, 1),
    ] {
        let before = memory.syncs();
        step.apply(&file).unwrap();
        assert_eq!(memory.syncs() - before, syncs, "{step:?}");
    }
}

/// Steps of which a third are syncs.
fn synced_step() -> impl Strategy<Value = Step> {
    prop_oneof![2 => step(), 1 => Just(Step::Sync)]
}

proptest! {
    #[test]
    fn what_was_synced_survives_whatever_comes_after_it(
        script in proptest::collection::vec(synced_step(), 2..14),
        stops in proptest::collection::vec(0..400u64, 4),
        strict: bool,
    ) {
        let durability = if strict { Durability::Strict } else { Durability::Default };
        let this = File::new(1, durability);
        let start = this.empty();
        for stop in stops {
            cut(&this, &start, &script, durability, stop);
        }
    }
}

#[test]
fn a_sync_of_a_clean_file_is_a_promise_too() {
    both(&[
        write(0, 300_000, 1),
        Step::Reopen,
        Step::Sync,
        Step::Append { len: 50_000, seed: 2 },
        Step::Resize(100_000),
        Step::Reopen,
        Step::Append { len: 10, seed: 3 },
    ]);
}

#[test]
fn what_was_synced_survives_the_commit_after_it() {
    both(&[
        write(0, 700_000, 1),
        Step::Sync,
        write(100, 9_000, 2),
        write(300_000, 200_000, 3),
        Step::Sync,
        Step::Reopen,
        write(500_000, 10_000, 4),
        Step::Sync,
        Step::Reopen,
    ]);
}

/// The last writer may close a file while somebody else syncs it.
#[test]
fn a_commit_while_a_sync_is_under_way_does_not_rely_on_it() {
    let this = File::new(1, Durability::Default);
    let memory = this.empty();
    memory.keep_disk();
    let file = this.open(&memory).unwrap();
    let (before, after) = (pattern(1, 700_000), pattern(2, 200_000));
    file.write_at(0, &before).unwrap();
    file.sync().unwrap();
    file.write_at(300_000, &after).unwrap();
    let (go, wait) = std::sync::mpsc::channel();
    *memory.pauses().before_sync.lock() = Some(wait);
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| file.sync());
        while memory.pauses().before_sync.lock().is_some() {
            std::thread::yield_now();
        }
        file.commit_clean().unwrap();
        // Page 0 is the first that the disk has of what was written since the last sync that ended.
        let mut first = true;
        let left = memory.lose_power(|below| if std::mem::take(&mut first) { below - 1 } else { 0 }, |_| 0);
        go.send(()).unwrap();
        syncing.join().unwrap().unwrap();
        let file = this.open(&left).unwrap();
        let mut found = vec![0; 700_000];
        file.read_at(0, &mut found).unwrap();
        let mut written = before.clone();
        written[300_000..500_000].copy_from_slice(&after);
        assert_eq!(neither(&found, &[before, written]), None);
    });
}

/// The header that commits the size may be on disk later than the fsync returns, but not where another has made holes, or a segment, of
/// what was synced meanwhile.
#[test]
fn what_is_changed_while_a_sync_is_under_way_does_not_spoil_it() {
    let changes: [fn(&CryptFile<Memory>); 2] = [
        |file| file.punch_hole(1_450_000, 1_000_000).unwrap(),
        |file| file.write_at(700_000, b"in the hole").unwrap(),
    ];
    for change in changes {
        let this = File::new(1, Durability::Default);
        let memory = this.empty();
        memory.keep_disk();
        let file = this.open(&memory).unwrap();
        file.append(&pattern(1, 150_000)).unwrap();
        file.set_size(1_500_000).unwrap();
        file.append(&pattern(2, 5_000)).unwrap();
        let syncs = memory.syncs();
        let held = memory.pauses().sync.lock();
        std::thread::scope(|scope| {
            let syncing = scope.spawn(|| file.sync());
            while memory.syncs() == syncs {
                std::thread::yield_now();
            }
            let changing = scope.spawn(|| change(&file));
            // Should the change wait for a sync of its own, that one waits for the end of this one.
            while !changing.is_finished() && memory.syncs() == syncs + 1 {
                std::thread::yield_now();
            }
            drop(held);
            syncing.join().unwrap().unwrap();
            changing.join().unwrap();
        });
        for page in 0..400 {
            // Of all that was not synced the disk has one page.
            let mut at = 0;
            let left = memory.lose_power(
                |below| {
                    at += 1;
                    if at == page + 1 { below - 1 } else { 0 }
                },
                |below| below - 1,
            );
            assert_eq!(this.open(&left).unwrap().size(), 1_505_000, "page {page}");
        }
    }
}

/// What nobody ever synced, but was written back long ago, and is then changed without a sync when the power goes: it may be refused as
/// a whole. A repair brings back every chunk that was not being changed.
fn repaired_everywhere(before: &[Step], script: &[Step]) {
    let this = File::new(1, Durability::Default);
    let start = this.empty();
    let file = this.open(&start).unwrap();
    let mut whole = Since(vec![Vec::new()], Vec::new());
    for step in before {
        step.apply(&file).unwrap();
        whole.step(step);
    }
    file.commit_clean().unwrap();
    drop(file);
    whole.synced();
    let (mut refused, mut mended) = (0, 0);
    for stop in 0.. {
        let memory = start.fork();
        memory.keep_disk();
        let file = this.open(&memory).unwrap();
        memory.stop_after(stop);
        let mut since = whole.clone();
        let (stopped, _) = since.follow(&file, script);
        for way in 0..10 {
            let mut any = choices(stop * 31 + way);
            let size = any(usize::MAX);
            let left = match way {
                0 => memory.lose_power(|_| 0, |below| below - 1),
                1 => memory.lose_power(|below| below - 1, |_| 0),
                _ => memory.lose_power(any, |below| size % below),
            };
            let what = format!("stop {stop}, way {way}");
            let is_refused = this.open(&left.fork()).is_err();
            let repair = this.repair(&left).unwrap_or_else(|error| panic!("{what}: {error}"));
            refused += u32::from(is_refused);
            mended += u32::from(!repair.done.is_empty());
            check(&this, &left, &since, false, &format!("{what}, repaired: {repair:?}"));
            let again = this.repair(&left).unwrap();
            assert_eq!(again.done, [], "{what}: a repair that is done has nothing to do: {repair:?}");
        }
        if !stopped {
            break;
        }
    }
    assert!(refused > 0 && mended >= refused, "{refused} refused, {mended} mended");
}

#[test]
fn a_repair_brings_back_a_file_that_was_appended_to_and_never_synced() {
    let before = [Step::Append { len: 150_000, seed: 1 }];
    repaired_everywhere(
        &before,
        &[Step::Append { len: 9_000, seed: 2 }, Step::Append { len: 500_000, seed: 3 }],
    );
    repaired_everywhere(&[Step::Append { len: 10_000, seed: 1 }], &[Step::Append { len: 300_000, seed: 2 }]);
}

#[test]
fn a_repair_brings_back_a_file_that_was_truncated_and_never_synced() {
    let before = [Step::Append { len: 700_000, seed: 1 }];
    repaired_everywhere(&before, &[Step::Resize(450_001)]);
    repaired_everywhere(
        &before,
        &[Step::Resize(100_000), Step::Append { len: 300_000, seed: 2 }, Step::Reopen],
    );
}

#[test]
fn a_repair_brings_back_a_file_that_was_overwritten_and_never_synced() {
    let before = [Step::Append { len: 400_000, seed: 1 }, Step::Resize(1_000_000)];
    repaired_everywhere(
        &before,
        &[
            write(100, 9_000, 2),
            write(900_000, 5_000, 3),
            Step::Resize(350_000),
            write(200_000, 50_000, 4),
            Step::Reopen,
        ],
    );
}
