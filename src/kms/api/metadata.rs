//! KeyMetadata: what CreateKey, DescribeKey and ReplicateKey say of a key.

use serde::Serialize;

use super::import;
use crate::clock::Timestamp;
use crate::kms::id::KeyId;
use crate::kms::key::{Key, KeyRecord, RegionRole};
use crate::kms::ring::Keyring;
use crate::kms::spec::{KeyKind, KeyUsage};
use crate::kms::state::KeyState;

/// What is known of a key (AWS KMS API, KeyMetadata).
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeyMetadata {
    #[serde(rename = "AWSAccountId")]
    account: String,
    key_id: String,
    arn: String,
    creation_date: f64,
    enabled: bool,
    description: String,
    key_usage: &'static str,
    key_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_date: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_to: Option<f64>,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_model: Option<&'static str>,
    key_manager: &'static str,
    customer_master_key_spec: &'static str,
    key_spec: &'static str,
    #[serde(flatten)]
    algorithms: Algorithms,
    multi_region: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_region_configuration: Option<MultiRegionConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_deletion_window_in_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_key_material_id: Option<String>,
}

/// The algorithms of a key, by its usage: one of the lists has some.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Algorithms {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    encryption_algorithms: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signing_algorithms: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    key_agreement_algorithms: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mac_algorithms: Vec<&'static str>,
}

impl Algorithms {
    pub fn of(record: &KeyRecord) -> Self {
        let (spec, usage) = (record.spec, record.usage);
        let encryption = spec.encryption_algorithms().iter().map(|algorithm| algorithm.name());
        let signing = spec.signing_algorithms().iter().map(|algorithm| algorithm.name());
        let agreement = spec.key_agreement_algorithms().iter().map(|algorithm| algorithm.name());
        let mac = spec.mac_algorithms().iter().map(|algorithm| algorithm.name());
        Self {
            encryption_algorithms: encryption.filter(|_| usage == KeyUsage::EncryptDecrypt).collect(),
            signing_algorithms: signing.filter(|_| usage == KeyUsage::SignVerify).collect(),
            key_agreement_algorithms: agreement.filter(|_| usage == KeyUsage::KeyAgreement).collect(),
            mac_algorithms: mac.filter(|_| usage == KeyUsage::GenerateVerifyMac).collect(),
        }
    }
}

impl KeyMetadata {
    /// That of a key of `ring`.
    pub fn of(ring: &Keyring, key: &Key) -> Self {
        Self::in_region(ring, &ring.namespace().region, key)
    }

    /// That of one of its related keys, in `region`.
    pub fn in_region(ring: &Keyring, region: &str, key: &Key) -> Self {
        let (record, namespace) = (&key.record, ring.namespace());
        // Other keys have one material for ever, which AWS KMS does not name here.
        let current = key.current().filter(|_| record.spec.kind() == KeyKind::Symmetric);
        Self {
            account: namespace.account.clone(),
            key_id: record.id.to_string(),
            arn: namespace.key_arn_in(region, record.id).to_string(),
            creation_date: record.created.as_seconds_f64(),
            enabled: record.state == KeyState::Enabled,
            description: record.description.clone(),
            key_usage: record.usage.name(),
            key_state: record.state.name(),
            deletion_date: record.deletion_date.map(Timestamp::as_seconds_f64),
            valid_to: key.expiry().map(Timestamp::as_seconds_f64),
            origin: record.origin.name(),
            expiration_model: import::key_expiration_model(key),
            key_manager: record.manager.name(),
            customer_master_key_spec: record.spec.name(),
            key_spec: record.spec.name(),
            algorithms: Algorithms::of(record),
            multi_region: record.role.is_some(),
            multi_region_configuration: record
                .role
                .map(|role| MultiRegionConfiguration::of(ring, role, record.id)),
            pending_deletion_window_in_days: record.pending_window_days,
            current_key_material_id: current.map(|material| material.id.to_string()),
        }
    }

    /// The same in a state that the key has only while it is answered.
    pub fn in_state(self, state: KeyState) -> Self {
        Self { key_state: state.name(), enabled: state == KeyState::Enabled, ..self }
    }
}

/// A multi-Region key and those that are related to it (AWS KMS API, MultiRegionConfiguration).
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MultiRegionConfiguration {
    multi_region_key_type: &'static str,
    primary_key: Option<MultiRegionKey>,
    replica_keys: Vec<MultiRegionKey>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MultiRegionKey {
    arn: String,
    region: String,
}

impl MultiRegionConfiguration {
    fn of(ring: &Keyring, role: RegionRole, id: KeyId) -> Self {
        let named = |region: &str| MultiRegionKey {
            arn: ring.namespace().key_arn_in(region, id).to_string(),
            region: region.to_owned(),
        };
        let replicas = ring.related(id).into_iter().filter(|(_, key)| key.record.is_replica());
        Self {
            multi_region_key_type: role.name(),
            primary_key: ring.primary(id).map(|(region, _)| named(region)),
            replica_keys: replicas.map(|(region, _)| named(region)).collect(),
        }
    }
}
