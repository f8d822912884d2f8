//! A whole file whose header, tags, index and chunks all authenticate, and say whatever the input wants.

use std::io;
use std::sync::{Arc, Mutex};

use kmsfs::content::keys::FileKeys;
use kmsfs::content::layout::{CHUNK, ChunkIndex, GroupIndex, SegmentIndex};
use kmsfs::content::root::{Root, member};
use kmsfs::content::sector::{Entries, Place, SectorBytes, seal_index, seal_tags};
use kmsfs::content::{Entry, Seal};
use kmsfs::crypto::rng;
use kmsfs::datakey::{DataKey, KeyArn, WrappedDataKey};
use kmsfs::envelope::{Header, ResizeKind};
use kmsfs::fs::Durability;
use kmsfs::fs::backing::Backing;
use kmsfs::fs::file::{CryptFile, FileError};

use crate::input::Input;
use crate::sealing::{FILE, KEY};

/// Segments that a file is made of: the first, and some of the first group.
const SEGMENTS: usize = 4;
/// The longest backing file.
const MOST: u32 = 930_000;

/// Whatever authentic parts say together, opening and reading panics nowhere and makes no byte up; and what recovery makes of a dirty
/// file is what a reader without it was told, and is whole from then on.
pub fn whole_file(data: &[u8]) {
    let image = Image::from(&mut Input(data));
    let bytes = image.bytes();
    let read = opened(&Memory::of(bytes.clone()), false).map(|file| chunks(&file));
    if let Ok(chunks) = &read {
        chunks.iter().enumerate().for_each(|(number, chunk)| image.check(number as u64, chunk.as_deref()));
    }
    let memory = Memory::of(bytes);
    let Ok(file) = opened(&memory, true) else { return };
    let read = read.expect("what can be recovered can be read");
    if !image.header.dirty {
        return;
    }
    assert_eq!(chunks(&file), read, "recovery changes what a reader saw");
    if file.is_dirty() {
        return;
    }
    drop(file);
    let file = opened(&memory, false).expect("a recovered file can be read");
    assert!(!file.is_dirty());
    assert_eq!(chunks(&file), read, "a recovered file is another one when it is opened again");
    let report = file.verify().expect("memory can be read");
    assert!(!report.damage.iter().any(|damage| matches!(damage, FileError::Root)), "the root after recovery");
}

fn opened(memory: &Memory, writable: bool) -> Result<CryptFile<Memory>, FileError> {
    let identity = CryptFile::identify(memory)?;
    CryptFile::open(memory.clone(), &identity, &data_key(), writable, Durability::Default)
}

/// Each chunk, or `None` where it is refused.
fn chunks(file: &CryptFile<Memory>) -> Vec<Option<Vec<u8>>> {
    let read = |at: u64| {
        let mut out = vec![0; (file.size() - at).min(CHUNK as u64) as usize];
        file.read_at(at, &mut out).ok().map(|_| out)
    };
    (0..file.size()).step_by(CHUNK).map(read).collect()
}

fn data_key() -> DataKey {
    DataKey::from_slice(&KEY).expect("32 bytes")
}

/// What an input wants a file to be.
struct Image {
    header: Header,
    keys: FileKeys,
    entries: [[Entry; 64]; SEGMENTS],
    present: [bool; SEGMENTS],
    epochs: [u64; SEGMENTS + 1],
    stored: Vec<(u64, Vec<u8>)>,
    torn: Vec<u32>,
    len: u32,
}

impl Image {
    fn from(input: &mut Input<'_>) -> Self {
        let (flags, sequence) = (input.byte(), u64::from(input.byte()) + 1);
        let size = |input: &mut Input<'_>| u64::from(u32::from_be_bytes(input.array()) % MOST);
        let header = Header {
            sequence,
            dirty: flags & 1 != 0,
            unattested: flags & 2 != 0,
            synced: flags & 4 != 0,
            file_id: FILE,
            committed_size: size(input),
            acknowledged_size: size(input),
            target_size: size(input),
            resize: [ResizeKind::None, ResizeKind::Append, ResizeKind::Grow, ResizeKind::Truncate]
                [usize::from(flags >> 3) % 4],
            root_mask: [3; 16],
            root: [0; 32],
            wrapped: WrappedDataKey {
                key: KeyArn::new("arn"),
                version: 1,
                material_id: [0; 32],
                blob: vec![0],
            },
        };
        let mut image = Self {
            header,
            keys: FileKeys::new(&data_key(), FILE),
            entries: [const { [const { Entry::Hole }; 64] }; SEGMENTS],
            present: [true, false, false, false],
            epochs: [sequence; SEGMENTS + 1],
            stored: Vec::new(),
            torn: Vec::new(),
            len: u32::from_be_bytes(input.array()) % MOST,
        };
        while !input.is_empty() {
            image.step(input);
        }
        image
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let (what, number) = (input.byte(), input.byte());
        match what % 8 {
            0..4 => self.store(what, number, input),
            4 => self.present[1 + usize::from(number) % (SEGMENTS - 1)] ^= true,
            5 => self.epochs[usize::from(number) % (SEGMENTS + 1)] = u64::from(input.byte()),
            6 => self.torn.push(u32::from_be_bytes(input.array()) % MOST),
            _ => self.torn.push(2048 + 100 * u32::from(number)),
        }
    }

