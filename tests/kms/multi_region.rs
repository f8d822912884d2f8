//! Multi-Region keys: what related keys share, what they do not, and how one becomes the primary (AWS KMS Developer Guide,
//! "Multi-Region keys in AWS KMS").

use std::collections::BTreeSet;

use kmsfs::kms::id::{KeyId, KeyScope};
use kmsfs::kms::{AwsError, Operation, Via};
use serde_json::{Value, json};

use crate::fixture::{Key, Service, base64, bytes, policy, records, text};

pub const HERE: &str = "us-east-1";
pub const THERE: &str = "eu-west-1";
pub const ELSEWHERE: &str = "ap-south-1";
/// What AWS KMS says of a region that has one of the related keys already.
pub const TAKEN: &str =
    "AlreadyExistsException: You can create only one replica of each primary key in each AWS Region.";

/// A multi-Region primary key.
pub fn primary(service: &Service) -> Key {
    service.key_of(json!({"MultiRegion": true}))
}

/// What ReplicateKey into `region` answers.
pub fn replicate(service: &Service, key: &Key, region: &str) -> Value {
    service.ok("ReplicateKey", json!({"KeyId": key.id, "ReplicaRegion": region}))
}

pub fn describe_in(service: &Service, region: &str, key: &Key) -> Value {
    service.ok_in(region, "DescribeKey", json!({"KeyId": key.id}))["KeyMetadata"].clone()
}

pub fn state_in(service: &Service, region: &str, key: &Key) -> String {
    text(&describe_in(service, region, key)["KeyState"])
}

pub fn arn_in(key: &Key, region: &str) -> String {
    key.arn.replace(HERE, region)
}

/// MultiRegionKeyType, the primary's region and those of the replicas.
fn configuration(metadata: &Value) -> (String, String, Vec<String>) {
    assert_eq!(metadata["MultiRegion"], json!(true));
    let configuration = &metadata["MultiRegionConfiguration"];
    let of = |key: &Value| {
        assert_eq!(text(&key["Arn"]).split(':').nth(3), key["Region"].as_str());
        assert!(text(&key["Arn"]).ends_with(metadata["KeyId"].as_str().unwrap()));
        text(&key["Region"])
    };
    let replicas = configuration["ReplicaKeys"].as_array().unwrap().iter().map(of).collect();
    (text(&configuration["MultiRegionKeyType"]), of(&configuration["PrimaryKey"]), replicas)
}

fn encrypt_in(service: &Service, region: &str, key: &str, plaintext: &[u8]) -> Value {
    let request = json!({"KeyId": key, "Plaintext": base64(plaintext), "EncryptionContext": {"a": "b"}});
    service.ok_in(region, "Encrypt", request)["CiphertextBlob"].clone()
}

fn decrypt_in(service: &Service, region: &str, blob: &Value) -> Value {
    service.ok_in(region, "Decrypt", json!({"CiphertextBlob": blob, "EncryptionContext": {"a": "b"}}))
}

#[test]
fn a_multi_region_key_has_an_id_of_its_own_form_and_is_a_primary_without_replicas() {
    let service = Service::new();
    let made = &service.ok("CreateKey", json!({"MultiRegion": true}))["KeyMetadata"];
    let id = text(&made["KeyId"]);
    assert_eq!(KeyId::parse(&id).unwrap().scope(), KeyScope::MultiRegion);
    assert!(id.starts_with("mrk-") && id.len() == 36, "{id}");
    assert_eq!(configuration(made), ("PRIMARY".into(), HERE.into(), vec![]));
    let single = service.key();
    let metadata = service.describe(&single);
    assert_eq!((&metadata["MultiRegion"], metadata.get("MultiRegionConfiguration")), (&json!(false), None));
    let missing = service.refusal("DescribeKey", json!({"KeyId": "mrk-00000000000000000000000000000000"}));
    assert!(missing.starts_with("NotFoundException: Key 'arn:aws:kms:us-east-1:"), "{missing}");
    let fake = service.refusal("DescribeKey", json!({"KeyId": "mrk-fake"}));
    assert_eq!(fake, "NotFoundException: Invalid keyId 'mrk-fake'");
}

