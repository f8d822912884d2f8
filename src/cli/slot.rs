//! `kmsfs slot`: what unlocks the home.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::error::{CliError, Result};
use super::exit::{self, Code};
use super::secrets::{self, NewSecret};
use super::table::table;
use super::words::number;
use super::{done, home, print, print_json};
use crate::kms::{Caller, Via};
use crate::store::slot::{Cost, RecoveryCode, Slot as StoredSlot, SlotKind};
use crate::store::{Home, HomeError, NewSlot};

/// What unlocks the home: key files, passphrases, recovery codes.
#[derive(Debug, Args)]
#[command(
    after_help = "Each slot holds the same root key, sealed for one secret; any of them unlocks the home. Changing or removing a slot does \
    not change the root key: a copy of the home from before still opens with the old secret. See docs/HOME.md."
)]
pub struct Slot {
    #[command(subcommand)]
    command: SlotCommand,
}

#[derive(Debug, Subcommand)]
enum SlotCommand {
    /// Show the slots
    List(List),
    /// Add a slot
    Add(Add),
    /// Remove a slot; the last one stays
    Remove(Remove),
    /// Give a slot another secret, or its passphrase another cost
    Change(Change),
}

/// Show the slots: number, kind, where a key file is or what an attempt at a passphrase costs, and since when.
#[derive(Debug, Args)]
struct List {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Add a slot: for a key file, a passphrase or a recovery code.
#[derive(Debug, Args)]
struct Add {
    /// A new recovery code, which is shown once
    #[arg(long, conflicts_with_all = ["key_file", "passphrase", "passphrase_file"])]
    recovery_code: bool,
    #[command(flatten)]
    secret: NewSecret,
}

/// Remove a slot. The last one cannot be removed, and a key file stays where it is.
#[derive(Debug, Args)]
struct Remove {
    /// The slot's number, as kmsfs slot list shows it
    number: i64,
}

/// Give a slot another secret, or its passphrase another cost.
#[derive(Debug, Args)]
#[command(
    after_help = "Without a secret that is named, a passphrase slot gets a new passphrase, which is asked for, or with only a cost the same \
    passphrase at that cost; the slot of a recovery code gets a new code, which is shown once. The root key stays: a copy of \
    the home from before still opens with the old secret."
)]
struct Change {
    /// The slot's number, as kmsfs slot list shows it
    number: i64,
    /// A new recovery code, which is shown once
    #[arg(long, conflicts_with_all = ["key_file", "passphrase", "passphrase_file"])]
    recovery_code: bool,
    #[command(flatten)]
    secret: NewSecret,
}

/// A slot as it is listed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    slot: i64,
    kind: &'static str,
    key_file: Option<String>,
    argon2: Option<ListedCost>,
    made: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedCost {
    memory_mib: u32,
    iterations: u32,
    lanes: u32,
}

impl Slot {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        match self.command {
            SlotCommand::List(command) => command.run(given),
            SlotCommand::Add(command) => command.run(given),
            SlotCommand::Remove(command) => command.run(given),
            SlotCommand::Change(command) => command.run(given),
        }
    }
}

/// Who the command line is to the key service.
pub fn caller(home: &Home) -> Caller {
    home.caller(rustix::process::getuid().as_raw(), std::process::id(), Via::Cli)
}

impl List {
    fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let slots: Vec<_> = home::open(given)?.slots()?.iter().map(Listed::of).collect();
        if self.json {
            print_json(&slots)?;
        } else {
            print(&people(&slots))?;
        }
        done()
    }
}

impl Listed {
    fn of(slot: &StoredSlot) -> Self {
        let (key_file, argon2) = match &slot.kind {
            SlotKind::KeyFile(path) => (Some(path.display().to_string()), None),
            SlotKind::Passphrase(cost) => (None, Some(ListedCost::of(*cost))),
            SlotKind::RecoveryCode => (None, None),
        };
        let made = slot.made.map(|made| made.to_string());
        Self { slot: slot.id, kind: slot.kind.name(), key_file, argon2, made }
    }
}

impl ListedCost {
    fn of(cost: Cost) -> Self {
        Self { memory_mib: cost.memory_mib(), iterations: cost.iterations(), lanes: cost.lanes() }
    }
}

impl fmt::Display for ListedCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory_mib, iterations, lanes } = *self;
        let (iterations, lanes) = (number(iterations.into(), "iteration"), number(lanes.into(), "lane"));
        write!(f, "{memory_mib} MiB, {iterations}, {lanes}")
    }
}

