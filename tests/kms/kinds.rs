//! Asymmetric and HMAC keys: which there are, what is told of them, and who may use them.

use std::collections::BTreeSet;

use kmsfs::kms::KeySpec;
use serde_json::{Value, json};

use crate::fixture::{Key, Service, base64, bytes, policy, text};
use crate::uses::request;

/// Specs of which making a key takes no time that a test would notice.
pub const QUICK: [(&str, &str); 10] = [
    ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
    ("RSA_2048", "ENCRYPT_DECRYPT"),
    ("RSA_2048", "SIGN_VERIFY"),
    ("ECC_NIST_P256", "SIGN_VERIFY"),
    ("ECC_NIST_P384", "KEY_AGREEMENT"),
    ("ECC_NIST_P521", "SIGN_VERIFY"),
    ("ECC_SECG_P256K1", "SIGN_VERIFY"),
    ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
    ("HMAC_224", "GENERATE_VERIFY_MAC"),
    ("HMAC_512", "GENERATE_VERIFY_MAC"),
];

impl Service {
    /// A key of that spec and usage.
    pub fn of_kind(&self, spec: &str, usage: &str) -> Key {
        self.key_of(json!({"KeySpec": spec, "KeyUsage": usage}))
    }

    pub fn public_key(&self, key: &Key) -> Vec<u8> {
        bytes(&self.ok("GetPublicKey", json!({"KeyId": key.id}))["PublicKey"])
    }
}

fn names(value: &Value) -> Vec<String> {
    value.as_array().map_or(Vec::new(), |names| names.iter().map(text).collect())
}

