//! The operations: for each one a request that is parsed once, and a handler.
//!
//! A handler is a pure decision: it reads one keyring and answers with output and changes. It neither writes nor
//! records; the service does both, in the order that the rules ask for.

mod aliases;
pub(super) mod crypto;
mod datakeys;
mod grants;
mod import;
mod keys;
mod life;
mod macs;
mod metadata;
mod multi_region;
mod opening;
mod parameters;
mod policies;
mod rotation;
pub(super) mod sealing;
mod signing;
mod tags;
mod usage;

pub(super) use keys::managed_key;

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::access::{self, Act};
use super::audit::AuditLog;
use super::clock_guard::Times;
use super::error::Cause;
use super::fields::Fields;
use super::id::{KeyId, MaterialId};
use super::key::{Key, KeyManager};
use super::material::Sealer;
use super::reference::{self, Form};
use super::ring::{Change, Keyring};
use super::spec::{self, KeyKind};
use super::state::{Permit, permit};
use super::{AwsError, Caller, KeyChange, KmsError, Operation, ServiceEvent};
use crate::clock::Timestamp;
use crate::datakey::KeyArn;

/// What a handler sees: one keyring, one instant.
pub(super) struct Context<'a> {
    pub operation: Operation,
    pub caller: &'a Caller,
    pub ring: &'a Keyring,
    /// The time that use is judged by.
    pub now: Timestamp,
    /// The time that rotations go by (rule T-2).
    pub trusted: Timestamp,
    pub sealer: &'a Sealer,
    /// Where the last use of a key is looked up; nothing is recorded through it.
    pub log: &'a dyn AuditLog,
    /// The keys that the operation concerned, for the audit log; filled also when it is refused.
    pub touched: RefCell<Vec<KeyArn>>,
    /// The backing key that it encrypted under, to be counted.
    pub used: Cell<Option<(KeyId, MaterialId)>>,
}

impl<'a> Context<'a> {
    pub fn new(
        operation: Operation,
        caller: &'a Caller,
        ring: &'a Keyring,
        times: Times,
        sealer: &'a Sealer,
        log: &'a dyn AuditLog,
    ) -> Self {
        let Times { claimed: now, trusted } = times;
        let (touched, used) = Default::default();
        Self { operation, caller, ring, now, trusted, sealer, log, touched, used }
    }

    /// The key that `name` names: the caller may do the operation with it, and its state permits that.
    pub fn key(&self, name: &str, form: Form) -> Result<&'a Arc<Key>, KmsError> {
        self.key_for(name, form, Act::of(self.operation))
    }

    /// As [`Context::key`], where more is known of what is to be done.
    pub fn key_for(&self, name: &str, form: Form, act: Act<'_>) -> Result<&'a Arc<Key>, KmsError> {
        let key = reference::find(self.ring, name, form)?;
        self.authorize(key, act)?;
        self.permitted(key)?;
        Ok(key)
    }

    /// Whether the caller may do `act` with `key`; that comes before the key's state.
    pub fn authorize(&self, key: &Key, act: Act<'_>) -> Result<(), KmsError> {
        self.touch(&self.arn(key));
        access::authorize(self.ring, self.caller, key, act)
    }

    /// Asks the state table.
    pub fn permitted(&self, key: &Key) -> Result<(), KmsError> {
        let arn = self.arn(key);
        self.touch(&arn);
        check(self.operation, key, &arn)
    }

    /// Notes that the operation concerns a key.
    pub fn touch(&self, arn: &KeyArn) {
        if !self.touched.borrow().contains(arn) {
            self.touched.borrow_mut().push(arn.clone());
        }
    }

    pub fn arn(&self, key: &Key) -> KeyArn {
        self.ring.namespace().key_arn(key.record.id)
    }
}

