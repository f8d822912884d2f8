//! Every operation on a key in every state that this version's operations lead to (rules ST-1 to ST-3).

use serde_json::{Value, json};

use crate::fixture::{Key, Service, call, forged_blob, policy, text};
use crate::wrapping::{OAEP_SHA_256, Parameters};

/// The states a key can be in: name, origin.
const STATES: [(&str, &str); 5] = [
    ("Enabled", "AWS_KMS"),
    ("Disabled", "AWS_KMS"),
    ("PendingDeletion", "AWS_KMS"),
    ("PendingDeletion", "EXTERNAL"),
    ("PendingImport", "EXTERNAL"),
];

/// What AWS KMS answers, in the order of [`STATES`].
#[rustfmt::skip]
const TABLE: &[(&str, [&str; 5])] = &[
    ("Encrypt", ["ok", DIS, DEL, DEL, IMP]),
    ("Decrypt", ["ok", DIS, DEL, DEL, IMP]),
    ("ReEncrypt from", ["ok", DIS, DEL, DEL, IMP]),
    ("ReEncrypt to", ["ok", DIS, DEL, DEL, IMP]),
    ("GenerateDataKey", ["ok", DIS, DEL, DEL, IMP]),
    ("GenerateDataKeyWithoutPlaintext", ["ok", DIS, DEL, DEL, IMP]),
    ("GenerateDataKeyPair", ["ok", DIS, DEL, DEL, IMP]),
    ("GenerateDataKeyPairWithoutPlaintext", ["ok", DIS, DEL, DEL, IMP]),
    ("Sign", [USE, DIS, DEL, DEL, IMP]),
    ("Verify", [USE, DIS, DEL, DEL, IMP]),
    ("GenerateMac", [USE, DIS, DEL, DEL, IMP]),
    ("VerifyMac", [USE, DIS, DEL, DEL, IMP]),
    ("GetPublicKey", [KIND; 5]),
    ("DeriveSharedSecret", [USE, DIS, DEL, DEL, IMP]),
    ("DescribeKey", ["ok", "ok", "ok", "ok", "ok"]),
    ("ListAliases", ["ok", "ok", "ok", "ok", "ok"]),
    ("GetKeyPolicy", ["ok", "ok", "ok", "ok", "ok"]),
    ("PutKeyPolicy", ["ok", "ok", "ok", "ok", "ok"]),
    ("CreateGrant", ["ok", DIS, DEL, DEL, IMP]),
    ("ListGrants", ["ok", "ok", "ok", "ok", "ok"]),
    ("RevokeGrant", [GRANT; 5]),
    ("RetireGrant", [GRANT; 5]),
    ("TagResource", ["ok", "ok", DEL, DEL, "ok"]),
    ("UntagResource", ["ok", "ok", DEL, DEL, "ok"]),
    ("ListResourceTags", ["ok", "ok", "ok", "ok", "ok"]),
    ("ListKeyPolicies", ["ok", "ok", "ok", "ok", "ok"]),
    ("DeleteAlias", ["ok", "ok", "ok", "ok", "ok"]),
    ("EnableKey", ["ok", "ok", DEL, DEL, IMP]),
    ("DisableKey", ["ok", "ok", DEL, DEL, IMP]),
    ("EnableKeyRotation", ["ok", DIS, DEL, EXT, EXT]),
    ("DisableKeyRotation", ["ok", DIS, DEL, EXT, EXT]),
    ("RotateKeyOnDemand", ["ok", DIS, DEL, DEL, IMP]),
    ("GetKeyRotationStatus", ["ok", "ok", "ok", "ok", EXT]),
    ("ListKeyRotations", ["ok", "ok", "ok", "ok", "ok"]),
    ("GetKeyLastUsage", ["ok", "ok", "ok", "ok", "ok"]),
    ("UpdateAlias to", ["ok", "ok", DEL, DEL, "ok"]),
    ("UpdateAlias from", ["ok", "ok", "ok", "ok", "ok"]),
    ("CreateAlias", ["ok", "ok", DEL, DEL, "ok"]),
    ("UpdateKeyDescription", ["ok", "ok", DEL, DEL, "ok"]),
    ("ScheduleKeyDeletion", ["ok", "ok", DEL, DEL, "ok"]),
    ("CancelKeyDeletion", [NOT, NOT, "ok", "ok", NOT]),
    ("GetParametersForImport", [OWN, OWN, DEL, DEL, "ok"]),
    ("ImportKeyMaterial", [OWN, OWN, DEL, DEL, "ok"]),
    ("DeleteImportedKeyMaterial", [OWN, OWN, OWN, "ok", "ok"]),
    ("ReplicateKey", [ONE, DIS, DEL, DEL, IMP]),
    ("UpdatePrimaryRegion", [ONE, DIS, DEL, DEL, IMP]),
];

