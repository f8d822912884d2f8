//! Rotation by schedule (rules ROT-1 to ROT-5, ROT-7, ROT-10), on a simulated clock.

use serde_json::{Value, json};

use crate::fixture::{ARN_PREFIX, DAY, Key, Service, call, text};

fn enable_rotation(service: &Service, key: &Key, days: Option<u64>) {
    let request = match days {
        Some(days) => json!({"KeyId": key.id, "RotationPeriodInDays": days}),
        None => json!({"KeyId": key.id}),
    };
    assert_eq!(service.ok("EnableKeyRotation", request), Value::Null);
}

fn rotating(days: Option<u64>) -> (Service, Key) {
    let service = Service::new();
    let key = service.key();
    enable_rotation(&service, &key, days);
    (service, key)
}

fn status(service: &Service, key: &Key) -> Value {
    service.ok("GetKeyRotationStatus", json!({"KeyId": key.id}))
}

/// Days from now to the next rotation.
fn days_left(service: &Service, key: &Key) -> f64 {
    let next = status(service, key)["NextRotationDate"].as_f64().unwrap();
    (next - service.home.now().unwrap().as_seconds_f64()) / DAY as f64
}

fn is_about(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 0.01
}

fn rotations(service: &Service, key: &Key) -> Vec<Value> {
    service.ok("ListKeyRotations", json!({"KeyId": key.id}))["Rotations"].as_array().unwrap().clone()
}

fn material(service: &Service, key: &Key) -> String {
    text(&service.describe(key)["CurrentKeyMaterialId"])
}

#[test]
fn rot_2_a_key_rotates_every_365_days_from_the_day_it_was_enabled() {
    let (service, key) = rotating(None);
    let first = material(&service, &key);
    let old = service.encrypt(&key.id, b"old");
    assert_eq!(status(&service, &key)["RotationPeriodInDays"], json!(365));
    assert!(is_about(days_left(&service, &key), 365.0));
    service.advance_days(364);
    assert_eq!(material(&service, &key), first);
    service.advance_days(2);
    let second = material(&service, &key);
    assert_ne!(second, first);
    assert!(
        is_about(days_left(&service, &key), 364.0),
        "from the scheduled date, not from when it was noticed"
    );
    let listed = rotations(&service, &key);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["RotationType"], json!("AUTOMATIC"));
    assert_eq!(text(&listed[0]["KeyMaterialId"]), second);
    assert_eq!(service.decrypt(&old), b"old");
    assert_eq!(text(&service.ok("Decrypt", json!({"CiphertextBlob": old}))["KeyMaterialId"]), first);
}

#[test]
fn rot_2_the_period_is_90_to_2560_days() {
    let service = Service::new();
    let key = service.key();
    for days in [90, 2560] {
        enable_rotation(&service, &key, Some(days));
        assert!(is_about(days_left(&service, &key), days as f64), "another period counts from now");
    }
    for (days, bound) in [
        (0, "greater than or equal to 90"),
        (89, "greater than or equal to 90"),
        (2561, "less than or equal to 2560"),
    ] {
        let request = json!({"KeyId": key.id, "RotationPeriodInDays": days});
        assert_eq!(
            service.refusal("EnableKeyRotation", request),
            format!(
                "ValidationException: 1 validation error detected: Value '{days}' at 'rotationPeriodInDays' failed to \
                 satisfy constraint: Member must have value {bound}"
            )
        );
    }
    assert_eq!(status(&service, &key)["RotationPeriodInDays"], json!(2560));
}

#[test]
fn rot_2_enabling_again_with_the_same_period_does_not_put_the_rotation_off() {
    let (service, key) = rotating(Some(100));
    service.advance_days(60);
    enable_rotation(&service, &key, Some(100));
    assert!(is_about(days_left(&service, &key), 40.0));
}

#[test]
fn rot_2_disabling_and_enabling_rotation_starts_the_count_afresh() {
    let (service, key) = rotating(Some(100));
    service.advance_days(60);
    service.ok("DisableKeyRotation", json!({"KeyId": key.id}));
    assert_eq!(status(&service, &key), json!({"KeyRotationEnabled": false, "KeyId": key.id}));
    service.advance_days(500);
    assert!(rotations(&service, &key).is_empty());
    enable_rotation(&service, &key, Some(100));
    assert!(is_about(days_left(&service, &key), 100.0));
    assert!(rotations(&service, &key).is_empty());
}

#[test]
fn rot_3_a_disabled_key_is_not_rotated_and_is_at_once_when_it_is_enabled_past_its_date() {
    let (service, key) = rotating(Some(90));
    let first = material(&service, &key);
    service.disable(&key);
    service.advance_days(200);
    assert_eq!(material(&service, &key), first);
    assert_eq!(status(&service, &key)["KeyRotationEnabled"], json!(true), "its status stays");
    service.enable(&key);
    assert_ne!(material(&service, &key), first);
    assert_eq!(rotations(&service, &key).len(), 1, "missed rotations are not made up for");
    assert!(is_about(days_left(&service, &key), 70.0), "the schedule keeps its dates");
}

