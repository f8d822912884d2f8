//! The volumes that the paths of a command lie in, and what of them is meant.

use std::path::{Path, PathBuf};

use super::error::{CliError, Result};
use super::exit;
use super::inspect::ciphertext_of;
use super::shell::word;
use crate::store::Home;
use crate::volume::Volume;

/// What there is to do in one volume.
pub struct Task {
    /// The volume.
    pub volume: Volume,
    /// Files and directories within the volume; empty for all of it.
    pub starts: Vec<PathBuf>,
}

/// The volumes of `paths`, which are in a mount or in a volume; `command` is named in hints.
pub fn tasks(home: &Home, paths: &[PathBuf], command: &str) -> Result<Vec<Task>> {
    let mut tasks: Vec<Task> = Vec::new();
    for given in paths {
        let (root, within) = locate(home, given)?;
        if within.starts_with(crate::volume::RESERVED) {
            let what = format!("{} is one of the volume's own records", given.display());
            return Err(CliError::new(exit::USAGE, what).hint(format!("{command} {}", word(&root))));
        }
        match tasks.iter_mut().find(|task| task.volume.path() == root) {
            Some(task) => task.starts.push(within),
            None => {
                let volume = Volume::open(&root, &*home.authenticator())?;
                tasks.push(Task { volume, starts: vec![within] });
            }
        }
    }
    Ok(tasks)
}

fn locate(home: &Home, given: &Path) -> Result<(PathBuf, PathBuf)> {
    let path = ciphertext_of(home, given)?;
    Volume::find(&path).ok_or_else(|| {
        let what = format!("{} is in no kmsfs volume, and in no mount of this home", given.display());
        CliError::new(exit::VOLUME, what).hint("kmsfs status lists the mounts and their volumes")
    })
}
