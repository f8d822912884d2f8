//! Files of format 1 as they were written once, in `tests/golden/v1/`: never edited, and read for good.
//!
//! All have the CMK, backing key, volume and data key below; their file id is their number, 16 times. Byte `i` of a plaintext is
//! [`byte`]. `KMSFS_GOLDEN_DIR=DIR cargo test --test format the_writer` makes such files anew, with fresh nonces, into DIR: that is how
//! the files of a later format are made, into a directory of their own.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{env, fs};

use kmsfs::content::layout::backing_size;
use kmsfs::context::EncryptionContext;
use kmsfs::crypto::Secret;
use kmsfs::datakey::{DataKey, KeyArn, WrappedDataKey};
use kmsfs::envelope::FileId;
use kmsfs::fs::Durability;
use kmsfs::fs::file::CryptFile;
use kmsfs::kms::ciphertext::{self, Ciphertext};
use kmsfs::kms::id::{KeyId, MaterialId};

use crate::content;
use crate::memory::Memory;
use crate::second::Reader;

const KEY: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER_KEY: &str = "0987dcba-09fe-87dc-65ba-ab0987654321";
const VOLUME: &str = "6f1e2d3c-4b5a-4968-8776-554433221100";
const BACKING_KEY: [u8; 32] = [0x42; 32];
const DATA_KEY: [u8; 32] = [0x17; 32];
const MATERIAL: [u8; 32] = [0x5a; 32];

/// A golden file.
struct Golden {
    name: &'static str,
    number: u8,
    size: u64,
    /// What reads as zeros.
    holes: Range<u64>,
    /// What reads as the complement of [`byte`]: an overwrite that was stopped reached it.
    overwritten: Range<u64>,
    /// The CMK.
    key: &'static str,
    /// Sequence number, flags, kind of change of size under way, and acknowledged size in the header in force.
    sequence: u64,
    flags: u32,
    resize: u32,
    /// What the writer is to hold to: a strict one makes files clean.
    durability: Durability,
    make: fn(&Memory, &CryptFile<Memory>),
}

const fn golden(
    name: &'static str,
    number: u8,
    size: u64,
    sequence: u64,
    make: fn(&Memory, &CryptFile<Memory>),
) -> Golden {
    Golden {
        name,
        number,
        size,
        holes: 0..0,
        overwritten: 0..0,
        key: KEY,
        sequence,
        flags: 0,
        resize: 0,
        durability: Durability::Strict,
        make,
    }
}

const FILES: [Golden; 11] = [
    golden("empty", 1, 0, 1, |_, _| ()),
    golden("five-bytes", 2, 5, 3, |_, file| written(file, 5)),
    golden("three-chunks", 3, 10_000, 3, |_, file| written(file, 10_000)),
    golden("into-a-group", 4, 140_000, 3, |_, file| written(file, 140_000)),
    Golden {
        holes: 8_192..32_768,
        ..golden("punched", 5, 60_000, 4, |_, file| {
            file.write_at(0, &plaintext(0..60_000)).unwrap();
            file.punch_hole(8_192, 24_576).unwrap();
            file.commit_clean().unwrap();
        })
    },
    Golden {
        holes: 0..250_000,
        ..golden("sparse", 6, 300_000, 5, |_, file| {
            file.write_at(250_000, &plaintext(250_000..300_000)).unwrap();
            file.commit_clean().unwrap();
        })
    },
    Golden {
        overwritten: 0..4_096,
        flags: 1,
        ..golden("two-versions", 7, 10_000, 4, |memory, file| {
            written(file, 10_000);
            let new: Vec<u8> = plaintext(0..10_000).iter().map(|byte| !byte).collect();
            // Header, tags and one of three chunks.
            memory.stop_after(3);
            file.write_at(0, &new).unwrap_err();
        })
    },
    Golden {
        flags: 1,
        resize: 1,
        ..golden("killed-while-appended", 8, 9_000, 2, |_, file| {
            file.append(&plaintext(0..5_000)).unwrap();
            file.append(&plaintext(5_000..9_000)).unwrap();
        })
    },
    Golden {
        key: OTHER_KEY,
        ..golden("rewrapped", 9, 5_000, 5, |_, file| {
            written(file, 5_000);
            file.rewrap(&wrapped(OTHER_KEY, 9)).unwrap();
        })
    },
    Golden { flags: 1, resize: 1, durability: Durability::Default, ..golden("new", 10, 0, 1, |_, _| ()) },
    Golden {
        durability: Durability::Default,
        ..golden("new-and-written", 11, 5, 2, |_, file| written(file, 5))
    },
];

/// Byte `i` of a plaintext.
fn byte(i: u64) -> u8 {
    (i % 251) as u8 ^ (i / 4096) as u8
}

fn plaintext(range: Range<u64>) -> Vec<u8> {
    range.map(byte).collect()
}

fn written(file: &CryptFile<Memory>, size: u64) {
    file.write_at(0, &plaintext(0..size)).unwrap();
    file.commit_clean().unwrap();
}

impl Golden {
    fn expected(&self) -> Vec<u8> {
        let mut plain = plaintext(0..self.size);
        plain[self.holes.start as usize..self.holes.end as usize].fill(0);
        plain[self.overwritten.start as usize..self.overwritten.end as usize]
            .iter_mut()
            .for_each(|byte| *byte = !*byte);
        plain
    }

    fn made_now(&self) -> Vec<u8> {
        let memory = Memory::default();
        let (id, wrapped) = (FileId([self.number; 16]), wrapped(KEY, self.number));
        let file = CryptFile::create(memory.clone(), id, &wrapped, &data_key(), self.durability).unwrap();
        (self.make)(&memory, &file);
        drop(file);
        memory.bytes(0, memory.size() as usize)
    }

