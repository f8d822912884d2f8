//! `kmsfs decrypt`: the content of one file, without FUSE. Memory is bounded, whatever the file's size.
//!
//! It reads beside a mount that writes: a file that changes meanwhile is read again, or the command says that it changed. What it
//! writes is authentic, chunk by chunk; with `--skip-bad` the rest is zeros, and named.

mod output;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;

use super::error::{CliError, Result, of_open};
use super::exit::{self, Code};
use super::inspect::ciphertext_of;
use super::{complain, done, home};
use crate::fs::FsError;
use crate::fs::backing::FdBacking;
use crate::fs::file::{Examination, FileError, Finding, Part};
use crate::fs::offline::Offline;
use crate::store::Home;
use crate::volume::Volume;
use crate::volume::lock::WriterLock;
use output::Output;

/// How audit records name this command.
const NAME: &str = "kmsfs decrypt";
/// How often a file that changes is read, and how long to wait in between.
pub const ATTEMPTS: u32 = 5;
pub const PAUSE: Duration = Duration::from_millis(200);

const HELP: &str = "\
OUT is written beside its name and gets it when all of it is on disk, with mode 0600; holes stay holes. An OUT that exists is \
replaced only with --force. Without -o the content goes to standard output, and to a terminal only where it is text: -o - writes \
it there in any case.

Without --skip-bad the first part that does not authenticate ends the command: nothing is left at OUT, and what went to standard \
output before is right but not all. With it each such part is reported and written as zeros, and the exit code is 21.";

/// A file's content, without a mount.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Decrypt {
    /// The file's ciphertext in the volume, a copy of it anywhere, or the file in a mount
    file: PathBuf,
    /// Write to OUT instead of standard output
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Replace OUT where it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// Write zeros for what does not authenticate, and go on
    #[arg(long)]
    skip_bad: bool,
    /// The id of the file's volume, where FILE is a copy outside of it (`id` in its .kmsfs/volume.json)
    #[arg(long, value_name = "ID")]
    volume_id: Option<String>,
}

/// The file and what its data key is bound to.
struct Source {
    /// As it was given.
    given: PathBuf,
    fd: Arc<OwnedFd>,
    volume: String,
    /// The volume's directory, where the file is in one.
    root: Option<PathBuf>,
    /// Within the volume, as far as it is known.
    path: OsString,
    live: bool,
}

/// How reading a file once ended.
enum Outcome {
    /// All of it is written; so many bytes are zeros in place of what is lost.
    Done { lost: u64, findings: Vec<String> },
    /// It changed meanwhile.
    Changed,
}

/// Why a file is not read to its end.
enum Stop {
    Changed,
    Wrong(Box<Finding>),
    File(FileError),
    Output(CliError),
}

impl From<FileError> for Stop {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl Decrypt {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        let source = self.source(&home)?;
        let mut output = Output::open(self.output.as_deref(), self.force, &source.fd)?;
        let keys = home.data_keys_for(NAME);
        let (volume, root, live) = (&*source.volume, source.root.as_deref(), source.live);
        let offline = Offline { keys: &*keys, volume, root, live };
        for attempt in 1.. {
            let mut examination = match offline.examine(source.fd.clone(), &source.path) {
                Ok(examination) => examination,
                // A header that is being written just now need not authenticate.
                Err(FsError::File { .. }) if source.live && attempt < ATTEMPTS => {
                    thread::sleep(PAUSE);
                    continue;
                }
                Err(error) => return Err(of_open(&source.given, error)),
            };
            match self.copy(&source, &offline, &mut examination, &mut output) {
                Ok(Outcome::Done { lost, findings }) => {
                    let key = examination.header().wrapped.key;
                    offline.report_damage(&source.path, Some(&key), &findings);
                    output.finish(examination.size())?;
                    return self.end(&source, lost, findings.len());
                }
                // Whoever reads the output has enough of it.
                Err(Stop::Output(error)) if error.code == exit::OK => return done(),
                Err(Stop::Output(error)) => return Err(error),
                Err(Stop::File(error)) => return Err(of_open(&source.given, named(&source, error))),
                Err(Stop::Wrong(finding)) => {
                    let key = examination.header().wrapped.key;
                    offline.report_damage(&source.path, Some(&key), &[finding.to_string()]);
                    return Err(refused(&source, &finding, &output));
                }
                Ok(Outcome::Changed) | Err(Stop::Changed) => {
                    if attempt == ATTEMPTS || !output.restart()? {
                        return Err(changed(&source, &output));
                    }
                    thread::sleep(PAUSE);
                }
            }
        }
        done()
    }