#[test]
fn a_replica_has_the_id_and_the_kind_of_its_primary_and_is_there_at_once() {
    let service = Service::new();
    let key = primary(&service);
    let tags = json!([{"TagKey": "team", "TagValue": "x"}]);
    let request = json!({
        "KeyId": key.arn, "ReplicaRegion": THERE, "Description": "over there", "Tags": tags
    });
    let answer = service.ok("ReplicateKey", request);
    let members: BTreeSet<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["ReplicaKeyMetadata", "ReplicaPolicy", "ReplicaTags"]));
    let metadata = &answer["ReplicaKeyMetadata"];
    assert_eq!((&metadata["KeyState"], &metadata["Enabled"]), (&json!("Creating"), &json!(false)));
    assert_eq!(answer["ReplicaTags"], tags);
    assert!(text(&answer["ReplicaPolicy"]).contains("Enable IAM User Permissions"));
    let found = describe_in(&service, THERE, &key);
    assert_eq!((&found["KeyState"], &found["Enabled"]), (&json!("Enabled"), &json!(true)));
    assert_eq!(found["Arn"], json!(arn_in(&key, THERE)));
    assert_eq!((&found["KeyId"], &found["Description"]), (&json!(key.id), &json!("over there")));
    assert_eq!(found["CurrentKeyMaterialId"], service.describe(&key)["CurrentKeyMaterialId"]);
    let listed = service.ok_in(THERE, "ListResourceTags", json!({"KeyId": key.id}));
    assert_eq!(listed["Tags"], tags);
    replicate(&service, &key, ELSEWHERE);
    for (region, role) in [(HERE, "PRIMARY"), (THERE, "REPLICA"), (ELSEWHERE, "REPLICA")] {
        let expected = (role.into(), HERE.into(), vec![ELSEWHERE.into(), THERE.into()]);
        assert_eq!(configuration(&describe_in(&service, region, &key)), expected, "{region}");
    }
    // Another process finds the same.
    let other = service.another();
    let found = other.keyring_in(THERE).unwrap();
    assert!(found.key(KeyId::parse(&key.id).unwrap()).unwrap().record.is_replica());
}

#[test]
fn what_one_of_the_related_keys_encrypts_the_others_decrypt_and_no_unrelated_key_does() {
    let service = Service::new();
    let key = primary(&service);
    let early = encrypt_in(&service, HERE, &key.id, b"before there was a replica");
    service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}));
    replicate(&service, &key, THERE);
    let there = encrypt_in(&service, THERE, &key.id, b"there");
    for (region, blob, plaintext) in
        [(THERE, &early, b"before there was a replica".as_slice()), (HERE, &there, b"there")]
    {
        let opened = decrypt_in(&service, region, blob);
        assert_eq!(bytes(&opened["Plaintext"]), plaintext);
        assert_eq!(opened["KeyId"], json!(arn_in(&key, region)));
    }
    let moved = service.ok_in(
        THERE,
        "ReEncrypt",
        json!({"CiphertextBlob": early, "SourceEncryptionContext": {"a": "b"}, "DestinationKeyId": key.id,
               "DestinationEncryptionContext": {"a": "b"}}),
    );
    assert_ne!(moved["SourceKeyMaterialId"], moved["DestinationKeyMaterialId"]);
    assert_eq!(
        bytes(&decrypt_in(&service, HERE, &moved["CiphertextBlob"])["Plaintext"]),
        b"before there was a replica"
    );
    let nowhere = service.refusal_in(ELSEWHERE, "Decrypt", json!({"CiphertextBlob": early}));
    assert!(nowhere.starts_with("AccessDeniedException"), "{nowhere}");
    let wrong = service.refusal_in(THERE, "Decrypt", json!({"CiphertextBlob": early}));
    assert_eq!(wrong, "InvalidCiphertextException", "the context counts there as well");
    let named = json!({"CiphertextBlob": early, "KeyId": key.arn, "EncryptionContext": {"a": "b"}});
    let foreign = service.refusal_in(THERE, "Decrypt", named);
    assert_eq!(foreign, "NotFoundException: Invalid arn us-east-1", "an ARN names a key of its region alone");
}

