//! `kmsfs inspect`: what a file's header says. It needs no key, so that it works whatever the key's state; and for the same
//! reason it tells what the header claims, not what has been proved.

use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::error::{CliError, Result, of_file, one_line};
use super::exit::{self, Code};
use super::{done, home, print, print_json};
use crate::content::layout;
use crate::datakey::KeyArn;
use crate::envelope::Header;
use crate::fs::backing::FdBacking;
use crate::fs::file::CryptFile;
use crate::kms::ring::Keyring;
use crate::store::Home;
use crate::volume::{Volume, successor};
use crate::watch;

/// What a file's header says.
#[derive(Debug, Args)]
pub struct Inspect {
    /// A file in a mount, or its ciphertext in the volume
    file: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What is told of a file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    ciphertext: PathBuf,
    volume: PathBuf,
    path: PathBuf,
    file_id: String,
    key: String,
    key_state: String,
    aliases: Vec<String>,
    key_version: u32,
    current_key_version: Option<u32>,
    key_material_id: String,
    format: u16,
    suite: &'static str,
    size: u64,
    ciphertext_size: u64,
    state: &'static str,
    sequence: u64,
}

impl Inspect {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        let report = inspect(&home, &self.file)?;
        if self.json {
            print_json(&report)?
        } else {
            print(&report.to_text())?
        };
        done()
    }
}

fn inspect(home: &Home, given: &Path) -> Result<Report> {
    let ciphertext = ciphertext_of(home, given)?;
    let (volume, path) = Volume::find(&ciphertext).ok_or_else(|| {
        CliError::new(
            exit::VOLUME,
            format!("{} is in no kmsfs volume, and in no mount of this home", given.display()),
        )
        .hint("kmsfs status lists the mounts")
    })?;
    // Without waiting for the other end of a pipe.
    let mut options = std::fs::OpenOptions::new();
    options.read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
    let file = options.open(&ciphertext).map_err(|error| CliError::io(given, &error))?;
    let facts = file.metadata().map_err(|error| CliError::io(given, &error))?;
    if !facts.is_file() {
        return Err(CliError::new(exit::USAGE, format!("{} is not a regular file", given.display()))
            .hint("only regular files have headers"));
    }
    let next = successor::of(&volume, &file).map_err(|error| CliError::io(given, &error))?;
    let backing = FdBacking::new(next.unwrap_or(OwnedFd::from(file)));
    let identity = CryptFile::identify(&backing).map_err(|error| of_file(given, &error))?;
    let header = identity.claims();
    let ring = home.keyring()?;
    Ok(Report::new(&ring, header, ciphertext, volume, path, facts.len()))
}

/// The ciphertext of a path in a mount; any other path is taken as it is.
pub(super) fn ciphertext_of(home: &Home, given: &Path) -> Result<PathBuf> {
    let path = std::fs::canonicalize(given).map_err(|error| CliError::io(given, &error))?;
    let mounts = watch::mounts(home.run_dir()).map_err(|error| CliError::of_home(home.run_dir(), &error))?;
    let within =
        mounts.iter().find_map(|mount| Some(mount.dir.join(path.strip_prefix(&mount.mountpoint).ok()?)));
    Ok(within.unwrap_or(path))
}

impl Report {
    fn new(
        ring: &Keyring,
        header: &Header,
        ciphertext: PathBuf,
        volume: PathBuf,
        path: PathBuf,
        ciphertext_size: u64,
    ) -> Self {
        let wrapped = &header.wrapped;
        let id = ring.namespace().key_id_of(&wrapped.key);
        let key = id.and_then(|id| ring.key(id));
        let aliases = ring.aliases().filter(|alias| Some(alias.key) == id);
        // A new file that nothing was written to is as good as clean (rule 10 of docs/FORMAT.md).
        let is_new = header.sequence == 1 && ciphertext_size == layout::backing_size(0);
        let is_dirty = header.dirty && !is_new;
        let size = if is_dirty { layout::plain_size(ciphertext_size).size } else { header.committed_size };
        Self {
            file_id: header.file_id.to_string(),
            key: wrapped.key.to_string(),
            key_state: state_of(ring, &wrapped.key).to_owned(),
            aliases: aliases.map(|alias| alias.name.to_string()).collect(),
            key_version: wrapped.version,
            current_key_version: key.and_then(|key| key.current()).map(|material| material.version),
            key_material_id: wrapped.material_id.iter().map(|byte| format!("{byte:02x}")).collect(),
            format: crate::envelope::VERSION,
            suite: "AES_256_GCM",
            size,
            ciphertext_size,
            state: if is_dirty { "dirty" } else { "clean" },
            sequence: header.sequence,
            ciphertext,
            volume,
            path,
        }
    }

    fn to_text(&self) -> String {
        let newest = match self.current_key_version {
            Some(current) if current == self.key_version => " (the current one)".to_owned(),
            Some(current) => format!(" (the current one is {current})"),
            None => String::new(),
        };
        let aliases =
            if self.aliases.is_empty() { String::new() } else { format!(" ({})", self.aliases.join(", ")) };
        let rows = [
            ("file", self.path.display().to_string()),
            ("volume", self.volume.display().to_string()),
            ("key", format!("{}{aliases}", self.key)),
            ("key state", self.key_state.clone()),
            ("key version", format!("{}{newest}", self.key_version)),
            ("key material", self.key_material_id.clone()),
            ("suite", format!("{}, format {}", self.suite, self.format)),
            ("size", format!("{} bytes, {} as ciphertext", self.size, self.ciphertext_size)),
            ("state", format!("{}, header {}", self.state, self.sequence)),
            ("file id", self.file_id.clone()),
        ];
        rows.iter().map(|(name, value)| format!("{name:13} {}\n", one_line(value))).collect()
    }
}

fn state_of(ring: &Keyring, key: &KeyArn) -> &'static str {
    let Some(id) = ring.namespace().key_id_of(key) else { return "unknown here" };
    match (ring.key(id), ring.tombstone(id)) {
        (Some(key), _) => key.record.state.name(),
        (None, Some(_)) => "Deleted",
        (None, None) => "unknown here",
    }
}