#[test]
fn rot_3_a_key_that_is_enabled_before_its_date_keeps_its_schedule() {
    let (service, key) = rotating(Some(90));
    service.disable(&key);
    service.advance_days(80);
    service.enable(&key);
    assert!(rotations(&service, &key).is_empty());
    service.advance_days(11);
    assert_eq!(rotations(&service, &key).len(), 1);
}

#[test]
fn rot_3_a_key_pending_deletion_says_false_and_is_rotated_when_that_is_cancelled_past_its_date() {
    let (service, key) = rotating(Some(90));
    let before = status(&service, &key);
    service.advance_days(80);
    service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id, "PendingWindowInDays": 30}));
    assert_eq!(status(&service, &key), json!({"KeyRotationEnabled": false, "KeyId": key.id}));
    service.ok("CancelKeyDeletion", json!({"KeyId": key.id}));
    assert_eq!(status(&service, &key), before, "as it was");
    assert!(rotations(&service, &key).is_empty());

    service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id, "PendingWindowInDays": 30}));
    service.advance_days(20);
    assert!(rotations(&service, &key).is_empty());
    service.ok("CancelKeyDeletion", json!({"KeyId": key.id}));
    assert_eq!(service.state(&key), "Disabled");
    assert_eq!(rotations(&service, &key).len(), 1);
    assert!(is_about(days_left(&service, &key), 80.0));
}

#[test]
fn rot_4_a_key_of_imported_material_is_not_rotated_by_a_schedule() {
    let service = Service::new();
    let key = service.key_of(json!({"Origin": "EXTERNAL"}));
    let refusal = service.refusal("EnableKeyRotation", json!({"KeyId": key.id}));
    let expected = "origin is EXTERNAL which is not valid for this operation.";
    assert_eq!(refusal, format!("UnsupportedOperationException: {} {expected}", key.arn));
}

#[test]
fn rot_5_the_managed_key_is_made_at_its_first_use_and_rotates_every_1095_days() {
    let service = Service::new();
    assert_eq!(service.ok("ListAliases", json!({}))["Aliases"], json!([]));
    let blob = service.encrypt("alias/aws/kmsfs", b"x");
    let metadata = service.ok("DescribeKey", json!({"KeyId": "alias/aws/kmsfs"}))["KeyMetadata"].clone();
    assert_eq!(metadata["KeyManager"], json!("AWS"));
    let key = Key { id: text(&metadata["KeyId"]), arn: text(&metadata["Arn"]) };
    assert_eq!(status(&service, &key)["KeyRotationEnabled"], json!(true));
    assert_eq!(status(&service, &key)["RotationPeriodInDays"], json!(1095));
    service.advance_days(1096);
    assert_eq!(rotations(&service, &key).len(), 1);
    assert_eq!(service.decrypt(&blob), b"x");
    assert_eq!(service.ok("ListKeys", json!({}))["Keys"].as_array().unwrap().len(), 1, "made once");
    let by_arn = service.another();
    let arn = json!({"KeyId": "arn:aws:kms:us-east-1:000000000000:alias/aws/kmsfs"});
    assert_eq!(
        call(&by_arn, "DescribeKey", arn).unwrap().unwrap()["KeyMetadata"]["KeyId"],
        metadata["KeyId"]
    );
}

#[test]
fn rot_5_a_name_of_another_account_or_region_makes_no_managed_key() {
    let service = Service::new();
    for (name, refusal) in [
        ("arn:aws:kms:us-east-1:111111111111:alias/aws/kmsfs", "AccessDeniedException"),
        ("arn:aws:kms:eu-west-1:000000000000:alias/aws/kmsfs", "NotFoundException"),
        ("arn:aws:s3:us-east-1:000000000000:alias/aws/kmsfs", "NotFoundException"),
        ("x:alias/aws/kmsfs", "NotFoundException"),
    ] {
        let refused = service.refusal("DescribeKey", json!({"KeyId": name}));
        assert!(refused.starts_with(refusal), "{refused}");
        service.refusal("Encrypt", json!({"KeyId": name, "Plaintext": "AA=="}));
    }
    assert_eq!(service.ok("ListKeys", json!({}))["Keys"], json!([]));
    service.ok("DescribeKey", json!({"KeyId": format!("{ARN_PREFIX}alias/aws/kmsfs")}));
    assert_eq!(service.ok("ListKeys", json!({}))["Keys"].as_array().unwrap().len(), 1);
}

