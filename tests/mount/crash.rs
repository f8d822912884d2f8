//! The mount's process is killed while files are written; what write() acknowledged is there after a remount.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::fixture::{Fixture, pattern};

const CHUNK: usize = 4096;

/// A change that a writer makes.
#[derive(Debug, Clone)]
enum Step {
    Write { at: u64, len: usize, seed: u64 },
    Resize(u64),
}

impl Step {
    fn next(random: &mut impl FnMut() -> u64, size: u64) -> Self {
        let seed = random();
        let most = [100, 5_000, 200_000][(random() % 3) as usize];
        let len = 1 + (random() % most) as usize;
        match random() % 10 {
            0..=4 => Self::Write { at: random() % (size + 1), len, seed },
            5..=7 => Self::Write { at: size, len, seed },
            8 => Self::Resize(random() % (size + 5_000)),
            _ => Self::Write { at: random() % (size + 9_000), len: len.min(5_000), seed },
        }
    }

    /// Does it; a write that was cut short was not acknowledged.
    fn apply(&self, file: &File) -> io::Result<()> {
        match *self {
            Self::Write { at, len, seed } => match file.write_at(&pattern(seed, len), at)? {
                written if written == len => Ok(()),
                _ => Err(io::ErrorKind::WriteZero.into()),
            },
            Self::Resize(size) => file.set_len(size),
        }
    }

    fn expect(&self, model: &mut Vec<u8>) {
        match *self {
            Self::Write { at, len, seed } => {
                let (from, to) = (at as usize, at as usize + len);
                model.resize(model.len().max(to), 0);
                model[from..to].copy_from_slice(&pattern(seed, len));
            }
            Self::Resize(size) => model.resize(size as usize, 0),
        }
    }
}

/// What a writer did: the acknowledged content of each file, and the step that was under way at the end.
#[derive(Default)]
struct Written {
    models: HashMap<PathBuf, Vec<u8>>,
    under_way: Option<(PathBuf, Step)>,
}

/// Writes to four files until the mount is gone. They are opened beneath the mount's root as it is open here: by a path, a writer that comes
/// late would find the directory beneath the mount, and write there for ever.
fn write_until_killed(mnt: &Path, seed: u64) -> Written {
    let mut state = seed | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut written = Written::default();
    let Ok(directory) = File::open(mnt) else { return written };
    let root = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    loop {
        let name = format!("f{seed}-{}", random() % 4);
        let path = mnt.join(&name);
        let mut options = OpenOptions::new();
        let Ok(file) = options.read(true).write(true).create(true).truncate(false).open(root.join(name))
        else {
            return written;
        };
        let model = written.models.entry(path.clone()).or_default();
        for _ in 0..=random() % 10 {
            let step = Step::next(&mut random, model.len() as u64);
            if step.apply(&file).is_err() {
                written.under_way = Some((path, step));
                return written;
            }
            step.expect(model);
        }
    }
}

fn check(path: &Path, acknowledged: &[u8], under_way: Option<&Step>) {
    let found = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let Some(step) = under_way else {
        assert!(
            found == acknowledged,
            "{}: {} bytes, {} acknowledged",
            path.display(),
            found.len(),
            acknowledged.len()
        );
        return;
    };
    let mut after = acknowledged.to_vec();
    step.expect(&mut after);
    let sizes = acknowledged.len().min(after.len())..=acknowledged.len().max(after.len());
    assert!(sizes.contains(&found.len()), "{}: {step:?} left {} bytes", path.display(), found.len());
    for (number, chunk) in found.chunks(CHUNK).enumerate() {
        let part = |whole: &[u8]| {
            let mut part = whole.get(number * CHUNK..).unwrap_or(&[]).to_vec();
            part.resize(chunk.len(), 0);
            part
        };
        assert!(
            chunk == part(acknowledged) || chunk == part(&after),
            "{}: {step:?} left chunk {number} neither old nor new",
            path.display()
        );
    }
}

fn kill_and_check(options: &[&str], rounds: u64) {
    let fixture = Fixture::with(options);
    for round in 1..=rounds {
        let mnt = fixture.mnt();
        let outcomes: Vec<_> = thread::scope(|scope| {
            let writers: Vec<_> = (1..=3_u64)
                .map(|writer| {
                    let mnt = &mnt;
                    scope.spawn(move || write_until_killed(mnt, round * 1_000 + writer))
                })
                .collect();
            thread::sleep(Duration::from_millis(60 * round));
            fixture.kill();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        fixture.mount(options);
        for Written { models, under_way } in outcomes {
            for (path, model) in models {
                let step = under_way.as_ref().filter(|(at, _)| *at == path).map(|(_, step)| step);
                check(&path, &model, step);
            }
        }
    }
}

#[test]
fn everything_acknowledged_is_there_after_a_kill() {
    kill_and_check(&[], 6);
}

#[test]
fn everything_acknowledged_is_there_after_a_kill_in_strict_mode() {
    kill_and_check(&["durability=strict"], 3);
}

#[test]
fn files_that_a_kill_left_dirty_are_clean_after_the_next_mount() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.file("d")).unwrap();
    let file = File::create(fixture.file("d/f")).unwrap();
    file.write_all_at(&pattern(1, 20_000), 0).unwrap();
    fs::rename(fixture.file("d"), fixture.file("e")).unwrap();
    fixture.kill();
    drop(file);
    assert_eq!(fixture.inspect(&fixture.dir().join("e/f"))["state"], "dirty");
    fixture.mount(&[]);
    assert_eq!(fixture.inspect(&fixture.file("e/f"))["state"], "clean");
    let records = fixture.records("FileRecovered");
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["additionalEventData"]["path"], "e/f");
    assert!(fs::read(fixture.file("e/f")).unwrap() == pattern(1, 20_000));
}

#[test]
fn a_dirty_file_whose_key_is_disabled_waits_for_it() {
    let fixture = Fixture::new();
    let file = File::create(fixture.file("f")).unwrap();
    file.write_all_at(&pattern(1, 20_000), 0).unwrap();
    fixture.kill();
    drop(file);
    fixture.with_key("disable-key", &fixture.key);
    fixture.mount(&[]);
    assert_eq!(fixture.inspect(&fixture.file("f"))["state"], "dirty");
    assert_eq!(fixture.records("FileRecovered").len(), 0);
    fixture.with_key("enable-key", &fixture.key);
    assert!(fs::read(fixture.file("f")).unwrap() == pattern(1, 20_000));
    assert_eq!(fixture.records("FileRecovered").len(), 1, "recovered at its first open");
    assert_eq!(fixture.inspect(&fixture.file("f"))["state"], "clean");
}
