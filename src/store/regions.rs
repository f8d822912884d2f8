//! The key services of a home's regions.
//!
//! Each region that a client asks in has keys, aliases and ARNs of its own, and a [`Kms`] over its part of the store. The clock, the audit
//! log, alarms, credentials and what unlocks it all are the home's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::HomeError;
use super::root::RootKey;
use super::sqlite::{RegionStore, SqliteStore};
use crate::clock::{Clock, Timestamp};
use crate::kms::alarm::AlarmSink;
use crate::kms::audit::AuditLog;
use crate::kms::clock::{ClockError, Done, Move, Moved};
use crate::kms::files::OtherRegions;
use crate::kms::id::is_region;
use crate::kms::ring::{KeyStore, StoreFailure};
use crate::kms::{Caller, Cause, Kms, KmsError, StateObserver};

/// How many services are kept ready beside the home's own. A client may ask in any region that a name can be thought of for.
const KEPT: usize = 64;

/// What makes key services.
pub struct Regions {
    own: (String, Arc<Kms>),
    store: Arc<SqliteStore>,
    root: RootKey,
    clock: Arc<dyn Clock>,
    audit: Arc<dyn AuditLog>,
    others: Mutex<BTreeMap<String, Arc<Kms>>>,
    hooks: RwLock<Hooks>,
}

/// Who is told of what happens in any region.
#[derive(Default)]
struct Hooks {
    observer: Option<Arc<dyn StateObserver>>,
    alarms: Option<Arc<dyn AlarmSink>>,
}

impl Hooks {
    fn give(&self, kms: &Kms) {
        if let Some(observer) = &self.observer {
            kms.set_observer(observer.clone());
        }
        if let Some(alarms) = &self.alarms {
            kms.set_alarms(alarms.clone());
        }
    }
}

impl Regions {
    /// Those of a home whose own region is `region`.
    pub fn new(
        region: &str,
        store: Arc<SqliteStore>,
        root: RootKey,
        clock: Arc<dyn Clock>,
        audit: Arc<dyn AuditLog>,
    ) -> Self {
        let own: Arc<dyn KeyStore> = store.clone();
        let own = Arc::new(Kms::new(own, root.sealer(), clock.clone(), audit.clone()));
        let (others, hooks) = Default::default();
        Self { own: (region.to_owned(), own), store, root, clock, audit, others, hooks }
    }

    /// The service of the home's own region.
    pub const fn own(&self) -> &Arc<Kms> {
        &self.own.1
    }

    /// The service of a region.
    ///
    /// # Errors
    /// [`HomeError::InvalidSetting`] for what cannot be a region's name.
    pub fn of(&self, region: &str) -> Result<Arc<Kms>, HomeError> {
        if region == self.own.0 {
            return Ok(self.own.1.clone());
        }
        if !is_region(region) {
            let expected = "a region's name such as us-east-1";
            return Err(HomeError::InvalidSetting { name: "region", found: region.to_owned(), expected });
        }
        let mut others = self.others.lock();
        if let Some(kms) = others.get(region) {
            return Ok(kms.clone());
        }
        let store = Arc::new(RegionStore::new(self.store.clone(), region));
        let kms = Arc::new(Kms::new(store, self.root.sealer(), self.clock.clone(), self.audit.clone()));
        self.hooks.read().give(&kms);
        if others.len() < KEPT {
            others.insert(region.to_owned(), kms.clone());
        }
        Ok(kms)
    }

    /// The regions in which there is something, and the home's own, which is the first.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub fn names(&self) -> Result<Vec<String>, StoreFailure> {
        let others = self.store.other_regions()?;
        Ok([self.own.0.clone()].into_iter().chain(others).collect())
    }

    /// Has `observer` told of changes of keys' usability.
    pub fn set_observer(&self, observer: Arc<dyn StateObserver>) {
        self.hooks.write().observer = Some(observer);
        self.give_hooks();
    }

    /// Has `sink` do what alarms ask for.
    pub fn set_alarms(&self, sink: Arc<dyn AlarmSink>) {
        self.hooks.write().alarms = Some(sink);
        self.give_hooks();
    }

    fn give_hooks(&self) {
        let (others, hooks) = (self.others.lock(), self.hooks.read());
        others.values().chain([&self.own.1]).for_each(|kms| hooks.give(kms));
    }
}

