//! The command line: arguments, commands and output. The one place that prints, and the composition root.
//!
//! A command answers `Result<Code>`; an error is one line that names the thing, one `hint:` with the next command, and an exit
//! code of [`exit`]. `kmsfs kms` is a world of its own: there output, errors and codes are those of `aws kms`.

mod alarm;
mod audit;
mod backup;
mod clock;
mod credentials;
mod decrypt;
mod error;
pub mod exit;
mod govern;
mod home;
mod impact;
mod init;
mod inspect;
mod keys;
mod kms;
mod last_use;
mod mount;
mod mountpoints;
mod observer;
mod reencrypt;
mod rewrap;
mod scrub;
mod secrets;
mod serve;
mod setup;
mod shell;
mod similar;
mod slot;
mod status;
mod table;
mod targets;
mod terminal;
mod umount;
mod unlock;
mod users;
mod words;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use error::{CliError, Result};
use exit::Code;

/// Encrypted directories whose files obey the state of their keys.
#[derive(Debug, Parser)]
#[command(name = "kmsfs", version, after_help = format!("{}\n\n{}", secrets::ENVIRONMENT, exit::HELP), disable_help_subcommand = true)]
struct Cli {
    /// Where the local key service lives [default: $KMSFS_HOME, else $XDG_DATA_HOME/kmsfs, else
    /// ~/.local/share/kmsfs]
    #[arg(long, value_name = "DIR", global = true)]
    home: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a home: a key store that a key file, a passphrase or a recovery code unlocks
    Setup(setup::Setup),
    /// What unlocks the home: list, add, remove or change its slots
    Slot(slot::Slot),
    /// Unlock the home with the recovery code, and set a new slot
    Unlock(unlock::Unlock),
    /// Back up the home to one sealed file, or restore it from one
    Home(backup::HomeCommand),
    /// The audit log: show, search, follow and verify its records
    Audit(audit::Audit),
    /// What is done when a key is used that should not be
    Alarm(alarm::Alarm),
    /// What clients of the server sign their requests with: create, list and revoke
    Credentials(credentials::Credentials),
    /// The key service, with the operations, flags and output of `aws kms`
    #[command(disable_help_flag = true)]
    Kms(kms::Kms),
    /// Serve the keys over HTTP, to clients of AWS KMS
    Serve(serve::Serve),
    /// Make an encrypted directory
    Init(init::Init),
    /// Mount an encrypted directory
    Mount(mount::Mount),
    /// Unmount, and wait until everything is committed
    Umount(umount::Umount),
    /// The keys of the home, for people
    Keys(keys::Keys),
    /// What a file's header says
    Inspect(inspect::Inspect),
    /// The home's clock, and what falls due by it
    Clock(clock::Clock),
    /// The mounts that use the home
    Status(status::Status),
    /// A file's content, without a mount
    Decrypt(decrypt::Decrypt),
    /// Verify files, byte by byte, and repair them
    Scrub(scrub::Scrub),
    /// Which files a key governs
    Impact(impact::Impact),
    /// Move files to the newest backing key of their CMK, or to another CMK
    Rewrap(rewrap::Rewrap),
    /// Encrypt files anew, under new data keys
    Reencrypt(reencrypt::Reencrypt),
}

/// Parses the arguments, runs the command, and answers the exit code of the process.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse_from(arguments()) {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
    };
    start_log();
    if let Err(error) = crate::sys::harden_process() {
        log::warn!("core dumps of this process are not prevented: {error}");
    }
    let outcome = match cli.command {
        Command::Setup(command) => command.run(cli.home),
        Command::Slot(command) => command.run(cli.home),
        Command::Unlock(command) => command.run(cli.home),
        Command::Home(command) => command.run(cli.home),
        Command::Audit(command) => command.run(cli.home),
        Command::Alarm(command) => command.run(cli.home),
        Command::Credentials(command) => command.run(cli.home),
        Command::Kms(command) => command.run(cli.home),
        Command::Serve(command) => command.run(cli.home),
        Command::Init(command) => command.run(cli.home),
        Command::Mount(command) => command.run(cli.home),
        Command::Umount(command) => command.run(cli.home),
        Command::Keys(command) => command.run(cli.home),
        Command::Inspect(command) => command.run(cli.home),
        Command::Clock(command) => command.run(cli.home),
        Command::Status(command) => command.run(cli.home),
        Command::Decrypt(command) => command.run(cli.home),
        Command::Scrub(command) => command.run(cli.home),
        Command::Impact(command) => command.run(cli.home),
        Command::Rewrap(command) => command.run(cli.home),
        Command::Reencrypt(command) => command.run(cli.home),
    };
    match outcome {
        Ok(code) => code.into(),
        Err(error) => {
            complain(&error.to_string());
            error.code.into()
        }
    }
}

