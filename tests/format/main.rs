//! File format 1 on storage in memory: against a model, stopped after every write, and tampered with in every way that the design
//! lists as detected.

mod attack;
mod crash;
mod failure;
mod golden;
mod memory;
mod model;
mod new;
mod power;
mod reader;
mod repair;
#[path = "../reader/mod.rs"]
mod second;
mod tamper;

use kmsfs::datakey::{DataKey, KeyArn, WrappedDataKey};
use kmsfs::envelope::FileId;
use kmsfs::fs::Durability;
use kmsfs::fs::file::{CryptFile, FileError, Repair, repair};
use memory::Memory;
use proptest::prelude::ProptestConfig;

/// How many random cases a property is tried with; PROPTEST_CASES asks for more of them, as in `scripts/test --full`.
fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(usual).max(usual), ..ProptestConfig::default() }
}

/// The file that most tests use: a fixed identity and data key, so that two of them can be compared.
struct File {
    id: FileId,
    key: DataKey,
    wrapped: WrappedDataKey,
    durability: Durability,
}

impl File {
    fn new(byte: u8, durability: Durability) -> Self {
        let wrapped = WrappedDataKey {
            key: KeyArn::new("arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
            version: 1,
            material_id: [byte; 32],
            blob: vec![byte; 150],
        };
        Self { id: FileId([byte; 16]), key: DataKey::from_slice(&[byte; 32]).unwrap(), wrapped, durability }
    }

    fn create(&self, memory: &Memory) -> CryptFile<Memory> {
        CryptFile::create(memory.clone(), self.id, &self.wrapped, &self.key, self.durability).unwrap()
    }

    /// Storage with the head of an empty file.
    fn empty(&self) -> Memory {
        let memory = Memory::default();
        drop(self.create(&memory));
        memory
    }

    fn repair(&self, memory: &Memory) -> Result<Repair, FileError> {
        repair(memory.clone(), &CryptFile::identify(memory)?, &self.key)
    }

    fn open(&self, memory: &Memory) -> Result<CryptFile<Memory>, FileError> {
        let identity = CryptFile::identify(memory)?;
        CryptFile::open(memory.clone(), &identity, &self.key, true, self.durability)
    }
}

/// All bytes of a file, or the first error.
fn content(file: &CryptFile<Memory>) -> Result<Vec<u8>, FileError> {
    let mut bytes = vec![0; file.size() as usize];
    let read = file.read_at(0, &mut bytes)?;
    assert_eq!(read, bytes.len(), "a read ends only at the end of the file");
    Ok(bytes)
}

/// The first chunk of `found` that is not that of any of `versions`, zeros behind the end of each.
fn neither(found: &[u8], versions: &[Vec<u8>]) -> Option<usize> {
    let is = |number: usize, chunk: &[u8], version: &[u8]| {
        let at = number * 4096;
        let there = version.get(at..version.len().min(at + chunk.len())).unwrap_or(&[]);
        chunk.starts_with(there) && chunk[there.len()..].iter().all(|byte| *byte == 0)
    };
    found
        .chunks(4096)
        .enumerate()
        .position(|(number, chunk)| !versions.iter().any(|version| is(number, chunk, version)))
}

/// Bytes that are no repetition, so that a chunk in a wrong place shows.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}
