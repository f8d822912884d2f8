//! What records of the service's own doings say beside the rest.

use serde::Serialize;

use crate::kms::ServiceEvent;

/// What the service did by itself (AWS KMS Developer Guide, "RotateKey", "DeleteExpiredKeyMaterial"), or found.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(super) enum Details {
    Key {
        key_id: String,
    },
    Material {
        key_id: String,
        key_material_id: String,
    },
    Rotation {
        key_id: String,
        rotation_type: &'static str,
        key_origin: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        previous_key_material_id: Option<String>,
        current_key_material_id: String,
    },
    Clock {
        seconds: u64,
        claimed_time: String,
        trusted_time: String,
    },
}

impl Details {
    pub(super) fn of(event: &ServiceEvent) -> Self {
        let key_id = event.key().id().to_owned();
        match event {
            ServiceEvent::DeleteKey(_)
            | ServiceEvent::CreateManagedKey(_)
            | ServiceEvent::SynchronizeMultiRegionKey(_) => Self::Key { key_id },
            ServiceEvent::DeleteExpiredKeyMaterial(_, material) => {
                Self::Material { key_id, key_material_id: material.to_string() }
            }
            ServiceEvent::RotateKey { kind, origin, previous, current, .. } => Self::Rotation {
                key_id,
                rotation_type: kind.name(),
                key_origin: origin.name(),
                previous_key_material_id: previous.map(|material| material.to_string()),
                current_key_material_id: current.to_string(),
            },
        }
    }
}