/// The same for a key whose imported material is there: in Enabled and in Disabled.
#[rustfmt::skip]
const IMPORTED: &[(&str, [&str; 2])] = &[
    ("Encrypt", ["ok", DIS]),
    ("Decrypt", ["ok", DIS]),
    ("ReEncrypt from", ["ok", DIS]),
    ("ReEncrypt to", ["ok", DIS]),
    ("GenerateDataKey", ["ok", DIS]),
    ("GenerateDataKeyWithoutPlaintext", ["ok", DIS]),
    ("EnableKey", ["ok", "ok"]),
    ("DisableKey", ["ok", "ok"]),
    ("RotateKeyOnDemand", [NONE, DIS]),
    ("GetKeyRotationStatus", ["ok", "ok"]),
    ("ListKeyRotations", ["ok", "ok"]),
    ("GetKeyLastUsage", ["ok", "ok"]),
    ("ScheduleKeyDeletion", ["ok", "ok"]),
    ("CancelKeyDeletion", [NOT, NOT]),
    ("GetParametersForImport", ["ok", "ok"]),
    ("ImportKeyMaterial", ["ok", "ok"]),
    ("DeleteImportedKeyMaterial", ["ok", "ok"]),
];

/// `OPERATION` stands for its name.
const USE: &str =
    "InvalidKeyUsageException: ARN key usage is ENCRYPT_DECRYPT which is not valid for OPERATION.";
const KIND: &str = "UnsupportedOperationException";
const DIS: &str = "DisabledException: ARN is disabled.";
const DEL: &str = "KMSInvalidStateException: ARN is pending deletion.";
const IMP: &str = "KMSInvalidStateException: ARN is pending import.";
/// No state stands in the way; there is no such grant.
const GRANT: &str =
    "NotFoundException: Grant ID 0000000000000000000000000000000000000000000000000000000000000000 not found";
const NOT: &str = "KMSInvalidStateException: ARN is not pending deletion.";
const EXT: &str =
    "UnsupportedOperationException: ARN origin is EXTERNAL which is not valid for this operation.";

const OWN: &str =
    "UnsupportedOperationException: ARN origin is AWS_KMS which is not valid for this operation.";
/// The keys here are of one region; `multi_region.rs` has the others.
const ONE: &str = "UnsupportedOperationException: ARN is not a multi-region primary key.";
const NONE: &str = "KMSInvalidStateException: No available key material pending rotation for the key: ARN.";

/// Where an operation that is permitted leads, by the state before; every other one leads nowhere.
fn led(case: &str, state: &str, origin: &str) -> String {
    match (case, origin) {
        ("EnableKey", _) => "Enabled",
        ("DisableKey", _) => "Disabled",
        ("ScheduleKeyDeletion", _) => "PendingDeletion",
        ("CancelKeyDeletion", "AWS_KMS") => "Disabled",
        ("CancelKeyDeletion", _) => "PendingImport",
        ("ImportKeyMaterial", _) if state == "PendingImport" => "Enabled",
        ("DeleteImportedKeyMaterial", _) if state != "PendingDeletion" => "PendingImport",
        _ => state,
    }
    .to_owned()
}

/// A key with what the operations need: an alias, and a blob that names it.
struct Subject {
    key: Key,
    alias: String,
    blob: String,
}

impl Subject {
    fn new(service: &Service, state: &str, origin: &str, number: usize) -> Self {
        let key = service.key_of(json!({"Origin": origin}));
        let alias = format!("alias/subject-{number}");
        service.alias(&alias, &key);
        if origin == "EXTERNAL" && ["Enabled", "Disabled"].contains(&state) {
            service.import(&key, &[7; 32], json!({"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}));
        }
        let blob = match service.state(&key).as_str() {
            "Enabled" => service.encrypt(&key.id, b"secret"),
            _ => forged_blob(&key),
        };
        match state {
            "Disabled" => service.disable(&key),
            "PendingDeletion" => {
                service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id}));
            }
            _ => (),
        }
        assert_eq!(service.state(&key), state);
        Self { key, alias, blob }
    }

