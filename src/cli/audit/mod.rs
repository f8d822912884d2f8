//! `kmsfs audit`: the records of the home, for people and programs.

mod filter;
mod show;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

pub use self::filter::event_of;
use self::filter::{Filter, Filters, Search};
use self::show::Show;
use super::error::{CliError, Result};
use super::exit::{self, Code};
use super::slot::caller;
use super::words::number;
use super::{done, home, print, print_json};
use crate::store::Home;
use crate::store::audit::FILE_LEN;
use crate::store::audit::verify::Finding;

/// How often a followed log is looked at.
const PAUSE: Duration = Duration::from_millis(200);
/// How many findings of a verification are shown: the first is where to look.
const SHOWN: usize = 10;
const MIB: u64 = 1024 * 1024;

/// The audit log: show, search, follow and verify its records.
#[derive(Debug, Args)]
#[command(
    after_help = "Every operation is recorded before it is answered, allowed or refused: docs/KEYS.md tells of the records and their chain."
)]
pub struct Audit {
    #[command(subcommand)]
    command: Which,
}

const UNAUTHENTIC: &str = "A ! before a record says that it does not authenticate: it was changed, or is from before the log was a chain.";

#[derive(Debug, Subcommand)]
enum Which {
    /// The last records, and with -f what comes
    #[command(after_help = UNAUTHENTIC)]
    Tail(Tail),
    /// Every record that fits, the oldest first, in all files of the log
    #[command(after_help = UNAUTHENTIC)]
    Search(Find),
    /// Whether a record was changed, removed, moved or put in
    #[command(
        after_help = "The exit code is 0 where nothing is wrong and 15 where something is; the first bad record is named."
    )]
    Verify(Verify),
    /// Begin another file of the log now, or set how large a file becomes
    Rotate(Rotate),
}

/// The last records.
#[derive(Debug, Args)]
struct Tail {
    /// Go on with what is recorded from now on
    #[arg(short, long)]
    follow: bool,
    /// How many records
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: usize,
    #[command(flatten)]
    filters: Filters,
    /// The records as they are, one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Every record that fits.
#[derive(Debug, Args)]
struct Find {
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    search: Search,
    /// The records as they are, one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Verify every record of every file.
#[derive(Debug, Args)]
struct Verify {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Begin another file of the log now. The chain goes on in it.
#[derive(Debug, Args)]
struct Rotate {
    /// Not now, but whenever a file has become this large (64 unless set; processes that run go on as before)
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    max_size: Option<u64>,
}

impl Audit {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        match self.command {
            Which::Tail(command) => command.run(&home),
            Which::Search(command) => command.run(&home),
            Which::Verify(command) => command.run(&home),
            Which::Rotate(command) => command.run(&home),
        }
    }
}

impl Tail {
    fn run(self, home: &Home) -> Result<Code> {
        let filter = Filter::new(home, self.filters, Search::default())?;
        let mut show = Show::new(home, self.json)?;
        let mut last = VecDeque::new();
        let follower = home.log().each_backwards(
            |_| ControlFlow::Continue(true),
            |entry| {
                if last.len() < self.lines && filter.takes(&entry.record) {
                    last.push_front(entry);
                }
                if last.len() < self.lines { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            },
        );
        let mut follower = follower.map_err(|error| failed(home, &error))?;
        last.iter().try_for_each(|entry| show.entry(entry))?;
        while self.follow && !show.is_over() {
            for entry in follower.more().map_err(|error| failed(home, &error))? {
                if filter.takes(&entry.record) {
                    show.entry(&entry)?;
                }
            }
            thread::sleep(PAUSE);
        }
        done()
    }
}

impl Find {
    fn run(self, home: &Home) -> Result<Code> {
        let filter = Filter::new(home, self.filters, self.search)?;
        let mut show = Show::new(home, self.json)?;
        let mut outcome = Ok(());
        let read = home.log().each(|entry| {
            if filter.takes(&entry.record) {
                outcome = show.entry(&entry);
            }
            if outcome.is_ok() && !show.is_over() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        read.map_err(|error| failed(home, &error))?;
        outcome?;
        done()
    }
}

/// What a verification says to programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verified {
    ok: bool,
    records: u64,
    files: Vec<String>,
    earlier_bytes: u64,
    notes: Vec<Told>,
    bad: Vec<Told>,
}

#[derive(Serialize)]
struct Told {
    file: String,
    line: u64,
    what: String,
}

impl From<Finding> for Told {
    fn from(Finding { file, line, what }: Finding) -> Self {
        Self { file, line, what }
    }
}

impl Verify {
    fn run(self, home: &Home) -> Result<Code> {
        let report = home.verify_records()?;
        let first = report.bad.first().map(|bad| (bad.file.clone(), bad.line, bad.what.clone()));
        let said = Verified {
            ok: first.is_none(),
            records: report.records,
            files: report.files,
            earlier_bytes: report.earlier_bytes,
            notes: report.notes.into_iter().map(Told::from).collect(),
            bad: report.bad.into_iter().map(Told::from).collect(),
        };
        match self.json {
            true => print_json(&said)?,
            false => print(&people(&said))?,
        }
        let Some((file, line, what)) = first else { return done() };
        let at = format!("{}, line {line}: {what}", home.dir().join(file).display());
        Err(CliError::new(exit::RECORDS, at).hint(
            "what was there is not brought back: compare with a copy of the log, and ask who could write to the home",
        ))
    }
}

/// A verification in words.
fn people(said: &Verified) -> String {
    let mut text = String::new();
    let line = |told: &Told| format!("{}, line {}: {}\n", told.file, told.line, told.what);
    said.notes.iter().for_each(|told| text += &format!("note: {}", line(told)));
    said.bad.iter().take(SHOWN).for_each(|told| text += &format!("bad: {}", line(told)));
    if said.bad.len() > SHOWN {
        text += &format!("bad: {} more\n", said.bad.len() - SHOWN);
    }
    let files = said.files.len();
    if said.earlier_bytes > 0 {
        text += &format!(
            "{} bytes are from before the chain: its first record covers them as they were when it began.\n",
            said.earlier_bytes
        );
    }
    if said.ok {
        let (records, files) = (number(said.records, "record"), number(files as u64, "file"));
        text += &format!("{records} in {files}: each as it was written, and none is missing.\n");
    }
    text
}

impl Rotate {
    fn run(self, home: &Home) -> Result<Code> {
        match self.max_size {
            Some(mib) => {
                let len = mib.saturating_mul(MIB);
                home.set_record_file_len(&caller(home), Some(len).filter(|len| *len != FILE_LEN))?;
                print(&format!(
                    "A file of the audit log becomes {mib} MiB, for processes that start from now on.\n"
                ))?;
            }
            None => {
                home.rotate_records(&caller(home))?;
                print("The audit log goes on in another file.\n")?;
            }
        }
        done()
    }
}

fn failed(home: &Home, error: &std::io::Error) -> CliError {
    CliError::of_home(&home.dir().join(crate::store::audit::FILE_NAME), error)
}
