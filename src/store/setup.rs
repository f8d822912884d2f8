//! Making a home: wholly, or not at all.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use zeroize::Zeroizing;

use super::home::RUN_DIR;
use super::keyfile::Claim;
use super::root::RootKey;
use super::rows::{Row, Table, meta_row};
use super::slot::{Slot, SlotKind, SlotSecret};
use super::slots::NewSlot;
use super::tables::{self, fact};
use super::{HomeError, audit, database, keyfile, migrations, place};
use crate::clock::Clock;
use crate::crypto::rng;
use crate::kms::audit::Scene;
use crate::kms::clock_guard::{Anchor, Reading};
use crate::kms::id::is_region;

/// How a home is made.
#[derive(Debug, Clone)]
pub struct SetupOptions {
    /// What unlocks it; at least one.
    pub slots: Vec<NewSlot>,
    /// The account in the ARNs: 12 digits.
    pub account: String,
    /// The region in the ARNs.
    pub region: String,
    /// Whether its clock can be moved by hand (rule T-1).
    pub simulated_clock: bool,
    /// Whether it takes key material wrapped with `RSAES_PKCS1_V1_5` (rule IMP-2).
    pub legacy_wrapping: bool,
}

impl SetupOptions {
    /// The account where nobody names one.
    pub const ACCOUNT: &str = "000000000000";
    /// The region where nobody names one.
    pub const REGION: &str = "us-east-1";

    /// A home as it is made where nothing is said but what unlocks it.
    pub fn new(slots: Vec<NewSlot>) -> Self {
        let (account, region) = (Self::ACCOUNT.to_owned(), Self::REGION.to_owned());
        Self { slots, account, region, simulated_clock: false, legacy_wrapping: false }
    }
}

/// Makes a home in `dir`; its root key, with which it can be opened at once.
///
/// # Errors
/// As [`HomeError`] says; nothing is left behind then, but for a key file that existed before.
pub fn make(dir: &Path, options: &SetupOptions, clock: &dyn Clock) -> Result<RootKey, HomeError> {
    check(options)?;
    place::check_free(dir)?;
    let mut claims = Vec::new();
    let root = RootKey::random();
    let mut work = || {
        for slot in &options.slots {
            if let NewSlot::KeyFile(path) = slot {
                claims.push(Claim::of(path)?);
            }
        }
        // Another setup with the same key file may have been waited for.
        place::check_free(dir)?;
        make_beside(dir, options, &root, &Reading { clock: clock.now(), uptime: clock.uptime() })
    };
    let outcome = work();
    if outcome.is_err() {
        claims.into_iter().for_each(Claim::abandon);
    }
    outcome.map(|()| root)
}

fn check(options: &SetupOptions) -> Result<(), HomeError> {
    let invalid = |name, found: &str, expected| {
        Err(HomeError::InvalidSetting { name, found: found.to_owned(), expected })
    };
    if options.account.len() != 12 || !options.account.bytes().all(|byte| byte.is_ascii_digit()) {
        return invalid("account", &options.account, "12 digits");
    }
    let region = &options.region;
    if !is_region(region) {
        return invalid("region", region, "a region's name such as us-east-1");
    }
    match options.slots.is_empty() {
        true => invalid("slots", "none", "a key file, a passphrase or a recovery code"),
        false => Ok(()),
    }
}

fn make_beside(
    dir: &Path,
    options: &SetupOptions,
    root: &RootKey,
    reading: &Reading,
) -> Result<(), HomeError> {
    let key_files = options.slots.iter().map(KeyFile::of).collect::<Result<Vec<_>, _>>()?;
    place::make_beside(dir, |waiting, home| {
        let made = reading.clock;
        let mut slots = Vec::new();
        for (number, (slot, key_file)) in (1..).zip(options.slots.iter().zip(&key_files)) {
            if let Some(KeyFile { path, .. }) = key_file.as_ref().filter(|file| file.path.starts_with(home)) {
                let why = "it would lie in the home that it unlocks".to_owned();
                return Err(HomeError::KeyFileUnsuitable(path.clone(), why));
            }
            let (kind, secret) = match (slot, key_file) {
                (NewSlot::KeyFile(_), Some(file)) => {
                    (SlotKind::KeyFile(file.path.clone()), SlotSecret::KeyFile(&file.bytes))
                }
                (NewSlot::KeyFile(_), None) => return Err(HomeError::SecretOfAnotherKind),
                (NewSlot::Passphrase(passphrase, cost), _) => {
                    (SlotKind::Passphrase(*cost), SlotSecret::Passphrase(passphrase))
                }
                (NewSlot::RecoveryCode(code), _) => (SlotKind::RecoveryCode, SlotSecret::RecoveryCode(code)),
            };
            slots.push(root.seal(kind, secret, made)?.numbered(number));
        }
        fill(waiting, &slots, root, options, reading)
    })
}

