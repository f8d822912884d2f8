//! Random attacks on the bytes of a file with a random history: several at once, on a clean or a dirty file, beneath an open one or before
//! it is opened. A read gives an error or the right bytes, and never others.
//!
//! Two kinds are told apart, as docs/FORMAT.md does in "What is detected". What needs no sector of an earlier time must be found at once. Sectors,
//! segments and headers that are put back together with what belongs to them may be taken for the file's own until a scrub; even then a
//! chunk reads as it once was in this very place, and what a scrub of a clean file calls whole is one of its commits.

use std::collections::BTreeSet;

use kmsfs::content::layout::PAGE;
use kmsfs::envelope::FileId;
use kmsfs::fs::Durability;
use kmsfs::fs::backing::Backing;
use kmsfs::fs::file::CryptFile;
use proptest::prelude::*;

use crate::File;
use crate::memory::Memory;
use crate::model::{Step, step};

const CHUNK: usize = PAGE as usize;
const SLOT: u64 = 1024;
const SECTOR: u64 = 512;

/// What is done to the bytes on disk. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Attack {
    Flip {
        at: u64,
        mask: u8,
    },
    Zero {
        page: u64,
    },
    Swap {
        one: u64,
        other: u64,
        unit: u64,
    },
    Copy {
        from: u64,
        to: u64,
        unit: u64,
    },
    /// The same place of another file under the same data key.
    Graft {
        at: u64,
        unit: u64,
    },
    /// A header slot of an earlier time, alone.
    OldSlot {
        version: usize,
        slot: u64,
    },
    /// A chunk's page of an earlier time, alone.
    OldChunk {
        version: usize,
        page: u64,
    },
    Cut {
        size: u64,
    },
    Extend {
        by: u64,
        byte: u8,
    },
}

/// What is put back of an earlier time: from a place on, so many bytes.
#[derive(Debug, Clone)]
enum Rollback {
    Page { version: usize, page: u64 },
    Sector { version: usize, sector: u64 },
    Pages { version: usize, page: u64, pages: u64 },
    Head { version: usize },
    Size { version: usize },
}

/// A moment of a file's history: what is on disk, and what a program sees.
struct Moment {
    memory: Memory,
    plain: Vec<u8>,
    clean: bool,
}

/// Does the steps, and keeps what there was after each.
fn live(this: &File, steps: &[Step], clean: bool) -> (Memory, Option<CryptFile<Memory>>, Vec<Moment>) {
    let memory = Memory::default();
    let mut file = this.create(&memory);
    let mut plain = Vec::new();
    let mut moments = vec![Moment { memory: memory.fork(), plain: plain.clone(), clean: true }];
    for step in steps.iter().chain(clean.then_some(&Step::Reopen)) {
        step.apply(&file).unwrap();
        step.expect(&mut plain);
        let reopened = matches!(step, Step::Reopen | Step::Kill);
        if reopened {
            drop(file);
            file = this.open(&memory).unwrap();
        }
        moments.push(Moment { memory: memory.fork(), plain: plain.clone(), clean: reopened });
    }
    (memory, Some(file), moments)
}

fn attack(memory: &Memory, moments: &[Moment], other: &Memory, attack: &Attack) {
    let size = memory.size().max(1);
    let place = |at: u64, unit: u64| at % size.div_ceil(unit) * unit;
    let bytes = |from: &Memory, at: u64, unit: u64| from.bytes(at, unit as usize);
    // A change of bytes is no change of size.
    let put = |at: u64, bytes: &[u8]| {
        let len = bytes.len().min(memory.size().saturating_sub(at) as usize);
        memory.put(at, &bytes[..len]);
    };
    match *attack {
        Attack::Flip { at, mask } => put(at % size, &[memory.bytes(at % size, 1)[0] ^ mask]),
        Attack::Zero { page } => put(place(page, PAGE), &[0; CHUNK]),
        Attack::Swap { one, other, unit } => {
            let (one, other) = (place(one, unit), place(other, unit));
            let (there, here) = (bytes(memory, one, unit), bytes(memory, other, unit));
            put(one, &here);
            put(other, &there);
        }
        Attack::Copy { from, to, unit } => put(place(to, unit), &bytes(memory, place(from, unit), unit)),
        Attack::Graft { at, unit } => put(place(at, unit), &bytes(other, place(at, unit), unit)),
        Attack::OldSlot { version, slot } => {
            put(slot % 2 * SLOT, &bytes(&moments[version % moments.len()].memory, slot % 2 * SLOT, SLOT));
        }
        Attack::OldChunk { version, page } => {
            let page = place(page, PAGE);
            if !is_of_sectors(page) {
                put(page, &bytes(&moments[version % moments.len()].memory, page, PAGE));
            }
        }
        Attack::Cut { size: to } => memory.set_len(to % size).unwrap(),
        Attack::Extend { by, byte } => memory.put(memory.size(), &vec![byte; 1 + (by % 300_000) as usize]),
    }
}

