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

fn step() -> impl Strategy<Value = Step> {
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
    }
    file.commit_clean().unwrap();
    let report = file.verify().unwrap();
    assert!(report.is_whole(), "{:?}", report.damage);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

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
