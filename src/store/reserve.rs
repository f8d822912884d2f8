//! Space that is kept on the disk for taking keys away.
//!
//! On a disk that is full, SQLite can append nothing to its log, and cannot even read where nobody else has the database open: the index of the log
//! is a file as well. Revocation must bite then, too: a disk may be full because of whoever is to lose the key. So the home holds a file of
//! [`LEN`] bytes with nothing in it. Where a change that takes something away ([`Change::revokes`](crate::kms::ring::Change::revokes))
//! or the opening of the store finds no room, the file gives back a piece at a time, and the same is tried again; it is made whole again as soon as
//! there is room.
//!
//! A program that fills the disk at that very moment may be faster; there are [`PIECES`] attempts. Space behind the database's own files
//! would be safe from that, but SQLite removes and truncates them as it likes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, OFlags};
use rustix::io::Errno;

use super::{HomeError, database};
use crate::sys;

/// The file's name in a home.
pub const FILE_NAME: &str = "reserve";
/// What is given back at a time: several times what a change of a key writes, and the index of a log.
const PIECE: u64 = 128 * 1024;
/// What is taken at a time at least.
const BLOCK: u64 = 4096;
/// How many pieces there are.
const PIECES: u64 = 4;
/// What must be left on the disk where it is made at first: it is not to be what fills a small one. Made whole again it is to the last block.
const LEFT: u64 = 1024 * 1024;
/// Bytes of the whole.
pub const LEN: u64 = PIECE * PIECES;

/// The reserve of a home.
#[derive(Debug)]
pub struct Reserve(PathBuf);

/// The reserve while it is drawn on; nobody fills it again meanwhile.
#[derive(Debug)]
pub struct Drawn<'r> {
    file: Option<File>,
    reserve: &'r Reserve,
}

impl Reserve {
    /// That of the home in `dir`.
    pub fn of(dir: &Path) -> Self {
        Self(dir.join(FILE_NAME))
    }

    /// Makes it whole, as far as there is room. Nothing depends on it while there is.
    pub fn fill(&self) {
        if std::fs::symlink_metadata(&self.0)
            .is_ok_and(|facts| facts.len() == LEN && facts.blocks() * 512 >= LEN)
        {
            return;
        }
        if !self.0.exists() && !database::has_room(&self.0, LEN + LEFT) {
            log::debug!("{}: there is no room for a reserve", self.0.display());
            return;
        }
        if let Err(error) = self.try_fill() {
            log::debug!("{}: no space is kept for revocations: {error}", self.0.display());
        }
    }

    fn try_fill(&self) -> io::Result<()> {
        let file = self.open(OpenOptions::new().create(true).truncate(false).mode(0o600))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let (mut end, mut step) = (0, PIECE);
        while end < LEN {
            match allocate(&file, end, step.min(LEN - end)) {
                Ok(()) => end += step,
                // To the last block: what is left over here would be for everybody.
                Err(_) if step > BLOCK => step /= 2,
                Err(error) => {
                    file.set_len(end)?;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Opens its file to write. It is cut and grown without a look at what is in it, so whatever else has the name is left alone: where a link
    /// leads, and a pipe, which would be waited for.
    fn open(&self, options: &mut OpenOptions) -> io::Result<File> {
        sys::open_regular(options.write(true), OFlags::NOFOLLOW, &self.0)
    }

    /// Draws on it, until what this gives is dropped.
    pub fn draw(&self) -> Drawn<'_> {
        let file = self.open(&mut OpenOptions::new()).ok();
        if let Some(file) = &file {
            // Who has it for a moment fills it. Without the lock, too, giving back is right.
            let _ = rustix::io::retry_on_intr(|| rustix::fs::flock(file, FlockOperation::LockExclusive));
        }
        Drawn { file, reserve: self }
    }

    /// Draws on it and gives so many pieces back to the disk; `None` where there are not so many.
    pub fn draw_pieces(&self, pieces: u64) -> Option<Drawn<'_>> {
        let drawn = self.draw();
        (0..pieces).all(|_| drawn.give_back()).then_some(drawn)
    }

    /// Opens the database by `work`, and again with a piece more for as long as there is no room for it. On a disk that is full, the first
    /// piece is given back before: where blocks are small, SQLite maps an index that has holes, and is killed by the kernel
    /// (`SIGBUS`) when there is none for them.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn help<T>(&self, mut work: impl FnMut() -> Result<T, HomeError>) -> Result<T, HomeError> {
        let mut early = None;
        if database::is_full(&self.0) {
            let drawn = early.insert(self.draw());
            drawn.give_back();
        }
        let first = work();
        if !first.as_ref().is_err_and(is_full) {
            return first;
        }
        let drawn = early.unwrap_or_else(|| self.draw());
        let mut outcome = first;
        while outcome.as_ref().is_err_and(is_full) && drawn.give_back() {
            outcome = work();
        }
        outcome
    }
}

impl Drawn<'_> {
    /// Gives a piece back to the disk; `false` where there is none left.
    pub fn give_back(&self) -> bool {
        let Some(file) = &self.file else { return false };
        let len = file.metadata().map_or(0, |facts| facts.len());
        len > 0 && file.set_len(len.saturating_sub(PIECE)).is_ok()
    }
}

