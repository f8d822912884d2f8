//! Random sequences of operations, compared with a plain vector of bytes.

use kmsfs::fs::Durability;
use kmsfs::fs::file::CryptFile;
use proptest::prelude::*;

use crate::memory::Memory;
use crate::{File, content, pattern};

/// One step of a sequence.
#[derive(Debug, Clone)]
pub enum Step {
    Write {
        offset: u64,
        len: usize,
        seed: u64,
    },
    Append {
        len: usize,
        seed: u64,
    },
    Resize(u64),
    Punch {
        offset: u64,
        len: u64,
    },
    Zero {
        offset: u64,
        len: u64,
        keep_size: bool,
    },
    Sync,
    Rewrap,
    /// Committed, and opened again.
    Reopen,
    /// Not committed, as after a kill, and opened again.
    Kill,
}

impl Step {
    /// Does it to a file.
    pub fn apply(&self, file: &CryptFile<Memory>) -> Result<(), kmsfs::fs::file::FileError> {
        match *self {
            Self::Write { offset, len, seed } => file.write_at(offset, &pattern(seed, len)),
            Self::Append { len, seed } => file.append(&pattern(seed, len)).map(|_| ()),
            Self::Resize(size) => file.set_size(size),
            Self::Punch { offset, len } => file.punch_hole(offset, len),
            Self::Zero { offset, len, keep_size } => file.zero_range(offset, len, keep_size),
            Self::Sync => file.sync(),
            Self::Rewrap => file.rewrap(&File::new(1, Durability::Default).wrapped),
            Self::Reopen => file.commit_clean(),
            Self::Kill => Ok(()),
        }
    }

    /// Does it to the model.
    pub fn expect(&self, model: &mut Vec<u8>) {
        match *self {
            Self::Write { offset, len, seed } if len > 0 => {
                let (from, to) = (offset as usize, offset as usize + len);
                model.resize(model.len().max(to), 0);
                model[from..to].copy_from_slice(&pattern(seed, len));
            }
            Self::Append { len, seed } => model.extend(pattern(seed, len)),
            Self::Resize(size) => model.resize(size as usize, 0),
            Self::Punch { offset, len } => zero(model, offset, len),
            Self::Zero { offset, len, keep_size } => {
                if !keep_size {
                    model.resize(model.len().max((offset + len) as usize), 0);
                }
                zero(model, offset, len);
            }
            Self::Write { .. } | Self::Sync | Self::Rewrap | Self::Reopen | Self::Kill => (),
        }
    }
}

fn zero(model: &mut [u8], offset: u64, len: u64) {
    let end = ((offset + len) as usize).min(model.len());
    if (offset as usize) < end {
        model[offset as usize..end].fill(0);
    }
}

/// Offsets and sizes around the borders of chunks, sectors and segments.
fn place(most: u64) -> impl Strategy<Value = u64> {
    let borders = vec![0u64, 4096, 8 * 4096, 32 * 4096, 40 * 4096, 96 * 4096, 160 * 4096];
    prop_oneof![
        (proptest::sample::select(borders), -3i64..=3).prop_map(|(at, by)| at.saturating_add_signed(by)),
        0..most,
    ]
}

/// Any step.
pub fn step() -> impl Strategy<Value = Step> {
    const MOST: u64 = 200 * 4096;
    prop_oneof![
        6 => (place(MOST), 0..60_000usize, any::<u64>()).prop_map(|(offset, len, seed)| Step::Write { offset, len, seed }),
        3 => (0..9_000usize, any::<u64>()).prop_map(|(len, seed)| Step::Append { len, seed }),
        1 => (200_000..400_000usize, any::<u64>()).prop_map(|(len, seed)| Step::Append { len, seed }),
        3 => place(MOST).prop_map(Step::Resize),
        2 => (place(MOST), place(MOST)).prop_map(|(offset, len)| Step::Punch { offset, len }),
        1 => (place(MOST), place(MOST), any::<bool>()).prop_map(|(offset, len, keep_size)| Step::Zero { offset, len, keep_size }),
        1 => Just(Step::Sync),
        1 => Just(Step::Rewrap),
        2 => Just(Step::Reopen),
        2 => Just(Step::Kill),
    ]
}

