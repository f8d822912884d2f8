//! Looking at damaged files part by part, and repairing them: what authenticates is given out and kept, what does not is named and never
//! made up.

use std::ops::Range;

use kmsfs::content::layout::{ChunkIndex, GroupIndex, SegmentIndex, backing_size};
use kmsfs::fs::Durability;
use kmsfs::fs::file::{CryptFile, Done, Examination, FileError, Part};

use proptest::prelude::*;

use crate::memory::Memory;
use crate::{File, cases, content, pattern};

const CHUNK: u64 = 4096;
const LEN: usize = 900_000;

/// What an examination gives out: the content with zeros for what is lost, the ranges that are, and each finding as text.
#[derive(Debug, PartialEq)]
struct Seen {
    content: Vec<u8>,
    lost: Vec<Range<u64>>,
    findings: Vec<String>,
}

fn examine(this: &File, memory: &Memory) -> Seen {
    let identity = CryptFile::identify(memory).unwrap();
    let mut examination = Examination::open(memory.clone(), &identity, &this.key, false).unwrap();
    let mut seen = Seen { content: Vec::new(), lost: Vec::new(), findings: Vec::new() };
    seen.findings.extend(examination.refusal().map(|finding| finding.to_string()));
    examination
        .parts(|part| {
            let at = seen.content.len() as u64;
            match part {
                Part::Data(offset, bytes) => {
                    assert_eq!(offset, at, "parts follow each other");
                    seen.content.extend_from_slice(bytes);
                }
                Part::Hole(range) => {
                    assert_eq!(range.start, at);
                    seen.content.resize(range.end as usize, 0);
                }
                Part::Wrong(finding) => {
                    seen.findings.push(finding.to_string());
                    if !finding.readable {
                        assert_eq!(finding.bytes.start, at);
                        seen.content.resize(finding.bytes.end as usize, 0);
                        match seen.lost.last_mut() {
                            Some(last) if last.end == at => last.end = finding.bytes.end,
                            _ => seen.lost.push(finding.bytes),
                        }
                    }
                }
            }
            Ok::<_, FileError>(())
        })
        .unwrap();
    assert_eq!(seen.content.len() as u64, examination.size());
    assert!(!examination.is_changing().unwrap());
    seen
}

/// A clean file of several segments, its content, and the same with holes.
fn sample(this: &File) -> (Memory, Vec<u8>) {
    let memory = this.empty();
    let file = this.open(&memory).unwrap();
    let mut expected = pattern(5, LEN);
    file.write_at(0, &expected).unwrap();
    file.punch_hole(40_960, 20_480).unwrap();
    expected[40_960..61_440].fill(0);
    file.commit_clean().unwrap();
    (memory, expected)
}

fn flip(memory: &Memory, at: u64) {
    let byte = memory.bytes(at, 1)[0];
    memory.put(at, &[byte ^ 1]);
}

/// Reads a repaired file: `lost` is refused, everything else is as it was.
fn check_repaired(this: &File, memory: &Memory, expected: &[u8], lost: &[Range<u64>], what: &str) {
    let file = this.open(memory).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(!file.is_dirty(), "{what}: it is clean");
    assert_eq!(file.size() as usize, expected.len(), "{what}");
    for start in (0..expected.len() as u64).step_by(CHUNK as usize) {
        let is_lost = lost.iter().any(|range| range.contains(&start));
        let mut out = vec![0; (expected.len() - start as usize).min(CHUNK as usize)];
        match file.read_at(start, &mut out) {
            Ok(_) if !is_lost => {
                assert!(out == expected[start as usize..][..out.len()], "{what}: byte {start}")
            }
            Err(FileError::Chunk(chunk)) if is_lost => assert_eq!(chunk, start / CHUNK, "{what}"),
            outcome => panic!("{what}: byte {start} (lost: {is_lost}): {outcome:?}"),
        }
    }
}

