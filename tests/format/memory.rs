//! Storage in memory that can stop after any number of changes, as a kill does; fail once and go on, as a full disk does; and lose
//! what was not synced, as a loss of power does.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use kmsfs::fs::backing::Backing;
use parking_lot::Mutex;

const PAGE: u64 = 4096;

type Page = Box<[u8; PAGE as usize]>;

/// Sparse bytes, shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<State>>, Pauses);

/// Where a test holds operations up: each waits, when it is done, as long as its lock is held.
#[derive(Debug, Clone, Default)]
pub struct Pauses {
    /// The next sync waits, before it does anything, until something comes here.
    pub before_sync: Arc<Mutex<Option<Receiver<()>>>>,
    pub sync: Arc<Mutex<()>>,
    pub set_len: Arc<Mutex<()>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    pages: BTreeMap<u64, Page>,
    len: u64,
    changes: u64,
    syncs: u64,
    /// Changes that still happen; each page of a write counts as one, since a kill can fall between two.
    allowed: Option<u64>,
    /// Changes until one fails, and whether that one is done all the same.
    failure: Option<(u64, bool)>,
    /// What a loss of power leaves, where it is kept.
    disk: Option<Disk>,
}

/// What is on disk: what was synced, and what may have been written back since.
#[derive(Debug, Clone, Default)]
struct Disk {
    synced: BTreeMap<u64, Page>,
    len: u64,
    /// The versions of each page since.
    pages: BTreeMap<u64, Vec<Option<Page>>>,
    lens: Vec<u64>,
}

impl Memory {
    /// An independent copy, without a limit.
    pub fn fork(&self) -> Self {
        let mut state = self.0.lock().clone();
        (state.allowed, state.failure, state.changes) = (None, None, 0);
        Self(Arc::new(Mutex::new(state)), Pauses::default())
    }

    /// Where to hold operations up.
    pub fn pauses(&self) -> &Pauses {
        &self.1
    }

    /// From now on only `changes` more happen; every later one fails and does nothing.
    pub fn stop_after(&self, changes: u64) {
        self.0.lock().allowed = Some(changes);
    }

    /// The change after `changes` more fails, once; it is `done` all the same, or not.
    pub fn fail_after(&self, changes: u64, done: bool) {
        self.0.lock().failure = Some((changes, done));
    }

    /// Whether a failure is still to come.
    pub fn is_failure_ahead(&self) -> bool {
        self.0.lock().failure.is_some()
    }

    /// From now on what is not synced may be lost.
    pub fn keep_disk(&self) {
        let mut state = self.0.lock();
        state.disk = Some(Disk { synced: state.pages.clone(), len: state.len, ..Disk::default() });
    }

    /// What a loss of power leaves: of each page any version since the last sync, as `page` says (below its argument), and of the size
    /// the one that `size` says.
    pub fn lose_power(
        &self,
        mut page: impl FnMut(usize) -> usize,
        size: impl FnOnce(usize) -> usize,
    ) -> Self {
        let disk = self.0.lock().disk.clone().expect("the disk is kept");
        let mut state = State { pages: disk.synced, len: disk.len, ..State::default() };
        for (number, versions) in disk.pages {
            match page(versions.len() + 1).checked_sub(1).map(|chosen| versions[chosen].clone()) {
                None => (),
                Some(None) => drop(state.pages.remove(&number)),
                Some(Some(page)) => drop(state.pages.insert(number, page)),
            }
        }
        if let Some(chosen) = size(disk.lens.len() + 1).checked_sub(1) {
            state.len = disk.lens[chosen];
        }
        let len = state.len;
        state.zero(len, u64::MAX - PAGE);
        Self(Arc::new(Mutex::new(state)), Pauses::default())
    }

    /// Changes so far.
    pub fn changes(&self) -> u64 {
        self.0.lock().changes
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    pub fn bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.read_at(offset, &mut out).unwrap();
        out
    }

    /// Changes bytes behind the engine's back.
    pub fn put(&self, offset: u64, bytes: &[u8]) {
        self.0.lock().write(offset, bytes);
    }

