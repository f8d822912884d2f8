//! `kmsfs keys`: the overview for people.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::error::Result;
use super::exit::Code;
use super::{done, home, print, print_json, table};
use crate::kms::ring::Keyring;

/// The keys of the home, for people.
#[derive(Debug, Args)]
pub struct Keys {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A key as it is listed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    aliases: Vec<String>,
    key_id: String,
    arn: String,
    state: String,
    origin: Option<&'static str>,
    version: Option<u32>,
    created: String,
    deletion_date: Option<String>,
    description: String,
}

impl Keys {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        let keys = list(&*home.keyring()?);
        if self.json {
            print_json(&keys)?;
        } else if keys.is_empty() {
            print("There is no key. kmsfs kms create-key makes one.\n")?;
        } else {
            print(&people(&keys))?;
        }
        done()
    }
}

fn list(ring: &Keyring) -> Vec<Listed> {
    let mut keys: Vec<(_, Listed)> = ring
        .keys()
        .map(|key| {
            let record = &key.record;
            let aliases = ring.aliases().filter(|alias| alias.key == record.id);
            let listed = Listed {
                aliases: aliases.map(|alias| alias.name.to_string()).collect(),
                key_id: record.id.to_string(),
                arn: ring.namespace().key_arn(record.id).to_string(),
                state: record.state.name().to_owned(),
                origin: Some(record.origin.name()),
                version: key.current().map(|material| material.version),
                created: record.created.to_string(),
                deletion_date: record.deletion_date.map(|date| date.to_string()),
                description: record.description.clone(),
            };
            (record.created, listed)
        })
        .collect();
    keys.extend(ring.tombstones().map(|tombstone| {
        let listed = Listed {
            aliases: Vec::new(),
            key_id: tombstone.key.to_string(),
            arn: tombstone.arn.to_string(),
            state: "Deleted".to_owned(),
            origin: None,
            version: None,
            created: tombstone.created.to_string(),
            deletion_date: Some(tombstone.deleted.to_string()),
            description: String::new(),
        };
        (tombstone.created, listed)
    }));
    keys.sort_by_key(|(created, _)| *created);
    keys.into_iter().map(|(_, listed)| listed).collect()
}

fn people(keys: &[Listed]) -> String {
    let head =
        ["ALIAS", "KEY ID", "STATE", "ORIGIN", "VERSION", "DELETION DATE", "CREATED"].map(str::to_owned);
    let or_dash =
        |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
    let rows = keys.iter().map(|key| {
        [
            or_dash(Some(key.aliases.join(","))),
            key.key_id.clone(),
            key.state.clone(),
            or_dash(key.origin.map(str::to_owned)),
            or_dash(key.version.map(|version| version.to_string())),
            or_dash(key.deletion_date.clone()),
            key.created.clone(),
        ]
    });
    table::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}
