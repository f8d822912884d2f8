//! What dates bring: a key is destroyed, imported material expires, a key rotates (rules DEL-3, IMP-5, ROT-2 and ROT-10).
//!
//! All of it happens in whatever process looks next, in the order of the dates, before anything else is decided on. Here is the
//! decision only; [`super::service`] records and commits it.

use super::id::{KeyId, MaterialId};
use super::key::{Imported, Key, KeyRecord, MaterialRecord, RotationKind, Tombstone};
use super::material::{BackingKey, Material, Sealer};
use super::ring::{Change, Keyring};
use super::state::{Event, Next, Origin, next};
use crate::clock::Timestamp;
use crate::datakey::KeyArn;

/// Something that the service does by itself and records (AWS CloudTrail: `AwsServiceEvent`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceEvent {
    /// A key was destroyed.
    DeleteKey(KeyArn),
    /// Imported material was destroyed at its date.
    DeleteExpiredKeyMaterial(KeyArn, MaterialId),
    /// A backing key took the place of another.
    RotateKey {
        /// The key.
        key: KeyArn,
        /// What started it.
        kind: RotationKind,
        /// Where its material comes from.
        origin: Origin,
        /// The backing key that encrypted until then.
        previous: Option<MaterialId>,
        /// The one that does now.
        current: MaterialId,
    },
    /// The key of an alias that is the service's own was made at its first use.
    CreateManagedKey(KeyArn),
    /// A replica took over what related keys share: material, or whether it rotates.
    SynchronizeMultiRegionKey(KeyArn),
}

impl ServiceEvent {
    /// Its name in the audit log.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::DeleteKey(_) => "DeleteKey",
            Self::DeleteExpiredKeyMaterial(..) => "DeleteExpiredKeyMaterial",
            Self::RotateKey { .. } => "RotateKey",
            Self::CreateManagedKey(_) => "CreateKey",
            Self::SynchronizeMultiRegionKey(_) => "SynchronizeMultiRegionKey",
        }
    }

    /// The key that it is about.
    pub const fn key(&self) -> &KeyArn {
        match self {
            Self::DeleteKey(key)
            | Self::DeleteExpiredKeyMaterial(key, _)
            | Self::CreateManagedKey(key)
            | Self::SynchronizeMultiRegionKey(key)
            | Self::RotateKey { key, .. } => key,
        }
    }

    /// Whether mounts must know: what was usable may not be any more.
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::DeleteKey(_) | Self::DeleteExpiredKeyMaterial(..) => true,
            Self::RotateKey { .. } | Self::CreateManagedKey(_) | Self::SynchronizeMultiRegionKey(_) => false,
        }
    }
}

/// What a date brought, as changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// What happened, for the audit log: first the thing itself, then what it brought to other keys.
    pub events: Vec<ServiceEvent>,
    /// What it changes, in this order.
    pub changes: Vec<Change>,
}

/// A date of a key, and what it brings. The order of the variants is the order of what falls on one date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Matter {
    /// It is destroyed.
    Deletion,
    /// Its imported material of that version expires.
    Expiry(u32),
    /// It rotates.
    Rotation,
}

/// Everything that dates up to `now` brought, in the order of those dates, each with its own.
pub fn happenings(ring: &Keyring, now: Timestamp, sealer: &Sealer) -> Vec<(Timestamp, Happening)> {
    let mut due: Vec<_> = all_matters(ring, now).collect();
    due.sort_by_key(|(date, matter, key)| (*date, *matter, key.record.id));
    // What one event left of a key is what the next one finds.
    let mut ring = ring.clone();
    due.into_iter()
        .filter_map(|(date, matter, key)| {
            let here = || ring.key(key.record.id);
            let key = match matter {
                Matter::Rotation => ring.primary(key.record.id).map(|(_, primary)| primary),
                Matter::Deletion | Matter::Expiry(_) => here(),
            }?
            .clone();
            let happening = match matter {
                Matter::Deletion => deletion(&ring, &ring.namespace().region, &key, now),
                Matter::Expiry(version) => expiry(&ring, &key, version, now),
                Matter::Rotation => due_rotation(&ring, &key, now, sealer),
            }?;
            happening.changes.iter().for_each(|change| ring.apply(change));
            Some((date, happening))
        })
        .collect()
}

/// What is left of a keyring's imported material at `now`, as changes: nothing of it is to be used that has expired, also where `now` is
/// not trusted and its bytes stay (rule T-2).
pub fn expiries(ring: &Keyring, now: Timestamp) -> Vec<Change> {
    let mut ring = ring.clone();
    let due: Vec<_> = ring.due(now).map(|(_, key)| key.record.id).collect();
    let mut changes = Vec::new();
    for id in due {
        let Some(key) = ring.key(id).cloned() else { continue };
        for material in &key.materials {
            let Some(key) = ring.key(id).cloned() else { continue };
            let expired = expiry(&ring, &key, material.version, now);
            for change in expired.into_iter().flat_map(|happening| happening.changes) {
                ring.apply(&change);
                changes.push(change);
            }
        }
    }
    changes
}

