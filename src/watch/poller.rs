//! Looking at key states now and then, for changes that nobody announces: a date that passes. So the schedule of rotations, too, runs
//! in every mount.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Revoke;
use crate::datakey::{DataKeys, KeyArn, Usability};

/// How often the states of the keys in use are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Looks until it is dropped.
pub struct Poller {
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Poller")
    }
}

impl Poller {
    /// Starts looking at the keys that `mount` says it uses.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(mount: Arc<dyn Revoke>, keys: Arc<dyn DataKeys>) -> std::io::Result<Self> {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let until = ended.clone();
        let thread = thread::Builder::new().name("key-states".to_owned()).spawn(move || {
            let mut seen = HashMap::new();
            let (flag, wake) = &*until;
            let mut flag = flag.lock();
            while !*flag {
                look(&*mount, &*keys, &mut seen);
                wake.wait_for(&mut flag, PERIOD);
            }
        })?;
        Ok(Self { ended, thread: Some(thread) })
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        *self.ended.0.lock() = true;
        self.ended.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look(mount: &dyn Revoke, keys: &dyn DataKeys, seen: &mut HashMap<String, Option<Usability>>) {
    if let Err(error) = keys.keep_time() {
        log::warn!("what is due of the keys cannot be done: {error}");
    }
    for key in mount.status().keys {
        let arn = KeyArn::new(key.clone());
        let state = match keys.state(&arn) {
            Ok(state) => state,
            Err(error) => {
                log::warn!("the state of {key} cannot be read: {error}");
                continue;
            }
        };
        // A key is usable when its first file is opened; a change since then is acted on. What the mount could not follow leaves it
        // in no state that is known: whatever the key's is then, it is told again.
        if seen.insert(key.clone(), Some(state)).unwrap_or(Some(Usability::Usable)) != Some(state)
            && let Err(why) = mount.key_changed(&arn)
        {
            log::error!("{key} changed, and the mount could not follow: {why}");
            seen.insert(key, None);
        }
    }
}
