//! A home, a volume and a mount of its own for each test; unmounted and ended also when the test fails.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long one command, and one test's mount, may take: a mount that hangs must fail the test and not stop it.
const COMMAND_SECONDS: &str = "120";
const MOUNT_LIMIT: Duration = Duration::from_secs(300);

pub const ENOKEY: i32 = libc::ENOKEY;
pub const EKEYREVOKED: i32 = libc::EKEYREVOKED;

/// A home with a volume `dir` under the key `alias/main`, mounted on `mnt`.
pub struct Fixture {
    pub temp: TempDir,
    pub key: String,
    ended: Arc<AtomicBool>,
    daemons: Mutex<Vec<u32>>,
}

/// What a command answered.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Fixture {
    /// Mounted, with default options.
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// Mounted with options.
    pub fn with(options: &[&str]) -> Self {
        let fixture = Self::unmounted();
        fixture.mount(options);
        fixture
    }

    /// Mounted for every user.
    pub fn open_to_all() -> Self {
        let fixture = Self::with(&["allow_other"]);
        for path in [fixture.temp.path(), &fixture.mnt()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fixture
    }

    /// Mounted, with a home whose clock can be moved.
    pub fn with_simulated_clock() -> Self {
        let fixture = Self::made(&["--simulated-clock"]);
        fixture.mount(&[]);
        fixture
    }

    /// A home, a key and a volume, not mounted.
    pub fn unmounted() -> Self {
        Self::made(&[])
    }

    fn made(setup: &[&str]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let mut fixture = Self { temp, key: String::new(), ended: Arc::default(), daemons: Mutex::default() };
        let key_file = fixture.path("key-file");
        fixture.ok(&[&["setup", "--key-file", key_file.to_str().unwrap()], setup].concat());
        fixture.key = fixture.new_key("alias/main");
        let dir = fixture.dir();
        fixture.ok(&["init", dir.to_str().unwrap(), "--key", "alias/main"]);
        fs::create_dir(fixture.mnt()).unwrap();
        fixture
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// The ciphertext.
    pub fn dir(&self) -> PathBuf {
        self.path("dir")
    }

    /// The mount point.
    pub fn mnt(&self) -> PathBuf {
        self.path("mnt")
    }

    /// A path in the mount.
    pub fn file(&self, name: &str) -> PathBuf {
        self.mnt().join(name)
    }

    pub fn mount(&self, options: &[&str]) {
        let (dir, mnt) = (self.dir(), self.mnt());
        let mut arguments = vec!["mount"];
        options.iter().for_each(|option| arguments.extend(["-o", option]));
        arguments.extend([dir.to_str().unwrap(), mnt.to_str().unwrap()]);
        self.ok(&arguments);
        let (daemon, ended) = (self.daemon(), self.ended.clone());
        self.daemons.lock().unwrap().push(daemon);
        thread::spawn(move || {
            let until = Instant::now() + MOUNT_LIMIT;
            while Instant::now() < until && !ended.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(200));
            }
            if !ended.load(Ordering::SeqCst) {
                eprintln!("the mount did not end in time: its process is killed");
                kill(daemon);
            }
        });
    }

    pub fn umount(&self) {
        self.ok(&["umount", self.mnt().to_str().unwrap()]);
    }

    /// Runs `kmsfs` with this home.
    pub fn run(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new("timeout");
        command.args(["-k", "5", COMMAND_SECONDS, env!("CARGO_BIN_EXE_kmsfs")]).args(arguments);
        said(command.env("KMSFS_HOME", self.path("home")).env("TZ", "UTC"))
    }

    /// As [`Fixture::run`]; it must succeed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "kmsfs {}: {}", arguments.join(" "), said.err);
        said.out
    }

    /// `kmsfs kms`, which must succeed; its answer.
    pub fn kms(&self, arguments: &[&str]) -> Value {
        let out = self.ok(&[&["kms"], arguments].concat());
        if out.is_empty() { Value::Null } else { serde_json::from_str(&out).unwrap() }
    }

    /// A new key with an alias; its id.
    pub fn new_key(&self, alias: &str) -> String {
        let id = self.kms(&["create-key"])["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
        self.kms(&["create-alias", "--alias-name", alias, "--target-key-id", &id]);
        id
    }

    /// An operation on a key that takes nothing else.
    pub fn with_key(&self, operation: &str, key: &str) -> Value {
        self.kms(&[operation, "--key-id", key])
    }

    /// What `kmsfs inspect --json` tells of a file.
    pub fn inspect(&self, path: &Path) -> Value {
        serde_json::from_str(&self.ok(&["inspect", "--json", path.to_str().unwrap()])).unwrap()
    }

    /// The records of one event in the audit log.
    pub fn records(&self, event: &str) -> Vec<Value> {
        let log = fs::read_to_string(self.path("home/audit.log")).unwrap();
        let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.filter(|record| record["eventName"] == event).collect()
    }

    /// The process that serves the mount.
    pub fn daemon(&self) -> u32 {
        let mounts: Value = serde_json::from_str(&self.ok(&["status", "--json"])).unwrap();
        mounts[0]["pid"].as_u64().unwrap() as u32
    }

    /// Ends the mount's process as a crash would, and takes the dead mount away, also from who has files of it open.
    pub fn kill(&self) {
        let daemon = self.daemon();
        kill(daemon);
        let until = Instant::now() + Duration::from_secs(20);
        while is_running(daemon) {
            assert!(Instant::now() < until, "the killed process stays");
            thread::sleep(Duration::from_millis(10));
        }
        sh(&format!("umount -l {}", self.mnt().display()));
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let mnt = self.mnt();
        if !is_mounted(&mnt) || self.run(&["umount", mnt.to_str().unwrap()]).code == 0 {
            return;
        }
        // A failed test may have left it in use, stopped or stuck.
        self.daemons.lock().unwrap().iter().filter(|pid| is_running(**pid)).for_each(|pid| kill(*pid));
        said(Command::new("umount").arg("-l").arg(&mnt));
    }
}

