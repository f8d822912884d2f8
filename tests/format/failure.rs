//! One change of the storage fails, and the program goes on: what is acknowledged after it is there after a kill, and after a
//! commit.

use kmsfs::fs::Durability;
use kmsfs::fs::file::CryptFile;

use crate::memory::Memory;
use crate::model::Step;
use crate::{File, content, neither};

/// What a file may hold: the step that failed is in it or not, by chunks.
struct Expected {
    versions: [Vec<u8>; 2],
    /// The sizes that a kill may leave: the failed step's, until another one is acknowledged.
    sizes: std::ops::RangeInclusive<usize>,
}

impl Expected {
    fn acknowledged(&mut self, step: &Step) {
        self.versions.iter_mut().for_each(|version| step.expect(version));
        if !matches!(step, Step::Sync | Step::Rewrap | Step::Reopen | Step::Kill) {
            let size = self.versions[0].len();
            self.sizes = size..=size;
        }
    }

    fn failed(&mut self, step: &Step, file: &CryptFile<Memory>) {
        step.expect(&mut self.versions[1]);
        let [old, new] = self.versions.each_ref().map(Vec::len);
        let size = file.size() as usize;
        self.sizes = old.min(new)..=old.max(new);
        assert!(self.sizes.contains(&size), "{step:?}: size {size}");
        self.versions.iter_mut().for_each(|version| version.resize(size, 0));
    }

    fn check(&self, file: &CryptFile<Memory>, what: &str) {
        let found = content(file).unwrap_or_else(|error| panic!("{what}: read: {error}"));
        assert!(self.sizes.contains(&found.len()), "{what}: size {}, expected {:?}", found.len(), self.sizes);
        if let Some(chunk) = neither(&found, &self.versions) {
            panic!("{what}: chunk {chunk} is neither old nor new");
        }
    }
}

/// Runs `script` once for each change that can fail, which is `done` all the same or not.
fn fail_everywhere(script: &[Step], durability: Durability, done: bool) {
    let this = File::new(1, durability);
    for fail in 0.. {
        let memory = Memory::default();
        let mut file = this.create(&memory);
        memory.fail_after(fail, done);
        let mut expected = Expected { versions: [Vec::new(), Vec::new()], sizes: 0..=0 };
        for (number, step) in script.iter().enumerate() {
            let at = format!("failure {fail} (done: {done}), step {number}, {step:?}");
            match step.apply(&file) {
                Ok(()) => expected.acknowledged(step),
                Err(_) => expected.failed(step, &file),
            }
            if matches!(step, Step::Kill | Step::Reopen) {
                drop(file);
                // The failure may come in the recovery.
                file = this.open(&memory).or_else(|_| this.open(&memory)).unwrap();
            }
            assert_eq!(file.size() as usize, expected.versions[0].len(), "{at}");
            expected.check(&file, &at);
            let killed = this.open(&memory.fork()).unwrap_or_else(|error| panic!("{at}: killed: {error}"));
            expected.check(&killed, &format!("{at}: killed"));
        }
        let at = format!("failure {fail} (done: {done})");
        let failed = !memory.is_failure_ahead();
        file.commit_clean().or_else(|_| file.commit_clean()).unwrap_or_else(|error| panic!("{at}: {error}"));
        drop(file);
        let file = this.open(&memory).unwrap_or_else(|error| panic!("{at}: committed: {error}"));
        assert!(!file.is_dirty(), "{at}");
        expected.check(&file, &at);
        let report = file.verify().unwrap();
        assert!(report.is_whole(), "{at}: {:?}", report.damage);
        if !failed {
            return;
        }
    }
}

fn everywhere(script: &[Step]) {
    for done in [false, true] {
        fail_everywhere(script, Durability::Default, done);
        fail_everywhere(script, Durability::Strict, done);
    }
}

fn write(offset: u64, len: usize, seed: u64) -> Step {
    Step::Write { offset, len, seed }
}

#[test]
fn an_append_that_fails_leaves_what_was_acknowledged_before_and_after_it() {
    everywhere(&[
        Step::Append { len: 100, seed: 1 },
        Step::Append { len: 150_000, seed: 2 },
        Step::Append { len: 300_000, seed: 3 },
        Step::Append { len: 5_000, seed: 4 },
        Step::Sync,
        Step::Append { len: 300_000, seed: 5 },
        Step::Append { len: 10, seed: 6 },
    ]);
}

#[test]
fn an_overwrite_that_fails_leaves_old_or_new_chunks() {
    everywhere(&[
        write(0, 450_000, 1),
        Step::Reopen,
        write(100, 50_000, 2),
        write(4_096, 4_096, 3),
        write(120_000, 300_000, 4),
        Step::Sync,
        write(120_000, 300_000, 5),
        write(130_000, 5_000, 6),
    ]);
}

#[test]
fn a_write_into_holes_that_fails_leaves_no_segment_without_its_mark() {
    everywhere(&[
        Step::Resize(900_000),
        write(200_000, 300_000, 1),
        write(210_000, 5_000, 2),
        write(800_000, 10, 3),
        write(810_000, 10, 4),
        write(140_000, 10, 5),
    ]);
}

#[test]
fn a_truncation_that_fails_takes_nothing_that_was_acknowledged_after_it() {
    everywhere(&[
        write(0, 700_000, 1),
        Step::Sync,
        Step::Resize(401_000),
        write(390_000, 11_000, 2),
        Step::Resize(150_001),
        Step::Append { len: 20_000, seed: 3 },
        Step::Resize(600_000),
        write(599_000, 1_000, 4),
        Step::Resize(0),
        Step::Append { len: 10, seed: 5 },
    ]);
}

#[test]
fn a_growth_that_fails_takes_nothing_that_was_acknowledged_after_it() {
    everywhere(&[
        write(0, 100, 1),
        Step::Resize(50_000),
        write(40_000, 10_000, 2),
        Step::Resize(700_000),
        write(690_000, 10_000, 3),
        write(800_000, 10, 4),
    ]);
}

#[test]
fn a_punch_that_fails_leaves_data_or_holes_that_can_be_written() {
    everywhere(&[
        write(0, 450_000, 1),
        Step::Punch { offset: 4_096, len: 40_000 },
        write(8_192, 20_000, 2),
        Step::Punch { offset: 100_000, len: 300_000 },
        write(150_000, 100_000, 3),
        Step::Zero { offset: 440_000, len: 100_000, keep_size: false },
        write(445_000, 50_000, 4),
    ]);
}

#[test]
fn a_rewrap_or_a_commit_that_fails_changes_no_content() {
    everywhere(&[
        write(0, 200_000, 1),
        Step::Rewrap,
        write(1_000, 5_000, 2),
        Step::Reopen,
        Step::Rewrap,
        write(150_000, 5_000, 3),
        Step::Kill,
        write(0, 10, 4),
    ]);
}
