//! A filesystem that passes everything on to a directory, on the same fuser and with the same options as kmsfs: what FUSE itself
//! costs. `scripts/bench` measures against it; it is not meant for use.
//!
//! ```text
//! passthrough DIR MOUNTPOINT
//! ```

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    SessionACL, TimeOrNow, WriteFlags,
};
use parking_lot::RwLock;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat};

const TTL: Duration = Duration::from_secs(1);
const GENERATION: Generation = Generation(0);

/// A descriptor with `O_PATH` for each inode that the kernel knows.
struct Passthrough {
    inodes: RwLock<HashMap<u64, (Arc<OwnedFd>, u64)>>,
    files: RwLock<HashMap<u64, Arc<OwnedFd>>>,
    listings: RwLock<HashMap<u64, Arc<Listing>>>,
    next: AtomicU64,
}

/// The entries of an open directory.
type Listing = Vec<(CString, u64, FileType)>;
type Result<T> = std::result::Result<T, rustix::io::Errno>;

impl Passthrough {
    fn new(dir: OwnedFd) -> Self {
        let inodes = RwLock::new(HashMap::from([(INodeNo::ROOT.0, (Arc::new(dir), 1))]));
        Self { inodes, files: RwLock::default(), listings: RwLock::default(), next: AtomicU64::new(1) }
    }

    fn inode(&self, ino: INodeNo) -> Result<Arc<OwnedFd>> {
        self.inodes.read().get(&ino.0).map(|(fd, _)| fd.clone()).ok_or(rustix::io::Errno::STALE)
    }

    fn file(&self, handle: FileHandle) -> Result<Arc<OwnedFd>> {
        self.files.read().get(&handle.0).cloned().ok_or(rustix::io::Errno::BADF)
    }

    fn keep(&self, fd: OwnedFd) -> FileHandle {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.files.write().insert(number, Arc::new(fd));
        FileHandle(number)
    }

