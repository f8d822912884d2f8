//! The audit log as a file: one line a record, appended by one write.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Take};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::kms::audit::{AuditError, AuditEvent, AuditLog};

/// Its name in a home.
pub const FILE_NAME: &str = "audit.log";

/// The audit log of a home. Several processes append to it.
///
/// Each record is appended by one write, which the kernel does as a whole before it begins the next (`O_APPEND`, write(2)). A
/// write that a full disk cut short leaves a line without an end, and the next record, whoever writes it, joins it. So who
/// has written looks at the byte before its record, where that is not its own: if that is no line's end, the record is
/// written once more, on a line of its own.
#[derive(Debug)]
pub struct FileAuditLog {
    path: PathBuf,
    file: File,
    /// The length that this handle's last record left, if it ended a line. One thread appends at a time.
    end: Mutex<Option<u64>>,
}

impl FileAuditLog {
    /// Opens or makes the log.
    ///
    /// # Errors
    /// Whatever the file answers.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { path: path.to_owned(), file, end: Mutex::new(None) })
    }

    /// The log at `path` as it is now, up to its last whole line: no record is cut, whoever appends meanwhile.
    ///
    /// # Errors
    /// Whatever the file answers.
    pub fn whole_lines(path: &Path) -> io::Result<Take<File>> {
        let file = File::open(path)?;
        let mut len = file.metadata()?.len();
        // What is being written, or a full disk cut short, behind the last line says nothing yet.
        let mut last = [0];
        while len > 0 {
            file.read_exact_at(&mut last, len - 1)?;
            if last == *b"\n" {
                break;
            }
            len -= 1;
        }
        Ok(file.take(len))
    }

    fn append(&self, event: &AuditEvent<'_>) -> io::Result<()> {
        let line = event.to_line();
        {
            let mut end = self.end.lock();
            let known = end.take();
            let mut from = self.write(&line)?;
            // Once more, and again where another record was cut short in between.
            while from != 0 && known != Some(from) && !self.ends_line(from - 1)? {
                from = self.write(&line)?;
            }
            *end = Some(from + line.len() as u64);
        }
        // Others go on meanwhile: opens of files are recorded often, and changes of keys seldom.
        if event.is_read_only() { Ok(()) } else { self.file.sync_data() }
    }

    /// Appends, and answers where that began. The offset of the descriptor is where the write ended.
    fn write(&self, bytes: &[u8]) -> io::Result<u64> {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&self.file, bytes))?;
        if written < bytes.len() {
            // The disk is full in the middle of a line. What was written says nothing, and the next record will not join it.
            return Err(io::ErrorKind::StorageFull.into());
        }
        let end = rustix::fs::tell(&self.file)?;
        Ok(end.saturating_sub(written as u64))
    }

    fn ends_line(&self, last: u64) -> io::Result<bool> {
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, last)?;
        Ok(byte == [b'\n'])
    }
}

impl AuditLog for FileAuditLog {
    fn record(&self, event: &AuditEvent<'_>) -> Result<(), AuditError> {
        self.append(event).map_err(|error| AuditError(format!("{}: {error}", self.path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::kms::audit::Scene;
    use std::fs;

    fn event() -> AuditEvent<'static> {
        let scene = Scene { account: "000000000000", region: "us-east-1", now: Timestamp::from_millis(0) };
        AuditEvent::of_file(&scene, "Test", None, "v", "a", None, &[])
    }

    #[test]
    fn a_torn_last_line_is_closed_before_the_next_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        fs::write(&path, b"{\"torn\":").unwrap();
        FileAuditLog::open(&path).unwrap().record(&event()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(serde_json::from_str::<serde_json::Value>(lines[1]).is_ok());
    }

    #[test]
    fn a_line_that_another_process_tore_while_the_log_was_open_is_closed_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let log = FileAuditLog::open(&path).unwrap();
        log.record(&event()).unwrap();
        let other = OpenOptions::new().append(true).open(&path).unwrap();
        rustix::io::write(&other, b"{\"torn\":").unwrap();
        log.record(&event()).unwrap();
        log.record(&event()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let whole = text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
        assert_eq!((whole.count(), text.lines().count()), (3, 4));
    }

    #[test]
    fn a_record_is_whole_however_often_others_tear_theirs_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let log = FileAuditLog::open(&path).unwrap();
        let other = OpenOptions::new().append(true).open(&path).unwrap();
        let ended = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    rustix::io::write(&other, b"{\"torn\":").unwrap();
                    std::thread::yield_now();
                }
            });
            (0..400).for_each(|_| log.record(&event()).unwrap());
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let text = fs::read_to_string(&path).unwrap();
        let whole = text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
        assert_eq!(whole.count(), 400);
    }

    #[test]
    fn records_of_many_threads_and_handles_never_mix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let log = FileAuditLog::open(&path).unwrap();
                    (0..50).for_each(|_| log.record(&event()).unwrap());
                });
            }
        });
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 200);
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }

    #[test]
    fn what_stands_behind_the_last_whole_line_is_left_out_of_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        for (log, whole) in
            [("", ""), ("torn", ""), ("a\n", "a\n"), ("a\nb\n", "a\nb\n"), ("a\nb\ntorn", "a\nb\n")]
        {
            fs::write(&path, log).unwrap();
            let mut copy = String::new();
            FileAuditLog::whole_lines(&path).unwrap().read_to_string(&mut copy).unwrap();
            assert_eq!(copy, whole, "{log:?}");
        }
    }

    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        FileAuditLog::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
