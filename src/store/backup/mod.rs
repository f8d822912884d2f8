//! A home in one file: taken while others use it, sealed, and made a home again.
//!
//! ```text
//! header line   JSON: format, version, home, made, salt, slots as rows, then a line feed
//! chunks        a sealed stream (`stream`) of:
//!                   length of the store (8, big endian) | the store as JSON (`dump`) | the audit log
//! backup key  = HKDF-SHA256(root key, salt, "kmsfs backup 1")
//! ```
//!
//! The header holds what is needed to unlock and nothing else that the database does not show to everybody who has it. Names of keys,
//! the log's paths and everything else can be read with a slot's secret only. The store is taken before the log: a record is written
//! before what it tells is done, so the log has a record of everything that the store knows.

mod dump;
mod stream;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use self::dump::{Cell, Dump};
use self::stream::{OpeningReader, Seal, SealingWriter};
use super::home::Home;
use super::new_file::{NewFile, parent_of};
use super::rows::Table;
use super::slot::{Slot, SlotKind};
use super::sqlite::{Snapshot, SqliteStore};
use super::unlock::{self, Key};
use super::{HomeError, audit, database, place, records, setup};
use crate::clock::SystemClock;
use crate::crypto::{hash, rng};
use crate::kms::audit::HomeEvent;
use crate::kms::{Caller, Via};

const FORMAT: &str = "kmsfs home backup";
const VERSION: u32 = 1;
/// The longest header line.
const HEADER_MAX: u64 = 1024 * 1024;
/// The largest store that is restored.
const STORE_MAX: u64 = 1024 * 1024 * 1024;
const SALT_LEN: usize = 32;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    home: String,
    made: String,
    salt: String,
    slots: Vec<Vec<Cell>>,
}

impl Home {
    /// Writes the whole home to `file`, which appears when it is whole and on disk (mode 0600). Other processes may use and change
    /// the home meanwhile. It takes the place of a file only with `replace`.
    ///
    /// # Errors
    /// [`HomeError::BackupExists`], and as [`HomeError`] says; nothing is left behind then.
    pub fn backup(&self, caller: &Caller, file: &Path, replace: bool) -> Result<(), HomeError> {
        check_target(file, replace)?;
        self.refuse_own(file)?;
        self.record_copy(caller, "BackupHome", file)?;
        let io = |error| HomeError::Io(file.to_owned(), error);
        let (made, mut new) = NewFile::make(file, replace).map_err(io)?;
        self.write_backup(&made, file)?;
        made.sync_all().map_err(io)?;
        new.name(&made).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => HomeError::BackupExists(file.to_owned()),
            _ => io(error),
        })
    }

    /// A backup in the home is lost with it; and what is backed up must not be what is replaced: the home itself, or a key file of it.
    fn refuse_own(&self, file: &Path) -> Result<(), HomeError> {
        let parent = fs::canonicalize(parent_of(file));
        let whole = fs::canonicalize(file).ok();
        let is_key_file =
            |slot: &Slot| matches!(&slot.kind, SlotKind::KeyFile(path) if whole.as_ref() == Some(path));
        let is_in_home = parent.is_ok_and(|parent| parent.starts_with(self.dir()));
        match is_in_home || self.slots()?.iter().any(is_key_file) {
            true => Err(HomeError::BackupOfItself(file.to_owned())),
            false => Ok(()),
        }
    }

    fn write_backup(&self, out: &File, file: &Path) -> Result<(), HomeError> {
        let io = |error| HomeError::Io(file.to_owned(), error);
        let snapshot = self.store().snapshot()?;
        let mut log =
            self.log().whole().map_err(|error| HomeError::Io(self.dir().join(audit::FILE_NAME), error))?;
        let strange = || HomeError::Tampered("a value is none that this program writes".to_owned());
        let salt: [u8; SALT_LEN] = rng::bytes();
        let slots =
            snapshot.tables.iter().filter(|(table, _)| *table == Table::Slots).flat_map(|(_, rows)| rows);
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            home: snapshot.home.clone(),
            made: self.kms().now(&*self.ring()?).to_string(),
            salt: STANDARD.encode(salt),
            slots: slots.map(|(row, _)| dump::cells(row)).collect::<Option<_>>().ok_or_else(strange)?,
        };
        let mut line = json(&header)?;
        line.push(b'\n');
        let store = json(&Dump::of(&snapshot).ok_or_else(strange)?)?;
        let seal = Seal { key: self.root().backup(&salt), header: hash::sha256(&[&line]) };
        let write = || {
            let mut out = BufWriter::new(out);
            out.write_all(&line)?;
            let mut out = SealingWriter::new(out, seal);
            out.write_all(&(store.len() as u64).to_be_bytes())?;
            out.write_all(&store)?;
            io::copy(&mut log, &mut out)?;
            out.finish()?.flush()
        };
        write().map_err(io)
    }

    /// Makes a home in `dir`, which must be absent or empty, of the backup `file`, and opens it. Everything is verified before the
    /// home appears, so `key` must open one of the slots that the home had then.
    ///
    /// # Errors
    /// [`HomeError::BackupDamaged`], and as [`HomeError`] says; nothing is left behind then, but for a home whose restoration could not
    /// be recorded in it.
    pub fn restore(dir: &Path, file: &Path, key: Key<'_>) -> Result<Self, HomeError> {
        place::check_free(dir)?;
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidData => HomeError::BackupDamaged(file.to_owned(), error.to_string()),
            _ => HomeError::Io(file.to_owned(), error),
        };
        let damaged = |why: &str| HomeError::BackupDamaged(file.to_owned(), why.to_owned());
        let mut from = BufReader::new(File::open(file).map_err(io)?);
        let (header, line) = read_header(&mut from, file)?;
        let slots = header.slots.iter().map(|cells| dump::row(cells)).collect::<Option<Vec<_>>>();
        let salt = STANDARD.decode(&header.salt).ok().filter(|salt| salt.len() == SALT_LEN);
        let (Some(slots), Some(salt)) = (slots, salt) else { return Err(damaged("its header was altered")) };
        let root = unlock::unlock(&slots, key)?;
        let seal = Seal { key: root.backup(&salt), header: hash::sha256(&[&line]) };
        let mut from = OpeningReader::new(from, seal);
        let snapshot = read_store(&mut from, &header.home).map_err(io)?;
        place::make_beside(dir, |waiting, _| {
            setup::fill_around(waiting)?;
            let log = waiting.join(audit::FILE_NAME);
            copy_log(&mut from, &log).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => io(error),
                _ => HomeError::Io(log, error),
            })?;
            // What was recorded since is not in this home: its chain begins anew, and covers what it had.
            let then =
                |store: &SqliteStore| records::begin(waiting, &root, store, &SystemClock, true).map(|_| ());
            snapshot.restore(&waiting.join(database::FILE_NAME), root.ledger(), then)
        })?;
        let home = Self::open_with(dir, Key::Root(root))?;
        let user = rustix::process::getuid().as_raw();
        let caller = home.caller(user, std::process::id(), Via::Cli);
        home.record_copy(&caller, "RestoreHome", file)?;
        Ok(home)
    }

    fn record_copy(&self, caller: &Caller, name: &'static str, file: &Path) -> Result<(), HomeError> {
        let parameters = [("file".to_owned(), file.display().to_string().into())].into_iter().collect();
        let event = HomeEvent { name, parameters, read_only: true };
        let written = self.kms().record_of_home(&*self.ring()?, caller, &event, None);
        written.map_err(|error| HomeError::Audit(error.words()))
    }
}

