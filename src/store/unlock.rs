//! Finding the root key: which secrets are tried on which slots, in which order.
//!
//! Key files come first, since they ask nobody. A passphrase is asked for only where a slot takes one and no key file fits, and a
//! recovery code is never asked for: who has to use one says so.

use std::path::{Path, PathBuf};

use super::root::RootKey;
use super::rows::Row;
use super::slot::{Passphrase, RecoveryCode, SLOTS_MAX, Slot, SlotKind, SlotSecret};
use super::{HomeError, keyfile};

/// Where secrets come from when a home is opened.
pub trait Keychain {
    /// A key file that is used in place of those that the slots name.
    fn key_file(&self) -> Option<PathBuf> {
        None
    }

    /// The passphrase, the first time and again while it does not fit (`attempt` counts from 0); `None` where there is none, or
    /// no other.
    ///
    /// # Errors
    /// [`HomeError`], which ends the attempts.
    fn passphrase(&mut self, attempt: u32) -> Result<Option<Passphrase>, HomeError> {
        let _ = attempt;
        Ok(None)
    }
}

/// The key files that the slots name, and nothing else.
#[derive(Debug, Clone, Copy)]
pub struct KeyFiles;

impl Keychain for KeyFiles {}

/// What a home is opened with.
pub enum Key<'a> {
    /// What its slots ask for.
    Keychain(&'a mut dyn Keychain),
    /// A recovery code.
    RecoveryCode(&'a RecoveryCode),
    /// The root key, from a process that has opened the home already.
    Root(RootKey),
}

impl Key<'_> {
    /// The key that [`super::Home::hand_over`] gave; `None` where it is not one.
    pub fn handed_over(bytes: &[u8]) -> Option<Self> {
        RootKey::handed_over(bytes).map(Self::Root)
    }
}

impl std::fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Keychain(_) => "Keychain(..)",
            Self::RecoveryCode(_) => "RecoveryCode(..)",
            Self::Root(_) => "Root(..)",
        })
    }
}

/// The root key, by the first slot that opens.
///
/// # Errors
/// Why the slots that could have been opened were not.
pub fn unlock(rows: &[Row], key: Key<'_>) -> Result<RootKey, HomeError> {
    if let Key::Root(root) = key {
        return Ok(root);
    }
    let mut slots = Vec::new();
    let mut refusal = None;
    if rows.len() > SLOTS_MAX {
        // Each may cost an attempt that takes a minute.
        return Err(HomeError::Tampered(format!(
            "the home has {} slots, and {SLOTS_MAX} can be",
            rows.len()
        )));
    }
    for row in rows {
        match Slot::of(row) {
            Ok(slot) => slots.push(slot),
            // Another slot may open all the same, and then the store says what was altered.
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    match key {
        Key::Root(root) => Ok(root),
        Key::RecoveryCode(code) => by_recovery_code(&slots, code, refusal),
        Key::Keychain(keychain) => by_keychain(&slots, keychain, refusal),
    }
}

fn by_recovery_code(
    slots: &[Slot],
    code: &RecoveryCode,
    refusal: Option<HomeError>,
) -> Result<RootKey, HomeError> {
    let of_this_kind = |slot: &&Slot| slot.kind == SlotKind::RecoveryCode;
    if !slots.iter().any(|slot| of_this_kind(&slot)) {
        return Err(refusal.unwrap_or(HomeError::NoRecoveryCode));
    }
    match first(slots.iter().filter(of_this_kind), SlotSecret::RecoveryCode(code))? {
        Some(root) => Ok(root),
        None => Err(HomeError::RecoveryCodeWrong),
    }
}

fn by_keychain(
    slots: &[Slot],
    keychain: &mut dyn Keychain,
    refusal: Option<HomeError>,
) -> Result<RootKey, HomeError> {
    let mut refusal = match by_key_files(slots, keychain.key_file().as_deref()) {
        Ok(root) => return Ok(root),
        Err(error) => error.or(refusal),
    };
    let takes_passphrase = |slot: &&Slot| matches!(slot.kind, SlotKind::Passphrase(_));
    if slots.iter().any(|slot| takes_passphrase(&slot)) {
        let mut attempt = 0;
        while let Some(passphrase) = keychain.passphrase(attempt)? {
            let secret = SlotSecret::Passphrase(&passphrase);
            if let Some(root) = first(slots.iter().filter(takes_passphrase), secret)? {
                return Ok(root);
            }
            attempt += 1;
        }
        refusal = match attempt {
            0 => Some(HomeError::PassphraseMissing(refusal.map(Box::new))),
            _ => Some(HomeError::PassphraseWrong),
        };
    }
    Err(refusal.unwrap_or_else(|| match slots.is_empty() {
        true => HomeError::Tampered("the home has no slot that unlocks it".to_owned()),
        false => HomeError::RecoveryCodeMissing,
    }))
}

/// By the key file that is given, or else by those that the slots name; the first thing that was wrong.
fn by_key_files(slots: &[Slot], given: Option<&Path>) -> Result<RootKey, Option<HomeError>> {
    let mut refusal = None;
    for slot in slots {
        let SlotKind::KeyFile(named) = &slot.kind else { continue };
        let path = given.unwrap_or(named);
        let attempt = keyfile::read(path).and_then(|bytes| {
            RootKey::unlock(slot, SlotSecret::KeyFile(&bytes))?
                .ok_or_else(|| HomeError::KeyFileWrong(path.to_owned()))
        });
        match attempt {
            Ok(root) => return Ok(root),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    Err(refusal)
}

fn first<'s>(
    slots: impl Iterator<Item = &'s Slot>,
    secret: SlotSecret<'_>,
) -> Result<Option<RootKey>, HomeError> {
    let mut refusal = None;
    for slot in slots {
        match RootKey::unlock(slot, secret) {
            Ok(Some(root)) => return Ok(Some(root)),
            Ok(None) => (),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    refusal.map_or(Ok(None), Err)
}
