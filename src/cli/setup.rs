//! `kmsfs setup`.

use std::path::PathBuf;

use clap::Args;

use super::error::Result;
use super::exit::Code;
use super::{done, home, print};
use crate::store::{Home, SetupOptions};

/// Make a home: a key store that a key file unlocks.
#[derive(Debug, Args)]
pub struct Setup {
    /// The file that unlocks the home: made if it is absent, used if it exists. Without it, or a copy, everything is lost
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The account in the keys' ARNs: 12 digits
    #[arg(long, default_value = "000000000000")]
    account: String,
    /// The region in the keys' ARNs
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// A clock that can be moved by hand, for lessons and tests
    #[arg(long)]
    simulated_clock: bool,
}

impl Setup {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let dir = home::directory(given)?;
        let options = SetupOptions {
            key_file: self.key_file.clone(),
            account: self.account,
            region: self.region,
            simulated_clock: self.simulated_clock,
        };
        let home = Home::setup(&dir, &options)?;
        print(&format!(
            "The home is {}.\nThe key file is {}: keep a copy of it somewhere else. Without it nothing can be decrypted.\n",
            home.dir().display(),
            self.key_file.display()
        ))?;
        done()
    }
}
