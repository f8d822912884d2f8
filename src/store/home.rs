//! A home: the directory where the local key service lives.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::audit::FileAuditLog;
use super::identity::{Users, VolumeKey};
use super::regions::Regions;
use super::reserve::Reserve;
use super::root::RootKey;
use super::sqlite::SqliteStore;
use super::unlock::{self, Key, KeyFiles};
use super::{HomeError, SetupOptions, database, migrations, place, records, setup, tables};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::datakey::{Authenticator, DataKeys};
use crate::kms::alarm::AlarmSink;
use crate::kms::clock::{ClockError, Move, Moved};
use crate::kms::files::{FileKeys, OtherRegions, Principals};
use crate::kms::ring::{Change, ClockRecord, KeyStore, Keyring, StoreFailure};
use crate::kms::volume::{Count, KeyUsage, VolumeRecord};
use crate::kms::{Caller, Kms, KmsError, StateObserver, Via};

/// The directory of control sockets in a home.
pub const RUN_DIR: &str = "run";

/// An open, unlocked home.
pub struct Home {
    dir: PathBuf,
    run_dir: PathBuf,
    account: String,
    region: String,
    store: Arc<SqliteStore>,
    regions: Arc<Regions>,
    principals: Arc<Users>,
    authenticator: Arc<VolumeKey>,
    root: RootKey,
    log: Arc<FileAuditLog>,
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Home({})", self.dir.display())
    }
}

impl Home {
    /// Makes a home in `dir`, which must be absent or empty, and opens it. Nothing is left behind on failure.
    ///
    /// # Errors
    /// As [`HomeError`] says.
    pub fn setup(dir: &Path, options: &SetupOptions) -> Result<Self, HomeError> {
        Self::setup_with_clock(dir, options, Arc::new(SystemClock))
    }

