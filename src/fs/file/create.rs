//! Making and opening files.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::head::Head;
use super::index::Index;
use super::segment::{Segment, SegmentState, Segments};
use super::write::APPEND_AHEAD;
use super::{CryptFile, Durability, FileError, Result};
use crate::content::Entry;
use crate::content::keys::FileKeys;
use crate::content::layout::{
    CHUNK, CHUNKS_PER_SECTOR, FIRST_SEGMENT_CHUNKS, HEAD_TAGS, PAGE, SECTOR, SegmentIndex, backing_size,
};
use crate::content::root::{self, Root};
use crate::content::sector::{self, Entries, Place};
use crate::crypto::rng;
use crate::datakey::{DataKey, WrappedDataKey};
use crate::envelope::{FileId, Header, HeaderError, ResizeKind, SLOT_LEN, UnverifiedHeader};
use crate::fs::backing::Backing;

/// Tag sectors in the first segment.
const FIRST_SECTORS: usize = FIRST_SEGMENT_CHUNKS as usize / CHUNKS_PER_SECTOR;

/// Page 0 of a file, and what its header slots claim: which data key to ask for.
#[derive(Debug, Clone)]
pub struct Identity {
    pub(super) page: Box<[u8; PAGE as usize]>,
    /// The slots that can be read, the newest first, with their number.
    pub(super) claims: Vec<(usize, UnverifiedHeader)>,
}

impl Identity {
    /// The file id that the newest slot claims.
    pub fn file_id(&self) -> FileId {
        self.newest().file_id()
    }

    /// The wrapped data key that the newest slot claims.
    pub fn wrapped(&self) -> &WrappedDataKey {
        self.newest().wrapped()
    }

    /// What the newest slot claims; nothing proves it yet.
    pub fn claims(&self) -> &Header {
        self.newest().claims()
    }

    fn newest(&self) -> &UnverifiedHeader {
        &self.claims[0].1
    }
}

impl<B: Backing> CryptFile<B> {
    /// Writes the head of a new, empty file. It is dirty in a way that permits the first appends, and as good as clean until there is one
    /// (rule 10): a file that is made and written to has one header less, and one that nobody wrote to is left as it is.
    ///
    /// # Errors
    /// [`FileError::Header`] for a wrapped data key that does not fit; [`FileError::Io`].
    pub fn create(
        backing: B,
        file_id: FileId,
        wrapped: &WrappedDataKey,
        data_key: &DataKey,
        durability: Durability,
    ) -> Result<Self> {
        Header::check_wrap(wrapped)?;
        let keys = FileKeys::new(data_key, file_id);
        let (root_key, header_key) = (keys.root(), keys.header());
        let first = SegmentIndex(0);
        let segment_keys = keys.segment(first);
        let mut page = [0; PAGE as usize];
        let mut state = SegmentState::empty(first);
        let mut root = Root::default();
        let nonces = rng::nonces::<FIRST_SECTORS>();
        for (number, nonce) in nonces.iter().enumerate() {
            let place = Place::Tags(0, number as u8);
            let bytes = sector::seal_tags(&segment_keys.tags, file_id, place, 1, &Entries::default(), nonce);
            state.members[number] = root::member(&root_key, place, &bytes);
            root.toggle(&state.members[number]);
            page[HEAD_TAGS as usize + number * SECTOR..][..SECTOR].copy_from_slice(&bytes);
        }
        let root_mask = rng::bytes();
        // In strict mode what a dirty header permits waits until that is on disk, which a file that nobody syncs need not be.
        let awaits_writes = durability == Durability::Default;
        let header = Header {
            sequence: 1,
            dirty: awaits_writes,
            unattested: false,
            synced: false,
            file_id,
            committed_size: 0,
            acknowledged_size: 0,
            resize: if awaits_writes { ResizeKind::Append } else { ResizeKind::None },
            target_size: if awaits_writes { APPEND_AHEAD } else { 0 },
            root_mask,
            root: root.masked(&root_key, &root_mask).0,
            wrapped: wrapped.clone(),
        };
        let slot = header.seal(&header_key)?;
        page[..SLOT_LEN].copy_from_slice(&slot);
        backing.write_at(0, &[&page])?;
        let head = Head {
            header,
            slots: Box::new([slot, [0; SLOT_LEN]]),
            durable: 0,
            current: 0,
            run_is_durable: false,
        };
        let first = Segment::known(first, segment_keys, state);
        let file = Self::assemble(backing, keys, true, durability, head, first, root);
        file.dirty.store(false, Ordering::Release);
        Ok(file)
    }

