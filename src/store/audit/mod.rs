//! The audit log as files: a chain of records that several processes append to (rules AUD-1 and AUD-3).
//!
//! ```text
//! HOME/audit.log          one JSON line a record, each a link of the chain (`chain`)
//! HOME/audit.log.000001   what was full, and so on
//! HOME/audit.head         how far the chain goes, authenticated (`head`); also the lock
//! ```
//!
//! Who appends holds the lock, looks whether the head and the file are as it left them, appends the record by one write, and writes
//! the head. A kill can come in between: then a whole record stands behind the head, which is accepted, or a part of one, which
//! the next record closes (`recover`). Anything else was done by somebody else, and a record says so.
//!
//! A process that records often keeps its turn for some records (`turn`).

mod begin;
pub mod chain;
mod files;
mod head;
mod lock;
mod marks;
pub mod read;
mod recover;
pub mod scan;
mod turn;
pub mod usage;
pub mod verify;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use self::chain::{ChainKeys, HASH_LEN};
use self::head::{HEAD_LEN, Head, Place};
use self::lock::Lock;
use self::turn::Keeper;
use crate::datakey::KeyArn;
use crate::kms::audit::{AuditError, AuditEvent, AuditLog, KeyUsage};

pub use self::begin::{begin, seen_generation};
pub use self::files::FILE_NAME;
pub use self::head::FILE_NAME as HEAD_NAME;

/// How large a file of the log becomes before the next one is begun, unless the home says otherwise.
pub const FILE_LEN: u64 = 64 * 1024 * 1024;

/// How a log is opened.
#[derive(Debug)]
pub struct Opening {
    /// The keys of its chain.
    pub keys: ChainKeys,
    /// The generation of the key store that this process has seen last.
    pub generation: Arc<AtomicI64>,
    /// The number of a record that is in the log for certain: the key store has it.
    pub known: u64,
    /// How large a file becomes.
    pub file_len: u64,
}

/// The audit log of a home.
#[derive(Debug)]
pub struct FileAuditLog {
    dir: PathBuf,
    path: PathBuf,
    lock: Lock,
    /// What ends turns that are kept, where they are.
    keeper: OnceLock<Arc<Keeper>>,
    keys: ChainKeys,
    generation: Arc<AtomicI64>,
    known: u64,
    file_len: u64,
    boot: [u8; 16],
    /// One thread of the process at a time asks for the lock.
    state: Mutex<State>,
    /// The number of the last record of this process that is on disk.
    synced: AtomicU64,
}

/// What this process knows of the log, true as long as nobody else has written.
#[derive(Debug)]
struct State {
    file: Arc<File>,
    /// The number of `file`.
    number: u64,
    head: Option<Head>,
    /// The head as it is in its file.
    bytes: [u8; HEAD_LEN],
    /// The length of `file`.
    len: u64,
    /// Whether the space that the head says is reserved was looked for in `file`: a copy of a home has none.
    has_space: bool,
    /// Whether this process has the lock.
    is_held: bool,
    /// When the turn began, where it may be kept.
    turn: Option<Instant>,
    /// Whether the thread is awake that ends turns after which no record came.
    is_watched: bool,
    /// Whether `head` is not yet in its file.
    is_ahead: bool,
    /// When a record was last asked for, where turns are kept.
    recorded: Option<Instant>,
}

impl State {
    fn new(file: File, number: u64, head: Option<Head>, bytes: [u8; HEAD_LEN]) -> Self {
        let (is_held, is_watched, is_ahead, has_space) = Default::default();
        let (len, turn, recorded) = Default::default();
        let file = Arc::new(file);
        Self { file, number, head, bytes, len, has_space, is_held, turn, is_watched, is_ahead, recorded }
    }
}

impl FileAuditLog {
    /// Opens the log of the home in `dir`, whose chain was begun.
    ///
    /// # Errors
    /// Whatever the files answer.
    pub fn open(dir: &Path, opening: Opening) -> io::Result<Self> {
        let lock = Lock::open(dir)?;
        let turn = lock.turn(Instant::now())?;
        let mut bytes = [0; HEAD_LEN];
        let head = read_head(&lock, &mut bytes, &opening.keys)?;
        let number = head.map_or(0, |head| head.file);
        let file = files::open_current(dir, number, head.is_some_and(|head| head.last.end == 0))?;
        drop(turn);
        Ok(Self {
            dir: dir.to_owned(),
            path: dir.join(FILE_NAME),
            lock,
            keeper: OnceLock::new(),
            keys: opening.keys,
            generation: opening.generation,
            known: opening.known,
            file_len: opening.file_len,
            boot: head::boot_id(),
            state: Mutex::new(State::new(file, number, head, bytes)),
            synced: AtomicU64::new(opening.known),
        })
    }

