//! Key policies: the three operations on them, and every operation of every door asking them (rules POL-1 to POL-4).

use kmsfs::context::EncryptionContext;
use kmsfs::datakey::{Asker, DataKeyError, KeyArn, Usability};
use kmsfs::kms::{Operation, Via};
use serde_json::{Value, json};

use crate::fixture::{Key, Service, policy, text};

const ROOT: &str = "arn:aws:iam::000000000000:root";
/// Users that every Debian has.
const DAEMON: u32 = 1;
const BIN: u32 = 2;
const DAEMON_ARN: &str = "arn:aws:iam::000000000000:user/daemon";
const BIN_ARN: &str = "arn:aws:iam::000000000000:user/bin";

/// The owner does everything with the key.
fn owner_alone() -> Value {
    json!({
        "Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalArn": ROOT}}
    })
}

fn allow(principal: &str, actions: Value) -> Value {
    json!({"Effect": "Allow", "Principal": {"AWS": principal}, "Action": actions, "Resource": "*"})
}

fn not_allowed(user: &str, action: &str, key: &Key) -> String {
    format!(
        "AccessDeniedException: User: {user} is not authorized to perform: kms:{action} on resource: {} because no \
         resource-based policy allows the kms:{action} action",
        key.arn
    )
}

const UNKNOWN: &str = "AccessDeniedException: The ciphertext refers to a customer master key that does not exist, does not exist in \
                       this region, or you are not allowed to access.";

#[test]
fn pol_1_a_key_has_the_default_policy_until_it_is_given_another() {
    let service = Service::new();
    let key = service.key();
    let default = json!({
        "Policy": "{\"Version\":\"2012-10-17\",\"Id\":\"key-default-1\",\"Statement\":[{\"Sid\":\"Enable IAM User \
                   Permissions\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::000000000000:root\"},\
                   \"Action\":\"kms:*\",\"Resource\":\"*\"}]}",
        "PolicyName": "default"
    });
    assert_eq!(service.ok("GetKeyPolicy", json!({"KeyId": key.id})), default);
    assert_eq!(service.ok("GetKeyPolicy", json!({"KeyId": key.arn, "PolicyName": "default"})), default);
    service.ok_to(DAEMON, "DescribeKey", json!({"KeyId": key.id}));
    let text = format!(" {}\n", policy(json!([owner_alone()])));
    assert_eq!(service.ok("PutKeyPolicy", json!({"KeyId": key.id, "Policy": text})), Value::Null);
    let answer = service.ok("GetKeyPolicy", json!({"KeyId": key.id}));
    assert_eq!(answer, json!({"Policy": text, "PolicyName": "default"}), "as it was put");
    let names = json!({"PolicyNames": ["default"], "Truncated": false});
    assert_eq!(service.ok("ListKeyPolicies", json!({"KeyId": key.id})), names);
    // Another process obeys it, too, and so does one that comes later.
    let request = json!({"KeyId": key.id});
    let refused = crate::fixture::call_as(&service.another(), DAEMON, "DescribeKey", request).unwrap_err();
    assert_eq!(refused.to_string(), not_allowed(DAEMON_ARN, "DescribeKey", &key));
}

#[test]
fn pol_1_a_key_is_made_with_a_policy() {
    let service = Service::new();
    let document = policy(json!([owner_alone(), allow(DAEMON_ARN, json!("kms:Describe*"))]));
    let key = service.key_of(json!({"Policy": document}));
    assert_eq!(text(&service.ok("GetKeyPolicy", json!({"KeyId": key.id}))["Policy"]), document);
    service.ok_to(DAEMON, "DescribeKey", json!({"KeyId": key.id}));
    assert_eq!(
        service.refusal_to(BIN, "DescribeKey", json!({"KeyId": key.id})),
        not_allowed(BIN_ARN, "DescribeKey", &key)
    );
}

