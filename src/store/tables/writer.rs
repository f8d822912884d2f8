//! Changes as rows.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::{AuditFacts, fact};
use crate::kms::clock_guard::Anchor;
use crate::kms::key::TagRecord;
use crate::kms::ring::{Change, Keyring};
use crate::store::ledger::{Ledger, LedgerKeys};
use crate::store::rows::{self, Row, Table};
use crate::store::slot::Slot;
use crate::store::{HomeError, database};

/// Writes changes as rows, and keeps the ledger of a transaction.
pub struct Writer<'a> {
    /// The keys of MACs.
    pub keys: &'a LedgerKeys,
    /// The database, for errors.
    pub path: &'a Path,
    /// Within the transaction.
    pub connection: &'a Connection,
    /// Counts every row that is written or removed.
    pub ledger: &'a mut Ledger,
    /// The region whose rows they are; `None` for the home's own.
    pub region: Option<&'a str>,
}

impl Writer<'_> {
    /// Makes `change`, of the keyring `ring`, happen in the database.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn write(&mut self, ring: &Keyring, change: &Change) -> Result<(), HomeError> {
        match change {
            Change::PutKey(record) => {
                let buried = ring.tombstone(record.id).map(|tombstone| rows::tombstone_row(tombstone));
                if buried.is_some() {
                    self.replace(Table::Tombstones, buried, None)?;
                }
                let old = ring.key(record.id).map(|key| rows::key_row(&key.record));
                self.replace(Table::Keys, old, Some(rows::key_row(record)))
            }
            Change::PutMaterial(material) => {
                let old = ring.key(material.key).and_then(|key| key.material(material.id));
                let old = old.map(|old| rows::material_row(old));
                self.replace(Table::Materials, old, Some(rows::material_row(material)))
            }
            Change::RemoveMaterial(key, material) => {
                let old = ring.key(*key).and_then(|key| key.material(*material));
                self.replace(Table::Materials, old.map(|old| rows::material_row(old)), None)
            }
            Change::PutAlias(alias) => {
                let old = ring.alias(&alias.name).map(|old| rows::alias_row(old));
                self.replace(Table::Aliases, old, Some(rows::alias_row(alias)))
            }
            Change::RemoveAlias(name) => {
                let old = ring.alias(name).map(|old| rows::alias_row(old));
                self.replace(Table::Aliases, old, None)
            }
            Change::PutGrant(grant) => {
                let old = ring.key(grant.key).and_then(|key| key.grants.grant(grant.id));
                let old = old.map(|old| rows::grant_row(old));
                self.replace(Table::Grants, old, Some(rows::grant_row(grant)))
            }
            Change::RemoveGrant(key, id) => {
                let old = ring.key(*key).and_then(|key| key.grants.grant(*id));
                self.replace(Table::Grants, old.map(|old| rows::grant_row(old)), None)
            }
            Change::PutTag(TagRecord { key, tag, value }) => {
                let old = ring.key(*key).and_then(|key| key.tags.get(tag));
                let old = old.map(|old| rows::tag_row(*key, tag, old));
                self.replace(Table::Tags, old, Some(rows::tag_row(*key, tag, value)))
            }
            Change::RemoveTag(key, tag) => {
                let old = ring.key(*key).and_then(|known| known.tags.get(tag));
                self.replace(Table::Tags, old.map(|old| rows::tag_row(*key, tag, old)), None)
            }
            Change::DestroyKey(tombstone) => {
                let Some(key) = ring.key(tombstone.key) else { return Ok(()) };
                for alias in ring.aliases().filter(|alias| alias.key == tombstone.key) {
                    self.replace(Table::Aliases, Some(rows::alias_row(alias)), None)?;
                }
                for material in &key.materials {
                    self.replace(Table::Materials, Some(rows::material_row(material)), None)?;
                }
                for grant in key.grants.all() {
                    self.replace(Table::Grants, Some(rows::grant_row(grant)), None)?;
                }
                for (tag, value) in key.tags.iter() {
                    self.replace(Table::Tags, Some(rows::tag_row(tombstone.key, tag, value)), None)?;
                }
                let is_last = !ring.is_elsewhere(tombstone.key);
                for alarm in ring.alarms().filter(|alarm| is_last && alarm.key == Some(tombstone.key)) {
                    self.replace(Table::Alarms, Some(rows::alarm_row(alarm)), None)?;
                }
                self.replace(Table::Keys, Some(rows::key_row(&key.record)), None)?;
                self.replace(Table::Tombstones, None, Some(rows::tombstone_row(tombstone)))
            }
            Change::Bury(tombstone) => {
                self.replace(Table::Tombstones, None, Some(rows::tombstone_row(tombstone)))
            }
            Change::PutVolume(volume) => {
                let old = ring.volume(&volume.id).map(|old| rows::volume_row(old));
                self.replace(Table::Volumes, old, Some(rows::volume_row(volume)))
            }
            Change::PutAlarm(alarm) => {
                let old = ring.alarm(&alarm.name).map(|old| rows::alarm_row(old));
                self.replace(Table::Alarms, old, Some(rows::alarm_row(alarm)))
            }
            Change::RemoveAlarm(name) => {
                let old = ring.alarm(name).map(|old| rows::alarm_row(old));
                self.replace(Table::Alarms, old, None)
            }
            Change::PutCredential(credential) => {
                let old = ring.credential(&credential.id).map(|old| rows::credential_row(old));
                self.replace(Table::Credentials, old, Some(rows::credential_row(credential)))
            }
            Change::RemoveCredential(id) => {
                let old = ring.credential(id).map(|old| rows::credential_row(old));
                self.replace(Table::Credentials, old, None)
            }
            Change::SetClock(clock) => {
                let old = ring.clock();
                self.set_fact(fact::LATEST, Some(old.latest.as_millis()), Some(clock.latest.as_millis()))?;
                self.set_fact(fact::SIMULATED_OFFSET, old.simulated_offset, clock.simulated_offset)?;
                let row = |anchor: &Anchor| rows::meta_row(fact::ANCHOR, anchor.to_bytes().into());
                let (old, new) = (old.anchor.as_ref().map(row), clock.anchor.as_ref().map(row));
                if old == new { Ok(()) } else { self.replace(Table::Meta, old, new) }
            }
            // The store writes it with the writer of that region.
            Change::In(_, change) => self.write(ring, change),
        }
    }

    /// Replaces a fact about the home.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn set_fact(&mut self, name: &str, old: Option<i64>, new: Option<i64>) -> Result<(), HomeError> {
        self.set_value(name, old.map(Value::from), new.map(Value::from))
    }

    /// As [`Writer::set_fact`], for values of every kind.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn set_value(&mut self, name: &str, old: Option<Value>, new: Option<Value>) -> Result<(), HomeError> {
        let row = |value: Value| rows::meta_row(name, value);
        if old == new { Ok(()) } else { self.replace(Table::Meta, old.map(row), new.map(row)) }
    }

    /// Replaces what the store knows of the audit log.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn set_audit(&mut self, old: Option<AuditFacts>, new: AuditFacts) -> Result<(), HomeError> {
        let chain = |facts: AuditFacts| Value::Blob(facts.chain.to_vec());
        self.set_value(fact::AUDIT_CHAIN, old.map(chain), Some(chain(new)))?;
        self.set_fact(fact::AUDIT_NUMBER, old.map(|old| old.number), Some(new.number))?;
        self.set_fact(fact::AUDIT_FILE_LEN, old.and_then(|old| old.file_len), new.file_len)
    }

    /// Remembers that copies of what this transaction destroys may be in the database's files, until they are cleaned.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn mark_unclean(&mut self, old: Option<i64>) -> Result<i64, HomeError> {
        let generation = self.ledger.generation;
        self.set_fact(fact::UNCLEAN, old, Some(generation))?;
        Ok(generation)
    }

    /// Replaces, adds or removes a slot.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn put_slot(&mut self, old: Option<&Slot>, new: Option<&Slot>) -> Result<(), HomeError> {
        self.replace(Table::Slots, old.map(Slot::row), new.map(Slot::row))
    }

    /// Replaces a row, in the database and in the ledger.
    pub(super) fn replace(
        &mut self,
        table: Table,
        mut old: Option<Row>,
        mut new: Option<Row>,
    ) -> Result<(), HomeError> {
        if let Some(region) = self.region {
            [&mut old, &mut new]
                .into_iter()
                .flatten()
                .for_each(|row| rows::put_in_region(table, row, region));
        }
        let columns = table.columns();
        let fail = |error| database::failure(self.path, error);
        let execute = |sql: &str, values: Vec<Value>| {
            let mut statement = self.connection.prepare_cached(sql).map_err(fail)?;
            statement.execute(params_from_iter(values)).map_err(fail)
        };
        if let (Some(old), None) = (&old, &new) {
            let sql = format!("DELETE FROM {} WHERE {} = ?", table.name(), columns[0]);
            execute(&sql, vec![old[0].clone()])?;
        }
        if let Some(new) = &new {
            let names = columns.join(", ");
            let marks = vec!["?"; columns.len() + 1].join(", ");
            let updates: Vec<_> =
                columns[1..].iter().map(|column| format!("{column} = excluded.{column}")).collect();
            let sql = format!(
                "INSERT INTO {} ({names}, mac) VALUES ({marks}) \
                 ON CONFLICT ({}) DO UPDATE SET {}, mac = excluded.mac",
                table.name(),
                columns[0],
                updates.join(", ")
            );
            let mut values = new.clone();
            values.push(self.keys.row_mac(table, new).to_vec().into());
            execute(&sql, values)?;
        }
        if let Some(old) = &old {
            self.ledger.remove(self.keys, table, old);
        }
        if let Some(new) = &new {
            self.ledger.add(self.keys, table, new);
        }
        Ok(())
    }
}
