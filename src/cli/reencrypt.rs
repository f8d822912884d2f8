//! `kmsfs reencrypt`: gives files new data keys, and encrypts their content anew.

use std::path::PathBuf;

use clap::Args;

use super::error::Result;
use super::exit::Code;
use super::govern::{Kind, Order};
use super::home;

const HELP: &str = "\
Every byte is encrypted again, under a new data key that the newest backing key wraps. Of all commands this is the one that protects \
a file from somebody who had the old backing key; copies of the ciphertext that were taken before can be read with it all the same.

A file is replaced as a whole: stopped at any instant, by kill -9 too, the old file or the new one is there. The inode stays, and with \
it hard links, owner, mode, access control lists, extended attributes, the time of modification and open descriptors. While it is done, \
the volume needs free space of the size of the files that are re-encrypted at a time, two at least.

It works where a volume is mounted, and where it is not. Who uses a file that is open waits while it is put in place, and while all of it is \
encrypted where it is written to all the time. A file that is open and larger than 256 MiB, or written to all the time and larger than \
64 MiB, is not re-encrypted: it is named, with the processes that use it, and the exit code is 22. A volume that is mounted read-only is \
to be unmounted first.";

/// Encrypt files anew, under new data keys.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Reencrypt {
    /// Files, or with -r directories, in a volume or a mount
    #[arg(required = true)]
    path: Vec<PathBuf>,
    /// The key to move to: a key id, ARN or alias [default: the one that a file is under]
    #[arg(long, value_name = "KEY")]
    to: Option<String>,
    /// All files beneath directories
    #[arg(short, long)]
    recursive: bool,
    /// Go on with a run that was stopped: leave the files out that it re-encrypted
    #[arg(long)]
    resume: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Reencrypt {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        let Self { path, to, recursive, json, resume } = self;
        Order { kind: Kind::Reencrypt, paths: path, to, recursive, json, resume }.run(&home)
    }
}
