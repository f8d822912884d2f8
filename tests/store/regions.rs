//! Regions: each has keys of its own in the one store of the home.

use std::time::Duration;

use kmsfs::kms::id::KeyId;
use kmsfs::kms::{AwsError, KmsError, Operation, Via};
use kmsfs::store::{Home, HomeError};
use serde_json::{Value, json};

use crate::fixture::{Fixture, add_alarm, call, new_key};

const HERE: &str = "us-east-1";
const THERE: &str = "eu-central-1";

fn try_in(home: &Home, region: &str, operation: Operation, request: Value) -> Result<Value, KmsError> {
    let kms = home.kms_in(region).unwrap();
    Ok(kms.call(&home.caller(0, 1, Via::Cli), operation, request)?.unwrap_or_default())
}

fn call_in(home: &Home, region: &str, operation: Operation, request: Value) -> Value {
    try_in(home, region, operation, request).unwrap()
}

fn new_key_in(home: &Home, region: &str, alias: &str) -> String {
    let made = call_in(home, region, Operation::CreateKey, json!({"Description": region}));
    let id = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    assert!(made["KeyMetadata"]["Arn"].as_str().unwrap().starts_with(&format!("arn:aws:kms:{region}:")));
    call_in(home, region, Operation::CreateAlias, json!({"AliasName": alias, "TargetKeyId": id}));
    id
}

/// Everything of a key: material of two versions, a grant and a tag.
fn furnish(home: &Home, region: &str, id: &str) {
    call_in(home, region, Operation::RotateKeyOnDemand, json!({"KeyId": id}));
    let tags = json!([{"TagKey": "team:x", "TagValue": "a"}]);
    call_in(home, region, Operation::TagResource, json!({"KeyId": id, "Tags": tags}));
    let grantee = "arn:aws:iam::000000000000:user/alice";
    let grant = json!({"KeyId": id, "GranteePrincipal": grantee, "Operations": ["Decrypt"]});
    call_in(home, region, Operation::CreateGrant, grant);
}

fn keys(home: &Home, region: &str) -> Vec<String> {
    home.keyring_in(region).unwrap().keys().map(|key| key.record.id.to_string()).collect()
}

#[test]
fn each_region_has_keys_and_aliases_of_its_own_and_they_stay() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    assert_eq!(home.regions().unwrap(), [HERE]);
    let (here, there) = (new_key_in(&home, HERE, "alias/a"), new_key_in(&home, THERE, "alias/a"));
    furnish(&home, HERE, &here);
    furnish(&home, THERE, &there);
    let secret = json!({"KeyId": "alias/a", "Plaintext": "aGVsbG8="});
    let sealed = call_in(&home, THERE, Operation::Encrypt, secret)["CiphertextBlob"].clone();
    for home in [&home, &fixture.open()] {
        assert_eq!(home.regions().unwrap(), [HERE, THERE]);
        assert_eq!((keys(home, HERE), keys(home, THERE)), (vec![here.clone()], vec![there.clone()]));
        let opened = call_in(home, THERE, Operation::Decrypt, json!({"CiphertextBlob": sealed}));
        assert_eq!(opened["Plaintext"], "aGVsbG8=");
        let elsewhere = try_in(home, HERE, Operation::Decrypt, json!({"CiphertextBlob": sealed}));
        assert_eq!(elsewhere.unwrap_err().error, AwsError::AccessDenied);
        let unknown = try_in(home, HERE, Operation::DescribeKey, json!({"KeyId": there})).unwrap_err();
        assert_eq!(unknown.error, AwsError::NotFound);
        let arn = format!("arn:aws:kms:{THERE}:000000000000:key/{there}");
        let foreign = try_in(home, HERE, Operation::DescribeKey, json!({"KeyId": arn})).unwrap_err();
        assert_eq!(foreign.message.as_deref(), Some("Invalid arn eu-central-1"));
        let ring = home.keyring_in(THERE).unwrap();
        let key = ring.key(KeyId::parse(&there).unwrap()).unwrap();
        assert_eq!((key.materials.len(), key.grants.all().count(), key.tags.len()), (2, 1, 1));
    }
}

