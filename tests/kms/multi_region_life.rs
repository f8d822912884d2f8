//! What happens to related keys in time: rotation, deletion, and the destruction of their material.

use kmsfs::kms::id::KeyId;
use serde_json::{Value, json};

use crate::fixture::{Key, Service, bytes, records, text};
use crate::multi_region::{ELSEWHERE, HERE, TAKEN, THERE, arn_in, describe_in, primary, replicate, state_in};

fn rotation_in(service: &Service, region: &str, key: &Key) -> Value {
    let mut status = service.ok_in(region, "GetKeyRotationStatus", json!({"KeyId": key.id}));
    status.as_object_mut().unwrap().remove("KeyId");
    status
}

fn rotations_in(service: &Service, region: &str, key: &Key) -> Vec<Value> {
    let request = json!({"KeyId": key.id, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
    service.ok_in(region, "ListKeyRotations", request)["Rotations"].as_array().unwrap().clone()
}

fn current_in(service: &Service, region: &str, key: &Key) -> String {
    text(&describe_in(service, region, key)["CurrentKeyMaterialId"])
}

fn events(service: &Service, name: &str) -> Vec<(String, String)> {
    let records = records(service.home.dir());
    let of_name = records.iter().filter(|record| record["eventName"] == json!(name));
    let read = |record: &Value| (text(&record["awsRegion"]), text(&record["resources"][0]["ARN"]));
    of_name.map(read).collect()
}

/// The sealed bytes of each backing key of the key in `region`.
fn sealed_in(service: &Service, region: &str, key: &Key) -> Vec<Vec<u8>> {
    let ring = service.home.keyring_in(region).unwrap();
    let key = ring.key(KeyId::parse(&key.id).unwrap()).unwrap();
    key.materials.iter().map(|material| material.sealed.as_ref().unwrap().as_sealed().to_vec()).collect()
}

/// How many of `sealed` are in some file of the home.
fn left(service: &Service, sealed: &[Vec<u8>]) -> usize {
    let files = std::fs::read_dir(service.home.dir()).unwrap().map(|entry| entry.unwrap().path());
    let disk: Vec<u8> =
        files.filter(|path| path.is_file()).flat_map(|path| std::fs::read(path).unwrap()).collect();
    sealed.iter().filter(|one| disk.windows(one.len()).any(|part| part == one.as_slice())).count()
}

fn schedule_in(service: &Service, region: &str, key: &Key, days: u32) -> Value {
    let request = json!({"KeyId": key.id, "PendingWindowInDays": days});
    service.ok_in(region, "ScheduleKeyDeletion", request)
}

#[test]
fn rot_1_a_rotation_on_demand_of_the_primary_gives_every_replica_the_same_material() {
    let service = Service::new();
    let key = primary(&service);
    replicate(&service, &key, THERE);
    replicate(&service, &key, ELSEWHERE);
    let before = current_in(&service, HERE, &key);
    service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}));
    let after = current_in(&service, HERE, &key);
    assert_ne!(before, after);
    for region in [THERE, ELSEWHERE] {
        assert_eq!(current_in(&service, region, &key), after, "{region}");
        assert_eq!(rotations_in(&service, region, &key), rotations_in(&service, HERE, &key), "{region}");
        let blob = service.encrypt(&key.id, region.as_bytes());
        let opened = service.ok_in(region, "Decrypt", json!({"CiphertextBlob": blob}));
        assert_eq!((bytes(&opened["Plaintext"]), &opened["KeyMaterialId"]), (region.into(), &json!(after)));
    }
    let synchronized = events(&service, "SynchronizeMultiRegionKey");
    let replicas = [(ELSEWHERE.to_owned(), arn_in(&key, ELSEWHERE)), (THERE.to_owned(), arn_in(&key, THERE))];
    assert_eq!(synchronized[2..], replicas, "after one for each ReplicateKey");
    assert_eq!(events(&service, "RotateKey"), [(HERE.to_owned(), key.arn.clone())]);
}