    fn lookup(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr> {
        let dir = self.inode(parent)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&*dir, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        let mut inodes = self.inodes.write();
        inodes.entry(stat.st_ino).and_modify(|known| known.1 += 1).or_insert_with(|| (Arc::new(fd), 1));
        Ok(attr(&stat))
    }

    fn open(&self, ino: INodeNo, flags: OFlags) -> Result<OwnedFd> {
        let flags = flags.difference(OFlags::NOFOLLOW | OFlags::APPEND) | OFlags::CLOEXEC;
        rustix::fs::open(path(&*self.inode(ino)?), flags, Mode::empty())
    }
}

fn path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

fn attr(stat: &Stat) -> FileAttr {
    let time = |seconds: i64, nanos: u64| UNIX_EPOCH + Duration::new(seconds.max(0) as u64, nanos as u32);
    FileAttr {
        ino: INodeNo(stat.st_ino),
        size: stat.st_size as u64,
        blocks: stat.st_blocks as u64,
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind: kind(rustix::fs::FileType::from_raw_mode(stat.st_mode)),
        perm: (stat.st_mode & 0o7777) as u16,
        nlink: stat.st_nlink as u32,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: stat.st_rdev as u32,
        blksize: 4096,
        flags: 0,
    }
}

fn kind(kind: rustix::fs::FileType) -> FileType {
    match kind {
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        rustix::fs::FileType::Fifo => FileType::NamedPipe,
        rustix::fs::FileType::Socket => FileType::Socket,
        rustix::fs::FileType::CharacterDevice => FileType::CharDevice,
        rustix::fs::FileType::BlockDevice => FileType::BlockDevice,
        rustix::fs::FileType::RegularFile | rustix::fs::FileType::Unknown => FileType::RegularFile,
    }
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_i32(errno.raw_os_error())
}

fn entry(answer: Result<FileAttr>, reply: ReplyEntry) {
    match answer {
        Ok(attr) => reply.entry(&TTL, &attr, GENERATION),
        Err(error) => reply.error(errno(error)),
    }
}

fn empty(answer: Result<()>, reply: ReplyEmpty) {
    match answer {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

fn timespec(time: Option<TimeOrNow>) -> rustix::fs::Timespec {
    let of = |tv_sec, tv_nsec| rustix::fs::Timespec { tv_sec, tv_nsec };
    match time {
        None => of(0, rustix::fs::UTIME_OMIT),
        Some(TimeOrNow::Now) => of(0, rustix::fs::UTIME_NOW),
        Some(TimeOrNow::SpecificTime(time)) => {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            of(since.as_secs() as i64, i64::from(since.subsec_nanos()))
        }
    }
}

impl fuser::Filesystem for Passthrough {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for wanted in [
            InitFlags::FUSE_AUTO_INVAL_DATA,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
        ] {
            let _ = config.add_capabilities(wanted);
        }
        let _ = config.set_max_write(256 << 10);
        if let Err(most) = config.set_max_readahead(1 << 20) {
            let _ = config.set_max_readahead(most);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(self.lookup(parent, name), reply);
    }

    fn forget(&self, _: &Request, ino: INodeNo, nlookup: u64) {
        let mut inodes = self.inodes.write();
        if let Some((_, count)) = inodes.get_mut(&ino.0) {
            *count = count.saturating_sub(nlookup);
            if *count == 0 {
                inodes.remove(&ino.0);
            }
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.inode(ino).and_then(|fd| rustix::fs::fstat(&*fd)) {
            Ok(stat) => {
                // The root has the number that the protocol gives it.
                let ino = if ino == INodeNo::ROOT { ino } else { INodeNo(stat.st_ino) };
                reply.attr(&TTL, &FileAttr { ino, ..attr(&stat) })
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = || {
            let fd = self.inode(ino)?;
            let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
            if let Some(size) = size {
                rustix::fs::ftruncate(self.open(ino, OFlags::WRONLY)?, size)?;
            }
            if uid.is_some() || gid.is_some() {
                let (uid, gid) = (uid.map(rustix::fs::Uid::from_raw), gid.map(rustix::fs::Gid::from_raw));
                rustix::fs::chownat(&*fd, c"", uid, gid, flags)?;
            }
            if let Some(mode) = mode {
                rustix::fs::chmod(path(&*fd), Mode::from_raw_mode(mode))?;
            }
            if atime.is_some() || mtime.is_some() {
                let times = rustix::fs::Timestamps {
                    last_access: timespec(atime),
                    last_modification: timespec(mtime),
                };
                rustix::fs::utimensat(&*fd, c"", &times, flags)?;
            }
            rustix::fs::fstat(&*fd)
        };
        match change() {
            Ok(stat) => reply.attr(&TTL, &FileAttr { ino, ..attr(&stat) }),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.inode(ino).and_then(|fd| rustix::fs::readlinkat(&*fd, c"", Vec::new())) {
            Ok(target) => reply.data(target.to_bytes()),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let make = || {
            rustix::fs::mkdirat(&*self.inode(parent)?, name, Mode::from_raw_mode(mode))?;
            self.lookup(parent, name)
        };
        entry(make(), reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let remove = || rustix::fs::unlinkat(&*self.inode(parent)?, name, AtFlags::empty());
        empty(remove(), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let remove = || rustix::fs::unlinkat(&*self.inode(parent)?, name, AtFlags::REMOVEDIR);
        empty(remove(), reply);
    }

    fn symlink(&self, _: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let make = || {
            rustix::fs::symlinkat(target, &*self.inode(parent)?, name)?;
            self.lookup(parent, name)
        };
        entry(make(), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let rename = || rustix::fs::renameat(&*self.inode(parent)?, name, &*self.inode(newparent)?, newname);
        empty(rename(), reply);
    }

    fn link(&self, _: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let link = || {
            let (from, dir) = (path(&*self.inode(ino)?), self.inode(newparent)?);
            rustix::fs::linkat(CWD, from, &*dir, newname, AtFlags::SYMLINK_FOLLOW)?;
            self.lookup(newparent, newname)
        };
        entry(link(), reply);
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.open(ino, OFlags::from_bits_retain(flags.0 as u32)) {
            Ok(fd) => reply.opened(self.keep(fd), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let make = || {
            let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&*self.inode(parent)?, name, flags, Mode::from_raw_mode(mode))?;
            Ok((self.lookup(parent, name)?, self.keep(fd)))
        };
        match make() {
            Ok((attr, handle)) => {
                reply.created(&TTL, &attr, GENERATION, handle, FopenFlags::FOPEN_KEEP_CACHE)
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut buffer = vec![0; size as usize];
        match self.file(handle).and_then(|fd| rustix::io::pread(&*fd, &mut buffer, offset)) {
            Ok(read) => reply.data(&buffer[..read]),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.file(handle).and_then(|fd| rustix::io::pwrite(&*fd, data, offset)) {
            Ok(written) => reply.written(written as u32),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.files.write().remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(self.file(handle).and_then(|fd| rustix::fs::fdatasync(&*fd)), reply);
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let list = || -> Result<Listing> {
            let dir = rustix::fs::Dir::new(self.open(ino, OFlags::RDONLY | OFlags::DIRECTORY)?)?;
            dir.map(|item| {
                let item = item?;
                Ok((item.file_name().to_owned(), item.ino(), kind(item.file_type())))
            })
            .collect()
        };
        match list() {
            Ok(listing) => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                self.listings.write().insert(number, Arc::new(listing));
                reply.opened(FileHandle(number), FopenFlags::empty());
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.listings.write().remove(&handle.0);
        reply.ok();
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let Some(listing) = self.listings.read().get(&handle.0).cloned() else {
            return reply.error(Errno::EBADF);
        };
        for (number, (name, ino, kind)) in listing.iter().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(*ino), number as u64 + 1, *kind, OsStr::from_bytes(name.to_bytes())) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let Some(listing) = self.listings.read().get(&handle.0).cloned() else {
            return reply.error(Errno::EBADF);
        };
        for (number, (name, ..)) in listing.iter().enumerate().skip(offset as usize) {
            let name = OsStr::from_bytes(name.to_bytes());
            let found = match name.as_bytes() {
                b"." | b".." => self.inode(ino).and_then(|fd| Ok(attr(&rustix::fs::fstat(&*fd)?))),
                _ => self.lookup(ino, name),
            };
            let Ok(attr) = found else { continue };
            if reply.add(attr.ino, number as u64 + 1, name, &TTL, &attr, GENERATION) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match self.inode(INodeNo::ROOT).and_then(|fd| rustix::fs::fstatvfs(&*fd)) {
            Ok(stat) => reply.statfs(
                stat.f_blocks,
                stat.f_bfree,
                stat.f_bavail,
                stat.f_files,
                stat.f_ffree,
                4096,
                255,
                4096,
            ),
            Err(error) => reply.error(errno(error)),
        }
    }
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(dir), Some(mountpoint)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: passthrough DIR MOUNTPOINT"));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let filesystem = Passthrough::new(rustix::fs::open(&dir, flags, Mode::empty())?);
    let mut config = fuser::Config::default();
    config.mount_options = vec![MountOption::FSName("passthrough".to_owned())];
    config.acl = SessionACL::Owner;
    config.n_threads = Some(std::thread::available_parallelism().map_or(3, |cores| cores.get() + 1).max(3));
    config.clone_fd = true;
    fuser::Session::new(filesystem, &mountpoint, &config)?.run()
}