    /// The number of the last record of this process that is on disk, or of an earlier one: the key store keeps it, so that a log
    /// that is older than the key store is noticed.
    pub fn synced_number(&self) -> u64 {
        self.synced.load(Ordering::SeqCst)
    }

    fn append(&self, event: &AuditEvent<'_>) -> io::Result<()> {
        let line = event.to_line();
        let (file, place) = {
            let (mut state, asked) = self.waited_for()?;
            self.enter(&mut state, event, asked)?;
            let room = self.make_room(&mut state, event, line.len() as u64);
            let written = room.and_then(|()| self.write(&mut state, line, b""));
            let left = match written.is_ok() && event.is_read_only() {
                true => self.leave_or_keep(&mut state),
                false => self.leave(&mut state),
            };
            let place = written?;
            left?;
            (state.file.clone(), place)
        };
        // Others go on meanwhile: opens of files are recorded often, and changes of keys seldom.
        if event.is_read_only() { Ok(()) } else { self.sync(&file, place) }
    }

    /// Puts the log on disk as far as `place`, and remembers that.
    fn sync(&self, file: &File, place: Place) -> io::Result<()> {
        file.sync_data()?;
        self.synced.fetch_max(place.number, Ordering::SeqCst);
        let (mut state, asked) = self.waited_for()?;
        self.leave(&mut state)?;
        let _turn = self.lock.turn(asked)?;
        // A head that another process has written meanwhile, or a file that was rotated, is on disk or has its own.
        let mut bytes = [0; HEAD_LEN];
        match read_head(&self.lock, &mut bytes, &self.keys)? {
            Some(head)
                if head.file == state.number
                    && head.synced.number < place.number
                    && place.number <= head.last.number =>
            {
                self.write_head(&mut state, Head { synced: place, ..head })
            }
            _ => Ok(()),
        }
    }

    /// Brings what this process knows up to date, while it holds the lock, and mends what a kill left.
    fn refresh(&self, state: &mut State, event: &AuditEvent<'_>) -> io::Result<()> {
        let suspicion = self.look(state)?;
        let head = state.head.as_ref();
        if head.is_none_or(|head| head.file != state.number) {
            let (number, begins) = head.map_or((0, false), |head| (head.file, head.last.end == 0));
            state.file = Arc::new(files::open_current(&self.dir, number, begins)?);
            (state.number, state.has_space) = (number, false);
        }
        let mut facts = rustix::fs::fstat(&*state.file)?;
        if facts.st_nlink == 0 {
            // The file was removed. What is in it is lost, and the new one says so.
            state.file = Arc::new(files::open(&self.path, true)?);
            facts = rustix::fs::fstat(&*state.file)?;
        }
        state.len = facts.st_size.cast_unsigned();
        if let Some(head) = state.head.as_mut().filter(|_| !state.has_space) {
            let is_there = facts.st_blocks.cast_unsigned().saturating_mul(512) >= head.reserved;
            head.reserved = if is_there { head.reserved } else { 0 };
            state.has_space = true;
        }
        match state.head {
            Some(head)
                if suspicion.is_none()
                    && head.last.end == state.len
                    && head.boot == self.boot
                    && head.last.number >= self.known =>
            {
                Ok(())
            }
            _ => self.recover(state, event, suspicion),
        }
    }

    /// Reads the head; what is wrong with it, if it is not one that a process of this program left.
    fn look(&self, state: &mut State) -> io::Result<Option<String>> {
        let mut bytes = [0; HEAD_LEN];
        let len = self.lock.head().read_at(&mut bytes, 0)?;
        if state.head.is_some() && len == HEAD_LEN && bytes == state.bytes {
            return Ok(None);
        }
        let known = state.head;
        match Head::decode(&bytes, &self.keys).filter(|_| len == HEAD_LEN) {
            Some(head) if known.is_none_or(|known| known.last.number <= head.last.number) => {
                (state.head, state.bytes) = (Some(head), bytes);
                Ok(None)
            }
            Some(head) => Ok(Some(format!(
                "{} is older: it ends with record {}, and {} was seen",
                head::FILE_NAME,
                head.last.number,
                known.map_or(0, |known| known.last.number)
            ))),
            None if len == 0 => Ok(Some(format!("{} was missing", head::FILE_NAME))),
            None => Ok(Some(format!("{} did not authenticate", head::FILE_NAME))),
        }
    }

