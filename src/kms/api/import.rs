//! ImportKeyMaterial, DeleteImportedKeyMaterial (rules IMP-1 and IMP-3 to IMP-6).

use serde::Serialize;
use zeroize::Zeroizing;

use super::life::{self, Deletion};
use super::{Context, Decode, Reply, Request, json};
use crate::clock::Timestamp;
use crate::kms::due;
use crate::kms::error::Cause;
use crate::kms::fields::Fields;
use crate::kms::id::MaterialId;
use crate::kms::import::NotUnwrapped;
use crate::kms::key::{Imported, Key, MaterialRecord};
use crate::kms::material::{Material, SealedMaterial};
use crate::kms::reference::Form;
use crate::kms::ring::Change;
use crate::kms::spec::{Content, KeyKind, KeySpec};
use crate::kms::state::Event;
use crate::kms::{AwsError, KeyChange, KmsError};

/// Days ahead that material may expire, at most.
const VALID_TO_DAYS: u32 = 365;
/// Bytes of a token, and of wrapped material.
const BLOB_LEN: std::ops::RangeInclusive<usize> = 1..=6144;
/// Characters in a description of material.
const DESCRIPTION_LEN: std::ops::RangeInclusive<usize> = 0..=256;
const DESCRIPTION_PATTERN: &str = "^[a-zA-Z0-9:/_\\s.-]+$";

const EXPIRES: &str = "KEY_MATERIAL_EXPIRES";
const DOES_NOT_EXPIRE: &str = "KEY_MATERIAL_DOES_NOT_EXPIRE";

/// Whether imported material expires; `None` for what is not imported, or is not there.
pub(super) fn expiration_model(material: &MaterialRecord) -> Option<&'static str> {
    let imported = material.imported.as_ref().filter(|_| material.sealed.is_some())?;
    Some(if imported.valid_to.is_some() { EXPIRES } else { DOES_NOT_EXPIRE })
}

/// The same of a key: it expires where any of what belongs to it for good does.
pub(super) fn key_expiration_model(key: &Key) -> Option<&'static str> {
    let permanent = key.materials.iter().filter(|material| !material.is_pending());
    let models: Vec<_> = permanent.filter_map(|material| expiration_model(material)).collect();
    models.iter().copied().find(|model| *model == EXPIRES).or(models.first().copied())
}

/// Whether the bytes of imported material are there (AWS KMS API, ImportState); `None` for what is not imported.
pub(super) fn import_state(material: &MaterialRecord) -> Option<&'static str> {
    material.imported.as_ref()?;
    Some(if material.sealed.is_some() { "IMPORTED" } else { "PENDING_IMPORT" })
}

/// Whether the material is one that the key knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ImportType {
    New,
    Existing,
}

#[derive(Debug)]
pub(super) struct ImportKeyMaterial {
    key_id: String,
    token: Zeroizing<Vec<u8>>,
    wrapped: Zeroizing<Vec<u8>>,
    valid_to: Option<Timestamp>,
    /// Where it is absent, the key's past says which one it is.
    import_type: Option<ImportType>,
    description: Option<String>,
    material: Option<MaterialId>,
}

impl Decode for ImportKeyMaterial {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        let key_id = fields.key_id("KeyId")?;
        let token = fields.blob("ImportToken", BLOB_LEN)?;
        let wrapped = fields.blob("EncryptedKeyMaterial", BLOB_LEN)?;
        let valid_to = fields.timestamp("ValidTo")?;
        let model = fields.choice_or("ExpirationModel", &[EXPIRES, DOES_NOT_EXPIRE], EXPIRES)?;
        let import_type = fields.choice("ImportType", &["NEW_KEY_MATERIAL", "EXISTING_KEY_MATERIAL"])?;
        let description = description(fields)?;
        let material = fields.material_id("KeyMaterialId")?;
        fields.finish()?;
        let import_type = import_type.map(|name| match name {
            "NEW_KEY_MATERIAL" => ImportType::New,
            _ => ImportType::Existing,
        });
        let invalid = |why: &str| Err(KmsError::new(AwsError::Validation, why));
        match (model == EXPIRES, valid_to) {
            (true, None) => {
                return invalid("A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES");
            }
            (false, Some(_)) => {
                return invalid(
                    "The parameter ValidTo cannot be specified for a key with an expiration model of \
                     KEY_MATERIAL_DOES_NOT_EXPIRE",
                );
            }
            (true, Some(_)) | (false, None) => (),
        }
        if import_type == Some(ImportType::New) && material.is_some() {
            return invalid("KeyMaterialId cannot be specified when ImportType is NEW_KEY_MATERIAL");
        }
        Ok(Self { key_id, token, wrapped, valid_to, import_type, description, material })
    }
}

