//! Rows to and from the database: reading tables and heads, writing changes, and the keyring that verified rows make.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::audit::chain::CHAIN_ID_LEN;
use super::ledger::{Ledger, LedgerKeys};
use super::rows::{self, Row, Table};
use super::slot::Slot;
use super::{HomeError, database};
use crate::clock::Timestamp;
use crate::kms::clock_guard::{Anchor, ClockRecord};
use crate::kms::id::Namespace;
use crate::kms::key::TagRecord;
use crate::kms::related::RelatedKeys;
use crate::kms::ring::{Change, Keyring};

/// Facts about the home, in the table `meta`.
pub mod fact {
    /// The home's own id, a UUID.
    pub const HOME: &str = "home";
    /// The account of all names.
    pub const ACCOUNT: &str = "account";
    /// The region of all names.
    pub const REGION: &str = "region";
    /// The latest time seen, in milliseconds since 1970.
    pub const LATEST: &str = "latest";
    /// The last observation of a real clock ([`Anchor`](crate::kms::clock_guard::Anchor)); absent with a simulated one.
    pub const ANCHOR: &str = "anchor";
    /// How far a simulated clock was moved, in milliseconds; absent with a real clock.
    pub const SIMULATED_OFFSET: &str = "simulated-offset";
    /// 1 in a home that takes key material wrapped with `RSAES_PKCS1_V1_5`; absent in every other.
    pub const LEGACY_WRAPPING: &str = "legacy-wrapping";
    /// The id of the audit log's chain, 16 bytes; absent in a home from before there was one.
    pub const AUDIT_CHAIN: &str = "audit-chain";
    /// The number of a record that was on disk when the last change was made.
    pub const AUDIT_NUMBER: &str = "audit-number";
    /// How many bytes a file of the audit log becomes; absent where that is the usual length.
    pub const AUDIT_FILE_LEN: &str = "audit-file-length";
    /// The generation of the last destruction, while copies of what it destroyed may be in the database's files.
    pub const UNCLEAN: &str = "unclean";
    /// The schema up to which every table has a head; absent in a home that was made before schema 3 and not opened since.
    pub const SCHEMA: &str = "schema";
}

/// What the fact says where tables have heads up to `schema`.
pub fn headed_fact(schema: u32) -> Option<i64> {
    (schema > FIRST_HEADED).then_some(i64::from(schema))
}

/// The schema of homes that do not say up to which one their tables have heads.
const FIRST_HEADED: u32 = 2;

/// Writes the first rows of a new home.
///
/// # Errors
/// Failures of the database.
pub fn write_first(
    connection: &mut Connection,
    path: &Path,
    keys: &LedgerKeys,
    rows: &[(Table, Row)],
) -> Result<(), HomeError> {
    let transaction = connection.transaction().map_err(|error| database::failure(path, error))?;
    let mut ledger = Ledger::empty();
    for (table, row) in rows {
        Writer { keys, path, connection: &transaction, ledger: &mut ledger, region: None }.replace(
            *table,
            None,
            Some(row.clone()),
        )?;
    }
    ledger.generation = 1;
    write_heads(&transaction, path, keys, &ledger)?;
    transaction.commit().map_err(|error| database::failure(path, error))
}

/// The slots of a home, before anything is unlocked and so before anything is verified.
///
/// # Errors
/// Failures of the database.
pub fn slots(connection: &Connection, path: &Path) -> Result<Vec<Row>, HomeError> {
    Ok(read_table(connection, path, Table::Slots)?.into_iter().map(|(row, _)| row).collect())
}

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
    fn replace(&mut self, table: Table, mut old: Option<Row>, mut new: Option<Row>) -> Result<(), HomeError> {
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

/// What the store knows of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditFacts {
    /// [`fact::AUDIT_CHAIN`].
    pub chain: [u8; CHAIN_ID_LEN],
    /// [`fact::AUDIT_NUMBER`].
    pub number: i64,
    /// [`fact::AUDIT_FILE_LEN`].
    pub file_len: Option<i64>,
}

/// A table's head as it is stored.
pub struct StoredHead {
    /// The table.
    pub name: String,
    /// The generation of the whole.
    pub generation: i64,
    /// How many rows the table has.
    pub rows: i64,
    /// Authenticates all of them.
    pub mac: Vec<u8>,
}