#[test]
fn signatures_codes_and_secrets_of_related_keys_are_the_same() {
    let service = Service::new();
    let message = base64(b"message");
    for (spec, usage, make, check, algorithm, kind) in [
        ("ECC_NIST_P256", "SIGN_VERIFY", "Sign", "Verify", "ECDSA_SHA_256", "SigningAlgorithm"),
        ("RSA_2048", "SIGN_VERIFY", "Sign", "Verify", "RSASSA_PSS_SHA_256", "SigningAlgorithm"),
        ("HMAC_256", "GENERATE_VERIFY_MAC", "GenerateMac", "VerifyMac", "HMAC_SHA_256", "MacAlgorithm"),
    ] {
        let key = service.key_of(json!({"MultiRegion": true, "KeySpec": spec, "KeyUsage": usage}));
        replicate(&service, &key, THERE);
        let answer = service.ok(make, json!({"KeyId": key.id, "Message": message, kind: algorithm}));
        let made = if make == "Sign" { "Signature" } else { "Mac" };
        let request = json!({"KeyId": key.id, "Message": message, kind: algorithm, made: answer[made]});
        service.ok_in(THERE, check, request);
        if make == "Sign" {
            let public =
                |region| service.ok_in(region, "GetPublicKey", json!({"KeyId": key.id}))["PublicKey"].clone();
            assert_eq!(public(HERE), public(THERE), "{spec}");
        }
    }
}

#[test]
fn state_description_aliases_grants_tags_and_policy_are_each_key_s_own() {
    let service = Service::new();
    let key = primary(&service);
    replicate(&service, &key, THERE);
    service.ok_in(THERE, "UpdateKeyDescription", json!({"KeyId": key.id, "Description": "there"}));
    service.ok_in(THERE, "CreateAlias", json!({"AliasName": "alias/there", "TargetKeyId": key.id}));
    let tags = json!([{"TagKey": "a", "TagValue": "b"}]);
    service.ok_in(THERE, "TagResource", json!({"KeyId": key.id, "Tags": tags}));
    let grantee = "arn:aws:iam::000000000000:user/alice";
    let grant = json!({"KeyId": key.id, "GranteePrincipal": grantee, "Operations": ["Decrypt"]});
    service.ok_in(THERE, "CreateGrant", grant);
    let own = policy(json!([{
        "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "kms:*",
        "Resource": arn_in(&key, THERE)
    }]));
    service.ok_in(THERE, "PutKeyPolicy", json!({"KeyId": key.id, "Policy": own}));
    service.ok_in(THERE, "DisableKey", json!({"KeyId": key.id}));
    assert_eq!((service.state(&key), state_in(&service, THERE, &key)), ("Enabled".into(), "Disabled".into()));
    assert_eq!(service.describe(&key)["Description"], json!(""));
    let empty = |operation: &str, list: &str| {
        let here = service.ok(operation, json!({"KeyId": key.id}))[list].as_array().unwrap().len();
        let there = service.ok_in(THERE, operation, json!({"KeyId": key.id}))[list].as_array().unwrap().len();
        assert_eq!((here, there), (0, 1), "{operation}");
    };
    empty("ListAliases", "Aliases");
    empty("ListGrants", "Grants");
    empty("ListResourceTags", "Tags");
    let text_of = |region| text(&service.ok_in(region, "GetKeyPolicy", json!({"KeyId": key.id}))["Policy"]);
    assert_eq!(text_of(THERE), own);
    assert_ne!(text_of(HERE), own);
    let blob = service.encrypt(&key.id, b"x");
    let refused = service.refusal_in(THERE, "Decrypt", json!({"CiphertextBlob": blob}));
    assert_eq!(refused, format!("DisabledException: {} is disabled.", arn_in(&key, THERE)));
}