/// The state table's answer as AWS words it (rule ST-1); before it, what nobody may do to a key that the service manages (ROT-5).
pub(super) fn check(operation: Operation, key: &Key, arn: &KeyArn) -> Result<(), KmsError> {
    if key.record.manager == KeyManager::Aws && !operation.is_for_managed_keys() {
        let name = operation.name();
        return Err(KmsError::new(
            AwsError::AccessDenied,
            format!(
                "kms:{name} is not permitted on {arn}: it is an AWS managed key, which the service itself manages"
            ),
        ));
    }
    let (state, origin) = (key.record.state, key.record.origin);
    let in_state = |error| Err(KmsError::new(error, format!("{arn} {}", state.predicate())));
    match permit(operation, state, key.record.spec.kind(), origin) {
        Permit::Allowed if !operation.is_for(key.record.role) => Err(KmsError::new(
            AwsError::UnsupportedOperation,
            format!("{arn} is not a multi-region primary key."),
        )),
        Permit::Allowed => check_usage(operation, key, arn),
        Permit::Disabled => in_state(AwsError::Disabled),
        Permit::InvalidState if operation == Operation::CancelKeyDeletion => {
            Err(KmsError::new(AwsError::InvalidState, format!("{arn} is not pending deletion.")))
        }
        Permit::InvalidState => in_state(AwsError::InvalidState),
        Permit::Unsupported => Err(KmsError::new(
            AwsError::UnsupportedOperation,
            format!("{arn} origin is {} which is not valid for this operation.", origin.name()),
        )),
        Permit::WrongKind => Err(KmsError::bare(AwsError::UnsupportedOperation)),
    }
}

/// Whether the operation is one for what the key is used for.
fn check_usage(operation: Operation, key: &Key, arn: &KeyArn) -> Result<(), KmsError> {
    let (spec, usage, name) = (key.record.spec, key.record.usage, operation.name());
    let why = if !spec::is_for(operation, usage) {
        format!("{arn} key usage is {} which is not valid for {name}.", usage.name())
    } else if spec::is_for_symmetric_alone(operation) && spec.kind() != KeyKind::Symmetric {
        // AWS says so of GenerateDataKey (Apache Hadoop's guide to S3A's troubles shows it); what it says of key pairs is not on record.
        "You cannot generate a data key with an asymmetric CMK".to_owned()
    } else {
        return Ok(());
    };
    Err(KmsError::new(AwsError::InvalidKeyUsage, why))
}

/// What a handler decided. It may hold a plaintext, so it has no `Debug` form.
#[derive(Default)]
pub(super) struct Reply {
    /// The answer; `None` for an operation without output.
    pub output: Option<Value>,
    /// What is to be changed.
    pub changes: Vec<Change>,
    /// What the service does beside it, for the audit log.
    pub events: Vec<ServiceEvent>,
    /// What mounts must know once the changes are durable.
    pub notice: Option<(KeyArn, KeyChange)>,
}

impl Reply {
    /// An answer that changes nothing.
    fn answer(output: &impl Serialize) -> Result<Self, KmsError> {
        Ok(Self { output: Some(json(output)?), ..Self::default() })
    }

    /// A change without output.
    fn change(changes: Vec<Change>) -> Self {
        Self { changes, ..Self::default() }
    }
}

/// A request that was read, ready to be decided on.
pub(super) trait Request {
    /// Does what takes long and needs no keyring, before the store is held.
    fn prepare(&mut self) {}

    /// Decides.
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError>;
}

/// A request's reading from JSON; [`decode`] ends it.
trait Decode: Request + Sized + 'static {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError>;
}