#[test]
fn rot_5_what_related_keys_share_of_rotation_is_changed_by_the_primary_alone() {
    let service = Service::new();
    let key = primary(&service);
    replicate(&service, &key, THERE);
    for operation in ["EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand"] {
        let refused = service.refusal_in(THERE, operation, json!({"KeyId": key.id}));
        let not = format!(
            "UnsupportedOperationException: {} is not a multi-region primary key.",
            arn_in(&key, THERE)
        );
        assert_eq!(refused, not, "{operation}");
    }
    service.ok("EnableKeyRotation", json!({"KeyId": key.id, "RotationPeriodInDays": 100}));
    replicate(&service, &key, ELSEWHERE);
    let status = rotation_in(&service, HERE, &key);
    assert_eq!(status["RotationPeriodInDays"], json!(100));
    for region in [THERE, ELSEWHERE] {
        assert_eq!(rotation_in(&service, region, &key), status, "{region}");
    }
    service.ok("DisableKeyRotation", json!({"KeyId": key.id}));
    assert_eq!(rotation_in(&service, THERE, &key), json!({"KeyRotationEnabled": false}));
}

#[test]
fn rot_10_a_rotation_that_is_due_is_made_by_whoever_comes_first_in_any_region_and_once() {
    let service = Service::new();
    let key = primary(&service);
    replicate(&service, &key, THERE);
    service.ok("EnableKeyRotation", json!({"KeyId": key.id}));
    service.ok("UpdatePrimaryRegion", json!({"KeyId": key.id, "PrimaryRegion": THERE}));
    let before = current_in(&service, HERE, &key);
    service.advance_days(366);
    // The primary is in the other region; whoever used the replica first rotated both.
    let rotated = current_in(&service, HERE, &key);
    assert_ne!(rotated, before);
    assert_eq!(current_in(&service, THERE, &key), rotated);
    assert_eq!(rotations_in(&service, HERE, &key).len(), 2);
    assert_eq!(rotation_in(&service, HERE, &key), rotation_in(&service, THERE, &key));
    assert_eq!(events(&service, "RotateKey"), [(THERE.to_owned(), arn_in(&key, THERE))]);
    service.advance_days(365);
    assert_eq!(rotations_in(&service, THERE, &key).len(), 3);
    assert_eq!(rotations_in(&service, HERE, &key), rotations_in(&service, THERE, &key));
}

#[test]
fn rot_3_a_disabled_replica_takes_part_in_rotations_and_a_disabled_primary_makes_none() {
    let service = Service::new();
    let key = primary(&service);
    replicate(&service, &key, THERE);
    service.ok("EnableKeyRotation", json!({"KeyId": key.id}));
    service.ok_in(THERE, "DisableKey", json!({"KeyId": key.id}));
    service.advance_days(366);
    assert_eq!(current_in(&service, THERE, &key), current_in(&service, HERE, &key));
    assert_eq!(rotations_in(&service, THERE, &key).len(), 2);
    assert_eq!(state_in(&service, THERE, &key), "Disabled");
    service.disable(&key);
    service.advance_days(366);
    assert_eq!(rotations_in(&service, THERE, &key).len(), 2);
    // A replica that is enabled catches up with nothing by itself.
    service.ok_in(THERE, "EnableKey", json!({"KeyId": key.id}));
    assert_eq!(rotations_in(&service, THERE, &key).len(), 2);
    service.enable(&key);
    assert_eq!(service.state(&key), "Enabled");
    assert_eq!(rotations_in(&service, HERE, &key).len(), 3);
    assert_eq!(rotations_in(&service, THERE, &key), rotations_in(&service, HERE, &key));
}

