//! Keys of several regions on the command line, as `docs/KEYS.md` shows them.

use std::path::Path;
use std::process::Command;

use crate::fixture::Fixture;

const KEYS: &str = include_str!("../../docs/KEYS.md");

#[test]
fn the_example_of_keys_of_several_regions_in_the_manual_works() {
    let fixture = Fixture::new();
    let section = KEYS.split_once("\n## Keys of several regions\n").unwrap().1.split("\n## ").next().unwrap();
    let example = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_kmsfs")).parent().unwrap();
    let output = Command::new("timeout")
        .args(["-k", "5", "60", "bash", "-euo", "pipefail", "-c", example])
        .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
        .env("KMSFS_HOME", fixture.path("home"))
        .current_dir(fixture.temp.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("for both\n"), "{said}");
    assert!(said.contains("replica of eu-west-1") && said.contains("primary, also us-east-1"), "{said}");
    let listed = fixture.run(&["keys", "--region", "eu-west-1", "--json"]);
    assert!(listed.out.contains("\"replicaRegions\": [\n      \"us-east-1\"\n    ]"), "{}", listed.out);
}

#[test]
fn flags_of_the_operations_are_those_of_aws() {
    let fixture = Fixture::new();
    let key = fixture.kms(&["create-key", "--multi-region"])["KeyMetadata"]["KeyId"].clone();
    let key = key.as_str().unwrap();
    let policy = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}}"#;
    let answer = fixture.kms(&[
        "replicate-key",
        "--key-id",
        key,
        "--replica-region",
        "eu-west-1",
        "--policy",
        policy,
        "--no-bypass-policy-lockout-safety-check",
        "--description",
        "there",
        "--tags",
        "TagKey=a,TagValue=b",
    ]);
    assert_eq!(answer["ReplicaPolicy"], policy);
    assert_eq!(answer["ReplicaTags"][0]["TagKey"], "a");
    assert_eq!(answer["ReplicaKeyMetadata"]["Description"], "there");
    fixture.run(&["kms", "replicate-key", "--key-id", key]).fails(252, &["--replica-region"]);
    fixture.run(&["kms", "update-primary-region", "--key-id", key]).fails(252, &["--primary-region"]);
}

/// Rule T-1: the clock passes dates in their order, whatever regions they are of.
#[test]
fn t_1_a_clock_that_is_moved_stops_at_the_dates_of_other_regions() {
    let fixture = Fixture::bare();
    fixture.ok(&["setup", "--key-file", "key-file", "--no-recovery-code", "--simulated-clock"]);
    let key = fixture.kms(&["create-key", "--multi-region"])["KeyMetadata"]["KeyId"].clone();
    let key = key.as_str().unwrap();
    for region in ["eu-west-1", "ap-south-1"] {
        fixture.kms(&["replicate-key", "--key-id", key, "--replica-region", region]);
    }
    let end = |region: &str, days: &str| {
        let schedule = ["--key-id", key, "--pending-window-in-days", days];
        fixture.kms(&[&["schedule-key-deletion", "--region", region], &schedule[..]].concat());
    };
    end("ap-south-1", "12");
    end("eu-west-1", "7");
    end("us-east-1", "9");
    let told = fixture.ok(&["clock", "advance", "20d", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let done: Vec<_> =
        told["done"].as_array().unwrap().iter().map(|done| done["key"].as_str().unwrap()).collect();
    let arn = |region: &str| format!("arn:aws:kms:{region}:000000000000:key/{key}");
    assert_eq!(done, [arn("eu-west-1"), arn("ap-south-1")], "{told}");
    // The primary's nine days began on the twelfth day, when its last replica was gone.
    let metadata = fixture.kms(&["describe-key", "--key-id", key]);
    assert_eq!(metadata["KeyMetadata"]["KeyState"], "PendingDeletion");
    let told = fixture.ok(&["clock", "advance", "2d"]);
    assert!(told.contains(&format!("deleted {}", arn("us-east-1"))), "{told}");
    let verified = fixture.ok(&["audit", "verify"]);
    assert!(verified.contains("records"), "{verified}");
}