/// The heads of all tables.
///
/// # Errors
/// Failures of the database.
pub fn read_heads(connection: &Connection, path: &Path) -> Result<Vec<StoredHead>, HomeError> {
    let read = || {
        let mut statement =
            connection.prepare_cached("SELECT name, generation, row_count, mac FROM heads")?;
        let heads = statement.query_map([], |row| {
            Ok(StoredHead { name: row.get(0)?, generation: row.get(1)?, rows: row.get(2)?, mac: row.get(3)? })
        })?;
        heads.collect::<rusqlite::Result<_>>()
    };
    read().map_err(|error| database::failure(path, error))
}

/// Writes the heads of all tables.
///
/// # Errors
/// Failures of the database.
pub fn write_heads(
    connection: &Connection,
    path: &Path,
    keys: &LedgerKeys,
    ledger: &Ledger,
) -> Result<(), HomeError> {
    let write = || {
        let mut statement = connection.prepare_cached(
            "INSERT INTO heads (name, generation, row_count, mac) VALUES (?, ?, ?, ?) \
             ON CONFLICT (name) DO UPDATE SET generation = excluded.generation, \
             row_count = excluded.row_count, mac = excluded.mac",
        )?;
        for table in Table::ALL {
            let mac = ledger.head_mac(keys, table).to_vec();
            statement.execute((table.name(), ledger.generation, ledger.rows(table), mac))?;
        }
        Ok(())
    };
    write().map_err(|error| database::failure(path, error))
}

/// Writes rows and heads as another database had them, into empty tables. Columns that are NULL are left to the table, which may not
/// have them yet.
///
/// # Errors
/// Failures of the database.
pub fn write_stored(
    connection: &mut Connection,
    path: &Path,
    tables: &[(Table, Vec<StoredRow>)],
    heads: &[StoredHead],
) -> Result<(), HomeError> {
    let mut write = || {
        let transaction = connection.transaction()?;
        for (table, rows) in tables {
            for (row, mac) in rows {
                let named = table.columns().iter().zip(row).filter(|(_, value)| **value != Value::Null);
                let (mut names, mut values): (Vec<_>, Vec<_>) =
                    named.map(|(name, value)| (*name, value.clone())).unzip();
                names.push("mac");
                values.push(mac.clone().into());
                let marks = vec!["?"; names.len()].join(", ");
                let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", table.name(), names.join(", "));
                transaction.prepare_cached(&sql)?.execute(params_from_iter(values))?;
            }
        }
        let sql = "INSERT INTO heads (name, generation, row_count, mac) VALUES (?, ?, ?, ?)";
        for head in heads {
            transaction.execute(sql, (&head.name, head.generation, head.rows, &head.mac))?;
        }
        transaction.commit()
    };
    write().map_err(|error| database::failure(path, error))
}

/// A row as it is stored, with its MAC.
pub type StoredRow = (Row, Vec<u8>);

/// All rows of a table, unverified.
///
/// # Errors
/// Failures of the database.
pub fn read_table(connection: &Connection, path: &Path, table: Table) -> Result<Vec<StoredRow>, HomeError> {
    let columns = table.columns();
    let read = || {
        let sql = format!("SELECT {}, mac FROM {}", columns.join(", "), table.name());
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], |row| {
            let values = (0..columns.len()).map(|column| row.get(column)).collect::<Result<Row, _>>()?;
            Ok((values, row.get(columns.len())?))
        })?;
        rows.collect::<rusqlite::Result<_>>()
    };
    read().map_err(|error| database::failure(path, error))
}

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

/// The schema up to which tables have heads, by the rows of [`Table::Meta`]: those that came later are still empty.
pub fn headed_schema(rows: &[StoredRow]) -> u32 {
    let fact = rows.iter().find(|(row, _)| row.first().and_then(rows::text) == Some(fact::SCHEMA));
    let schema = fact.and_then(|(row, _)| rows::integer(row.get(1)?));
    schema.and_then(|schema| u32::try_from(schema).ok()).unwrap_or(FIRST_HEADED)
}

