//! Making a home: wholly, or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::home::{RUN_DIR, SetupOptions};
use super::root::RootKey;
use super::rows::{Row, Table, meta_row};
use super::sqlite::{self, fact};
use super::{HomeError, audit, database, keyfile, migrations};
use crate::clock::{Clock, SystemClock};

/// Makes a home in `dir`.
///
/// # Errors
/// As [`HomeError`] says; nothing is left behind then, but for a key file that existed before.
pub fn make(dir: &Path, options: &SetupOptions) -> Result<(), HomeError> {
    check(options)?;
    check_free(dir)?;
    let made_key_file = !options.key_file.exists();
    if made_key_file {
        keyfile::make(&options.key_file)?;
    }
    let outcome = make_beside(dir, options);
    if outcome.is_err() && made_key_file {
        let _ = fs::remove_file(&options.key_file);
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
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let io = |path: &Path, error| HomeError::Io(path.to_owned(), error);
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(|error| io(parent, error))?;
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let waiting = parent.join(name);
    let fill = || {
        DirBuilder::new().mode(0o700).create(&waiting).map_err(|error| io(&waiting, error))?;
        let run = waiting.join(RUN_DIR);
        DirBuilder::new().mode(0o700).create(&run).map_err(|error| io(&run, error))?;
        let log = waiting.join(audit::FILE_NAME);
        audit::FileAuditLog::open(&log).map_err(|error| io(&log, error))?;
        fill_database(&waiting.join(database::FILE_NAME), options)?;
        fs::rename(&waiting, dir).map_err(|error| io(dir, error))?;
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| io(parent, error))
    };
    fill().inspect_err(|_| {
        let _ = fs::remove_dir_all(&waiting);
    })
}

fn fill_database(path: &PathBuf, options: &SetupOptions) -> Result<(), HomeError> {
    // SQLite gives its other files the mode of this one.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| HomeError::Io(path.clone(), error))?;
    let mut connection = database::open(path)?;
    migrations::migrate(&mut connection, path)?;
    let key_file = fs::canonicalize(&options.key_file)
        .map_err(|error| HomeError::Io(options.key_file.clone(), error))?;
    let bytes = keyfile::read(&key_file)?;
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
    let key_file = key_file.to_str().ok_or_else(|| {
        HomeError::KeyFileUnsuitable(options.key_file.clone(), "its path is not text".to_owned())
    })?;
    rows.push((Table::Slots, root.key_file_slot(1, key_file, &bytes)));
    sqlite::write_first(&mut connection, path, &root.ledger(), &rows)?;
    match database::truncate_log(&connection, path)? {
        true => Ok(()),
        false => Err(HomeError::Busy(path.clone())),
    }
}
