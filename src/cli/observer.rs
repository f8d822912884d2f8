//! From the key service to the mounts: whoever changes a key waits until every live mount obeys.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::datakey::KeyArn;
use crate::kms::{KeyChange, StateObserver};
use crate::watch;

/// How long mounts may take to obey.
const LIMIT: Duration = Duration::from_secs(10);

/// Announces changes on the control sockets of a home.
#[derive(Debug)]
pub struct Announcer {
    run_dir: PathBuf,
}

impl Announcer {
    /// For the sockets in `run_dir`.
    pub fn new(run_dir: &Path) -> Self {
        Self { run_dir: run_dir.to_owned() }
    }
}

impl StateObserver for Announcer {
    fn key_changed(&self, key: &KeyArn, _change: KeyChange) -> Result<(), String> {
        let report = watch::announce(&self.run_dir, key, LIMIT)
            .map_err(|error| format!("mounts cannot be told: {}: {error}", self.run_dir.display()))?;
        for uncommitted in report.confirmed.iter().flat_map(|done| &done.uncommitted) {
            log::warn!(
                "not committed before its key was taken away, recovered when it comes back: {uncommitted}"
            );
        }
        if report.failed.is_empty() {
            return Ok(());
        }
        let named: Vec<_> = report
            .failed
            .iter()
            .map(|failure| format!("the mount {} did not confirm: {}", failure.mount, failure.why))
            .collect();
        Err(named.join("; "))
    }
}