    /// The operation of a case and its request; `other` is an enabled key, with an alias and a blob.
    fn request<'c>(&self, service: &Service, case: &'c str, other: &Self) -> (&'c str, Value) {
        let id = &self.key.id;
        let operation = case.split(' ').next().unwrap();
        let request = match case {
            "Encrypt" => json!({"KeyId": id, "Plaintext": "c2VjcmV0"}),
            "Decrypt" => json!({"CiphertextBlob": self.blob}),
            "ReEncrypt from" => json!({"CiphertextBlob": self.blob, "DestinationKeyId": other.key.id}),
            "ReEncrypt to" => json!({"CiphertextBlob": other.blob, "DestinationKeyId": id}),
            "GenerateDataKey" | "GenerateDataKeyWithoutPlaintext" => {
                json!({"KeyId": id, "KeySpec": "AES_256"})
            }
            "GenerateDataKeyPair" | "GenerateDataKeyPairWithoutPlaintext" => {
                json!({"KeyId": id, "KeyPairSpec": "ECC_NIST_P256"})
            }
            "Sign" | "Verify" => json!({
                "KeyId": id, "Message": "AAAA", "SigningAlgorithm": "ECDSA_SHA_256"
            }),
            "GenerateMac" | "VerifyMac" => {
                json!({"KeyId": id, "Message": "AAAA", "MacAlgorithm": "HMAC_SHA_256"})
            }
            "DeriveSharedSecret" => {
                json!({"KeyId": id, "KeyAgreementAlgorithm": "ECDH", "PublicKey": "AAAA"})
            }
            "DeleteAlias" => json!({"AliasName": self.alias}),
            "UpdateAlias to" => json!({"AliasName": other.alias, "TargetKeyId": id}),
            "UpdateAlias from" => json!({"AliasName": self.alias, "TargetKeyId": other.key.id}),
            "CreateAlias" => json!({"AliasName": format!("{}-more", self.alias), "TargetKeyId": id}),
            "PutKeyPolicy" => json!({"KeyId": id, "Policy": policy(json!([{
                "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"
            }]))}),
            "CreateGrant" => json!({
                "KeyId": id, "GranteePrincipal": "arn:aws:iam::000000000000:user/bin", "Operations": ["Decrypt"]
            }),
            "RevokeGrant" | "RetireGrant" => json!({"KeyId": id, "GrantId": "0".repeat(64)}),
            "TagResource" => json!({"KeyId": id, "Tags": [{"TagKey": "a", "TagValue": "b"}]}),
            "UntagResource" => json!({"KeyId": id, "TagKeys": ["a"]}),
            "UpdateKeyDescription" => json!({"KeyId": id, "Description": "changed"}),
            "GetParametersForImport" => json!({
                "KeyId": id, "WrappingAlgorithm": OAEP_SHA_256, "WrappingKeySpec": "RSA_2048"
            }),
            "ImportKeyMaterial" => self.import(service),
            "ReplicateKey" => json!({"KeyId": id, "ReplicaRegion": "eu-west-1"}),
            "UpdatePrimaryRegion" => json!({"KeyId": id, "PrimaryRegion": "eu-west-1"}),
            _ => json!({"KeyId": id}),
        };
        let mut request = request;
        match case {
            "Verify" => request["Signature"] = json!("AAAA"),
            "VerifyMac" => request["Mac"] = json!("AAAA"),
            _ => (),
        }
        (operation, request)
    }

    /// An import of the key's own material, where there can be one.
    fn import(&self, service: &Service) -> Value {
        let never = json!({"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"});
        match service.call("DescribeKey", json!({"KeyId": self.key.id})) {
            Ok(Some(described))
                if described["KeyMetadata"]["Origin"] == json!("EXTERNAL")
                    && described["KeyMetadata"]["KeyState"] != json!("PendingDeletion") =>
            {
                Parameters::of(service, &self.key).request(&[7; 32], never)
            }
            _ => json!({
                "KeyId": self.key.id, "ImportToken": "AA==", "EncryptedKeyMaterial": "AA==",
                "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"
            }),
        }
    }
}

