//! The list of files that may be dirty: what a mount after a kill has to recover.
//!
//! A file is listed before its header turns dirty and leaves the list after it is clean. The list is a log of
//! records (`record`), each appended by one write; what a kill cut off at its end is left out when it is read. It says where to look and
//! nothing more: the file's own header decides.

mod record;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use self::record::{CLEAN, ID_LEN, LISTED, read_log, record};
use super::{RESERVED, Volume, VolumeError};
use crate::envelope::FileId;

pub use self::record::replay;

const NAME: &str = "dirty";
/// The list that is about to take its place.
const NEW: &str = "dirty.new";
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// A log of this many bytes is written anew, or cut to nothing when no file is listed.
const COMPACT_AT: u64 = 256 * 1024;
/// Bytes of records that wait at most.
const WAITING_MAX: usize = 4096;

/// The list of a volume; one process writes it, the one that holds the volume's lock.
#[derive(Debug)]
pub struct DirtyList {
    /// The directory that it lies in, wherever that is by now.
    dir: OwnedFd,
    /// For people.
    path: PathBuf,
    log: Mutex<Log>,
}

#[derive(Debug)]
struct Log {
    /// `None` until something is listed: a mount that only reads writes nothing.
    file: Option<File>,
    bytes: u64,
    /// When the log was last compacted it had this many bytes.
    floor: u64,
    listed: HashMap<[u8; ID_LEN], PathBuf>,
    /// Records that files are clean, to be written with the next one that lists a file, or in the end: until then those files
    /// would be looked at once more after a kill, which does no harm.
    waiting: Vec<u8>,
}

impl DirtyList {
    /// Reads the list of `volume`.
    ///
    /// # Errors
    /// [`VolumeError::Io`].
    pub fn open(volume: &Volume) -> Result<Self, VolumeError> {
        let path = volume.reserved().join(NAME);
        let dir = rustix::fs::openat(volume.dir(), RESERVED, DIRECTORY, Mode::empty());
        let dir = dir.map_err(|errno| VolumeError::Io(path.clone(), errno.into()))?;
        let listed = match open_log(&dir).and_then(|log| log.map_or(Ok(HashMap::new()), read_log)) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => HashMap::new(),
            Err(error) => return Err(VolumeError::Io(path, error)),
        };
        let log = Log { file: None, bytes: 0, floor: 0, listed, waiting: Vec::new() };
        Ok(Self { dir, path, log: Mutex::new(log) })
    }

    /// Lists a file under its path within the volume, before its first change.
    ///
    /// # Errors
    /// [`VolumeError::Io`]; the file must not be changed then.
    pub fn insert(&self, file_id: &FileId, path: &OsStr) -> Result<(), VolumeError> {
        self.change(|log| {
            let listed = log.append(&record(LISTED, file_id, path));
            listed.map(|()| log.listed.insert(file_id.0, PathBuf::from(path)))
        })
    }

    /// A listed file is found under another path now.
    ///
    /// # Errors
    /// [`VolumeError::Io`].
    pub fn rename(&self, file_id: &FileId, path: &OsStr) -> Result<(), VolumeError> {
        self.change(|log| match log.listed.get_mut(&file_id.0) {
            Some(listed) if listed.as_os_str() == path => Ok(()),
            None => Ok(()),
            Some(listed) => {
                *listed = PathBuf::from(path);
                log.append(&record(LISTED, file_id, path))
            }
        })
    }

    /// Takes a file off the list, once it is clean.
    ///
    /// # Errors
    /// [`VolumeError::Io`]; the file is then looked at once more at the next mount, which does no harm.
    pub fn remove(&self, file_id: &FileId) -> Result<(), VolumeError> {
        self.change(|log| {
            if log.listed.remove(&file_id.0).is_some() {
                log.waiting.extend_from_slice(&record(CLEAN, file_id, OsStr::new("")));
            }
            if log.waiting.len() < WAITING_MAX { Ok(()) } else { log.append(&[]) }
        })
    }

    /// Writes what waits to be written: the list of a mount that ends well is empty. Where nothing waits, the log is left as it is:
    /// it may be another's.
    ///
    /// # Errors
    /// [`VolumeError::Io`].
    pub fn finish(&self) -> Result<(), VolumeError> {
        if self.log.lock().waiting.is_empty() {
            return Ok(());
        }
        self.change(|log| log.append(&[]))
    }

    /// Whether no file is listed.
    pub fn is_empty(&self) -> bool {
        self.log.lock().listed.is_empty()
    }

    /// The listed files and where they were last.
    pub fn entries(&self) -> Vec<(FileId, PathBuf)> {
        self.log.lock().listed.iter().map(|(id, path)| (FileId(*id), path.clone())).collect()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Log) -> io::Result<T>) -> Result<(), VolumeError> {
        let mut log = self.log.lock();
        let changed = log.ready(&self.dir).and_then(|()| change(&mut log));
        let changed = changed.and_then(|_| log.compact(&self.dir));
        changed.map_err(|error| VolumeError::Io(self.path.clone(), error))
    }
}

