//! What can be known to fail before a process is started for the mount.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::error::{CliError, Result};
use crate::cli::exit;
use crate::cli::mountpoints::{self, is_of_dead_mount};
use crate::cli::shell::word;
use crate::fuse::MountOptions;

const FUSE_DEVICE: &str = "/dev/fuse";
const FUSE_CONFIG: &str = "/etc/fuse.conf";

/// The mount point as an absolute path, where it can be mounted on.
pub fn mountpoint(given: &Path, volume: &Path, nonempty: bool) -> Result<PathBuf> {
    let refused =
        |what: &str| CliError::new(exit::MOUNTPOINT, format!("the mount point {} {what}", given.display()));
    mountpoints::take_dead_away(given)?;
    // Only asking for attributes goes to the process behind a mount: a path is canonical without it.
    let path = match fs::metadata(given).and_then(|facts| Ok((fs::canonicalize(given)?, facts.is_dir()))) {
        Ok((path, true)) => path,
        Ok((_, false)) => return Err(refused("is not a directory").hint("name an empty directory")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(refused("does not exist").hint(format!("mkdir {}", word(given))));
        }
        Err(error) if is_of_dead_mount(&error) => {
            return Err(refused("belongs to a mount of another program, whose process died")
                .hint(format!("umount -l {}", word(given))));
        }
        Err(error) => return Err(CliError::io(given, &error)),
    };
    if mountpoints::all().iter().any(|mount| mount.path == path) {
        return Err(
            refused("is busy: something is mounted there").hint(format!("kmsfs umount {}", word(&path)))
        );
    }
    if path.starts_with(volume) || volume.starts_with(&path) {
        return Err(
            refused("and the volume lie within each other").hint("name a directory apart from the volume")
        );
    }
    let mut entries = fs::read_dir(&path).map_err(|error| CliError::io(&path, &error))?;
    if !nonempty && entries.next().is_some() {
        return Err(
            refused("is not empty").hint("name an empty directory, or mount over it with -o nonempty")
        );
    }
    Ok(path)
}

/// What the system must have.
pub fn system(options: &MountOptions) -> Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    match fs::OpenOptions::new().read(true).write(true).open(FUSE_DEVICE) {
        Ok(_) => (),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(CliError::new(exit::FUSE, format!("{FUSE_DEVICE} does not exist"))
                .hint("modprobe fuse, as root; in a container, run it with --device /dev/fuse"));
        }
        Err(error) => {
            return Err(CliError::new(exit::FUSE, format!("{FUSE_DEVICE} cannot be opened: {error}"))
                .hint(format!("chmod 666 {FUSE_DEVICE}, as root: its usual mode")));
        }
    }
    if is_root {
        return Ok(());
    }
    if !in_path("fusermount3") {
        return Err(CliError::new(
            exit::FUSE,
            "fusermount3 is not installed, and only root can mount without it",
        )
        .hint("apt-get install fuse3, as root"));
    }
    if options.allow_other && !allows_other() {
        return Err(CliError::new(
            exit::FUSE,
            format!("{FUSE_CONFIG} does not let users mount with allow_other"),
        )
        .hint(format!("add the line user_allow_other to {FUSE_CONFIG}, as root")));
    }
    Ok(())
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn allows_other() -> bool {
    let text = fs::read_to_string(FUSE_CONFIG).unwrap_or_default();
    text.lines().any(|line| line.trim() == "user_allow_other")
}
