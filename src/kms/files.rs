//! Data keys of files: the key service as the filesystem sees it.
//!
//! It obeys the same tables and writes the same records as the operations GenerateDataKey, Decrypt and ReEncrypt.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::access::{self, Act};
use super::api::Context;
use super::api::crypto::{RE_ENCRYPT_FROM, RE_ENCRYPT_TO};
use super::api::sealing::{SYMMETRIC, open, seal, symmetric};
use super::audit::{AuditEvent, Parameters, Scene};
use super::ciphertext::Ciphertext;
use super::key::Key;
use super::reference::{self, Form};
use super::ring::Keyring;
use super::service::scene_of;
use super::spec::KeyKind;
use super::{AwsError, Caller, Kms, KmsError, Operation, Via};
use crate::context::EncryptionContext;
use crate::datakey::{Asker, DataKey, DataKeyError, DataKeys, Incident, KeyArn, Usability, WrappedDataKey};

/// Who a user of this machine is to the key service (rule POL-2).
pub trait Principals: Send + Sync {
    /// The caller that user `uid` in process `pid` is.
    fn caller(&self, uid: u32, pid: u32, via: Via) -> Caller;
}

/// The regions beside the one whose keys files have.
pub trait OtherRegions: Send + Sync {
    /// Does there what dates have brought.
    fn keep_time(&self);
}

/// Data keys from the embedded key service.
pub struct FileKeys {
    kms: Arc<Kms>,
    principals: Arc<dyn Principals>,
    /// The command that asks; none for a mount.
    tool: Option<&'static str>,
    /// The only principal that can ask; `None` where every user of the machine can.
    only: Option<String>,
    others: Option<Arc<dyn OtherRegions>>,
}

impl std::fmt::Debug for FileKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKeys")
    }
}

impl FileKeys {
    /// Over `kms`.
    pub fn new(kms: Arc<Kms>, principals: Arc<dyn Principals>) -> Self {
        Self { kms, principals, tool: None, only: None, others: None }
    }

    /// For a mount that only user `uid` can use: nobody else's permission keeps a key in use there.
    pub fn only_for(self, uid: u32) -> Self {
        let via = Via::Mount { volume: String::new(), path: String::new() };
        let only = Some(self.principals.caller(uid, 0, via).principal);
        Self { only, ..self }
    }

    /// Which sees to what is due in other regions as well.
    pub fn beside(self, others: Arc<dyn OtherRegions>) -> Self {
        Self { others: Some(others), ..self }
    }

    /// For a command that works on files without a mount: its records name it.
    pub fn for_tool(self, name: &'static str) -> Self {
        Self { tool: Some(name), ..self }
    }

    fn only(&self) -> Option<&str> {
        self.only.as_deref()
    }

    /// Runs `work` on the keyring as it is, and records how it ended. The first use of the service's own alias as `uses` makes its key.
    fn recorded<T>(
        &self,
        operation: Operation,
        asker: &Asker,
        parameters: Parameters<'_>,
        uses: Option<&str>,
        work: impl FnOnce(&Context<'_>) -> Result<T, Refusal>,
    ) -> Result<T, DataKeyError> {
        let failed = |error: KmsError| DataKeyError::Failed(error.words());
        let (volume, path) = (asker.volume.clone(), asker.path.clone());
        let via = match self.tool {
            None => Via::Mount { volume, path },
            Some(name) => Via::Tool { name, volume, path },
        };
        let caller = self.principals.caller(asker.uid, asker.pid, via);
        let record = |scene: &Scene<'_>, touched: &[KeyArn], error: Option<&KmsError>| {
            let event = AuditEvent::of_call(scene, &caller, operation, parameters, touched, error);
            self.kms.record(&event)
        };
        if let Err(error) = uses.map_or(Ok(()), |name| self.kms.make_managed_if_named(name)) {
            let ring = self.kms.ring().map_err(failed)?;
            record(&self.kms.scene(&ring), &[], Some(&error)).map_err(failed)?;
            return Err(failed(error));
        }
        let (ring, times) = self.kms.ring_for(&record).map_err(failed)?;
        let cx = self.kms.context(operation, &caller, &ring, times);
        let outcome = work(&cx).and_then(|given| {
            let name = || cx.touched.borrow().last().map(KeyArn::to_string).unwrap_or_default();
            self.kms.count_use(&cx).map_err(|error| Refusal { key: name(), error })?;
            Ok(given)
        });
        let refusal = outcome.as_ref().err().map(|refusal| &refusal.error);
        record(&scene_of(&ring, cx.now), &cx.touched.borrow(), refusal).map_err(failed)?;
        outcome.map_err(|refusal| explain(&ring, self.only(), &refusal.key, &refusal.error))
    }
}

