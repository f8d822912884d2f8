//! The log's lock: `flock(2)` on `audit.head`, which the kernel releases when its holder is killed.
//!
//! Who finds it taken queues for a lock on the home's directory first and gives that back when its turn has come, so that a process that
//! appends all the time does not overtake those who wait.
//!
//! A holder that is stopped (`SIGSTOP`, a debugger, a frozen container) would have everybody wait for ever, so a wait ends after [`LIMIT`]
//! with an error that names the holder. The kernel has no such limit, and asking again and again would give up one's place in the queue: a thread of
//! its own waits in the kernel instead ([`Waiting`]), and who gives up leaves it behind.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{files, head};

/// How long a turn is waited for: several thousand times what a turn lasts.
const LIMIT: Duration = Duration::from_secs(30);

/// The log's lock.
#[derive(Debug)]
pub struct Lock {
    files: Arc<Locked>,
    /// How long it is waited for.
    pub(super) limit: Duration,
}

#[derive(Debug)]
struct Locked {
    /// `audit.head`.
    head: File,
    /// The home's directory, on whose lock those wait who found the other one taken.
    queue: File,
    waiting: Mutex<Waiting>,
    answered: Condvar,
}

/// The thread that waits in the kernel, if there is one. `flock` is of the open file and not of a thread, so nobody else of this
/// process asks for the lock or gives it back meanwhile.
#[derive(Debug, Default)]
struct Waiting {
    /// Whether the thread is there.
    is_there: bool,
    /// Those who wait for its answer.
    askers: usize,
    /// Its answer, for one of them.
    answer: Option<Result<(), Errno>>,
}

impl Lock {
    /// That of the home in `dir`.
    ///
    /// # Errors
    /// What the files answer.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let (head, queue) = (files::open(&dir.join(head::FILE_NAME), false)?, File::open(dir)?);
        let (waiting, answered) = Default::default();
        Ok(Self { files: Arc::new(Locked { head, queue, waiting, answered }), limit: LIMIT })
    }

    /// The file of the head, which only who has the lock may write.
    pub fn head(&self) -> &File {
        &self.files.head
    }

    /// Waits for it, behind those who wait already where `queues`, and else only if it is taken. One thread at a time may do so, and none
    /// while another one has it. Who has waited since `asked` for its turn among the threads waits for so much less here.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] where nobody gave it back, which names the holder; what the kernel refuses.
    pub fn take(&self, queues: bool, asked: Instant) -> io::Result<()> {
        let mut waiting = self.files.waiting.lock();
        if !waiting.is_there {
            // A filesystem that locks no directories lets one overtake another.
            let is_queued = queues && try_flock(&self.files.queue).unwrap_or(true);
            if is_queued || !queues {
                let taken = try_flock(&self.files.head);
                if taken != Ok(false) {
                    self.files.leave_queue(is_queued);
                    return Ok(taken.map(drop)?);
                }
            }
            waiting.is_there = true;
            let files = self.files.clone();
            let begun = thread::Builder::new().name("audit-lock".into()).spawn(move || files.wait(is_queued));
            if begun.is_err() {
                // Better without a limit than not at all.
                waiting.is_there = false;
                return Ok(self.files.acquire(is_queued)?);
            }
        }
        waiting.askers += 1;
        let until = asked + self.limit;
        while waiting.answer.is_none() && !self.files.answered.wait_until(&mut waiting, until).timed_out() {}
        waiting.askers -= 1;
        match waiting.answer.take() {
            Some(answer) => Ok(answer?),
            None => {
                drop(waiting);
                Err(self.timed_out())
            }
        }
    }

    /// Gives it back. Where that fails, it goes with the descriptor.
    pub fn release(&self) {
        let _ = flock(&self.files.head, FlockOperation::Unlock);
    }

    /// Waits for it, until what this gives is dropped.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub fn turn(&self, asked: Instant) -> io::Result<Turn<'_>> {
        self.take(false, asked)?;
        Ok(Turn(self))
    }

    /// The error of who waited for too long: who has the lock, and what to do.
    pub(super) fn timed_out(&self) -> io::Error {
        let waited = self.limit.as_secs_f32();
        let text = match holder(&self.files.head) {
            Some(pid) if pid == std::process::id() => {
                format!("another thread of this process has had {} for {waited:.0} s", head::FILE_NAME)
            }
            Some(pid) => {
                let program = name(pid).map(|name| format!(" ({name})")).unwrap_or_default();
                let stopped = is_stopped(pid);
                let (state, step) = match stopped {
                    true => ("is stopped", format!("kill -CONT {pid} has it go on")),
                    false => ("does not give it back", format!("see what it does, or end it: kill {pid}")),
                };
                format!(
                    "process {pid}{program} has locked {} and {state}; waited {waited:.0} s: {step}",
                    head::FILE_NAME
                )
            }
            None => format!(
                "{} is locked by a process that cannot be seen from here; waited {waited:.0} s: see what else uses this home, in other containers \
                 too",
                head::FILE_NAME
            ),
        };
        io::Error::new(io::ErrorKind::TimedOut, text)
    }
}