#[test]
fn st_1_every_operation_in_every_state_is_answered_as_aws_does() {
    let service = Service::new();
    let mut number = 0;
    let mut subject = |state: &str, origin: &str| {
        number += 1;
        Subject::new(&service, state, origin, number)
    };
    let own = TABLE.iter().flat_map(|(case, row)| row.iter().zip(STATES).map(move |cell| (case, cell)));
    let imported = IMPORTED.iter().flat_map(|(case, row)| {
        row.iter().zip([("Enabled", "EXTERNAL"), ("Disabled", "EXTERNAL")]).map(move |cell| (case, cell))
    });
    for (case, (expected, (state, origin))) in own.chain(imported) {
        let (it, other) = (subject(state, origin), subject("Enabled", "AWS_KMS"));
        let before = service.describe(&it.key);
        let (operation, request) = it.request(&service, case, &other);
        let found = match service.call(operation, request) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string().replace(&it.key.arn, "ARN"),
        };
        let expected = expected.replace("OPERATION", operation);
        assert_eq!(found, expected, "{case} in {state}, origin {origin}");
        if found == "ok" {
            assert_eq!(service.state(&it.key), led(case, state, origin), "{case} in {state}, {origin}");
        } else {
            assert_eq!(service.describe(&it.key), before, "{case} in {state} was refused and changed it");
        }
    }
}

#[test]
fn st_1_a_primary_that_waits_for_its_replicas_is_answered_as_one_that_is_pending_deletion() {
    let service = Service::new();
    let waiting = |number: usize, case: &str| {
        let key = service.key_of(json!({"MultiRegion": true}));
        let alias = format!("alias/waiting-{number}-{}", case.replace(' ', "-"));
        service.alias(&alias, &key);
        let blob = service.encrypt(&key.id, b"secret");
        service.ok("ReplicateKey", json!({"KeyId": key.id, "ReplicaRegion": "eu-west-1"}));
        service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id}));
        assert_eq!(service.state(&key), "PendingReplicaDeletion");
        Subject { key, alias, blob }
    };
    for (number, (case, row)) in TABLE.iter().enumerate() {
        let (it, other) = (waiting(number, case), Subject::new(&service, "Enabled", "AWS_KMS", number));
        let (operation, request) = it.request(&service, case, &other);
        let found = match service.call(operation, request) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string().replace(&it.key.arn, "ARN"),
        };
        let expected = row[2].replace("pending deletion.", "pending replica deletion.");
        assert_eq!(found, expected, "{case}");
        let leads = if *case == "CancelKeyDeletion" { "Disabled" } else { "PendingReplicaDeletion" };
        assert_eq!(service.state(&it.key), leads, "{case}");
    }
}

#[test]
fn st_1_the_test_covers_every_operation_that_names_a_key() {
    let covered = |operation: &str| TABLE.iter().any(|(case, _)| case.split(' ').next() == Some(operation));
    for operation in kmsfs::kms::Operation::ALL {
        let names_none =
            ["CreateKey", "ListKeys", "ListRetirableGrants", "GenerateRandom"].contains(&operation.name());
        assert_eq!(covered(operation.name()), !names_none, "{operation:?}");
    }
}

#[test]
fn st_1_a_deleted_key_and_one_that_never_was_are_not_found() {
    let service = Service::new();
    let deleted = service.key();
    let blob = service.encrypt(&deleted.id, b"secret");
    service.ok("ScheduleKeyDeletion", json!({"KeyId": deleted.id, "PendingWindowInDays": 7}));
    service.advance_days(7);
    let never = Key {
        id: "12345678-1234-4234-8234-123456789012".into(),
        arn: "arn:aws:kms:us-east-1:000000000000:key/12345678-1234-4234-8234-123456789012".into(),
    };
    for (key, blob) in [(&deleted, blob), (&never, forged_blob(&never))] {
        let it = Subject { key: key.clone(), alias: "alias/none".into(), blob };
        let other = Subject::new(&service, "Enabled", "AWS_KMS", if key.id == never.id { 1 } else { 2 });
        for (case, _) in TABLE {
            let (operation, request) = it.request(&service, case, &other);
            let expected = match *case {
                "Decrypt" | "ReEncrypt from" => {
                    "AccessDeniedException: The ciphertext refers to a customer master key that does not exist, does \
                     not exist in this region, or you are not allowed to access."
                        .to_owned()
                }
                "DeleteAlias" | "UpdateAlias from" => {
                    "NotFoundException: Alias arn:aws:kms:us-east-1:000000000000:alias/none is not found.".to_owned()
                }
                _ => format!("NotFoundException: Key '{}' does not exist", key.arn),
            };
            assert_eq!(service.refusal(operation, request), expected, "{case}");
        }
        let named = json!({"CiphertextBlob": it.blob, "KeyId": key.id});
        let expected = format!("NotFoundException: Key '{}' does not exist", key.arn);
        assert_eq!(service.refusal("Decrypt", named), expected);
    }
}

