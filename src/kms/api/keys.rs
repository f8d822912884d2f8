//! CreateKey, DescribeKey, ListKeys, UpdateKeyDescription.

use std::sync::Arc;

use serde::Serialize;

use super::metadata::KeyMetadata;
use super::sealing::SYMMETRIC;
use super::{Context, Decode, Reply, Request, policies, tags};
use crate::clock::Timestamp;
use crate::kms::due::Happening;
use crate::kms::error::Cause;
use crate::kms::fields::{Fields, not_supported};
use crate::kms::id::{AliasName, KeyId, KeyScope, MaterialId};
use crate::kms::key::{
    AliasRecord, Key, KeyManager, KeyRecord, MaterialRecord, RegionRole, RotationSchedule,
};
use crate::kms::material::{Material, SealedMaterial, Sealer};
use crate::kms::page::PageRequest;
use crate::kms::policy::Policy;
use crate::kms::reference::Form;
use crate::kms::ring::{Change, Keyring};
use crate::kms::spec::{KeyKind, KeySpec, KeyUsage};
use crate::kms::state::{KeyState, Origin};
use crate::kms::{AwsError, KmsError, ServiceEvent};

/// Keys that an account may have (AWS KMS quotas).
const KEYS_MAX: usize = 100_000;
/// Characters in a description.
pub(super) const DESCRIPTION_LEN: std::ops::RangeInclusive<usize> = 0..=8192;

/// In the order in which AWS lists them when it refuses another (recorded on AWS in 2023, LocalStack's
/// test_hmac_create_key_invalid_operations); those that came later stand behind.
const SPECS: &[&str] = &[
    "RSA_2048",
    "ECC_NIST_P384",
    "ECC_NIST_P256",
    "ECC_NIST_P521",
    "HMAC_384",
    "RSA_3072",
    "ECC_SECG_P256K1",
    "RSA_4096",
    SYMMETRIC,
    "HMAC_256",
    "HMAC_224",
    "HMAC_512",
    "SM2",
    "ML_DSA_44",
    "ML_DSA_65",
    "ML_DSA_87",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
];
/// The same of the usage.
const USAGES: &[&str] =
    &["ENCRYPT_DECRYPT", "SIGN_VERIFY", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT", "ENCAPSULATE_DECAPSULATE"];
const ORIGINS: &[&str] = &["AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"];

#[derive(Debug)]
pub(super) struct CreateKey {
    description: String,
    origin: Origin,
    spec: KeySpec,
    usage: KeyUsage,
    /// Its first material, once it is made.
    material: Option<Material>,
    policy: Option<Arc<Policy>>,
    bypasses_lockout_check: bool,
    tags: Vec<(String, String)>,
    scope: KeyScope,
}

impl Decode for CreateKey {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let description = fields.text("Description", DESCRIPTION_LEN)?.unwrap_or_default();
        let usage = fields.choice("KeyUsage", USAGES)?;
        let spec = fields.choice("KeySpec", SPECS)?;
        let old_spec = fields.choice("CustomerMasterKeySpec", SPECS)?;
        let origin = fields.choice("Origin", ORIGINS)?.unwrap_or("AWS_KMS");
        let custom_store = fields.text("CustomKeyStoreId", 1..=64)?;
        let policy = policies::policy_text(fields)?;
        let bypasses_lockout_check = fields.flag("BypassPolicyLockoutSafetyCheck")?;
        let tags = fields.tags()?.unwrap_or_default();
        let scope = if fields.flag("MultiRegion")? { KeyScope::MultiRegion } else { KeyScope::SingleRegion };
        fields.unsupported("XksKeyId")?;
        fields.finish()?;
        if spec.is_some() && old_spec.is_some() {
            return Err(KmsError::new(
                AwsError::Validation,
                "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is \
                 deprecated.",
            ));
        }
        let (spec, usage) = kind(spec.or(old_spec).unwrap_or(SYMMETRIC), usage)?;
        // A home has no custom key stores, so that none is ever found.
        let origin = match (Origin::from_name(origin), custom_store) {
            (Some(origin), None) => origin,
            (_, store) => return Err(unknown_custom_store(store.as_deref())),
        };
        let policy = policy.as_deref().map(policies::parse).transpose()?;
        tags::check(&tags)?;
        let material = None;
        Ok(Self { description, origin, spec, usage, material, policy, bypasses_lockout_check, tags, scope })
    }
}

fn unknown_custom_store(id: Option<&str>) -> KmsError {
    let which = id.map_or_else(|| "that the origin asks for".to_owned(), str::to_owned);
    KmsError::new(AwsError::CustomKeyStoreNotFound, format!("The custom key store {which} does not exist."))
}

/// The spec and the usage of those names, which must fit.
fn kind(spec: &str, usage: Option<&str>) -> Result<(KeySpec, KeyUsage), KmsError> {
    let invalid = |why: String| Err(KmsError::new(AwsError::Validation, why));
    let Some(known) = KeySpec::from_name(spec) else {
        return match usage {
            None => invalid(USAGE_NEEDED.to_owned()),
            Some(_) => Err(not_supported(&format!("The key spec {spec}"))),
        };
    };
    match usage {
        None if known.kind() != KeyKind::Symmetric => invalid(USAGE_NEEDED.to_owned()),
        None => Ok((known, known.usages()[0])),
        Some(name) => match KeyUsage::from_name(name).filter(|usage| known.usages().contains(usage)) {
            Some(usage) => Ok((known, usage)),
            None => invalid(format!("KeyUsage {name} is not compatible with KeySpec {spec}")),
        },
    }
}

const USAGE_NEEDED: &str =
    "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.";

