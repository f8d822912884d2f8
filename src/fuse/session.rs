//! A mount from its beginning to its end.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fuser::{Config, INodeNo, MountOption, Notifier, Session, SessionACL};
use rustix::mount::UnmountFlags;
use rustix::process::{Resource, Rlimit};
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::adapter::Adapter;
use super::apart::Apart;
use super::control::Control;
use crate::datakey::{Authenticator, DataKeys};
use crate::fs::revoke::KernelCache;
use crate::fs::{Caller, Durability, Filesystem, FsError, Options};
use crate::volume::Volume;
use crate::volume::lock::WriterLock;
use crate::watch::{Listener, MountStatus, Poller};

/// How a volume is mounted.
#[derive(Debug, Clone, Default)]
pub struct MountOptions {
    /// Nothing can be changed.
    pub read_only: bool,
    /// Users other than who mounts may use it; the permission bits decide.
    pub allow_other: bool,
    /// The permission bits decide also where root alone uses it.
    pub default_permissions: bool,
    /// What reaches the disk when.
    pub durability: Durability,
    /// Event loops; `None` for a number that suits the machine.
    pub threads: Option<usize>,
    /// The mount point may hold something, which is hidden while it is mounted on.
    pub nonempty: bool,
    /// Options for the kernel alone, as `mount(8)` spells them: `nosuid`, `noatime`, `fsname=...`.
    pub kernel: Vec<String>,
}

/// Everything that a mount needs.
pub struct MountRequest {
    /// The volume.
    pub volume: Volume,
    /// An existing directory.
    pub mountpoint: PathBuf,
    /// How.
    pub options: MountOptions,
    /// Where data keys come from.
    pub keys: Arc<dyn DataKeys>,
    /// What the volume's records are authenticated with.
    pub auth: Arc<dyn Authenticator>,
    /// The directory of control sockets.
    pub run_dir: PathBuf,
}

impl fmt::Debug for MountRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountRequest").field("mountpoint", &self.mountpoint).finish_non_exhaustive()
    }
}

/// Why a volume is not mounted, or stopped being.
#[derive(Debug)]
pub enum MountError {
    /// The volume is mounted already, or its lock or records cannot be used.
    Volume(crate::volume::VolumeError),
    /// The filesystem does not start.
    Filesystem(FsError),
    /// No control socket: key changes could not reach the mount.
    Control(io::Error),
    /// The kernel or fusermount3 refuses the mount.
    Refused {
        /// Where.
        mountpoint: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The session with the kernel broke off.
    Session(io::Error),
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume(error) => write!(f, "{error}"),
            Self::Filesystem(error) => write!(f, "the filesystem does not start: {error}"),
            Self::Control(error) => write!(f, "the mount's control socket cannot be made: {error}"),
            Self::Refused { mountpoint, error } => {
                write!(f, "{} cannot be mounted on: {error}", mountpoint.display())
            }
            Self::Session(error) => write!(f, "the session with the kernel broke off: {error}"),
        }
    }
}

impl std::error::Error for MountError {}

