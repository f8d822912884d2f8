//! `kmsfs impact`: which files a key governs, and so which would stop being readable with it (rule DEL-4). It reads headers, and
//! no key is needed for it.

mod count;
mod report;

use std::path::{Path, PathBuf};

use clap::Args;

use super::error::{CliError, Result};
use super::exit::{self, Code};
use super::targets::{Task, tasks};
use super::words::files;
use super::{home, print, print_json};
use crate::datakey::KeyArn;
use crate::kms::id::KeyId;
use crate::kms::reference::{self, Form};
use crate::kms::ring::Keyring;
use crate::store::Home;
use crate::store::audit::usage::Uses;
use crate::volume::Volume;
use crate::watch::{self, MountStatus};
pub use count::{Counted, count};
use report::{Absent, OfVolume, Report};

/// How this command is called.
const NAME: &str = "kmsfs impact KEY";

const HELP: &str = "\
Without DIR it counts every volume that was made or mounted with this home. Headers say which key a file needs; only they are read, \
whatever the key's state. A file of several names counts once. Files whose header cannot be read are named, and the exit code is 20, \
or 1 where they cannot be opened.";

/// Which files a key governs.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Impact {
    /// A key id, ARN or alias
    key: String,
    /// Volumes, or files and directories in a volume or a mount [default: all volumes that the home knows of]
    dir: Vec<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Impact {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        let ring = home.keyring()?;
        let arn = key_of(&ring, &self.key)?;
        let report = match self.dir.as_slice() {
            [] => of_known(&home, &arn)?,
            dirs => of_tasks(&home, &arn, tasks(&home, dirs, NAME)?, Vec::new())?,
        };
        if self.json {
            print_json(&report)?;
        } else {
            print(&report.to_text())?;
        }
        outcome(&report)
    }
}

/// The ARN of a key that is or was here.
fn key_of(ring: &Keyring, named: &str) -> Result<KeyArn> {
    if let Ok(found) = reference::find(ring, named, Form::Any) {
        return Ok(ring.namespace().key_arn(found.record.id));
    }
    let arn = KeyArn::new(named);
    let id = KeyId::parse(named).or_else(|| ring.namespace().key_id_of(&arn));
    match id.filter(|id| ring.tombstone(*id).is_some()) {
        Some(id) => Ok(ring.namespace().key_arn(id)),
        None => Err(CliError::no_key(ring, named)),
    }
}

/// What a key governs in all volumes that the home knows of. What can be printed of it goes to standard error, where that is asked for.
fn of_known(home: &Home, arn: &KeyArn) -> Result<Report> {
    let ring = home.keyring()?;
    let (mut tasks, mut absent) = (Vec::new(), Vec::new());
    for known in ring.volumes() {
        match Volume::open(Path::new(&known.path), &*home.authenticator()) {
            Ok(volume) if volume.id() == known.id => {
                tasks.push(Task { volume, starts: vec![PathBuf::new()] })
            }
            Ok(_) => absent.push(Absent {
                id: known.id.clone(),
                path: known.path.clone(),
                why: format!("{}: another volume is there now", known.path),
            }),
            Err(error) => {
                absent.push(Absent { id: known.id.clone(), path: known.path.clone(), why: error.to_string() })
            }
        }
    }
    of_tasks(home, arn, tasks, absent)
}

fn of_tasks(home: &Home, arn: &KeyArn, tasks: Vec<Task>, absent: Vec<Absent>) -> Result<Report> {
    let mounts = watch::mounts(home.run_dir()).map_err(|error| CliError::of_home(home.run_dir(), &error))?;
    let open_in = |of: &dyn Fn(&MountStatus) -> bool| -> usize {
        let mounts = mounts.iter().filter(|mount| of(mount));
        mounts.filter_map(|mount| mount.open_by_key.get(arn.as_str())).sum()
    };
    let mut volumes = Vec::new();
    for task in &tasks {
        let volume = &task.volume;
        let counted = count(volume, &task.starts, Some(arn.as_str()))
            .map_err(|error| CliError::io(volume.path(), &error))?;
        if task.starts.iter().any(|start| start.as_os_str().is_empty()) {
            note(home, volume, &counted);
        }
        let open = open_in(&|mount| mount.volume_id == volume.id());
        volumes.push(OfVolume::new(volume.id(), volume.path(), arn.as_str(), open, &counted));
    }
    let ring = home.keyring()?;
    let id = ring.namespace().key_id_of(arn);
    let key = id.and_then(|id| ring.key(id));
    let aliases = ring.aliases().filter(|alias| Some(alias.key) == id);
    let mut uses = home.uses(&ring, std::slice::from_ref(arn))?;
    let Uses { used, refused, .. } = uses.remove(arn).unwrap_or_default();
    // What was refused before the last use is of no matter any more.
    let refused = refused.filter(|refused| used.as_ref().is_none_or(|used| used.time <= refused.time));
    Ok(Report {
        key: arn.to_string(),
        aliases: aliases.map(|alias| alias.name.to_string()).collect(),
        state: key.map_or("Deleted", |key| key.record.state.name()).to_owned(),
        current_version: key.and_then(|key| key.current()).map(|material| material.version),
        files: volumes.iter().map(|volume| volume.files).sum(),
        bytes: volumes.iter().map(|volume| volume.bytes).sum(),
        open_files: open_in(&|_| true),
        volumes,
        absent,
        last_use: used.map(Into::into),
        last_refusal: refused.map(Into::into),
    })
}

/// Has the home remember a count. That it cannot is no reason to keep the count from who asked.
pub fn note(home: &Home, volume: &Volume, counted: &Counted) {
    if let Err(error) = home.note_volume(volume.id(), volume.path(), Some(counted.usage())) {
        log::warn!("the count of {} is not remembered: {}", volume.path().display(), error.words());
    }
}

/// What would stop being readable with a key, for who has just scheduled its deletion (rule DEL-4); nothing where nothing is known to
/// need it.
pub fn warning(home: &Home, arn: &KeyArn) -> Result<Option<String>> {
    let report = of_known(home, arn)?;
    Ok((report.is_used() || !report.absent.is_empty()).then(|| report.to_text()))
}

fn outcome(report: &Report) -> Result<Code> {
    let counted = |count: usize| files(count as u64);
    match (report.damaged(), report.unreadable()) {
        (0, 0) => Ok(exit::OK),
        (0, unreadable) => {
            Err(CliError::new(exit::FAILURE, format!("{} cannot be read", counted(unreadable)))
                .hint("run the command as the user whose they are, and see that the storage is well"))
        }
        (damaged, _) => Err(CliError::new(
            exit::DAMAGED,
            format!(
                "{} without a header that can be read: which key is needed is not known",
                counted(damaged)
            ),
        )
        .hint("kmsfs scrub PATH tells what is wrong with them")),
    }
}
