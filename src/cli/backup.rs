//! `kmsfs home`: the home in one file, and back.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::error::{CliError, Result};
use super::exit::Code;
use super::secrets::UnlockWith;
use super::shell::word;
use super::slot::caller;
use super::{done, home, print};
use crate::store::slot::SlotKind;
use crate::store::{Home, HomeError};

/// Back up the home to one file, or make a home of such a file.
#[derive(Debug, Args)]
#[command(
    after_help = "A backup is sealed: it is read with a secret of one of the slots that the home had then, and with nothing else. Losing the \
    home means losing every file of its volumes: see docs/HOME.md."
)]
pub struct HomeCommand {
    #[command(subcommand)]
    command: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Write the home to a file, also while it is in use
    Backup(Backup),
    /// Make a home of a backup
    Restore(Restore),
}

/// Write the keys, slots and audit log to one sealed file (mode 0600), also while mounts and other commands use the home.
#[derive(Debug, Args)]
struct Backup {
    /// The file, which must not exist
    file: PathBuf,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

/// Make a home of a backup, where there is none (--home). A key file that is elsewhere now: KMSFS_KEY_FILE=FILE.
#[derive(Debug, Args)]
struct Restore {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    with: UnlockWith,
}

impl HomeCommand {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        match self.command {
            Which::Backup(command) => command.run(given),
            Which::Restore(command) => command.run(given),
        }
    }
}

impl Backup {
    fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        home.backup(&caller(&home), &self.file, self.force)?;
        print(&format!(
            "{} holds the home {}. Any of its slots opens it: keep key files and recovery codes elsewhere.\n",
            self.file.display(),
            home.dir().display()
        ))?;
        done()
    }
}

impl Restore {
    fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let dir = home::directory(given)?;
        let home = self.with.with_key(|key| {
            Home::restore(&dir, &self.file, key).map_err(|error| match error {
                // What is there may be what the backup is to take the place of.
                HomeError::AlreadyExists(ref taken) => {
                    let hint = format!(
                        "name another directory with --home, or move this away: mv {0} {0}.old",
                        word(taken)
                    );
                    CliError::from(error).hint(hint)
                }
                error => error.into(),
            })
        })?;
        let mut text = format!(
            "The home is {}, as it was when the backup was made: what was disabled, rotated or deleted since is not in it.\n",
            home.dir().display()
        );
        for slot in home.slots()? {
            if let SlotKind::KeyFile(path) = &slot.kind
                && !path.exists()
            {
                text += &format!(
                    "Slot {id} is for the key file {}, which is not there: KMSFS_KEY_FILE names a copy, and kmsfs slot change \
                     {id} --key-file FILE says where it is from now on.\n",
                    path.display(),
                    id = slot.id
                );
            }
        }
        print(&text)?;
        done()
    }
}
