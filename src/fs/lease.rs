//! Leases: whether files of a CMK may be used now, and who is using them.
//!
//! All files of one CMK share one [`KeyLease`]. Every request on content *enters* it and stays inside until its answer
//! has been given to the kernel; a revocation closes the gate, and by closing it waits for all who are inside. So no
//! read that saw the old state puts a page into the cache after the gate is closed, and no open that was let in before
//! inserts its data key after the revocation looked for it.
//!
//! ```text
//!            key lost                  drained
//!   Live ---------------> Draining ---------------> Revoked
//!     ^                       |                        |
//!     +------ key usable -----+------ key usable ------+
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{ArcRwLockReadGuard, Mutex, RawRwLock, RwLock};

use super::inode::Inode;
use crate::datakey::{KeyArn, Usability};

/// Where a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// Data keys are given and used.
    Live,
    /// The CMK was lost; what the kernel still holds in dirty pages is taken in, nothing else.
    Draining(Usability),
    /// The CMK was lost and no data key is in memory.
    Revoked(Usability),
}

/// What happens to a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEvent {
    /// The CMK stopped being usable.
    KeyLost(Usability),
    /// All pages are gone, files are committed, data keys are wiped.
    Drained,
    /// The CMK is usable (again).
    KeyUsable,
}

/// What a request wants of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads, attributes asked for with a handle, and opens.
    Read,
    /// Writes by a program's own call, changes of size, allocation.
    Write,
    /// Writes of pages that the kernel holds (`FUSE_WRITE_CACHE`).
    WriteBack,
    /// Syncing and committing what was already accepted.
    Settle,
}

impl LeaseState {
    /// The state after `event`; the same state where the event changes nothing.
    pub fn after(self, event: LeaseEvent) -> Self {
        match (self, event) {
            (Self::Live, LeaseEvent::KeyLost(usability)) => Self::Draining(usability),
            (Self::Live, LeaseEvent::Drained) => Self::Live,
            (Self::Live, LeaseEvent::KeyUsable) => Self::Live,
            // A second loss (disabled, then scheduled for deletion) changes the reason only.
            (Self::Draining(_), LeaseEvent::KeyLost(usability)) => Self::Draining(usability),
            (Self::Draining(usability), LeaseEvent::Drained) => Self::Revoked(usability),
            (Self::Draining(_), LeaseEvent::KeyUsable) => Self::Live,
            (Self::Revoked(_), LeaseEvent::KeyLost(usability)) => Self::Revoked(usability),
            (Self::Revoked(usability), LeaseEvent::Drained) => Self::Revoked(usability),
            (Self::Revoked(_), LeaseEvent::KeyUsable) => Self::Live,
        }
    }

    /// Whether a request may enter; otherwise why not.
    pub fn admits(self, access: Access) -> Result<(), Usability> {
        match (self, access) {
            (Self::Live, Access::Read | Access::Write | Access::WriteBack | Access::Settle) => Ok(()),
            (Self::Draining(_), Access::WriteBack | Access::Settle) => Ok(()),
            (Self::Draining(usability), Access::Read | Access::Write) => Err(usability),
            // Everything accepted was committed before: there is nothing left to settle.
            (Self::Revoked(_), Access::Settle) => Ok(()),
            (Self::Revoked(usability), Access::Read | Access::Write | Access::WriteBack) => Err(usability),
        }
    }
}

/// The right to be at work on content of one CMK. A revocation waits until all of them are dropped.
#[derive(Debug)]
pub struct Inside {
    _guard: ArcRwLockReadGuard<RawRwLock, LeaseState>,
    is_live: bool,
}

impl Inside {
    /// Whether the CMK was usable, and no revocation had begun, when it was given.
    pub fn is_live(&self) -> bool {
        self.is_live
    }
}

/// The lease of all files of one CMK in this mount.
#[derive(Debug)]
pub struct KeyLease {
    key: KeyArn,
    gate: Arc<RwLock<LeaseState>>,
    /// Why the gate is being closed, from before those inside are waited for: nobody else enters meanwhile, or waits to.
    closing: RwLock<Option<Usability>>,
    /// Every inode whose content was opened under this CMK and which the kernel has not forgotten: its pages may be
    /// in the cache although no handle is open.
    inodes: Mutex<HashMap<u64, Arc<Inode>>>,
    /// One revocation or revival at a time.
    turn: Mutex<()>,
    /// Whether somebody waits to be alone, and holds `door` meanwhile.
    is_awaited: AtomicBool,
    door: RwLock<()>,
}

/// How long who enters waits for somebody who wants to be alone: those who are inside leave meanwhile.
const POLITENESS: Duration = Duration::from_millis(100);