/// Whether a page holds the head, an index or tags, in a file of one group.
fn is_of_sectors(at: u64) -> bool {
    let page = at / PAGE;
    page == 0 || page == 33 || page >= 34 && (page - 34).is_multiple_of(65)
}

fn roll_back(memory: &Memory, moments: &[Moment], rollback: &Rollback) {
    let of = |version: usize| &moments[version % moments.len()].memory;
    let put = |version: usize, at: u64, len: u64| {
        let end = memory.size().min(at + len);
        if at < end {
            memory.put(at, &of(version).bytes(at, (end - at) as usize));
        }
    };
    let pages = memory.size().div_ceil(PAGE).max(1);
    match *rollback {
        Rollback::Page { version, page } => put(version, page % pages * PAGE, PAGE),
        Rollback::Sector { version, sector } => {
            let of_sectors: Vec<_> =
                (0..pages).map(|page| page * PAGE).filter(|at| is_of_sectors(*at)).collect();
            let at = of_sectors[(sector / 8) as usize % of_sectors.len()] + sector % 8 * SECTOR;
            put(version, at, SECTOR);
        }
        Rollback::Pages { version, page, pages: count } => put(version, page % pages * PAGE, count * PAGE),
        Rollback::Head { version } => put(version, 0, PAGE),
        Rollback::Size { version } => memory.set_len(of(version).size()).unwrap(),
    }
}

/// A chunk of a plain file, without the zeros at its end.
fn chunk(plain: &[u8], number: usize) -> &[u8] {
    let bytes = plain.get(number * CHUNK..plain.len().min((number + 1) * CHUNK)).unwrap_or(&[]);
    trimmed(bytes)
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
}

/// Reads every chunk; each that can be read must be one of those `allowed`.
fn judge<'a>(file: &CryptFile<Memory>, allowed: impl Fn(usize) -> BTreeSet<&'a [u8]>) {
    let mut out = [0; CHUNK];
    for number in 0..(file.size() as usize).div_ceil(CHUNK).min(600) {
        let Ok(read) = file.read_at((number * CHUNK) as u64, &mut out) else { continue };
        let found = trimmed(&out[..read]);
        let versions = allowed(number);
        // A file that was cut ends within a chunk.
        let is_cut =
            |version: &&[u8]| (number * CHUNK + read) as u64 == file.size() && version.starts_with(found);
        assert!(versions.contains(found) || versions.iter().any(is_cut), "wrong bytes in chunk {number}");
    }
}

/// What a chunk may read as where nothing but its present version, or under a dirty header the one before, is on disk.
fn present(moments: &[Moment], number: usize) -> BTreeSet<&[u8]> {
    let last = moments.last().unwrap();
    let now = chunk(&last.plain, number);
    let mut allowed = BTreeSet::from([now]);
    if !last.clean {
        allowed.extend(moments.iter().rev().map(|one| chunk(&one.plain, number)).find(|one| *one != now));
    }
    allowed
}

fn ever(moments: &[Moment], number: usize) -> BTreeSet<&[u8]> {
    let mut all: BTreeSet<_> = moments.iter().map(|one| chunk(&one.plain, number)).collect();
    all.insert(&[]);
    all
}

fn open(this: &File, memory: &Memory, writable: bool) -> Option<CryptFile<Memory>> {
    let identity = CryptFile::identify(memory).ok()?;
    if identity.file_id() != this.id {
        // Page 0 of another file makes it another file.
        return None;
    }
    CryptFile::open(memory.clone(), &identity, &this.key, writable, this.durability).ok()
}

fn any_attack() -> impl Strategy<Value = Attack> {
    let unit = || proptest::sample::select(vec![SECTOR, SLOT, PAGE]);
    // The head is attacked more often than its share of the file.
    let at = || prop_oneof![3 => any::<u64>(), 1 => 0..PAGE];
    prop_oneof![
        4 => (at(), 1u8..).prop_map(|(at, mask)| Attack::Flip { at, mask }),
        2 => any::<u64>().prop_map(|page| Attack::Zero { page }),
        3 => (any::<u64>(), any::<u64>(), unit()).prop_map(|(one, other, unit)| Attack::Swap { one, other, unit }),
        3 => (any::<u64>(), any::<u64>(), unit()).prop_map(|(from, to, unit)| Attack::Copy { from, to, unit }),
        2 => (any::<u64>(), unit()).prop_map(|(at, unit)| Attack::Graft { at, unit }),
        2 => (any::<usize>(), any::<u64>()).prop_map(|(version, slot)| Attack::OldSlot { version, slot }),
        4 => (any::<usize>(), any::<u64>()).prop_map(|(version, page)| Attack::OldChunk { version, page }),
        2 => any::<u64>().prop_map(|size| Attack::Cut { size }),
        2 => (any::<u64>(), any::<u8>()).prop_map(|(by, byte)| Attack::Extend { by, byte }),
    ]
}