impl Locked {
    /// Waits in the kernel. The queue's lock goes back once the other one is there.
    fn acquire(&self, is_queued: bool) -> Result<(), Errno> {
        let is_queued = is_queued || flock(&self.queue, FlockOperation::LockExclusive).is_ok();
        let taken = flock(&self.head, FlockOperation::LockExclusive);
        self.leave_queue(is_queued);
        taken
    }

    fn leave_queue(&self, is_queued: bool) {
        if is_queued {
            let _ = flock(&self.queue, FlockOperation::Unlock);
        }
    }

    /// The thread that waits: hands over what it got, or gives it back where nobody waits any more.
    fn wait(&self, is_queued: bool) {
        let taken = self.acquire(is_queued);
        let mut waiting = self.waiting.lock();
        waiting.is_there = false;
        if waiting.askers > 0 {
            waiting.answer = Some(taken);
            self.answered.notify_one();
        } else if taken.is_ok() {
            let _ = flock(&self.head, FlockOperation::Unlock);
        }
    }
}

fn flock(file: &File, operation: FlockOperation) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::fs::flock(file, operation))
}

/// Takes a lock that is free; `false` where it is not.
fn try_flock(file: &File) -> Result<bool, Errno> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The process that has a lock on `file`, as `/proc/locks` has it (proc(5)): `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`.
fn holder(file: &File) -> Option<u32> {
    let facts = file.metadata().ok()?;
    let device = (rustix::fs::major(facts.dev()), rustix::fs::minor(facts.dev()));
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let found: Vec<_> = locks.lines().filter_map(flock_in).filter(|found| found.2 == facts.ino()).collect();
    // Some filesystems name another device in stat(2) than in that list.
    let exact = found.iter().find(|found| found.1 == device);
    exact.or(found.first()).map(|found| found.0).filter(|pid| *pid > 0)
}

/// Process, device and inode in a line of `/proc/locks` of a lock that is held, and not waited for, as `->` says.
fn flock_in(line: &str) -> Option<(u32, (u32, u32), u64)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    (words.next()? == "FLOCK").then_some(())?;
    let pid = words.nth(2)?.parse().ok()?;
    let mut place = words.next()?.split(':');
    let mut number = || u32::from_str_radix(place.next()?, 16).ok();
    let device = (number()?, number()?);
    Some((pid, device, place.next()?.parse().ok()?))
}

/// The name of a process's program.
fn name(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().to_owned())
}

/// Whether a process is stopped, by a signal or a debugger.
fn is_stopped(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| state.trim_start().starts_with(['T', 't']))
}

/// The lock, until it is dropped.
#[derive(Debug)]
pub struct Turn<'l>(&'l Lock);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_held_is_told_from_one_that_is_waited_for() {
        let held = "3: FLOCK  ADVISORY  WRITE 4711 fe:0a:1234 0 EOF";
        assert_eq!(flock_in(held), Some((4711, (0xfe, 0x0a), 1234)));
        for other in [
            "3: -> FLOCK  ADVISORY  WRITE 4712 fe:0a:1234 0 EOF",
            "4: POSIX  ADVISORY  WRITE 4711 fe:0a:1234 0 EOF",
            "4: FLOCK  ADVISORY  WRITE",
            "",
        ] {
            assert_eq!(flock_in(other), None, "{other}");
        }
    }
}
