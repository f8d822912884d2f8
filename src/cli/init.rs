//! `kmsfs init`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::error::{CliError, Result};
use super::exit::{self, Code};
use super::{done, home, mountpoints, print};
use crate::kms::id::AliasName;
use crate::volume::Volume;

/// Make an encrypted directory.
#[derive(Debug, Args)]
pub struct Init {
    /// An empty directory, or one that is to be made
    dir: PathBuf,
    /// The key of new files: a key id, ARN or alias. An alias is resolved whenever a file is made
    #[arg(long, default_value = AliasName::MANAGED)]
    key: String,
}

impl Init {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        let key = self.key;
        let arn = home.data_keys().resolve(&key);
        let arn = arn.or_else(|error| Err(CliError::of_key(&*home.keyring()?, error)))?;
        check_place(&self.dir)?;
        let volume = Volume::init(&self.dir, &key, &*home.authenticator())?;
        if let Err(error) = home.note_volume(volume.id(), volume.path(), None) {
            log::warn!("the home does not remember the volume: {}", error.words());
        }
        let named = if key == arn.as_str() { String::new() } else { format!(", at present {arn}") };
        print(&format!(
            "{} is a volume now. New files are encrypted under {key}{named}.\n",
            volume.path().display()
        ))?;
        done()
    }
}

/// One volume does not lie in another, nor in the place of its files.
fn check_place(dir: &Path) -> Result<()> {
    let shown = dir.display();
    let whole = fs::canonicalize(dir).unwrap_or_default();
    if mountpoints::on(&whole).is_some_and(|mount| mount.is_ours()) {
        return Err(CliError::new(exit::VOLUME, format!("{shown} is where a volume is mounted"))
            .hint("name a directory apart from it; kmsfs status lists the mounts"));
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match Volume::find(parent) {
        None => Ok(()),
        Some((volume, _)) => {
            Err(CliError::new(exit::VOLUME, format!("{shown} lies in the volume {}", volume.display())).hint(
                "name a directory apart from it: what is among its ciphertext would be taken for its files",
            ))
        }
    }
}