/// Runs a script of Python in a new directory beneath `parent`, with what `beside.py` has; its output.
#[track_caller]
pub fn python(parent: &Path, script: &str) -> String {
    let dir = parent.join("work");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let script = format!("{}\n{script}", include_str!("beside.py"));
    let mut command = Command::new("timeout");
    command.args(["-k", "5", COMMAND_SECONDS, "python3", "-c", &script]).current_dir(&dir);
    let said = said(&mut command);
    assert_eq!(said.code, 0, "in {}: {}\n{}", dir.display(), said.out, said.err);
    said.out
}

/// Runs a script on the mount and beside it, on the same filesystem as the ciphertext: both must say the same, and more than
/// nothing.
#[track_caller]
pub fn same_as_beside(fixture: &Fixture, script: &str) {
    let outside = fixture.path("outside");
    fs::create_dir(&outside).unwrap();
    let (beside, inside) = (python(&outside, script), python(&fixture.mnt(), script));
    assert!(!beside.is_empty());
    for (number, (beside, inside)) in beside.lines().zip(inside.lines()).enumerate() {
        assert_eq!(inside, beside, "line {number}: on the mount, and beside it");
    }
    assert_eq!(inside.lines().count(), beside.lines().count());
}

/// Kills a process of this test.
pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// Whether a process is there and no zombie.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Runs a command to its end.
pub fn said(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Said {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Runs a shell script, which must succeed; its output.
pub fn sh(script: &str) -> String {
    let said = said(Command::new("timeout").args([
        "-k",
        "5",
        COMMAND_SECONDS,
        "bash",
        "-euo",
        "pipefail",
        "-c",
        script,
    ]));
    assert_eq!(said.code, 0, "{script}\n{}\n{}", said.out, said.err);
    said.out
}

pub fn is_mounted(path: &Path) -> bool {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().any(|line| line.split(' ').nth(4) == path.to_str())
}

/// The errno of what failed; what succeeded fails the test.
#[track_caller]
pub fn errno<T>(outcome: io::Result<T>) -> i32 {
    match outcome {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error.raw_os_error().unwrap_or_else(|| panic!("no errno: {error}")),
    }
}

/// Bytes that are no repetition.
pub fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes: Vec<u8> = (0..len.div_ceil(8))
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    bytes.truncate(len);
    bytes
}