    /// An entry for a chunk, and one of its versions, or none, in its place.
    fn store(&mut self, what: u8, number: u8, input: &mut Input<'_>) {
        let chunk = ChunkIndex(u64::from(number) % 220);
        let mut sealed = |version: u8| {
            let plain = vec![chunk.0 as u8 ^ version; usize::from(input.short()) % CHUNK + 1];
            let (mut ciphertext, nonce) = (vec![0; plain.len()], [version; 12]);
            let key = self.keys.segment(chunk.segment()).content;
            let tag = key.seal(&nonce, &self.keys.chunk_aad(chunk), &plain, &mut ciphertext);
            (Seal::new(nonce, tag, plain.len()), ciphertext)
        };
        let ((current, new), (previous, old)) = (sealed(0x55), sealed(0xaa));
        let entry = if what & 8 == 0 { Entry::One(current) } else { Entry::two(current, previous) };
        self.entries[chunk.segment().0 as usize][chunk.in_segment()] = entry;
        match what % 4 {
            0 | 1 => self.stored.push((chunk.backing_offset(), new)),
            2 => self.stored.push((chunk.backing_offset(), old)),
            _ => (),
        }
    }

    /// What was read of a chunk is zeros, or begins as one of its versions and goes on as zeros.
    fn check(&self, number: u64, read: Option<&[u8]>) {
        let Some(read) = read else { return };
        let value = read[0];
        let versions = [number as u8 ^ 0x55, number as u8 ^ 0xaa, 0];
        assert!(versions.contains(&value), "chunk {number} begins with {value}");
        let kept = read.iter().take_while(|byte| **byte == value).count();
        assert!(read[kept..].iter().all(|byte| *byte == 0), "chunk {number} has bytes of nobody");
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; MOST as usize];
        let mut put = |at: u64, part: &[u8]| {
            let end = bytes.len().min(at as usize + part.len());
            bytes[at as usize..end].copy_from_slice(&part[..end - at as usize]);
        };
        self.stored.iter().for_each(|(at, ciphertext)| put(*at, ciphertext));
        let mut root = Root::default();
        let (root_key, group) = (self.keys.root(), GroupIndex(0));
        let mut bits = [0; 256];
        for (number, present) in self.present.iter().enumerate() {
            let segment = SegmentIndex(number as u64);
            if number > 0 && *present {
                bits[0] |= 0x80 >> (number - 1);
            }
            for sector in 0..if *present { segment.sectors() } else { 0 } {
                let place = Place::Tags(segment.0, sector as u8);
                let entries: &Entries = self.entries[number][8 * sector..].first_chunk().expect("8 entries");
                let key = self.keys.segment(segment).tags;
                let sealed: SectorBytes =
                    seal_tags(&key, FILE, place, self.epochs[number], entries, &rng::nonce());
                root.toggle(&member(&root_key, place, &sealed));
                put(segment.tags_offset() + 512 * sector as u64, &sealed);
            }
        }
        for sector in 0..8 {
            let place = Place::Index(group.0, sector);
            let bits = if sector == 0 { bits } else { [0; 256] };
            let sealed = seal_index(&self.keys.index(group), FILE, place, self.epochs[SEGMENTS], &bits);
            if self.header.committed_size > 131_072 {
                root.toggle(&member(&root_key, place, &sealed));
            }
            put(group.index_offset() + 512 * u64::from(sector), &sealed);
        }
        let root = root.masked(&root_key, &self.header.root_mask).0;
        let header = Header { root, ..self.header.clone() };
        put(0, &header.seal(&self.keys.header()).expect("it fits"));
        self.torn.iter().for_each(|at| bytes[*at as usize] ^= 1);
        bytes.truncate(self.len as usize);
        bytes
    }
}

/// A backing file in memory.
#[derive(Clone)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn of(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(bytes)))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        work(&mut self.0.lock().expect("nothing panics in between"))
    }
}

impl Backing for Memory {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.with(|bytes| {
            let part = bytes.get(offset as usize..).unwrap_or(&[]);
            let read = part.len().min(out.len());
            out[..read].copy_from_slice(&part[..read]);
            Ok(read)
        })
    }

    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        self.with(|bytes| {
            let (at, part) = (offset as usize, parts.concat());
            bytes.resize(bytes.len().max(at + part.len()), 0);
            bytes[at..at + part.len()].copy_from_slice(&part);
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|bytes| Ok(bytes.len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|bytes| bytes.resize(len as usize, 0));
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.with(|bytes| {
            let end = bytes.len().min((offset + len) as usize);
            if (offset as usize) < end {
                bytes[offset as usize..end].fill(0);
            }
        });
        Ok(())
    }

    fn allocate(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