fn any_rollback() -> impl Strategy<Value = Rollback> {
    let version = any::<usize>;
    prop_oneof![
        4 => (version(), any::<u64>()).prop_map(|(version, page)| Rollback::Page { version, page }),
        4 => (version(), any::<u64>()).prop_map(|(version, sector)| Rollback::Sector { version, sector }),
        4 => (version(), any::<u64>(), 1..200u64)
            .prop_map(|(version, page, pages)| Rollback::Pages { version, page, pages }),
        3 => version().prop_map(|version| Rollback::Head { version }),
        2 => version().prop_map(|version| Rollback::Size { version }),
    ]
}

fn this() -> File {
    File::new(1, Durability::Default)
}

/// A file under the same data key with the same history.
fn sibling(steps: &[Step]) -> Memory {
    let mut other = this();
    other.id = FileId([9; 16]);
    live(&other, steps, false).0
}

proptest! {
    #[test]
    fn attacks_before_a_file_is_opened(
        steps in proptest::collection::vec(step(), 0..10),
        attacks in proptest::collection::vec(any_attack(), 1..4),
        clean: bool,
        writable: bool,
    ) {
        let (memory, _, moments) = live(&this(), &steps, clean);
        let other = sibling(&steps);
        let memory = memory.fork();
        attacks.iter().for_each(|one| attack(&memory, &moments, &other, one));
        let Some(file) = open(&this(), &memory, writable) else { return Ok(()) };
        let right = &moments.last().unwrap().plain;
        if clean {
            prop_assert_eq!(file.size(), right.len() as u64);
        }
        judge(&file, |number| present(&moments, number));
        let _ = file.verify();
    }

    #[test]
    fn attacks_beneath_an_open_file_that_is_written_on(
        steps in proptest::collection::vec(step(), 0..10),
        attacks in proptest::collection::vec(any_attack(), 1..4),
        after in proptest::collection::vec(step(), 0..6),
        clean: bool,
    ) {
        let (memory, file, mut moments) = live(&this(), &steps, clean);
        let mut file = file.unwrap();
        let other = sibling(&steps);
        attacks.iter().for_each(|one| attack(&memory, &moments, &other, one));
        moments.last_mut().unwrap().clean = false;
        let mut plain = moments.last().unwrap().plain.clone();
        // What failed may have been done in part, and is the last: then a chunk is as before or as after.
        let from = moments.len().saturating_sub(1);
        for step in &after {
            judge(&file, |number| &present(&moments, number) | &ever_since(&moments, from, number));
            let done = step.apply(&file);
            step.expect(&mut plain);
            moments.push(Moment { memory: memory.clone(), plain: plain.clone(), clean: false });
            if done.is_err() {
                break;
            }
            if matches!(step, Step::Reopen | Step::Kill) {
                drop(file);
                let Ok(opened) = this().open(&memory) else { return Ok(()) };
                file = opened;
                if file.size() != plain.len() as u64 {
                    // A dirty file that was cut above its floor: what is written from here on lands elsewhere.
                    break;
                }
            }
        }
        let _ = file.commit_clean();
        judge(&file, |number| &present(&moments, number) | &ever_since(&moments, from, number));
    }

    #[test]
    fn what_is_put_back_reads_as_it_was_there_and_is_found_by_a_scrub(
        steps in proptest::collection::vec(step(), 0..12),
        attacks in proptest::collection::vec(any_rollback(), 1..5),
        clean: bool,
        writable: bool,
    ) {
        let (memory, _, moments) = live(&this(), &steps, clean);
        let memory = memory.fork();
        attacks.iter().for_each(|one| roll_back(&memory, &moments, one));
        let Some(file) = open(&this(), &memory, false) else { return Ok(()) };
        judge(&file, |number| ever(&moments, number));
        let is_clean = !file.header().dirty && !file.header().unattested;
        if is_clean && file.verify().is_ok_and(|report| report.is_whole()) {
            let found = crate::content(&file);
            let found = found.as_ref().map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert!(moments.iter().any(|one| one.clean && one.plain == *found), "whole, and no commit");
        }
        if writable && let Some(file) = open(&this(), &memory, true) {
            judge(&file, |number| ever(&moments, number));
        }
    }
}

fn ever_since(moments: &[Moment], from: usize, number: usize) -> BTreeSet<&[u8]> {
    moments[from..].iter().map(|one| chunk(&one.plain, number)).collect()
}