/// A description of material, in the letters that AWS permits.
fn description(fields: &mut Fields) -> Result<Option<String>, KmsError> {
    let text = fields.text("KeyMaterialDescription", DESCRIPTION_LEN)?;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || " \t\n\u{b}\u{c}\r:/_.-".contains(letter);
    if let Some(text) = text.as_deref().filter(|text| !text.chars().all(fits)) {
        fields.violates_pattern("KeyMaterialDescription", text, DESCRIPTION_PATTERN);
    }
    Ok(text)
}

impl Request for ImportKeyMaterial {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::IdOrArn)?;
        self.check_date(cx.now)?;
        let material = self.unwrap(cx, key)?;
        let (id, sealed) = cx.sealer.take(key.record.id, &material);
        let import_type = self.import_type.unwrap_or(match key.materials.is_empty() {
            true => ImportType::New,
            false => ImportType::Existing,
        });
        let record = match import_type {
            ImportType::New => self.added(cx, key, id, sealed)?,
            ImportType::Existing => self.back_again(key, id, sealed)?,
        };
        let output =
            Some(json(&Imports { key_id: cx.arn(key).to_string(), key_material_id: id.to_string() })?);
        let mut reply = put(cx, key, record.clone())?;
        if import_type == ImportType::New {
            reply.changes.extend(announced(cx, key, &record));
        }
        Ok(Reply { output, ..reply })
    }
}

/// What replicas learn of new material of their primary: that the same is to be imported into each of them, too.
fn announced(cx: &Context<'_>, primary: &Key, material: &MaterialRecord) -> Vec<Change> {
    let imported = material.imported.as_ref();
    let imported = imported.map(|new| Imported { valid_to: None, description: String::new(), ..new.clone() });
    let without = MaterialRecord { sealed: None, imported, uses: 0, ..material.clone() };
    let related = cx.ring.related(primary.record.id).into_iter();
    let replicas = related.filter(|(_, key)| key.record.is_replica());
    replicas.map(|(region, _)| cx.ring.change_in(region, Change::PutMaterial(without.clone()))).collect()
}

impl ImportKeyMaterial {
    fn check_date(&self, now: Timestamp) -> Result<(), KmsError> {
        let why = match self.valid_to {
            Some(date) if date <= now => "ValidTo must be in the future".to_owned(),
            Some(date) if date > now.plus_days(VALID_TO_DAYS) => {
                format!("ValidTo must be at most {VALID_TO_DAYS} days in the future")
            }
            Some(_) | None => return Ok(()),
        };
        Err(KmsError::new(AwsError::Validation, why))
    }

    /// The material that was sent (rule IMP-3).
    fn unwrap(&self, cx: &Context<'_>, key: &Key) -> Result<Material, KmsError> {
        let token = cx
            .sealer
            .tokens()
            .read(&self.token, key.record.id, &cx.ring.namespace().region)
            .map_err(|_| KmsError::bare(AwsError::InvalidImportToken))?;
        if token.valid_to() <= cx.now {
            return Err(KmsError::bare(AwsError::ExpiredImportToken));
        }
        let spec = key.record.spec;
        token.unwrap(spec, &self.wrapped).map_err(|why| match why {
            NotUnwrapped::Closed => KmsError::bare(AwsError::InvalidCiphertext),
            NotUnwrapped::Unfit(found) => incorrect(unfit(spec, found)),
        })
    }

    /// Material that the key does not know yet: its first, or one that waits for a rotation (rule IMP-4).
    fn added(
        &self,
        cx: &Context<'_>,
        key: &Key,
        id: MaterialId,
        sealed: SealedMaterial,
    ) -> Result<MaterialRecord, KmsError> {
        if key.record.is_replica() {
            return Err(KmsError::new(
                AwsError::UnsupportedOperation,
                format!(
                    "New key material cannot be imported into {}, which is a multi-region replica key. Import it into the \
                     primary key first, and then into this one as EXISTING_KEY_MATERIAL.",
                    cx.arn(key)
                ),
            ));
        }
        if key.material(id).is_some() {
            return Err(incorrect(format!(
                "The key material (id: {id}) is already associated with the KMS key. Use EXISTING_KEY_MATERIAL to \
                 import it again."
            )));
        }
        // Only a symmetric key rotates, so that no other has use for a second one.
        if !key.materials.is_empty() && key.record.spec.kind() != KeyKind::Symmetric {
            return Err(incorrect(OTHER_MATERIAL.to_owned()));
        }
        if let Some(pending) = key.pending() {
            return Err(KmsError::new(
                AwsError::InvalidState,
                format!(
                    "New key material (id: {id}) cannot be imported into KMS key {}, because another key material (id: \
                     {}) is pending rotation.",
                    cx.arn(key),
                    pending.id
                ),
            ));
        }
        Ok(MaterialRecord {
            id,
            key: key.record.id,
            version: key.next_version(),
            rotation: None,
            sealed: Some(sealed),
            imported: Some(Imported {
                valid_to: self.valid_to,
                description: self.description.clone().unwrap_or_default(),
                pending: !key.materials.is_empty(),
            }),
            uses: 0,
        })
    }

