//! Whose turn it is to append: how long a process keeps the log's lock (`lock`).
//!
//! A mount records each open of a file, a server each request, thousands a second. A turn for each of them costs more than the
//! record: lock, look at the head and at the file, write the head, unlock. So a process that has asked for this ([`FileAuditLog::keep_turns`])
//! keeps its turn from one record to the next while they come within [`BUSY`], until it is [`KEPT_FOR`] old; a thread of its own ends one after
//! which no record came. Each record is still written before it is answered; what waits is the head. A kill in between leaves
//! whole records behind the head, as it can after any record (`recover`). A change of a key ends the turn.

use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::{FileAuditLog, State, head};
use crate::kms::audit::AuditEvent;
use parking_lot::{Condvar, Mutex};

/// How soon one record follows another where a turn is kept.
const BUSY: Duration = Duration::from_millis(1);
/// How long a turn is kept.
const KEPT_FOR: Duration = Duration::from_millis(5);

/// What the thread waits for that ends turns after which no record came.
#[derive(Debug, Default)]
pub struct Keeper {
    is_rung: Mutex<bool>,
    bell: Condvar,
}

impl Keeper {
    fn ring(&self) {
        *self.is_rung.lock() = true;
        self.bell.notify_one();
    }

    /// The thread, until there is no log.
    fn run(&self, log: &Weak<FileAuditLog>) {
        loop {
            let mut is_rung = self.is_rung.lock();
            while !std::mem::take(&mut *is_rung) {
                self.bell.wait(&mut is_rung);
            }
            drop(is_rung);
            loop {
                // Twice as long: as long as records come, they end turns themselves.
                thread::sleep(2 * KEPT_FOR);
                match log.upgrade() {
                    Some(log) if log.end_old_turn() => (),
                    Some(_) => break,
                    None => return,
                }
            }
        }
    }
}

impl FileAuditLog {
    /// Has turns kept from now on: for a process that stays and records often.
    ///
    /// # Errors
    /// Where no thread can be begun; then each record is a turn, as before.
    pub fn keep_turns(self: &Arc<Self>) -> io::Result<()> {
        let (keeper, log) = (Arc::new(Keeper::default()), Arc::downgrade(self));
        let of_thread = keeper.clone();
        thread::Builder::new().name("audit-turns".into()).spawn(move || of_thread.run(&log))?;
        let _ = self.keeper.set(keeper);
        Ok(())
    }

    /// Begins a turn that was `asked` for then, or goes on with the one that is kept.
    pub(super) fn enter(&self, state: &mut State, event: &AuditEvent<'_>, asked: Instant) -> io::Result<()> {
        let now = self.keeper.get().map(|_| Instant::now());
        let age = |since: Option<Instant>| now.zip(since).map(|(now, since)| now.duration_since(since));
        let is_soon = age(state.recorded).is_some_and(|age| age < BUSY);
        state.recorded = now;
        if state.is_held {
            if age(state.turn).is_some_and(|age| age < KEPT_FOR) {
                return Ok(());
            }
            self.leave(state)?;
        }
        self.lock.take(is_soon, asked)?;
        (state.is_held, state.turn) = (true, now.filter(|_| is_soon));
        self.refresh(state, event).inspect_err(|_| {
            let _ = self.leave(state);
        })
    }

    /// Ends a turn after a use of a key, unless it is worth keeping.
    pub(super) fn leave_or_keep(&self, state: &mut State) -> io::Result<()> {
        let Some(keeper) = self.keeper.get().filter(|_| state.turn.is_some()) else {
            return self.leave(state);
        };
        if !std::mem::replace(&mut state.is_watched, true) {
            keeper.ring();
        }
        Ok(())
    }

    /// Ends a turn: the head goes to its file.
    pub(super) fn leave(&self, state: &mut State) -> io::Result<()> {
        if !state.is_held {
            return Ok(());
        }
        let written = match state.head.filter(|_| state.is_ahead) {
            Some(head) => self.write_head(state, head),
            None => Ok(()),
        };
        (state.is_held, state.turn) = (false, None);
        self.lock.release();
        written
    }

    /// Ends a turn after which no record came; `false` where none is kept any more.
    fn end_old_turn(&self) -> bool {
        let mut state = self.state.lock();
        state.is_watched = state.turn.is_some_and(|since| since.elapsed() < KEPT_FOR);
        if !state.is_watched {
            self.end_turn(&mut state);
        }
        state.is_watched
    }

    fn end_turn(&self, state: &mut State) {
        if let Err(error) = self.leave(state) {
            // The records are there, and whoever comes next finds them behind the head.
            log::warn!("{}: {error}", self.dir.join(head::FILE_NAME).display());
        }
    }
}

impl Drop for FileAuditLog {
    fn drop(&mut self) {
        self.end_turn(&mut self.state.lock());
        if let Some(keeper) = self.keeper.get() {
            // Its thread finds no log, and ends.
            keeper.ring();
        }
    }
}
