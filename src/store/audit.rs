//! The audit log as a file: one line a record, appended by one write.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::kms::audit::{AuditError, AuditEvent, AuditLog};

/// Its name in a home.
pub const FILE_NAME: &str = "audit.log";

/// The audit log of a home. Several processes append to it at once: each record is one write at the end.
#[derive(Debug)]
pub struct FileAuditLog {
    path: PathBuf,
    file: File,
}

impl FileAuditLog {
    /// Opens or makes the log. A last line that a kill cut off is closed, so that the next record begins a line of its own.
    ///
    /// # Errors
    /// Whatever the file answers.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let log = Self { path: path.to_owned(), file };
        log.close_torn_line()?;
        Ok(log)
    }

    fn close_torn_line(&self) -> io::Result<()> {
        rustix::fs::flock(&self.file, FlockOperation::LockExclusive)?;
        let mut file = &self.file;
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != [b'\n'] {
                file.write_all(b"\n")?;
            }
        }
        Ok(rustix::fs::flock(&self.file, FlockOperation::Unlock)?)
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&self.file, line))?;
        if written < line.len() {
            // The disk is full in the middle of a line. What was written says nothing; the next record must not join it.
            (&self.file).write_all(b"\n")?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl AuditLog for FileAuditLog {
    fn record(&self, event: &AuditEvent) -> Result<(), AuditError> {
        let outcome = self.append(&event.to_line()).and_then(|()| match event.is_read_only() {
            true => Ok(()),
            false => self.file.sync_data(),
        });
        outcome.map_err(|error| AuditError(format!("{}: {error}", self.path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::kms::audit::Scene;
    use std::fs;

    fn event() -> AuditEvent {
        let scene = Scene { account: "000000000000", region: "us-east-1", now: Timestamp::from_millis(0) };
        AuditEvent::of_service(&scene, "Test", &[])
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
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        FileAuditLog::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
