//! Slots of an open home: what they are, and adding, changing and removing them. Every change is recorded like an operation.
//!
//! None of this changes the root key. What an old slot opened once, an old copy of the store still opens with it.

use std::cell::OnceCell;
use std::path::PathBuf;

use serde_json::Value;

use super::HomeError;
use super::home::Home;
use super::keyfile::Claim;
use super::setup::KeyFile;
use super::slot::{Cost, Passphrase, RecoveryCode, Slot, SlotKind, SlotSecret};
use super::sqlite::SlotChange;
use crate::kms::audit::HomeEvent;
use crate::kms::{Caller, Cause, KmsError};

/// A slot that is to be made.
#[derive(Debug, Clone)]
pub enum NewSlot {
    /// For a key file: made (mode 0600, random) where it is absent, used where it exists.
    KeyFile(PathBuf),
    /// For a passphrase, at a cost.
    Passphrase(Passphrase, Cost),
    /// For a recovery code.
    RecoveryCode(RecoveryCode),
}

impl Home {
    /// The slots, in the order of their numbers.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn slots(&self) -> Result<Vec<Slot>, HomeError> {
        Ok(self.store().slots()?.to_vec())
    }

    /// Adds a slot; it with its number.
    ///
    /// # Errors
    /// [`HomeError`]. Nothing is changed then, and a key file that was made for it is removed; but not where the commit itself failed.
    pub fn add_slot(&self, caller: &Caller, new: &NewSlot) -> Result<Slot, HomeError> {
        self.with_sealed(new, |slot| self.change_slots(caller, "AddUnlockSlot", SlotChange::Add(slot)))
    }

    /// Seals slot `id` for something else. What opened it before opens it no more.
    ///
    /// # Errors
    /// As [`Home::add_slot`].
    pub fn change_slot(&self, caller: &Caller, id: i64, new: &NewSlot) -> Result<Slot, HomeError> {
        self.slot(id)?;
        self.with_sealed(new, |slot| {
            self.change_slots(caller, "ChangeUnlockSlot", SlotChange::Replace(id, slot))
        })
    }

    /// Removes slot `id`, which must not be the last one.
    ///
    /// # Errors
    /// [`HomeError`]. Nothing is changed then.
    pub fn remove_slot(&self, caller: &Caller, id: i64) -> Result<Slot, HomeError> {
        Ok(self.change_slots(caller, "RemoveUnlockSlot", SlotChange::Remove(id))?)
    }

    /// The slot of that number.
    ///
    /// # Errors
    /// [`HomeError::NoSuchSlot`].
    pub fn slot(&self, id: i64) -> Result<Slot, HomeError> {
        self.store().slots()?.iter().find(|slot| slot.id == id).cloned().ok_or(HomeError::NoSuchSlot(id))
    }

    /// Whether a passphrase opens slot `id`.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn slot_takes(&self, id: i64, passphrase: &Passphrase) -> Result<bool, HomeError> {
        self.root().is_held_by(&self.slot(id)?, SlotSecret::Passphrase(passphrase))
    }

    /// Seals the root key, before the store is held for the change: a passphrase takes its time.
    fn with_sealed(
        &self,
        new: &NewSlot,
        store: impl FnOnce(Slot) -> Result<Slot, Undone>,
    ) -> Result<Slot, HomeError> {
        let path = match new {
            NewSlot::Passphrase(passphrase, cost) => {
                return Ok(store(
                    self.seal(SlotKind::Passphrase(*cost), SlotSecret::Passphrase(passphrase))?,
                )?);
            }
            NewSlot::RecoveryCode(code) => {
                return Ok(store(self.seal(SlotKind::RecoveryCode, SlotSecret::RecoveryCode(code))?)?);
            }
            NewSlot::KeyFile(path) => path,
        };
        let claim = Claim::of(path)?;
        let work = || {
            let file = KeyFile::read(path)?;
            if file.path.starts_with(self.dir()) {
                let why = "it lies in the home that it unlocks".to_owned();
                return Err(HomeError::KeyFileUnsuitable(path.clone(), why).into());
            }
            store(self.seal(SlotKind::KeyFile(file.path), SlotSecret::KeyFile(&file.bytes))?)
        };
        work().map_err(|undone| {
            match undone {
                Undone::ForCertain(_) => claim.abandon(),
                Undone::AsItSeems(_) => {
                    log::warn!("{} stays where it is: a slot may be found to be for it", path.display());
                }
            }
            undone.into()
        })
    }

    fn seal(&self, kind: SlotKind, secret: SlotSecret<'_>) -> Result<Slot, HomeError> {
        self.root().seal(kind, secret, self.kms().now(&*self.ring()?))
    }

    fn change_slots(&self, caller: &Caller, event: &'static str, change: SlotChange) -> Result<Slot, Undone> {
        let ring = self.ring()?;
        let written = |event: &HomeEvent, error: Option<&KmsError>| {
            let outcome = self.kms().record_of_home(&ring, caller, event, error);
            outcome.map_err(|error| HomeError::Audit(error.words()))
        };
        let recorded = OnceCell::new();
        let record = |slot: &Slot| {
            let event = of_slot(event, slot);
            written(&event, None)?;
            recorded.get_or_init(|| event);
            Ok(())
        };
        self.store().change_slots(change, &record).map_err(|error| {
            let Some(event) = recorded.get() else { return Undone::ForCertain(error) };
            let recorded = written(event, Some(&KmsError::failed(Cause::Store, error.to_string())));
            Undone::AsItSeems(recorded.err().unwrap_or(error))
        })
    }
}

/// A change of slots that was not made.
#[derive(Debug)]
enum Undone {
    /// It never came to be written.
    ForCertain(HomeError),
    /// It was being written when that failed. A disk that could not sync may have taken it all the same, and after a kill SQLite finds it in its log:
    /// what the slot is for must be there then.
    AsItSeems(HomeError),
}

impl From<HomeError> for Undone {
    fn from(error: HomeError) -> Self {
        Self::ForCertain(error)
    }
}

impl From<Undone> for HomeError {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::ForCertain(error) | Undone::AsItSeems(error) => error,
        }
    }
}

/// What the audit log keeps of a slot: its number and kind. Where a key file lies is nobody's business there.
fn of_slot(name: &'static str, slot: &Slot) -> HomeEvent {
    let parameters = [("slot", slot.id.into()), ("kind", slot.kind.name().into())];
    let parameters = parameters.map(|(name, value): (&str, Value)| (name.to_owned(), value));
    HomeEvent { name, parameters: parameters.into_iter().collect(), read_only: false }
}
