//! Which region a row is of.
//!
//! A home has keys in as many regions as clients ask it in, and the rows of all stand in the same tables. Those of the home's own
//! region are as they were before there were others. In a row of another one, the row's key and the id of the CMK that it is about begin
//! with the region and a colon: `eu-west-1:5f6c...`. So ids and aliases of different regions do not meet, the MAC of a row covers its
//! region, and what refers to a CMK refers to one of the same region.

use rusqlite::types::Value;

use super::{Row, Table, text};
use crate::kms::id::is_region;

/// What stands between a region and an id. No id and no name of a region has it.
const COLON: char = ':';

impl Table {
    /// The column of the CMK that a row is about; none where rows are the home's and of no region.
    pub const fn key_column(self) -> Option<usize> {
        match self {
            Self::Keys | Self::Tombstones => Some(0),
            Self::Materials | Self::Aliases | Self::Grants | Self::Tags => Some(1),
            Self::Meta | Self::Slots | Self::Alarms | Self::Volumes | Self::Credentials => None,
        }
    }
}

/// The row of a record of another region than the home's.
pub fn put_in_region(table: Table, row: &mut Row, region: &str) {
    let Some(column) = table.key_column() else { return };
    for value in &mut row[..=column] {
        if let Value::Text(id) = value {
            id.insert(0, COLON);
            id.insert_str(0, region);
        }
    }
}

/// Takes the region out of a row: `None` where it is of the home's own. Where a row is not one that [`put_in_region`] writes, it is left as
/// it is, and no record is made of it.
pub fn take_region(table: Table, row: &mut Row) -> Option<String> {
    let column = table.key_column()?;
    let (region, _) = text(row.get(column)?)?.split_once(COLON).filter(|(region, _)| is_region(region))?;
    let region = region.to_owned();
    let without = |value: &Value| {
        Some(text(value)?.strip_prefix(region.as_str())?.strip_prefix(COLON)?.to_owned().into())
    };
    let taken: Option<Row> = row[..=column].iter().map(without).collect();
    row.splice(..=column, taken?);
    Some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[&str]) -> Row {
        values.iter().map(|value| (*value).to_owned().into()).collect()
    }

    #[test]
    fn a_row_of_another_region_reads_back_and_one_of_the_homes_is_left_alone() {
        let values = ["alias/a", "5f6c0000-0000-4000-8000-000000000000", "eu-west-1:x"];
        for table in Table::ALL {
            let mut changed = row(&values);
            put_in_region(table, &mut changed, "eu-west-1");
            assert_eq!(changed == row(&values), table.key_column().is_none(), "{table:?}");
            let region = take_region(table, &mut changed);
            assert_eq!(region.as_deref(), table.key_column().map(|_| "eu-west-1"));
            assert_eq!(changed, row(&values));
            assert_eq!(take_region(table, &mut changed), None);
        }
    }

    #[test]
    fn a_row_that_names_two_regions_or_none_is_left_as_it_is() {
        for values in [["eu-west-1:a", "us-east-1:k"], ["a", "us-east-1:k"], ["EU:a", "EU:k"], ["a", ":k"]] {
            let mut found = row(&values);
            assert_eq!(take_region(Table::Materials, &mut found), None, "{values:?}");
            assert_eq!(found, row(&values));
        }
        let mut empty = Row::new();
        assert_eq!(take_region(Table::Keys, &mut empty), None);
    }
}
