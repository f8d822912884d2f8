//! `kmsfs scrub`: verifies every chunk, tag sector, index sector and content root of files, and repairs what can be repaired.
//!
//! Without `--repair` it changes nothing and works beside a mount. With it the volume is locked as a mount locks it.

mod check;
mod report;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::thread;

use clap::Args;
use parking_lot::Mutex;
use rustix::fs::OFlags;

use super::error::{CliError, Result, of_open};
use super::exit::{self, Code};
use super::govern::{Progress, TICK};
use super::targets::{Task, tasks};
use super::words::files;
use super::{home, print, print_json};
use crate::datakey::DataKeys;
use crate::fs::offline::Offline;
use crate::fs::{Filesystem, Options};
use crate::store::Home;
use crate::volume::dirty::DirtyList;
use crate::volume::lock::WriterLock;
use crate::volume::records::{self, Oddity};
use crate::volume::walk::{self, Found, Walk};
use crate::volume::{Volume, VolumeError};
use check::{Checked, Checker, State};
use report::Report;

/// How audit records name this command.
const NAME: &str = "kmsfs scrub";

const HELP: &str = "\
Damage is printed with the file, the part and its bytes; the exit code is 20 where some is left. Files whose key cannot be used are \
named as not checked, and files that a mount writes meanwhile as in use.

--repair recovers files that a killed mount left half written; makes files that cannot be opened, as after a loss of power, ones that \
can, with every chunk that authenticates; and confirms content roots. It makes no content up: what is lost fails to read until it \
is written again. Each repair is recorded in the audit log. The volume must not be mounted, except read-only.";

/// Verify files, byte by byte.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Scrub {
    /// Files or directories in a volume or a mount, or whole volumes
    #[arg(required = true)]
    path: Vec<PathBuf>,
    /// Mend what can be mended
    #[arg(long)]
    repair: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Scrub {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        let mut report = Report::default();
        for task in tasks(&home, &self.path, NAME)? {
            self.scrub(&home, &task, &mut report)?;
        }
        if self.json {
            print_json(&report)?;
        } else {
            print(&report.summary())?;
        }
        self.outcome(&report)
    }

    fn scrub(&self, home: &Home, task: &Task, report: &mut Report) -> Result<()> {
        let volume = &task.volume;
        let lock = if self.repair { Some(lock(volume)?) } else { None };
        let live = lock.is_none() && WriterLock::holder(volume)?.is_some();
        let keys = home.data_keys_for(NAME);
        if self.repair {
            finish_reencryption(home, volume)?;
        }
        let dirty = DirtyList::open(volume)?;
        if task.starts.iter().any(|start| start.as_os_str().is_empty()) {
            self.records(volume, live, report)?;
        }
        let walks: io::Result<Vec<_>> = task.starts.iter().map(|start| Walk::from(volume, start)).collect();
        let walks = walks.map_err(|error| CliError::io(volume.path(), &error))?;
        let found = Mutex::new(walks.into_iter().flatten());
        let bytes = AtomicU64::new(0);
        let checker = Checker {
            volume,
            auth: &*home.authenticator(),
            offline: Offline {
                keys: &*keys as &dyn DataKeys,
                volume: volume.id(),
                root: Some(volume.path()),
                live,
            },
            dirty: self.repair.then_some(&dirty),
            seen: Mutex::new(HashSet::new()),
            bytes: &bytes,
        };
        let mut progress = Progress::new(io::stderr().is_terminal());
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            // Gone when nobody reads what is told: then nothing more is checked.
            let receiver = receiver;
            let workers = thread::available_parallelism().map_or(1, usize::from);
            for _ in 0..workers {
                let (sender, found, checker) = (sender.clone(), &found, &checker);
                scope.spawn(move || work(found, checker, &sender));
            }
            drop(sender);
            loop {
                match receiver.recv_timeout(TICK) {
                    Ok(checked) => {
                        if checked.is_news() {
                            progress.clear();
                            self.tell(volume, &checked)?;
                        }
                        report.add(volume, checked);
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => (),
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
                progress.show(|| report.progress(&bytes));
            }
            progress.clear();
            Ok::<_, CliError>(())
        })?;
        Ok(dirty.finish()?)
    }

    /// The volume's own records.
    fn records(&self, volume: &Volume, live: bool, report: &mut Report) -> Result<()> {
        for odd in records::oddities(volume)? {
            let text = match &odd {
                // A mount may be making it just now.
                Oddity::Leftover(_) if live => continue,
                Oddity::Leftover(_) if self.repair => {
                    records::remove_leftover(volume, &odd)?;
                    "was left over by who was killed while making a file, and is removed"
                }
                Oddity::Leftover(_) => "is left over by who was killed while making a file",
                Oddity::Unknown(_) => "is nothing that kmsfs made",
            };
            let checked = Checked::odd(odd.path().clone(), text);
            self.tell(volume, &checked)?;
            report.add(volume, checked);
        }
        Ok(())
    }

    fn tell(&self, volume: &Volume, checked: &Checked) -> Result<()> {
        if self.json { Ok(()) } else { print(&checked.to_text(volume.path())) }
    }

    fn outcome(&self, report: &Report) -> Result<Code> {
        let hint = if self.repair {
            "what is lost is in no part of the file any more: put back a backup of its ciphertext; kmsfs decrypt --skip-bad FILE \
             reads the rest"
        } else {
            "kmsfs scrub --repair PATH mends what can be mended; kmsfs decrypt --skip-bad FILE reads the rest of a file"
        };
        match (report.damaged(), report.unreadable(), report.checked()) {
            (0, 0, 0) if report.not_checked() > 0 => {
                Err(CliError::new(exit::KEY, "no file could be checked: their keys cannot be used")
                    .hint("kmsfs keys lists the keys of the home and their states"))
            }
            (0, 0, _) => Ok(exit::OK),
            (0, unreadable, _) => {
                Err(CliError::new(exit::FAILURE, format!("{} cannot be read", files(unreadable)))
                    .hint("run the command as the user whose they are, and see that the storage is well"))
            }
            (damaged, ..) => Err(CliError::new(
                exit::DAMAGED,
                format!(
                    "{} damaged",
                    if damaged == 1 { "1 file is".into() } else { format!("{damaged} files are") }
                ),
            )
            .hint(hint)),
        }
    }
}

