//! Secrets that a test gives, and slots made for them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kmsfs::kms::{Caller, Via};
use kmsfs::store::slot::{Cost, Passphrase, RecoveryCode};
use kmsfs::store::{Home, HomeError, Key, Keychain, NewSlot};

use crate::fixture::Fixture;

/// What a person or an environment would give.
#[derive(Default)]
pub struct Given {
    pub key_file: Option<PathBuf>,
    pub passphrases: Vec<Passphrase>,
    /// How often a passphrase was asked for.
    pub asked: u32,
}

impl Keychain for Given {
    fn key_file(&self) -> Option<PathBuf> {
        self.key_file.clone()
    }

    fn passphrase(&mut self, attempt: u32) -> Result<Option<Passphrase>, HomeError> {
        assert_eq!(attempt, self.asked, "attempts are counted");
        self.asked += 1;
        Ok(self.passphrases.get(attempt as usize).cloned())
    }
}

impl Fixture {
    pub fn open_with_passphrases(&self, passphrases: &[&str]) -> Result<Home, HomeError> {
        let passphrases = passphrases.iter().map(|text| passphrase(self.temp.path(), text)).collect();
        Home::open_with(&self.home(), Key::Keychain(&mut Given { passphrases, ..Given::default() }))
    }

    pub fn open_with_key_file(&self, key_file: &Path) -> Result<Home, HomeError> {
        let mut given = Given { key_file: Some(key_file.to_owned()), ..Given::default() };
        Home::open_with(&self.home(), Key::Keychain(&mut given))
    }

    pub fn passphrase_slot(&self, text: &str) -> NewSlot {
        NewSlot::Passphrase(passphrase(self.temp.path(), text), cheap())
    }
}

/// The least that an attempt can cost.
pub fn cheap() -> Cost {
    Cost::new(8192, 1, 1).unwrap()
}

/// By way of a file in `dir`, as every passphrase that is not typed.
pub fn passphrase(dir: &Path, text: &str) -> Passphrase {
    let file = tempfile::NamedTempFile::new_in(dir).unwrap();
    fs::write(file.path(), text).unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
    Passphrase::read(file.path()).unwrap()
}

pub fn caller(home: &Home) -> Caller {
    home.caller(0, std::process::id(), Via::Cli)
}

pub fn code() -> RecoveryCode {
    RecoveryCode::random()
}
