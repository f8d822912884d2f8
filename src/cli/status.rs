//! `kmsfs status`.

use std::path::PathBuf;

use clap::Args;

use super::error::{CliError, Result};
use super::exit::Code;
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
        let mut mounts = watch::mounts(&run_dir).map_err(|error| CliError::io(&run_dir, &error))?;
        mounts.sort_by(|one, other| one.mountpoint.cmp(&other.mountpoint));
        if self.json {
            print_json(&mounts)?;
            return done();
        }
        if mounts.is_empty() {
            print("Nothing is mounted.\n")?;
        }
        for mount in mounts {
            print(&format!(
                "{} on {}: process {}, {} open files, {} keys used\n",
                mount.dir.display(),
                mount.mountpoint.display(),
                mount.pid,
                mount.open_files,
                mount.keys.len()
            ))?;
        }
        done()
    }
}
