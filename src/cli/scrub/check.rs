//! Checking one file or directory.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;
use rustix::fs::OFlags;
use serde::Serialize;

use super::{open, within};
use crate::cli::decrypt::{ATTEMPTS, PAUSE};
use crate::cli::error::one_line;
use crate::datakey::{Authenticator, DataKeyError};
use crate::fs::FsError;
use crate::fs::file::{FileError, Finding, Part};
use crate::fs::offline::Offline;
use crate::volume::dirty::DirtyList;
use crate::volume::{Volume, VolumeError, records, walk};

/// What became of something that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state", content = "why")]
pub enum State {
    /// Everything is there and authentic.
    Whole,
    /// Something is lost or altered.
    Damaged,
    /// Its key cannot be used.
    NotChecked(String),
    /// It was written meanwhile.
    InUse,
    /// It cannot be opened or read.
    Unreadable(String),
    /// Something in `.kmsfs` that should not be there.
    Odd(String),
}

/// Something that is wrong, for people and programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_byte: Option<u64>,
    /// Whether those bytes can be read all the same.
    readable: bool,
}

/// What was seen of a file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    path: String,
    #[serde(flatten)]
    pub state: State,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Told>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<String>,
}

impl From<&Finding> for Told {
    fn from(finding: &Finding) -> Self {
        let bytes = (!finding.bytes.is_empty()).then_some(&finding.bytes);
        Self {
            what: finding.to_string(),
            first_byte: bytes.map(|bytes| bytes.start),
            last_byte: bytes.map(|bytes| bytes.end - 1),
            readable: finding.readable,
        }
    }
}

impl Checked {
    pub fn new(path: PathBuf, state: State) -> Self {
        let path = path.to_string_lossy().into_owned();
        Self { path, state, findings: Vec::new(), done: Vec::new() }
    }

    pub fn odd(path: PathBuf, what: &str) -> Self {
        Self::new(path, State::Odd(what.to_owned()))
    }

    fn damaged(path: PathBuf, what: String) -> Self {
        let told = Told { what, first_byte: None, last_byte: None, readable: false };
        Self { findings: vec![told], ..Self::new(path, State::Damaged) }
    }

    /// Whether there is something to tell.
    pub fn is_news(&self) -> bool {
        self.state != State::Whole || !self.done.is_empty()
    }

    /// Lines for people.
    pub fn to_text(&self, volume: &Path) -> String {
        let path = volume.join(&self.path);
        let line = |word: &str, what: &str| {
            format!("{}\n", one_line(&format!("{word}: {}: {what}", path.display())))
        };
        let mut text: String = self.done.iter().map(|done| line("repaired", done)).collect();
        match &self.state {
            State::Whole => (),
            State::Damaged => text.extend(self.findings.iter().map(|told| line("damaged", &told.what))),
            State::NotChecked(why) => text += &line("not checked", why),
            State::InUse => text += &line("in use", "it was written to while it was checked"),
            State::Unreadable(why) => text += &line("unreadable", why),
            State::Odd(what) => text += &line("odd", what),
        }
        text
    }
}

/// Checks what lies in one volume; many threads share it.
pub struct Checker<'a> {
    pub volume: &'a Volume,
    pub auth: &'a dyn Authenticator,
    pub offline: Offline<'a>,
    /// The list of dirty files, where files are to be repaired.
    pub dirty: Option<&'a DirtyList>,
    /// Files of several names that were checked under one of them: device and inode.
    pub seen: Mutex<HashSet<(u64, u64)>>,
    /// Bytes of content so far.
    pub bytes: &'a AtomicU64,
}