#[test]
fn only_an_enabled_primary_is_replicated_and_into_each_region_once() {
    let service = Service::new();
    let (key, single) = (primary(&service), service.key());
    let into = |key: &Key, region: &str| json!({"KeyId": key.id, "ReplicaRegion": region});
    assert_eq!(
        service.refusal("ReplicateKey", into(&single, THERE)),
        format!("UnsupportedOperationException: {} is not a multi-region primary key.", single.arn)
    );
    let own = service.refusal("ReplicateKey", into(&key, HERE));
    assert_eq!(own, TAKEN);
    replicate(&service, &key, THERE);
    let again = service.refusal("ReplicateKey", into(&key, THERE));
    assert_eq!(again, TAKEN);
    assert_eq!(
        service.refusal_in(THERE, "ReplicateKey", into(&key, ELSEWHERE)),
        format!("UnsupportedOperationException: {} is not a multi-region primary key.", arn_in(&key, THERE))
    );
    let invalid = service.refusal("ReplicateKey", into(&key, "Atlantis"));
    assert!(invalid.starts_with("ValidationException: 1 validation error detected"), "{invalid}");
    assert!(invalid.contains("'replicaRegion'"), "{invalid}");
    let missing = service.refusal("ReplicateKey", json!({"KeyId": key.id}));
    assert!(
        missing.contains("'replicaRegion' failed to satisfy constraint: Member must not be null"),
        "{missing}"
    );
    let alias = service.refusal("ReplicateKey", json!({"KeyId": "alias/a", "ReplicaRegion": ELSEWHERE}));
    assert!(alias.starts_with("InvalidArnException"), "{alias}");
    service.disable(&key);
    let disabled = service.refusal("ReplicateKey", into(&key, ELSEWHERE));
    assert_eq!(disabled, format!("DisabledException: {} is disabled.", key.arn));
    service.enable(&key);
    let lonely = primary(&service);
    service.ok("ScheduleKeyDeletion", json!({"KeyId": lonely.id}));
    let pending = service.refusal("ReplicateKey", into(&lonely, ELSEWHERE));
    assert_eq!(pending, format!("KMSInvalidStateException: {} is pending deletion.", lonely.arn));
    let external = service.key_of(json!({"MultiRegion": true, "Origin": "EXTERNAL"}));
    let empty = service.refusal("ReplicateKey", into(&external, ELSEWHERE));
    assert_eq!(empty, format!("KMSInvalidStateException: {} is pending import.", external.arn));
}

#[test]
fn pol_4_a_replica_gets_the_policy_that_is_given_unless_it_locks_the_caller_out() {
    let service = Service::new();
    let key = primary(&service);
    let nobody = policy(json!([{
        "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:user/alice"}, "Action": "kms:*", "Resource": "*"
    }]));
    let request = |more: Value| {
        let mut request = json!({"KeyId": key.id, "ReplicaRegion": THERE, "Policy": nobody});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let refused = service.refusal("ReplicateKey", request(json!({})));
    assert!(
        refused.starts_with("MalformedPolicyDocumentException: The new key policy will not"),
        "{refused}"
    );
    let bad = service.refusal("ReplicateKey", request(json!({"Policy": "{"})));
    assert!(bad.starts_with("MalformedPolicyDocumentException"), "{bad}");
    let answer = service.ok("ReplicateKey", request(json!({"BypassPolicyLockoutSafetyCheck": true})));
    assert_eq!(answer["ReplicaPolicy"], json!(nobody));
    let locked = service.refusal_in(THERE, "DescribeKey", json!({"KeyId": key.id}));
    assert!(locked.starts_with("AccessDeniedException"), "{locked}");
    assert!(locked.contains(&arn_in(&key, THERE)), "{locked}");
}