#[test]
fn rot_5_the_managed_key_cannot_be_managed() {
    let service = Service::new();
    let metadata = service.ok("DescribeKey", json!({"KeyId": "alias/aws/kmsfs"}))["KeyMetadata"].clone();
    let key = Key { id: text(&metadata["KeyId"]), arn: text(&metadata["Arn"]) };
    for operation in [
        "DisableKey",
        "EnableKey",
        "EnableKeyRotation",
        "DisableKeyRotation",
        "RotateKeyOnDemand",
        "ScheduleKeyDeletion",
        "CancelKeyDeletion",
    ] {
        let refusal = service.refusal(operation, json!({"KeyId": key.id}));
        assert!(refusal.starts_with("AccessDeniedException: "), "{operation}: {refusal}");
    }
    let described = json!({"KeyId": key.id, "Description": "mine"});
    assert!(service.refusal("UpdateKeyDescription", described).starts_with("AccessDeniedException: "));
    let named = json!({"AliasName": "alias/mine", "TargetKeyId": key.id});
    assert!(service.refusal("CreateAlias", named).starts_with("AccessDeniedException: "));
    for operation in ["CreateAlias", "UpdateAlias"] {
        let taken = json!({"AliasName": "alias/aws/kmsfs", "TargetKeyId": service.key().id});
        assert!(service.refusal(operation, taken).starts_with("NotAuthorizedException"), "{operation}");
    }
    assert!(
        service
            .refusal("DeleteAlias", json!({"AliasName": "alias/aws/kmsfs"}))
            .starts_with("NotAuthorizedException")
    );
    assert_eq!(service.state(&key), "Enabled");
}

#[test]
fn rot_6_a_rotation_on_demand_does_not_move_the_schedule() {
    let (service, key) = rotating(Some(100));
    service.advance_days(30);
    service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}));
    assert!(is_about(days_left(&service, &key), 70.0));
    service.advance_days(71);
    let kinds: Vec<_> =
        rotations(&service, &key).iter().map(|rotation| text(&rotation["RotationType"])).collect();
    assert_eq!(kinds, ["ON_DEMAND", "AUTOMATIC"]);
}

#[test]
fn rot_6_automatic_rotations_do_not_count_among_the_25() {
    let (service, key) = rotating(Some(90));
    (0..25).for_each(|_| drop(service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}))));
    service.advance_days(91);
    assert_eq!(rotations(&service, &key).len(), 26);
    assert!(
        service.refusal("RotateKeyOnDemand", json!({"KeyId": key.id})).starts_with("LimitExceededException")
    );
    service.advance_days(90);
    assert_eq!(rotations(&service, &key).len(), 27);
}

#[test]
fn rot_6_a_rotation_on_demand_does_not_overtake_one_that_is_minutes_away() {
    let (service, key) = rotating(Some(90));
    service.advance_seconds(90 * DAY - 600);
    let refusal = service.refusal("RotateKeyOnDemand", json!({"KeyId": key.id}));
    assert!(refusal.starts_with("ConflictException: "), "{refusal}");
    service.advance_seconds(1200);
    assert_eq!(rotations(&service, &key).len(), 1);
    service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}));
}

#[test]
fn rot_7_each_rotation_is_recorded_with_both_materials() {
    let (service, key) = rotating(Some(90));
    let first = material(&service, &key);
    service.advance_days(91);
    let second = material(&service, &key);
    service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}));
    let third = material(&service, &key);
    let records = service.records();
    let found: Vec<_> = records
        .iter()
        .filter(|record| record["eventName"] == json!("RotateKey"))
        .map(|record| {
            assert_eq!(record["eventType"], json!("AwsServiceEvent"));
            assert_eq!(record["resources"][0]["ARN"], json!(key.arn));
            record["serviceEventDetails"].clone()
        })
        .collect();
    let details = |kind: &str, previous: &str, current: &str| {
        json!({
            "keyId": key.id, "rotationType": kind, "keyOrigin": "AWS_KMS",
            "previousKeyMaterialId": previous, "currentKeyMaterialId": current,
        })
    };
    assert_eq!(found, [details("AUTOMATIC", &first, &second), details("ON_DEMAND", &second, &third)]);
}

#[test]
fn rot_10_a_due_rotation_is_made_before_the_key_is_used_and_once_by_many_processes() {
    let (service, key) = rotating(Some(90));
    let first = material(&service, &key);
    service.advance_days(91);
    let homes: Vec<_> = (0..4).map(|_| service.another()).collect();
    let used: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = homes
            .iter()
            .map(|home| {
                let key = &key;
                scope.spawn(move || {
                    let request = json!({"KeyId": key.id, "NumberOfBytes": 16});
                    text(&call(home, "GenerateDataKey", request).unwrap().unwrap()["KeyMaterialId"])
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(used.iter().all(|material| *material != first && *material == used[0]), "{used:?}");
    assert_eq!(rotations(&service, &key).len(), 1);
    assert_eq!(
        service.records().iter().filter(|record| record["eventName"] == json!("RotateKey")).count(),
        1
    );
}