/// What verified rows say.
///
/// # Errors
/// [`HomeError::Tampered`] for rows that authenticate and yet are not what this program writes.
pub fn build(tables: &[(Table, Vec<StoredRow>)]) -> Result<Built, HomeError> {
    let of = |wanted: Table| {
        tables.iter().find(|(table, _)| *table == wanted).into_iter().flat_map(|(_, rows)| rows)
    };
    let meta = |name: &str| {
        of(Table::Meta).find(|(row, _)| rows::text(&row[0]) == Some(name)).map(|(row, _)| &row[1])
    };
    let text = |name: &str| meta(name).and_then(rows::text).map(str::to_owned);
    let latest = meta(fact::LATEST).and_then(rows::integer);
    let (Some(home), Some(account), Some(region), Some(latest)) =
        (text(fact::HOME), text(fact::ACCOUNT), text(fact::REGION), latest)
    else {
        return Err(HomeError::Tampered("a fact about the home is missing".to_owned()));
    };
    let anchor = match meta(fact::ANCHOR) {
        None => None,
        Some(Value::Blob(bytes)) => Anchor::from_bytes(bytes),
        Some(Value::Null | Value::Integer(_) | Value::Real(_) | Value::Text(_)) => None,
    };
    if anchor.is_none() && meta(fact::ANCHOR).is_some() {
        return Err(HomeError::Tampered("the anchor of time is not one that this version writes".to_owned()));
    }
    let clock = ClockRecord {
        latest: Timestamp::from_millis(latest),
        simulated_offset: meta(fact::SIMULATED_OFFSET).and_then(rows::integer),
        anchor,
    };
    let legacy_wrapping = meta(fact::LEGACY_WRAPPING).and_then(rows::integer) == Some(1);
    let mut ring = Keyring::new(Namespace { account, region }, clock).with_legacy_wrapping(legacy_wrapping);
    let mut slots = of(Table::Slots).map(|(row, _)| Slot::of(row)).collect::<Result<Vec<_>, _>>()?;
    slots.sort_by_key(|slot| slot.id);
    let mut others = BTreeMap::new();
    for table in Table::ALL {
        for (stored, _) in of(table) {
            let row = &mut stored.clone();
            let region = rows::take_region(table, row);
            if region.as_ref() == Some(&ring.namespace().region) {
                return Err(altered(table, stored));
            }
            let change = match table {
                Table::Meta | Table::Slots => continue,
                Table::Keys => rows::key_record(row).map(Change::PutKey),
                Table::Materials => rows::material_record(row).map(Change::PutMaterial),
                Table::Aliases => rows::alias_record(row).map(Change::PutAlias),
                Table::Tombstones => rows::tombstone_record(row).map(Change::Bury),
                Table::Grants => rows::grant_record(row).map(Change::PutGrant),
                Table::Tags => rows::tag_record(row).map(Change::PutTag),
                Table::Volumes => rows::volume_record(row).map(Change::PutVolume),
                Table::Alarms => rows::alarm_record(row).map(Change::PutAlarm),
                Table::Credentials => rows::credential_record(row).map(Change::PutCredential),
            };
            let change = change.ok_or_else(|| altered(table, stored))?;
            match region {
                None => ring.apply(&change),
                Some(region) => {
                    others.entry(region).or_insert_with_key(|region| ring.elsewhere(region)).apply(&change)
                }
            }
        }
    }
    let audit = match (meta(fact::AUDIT_CHAIN), meta(fact::AUDIT_NUMBER).and_then(rows::integer)) {
        (Some(Value::Blob(chain)), Some(number)) => chain.as_slice().try_into().ok().map(|chain| {
            AuditFacts { chain, number, file_len: meta(fact::AUDIT_FILE_LEN).and_then(rows::integer) }
        }),
        _ => None,
    };
    let related = RelatedKeys::of_rings([&ring].into_iter().chain(others.values()));
    if let Some(id) = related.inconsistent() {
        return Err(HomeError::Tampered(format!("the keys of id {id} do not belong together")));
    }
    ring.relate(related.into());
    others.values_mut().for_each(|other| other.share(&ring));
    Ok(Built { ring, others, home, slots, unclean: meta(fact::UNCLEAN).and_then(rows::integer), audit })
}

/// The error of a row that does not authenticate.
pub fn altered(table: Table, row: &Row) -> HomeError {
    let key = match row.first() {
        Some(Value::Text(key)) => key.clone(),
        Some(Value::Integer(key)) => key.to_string(),
        Some(Value::Null | Value::Real(_) | Value::Blob(_)) | None => "?".to_owned(),
    };
    HomeError::Tampered(format!("row {key:?} of table {} does not authenticate", table.name()))
}

/// Whether the file is a key store at all, without unlocking it.
///
/// # Errors
/// Failures of the database.
pub fn is_a_store(connection: &Connection, path: &Path) -> Result<bool, HomeError> {
    let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'heads'";
    let found = connection.query_row(sql, [], |_| Ok(())).optional();
    Ok(found.map_err(|error| database::failure(path, error))?.is_some())
}
