//! `kmsfs rewrap`: moves the data keys of files to the newest backing key, or to another CMK.

use std::path::PathBuf;

use clap::Args;

use super::error::Result;
use super::exit::Code;
use super::govern::{Kind, Order};
use super::home;

const HELP: &str = "\
Only headers are written: the data key, and what it encrypts, stay. So it protects nothing from somebody who had the old backing key \
and the header: that takes kmsfs reencrypt. It is the way off a CMK that is to be disabled or deleted.

It works where a volume is mounted, and where it is not. Files that are open go on, and obey the new key from then on. Files that are \
where they should be already are left alone, so a run that was stopped is gone on with by running it again.";

/// Move files to the newest backing key of their CMK, or to another CMK.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Rewrap {
    /// Files, or with -r directories, in a volume or a mount
    #[arg(required = true)]
    path: Vec<PathBuf>,
    /// The key to move to: a key id, ARN or alias [default: the one that a file is under]
    #[arg(long, value_name = "KEY")]
    to: Option<String>,
    /// All files beneath directories
    #[arg(short, long)]
    recursive: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Rewrap {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        let Self { path, to, recursive, json } = self;
        Order { kind: Kind::Rewrap, paths: path, to, recursive, json, resume: false }.run(&home)
    }
}
