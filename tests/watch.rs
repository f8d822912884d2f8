//! Control sockets: who changes a key reaches every live mount, and no dead or hostile one holds it up.

use std::ffi::OsStr;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kmsfs::context::EncryptionContext;
use kmsfs::datakey::{Asker, DataKey, DataKeyError, DataKeys, Incident, KeyArn, Usability, WrappedDataKey};
use kmsfs::watch::{
    FileAsk, FileChange, FileMoved, FileRefusal, Listener, MountStatus, Peer, Poller, Reason, Revoke,
    RevokeReport, announce, mounts, sockets,
};
use parking_lot::Mutex;
use rustix::fs::inotify::{self, WatchFlags};

struct Mount {
    point: &'static str,
    told: AtomicUsize,
    takes: Duration,
    fails: bool,
}

impl Mount {
    fn new(point: &'static str) -> Self {
        Self { point, told: AtomicUsize::new(0), takes: Duration::ZERO, fails: false }
    }
}

impl Revoke for Mount {
    fn key_changed(&self, key: &KeyArn) -> Result<RevokeReport, String> {
        assert_eq!(key.as_str(), "arn:key");
        std::thread::sleep(self.takes);
        self.told.fetch_add(1, Ordering::SeqCst);
        if self.fails {
            Err("the backing directory does not answer".into())
        } else {
            Ok(RevokeReport::default())
        }
    }

    fn change_file(&self, ask: &FileAsk, who: Peer) -> Result<Option<FileMoved>, FileRefusal> {
        assert_eq!(who.pid, std::process::id());
        let refusal = |why: &str| FileRefusal { reason: Reason::Busy, why: why.into() };
        match (ask.change, ask.to.as_deref()) {
            (FileChange::Reread, None) => Ok(None),
            (FileChange::Rewrap, Some(to)) => Ok(Some(FileMoved {
                from_key: "arn:key".into(),
                from_version: 1,
                to_key: to.into(),
                to_version: 2,
                size: ask.path().as_os_str().len() as u64,
            })),
            _ => Err(refusal("it is in use")),
        }
    }

    fn status(&self) -> MountStatus {
        MountStatus {
            volume_id: "v".into(),
            dir: PathBuf::from("/dir"),
            mountpoint: PathBuf::from(self.point),
            pid: 1,
            keys: vec!["arn:key".into()],
            open_files: 2,
            ..MountStatus::default()
        }
    }
}

const LIMIT: Duration = Duration::from_secs(5);

fn key() -> KeyArn {
    KeyArn::new("arn:key")
}

#[test]
fn every_live_mount_is_told_and_waited_for() {
    let run = tempfile::tempdir().unwrap();
    let mounts: Vec<_> = ["/a", "/b", "/c"]
        .map(|point| Arc::new(Mount { takes: Duration::from_millis(300), ..Mount::new(point) }))
        .into();
    let listeners: Vec<_> =
        mounts.iter().map(|mount| Listener::bind(run.path(), mount.clone()).unwrap()).collect();
    let report = announce(run.path(), &key(), LIMIT).unwrap();
    assert_eq!((report.confirmed.len(), report.failed.len()), (3, 0));
    assert!(mounts.iter().all(|mount| mount.told.load(Ordering::SeqCst) == 1));
    drop(listeners);
    assert_eq!(std::fs::read_dir(run.path()).unwrap().count(), 0, "a listener takes its socket along");
}

#[test]
fn a_listener_ends_although_somebody_took_its_sockets_name_away() {
    let run = tempfile::tempdir().unwrap();
    let listener = Listener::bind(run.path(), Arc::new(Mount::new("/a"))).unwrap();
    run.close().unwrap();
    let (ended, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(listener);
        ended.send(()).unwrap();
    });
    wait.recv_timeout(LIMIT).expect("it ends");
}

