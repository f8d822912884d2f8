//! The second reader and kmsfs agree on any file: both read the same bytes of it, or both refuse it.

use std::cell::RefCell;
use std::fs;

use kmsfs::fs::Durability;
use kmsfs::fs::file::CryptFile;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::memory::Memory;
use crate::model::{Step, step};
use crate::second::Reader;
use crate::{File, content};

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

    /// What both say of a file, who do not write it.
    fn read(&mut self, bytes: &[u8]) -> [Result<Vec<u8>, String>; 2] {
        let memory = Memory::default();
        memory.put(0, bytes);
        let first = || {
            let identity = CryptFile::identify(&memory)?;
            content(&CryptFile::open(memory.clone(), &identity, &self.this.key, false, Durability::Default)?)
        };
        let first = first().map_err(|error| error.to_string());
        let path = self.temp.path().join("file");
        fs::write(&path, bytes).unwrap();
        [first, self.second.read(&path)]
    }
}

/// Both agree, on what they both read if they do.
fn agree(bytes: &[u8], what: &str) -> Option<Vec<u8>> {
    match BOTH.with_borrow_mut(|both| both.read(bytes)) {
        [Ok(first), Ok(second)] if first == second => Some(first),
        [Err(_), Err(_)] => None,
        said => {
            let [first, second] = said.map(|read| read.map(|bytes| format!("{} bytes", bytes.len())));
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

proptest! {
    #![proptest_config(crate::cases(24))]

    #[test]
    fn both_readers_agree_on_any_file_and_on_any_flip_in_it(
        steps in proptest::collection::vec(step(), 1..10),
        stopped_after in prop_oneof![0..12u64, Just(u64::MAX)],
        flips in proptest::collection::vec(flip(), 12),
    ) {
        let (bytes, model) = file_of(&steps, stopped_after);
        let read = agree(&bytes, "the file as it was left").expect("a file that a kill left is read");
        if let Some(model) = model {
            prop_assert!(read == model, "both readers agree on other bytes than were written");
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
}