/// Reads of any range, also past the end, give the model's bytes; and what is said to be a hole is zeros.
fn read_and_seek(file: &CryptFile<Memory>, model: &[u8], seed: u64) {
    let size = model.len() as u64;
    let choices = pattern(seed, 64);
    for choice in choices.as_chunks::<8>().0 {
        let choice = u64::from_le_bytes(*choice);
        let offset = choice % (size + 5_000);
        let mut out = vec![1; (choice >> 40) as usize % 70_000];
        let read = file.read_at(offset, &mut out).unwrap();
        let expected =
            model.get(offset as usize..model.len().min(offset as usize + out.len())).unwrap_or(&[]);
        assert!(out[..read] == *expected, "a read of {} bytes at {offset}", out.len());
        let (data, hole) = (file.seek_data(offset).unwrap(), file.seek_hole(offset).unwrap());
        assert_eq!(hole.is_some(), offset < size);
        let zeros = offset.min(size)..data.unwrap_or(size);
        assert!(
            model[zeros.start as usize..zeros.end as usize].iter().all(|byte| *byte == 0),
            "{zeros:?} is no hole"
        );
        assert!(
            data.is_none_or(|data| (offset..size).contains(&data))
                && hole.is_none_or(|hole| (offset..=size).contains(&hole))
        );
    }
}

fn run(steps: &[Step], durability: Durability) {
    let (this, memory) = (File::new(1, durability), Memory::default());
    let mut file = this.create(&memory);
    let mut model = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        step.apply(&file).unwrap_or_else(|error| panic!("step {number}, {step:?}: {error}"));
        step.expect(&mut model);
        if matches!(step, Step::Reopen | Step::Kill) {
            drop(file);
            file = this
                .open(&memory)
                .unwrap_or_else(|error| panic!("open after step {number}, {step:?}: {error}"));
        }
        assert_eq!(file.size(), model.len() as u64, "size after step {number}, {step:?}");
        let found =
            content(&file).unwrap_or_else(|error| panic!("read after step {number}, {step:?}: {error}"));
        assert!(found == model, "content after step {number}, {step:?}");
        read_and_seek(&file, &model, number as u64);
    }
    file.commit_clean().unwrap();
    let report = file.verify().unwrap();
    assert!(report.is_whole(), "{:?}", report.damage);
}

proptest! {
    #![proptest_config(crate::cases(48))]

    #[test]
    fn any_sequence_of_operations_leaves_what_a_plain_file_holds(
        steps in proptest::collection::vec(step(), 1..25),
        strict: bool,
    ) {
        run(&steps, if strict { Durability::Strict } else { Durability::Default });
    }
}

#[test]
fn the_second_group_is_reached_and_left() {
    const GROUP: u64 = (32 + 64 * 16_384) * 4096;
    let (this, memory) = (File::new(1, Durability::Default), Memory::default());
    let file = this.create(&memory);
    for (offset, seed) in [(GROUP - 5_000, 1), (GROUP + 70_000_000, 2), (5, 3)] {
        file.write_at(offset, &pattern(seed, 10_000)).unwrap();
    }
    drop(file);
    let file = this.open(&memory).unwrap();
    let mut out = vec![0; 10_000];
    for (offset, seed) in [(GROUP - 5_000, 1), (GROUP + 70_000_000, 2), (5, 3)] {
        assert_eq!(file.read_at(offset, &mut out).unwrap(), out.len());
        assert!(out == pattern(seed, 10_000), "at {offset}");
    }
    assert_eq!(file.seek_data(20_000).unwrap(), Some((GROUP - 5_000) / 4096 * 4096));
    assert_eq!(file.seek_hole(GROUP - 5_000).unwrap(), Some(GROUP + 2 * 4096));
    file.set_size(GROUP - 4_000).unwrap();
    file.commit_clean().unwrap();
    assert!(file.verify().unwrap().is_whole());
    drop(file);
    let file = this.open(&memory).unwrap();
    assert_eq!(file.size(), GROUP - 4_000);
    assert_eq!(file.read_at(GROUP - 5_000, &mut out).unwrap(), 1_000);
    assert!(out[..1_000] == pattern(1, 10_000)[..1_000]);
}

#[test]
fn a_sparse_terabyte_costs_its_index_pages() {
    let (this, memory) = (File::new(1, Durability::Default), Memory::default());
    let file = this.create(&memory);
    let before = memory.changes();
    file.set_size(1 << 40).unwrap();
    assert!(memory.changes() - before < 256 + 16, "{} changes", memory.changes() - before);
    let mut out = vec![1; 1 << 20];
    file.read_at(1 << 39, &mut out).unwrap();
    assert!(out.iter().all(|byte| *byte == 0));
    file.commit_clean().unwrap();
    drop(file);
    assert_eq!(this.open(&memory).unwrap().size(), 1 << 40);
}

