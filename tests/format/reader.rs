//! The second reader and kmsfs agree on any file: both read the same bytes of it, or both refuse it.

use std::cell::RefCell;
use std::fs;

use kmsfs::fs::Durability;
use kmsfs::fs::file::CryptFile;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::File;
use crate::memory::Memory;
use crate::model::{Step, step};
use crate::second::Reader;

const CHUNK: usize = 4096;

/// The chunks of a file; `None` for one that is refused.
type Chunks = Vec<Option<Vec<u8>>>;

/// Both readers, and a place where the second one finds the file.
struct Both {
    this: File,
    second: Reader,
    temp: TempDir,
}

thread_local! {
    /// One for all cases of a property: an interpreter takes longer to start than to read a file.
    static BOTH: RefCell<Both> = RefCell::new(Both::new());
}

impl Both {
    fn new() -> Self {
        let second = Reader::start(&["--data-key", &"01".repeat(32)]);
        Self { this: this(), second, temp: tempfile::tempdir().unwrap() }
    }

    /// What kmsfs, which does not write it, says of a file.
    fn first(&self, bytes: &[u8]) -> Result<Chunks, String> {
        let memory = Memory::default();
        memory.put(0, bytes);
        let open = || {
            let identity = CryptFile::identify(&memory)?;
            CryptFile::open(memory.clone(), &identity, &self.this.key, false, Durability::Default)
        };
        let file = open().map_err(|error| error.to_string())?;
        let chunk = |at: u64| {
            let mut out = vec![0; (file.size() - at).min(CHUNK as u64) as usize];
            file.read_at(at, &mut out).ok().map(|_| out)
        };
        Ok((0..file.size()).step_by(CHUNK).map(chunk).collect())
    }

    /// What the second reader says.
    fn second(&mut self, bytes: &[u8]) -> Result<Chunks, String> {
        let path = self.temp.path().join("file");
        fs::write(&path, bytes).unwrap();
        let answer = self.second.ask(&path, "salvage")?;
        let refused = answer["refused chunks"].as_array().unwrap();
        let plain = fs::read(self.second.plaintext()).unwrap();
        let chunks = plain.chunks(CHUNK).enumerate();
        Ok(chunks
            .map(|(number, chunk)| (!refused.contains(&number.into())).then(|| chunk.to_vec()))
            .collect())
    }
}

/// Both say the same of a file: what each of its chunks holds, or that this chunk, or the file, is refused.
fn agree(bytes: &[u8], what: &str) -> Option<Chunks> {
    match BOTH.with_borrow_mut(|both| (both.first(bytes), both.second(bytes))) {
        (Ok(first), Ok(second)) => {
            let sizes = [&first, &second].map(|chunks| chunks.len());
            assert_eq!(sizes[0], sizes[1], "{what}: chunks by kmsfs, and by the second reader");
            let differs = (0..first.len()).find(|chunk| first[*chunk] != second[*chunk]);
            let told = |chunks: &Chunks, at: usize| chunks[at].as_ref().map(Vec::len);
            if let Some(at) = differs {
                panic!("{what}: chunk {at} has {:?} bytes, or {:?}", told(&first, at), told(&second, at));
            }
            Some(first)
        }
        (Err(_), Err(_)) => None,
        (first, second) => {
            let [first, second] = [first, second].map(|read| read.map(|chunks| chunks.len()));
            panic!("{what}: kmsfs: {first:?}, the second reader: {second:?}");
        }
    }
}

fn this() -> File {
    File::new(1, Durability::Default)
}

/// A file that steps left, killed after so many changes of the last one; and its content, where no step was stopped.
fn file_of(steps: &[Step], stopped_after: u64) -> (Vec<u8>, Option<Vec<u8>>) {
    let (this, memory) = (this(), Memory::default());
    let mut file = this.create(&memory);
    let mut model = Vec::new();
    let (last, first) = steps.split_last().unwrap();
    for step in first {
        step.apply(&file).unwrap();
        step.expect(&mut model);
        if matches!(step, Step::Reopen | Step::Kill) {
            drop(file);
            file = this.open(&memory).unwrap();
        }
    }
    memory.stop_after(stopped_after);
    let whole = last.apply(&file).is_ok();
    last.expect(&mut model);
    drop(file);
    (memory.bytes(0, memory.size() as usize), whole.then_some(model))
}

/// Where a flip is likely to matter: anywhere in a page whose number is drawn, or in the first one.
fn flip() -> impl Strategy<Value = (proptest::sample::Index, usize, u8)> {
    let within = prop_oneof![0..4096usize, 0..64usize];
    (any::<proptest::sample::Index>(), within, 0..8u8)
}

/// As [`crate::cases`], and at most 400: each case has an interpreter read a dozen files.
fn cases() -> ProptestConfig {
    let asked = crate::cases(24);
    ProptestConfig { cases: asked.cases.min(400), ..asked }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn both_readers_agree_on_any_file_and_on_any_flip_in_it(
        steps in proptest::collection::vec(step(), 1..10),
        stopped_after in prop_oneof![0..12u64, Just(u64::MAX)],
        flips in proptest::collection::vec(flip(), 12),
    ) {
        let (bytes, model) = file_of(&steps, stopped_after);
        let read = agree(&bytes, "the file as it was left").expect("a file that a kill left is read");
        if let Some(model) = model {
            let written: Chunks = model.chunks(CHUNK).map(|chunk| Some(chunk.to_vec())).collect();
            prop_assert!(read == written, "both readers agree on other bytes than were written");
        }
        for (number, (page, within, bit)) in flips.into_iter().enumerate() {
            let page = if number % 3 == 0 { 0 } else { page.index(bytes.len().div_ceil(4096)) };
            let at = (page * 4096 + within).min(bytes.len() - 1);
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            agree(&flipped, &format!("bit {bit} of byte {at} flipped, of {}", bytes.len()));
        }
    }

    #[test]
    fn both_readers_agree_on_any_file_that_is_cut_or_has_a_page_of_another_time(
        steps in proptest::collection::vec(step(), 2..10),
        cut in any::<proptest::sample::Index>(),
        pages in proptest::collection::vec(any::<proptest::sample::Index>(), 6),
    ) {
        let (bytes, _) = file_of(&steps, u64::MAX);
        let (before, _) = file_of(&steps[..steps.len() - 1], u64::MAX);
        agree(&bytes[..cut.index(bytes.len())], "a file that was cut");
        for page in pages {
            let at = page.index(bytes.len().div_ceil(4096)) * 4096;
            let end = bytes.len().min(at + 4096);
            let mut changed = bytes.clone();
            if end <= before.len() {
                changed[at..end].copy_from_slice(&before[at..end]);
            } else {
                changed[at..end].fill(0);
            }
            agree(&changed, &format!("another page at {at}, of {}", bytes.len()));
        }
    }

    #[test]
    fn both_readers_agree_on_what_a_loss_of_power_leaves(
        steps in proptest::collection::vec(step(), 1..8),
        strict: bool,
        choices in proptest::collection::vec(proptest::collection::vec(any::<usize>(), 64), 6),
    ) {
        let memory = this().empty();
        memory.keep_disk();
        let this = File::new(1, if strict { Durability::Strict } else { Durability::Default });
        let file = this.open(&memory).unwrap();
        steps.iter().for_each(|step| step.apply(&file).unwrap());
        for choices in choices {
            let (mut any, size) = (choices.iter().cycle(), choices[0]);
            let left = memory.lose_power(|below| any.next().unwrap() % below, |below| size % below);
            agree(&left.bytes(0, left.size() as usize), "after a loss of power");
        }
    }
}
