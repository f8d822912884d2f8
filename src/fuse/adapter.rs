//! One method a request: translate, call, reply. The reply is given before the [`Answer`] is dropped, so that a
//! revocation waits for it.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileHandle, FopenFlags, INodeNo, InitFlags, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};
use rustix::fs::{FallocateFlags, OFlags};

use super::apart::Apart;
use super::convert::{caller, errno, file_attr, file_type, set_time};
use super::reply::{GENERATION, attributes, empty, entry, sought, xattr};
use crate::fs::{Filesystem, Seek, Setattr, WriteKind, XattrMode};

/// The largest read or write of one request, in bytes: a segment's. Each event loop has a buffer of this size for requests and one for
/// answers; larger ones make nothing faster, and several loops share what the kernel reads ahead.
const REQUEST_BYTES: u32 = 256 << 10;
/// How far the kernel reads ahead, in bytes.
const READ_AHEAD_BYTES: u32 = 1 << 20;

thread_local! {
    /// Each event loop reads into a buffer of its own, which it keeps.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The filesystem as fuser wants it.
pub struct Adapter {
    /// What answers.
    pub fs: Arc<Filesystem>,
    /// What takes long, or waits for the kernel, is answered there.
    pub apart: Apart,
    /// Whether the kernel decides by owner, mode and access control list; it is mounted with `default_permissions` then.
    pub kernel_decides: bool,
}

impl fuser::Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Each by itself: a kernel that lacks one of them still gives the others. FUSE_ATOMIC_O_TRUNC is not among them: with it
        // the kernel truncates a program that is being executed, and only then finds that this is refused (ETXTBSY).
        for wanted in [
            // A buffered read asks for attributes that have run out, and is refused with them (revocation).
            InitFlags::FUSE_AUTO_INVAL_DATA,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_CACHE_SYMLINKS,
            // Without it the kernel asks for security.capability at each write.
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            // The mask of a new file's mode is left to this side, since it does not count under a default access control list.
            InitFlags::FUSE_DONT_MASK,
        ] {
            if let Err(missing) = config.add_capabilities(wanted) {
                log::info!("this kernel does not have {missing:?}");
            }
        }
        // Lists decide then, instead of being kept and ignored. The flag has the kernel decide at any rate.
        if self.kernel_decides
            && let Err(missing) = config.add_capabilities(InitFlags::FUSE_POSIX_ACL)
        {
            log::warn!("this kernel does not heed access control lists: {missing:?}");
        }
        let _ = config.set_max_write(REQUEST_BYTES);
        if let Err(most) = config.set_max_readahead(READ_AHEAD_BYTES) {
            let _ = config.set_max_readahead(most);
        }
        let _ = config.set_time_granularity(Duration::from_nanos(1));
        Ok(())
    }

    fn destroy(&mut self) {
        self.fs.commit_all();
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry("lookup", self.fs.lookup(parent.0, name), reply);
    }

    fn forget(&self, _: &Request, ino: INodeNo, nlookup: u64) {
        self.fs.forget(ino.0, nlookup);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        attributes("getattr", self.fs.getattr(ino.0, handle.map(|handle| handle.0)), reply);
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (atime, mtime) = (atime.map(set_time), mtime.map(set_time));
        let change = Setattr { mode: mode.map(|mode| mode & 0o7777), uid, gid, size, atime, mtime };
        let handle = handle.map(|handle| handle.0);
        attributes("setattr", self.fs.setattr(ino.0, handle, change, caller(request)), reply);
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.fs.readlink(ino.0) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(errno("readlink", &error)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let mode = self.fs.masked(parent.0, mode, umask);
        entry("mknod", self.fs.mknod(parent.0, name, mode, u64::from(rdev), caller(request)), reply);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let mode = self.fs.masked(parent.0, mode, umask);
        entry("mkdir", self.fs.mkdir(parent.0, name, mode, caller(request)), reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty("unlink", self.fs.unlink(parent.0, name), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty("rmdir", self.fs.rmdir(parent.0, name), reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        entry("symlink", self.fs.symlink(parent.0, name, target.as_os_str(), caller(request)), reply);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let flags = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
        let renamed = self.fs.rename(parent.0, name, newparent.0, newname, flags, caller(request));
        empty("rename", renamed, reply);
    }

    fn link(&self, _: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        entry("link", self.fs.link(ino.0, newparent.0, newname), reply);
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let flags = OFlags::from_bits_retain(flags.0 as u32);
        match self.fs.open(ino.0, flags, caller(request)) {
            Ok(answer) => reply.opened(FileHandle(answer.value), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(errno("open", &error)),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let mode = self.fs.masked(parent.0, mode, umask);
        match self.fs.create(parent.0, name, mode, caller(request)) {
            Ok((answer, handle)) => {
                let attr = &answer.value;
                let flags = FopenFlags::FOPEN_KEEP_CACHE;
                reply.created(&attr.ttl, &file_attr(attr), GENERATION, FileHandle(handle), flags);
            }
            Err(error) => reply.error(errno("create", &error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        BUFFER.with_borrow_mut(|buffer| {
            let size = size as usize;
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            match self.fs.read(handle.0, offset, &mut buffer[..size]) {
                Ok(answer) => reply.data(&buffer[..answer.value]),
                Err(error) => reply.error(errno("read", &error)),
            }
        });
    }

    fn write(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let kind = WriteKind {
            from_cache: write_flags.contains(WriteFlags::FUSE_WRITE_CACHE),
            kills_privileges: write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID),
        };
        match self.fs.write(handle.0, offset, data, kind) {
            Ok(_answer) => reply.written(u32::try_from(data.len()).expect("a request is below 4 GiB")),
            Err(error) => reply.error(errno("write", &error)),
        }
    }

    fn access(&self, _: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        // Only asked where the kernel does not decide, and so for root.
        empty("access", self.fs.root_access(ino.0, mask.contains(AccessFlags::X_OK)), reply);
    }

    fn flush(&self, _: &Request, _ino: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        // Every acknowledged write is in the ciphertext already, and the kernel writes dirty pages of maps back before it asks:
        // told once that there is nothing to do, it asks no more, which saves a request for each close(2).
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        if self.fs.release_waits(handle.0) {
            let fs = self.fs.clone();
            return self.apart.run(move || empty("release", fs.release(handle.0), reply));
        }
        empty("release", self.fs.release(handle.0), reply);
    }

    fn fsync(&self, _: &Request, _ino: INodeNo, handle: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let fs = self.fs.clone();
        self.apart.run(move || empty("fsync", fs.fsync(handle.0, datasync), reply));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.fs.opendir(ino.0) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(error) => reply.error(errno("opendir", &error)),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let read = self.fs.readdir(handle.0, offset, |entry| {
            !reply.add(INodeNo(entry.ino), entry.next, file_type(entry.kind), entry.name())
        });
        match read {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno("readdir", &error)),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let here = self.fs.getattr(ino.0, None);
        let mut held = Vec::new();
        let read = self.fs.readdirplus(handle.0, offset, |entry, answer| {
            let (attr, ttl) = match (&answer, &here) {
                (Some(answer), _) => (file_attr(&answer.value), answer.value.ttl),
                // `.` and `..`: the kernel takes nothing from them but their kind and number.
                (None, Ok(here)) => (file_attr(&here.value), Duration::ZERO),
                (None, Err(_)) => return true,
            };
            let full = reply.add(INodeNo(entry.ino), entry.next, entry.name(), &ttl, &attr, GENERATION);
            held.extend(answer);
            !full
        });
        match read {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno("readdirplus", &error)),
        }
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        empty("releasedir", self.fs.releasedir(handle.0), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let fs = self.fs.clone();
        self.apart.run(move || empty("fsyncdir", fs.fsyncdir(ino.0), reply));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match self.fs.statfs() {
            Ok(stat) => reply.statfs(
                stat.f_blocks,
                stat.f_bfree,
                stat.f_bavail,
                stat.f_files,
                stat.f_ffree,
                u32::try_from(stat.f_bsize).unwrap_or(4096),
                u32::try_from(stat.f_namemax).unwrap_or(255),
                u32::try_from(stat.f_frsize).unwrap_or(4096),
            ),
            Err(error) => reply.error(errno("statfs", &error)),
        }
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let mode = XattrMode::from_bits_retain(flags as u32);
        empty("setxattr", self.fs.setxattr(ino.0, name, value, mode, caller(request)), reply);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        xattr("getxattr", self.fs.getxattr(ino.0, name), size, reply);
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        xattr("listxattr", self.fs.listxattr(ino.0, caller(request)), size, reply);
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty("removexattr", self.fs.removexattr(ino.0, name, caller(request)), reply);
    }

    fn fallocate(
        &self,
        request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mode = FallocateFlags::from_bits_retain(mode as u32);
        empty("fallocate", self.fs.fallocate(handle.0, offset, length, mode, caller(request)), reply);
    }

    fn ioctl(
        &self,
        _: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        // What a plain file answers to a terminal's questions.
        reply.error(Errno::ENOTTY);
    }

    fn lseek(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let to = match whence {
            libc::SEEK_DATA => Seek::Data,
            libc::SEEK_HOLE => Seek::Hole,
            _ => return reply.error(Errno::EINVAL),
        };
        let Ok(offset) = u64::try_from(offset) else { return reply.error(Errno::ENXIO) };
        let found = self.fs.seek(handle.0, offset, to);
        if to == Seek::Data && self.fs.may_be_unwritten(handle.0, offset, &found) {
            let fs = self.fs.clone();
            return self.apart.run(move || sought(fs.seek_written_back(handle.0, offset), reply));
        }
        sought(found, reply);
    }
}
