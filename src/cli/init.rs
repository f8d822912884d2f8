//! `kmsfs init`.

use std::path::PathBuf;

use clap::Args;

use super::error::{CliError, Result};
use super::exit::{self, Code};
use super::{done, home, print};
use crate::volume::Volume;

/// Make an encrypted directory.
#[derive(Debug, Args)]
pub struct Init {
    /// An empty directory, or one that is to be made
    dir: PathBuf,
    /// The key of new files, which must be named: a key id, ARN or alias. An alias is resolved whenever a file is made
    #[arg(long)]
    key: Option<String>,
}

impl Init {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        let key = self.key.ok_or_else(|| {
            CliError::new(exit::USAGE, "no key is named for the files of the volume").hint(
                "kmsfs kms create-key and kmsfs kms create-alias --alias-name alias/NAME --target-key-id ID make one; \
                 then kmsfs init DIR --key alias/NAME",
            )
        })?;
        let arn = home.data_keys().resolve(&key)?;
        let volume = Volume::init(&self.dir, &key, &*home.authenticator())?;
        let named = if key == arn.as_str() { String::new() } else { format!(", at present {arn}") };
        print(&format!(
            "{} is a volume now. New files are encrypted under {key}{named}.\n",
            volume.path().display()
        ))?;
        done()
    }
}