#[test]
fn del_1_a_primary_waits_for_its_replicas_and_then_for_its_waiting_period() {
    let service = Service::new();
    let key = primary(&service);
    replicate(&service, &key, THERE);
    replicate(&service, &key, ELSEWHERE);
    let answer = schedule_in(&service, HERE, &key, 10);
    let expected = json!({"KeyId": key.arn, "KeyState": "PendingReplicaDeletion", "PendingWindowInDays": 10});
    assert_eq!(answer, expected);
    let metadata = service.describe(&key);
    assert_eq!(metadata["PendingDeletionWindowInDays"], json!(10));
    assert_eq!((metadata.get("DeletionDate"), &metadata["Enabled"]), (None, &json!(false)));
    let refused = service.refusal("Encrypt", json!({"KeyId": key.id, "Plaintext": "AA=="}));
    assert_eq!(refused, format!("KMSInvalidStateException: {} is pending replica deletion.", key.arn));
    let twice = service.refusal("ScheduleKeyDeletion", json!({"KeyId": key.id}));
    assert!(twice.starts_with("KMSInvalidStateException"), "{twice}");
    for region in [THERE, ELSEWHERE] {
        service.ok_in(region, "Encrypt", json!({"KeyId": key.id, "Plaintext": "AA=="}));
    }
    service.advance_days(400);
    assert_eq!(service.state(&key), "PendingReplicaDeletion");
    assert_eq!(schedule_in(&service, THERE, &key, 7)["KeyState"], json!("PendingDeletion"));
    service.advance_days(8);
    assert!(
        service.refusal_in(THERE, "DescribeKey", json!({"KeyId": key.id})).starts_with("NotFoundException")
    );
    assert_eq!(service.state(&key), "PendingReplicaDeletion", "one replica is left");
    let rest = &describe_in(&service, ELSEWHERE, &key)["MultiRegionConfiguration"]["ReplicaKeys"];
    assert_eq!(rest.as_array().unwrap().len(), 1);
    schedule_in(&service, ELSEWHERE, &key, 7);
    service.advance_days(8);
    service.refusal_in(ELSEWHERE, "DescribeKey", json!({"KeyId": key.id}));
    let metadata = service.describe(&key);
    assert_eq!(
        (&metadata["KeyState"], metadata.get("PendingDeletionWindowInDays")),
        (&json!("PendingDeletion"), None)
    );
    let now = service.home.now().unwrap().as_seconds_f64();
    let days = (metadata["DeletionDate"].as_f64().unwrap() - now) / 86_400.0;
    assert!((9.0..=10.0).contains(&days), "{days}");
    service.advance_days(11);
    assert!(service.refusal("DescribeKey", json!({"KeyId": key.id})).starts_with("NotFoundException"));
}

#[test]
fn del_2_the_deletion_of_a_primary_that_waits_for_its_replicas_can_be_cancelled() {
    let service = Service::new();
    let key = primary(&service);
    replicate(&service, &key, THERE);
    schedule_in(&service, HERE, &key, 10);
    assert_eq!(service.ok("CancelKeyDeletion", json!({"KeyId": key.id})), json!({"KeyId": key.arn}));
    let metadata = service.describe(&key);
    assert_eq!(metadata["KeyState"], json!("Disabled"));
    assert_eq!(metadata.get("PendingDeletionWindowInDays"), None);
    service.enable(&key);
    schedule_in(&service, THERE, &key, 7);
    service.ok_in(THERE, "CancelKeyDeletion", json!({"KeyId": key.id}));
    service.advance_days(30);
    assert_eq!((service.state(&key), state_in(&service, THERE, &key)), ("Enabled".into(), "Disabled".into()));
}

#[test]
fn del_3_a_replica_that_is_destroyed_takes_its_own_bytes_and_nothing_of_the_others() {
    let service = Service::new();
    let key = primary(&service);
    service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}));
    replicate(&service, &key, THERE);
    let (here, there) = (sealed_in(&service, HERE, &key), sealed_in(&service, THERE, &key));
    assert!(here.iter().all(|one| !there.contains(one)), "each has seals of its own");
    assert_eq!((left(&service, &here), left(&service, &there)), (2, 2));
    let blob =
        service.ok_in(THERE, "Encrypt", json!({"KeyId": key.id, "Plaintext": "aGVsbG8="}))["CiphertextBlob"]
            .clone();
    schedule_in(&service, THERE, &key, 7);
    service.advance_days(8);
    service.refusal_in(THERE, "DescribeKey", json!({"KeyId": key.id}));
    assert_eq!((left(&service, &here), left(&service, &there)), (2, 0));
    assert_eq!(service.ok("Decrypt", json!({"CiphertextBlob": blob}))["Plaintext"], json!("aGVsbG8="));
    schedule_in(&service, HERE, &key, 7);
    service.advance_days(8);
    assert!(service.refusal("DescribeKey", json!({"KeyId": key.id})).starts_with("NotFoundException"));
    assert_eq!((left(&service, &here), left(&service, &there)), (0, 0));
    let gone = service.refusal("Decrypt", json!({"CiphertextBlob": blob}));
    assert!(gone.starts_with("AccessDeniedException"), "{gone}");
}