impl Regions {
    /// Moves a simulated clock ahead, and does what falls due on the way: in every region, in the order of time (rule T-1). Where another region
    /// has dates on the way, the clock stops at each of them, since what falls due there may begin something here.
    ///
    /// # Errors
    /// [`ClockError`]. Nothing is changed then, unless a region failed at a stop: the clock is there then.
    pub fn move_clock(&self, caller: &Caller, to: Move) -> Result<Moved, ClockError> {
        let target = self.own().clock_after(to)?;
        let mut so_far: Option<Moved> = None;
        loop {
            let now = self.own().clock_after(Move::By(Duration::ZERO))?;
            let stop = self.next_stop(now)?.filter(|stop| *stop < target);
            let step = match (stop, to) {
                (Some(stop), _) => Move::By(stop.since(now)),
                (None, Move::By(_)) if so_far.is_some() => Move::By(target.since(now)),
                (None, _) => to,
            };
            let mut moved = self.own().move_clock(caller, step)?;
            moved.done.extend(self.do_what_is_due_elsewhere()?);
            let whole = match so_far {
                None => moved,
                Some(before) => Moved {
                    from: before.from,
                    to: moved.to,
                    done: [before.done, moved.done].concat(),
                    unconfirmed: [before.unconfirmed, moved.unconfirmed].concat(),
                },
            };
            if stop.is_none() {
                return Ok(whole);
            }
            so_far = Some(whole);
        }
    }

    /// Believes what the machine's clock shows, and does what waited for that in every region. `None` where there is nothing to believe.
    ///
    /// # Errors
    /// [`ClockError`].
    pub fn accept_clock(&self, caller: &Caller) -> Result<Option<Moved>, ClockError> {
        let Some(mut moved) = self.own().accept_clock(caller)? else { return Ok(None) };
        moved.done.extend(self.do_what_is_due_elsewhere()?);
        Ok(Some(moved))
    }

    fn others(&self) -> Result<Vec<Arc<Kms>>, KmsError> {
        let failed = |why: String| KmsError::failed(Cause::Store, why);
        let names = self.store.other_regions().map_err(|error| failed(error.to_string()))?;
        names.iter().map(|region| self.of(region).map_err(|error| failed(error.to_string()))).collect()
    }

    /// The next date of a key in another region than the home's own, after `now`.
    fn next_stop(&self, now: Timestamp) -> Result<Option<Timestamp>, KmsError> {
        let dates = self.others()?.into_iter().map(|kms| kms.next_due()).collect::<Result<Vec<_>, _>>()?;
        Ok(dates.into_iter().flatten().filter(|date| *date > now).min())
    }

    fn do_what_is_due_elsewhere(&self) -> Result<Vec<Done>, KmsError> {
        let done =
            self.others()?.into_iter().map(|kms| kms.do_what_is_due()).collect::<Result<Vec<_>, _>>()?;
        Ok(done.concat())
    }
}

impl OtherRegions for Regions {
    fn keep_time(&self) {
        let settle = |region: &String| match self.of(region).map(|kms| kms.current_ring()) {
            Ok(Ok(_)) => (),
            Ok(Err(error)) => log::warn!("what is due in {region} is not done: {error}"),
            Err(error) => log::warn!("what is due in {region} is not done: {error}"),
        };
        match self.store.other_regions() {
            Ok(regions) => regions.iter().for_each(settle),
            Err(error) => log::warn!("what is due in other regions is not done: {error}"),
        }
    }
}