impl Checker<'_> {
    /// Checks a file, and repairs it where that is asked for; `None` where it is gone, or known under another name.
    pub fn file(&self, path: PathBuf) -> Option<Checked> {
        let fd = match open(self.volume, &path, self.dirty.is_some()) {
            Ok(fd) => Arc::new(fd),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return Some(Checked::new(path, State::Unreadable(error.to_string()))),
        };
        match self.is_known(&fd) {
            Ok(true) => None,
            Ok(false) => Some(match self.dirty {
                Some(dirty) => self.repair(path, fd, dirty),
                None => self.verify(path, fd),
            }),
            Err(error) => Some(Checked::new(path, State::Unreadable(error.to_string()))),
        }
    }

    /// Checks a directory's default key.
    pub fn directory(&self, path: PathBuf) -> Option<Checked> {
        let checked = walk::open(self.volume, &path, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|error| VolumeError::Io(path.clone(), error))
            .and_then(|fd| records::check_directory(fd, self.volume, self.auth));
        match checked {
            Ok(()) => None,
            Err(VolumeError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(VolumeError::Io(_, error)) => Some(Checked::new(path, State::Unreadable(error.to_string()))),
            Err(error) => Some(Checked::damaged(path, error.to_string())),
        }
    }

    fn is_known(&self, fd: &OwnedFd) -> io::Result<bool> {
        let stat = rustix::fs::fstat(fd)?;
        Ok(stat.st_nlink > 1 && !self.seen.lock().insert((stat.st_dev, stat.st_ino)))
    }

    fn verify(&self, path: PathBuf, fd: Arc<OwnedFd>) -> Checked {
        for attempt in 1.. {
            let before = self.bytes.load(Ordering::Relaxed);
            match self.verify_once(&path, &fd) {
                Ok(Some(findings)) if findings.is_empty() => return Checked::new(path, State::Whole),
                Ok(Some(findings)) => {
                    let findings = findings.iter().map(Told::from).collect();
                    return Checked { findings, ..Checked::new(path, State::Damaged) };
                }
                Ok(None) if attempt == ATTEMPTS => return Checked::new(path, State::InUse),
                // A header that is being written just now need not authenticate.
                Err(FsError::File { .. }) if self.offline.live && attempt < ATTEMPTS => thread::sleep(PAUSE),
                Ok(None) => {
                    self.bytes.store(before, Ordering::Relaxed);
                    thread::sleep(PAUSE);
                }
                Err(error) => return self.refused(path, error),
            }
        }
        Checked::new(path, State::InUse)
    }

    /// Looks at a file once: what is wrong with it, or `None` where it changed meanwhile.
    fn verify_once(&self, path: &Path, fd: &Arc<OwnedFd>) -> Result<Option<Vec<Finding>>, FsError> {
        let named = |error| FsError::File { path: path.display().to_string(), error };
        let mut examination = self.offline.examine(fd.clone(), within(path))?;
        let mut findings = Vec::from_iter(examination.refusal());
        examination
            .parts(|part| {
                match part {
                    Part::Wrong(finding) => Finding::join(&mut findings, finding),
                    Part::Data(_, bytes) => drop(self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed)),
                    Part::Hole(_) => (),
                }
                Ok(())
            })
            .map_err(named)?;
        let is_replaced = || self.offline.is_replaced(&examination);
        if examination.is_changing().map_err(named)? || is_replaced()? {
            return Ok(None);
        }
        let key = examination.header().wrapped.key;
        let texts: Vec<_> = findings.iter().map(ToString::to_string).collect();
        self.offline.report_damage(within(path), Some(&key), &texts);
        Ok(Some(findings))
    }

    fn repair(&self, path: PathBuf, fd: Arc<OwnedFd>, dirty: &DirtyList) -> Checked {
        let repaired = match self.offline.repair(fd, within(&path)) {
            Ok(repaired) => repaired,
            Err(error) => return self.refused(path, error),
        };
        let repair = repaired.repair;
        self.bytes.fetch_add(repair.size, Ordering::Relaxed);
        if dirty.entries().iter().any(|(id, _)| *id == repaired.file_id)
            && let Err(error) = dirty.remove(&repaired.file_id)
        {
            log::warn!("{} stays on the list of dirty files: {error}", path.display());
        }
        let state = if repair.left.is_empty() { State::Whole } else { State::Damaged };
        Checked {
            findings: repair.left.iter().map(Told::from).collect(),
            done: repair.done.iter().map(ToString::to_string).collect(),
            ..Checked::new(path, state)
        }
    }

    /// What an error means for a file.
    fn refused(&self, path: PathBuf, error: FsError) -> Checked {
        let damaged = |path: PathBuf, what: String| {
            self.offline.report_damage(within(&path), None, std::slice::from_ref(&what));
            Checked::damaged(path, what)
        };
        match error {
            FsError::Key(DataKeyError::Inauthentic) => damaged(path, DataKeyError::Inauthentic.to_string()),
            FsError::Key(error) => Checked::new(path, State::NotChecked(error.to_string())),
            FsError::File { error: FileError::Io(error), .. } => {
                Checked::new(path, State::Unreadable(error.to_string()))
            }
            FsError::File { error, .. } => damaged(path, error.to_string()),
            error => Checked::new(path, State::Unreadable(error.to_string())),
        }
    }
}
