//! Making a home: wholly, or not at all.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::home::{RUN_DIR, SetupOptions};
use super::keyfile::Claim;
use super::root::RootKey;
use super::rows::{Row, Table, meta_row};
use super::tables::{self, fact};
use super::{HomeError, audit, database, keyfile, migrations};
use crate::clock::{Clock, SystemClock};
use crate::crypto::rng;

/// Makes a home in `dir`.
///
/// # Errors
/// As [`HomeError`] says; nothing is left behind then, but for a key file that existed before.
pub fn make(dir: &Path, options: &SetupOptions) -> Result<(), HomeError> {
    check(options)?;
    check_free(dir)?;
    let claim = Claim::of(&options.key_file)?;
    // Another setup with the same key file may have been waited for.
    let outcome = check_free(dir).and_then(|()| make_beside(dir, options));
    if outcome.is_err() {
        claim.abandon();
    }
    outcome
}

fn check(options: &SetupOptions) -> Result<(), HomeError> {
    let invalid = |name, found: &str, expected| {
        Err(HomeError::InvalidSetting { name, found: found.to_owned(), expected })
    };
    if options.account.len() != 12 || !options.account.bytes().all(|byte| byte.is_ascii_digit()) {
        return invalid("account", &options.account, "12 digits");
    }
    let region = &options.region;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if region.is_empty() || region.len() > 64 || !region.bytes().all(fits) {
        return invalid("region", region, "a region's name such as us-east-1");
    }
    Ok(())
}

/// The directory must be absent or empty.
fn check_free(dir: &Path) -> Result<(), HomeError> {
    if dir.join(database::FILE_NAME).exists() {
        return Err(HomeError::AlreadyExists(dir.to_owned()));
    }
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(HomeError::NotEmpty(dir.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(HomeError::Io(dir.to_owned(), error)),
    }
}

/// Makes the home in a directory beside, which takes the name when everything in it is on disk.
fn make_beside(dir: &Path, options: &SetupOptions) -> Result<(), HomeError> {
    let io = |path: &Path, error| HomeError::Io(path.to_owned(), error);
    let key_file = fs::canonicalize(&options.key_file).map_err(|error| io(&options.key_file, error))?;
    let bytes = keyfile::read(&key_file)?;
    let ancestors = MadeAncestors::of(dir)?;
    let fill = || {
        let (parent, name) = place(dir).map_err(|error| io(dir, error))?;
        if key_file.starts_with(parent.join(&name)) {
            let why = "it would lie in the home that it unlocks".to_owned();
            return Err(HomeError::KeyFileUnsuitable(options.key_file.clone(), why));
        }
        let random = u64::from_be_bytes(rng::bytes());
        let waiting = parent.join(format!(".kmsfs-home-{random:016x}.new"));
        let filled = fill(&waiting, &key_file, &bytes, options).and_then(|()| {
            fs::rename(&waiting, parent.join(&name)).map_err(|error| taken(dir, error))?;
            File::open(&parent).and_then(|parent| parent.sync_all()).map_err(|error| io(&parent, error))
        });
        filled.inspect_err(|_| {
            let _ = fs::remove_dir_all(&waiting);
        })
    };
    fill().inspect_err(|_| ancestors.remove())
}

/// The directories above a home that are made for it.
struct MadeAncestors(Vec<PathBuf>);

impl MadeAncestors {
    fn of(dir: &Path) -> Result<Self, HomeError> {
        let above = dir.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        let missing = above.take_while(|above| !above.exists()).map(Path::to_owned).collect();
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
            made.map_err(|error| HomeError::Io(parent.to_owned(), error))?;
        }
        Ok(Self(missing))
    }

    /// The deepest first; one that others use by now stays.
    fn remove(&self) {
        for dir in &self.0 {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// Where the home's directory is, or will be: links and dots are followed, so that the home takes the place of what they
/// lead to.
fn place(dir: &Path) -> io::Result<(PathBuf, OsString)> {
    let whole = match fs::canonicalize(dir) {
        Ok(whole) => whole,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
            fs::canonicalize(parent.unwrap_or(Path::new(".")))?.join(dir.file_name().unwrap_or_default())
        }
        Err(error) => return Err(error),
    };
    match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) => Ok((parent.to_owned(), name.to_owned())),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Why the name cannot be taken: another setup may have been faster.
fn taken(dir: &Path, error: io::Error) -> HomeError {
    match check_free(dir) {
        Err(taken) => taken,
        Ok(()) => HomeError::Io(dir.to_owned(), error),
    }
}

fn fill(waiting: &Path, key_file: &Path, bytes: &[u8], options: &SetupOptions) -> Result<(), HomeError> {
    let io = |path: &Path, error| HomeError::Io(path.to_owned(), error);
    DirBuilder::new().mode(0o700).create(waiting).map_err(|error| io(waiting, error))?;
    let run = waiting.join(RUN_DIR);
    DirBuilder::new().mode(0o700).create(&run).map_err(|error| io(&run, error))?;
    let log = waiting.join(audit::FILE_NAME);
    audit::FileAuditLog::open(&log).map_err(|error| io(&log, error))?;
    fill_database(&waiting.join(database::FILE_NAME), key_file, bytes, options)?;
    File::open(waiting).and_then(|dir| dir.sync_all()).map_err(|error| io(waiting, error))
}

fn fill_database(
    path: &Path,
    key_file: &Path,
    bytes: &[u8],
    options: &SetupOptions,
) -> Result<(), HomeError> {
    let mut connection = database::create(path)?;
    migrations::migrate(&mut connection, path)?;
    let root = RootKey::random();
    let mut rows: Vec<(Table, Row)> = [
        (fact::HOME, uuid::Uuid::new_v4().to_string().into()),
        (fact::ACCOUNT, options.account.clone().into()),
        (fact::REGION, options.region.clone().into()),
        (fact::LATEST, SystemClock.now().as_millis().into()),
    ]
    .map(|(name, value)| (Table::Meta, meta_row(name, value)))
    .into();
    if options.simulated_clock {
        rows.push((Table::Meta, meta_row(fact::SIMULATED_OFFSET, 0_i64.into())));
    }
    rows.push((Table::Slots, root.key_file_slot(1, key_file.as_os_str().as_bytes(), bytes)));
    tables::write_first(&mut connection, path, &root.ledger(), &rows)?;
    match database::truncate_log(&connection, path)? {
        true => Ok(()),
        false => Err(HomeError::Busy(path.to_owned())),
    }
}