/// What waits for dates up to `now`, in their order.
pub fn waiting(ring: &Keyring, now: Timestamp) -> Vec<(Timestamp, Matter, KeyId)> {
    let due = all_matters(ring, now);
    let mut due: Vec<_> = due.map(|(date, matter, key)| (date, matter, key.record.id)).collect();
    due.sort();
    due
}

/// Whether nothing but rotations is due by `now`: what waits for them is encryption, and nobody is harmed by waiting.
pub fn only_rotations(ring: &Keyring, now: Timestamp) -> bool {
    all_matters(ring, now).all(|(_, matter, _)| match matter {
        Matter::Rotation => true,
        Matter::Deletion | Matter::Expiry(_) => false,
    })
}

/// What dates bring by `now` to the keys of `ring`; replicas are rotated with their primary, wherever that is.
fn all_matters(ring: &Keyring, now: Timestamp) -> impl Iterator<Item = (Timestamp, Matter, &Key)> {
    let elsewhere = ring.rotations_elsewhere(now).into_iter();
    let elsewhere = elsewhere.map(|(date, key)| (date, Matter::Rotation, key.as_ref()));
    ring.due(now).flat_map(move |(_, key)| matters(key, now)).chain(elsewhere)
}

/// What the dates of one key bring by `now`.
fn matters(key: &Key, now: Timestamp) -> Vec<(Timestamp, Matter, &Key)> {
    let expiries = key.materials.iter().filter_map(|material| {
        let date = material.expiry()?;
        Some((date, Matter::Expiry(material.version)))
    });
    let deletion = key.record.deletion_date.map(|date| (date, Matter::Deletion));
    let rotation = key.next_rotation().map(|date| (date, Matter::Rotation));
    let all = expiries.chain(deletion).chain(rotation).filter(|(date, _)| *date <= now);
    all.map(|(date, matter)| (date, matter, key)).collect()
}

/// The destruction of the key of that id in another region, where its date has come by `now` and nobody has asked there since: a key that
/// is to take its place must not wait for somebody who does.
pub fn overdue_elsewhere(ring: &Keyring, region: &str, id: KeyId, now: Timestamp) -> Option<Happening> {
    let key = ring.key_in(region, id)?;
    key.record.deletion_date.filter(|date| *date <= now)?;
    deletion(ring, region, key, now)
}

/// The destruction of a key of `region`.
fn deletion(ring: &Keyring, region: &str, key: &Key, now: Timestamp) -> Option<Happening> {
    if next(key.record.state, Event::DeletionDue) != Next::Destroyed {
        return None;
    }
    let arn = ring.namespace().key_arn_in(region, key.record.id);
    let (id, created) = (key.record.id, key.record.created);
    let tombstone = Tombstone { key: id, arn: arn.clone(), created, deleted: now };
    let mut changes = vec![ring.change_in(region, Change::DestroyKey(tombstone))];
    changes.extend(release_primary(ring, key, now));
    Some(Happening { events: vec![ServiceEvent::DeleteKey(arn)], changes })
}

/// With the last replica, the waiting period of a primary that is to be deleted begins (AWS KMS Developer Guide, "Deleting multi-Region
/// keys").
fn release_primary(ring: &Keyring, replica: &Key, now: Timestamp) -> Option<Change> {
    let id = replica.record.id;
    let (region, primary) = ring.primary(id)?;
    if !replica.record.is_replica() || ring.related(id).len() > 2 {
        return None;
    }
    let Next::To(state) = next(primary.record.state, Event::LastReplicaGone) else { return None };
    let deletion_date = primary.record.pending_window_days.map(|days| now.plus_days(days));
    let record = KeyRecord { state, deletion_date, pending_window_days: None, ..primary.record.clone() };
    Some(ring.change_in(region, Change::PutKey(record)))
}

fn expiry(ring: &Keyring, key: &Key, version: u32, now: Timestamp) -> Option<Happening> {
    let material = key.materials.iter().find(|material| material.version == version)?;
    material.expiry().filter(|date| *date <= now)?;
    let arn = ring.namespace().key_arn(key.record.id);
    let events = vec![ServiceEvent::DeleteExpiredKeyMaterial(arn, material.id)];
    Some(Happening { events, changes: loss(ring, key, material)? })
}