impl KeyLease {
    fn new(key: KeyArn) -> Self {
        Self {
            key,
            gate: Arc::new(RwLock::new(LeaseState::Live)),
            closing: RwLock::default(),
            inodes: Mutex::default(),
            turn: Mutex::new(()),
            is_awaited: AtomicBool::new(false),
            door: RwLock::new(()),
        }
    }

    /// The CMK.
    pub fn key(&self) -> &KeyArn {
        &self.key
    }

    /// Enters for `access`.
    ///
    /// # Errors
    /// Why the CMK's files cannot be used.
    pub fn enter(&self, access: Access) -> Result<Inside, Usability> {
        let unless_closing = || match self.closing() {
            Some(usability) => LeaseState::Draining(usability).admits(access),
            None => Ok(()),
        };
        unless_closing()?;
        if self.is_awaited.load(Ordering::Acquire) {
            // Not for long: a request that is inside already may be one that enters again.
            drop(self.door.try_read_for(POLITENESS));
        }
        // Whoever is let in does not wait behind a revocation that waits for others: it may be one of few that answer the kernel.
        let guard = self.gate.read_arc_recursive();
        guard.admits(access)?;
        // A revocation may have begun between the two looks.
        unless_closing()?;
        Ok(self.inside(guard))
    }

    /// Enters whatever the state; for answers that only depend on it (attributes). One request may look at several
    /// files of a lease, so looking does not wait behind a revocation that waits for that very request.
    pub fn look(&self) -> Inside {
        self.inside(self.gate.read_arc_recursive())
    }

    fn inside(&self, guard: ArcRwLockReadGuard<RawRwLock, LeaseState>) -> Inside {
        let is_live = matches!(*guard, LeaseState::Live) && self.closing().is_none();
        Inside { _guard: guard, is_live }
    }

    fn closing(&self) -> Option<Usability> {
        *self.closing.read()
    }

    /// Begins to close the gate: from now on requests are refused, whether or not those inside ever leave.
    pub fn close(&self, usability: Usability) {
        *self.closing.write() = Some(usability);
    }

    /// The CMK is usable (again). `None` as of [`KeyLease::shift`].
    pub fn reopen(&self, limit: Duration) -> Option<()> {
        if self.state() != LeaseState::Live {
            return self.shift(LeaseEvent::KeyUsable, limit, || ());
        }
        // A gate that was never closed, because somebody inside is stuck, opens without waiting for them.
        *self.closing.write() = None;
        Some(())
    }

    /// Applies `event` after everyone inside has left, and runs `then` while nobody can enter.
    ///
    /// `None` after `limit`: someone inside is stuck, on a backing directory that hangs. The state is then as it was, and a gate
    /// that was being closed goes on refusing.
    pub fn shift<T>(&self, event: LeaseEvent, limit: Duration, then: impl FnOnce() -> T) -> Option<T> {
        let mut state = self.gate.try_write_for(limit)?;
        *state = state.after(event);
        *self.closing.write() = None;
        Some(then())
    }

    /// Runs `work` after everyone inside has left and while nobody can enter; the state stays. `None` after `limit`, as of
    /// [`KeyLease::shift`].
    pub fn alone<T>(&self, limit: Duration, work: impl FnOnce() -> T) -> Option<T> {
        let _door = self.door.write();
        self.is_awaited.store(true, Ordering::Release);
        let state = self.gate.try_write_for(limit);
        self.is_awaited.store(false, Ordering::Release);
        let _state = state?;
        Some(work())
    }

    /// The state at this moment.
    pub fn state(&self) -> LeaseState {
        *self.gate.read_recursive()
    }

    /// Runs one revocation or revival at a time.
    pub fn in_turn<T>(&self, work: impl FnOnce() -> T) -> T {
        let _turn = self.turn.lock();
        work()
    }

    /// As [`KeyLease::in_turn`], but only if no revocation or revival is under way. For requests: a revocation waits for the
    /// kernel, and the kernel for the answers of requests, so that no request may wait for a revocation.
    pub fn in_turn_now<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let _turn = self.turn.try_lock()?;
        Some(work())
    }

    /// Remembers that content of `inode` was opened under this CMK.
    pub fn enlist(&self, inode: &Arc<Inode>) {
        self.inodes.lock().insert(inode.ino, inode.clone());
    }

    /// The kernel forgot `inode`: no page of it is left. It may have found the file again meanwhile, as another inode of
    /// the same number: that one stays.
    pub fn dismiss(&self, inode: &Arc<Inode>) {
        let mut inodes = self.inodes.lock();
        if inodes.get(&inode.ino).is_some_and(|enlisted| Arc::ptr_eq(enlisted, inode)) {
            inodes.remove(&inode.ino);
        }
    }

    /// All inodes whose pages may be cached.
    pub fn inodes(&self) -> Vec<Arc<Inode>> {
        self.inodes.lock().values().cloned().collect()
    }
}

