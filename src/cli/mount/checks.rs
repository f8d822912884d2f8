//! What can be known to fail before a process is started for the mount.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::cli::error::{CliError, Result};
use crate::cli::exit;
use crate::fuse::MountOptions;

const FUSE_DEVICE: &str = "/dev/fuse";
const FUSE_CONFIG: &str = "/etc/fuse.conf";

/// A line of the kernel's list of mounts.
#[derive(Debug)]
pub struct Mountpoint {
    /// Where.
    pub path: PathBuf,
    /// The filesystem's type, such as `fuse`.
    pub kind: String,
    /// What is mounted, as the mount calls it.
    pub source: String,
}

/// The mounts that this process sees (`proc_pid_mountinfo(5)`).
pub fn mountpoints() -> Vec<Mountpoint> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|byte| *byte == b'\n').filter_map(mountpoint_of).collect()
}

fn mountpoint_of(line: &[u8]) -> Option<Mountpoint> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |field: usize| Some(String::from_utf8_lossy(fields.get(field)?).into_owned());
    Some(Mountpoint { path: unescaped(fields.get(4)?), kind: text(dash + 1)?, source: text(dash + 2)? })
}

/// Blanks and the like are written as octal numbers.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, behind)) = rest.split_first() {
        let octal = behind.first_chunk::<3>().and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// The mount point as an absolute path, where it can be mounted on.
pub fn mountpoint(given: &Path, volume: &Path, nonempty: bool) -> Result<PathBuf> {
    let refused =
        |what: &str| CliError::new(exit::MOUNTPOINT, format!("the mount point {} {what}", given.display()));
    // Only asking for attributes goes to the process behind a mount: a path is canonical without it.
    let path = match fs::metadata(given).and_then(|facts| Ok((fs::canonicalize(given)?, facts.is_dir()))) {
        Ok((path, true)) => path,
        Ok((_, false)) => return Err(refused("is not a directory").hint("name an empty directory")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(refused("does not exist").hint(format!("mkdir {}", given.display())));
        }
        Err(error) if is_of_dead_mount(&error) => {
            return Err(refused("belongs to a mount whose process died")
                .hint(format!("kmsfs umount {}", given.display())));
        }
        Err(error) => return Err(CliError::io(given, &error)),
    };
    if mountpoints().iter().any(|mount| mount.path == path) {
        return Err(
            refused("is busy: something is mounted there").hint(format!("kmsfs umount {}", path.display()))
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

/// What the kernel answers where a mount's process died; ECONNABORTED to who asked while it was dying.
pub fn is_of_dead_mount(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOTCONN | Errno::CONNABORTED))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_read_with_its_escapes() {
        let line = br"36 35 0:53 / /mnt/a\040b rw,nosuid shared:1 - fuse.kmsfs kmsfs rw,user_id=0";
        let mount = mountpoint_of(line).unwrap();
        assert_eq!((mount.path, mount.kind.as_str()), (PathBuf::from("/mnt/a b"), "fuse.kmsfs"));
        assert_eq!(mount.source, "kmsfs");
        assert!(mountpoint_of(b"").is_none());
        assert!(mountpoint_of(b"36 35 - x").is_none());
    }
}
