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

#[cfg(test)]
mod tests {
    use super::super::{FileAsk, FileMoved, FileRefusal, MountStatus, Peer, Reason, RevokeReport};
    use super::*;
    use crate::context::EncryptionContext;
    use crate::datakey::{Asker, DataKey, DataKeyError, Incident, WrappedDataKey};

    /// A key of one state, and a mount that cannot follow at first.
    struct Key(Mutex<Usability>);
    struct Mount {
        failures: Mutex<u32>,
        told: Mutex<u32>,
    }

    type Answer<T> = Result<T, DataKeyError>;

    fn nothing<T>() -> Answer<T> {
        Err(DataKeyError::NotFound("nothing is asked of it but a state".to_owned()))
    }

    impl DataKeys for Key {
        fn resolve(&self, _: &str) -> Answer<KeyArn> {
            nothing()
        }
        fn last_known(&self, _: &str) -> Option<KeyArn> {
            None
        }
        fn generate(&self, _: &Asker, _: &str, _: &EncryptionContext) -> Answer<(DataKey, WrappedDataKey)> {
            nothing()
        }
        fn unwrap(&self, _: &Asker, _: &WrappedDataKey, _: &EncryptionContext) -> Answer<DataKey> {
            nothing()
        }
        fn reuse(&self, _: &Asker, _: &WrappedDataKey, _: &EncryptionContext) -> Answer<()> {
            nothing()
        }
        fn rewrap(
            &self,
            _: &Asker,
            _: &WrappedDataKey,
            _: &EncryptionContext,
            _: Option<&str>,
        ) -> Answer<WrappedDataKey> {
            nothing()
        }
        fn report(&self, _: &str, _: &str, _: Option<&KeyArn>, _: &Incident) {}
        fn keep_time(&self) -> Answer<()> {
            Ok(())
        }
        fn state(&self, _: &KeyArn) -> Answer<Usability> {
            Ok(*self.0.lock())
        }
    }

    impl Revoke for Mount {
        fn key_changed(&self, _: &KeyArn) -> Result<RevokeReport, String> {
            let mut failures = self.failures.lock();
            if *failures > 0 {
                *failures -= 1;
                return Err("the backing directory does not answer".to_owned());
            }
            *self.told.lock() += 1;
            Ok(RevokeReport::default())
        }
        fn change_file(&self, _: &FileAsk, _: Peer) -> Result<Option<FileMoved>, FileRefusal> {
            Err(FileRefusal { reason: Reason::Busy, why: String::new() })
        }
        fn status(&self) -> MountStatus {
            MountStatus { keys: vec!["arn:key".to_owned()], ..MountStatus::default() }
        }
    }

    #[test]
    fn a_mount_that_could_not_follow_a_loss_is_told_when_the_key_is_back() {
        let key = Key(Mutex::new(Usability::Disabled));
        let mount = Mount { failures: Mutex::new(1), told: Mutex::new(0) };
        let mut seen = HashMap::new();
        look(&mount, &key, &mut seen);
        *key.0.lock() = Usability::Usable;
        // Its gate is closed still, and nobody else tells it to open.
        look(&mount, &key, &mut seen);
        assert_eq!(*mount.told.lock(), 1);
        look(&mount, &key, &mut seen);
        assert_eq!(*mount.told.lock(), 1, "once");
    }
}
