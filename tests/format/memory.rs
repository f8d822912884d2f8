//! Storage in memory that can stop after any number of changes, as a kill does.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use kmsfs::fs::backing::Backing;
use parking_lot::Mutex;

const PAGE: u64 = 4096;

/// Sparse bytes, shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Clone, Default)]
struct State {
    pages: BTreeMap<u64, Box<[u8; PAGE as usize]>>,
    len: u64,
    changes: u64,
    /// Changes that still happen; each page of a write counts as one, since a kill can fall between two.
    allowed: Option<u64>,
}

impl Memory {
    /// An independent copy, without a limit.
    pub fn fork(&self) -> Self {
        let mut state = self.0.lock().clone();
        (state.allowed, state.changes) = (None, 0);
        Self(Arc::new(Mutex::new(state)))
    }

    /// From now on only `changes` more happen; every later one fails and does nothing.
    pub fn stop_after(&self, changes: u64) {
        self.0.lock().allowed = Some(changes);
    }

    /// Changes so far.
    pub fn changes(&self) -> u64 {
        self.0.lock().changes
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
        for (number, byte) in bytes.iter().enumerate() {
            let at = offset + number as u64;
            let page = self.pages.entry(at / PAGE).or_insert_with(|| Box::new([0; PAGE as usize]));
            page[(at % PAGE) as usize] = *byte;
        }
        self.len = self.len.max(offset + bytes.len() as u64);
    }

    fn zero(&mut self, from: u64, to: u64) {
        let whole = from.div_ceil(PAGE)..to / PAGE;
        let gone: Vec<u64> = if whole.is_empty() {
            Vec::new()
        } else {
            self.pages.range(whole).map(|(page, _)| *page).collect()
        };
        gone.iter().for_each(|page| drop(self.pages.remove(page)));
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
        let mut at = offset;
        for part in out[..read].chunk_by_mut(|_, _| true) {
            for byte in part {
                *byte = state.pages.get(&(at / PAGE)).map_or(0, |page| page[(at % PAGE) as usize]);
                at += 1;
            }
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
            state.may_change()?;
            state.write(at, &bytes[done..done + len]);
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
        state.may_change()?;
        let old = state.len;
        if len < old {
            state.zero(len, old);
        }
        state.len = len;
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.may_change()?;
        let end = (offset + len).min(state.len);
        state.zero(offset, end.max(offset));
        Ok(())
    }

    fn allocate(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