/// What the loss of imported material changes: its bytes go; material that was current once leaves a record that only the same bytes
/// fill again, and takes the key's use away (rules IMP-4 to IMP-6). `None` where the key's state says that it cannot be.
pub fn loss(ring: &Keyring, key: &Key, material: &MaterialRecord) -> Option<Vec<Change>> {
    // No date is left to come: what is imported again says when it ends.
    let imported = material.imported.clone().map(|imported| Imported { valid_to: None, ..imported });
    let emptied = MaterialRecord { sealed: None, imported, ..material.clone() };
    if material.is_pending() && key.record.is_replica() {
        return Some(vec![Change::PutMaterial(emptied)]);
    }
    if material.is_pending() {
        // Its replicas were to have it with the primary (AWS KMS API, DeleteImportedKeyMaterial).
        let remove = || Change::RemoveMaterial(key.record.id, material.id);
        let related = ring.related(key.record.id);
        return Some(related.into_keys().map(|region| ring.change_in(region, remove())).collect());
    }
    let Next::To(state) = next(key.record.state, Event::MaterialLost) else { return None };
    let record = KeyRecord { state, ..key.record.clone() };
    let mut changes = vec![Change::PutMaterial(emptied)];
    changes.extend((record != key.record).then_some(Change::PutKey(record)));
    Some(changes)
}

fn due_rotation(ring: &Keyring, key: &Key, now: Timestamp, sealer: &Sealer) -> Option<Happening> {
    key.next_rotation().filter(|date| *date <= now)?;
    rotation(ring, key.record.id, RotationKind::Automatic, now, sealer)
}

/// A backing key after the current one: the imported one that waits for that, or a fresh one. Related keys get it all at once, each in its own
/// seal. The schedule goes on from its own dates after an automatic rotation, and is not moved by another (rule ROT-6). `None` where
/// there is no key of that id.
pub fn rotation(
    ring: &Keyring,
    id: KeyId,
    kind: RotationKind,
    now: Timestamp,
    sealer: &Sealer,
) -> Option<Happening> {
    let fresh = Material::Backing(BackingKey::random());
    let (region, primary) = ring.primary(id)?;
    let schedule = primary.record.rotation.map(|schedule| schedule.after(now));
    let (mut changes, mut current) = (Vec::new(), None);
    for (region, key) in ring.related(id) {
        let material = rotated(key, (kind, now), &fresh, sealer);
        current = Some(material.id);
        changes.push(ring.change_in(region, Change::PutMaterial(material)));
        if kind == RotationKind::Automatic {
            let record = KeyRecord { rotation: schedule, ..key.record.clone() };
            changes.push(ring.change_in(region, Change::PutKey(record)));
        }
    }
    let event = ServiceEvent::RotateKey {
        key: ring.namespace().key_arn_in(region, id),
        kind,
        origin: primary.record.origin,
        previous: primary.current().map(|material| material.id),
        current: current?,
    };
    let events = [event].into_iter().chain(synchronizations(ring, id)).collect();
    Some(Happening { events, changes })
}

/// The next material of one key.
fn rotated(
    key: &Key,
    rotation: (RotationKind, Timestamp),
    fresh: &Material,
    sealer: &Sealer,
) -> MaterialRecord {
    let rotation = Some(rotation);
    match key.pending() {
        // From here on it belongs to the key for good (rule IMP-4).
        Some(pending) => {
            let imported = pending.imported.clone().map(|imported| Imported { pending: false, ..imported });
            MaterialRecord { rotation, imported, ..pending.as_ref().clone() }
        }
        None => {
            let (id, sealed) = sealer.take(key.record.id, fresh);
            let (key, version) = (key.record.id, key.next_version());
            MaterialRecord { id, key, version, rotation, sealed: Some(sealed), imported: None, uses: 0 }
        }
    }
}

/// What is recorded of the replicas of a key whose shared properties changed.
pub fn synchronizations(ring: &Keyring, id: KeyId) -> Vec<ServiceEvent> {
    let replicas = ring.related(id).into_iter().filter(|(_, key)| key.record.is_replica());
    let arn = |region: &str| ring.namespace().key_arn_in(region, id);
    replicas.map(|(region, _)| ServiceEvent::SynchronizeMultiRegionKey(arn(region))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::key::RotationSchedule;

    const DAY: i64 = 86_400_000;

    fn day(number: i64) -> Timestamp {
        Timestamp::from_millis(number * DAY)
    }

    #[test]
    fn rot_2_the_schedule_goes_on_from_its_own_dates() {
        let schedule = RotationSchedule::from(day(0), 90);
        assert_eq!(schedule.next, day(90));
        for (now, next) in [(90, 180), (91, 180), (179, 180), (180, 270), (1000, 1080)] {
            assert_eq!(schedule.after(day(now)).next, day(next), "rotated on day {now}");
        }
        // Never without a step ahead, also where it was not due.
        assert_eq!(schedule.after(day(3)).next, day(180));
    }

    #[test]
    fn a_schedule_at_the_end_of_time_does_not_overflow() {
        let schedule = RotationSchedule { period_days: 2560, next: Timestamp::from_millis(i64::MAX) };
        assert_eq!(schedule.after(Timestamp::from_millis(i64::MAX)).next.as_millis(), i64::MAX);
        let schedule = RotationSchedule { period_days: 0, next: day(1) };
        assert!(schedule.after(day(5)).next >= day(1));
    }
}
