//! What a scrub saw, in figures.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::check::{Checked, State};
use crate::cli::words::files;
use crate::volume::Volume;

/// All that was seen.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Files that there is something to tell of.
    files: Vec<Listed>,
    summary: Summary,
}

/// A file, and its volume.
#[derive(Debug, Serialize)]
struct Listed {
    volume: String,
    #[serde(flatten)]
    checked: Checked,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    /// Files that were read from end to end.
    checked: u64,
    damaged: u64,
    repaired: u64,
    not_checked: u64,
    in_use: u64,
    unreadable: u64,
    odd: u64,
}

impl Report {
    pub fn add(&mut self, volume: &Volume, checked: Checked) {
        let summary = &mut self.summary;
        summary.repaired += u64::from(!checked.done.is_empty());
        match checked.state {
            State::Whole => summary.checked += 1,
            State::Damaged => {
                summary.checked += 1;
                summary.damaged += 1;
            }
            State::NotChecked(_) => summary.not_checked += 1,
            State::InUse => summary.in_use += 1,
            State::Unreadable(_) => summary.unreadable += 1,
            State::Odd(_) => summary.odd += 1,
        }
        if checked.is_news() {
            self.files.push(Listed { volume: volume.path().display().to_string(), checked });
        }
    }

    pub fn damaged(&self) -> u64 {
        self.summary.damaged
    }

    pub fn unreadable(&self) -> u64 {
        self.summary.unreadable
    }

    pub fn checked(&self) -> u64 {
        self.summary.checked
    }

    pub fn not_checked(&self) -> u64 {
        self.summary.not_checked
    }

    /// A line for who waits.
    pub fn progress(&self, bytes: &AtomicU64) -> String {
        let mebibytes = bytes.load(Ordering::Relaxed) >> 20;
        let Summary { checked, damaged, .. } = self.summary;
        format!("{}, {mebibytes} MiB, {damaged} damaged", files(checked))
    }

    /// A line for people.
    pub fn summary(&self) -> String {
        let Summary { checked, damaged, repaired, not_checked, in_use, unreadable, odd } = &self.summary;
        let more = [
            (*repaired, "repaired"),
            (*not_checked, "not checked"),
            (*in_use, "in use"),
            (*unreadable, "unreadable"),
            (*odd, "odd"),
        ];
        let more: String = more
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!(", {count} {word}"))
            .collect();
        format!("{} checked, {damaged} damaged{more}\n", files(*checked))
    }
}
