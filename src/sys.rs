//! The one module that may use `unsafe`: what no well-kept crate wraps. What a process that holds keys asks of the kernel is here
//! too, so that it stands in one place.

use std::ffi::c_void;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::{Ordering, fence};

use rusqlite::{Connection, ffi};
use rustix::fs::OFlags;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Keeps this process's memory out of core dumps and away from other processes of the same user (`prctl(2)`,
/// `PR_SET_DUMPABLE`). Call it before the first key is read.
///
/// # Errors
/// What the kernel refuses; the caller decides whether to go on.
pub fn harden_process() -> io::Result<()> {
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Opens a file that must be a regular one, with `flags` beside what `options` say. What else has its name is not used, and nothing is waited
/// for: to open a pipe, or to read it, takes as long as somebody at its other end likes.
///
/// # Errors
/// What the file answers; [`io::ErrorKind::InvalidInput`] where it is no regular file.
pub fn open_regular(options: &mut OpenOptions, flags: OFlags, path: &Path) -> io::Result<File> {
    let flags = (flags | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = options.custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

/// Words in the header of a write-ahead log's index ("WAL-mode File Format", 2.1, sqlite.org).
const WAL_HEADER_WORDS: usize = 12;
/// Bytes of the index that are mapped at a time (there, 2).
const WAL_REGION: i32 = 32 * 1024;

/// What a commit to a SQLite database in WAL mode changes first and always: the header of its log's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalHeader([u32; WAL_HEADER_WORDS]);

/// Reads the header of the log's index from the memory that SQLite shares between processes: without a system call, where a
/// transaction takes several. A reader's transaction begins with the same look (`walIndexTryHdr`, wal.c): while the
/// header is the same, nothing was committed.
///
/// `None` where there is no such memory, or a commit is just under way.
#[allow(unsafe_code)]
pub fn wal_header(connection: &Connection) -> Option<WalHeader> {
    // SAFETY: the connection is open, and this thread alone uses it. SQLite answers its own file object of the database, which lives
    // as long as the connection does and whose methods are called as SQLite itself calls them: the region of the index, of the
    // size that WAL mode has, which must exist already (0: it is not made). It stays mapped while the connection is open, and
    // begins with two copies of the header. Other processes write to it, hence the volatile reads; a copy that is
    // torn differs from the other one.
    unsafe {
        let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
        let answer = (&raw mut file).cast::<c_void>();
        let main = c"main".as_ptr();
        let code =
            ffi::sqlite3_file_control(connection.handle(), main, ffi::SQLITE_FCNTL_FILE_POINTER, answer);
        if code != ffi::SQLITE_OK || file.is_null() || (*file).pMethods.is_null() {
            return None;
        }
        let methods = &*(*file).pMethods;
        let map = methods.xShmMap.filter(|_| methods.iVersion >= 2)?;
        let mut region: *mut c_void = ptr::null_mut();
        if map(file, 0, WAL_REGION, 0, &raw mut region) != ffi::SQLITE_OK || region.is_null() {
            return None;
        }
        let words = region.cast::<u32>().cast_const();
        let copy = |from: usize| std::array::from_fn(|word| ptr::read_volatile(words.add(from + word)));
        let first: [u32; WAL_HEADER_WORDS] = copy(0);
        fence(Ordering::SeqCst);
        (first == copy(WAL_HEADER_WORDS)).then_some(WalHeader(first))
    }
}

/// A value on the heap whose own bytes are overwritten when it is dropped: for keys of libraries that leave them behind. What the
/// value points to is not reached, so it must own nothing.
pub struct Wiped<T>(Box<MaybeUninit<T>>);

impl<T> Wiped<T> {
    const OWNS_NOTHING: () =
        assert!(!std::mem::needs_drop::<T>(), "what it owns would neither be wiped nor freed");

    /// Moves `value` to the heap.
    pub fn new(value: T) -> Self {
        let () = Self::OWNS_NOTHING;
        Self(Box::new(MaybeUninit::new(value)))
    }
}

impl<T> fmt::Debug for Wiped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wiped(..)")
    }
}

impl<T> Deref for Wiped<T> {
    type Target = T;

    #[allow(unsafe_code)]
    fn deref(&self) -> &T {
        // SAFETY: `new` initialised it, and it is overwritten by `drop` alone.
        unsafe { self.0.assume_init_ref() }
    }
}

impl<T> Drop for Wiped<T> {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl<T> Wiped<T> {
    #[allow(unsafe_code)]
    fn wipe(&mut self) {
        let bytes = self.0.as_mut_ptr().cast::<u8>();
        for at in 0..size_of::<T>() {
            // SAFETY: within the box, which is freed afterwards and not read as a `T` again.
            unsafe { ptr::write_volatile(bytes.add(at), 0) };
        }
        fence(Ordering::SeqCst);
    }
}

/// Bytes in a page of memory, on every machine that has at least pages of this size.
const PAGE: usize = 4096;

/// A page of memory that is all zero at first, and again in a process that `fork(2)` makes (`madvise(2)`, `MADV_WIPEONFORK`): what is
/// in it is never there twice.
pub struct WipedOnFork(NonNull<[u8; PAGE]>);

impl WipedOnFork {
    /// `None` where the kernel does not have it (before Linux 4.14).
    #[allow(unsafe_code)]
    pub fn new() -> Option<Self> {
        let (access, kind) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new map, at an address that the kernel chooses, touches no other memory.
        let map = unsafe { mm::mmap_anonymous(ptr::null_mut(), PAGE, access, kind) }.ok()?;
        let page = Self(NonNull::new(map)?.cast());
        // SAFETY: the map is this value's own, and the advice changes nothing in this process.
        unsafe { mm::madvise(map, PAGE, Advice::LinuxWipeOnFork) }.ok()?;
        Some(page)
    }

    /// The bytes.
    #[allow(unsafe_code)]
    pub fn bytes(&mut self) -> &mut [u8; PAGE] {
        // SAFETY: the map is as long as that, readable and writable, and lives as long as this value, which is borrowed alone. A byte has
        // no alignment, and no value that is not valid.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for WipedOnFork {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the map is this value's own, and nothing borrows it any more.
        let _ = unsafe { mm::munmap(self.0.as_ptr().cast(), PAGE) };
    }
}

impl fmt::Debug for WipedOnFork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WipedOnFork(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code)]
    fn what_is_wiped_on_fork_is_zero_in_the_child_and_stays_in_the_parent() {
        let mut page = WipedOnFork::new().unwrap();
        assert_eq!(*page.bytes(), [0; PAGE]);
        page.bytes().fill(0xaa);
        // SAFETY: the child calls nothing but `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let seen = page.bytes().iter().filter(|byte| **byte != 0).count();
            // SAFETY: it ends the child at once.
            unsafe { libc::_exit(i32::from(seen != 0)) }
        }
        let child = rustix::process::Pid::from_raw(child).unwrap();
        let ended = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty()).unwrap();
        assert_eq!(ended.unwrap().1.exit_status(), Some(0));
        assert_eq!(*page.bytes(), [0xaa; PAGE]);
    }

    #[test]
    fn what_is_wiped_is_zero_before_it_is_freed() {
        let mut wiped = Wiped::new([0xaa_u8; 64]);
        assert_eq!(*wiped, [0xaa; 64]);
        wiped.wipe();
        assert_eq!(*wiped, [0; 64]);
    }

    #[test]
    fn a_commit_changes_the_header_of_the_log_and_a_look_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let connection = Connection::open(dir.path().join("db")).unwrap();
            connection.execute_batch("PRAGMA journal_mode = WAL").unwrap();
            connection
        };
        let (one, other) = (open(), open());
        assert!(wal_header(&Connection::open_in_memory().unwrap()).is_none());
        one.execute_batch("CREATE TABLE t (n)").unwrap();
        let read = || other.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(read(), 0);
        let before = wal_header(&other).unwrap();
        assert_eq!(read(), 0);
        assert_eq!(wal_header(&other), Some(before));
        one.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        assert_ne!(wal_header(&other), Some(before));
        let inserted = wal_header(&other);
        one.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES (2)").unwrap();
        assert_ne!(wal_header(&other), inserted);
    }
}
