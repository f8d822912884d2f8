//! Where the command line gets secrets from: files, the environment's word for files, the terminal. Never an argument.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use super::error::{CliError, Result};
use super::exit;
use super::terminal::Terminal;
use crate::store::slot::{Cost, CostRequest, Passphrase, RecoveryCode, read_secret};
use crate::store::{HomeError, Key, Keychain, NewSlot};

/// What `--help` shows of variables.
pub const ENVIRONMENT: &str = "\
Environment:
  KMSFS_HOME             where the local key service lives, without --home
  KMSFS_KEY_FILE         the key file, in place of those that the slots of the home name
  KMSFS_PASSPHRASE_FILE  the file that the passphrase is read from; - is standard input
  KMSFS_LOG              what is logged to standard error: error, warn, info, debug, trace";

/// Names the file that the passphrase is read from.
const PASSPHRASE_FILE: &str = "KMSFS_PASSPHRASE_FILE";
/// Names the key file that is used in place of those that the slots name.
const KEY_FILE: &str = "KMSFS_KEY_FILE";
/// How often a passphrase is asked for.
const ATTEMPTS: u32 = 3;

/// As for other variables of this kind, empty is not set.
fn named(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The environment, and the person at the terminal.
#[derive(Debug, Clone, Copy)]
pub struct CommandLine;

impl Keychain for CommandLine {
    fn key_file(&self) -> Option<PathBuf> {
        named(KEY_FILE)
    }

    fn passphrase(&mut self, attempt: u32) -> std::result::Result<Option<Passphrase>, HomeError> {
        if let Some(file) = passphrase_file() {
            return if attempt == 0 { Passphrase::read(&file).map(Some) } else { Ok(None) };
        }
        let Some(terminal) = Terminal::open().filter(|_| attempt < ATTEMPTS) else { return Ok(None) };
        let failed = |error| HomeError::Io("/dev/tty".into(), error);
        if attempt > 0 {
            terminal.say("That does not unlock the home.").map_err(failed)?;
        }
        asked(&terminal, "Passphrase of the home: ").map(Some)
    }
}

fn asked(terminal: &Terminal, question: &str) -> std::result::Result<Passphrase, HomeError> {
    let line = terminal.ask(question).or_else(|error| match error.kind() {
        // Ctrl-D: an answer without a letter.
        io::ErrorKind::UnexpectedEof => Ok(Zeroizing::default()),
        _ => Err(HomeError::Io("/dev/tty".into(), error)),
    })?;
    Passphrase::new(line, "the terminal")
}

/// A passphrase that unlocks already: from KMSFS_PASSPHRASE_FILE, else asked for once.
pub fn present_passphrase() -> Result<Passphrase> {
    let passphrase = CommandLine.passphrase(0)?;
    passphrase.ok_or_else(|| HomeError::PassphraseMissing(None).into())
}

/// The file that KMSFS_PASSPHRASE_FILE names.
pub fn passphrase_file() -> Option<PathBuf> {
    named(PASSPHRASE_FILE)
}

/// A new passphrase: from the file, else asked for twice on the terminal.
pub fn new_passphrase(file: Option<&Path>) -> Result<Passphrase> {
    if let Some(file) = file {
        return Ok(Passphrase::read(file)?);
    }
    let Some(terminal) = Terminal::open() else {
        return Err(CliError::new(exit::USAGE, "there is no terminal to ask for a new passphrase on")
            .hint("--passphrase-file FILE, or - for standard input, gives it; --key-file FILE takes a key file instead"));
    };
    let new = asked(&terminal, "New passphrase: ")?;
    if new.is(&asked(&terminal, "The same again: ")?) {
        return Ok(new);
    }
    Err(CliError::new(exit::USAGE, "the two passphrases are not the same").hint("repeat the command"))
}

/// A recovery code that somebody wrote down: from the file, else asked for on the terminal.
fn recovery_code(file: Option<&Path>) -> Result<RecoveryCode> {
    let text = match (file, Terminal::open()) {
        (Some(file), _) => read_secret(file)?,
        (None, Some(terminal)) => {
            terminal.ask("Recovery code: ").map_err(|error| CliError::io(Path::new("/dev/tty"), &error))?
        }
        (None, None) => {
            return Err(CliError::new(exit::LOCKED, "there is no terminal to ask for the recovery code on")
                .hint("--recovery-code-file FILE, or - for standard input, gives it"));
        }
    };
    Ok(RecoveryCode::parse(&text).map_err(HomeError::RecoveryCodeInvalid)?)
}

/// What a home is unlocked with, where a recovery code may be.
#[derive(Debug, Args)]
pub struct UnlockWith {
    /// Unlock with the recovery code, which is asked for on the terminal
    #[arg(long)]
    recovery_code: bool,
    /// Unlock with the recovery code in this file; - is standard input
    #[arg(long, value_name = "FILE")]
    recovery_code_file: Option<PathBuf>,
}

impl UnlockWith {
    /// Whether a recovery code is to be used.
    pub fn by_recovery_code(&self) -> bool {
        self.recovery_code || self.recovery_code_file.is_some()
    }

    /// Runs `work` with the key.
    pub fn with_key<T>(&self, work: impl FnOnce(Key<'_>) -> Result<T>) -> Result<T> {
        if self.by_recovery_code() {
            let code = recovery_code(self.recovery_code_file.as_deref())?;
            return work(Key::RecoveryCode(&code));
        }
        work(Key::Keychain(&mut CommandLine))
    }
}

/// The cost of a passphrase slot.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cost of a passphrase (Argon2id)")]
pub struct CostOptions {
    /// Memory that one attempt takes, in MiB [default: 64]
    #[arg(long, value_name = "MIB")]
    argon2_memory: Option<u32>,
    /// Passes over that memory [default: measured, so that one attempt takes half a second here, and at least 3]
    #[arg(long, value_name = "N")]
    argon2_iterations: Option<u32>,
    /// Lanes [default: 4]
    #[arg(long, value_name = "N")]
    argon2_lanes: Option<u32>,
}

impl CostOptions {
    /// Whether any is given.
    pub fn is_given(&self) -> bool {
        self.request() != CostRequest::default()
    }

    fn request(&self) -> CostRequest {
        CostRequest {
            memory_mib: self.argon2_memory,
            iterations: self.argon2_iterations,
            lanes: self.argon2_lanes,
        }
    }

    /// The cost; measured where it is not given.
    pub fn cost(&self) -> Result<Cost> {
        Ok(Cost::calibrated(self.request())?)
    }

    /// A cost without a passphrase is a misunderstanding.
    pub fn refuse_without_passphrase(&self) -> Result<()> {
        if self.is_given() {
            return Err(CliError::new(
                exit::USAGE,
                "the cost is that of a passphrase, and none is to be set",
            )
            .hint("leave --argon2-memory, --argon2-iterations and --argon2-lanes out, or add --passphrase"));
        }
        Ok(())
    }
}

/// What a new slot is for.
#[derive(Debug, Clone, Args)]
pub struct NewSecret {
    /// A key file: made with random bytes if it is absent, used if it exists
    #[arg(long, value_name = "FILE", conflicts_with_all = ["passphrase", "passphrase_file"])]
    key_file: Option<PathBuf>,
    /// A passphrase, asked for twice on the terminal
    #[arg(long)]
    passphrase: bool,
    /// The passphrase in this file, whose last line end is not part of it; - is standard input
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    cost: CostOptions,
}

impl NewSecret {
    /// The slot that is asked for; `None` where nothing says of which kind it is to be.
    pub fn slot(&self) -> Result<Option<NewSlot>> {
        if let Some(file) = &self.key_file {
            self.cost.refuse_without_passphrase()?;
            return Ok(Some(NewSlot::KeyFile(file.clone())));
        }
        if self.passphrase || self.passphrase_file.is_some() {
            return self.passphrase_slot().map(Some);
        }
        Ok(None)
    }

    /// One for a passphrase, whether or not that was said.
    pub fn passphrase_slot(&self) -> Result<NewSlot> {
        // Bounds are looked at before anybody types.
        let cost = self.cost.cost()?;
        Ok(NewSlot::Passphrase(new_passphrase(self.passphrase_file.as_deref())?, cost))
    }

    /// The cost that is asked for.
    pub fn cost(&self) -> &CostOptions {
        &self.cost
    }
}

/// Whether somebody is there to be asked.
pub fn somebody_is_there() -> bool {
    Terminal::open().is_some()
}

/// How a recovery code is shown, the one time that it is.
pub fn shown(code: &RecoveryCode, what: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("The recovery code is {}: {what}\n", *code.reveal()))
}