    /// Material that the key knows: after it was deleted or has expired, or to give it another date.
    fn back_again(
        &self,
        key: &Key,
        id: MaterialId,
        sealed: SealedMaterial,
    ) -> Result<MaterialRecord, KmsError> {
        if let Some(wanted) = self.material.filter(|wanted| *wanted != id) {
            return Err(incorrect(format!("The key material is not that of the id {wanted}.")));
        }
        let Some(known) = key.material(id) else {
            return Err(incorrect(OTHER_MATERIAL.to_owned()));
        };
        let imported = known.imported.clone().map(|before| Imported {
            valid_to: self.valid_to,
            description: self.description.clone().unwrap_or(before.description),
            pending: before.pending,
        });
        // What is there already is the same: sealing it anew would destroy the old bytes for nothing.
        let sealed = known.sealed.clone().unwrap_or(sealed);
        Ok(MaterialRecord { sealed: Some(sealed), imported, ..known.as_ref().clone() })
    }
}

/// Stores imported material, and moves the key to where that leads.
fn put(cx: &Context<'_>, key: &Key, record: MaterialRecord) -> Result<Reply, KmsError> {
    let others = key.materials.iter().filter(|material| material.id != record.id);
    let is_complete = others.into_iter().all(|material| material.is_pending() || material.sealed.is_some());
    let changes = vec![Change::PutMaterial(record.clone())];
    // What waits for its rotation says nothing of the key's state (rule IMP-4).
    if record.is_pending() || !is_complete {
        return Ok(Reply::change(changes));
    }
    let moved = life::transition(cx, key, Event::MaterialComplete, Deletion::of(&key.record))?;
    Ok(Reply { changes: [changes, moved.changes].concat(), ..moved })
}

const OTHER_MATERIAL: &str = "The key material is not the same that was imported into this KMS key before.";

/// What is wrong with bytes that are no material of `spec`.
fn unfit(spec: KeySpec, found: usize) -> String {
    let name = spec.name();
    match spec.content() {
        Content::Backing => format!("The key material has {found} bytes, and a symmetric key has 32."),
        Content::Pair(_) => {
            format!(
                "The key material is no private key of the key spec {name}, in PKCS #8 and DER without encryption."
            )
        }
        Content::Mac { least, most } => {
            format!(
                "The key material has {found} bytes, and a key of the key spec {name} has {least} to {most}."
            )
        }
    }
}

fn incorrect(why: String) -> KmsError {
    KmsError::new(AwsError::IncorrectKeyMaterial, why)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Imports {
    key_id: String,
    key_material_id: String,
}

#[derive(Debug)]
pub(super) struct DeleteImportedKeyMaterial {
    key_id: String,
    material: Option<MaterialId>,
}

impl Decode for DeleteImportedKeyMaterial {
    fn decode(fields: &mut Fields) -> Result<Self, KmsError> {
        Ok(Self { key_id: fields.key_id("KeyId")?, material: fields.material_id("KeyMaterialId")? })
    }
}

impl Request for DeleteImportedKeyMaterial {
    fn handle(&self, cx: &Context<'_>) -> Result<Reply, KmsError> {
        let key = cx.key(&self.key_id, Form::IdOrArn)?;
        let material = match self.material {
            Some(id) => Some(key.material(id).ok_or_else(|| {
                let why = format!("Key material '{id}' is not associated with {}", cx.arn(key));
                KmsError::new(AwsError::NotFound, why)
            })?),
            None => key.current(),
        };
        let deleted = Deleted {
            key_id: cx.arn(key).to_string(),
            key_material_id: material.map(|material| material.id.to_string()),
        };
        let reply = match material {
            None => Reply::default(),
            Some(material) => lose(cx, key, material)?,
        };
        Ok(Reply { output: Some(json(&deleted)?), ..reply })
    }
}

/// Takes `material` from `key`. Mounts are told also where it is gone already: a revocation that one did not confirm is completed by
/// asking again.
fn lose(cx: &Context<'_>, key: &Key, material: &MaterialRecord) -> Result<Reply, KmsError> {
    let changes = due::loss(cx.ring, key, material).ok_or_else(|| {
        let state = key.record.state.name();
        KmsError::failed(Cause::Store, format!("the state table permits no loss of material in {state}"))
    })?;
    // What waits for its rotation is not in use: nothing is taken away with it.
    let notice = (!material.is_pending()).then(|| (cx.arn(key), KeyChange::Unusable));
    let changes = if material.sealed.is_some() { changes } else { Vec::new() };
    Ok(Reply { changes, notice, ..Reply::default() })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Deleted {
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<String>,
}
