//! Counting the files of a volume by the key that their headers name.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;

use crate::cli::govern::{Progress, Seen, TICK, header_of};
use crate::kms::volume::KeyUsage;
use crate::volume::Volume;
use crate::volume::walk::{Found, Walk};

/// A number of files, and their plain sizes together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    pub files: u64,
    pub bytes: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

/// What was counted in one volume.
#[derive(Debug, Default)]
pub struct Counted {
    /// By the ARN of the CMK and the version of its backing key.
    pub by_key: BTreeMap<(String, u32), Tally>,
    /// Of the key that is asked for, by the directory that a file lies in.
    pub by_directory: BTreeMap<PathBuf, Tally>,
    /// Files without a header that can be read, and why.
    pub damaged: Vec<(PathBuf, String)>,
    /// What cannot be opened, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

impl Counted {
    fn merge(&mut self, other: Self) {
        other.by_key.into_iter().for_each(|(key, tally)| self.by_key.entry(key).or_default().add(tally));
        let directories = other.by_directory.into_iter();
        directories.for_each(|(dir, tally)| self.by_directory.entry(dir).or_default().add(tally));
        self.damaged.extend(other.damaged);
        self.unreadable.extend(other.unreadable);
    }

    /// As the home keeps it.
    pub fn usage(&self) -> Vec<KeyUsage> {
        let usage = |((key, version), tally): (&(String, u32), &Tally)| KeyUsage {
            key: crate::datakey::KeyArn::new(key.clone()),
            version: *version,
            files: tally.files,
            bytes: tally.bytes,
        };
        self.by_key.iter().map(usage).collect()
    }
}

/// Counts what lies beneath `starts`, on all cores. A file of several names counts once, under the first.
pub fn count(volume: &Volume, starts: &[PathBuf], key: Option<&str>) -> io::Result<Counted> {
    let walks: io::Result<Vec<_>> = starts.iter().map(|start| Walk::from(volume, start)).collect();
    let found = Mutex::new(walks?.into_iter().flatten());
    let seen = Mutex::new(HashSet::new());
    let files = AtomicU64::new(0);
    let mut progress = Progress::new(io::stderr().is_terminal());
    let mut total = Counted::default();
    thread::scope(|scope| {
        let work = || {
            let mut counted = Counted::default();
            loop {
                let Some(next) = found.lock().next() else { return counted };
                files.fetch_add(1, Ordering::Relaxed);
                one(volume, next, key, &seen, &mut counted);
            }
        };
        let workers: Vec<_> =
            (0..thread::available_parallelism().map_or(1, usize::from)).map(|_| scope.spawn(work)).collect();
        while progress.is_on() && !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::sleep(TICK / 4);
            progress.show(|| format!("{} files", files.load(Ordering::Relaxed)));
        }
        progress.clear();
        for worker in workers {
            match worker.join() {
                Ok(counted) => total.merge(counted),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    Ok(total)
}

fn one(
    volume: &Volume,
    found: Found,
    key: Option<&str>,
    seen: &Mutex<HashSet<(u64, u64)>>,
    counted: &mut Counted,
) {
    let path = match found {
        Found::Directory(_) => return,
        Found::Unreadable(path, error) => return counted.unreadable.push((path, error.to_string())),
        Found::File(path) => path,
    };
    match header_of(volume, &path, seen) {
        Seen::Not => (),
        Seen::Unreadable(why) => counted.unreadable.push((path, why)),
        Seen::Damaged(why) => counted.damaged.push((path, why)),
        Seen::Header(header) => {
            let tally = Tally { files: 1, bytes: header.size };
            let arn = header.key.as_str();
            if key == Some(arn) {
                let directory = path.parent().unwrap_or(Path::new("")).to_owned();
                counted.by_directory.entry(directory).or_default().add(tally);
            }
            counted.by_key.entry((arn.to_owned(), header.version)).or_default().add(tally);
        }
    }
}
