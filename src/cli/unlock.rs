//! `kmsfs unlock`: back into a home with the recovery code.

use std::path::PathBuf;

use clap::Args;

use super::error::{CliError, Result};
use super::exit::{self, Code};
use super::secrets::{NewSecret, UnlockWith, somebody_is_there};
use super::slot::{caller, secret_of};
use super::{done, home, print};

/// Unlock the home with the recovery code, and set a new slot for the key file or passphrase that is lost.
#[derive(Debug, Args)]
#[command(
    after_help = "The new slot is added; old ones stay, and the recovery code goes on working: kmsfs slot list, kmsfs slot remove N and \
    kmsfs slot change N put that in order."
)]
pub struct Unlock {
    #[command(flatten)]
    with: UnlockWith,
    #[command(flatten)]
    new: NewSecret,
}

impl Unlock {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        if !self.with.by_recovery_code() {
            return Err(CliError::new(exit::USAGE, "nothing says what to unlock with").hint(
                "kmsfs unlock --recovery-code; with a key file or passphrase, every command unlocks by itself",
            ));
        }
        let home = self.with.with_key(|key| home::open_with(given, key))?;
        let new = match self.new.slot()? {
            Some(new) => new,
            None if somebody_is_there() => self.new.passphrase_slot()?,
            None => {
                return Err(CliError::new(
                    exit::USAGE,
                    "nothing says what the new slot is for, and there is no terminal",
                )
                .hint("add --key-file FILE or --passphrase-file FILE"));
            }
        };
        let slot = home.add_slot(&caller(&home), &new)?;
        print(&format!(
            "Slot {} unlocks the home with {}. The recovery code still does, too.\n",
            slot.id,
            secret_of(&new)
        ))?;
        done()
    }
}