#[test]
fn a_dead_mounts_socket_is_ignored_and_removed() {
    let run = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(run.path().join("1-0.sock")).unwrap());
    let report = announce(run.path(), &key(), LIMIT).unwrap();
    assert_eq!((report.confirmed.len(), report.failed.len()), (0, 0));
    assert_eq!(std::fs::read_dir(run.path()).unwrap().count(), 0);
}

/// A socket refuses connections from when it is bound until it listens: under its own name it would be taken for a dead mount's
/// then, and removed, and nobody would ask the mount again.
#[test]
fn a_socket_has_its_name_only_when_it_listens() {
    let run = tempfile::tempdir().unwrap();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, run.path(), WatchFlags::CREATE | WatchFlags::MOVED_TO).unwrap();
    let listener = Listener::bind(run.path(), Arc::new(Mount::new("/a"))).unwrap();
    let name = listener.path().file_name().unwrap().to_str().unwrap().to_owned();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let mut came = Vec::new();
    while let Ok(event) = events.next() {
        if event.file_name().is_some_and(|file| file.to_bytes() == name.as_bytes()) {
            came.push(event.events());
        }
    }
    assert_eq!(came, [inotify::ReadFlags::MOVED_TO]);
}

#[test]
fn a_mount_that_fails_or_is_too_slow_is_named() {
    let run = tempfile::tempdir().unwrap();
    let failing = Arc::new(Mount { fails: true, ..Mount::new("/failing") });
    let slow = Arc::new(Mount { takes: Duration::from_secs(3), ..Mount::new("/slow") });
    let _listeners =
        [Listener::bind(run.path(), failing).unwrap(), Listener::bind(run.path(), slow).unwrap()];
    let report = announce(run.path(), &key(), Duration::from_millis(500)).unwrap();
    let mut named: Vec<_> = report.failed.iter().map(|failure| failure.mount.as_str()).collect();
    named.sort_unstable();
    assert_eq!(named, ["/failing", "/slow"]);
}

#[test]
fn a_mount_that_answers_nothing_at_all_is_named() {
    let run = tempfile::tempdir().unwrap();
    let listener = Listener::bind(run.path(), Arc::new(Mount::new("/stopped"))).unwrap();
    let stopped = run.path().join("stopped.sock");
    std::fs::copy(listener.path().with_extension("mount"), stopped.with_extension("mount")).unwrap();
    drop(listener);
    // It accepts, as the kernel does for a stopped process, and never answers.
    let _socket = UnixListener::bind(&stopped).unwrap();
    let report = announce(run.path(), &key(), Duration::from_millis(300)).unwrap();
    let named: Vec<_> = report.failed.iter().map(|failure| failure.mount.as_str()).collect();
    assert_eq!(named, ["/stopped"]);
}

#[test]
fn a_mount_is_asked_to_change_a_file_whatever_its_name_and_says_what_became_of_it() {
    let run = tempfile::tempdir().unwrap();
    let listener = Listener::bind(run.path(), Arc::new(Mount::new("/a"))).unwrap();
    let mount = sockets(run.path()).unwrap().pop().unwrap();
    let name = Path::new(OsStr::from_bytes(b"d/\xff\n"));
    let moved = mount.change_file(FileAsk::new(FileChange::Rewrap, name, Some("alias/b"))).unwrap().unwrap();
    assert_eq!((moved.to_key.as_str(), moved.to_version, moved.size), ("alias/b", 2, 4));
    assert_eq!(mount.change_file(FileAsk::new(FileChange::Reread, name, None)), Ok(None));
    let refused = mount.change_file(FileAsk::new(FileChange::Reencrypt, name, None)).unwrap_err();
    assert_eq!((refused.reason, refused.why.as_str()), (Reason::Busy, "it is in use"));
    drop(listener);
    let refused = mount.change_file(FileAsk::new(FileChange::Reread, name, None)).unwrap_err();
    assert_eq!(refused.reason, Reason::Failed);
}