    /// Sees that there is space for a record of `len` bytes: in the next file where this one is full, and on the disk. The last of
    /// it is for changes of keys.
    fn make_room(&self, state: &mut State, event: &AuditEvent<'_>, len: u64) -> io::Result<()> {
        let len = len + chain::MEMBER_MAX as u64;
        let Some(mut head) = state.head else { return Err(io::ErrorKind::InvalidData.into()) };
        if state.len > 0 && state.len + len > self.file_len {
            self.rotate(state, event)?;
            head = state.head.unwrap_or(head);
        }
        let end = state.len + len;
        if end.saturating_add(files::KEPT) <= head.reserved {
            return Ok(());
        }
        match files::reserve(&state.file, state.len, len) {
            Ok(reserved) => {
                state.head = Some(Head { reserved, ..head });
                Ok(())
            }
            Err(_) if !event.is_read_only() && end <= head.reserved => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Appends a record behind `before`, and advances the head, which goes to its file when the turn ends; its place.
    fn write(&self, state: &mut State, mut line: Vec<u8>, before: &[u8]) -> io::Result<Place> {
        let Some(head) = state.head else { return Err(io::ErrorKind::InvalidData.into()) };
        let generation = self.generation.load(Ordering::SeqCst);
        let number = head.last.number.saturating_add(1);
        let hash = self.keys.seal(&mut line, number, generation, &head.last.hash);
        if !before.is_empty() {
            line.splice(..0, before.iter().copied());
        }
        files::append(&state.file, state.len, &line)?;
        state.len += line.len() as u64;
        let last = Place { end: state.len, number, hash };
        let generation = head.generation.max(generation);
        state.head = Some(Head { last, generation, boot: self.boot, ..head });
        state.is_ahead = true;
        Ok(last)
    }

    fn write_head(&self, state: &mut State, head: Head) -> io::Result<()> {
        let bytes = head.encode(&self.keys);
        self.lock.head().write_all_at(&bytes, 0)?;
        (state.head, state.bytes, state.is_ahead) = (Some(head), bytes, false);
        Ok(())
    }

    /// Ends the file and begins the next one. The head goes first: a kill before the renaming is made good by whoever opens the
    /// next file.
    fn rotate(&self, state: &mut State, event: &AuditEvent<'_>) -> io::Result<()> {
        let Some(head) = state.head else { return Ok(()) };
        state.file.sync_data()?;
        let begin = Place { end: 0, ..head.last };
        let next = head.file.saturating_add(1);
        self.write_head(state, Head { file: next, last: begin, synced: begin, reserved: 0, ..head })?;
        self.lock.head().sync_data()?;
        let full = std::mem::replace(&mut state.file, Arc::new(files::open_current(&self.dir, next, true)?));
        state.number = next;
        files::sync_dir(&self.dir)?;
        // Space that was reserved behind its end is given back.
        let _ = full.set_len(state.len);
        let name = files::rotated_name(head.file);
        let said = marks::parameters([("file", name.into()), ("records", head.last.number.into())]);
        state.len = 0;
        let mark = AuditEvent::of_log(&event.scene(), marks::ROTATED, &said).to_line();
        self.write(state, mark, b"").map(|_| ())
    }

    /// Begins the next file now, as where this one is full.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn rotate_now(&self, event: &AuditEvent<'_>) -> Result<(), AuditError> {
        let work = || {
            let (mut state, asked) = self.waited_for()?;
            self.enter(&mut state, event, asked)?;
            let rotated = self.rotate(&mut state, event);
            self.leave(&mut state).and(rotated)
        };
        work().map_err(|error| self.error(&error))
    }

    /// What this process knows, once no other thread of it is at work, and since when that was waited for: whoever waits for the lock has
    /// it as long as that may take, and those behind wait no longer, since their wait for the lock began here.
    fn waited_for(&self) -> io::Result<(MutexGuard<'_, State>, Instant)> {
        let asked = Instant::now();
        let state = self.state.try_lock_for(self.lock.limit).ok_or_else(|| self.lock.timed_out())?;
        Ok((state, asked))
    }

    fn error(&self, error: &io::Error) -> AuditError {
        AuditError(format!("{}: {error}", self.path.display()))
    }
}

impl AuditLog for FileAuditLog {
    fn record(&self, event: &AuditEvent<'_>) -> Result<(), AuditError> {
        self.append(event).map_err(|error| self.error(&error))
    }

    fn usage(&self, key: &KeyArn) -> Result<KeyUsage, AuditError> {
        self.usage_of(key, usage::REACH).map_err(|error| self.error(&error))
    }
}

/// The head in its file; `bytes` are what stands there.
fn read_head(lock: &Lock, bytes: &mut [u8; HEAD_LEN], keys: &ChainKeys) -> io::Result<Option<Head>> {
    let len = lock.head().read_at(bytes, 0)?;
    Ok(Head::decode(bytes, keys).filter(|_| len == HEAD_LEN))
}

#[cfg(test)]
mod tests;
