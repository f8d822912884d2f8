//! Slots in the database: read with everything else, changed in a transaction of their own.

use std::sync::Arc;

use super::{Loaded, SqliteStore};
use crate::store::HomeError;
use crate::store::slot::{SLOTS_MAX, Slot};

/// A change of one slot, decided on while no other process can change any.
#[derive(Debug)]
pub enum SlotChange {
    /// A new one, which gets the next number.
    Add(Slot),
    /// The slot of this number is sealed for something else.
    Replace(i64, Slot),
    /// The slot of this number goes.
    Remove(i64),
}

impl SqliteStore {
    /// The slots, verified, in the order of their numbers.
    ///
    /// # Errors
    /// As [`SqliteStore::new`].
    pub fn slots(&self) -> Result<Arc<[Slot]>, HomeError> {
        Ok(self.current()?.slots)
    }

    /// Makes one change, after `record` has recorded it under the slot's number. Sealed bytes that are taken out are destroyed as
    /// those of a key are: the root key under an old passphrase must not stay in the files.
    ///
    /// # Errors
    /// [`HomeError::NoSuchSlot`], [`HomeError::LastSlot`], [`HomeError::TooManySlots`], what `record` answers, failures of the
    /// database. Nothing is changed then.
    pub fn change_slots(
        &self,
        change: SlotChange,
        record: &dyn Fn(&Slot) -> Result<(), HomeError>,
    ) -> Result<Slot, HomeError> {
        let mut connection = self.connection.lock();
        let (transaction, before) = self.begin(&mut connection)?;
        let (old, new) = sides(&before.slots, change)?;
        let Some(subject) = new.clone().or_else(|| old.clone()) else { return Err(HomeError::NoSuchSlot(0)) };
        record(&subject)?;
        let mut after: Loaded = before.clone();
        after.ledger.generation += 1;
        let mut writer = self.writer(&transaction, &mut after.ledger);
        writer.put_slot(old.as_ref(), new.as_ref())?;
        if old.is_some() {
            after.unclean = Some(writer.mark_unclean(before.unclean)?);
        }
        let kept = before.slots.iter().filter(|slot| slot.id != subject.id).cloned();
        let mut slots: Vec<_> = kept.chain(new).collect();
        slots.sort_by_key(|slot| slot.id);
        after.slots = slots.into();
        self.commit(transaction, after)?;
        if old.is_some() {
            self.clean_after_destruction(&mut connection);
        }
        Ok(subject)
    }
}

/// The slot that goes and the one that comes.
fn sides(slots: &[Slot], change: SlotChange) -> Result<(Option<Slot>, Option<Slot>), HomeError> {
    let find = |id: i64| slots.iter().find(|slot| slot.id == id).cloned().ok_or(HomeError::NoSuchSlot(id));
    match change {
        SlotChange::Add(_) if slots.len() >= SLOTS_MAX => Err(HomeError::TooManySlots),
        SlotChange::Add(slot) => {
            let id = slots.iter().map(|slot| slot.id).max().unwrap_or(0).saturating_add(1);
            Ok((None, Some(slot.numbered(id))))
        }
        SlotChange::Replace(id, slot) => Ok((Some(find(id)?), Some(slot.numbered(id)))),
        SlotChange::Remove(id) => match find(id)? {
            last if slots.len() == 1 => Err(HomeError::LastSlot(last.id)),
            old => Ok((Some(old), None)),
        },
    }
}
