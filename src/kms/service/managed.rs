//! The key of the service's own alias, made where it is named for the first time (rule ROT-5).

use serde_json::{Map, Value};

use super::Kms;
use crate::kms::api;
use crate::kms::audit::AuditEvent;
use crate::kms::due::Happening;
use crate::kms::id::AliasName;
use crate::kms::{KmsError, Operation};

impl Kms {
    /// The first use of the service's own alias makes its key; to look at it is a use (AWS KMS: DescribeKey).
    pub(super) fn make_managed_if_used(
        &self,
        operation: Operation,
        asked: &Map<String, Value>,
    ) -> Result<(), KmsError> {
        if !operation.makes_managed_keys() {
            return Ok(());
        }
        let names =
            ["keyId", "destinationKeyId"].into_iter().filter_map(|member| asked.get(member)?.as_str());
        names.into_iter().try_for_each(|name| self.make_managed_if_named(name))
    }

    /// Makes the key of the service's own alias where it is named for the first time (rule ROT-5).
    ///
    /// # Errors
    /// `KMSInternalException`: the store or the audit log failed.
    fn make_managed(&self, alias: &AliasName) -> Result<(), KmsError> {
        let mut recorded = Vec::new();
        let outcome = self.store.update(&mut |ring| {
            if ring.alias(alias).is_some() {
                return Ok(Vec::new());
            }
            let Happening { events, changes } =
                api::managed_key(ring, alias.clone(), self.now(ring), &self.sealer);
            for event in events {
                self.record(&AuditEvent::of_service(&self.scene(ring), &event))?;
                recorded.push(event);
            }
            Ok(changes)
        });
        outcome.map(drop).or_else(|error| {
            self.record_failed(&recorded, &error)?;
            Err(error)
        })
    }

    /// [`Kms::make_managed`] where `name` is that alias, of this account and region, and a use of it makes its key.
    pub(in crate::kms) fn make_managed_if_named(&self, name: &str) -> Result<(), KmsError> {
        let Some(alias) = AliasName::managed_in(name) else { return Ok(()) };
        // Once it is there it stays, so that what was read last says enough.
        if self.last_ring().is_some_and(|ring| ring.alias(&alias).is_some()) {
            return Ok(());
        }
        let is_here = name == alias.as_str() || name == self.ring()?.namespace().alias_arn(&alias);
        if is_here { self.make_managed(&alias) } else { Ok(()) }
    }
}