    pub fn size(&self) -> u64 {
        self.0.lock().len
    }
}

impl State {
    /// Makes a change, if it happens.
    fn change(&mut self, change: impl FnOnce(&mut Self)) -> io::Result<()> {
        let fails = match &mut self.failure {
            Some((0, done)) => Some(*done),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        if let Some(done) = fails {
            self.failure = None;
            if done {
                change(self);
            }
            return Err(io::Error::other("failed"));
        }
        self.may_change()?;
        change(self);
        Ok(())
    }

    fn may_change(&mut self) -> io::Result<()> {
        match &mut self.allowed {
            Some(0) => return Err(io::Error::other("stopped")),
            Some(left) => *left -= 1,
            None => (),
        }
        self.changes += 1;
        Ok(())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let len = (PAGE as usize - within).min(bytes.len() - done);
            let page = self.pages.entry(at / PAGE).or_insert_with(|| Box::new([0; PAGE as usize]));
            page[within..within + len].copy_from_slice(&bytes[done..done + len]);
            done += len;
        }
        self.len = self.len.max(offset + bytes.len() as u64);
        self.remember(offset / PAGE..(offset + bytes.len() as u64).div_ceil(PAGE));
    }

    /// Notes that pages, and the size, have another version.
    fn remember(&mut self, numbers: Range<u64>) {
        let Some(disk) = &mut self.disk else { return };
        for number in numbers {
            disk.pages.entry(number).or_default().push(self.pages.get(&number).cloned());
        }
        disk.lens.push(self.len);
    }

    fn zero(&mut self, from: u64, to: u64) {
        let whole = from.div_ceil(PAGE)..to / PAGE;
        let gone: Vec<u64> = if whole.is_empty() {
            Vec::new()
        } else {
            self.pages.range(whole).map(|(page, _)| *page).collect()
        };
        gone.iter().for_each(|page| drop(self.pages.remove(page)));
        gone.into_iter().for_each(|page| self.remember(page..page + 1));
        for (number, page) in self.pages.range_mut(from / PAGE..to.div_ceil(PAGE)) {
            let start = number * PAGE;
            let part = from.max(start) - start..to.min(start + PAGE).max(start) - start;
            if part.start < part.end {
                page[part.start as usize..part.end as usize].fill(0);
            }
        }
    }
}

impl Backing for Memory {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let state = self.0.lock();
        let end = state.len.min(offset + out.len() as u64);
        let read = end.saturating_sub(offset) as usize;
        let mut done = 0;
        while done < read {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let len = (PAGE as usize - within).min(read - done);
            match state.pages.get(&(at / PAGE)) {
                Some(page) => out[done..done + len].copy_from_slice(&page[within..within + len]),
                None => out[done..done + len].fill(0),
            }
            done += len;
        }
        Ok(read)
    }

    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut state = self.0.lock();
        let bytes = parts.concat();
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let len = ((PAGE - at % PAGE) as usize).min(bytes.len() - done);
            state.change(|state| state.write(at, &bytes[done..done + len]))?;
            done += len;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.len == len {
            return Ok(());
        }
        state.change(|state| {
            let old = state.len;
            if len < old {
                state.zero(len, old);
            }
            state.len = len;
            state.remember(len / PAGE..len.div_ceil(PAGE));
        })?;
        drop(state);
        drop(self.1.set_len.lock());
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.change(|state| {
            let end = (offset + len).min(state.len);
            state.zero(offset, end.max(offset));
        })
    }

    fn allocate(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let waits = self.1.before_sync.lock().take();
        if let Some(go) = waits {
            go.recv().expect("the test lets it go");
        }
        let mut state = self.0.lock();
        state.syncs += 1;
        if state.disk.is_some() {
            // Whoever is killed does not sync any more.
            if state.allowed == Some(0) {
                return Err(io::Error::other("stopped"));
            }
            state.disk = Some(Disk { synced: state.pages.clone(), len: state.len, ..Disk::default() });
        }
        drop(state);
        drop(self.1.sync.lock());
        Ok(())
    }
}
