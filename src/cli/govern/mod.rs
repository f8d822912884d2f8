//! Changing which key governs files, many at a time: by the mount that holds a volume, or by this process where none does.

mod door;
mod headers;
mod journal;
mod report;

use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::error::{CliError, Result};
use super::exit::{self, Code};
use super::targets::{Task, tasks};
use super::{print, print_json};
use crate::datakey::KeyArn;
use crate::kms::ring::Keyring;
use crate::store::Home;
use crate::volume::walk::{Found, Walk};
use crate::watch::{FileAsk, FileChange};
use door::Door;
pub use headers::{Header, Seen, header_of};
use journal::Journal;
pub use report::{Done, Progress, Report};

/// How often progress is shown.
pub const TICK: Duration = Duration::from_millis(200);

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// New wraps.
    Rewrap,
    /// New data keys and content.
    Reencrypt,
}

impl Kind {
    /// The command.
    pub fn command(self) -> &'static str {
        match self {
            Self::Rewrap => "kmsfs rewrap",
            Self::Reencrypt => "kmsfs reencrypt",
        }
    }

    fn change(self) -> FileChange {
        match self {
            Self::Rewrap => FileChange::Rewrap,
            Self::Reencrypt => FileChange::Reencrypt,
        }
    }
}

/// What a person wants done.
#[derive(Debug)]
pub struct Order {
    pub kind: Kind,
    pub paths: Vec<PathBuf>,
    pub to: Option<String>,
    pub recursive: bool,
    pub json: bool,
    pub resume: bool,
}

/// One volume at work.
struct Work<'a> {
    order: &'a Order,
    task: &'a Task,
    door: Door,
    ring: &'a Keyring,
    to: Option<&'a KeyArn>,
    journal: Option<Journal>,
    /// Files of several names that were seen under one of them.
    seen: Mutex<HashSet<(u64, u64)>>,
}

impl Order {
    pub fn run(&self, home: &Home) -> Result<Code> {
        let to = self.to.as_deref().map(|to| home.data_keys().resolve(to)).transpose();
        let to = to.or_else(|error| Err(CliError::of_key(&*home.keyring()?, error)))?;
        let tasks = tasks(home, &self.paths, self.kind.command())?;
        tasks.iter().try_for_each(|task| self.check(task))?;
        let ring = home.keyring()?;
        let mut report = Report::new(self.kind);
        for task in &tasks {
            let journal = match self.kind {
                Kind::Rewrap => None,
                Kind::Reencrypt => Some(Journal::open(&task.volume, self.resume)?),
            };
            let door = Door::open(home, task, self.kind)?;
            let (ring, to, seen) = (&*ring, to.as_ref(), Mutex::default());
            let mut work = Work { order: self, task, door, ring, to, journal, seen };
            work.run(&mut report)?;
            work.door.close()?;
            if let Some(journal) = work.journal.take().filter(|_| report.is_complete()) {
                journal.finish()?;
            }
        }
        if self.json {
            print_json(&report)?;
        } else {
            print(&report.summary())?;
        }
        report.outcome()
    }

    /// A directory is meant with all beneath it only where that is said.
    fn check(&self, task: &Task) -> Result<()> {
        // Joined with nothing, a path would end with a slash.
        let whole = |start: &PathBuf| task.volume.path().components().chain(start.components()).collect();
        match task.starts.iter().map(whole).find(|path: &PathBuf| path.is_dir()) {
            Some(path) if !self.recursive => {
                let what = format!("{} is a directory", path.display());
                Err(CliError::new(exit::USAGE, what).hint("-r means all files beneath it"))
            }
            _ => Ok(()),
        }
    }
}

impl Work<'_> {
    /// Does all files, on all cores.
    fn run(&mut self, report: &mut Report) -> Result<()> {
        let volume = &self.task.volume;
        let walks: io::Result<Vec<_>> =
            self.task.starts.iter().map(|start| Walk::from(volume, start)).collect();
        let walks = walks.map_err(|error| CliError::io(volume.path(), &error))?;
        let found = Mutex::new(walks.into_iter().flatten());
        let mut progress = Progress::new(io::stderr().is_terminal());
        let (sender, receiver) = mpsc::channel();
        let work = &*self;
        thread::scope(|scope| {
            // Gone when nobody reads what is told: then nothing more is done.
            let receiver = receiver;
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                let (sender, found) = (sender.clone(), &found);
                scope.spawn(move || {
                    loop {
                        let Some(next) = found.lock().next() else { return };
                        if work.one(next).is_some_and(|done| sender.send(done).is_err()) {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            loop {
                match receiver.recv_timeout(TICK) {
                    Ok((path, done)) => {
                        if let Some(line) =
                            done.to_text(&volume.path().join(&path)).filter(|_| !work.order.json)
                        {
                            progress.clear();
                            print(&line)?;
                        }
                        report.add(volume.path(), &path, done);
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => (),
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
                progress.show(|| report.progress());
            }
            progress.clear();
            Ok(())
        })
    }

    fn one(&self, found: Found) -> Option<(PathBuf, Done)> {
        match found {
            Found::Directory(_) => None,
            Found::Unreadable(path, error) => Some((path, Done::unreadable(error.to_string()))),
            Found::File(path) => {
                let done = self.file(&path)?;
                Some((path, done))
            }
        }
    }

    /// `None` for a file that is gone, or was seen under another name.
    fn file(&self, path: &Path) -> Option<Done> {
        let header = match header_of(&self.task.volume, path, &self.seen) {
            Seen::Not => return None,
            Seen::Unreadable(why) => return Some(Done::unreadable(why)),
            Seen::Damaged(why) => return Some(Done::damaged(why)),
            Seen::Header(header) => header,
        };
        if self.is_there(&header) {
            return Some(Done::Already);
        }
        let ask = FileAsk::new(self.order.kind.change(), path, self.to.map(KeyArn::as_str));
        Some(match self.door.change(ask) {
            Ok(Some(moved)) => {
                if let Some(journal) = &self.journal
                    && let Seen::Header(header) = header_of(&self.task.volume, path, &Mutex::default())
                    && let Err(error) = journal.add(&header.file_id)
                {
                    log::warn!("{error}");
                }
                Done::Moved(moved)
            }
            Ok(None) => Done::Already,
            Err(refusal) => Done::Refused(refusal),
        })
    }

    /// Whether a file is where it is to go.
    fn is_there(&self, header: &Header) -> bool {
        let key = self.to.unwrap_or(&header.key);
        let id = self.ring.namespace().key_id_of(key);
        let current = id.and_then(|id| self.ring.key(id)).and_then(|key| key.current().map(|one| one.id));
        let is_current =
            *key == header.key && current.is_some_and(|current| *current.as_bytes() == header.material_id);
        match &self.journal {
            None => is_current,
            Some(journal) => is_current && journal.has(&header.file_id),
        }
    }
}