    /// As [`Home::setup`], on a machine whose clocks are `clock`.
    ///
    /// # Errors
    /// As [`HomeError`] says.
    pub fn setup_with_clock(
        dir: &Path,
        options: &SetupOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, HomeError> {
        let root = setup::make(dir, options, &*clock)?;
        Self::open_with_clock(dir, Key::Root(root), clock)
    }

    /// Whether a home could be made in `dir`: it must be absent or empty.
    ///
    /// # Errors
    /// Why not.
    pub fn check_free(dir: &Path) -> Result<(), HomeError> {
        place::check_free(dir)
    }

    /// Opens the home in `dir` with a key file that it remembers: [`Home::open_with`] where nobody can be asked.
    ///
    /// # Errors
    /// As [`HomeError`] says.
    pub fn open(dir: &Path) -> Result<Self, HomeError> {
        Self::open_with(dir, Key::Keychain(&mut KeyFiles))
    }

    /// Opens the home in `dir`, unlocks it and verifies the whole store.
    ///
    /// # Errors
    /// As [`HomeError`] says.
    pub fn open_with(dir: &Path, key: Key<'_>) -> Result<Self, HomeError> {
        Self::open_with_clock(dir, key, Arc::new(SystemClock))
    }

    /// As [`Home::open_with`], on a machine whose clocks are `clock`.
    ///
    /// # Errors
    /// As [`HomeError`] says.
    pub fn open_with_clock(dir: &Path, key: Key<'_>, clock: Arc<dyn Clock>) -> Result<Self, HomeError> {
        let dir = find(dir)?;
        let path = dir.join(database::FILE_NAME);
        let reserve = Reserve::of(&dir);
        // Without room for the index of its log, the database cannot even be read.
        let (mut connection, is_a_store) = reserve.help(|| {
            let connection = database::open(&path)?;
            let is_a_store = tables::is_a_store(&connection, &path)?;
            database::allocate_index(&path)?;
            Ok((connection, is_a_store))
        })?;
        if !is_a_store {
            return Err(HomeError::Corrupted(path, "it has none of the tables of a key store".to_owned()));
        }
        reserve.fill();
        migrations::migrate(&mut connection, &path)?;
        migrations::check_schema(&connection, &path)?;
        let root = unlock::unlock(&tables::slots(&connection, &path)?, key)?;
        let store = Arc::new(SqliteStore::new(
            &path,
            connection,
            root.ledger(),
            records::seen_generation(&dir, &root)?,
        )?);
        let log = records::open(&dir, &root, &store, &*clock)?;
        let ring = store.ring().map_err(from_failure(&path))?;
        let kept = records::kept_in(log.clone());
        let regions = Regions::new(&ring.namespace().region, store.clone(), root.clone(), clock, kept);
        regions.keep_time();
        let owner = std::fs::metadata(&dir).map_err(|error| HomeError::Io(dir.clone(), error))?;
        let namespace = ring.namespace();
        Ok(Self {
            run_dir: run_dir(&dir)?,
            account: namespace.account.clone(),
            region: namespace.region.clone(),
            regions: Arc::new(regions),
            principals: Arc::new(Users::new(&namespace.account, std::os::unix::fs::MetadataExt::uid(&owner))),
            authenticator: Arc::new(VolumeKey { key: root.volumes(), home: store.home_id()? }),
            root,
            store,
            log,
            dir,
        })
    }

    /// The root key, for those who manage slots and backups.
    pub(super) fn root(&self) -> &RootKey {
        &self.root
    }

    /// The keyring, with this module's errors.
    pub(super) fn ring(&self) -> Result<Arc<Keyring>, HomeError> {
        self.store.ring().map_err(from_failure(&self.dir.join(database::FILE_NAME)))
    }

    /// The audit log, for who reads it.
    pub fn log(&self) -> &FileAuditLog {
        &self.log
    }

    /// The store, for the same.
    pub(super) fn store(&self) -> &SqliteStore {
        &self.store
    }

    /// Makes uses of keys cheaper for a process that stays and sees many, such as a mount (`audit::turn`, `SqliteStore::ask_often`).
    ///
    /// # Errors
    /// [`HomeError`]: it goes on as before.
    pub fn expect_many_uses(&self) -> Result<(), HomeError> {
        self.store.ask_often()?;
        self.log.keep_turns().map_err(|error| HomeError::Io(self.dir.join(super::audit::FILE_NAME), error))
    }

    /// The root key's bytes, for a process of this program that goes on in place of this one ([`Key::handed_over`]). They must
    /// never be written to a file.
    pub fn hand_over(&self) -> &[u8] {
        self.root.hand_over()
    }

    /// The key service of the home's own region.
    pub fn kms(&self) -> Arc<Kms> {
        self.regions.own().clone()
    }

    /// Moves a simulated clock ahead; see [`Regions::move_clock`].
    ///
    /// # Errors
    /// [`ClockError`].
    pub fn move_clock(&self, caller: &Caller, to: Move) -> Result<Moved, ClockError> {
        self.regions.move_clock(caller, to)
    }

    /// Believes what the machine's clock shows; see [`Regions::accept_clock`].
    ///
    /// # Errors
    /// [`ClockError`].
    pub fn accept_clock(&self, caller: &Caller) -> Result<Option<Moved>, ClockError> {
        self.regions.accept_clock(caller)
    }

    /// The key service of a region. Each has keys and aliases of its own.
    ///
    /// # Errors
    /// [`HomeError::InvalidSetting`] for what cannot be a region's name.
    pub fn kms_in(&self, region: &str) -> Result<Arc<Kms>, HomeError> {
        self.regions.of(region)
    }

    /// The home's own region, and the others in which there are keys, or were.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub fn regions(&self) -> Result<Vec<String>, StoreFailure> {
        self.regions.names()
    }

    fn file_keys(&self) -> FileKeys {
        FileKeys::new(self.kms(), self.principals.clone()).beside(self.regions.clone())
    }

    /// The key service as the filesystem sees it.
    pub fn data_keys(&self) -> Arc<dyn DataKeys> {
        Arc::new(self.file_keys())
    }

    /// As [`Home::data_keys`], for a mount that only user `uid` can use.
    pub fn data_keys_only_for(&self, uid: u32) -> Arc<dyn DataKeys> {
        Arc::new(self.file_keys().only_for(uid))
    }

    /// As [`Home::data_keys`], for a command that works on files without a mount; its records name it.
    pub fn data_keys_for(&self, tool: &'static str) -> Arc<dyn DataKeys> {
        Arc::new(self.file_keys().for_tool(tool))
    }

    /// What volumes authenticate their configuration with.
    pub fn authenticator(&self) -> Arc<dyn Authenticator> {
        self.authenticator.clone()
    }

    /// The caller that user `uid` in process `pid` is to the key service (rule POL-2).
    pub fn caller(&self, uid: u32, pid: u32, via: Via) -> Caller {
        self.principals.caller(uid, pid, via)
    }

