//! Related keys in the database: of all regions or of none, whatever kills who changes them, and of one primary.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use kmsfs::kms::id::KeyId;
use kmsfs::kms::{Operation, Via};
use kmsfs::store::{Home, HomeError};
use rusqlite::types::Value as Stored;
use serde_json::{Value, json};

use crate::fixture::{Fixture, add_alarm, call, columns_of, rows_of};

const HERE: &str = "us-east-1";
const REGIONS: [&str; 3] = ["eu-west-1", "ap-south-1", "eu-north-1"];

fn call_in(home: &Home, region: &str, operation: Operation, request: Value) -> Value {
    let kms = home.kms_in(region).unwrap();
    kms.call(&home.caller(0, 1, Via::Cli), operation, request).unwrap().unwrap_or_default()
}

fn multi_region_key(home: &Home) -> String {
    let made = call(home, Operation::CreateKey, json!({"MultiRegion": true}));
    made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

fn replicate(home: &Home, key: &str, region: &str) {
    call(home, Operation::ReplicateKey, json!({"KeyId": key, "ReplicaRegion": region}));
}

/// What each region of the home has of the key: role, versions of its material, tags. Each must open what another made.
fn found(home: &Home, key: &str) -> Vec<(String, String, usize, usize)> {
    let id = KeyId::parse(key).unwrap();
    let rings = home.regions().unwrap().into_iter().map(|region| home.keyring_in(&region).unwrap());
    let here = rings.filter_map(|ring| {
        let key = ring.key(id)?.clone();
        let role = key.record.role.unwrap().name().to_owned();
        Some((ring.namespace().region.clone(), role, key.materials.len(), key.tags.len()))
    });
    here.collect()
}

fn each_opens_what_the_others_made(home: &Home, key: &str, regions: &[String]) {
    for from in regions {
        let made = call_in(home, from, Operation::Encrypt, json!({"KeyId": key, "Plaintext": "aGVsbG8="}));
        for to in regions {
            let blob = json!({"CiphertextBlob": made["CiphertextBlob"]});
            assert_eq!(
                call_in(home, to, Operation::Decrypt, blob)["Plaintext"],
                "aGVsbG8=",
                "{from} to {to}"
            );
        }
    }
}

#[test]
fn replicating_and_moving_the_primary_are_killed_into_all_or_nothing() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let key = multi_region_key(&home);
    for _ in 0..3 {
        call(&home, Operation::RotateKeyOnDemand, json!({"KeyId": key}));
    }
    let started = Instant::now();
    let run = |arguments: &[&str]| fixture.command(&[&["kms"], arguments].concat());
    assert!(run(&["describe-key", "--key-id", &key]).output().unwrap().status.success());
    let usual = started.elapsed() * 2;
    let (mut done, mut undone) = (0, 0);
    for round in 0..60_u32 {
        let before = found(&home, &key);
        let primary = before.iter().find(|(_, role, ..)| role == "PRIMARY").unwrap().0.clone();
        let missing = REGIONS.iter().find(|region| before.iter().all(|(known, ..)| known != *region));
        let to = before.iter().find(|(_, role, ..)| role == "REPLICA").map(|(region, ..)| region.clone());
        let mut command = match (missing, to) {
            (Some(region), _) => {
                let tags = "TagKey=a,TagValue=b";
                let into = ["--replica-region", region, "--tags", tags];
                run(&[&["--region", &primary, "replicate-key", "--key-id", &key], &into[..]].concat())
            }
            (None, Some(region)) => run(&[
                "--region",
                &primary,
                "update-primary-region",
                "--key-id",
                &key,
                "--primary-region",
                &region,
            ]),
            (None, None) => unreachable!("a replica is in each region"),
        };
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        thread::sleep(usual * (round * 7 % 32) / 20);
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        let now = fixture.open();
        let after = found(&now, &key);
        assert_eq!(after.iter().filter(|(_, role, ..)| role == "PRIMARY").count(), 1, "{after:?}");
        for (region, _, versions, tags) in &after {
            assert_eq!((*versions, *tags), (4, usize::from(region != HERE)), "{region} in round {round}");
        }
        assert!(after.len() >= before.len(), "{after:?}");
        match after == before {
            true => undone += 1,
            false => done += 1,
        }
        assert!(!output.status.success() || after != before, "what was acknowledged is there");
    }
    assert!(done > 3 && undone > 0, "kills fell on both sides of the change: {done} and {undone}");
    let home = fixture.open();
    let regions: Vec<String> = found(&home, &key).into_iter().map(|(region, ..)| region).collect();
    each_opens_what_the_others_made(&home, &key, &regions);
    assert_eq!(home.verify_records().unwrap().bad, []);
}