#[test]
fn pol_1_an_explicit_deny_is_told_apart() {
    let service = Service::new();
    let key = service.key();
    let mut deny = allow(BIN_ARN, json!(["kms:Describe*", "kms:Encrypt"]));
    deny["Effect"] = json!("Deny");
    service.put_policy(&key, json!([allow(ROOT, json!("kms:*")), deny]));
    assert_eq!(
        service.refusal_to(BIN, "DescribeKey", json!({"KeyId": key.id})),
        format!(
            "AccessDeniedException: User: {BIN_ARN} is not authorized to perform: kms:DescribeKey on resource: {} with an \
             explicit deny in a resource-based policy",
            key.arn
        )
    );
    service.ok_to(BIN, "GetKeyPolicy", json!({"KeyId": key.id}));
    service.ok_to(DAEMON, "DescribeKey", json!({"KeyId": key.id}));
}

#[test]
fn pol_1_what_is_malformed_is_refused_with_its_place_and_changes_nothing() {
    let service = Service::new();
    let key = service.key();
    let put = |text: &str| service.refusal("PutKeyPolicy", json!({"KeyId": key.id, "Policy": text}));
    assert_eq!(
        put(&policy(json!([owner_alone(), allow("alice", json!("kms:*"))]))),
        "MalformedPolicyDocumentException: Statement[1].Principal.AWS: \"alice\" is an invalid principal"
    );
    assert!(put("{").starts_with("MalformedPolicyDocumentException: it is not a JSON document: "));
    let malformed = service.refusal("CreateKey", json!({"Policy": "[]"}));
    assert_eq!(malformed, "MalformedPolicyDocumentException: it is not an object");
    let fits = policy(json!([owner_alone()]));
    let padded = |len: usize| format!("{fits}{}", " ".repeat(len - fits.len()));
    assert_eq!(
        put(&padded(32 * 1024 + 1)),
        "LimitExceededException: The policy is longer than 32768 characters."
    );
    assert!(put(&padded(131_073)).starts_with("ValidationException: 1 validation error detected: Value '{"));
    assert_eq!(
        put("\u{100}"),
        "ValidationException: 1 validation error detected: Value '\u{100}' at 'policy' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: [\\u0009\\u000A\\u000D\\u0020-\\u00FF]+"
    );
    service.ok_to(DAEMON, "DescribeKey", json!({"KeyId": key.id}));
    service.ok("PutKeyPolicy", json!({"KeyId": key.id, "Policy": padded(32 * 1024)}));
}

#[test]
fn pol_1_there_is_one_policy_by_the_name_of_default() {
    let service = Service::new();
    let key = service.key();
    let document = policy(json!([owner_alone()]));
    let other = json!({"KeyId": key.id, "PolicyName": "other", "Policy": document});
    assert_eq!(service.refusal("PutKeyPolicy", other), "NotFoundException: No such policy exists");
    let other = json!({"KeyId": key.id, "PolicyName": "other"});
    assert_eq!(service.refusal("GetKeyPolicy", other), "NotFoundException: No such policy exists");
    let odd = service.refusal("GetKeyPolicy", json!({"KeyId": key.id, "PolicyName": "a b"}));
    assert!(odd.ends_with("Member must satisfy regular expression pattern: [\\w]+"), "{odd}");
    service.ok("PutKeyPolicy", json!({"KeyId": key.id, "PolicyName": "default", "Policy": document}));
    let alias = json!({"KeyId": "alias/none"});
    assert_eq!(
        service.refusal("GetKeyPolicy", alias),
        "InvalidArnException: Key Aliases are not supported for this operation."
    );
}