#[test]
fn st_2_enabled_in_the_metadata_follows_the_state() {
    let service = Service::new();
    for (state, origin) in STATES {
        let metadata = service.describe(&service.key_in(state, origin));
        assert_eq!(metadata["Enabled"], json!(state == "Enabled"), "{state}");
        assert_eq!(metadata.get("DeletionDate").is_some(), state == "PendingDeletion", "{state}");
        assert_eq!(metadata.get("CurrentKeyMaterialId").is_some(), origin == "AWS_KMS", "{origin}");
    }
}

#[test]
fn a_fresh_key_has_the_metadata_that_aws_gives() {
    let service = Service::new();
    let answer = service.ok("CreateKey", json!({"Description": "files of the lab"}));
    let metadata = answer["KeyMetadata"].as_object().unwrap();
    let id = text(&metadata["KeyId"]);
    assert_eq!(metadata["Arn"], json!(format!("arn:aws:kms:us-east-1:000000000000:key/{id}")));
    assert_eq!(metadata["CurrentKeyMaterialId"].as_str().unwrap().len(), 64);
    for (name, value) in [
        ("AWSAccountId", json!("000000000000")),
        ("Enabled", json!(true)),
        ("KeyState", json!("Enabled")),
        ("Description", json!("files of the lab")),
        ("KeyUsage", json!("ENCRYPT_DECRYPT")),
        ("KeySpec", json!("SYMMETRIC_DEFAULT")),
        ("CustomerMasterKeySpec", json!("SYMMETRIC_DEFAULT")),
        ("EncryptionAlgorithms", json!(["SYMMETRIC_DEFAULT"])),
        ("Origin", json!("AWS_KMS")),
        ("KeyManager", json!("CUSTOMER")),
        ("MultiRegion", json!(false)),
    ] {
        assert_eq!(metadata[name], value, "{name}");
    }
    let seconds = metadata["CreationDate"].as_f64().unwrap();
    let now = service.home.now().unwrap().as_seconds_f64();
    assert!((now - 60.0..=now).contains(&seconds), "{seconds} is about {now}");
    assert_eq!(metadata.len(), 15, "{metadata:?}");
}

#[test]
fn st_3_a_change_is_seen_by_every_open_home_at_once_and_after_a_restart() {
    let service = Service::new();
    let key = service.key();
    let other = service.another();
    let encrypt = |home| call(home, "Encrypt", json!({"KeyId": key.id, "Plaintext": "AA=="}));
    assert!(encrypt(&other).is_ok());
    for _ in 0..3 {
        service.disable(&key);
        assert_eq!(encrypt(&other).unwrap_err().error.name(), "DisabledException");
        call(&other, "EnableKey", json!({"KeyId": key.id})).unwrap();
        assert!(encrypt(&service.home).is_ok());
    }
    service.disable(&key);
    assert_eq!(encrypt(&service.another()).unwrap_err().error.name(), "DisabledException");
}

#[test]
fn st_1_a_description_changes_alone() {
    let service = Service::new();
    let key = service.key();
    let before = service.describe(&key);
    service.ok("UpdateKeyDescription", json!({"KeyId": key.arn, "Description": "new"}));
    let mut expected = before.clone();
    expected["Description"] = json!("new");
    assert_eq!(service.describe(&key), expected);
    service.ok("UpdateKeyDescription", json!({"KeyId": key.id, "Description": ""}));
    assert_eq!(service.describe(&key), before);
}