#[test]
fn a_rotation_of_related_keys_is_killed_into_all_or_nothing() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let key = multi_region_key(&home);
    REGIONS.iter().for_each(|region| replicate(&home, &key, region));
    let started = Instant::now();
    let rotate = ["kms", "rotate-key-on-demand", "--key-id", &key];
    assert!(fixture.command(&rotate).output().unwrap().status.success());
    let usual = started.elapsed();
    for round in 0..20_u32 {
        let mut child = fixture.command(&rotate).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(usual * (round * 7 % 32) / 20);
        child.kill().unwrap();
        child.wait().unwrap();
        let found = found(&fixture.open(), &key);
        let versions: Vec<_> = found.iter().map(|(_, _, versions, _)| *versions).collect();
        assert!(versions.windows(2).all(|pair| pair[0] == pair[1]), "{versions:?}");
    }
}

#[test]
fn a_replica_and_its_material_are_one_commit_of_one_generation() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let key = multi_region_key(&home);
    let generation = || -> i64 {
        fixture.connect().query_row("SELECT max(generation) FROM heads", [], |row| row.get(0)).unwrap()
    };
    let before = generation();
    replicate(&home, &key, REGIONS[0]);
    assert_eq!(generation(), before + 1);
    call(&home, Operation::UpdatePrimaryRegion, json!({"KeyId": key, "PrimaryRegion": REGIONS[0]}));
    assert_eq!(generation(), before + 2);
}