    /// Everything that the home knows of its keys now, but for their material. What is due is destroyed first.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub fn keyring(&self) -> Result<Arc<Keyring>, StoreFailure> {
        let ring = self.store.ring()?;
        if !self.regions.own().is_something_due(&ring) {
            return Ok(ring);
        }
        current(self.regions.own())
    }

    /// As [`Home::keyring`], in a region.
    ///
    /// # Errors
    /// [`HomeError::InvalidSetting`] for what cannot be a region's name; failures of the store.
    pub fn keyring_in(&self, region: &str) -> Result<Arc<Keyring>, HomeError> {
        let kms = self.regions.of(region)?;
        current(&kms).map_err(from_failure(&self.dir.join(database::FILE_NAME)))
    }

    /// Where mounts put their control sockets (mode 0700).
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// As [`Home::run_dir`], of the home in `dir`, which is not unlocked.
    ///
    /// # Errors
    /// [`HomeError::NotFound`], [`HomeError::Io`].
    pub fn run_dir_of(dir: &Path) -> Result<PathBuf, HomeError> {
        run_dir(&find(dir)?)
    }

    /// The home's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The account in the ARNs.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The region in the ARNs.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The time, by the home's clock: never behind the latest that the store has seen.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub fn now(&self) -> Result<Timestamp, StoreFailure> {
        Ok(self.regions.own().now(&*self.store.ring()?))
    }

    /// Notes that the volume `id` was seen at `path`, and what was counted in it. Nothing depends on it, so one that was seen there
    /// lately is not written again, and a path that is no text is left out.
    ///
    /// # Errors
    /// [`KmsError`] where the store cannot be changed.
    pub fn note_volume(&self, id: &str, path: &Path, usage: Option<Vec<KeyUsage>>) -> Result<(), KmsError> {
        let Some(path) = path.to_str() else { return Ok(()) };
        let record = |ring: &Keyring| {
            let seen = self.regions.own().now(ring);
            let count = usage.clone().map(|usage| Count { at: seen, usage });
            let new = VolumeRecord { id: id.to_owned(), path: path.to_owned(), seen, count };
            let known = ring.volume(id);
            let is_known = known.is_some_and(|known| new.is_known(known));
            (!is_known).then(|| new.after(known.map(|known| &**known)))
        };
        if self.store.ring().is_ok_and(|ring| record(&ring).is_none()) {
            return Ok(());
        }
        self.store.update(&mut |ring| Ok(record(ring).map(Change::PutVolume).into_iter().collect()))?;
        Ok(())
    }

    /// Moves a simulated clock ahead, for every process; `false` where the home has a real one.
    ///
    /// # Errors
    /// [`KmsError`] where the store cannot be changed.
    pub fn advance_clock(&self, by: Duration) -> Result<bool, KmsError> {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let mut moved = false;
        self.store.update(&mut |ring| {
            let clock = ring.clock();
            let Some(offset) = clock.simulated_offset else { return Ok(Vec::new()) };
            moved = true;
            let simulated_offset = Some(offset.saturating_add(by));
            Ok(vec![Change::SetClock(ClockRecord { simulated_offset, ..clock.clone() })])
        })?;
        Ok(moved)
    }

    /// Has `sink` do what the alarms ask for that sound through [`Home::kms`].
    pub fn set_alarms(&self, sink: Arc<dyn AlarmSink>) {
        self.regions.set_alarms(sink);
    }

    /// Has `observer` told of changes of keys' usability that are made through [`Home::kms`].
    pub fn set_observer(&self, observer: Arc<dyn StateObserver>) {
        self.regions.set_observer(observer);
    }
}

/// What a service knows, after what is due.
fn current(kms: &Kms) -> Result<Arc<Keyring>, StoreFailure> {
    let ring = kms.current_ring();
    ring.map_err(|error| StoreFailure::Failed(format!("what is due cannot be destroyed: {error}")))
}

/// The home in `dir`, by a path without links.
fn find(dir: &Path) -> Result<PathBuf, HomeError> {
    let path = dir.join(database::FILE_NAME);
    if !path.try_exists().map_err(|error| HomeError::Io(path.clone(), error))? {
        // Who is told that there is no home makes another one, and loses what is left of this.
        return Err(match dir.join(super::audit::HEAD_NAME).exists() {
            true => HomeError::Corrupted(path, "it is missing, and the rest of the home is there".to_owned()),
            false => HomeError::NotFound(dir.to_owned()),
        });
    }
    std::fs::canonicalize(dir).map_err(|error| HomeError::Io(dir.to_owned(), error))
}

/// The directory of control sockets; a backup of a home may have left the empty directory out.
fn run_dir(home: &Path) -> Result<PathBuf, HomeError> {
    let path = home.join(RUN_DIR);
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(HomeError::Io(path, error)),
        _ => Ok(path),
    }
}

fn from_failure(path: &Path) -> impl FnOnce(StoreFailure) -> HomeError {
    let path = path.to_owned();
    move |failure| match failure {
        StoreFailure::Tampered(what) => HomeError::Tampered(what),
        StoreFailure::Failed(what) => HomeError::Corrupted(path, what),
    }
}