    /// Opens the file, and finds out which volume it is of.
    fn source(&self, home: &Home) -> Result<Source> {
        let given = self.file.clone();
        let path = ciphertext_of(home, &given)?;
        let mut options = std::fs::OpenOptions::new();
        // Without waiting for the other end of a pipe.
        options.read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
        let file = options.open(&path).map_err(|error| CliError::io(&given, &error))?;
        if !file.metadata().map_err(|error| CliError::io(&given, &error))?.is_file() {
            return Err(CliError::new(exit::USAGE, format!("{} is not a regular file", given.display()))
                .hint("name a file; kmsfs mount shows a whole directory"));
        }
        let fd = Arc::new(OwnedFd::from(file));
        if let Some(volume) = &self.volume_id {
            let path = given.clone().into_os_string();
            return Ok(Source { given, fd, volume: volume.clone(), root: None, path, live: false });
        }
        let (root, within) = Volume::find(&path).ok_or_else(|| {
            CliError::new(exit::VOLUME, format!("{} is in no kmsfs volume, and in no mount of this home", given.display()))
                .hint(
                    "a copy of a file needs its volume's id as well: kmsfs decrypt --volume-id ID FILE, with the id that is in \
                     the volume's .kmsfs/volume.json",
                )
        })?;
        let volume = Volume::open(&root, &*home.authenticator())?;
        let live = WriterLock::holder(&volume)?.is_some();
        let (id, path) = (volume.id().to_owned(), within.into_os_string());
        Ok(Source { given, fd, volume: id, root: Some(root), path, live })
    }

    /// Writes the file once.
    fn copy(
        &self,
        source: &Source,
        offline: &Offline<'_>,
        examination: &mut Examination<FdBacking>,
        output: &mut Output,
    ) -> std::result::Result<Outcome, Stop> {
        let mut log =
            Log { given: &source.given, is_on: self.skip_bad, pending: None, told: Vec::new(), lost: 0 };
        let is_changing = |examination: &Examination<FdBacking>| {
            let is_replaced = offline.is_replaced(examination).map_err(FileError::from);
            is_replaced.and_then(|replaced| Ok(replaced || examination.is_changing()?)).map_err(Stop::File)
        };
        if let Some(finding) = examination.refusal() {
            if is_changing(examination)? {
                return Ok(Outcome::Changed);
            }
            log.note(finding)?;
        }
        let examination = &*examination;
        examination.parts(|part| match part {
            Part::Data(offset, bytes) => output.data(offset, bytes).map_err(Stop::Output),
            Part::Hole(range) => output.zeros(range).map_err(Stop::Output),
            Part::Wrong(finding) => {
                if is_changing(examination)? {
                    return Err(Stop::Changed);
                }
                let lost = (!finding.readable).then(|| finding.bytes.clone());
                log.note(finding)?;
                lost.map_or(Ok(()), |range| output.zeros(range)).map_err(Stop::Output)
            }
        })?;
        if is_changing(examination)? {
            return Ok(Outcome::Changed);
        }
        log.flush();
        output.flush().map_err(Stop::Output)?;
        Ok(Outcome::Done { lost: log.lost, findings: log.told })
    }

    fn end(&self, source: &Source, lost: u64, findings: usize) -> Result<Code> {
        if findings == 0 {
            return done();
        }
        let what = format!("{}: {lost} bytes are lost, and zeros in their place", source.given.display());
        Err(CliError::new(exit::SKIPPED, what).hint(
            "put back a backup of the file's ciphertext; kmsfs scrub --repair makes it one that a mount opens again",
        ))
    }
}

/// Reports what is wrong, or refuses it.
struct Log<'a> {
    given: &'a Path,
    is_on: bool,
    pending: Option<Finding>,
    told: Vec<String>,
    lost: u64,
}

impl Log<'_> {
    fn note(&mut self, finding: Finding) -> std::result::Result<(), Stop> {
        if !self.is_on {
            return Err(Stop::Wrong(Box::new(finding)));
        }
        if self.pending.as_mut().is_some_and(|pending| pending.absorb(&finding)) {
            return Ok(());
        }
        self.flush();
        self.pending = Some(finding);
        Ok(())
    }

    fn flush(&mut self) {
        let Some(finding) = self.pending.take() else { return };
        let told = finding.to_string();
        let what = if finding.readable { "" } else { ": zeros" };
        complain(&super::error::one_line(&format!("kmsfs: {}: {told}{what}", self.given.display())));
        if !finding.readable {
            self.lost += finding.bytes.end - finding.bytes.start;
        }
        self.told.push(told);
    }
}

/// The first part that does not authenticate.
fn refused(source: &Source, finding: &Finding, output: &Output) -> CliError {
    let written = match output.written() {
        0 => String::new(),
        bytes => format!("; the {bytes} bytes before it are right, and written"),
    };
    CliError::new(exit::DAMAGED, format!("{}: {finding}{written}", source.given.display())).hint(
        "put back a backup of the file's ciphertext, or read the rest: kmsfs decrypt --skip-bad -o OUT FILE",
    )
}

fn changed(source: &Source, output: &Output) -> CliError {
    let written = if output.written() == 0 { "" } else { ": what is written is not all of one time" };
    CliError::new(
        exit::FAILURE,
        format!("{} was written to while it was read{written}", source.given.display()),
    )
    .hint("read it in its mount, or when nothing writes to it: kmsfs status lists the mounts")
}

fn named(source: &Source, error: FileError) -> FsError {
    FsError::File { path: source.given.display().to_string(), error }
}

/// Whether two descriptors are of one file.
fn is_same(one: &OwnedFd, other: &File) -> io::Result<bool> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}