/// A key file that a slot is made for.
pub struct KeyFile {
    /// Where it is, whatever directory a later command runs in.
    pub path: PathBuf,
    /// What it holds.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl KeyFile {
    /// That of a new slot; `None` for a slot of another kind.
    fn of(slot: &NewSlot) -> Result<Option<Self>, HomeError> {
        match slot {
            NewSlot::KeyFile(path) => Self::read(path).map(Some),
            NewSlot::Passphrase(..) | NewSlot::RecoveryCode(_) => Ok(None),
        }
    }

    /// That at `path`.
    ///
    /// # Errors
    /// As [`keyfile::read`] says.
    pub fn read(path: &Path) -> Result<Self, HomeError> {
        let whole = fs::canonicalize(path).map_err(|error| HomeError::Io(path.to_owned(), error))?;
        let bytes = keyfile::read(&whole)?;
        Ok(Self { path: whole, bytes })
    }
}

fn fill(
    waiting: &Path,
    slots: &[Slot],
    root: &RootKey,
    options: &SetupOptions,
    reading: &Reading,
) -> Result<(), HomeError> {
    fill_around(waiting)?;
    let path = waiting.join(database::FILE_NAME);
    let mut connection = database::create(&path)?;
    migrations::migrate(&mut connection, &path)?;
    let mut rows: Vec<(Table, Row)> = [
        (fact::HOME, uuid::Uuid::new_v4().to_string().into()),
        (fact::ACCOUNT, options.account.clone().into()),
        (fact::REGION, options.region.clone().into()),
        (fact::LATEST, reading.clock.as_millis().into()),
        (fact::SCHEMA, i64::from(migrations::CURRENT).into()),
    ]
    .map(|(name, value)| (Table::Meta, meta_row(name, value)))
    .into();
    rows.push((
        Table::Meta,
        match options.simulated_clock {
            true => meta_row(fact::SIMULATED_OFFSET, 0_i64.into()),
            false => meta_row(fact::ANCHOR, Anchor::new(reading).to_bytes().into()),
        },
    ));
    if options.legacy_wrapping {
        rows.push((Table::Meta, meta_row(fact::LEGACY_WRAPPING, 1_i64.into())));
    }
    rows.extend(slots.iter().map(|slot| (Table::Slots, slot.row())));
    let chain = rng::bytes();
    let facts: [(&str, Value); 2] =
        [(fact::AUDIT_CHAIN, Value::Blob(chain.to_vec())), (fact::AUDIT_NUMBER, 1_i64.into())];
    rows.extend(facts.map(|(name, value)| (Table::Meta, meta_row(name, value))));
    tables::write_first(&mut connection, &path, &root.ledger(), &rows)?;
    let scene = Scene { account: &options.account, region: &options.region, now: reading.clock, ring: None };
    // Before the first generation there is none.
    let begun = audit::begin(waiting, &root.audit(chain), &scene, 0);
    begun.map_err(|error| HomeError::Io(waiting.join(audit::FILE_NAME), error))?;
    match database::truncate_log(&connection, &path)? {
        true => Ok(()),
        false => Err(HomeError::Busy(path)),
    }
}

/// Everything of a home but for the database and the audit log: the directory of sockets.
///
/// # Errors
/// [`HomeError::Io`].
pub fn fill_around(waiting: &Path) -> Result<(), HomeError> {
    let io = |path: &Path, error| HomeError::Io(path.to_owned(), error);
    let run = waiting.join(RUN_DIR);
    DirBuilder::new().mode(0o700).create(&run).map_err(|error| io(&run, error))
}
