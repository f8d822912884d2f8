//! `kmsfs keys`: the overview for people.

mod people;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::error::{CliError, Result};
use super::exit::Code;
use super::impact;
use super::last_use::LastUse;
use super::terminal::has_colours;
use super::{done, home, print, print_json};
use crate::datakey::KeyArn;
use crate::kms::id::is_region;
use crate::kms::key::{Key, KeyManager, RegionRole, Tombstone};
use crate::kms::ring::Keyring;
use crate::store::Home;
use crate::store::audit::usage::Uses;
use crate::volume::Volume;
use people::{footer, people};

const HELP: &str = "\
FILES and BYTES are what the volumes that the home knows of held when they were counted last, by kmsfs impact or with --count; the line \
below says when. A key marked ! is pending deletion, and somebody tried to use it since: kmsfs impact KEY says who. NO_COLOR, if it is \
set, keeps colours away; they are for terminals alone.";

/// The keys of the home, for people.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Keys {
    /// Count the files of all volumes that the home knows of now
    #[arg(long)]
    count: bool,
    /// Those of another region than the home's
    #[arg(long, value_name = "REGION", conflicts_with = "all_regions", value_parser = region)]
    region: Option<String>,
    /// Those of every region that has keys, or had
    #[arg(long)]
    all_regions: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A key as it is listed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    aliases: Vec<String>,
    key_id: String,
    arn: String,
    state: String,
    origin: Option<&'static str>,
    /// What it is of, and what for.
    spec: Option<&'static str>,
    usage: Option<&'static str>,
    manager: Option<&'static str>,
    /// `PRIMARY` or `REPLICA`; null for a single-Region key.
    multi_region_key_type: Option<&'static str>,
    /// Where its primary is.
    primary_region: Option<String>,
    /// Where its replicas are.
    replica_regions: Vec<String>,
    version: Option<u32>,
    versions: usize,
    created: String,
    next_rotation: Option<String>,
    deletion_date: Option<String>,
    expiry_date: Option<String>,
    description: String,
    files: Option<u64>,
    bytes: Option<u64>,
    last_use: Option<LastUse>,
    /// The last refused attempt.
    last_refusal: Option<LastUse>,
    used_while_pending_deletion: bool,
}

/// What was counted of a key's files.
#[derive(Debug, Default, Clone, Copy)]
struct Governed {
    files: u64,
    bytes: u64,
}

impl Keys {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        if self.count {
            count(&home)?;
        }
        let rings = self.rings(&home)?;
        let listed = rings.iter().map(|ring| listed(&home, ring)).collect::<Result<Vec<_>>>()?;
        if self.json {
            print_json(&listed.concat())?;
            return done();
        }
        for (ring, keys) in rings.iter().zip(&listed) {
            if self.all_regions {
                print(&format!("{}\n", ring.namespace().region))?;
            }
            show(ring, ring.namespace().region == home.region(), keys)?;
        }
        done()
    }

    fn rings(&self, home: &Home) -> Result<Vec<Arc<Keyring>>> {
        let regions = match &self.region {
            Some(region) => vec![region.clone()],
            None if self.all_regions => home.regions()?,
            None => vec![home.region().to_owned()],
        };
        Ok(regions.iter().map(|region| home.keyring_in(region)).collect::<std::result::Result<_, _>>()?)
    }
}

/// Reads a region's name.
fn region(text: &str) -> std::result::Result<String, String> {
    is_region(text)
        .then(|| text.to_owned())
        .ok_or_else(|| "it is no region's name, such as us-east-1".to_owned())
}

fn listed(home: &Home, ring: &Keyring) -> Result<Vec<Listed>> {
    let keys = ring.keys().map(|key| ring.namespace().key_arn(key.record.id));
    let keys: Vec<_> = keys.chain(ring.tombstones().map(|tombstone| tombstone.arn.clone())).collect();
    Ok(list(ring, &home.uses(ring, &keys)?))
}

fn show(ring: &Keyring, is_own: bool, keys: &[Listed]) -> Result<()> {
    if keys.is_empty() {
        let region = &ring.namespace().region;
        return match is_own {
            true => print("There is no key. kmsfs kms create-key makes one.\n"),
            false => print(&format!(
                "There is no key in {region}. kmsfs kms create-key --region {region} makes one.\n"
            )),
        };
    }
    print(&people(keys, has_colours()))?;
    print(&footer(ring, keys))
}

/// Counts every volume that is known and there.
fn count(home: &Home) -> Result<()> {
    let ring = home.keyring()?;
    for known in ring.volumes() {
        let Ok(volume) = Volume::open(Path::new(&known.path), &*home.authenticator()) else { continue };
        if volume.id() != known.id {
            continue;
        }
        let counted = impact::count(&volume, &[PathBuf::new()], None)
            .map_err(|error| CliError::io(volume.path(), &error))?;
        impact::note(home, &volume, &counted);
    }
    Ok(())
}

