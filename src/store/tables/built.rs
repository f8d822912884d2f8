//! The keyrings that verified rows make.

use std::collections::BTreeMap;

use rusqlite::types::Value;

use super::{AuditFacts, StoredRow, altered, fact};
use crate::clock::Timestamp;
use crate::kms::clock_guard::{Anchor, ClockRecord};
use crate::kms::id::Namespace;
use crate::kms::related::RelatedKeys;
use crate::kms::ring::{Change, Keyring};
use crate::store::HomeError;
use crate::store::rows::{self, Row, Table};
use crate::store::slot::Slot;

/// What verified rows say.
#[derive(Debug)]
pub struct Built {
    /// The keyring of the home's region.
    pub ring: Keyring,
    /// Those of the other regions in which there is something, by their names.
    pub others: BTreeMap<String, Keyring>,
    /// The home's id.
    pub home: String,
    /// What unlocks it, in the order of the numbers.
    pub slots: Vec<Slot>,
    /// [`fact::UNCLEAN`].
    pub unclean: Option<i64>,
    /// What is known of the audit log; nothing in a home from before it was a chain.
    pub audit: Option<AuditFacts>,
}

/// What verified rows say.
///
/// # Errors
/// [`HomeError::Tampered`] for rows that authenticate and yet are not what this program writes.
pub fn build(tables: &[(Table, Vec<StoredRow>)]) -> Result<Built, HomeError> {
    let tables = Tables(tables);
    let (Some(home), Some(account), Some(region), Some(clock)) =
        (tables.text(fact::HOME), tables.text(fact::ACCOUNT), tables.text(fact::REGION), tables.clock()?)
    else {
        return Err(HomeError::Tampered("a fact about the home is missing".to_owned()));
    };
    let legacy_wrapping = tables.integer(fact::LEGACY_WRAPPING) == Some(1);
    let mut ring = Keyring::new(Namespace { account, region }, clock).with_legacy_wrapping(legacy_wrapping);
    let mut slots = tables.of(Table::Slots).map(|(row, _)| Slot::of(row)).collect::<Result<Vec<_>, _>>()?;
    slots.sort_by_key(|slot| slot.id);
    let others = tables.fill(&mut ring)?;
    Ok(Built { ring, others, home, slots, unclean: tables.integer(fact::UNCLEAN), audit: tables.audit() })
}

/// The rows of all tables.
struct Tables<'t>(&'t [(Table, Vec<StoredRow>)]);

impl<'t> Tables<'t> {
    fn of(&self, wanted: Table) -> impl Iterator<Item = &'t StoredRow> {
        self.0.iter().find(|(table, _)| *table == wanted).into_iter().flat_map(|(_, rows)| rows)
    }

    /// A fact about the home.
    fn meta(&self, name: &str) -> Option<&'t Value> {
        self.of(Table::Meta).find(|(row, _)| rows::text(&row[0]) == Some(name)).map(|(row, _)| &row[1])
    }

    fn text(&self, name: &str) -> Option<String> {
        self.meta(name).and_then(rows::text).map(str::to_owned)
    }

    fn integer(&self, name: &str) -> Option<i64> {
        self.meta(name).and_then(rows::integer)
    }

    fn clock(&self) -> Result<Option<ClockRecord>, HomeError> {
        let anchor = match self.meta(fact::ANCHOR) {
            None => None,
            Some(Value::Blob(bytes)) => Anchor::from_bytes(bytes),
            Some(Value::Null | Value::Integer(_) | Value::Real(_) | Value::Text(_)) => None,
        };
        if anchor.is_none() && self.meta(fact::ANCHOR).is_some() {
            let what = "the anchor of time is not one that this version writes";
            return Err(HomeError::Tampered(what.to_owned()));
        }
        let simulated_offset = self.integer(fact::SIMULATED_OFFSET);
        Ok(self.integer(fact::LATEST).map(|latest| ClockRecord {
            latest: Timestamp::from_millis(latest),
            simulated_offset,
            anchor,
        }))
    }

    fn audit(&self) -> Option<AuditFacts> {
        let (Some(Value::Blob(chain)), Some(number)) =
            (self.meta(fact::AUDIT_CHAIN), self.integer(fact::AUDIT_NUMBER))
        else {
            return None;
        };
        let file_len = self.integer(fact::AUDIT_FILE_LEN);
        chain.as_slice().try_into().ok().map(|chain| AuditFacts { chain, number, file_len })
    }

    /// Puts what the rows say into the keyring of the home's region, and into those of others, which it answers.
    fn fill(&self, ring: &mut Keyring) -> Result<BTreeMap<String, Keyring>, HomeError> {
        let mut others = BTreeMap::new();
        for table in Table::ALL {
            for (stored, _) in self.of(table) {
                let row = &mut stored.clone();
                let region = rows::take_region(table, row);
                if region.as_ref() == Some(&ring.namespace().region) {
                    return Err(altered(table, stored));
                }
                let Some(change) = change(table, row) else { continue };
                let change = change.ok_or_else(|| altered(table, stored))?;
                match region {
                    None => ring.apply(&change),
                    Some(region) => others
                        .entry(region)
                        .or_insert_with_key(|region| ring.elsewhere(region))
                        .apply(&change),
                }
            }
        }
        let related = RelatedKeys::of_rings([&*ring].into_iter().chain(others.values()));
        if let Some(id) = related.inconsistent() {
            return Err(HomeError::Tampered(format!("the keys of id {id} do not belong together")));
        }
        ring.relate(related.into());
        others.values_mut().for_each(|other| other.share(ring));
        Ok(others)
    }
}

/// The change that puts a row into a keyring; no change where the row is of the home and none of a keyring, and none within where the
/// row is not one that this program writes.
fn change(table: Table, row: &Row) -> Option<Option<Change>> {
    Some(match table {
        Table::Meta | Table::Slots => return None,
        Table::Keys => rows::key_record(row).map(Change::PutKey),
        Table::Materials => rows::material_record(row).map(Change::PutMaterial),
        Table::Aliases => rows::alias_record(row).map(Change::PutAlias),
        Table::Tombstones => rows::tombstone_record(row).map(Change::Bury),
        Table::Grants => rows::grant_record(row).map(Change::PutGrant),
        Table::Tags => rows::tag_record(row).map(Change::PutTag),
        Table::Volumes => rows::volume_record(row).map(Change::PutVolume),
        Table::Alarms => rows::alarm_record(row).map(Change::PutAlarm),
        Table::Credentials => rows::credential_record(row).map(Change::PutCredential),
    })
}