/// What a stopped `kmsfs reencrypt` left half done is ended first.
fn finish_reencryption(home: &Home, volume: &Volume) -> Result<()> {
    let path = volume.path();
    let volume = Volume::open(path, &*home.authenticator())?;
    let fs = Filesystem::new(volume, home.data_keys_for(NAME), home.authenticator(), Options::default());
    let finished = fs.and_then(|fs| fs.finish_reencryption());
    finished.map_err(|error| of_open(path, error))
}

/// The right to change the volume's files.
fn lock(volume: &Volume) -> Result<WriterLock> {
    WriterLock::acquire_as(volume, "kmsfs scrub --repair").map_err(|error| {
        let is_held = matches!(error, VolumeError::Locked { .. });
        let error = CliError::from(error);
        if is_held {
            error
                .hint("kmsfs umount MOUNTPOINT first; without --repair it can be checked where it is mounted")
        } else {
            error
        }
    })
}

/// Checks what is found, until there is no more or nobody listens.
fn work<'a>(
    found: &Mutex<impl Iterator<Item = Found> + 'a>,
    checker: &Checker<'_>,
    sender: &mpsc::Sender<Checked>,
) {
    loop {
        let Some(next) = found.lock().next() else { return };
        let checked = match next {
            Found::File(path) => checker.file(path),
            Found::Directory(path) => checker.directory(path),
            Found::Unreadable(path, error) => Some(Checked::new(path, State::Unreadable(error.to_string()))),
        };
        if checked.is_some_and(|checked| sender.send(checked).is_err()) {
            return;
        }
    }
}

/// Opens what a walk found.
fn open(volume: &Volume, path: &Path, writable: bool) -> io::Result<std::os::fd::OwnedFd> {
    walk::open(volume, path, if writable { OFlags::RDWR } else { OFlags::RDONLY })
}

/// A path within the volume, as records name it.
fn within(path: &Path) -> &OsStr {
    path.as_os_str()
}