#[test]
fn clients_that_say_nothing_or_nonsense_hold_nobody_up() {
    let run = tempfile::tempdir().unwrap();
    let mount = Arc::new(Mount::new("/a"));
    let listener = Listener::bind(run.path(), mount).unwrap();
    let _silent: Vec<_> = (0..8).map(|_| UnixStream::connect(listener.path()).unwrap()).collect();
    let mut nonsense = UnixStream::connect(listener.path()).unwrap();
    nonsense.write_all(b"{\"version\": 99, \"ask\": 1}\n\xff").unwrap();
    let began = Instant::now();
    let report = announce(run.path(), &key(), LIMIT).unwrap();
    assert_eq!(report.confirmed.len(), 1);
    assert!(began.elapsed() < LIMIT);
    assert_eq!(mounts(run.path()).unwrap()[0].open_files, 2);
}

/// A key that is asked for its state alone.
struct Key(Mutex<Usability>);

type Given<T> = Result<T, DataKeyError>;

fn nothing<T>() -> Given<T> {
    Err(DataKeyError::NotFound("it is asked for its state alone".to_owned()))
}

impl DataKeys for Key {
    fn resolve(&self, _: &str) -> Given<KeyArn> {
        nothing()
    }

    fn last_known(&self, _: &str) -> Option<KeyArn> {
        None
    }

    fn generate(&self, _: &Asker, _: &str, _: &EncryptionContext) -> Given<(DataKey, WrappedDataKey)> {
        nothing()
    }

    fn unwrap(&self, _: &Asker, _: &WrappedDataKey, _: &EncryptionContext) -> Given<DataKey> {
        nothing()
    }

    fn reuse(&self, _: &Asker, _: &WrappedDataKey, _: &EncryptionContext) -> Given<()> {
        nothing()
    }

    fn rewrap(
        &self,
        _: &Asker,
        _: &WrappedDataKey,
        _: &EncryptionContext,
        _: Option<&str>,
    ) -> Given<WrappedDataKey> {
        nothing()
    }

    fn report(&self, _: &str, _: &str, _: Option<&KeyArn>, _: &Incident) {}

    fn keep_time(&self) -> Given<()> {
        Ok(())
    }

    fn state(&self, _: &KeyArn) -> Given<Usability> {
        Ok(*self.0.lock())
    }
}

/// A mount that could not close its gate in time when the key was lost, and by then the key is back.
struct Stuck {
    key: Arc<Key>,
    failed: AtomicUsize,
    told: AtomicUsize,
}

impl Revoke for Stuck {
    fn key_changed(&self, _: &KeyArn) -> Result<RevokeReport, String> {
        let mut state = self.key.0.lock();
        if *state == Usability::Usable {
            self.told.fetch_add(1, Ordering::SeqCst);
            return Ok(RevokeReport::default());
        }
        *state = Usability::Usable;
        self.failed.fetch_add(1, Ordering::SeqCst);
        Err("the backing directory does not answer".to_owned())
    }

    fn change_file(&self, _: &FileAsk, _: Peer) -> Result<Option<FileMoved>, FileRefusal> {
        Err(FileRefusal { reason: Reason::Busy, why: String::new() })
    }

    fn status(&self) -> MountStatus {
        MountStatus { keys: vec!["arn:key".to_owned()], ..MountStatus::default() }
    }
}

#[test]
fn a_mount_that_could_not_follow_a_loss_is_told_once_when_the_key_is_back() {
    let key = Arc::new(Key(Mutex::new(Usability::Disabled)));
    let mount = Stuck { key: key.clone(), failed: AtomicUsize::new(0), told: AtomicUsize::new(0) };
    let mount = Arc::new(mount);
    let poller = Poller::start(mount.clone(), key).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while mount.told.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < until, "its gate stays closed");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(2_500));
    drop(poller);
    assert_eq!((mount.failed.load(Ordering::SeqCst), mount.told.load(Ordering::SeqCst)), (1, 1));
}
