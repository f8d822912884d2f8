//! Imported material of related keys: each gets it by an import of its own, and only the same (AWS KMS Developer Guide, "Importing key
//! material into multi-Region keys").

use serde_json::{Value, json};

use crate::fixture::{Key, Service, base64, bytes, text};
use crate::multi_region::{ELSEWHERE, HERE, THERE, arn_in, describe_in, replicate, state_in};
use crate::wrapping::{OAEP_SHA_256, Padding, wrap};

const NEVER: &str = "KEY_MATERIAL_DOES_NOT_EXPIRE";

/// An ImportKeyMaterial into the key of a region, with fresh parameters of that region.
fn request_in(
    service: &Service,
    region: &str,
    key: &Key,
    material: &[u8],
    import_type: Option<&str>,
) -> Value {
    let asked = json!({"KeyId": key.id, "WrappingAlgorithm": OAEP_SHA_256, "WrappingKeySpec": "RSA_2048"});
    let parameters = service.ok_in(region, "GetParametersForImport", asked);
    let wrapped = wrap(&bytes(&parameters["PublicKey"]), Padding::OaepSha256, material);
    let mut request = json!({
        "KeyId": key.id, "ImportToken": parameters["ImportToken"], "EncryptedKeyMaterial": base64(&wrapped),
        "ExpirationModel": NEVER
    });
    if let Some(import_type) = import_type {
        request["ImportType"] = json!(import_type);
    }
    request
}

fn import_in(service: &Service, region: &str, key: &Key, material: &[u8]) -> Value {
    let request = request_in(service, region, key, material, None);
    service.ok_in(region, "ImportKeyMaterial", request)
}

fn import_new(service: &Service, key: &Key, material: &[u8]) -> Value {
    let request = request_in(service, HERE, key, material, Some("NEW_KEY_MATERIAL"));
    service.ok("ImportKeyMaterial", request)
}

/// A primary with material of `[1; 32]`.
fn imported_primary(service: &Service) -> Key {
    let key = service.key_of(json!({"MultiRegion": true, "Origin": "EXTERNAL"}));
    import_in(service, HERE, &key, &[1; 32]);
    key
}

