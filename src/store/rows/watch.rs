//! Rows of what watches over the use of CMKs: alarms, and the volumes that the home knows of.

use std::time::Duration;

use super::{Row, integer, optional, text, time};
use crate::datakey::KeyArn;
use crate::kms::alarm::{self, Action, AlarmRecord, Watch};
use crate::kms::id::KeyId;
use crate::kms::volume::{Count, KeyUsage, VolumeRecord};

/// The row of an alarm. Its period is in seconds.
pub fn alarm_row(alarm: &AlarmRecord) -> Row {
    vec![
        alarm.name.clone().into(),
        alarm.key.map(|key| key.to_string()).into(),
        alarm.watch.to_text().into(),
        alarm.action.to_text().into(),
        i64::try_from(alarm.period.as_secs()).unwrap_or(i64::MAX).into(),
        alarm.created.as_millis().into(),
    ]
}

/// The alarm of a row; `None` where the row is not one that [`alarm_row`] writes.
pub fn alarm_record(row: &Row) -> Option<AlarmRecord> {
    let [name, key, watch, action, period, created] = row.as_slice() else { return None };
    let period = Duration::from_secs(u64::try_from(integer(period)?).ok()?);
    let record = AlarmRecord {
        name: Some(text(name)?).filter(|name| alarm::is_name(name))?.to_owned(),
        key: optional(key, |value| KeyId::parse(text(value)?))?,
        watch: Watch::parse(text(watch)?)?,
        action: Action::parse(text(action)?)?,
        period: Some(period).filter(|period| alarm::is_period(*period))?,
        created: time(created)?,
    };
    (alarm_row(&record) == *row).then_some(record)
}

/// The row of a volume.
pub fn volume_row(volume: &VolumeRecord) -> Row {
    let count = volume.count.as_ref();
    vec![
        volume.id.clone().into(),
        volume.path.clone().into(),
        volume.seen.as_millis().into(),
        count.map(|count| count.at.as_millis()).into(),
        count.map(|count| usage_text(&count.usage)).into(),
    ]
}

/// The volume of a row; `None` where the row is not one that [`volume_row`] writes.
pub fn volume_record(row: &Row) -> Option<VolumeRecord> {
    let [id, path, seen, counted, usage] = row.as_slice() else { return None };
    let count = match (optional(counted, time)?, optional(usage, |value| usage_of(text(value)?))?) {
        (Some(at), Some(usage)) => Some(Count { at, usage }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return None,
    };
    let (id, path) = (text(id)?.to_owned(), text(path)?.to_owned());
    let record = VolumeRecord { id, path, seen: time(seen)?, count };
    (volume_row(&record) == *row).then_some(record)
}

/// JSON: a list of `[key, version, files, bytes]`.
fn usage_text(usage: &[KeyUsage]) -> String {
    let one = |one: &KeyUsage| serde_json::json!([one.key.as_str(), one.version, one.files, one.bytes]);
    serde_json::Value::from_iter(usage.iter().map(one)).to_string()
}

fn usage_of(text: &str) -> Option<Vec<KeyUsage>> {
    let rows: Vec<(String, u32, u64, u64)> = serde_json::from_str(text).ok()?;
    let one = |(key, version, files, bytes)| KeyUsage { key: KeyArn::new(key), version, files, bytes };
    Some(rows.into_iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use rusqlite::types::Value;

    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn an_alarm_comes_back_from_its_row_and_from_no_other() {
        let alarm = AlarmRecord {
            name: "a".to_owned(),
            key: None,
            watch: Watch::Event("Decrypt".to_owned()),
            action: Action::Command("logger: x".to_owned()),
            period: alarm::PERIOD,
            created: Timestamp::from_millis(5),
        };
        let row = alarm_row(&alarm);
        assert_eq!(alarm_record(&row), Some(alarm));
        let wrong: [(usize, Value); 6] = [
            (0, "a b".to_owned().into()),
            (1, "no id".to_owned().into()),
            (2, "event:".to_owned().into()),
            (3, "print:x".to_owned().into()),
            (4, 0.into()),
            (5, Value::Null),
        ];
        for (column, value) in wrong {
            let mut row = row.clone();
            row[column] = value;
            assert_eq!(alarm_record(&row), None, "{column}");
        }
    }

    #[test]
    fn a_volume_comes_back_from_its_row_counted_or_not_and_from_no_other() {
        let usage = KeyUsage { key: KeyArn::new("arn:\"x\""), version: 2, files: 3, bytes: u64::MAX };
        let count = Count { at: Timestamp::from_millis(7), usage: vec![usage] };
        for count in [None, Some(count), Some(Count { at: Timestamp::from_millis(8), usage: Vec::new() })] {
            let seen = Timestamp::from_millis(5);
            let volume = VolumeRecord { id: "v".to_owned(), path: "/a b".to_owned(), seen, count };
            assert_eq!(volume_record(&volume_row(&volume)), Some(volume));
        }
        let row = |counted: Value, usage: Value| {
            vec!["v".to_owned().into(), "/".to_owned().into(), 1.into(), counted, usage]
        };
        for (counted, usage) in [
            (Value::Null, "[]".to_owned().into()),
            (1.into(), Value::Null),
            (1.into(), "[[\"k\",1,2]]".to_owned().into()),
            (1.into(), "nothing".to_owned().into()),
        ] {
            assert_eq!(volume_record(&row(counted, usage)), None);
        }
    }
}