/// A kind of damage, how it comes about, and the bytes that are lost by it.
type Damage = (&'static str, Box<dyn Fn(&Memory)>, Vec<Range<u64>>);

fn damages() -> Vec<Damage> {
    let chunk = |number: u64| number * CHUNK..(number + 1) * CHUNK;
    let sector = |first: u64| first * CHUNK..(first + 8) * CHUNK;
    let tags = SegmentIndex(2).tags_offset();
    let segment = SegmentIndex(2).start()..SegmentIndex(2).end();
    let index = GroupIndex(0).index_offset();
    vec![
        ("nothing", Box::new(|_: &Memory| ()), vec![]),
        ("a chunk", Box::new(|memory: &Memory| flip(memory, ChunkIndex(3).backing_offset())), vec![chunk(3)]),
        (
            "two chunks apart",
            Box::new(|memory: &Memory| {
                flip(memory, ChunkIndex(100).backing_offset());
                flip(memory, ChunkIndex(219).backing_offset());
            }),
            vec![chunk(100), 219 * CHUNK..LEN as u64],
        ),
        (
            "a tag sector of segment 0",
            Box::new(|memory: &Memory| flip(memory, 2048 + 512 + 40)),
            vec![sector(8)],
        ),
        ("tag sector 0", Box::new(|memory: &Memory| flip(memory, 2048 + 40)), vec![sector(0)]),
        (
            "a tag sector of segment 2",
            Box::new(move |memory: &Memory| flip(memory, tags + 3 * 512)),
            vec![sector(96 + 24)],
        ),
        ("a tag page", Box::new(move |memory: &Memory| memory.put(tags, &[0; 4096])), vec![segment.clone()]),
        ("an index sector", Box::new(move |memory: &Memory| flip(memory, index + 100)), vec![]),
        (
            "an index sector and a tag page",
            Box::new(move |memory: &Memory| {
                flip(memory, index + 100);
                memory.put(tags, &[0; 4096]);
            }),
            vec![segment.clone()],
        ),
        (
            "an index sector that speaks of nothing",
            Box::new(move |memory: &Memory| flip(memory, index + 5 * 512)),
            vec![],
        ),
    ]
}

#[test]
fn each_part_that_authenticates_is_given_out_and_each_that_does_not_is_named() {
    let this = File::new(1, Durability::Default);
    let (start, whole) = sample(&this);
    for (what, damage, lost) in damages() {
        let memory = start.fork();
        damage(&memory);
        let mut expected = whole.clone();
        lost.iter().for_each(|range| expected[range.start as usize..range.end as usize].fill(0));
        let seen = examine(&this, &memory);
        assert!(seen.content == expected, "{what}");
        assert_eq!(seen.lost, lost, "{what}: {:?}", seen.findings);
        assert_eq!(seen.findings.is_empty(), what == "nothing", "{what}: {:?}", seen.findings);
    }
}

#[test]
fn a_repair_keeps_all_that_authenticates_and_refuses_the_rest() {
    let this = File::new(1, Durability::Default);
    let (start, whole) = sample(&this);
    for (what, damage, lost) in damages() {
        let memory = start.fork();
        damage(&memory);
        let repair = this.repair(&memory).unwrap();
        check_repaired(&this, &memory, &whole, &lost, what);
        assert_eq!(repair.left.is_empty(), lost.is_empty(), "{what}: {repair:?}");
        assert_eq!(this.repair(&memory).unwrap().done, [], "{what}: nothing is left to do");
        // Writing what is lost anew heals it.
        let file = this.open(&memory).unwrap();
        for range in &lost {
            file.write_at(range.start, &whole[range.start as usize..range.end as usize]).unwrap();
        }
        file.commit_clean().unwrap();
        assert!(content(&file).unwrap() == whole, "{what}");
        assert!(file.verify().unwrap().is_whole(), "{what}");
    }
}

#[test]
fn a_repair_can_be_stopped_anywhere_and_begun_again() {
    let this = File::new(1, Durability::Default);
    let (start, whole) = sample(&this);
    for (what, damage, lost) in damages() {
        for stop in 0.. {
            let memory = start.fork();
            damage(&memory);
            memory.stop_after(stop);
            let stopped = this.repair(&memory).is_err();
            let memory = memory.fork();
            // A mount in between makes nothing worse.
            drop(this.open(&memory));
            this.repair(&memory).unwrap_or_else(|error| panic!("{what}, stop {stop}: {error}"));
            check_repaired(&this, &memory, &whole, &lost, &format!("{what}, stop {stop}"));
            if !stopped {
                break;
            }
        }
    }
}

#[test]
fn where_the_newest_header_slot_is_lost_the_file_is_read_by_its_sectors_and_made_whole() {
    let this = File::new(1, Durability::Default);
    for durability in [Durability::Default, Durability::Strict] {
        let this = File { durability, ..File::new(1, durability) };
        let (start, whole) = sample(&this);
        let newest = {
            let sequence =
                |slot: u64| u64::from_be_bytes(start.bytes(slot * 1024 + 16, 8).try_into().unwrap());
            u64::from(sequence(1) > sequence(0))
        };
        for at in [0, 16, 40, 200, 1000] {
            let memory = start.fork();
            flip(&memory, newest * 1024 + at);
            assert!(this.open(&memory).is_err(), "byte {at}: a mount refuses it");
            let seen = examine(&this, &memory);
            assert!(seen.content == whole && seen.lost.is_empty(), "byte {at}: {:?}", seen.findings);
            assert!(seen.findings.iter().any(|finding| finding.contains("a newer header is missing")));
            let repair = this.repair(&memory).unwrap();
            assert!(repair.done.contains(&Done::HeaderMade) && repair.left.is_empty(), "{repair:?}");
            check_repaired(&this, &memory, &whole, &[], "the newest header lost");
        }
    }
    // The other slot is nobody's loss.
    let (memory, whole) = sample(&this);
    let sequence = |slot: u64| u64::from_be_bytes(memory.bytes(slot * 1024 + 16, 8).try_into().unwrap());
    flip(&memory, u64::from(sequence(1) < sequence(0)) * 1024 + 40);
    let seen = examine(&this, &memory);
    assert!(seen.content == whole && seen.findings.is_empty(), "{:?}", seen.findings);
}

#[test]
fn a_file_that_was_cut_keeps_what_is_there_and_says_what_is_not() {
    let this = File::new(1, Durability::Default);
    let (start, whole) = sample(&this);
    for size in [0, 1, 4096, 5000, 131_072, 140_000, 393_216, 899_999] {
        let memory = start.fork();
        kmsfs::fs::backing::Backing::set_len(&memory, backing_size(size)).unwrap();
        // The chunk that the cut goes through is not whole any more.
        let torn = if size.is_multiple_of(CHUNK) { size..size } else { size / CHUNK * CHUNK..size };
        let lost = if torn.is_empty() { vec![] } else { vec![torn.clone()] };
        let seen = examine(&this, &memory);
        assert_eq!(seen.lost, lost, "{size}: {:?}", seen.findings);
        assert!(seen.content[..torn.start as usize] == whole[..torn.start as usize]);
        let repair = this.repair(&memory).unwrap();
        assert!(repair.done.contains(&Done::CutOff(size..LEN as u64)), "{size}: {repair:?}");
        check_repaired(&this, &memory, &whole[..size as usize], &lost, &format!("cut to {size}"));
    }
}

#[test]
fn bytes_behind_the_end_that_are_no_content_are_removed() {
    let this = File::new(1, Durability::Default);
    let (start, whole) = sample(&this);
    for appended in [1, 4096, 300_000] {
        let memory = start.fork();
        memory.put(memory.size(), &pattern(9, appended));
        assert!(this.open(&memory).is_err());
        let seen = examine(&this, &memory);
        assert!(seen.content == whole && seen.lost.is_empty(), "{:?}", seen.findings);
        let repair = this.repair(&memory).unwrap();
        assert_eq!(repair.done, [Done::Trimmed(appended as u64), Done::Attested], "{repair:?}");
        check_repaired(&this, &memory, &whole, &[], "appended bytes");
    }
}

#[test]
fn what_reads_as_zeros_behind_the_end_that_the_header_knew_is_told() {
    let this = File::new(1, Durability::Default);
    let memory = this.empty();
    let file = this.open(&memory).unwrap();
    let start = pattern(1, 98_304);
    file.append(&start).unwrap();
    file.commit_clean().unwrap();
    let page = memory.bytes(0, 4096);
    file.write_at(600_000, &pattern(2, 10_000)).unwrap();
    drop(file);
    // The header that speaks of it did not reach the disk.
    memory.put(0, &page);
    assert!(matches!(this.open(&memory), Err(FileError::Length { .. })));
    let repair = this.repair(&memory).unwrap();
    assert!(repair.done.contains(&Done::Resized { from: 98_304, to: 610_000 }), "{repair:?}");
    assert!(repair.done.contains(&Done::Unstored(98_304..598_016)), "{repair:?}");
    let mut expected = start;
    expected.resize(600_000, 0);
    expected.extend_from_slice(&pattern(2, 10_000));
    check_repaired(&this, &memory, &expected, &[], "a growth whose header is lost");
}

#[test]
fn an_older_segment_is_found_and_not_mended() {
    let this = File::new(1, Durability::Default);
    let (memory, _) = sample(&this);
    let (tags, len) = (SegmentIndex(1).tags_offset(), 65 * 4096);
    let old = memory.bytes(tags, len);
    let file = this.open(&memory).unwrap();
    file.write_at(SegmentIndex(1).start(), &pattern(8, 10_000)).unwrap();
    file.commit_clean().unwrap();
    drop(file);
    memory.put(tags, &old);
    let before = memory.bytes(0, memory.size() as usize);
    let repair = this.repair(&memory).unwrap();
    assert!(
        matches!(repair.left.as_slice(), [finding] if matches!(finding.error, FileError::Root)),
        "{repair:?}"
    );
    assert_eq!(repair.done, []);
    assert!(
        memory.bytes(0, memory.size() as usize) == before,
        "what is old cannot be known: nothing is changed"
    );
}

#[test]
fn a_killed_file_is_recovered_and_its_root_is_confirmed() {
    let this = File::new(1, Durability::Default);
    let (memory, mut whole) = sample(&this);
    let file = this.open(&memory).unwrap();
    file.write_at(100_000, &pattern(6, 60_000)).unwrap();
    whole[100_000..160_000].copy_from_slice(&pattern(6, 60_000));
    drop(file);
    let seen = examine(&this, &memory);
    assert!(
        seen.content == whole && seen.findings.is_empty(),
        "it is read as it stands: {:?}",
        seen.findings
    );
    let repair = this.repair(&memory).unwrap();
    assert_eq!(repair.done, [Done::Recovered, Done::Attested]);
    let file = this.open(&memory).unwrap();
    assert!(!file.header().unattested && !file.header().dirty);
    assert!(content(&file).unwrap() == whole);
}

#[test]
fn a_writer_beside_an_examination_is_noticed() {
    let this = File::new(1, Durability::Default);
    let (memory, _) = sample(&this);
    let identity = CryptFile::identify(&memory).unwrap();
    let examination = Examination::open(memory.clone(), &identity, &this.key, true).unwrap();
    assert!(!examination.is_changing().unwrap());
    let file = this.open(&memory).unwrap();
    file.write_at(100_000, &pattern(6, 60_000)).unwrap();
    assert!(examination.is_changing().unwrap());
}

/// What somebody without the key, or a bad disk, does.
#[derive(Debug, Clone)]
enum Harm {
    Flip(u64),
    Zero(u64),
    Swap(u64, u64),
    Cut(u64),
    Append(usize),
}

impl Harm {
    fn happen(&self, memory: &Memory) {
        let page = |number: u64| number % memory.size().div_ceil(4096) * 4096;
        match *self {
            Self::Flip(at) => flip(memory, at % memory.size()),
            Self::Zero(number) => memory.put(page(number), &[0; 4096]),
            Self::Swap(one, other) => {
                let (first, second) = (memory.bytes(page(one), 4096), memory.bytes(page(other), 4096));
                memory.put(page(one), &second);
                memory.put(page(other), &first);
            }
            Self::Cut(len) => {
                kmsfs::fs::backing::Backing::set_len(memory, (len % memory.size()).max(4096)).unwrap();
            }
            Self::Append(len) => memory.put(memory.size(), &pattern(4, len)),
        }
    }
}

fn harm() -> impl Strategy<Value = Harm> {
    // The pages before and behind the start of the first group matter most.
    let at = prop_oneof![0..4096_u64, 33 * 4096..35 * 4096_u64, any::<u64>()];
    let page = prop_oneof![Just(0_u64), 33..35_u64, Just(99_u64), any::<u64>()];
    prop_oneof![
        at.prop_map(Harm::Flip),
        page.clone().prop_map(Harm::Zero),
        (page.clone(), page).prop_map(|(one, other)| Harm::Swap(one, other)),
        any::<u64>().prop_map(Harm::Cut),
        (1..100_000_usize).prop_map(Harm::Append),
    ]
}

proptest! {
    #![proptest_config(cases(200))]
    #[test]
    fn whatever_happens_to_a_file_nothing_of_it_is_made_up(harms in prop::collection::vec(harm(), 1..5)) {
        let this = File::new(1, Durability::Default);
        let (memory, whole) = sample(&this);
        harms.iter().for_each(|harm| harm.happen(&memory));
        let as_written = |start: u64, found: &[u8]| {
            let there = &whole[whole.len().min(start as usize)..whole.len().min(start as usize + found.len())];
            found.starts_with(there) && found[there.len()..].iter().all(|byte| *byte == 0)
        };
        let repaired = match this.repair(&memory) {
            Ok(repair) => repair,
            // Both header slots are gone: there is nothing that could be trusted.
            Err(FileError::Header(_) | FileError::Empty) => return Ok(()),
            Err(error) => panic!("{error}"),
        };
        let seen = examine(&this, &memory);
        for (number, chunk) in seen.content.chunks(CHUNK as usize).enumerate() {
            let start = number as u64 * CHUNK;
            let is_lost = seen.lost.iter().any(|range| range.contains(&start));
            prop_assert!(is_lost || as_written(start, chunk), "chunk {number}: {repaired:?}");
        }
        prop_assert_eq!(this.repair(&memory).unwrap().done, []);
        // Where it cannot be opened still, it is for its content root alone.
        match this.open(&memory) {
            Ok(file) => {
                for (number, chunk) in seen.content.chunks(CHUNK as usize).enumerate() {
                    let mut out = vec![0; chunk.len()];
                    match file.read_at(number as u64 * CHUNK, &mut out) {
                        Ok(_) => prop_assert!(as_written(number as u64 * CHUNK, &out), "chunk {}", number),
                        Err(FileError::Chunk(_)) => (),
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Err(FileError::Root) => (),
            Err(error) => panic!("{error}"),
        }
    }
}
