//! What makes the database tamper-evident: a MAC on each row, and one on each table as a whole.
//!
//! A row's MAC covers the table's name and every column, so a row cannot be altered or moved. A table's head covers a
//! generation, the number of rows and a digest of all of them, so none can be taken out, added or put back as it was.
//! The digest is an XOR of a keyed function of each row, kept up at a constant cost per change; it is never stored, only
//! the head's MAC over it, so that successive heads reveal no linear relation between rows.
//!
//! What it cannot tell: that the whole database is an older copy.

use rusqlite::types::Value;

use super::rows::{Row, Table};
use crate::crypto::mac::{MAC_LEN, MacKey};
use crate::crypto::{KEY_LEN, Secret, kdf};

/// The keys of rows, digests and heads.
#[derive(Debug)]
pub struct LedgerKeys {
    row: MacKey,
    digest: MacKey,
    head: MacKey,
}

impl LedgerKeys {
    /// Derives them from a key that serves no other purpose.
    pub fn new(key: &Secret<KEY_LEN>) -> Self {
        let keys = kdf::Expander::new(key.expose(), b"");
        let key = |label: &[u8]| MacKey::new(&keys.key(&[label]));
        Self { row: key(b"kmsfs row v1"), digest: key(b"kmsfs digest v1"), head: key(b"kmsfs head v1") }
    }

    /// The MAC of a row.
    pub fn row_mac(&self, table: Table, row: &Row) -> [u8; MAC_LEN] {
        self.row.sign(&[&encode(table, row)])
    }

    /// Whether `mac` is the MAC of this row.
    pub fn row_is_authentic(&self, table: Table, row: &Row, mac: &[u8]) -> bool {
        mac.try_into().is_ok_and(|mac| self.row.verify(&[&encode(table, row)], mac).is_ok())
    }
}

/// The heads of all tables, in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Counts the transactions.
    pub generation: i64,
    heads: [Head; Table::ALL.len()],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Head {
    rows: i64,
    digest: [u8; MAC_LEN],
}

impl Ledger {
    /// The ledger of empty tables.
    pub fn empty() -> Self {
        Self { generation: 0, heads: Default::default() }
    }

    /// Counts a row in.
    pub fn add(&mut self, keys: &LedgerKeys, table: Table, row: &Row) {
        self.heads[table as usize].rows += 1;
        self.mix(keys, table, row);
    }

    /// Counts a row out.
    pub fn remove(&mut self, keys: &LedgerKeys, table: Table, row: &Row) {
        self.heads[table as usize].rows -= 1;
        self.mix(keys, table, row);
    }

    /// How many rows a table has.
    pub fn rows(&self, table: Table) -> i64 {
        self.heads[table as usize].rows
    }

    /// The MAC of a table's head.
    pub fn head_mac(&self, keys: &LedgerKeys, table: Table) -> [u8; MAC_LEN] {
        keys.head.sign(&self.head_parts(table).each_ref().map(Vec::as_slice))
    }

    /// Whether `mac` is the MAC of a table's head.
    pub fn head_is_authentic(&self, keys: &LedgerKeys, table: Table, mac: &[u8]) -> bool {
        let parts = self.head_parts(table);
        let parts = parts.each_ref().map(Vec::as_slice);
        mac.try_into().is_ok_and(|mac| keys.head.verify(&parts, mac).is_ok())
    }

    fn mix(&mut self, keys: &LedgerKeys, table: Table, row: &Row) {
        let value = keys.digest.sign(&[&encode(table, row)]);
        let digest = &mut self.heads[table as usize].digest;
        digest.iter_mut().zip(value).for_each(|(byte, other)| *byte ^= other);
    }

    /// `name, as a value of a row | generation (8) | rows (8) | digest (32)`.
    fn head_parts(&self, table: Table) -> [Vec<u8>; 4] {
        let head = &self.heads[table as usize];
        [
            encode(table, &Row::new()),
            self.generation.to_be_bytes().to_vec(),
            head.rows.to_be_bytes().to_vec(),
            head.digest.to_vec(),
        ]
    }
}

/// A row as bytes: the table's name, then each value, every one with a type and a length, so that two rows never share
/// one encoding. Columns that were added later are left out from the last one that has a value on.
fn encode(table: Table, row: &Row) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    put(&mut out, 3, table.name().as_bytes());
    let first = table.first_columns().min(row.len());
    let later = row[first..].iter().rposition(|value| *value != Value::Null).map_or(0, |last| last + 1);
    for value in &row[..first + later] {
        match value {
            Value::Null => put(&mut out, 0, &[]),
            Value::Integer(number) => put(&mut out, 1, &number.to_be_bytes()),
            Value::Real(number) => put(&mut out, 2, &number.to_be_bytes()),
            Value::Text(text) => put(&mut out, 3, text.as_bytes()),
            Value::Blob(bytes) => put(&mut out, 4, bytes),
        }
    }
    out
}

fn put(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, value: &str) -> Row {
        vec![name.to_owned().into(), value.to_owned().into()]
    }

    #[test]
    fn two_rows_or_tables_never_share_an_encoding() {
        assert_ne!(encode(Table::Keys, &row("ab", "c")), encode(Table::Keys, &row("a", "bc")));
        assert_ne!(encode(Table::Keys, &row("a", "b")), encode(Table::Aliases, &row("a", "b")));
        assert_ne!(encode(Table::Keys, &vec![Value::Null]), encode(Table::Keys, &vec![]));
    }

    #[test]
    fn a_row_from_before_a_column_was_added_keeps_its_mac_and_no_value_of_the_column_has_the_same() {
        let old: Row = vec![1.into(), Value::Null, 3.into(), 4.into(), 5.into()];
        let with = |made: Value| [old.clone(), vec![made]].concat();
        assert_eq!(encode(Table::Slots, &old), encode(Table::Slots, &with(Value::Null)));
        assert_ne!(encode(Table::Slots, &old), encode(Table::Slots, &with(0.into())));
        assert_ne!(encode(Table::Slots, &old[..4].to_vec()), encode(Table::Slots, &old));
        let values = |table: Table| vec![Value::Null; table.columns().len()];
        for table in Table::ALL.into_iter().filter(|table| table.first_columns() == table.columns().len()) {
            let row = values(table);
            assert_ne!(encode(table, &row), encode(table, &row[1..].to_vec()), "{table:?}: NULL counts");
        }
    }

    #[test]
    fn the_order_of_changes_does_not_count_and_every_row_does() {
        let keys = LedgerKeys::new(&Secret::random());
        let (a, b) = (row("a", "1"), row("b", "2"));
        let mut one = Ledger::empty();
        one.add(&keys, Table::Keys, &a);
        one.add(&keys, Table::Keys, &b);
        let mut two = Ledger::empty();
        for add in [&b, &row("c", "3"), &a] {
            two.add(&keys, Table::Keys, add);
        }
        assert_ne!(one.head_mac(&keys, Table::Keys), two.head_mac(&keys, Table::Keys));
        two.remove(&keys, Table::Keys, &row("c", "3"));
        assert_eq!(one, two);
        assert!(one.head_is_authentic(&keys, Table::Keys, &two.head_mac(&keys, Table::Keys)));
        two.generation += 1;
        assert!(!one.head_is_authentic(&keys, Table::Keys, &two.head_mac(&keys, Table::Keys)));
    }
}
