//! The mounts that this process sees: whose they are, and taking them away. Nothing here asks the process behind a mount, which may
//! have died or hang.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::error::{CliError, Result};
use super::exit;
use super::shell::word;

/// What the mounts of this program say that they are.
const KIND: &str = "fuse.kmsfs";

/// A line of the kernel's list of mounts.
#[derive(Debug)]
pub struct Mountpoint {
    /// Its number: what a process's descriptors are told by (`proc_pid_fdinfo(5)`).
    pub id: u64,
    /// Its device, as `proc_pid_maps(5)` writes numbers of devices.
    pub device: (u32, u32),
    /// Where.
    pub path: PathBuf,
    /// The filesystem's type, such as `fuse.kmsfs`.
    pub kind: String,
}

/// The mounts that this process sees (`proc_pid_mountinfo(5)`).
pub fn all() -> Vec<Mountpoint> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|byte| *byte == b'\n').filter_map(mountpoint_of).collect()
}

fn mountpoint_of(line: &[u8]) -> Option<Mountpoint> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |field: usize| Some(String::from_utf8_lossy(fields.get(field)?).into_owned());
    let (major, minor) = std::str::from_utf8(fields.get(2)?).ok()?.split_once(':')?;
    Some(Mountpoint {
        id: text(0)?.parse().ok()?,
        device: (major.parse().ok()?, minor.parse().ok()?),
        path: unescaped(fields.get(4)?),
        kind: text(dash + 1)?,
    })
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

impl Mountpoint {
    /// Whether it is a mount of this program.
    pub fn is_ours(&self) -> bool {
        self.kind == KIND
    }
}

/// The topmost mount on a path.
pub fn on(path: &Path) -> Option<Mountpoint> {
    all().into_iter().rfind(|mount| mount.path == path)
}

/// An absolute path without asking what lies behind the last part: a mount whose process died answers nothing.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    let io = |error| CliError::of_system(exit::MOUNTPOINT, path, &error);
    match fs::canonicalize(path) {
        Ok(path) => Ok(path),
        Err(error) if is_of_dead_mount(&error) => {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(io(error)) };
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(fs::canonicalize(parent).map_err(io)?.join(name))
        }
        Err(error) => Err(io(error)),
    }
}

/// What the kernel answers where a mount's process died; ECONNABORTED to who asked while it was dying.
pub fn is_of_dead_mount(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOTCONN | Errno::CONNABORTED))
}

/// Takes the mounts of this program on a path away whose process died; true where there were any. Who still has files of them open
/// gets the same error from them as before.
///
/// # Errors
/// Where it is not permitted.
pub fn take_dead_away(path: &Path) -> Result<bool> {
    let mut any = false;
    // Attributes of a mount's root may still be in the kernel's cache; the space on it never is.
    while rustix::fs::statvfs(path).is_err_and(|errno| is_of_dead_mount(&errno.into())) {
        let absolute = absolute(path)?;
        if !on(&absolute).is_some_and(|mount| mount.is_ours()) {
            break;
        }
        unmount(&absolute, UnmountFlags::DETACH).map_err(|refusal| refusal.at(&absolute))?;
        log::info!("the mount on {} had lost its process, and is taken away", absolute.display());
        any = true;
    }
    Ok(any)
}

/// Why something is not unmounted.
#[derive(Debug)]
pub enum Refusal {
    /// Somebody uses it.
    Busy,
    /// Anything else.
    Other(io::Error),
    /// fusermount3, which unmounts for who is not root, is not there.
    NoHelper(io::Error),
    /// It said why not.
    Helper(String),
}

impl Refusal {
    /// As an error for people.
    pub fn at(self, mountpoint: &Path) -> CliError {
        match self {
            Self::Busy => CliError::new(exit::MOUNTPOINT, format!("{} is in use", mountpoint.display()))
                .hint(format!("umount -l {} detaches it all the same", word(mountpoint))),
            Self::Other(error) => CliError::io(mountpoint, &error),
            Self::NoHelper(error) => CliError::new(exit::FUSE, format!("fusermount3 cannot be run: {error}"))
                .hint("install the package fuse3"),
            Self::Helper(said) => {
                // Small systems lack it, and fusermount3 unmounts nothing without.
                let lacks_list = said.contains("/etc/mtab");
                let error = CliError::new(exit::MOUNTPOINT, said);
                if lacks_list { error.hint("ln -s /proc/self/mounts /etc/mtab, as root") } else { error }
            }
        }
    }
}

/// Unmounts, by the system call where that is permitted, else by fusermount3.
///
/// # Errors
/// [`Refusal`].
pub fn unmount(mountpoint: &Path, flags: UnmountFlags) -> std::result::Result<(), Refusal> {
    match rustix::mount::unmount(mountpoint, flags) {
        Ok(()) => return Ok(()),
        Err(Errno::BUSY) => return Err(Refusal::Busy),
        Err(Errno::PERM) => (),
        Err(errno) => return Err(Refusal::Other(errno.into())),
    }
    let lazily = flags.contains(UnmountFlags::DETACH).then_some("-z");
    let mut helper = Command::new("fusermount3");
    helper.arg("-u").args(lazily).arg("--").arg(mountpoint);
    let output = helper.output().map_err(Refusal::NoHelper)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(if said.contains("busy") { Refusal::Busy } else { Refusal::Helper(said) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_read_with_its_escapes() {
        let line = br"36 35 0:53 / /mnt/a\040b rw,nosuid shared:1 - fuse.kmsfs kmsfs rw,user_id=0";
        let mount = mountpoint_of(line).unwrap();
        assert_eq!((mount.path, mount.kind.as_str()), (PathBuf::from("/mnt/a b"), "fuse.kmsfs"));
        assert_eq!((mount.id, mount.device), (36, (0, 53)));
        assert!(mountpoint_of(b"").is_none());
        assert!(mountpoint_of(b"36 35 - x").is_none());
    }
}