impl Drop for Drawn<'_> {
    fn drop(&mut self) {
        self.file = None;
        self.reserve.fill();
    }
}

/// Gives `file` space for `len` bytes from `begin`; a part of that is given back where there is not enough.
fn allocate(file: &File, begin: u64, len: u64) -> io::Result<()> {
    let allocated = match rustix::fs::fallocate(file, FallocateFlags::empty(), begin, len) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) if file.metadata()?.len() < begin + len => {
            let zeros = vec![0; usize::try_from(len).unwrap_or_default()];
            file.write_all_at(&zeros, begin)
        }
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
        Err(errno) => Err(errno.into()),
    };
    allocated.or_else(|error| file.set_len(begin).and(Err(error)))
}

/// Whether the disk had no room.
pub fn is_full(error: &HomeError) -> bool {
    matches!(error, HomeError::Io(_, error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> HomeError {
        HomeError::Io(PathBuf::new(), io::ErrorKind::StorageFull.into())
    }

    #[test]
    fn it_gives_back_a_piece_for_each_attempt_and_is_made_whole_again() {
        let temp = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(temp.path());
        let space = || std::fs::metadata(temp.path().join(FILE_NAME)).unwrap().blocks() * 512;
        reserve.fill();
        assert_eq!(space(), LEN);
        let mut seen = Vec::new();
        let helped = reserve.help(|| {
            seen.push(space());
            // Another process that opens the home does not take back what was given.
            Reserve::of(temp.path()).fill();
            if seen.len() < 3 { Err(full()) } else { Ok(()) }
        });
        helped.unwrap();
        assert_eq!(seen, [LEN, LEN - PIECE, LEN - 2 * PIECE]);
        assert_eq!(space(), LEN);
        let mut attempts = 0;
        let helped: Result<(), _> = reserve.help(|| {
            attempts += 1;
            Err(full())
        });
        assert!(is_full(&helped.unwrap_err()));
        assert_eq!((attempts, space()), (PIECES + 1, LEN));
    }

    #[test]
    fn what_is_no_file_of_the_home_is_neither_cut_nor_grown_nor_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let (path, other) = (temp.path().join(FILE_NAME), temp.path().join("other"));
        std::fs::write(&other, "precious").unwrap();
        let pipe =
            || rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0);
        let makes: [&dyn Fn() -> io::Result<()>; 2] =
            [&|| std::os::unix::fs::symlink(&other, &path), &|| Ok(pipe()?)];
        for make in makes {
            make().unwrap();
            let reserve = Reserve::of(temp.path());
            reserve.fill();
            let mut attempts = 0;
            let helped: Result<(), _> = reserve.help(|| {
                attempts += 1;
                Err(full())
            });
            assert!(is_full(&helped.unwrap_err()));
            assert_eq!(attempts, 1, "there was nothing to give back");
            assert_eq!(std::fs::read(&other).unwrap(), b"precious");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn another_error_draws_on_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let (reserve, mut attempts) = (Reserve::of(temp.path()), 0);
        reserve.fill();
        let refused: Result<(), _> = reserve.help(|| {
            attempts += 1;
            Err(HomeError::Busy(PathBuf::new()))
        });
        assert!(refused.is_err() && attempts == 1);
    }
}