fn people(slots: &[Listed]) -> String {
    let head = ["SLOT", "KIND", "KEY FILE OR COST", "MADE"].map(str::to_owned);
    let rows = slots.iter().map(|slot| {
        let cost = slot.argon2.as_ref().map(|cost| format!("Argon2id, {cost}"));
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            slot.slot.to_string(),
            slot.kind.to_owned(),
            or_dash(slot.key_file.clone().or(cost)),
            or_dash(slot.made.clone()),
        ]
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

impl Add {
    fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        let new = match self.secret.slot()? {
            Some(new) => new,
            None if self.recovery_code => {
                self.secret.cost().refuse_without_passphrase()?;
                NewSlot::RecoveryCode(RecoveryCode::random())
            }
            None => {
                return Err(CliError::new(exit::USAGE, "nothing says what the new slot is for").hint(
                    "kmsfs slot add --key-file FILE, --passphrase, --passphrase-file FILE or --recovery-code",
                ));
            }
        };
        let slot = home.add_slot(&caller(&home), &new)?;
        tell(&new, slot.id, &format!("Slot {} unlocks the home with {}.\n", slot.id, secret_of(&new)))
    }
}

impl Remove {
    fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        let removed = home.remove_slot(&caller(&home), self.number)?;
        let mut text = format!("Slot {} is removed; {STILL_OPENS}\n", removed.id);
        if let SlotKind::KeyFile(path) = &removed.kind {
            text += &format!("The key file {} is left where it is.\n", path.display());
        }
        if home.slots()?.iter().all(|slot| slot.kind == SlotKind::RecoveryCode) {
            text += "Only a recovery code unlocks the home now: kmsfs unlock --recovery-code sets another slot.\n";
        }
        print(&text)?;
        done()
    }
}

/// What removing or changing a slot does not do.
const STILL_OPENS: &str = "a copy of the home from before still opens with the old secret.";

impl Change {
    fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        let new = self.new_secret(&home)?;
        let slot = home.change_slot(&caller(&home), self.number, &new)?;
        tell(
            &new,
            slot.id,
            &format!("Slot {} unlocks the home with {} now; {STILL_OPENS}\n", slot.id, secret_of(&new)),
        )
    }

    fn new_secret(&self, home: &Home) -> Result<NewSlot> {
        let slot = home.slot(self.number)?;
        if let Some(new) = self.secret.slot()? {
            return Ok(new);
        }
        if self.recovery_code || slot.kind == SlotKind::RecoveryCode {
            self.secret.cost().refuse_without_passphrase()?;
            return Ok(NewSlot::RecoveryCode(RecoveryCode::random()));
        }
        if let SlotKind::KeyFile(_) = slot.kind {
            return Err(CliError::new(
                exit::USAGE,
                format!("slot {} is for a key file, and no other is named", slot.id),
            )
            .hint(format!("kmsfs slot change {} --key-file FILE", slot.id)));
        }
        if !self.secret.cost().is_given() {
            return self.secret.passphrase_slot();
        }
        let cost = self.secret.cost().cost()?;
        let passphrase = secrets::present_passphrase()?;
        if !home.slot_takes(slot.id, &passphrase)? {
            return Err(HomeError::PassphraseWrong.into());
        }
        Ok(NewSlot::Passphrase(passphrase, cost))
    }
}

/// What a slot is for, in a sentence.
pub fn secret_of(new: &NewSlot) -> String {
    match new {
        NewSlot::KeyFile(path) => format!("the key file {}", path.display()),
        NewSlot::Passphrase(_, cost) => format!("the passphrase ({})", ListedCost::of(*cost)),
        NewSlot::RecoveryCode(_) => "a recovery code".to_owned(),
    }
}

/// Prints what was done, and a new recovery code.
fn tell(new: &NewSlot, slot: i64, text: &str) -> Result<Code> {
    let NewSlot::RecoveryCode(code) = new else {
        print(text)?;
        return done();
    };
    let what = "write it down, and keep it apart from the home. It is not shown again.";
    let text = zeroize::Zeroizing::new([text, &secrets::shown(code, what)].concat());
    print(&text).map_err(|error| {
        error.hint(format!("kmsfs slot change {slot} --recovery-code shows a code again, another one"))
    })?;
    done()
}