/// State and import state of each material, in the order of their versions.
fn materials_in(service: &Service, region: &str, key: &Key) -> Vec<(String, String)> {
    let request = json!({"KeyId": key.id, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
    let listed = service.ok_in(region, "ListKeyRotations", request);
    let read = |entry: &Value| (text(&entry["KeyMaterialState"]), text(&entry["ImportState"]));
    listed["Rotations"].as_array().unwrap().iter().map(read).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(state, import)| ((*state).to_owned(), (*import).to_owned())).collect()
}

#[test]
fn imp_4_a_replica_begins_without_material_and_takes_only_the_same() {
    let service = Service::new();
    let key = imported_primary(&service);
    replicate(&service, &key, THERE);
    assert_eq!(state_in(&service, THERE, &key), "PendingImport");
    assert_eq!(materials_in(&service, THERE, &key), pairs(&[("CURRENT", "PENDING_IMPORT")]));
    let refused = service.refusal_in(THERE, "Encrypt", json!({"KeyId": key.id, "Plaintext": "AA=="}));
    assert!(refused.ends_with("is pending import."), "{refused}");
    let other = request_in(&service, THERE, &key, &[2; 32], None);
    let refused = service.refusal_in(THERE, "ImportKeyMaterial", other);
    assert!(refused.starts_with("IncorrectKeyMaterialException"), "{refused}");
    let new = request_in(&service, THERE, &key, &[2; 32], Some("NEW_KEY_MATERIAL"));
    let refused = service.refusal_in(THERE, "ImportKeyMaterial", new);
    assert!(refused.starts_with("UnsupportedOperationException"), "{refused}");
    let answer = import_in(&service, THERE, &key, &[1; 32]);
    assert_eq!(answer["KeyMaterialId"], service.describe(&key)["CurrentKeyMaterialId"]);
    assert_eq!(state_in(&service, THERE, &key), "Enabled");
    let blob = service.encrypt(&key.id, b"x");
    service.ok_in(THERE, "Decrypt", json!({"CiphertextBlob": blob}));
}

#[test]
fn imp_3_a_token_of_one_region_imports_into_no_related_key() {
    let service = Service::new();
    let key = imported_primary(&service);
    replicate(&service, &key, THERE);
    let request = request_in(&service, HERE, &key, &[1; 32], None);
    let refused = service.refusal_in(THERE, "ImportKeyMaterial", request.clone());
    assert_eq!(refused, "InvalidImportTokenException");
    service.ok("ImportKeyMaterial", request);
}

#[test]
fn imp_6_material_that_is_deleted_in_one_region_stays_in_the_others() {
    let service = Service::new();
    let key = imported_primary(&service);
    replicate(&service, &key, THERE);
    import_in(&service, THERE, &key, &[1; 32]);
    service.ok("DeleteImportedKeyMaterial", json!({"KeyId": key.id}));
    assert_eq!(
        (service.state(&key), state_in(&service, THERE, &key)),
        ("PendingImport".into(), "Enabled".into())
    );
    let blob =
        service.ok_in(THERE, "Encrypt", json!({"KeyId": key.id, "Plaintext": "AA=="}))["CiphertextBlob"]
            .clone();
    import_in(&service, HERE, &key, &[1; 32]);
    service.ok("Decrypt", json!({"CiphertextBlob": blob}));
}

#[test]
fn imp_5_each_of_the_related_keys_has_an_expiry_of_its_own() {
    let service = Service::new();
    let key = imported_primary(&service);
    replicate(&service, &key, THERE);
    let mut request = request_in(&service, THERE, &key, &[1; 32], None);
    request["ExpirationModel"] = json!("KEY_MATERIAL_EXPIRES");
    request["ValidTo"] = json!(service.home.now().unwrap().as_seconds_f64() + 86_400.0);
    service.ok_in(THERE, "ImportKeyMaterial", request);
    assert_eq!(describe_in(&service, THERE, &key)["ExpirationModel"], json!("KEY_MATERIAL_EXPIRES"));
    assert_eq!(service.describe(&key)["ExpirationModel"], json!(NEVER));
    service.advance_days(2);
    assert_eq!(
        (service.state(&key), state_in(&service, THERE, &key)),
        ("Enabled".into(), "PendingImport".into())
    );
}

#[test]
fn imp_4_new_material_becomes_current_when_every_related_key_has_it() {
    let service = Service::new();
    let key = imported_primary(&service);
    for region in [THERE, ELSEWHERE] {
        replicate(&service, &key, region);
        import_in(&service, region, &key, &[1; 32]);
    }
    let new = import_new(&service, &key, &[2; 32])["KeyMaterialId"].clone();
    const WAITS: &str = "PENDING_MULTI_REGION_IMPORT_AND_ROTATION";
    assert_eq!(materials_in(&service, HERE, &key), pairs(&[("CURRENT", "IMPORTED"), (WAITS, "IMPORTED")]));
    assert_eq!(
        materials_in(&service, THERE, &key),
        pairs(&[("CURRENT", "IMPORTED"), (WAITS, "PENDING_IMPORT")])
    );
    assert_eq!(state_in(&service, THERE, &key), "Enabled", "what waits says nothing of the state");
    let rotate = || service.refusal("RotateKeyOnDemand", json!({"KeyId": key.id}));
    assert!(rotate().starts_with("KMSInvalidStateException"), "{}", rotate());
    import_in(&service, THERE, &key, &[2; 32]);
    let ready = pairs(&[("CURRENT", "IMPORTED"), ("PENDING_ROTATION", "IMPORTED")]);
    assert_eq!(materials_in(&service, THERE, &key), ready);
    assert!(rotate().contains("not imported into all"), "{}", rotate());
    import_in(&service, ELSEWHERE, &key, &[2; 32]);
    assert_eq!(materials_in(&service, HERE, &key), ready);
    service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}));
    for region in [HERE, THERE, ELSEWHERE] {
        let rotated = pairs(&[("NON_CURRENT", "IMPORTED"), ("CURRENT", "IMPORTED")]);
        assert_eq!(materials_in(&service, region, &key), rotated, "{region}");
        assert_eq!(describe_in(&service, region, &key)["CurrentKeyMaterialId"], new, "{region}");
        assert_eq!(state_in(&service, region, &key), "Enabled");
    }
    // A replica made now needs both.
    replicate(&service, &key, "eu-north-1");
    import_in(&service, "eu-north-1", &key, &[1; 32]);
    assert_eq!(state_in(&service, "eu-north-1", &key), "PendingImport");
    import_in(&service, "eu-north-1", &key, &[2; 32]);
    assert_eq!(state_in(&service, "eu-north-1", &key), "Enabled");
}

#[test]
fn imp_6_pending_material_that_the_primary_gives_up_goes_everywhere_and_a_replica_s_only_there() {
    let service = Service::new();
    let key = imported_primary(&service);
    replicate(&service, &key, THERE);
    import_in(&service, THERE, &key, &[1; 32]);
    let new = import_new(&service, &key, &[2; 32])["KeyMaterialId"].clone();
    import_in(&service, THERE, &key, &[2; 32]);
    let delete = json!({"KeyId": key.id, "KeyMaterialId": new});
    service.ok_in(THERE, "DeleteImportedKeyMaterial", delete.clone());
    assert_eq!(state_in(&service, THERE, &key), "Enabled");
    let waits = ("PENDING_MULTI_REGION_IMPORT_AND_ROTATION", "PENDING_IMPORT");
    assert_eq!(materials_in(&service, THERE, &key), pairs(&[("CURRENT", "IMPORTED"), waits]));
    assert_eq!(materials_in(&service, HERE, &key).len(), 2);
    import_in(&service, THERE, &key, &[2; 32]);
    service.ok("DeleteImportedKeyMaterial", delete);
    for region in [HERE, THERE] {
        assert_eq!(materials_in(&service, region, &key), pairs(&[("CURRENT", "IMPORTED")]), "{region}");
    }
    let gone =
        service.refusal_in(THERE, "ImportKeyMaterial", request_in(&service, THERE, &key, &[2; 32], None));
    assert!(gone.starts_with("IncorrectKeyMaterialException"), "{gone}");
    assert!(arn_in(&key, THERE).contains(THERE));
}
