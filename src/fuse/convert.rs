//! Conversions between fuser's types and the filesystem's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, INodeNo, Request, TimeOrNow};
use log::Level;
use parking_lot::Mutex;
use rustix::fs::{FileType, Timespec};

use crate::fs::{Attr, Caller, FsError, SetTime};

/// Logs an error as loudly as it deserves, and answers its errno.
pub fn errno(what: &str, error: &FsError) -> Errno {
    let level = error.level();
    if level > Level::Warn {
        log::log!(level, "{what}: {error}");
    } else if let Some(left_out) = LOUD.lock().admits(Instant::now()) {
        log::log!(level, "{what}: {error}");
        if left_out > 0 {
            log::warn!("{left_out} more errors were left out");
        }
    }
    Errno::from_i32(error.errno().raw_os_error())
}

/// How often what deserves to be heard is logged. A program that reads a damaged file all the time must not fill the disk that the keys
/// are on.
static LOUD: Mutex<Limit> = Mutex::new(Limit { began: None, told: 0, left_out: 0 });

/// Errors that are logged in each period at most.
const TOLD_MOST: u32 = 100;
const PERIOD: Duration = Duration::from_secs(60);

/// Counts what is told in a period.
struct Limit {
    began: Option<Instant>,
    told: u32,
    left_out: u64,
}

impl Limit {
    /// `None` where one more is not told; otherwise how many were left out in the period before.
    fn admits(&mut self, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now.duration_since(began) >= PERIOD) {
            let left_out = self.left_out;
            *self = Self { began: Some(now), told: 1, left_out: 0 };
            return Some(left_out);
        }
        if self.told < TOLD_MOST {
            self.told += 1;
            return Some(0);
        }
        self.left_out += 1;
        None
    }
}

/// Who sent a request.
pub fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), pid: request.pid() }
}

/// Attributes as fuser wants them.
pub fn file_attr(attr: &Attr) -> FileAttr {
    let stat = &attr.stat;
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        atime: system_time(stat.st_atime, stat.st_atime_nsec),
        mtime: system_time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: system_time(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind: file_type(attr.kind()),
        perm: (stat.st_mode & 0o7777) as u16,
        nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: u32::try_from(stat.st_rdev).unwrap_or(0),
        blksize: 4096,
        flags: 0,
    }
}

/// A kind of file; what the backing filesystem does not tell is shown as a regular file, until it is looked up.
pub fn file_type(kind: FileType) -> fuser::FileType {
    match kind {
        FileType::RegularFile | FileType::Unknown => fuser::FileType::RegularFile,
        FileType::Directory => fuser::FileType::Directory,
        FileType::Symlink => fuser::FileType::Symlink,
        FileType::Fifo => fuser::FileType::NamedPipe,
        FileType::Socket => fuser::FileType::Socket,
        FileType::CharacterDevice => fuser::FileType::CharDevice,
        FileType::BlockDevice => fuser::FileType::BlockDevice,
    }
}

/// A time to set. fuser subtracts the fraction of a time before 1970 that `timespec` adds: -5 s and 999,999,999 ns come
/// as 5.999999999 s before, which is undone here.
pub fn set_time(time: TimeOrNow) -> SetTime {
    let time = match time {
        TimeOrNow::Now => return SetTime::Now,
        TimeOrNow::SpecificTime(time) => time,
    };
    let (seconds, nanos) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            (0_i64.saturating_sub_unsigned(before.as_secs()), before.subsec_nanos())
        }
    };
    SetTime::At(Timespec { tv_sec: seconds, tv_nsec: i64::from(nanos) })
}

fn system_time<N: TryInto<u32>>(seconds: i64, nanos: N) -> SystemTime {
    let nanos = Duration::from_nanos(u64::from(nanos.try_into().unwrap_or(0)));
    let whole = Duration::from_secs(seconds.unsigned_abs());
    if seconds >= 0 { UNIX_EPOCH + whole + nanos } else { UNIX_EPOCH - whole + nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_errors_is_told_of_and_not_told() {
        let mut limit = Limit { began: None, told: 0, left_out: 0 };
        let start = Instant::now();
        let told = (0..10_000).filter(|_| limit.admits(start).is_some()).count();
        assert_eq!(told, TOLD_MOST as usize);
        assert_eq!(limit.admits(start + PERIOD), Some(10_000 - u64::from(TOLD_MOST)));
        assert_eq!(limit.admits(start + PERIOD), Some(0));
    }

    #[test]
    fn a_time_to_set_before_1970_is_what_fuser_was_told() {
        for (seconds, nanos) in [(-1, 0), (-1, 1), (-5, 999_999_999)] {
            let time = UNIX_EPOCH - Duration::new(i64::unsigned_abs(seconds), nanos);
            let SetTime::At(set) = set_time(TimeOrNow::SpecificTime(time)) else { panic!("a time") };
            assert_eq!((set.tv_sec, set.tv_nsec), (seconds, i64::from(nanos)));
        }
    }

    #[test]
    fn a_time_before_1970_is_shown_with_its_fraction_added() {
        assert_eq!(system_time(-5, 999_999_999), UNIX_EPOCH - Duration::new(4, 1));
        assert_eq!(system_time(-1, 0), UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(system_time(1, 2), UNIX_EPOCH + Duration::new(1, 2));
    }
}