/// What the last counts of all volumes say of each key, by ARN.
fn governed(ring: &Keyring) -> HashMap<String, Governed> {
    let mut governed: HashMap<String, Governed> = HashMap::new();
    for usage in ring.volumes().filter_map(|volume| volume.count.as_ref()).flat_map(|count| &count.usage) {
        let of_key = governed.entry(usage.key.to_string()).or_default();
        of_key.files += usage.files;
        of_key.bytes += usage.bytes;
    }
    governed
}

fn list(ring: &Keyring, uses: &BTreeMap<KeyArn, Uses>) -> Vec<Listed> {
    let governed = governed(ring);
    let any_count = ring.volumes().any(|volume| volume.count.is_some());
    let of = |arn: &str| {
        let counted = governed.get(arn).copied().or(any_count.then(Governed::default));
        (counted, uses.get(&KeyArn::new(arn)).cloned().unwrap_or_default())
    };
    let living = ring.keys().map(|key| {
        let arn = ring.namespace().key_arn(key.record.id).to_string();
        let (counted, uses) = of(&arn);
        (key.record.created, living(ring, key, arn, counted, uses))
    });
    let dead = ring.tombstones().map(|tombstone| {
        let (counted, uses) = of(tombstone.arn.as_str());
        (tombstone.created, dead(tombstone, counted, uses))
    });
    let mut keys: Vec<_> = living.chain(dead).collect();
    keys.sort_by_key(|(created, _)| *created);
    keys.into_iter().map(|(_, listed)| listed).collect()
}

fn living(ring: &Keyring, key: &Key, arn: String, counted: Option<Governed>, uses: Uses) -> Listed {
    let record = &key.record;
    let aliases = ring.aliases().filter(|alias| alias.key == record.id);
    Listed {
        aliases: aliases.map(|alias| alias.name.to_string()).collect(),
        key_id: record.id.to_string(),
        arn,
        state: record.state.name().to_owned(),
        origin: Some(record.origin.name()),
        spec: Some(record.spec.name()),
        usage: Some(record.usage.name()),
        manager: (record.manager == KeyManager::Aws).then(|| record.manager.name()),
        multi_region_key_type: record.role.map(RegionRole::name),
        primary_region: primary_region(ring, key),
        replica_regions: replica_regions(ring, key),
        version: key.current().map(|material| material.version),
        versions: key.materials.len(),
        created: record.created.to_string(),
        next_rotation: next_rotation(ring, key),
        deletion_date: record.deletion_date.map(|date| date.to_string()),
        expiry_date: key.materials.iter().filter_map(|one| one.expiry()).min().map(|date| date.to_string()),
        description: record.description.clone(),
        files: counted.map(|counted| counted.files),
        bytes: counted.map(|counted| counted.bytes),
        used_while_pending_deletion: uses.refused_since_scheduled.is_some(),
        last_refusal: uses.refused_since_scheduled.or(uses.refused).map(Into::into),
        last_use: uses.used.map(Into::into),
    }
}

/// A replica rotates with its primary.
fn next_rotation(ring: &Keyring, key: &Key) -> Option<String> {
    let (_, primary) = ring.primary(key.record.id)?;
    primary.next_rotation().map(|date| date.to_string())
}

fn primary_region(ring: &Keyring, key: &Key) -> Option<String> {
    key.record.role?;
    ring.primary(key.record.id).map(|(region, _)| region.to_owned())
}

fn replica_regions(ring: &Keyring, key: &Key) -> Vec<String> {
    let related = ring.related(key.record.id).into_iter();
    related.filter(|(_, key)| key.record.is_replica()).map(|(region, _)| region.to_owned()).collect()
}

fn dead(tombstone: &Tombstone, counted: Option<Governed>, uses: Uses) -> Listed {
    Listed {
        aliases: Vec::new(),
        key_id: tombstone.key.to_string(),
        arn: tombstone.arn.to_string(),
        state: "Deleted".to_owned(),
        origin: None,
        spec: None,
        usage: None,
        manager: None,
        multi_region_key_type: None,
        primary_region: None,
        replica_regions: Vec::new(),
        version: None,
        versions: 0,
        created: tombstone.created.to_string(),
        next_rotation: None,
        deletion_date: Some(tombstone.deleted.to_string()),
        expiry_date: None,
        description: String::new(),
        files: counted.map(|counted| counted.files),
        bytes: counted.map(|counted| counted.bytes),
        used_while_pending_deletion: false,
        last_use: uses.used.map(Into::into),
        last_refusal: uses.refused.map(Into::into),
    }
}
