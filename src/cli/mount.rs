//! `kmsfs mount`: everything is checked before anything is done, then a process of its own serves the mount.

mod checks;
mod options;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::error::{CliError, Result};
use super::exit::{self, Code};
use super::{done, home, print};
use crate::fuse::{self, MountRequest};
use crate::store::{Home, Key};
use crate::sys;
use crate::volume::Volume;
use crate::volume::lock::WriterLock;

/// What the mount's process says to the one that started it.
const READY: &str = "ready";
/// Where the mounts of a home log to, in the home.
const LOG: &str = "mounts.log";

/// More than a root key has.
const KEY_MAX: usize = 64;

/// Mount an encrypted directory.
#[derive(Debug, Args)]
#[command(after_help = options::HELP)]
pub struct Mount {
    /// The volume
    dir: PathBuf,
    /// An existing, empty directory
    mountpoint: PathBuf,
    /// Stay in the foreground
    #[arg(short)]
    foreground: bool,
    /// Mount options, separated by commas
    #[arg(short, value_name = "OPTIONS")]
    options: Vec<String>,
    /// Serve the mount that another process of this program asks for
    #[arg(long, hide = true)]
    background: bool,
}

impl Mount {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let options::Given { mount: options, home } = options::parse(&self.options)?;
        let home = self.open(home.or(given))?;
        let volume = Volume::open(&self.dir, &*home.authenticator())?;
        let mountpoint = checks::mountpoint(&self.mountpoint, volume.path(), options.nonempty)?;
        checks::system(&options)?;
        if !options.read_only
            && let Some(holder) = WriterLock::holder(&volume)?
        {
            return Err(crate::volume::VolumeError::Locked { dir: volume.path().to_owned(), holder }.into());
        }
        if self.foreground || self.background {
            return self.serve(&home, volume, mountpoint, options);
        }
        start(&home, volume.path(), &mountpoint, &self.options)
    }

    /// The process that serves the mount is given the root key by the one that has unlocked the home: nobody is asked twice, and a
    /// passphrase that came through a pipe is there once.
    fn open(&self, given: Option<PathBuf>) -> Result<Home> {
        if !self.background {
            return home::open(given);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_MAX));
        let read = std::io::stdin().lock().take(KEY_MAX as u64).read_to_end(&mut bytes);
        read.map_err(|error| {
            CliError::new(exit::FAILURE, format!("the home's key was not handed over: {error}"))
        })?;
        let key = Key::handed_over(&bytes);
        let key = key.ok_or_else(|| {
            CliError::new(exit::USAGE, "--background is for this program's own use")
                .hint("leave it out: without -f a mount goes to the background by itself")
        })?;
        home::open_with(given, key)
    }

    fn serve(
        &self,
        home: &Home,
        volume: Volume,
        mountpoint: PathBuf,
        options: fuse::MountOptions,
    ) -> Result<Code> {
        if self.background {
            leave_terminal()?;
        }
        let keys = match options.allow_other {
            true => home.data_keys(),
            false => home.data_keys_only_for(rustix::process::getuid().as_raw()),
        };
        if let Err(error) = home.expect_many_uses() {
            log::warn!("each use of a key costs what a single one does: {error}");
        }
        // For who asks later which files a key governs.
        if let Err(error) = home.note_volume(volume.id(), volume.path(), None) {
            log::warn!("the home does not remember the volume: {}", error.words());
        }
        let request = MountRequest {
            volume,
            mountpoint,
            options,
            keys,
            auth: home.authenticator(),
            run_dir: home.run_dir().to_owned(),
        };
        fuse::serve(request, || {
            if self.background {
                become_quiet(home);
            }
        })?;
        done()
    }
}

/// Starts a process that serves the mount, and waits until it is ready or has failed.
fn start(home: &Home, dir: &Path, mountpoint: &Path, options: &[String]) -> Result<Code> {
    let failed =
        |error| CliError::new(exit::FAILURE, format!("the mount's process cannot be started: {error}"));
    let mut command = Command::new("/proc/self/exe");
    command.arg("--home").arg(home.dir()).args(["mount", "--background"]);
    for option in options {
        command.arg("-o").arg(option);
    }
    command.arg("--").arg(dir).arg(mountpoint);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut stdin) = process.stdin.take() {
        // Where the process has ended already, it has said why.
        let _ = stdin.write_all(home.hand_over());
    }
    let mut said = String::new();
    if let Some(stdout) = process.stdout.take() {
        BufReader::new(stdout).read_line(&mut said).map_err(failed)?;
    }
    if said.trim() == READY {
        return done();
    }
    // It has said what is wrong on the standard error that it shares with this process.
    let status = process.wait().map_err(failed)?;
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) if code != 0 => Ok(Code(code)),
        _ => Err(CliError::new(
            exit::FAILURE,
            format!("the mount's process ended before it was ready: {status}"),
        )),
    }
}

/// A session of its own, so that closing the terminal does not end the mount; and no directory is kept busy.
fn leave_terminal() -> Result<()> {
    let failed =
        |error: std::io::Error| CliError::new(exit::FAILURE, format!("leaving the terminal failed: {error}"));
    rustix::process::setsid().map_err(|errno| failed(errno.into()))?;
    std::env::set_current_dir("/").map_err(failed)
}

/// Says that the mount is ready, and from then on logs to a file.
fn become_quiet(home: &Home) {
    if print(&format!("{READY}\n")).is_err() {
        log::warn!("nobody waits for the mount");
    }
    let log = home.dir().join(LOG);
    let mut options = OpenOptions::new();
    let opened = sys::open_regular(options.append(true).create(true).mode(0o600), OFlags::empty(), &log);
    let opened = opened.or_else(|_| File::options().write(true).open("/dev/null"));
    if let (Ok(nowhere), Ok(log)) = (File::open("/dev/null"), opened) {
        let _ = rustix::stdio::dup2_stdin(&nowhere);
        let _ = rustix::stdio::dup2_stdout(&log);
        let _ = rustix::stdio::dup2_stderr(&log);
    }
}
