//! A home: the directory where the local key service lives.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::HomeError;
use crate::clock::Clock;
use crate::datakey::{Authenticator, DataKeys};
use crate::kms::{Caller, Kms, StateObserver, Via};

/// How a home is made.
#[derive(Debug, Clone)]
pub struct SetupOptions {
    /// The file whose bytes unlock the home: made (mode 0600) where it is absent, used where it exists.
    pub key_file: PathBuf,
    /// The account in the ARNs: 12 digits.
    pub account: String,
    /// The region in the ARNs.
    pub region: String,
    /// Whether its clock can be moved by hand (rule T-1).
    pub simulated_clock: bool,
}

/// An open, unlocked home.
#[derive(Debug)]
pub struct Home(());

impl Home {
    /// Makes a home in `dir`, which must be absent or empty, and opens it. Nothing is left behind on failure.
    ///
    /// # Errors
    /// As [`HomeError`] says.
    pub fn setup(dir: &Path, options: SetupOptions) -> Result<Self, HomeError> {
        let _ = options;
        Err(HomeError::NotFound(dir.to_path_buf()))
    }

    /// Opens the home in `dir`, unlocks it with the key file that it remembers and verifies the whole store.
    ///
    /// # Errors
    /// As [`HomeError`] says.
    pub fn open(dir: &Path) -> Result<Self, HomeError> {
        Err(HomeError::NotFound(dir.to_path_buf()))
    }

    /// The key service.
    pub fn kms(&self) -> Arc<Kms> {
        unimplemented!()
    }

    /// The key service as the filesystem sees it.
    pub fn data_keys(&self) -> Arc<dyn DataKeys> {
        unimplemented!()
    }

    /// What volumes authenticate their configuration with.
    pub fn authenticator(&self) -> Arc<dyn Authenticator> {
        unimplemented!()
    }

    /// The caller that user `uid` in process `pid` is to the key service (rule POL-2).
    pub fn caller(&self, uid: u32, pid: u32, via: Via) -> Caller {
        let _ = (uid, pid, via);
        unimplemented!()
    }

    /// Where mounts put their control sockets (mode 0700).
    pub fn run_dir(&self) -> &Path {
        unimplemented!()
    }

    /// The home's directory.
    pub fn dir(&self) -> &Path {
        unimplemented!()
    }

    /// The account in the ARNs.
    pub fn account(&self) -> &str {
        unimplemented!()
    }

    /// The region in the ARNs.
    pub fn region(&self) -> &str {
        unimplemented!()
    }

    /// The home's clock: never behind the latest time that the store has seen.
    pub fn clock(&self) -> Arc<dyn Clock> {
        unimplemented!()
    }

    /// Moves a simulated clock ahead, for every process; `false` where the home has a real one.
    ///
    /// # Errors
    /// As [`HomeError`] says.
    pub fn advance_clock(&self, by: Duration) -> Result<bool, HomeError> {
        let _ = by;
        unimplemented!()
    }

    /// Has `observer` told of changes of keys' usability that are made through [`Home::kms`].
    pub fn set_observer(&self, observer: Arc<dyn StateObserver>) {
        let _ = observer;
        unimplemented!()
    }
}
