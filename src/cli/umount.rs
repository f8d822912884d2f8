//! `kmsfs umount`.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::error::{CliError, Result};
use super::exit::{self, Code};
use super::mount::{is_of_dead_mount, mountpoints};
use super::{done, home};
use crate::watch;

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
        let mountpoint = absolute(&self.mountpoint)?;
        // A mount can be ended without its home: a lost key file must not keep it there, and nobody is asked for a passphrase.
        let run_dir = home::run_dir(given).ok();
        if !is_ours(run_dir.as_deref(), &mountpoint) {
            return Err(CliError::new(
                exit::MOUNTPOINT,
                format!("no kmsfs is mounted on {}", mountpoint.display()),
            )
            .hint("kmsfs status lists the mounts"));
        }
        let process = run_dir.as_deref().and_then(|run_dir| process_of(run_dir, &mountpoint));
        unmount(&mountpoint)?;
        if let Some(process) = process {
            wait_for_end(&process, &mountpoint)?;
        }
        done()
    }
}

/// Whether the topmost mount there is of this program: it says so by its name, or its process does.
fn is_ours(run_dir: Option<&Path>, mountpoint: &Path) -> bool {
    let Some(mount) = mountpoints().into_iter().rfind(|mount| mount.path == mountpoint) else { return false };
    let says_so = || {
        let mounts = run_dir.and_then(|run_dir| watch::mounts(run_dir).ok()).unwrap_or_default();
        mounts.iter().any(|status| status.mountpoint == mountpoint)
    };
    match mount.kind.as_str() {
        "fuse.kmsfs" => true,
        "fuse" => mount.source == "kmsfs" || says_so(),
        _ => false,
    }
}

/// An absolute path without asking what lies behind the last part: a mount whose process died answers nothing.
fn absolute(path: &Path) -> Result<PathBuf> {
    let io = |error| CliError::io(path, &error);
    match std::fs::canonicalize(path) {
        Ok(path) => Ok(path),
        Err(error) if is_of_dead_mount(&error) => {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(io(error)) };
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(std::fs::canonicalize(parent).map_err(io)?.join(name))
        }
        Err(error) => Err(io(error)),
    }
}

fn unmount(mountpoint: &Path) -> Result<()> {
    let busy = || {
        CliError::new(exit::MOUNTPOINT, format!("{} is in use", mountpoint.display()))
            .hint(format!("fuser -vm {} shows by whom", mountpoint.display()))
    };
    match rustix::mount::unmount(mountpoint, UnmountFlags::empty()) {
        Ok(()) => return Ok(()),
        Err(Errno::BUSY) => return Err(busy()),
        Err(Errno::PERM) => (),
        Err(errno) => return Err(CliError::io(mountpoint, &errno.into())),
    }
    let output =
        Command::new("fusermount3").arg("-u").arg("--").arg(mountpoint).output().map_err(|error| {
            CliError::new(exit::FUSE, format!("fusermount3 cannot be run: {error}"))
                .hint("install the package fuse3")
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.contains("busy") {
        return Err(busy());
    }
    let error = CliError::new(exit::MOUNTPOINT, said.clone());
    // Small systems lack it, and fusermount3 unmounts nothing without.
    Err(if said.contains("/etc/mtab") {
        error.hint("ln -s /proc/self/mounts /etc/mtab, as root")
    } else {
        error
    })
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