/// A refusal, and the name of the key that it is about: a wrap under another key concerns two.
struct Refusal {
    key: String,
    error: KmsError,
}

fn about(key: &str) -> impl FnOnce(KmsError) -> Refusal {
    let key = key.to_owned();
    move |error| Refusal { key, error }
}

impl DataKeys for FileKeys {
    fn resolve(&self, key: &str) -> Result<KeyArn, DataKeyError> {
        let failed = |error: KmsError| DataKeyError::Failed(error.words());
        // The first use of the service's own alias makes its key.
        self.kms.make_managed_if_named(key).map_err(failed)?;
        let ring = self.kms.current_ring().map_err(failed)?;
        let explained = |error| explain(&ring, self.only(), key, &error);
        let found = reference::find(&ring, key, Form::Any).map_err(explained)?;
        let arn = ring.namespace().key_arn(found.record.id);
        if found.record.spec.kind() == KeyKind::Symmetric { Ok(arn) } else { Err(wrong_kind(arn, found)) }
    }

    fn last_known(&self, key: &str) -> Option<KeyArn> {
        let ring = self.kms.last_ring()?;
        let found = reference::find(&ring, key, Form::Any).ok()?;
        Some(ring.namespace().key_arn(found.record.id))
    }

    fn generate(
        &self,
        asker: &Asker,
        key: &str,
        context: &EncryptionContext,
    ) -> Result<(DataKey, WrappedDataKey), DataKeyError> {
        self.recorded(Operation::GenerateDataKey, asker, parameters(key, context), Some(key), |cx| {
            let data_key = DataKey::random();
            let act = symmetric(cx.operation.name(), context);
            let wrapped = wrap(cx, key, act, context, &data_key)?;
            Ok((data_key, wrapped))
        })
    }

    fn unwrap(
        &self,
        asker: &Asker,
        wrapped: &WrappedDataKey,
        context: &EncryptionContext,
    ) -> Result<DataKey, DataKeyError> {
        let parameters = parameters(wrapped.key.as_str(), context);
        self.recorded(Operation::Decrypt, asker, parameters, None, |cx| {
            unwrap(cx, wrapped, cx.operation.name(), context)
        })
    }

    fn reuse(
        &self,
        asker: &Asker,
        wrapped: &WrappedDataKey,
        context: &EncryptionContext,
    ) -> Result<(), DataKeyError> {
        let key = wrapped.key.as_str();
        self.recorded(Operation::Decrypt, asker, parameters(key, context), None, |cx| {
            named_as_wrapped(cx, wrapped)?;
            let act = symmetric(cx.operation.name(), context);
            cx.key_for(key, Form::IdOrArn, act).map(|_| ()).map_err(about(key))
        })
    }