#[test]
fn pol_1_to_replicate_needs_permission_on_the_primary_and_to_move_it_on_both() {
    let service = Service::new();
    let key = primary(&service);
    let root = json!({"AWS": "arn:aws:iam::000000000000:root"});
    let without = |action: &str| {
        json!([
            {"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"},
            {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": "*"}
        ])
    };
    let into = json!({"KeyId": key.id, "ReplicaRegion": THERE});
    service.put_policy(&key, without("kms:ReplicateKey"));
    let refused = service.refusal("ReplicateKey", into.clone());
    assert!(refused.contains("not authorized to perform: kms:ReplicateKey on resource"), "{refused}");
    service.put_policy(&key, without("kms:UpdatePrimaryRegion"));
    service.ok("ReplicateKey", into);
    let to = json!({"KeyId": key.id, "PrimaryRegion": THERE});
    let refused = service.refusal("UpdatePrimaryRegion", to.clone());
    assert!(refused.contains(&format!("kms:UpdatePrimaryRegion on resource: {}", key.arn)), "{refused}");
    service.put_policy(&key, without("kms:Nothing"));
    let there = json!({"KeyId": key.id, "Policy": policy(without("kms:UpdatePrimaryRegion"))});
    service.ok_in(THERE, "PutKeyPolicy", there);
    let refused = service.refusal("UpdatePrimaryRegion", to);
    let on = format!("kms:UpdatePrimaryRegion on resource: {}", arn_in(&key, THERE));
    assert!(refused.contains(&on), "{refused}");
}

#[test]
fn pol_3_conditions_look_at_the_role_of_a_key_and_at_the_region_that_is_named() {
    let service = Service::new();
    let key = primary(&service);
    let root = json!({"AWS": "arn:aws:iam::000000000000:root"});
    let policy_of = |deny: Value| {
        let mut deny = deny;
        deny["Effect"] = json!("Deny");
        deny["Principal"] = json!("*");
        deny["Resource"] = json!("*");
        json!([{"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}, deny])
    };
    let not_there =
        json!({"Action": "kms:ReplicateKey", "Condition": {"StringNotEquals": {"kms:ReplicaRegion": THERE}}});
    service.put_policy(&key, policy_of(not_there));
    let into = |region: &str| json!({"KeyId": key.id, "ReplicaRegion": region});
    let refused = service.refusal("ReplicateKey", into(ELSEWHERE));
    assert!(refused.starts_with("AccessDeniedException"), "{refused}");
    service.ok("ReplicateKey", into(THERE));
    let no_move = json!({"Action": "*", "Condition": {"StringEquals": {"kms:PrimaryRegion": THERE}}});
    service.put_policy(&key, policy_of(no_move));
    let refused = service.refusal("UpdatePrimaryRegion", json!({"KeyId": key.id, "PrimaryRegion": THERE}));
    assert!(refused.starts_with("AccessDeniedException"), "{refused}");
    service.ok("ReplicateKey", into(ELSEWHERE));
    let encrypt = |region: &str| {
        let request = json!({"KeyId": key.id, "Plaintext": "AA=="});
        crate::fixture::call_in(&service.home, region, "Encrypt", request).is_ok()
    };
    let put = |region: &str, document: Value| {
        service.ok_in(region, "PutKeyPolicy", json!({"KeyId": key.id, "Policy": policy(document)}));
    };
    let no_replica = json!({"Action": "kms:Encrypt", "Condition": {"StringEquals": {"kms:MultiRegionKeyType": "REPLICA"}}});
    for region in [HERE, THERE] {
        put(region, policy_of(no_replica.clone()));
    }
    assert_eq!((encrypt(HERE), encrypt(THERE)), (true, false));
    let single = service.key();
    let none = json!({"Action": "kms:Encrypt", "Condition": {"Bool": {"kms:MultiRegion": "true"}}});
    service.put_policy(&single, policy_of(none.clone()));
    service.encrypt(&single.id, b"x");
    put(HERE, policy_of(none));
    assert!(!encrypt(HERE));
}

#[test]
fn a_replica_becomes_the_primary_and_the_primary_a_replica() {
    let service = Service::new();
    let key = primary(&service);
    replicate(&service, &key, THERE);
    replicate(&service, &key, ELSEWHERE);
    let to = |region: &str| json!({"KeyId": key.id, "PrimaryRegion": region});
    assert_eq!(service.ok("UpdatePrimaryRegion", to(THERE)), Value::Null);
    for (region, role) in [(HERE, "REPLICA"), (THERE, "PRIMARY"), (ELSEWHERE, "REPLICA")] {
        let metadata = describe_in(&service, region, &key);
        let expected = (role.into(), THERE.into(), vec![ELSEWHERE.into(), HERE.into()]);
        assert_eq!(configuration(&metadata), expected, "{region}");
        assert_eq!(metadata["KeyState"], json!("Enabled"));
    }
    let not = |region: &str| {
        format!("UnsupportedOperationException: {} is not a multi-region primary key.", arn_in(&key, region))
    };
    assert_eq!(service.refusal("UpdatePrimaryRegion", to(THERE)), not(HERE));
    assert_eq!(
        service.refusal("ReplicateKey", json!({"KeyId": key.id, "ReplicaRegion": "eu-north-1"})),
        not(HERE)
    );
    service.ok_in(THERE, "ReplicateKey", json!({"KeyId": key.id, "ReplicaRegion": "eu-north-1"}));
    let own = service.refusal_in(THERE, "UpdatePrimaryRegion", to(THERE));
    assert!(own.starts_with("UnsupportedOperationException"), "{own}");
    let nowhere = service.refusal_in(THERE, "UpdatePrimaryRegion", to("sa-east-1"));
    assert_eq!(nowhere, format!("NotFoundException: Key '{}' does not exist", arn_in(&key, "sa-east-1")));
    service.ok_in(ELSEWHERE, "DisableKey", json!({"KeyId": key.id}));
    let disabled = service.refusal_in(THERE, "UpdatePrimaryRegion", to(ELSEWHERE));
    assert_eq!(disabled, format!("DisabledException: {} is disabled.", arn_in(&key, ELSEWHERE)));
    let single = service.key();
    let refused = service.refusal("UpdatePrimaryRegion", json!({"KeyId": single.id, "PrimaryRegion": THERE}));
    assert!(refused.ends_with("is not a multi-region primary key."), "{refused}");
    // Back again.
    service.ok_in(THERE, "UpdatePrimaryRegion", to(HERE));
    assert_eq!(configuration(&service.describe(&key)).0, "PRIMARY");
}

#[test]
fn aud_1_both_operations_and_what_they_bring_are_recorded_with_both_keys() {
    let service = Service::new();
    let key = primary(&service);
    replicate(&service, &key, THERE);
    service.ok("UpdatePrimaryRegion", json!({"KeyId": key.id, "PrimaryRegion": THERE}));
    service.refusal("ReplicateKey", json!({"KeyId": key.id, "ReplicaRegion": ELSEWHERE}));
    let records = records(service.home.dir());
    let of =
        |name: &str| records.iter().filter(|record| record["eventName"] == json!(name)).collect::<Vec<_>>();
    let arns = |record: &Value| -> Vec<String> {
        record["resources"].as_array().unwrap().iter().map(|resource| text(&resource["ARN"])).collect()
    };
    let replicated = of("ReplicateKey");
    assert_eq!(arns(replicated[0]), [key.arn.clone(), arn_in(&key, THERE)]);
    assert_eq!(replicated[0]["requestParameters"]["replicaRegion"], json!(THERE));
    assert_eq!((&replicated[0]["awsRegion"], &replicated[0]["readOnly"]), (&json!(HERE), &json!(false)));
    assert_eq!(replicated[1]["errorCode"], json!("UnsupportedOperationException"));
    assert_eq!(arns(of("UpdatePrimaryRegion")[0]), [key.arn.clone(), arn_in(&key, THERE)]);
    let synchronized = of("SynchronizeMultiRegionKey");
    assert_eq!(synchronized.len(), 1);
    assert_eq!(arns(synchronized[0]), [arn_in(&key, THERE)]);
    assert_eq!(synchronized[0]["eventType"], json!("AwsServiceEvent"));
    assert_eq!(synchronized[0]["awsRegion"], json!(THERE));
    assert_eq!(synchronized[0]["serviceEventDetails"], json!({"keyId": key.id}));
    assert_eq!(service.home.verify_records().unwrap().bad, []);
}

#[test]
fn a_grant_of_one_of_the_related_keys_gives_nothing_of_another() {
    let service = Service::new();
    let key = primary(&service);
    let closed = policy(json!([{
        "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:user/nobody-else"}, "Action": "kms:*",
        "Resource": "*"
    }]));
    let request = json!({"KeyId": key.id, "ReplicaRegion": THERE, "Policy": closed, "BypassPolicyLockoutSafetyCheck": true});
    service.ok("ReplicateKey", request);
    let bob = service.home.caller(4_000_000, 42, Via::Cli);
    let grant = json!({"KeyId": key.id, "GranteePrincipal": bob.principal, "Operations": ["DescribeKey"]});
    service.ok("CreateGrant", grant);
    service.ok(
        "PutKeyPolicy",
        json!({"KeyId": key.id, "Policy": closed, "BypassPolicyLockoutSafetyCheck": true}),
    );
    let ask = |region: &str| {
        let kms = service.home.kms_in(region).unwrap();
        kms.call(&bob, Operation::DescribeKey, json!({"KeyId": key.id}))
    };
    assert!(ask(HERE).is_ok());
    assert_eq!(ask(THERE).unwrap_err().error, AwsError::AccessDenied);
}
