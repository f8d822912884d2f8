//! What became of files, in figures, and its progress on a terminal.

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::{Kind, TICK};
use crate::cli::error::{CliError, Result, one_line};
use crate::cli::exit::{self, Code};
use crate::cli::words::files;
use crate::watch::{FileMoved, FileRefusal, Reason};

/// What became of a file.
#[derive(Debug)]
pub enum Done {
    /// It was moved.
    Moved(FileMoved),
    /// It was there already.
    Already,
    /// It was not moved.
    Refused(FileRefusal),
}

impl Done {
    pub fn unreadable(why: String) -> Self {
        Self::Refused(FileRefusal { reason: Reason::Failed, why })
    }

    pub fn damaged(why: String) -> Self {
        Self::Refused(FileRefusal { reason: Reason::Damaged, why })
    }

    /// A line for people, where there is something to tell.
    pub fn to_text(&self, path: &Path) -> Option<String> {
        let Self::Refused(FileRefusal { reason, why }) = self else { return None };
        let word = match reason {
            Reason::Key => "refused",
            Reason::Damaged => "damaged",
            Reason::Busy => "in use",
            Reason::Gone => return None,
            Reason::Failed => "failed",
        };
        Some(format!("{}\n", one_line(&format!("{word}: {}: {why}", path.display()))))
    }
}

/// All that was done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    files: Vec<Told>,
    summary: Summary,
    #[serde(skip)]
    kind: Kind,
}

/// A file that there is something to tell of.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    volume: String,
    path: String,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    moved: Option<FileMoved>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<FileRefusal>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    moved: u64,
    bytes: u64,
    already: u64,
    key_refused: u64,
    damaged: u64,
    in_use: u64,
    failed: u64,
}

impl Report {
    pub fn new(kind: Kind) -> Self {
        Self { files: Vec::new(), summary: Summary::default(), kind }
    }

    pub fn add(&mut self, volume: &Path, path: &Path, done: Done) {
        let summary = &mut self.summary;
        let (moved, refused) = match done {
            Done::Already => {
                summary.already += 1;
                return;
            }
            Done::Moved(moved) => {
                summary.moved += 1;
                summary.bytes += moved.size;
                (Some(moved), None)
            }
            Done::Refused(refusal) => {
                *match refusal.reason {
                    Reason::Key => &mut summary.key_refused,
                    Reason::Damaged => &mut summary.damaged,
                    Reason::Busy => &mut summary.in_use,
                    Reason::Gone => return,
                    Reason::Failed => &mut summary.failed,
                } += 1;
                (None, Some(refusal))
            }
        };
        let (volume, path) = (volume.display().to_string(), path.display().to_string());
        self.files.push(Told { volume, path, moved, refused });
    }

    /// Whether nothing is left to do.
    pub fn is_complete(&self) -> bool {
        let Summary { key_refused, damaged, in_use, failed, .. } = self.summary;
        key_refused + damaged + in_use + failed == 0
    }

    fn word(&self) -> &'static str {
        match self.kind {
            Kind::Rewrap => "rewrapped",
            Kind::Reencrypt => "re-encrypted",
        }
    }

    /// A line for people.
    pub fn summary(&self) -> String {
        let Summary { moved, bytes, already, key_refused, damaged, in_use, failed } = &self.summary;
        let done = match self.kind {
            Kind::Rewrap => format!("{} rewrapped", files(*moved)),
            Kind::Reencrypt => format!("{} re-encrypted, {bytes} bytes", files(*moved)),
        };
        let more = [
            (*already, "done before"),
            (*key_refused, "refused by the key service"),
            (*damaged, "damaged"),
            (*in_use, "in use"),
            (*failed, "failed"),
        ];
        let more = more.iter().filter(|(count, _)| *count > 0);
        format!("{done}{}\n", more.map(|(count, word)| format!(", {count} {word}")).collect::<String>())
    }

    /// A line for who waits.
    pub fn progress(&self) -> String {
        let Summary { moved, already, bytes, .. } = self.summary;
        format!("{} {}, {} MiB", files(moved + already), self.word(), bytes >> 20)
    }

    /// The exit code, or what is left.
    pub fn outcome(&self) -> Result<Code> {
        let Summary { key_refused, damaged, in_use, failed, .. } = self.summary;
        let left = key_refused + damaged + in_use + failed;
        let (code, hint) = match (damaged, key_refused, in_use, failed) {
            (0, 0, 0, 0) => return Ok(exit::OK),
            (1.., ..) => (exit::DAMAGED, "kmsfs scrub PATH tells what is wrong with them"),
            (0, 1.., ..) => (exit::KEY, "kmsfs keys lists the keys of the home and their states"),
            (0, 0, 1.., _) => (exit::IN_USE, "end what uses them, and repeat the command"),
            (0, 0, 0, 1..) => {
                (exit::FAILURE, "see that the storage is well and has room, and repeat the command")
            }
        };
        let verb = if left == 1 { "was" } else { "were" };
        Err(CliError::new(code, format!("{} {verb} not {}", files(left), self.word())).hint(hint))
    }
}

/// One line on a terminal that is written again and again.
pub struct Progress {
    is_on: bool,
    is_shown: bool,
    next: Instant,
}

impl Progress {
    pub fn new(is_on: bool) -> Self {
        Self { is_on, is_shown: false, next: Instant::now() + TICK }
    }

    /// Whether anybody sees it.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Shows it, where the last time is long enough ago.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        if self.is_on && Instant::now() >= self.next {
            self.next = Instant::now() + TICK;
            let _ = write!(io::stderr(), "\r{}\x1b[K", line());
            self.is_shown = true;
        }
    }

    /// Takes the line away, for what is to stand there.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