    fn rewrap(
        &self,
        asker: &Asker,
        wrapped: &WrappedDataKey,
        context: &EncryptionContext,
        to: Option<&str>,
    ) -> Result<WrappedDataKey, DataKeyError> {
        let to = to.unwrap_or(wrapped.key.as_str());
        let parameters = move_parameters(wrapped.key.as_str(), to, context);
        self.recorded(Operation::ReEncrypt, asker, Parameters::Read(&parameters), Some(to), |cx| {
            let data_key = unwrap(cx, wrapped, RE_ENCRYPT_FROM, context)?;
            wrap(cx, to, symmetric(RE_ENCRYPT_TO, context), context, &data_key)
        })
    }

    fn report(&self, volume: &str, path: &str, key: Option<&KeyArn>, incident: &Incident) {
        let (name, detail) = match incident {
            Incident::Damaged(what) => ("FileDamaged", Some(what.as_str())),
            Incident::Recovered => ("FileRecovered", None),
            Incident::Repaired(what) => ("FileRepaired", Some(what.as_str())),
        };
        let recorded = self.kms.current_ring().and_then(|ring| {
            let touched: Vec<_> = key.into_iter().cloned().collect();
            let scene = self.kms.scene(&ring);
            self.kms.record(&AuditEvent::of_file(&scene, name, self.tool, volume, path, detail, &touched))
        });
        if let Err(error) = recorded {
            log::error!("{name} of {path} is not recorded: {error}");
        }
    }

    fn keep_time(&self) -> Result<(), DataKeyError> {
        if let Some(others) = &self.others {
            others.keep_time();
        }
        self.kms.current_ring().map(drop).map_err(|error| DataKeyError::Failed(error.words()))
    }

    fn state(&self, key: &KeyArn) -> Result<Usability, DataKeyError> {
        let ring = self.kms.current_ring().map_err(|error| DataKeyError::Failed(error.words()))?;
        Ok(usability(&ring, self.only(), key))
    }
}

fn wrap(
    cx: &Context<'_>,
    name: &str,
    act: Act<'_>,
    context: &EncryptionContext,
    data_key: &DataKey,
) -> Result<WrappedDataKey, Refusal> {
    let key = cx.key_for(name, Form::Any, act).map_err(about(name))?;
    let (blob, material) = seal(cx, key, context, data_key.expose()).map_err(about(name))?;
    let (version, material_id) = (material.version, *material.id.as_bytes());
    Ok(WrappedDataKey { key: cx.arn(key), version, material_id, blob })
}

fn unwrap(
    cx: &Context<'_>,
    wrapped: &WrappedDataKey,
    action: &'static str,
    context: &EncryptionContext,
) -> Result<DataKey, Refusal> {
    named_as_wrapped(cx, wrapped)?;
    let name = wrapped.key.as_str();
    let opened = open(cx, &wrapped.blob, Some(name), action, context).map_err(about(name))?;
    DataKey::from_slice(&opened.plaintext)
        .ok_or_else(|| about(name)(KmsError::bare(AwsError::InvalidCiphertext)))
}

/// Refuses a wrap that stands beside the ARN of another CMK than its own: a header that was altered says so, and not that its key is unknown
/// or may not be used.
fn named_as_wrapped(cx: &Context<'_>, wrapped: &WrappedDataKey) -> Result<(), Refusal> {
    let key = Ciphertext::parse(&wrapped.blob).and_then(|blob| cx.ring.key(blob.key));
    match key {
        Some(key) if cx.arn(key) != wrapped.key => {
            Err(about(wrapped.key.as_str())(KmsError::bare(AwsError::IncorrectKey)))
        }
        // What names no key of this home is refused by its name.
        Some(_) | None => Ok(()),
    }
}

fn wrong_kind(arn: KeyArn, key: &Key) -> DataKeyError {
    let (spec, usage) = (key.record.spec.name(), key.record.usage.name());
    DataKeyError::WrongKind(arn, format!("{spec} for {usage}"))
}