#[test]
fn every_spec_is_made_for_each_of_its_usages_and_refused_for_the_others() {
    let service = Service::new();
    let lists = [
        ("ENCRYPT_DECRYPT", "EncryptionAlgorithms"),
        ("SIGN_VERIFY", "SigningAlgorithms"),
        ("GENERATE_VERIFY_MAC", "MacAlgorithms"),
        ("KEY_AGREEMENT", "KeyAgreementAlgorithms"),
    ];
    for spec in KeySpec::ALL {
        for (usage, list) in lists {
            let request = json!({"KeySpec": spec.name(), "KeyUsage": usage, "Origin": "EXTERNAL"});
            let fits = spec.usages().iter().any(|known| known.name() == usage);
            if !fits {
                assert_eq!(
                    service.refusal("CreateKey", request),
                    format!(
                        "ValidationException: KeyUsage {usage} is not compatible with KeySpec {}",
                        spec.name()
                    )
                );
                continue;
            }
            let metadata = service.describe(&service.key_of(request));
            assert_eq!(metadata["KeySpec"], json!(spec.name()));
            assert_eq!(metadata["CustomerMasterKeySpec"], json!(spec.name()));
            assert_eq!(metadata["KeyUsage"], json!(usage));
            for (_, other) in lists.into_iter().filter(|(_, other)| *other != list) {
                assert_eq!(metadata.get(other), None, "{} {usage}: {other}", spec.name());
            }
            assert!(!names(&metadata[list]).is_empty(), "{} {usage}", spec.name());
        }
    }
    assert_eq!(
        service.refusal("CreateKey", json!({"KeySpec": "RSA_2048", "KeyUsage": "ENCAPSULATE_DECAPSULATE"})),
        "ValidationException: KeyUsage ENCAPSULATE_DECAPSULATE is not compatible with KeySpec RSA_2048"
    );
    for spec in KeySpec::ALL.iter().filter(|spec| **spec != KeySpec::SymmetricDefault) {
        assert_eq!(
            service.refusal("CreateKey", json!({"KeySpec": spec.name()})),
            "ValidationException: You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
        );
    }
    let key = service.key_of(json!({"CustomerMasterKeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}));
    assert_eq!(service.describe(&key)["KeySpec"], json!("ECC_NIST_P256"));
}

#[test]
fn metadata_of_each_kind_is_as_aws_gives_it() {
    let service = Service::new();
    for (spec, usage) in QUICK {
        let key = service.of_kind(spec, usage);
        let metadata = service.describe(&key);
        let is_symmetric = spec == "SYMMETRIC_DEFAULT";
        assert_eq!(metadata.get("CurrentKeyMaterialId").is_some(), is_symmetric, "{spec}");
        assert_eq!(metadata["KeyState"], json!("Enabled"));
        assert_eq!(metadata["Enabled"], json!(true));
        // 13 members of every key, the list of its usage, and the material of a symmetric one.
        let members = 13 + 1 + usize::from(is_symmetric);
        assert_eq!(metadata.as_object().unwrap().len(), members, "{metadata}");
    }
    let key = service.of_kind("RSA_2048", "SIGN_VERIFY");
    let expected = [
        "RSASSA_PKCS1_V1_5_SHA_256",
        "RSASSA_PKCS1_V1_5_SHA_384",
        "RSASSA_PKCS1_V1_5_SHA_512",
        "RSASSA_PSS_SHA_256",
        "RSASSA_PSS_SHA_384",
        "RSASSA_PSS_SHA_512",
    ];
    assert_eq!(names(&service.describe(&key)["SigningAlgorithms"]), expected);
}

#[test]
fn kinds_outlive_the_process_and_a_key_works_as_before() {
    let service = Service::new();
    let key = service.of_kind("ECC_NIST_P384", "SIGN_VERIFY");
    let (public, metadata) = (service.public_key(&key), service.describe(&key));
    let (_temp, home) = service.close();
    let ask = |operation, request| crate::fixture::call(&home, operation, request).unwrap().unwrap();
    assert_eq!(ask("DescribeKey", json!({"KeyId": key.id}))["KeyMetadata"], metadata);
    assert_eq!(bytes(&ask("GetPublicKey", json!({"KeyId": key.id}))["PublicKey"]), public);
}

#[test]
fn a_public_key_comes_with_what_it_is_for() {
    let service = Service::new();
    let key = service.of_kind("ECC_NIST_P256", "KEY_AGREEMENT");
    let answer = service.ok("GetPublicKey", json!({"KeyId": key.id}));
    let members: BTreeSet<_> = answer.as_object().unwrap().keys().cloned().collect();
    let expected =
        ["CustomerMasterKeySpec", "KeyAgreementAlgorithms", "KeyId", "KeySpec", "KeyUsage", "PublicKey"];
    assert_eq!(members, BTreeSet::from(expected.map(str::to_owned)));
    assert_eq!(answer["KeyId"], json!(key.arn));
    assert_eq!(answer["CustomerMasterKeySpec"], json!("ECC_NIST_P256"));
    assert_eq!(answer["KeyAgreementAlgorithms"], json!(["ECDH"]));
    for (spec, usage) in [("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), ("HMAC_256", "GENERATE_VERIFY_MAC")] {
        let key = service.of_kind(spec, usage);
        assert_eq!(
            service.refusal("GetPublicKey", json!({"KeyId": key.id})),
            "UnsupportedOperationException"
        );
    }
}

#[test]
fn an_alias_stays_with_keys_of_one_usage_and_one_kind() {
    let service = Service::new();
    let symmetric = service.key();
    let (encrypting, signing, other) = (
        service.of_kind("RSA_2048", "ENCRYPT_DECRYPT"),
        service.of_kind("ECC_NIST_P256", "SIGN_VERIFY"),
        service.of_kind("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
    );
    service.alias("alias/x", &signing);
    let update =
        |key: &Key| service.call("UpdateAlias", json!({"AliasName": "alias/x", "TargetKeyId": key.id}));
    assert!(update(&other).is_ok(), "another spec of the same kind and usage");
    for key in [&symmetric, &encrypting] {
        assert_eq!(
            update(key).unwrap_err().to_string(),
            "ValidationException: Alias alias/x cannot be changed from a CMK with key usage SIGN_VERIFY to a CMK with \
             key usage ENCRYPT_DECRYPT. The key usage of the current CMK and the new CMK must be the same."
        );
    }
    service.alias("alias/y", &symmetric);
    let refusal =
        service.refusal("UpdateAlias", json!({"AliasName": "alias/y", "TargetKeyId": encrypting.id}));
    assert_eq!(
        refusal,
        "ValidationException: Alias alias/y cannot be changed from a CMK with key type symmetric to a CMK with key type \
         asymmetric. The key type of the current CMK and the new CMK must be the same."
    );
    // Cryptographic operations take aliases of them all.
    let sign = json!({"KeyId": "alias/x", "Message": "AAAA", "SigningAlgorithm": "ED25519_SHA_512"});
    assert_eq!(service.ok("Sign", sign)["KeyId"], json!(other.arn));
    assert_eq!(service.ok("GetPublicKey", json!({"KeyId": "alias/x"}))["KeyId"], json!(other.arn));
}

const BIN: &str = "arn:aws:iam::000000000000:user/bin";
const BIN_UID: u32 = 2;

#[test]
fn a_grant_gives_what_its_key_can_do_and_no_more() {
    let service = Service::new();
    let general = ["DescribeKey", "CreateGrant", "RetireGrant"];
    let symmetric = [
        "Encrypt",
        "Decrypt",
        "ReEncryptFrom",
        "ReEncryptTo",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
    ];
    for (spec, usage) in QUICK {
        let key = service.of_kind(spec, usage);
        let own: &[&str] = match (spec, usage) {
            ("SYMMETRIC_DEFAULT", _) => &symmetric,
            (_, "ENCRYPT_DECRYPT") => &["Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GetPublicKey"],
            (_, "SIGN_VERIFY") => &["Sign", "Verify", "GetPublicKey"],
            (_, "KEY_AGREEMENT") => &["DeriveSharedSecret", "GetPublicKey"],
            (_, _) => &["GenerateMac", "VerifyMac"],
        };
        for operation in kmsfs::kms::grant::GrantOperation::NAMES {
            let request =
                json!({"KeyId": key.id, "GranteePrincipal": BIN, "Operations": [operation, "DescribeKey"]});
            if own.contains(operation) || general.contains(operation) {
                service.ok("CreateGrant", request);
                continue;
            }
            let what = match spec {
                "SYMMETRIC_DEFAULT" => "a symmetric encryption KMS key".to_owned(),
                _ => format!("a KMS key of key spec {spec} and key usage {usage}"),
            };
            assert_eq!(
                service.refusal("CreateGrant", request),
                format!("ValidationException: The operation {operation} is not valid for {what}.")
            );
        }
    }
}

#[test]
fn policies_and_grants_hold_for_signing_as_for_encryption() {
    let service = Service::new();
    let key = service.of_kind("ECC_NIST_P256", "SIGN_VERIFY");
    let owner = json!({
        "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "kms:*", "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalArn": "arn:aws:iam::000000000000:root"}}
    });
    service.put_policy(&key, json!([owner]));
    let sign = json!({"KeyId": key.id, "Message": "AAAA", "SigningAlgorithm": "ECDSA_SHA_256"});
    let refusal = service.refusal_to(BIN_UID, "Sign", sign.clone());
    assert!(
        refusal.starts_with("AccessDeniedException: User: arn:aws:iam::000000000000:user/bin"),
        "{refusal}"
    );
    assert!(refusal.contains("kms:Sign"), "{refusal}");
    service.ok("CreateGrant", json!({"KeyId": key.id, "GranteePrincipal": BIN, "Operations": ["Sign"]}));
    let signed = service.ok_to(BIN_UID, "Sign", sign.clone());
    let mut verify = sign;
    verify["Signature"] = signed["Signature"].clone();
    assert!(service.refusal_to(BIN_UID, "Verify", verify.clone()).contains("kms:Verify"));
    service.ok("Verify", verify);
    assert!(
        service.refusal_to(BIN_UID, "GetPublicKey", json!({"KeyId": key.id})).contains("kms:GetPublicKey")
    );
}

/// Each condition key with an operation that has it, the value that it has, and one that it has not.
#[test]
fn pol_3_conditions_look_at_spec_usage_and_algorithms() {
    let service = Service::new();
    let symmetric = service.key();
    let (signing, mac, agreeing, rsa) = (
        service.of_kind("RSA_2048", "SIGN_VERIFY"),
        service.of_kind("HMAC_256", "GENERATE_VERIFY_MAC"),
        service.of_kind("ECC_NIST_P256", "KEY_AGREEMENT"),
        service.of_kind("RSA_2048", "ENCRYPT_DECRYPT"),
    );
    let peer = service.public_key(&agreeing);
    for (key, operation, algorithm, condition, value, other) in [
        (&signing, "Sign", "RSASSA_PSS_SHA_256", "kms:KeySpec", "RSA_2048", "RSA_4096"),
        (&mac, "GenerateMac", "HMAC_SHA_256", "kms:KeyUsage", "GENERATE_VERIFY_MAC", "SIGN_VERIFY"),
        (
            &signing,
            "Sign",
            "RSASSA_PSS_SHA_256",
            "kms:SigningAlgorithm",
            "RSASSA_PSS_SHA_256",
            "RSASSA_PKCS1_V1_5_SHA_256",
        ),
        (&signing, "Sign", "RSASSA_PSS_SHA_256", "kms:MessageType", "RAW", "DIGEST"),
        (&mac, "GenerateMac", "HMAC_SHA_256", "kms:MacAlgorithm", "HMAC_SHA_256", "HMAC_SHA_512"),
        (
            &rsa,
            "Encrypt",
            "RSAES_OAEP_SHA_1",
            "kms:EncryptionAlgorithm",
            "RSAES_OAEP_SHA_1",
            "RSAES_OAEP_SHA_256",
        ),
        (
            &symmetric,
            "GenerateDataKey",
            "",
            "kms:EncryptionAlgorithm",
            "SYMMETRIC_DEFAULT",
            "RSAES_OAEP_SHA_1",
        ),
        (&symmetric, "GenerateDataKeyPair", "", "kms:DataKeyPairSpec", "ECC_NIST_P256", "RSA_2048"),
        (&agreeing, "DeriveSharedSecret", "", "kms:KeyAgreementAlgorithm", "ECDH", "X"),
    ] {
        let request = request(key, operation, algorithm, &peer);
        for (wanted, allowed) in [(value, true), (other, false)] {
            let statements = json!([
                {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "kms:*", "Resource": "*",
                 "Condition": {"StringEquals": {"aws:PrincipalArn": "arn:aws:iam::000000000000:root"}}},
                {"Effect": "Allow", "Principal": {"AWS": BIN}, "Action": format!("kms:{operation}"), "Resource": "*",
                 "Condition": {"StringEquals": {condition: wanted}}}
            ]);
            service.ok("PutKeyPolicy", json!({"KeyId": key.id, "Policy": policy(statements)}));
            let outcome = crate::fixture::call_as(&service.home, BIN_UID, operation, request.clone());
            assert_eq!(
                outcome.is_ok(),
                allowed,
                "{condition} is {value}, and {wanted} was asked: {outcome:?}"
            );
        }
    }
}

#[test]
fn aud_1_records_of_these_operations_hold_no_message_signature_code_or_secret() {
    let service = Service::new();
    let message = b"a message that must not be in the log";
    let signing = service.of_kind("ECC_NIST_P256", "SIGN_VERIFY");
    let sign = json!({"KeyId": signing.id, "Message": base64(message), "SigningAlgorithm": "ECDSA_SHA_256"});
    let signature = text(&service.ok("Sign", sign.clone())["Signature"]);
    let mut verify = sign;
    verify["Signature"] = json!(signature);
    service.ok("Verify", verify);
    let mac = service.of_kind("HMAC_256", "GENERATE_VERIFY_MAC");
    let code = json!({"KeyId": mac.id, "Message": base64(message), "MacAlgorithm": "HMAC_SHA_256"});
    let code = text(&service.ok("GenerateMac", code)["Mac"]);
    let agreeing = service.of_kind("ECC_NIST_P256", "KEY_AGREEMENT");
    let public = base64(&service.public_key(&agreeing));
    let agree = json!({"KeyId": agreeing.id, "KeyAgreementAlgorithm": "ECDH", "PublicKey": public});
    let secret = text(&service.ok("DeriveSharedSecret", agree)["SharedSecret"]);
    let pair =
        service.ok("GenerateDataKeyPair", json!({"KeyId": service.key().id, "KeyPairSpec": "ECC_NIST_P256"}));
    let log = std::fs::read_to_string(service.home.dir().join("audit.log")).unwrap();
    let private = text(&pair["PrivateKeyPlaintext"]);
    for hidden in [base64(message), signature, code, secret, private, text(&pair["PrivateKeyCiphertextBlob"])]
    {
        assert!(!log.contains(&hidden[..24.min(hidden.len())]), "{hidden} is in the log");
    }
    let records = service.records();
    let signed = records.iter().find(|record| record["eventName"] == "Sign").unwrap();
    assert_eq!(
        signed["requestParameters"],
        json!({"keyId": signing.id, "messageType": "RAW", "signingAlgorithm": "ECDSA_SHA_256"})
    );
}

#[test]
fn these_uses_are_not_counted_and_change_no_key() {
    let service = Service::new();
    let key = service.of_kind("ECC_NIST_P256", "SIGN_VERIFY");
    let before = service.describe(&key);
    service.ok("Sign", json!({"KeyId": key.id, "Message": "AAAA", "SigningAlgorithm": "ECDSA_SHA_256"}));
    assert_eq!(service.describe(&key), before);
    let ring = service.home.keyring().unwrap();
    assert!(ring.keys().flat_map(|key| &key.materials).all(|material| material.uses == 0));
}
