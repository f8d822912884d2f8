//! A sequence of operations is stopped after its Nth change of the storage, for every N. After each stop the file is recovered, and
//! every chunk is wholly old or wholly new, and everything that was acknowledged is there.

use kmsfs::fs::Durability;

use crate::memory::Memory;
use crate::model::Step;
use crate::{File, content};

const CHUNK: usize = 4096;

/// Runs `script`, stopped after each number of changes.
fn crash_everywhere(script: &[Step], durability: Durability) {
    let this = File::new(1, durability);
    let start = this.empty();
    for stop in 0.. {
        let memory = start.fork();
        let file = this.open(&memory).unwrap();
        memory.stop_after(stop);
        let mut acknowledged = Vec::new();
        let mut interrupted = None;
        for step in script {
            let before = acknowledged.clone();
            if step.apply(&file).is_err() {
                let mut after = before.clone();
                step.expect(&mut after);
                interrupted = Some((step, after));
                break;
            }
            step.expect(&mut acknowledged);
        }
        drop(file);
        let found = recovered(&this, &memory, stop);
        match interrupted {
            Some((step, after)) => check(&found, &acknowledged, &after, stop, step),
            None => {
                assert!(found == acknowledged, "stop {stop}: all steps were acknowledged");
                return;
            }
        }
    }
}

/// The content after recovery; the file is whole then, also when it is opened once more.
fn recovered(this: &File, memory: &Memory, stop: u64) -> Vec<u8> {
    let after_kill = memory.fork();
    let file = this.open(&after_kill).unwrap_or_else(|error| panic!("stop {stop}: open: {error}"));
    let found = content(&file).unwrap_or_else(|error| panic!("stop {stop}: read: {error}"));
    let report = file.verify().unwrap();
    assert!(report.is_whole(), "stop {stop}: {:?}", report.damage);
    drop(file);
    let again = this.open(&after_kill).unwrap();
    assert!(!again.is_dirty(), "stop {stop}: recovery leaves a clean file");
    assert!(content(&again).unwrap() == found, "stop {stop}: recovered twice");
    found
}

/// Every chunk is the old one or the new one; between the old and the new size any end is one, of a chunk's granularity.
fn check(found: &[u8], old: &[u8], new: &[u8], stop: u64, step: &Step) {
    let (least, most) = (old.len().min(new.len()), old.len().max(new.len()));
    assert!(
        (least..=most).contains(&found.len()),
        "stop {stop}, {step:?}: size {} is not between {least} and {most}",
        found.len()
    );
    for (number, chunk) in found.chunks(CHUNK).enumerate() {
        let at = number * CHUNK;
        let part = |whole: &[u8]| {
            let mut part = whole.get(at..whole.len().min(at + CHUNK)).unwrap_or(&[]).to_vec();
            part.resize(chunk.len(), 0);
            part
        };
        assert!(
            chunk == part(old) || chunk == part(new),
            "stop {stop}, {step:?}: chunk {number} is neither old nor new"
        );
    }
}

fn both(script: &[Step]) {
    crash_everywhere(script, Durability::Default);
    crash_everywhere(script, Durability::Strict);
}

fn write(offset: u64, len: usize, seed: u64) -> Step {
    Step::Write { offset, len, seed }
}

#[test]
fn appending() {
    both(&[
        Step::Append { len: 100, seed: 1 },
        Step::Append { len: 50, seed: 2 },
        Step::Append { len: 9_000, seed: 3 },
        Step::Append { len: 150_000, seed: 4 },
        Step::Append { len: 300_000, seed: 5 },
        Step::Append { len: 7, seed: 6 },
        Step::Reopen,
    ]);
}

#[test]
fn overwriting() {
    both(&[
        write(0, 200_000, 1),
        Step::Reopen,
        write(10, 20, 2),
        write(4_000, 40_000, 3),
        write(4_096, 4_096, 4),
        write(4_096, 4_096, 5),
        write(120_000, 60_000, 6),
        Step::Sync,
        write(0, 200_000, 7),
        Step::Reopen,
    ]);
}

#[test]
fn truncating() {
    both(&[
        write(0, 500_000, 1),
        Step::Resize(400_001),
        Step::Sync,
        Step::Resize(150_000),
        Step::Resize(100),
        Step::Append { len: 5_000, seed: 2 },
        Step::Resize(0),
        Step::Append { len: 10, seed: 3 },
        Step::Reopen,
    ]);
}

#[test]
fn growing() {
    both(&[
        write(0, 100, 1),
        Step::Resize(3_000),
        Step::Resize(50_000),
        Step::Sync,
        write(200_000, 5_000, 2),
        Step::Resize(700_000),
        write(699_990, 20, 3),
        write(60_000, 5_000, 4),
        Step::Reopen,
    ]);
}