impl Log {
    /// Opens the log for writing at the first change, written anew without what a kill cut off.
    fn ready(&mut self, dir: &OwnedFd) -> io::Result<()> {
        if self.file.is_none() { self.rewrite(dir) } else { Ok(()) }
    }

    fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let before = self.bytes;
        self.waiting.extend_from_slice(record);
        let outcome = file.write_all(&self.waiting);
        let written = std::mem::take(&mut self.waiting);
        if let Err(error) = outcome {
            // A torn record would hide all records after it.
            file.set_len(before)?;
            return Err(error);
        }
        self.bytes += written.len() as u64;
        Ok(())
    }

    fn compact(&mut self, dir: &OwnedFd) -> io::Result<()> {
        if self.bytes < COMPACT_AT + self.floor {
            return Ok(());
        }
        match &mut self.file {
            Some(file) if self.listed.is_empty() => {
                file.set_len(0)?;
                (self.bytes, self.floor) = (0, 0);
                Ok(())
            }
            _ => self.rewrite(dir),
        }
    }

    /// Writes what is listed to a new file, which then takes the log's name.
    fn rewrite(&mut self, dir: &OwnedFd) -> io::Result<()> {
        self.waiting.clear();
        let mut records = Vec::new();
        for (id, listed) in &self.listed {
            records.extend_from_slice(&record(LISTED, &FileId(*id), listed.as_os_str()));
        }
        // A new file, whatever stands at the name: who keeps the ciphertext may have put a link to another one there.
        match rustix::fs::unlinkat(dir, NEW, AtFlags::empty()) {
            Err(errno) if errno != Errno::NOENT => return Err(errno.into()),
            _ => (),
        }
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(dir, NEW, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(&records)?;
        rustix::fs::renameat(dir, NEW, dir, NAME)?;
        self.file = Some(file);
        self.bytes = records.len() as u64;
        self.floor = self.bytes;
        Ok(())
    }
}