#[test]
fn del_3_a_replica_whose_date_has_come_makes_room_for_another_also_where_nobody_has_asked_since() {
    let service = Service::new();
    let key = primary(&service);
    replicate(&service, &key, THERE);
    service.ok_in(THERE, "CreateAlias", json!({"AliasName": "alias/it", "TargetKeyId": key.id}));
    let sealed = sealed_in(&service, THERE, &key);
    schedule_in(&service, THERE, &key, 7);
    let request = json!({"KeyId": key.id, "ReplicaRegion": THERE, "Description": "the second"});
    let twice = service.refusal("ReplicateKey", request.clone());
    assert_eq!(twice, TAKEN);
    service.advance_days(8);
    let made = service.ok("ReplicateKey", request);
    let replicas = &made["ReplicaKeyMetadata"]["MultiRegionConfiguration"]["ReplicaKeys"];
    assert_eq!(replicas.as_array().unwrap().len(), 1);
    let metadata = describe_in(&service, THERE, &key);
    assert_eq!((&metadata["KeyState"], &metadata["Description"]), (&json!("Enabled"), &json!("the second")));
    assert_eq!(service.ok_in(THERE, "ListAliases", json!({}))["Aliases"], json!([]));
    assert_eq!(left(&service, &sealed), 0);
    assert_eq!(events(&service, "DeleteKey"), [(THERE.to_owned(), arn_in(&key, THERE))]);
    let (_dir, home) = service.close();
    assert_eq!(home.keyring_in(THERE).unwrap().tombstones().count(), 0);
}

#[test]
fn a_replica_can_be_made_again_where_one_was_destroyed_and_reads_what_that_one_wrote() {
    let service = Service::new();
    let key = primary(&service);
    replicate(&service, &key, THERE);
    let blob =
        service.ok_in(THERE, "Encrypt", json!({"KeyId": key.id, "Plaintext": "aGVsbG8="}))["CiphertextBlob"]
            .clone();
    schedule_in(&service, THERE, &key, 7);
    service.advance_days(8);
    service.refusal_in(THERE, "DescribeKey", json!({"KeyId": key.id}));
    assert_eq!(service.home.keyring_in(THERE).unwrap().tombstones().count(), 1);
    replicate(&service, &key, THERE);
    assert_eq!(service.home.keyring_in(THERE).unwrap().tombstones().count(), 0);
    let (_dir, home) = service.close();
    let opened = crate::fixture::call_in(&home, THERE, "Decrypt", json!({"CiphertextBlob": blob}));
    assert_eq!(opened.unwrap().unwrap()["Plaintext"], json!("aGVsbG8="));
    assert_eq!(home.keyring_in(THERE).unwrap().tombstones().count(), 0);
}

#[test]
fn cr_4_uses_are_counted_for_each_of_the_related_keys() {
    let service = Service::new();
    let key = primary(&service);
    service.encrypt(&key.id, b"x");
    replicate(&service, &key, THERE);
    service.ok_in(THERE, "Encrypt", json!({"KeyId": key.id, "Plaintext": "AA=="}));
    service.encrypt(&key.id, b"x");
    service.encrypt(&key.id, b"x");
    let id = KeyId::parse(&key.id).unwrap();
    let (_dir, home) = service.close();
    let uses = |region: &str| home.keyring_in(region).unwrap().key(id).unwrap().materials[0].uses;
    assert_eq!((uses(HERE), uses(THERE)), (3, 1));
}
