//! `kmsfs status`.

use std::path::PathBuf;

use clap::Args;

use super::error::{CliError, Result, one_line};
use super::exit::Code;
use super::words::number;
use super::{done, home, print, print_json};
use crate::watch;

/// The mounts that use the home.
#[derive(Debug, Args)]
pub struct Status {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let run_dir = home::run_dir(given)?;
        let mut mounts = watch::mounts(&run_dir).map_err(|error| CliError::of_home(&run_dir, &error))?;
        mounts.sort_by(|one, other| one.mountpoint.cmp(&other.mountpoint));
        if self.json {
            print_json(&mounts)?;
            return done();
        }
        if mounts.is_empty() {
            print("Nothing is mounted.\n")?;
        }
        for mount in mounts {
            let line = format!(
                "{} on {}: process {}, {}, {} used",
                mount.dir.display(),
                mount.mountpoint.display(),
                mount.pid,
                number(mount.open_files as u64, "open file"),
                number(mount.keys.len() as u64, "key")
            );
            print(&format!("{}\n", one_line(&line)))?;
        }
        done()
    }
}
