//! The keys for people.

use super::Listed;
use crate::cli::error::one_line;
use crate::cli::table;
use crate::cli::words::number;
use crate::kms::key::RegionRole;
use crate::kms::ring::Keyring;
use crate::kms::{KeySpec, KeyUsage};

/// The columns.
const HEAD: [&str; 12] = [
    "ALIAS",
    "KEY ID",
    "STATE",
    "KIND",
    "ORIGIN",
    "MULTI-REGION",
    "VERSION",
    "NEXT ROTATION",
    "ENDS",
    "FILES",
    "BYTES",
    "LAST USED",
];

/// The column of kinds.
const KIND: usize = 3;
/// The column of related keys.
const MULTI_REGION: usize = 5;

/// The table of keys.
pub fn people(keys: &[Listed], colours: bool) -> String {
    let or_dash =
        |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
    let day = |time: &Option<String>| time.as_ref().and_then(|time| time.get(..10).map(str::to_owned));
    let rows = keys.iter().map(|key| {
        let mark = if key.used_while_pending_deletion { " !" } else { "" };
        [
            or_dash(Some(key.aliases.join(","))),
            key.key_id.clone(),
            format!("{}{mark}", key.state),
            or_dash(kind(key)),
            or_dash(key.origin.map(str::to_owned)),
            or_dash(related(key)),
            or_dash(key.version.map(|version| version.to_string())),
            or_dash(day(&key.next_rotation)),
            or_dash(day(&key.deletion_date).or_else(|| day(&key.expiry_date))),
            or_dash(key.files.map(|files| files.to_string())),
            or_dash(key.bytes.map(|bytes| bytes.to_string())),
            or_dash(key.last_use.as_ref().map(|last| last.time.clone())),
        ]
    });
    let mut rows: Vec<Vec<String>> =
        std::iter::once(HEAD.map(str::to_owned)).chain(rows).map(Vec::from).collect();
    if keys.iter().all(|key| key.multi_region_key_type.is_none()) {
        rows.iter_mut().for_each(|row| drop(row.remove(MULTI_REGION)));
    }
    if are_symmetric(keys) {
        rows.iter_mut().for_each(|row| drop(row.remove(KIND)));
    }
    let table = table::table(&rows);
    if colours { coloured(&table, keys) } else { table }
}

/// The spec, and what it is used for where that is not said already.
fn kind(key: &Listed) -> Option<String> {
    let spec = key.spec?;
    Some(match KeyUsage::from_name(key.usage?)? {
        KeyUsage::EncryptDecrypt if spec == KeySpec::SymmetricDefault.name() => "symmetric".to_owned(),
        KeyUsage::EncryptDecrypt => format!("{spec} encrypt"),
        KeyUsage::SignVerify => format!("{spec} sign"),
        KeyUsage::KeyAgreement => format!("{spec} agree"),
        KeyUsage::GenerateVerifyMac => spec.to_owned(),
    })
}

/// What a multi-Region key is among its related ones, and where the others are that matter to it.
fn related(key: &Listed) -> Option<String> {
    Some(match RegionRole::from_name(key.multi_region_key_type?)? {
        RegionRole::Primary if key.replica_regions.is_empty() => "primary".to_owned(),
        RegionRole::Primary => format!("primary, also {}", key.replica_regions.join(",")),
        RegionRole::Replica => format!("replica of {}", key.primary_region.as_deref().unwrap_or("?")),
    })
}

/// Whether all keys are of the one kind that files have: it is not told then.
fn are_symmetric(keys: &[Listed]) -> bool {
    keys.iter().filter_map(|key| key.spec).all(|spec| spec == KeySpec::SymmetricDefault.name())
}

/// Has states stand out (`ECMA-48`, SGR): green what works, yellow what does not now, red what ends.
fn coloured(table: &str, keys: &[Listed]) -> String {
    let mut text = String::new();
    for (number, line) in table.lines().enumerate() {
        match number.checked_sub(1).and_then(|number| keys.get(number)) {
            None => text += &format!("\x1b[1m{line}\x1b[0m\n"),
            Some(key) => {
                let colour = match key.state.as_str() {
                    "Enabled" => 32,
                    "PendingDeletion" | "PendingReplicaDeletion" | "Deleted" => 31,
                    _ => 33,
                };
                let at = line.find(&key.key_id).map_or(0, |at| at + key.key_id.len());
                let (before, rest) = line.split_at(at);
                text += &format!("{before}{}\n", rest.replacen(&key.state, &painted(&key.state, colour), 1));
            }
        }
    }
    text
}

fn painted(text: &str, colour: u8) -> String {
    format!("\x1b[{colour}m{text}\x1b[0m")
}

/// When files were counted, and what the mark means.
pub fn footer(ring: &Keyring, keys: &[Listed]) -> String {
    let mut text = String::new();
    let counts = ring.volumes().map(|volume| volume.count.as_ref().map(|count| count.at));
    let (oldest, uncounted) = counts.fold((None, 0), |(oldest, uncounted), at| match at {
        Some(at) => (Some(oldest.map_or(at, |oldest: _| at.min(oldest))), uncounted),
        None => (oldest, uncounted + 1),
    });
    match (oldest, uncounted) {
        (None, 0) => (),
        (None, _) => text += "Files are not counted yet: kmsfs keys --count does it.\n",
        (Some(at), 0) => text += &format!("Files as counted at {at}.\n"),
        (Some(at), _) => {
            text += &format!(
                "Files as counted at {at}, without {}: kmsfs keys --count.\n",
                number(uncounted, "volume")
            );
        }
    }
    for key in keys.iter().filter(|key| key.used_while_pending_deletion) {
        if let Some(last) = &key.last_refusal {
            let line =
                format!("! {} is pending deletion and still asked for: {}", key.key_id, last.to_text());
            text += &format!("{}\n", one_line(&line));
        }
    }
    text
}
