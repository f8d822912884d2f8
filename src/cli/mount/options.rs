//! Mount options, as people know them from `mount(8)` and `fuse(4)`.

use std::path::PathBuf;

use crate::cli::error::{CliError, Result};
use crate::cli::exit;
use crate::cli::similar::with_nearest;
use crate::fs::Durability;
use crate::fuse::MountOptions;

/// What `mount --help` says of them.
pub const HELP: &str = "\
Options for -o:
  ro, rw               nothing can be changed; or it can [rw]
  allow_other          other users too; the permission bits decide
  default_permissions  the permission bits decide: always, but on a mount that
                       root made for itself alone
  durability=default   what fsync confirmed survives a loss of power, but for a
                       chunk that was being overwritten when it happened
  durability=strict    also that chunk
  threads=N            event loops, 1 to 64; 1 counts as 2 [one more than the
                       cores, 3 to 16]
  nonempty             mount over a directory that is not empty
  home=DIR             where the key service lives, for a line of /etc/fstab
  suid, nosuid, dev, nodev, exec, noexec, atime, noatime, sync, async, dirsync,
  fsname=NAME          as for any mount
For mount(8) and /etc/fstab the type is fuse.kmsfs:
  /srv/vault  /mnt/plain  fuse.kmsfs  home=/srv/keys,allow_other  0  0";

/// Options of a mount of this program.
const OWN: [&str; 9] =
    ["ro", "rw", "allow_other", "default_permissions", "home", "nonempty", "durability", "threads", "fsname"];

/// Options of the kernel alone.
const KERNEL: [&str; 11] =
    ["suid", "nosuid", "dev", "nodev", "exec", "noexec", "atime", "noatime", "sync", "async", "dirsync"];

/// What a line of `/etc/fstab` says to mount(8) and its like, and not to the filesystem.
const FSTAB: [&str; 9] =
    ["defaults", "auto", "noauto", "user", "nouser", "users", "owner", "nofail", "_netdev"];

/// What the options say.
#[derive(Debug, Default)]
pub struct Given {
    /// How the volume is mounted.
    pub mount: MountOptions,
    /// The home, where an option names it.
    pub home: Option<PathBuf>,
}

/// Reads the options of all `-o`.
///
/// # Errors
/// An option that does not exist is named.
pub fn parse(given: &[String]) -> Result<Given> {
    let mut options = Given::default();
    for option in given.iter().flat_map(|list| list.split(',')).filter(|option| !option.is_empty()) {
        set(&mut options, option)?;
    }
    Ok(options)
}

fn set(given: &mut Given, option: &str) -> Result<()> {
    let options = &mut given.mount;
    let (name, value) = match option.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    };
    match (name, value) {
        ("ro", None) => options.read_only = true,
        ("rw", None) => options.read_only = false,
        ("allow_other", None) => options.allow_other = true,
        ("default_permissions", None) => options.default_permissions = true,
        ("home", Some(dir)) if !dir.is_empty() => given.home = Some(dir.into()),
        (name, None) if FSTAB.contains(&name) => (),
        ("nonempty", None) => options.nonempty = true,
        ("durability", Some("default")) => options.durability = Durability::Default,
        ("durability", Some("strict")) => options.durability = Durability::Strict,
        ("threads", Some(number)) => match number.parse() {
            Ok(threads @ 1..=64) => options.threads = Some(threads),
            _ => {
                let what = format!("the mount option {option:?} cannot be");
                return Err(CliError::new(exit::USAGE, what).hint("threads takes a number from 1 to 64"));
            }
        },
        ("fsname", Some(_)) => options.kernel.push(option.to_owned()),
        (name, None) if KERNEL.contains(&name) => options.kernel.push(option.to_owned()),
        (name, _) => {
            let hint = "kmsfs mount --help lists the options";
            let known: Vec<_> = OWN.into_iter().chain(KERNEL).chain(FSTAB).collect();
            // One that is known has a value that cannot be.
            let is_known = known.contains(&name);
            let similar = known.into_iter().filter(|_| !is_known);
            return Err(refused(option, &with_nearest(hint, name, similar)));
        }
    }
    Ok(())
}

fn refused(option: &str, hint: &str) -> CliError {
    CliError::new(exit::USAGE, format!("the mount option {option:?} is not known")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(list: &str) -> Result<MountOptions> {
        parse(&[list.to_owned()]).map(|given| given.mount)
    }

    #[test]
    fn options_are_read_in_order() {
        let list = "ro,rw,allow_other,default_permissions,threads=4,durability=strict,noatime,fsname=x";
        let options = parsed(list).unwrap();
        assert!(!options.read_only && options.allow_other && options.default_permissions);
        assert_eq!((options.threads, options.durability), (Some(4), Durability::Strict));
        assert_eq!(options.kernel, ["noatime", "fsname=x"]);
    }

    #[test]
    fn an_unknown_option_is_named() {
        for wrong in ["cheese", "threads=0", "threads=x", "durability=none", "ro=1", "fsname"] {
            assert!(parsed(wrong).unwrap_err().to_string().contains(wrong), "{wrong}");
        }
    }
}
