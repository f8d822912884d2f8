//! Rows: how the records of the key service look in the database's tables.
//!
//! A record has exactly one row, column by column, and a row that authenticates has exactly one record: what is loaded
//! is written back to compare.

mod access;
mod credentials;
mod keys;
mod region;
mod watch;

use rusqlite::types::Value;

use crate::clock::Timestamp;

pub use access::{grant_record, grant_row, tag_record, tag_row};
pub use credentials::{credential_record, credential_row};
pub use keys::{
    alias_record, alias_row, key_record, key_row, material_record, material_row, tombstone_record,
    tombstone_row,
};
pub use region::{put_in_region, take_region};
pub use watch::{alarm_record, alarm_row, volume_record, volume_row};

/// The values of a row in the order of [`Table::columns`], without the MAC.
pub type Row = Vec<Value>;

/// A table whose rows are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// Facts about the home.
    Meta,
    /// What unlocks the root key.
    Slots,
    /// CMKs.
    Keys,
    /// Their backing keys.
    Materials,
    /// Their aliases.
    Aliases,
    /// What is left of destroyed CMKs.
    Tombstones,
    /// Who may use a CMK beside those whom its policy lets.
    Grants,
    /// Tags of CMKs.
    Tags,
    /// What is done when a CMK is used that should not be.
    Alarms,
    /// Encrypted directories that the home knows of.
    Volumes,
    /// What clients of the server sign their requests with.
    Credentials,
}

impl Table {
    /// Every table, each after those that its rows refer to.
    pub const ALL: [Self; 11] = [
        Self::Meta,
        Self::Slots,
        Self::Keys,
        Self::Materials,
        Self::Aliases,
        Self::Tombstones,
        Self::Grants,
        Self::Tags,
        Self::Alarms,
        Self::Volumes,
        Self::Credentials,
    ];

    /// Its name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Slots => "slots",
            Self::Keys => "keys",
            Self::Materials => "materials",
            Self::Aliases => "aliases",
            Self::Tombstones => "tombstones",
            Self::Grants => "grants",
            Self::Tags => "tags",
            Self::Alarms => "alarms",
            Self::Volumes => "volumes",
            Self::Credentials => "credentials",
        }
    }

    /// Its columns without the MAC; the first one is its key.
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Meta => &["name", "value"],
            Self::Slots => &["id", "kind", "parameters", "salt", "sealed", "made"],
            Self::Keys => &[
                "id",
                "state",
                "origin",
                "description",
                "created",
                "deletion_date",
                "manager",
                "rotation_period",
                "rotation_next",
                "policy",
                "spec",
                "usage",
                "role",
                "pending_window",
            ],
            Self::Materials => &[
                "id",
                "key_id",
                "version",
                "rotation",
                "rotated",
                "sealed",
                "import",
                "valid_to",
                "description",
                "uses",
            ],
            Self::Aliases => &["name", "key_id", "created", "updated"],
            Self::Tombstones => &["key_id", "arn", "created", "deleted"],
            Self::Grants => &[
                "id",
                "key_id",
                "name",
                "grantee",
                "retiring",
                "operations",
                "constraints",
                "issuer",
                "created",
            ],
            Self::Tags => &["id", "key_id", "tag", "value"],
            Self::Alarms => &["name", "key_id", "watch", "action", "period", "created"],
            Self::Volumes => &["id", "path", "seen", "counted", "usage"],
            Self::Credentials => &["id", "principal", "created", "sealed"],
        }
    }

    /// How many columns the table began with. A later one that is NULL is not part of what a MAC covers, so that the MACs of rows
    /// from before it was added go on holding; every other value of it is.
    pub const fn first_columns(self) -> usize {
        match self {
            Self::Slots => 5,
            Self::Keys | Self::Materials => 6,
            Self::Meta
            | Self::Aliases
            | Self::Tombstones
            | Self::Grants
            | Self::Tags
            | Self::Alarms
            | Self::Volumes
            | Self::Credentials => self.columns().len(),
        }
    }

    /// The schema that it came with. A home that was made before has no head for it until it is opened.
    pub const fn since(self) -> u32 {
        match self {
            Self::Meta | Self::Slots | Self::Keys | Self::Materials | Self::Aliases | Self::Tombstones => 1,
            Self::Grants | Self::Tags | Self::Alarms | Self::Volumes => 3,
            Self::Credentials => 4,
        }
    }
}

/// The row of a fact about the home.
pub fn meta_row(name: &str, value: Value) -> Row {
    vec![name.to_owned().into(), value]
}

/// A text value.
pub fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::Blob(_) => None,
    }
}

/// An integer value.
pub fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::Null | Value::Real(_) | Value::Text(_) | Value::Blob(_) => None,
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    integer(value).map(Timestamp::from_millis)
}

/// `Some(None)` for NULL, `None` for a value that does not parse.
fn optional<'v, T>(value: &'v Value, parse: impl Fn(&'v Value) -> Option<T>) -> Option<Option<T>> {
    match value {
        Value::Null => Some(None),
        Value::Integer(_) | Value::Real(_) | Value::Text(_) | Value::Blob(_) => parse(value).map(Some),
    }
}