/// The arguments of this process. mount(8) calls a filesystem's program with a directory, a mount point and options
/// (`mount.fuse3(8)`): where the first word is an absolute path, the command is mount. And who asks for help as other programs give it gets it.
fn arguments() -> Vec<OsString> {
    let mut words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| Path::new(word).is_absolute()) {
        words.insert(1, "mount".into());
    }
    if words.get(1).is_some_and(|word| word == "help") {
        words.remove(1);
        words.push("--help".into());
    }
    words
}

/// Help and version as they are; anything else in the form of every error.
fn not_understood(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return match told(error.print()) {
            Ok(()) => u8::try_from(error.exit_code()).map_or(exit::FAILURE.into(), ExitCode::from),
            Err(error) => {
                complain(&error.to_string());
                error.code.into()
            }
        };
    }
    let text = error.to_string();
    let what = text.split("\n\n").next().unwrap_or_default();
    let what: Vec<_> = what.trim_start_matches("error: ").split_whitespace().collect();
    let hint = match meant(error) {
        Some(meant) => format!("{}; did you mean {meant}?", help_of_words()),
        None => help_of_words(),
    };
    complain(&CliError::new(exit::USAGE, what.join(" ")).hint(hint).to_string());
    exit::USAGE.into()
}

/// What is known and reads almost like what was given.
fn meant(error: &clap::Error) -> Option<String> {
    let similar = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg].into_iter();
    match similar.filter_map(|kind| error.get(kind)).next()? {
        ContextValue::String(one) => Some(one.clone()),
        ContextValue::Strings(several) if !several.is_empty() => {
            let given = match error.get(ContextKind::InvalidSubcommand) {
                Some(ContextValue::String(given)) => given.as_str(),
                _ => "",
            };
            let nearest = similar::nearest(given, several.iter().map(String::as_str));
            Some(nearest.map_or_else(|| several.join(" or "), str::to_owned))
        }
        _ => None,
    }
}

/// The command that explains the command, and the one below it, that the words of this process name.
fn help_of_words() -> String {
    let cli = Cli::command();
    let (mut below, mut help) = (&cli, "kmsfs".to_owned());
    for word in std::env::args_os().skip(1) {
        // Words that are no text name no command.
        if let Some(next) = below.find_subcommand(word) {
            help = format!("{help} {}", next.get_name());
            below = next;
        }
    }
    format!("{help} --help")
}

/// Logging to standard error, by `KMSFS_LOG` (as `RUST_LOG`: `debug`, `kmsfs::fs=debug`); warnings by default.
fn start_log() {
    let environment = env_logger::Env::new().filter_or("KMSFS_LOG", "warn,fuser=error");
    env_logger::Builder::from_env(environment).format_target(false).init();
}

/// Prints to standard output.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    told(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// How printing to standard output ended. A reader that has gone (`kmsfs keys | head`) is no error.
fn told(printed: io::Result<()>) -> Result<()> {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let what = format!("standard output cannot be written: {error}");
            Err(CliError::new(exit::FAILURE, what).hint("see where it leads: a full disk takes no more"))
        }
        _ => Ok(()),
    }
}

/// Prints to standard error; if that cannot be, nothing can be said.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A value as JSON for programs.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::new(exit::FAILURE, error.to_string()))?;
    print(&format!("{json}\n"))
}

/// Success.
fn done() -> Result<Code> {
    Ok(exit::OK)
}
