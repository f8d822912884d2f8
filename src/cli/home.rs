//! Which home a command works with.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use super::alarm::Bell;
use super::error::{CliError, Result};
use super::observer::Announcer;
use super::secrets::CommandLine;
use super::{clock, complain, exit};
use crate::store::{Home, Key};

/// The home's directory: as given (`--home`), else KMSFS_HOME, else `$XDG_DATA_HOME/kmsfs`, else `~/.local/share/kmsfs` (XDG Base
/// Directory Specification).
pub fn directory(given: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(dir) = given {
        return Ok(dir);
    }
    // As for other variables of this kind, empty is not set.
    if let Some(dir) = env::var_os("KMSFS_HOME").filter(|dir| !dir.is_empty()) {
        return Ok(dir.into());
    }
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(data) = absolute("XDG_DATA_HOME") {
        return Ok(data.join("kmsfs"));
    }
    match absolute("HOME") {
        Some(home) => Ok(home.join(".local/share/kmsfs")),
        None => Err(CliError::new(
            exit::HOME,
            "neither --home, KMSFS_HOME, XDG_DATA_HOME nor HOME says where the home is",
        )
        .hint("kmsfs --home DIR")),
    }
}

/// Where mounts of the home have their control sockets. The home is not unlocked for this, so nobody is asked for anything.
pub fn run_dir(given: Option<PathBuf>) -> Result<PathBuf> {
    Ok(Home::run_dir_of(&directory(given)?)?)
}

/// Opens the home. Changes of keys that are made through it reach its mounts, and its alarms sound. Where its clock is ahead, and that matters, it says so.
pub fn open(given: Option<PathBuf>) -> Result<Home> {
    let home = open_with(given, Key::Keychain(&mut CommandLine))?;
    if let Some(warning) = clock::warning(&home) {
        complain(&warning);
    }
    Ok(home)
}

/// As [`open`], with another key than the environment and the terminal give.
pub fn open_with(given: Option<PathBuf>, key: Key<'_>) -> Result<Home> {
    let home = Home::open_with(&directory(given)?, key)?;
    home.set_observer(Arc::new(Announcer::new(home.run_dir())));
    home.set_alarms(Arc::new(Bell::new(home.run_dir())));
    Ok(home)
}