/// Reads the request of `operation`.
pub(super) fn decode(operation: Operation, fields: &mut Fields) -> Result<Box<dyn Request>, KmsError> {
    fn read<T: Decode>(fields: &mut Fields) -> Result<Box<dyn Request>, KmsError> {
        let request = T::decode(fields)?;
        fields.finish()?;
        Ok(Box::new(request))
    }
    match operation {
        Operation::CreateKey => read::<keys::CreateKey>(fields),
        Operation::DescribeKey => read::<keys::DescribeKey>(fields),
        Operation::ListKeys => read::<keys::ListKeys>(fields),
        Operation::UpdateKeyDescription => read::<keys::UpdateKeyDescription>(fields),
        Operation::CreateAlias => read::<aliases::CreateAlias>(fields),
        Operation::UpdateAlias => read::<aliases::UpdateAlias>(fields),
        Operation::DeleteAlias => read::<aliases::DeleteAlias>(fields),
        Operation::ListAliases => read::<aliases::ListAliases>(fields),
        Operation::ReplicateKey => read::<multi_region::ReplicateKey>(fields),
        Operation::UpdatePrimaryRegion => read::<multi_region::UpdatePrimaryRegion>(fields),
        Operation::EnableKey => read::<life::EnableKey>(fields),
        Operation::DisableKey => read::<life::DisableKey>(fields),
        Operation::ScheduleKeyDeletion => read::<life::ScheduleKeyDeletion>(fields),
        Operation::CancelKeyDeletion => read::<life::CancelKeyDeletion>(fields),
        Operation::EnableKeyRotation => read::<rotation::EnableKeyRotation>(fields),
        Operation::DisableKeyRotation => read::<rotation::DisableKeyRotation>(fields),
        Operation::RotateKeyOnDemand => read::<rotation::RotateKeyOnDemand>(fields),
        Operation::ListKeyRotations => read::<rotation::ListKeyRotations>(fields),
        Operation::GetKeyLastUsage => read::<usage::GetKeyLastUsage>(fields),
        Operation::GetKeyRotationStatus => read::<rotation::GetKeyRotationStatus>(fields),
        Operation::GetParametersForImport => read::<parameters::GetParametersForImport>(fields),
        Operation::ImportKeyMaterial => read::<import::ImportKeyMaterial>(fields),
        Operation::DeleteImportedKeyMaterial => read::<import::DeleteImportedKeyMaterial>(fields),
        Operation::Encrypt => read::<crypto::Encrypt>(fields),
        Operation::Decrypt => read::<crypto::Decrypt>(fields),
        Operation::ReEncrypt => read::<crypto::ReEncrypt>(fields),
        Operation::GenerateDataKey => read::<datakeys::GenerateDataKey>(fields),
        Operation::GenerateDataKeyWithoutPlaintext => {
            read::<datakeys::GenerateDataKeyWithoutPlaintext>(fields)
        }
        Operation::GenerateDataKeyPair => read::<datakeys::GenerateDataKeyPair>(fields),
        Operation::GenerateDataKeyPairWithoutPlaintext => {
            read::<datakeys::GenerateDataKeyPairWithoutPlaintext>(fields)
        }
        Operation::GenerateRandom => read::<datakeys::GenerateRandom>(fields),
        Operation::Sign => read::<signing::Sign>(fields),
        Operation::Verify => read::<signing::Verify>(fields),
        Operation::GenerateMac => read::<macs::GenerateMac>(fields),
        Operation::VerifyMac => read::<macs::VerifyMac>(fields),
        Operation::GetPublicKey => read::<signing::GetPublicKey>(fields),
        Operation::DeriveSharedSecret => read::<signing::DeriveSharedSecret>(fields),
        Operation::PutKeyPolicy => read::<policies::PutKeyPolicy>(fields),
        Operation::GetKeyPolicy => read::<policies::GetKeyPolicy>(fields),
        Operation::ListKeyPolicies => read::<policies::ListKeyPolicies>(fields),
        Operation::CreateGrant => read::<grants::CreateGrant>(fields),
        Operation::ListGrants => read::<grants::ListGrants>(fields),
        Operation::ListRetirableGrants => read::<grants::ListRetirableGrants>(fields),
        Operation::RetireGrant => read::<grants::RetireGrant>(fields),
        Operation::RevokeGrant => read::<grants::RevokeGrant>(fields),
        Operation::TagResource => read::<tags::TagResource>(fields),
        Operation::UntagResource => read::<tags::UntagResource>(fields),
        Operation::ListResourceTags => read::<tags::ListResourceTags>(fields),
    }
}

/// Ends a request that only asked whether it would succeed.
fn would_succeed(dry_run: bool) -> Result<(), KmsError> {
    if dry_run {
        let message = "The request would have succeeded, but the DryRun option is set.";
        return Err(KmsError::new(AwsError::DryRunOperation, message));
    }
    Ok(())
}

fn json(output: &impl Serialize) -> Result<Value, KmsError> {
    serde_json::to_value(output).map_err(|error| KmsError::failed(Cause::Store, error.to_string()))
}
