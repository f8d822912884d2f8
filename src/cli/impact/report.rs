//! What a key governs, for people and programs.

use std::path::Path;

use serde::Serialize;

use super::count::{Counted, Tally};
use crate::cli::error::one_line;
use crate::cli::last_use::LastUse;
use crate::cli::words::files;

/// Directories that are told of each volume; programs are told all.
const DIRECTORIES: usize = 10;

/// What a key governs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub key: String,
    pub aliases: Vec<String>,
    pub state: String,
    pub current_version: Option<u32>,
    pub files: u64,
    pub bytes: u64,
    pub open_files: usize,
    pub volumes: Vec<OfVolume>,
    /// Volumes that the home knows of and that are not where they were seen.
    pub absent: Vec<Absent>,
    pub last_use: Option<LastUse>,
    pub last_refusal: Option<LastUse>,
}

/// One volume.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfVolume {
    pub id: String,
    pub path: String,
    pub files: u64,
    pub bytes: u64,
    pub open_files: usize,
    pub versions: Vec<OfVersion>,
    pub directories: Vec<OfDirectory>,
    pub damaged: Vec<Named>,
    pub unreadable: Vec<Named>,
}

/// One version of the key.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfVersion {
    pub version: u32,
    pub files: u64,
    pub bytes: u64,
}

/// One directory, without those beneath it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfDirectory {
    pub path: String,
    pub files: u64,
    pub bytes: u64,
}

/// A file whose header cannot be read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Named {
    pub path: String,
    pub why: String,
}

/// A volume that was not counted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Absent {
    pub id: String,
    pub path: String,
    pub why: String,
}

impl OfVolume {
    pub fn new(id: &str, path: &Path, key: &str, open_files: usize, counted: &Counted) -> Self {
        let of_key = counted.by_key.iter().filter(|((arn, _), _)| arn == key);
        let version = |((_, version), tally): (&(String, u32), &Tally)| OfVersion {
            version: *version,
            files: tally.files,
            bytes: tally.bytes,
        };
        let versions: Vec<_> = of_key.map(version).collect();
        let directory = |(path, tally): (&std::path::PathBuf, &Tally)| OfDirectory {
            path: if path.as_os_str().is_empty() { ".".to_owned() } else { path.display().to_string() },
            files: tally.files,
            bytes: tally.bytes,
        };
        let mut directories: Vec<_> = counted.by_directory.iter().map(directory).collect();
        directories.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.path.cmp(&other.path)));
        let named = |list: &[(std::path::PathBuf, String)]| {
            let mut named: Vec<_> = list
                .iter()
                .map(|(path, why)| Named { path: path.display().to_string(), why: why.clone() })
                .collect();
            named.sort_by(|one, other| one.path.cmp(&other.path));
            named
        };
        Self {
            id: id.to_owned(),
            path: path.display().to_string(),
            files: versions.iter().map(|one| one.files).sum(),
            bytes: versions.iter().map(|one| one.bytes).sum(),
            open_files,
            versions,
            directories,
            damaged: named(&counted.damaged),
            unreadable: named(&counted.unreadable),
        }
    }
}

impl Report {
    pub fn damaged(&self) -> usize {
        self.volumes.iter().map(|volume| volume.damaged.len()).sum()
    }

    pub fn unreadable(&self) -> usize {
        self.volumes.iter().map(|volume| volume.unreadable.len()).sum()
    }

    /// Whether anything is known to need the key.
    pub fn is_used(&self) -> bool {
        self.files > 0 || self.open_files > 0
    }

    pub fn to_text(&self) -> String {
        let aliases =
            if self.aliases.is_empty() { String::new() } else { format!(" ({})", self.aliases.join(", ")) };
        let version =
            self.current_version.map(|version| format!(", current version {version}")).unwrap_or_default();
        let mut text = format!("{}{aliases}: {}{version}\n", self.key, self.state);
        text += &format!("{}, {} bytes, {} open now\n", files(self.files), self.bytes, self.open_files);
        for volume in &self.volumes {
            volume.tell(&mut text, self.current_version);
        }
        for absent in &self.absent {
            text += &format!("{}\n", one_line(&format!("not counted: {}", absent.why)));
        }
        match &self.last_use {
            Some(last) => text += &format!("{}\n", one_line(&format!("last used {}", last.to_text()))),
            None => text += "no use of it is recorded\n",
        }
        if let Some(last) = &self.last_refusal {
            text += &format!("{}\n", one_line(&format!("refused since: {}", last.to_text())));
        }
        text
    }
}

impl OfVolume {
    fn tell(&self, text: &mut String, current: Option<u32>) {
        if self.files == 0 && self.open_files == 0 && self.damaged.is_empty() && self.unreadable.is_empty() {
            return;
        }
        let mut line = |line: String| *text += &format!("{}\n", one_line(&line));
        let (path, bytes) = (&self.path, self.bytes);
        line(format!("volume {path}: {}, {bytes} bytes, {} open now", files(self.files), self.open_files));
        for one in &self.versions {
            let is_current = if current == Some(one.version) { " (the current one)" } else { "" };
            let version = one.version;
            line(format!("version {version}{is_current}: {}, {} bytes", files(one.files), one.bytes));
        }
        for one in self.directories.iter().take(DIRECTORIES) {
            line(format!("directory {}: {}, {} bytes", one.path, files(one.files), one.bytes));
        }
        match self.directories.len().saturating_sub(DIRECTORIES) {
            0 => (),
            more => line(format!("{more} more directories (all with --json)")),
        }
        self.damaged.iter().for_each(|one| line(format!("damaged: {}/{}: {}", path, one.path, one.why)));
        self.unreadable
            .iter()
            .for_each(|one| line(format!("unreadable: {}/{}: {}", path, one.path, one.why)));
    }
}