/// Mounts a volume, calls `ready` when it can be used, and answers requests until it is unmounted (SIGTERM and SIGINT
/// unmount it). When it returns, every file is committed and no data key is in memory.
///
/// # Errors
/// As [`MountError`] says; nothing stays mounted then.
pub fn serve(request: MountRequest, ready: impl FnOnce()) -> Result<(), MountError> {
    let MountRequest { volume, mountpoint, options, keys, auth, run_dir } = request;
    let _lock = match options.read_only {
        true => None,
        false => Some(WriterLock::acquire(&volume, &mountpoint).map_err(MountError::Volume)?),
    };
    prepare_process();
    let status = MountStatus { read_only: options.read_only, ..MountStatus::of(&volume, &mountpoint) };
    let no_access_times = options.kernel.iter().rfind(|option| option.ends_with("atime"));
    let fs_options = Options {
        read_only: options.read_only,
        durability: options.durability,
        no_access_times: no_access_times.is_some_and(|option| option == "noatime"),
    };
    let fs = Filesystem::new(volume, keys.clone(), auth, fs_options).map_err(MountError::Filesystem)?;
    let fs = Arc::new(fs);
    // Listening comes before the first look at any key's state: no change falls between the two.
    let control = Arc::new(Control { fs: fs.clone(), status });
    let listener = Listener::bind(&run_dir, control.clone()).map_err(MountError::Control)?;
    fs.recover(this_process()).map_err(MountError::Filesystem)?;
    let apart = Apart::start().map_err(MountError::Session)?;
    let adapter = Adapter { fs: fs.clone(), kernel_decides: kernel_decides(&options), apart };
    let session = Session::new(adapter, &mountpoint, &configuration(&options))
        .map_err(|error| MountError::Refused { mountpoint: mountpoint.clone(), error })?;
    fs.attach(Arc::new(Kernel(session.notifier())));
    let poller = Poller::start(control, keys).map_err(MountError::Session)?;
    let ended = Arc::new(AtomicBool::new(false));
    let signals = unmount_on_signal(mountpoint, ended.clone()).map_err(MountError::Session)?;
    ready();
    let outcome = session.run();
    ended.store(true, Ordering::SeqCst);
    signals.close();
    drop(poller);
    fs.commit_all();
    drop(listener);
    outcome.map_err(MountError::Session)
}

/// The kernel's caches of this mount.
struct Kernel(Notifier);

impl KernelCache for Kernel {
    fn drop_attributes(&self, ino: u64) {
        // A negative offset leaves the pages alone (FUSE protocol, FUSE_NOTIFY_INVAL_INODE).
        self.tell(ino, self.0.inval_inode(INodeNo(ino), -1, 0));
    }

    fn drop_pages(&self, ino: u64) {
        self.tell(ino, self.0.inval_inode(INodeNo(ino), 0, 0));
    }

    fn write_back(&self, ino: u64, offset: u64, len: u64) {
        let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return };
        self.tell(ino, self.0.inval_inode(INodeNo(ino), offset, len));
    }

    fn store(&self, ino: u64, content: &[u8]) {
        if let Err(error) = self.0.store(INodeNo(ino), 0, content) {
            log::debug!("the kernel does not take the content of inode {ino}: {error}");
        }
    }
}

impl Kernel {
    fn tell(&self, ino: u64, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            log::error!("the kernel does not drop its cache of inode {ino}: {error}");
        }
    }
}

fn configuration(options: &MountOptions) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("kmsfs".to_owned()),
        // As an option of the kernel: `MountOption::Subtype` reaches fusermount3 alone, and root's mounts had no type of their own.
        MountOption::CUSTOM("subtype=kmsfs".to_owned()),
        if options.read_only { MountOption::RO } else { MountOption::RW },
    ];
    if kernel_decides(options) {
        config.mount_options.push(MountOption::DefaultPermissions);
    }
    for option in &options.kernel {
        config.mount_options.push(kernel_option(option));
    }
    if options.kernel.iter().any(|option| option.starts_with("fsname=")) {
        config.mount_options.remove(0);
    }
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.threads.unwrap_or_else(default_threads).max(MIN_THREADS));
    config.clone_fd = true;
    config
}

/// Whether the kernel asks owner, mode and access control list before it lets anyone in: the mount's process may be more than who
/// asks. Root alone is let in anyway, and what the kernel would decide on it asks for anew after each change of a directory.
fn kernel_decides(options: &MountOptions) -> bool {
    options.allow_other || options.default_permissions || !is_root_of_the_machine()
}

/// Whether this process is root, and not one whom a user namespace calls so (`user_namespaces(7)`): that one's rights end with it.
fn is_root_of_the_machine() -> bool {
    let whole = ["0", "0", "4294967295"];
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    rustix::process::geteuid().is_root() && map.split_ascii_whitespace().eq(whole)
}