    /// Reads page 0: what the file claims to be, without a key.
    ///
    /// # Errors
    /// [`FileError::Empty`], [`FileError::Header`] when no slot can be read, [`FileError::Io`].
    pub fn identify(backing: &B) -> Result<Identity> {
        let mut page = Box::new([0; PAGE as usize]);
        if backing.read_at(0, &mut *page)? == 0 {
            return Err(FileError::Empty);
        }
        let mut claims = Vec::new();
        let mut refusals = Vec::new();
        for (number, slot) in page.as_chunks::<SLOT_LEN>().0[..2].iter().enumerate() {
            match UnverifiedHeader::parse(slot) {
                Ok(claim) => claims.push((number, claim)),
                Err(error) => refusals.push(error),
            }
        }
        if claims.is_empty() {
            // The more telling of the two.
            let telling = refusals.iter().find(|error| !matches!(error, HeaderError::Empty));
            return Err(FileError::Header(telling.copied().unwrap_or(HeaderError::NotAHeader)));
        }
        claims.sort_by_key(|(_, claim)| std::cmp::Reverse(claim.sequence()));
        Ok(Identity { page, claims })
    }

    /// Opens a file with the data key that its identity led to. A dirty file is recovered when `writable`, else read as it
    /// stands.
    ///
    /// # Errors
    /// [`FileError`] for everything that does not authenticate or fit together.
    pub fn open(
        backing: B,
        identity: &Identity,
        data_key: &DataKey,
        writable: bool,
        durability: Durability,
    ) -> Result<Self> {
        let (slot, keys, header) = verified(identity, data_key)?;
        let segment_keys = keys.segment(SegmentIndex(0));
        let mut slots = Box::new([[0; SLOT_LEN]; 2]);
        slots.as_flattened_mut().copy_from_slice(&identity.page[..2 * SLOT_LEN]);
        let head = Head { header, slots, durable: slot, current: slot, run_is_durable: false };
        let first = Segment::known(SegmentIndex(0), segment_keys, SegmentState::empty(SegmentIndex(0)));
        let file = Self::assemble(backing, keys, writable, durability, head, first, Root::default());
        let first = file.segments.first();
        *first.state.write() =
            file.open_segment(SegmentIndex(0), &first.keys, &identity.page[HEAD_TAGS as usize..])?;
        drop(first);
        if !file.is_dirty() {
            file.check_clean()?;
        } else if !file.turns_out_new()? {
            file.recover()?;
        }
        Ok(file)
    }

    /// Whether a dirty file is new, and nothing was written to it (rule 10); it counts as one without changes then.
    fn turns_out_new(&self) -> Result<bool> {
        let header = self.header();
        if header.sequence != 1 || self.backing.len()? != PAGE {
            return Ok(false);
        }
        let stored = Root(header.root).masked(&self.root_key, &header.root_mask);
        let is_new = {
            let first = self.segments.first();
            let state = first.state.read();
            state.entries.iter().all(Entry::is_hole) && state.root() == stored
        };
        if is_new {
            *self.root.lock() = stored;
            self.dirty.store(false, Ordering::Release);
        }
        Ok(is_new)
    }

    /// A clean file is exactly as long as its header says; and where it has no group, the content root is at hand.
    fn check_clean(&self) -> Result<()> {
        let header = self.header();
        let (expected, found) = (backing_size(header.committed_size), self.backing.len()?);
        if expected != found {
            return Err(FileError::Length { expected, found });
        }
        let stored = Root(header.root).masked(&self.root_key, &header.root_mask);
        *self.root.lock() = stored;
        if header.committed_size <= FIRST_SEGMENT_CHUNKS * CHUNK as u64 {
            let counted = self.segments.first().state.read().root();
            if counted != stored {
                return Err(FileError::Root);
            }
        }
        Ok(())
    }

    pub(super) fn assemble(
        backing: B,
        keys: FileKeys,
        writable: bool,
        durability: Durability,
        head: Head,
        first: Segment,
        root: Root,
    ) -> Self {
        Self {
            backing,
            root_key: keys.root(),
            header_key: keys.header(),
            keys,
            writable,
            durability,
            shape: RwLock::new(()),
            size: AtomicU64::new(head.header.committed_size),
            sequence: AtomicU64::new(head.header.sequence),
            stamp: AtomicU64::new(head.header.sequence),
            dirty: AtomicBool::new(head.header.dirty),
            floor_ahead: AtomicU64::new(0),
            uncertain: AtomicBool::new(false),
            unfinished: AtomicBool::new(false),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            truncations: AtomicU64::new(0),
            head: Mutex::new(head),
            segments: Segments::new(first),
            index: Mutex::new(Index::default()),
            root: Mutex::new(root),
            unsettled: Mutex::default(),
        }
    }
}

/// The newest slot that the data key proves.
pub(super) fn verified(identity: &Identity, data_key: &DataKey) -> Result<(usize, FileKeys, Header)> {
    let mut refusal = FileError::Header(HeaderError::Inauthentic);
    for (slot, claim) in &identity.claims {
        let keys = FileKeys::new(data_key, claim.file_id());
        match claim.clone().verify(&keys.header()) {
            Ok(header) => return Ok((*slot, keys, header)),
            Err(error) => refusal = error.into(),
        }
    }
    Err(refusal)
}