#[test]
fn another_open_home_sees_what_one_region_changed_in_another() {
    let fixture = Fixture::empty();
    let (one, other) = (fixture.open(), fixture.open());
    let key = multi_region_key(&one);
    replicate(&one, &key, REGIONS[0]);
    let describe = |region| call_in(&other, region, Operation::DescribeKey, json!({"KeyId": key}));
    let roles =
        |region| describe(region)["KeyMetadata"]["MultiRegionConfiguration"]["MultiRegionKeyType"].clone();
    assert_eq!((roles(HERE), roles(REGIONS[0])), (json!("PRIMARY"), json!("REPLICA")));
    call(&one, Operation::UpdatePrimaryRegion, json!({"KeyId": key, "PrimaryRegion": REGIONS[0]}));
    assert_eq!((roles(HERE), roles(REGIONS[0])), (json!("REPLICA"), json!("PRIMARY")));
    call_in(&other, REGIONS[0], Operation::RotateKeyOnDemand, json!({"KeyId": key}));
    assert_eq!(found(&one, &key).iter().map(|(_, _, versions, _)| *versions).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn an_alarm_on_related_keys_stays_until_the_last_of_them_is_destroyed() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let key = multi_region_key(&home);
    replicate(&home, &key, REGIONS[0]);
    add_alarm(&home, "who", Some(&key), kmsfs::kms::alarm::Watch::Refused).unwrap();
    let soon = json!({"KeyId": key, "PendingWindowInDays": 7});
    let destroyed_in = |region: &str| {
        call_in(&home, region, Operation::ScheduleKeyDeletion, soon.clone());
        assert!(home.advance_clock(Duration::from_secs(8 * 86_400)).unwrap());
        call_in(&home, region, Operation::ListKeys, json!({}));
        assert!(home.keyring_in(region).unwrap().key(KeyId::parse(&key).unwrap()).is_none());
    };
    destroyed_in(REGIONS[0]);
    assert_eq!(fixture.open().keyring().unwrap().alarms().count(), 1);
    destroyed_in(HERE);
    let home = fixture.open();
    assert_eq!(home.keyring().unwrap().alarms().count(), 0);
    assert_eq!(rows_of(&fixture.connect(), "alarms").len(), 0);
}

#[test]
fn a_home_in_which_somebody_made_another_key_the_primary_is_refused() {
    let original = Fixture::empty();
    let home = original.open();
    let key = multi_region_key(&home);
    replicate(&home, &key, REGIONS[0]);
    drop(home);
    let cases = [
        "DELETE FROM keys WHERE id LIKE 'mrk-%'",
        "UPDATE keys SET role = 'PRIMARY'",
        "UPDATE keys SET role = NULL WHERE id LIKE 'mrk-%'",
        "UPDATE keys SET pending_window = 7 WHERE id LIKE 'mrk-%'",
    ];
    for case in cases {
        let copy = original.copy();
        copy.connect().execute_batch(&format!("PRAGMA foreign_keys = OFF; {case}")).unwrap();
        let error = Home::open(&copy.home()).unwrap_err();
        assert!(matches!(error, HomeError::Tampered(_)), "{case}: {error}");
    }
}

#[test]
fn a_backup_brings_related_keys_back_as_they_were() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let key = multi_region_key(&home);
    REGIONS.iter().for_each(|region| replicate(&home, &key, region));
    call(&home, Operation::ScheduleKeyDeletion, json!({"KeyId": key, "PendingWindowInDays": 9}));
    let before = found(&home, &key);
    drop(home);
    let backup = fixture.path("backup");
    let to = backup.to_str().unwrap();
    assert!(fixture.command(&["home", "backup", to]).output().unwrap().status.success());
    fs::remove_dir_all(fixture.home()).unwrap();
    let output = fixture.command(&["home", "restore", to]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let home = fixture.open();
    assert_eq!(found(&home, &key), before);
    let metadata = call(&home, Operation::DescribeKey, json!({"KeyId": key}))["KeyMetadata"].clone();
    assert_eq!(metadata["PendingDeletionWindowInDays"], 9);
}

/// A home as the version before left it: without the columns, which authenticate nothing where they are null.
#[test]
fn a_home_of_schema_6_gets_the_columns_and_keeps_its_keys() {
    let fixture = Fixture::full();
    let home = fixture.open();
    let there = call_in(&home, REGIONS[0], Operation::CreateKey, json!({}))["KeyMetadata"]["KeyId"].clone();
    drop(home);
    let before = rows_of(&fixture.connect(), "keys");
    let older = fixture.connect();
    older
        .execute_batch(
            "ALTER TABLE keys DROP COLUMN role; ALTER TABLE keys DROP COLUMN pending_window; PRAGMA user_version = 6",
        )
        .unwrap();
    assert!(!columns_of(&older, "keys").contains(&"role".to_owned()));
    drop(older);
    let home = fixture.open();
    let connection = fixture.connect();
    let schema: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(schema, 7);
    let after = rows_of(&connection, "keys");
    let column = columns_of(&connection, "keys").iter().position(|name| name == "role").unwrap();
    assert!(after.iter().all(|row| row[column] == Stored::Null));
    assert_eq!(after.len(), before.len());
    call_in(&home, REGIONS[0], Operation::Encrypt, json!({"KeyId": there, "Plaintext": "aGVsbG8="}));
    let key = multi_region_key(&home);
    replicate(&home, &key, REGIONS[0]);
    drop(home);
    assert_eq!(found(&fixture.open(), &key).len(), 2);
}

#[test]
fn what_a_change_leaves_in_memory_is_what_a_fresh_load_finds_in_every_region() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let key = multi_region_key(&home);
    let [one, two, _] = REGIONS;
    let id = json!({"KeyId": key});
    let with = |name: &str, value: Value| {
        let mut request = id.clone();
        request[name] = value;
        request
    };
    let rotating = with("RotationPeriodInDays", json!(90));
    let soon = with("PendingWindowInDays", json!(7));
    let steps = [
        (HERE, Operation::ReplicateKey, with("ReplicaRegion", json!(one))),
        (one, Operation::TagResource, with("Tags", json!([{"TagKey": "a", "TagValue": "b"}]))),
        (HERE, Operation::EnableKeyRotation, rotating),
        (HERE, Operation::ReplicateKey, with("ReplicaRegion", json!(two))),
        (HERE, Operation::RotateKeyOnDemand, id.clone()),
        (two, Operation::DisableKey, id.clone()),
        (HERE, Operation::UpdatePrimaryRegion, with("PrimaryRegion", json!(one))),
        (one, Operation::RotateKeyOnDemand, id.clone()),
        (one, Operation::DisableKeyRotation, id.clone()),
        (HERE, Operation::UpdateKeyDescription, with("Description", json!("here"))),
        (one, Operation::ScheduleKeyDeletion, soon.clone()),
        (two, Operation::ScheduleKeyDeletion, soon.clone()),
        (HERE, Operation::ScheduleKeyDeletion, soon),
    ];
    let told = |home: &Home| {
        let regions = [HERE, one, two, "sa-east-1"];
        regions.map(|region| format!("{:?}", home.keyring_in(region).unwrap()))
    };
    for (region, operation, request) in steps {
        call_in(&home, region, operation, request);
        assert_eq!(told(&home), told(&fixture.open()), "after {operation:?} in {region}");
    }
    // The replicas go, and then the primary.
    for days in [8, 8] {
        assert!(home.advance_clock(Duration::from_secs(days * 86_400)).unwrap());
        for region in [HERE, one, two] {
            call_in(&home, region, Operation::ListKeys, json!({}));
        }
        // Who opens a home does what is due in it, so that this is compared where nothing is.
        assert_eq!(told(&home), told(&fixture.open()));
    }
    assert_eq!(home.regions().unwrap(), [HERE, two, one], "tombstones are left");
    assert!(found(&home, &key).is_empty());
}
