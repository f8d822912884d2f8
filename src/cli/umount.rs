//! `kmsfs umount`.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::mount::UnmountFlags;

use super::error::{CliError, Result};
use super::exit::{self, Code};
use super::mountpoints::{self, Refusal};
use super::shell::word;
use super::{done, home, users};
use crate::watch;

/// Users of a busy mount that are named; of the others their number.
const SHOWN: usize = 5;
/// How long the mount's process is waited for after the unmount.
const END_LIMIT: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// Unmount, and wait until everything is committed.
#[derive(Debug, Args)]
pub struct Umount {
    /// The mount point
    mountpoint: PathBuf,
}

impl Umount {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let mountpoint = mountpoints::absolute(&self.mountpoint)?;
        // A mount can be ended without its home: a lost key file must not keep it there, and nobody is asked for a passphrase.
        let run_dir = home::run_dir(given).ok();
        if !mountpoints::on(&mountpoint).is_some_and(|mount| mount.is_ours()) {
            return Err(CliError::new(
                exit::MOUNTPOINT,
                format!("no kmsfs is mounted on {}", mountpoint.display()),
            )
            .hint("kmsfs status lists the mounts"));
        }
        if mountpoints::take_dead_away(&mountpoint)? {
            return done();
        }
        let process = run_dir.as_deref().and_then(|run_dir| process_of(run_dir, &mountpoint));
        mountpoints::unmount(&mountpoint, UnmountFlags::empty()).map_err(|refusal| match refusal {
            Refusal::Busy => in_use(&mountpoint),
            other => other.at(&mountpoint),
        })?;
        if let Some(process) = process {
            wait_for_end(&process, &mountpoint)?;
        }
        done()
    }
}

/// Says who keeps a mount from being unmounted, and how.
fn in_use(mountpoint: &Path) -> CliError {
    let users = mountpoints::on(mountpoint).map(|mount| users::of(&mount)).unwrap_or_default();
    let at = mountpoint.display();
    if users.is_empty() {
        let others = "by a process that this user may not look into";
        let unseen = if rustix::process::geteuid().is_root() { "" } else { others };
        return CliError::new(exit::MOUNTPOINT, format!("{at} is in use {unseen}").trim_end())
            .hint(format!("fuser -vm {}, as root, shows by whom", word(mountpoint)));
    }
    let more = users.len().saturating_sub(SHOWN);
    let mut who: Vec<_> = users.iter().take(SHOWN).map(ToString::to_string).collect();
    if more > 0 {
        who.push(format!("{more} more"));
    }
    CliError::new(exit::MOUNTPOINT, format!("{at} is in use by {}", who.join(", "))).hint(format!(
        "end what uses it; or umount -l {}: the mount ends with the last of them",
        word(mountpoint)
    ))
}

/// The process that serves a mount, held so that its number cannot be given to another.
fn process_of(run_dir: &Path, mountpoint: &Path) -> Option<OwnedFd> {
    let mounts = watch::mounts(run_dir).ok()?;
    let mount = mounts.iter().find(|mount| mount.mountpoint == mountpoint)?;
    let pid = rustix::process::Pid::from_raw(i32::try_from(mount.pid).ok()?)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

/// Waits until the mount's process has ended: it has committed everything then.
fn wait_for_end(process: &OwnedFd, mountpoint: &Path) -> Result<()> {
    let mut ended = [PollFd::new(process, PollFlags::IN)];
    match rustix::io::retry_on_intr(|| rustix::event::poll(&mut ended, Some(&END_LIMIT))) {
        Ok(1..) => Ok(()),
        Ok(0) => Err(CliError::new(
            exit::MOUNTPOINT,
            format!("{} is unmounted, but its process has not ended", mountpoint.display()),
        )
        .hint("kmsfs status names the process; a container that was started meanwhile may have a copy of the mount")),
        Err(errno) => Err(CliError::io(mountpoint, &errno.into())),
    }
}