/// Each operation that names a key, with the permissions that it needs.
fn operations(key: &Key, alias: &str, blob: &str) -> Vec<(&'static str, Value, &'static [&'static str])> {
    let id = &key.id;
    let document = policy(json!([allow(ROOT, json!("kms:*"))]));
    vec![
        ("Encrypt", json!({"KeyId": id, "Plaintext": "c2VjcmV0"}), &["Encrypt"]),
        ("Decrypt", json!({"KeyId": id, "CiphertextBlob": blob}), &["Decrypt"]),
        (
            "ReEncrypt",
            json!({"SourceKeyId": id, "CiphertextBlob": blob, "DestinationKeyId": id}),
            &["ReEncryptFrom", "ReEncryptTo"],
        ),
        ("GenerateDataKey", json!({"KeyId": id, "KeySpec": "AES_256"}), &["GenerateDataKey"]),
        (
            "GenerateDataKeyWithoutPlaintext",
            json!({"KeyId": id, "KeySpec": "AES_256"}),
            &["GenerateDataKeyWithoutPlaintext"],
        ),
        (
            "GenerateDataKeyPair",
            json!({"KeyId": id, "KeyPairSpec": "ECC_NIST_P256"}),
            &["GenerateDataKeyPair"],
        ),
        (
            "GenerateDataKeyPairWithoutPlaintext",
            json!({"KeyId": id, "KeyPairSpec": "ECC_NIST_P256"}),
            &["GenerateDataKeyPairWithoutPlaintext"],
        ),
        ("Sign", json!({"KeyId": id, "Message": "AAAA", "SigningAlgorithm": "ECDSA_SHA_256"}), &["Sign"]),
        (
            "Verify",
            json!({"KeyId": id, "Message": "AAAA", "SigningAlgorithm": "ECDSA_SHA_256", "Signature": "AAAA"}),
            &["Verify"],
        ),
        (
            "GenerateMac",
            json!({"KeyId": id, "Message": "AAAA", "MacAlgorithm": "HMAC_SHA_256"}),
            &["GenerateMac"],
        ),
        (
            "VerifyMac",
            json!({"KeyId": id, "Message": "AAAA", "MacAlgorithm": "HMAC_SHA_256", "Mac": "AAAA"}),
            &["VerifyMac"],
        ),
        ("GetPublicKey", json!({"KeyId": id}), &["GetPublicKey"]),
        (
            "DeriveSharedSecret",
            json!({"KeyId": id, "KeyAgreementAlgorithm": "ECDH", "PublicKey": "AAAA"}),
            &["DeriveSharedSecret"],
        ),
        ("DescribeKey", json!({"KeyId": id}), &["DescribeKey"]),
        ("GetKeyPolicy", json!({"KeyId": id}), &["GetKeyPolicy"]),
        ("ListKeyPolicies", json!({"KeyId": id}), &["ListKeyPolicies"]),
        ("UpdateAlias", json!({"AliasName": alias, "TargetKeyId": id}), &["UpdateAlias"]),
        ("CreateAlias", json!({"AliasName": format!("{alias}-more"), "TargetKeyId": id}), &["CreateAlias"]),
        ("DeleteAlias", json!({"AliasName": format!("{alias}-more")}), &["DeleteAlias"]),
        ("UpdateKeyDescription", json!({"KeyId": id, "Description": "d"}), &["UpdateKeyDescription"]),
        ("RotateKeyOnDemand", json!({"KeyId": id}), &["RotateKeyOnDemand"]),
        (
            "GetParametersForImport",
            json!({"KeyId": id, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}),
            &["GetParametersForImport"],
        ),
        (
            "ImportKeyMaterial",
            json!({"KeyId": id, "EncryptedKeyMaterial": "AAAA", "ImportToken": "AAAA",
                   "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}),
            &["ImportKeyMaterial"],
        ),
        ("DeleteImportedKeyMaterial", json!({"KeyId": id}), &["DeleteImportedKeyMaterial"]),
        ("EnableKeyRotation", json!({"KeyId": id}), &["EnableKeyRotation"]),
        ("DisableKeyRotation", json!({"KeyId": id}), &["DisableKeyRotation"]),
        ("GetKeyRotationStatus", json!({"KeyId": id}), &["GetKeyRotationStatus"]),
        ("ListKeyRotations", json!({"KeyId": id}), &["ListKeyRotations"]),
        ("GetKeyLastUsage", json!({"KeyId": id}), &["GetKeyLastUsage"]),
        ("ListGrants", json!({"KeyId": id}), &["ListGrants"]),
        (
            "CreateGrant",
            json!({"KeyId": id, "GranteePrincipal": BIN_ARN, "Operations": ["DescribeKey"]}),
            &["CreateGrant"],
        ),
        ("RevokeGrant", json!({"KeyId": id, "GrantId": "0".repeat(64)}), &["RevokeGrant"]),
        ("TagResource", json!({"KeyId": id, "Tags": [{"TagKey": "a", "TagValue": "b"}]}), &["TagResource"]),
        ("UntagResource", json!({"KeyId": id, "TagKeys": ["a"]}), &["UntagResource"]),
        ("ListResourceTags", json!({"KeyId": id}), &["ListResourceTags"]),
        ("ReplicateKey", json!({"KeyId": id, "ReplicaRegion": "eu-west-1"}), &["ReplicateKey"]),
        ("UpdatePrimaryRegion", json!({"KeyId": id, "PrimaryRegion": "eu-west-1"}), &["UpdatePrimaryRegion"]),
        ("DisableKey", json!({"KeyId": id}), &["DisableKey"]),
        ("EnableKey", json!({"KeyId": id}), &["EnableKey"]),
        ("ScheduleKeyDeletion", json!({"KeyId": id}), &["ScheduleKeyDeletion"]),
        ("CancelKeyDeletion", json!({"KeyId": id}), &["CancelKeyDeletion"]),
        ("PutKeyPolicy", json!({"KeyId": id, "Policy": document}), &["PutKeyPolicy"]),
    ]
}

/// Operations that no policy is asked about: they name no key, or (ListAliases) are IAM's to allow on AWS.
/// RetireGrant is the grant's own to allow: tests/kms/grants.rs.
const UNASKED: [&str; 6] =
    ["CreateKey", "ListKeys", "GenerateRandom", "ListAliases", "ListRetirableGrants", "RetireGrant"];

/// Operations of keys that are not symmetric keys for encryption.
const OF_OTHERS: [&str; 6] =
    ["Sign", "Verify", "GenerateMac", "VerifyMac", "GetPublicKey", "DeriveSharedSecret"];

#[test]
fn pol_1_every_operation_asks_for_its_permission_before_the_state() {
    let service = Service::new();
    let key = service.key();
    service.alias("alias/it", &key);
    let blob = service.encrypt(&key.id, b"secret");
    let cases = operations(&key, "alias/it", &blob);
    for operation in Operation::ALL {
        let name = operation.name();
        let covered = cases.iter().any(|(case, ..)| *case == name);
        assert_eq!(covered, !UNASKED.contains(&name), "{name}");
    }
    for (operation, request, permissions) in cases {
        for (at, missing) in permissions.iter().enumerate() {
            let held: Vec<_> = permissions[..at].iter().map(|name| format!("kms:{name}")).collect();
            let mut statements = vec![owner_alone()];
            if !held.is_empty() {
                statements.push(allow(DAEMON_ARN, json!(held)));
            }
            service.put_policy(&key, json!(statements));
            let refusal = service.refusal_to(DAEMON, operation, request.clone());
            assert_eq!(refusal, not_allowed(DAEMON_ARN, missing, &key), "{operation} without {missing}");
        }
        let held: Vec<_> = permissions.iter().map(|name| format!("kms:{name}")).collect();
        let with_lockout = if operation == "PutKeyPolicy" { json!("kms:PutKeyPolicy") } else { json!(held) };
        service.put_policy(&key, json!([owner_alone(), allow(DAEMON_ARN, with_lockout)]));
        let before = service.state(&key);
        if operation == "RevokeGrant" {
            let refusal = service.refusal_to(DAEMON, operation, request.clone());
            assert!(refusal.starts_with("NotFoundException: Grant ID 0000"), "{refusal}");
        } else if operation.contains("Import") {
            // The key is not one for imports; who may not is not told even that.
            let refusal = service.refusal_to(DAEMON, operation, request.clone());
            assert!(
                refusal.ends_with("origin is AWS_KMS which is not valid for this operation."),
                "{refusal}"
            );
        } else if ["ReplicateKey", "UpdatePrimaryRegion"].contains(&operation) {
            // It is of one region; tests/kms/multi_region.rs has those that are not.
            let refusal = service.refusal_to(DAEMON, operation, request.clone());
            assert!(refusal.ends_with("is not a multi-region primary key."), "{refusal}");
        } else if OF_OTHERS.contains(&operation) {
            // Nor is it one for these; tests/kms/kinds.rs has those that are.
            let refusal = service.refusal_to(DAEMON, operation, request.clone());
            let expected = ["InvalidKeyUsageException", "UnsupportedOperationException"];
            assert!(expected.iter().any(|expected| refusal.starts_with(expected)), "{refusal}");
        } else {
            service.ok_to(DAEMON, operation, request.clone());
        }
        // Who may not is not told in which state the key is.
        if operation == "EnableKey" {
            service.put_policy(&key, json!([owner_alone()]));
            service.disable(&key);
            for operation in ["Encrypt", "Decrypt"] {
                let (_, request, permissions) = operations(&key, "alias/it", &blob)
                    .into_iter()
                    .find(|(name, ..)| *name == operation)
                    .unwrap();
                let refusal = service.refusal_to(DAEMON, operation, request);
                assert_eq!(refusal, not_allowed(DAEMON_ARN, permissions[0], &key));
            }
            service.enable(&key);
        }
        assert!(!before.is_empty());
    }
}

#[test]
fn pol_1_an_alias_is_moved_by_who_may_on_both_keys() {
    let service = Service::new();
    let (from, to) = (service.key(), service.key());
    service.alias("alias/it", &from);
    let request = json!({"AliasName": "alias/it", "TargetKeyId": to.id});
    service.put_policy(&from, json!([owner_alone()]));
    let refusal = service.refusal_to(DAEMON, "UpdateAlias", request.clone());
    assert_eq!(refusal, not_allowed(DAEMON_ARN, "UpdateAlias", &from));
    service.put_policy(&to, json!([owner_alone()]));
    service.put_policy(&from, json!([allow(ROOT, json!("kms:*"))]));
    let refusal = service.refusal_to(DAEMON, "UpdateAlias", request.clone());
    assert_eq!(refusal, not_allowed(DAEMON_ARN, "UpdateAlias", &to));
    service.put_policy(&to, json!([allow(ROOT, json!("kms:*"))]));
    service.ok_to(DAEMON, "UpdateAlias", request);
}

#[test]
fn pol_1_what_names_no_key_everybody_of_the_account_may() {
    let service = Service::new();
    let key = service.key_of(json!({"Policy": policy(json!([owner_alone()]))}));
    service.alias("alias/it", &key);
    service.ok_to(DAEMON, "ListKeys", json!({}));
    service.ok_to(DAEMON, "ListAliases", json!({"KeyId": key.id}));
    service.ok_to(DAEMON, "GenerateRandom", json!({"NumberOfBytes": 8}));
    service.ok_to(DAEMON, "CreateKey", json!({}));
}

#[test]
fn pol_1_a_ciphertext_tells_who_may_not_open_it_nothing() {
    let service = Service::new();
    let key = service.key_of(json!({"Policy": policy(json!([owner_alone()]))}));
    let blob = service.encrypt(&key.id, b"secret");
    assert_eq!(service.refusal_to(DAEMON, "Decrypt", json!({"CiphertextBlob": blob})), UNKNOWN);
    let own = service.key();
    let request = json!({"CiphertextBlob": blob, "DestinationKeyId": own.id});
    assert_eq!(service.refusal_to(DAEMON, "ReEncrypt", request), UNKNOWN);
    let never = json!({"KeyId": "12345678-1234-4234-8234-123456789012"});
    assert_eq!(
        service.refusal_to(DAEMON, "DescribeKey", never),
        "NotFoundException: Key 'arn:aws:kms:us-east-1:000000000000:key/12345678-1234-4234-8234-123456789012' does not exist"
    );
}

#[test]
fn pol_2_the_account_in_a_policy_means_all_of_its_users_and_a_user_himself() {
    let service = Service::new();
    let key = service.key_of(json!({"Policy": policy(json!([
        allow(ROOT, json!("kms:Describe*")),
        json!({"Effect": "Allow", "Principal": {"AWS": [ROOT]}, "NotAction": "kms:Encrypt", "Resource": "*",
               "Condition": {"StringEquals": {"aws:PrincipalArn": ROOT}}}),
        allow(DAEMON_ARN, json!("kms:Encrypt")),
    ]))}));
    let encrypt = json!({"KeyId": key.id, "Plaintext": "c2VjcmV0"});
    for uid in [0, DAEMON, BIN] {
        service.ok_to(uid, "DescribeKey", json!({"KeyId": key.id}));
    }
    service.ok_to(DAEMON, "Encrypt", encrypt.clone());
    assert_eq!(service.refusal_to(BIN, "Encrypt", encrypt.clone()), not_allowed(BIN_ARN, "Encrypt", &key));
    assert_eq!(service.refusal_to(0, "Encrypt", encrypt.clone()), not_allowed(ROOT, "Encrypt", &key));
    // A user without a name is called by number.
    let nobody = "arn:aws:iam::000000000000:user/4242";
    assert_eq!(service.refusal_to(4242, "Encrypt", encrypt), not_allowed(nobody, "Encrypt", &key));
}

#[test]
fn pol_3_the_encryption_context_of_each_operation_is_looked_at() {
    let service = Service::new();
    let mut it =
        allow(DAEMON_ARN, json!(["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*"]));
    it["Condition"] = json!({"StringEquals": {"kms:EncryptionContext:dept": "it"}});
    let key = service.key_of(json!({"Policy": policy(json!([owner_alone(), it]))}));
    let (right, wrong) = (json!({"dept": "it", "x": "y"}), json!({"dept": "hr"}));
    let encrypt =
        |context: &Value| json!({"KeyId": key.id, "Plaintext": "AA==", "EncryptionContext": context});
    let blob = text(&service.ok_to(DAEMON, "Encrypt", encrypt(&right))["CiphertextBlob"]);
    assert_eq!(
        service.refusal_to(DAEMON, "Encrypt", encrypt(&wrong)),
        not_allowed(DAEMON_ARN, "Encrypt", &key)
    );
    let data_key =
        |context: &Value| json!({"KeyId": key.id, "KeySpec": "AES_256", "EncryptionContext": context});
    service.ok_to(DAEMON, "GenerateDataKey", data_key(&right));
    let refusal = service.refusal_to(DAEMON, "GenerateDataKey", data_key(&wrong));
    assert_eq!(refusal, not_allowed(DAEMON_ARN, "GenerateDataKey", &key));
    let decrypt =
        |context: &Value| json!({"KeyId": key.id, "CiphertextBlob": blob, "EncryptionContext": context});
    service.ok_to(DAEMON, "Decrypt", decrypt(&right));
    assert_eq!(
        service.refusal_to(DAEMON, "Decrypt", decrypt(&wrong)),
        not_allowed(DAEMON_ARN, "Decrypt", &key)
    );
    let again = |from: &Value, to: &Value| {
        json!({"CiphertextBlob": blob, "SourceKeyId": key.id, "SourceEncryptionContext": from, "DestinationKeyId": key.id,
               "DestinationEncryptionContext": to})
    };
    service.ok_to(DAEMON, "ReEncrypt", again(&right, &right));
    let refusal = service.refusal_to(DAEMON, "ReEncrypt", again(&wrong, &right));
    assert_eq!(refusal, not_allowed(DAEMON_ARN, "ReEncryptFrom", &key));
    let refusal = service.refusal_to(DAEMON, "ReEncrypt", again(&right, &wrong));
    assert_eq!(refusal, not_allowed(DAEMON_ARN, "ReEncryptTo", &key));
}

#[test]
fn pol_4_a_policy_that_locks_out_who_puts_it_is_refused_unless_told_otherwise() {
    let service = Service::new();
    const LOCKOUT: &str = "MalformedPolicyDocumentException: The new key policy will not allow you to update the key policy in \
                           the future.";
    let key = service.key();
    let document = policy(json!([allow(DAEMON_ARN, json!("kms:*")), allow(ROOT, json!("kms:Describe*"))]));
    assert_eq!(service.refusal("PutKeyPolicy", json!({"KeyId": key.id, "Policy": document})), LOCKOUT);
    assert_eq!(service.refusal("CreateKey", json!({"Policy": document})), LOCKOUT);
    let records = service.records();
    assert_eq!(records.last().unwrap()["resources"], json!([]), "a key that was not made is not named");
    // Whom the policy lets may put it.
    service.ok_to(DAEMON, "PutKeyPolicy", json!({"KeyId": key.id, "Policy": document}));
    assert_eq!(
        service.refusal("PutKeyPolicy", json!({"KeyId": key.id, "Policy": document})),
        not_allowed(ROOT, "PutKeyPolicy", &key)
    );
    let bypass = json!({"Policy": document, "BypassPolicyLockoutSafetyCheck": true});
    let key = service.key_of(bypass);
    assert_eq!(
        service.refusal("DisableKey", json!({"KeyId": key.id})),
        not_allowed(ROOT, "DisableKey", &key)
    );
    // A policy can forbid just that.
    let mut deny = allow(ROOT, json!("kms:PutKeyPolicy"));
    deny["Effect"] = json!("Deny");
    deny["Condition"] = json!({"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "true"}});
    let key = service.key_of(json!({"Policy": policy(json!([allow(ROOT, json!("kms:*")), deny]))}));
    let request = |bypass: bool| json!({"KeyId": key.id, "Policy": policy(json!([allow(ROOT, json!("kms:*"))])), "BypassPolicyLockoutSafetyCheck": bypass});
    assert!(
        service
            .refusal("PutKeyPolicy", request(true))
            .ends_with("with an explicit deny in a resource-based policy")
    );
    service.ok("PutKeyPolicy", request(false));
}

fn asker(uid: u32) -> Asker {
    Asker { uid, pid: 7, volume: "v".into(), path: "f".into() }
}

fn context() -> EncryptionContext {
    [("kmsfs:volume", "v"), ("kmsfs:file", "1")].into_iter().collect()
}

#[test]
fn pol_2_a_files_data_key_is_given_to_whom_the_policy_lets() {
    let service = Service::new();
    let keys = service.home.data_keys();
    let key = service.key();
    let file = keys.generate(&asker(0), &key.id, &context()).unwrap().1;
    let ways = |uid: u32| {
        [
            keys.generate(&asker(uid), &key.id, &context()).map(drop),
            keys.unwrap(&asker(uid), &file, &context()).map(drop),
            keys.reuse(&asker(uid), &file, &context()),
            keys.rewrap(&asker(uid), &file, &context(), None).map(drop),
        ]
        .map(|outcome| match outcome {
            Ok(()) => true,
            Err(DataKeyError::Denied(why)) => {
                assert!(why.contains("is not authorized to perform: kms:"), "{why}");
                false
            }
            Err(error) => panic!("{error}"),
        })
    };
    assert_eq!(ways(DAEMON), [true; 4]);
    service.put_policy(
        &key,
        json!([owner_alone(), allow(DAEMON_ARN, json!(["kms:Decrypt", "kms:ReEncryptFrom"]))]),
    );
    assert_eq!(ways(0), [true; 4]);
    assert_eq!(ways(DAEMON), [false, true, true, false]);
    assert_eq!(ways(BIN), [false; 4]);
    let records = service.records();
    let refused = records.iter().filter(|record| record["errorCode"] == "AccessDeniedException");
    let of_bin: Vec<_> = refused.filter(|record| record["userIdentity"]["arn"] == BIN_ARN).collect();
    assert_eq!(of_bin.len(), 4, "each refusal is recorded");
    assert!(of_bin.iter().all(|record| record["resources"][0]["ARN"] == json!(key.arn)));
    assert_eq!(of_bin[1]["additionalEventData"], json!({"volume": "v", "path": "f", "uid": BIN, "pid": 7}));
}

#[test]
fn pol_3_a_mount_is_a_service_by_name_and_its_volume_a_pair_of_the_context() {
    let service = Service::new();
    let mut it = allow(DAEMON_ARN, json!(["kms:Decrypt", "kms:GenerateDataKey"]));
    it["Condition"] = json!({
        "StringEquals": {"kms:ViaService": "kmsfs.us-east-1.amazonaws.com", "kms:EncryptionContext:kmsfs:volume": "v"}
    });
    let key = service.key_of(json!({"Policy": policy(json!([owner_alone(), it]))}));
    let keys = service.home.data_keys();
    keys.generate(&asker(DAEMON), &key.id, &context()).unwrap();
    let other: EncryptionContext = [("kmsfs:volume", "w"), ("kmsfs:file", "1")].into_iter().collect();
    assert!(matches!(keys.generate(&asker(DAEMON), &key.id, &other), Err(DataKeyError::Denied(_))));
    let request = json!({"KeyId": key.id, "KeySpec": "AES_256", "EncryptionContext": {"kmsfs:volume": "v"}});
    let refusal = service.refusal_to(DAEMON, "GenerateDataKey", request);
    assert_eq!(refusal, not_allowed(DAEMON_ARN, "GenerateDataKey", &key));
}

#[test]
fn a_key_that_nobody_may_decrypt_with_is_lost_to_files() {
    let service = Service::new();
    let key = service.key();
    let arn = KeyArn::new(key.arn.clone());
    let everybody = service.home.data_keys();
    let (owner, bin) = (service.home.data_keys_only_for(0), service.home.data_keys_only_for(BIN));
    let states = || [&everybody, &owner, &bin].map(|keys| keys.state(&arn).unwrap());
    let administration = || json!({"Effect": "Allow", "Principal": {"AWS": ROOT}, "NotAction": ["kms:Decrypt", "kms:CreateGrant"], "Resource": "*"});
    let conditional = |condition: Value| {
        let mut statement = allow(ROOT, json!("kms:Decrypt"));
        statement["Condition"] = condition;
        json!([administration(), statement])
    };
    const YES: Usability = Usability::Usable;
    const NO: Usability = Usability::Denied;
    assert_eq!(states(), [YES; 3]);
    for (statements, expected) in [
        (json!([administration()]), [NO, NO, NO]),
        (json!([administration(), allow(BIN_ARN, json!("kms:*"))]), [YES, NO, YES]),
        (
            json!([administration(), allow("arn:aws:iam::000000000000:role/bin", json!("kms:*"))]),
            [NO, NO, NO],
        ),
        (json!([owner_alone()]), [YES, YES, NO]),
        (conditional(json!({"StringEquals": {"kms:EncryptionContext:kmsfs:volume": "v"}})), [YES, YES, YES]),
        (conditional(json!({"StringNotEquals": {"aws:PrincipalArn": ROOT}})), [YES, NO, YES]),
        (
            conditional(json!({"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}})),
            [NO, NO, NO],
        ),
    ] {
        service.put_policy(&key, statements.clone());
        assert_eq!(states(), expected, "{statements}");
    }
    service.disable(&key);
    assert_eq!(states(), [Usability::Disabled; 3], "the state comes first");
}

#[test]
fn a_record_of_a_denied_call_says_who_and_why() {
    let service = Service::new();
    let key = service.key_of(json!({"Policy": policy(json!([owner_alone()]))}));
    let caller = service.home.caller(DAEMON, 9, Via::Cli);
    let request = json!({"KeyId": key.id});
    service.home.kms().call(&caller, Operation::DescribeKey, request).unwrap_err();
    let record = service.records().pop().unwrap();
    assert_eq!(record["errorCode"], "AccessDeniedException");
    assert_eq!(
        format!("AccessDeniedException: {}", text(&record["errorMessage"])),
        not_allowed(DAEMON_ARN, "DescribeKey", &key)
    );
    assert_eq!(record["userIdentity"]["arn"], DAEMON_ARN);
    assert_eq!(record["resources"][0]["ARN"], json!(key.arn));
}
