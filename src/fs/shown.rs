//! Times that a program sees where the backing file's are not of its doing.
//!
//! A header that is written (by a commit, by fsync) moves the backing file's times. That of modification can be put back, that of
//! change cannot be set by anybody. So what is shown while a header is written, and of the time of change afterwards, is what was there
//! before: git and others keep the time of change that a file had before it was closed, and take another one for a change.
//!
//! It lasts until the file is changed, or the kernel forgets it.

use parking_lot::Mutex;
use rustix::fs::Stat;

use super::errno::Result;

/// Seconds and nanoseconds since 1970.
type Time = (i64, i64);

/// What is shown of an inode's times.
#[derive(Debug, Default)]
pub struct Shown(Mutex<State>);

#[derive(Debug, Default, Clone, Copy)]
struct State {
    what: What,
    /// Counts changes of `what`: a look that one of them came into is taken again.
    version: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Those of the backing file.
    #[default]
    Own,
    /// A header is being written: those from before.
    Before { modified: Time, changed: Time },
    /// One was written: where the time of change is `found`, it is `shown` instead.
    Instead { found: Time, shown: Time },
}

/// How often a look is taken again.
const LOOKS: usize = 8;

impl Shown {
    /// What `stat` sees, as it is to be shown.
    pub fn look(&self, stat: impl Fn() -> Result<Stat>) -> Result<Stat> {
        let mut state = *self.0.lock();
        let mut seen = stat()?;
        for _ in 1..LOOKS {
            let now = *self.0.lock();
            if now.version == state.version {
                break;
            }
            state = now;
            seen = stat()?;
        }
        state.what.put_on(&mut seen);
        Ok(seen)
    }

    /// Whether the backing file's times are shown as they are.
    pub fn is_own(&self) -> bool {
        self.0.lock().what == What::Own
    }

    /// A program changed the file: its times are those of that.
    pub fn changed(&self) {
        let mut state = self.0.lock();
        if state.what != What::Own {
            state.set(What::Own);
        }
    }

    /// From now on the times are shown that `seen` of the backing file has, as they are to be shown.
    pub fn begin(&self, seen: &Stat) {
        let mut state = self.0.lock();
        let mut seen = *seen;
        state.what.put_on(&mut seen);
        state.set(What::Before { modified: modified(&seen), changed: changed(&seen) });
    }

    /// The header is written; `seen` is what became of the backing file, where that can be told.
    pub fn end(&self, seen: Option<&Stat>) {
        let mut state = self.0.lock();
        let What::Before { changed: shown, .. } = state.what else { return };
        state.set(match seen.map(changed) {
            Some(found) if found != shown => What::Instead { found, shown },
            Some(_) | None => What::Own,
        });
    }
}

impl State {
    fn set(&mut self, what: What) {
        self.what = what;
        self.version += 1;
    }
}

impl What {
    fn put_on(self, stat: &mut Stat) {
        match self {
            Self::Own => (),
            Self::Before { modified, changed } => {
                (stat.st_mtime, stat.st_mtime_nsec) = (modified.0, modified.1 as _);
                (stat.st_ctime, stat.st_ctime_nsec) = (changed.0, changed.1 as _);
            }
            Self::Instead { found, shown } if changed(stat) == found => {
                (stat.st_ctime, stat.st_ctime_nsec) = (shown.0, shown.1 as _);
            }
            Self::Instead { .. } => (),
        }
    }
}

fn modified(stat: &Stat) -> Time {
    (stat.st_mtime, stat.st_mtime_nsec as i64)
}

fn changed(stat: &Stat) -> Time {
    (stat.st_ctime, stat.st_ctime_nsec as i64)
}