/// What stands at the name must be nothing, or a file that may be replaced.
fn check_target(file: &Path, replace: bool) -> Result<(), HomeError> {
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(HomeError::Io(file.to_owned(), error)),
        Ok(facts) if replace && facts.is_file() => Ok(()),
        Ok(_) => Err(HomeError::BackupExists(file.to_owned())),
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, HomeError> {
    serde_json::to_vec(value).map_err(|error| HomeError::Tampered(error.to_string()))
}

/// The header, and its line as it is.
fn read_header(from: &mut impl io::BufRead, file: &Path) -> Result<(Header, Vec<u8>), HomeError> {
    let damaged = |why: &str| HomeError::BackupDamaged(file.to_owned(), why.to_owned());
    let mut line = Vec::new();
    io::BufRead::read_until(&mut from.take(HEADER_MAX), b'\n', &mut line)
        .map_err(|error| HomeError::Io(file.to_owned(), error))?;
    #[derive(Deserialize)]
    struct VersionOnly {
        format: String,
        version: u32,
    }
    let VersionOnly { format, version } =
        serde_json::from_slice(&line).map_err(|_| damaged("it does not begin like one"))?;
    if format != FORMAT {
        return Err(damaged("it does not begin like one"));
    }
    if version > VERSION {
        return Err(HomeError::NewerFormat { found: version, supported: VERSION });
    }
    let header = serde_json::from_slice(&line).map_err(|_| damaged("its header was altered"))?;
    Ok((header, line))
}

fn read_store(from: &mut impl Read, home: &str) -> io::Result<Snapshot> {
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "this version does not know its tables");
    let mut len = [0; 8];
    from.read_exact(&mut len).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let len = Some(u64::from_be_bytes(len)).filter(|len| *len <= STORE_MAX).ok_or_else(strange)?;
    let mut store = Vec::new();
    from.take(len).read_to_end(&mut store)?;
    let dump: Dump = serde_json::from_slice(&store).map_err(|_| strange())?;
    dump.snapshot(home).ok_or_else(strange)
}

fn copy_log(from: &mut impl Read, log: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(log)?;
    io::copy(from, &mut file)?;
    file.sync_all()
}
