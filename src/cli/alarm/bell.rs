//! Alarms that sound in this process: one thread does what they ask for, so that no answer waits for it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::action::Job;
use super::period;
use crate::clock::Timestamp;
use crate::kms::alarm::{AlarmSink, Alert, PERIOD};

/// How many alarms wait for the thread. One that finds no room is lost, and the log says so; its record is there.
const WAITING_MAX: usize = 256;
/// How long a process that ends waits for what has sounded.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Rings for a home.
pub struct Bell {
    run_dir: PathBuf,
    state: Mutex<State>,
    left: Arc<Left>,
}

#[derive(Default)]
struct State {
    /// To the thread, once something has sounded.
    queue: Option<SyncSender<Call>>,
    /// When this process handed each alarm over last: it asks no file again before the period is over.
    last: HashMap<String, Timestamp>,
}

/// How many calls are not done yet.
#[derive(Default)]
struct Left {
    count: Mutex<usize>,
    fell: Condvar,
}

/// A job, at most once a period.
struct Call {
    id: String,
    now: Timestamp,
    period: Duration,
    job: Job,
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bell")
    }
}

impl Bell {
    /// For the home of that run directory.
    pub fn new(run_dir: &Path) -> Self {
        Self { run_dir: run_dir.to_owned(), state: Mutex::default(), left: Arc::default() }
    }

    /// The queue; the thread is started with the first alarm.
    fn queue<'a>(&self, state: &'a mut State) -> Option<&'a SyncSender<Call>> {
        if state.queue.is_none() {
            let (queue, calls) = mpsc::sync_channel(WAITING_MAX);
            let (run_dir, left) = (self.run_dir.clone(), self.left.clone());
            let builder = thread::Builder::new().name("alarms".to_owned());
            match builder.spawn(move || answer(&run_dir, &calls, &left)) {
                Ok(_) => state.queue = Some(queue),
                Err(error) => log::warn!("alarms do not sound: no thread for them: {error}"),
            }
        }
        state.queue.as_ref()
    }
}

impl AlarmSink for Bell {
    fn sound(&self, alert: &Alert<'_>) {
        let now = alert.event.scene().now;
        let (id, period) = match (alert.alarm, alert.key) {
            // One that is removed and made again is another one.
            (Some(alarm), _) => (format!("{} {}", alarm.name, alarm.created.as_millis()), alarm.period),
            // A command is refused with the same words on the same terminal.
            (None, _) if !alert.event.is_of_mount() => return,
            (None, key) => (key.map(ToString::to_string).unwrap_or_default(), PERIOD),
        };
        let mut state = self.state.lock();
        if state.last.get(&id).is_some_and(|last| !period::is_over(*last, now, period)) {
            return;
        }
        let call = Call { id: id.clone(), now, period, job: Job::of(alert) };
        let Some(queue) = self.queue(&mut state) else { return };
        *self.left.count.lock() += 1;
        match queue.try_send(call) {
            Ok(()) => drop(state.last.insert(id, now)),
            Err(error) => {
                *self.left.count.lock() -= 1;
                let (mpsc::TrySendError::Full(call) | mpsc::TrySendError::Disconnected(call)) = error;
                log::warn!("{} is lost: too many wait", name_of(&call.job));
            }
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.state.lock().queue = None;
        let end = Instant::now() + LAST_WAIT;
        let mut count = self.left.count.lock();
        while *count > 0 && !self.left.fell.wait_until(&mut count, end).timed_out() {}
    }
}

/// The thread: does what it is called for until nobody can call.
fn answer(run_dir: &Path, calls: &Receiver<Call>, left: &Left) {
    for Call { id, now, period, job } in calls {
        let is_due = period::claim(run_dir, &id, now, period).unwrap_or_else(|error| {
            log::warn!(
                "how often alarms sound is not known: {}: {error}",
                run_dir.join(period::FILE_NAME).display()
            );
            true
        });
        if is_due && let Err(why) = job.run() {
            log::warn!("{} failed: {why}", name_of(&job));
        }
        *left.count.lock() -= 1;
        left.fell.notify_all();
    }
}

fn name_of(job: &Job) -> String {
    match &job.alarm {
        Some(name) => format!("the alarm {name}"),
        None => format!("the alarm of {}", job.key),
    }
}
