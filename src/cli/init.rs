//! `kmsfs init`.

use std::path::PathBuf;

use clap::Args;

use super::error::Result;
use super::exit::Code;
use super::{done, home, print};
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
        let arn = home.data_keys().resolve(&key)?;
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