#[test]
fn punching() {
    both(&[
        write(0, 450_000, 1),
        Step::Reopen,
        Step::Punch { offset: 4_096, len: 8_192 },
        Step::Punch { offset: 100, len: 30_000 },
        Step::Punch { offset: 120_000, len: 300_000 },
        write(130_000, 10_000, 2),
        Step::Punch { offset: 440_000, len: 100_000 },
        Step::Zero { offset: 440_000, len: 100_000, keep_size: false },
        Step::Zero { offset: 128_000, len: 20_000, keep_size: true },
        Step::Zero { offset: 530_000, len: 100_000, keep_size: true },
        Step::Reopen,
    ]);
}

#[test]
fn rewrapping() {
    both(&[
        write(0, 10_000, 1),
        Step::Rewrap,
        write(5_000, 10_000, 2),
        Step::Reopen,
        Step::Rewrap,
        Step::Rewrap,
    ]);
}

/// Stops `script` anywhere, and then its recovery anywhere: the next recovery ends where the first one would have.
fn crash_twice(script: &[Step]) {
    let this = File::new(1, Durability::Default);
    let start = this.empty();
    for stop in 0.. {
        let memory = start.fork();
        let file = this.open(&memory).unwrap();
        memory.stop_after(stop);
        let stopped = script.iter().any(|step| step.apply(&file).is_err());
        drop(file);
        let expected = recovered(&this, &memory, stop);
        for again in 0.. {
            let memory = memory.fork();
            memory.stop_after(again);
            let recovery_stopped = this.open(&memory).is_err();
            assert!(recovered(&this, &memory, stop) == expected, "stop {stop}, and again {again}");
            if !recovery_stopped {
                break;
            }
        }
        if !stopped {
            return;
        }
    }
}

#[test]
fn the_recovery_of_appends_and_overwrites_can_be_stopped_anywhere() {
    crash_twice(&[
        Step::Append { len: 5_000, seed: 1 },
        Step::Sync,
        Step::Append { len: 130_000, seed: 2 },
        write(100, 9_000, 3),
        write(126_000, 9_000, 4),
        Step::Append { len: 10, seed: 5 },
    ]);
}

#[test]
fn the_recovery_of_changes_of_size_can_be_stopped_anywhere() {
    crash_twice(&[
        write(0, 10_000, 1),
        Step::Resize(150_000),
        write(140_000, 10, 2),
        Step::Resize(12_000),
        Step::Resize(5_000),
        Step::Append { len: 10, seed: 3 },
    ]);
}

#[test]
fn the_recovery_of_punches_and_rewraps_can_be_stopped_anywhere() {
    crash_twice(&[
        write(0, 145_000, 1),
        Step::Punch { offset: 100, len: 20_000 },
        Step::Rewrap,
        Step::Zero { offset: 130_000, len: 40_000, keep_size: false },
        write(131_072, 4_096, 2),
        Step::Sync,
    ]);
}

#[test]
fn recovery_itself_can_be_stopped_anywhere() {
    let this = File::new(1, Durability::Default);
    let start = Memory::default();
    let file = this.create(&start);
    file.write_at(0, &crate::pattern(1, 300_000)).unwrap();
    file.commit_clean().unwrap();
    drop(file);
    // Stopped in the middle of a truncation: recovery has the most to do.
    let file = this.open(&start).unwrap();
    start.stop_after(2);
    assert!(file.set_size(130_000).is_err());
    drop(file);
    let expected = content(&this.open(&start.fork()).unwrap()).unwrap();
    assert_eq!(expected.len(), 130_000);
    for stop in 0.. {
        let memory = start.fork();
        memory.stop_after(stop);
        let stopped = this.open(&memory).is_err();
        let found = recovered(&this, &memory, stop);
        assert!(found == expected, "stop {stop}");
        if !stopped {
            break;
        }
    }
}

#[test]
fn a_sync_beside_a_truncation_does_not_raise_the_floor_above_it() {
    let this = File::new(1, Durability::Default);
    let memory = Memory::default();
    let file = this.create(&memory);
    file.write_at(0, &crate::pattern(1, 300_000)).unwrap();
    let until = |reached: &dyn Fn() -> bool| {
        while !reached() {
            std::thread::yield_now();
        }
    };
    let (in_sync, in_truncation) = (memory.pauses().sync.lock(), memory.pauses().set_len.lock());
    std::thread::scope(|scope| {
        // The sync has seen the old size when it is held up; the truncation has cut the file.
        scope.spawn(|| file.sync().unwrap());
        std::thread::sleep(std::time::Duration::from_millis(50));
        scope.spawn(|| file.set_size(100).unwrap());
        until(&|| memory.size() < 10_000);
        drop(in_sync);
        // If the sync writes a header now, it does it in this time.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let killed = this.open(&memory.fork());
        drop(in_truncation);
        assert_eq!(killed.unwrap().size(), 100);
    });
}