    /// All that is the same in every file that is made like this one.
    fn check_bytes(&self, bytes: &[u8], what: &str) {
        assert_eq!(bytes.len() as u64, backing_size(self.size), "{what}: size of the ciphertext");
        let slots = [&bytes[..1024], &bytes[1024..2048]];
        let number = |slot: &[u8], at: usize| u64::from_be_bytes(slot[at..at + 8].try_into().unwrap());
        let slot = *slots.iter().max_by_key(|slot| number(slot, 16)).unwrap();
        assert_eq!(slot[..12], *b"kmsfs\r\n\x1a\x00\x01\x00\x01", "{what}: magic, version, suite");
        assert_eq!(slot[12..16], self.flags.to_be_bytes(), "{what}: flags");
        assert_eq!(number(slot, 16), self.sequence, "{what}: sequence number");
        assert_eq!(slot[24..40], [self.number; 16], "{what}: file id");
        if self.flags == 0 {
            assert_eq!(number(slot, 40), self.size, "{what}: committed size");
            assert_eq!(number(slot, 48), self.size, "{what}: acknowledged size");
        }
        assert_eq!(slot[64..68], self.resize.to_be_bytes(), "{what}: change of size");
        assert_eq!(slot[68..72], 3u32.to_be_bytes(), "{what}: version of the backing key");
        assert_eq!(slot[72..104], MATERIAL, "{what}: key material id");
        let arn = key_arn(self.key);
        assert_eq!(slot[152..156], [0, arn.as_str().len() as u8, 0, 128], "{what}: lengths");
        let blob = 156 + arn.as_str().len();
        assert_eq!(slot[156..blob], *arn.as_str().as_bytes(), "{what}: ARN");
        assert_eq!(slot[blob..blob + 4], *b"kms\x01", "{what}: blob");
        assert!(slot[blob + 128..992].iter().all(|byte| *byte == 0), "{what}: reserved");
        assert_eq!(number(bytes, 2048), self.sequence, "{what}: epoch of tag sector 0");
        for sector in bytes[2048..4096].chunks(512) {
            assert!(number(sector, 0) <= self.sequence, "{what}: epochs");
            assert_eq!(sector[510..], [0, 0], "{what}: the end of a tag sector");
        }
        if self.size > 131_072 {
            assert!(
                bytes[135_168..139_264].chunks(512).all(|sector| sector[292..].iter().all(|byte| *byte == 0))
            );
        }
    }

    fn check_content(&self, bytes: &[u8], what: &str) {
        let memory = Memory::default();
        memory.put(0, bytes);
        let identity = CryptFile::identify(&memory).unwrap();
        assert_eq!(*identity.wrapped().key.as_str(), *key_arn(self.key).as_str(), "{what}");
        let blob = Ciphertext::parse(&identity.wrapped().blob).unwrap();
        let opened = blob.open(&Secret::from_slice(&BACKING_KEY).unwrap(), &context(self.number)).unwrap();
        let data_key = DataKey::from_slice(&opened).unwrap();
        for writable in [false, true] {
            let file = CryptFile::open(memory.clone(), &identity, &data_key, writable, Durability::Default)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(content(&file).unwrap() == self.expected(), "{what}: content");
        }
        let file = CryptFile::open(
            memory.clone(),
            &CryptFile::identify(&memory).unwrap(),
            &data_key,
            true,
            Durability::Default,
        );
        let report = file.unwrap().verify().unwrap();
        assert!(report.is_whole(), "{what}: {:?}", report.damage);
    }
}

fn key_arn(key: &str) -> KeyArn {
    KeyArn::new(format!("arn:aws:kms:us-east-1:000000000000:key/{key}"))
}

fn data_key() -> DataKey {
    DataKey::from_slice(&DATA_KEY).unwrap()
}

fn context(number: u8) -> EncryptionContext {
    [("kmsfs:volume", VOLUME.to_owned()), ("kmsfs:file", FileId([number; 16]).to_string())]
        .into_iter()
        .collect()
}

fn wrapped(key: &str, number: u8) -> WrappedDataKey {
    let backing_key = Secret::from_slice(&BACKING_KEY).unwrap();
    let (id, material) = (KeyId::parse(key).unwrap(), MaterialId::from_bytes(MATERIAL));
    let blob = ciphertext::seal(id, material, &backing_key, &context(number), &DATA_KEY);
    WrappedDataKey { key: key_arn(key), version: 3, material_id: MATERIAL, blob }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

#[test]
fn golden_files_of_format_1_are_read() {
    for file in FILES {
        let bytes = fs::read(directory().join(file.name)).unwrap();
        file.check_bytes(&bytes, file.name);
        file.check_content(&bytes, file.name);
    }
    assert_eq!(fs::read_dir(directory()).unwrap().count(), FILES.len(), "each golden file is read");
}

#[test]
fn golden_files_of_format_1_are_read_by_the_second_reader() {
    let backing_key: String = BACKING_KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut reader = Reader::start(&["--backing-key", &backing_key, "--volume-id", VOLUME]);
    for file in FILES {
        let read = reader.scrub(&directory().join(file.name));
        assert!(read.as_ref() == Ok(&file.expected()), "{}: {:?}", file.name, read.err());
    }
}

#[test]
fn the_writer_makes_files_of_the_same_layout() {
    for file in FILES {
        let bytes = file.made_now();
        file.check_bytes(&bytes, file.name);
        file.check_content(&bytes, file.name);
        if let Some(dir) = env::var_os("KMSFS_GOLDEN_DIR") {
            fs::write(Path::new(&dir).join(file.name), bytes).unwrap();
        }
    }
}
