//! `kmsfs setup`.

use std::path::PathBuf;

use clap::Args;

use super::error::{CliError, Result};
use super::exit::{self, Code};
use super::secrets::{self, CostOptions};
use super::{done, home, print};
use crate::store::slot::RecoveryCode;
use crate::store::{Home, NewSlot, SetupOptions};

/// Make a home: a key store that a key file or a passphrase unlocks, and a recovery code that is shown once.
#[derive(Debug, Args)]
pub struct Setup {
    /// A key file that unlocks the home: made if it is absent, used if it exists
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// A passphrase that unlocks the home, asked for twice on the terminal [default without --key-file, or what
    /// KMSFS_PASSPHRASE_FILE names]
    #[arg(long)]
    passphrase: bool,
    /// The passphrase in this file, whose last line end is not part of it; - is standard input
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Make no recovery code. If the key file or passphrase is lost then, everything is
    #[arg(long)]
    no_recovery_code: bool,
    /// The account in the keys' ARNs: 12 digits
    #[arg(long, default_value = SetupOptions::ACCOUNT)]
    account: String,
    /// The region in the keys' ARNs
    #[arg(long, default_value = SetupOptions::REGION)]
    region: String,
    /// A clock that can be moved by hand, for lessons and tests
    #[arg(long)]
    simulated_clock: bool,
    /// Take imported key material that is wrapped with RSAES_PKCS1_V1_5, which AWS KMS refuses since October 2023: for lessons
    /// and old HSMs
    #[arg(long)]
    legacy_wrapping: bool,
    #[command(flatten)]
    cost: CostOptions,
}

impl Setup {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        self.check()?;
        let dir = home::directory(given)?;
        // Nobody is asked for a passphrase of what cannot be made.
        Home::check_free(&dir)?;
        let code = (!self.no_recovery_code).then(RecoveryCode::random);
        let options = SetupOptions {
            slots: self.slots(code.as_ref())?,
            account: self.account,
            region: self.region,
            simulated_clock: self.simulated_clock,
            legacy_wrapping: self.legacy_wrapping,
        };
        let home = Home::setup(&dir, &options)?;
        let mut text = zeroize::Zeroizing::new(format!("The home is {}.\n", home.dir().display()));
        let without = match code {
            Some(_) => "Without it or the recovery code",
            None => "Without it",
        };
        if let Some(file) = &self.key_file {
            text.push_str(&format!(
                "The key file is {}: keep a copy of it somewhere else. {without} nothing can be decrypted.\n",
                file.display()
            ));
        } else {
            text.push_str(&format!("A passphrase unlocks it. {without} nothing can be decrypted.\n"));
        }
        if let Some(code) = &code {
            let what = "write it down, and keep it apart from the home. It is not shown again.";
            text.push_str(&secrets::shown(code, what));
        }
        print(&text).map_err(|error| match code {
            Some(_) => error.hint(
                "the home is made; kmsfs slot add --recovery-code shows a recovery code again, another one",
            ),
            None => error,
        })?;
        done()
    }

    fn wants_passphrase(&self) -> bool {
        self.passphrase || self.passphrase_file.is_some() || self.key_file.is_none()
    }

    /// The file of the passphrase. There is no passphrase yet that KMSFS_PASSPHRASE_FILE could name but the new one.
    fn passphrase_file(&self) -> Option<PathBuf> {
        let named = || (!self.passphrase).then(secrets::passphrase_file).flatten();
        self.passphrase_file.clone().or_else(named)
    }

    /// Somebody must be there where nothing says what is to unlock the home.
    fn check(&self) -> Result<()> {
        if self.key_file.is_some() || self.passphrase_file().is_some() || secrets::somebody_is_there() {
            return Ok(());
        }
        Err(CliError::new(
            exit::USAGE,
            "nothing is to unlock the home: neither --key-file nor --passphrase-file is given, and there is no terminal \
             to ask for a passphrase on",
        )
        .hint("kmsfs setup --help"))
    }

    fn slots(&self, code: Option<&RecoveryCode>) -> Result<Vec<NewSlot>> {
        let mut slots: Vec<_> = self.key_file.iter().cloned().map(NewSlot::KeyFile).collect();
        if self.wants_passphrase() {
            let cost = self.cost.cost()?;
            let passphrase = secrets::new_passphrase(self.passphrase_file().as_deref())?;
            slots.push(NewSlot::Passphrase(passphrase, cost));
        } else {
            self.cost.refuse_without_passphrase()?;
        }
        slots.extend(code.cloned().map(NewSlot::RecoveryCode));
        Ok(slots)
    }
}
