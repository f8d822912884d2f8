//! Who uses a mount: the processes with descriptors, directories, programs or maps in it, as far as this user may look into them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::mountpoints::Mountpoint;

/// What uses a mount.
#[derive(Debug, PartialEq, Eq)]
pub enum User {
    /// A process.
    Process {
        /// Its number.
        pid: u32,
        /// The command's name.
        command: String,
        /// What of the mount it uses: the first thing that was found.
        what: String,
    },
    /// Another filesystem that is mounted in it.
    Mount(PathBuf),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Names of programs and files are whatever somebody made them.
            Self::Process { pid, command, what } => {
                write!(f, "{} (process {pid}, {})", command.escape_debug(), what.escape_debug())
            }
            Self::Mount(path) => write!(f, "what is mounted on {}", path.display()),
        }
    }
}

/// Who uses `mount`, in the order of their numbers.
pub fn of(mount: &Mountpoint) -> Vec<User> {
    let beneath = |other: &Mountpoint| other.path != mount.path && other.path.starts_with(&mount.path);
    let mounts = super::mountpoints::all().into_iter().filter(beneath).map(|other| User::Mount(other.path));
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let processes = pids.into_iter().filter_map(|pid| {
        let dir = Path::new("/proc").join(pid.to_string());
        let what = use_of(&dir, mount)?;
        let command = fs::read(dir.join("comm")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).trim_end().to_owned();
        Some(User::Process { pid, command, what })
    });
    mounts.chain(processes).collect()
}

/// How a process uses a mount. Only what the kernel itself knows is read: a descriptor is told by the number of its mount, a map by
/// its device, the rest by its path.
fn use_of(process: &Path, mount: &Mountpoint) -> Option<String> {
    let places = [("cwd", "its working directory"), ("root", "its root directory"), ("exe", "the program")];
    let linked = |name: &str| fs::read_link(process.join(name)).ok();
    let place = places
        .into_iter()
        .find(|(name, _)| linked(name).is_some_and(|path| path.starts_with(&mount.path)))
        .map(|(_, what)| what.to_owned());
    place.or_else(|| descriptor(process, mount)).or_else(|| map(process, mount))
}

fn descriptor(process: &Path, mount: &Mountpoint) -> Option<String> {
    let entries = fs::read_dir(process.join("fdinfo")).ok()?;
    let open = entries.flatten().find(|entry| {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        number_of_mount(&text) == Some(mount.id)
    })?;
    let path = fs::read_link(process.join("fd").join(open.file_name())).ok()?;
    Some(format!("has {} open", path.display()))
}

/// The number of the mount that a descriptor's object is on (`proc_pid_fdinfo(5)`).
fn number_of_mount(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

fn map(process: &Path, mount: &Mountpoint) -> Option<String> {
    let maps = fs::read(process.join("maps")).ok()?;
    let maps = String::from_utf8_lossy(&maps);
    maps.lines().find_map(|line| file_of_map(line, mount.device)).map(|path| format!("maps {path}"))
}

/// The file behind a line of `proc_pid_maps(5)`, where it is on a device. Its path is the first thing there with a slash.
fn file_of_map(line: &str, (major, minor): (u32, u32)) -> Option<&str> {
    let device = line.split_whitespace().nth(3)?;
    let path = || line.find('/').map_or("a file", |at| &line[at..]);
    (device == format!("{major:02x}:{minor:02x}")).then(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_and_a_map_are_told_by_what_the_kernel_says_of_them() {
        assert_eq!(number_of_mount("pos:\t0\nflags:\t02\nmnt_id:\t315\nino:\t7\n"), Some(315));
        assert_eq!(number_of_mount("pos:\t0\n"), None);
        let line = "7f1c-7f1d rw-s 00000000 00:2a 1835    /mnt/a/a file";
        assert_eq!(file_of_map(line, (0, 42)), Some("/mnt/a/a file"));
        assert_eq!(file_of_map(line, (0, 43)), None);
        assert_eq!(file_of_map("", (0, 42)), None);
    }

    #[test]
    fn a_name_that_would_write_to_the_terminal_is_shown_harmless() {
        let user = User::Process { pid: 7, command: "a\x1b[2J".into(), what: "maps b\nc".into() };
        assert_eq!(user.to_string(), "a\\u{1b}[2J (process 7, maps b\\nc)");
    }
}