#[test]
fn a_change_in_one_region_is_seen_by_others_that_have_the_home_open_and_disturbs_no_other_region() {
    let fixture = Fixture::empty();
    let (one, other) = (fixture.open(), fixture.open());
    let (here, there) = (new_key_in(&one, HERE, "alias/a"), new_key_in(&other, THERE, "alias/a"));
    call_in(&one, THERE, Operation::DisableKey, json!({"KeyId": there}));
    let encrypt = |home, region| {
        try_in(home, region, Operation::Encrypt, json!({"KeyId": "alias/a", "Plaintext": "aGVsbG8="}))
    };
    assert_eq!(encrypt(&other, THERE).unwrap_err().error, AwsError::Disabled);
    encrypt(&other, HERE).unwrap();
    call_in(&other, THERE, Operation::DeleteAlias, json!({"AliasName": "alias/a"}));
    assert_eq!(encrypt(&one, THERE).unwrap_err().error, AwsError::NotFound);
    encrypt(&one, HERE).unwrap();
    assert_eq!(keys(&one, HERE), [here]);
}

#[test]
fn time_credentials_and_alarms_are_the_homes() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let there = new_key_in(&home, THERE, "alias/a");
    let before = home.keyring_in(THERE).unwrap().clock().simulated_offset;
    assert!(home.advance_clock(Duration::from_secs(60)).unwrap());
    home.create_credential(&home.caller(0, 1, Via::Cli), "alice").unwrap();
    let here = new_key(&home, "a", "alias/a");
    add_alarm(&home, "who", Some(&here), kmsfs::kms::alarm::Watch::Refused).unwrap();
    for home in [&home, &fixture.open()] {
        let ring = home.keyring_in(THERE).unwrap();
        assert_ne!(ring.clock().simulated_offset, before);
        assert_eq!((ring.credentials().count(), ring.alarms().count()), (1, 1));
        assert_eq!(home.keyring_in("ap-south-1").unwrap().credentials().count(), 1, "where nothing is");
    }
    call_in(&home, THERE, Operation::DisableKey, json!({"KeyId": there}));
    assert_eq!(home.keyring().unwrap().alarms().count(), 1);
    assert!(matches!(home.kms_in("EU west"), Err(HomeError::InvalidSetting { .. })));
}

#[test]
fn del_3_what_is_due_in_another_region_is_done_at_the_next_start() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let there = new_key_in(&home, THERE, "alias/a");
    furnish(&home, THERE, &there);
    let soon = json!({"KeyId": there, "PendingWindowInDays": 7});
    call_in(&home, THERE, Operation::ScheduleKeyDeletion, soon);
    assert!(home.advance_clock(Duration::from_secs(8 * 86_400)).unwrap());
    drop(home);
    let home = fixture.open();
    let rows = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        fixture.connect().query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    let counts = ["keys", "materials", "aliases", "grants", "tags"].map(rows);
    assert_eq!((counts, rows("tombstones")), ([0; 5], 1));
    assert_eq!(home.keyring_in(THERE).unwrap().tombstones().count(), 1);
    assert_eq!(home.keyring().unwrap().tombstones().count(), 0);
    let gone = try_in(&home, THERE, Operation::DescribeKey, json!({"KeyId": there})).unwrap_err();
    assert_eq!(gone.error, AwsError::NotFound);
}

#[test]
fn a_row_that_was_moved_to_another_region_is_refused() {
    let original = Fixture::empty();
    let home = original.open();
    let (here, there) = (new_key_in(&home, HERE, "alias/a"), new_key_in(&home, THERE, "alias/b"));
    furnish(&home, HERE, &here);
    furnish(&home, THERE, &there);
    drop(home);
    let moves = [
        ("keys", "id", ""),
        ("materials", "id", "key_id"),
        ("aliases", "name", "key_id"),
        ("grants", "id", "key_id"),
        ("tags", "id", "key_id"),
    ];
    for (table, first, second) in moves {
        for (from, to) in
            [("", "eu-west-1:"), ("", "us-east-1:"), ("eu-central-1:", ""), ("eu-central-1:", "eu-west-1:")]
        {
            let copy = original.copy();
            let column = if second.is_empty() { first } else { second };
            let set = [first, second].into_iter().filter(|name| !name.is_empty());
            let set = set.map(|name| format!("{name} = '{to}' || substr({name}, {})", from.len() + 1));
            let set = set.collect::<Vec<_>>().join(", ");
            let is_from = match from {
                "" => format!("{column} NOT LIKE '%:%'"),
                from => format!("{column} LIKE '{from}%'"),
            };
            let sql = format!("PRAGMA foreign_keys = OFF; UPDATE {table} SET {set} WHERE {is_from}");
            copy.connect().execute_batch(&sql).unwrap();
            let error = Home::open(&copy.home()).unwrap_err();
            assert!(matches!(error, HomeError::Tampered(_)), "{table} {from:?} {to:?}: {error}");
        }
    }
    call(&original.open(), Operation::ListKeys, json!({}));
}