/// Opens a log to be read. Where a link, a pipe or anything else stands in its place, which who keeps the ciphertext may have put there,
/// there is none: files that it would list are recovered at their next open. A directory is an error: nothing takes its place.
fn open_log(dir: &OwnedFd) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let log = match rustix::fs::openat(dir, NAME, flags, Mode::empty()) {
        Err(Errno::LOOP) => None,
        log => Some(File::from(log?)),
    };
    let kind = log.as_ref().map(|log| log.metadata().map(|facts| facts.file_type())).transpose()?;
    if kind.is_some_and(|kind| kind.is_dir()) {
        // Nor could the next list take its place, and nothing could be written.
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is not a regular file"));
    }
    let log = log.filter(|_| kind.is_some_and(|kind| kind.is_file()));
    if log.is_none() {
        log::warn!("the volume's list of dirty files is not a file, and left aside");
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::TestHome;
    use super::*;
    use proptest::prelude::*;
    use std::fs::{self, OpenOptions};

    fn volume() -> (tempfile::TempDir, Volume) {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume::init(&dir.path().join("v"), "alias/a", &TestHome::new()).unwrap();
        (dir, volume)
    }

    #[test]
    fn a_listed_file_is_there_after_a_kill_and_a_clean_one_is_not() {
        let (_dir, volume) = volume();
        let (one, two) = (FileId([1; 16]), FileId([2; 16]));
        let list = DirtyList::open(&volume).unwrap();
        list.insert(&one, OsStr::new("a/one")).unwrap();
        list.insert(&two, OsStr::new("two")).unwrap();
        list.rename(&one, OsStr::new("b/one")).unwrap();
        list.remove(&two).unwrap();
        assert!(list.entries().iter().all(|(id, _)| *id != two));
        list.finish().unwrap();
        let again = DirtyList::open(&volume).unwrap();
        assert_eq!(again.entries(), [(one, PathBuf::from("b/one"))]);
    }

    #[test]
    fn a_clean_file_is_written_down_with_the_next_one_that_is_listed() {
        let (_dir, volume) = volume();
        let list = DirtyList::open(&volume).unwrap();
        let names = || {
            let entries = DirtyList::open(&volume).unwrap().entries();
            entries.into_iter().map(|(id, _)| id.0[0]).collect::<std::collections::BTreeSet<_>>()
        };
        list.insert(&FileId([1; 16]), OsStr::new("one")).unwrap();
        list.remove(&FileId([1; 16])).unwrap();
        // A kill here has one file looked at that needs it no more.
        assert_eq!(names(), [1].into());
        list.insert(&FileId([2; 16]), OsStr::new("two")).unwrap();
        assert_eq!(names(), [2].into());
        // Listed again, a file stays listed whatever waited.
        list.remove(&FileId([2; 16])).unwrap();
        list.insert(&FileId([2; 16]), OsStr::new("two")).unwrap();
        assert_eq!(names(), [2].into());
    }

    #[test]
    fn who_lists_nothing_leaves_the_list_of_who_does_alone() {
        let (_dir, volume) = volume();
        let writing = DirtyList::open(&volume).unwrap();
        writing.insert(&FileId([1; 16]), OsStr::new("one")).unwrap();
        // A mount that only reads, beside the one that writes.
        DirtyList::open(&volume).unwrap().finish().unwrap();
        writing.insert(&FileId([2; 16]), OsStr::new("two")).unwrap();
        assert_eq!(DirtyList::open(&volume).unwrap().entries().len(), 2);
    }

    #[test]
    fn a_torn_last_record_hides_nothing_before_or_after_it() {
        let (_dir, volume) = volume();
        let list = DirtyList::open(&volume).unwrap();
        list.insert(&FileId([1; 16]), OsStr::new("one")).unwrap();
        drop(list);
        let path = volume.reserved().join(NAME);
        let torn = &record(LISTED, &FileId([2; 16]), OsStr::new("two"))[..20];
        OpenOptions::new().append(true).open(&path).unwrap().write_all(torn).unwrap();
        let list = DirtyList::open(&volume).unwrap();
        list.insert(&FileId([3; 16]), OsStr::new("three")).unwrap();
        let mut paths: Vec<_> =
            DirtyList::open(&volume).unwrap().entries().into_iter().map(|e| e.1).collect();
        paths.sort();
        assert_eq!(paths, [PathBuf::from("one"), PathBuf::from("three")]);
    }

    #[test]
    fn a_link_in_the_place_of_the_log_or_its_successor_is_not_followed() {
        let (dir, volume) = volume();
        let other = dir.path().join("other");
        for name in [NAME, "dirty.new"] {
            fs::write(&other, "another file").unwrap();
            std::os::unix::fs::symlink(&other, volume.reserved().join(name)).unwrap();
            let listed = DirtyList::open(&volume).and_then(|l| l.insert(&FileId([1; 16]), OsStr::new("one")));
            assert!(fs::read(&other).unwrap() == b"another file", "{name}: {listed:?}");
            let _ = fs::remove_file(volume.reserved().join(name));
        }
    }

    #[test]
    fn the_log_does_not_grow_without_bound() {
        let (_dir, volume) = volume();
        let list = DirtyList::open(&volume).unwrap();
        list.insert(&FileId([9; 16]), OsStr::new("kept")).unwrap();
        for _ in 0..20_000 {
            list.insert(&FileId([1; 16]), OsStr::new("a/path/of/some/length")).unwrap();
            list.remove(&FileId([1; 16])).unwrap();
        }
        list.finish().unwrap();
        assert!(fs::metadata(volume.reserved().join(NAME)).unwrap().len() < 2 * COMPACT_AT);
        assert_eq!(DirtyList::open(&volume).unwrap().entries().len(), 1);
    }

    #[test]
    fn what_is_no_file_or_has_no_end_in_the_place_of_the_log_holds_nobody_up() {
        let (_dir, volume) = volume();
        let path = volume.reserved().join(NAME);
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(DirtyList::open(&volume).unwrap().is_empty());
        fs::remove_file(&path).unwrap();
        let (cwd, mode) = (rustix::fs::CWD, Mode::RUSR | Mode::WUSR);
        rustix::fs::mknodat(cwd, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(DirtyList::open(&volume).unwrap().is_empty());
        fs::remove_file(&path).unwrap();
        // More than any memory holds.
        let endless = record(LISTED, &FileId([1; 16]), OsStr::new("one"));
        fs::write(&path, &endless).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 42).unwrap();
        assert_eq!(DirtyList::open(&volume).unwrap().entries().len(), 1);
    }

    #[test]
    fn a_volume_that_is_moved_keeps_its_list() {
        let (dir, volume) = volume();
        let list = DirtyList::open(&volume).unwrap();
        fs::rename(dir.path().join("v"), dir.path().join("moved")).unwrap();
        list.insert(&FileId([1; 16]), OsStr::new("one")).unwrap();
        assert!(dir.path().join("moved/.kmsfs/dirty").is_file());
    }

    #[test]
    fn a_log_is_read_the_same_whole_and_in_pieces() {
        let long = "x".repeat(60_000);
        let mut log = Vec::new();
        for number in 0..200_u8 {
            let path = if number % 3 == 0 { long.as_str() } else { "short" };
            log.extend(record(LISTED, &FileId([number; 16]), OsStr::new(path)));
            if number % 5 == 0 {
                log.extend(record(CLEAN, &FileId([number / 2; 16]), OsStr::new("")));
            }
        }
        assert_eq!(read_log(&*log).unwrap(), replay(&log));
        assert!(replay(&log).len() > 100);
    }

    proptest! {
        #[test]
        fn replaying_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = replay(&bytes);
        }
    }
}