/// While one loop waits for a disk, and another for a revocation's write-back, a third answers.
const MIN_THREADS: usize = 2;

fn default_threads() -> usize {
    thread::available_parallelism().map_or(MIN_THREADS, |cores| (cores.get() + 1).clamp(3, 16))
}

fn kernel_option(option: &str) -> MountOption {
    match option {
        "dev" => MountOption::Dev,
        "nodev" => MountOption::NoDev,
        "suid" => MountOption::Suid,
        "nosuid" => MountOption::NoSuid,
        "exec" => MountOption::Exec,
        "noexec" => MountOption::NoExec,
        "atime" => MountOption::Atime,
        "noatime" => MountOption::NoAtime,
        "sync" => MountOption::Sync,
        "async" => MountOption::Async,
        "dirsync" => MountOption::DirSync,
        other => match other.strip_prefix("fsname=") {
            Some(name) => MountOption::FSName(name.to_owned()),
            None => MountOption::CUSTOM(other.to_owned()),
        },
    }
}

/// The mask of new files' modes is the caller's, not this process's; every open file needs a descriptor; a thread that
/// panics takes the process along; and how large a file may be is a matter of who writes it.
fn prepare_process() {
    die_of_panics();
    write_large_files();
    rustix::process::umask(rustix::fs::Mode::empty());
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let most = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    if rustix::process::setrlimit(Resource::Nofile, most).is_err() {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
            log::warn!("the limit of open files stays at {:?}: {error}", limit.current);
        }
    }
}

/// The request that an event loop panicked at is never answered: who waits for it could not even be killed, and nor could
/// a revocation that waits for its thread. The kernel ends all that with the process, which loses nothing that was
/// acknowledged. It is killed rather than aborted: no handler, no core.
fn die_of_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }));
}

/// The kernel has asked the limit of who writes; this process's own, a shell's `ulimit -f`, is none of theirs. Where it cannot be
/// lifted, a write beyond it fails (EFBIG), and does not end the mount.
fn write_large_files() {
    let limit = rustix::process::getrlimit(Resource::Fsize);
    let lifted = Rlimit { current: None, maximum: None };
    if rustix::process::setrlimit(Resource::Fsize, lifted).is_err() {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let _ = rustix::process::setrlimit(Resource::Fsize, raised);
    }
    if let Err(error) = signal_hook::flag::register(SIGXFSZ, Arc::default()) {
        log::warn!("a file beyond the limit of {:?} bytes would end the mount: {error}", limit.maximum);
    }
}

/// Descriptors that a privileged mount asks for: the kernel's own limit (`fs.nr_open`) by default.
const DESCRIPTORS: u64 = 1 << 20;

fn this_process() -> Caller {
    Caller {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        pid: std::process::id(),
    }
}

/// Unmounts on SIGTERM and SIGINT. While the mount is busy it is detached: who still uses it can finish, and the
/// process ends with the last of them.
fn unmount_on_signal(
    mountpoint: PathBuf,
    ended: Arc<AtomicBool>,
) -> io::Result<signal_hook::iterator::Handle> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let handle = signals.handle();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _signal in signals.forever() {
            if ended.load(Ordering::SeqCst) {
                return;
            }
            for lazy in [false, true] {
                match unmount(&mountpoint, lazy) {
                    Ok(()) => break,
                    Err(error) => log::warn!("{} is not unmounted: {error}", mountpoint.display()),
                }
            }
        }
    })?;
    Ok(handle)
}

/// Unmounts, by the system call where that is permitted, else by fusermount3.
fn unmount(mountpoint: &Path, lazy: bool) -> io::Result<()> {
    let flags = if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match rustix::mount::unmount(mountpoint, flags) {
        Err(rustix::io::Errno::PERM) => (),
        answer => return Ok(answer?),
    }
    let mut command = Command::new("fusermount3");
    command.arg("-u").arg("-q").args(lazy.then_some("-z")).arg("--").arg(mountpoint);
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("fusermount3: {status}"))) }
}