#[test]
fn sixteen_tebibytes_are_the_most() {
    let (this, memory) = (File::new(1, Durability::Default), Memory::default());
    let file = this.create(&memory);
    assert!(file.set_size((1 << 44) + 1).is_err());
    assert!(file.write_at(1 << 44, b"x").is_err());
    assert_eq!(file.size(), 0);
    file.write_at((1 << 44) - 1, b"x").unwrap();
    assert_eq!(file.size(), 1 << 44);
}

/// Each writer has chunks of its own, all readers see each chunk wholly old or wholly new, and nothing that was acknowledged is lost.
#[test]
fn writers_and_readers_at_once_see_whole_chunks() {
    const CHUNKS: u64 = 300;
    const WRITERS: u64 = 4;
    let whole = |chunk: u64, version: u64| pattern(chunk << 32 | version, 4096);
    let (this, memory) = (File::new(1, Durability::Default), Memory::default());
    let file = this.create(&memory);
    file.set_size(CHUNKS * 4096).unwrap();
    let writes_left = std::sync::atomic::AtomicU64::new(WRITERS);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (file, left) = (&file, &writes_left);
            scope.spawn(move || {
                for version in 1..=6 {
                    for chunk in (writer..CHUNKS).step_by(WRITERS as usize) {
                        file.write_at(chunk * 4096, &whole(chunk, version)).unwrap();
                    }
                }
                left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
        for reader in 0..2 {
            let (file, left) = (&file, &writes_left);
            scope.spawn(move || {
                let mut seen = vec![0; CHUNKS as usize];
                let mut out = vec![0; 3 * 4096];
                for at in (reader..).map(|number| number * 7 % (CHUNKS - 2)) {
                    file.read_at(at * 4096, &mut out).unwrap();
                    for (chunk, found) in (at..).zip(out.chunks(4096)) {
                        let last = seen[chunk as usize];
                        let version = (last..=6).find(|version| match version {
                            0 => found.iter().all(|byte| *byte == 0),
                            version => found == whole(chunk, *version),
                        });
                        seen[chunk as usize] = version.unwrap_or_else(|| {
                            panic!("chunk {chunk} is none of its versions from {last} on")
                        });
                    }
                    if left.load(std::sync::atomic::Ordering::SeqCst) == 0 {
                        break;
                    }
                }
            });
        }
        let (file, left) = (&file, &writes_left);
        scope.spawn(move || {
            while left.load(std::sync::atomic::Ordering::SeqCst) > 0 {
                file.sync().unwrap();
                file.append(b"more").unwrap();
                file.set_size(CHUNKS * 4096).unwrap();
            }
        });
    });
    // Killed, and recovered.
    drop(file);
    let file = this.open(&memory).unwrap();
    let expected: Vec<u8> = (0..CHUNKS).flat_map(|chunk| whole(chunk, 6)).collect();
    assert!(content(&file).unwrap() == expected);
    assert!(file.verify().unwrap().is_whole());
}

/// A writer begins several segments of a hole, and others write into the first of them before its index bit is written; then all are
/// killed. A write that was acknowledged hangs on no other one's.
#[test]
fn what_one_of_many_writers_had_acknowledged_is_there_after_a_kill() {
    const FIRST: u64 = 32 * 4096;
    let this = File::new(1, Durability::Default);
    for stop in 0..200 {
        let memory = Memory::default();
        let file = this.create(&memory);
        file.set_size(4 << 20).unwrap();
        memory.stop_after(stop);
        let is_begun = |file: &CryptFile<Memory>| {
            let mut out = [0];
            file.read_at(FIRST, &mut out).map_or(true, |_| out != [0])
        };
        let begins = std::sync::atomic::AtomicBool::new(true);
        let acknowledged = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                while begins.load(std::sync::atomic::Ordering::SeqCst) && !is_begun(&file) {
                    std::thread::yield_now();
                }
                file.write_at(FIRST + 4096, &[7; 4096]).is_ok()
            });
            let _ = file.write_at(FIRST, &vec![9; 2 << 20]);
            begins.store(false, std::sync::atomic::Ordering::SeqCst);
            other.join().unwrap()
        });
        drop(file);
        let mut out = [0; 4096];
        this.open(&memory.fork()).unwrap().read_at(FIRST + 4096, &mut out).unwrap();
        assert!(!acknowledged || out != [0; 4096], "stop {stop}: an acknowledged write is a hole");
    }
}