/// All leases of a mount.
#[derive(Debug, Default)]
pub struct Leases(RwLock<HashMap<KeyArn, Arc<KeyLease>>>);

impl Leases {
    /// The lease of `key`; a new one is live, since the key service itself refuses a CMK that is not usable.
    pub fn of(&self, key: &KeyArn) -> Arc<KeyLease> {
        if let Some(lease) = self.0.read().get(key) {
            return lease.clone();
        }
        let mut leases = self.0.write();
        leases.entry(key.clone()).or_insert_with(|| Arc::new(KeyLease::new(key.clone()))).clone()
    }

    /// The lease of `key`, if any file of it was used.
    pub fn existing(&self, key: &KeyArn) -> Option<Arc<KeyLease>> {
        self.0.read().get(key).cloned()
    }

    /// All leases.
    pub fn all(&self) -> Vec<Arc<KeyLease>> {
        self.0.read().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [LeaseState; 3] = [
        LeaseState::Live,
        LeaseState::Draining(Usability::Disabled),
        LeaseState::Revoked(Usability::Disabled),
    ];

    #[test]
    fn the_state_table_is_the_documented_one() {
        let events =
            [LeaseEvent::KeyLost(Usability::PendingDeletion), LeaseEvent::Drained, LeaseEvent::KeyUsable];
        let mut table = String::from("| state | key lost | drained | key usable |\n|---|---|---|---|\n");
        for state in STATES {
            let next = events.map(|event| name(state.after(event)));
            table += &format!("| {} | {} |\n", name(state), next.join(" | "));
        }
        assert_documented(&table);
    }

    #[test]
    fn the_admission_table_is_the_documented_one() {
        let accesses = [Access::Read, Access::Write, Access::WriteBack, Access::Settle];
        let mut table =
            String::from("| state | read | write | write back | settle |\n|---|---|---|---|---|\n");
        for state in STATES {
            let row = accesses.map(|access| if state.admits(access).is_ok() { "yes" } else { "no" });
            table += &format!("| {} | {} |\n", name(state), row.join(" | "));
        }
        assert_documented(&table);
    }

    #[test]
    fn a_second_loss_changes_the_reason_and_not_the_state() {
        let lost = LeaseEvent::KeyLost(Usability::PendingDeletion);
        let revoked = LeaseState::Revoked(Usability::Disabled);
        assert_eq!(revoked.after(lost), LeaseState::Revoked(Usability::PendingDeletion));
    }

    #[test]
    fn closing_the_gate_waits_for_who_is_inside() {
        let lease = KeyLease::new(KeyArn::new("arn"));
        let inside = lease.enter(Access::Read).unwrap();
        assert!(inside.is_live());
        let (lost, limit) = (LeaseEvent::KeyLost(Usability::Disabled), Duration::from_millis(10));
        lease.close(Usability::Disabled);
        assert!(lease.shift(lost, limit, || ()).is_none());
        assert_eq!(lease.state(), LeaseState::Live);
        // Who is stuck inside does not keep the gate open for others.
        assert_eq!(lease.enter(Access::Read).unwrap_err(), Usability::Disabled);
        assert!(lease.enter(Access::WriteBack).is_ok());
        assert!(!lease.look().is_live());
        drop(inside);
        lease.shift(lost, limit, || ()).unwrap();
        assert_eq!(lease.enter(Access::Read).unwrap_err(), Usability::Disabled);
        assert!(lease.enter(Access::WriteBack).is_ok());
    }

    #[test]
    fn who_wants_to_be_alone_is_let_in_although_others_come_and_go_all_the_time() {
        let lease = KeyLease::new(KeyArn::new("arn"));
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while !ended.load(Ordering::SeqCst) {
                        let first = lease.enter(Access::Read).unwrap();
                        // As a request does that concerns two files of one CMK.
                        let second = lease.enter(Access::Write).unwrap();
                        std::thread::sleep(Duration::from_micros(50));
                        drop((first, second));
                    }
                });
            }
            for _ in 0..5 {
                let limit = Duration::from_secs(5);
                let was_alone = lease.alone(limit, || lease.gate.is_locked_exclusive());
                ended.store(was_alone != Some(true), Ordering::SeqCst);
                assert_eq!(was_alone, Some(true));
            }
            ended.store(true, Ordering::SeqCst);
        });
    }

    fn name(state: LeaseState) -> &'static str {
        match state {
            LeaseState::Live => "Live",
            LeaseState::Draining(_) => "Draining",
            LeaseState::Revoked(_) => "Revoked",
        }
    }

    fn assert_documented(table: &str) {
        let document = include_str!("../../docs/ARCHITECTURE.md");
        assert!(document.contains(table), "docs/ARCHITECTURE.md lacks this table:\n{table}");
    }
}
