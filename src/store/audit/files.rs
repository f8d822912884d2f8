//! The files of the log: `audit.log`, which is appended to, and those that were full, `audit.log.000001` and so on.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use crate::sys;

/// The name of the file that is appended to.
pub const FILE_NAME: &str = "audit.log";
/// How much space is reserved at a time, beyond what is kept.
const STEP: u64 = 256 * 1024;
/// How much space is kept for changes of keys when uses of keys find none any more: some fifty records.
pub const KEPT: u64 = 64 * 1024;

/// The name of the rotated file `number`.
pub fn rotated_name(number: u64) -> String {
    format!("{FILE_NAME}.{number:06}")
}

/// The rotated files of the home in `dir`, by their numbers, the oldest first.
///
/// # Errors
/// What reading the directory answers.
pub fn rotated(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix(FILE_NAME)?.strip_prefix('.')?.parse().ok());
        if let Some(number) = number.filter(|number| name.to_str() == Some(&rotated_name(*number))) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Opens or makes a file of a home to read and write, at its end where `append` says so (mode 0600).
///
/// # Errors
/// What the file answers.
pub fn open(path: &Path, append: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).create(true).mode(0o600);
    match append {
        true => options.append(true),
        false => options.write(true).truncate(false),
    };
    sys::open_regular(&mut options, OFlags::empty(), path)
}

/// Opens a file of the log to read it.
///
/// # Errors
/// What the file answers.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    sys::open_regular(OpenOptions::new().read(true), OFlags::empty(), path).map_err(|error| {
        match error.kind() {
            // Which of the files it is, whoever reads all of them does not say.
            io::ErrorKind::InvalidInput => {
                let name = path.file_name().unwrap_or_default().display();
                io::Error::new(error.kind(), format!("{name}: {error}"))
            }
            _ => error,
        }
    })
}

/// The file that is appended to as `audit.log`, when that is number `file`. Where `begins`, no record is in it yet: a rotation that
/// was killed before it gave the full file its number is completed.
///
/// # Errors
/// What the files answer.
pub fn open_current(dir: &Path, file: u64, begins: bool) -> io::Result<File> {
    let path = dir.join(FILE_NAME);
    if begins && file > 1 {
        let full = dir.join(rotated_name(file - 1));
        if path.try_exists()? && !full.try_exists()? {
            fs::rename(&path, &full)?;
        }
    }
    open(&path, true)
}

/// Puts renamings in a directory on disk.
///
/// # Errors
/// What the directory answers.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Reserves space behind `end`, without changing the file's length; up to where it goes. A filesystem that cannot do this
/// has room as long as it takes what is written.
///
/// # Errors
/// [`io::ErrorKind::StorageFull`] and the like: there is not even the space that is kept.
pub fn reserve(file: &File, end: u64, len: u64) -> io::Result<u64> {
    for wanted in [len + KEPT + STEP, len + KEPT] {
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, end, wanted) {
            Ok(()) => return Ok(end + wanted),
            Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => (),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(u64::MAX),
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(io::ErrorKind::StorageFull.into())
}

/// Appends `bytes` by one write. Where the disk takes only a part, that is taken back, so that nothing of it stands in the file.
///
/// # Errors
/// [`io::ErrorKind::StorageFull`], what the file answers.
pub fn append(file: &File, end: u64, bytes: &[u8]) -> io::Result<()> {
    let written = rustix::io::retry_on_intr(|| rustix::io::write(file, bytes))?;
    if written == bytes.len() {
        return Ok(());
    }
    // Where the file cannot be cut (`chattr +a`), the next record closes the torn line.
    let _ = file.set_len(end);
    Err(io::ErrorKind::StorageFull.into())
}

/// Whether the byte before `end` ends a line; so does the beginning of a file.
///
/// # Errors
/// What reading answers.
pub fn ends_line(file: &File, end: u64) -> io::Result<bool> {
    let Some(last) = end.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte == [b'\n'])
}