/// What a key permits of files, whose data keys `only` that principal can ask for, or any; a tombstone says that it was deleted.
fn usability(ring: &Keyring, only: Option<&str>, key: &KeyArn) -> Usability {
    let Some(id) = ring.namespace().key_id_of(key) else { return Usability::Unknown };
    match (ring.key(id), ring.tombstone(id)) {
        (Some(key), _) => match key.record.state.usability() {
            Usability::Usable if !access::anybody_may_decrypt(ring, key, only) => Usability::Denied,
            usability => usability,
        },
        (None, Some(_)) => Usability::PendingDeletion,
        (None, None) => Usability::Unknown,
    }
}

/// The service's refusal, in the filesystem's terms.
fn explain(ring: &Keyring, only: Option<&str>, key: &str, error: &KmsError) -> DataKeyError {
    let arn = match reference::find(ring, key, Form::Any) {
        Ok(found) => ring.namespace().key_arn(found.record.id),
        Err(_) => KeyArn::new(key),
    };
    match error.error {
        AwsError::Disabled | AwsError::InvalidState => {
            let usability = usability(ring, only, &arn);
            DataKeyError::Unusable(arn, usability)
        }
        AwsError::NotFound => match usability(ring, only, &arn) {
            Usability::PendingDeletion => DataKeyError::Unusable(arn, Usability::PendingDeletion),
            // A file names its CMK by ARN; whatever else is not found was named by a person.
            _ if key.starts_with("arn:") => DataKeyError::Unusable(arn, Usability::Unknown),
            _ => DataKeyError::NotFound(key.to_owned()),
        },
        AwsError::InvalidCiphertext | AwsError::IncorrectKey => DataKeyError::Inauthentic,
        AwsError::AccessDenied | AwsError::NotAuthorized => {
            DataKeyError::Denied(error.message.clone().unwrap_or_default())
        }
        AwsError::InvalidKeyUsage => match reference::find(ring, key, Form::Any) {
            Ok(found) => wrong_kind(arn, found),
            Err(_) => DataKeyError::Failed(error.to_string()),
        },
        AwsError::Internal => DataKeyError::Failed(error.words()),
        AwsError::AlreadyExists
        | AwsError::Conflict
        | AwsError::CustomKeyStoreNotFound
        | AwsError::DryRunOperation
        | AwsError::ExpiredImportToken
        | AwsError::IncorrectKeyMaterial
        | AwsError::InvalidAliasName
        | AwsError::InvalidArn
        | AwsError::InvalidImportToken
        | AwsError::InvalidGrantId
        | AwsError::InvalidGrantToken
        | AwsError::InvalidMac
        | AwsError::InvalidSignature
        | AwsError::InvalidMarker
        | AwsError::LimitExceeded
        | AwsError::MalformedPolicyDocument
        | AwsError::Serialization
        | AwsError::Tag
        | AwsError::UnknownOperation
        | AwsError::UnsupportedOperation
        | AwsError::Validation => DataKeyError::Failed(error.to_string()),
    }
}

fn parameters<'a>(key_id: &'a str, encryption_context: &'a EncryptionContext) -> Parameters<'a> {
    Parameters::File { key_id, encryption_context, encryption_algorithm: SYMMETRIC }
}

/// The parameters of a ReEncrypt that keeps the context.
fn move_parameters(from: &str, to: &str, context: &EncryptionContext) -> Map<String, Value> {
    Map::from_iter([
        ("sourceKeyId".to_owned(), Value::from(from)),
        ("sourceEncryptionContext".to_owned(), pairs(context)),
        ("sourceEncryptionAlgorithm".to_owned(), Value::from(SYMMETRIC)),
        ("destinationKeyId".to_owned(), Value::from(to)),
        ("destinationEncryptionContext".to_owned(), pairs(context)),
        ("destinationEncryptionAlgorithm".to_owned(), Value::from(SYMMETRIC)),
    ])
}

fn pairs(context: &EncryptionContext) -> Value {
    let pairs = context.pairs().map(|(name, value)| (name.to_owned(), Value::from(value)));
    Value::Object(pairs.collect())
}
