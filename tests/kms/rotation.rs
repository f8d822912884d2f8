//! Rotation on demand (rules ROT-1, ROT-6, ROT-7).

use serde_json::{Value, json};

use crate::fixture::{Key, Service, text};

fn rotate(service: &Service, key: &Key) {
    assert_eq!(service.ok("RotateKeyOnDemand", json!({"KeyId": key.id})), json!({"KeyId": key.arn}));
}

fn rotations(service: &Service, key: &Key, include: &str) -> Vec<Value> {
    let answer = service.ok("ListKeyRotations", json!({"KeyId": key.id, "IncludeKeyMaterial": include}));
    answer["Rotations"].as_array().unwrap().clone()
}

fn material_of(service: &Service, blob: &str) -> String {
    text(&service.ok("Decrypt", json!({"CiphertextBlob": blob}))["KeyMaterialId"])
}

#[test]
fn rot_1_rotation_adds_a_backing_key_and_changes_nothing_else() {
    let service = Service::new();
    let key = service.key_of(json!({"Description": "d"}));
    service.alias("alias/it", &key);
    let (before, aliases) = (service.describe(&key), service.ok("ListAliases", json!({})));
    rotate(&service, &key);
    let after = service.describe(&key);
    assert_ne!(after["CurrentKeyMaterialId"], before["CurrentKeyMaterialId"]);
    let mut same = after.clone();
    same["CurrentKeyMaterialId"] = before["CurrentKeyMaterialId"].clone();
    assert_eq!(same, before);
    assert_eq!(service.ok("ListAliases", json!({})), aliases);
}

#[test]
fn rot_1_each_blob_opens_under_the_backing_key_that_made_it() {
    let service = Service::new();
    let key = service.key();
    let blobs: Vec<String> = (0..4_u8)
        .map(|version| {
            if version > 0 {
                rotate(&service, &key);
            }
            service.encrypt(&key.id, &[version])
        })
        .collect();
    let materials: Vec<String> = blobs.iter().map(|blob| material_of(&service, blob)).collect();
    for (version, blob) in blobs.iter().enumerate() {
        assert_eq!(service.decrypt(blob), [version as u8]);
        assert_eq!(materials.iter().filter(|material| **material == materials[version]).count(), 1);
    }
    assert_eq!(json!(materials[3]), service.describe(&key)["CurrentKeyMaterialId"]);
    let moved = json!({"CiphertextBlob": blobs[0], "DestinationKeyId": key.id});
    let moved = service.ok("ReEncrypt", moved);
    assert_eq!(text(&moved["SourceKeyMaterialId"]), materials[0]);
    assert_eq!(text(&moved["DestinationKeyMaterialId"]), materials[3]);
}

#[test]
fn rot_1_what_was_rotated_is_still_so_after_a_restart_and_a_disabling() {
    let service = Service::new();
    let key = service.key();
    let old = service.encrypt(&key.id, b"old");
    rotate(&service, &key);
    let new = service.encrypt(&key.id, b"new");
    service.disable(&key);
    service.enable(&key);
    let other = service.another();
    for (blob, plaintext) in [(&old, "b2xk"), (&new, "bmV3")] {
        let answer =
            crate::fixture::call(&other, "Decrypt", json!({"CiphertextBlob": blob})).unwrap().unwrap();
        assert_eq!(answer["Plaintext"], json!(plaintext));
    }
}

#[test]
fn rot_6_a_key_is_rotated_on_demand_25_times_in_its_life() {
    let service = Service::new();
    let key = service.key();
    let first = service.encrypt(&key.id, b"first");
    (0..25).for_each(|_| rotate(&service, &key));
    let expected = format!(
        "LimitExceededException: The on-demand rotations limit has been reached for the given keyId. No more on-demand \
         rotations can be performed for this key: {}",
        key.arn
    );
    assert_eq!(service.refusal("RotateKeyOnDemand", json!({"KeyId": key.id})), expected);
    service.advance_days(1000);
    assert_eq!(service.refusal("RotateKeyOnDemand", json!({"KeyId": key.id})), expected);
    assert_eq!(service.decrypt(&first), b"first");
    assert_eq!(rotations(&service, &key, "ROTATIONS_ONLY").len(), 25);
    rotate(&service, &service.key());
}

#[test]
fn rot_6_processes_that_rotate_at_once_never_pass_the_limit_nor_lose_a_rotation() {
    let service = Service::new();
    let key = service.key();
    let done: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let home = service.another();
                    let rotate = |_: &usize| {
                        crate::fixture::call(&home, "RotateKeyOnDemand", json!({"KeyId": key.id})).is_ok()
                    };
                    (0..10).filter(rotate).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(done, 25);
    assert_eq!(rotations(&service, &key, "ALL_KEY_MATERIAL").len(), 26);
}

#[test]
fn rot_7_a_rotation_is_listed_with_date_kind_and_material() {
    let service = Service::new();
    let key = service.key();
    let first = service.describe(&key)["CurrentKeyMaterialId"].clone();
    assert_eq!(rotations(&service, &key, "ROTATIONS_ONLY"), Vec::<Value>::new());
    service.advance_days(3);
    let before = service.home.now().unwrap().as_seconds_f64();
    rotate(&service, &key);
    let after = service.home.now().unwrap().as_seconds_f64();
    let current = service.describe(&key)["CurrentKeyMaterialId"].clone();

    let listed = rotations(&service, &key, "ROTATIONS_ONLY");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["KeyId"], json!(key.id));
    assert_eq!(listed[0]["RotationType"], json!("ON_DEMAND"));
    assert_eq!(listed[0]["KeyMaterialId"], current);
    assert_eq!(listed[0]["KeyMaterialState"], json!("CURRENT"));
    assert!((before..=after).contains(&listed[0]["RotationDate"].as_f64().unwrap()));

    let all = rotations(&service, &key, "ALL_KEY_MATERIAL");
    let expected = json!({"KeyId": key.id, "KeyMaterialId": first, "KeyMaterialState": "NON_CURRENT"});
    assert_eq!(all, [expected, listed[0].clone()], "the first material has no rotation");
    // Absent is the same as rotations only.
    let default = service.ok("ListKeyRotations", json!({"KeyId": key.id}));
    assert_eq!(default["Rotations"], json!(listed));
}

#[test]
fn rot_7_the_rotation_status_says_that_there_is_no_schedule() {
    let service = Service::new();
    let key = service.key();
    let expected = json!({"KeyRotationEnabled": false, "KeyId": key.id});
    for change in ["RotateKeyOnDemand", "DisableKey", "ScheduleKeyDeletion"] {
        assert_eq!(service.ok("GetKeyRotationStatus", json!({"KeyId": key.id})), expected);
        service.ok(change, json!({"KeyId": key.id}));
    }
    assert_eq!(service.ok("GetKeyRotationStatus", json!({"KeyId": key.id})), expected);
}

#[test]
fn rot_2_without_a_schedule_nothing_rotates_by_itself() {
    let service = Service::new();
    let key = service.key();
    let before = service.describe(&key);
    service.advance_days(4000);
    service.encrypt(&key.id, b"x");
    assert_eq!(service.describe(&key), before);
}