impl Request for CreateKey {
    fn prepare(&mut self) {
        self.material = match self.origin {
            Origin::AwsKms => Some(Material::generate(self.spec)),
            Origin::External => None,
        };
    }

    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let used = cx.ring.keys().count();
        if used >= KEYS_MAX {
            return Err(KmsError::new(
                AwsError::LimitExceeded,
                format!(
                    "Key quota for this account in this region is {KEYS_MAX} but the current usage is {used}."
                ),
            ));
        }
        let state = match self.origin {
            Origin::AwsKms => KeyState::Enabled,
            Origin::External => KeyState::PendingImport,
        };
        let record = KeyRecord {
            description: self.description.clone(),
            policy: self.policy.clone(),
            spec: self.spec,
            usage: self.usage,
            ..new_record(self.scope, state, self.origin, cx.now)
        };
        let sealed = match (self.origin, &self.material) {
            (Origin::AwsKms, Some(material)) => Some(cx.sealer.take(record.id, material)),
            (Origin::External, _) => None,
            (Origin::AwsKms, None) => {
                return Err(KmsError::failed(Cause::Store, "the material of a new key was not made"));
            }
        };
        let material = sealed.map(|sealed| first_material(record.id, sealed));
        let key = Key { materials: material.into_iter().map(Into::into).collect(), ..Key::new(record) };
        if !self.bypasses_lockout_check {
            policies::check_lockout(cx, &key)?;
        }
        cx.touched.borrow_mut().push(cx.arn(&key));
        let mut changes = vec![Change::PutKey(key.record.clone())];
        changes.extend(key.materials.iter().map(|material| Change::PutMaterial(material.as_ref().clone())));
        changes.extend(tags::put(key.record.id, &self.tags));
        let mut ring = cx.ring.clone();
        changes.iter().for_each(|change| ring.apply(change));
        let described = Described { key_metadata: KeyMetadata::of(&ring, &key) };
        Ok(Reply { changes, ..Reply::answer(&described)? })
    }
}

/// Days from one rotation of a key that the service manages to the next (rule ROT-5).
const MANAGED_PERIOD_DAYS: u32 = 1095;

/// The key of the service's own alias, made when it is first used (rule ROT-5).
pub(in crate::kms) fn managed_key(
    ring: &Keyring,
    alias: AliasName,
    now: Timestamp,
    sealer: &Sealer,
) -> Happening {
    let record = KeyRecord {
        description: "Default key that protects the files of volumes whose maker named no key".to_owned(),
        manager: KeyManager::Aws,
        rotation: Some(RotationSchedule::from(now, MANAGED_PERIOD_DAYS)),
        ..new_record(KeyScope::SingleRegion, KeyState::Enabled, Origin::AwsKms, now)
    };
    let (id, arn) = (record.id, ring.namespace().key_arn(record.id));
    let material = Change::PutMaterial(first_material(id, sealer.generate(id)));
    let alias = AliasRecord { name: alias, key: id, created: now, updated: now };
    let changes = vec![Change::PutKey(record), material, Change::PutAlias(alias)];
    Happening { events: vec![ServiceEvent::CreateManagedKey(arn)], changes }
}

/// The record of a key that does not exist yet.
fn new_record(scope: KeyScope, state: KeyState, origin: Origin, created: Timestamp) -> KeyRecord {
    KeyRecord {
        id: KeyId::random(scope),
        state,
        origin,
        spec: KeySpec::SymmetricDefault,
        usage: KeyUsage::EncryptDecrypt,
        description: String::new(),
        created,
        deletion_date: None,
        manager: KeyManager::Customer,
        rotation: None,
        policy: None,
        role: (scope == KeyScope::MultiRegion).then_some(RegionRole::Primary),
        pending_window_days: None,
    }
}

/// The first material of `key`.
fn first_material(key: KeyId, (id, sealed): (MaterialId, SealedMaterial)) -> MaterialRecord {
    MaterialRecord { id, key, version: 1, rotation: None, sealed: Some(sealed), imported: None, uses: 0 }
}

#[derive(Debug)]
pub(super) struct DescribeKey {
    key_id: String,
}

impl Decode for DescribeKey {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        fields.grant_tokens()?;
        Ok(Self { key_id })
    }
}

impl Request for DescribeKey {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::Any)?;
        Reply::answer(&Described { key_metadata: KeyMetadata::of(cx.ring, key) })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    key_metadata: KeyMetadata,
}

#[derive(Debug)]
pub(super) struct ListKeys {
    page: PageRequest,
}

impl Decode for ListKeys {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        // No other account shares its keys with this one.
        fields.unsupported("ResourceOwners")?;
        Ok(Self { page: PageRequest::read(fields, 100, 1000)? })
    }
}

impl Request for ListKeys {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let page = self.page.cut("keys", cx.ring.keys(), |key| key.record.id.to_string())?;
        let keys = page
            .items
            .iter()
            .map(|key| ListedKey { key_id: key.record.id.to_string(), key_arn: cx.arn(key).to_string() })
            .collect();
        Reply::answer(&KeyList { keys, truncated: page.next_marker.is_some(), next_marker: page.next_marker })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyList {
    keys: Vec<ListedKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedKey {
    key_id: String,
    key_arn: String,
}

#[derive(Debug)]
pub(super) struct UpdateKeyDescription {
    key_id: String,
    description: String,
}

impl Decode for UpdateKeyDescription {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self {
            key_id: fields.key_id("KeyId")?,
            description: fields.required_text("Description", DESCRIPTION_LEN)?,
        })
    }
}

impl Request for UpdateKeyDescription {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::IdOrArn)?;
        let record = KeyRecord { description: self.description.clone(), ..key.record.clone() };
        Ok(Reply::change(vec![Change::PutKey(record)]))
    }
}
