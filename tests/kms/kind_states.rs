//! Every operation on asymmetric and HMAC keys in every state, of both origins (rule ST-1): what AWS KMS answers, cell by cell.

use serde_json::{Value, json};

use crate::fixture::{Key, Service, base64, policy};
use crate::kind_import::{material, wrapped_request};

/// The kinds: spec, usage, an algorithm.
const KINDS: [(&str, &str, &str); 5] = [
    ("RSA_2048", "ENCRYPT_DECRYPT", "RSAES_OAEP_SHA_256"),
    ("RSA_2048", "SIGN_VERIFY", "RSASSA_PSS_SHA_256"),
    ("ECC_NIST_P256", "SIGN_VERIFY", "ECDSA_SHA_256"),
    ("ECC_NIST_P384", "KEY_AGREEMENT", "ECDH"),
    ("HMAC_256", "GENERATE_VERIFY_MAC", "HMAC_SHA_256"),
];

/// The states of a key that the service made, and of one whose material is imported.
const MADE: [&str; 3] = ["Enabled", "Disabled", "PendingDeletion"];
const IMPORTED: [&str; 4] = ["Enabled", "Disabled", "PendingDeletion", "PendingImport"];

const DIS: &str = "DisabledException: ARN is disabled.";
const DEL: &str = "KMSInvalidStateException: ARN is pending deletion.";
const IMP: &str = "KMSInvalidStateException: ARN is pending import.";
const NOT: &str = "KMSInvalidStateException: ARN is not pending deletion.";
const KIND: &str = "UnsupportedOperationException";
const ONE: &str = "UnsupportedOperationException: ARN is not a multi-region primary key.";
const EXT: &str =
    "UnsupportedOperationException: ARN origin is EXTERNAL which is not valid for this operation.";
const OWN: &str =
    "UnsupportedOperationException: ARN origin is AWS_KMS which is not valid for this operation.";
const GRANT: &str =
    "NotFoundException: Grant ID 0000000000000000000000000000000000000000000000000000000000000000 not found";

/// Operations on keys of every kind, in the orders of [`MADE`] and [`IMPORTED`].
#[rustfmt::skip]
const COMMON: &[(&str, [&str; 3], [&str; 4])] = &[
    ("CreateGrant", ["ok", DIS, DEL], ["ok", DIS, DEL, IMP]),
    ("DescribeKey", ["ok"; 3], ["ok"; 4]),
    ("ListAliases", ["ok"; 3], ["ok"; 4]),
    ("ListGrants", ["ok"; 3], ["ok"; 4]),
    ("GetKeyPolicy", ["ok"; 3], ["ok"; 4]),
    ("PutKeyPolicy", ["ok"; 3], ["ok"; 4]),
    ("ListKeyPolicies", ["ok"; 3], ["ok"; 4]),
    ("ListResourceTags", ["ok"; 3], ["ok"; 4]),
    ("RetireGrant", [GRANT; 3], [GRANT; 4]),
    ("RevokeGrant", [GRANT; 3], [GRANT; 4]),
    ("DeleteAlias", ["ok"; 3], ["ok"; 4]),
    ("EnableKey", ["ok", "ok", DEL], ["ok", "ok", DEL, IMP]),
    ("DisableKey", ["ok", "ok", DEL], ["ok", "ok", DEL, IMP]),
    ("EnableKeyRotation", [KIND, DIS, DEL], [EXT; 4]),
    ("DisableKeyRotation", ["ok", DIS, DEL], [EXT; 4]),
    ("RotateKeyOnDemand", [KIND, DIS, DEL], [KIND, DIS, DEL, IMP]),
    ("GetKeyRotationStatus", ["ok"; 3], ["ok", "ok", "ok", EXT]),
    ("ListKeyRotations", ["ok"; 3], ["ok"; 4]),
    ("GetKeyLastUsage", ["ok"; 3], ["ok"; 4]),
    ("UpdateAlias", ["ok", "ok", DEL], ["ok", "ok", DEL, "ok"]),
    ("CreateAlias", ["ok", "ok", DEL], ["ok", "ok", DEL, "ok"]),
    ("TagResource", ["ok", "ok", DEL], ["ok", "ok", DEL, "ok"]),
    ("UntagResource", ["ok", "ok", DEL], ["ok", "ok", DEL, "ok"]),
    ("UpdateKeyDescription", ["ok", "ok", DEL], ["ok", "ok", DEL, "ok"]),
    ("ScheduleKeyDeletion", ["ok", "ok", DEL], ["ok", "ok", DEL, "ok"]),
    ("CancelKeyDeletion", [NOT, NOT, "ok"], [NOT, NOT, "ok", NOT]),
    ("GetParametersForImport", [OWN, OWN, DEL], ["ok", "ok", DEL, "ok"]),
    ("ImportKeyMaterial", [OWN, OWN, DEL], ["ok", "ok", DEL, "ok"]),
    ("DeleteImportedKeyMaterial", [OWN; 3], ["ok"; 4]),
    ("ReplicateKey", [ONE, DIS, DEL], [ONE, DIS, DEL, IMP]),
    ("UpdatePrimaryRegion", [ONE, DIS, DEL], [ONE, DIS, DEL, IMP]),
];

/// Cryptographic operations; `ok` becomes a refusal where they are not for the kind.
const CRYPTOGRAPHIC: [&str; 14] = [
    "Encrypt",
    "Decrypt",
    "ReEncrypt from",
    "ReEncrypt to",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "Sign",
    "Verify",
    "GenerateMac",
    "VerifyMac",
    "GetPublicKey",
    "DeriveSharedSecret",
];
const USED: ([&str; 3], [&str; 4]) = (["ok", DIS, DEL], ["ok", DIS, DEL, IMP]);

/// What a cryptographic operation on an enabled key of a kind answers, where that is not its success.
fn unfit(operation: &str, usage: &str) -> Option<String> {
    let name = operation.split(' ').next().unwrap();
    let of = match name {
        "Sign" | "Verify" => "SIGN_VERIFY",
        "GenerateMac" | "VerifyMac" => "GENERATE_VERIFY_MAC",
        "DeriveSharedSecret" => "KEY_AGREEMENT",
        "GetPublicKey" => return None,
        _ => "ENCRYPT_DECRYPT",
    };
    if of != usage {
        return Some(format!(
            "InvalidKeyUsageException: ARN key usage is {usage} which is not valid for {name}."
        ));
    }
    let symmetric = name.starts_with("GenerateDataKey");
    symmetric
        .then(|| "InvalidKeyUsageException: You cannot generate a data key with an asymmetric CMK".to_owned())
}

/// A key in a state, with what operations need.
struct Subject {
    key: Key,
    alias: String,
}

struct Bench<'s> {
    service: &'s Service,
    spec: &'static str,
    usage: &'static str,
    algorithm: &'static str,
    /// Material of that spec, for imports.
    material: Vec<u8>,
    /// A public key to agree with.
    peer: Vec<u8>,
    /// A symmetric key and a ciphertext of it; an enabled RSA key and a ciphertext of that.
    other: Key,
    symmetric_blob: String,
    number: usize,
}

impl Bench<'_> {
    fn subject(&mut self, state: &str, origin: &str) -> Subject {
        self.number += 1;
        let service = self.service;
        let key = service.key_of(json!({"KeySpec": self.spec, "KeyUsage": self.usage, "Origin": origin}));
        if origin == "EXTERNAL" && state != "PendingImport" {
            let request = wrapped_request(service, &key, self.spec, &self.material);
            service.ok("ImportKeyMaterial", request);
        }
        let alias = format!("alias/{}-{}-{}", self.spec, self.usage, self.number);
        service.alias(&alias, &key);
        match state {
            "Disabled" => service.disable(&key),
            "PendingDeletion" => drop(service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id}))),
            _ => (),
        }
        assert_eq!(service.state(&key), state, "{origin}");
        Subject { key, alias }
    }

    fn request<'c>(&self, it: &Subject, case: &'c str, state: &str, origin: &str) -> (&'c str, Value) {
        let id = &it.key.id;
        let (algorithm, oaep) = (self.algorithm, "RSAES_OAEP_SHA_256");
        let request = match case {
            "Encrypt" => json!({"KeyId": id, "Plaintext": "AAAA", "EncryptionAlgorithm": oaep}),
            "Decrypt" => {
                json!({"KeyId": id, "CiphertextBlob": self.blob(it, state), "EncryptionAlgorithm": oaep})
            }
            "ReEncrypt from" => json!({
                "SourceKeyId": id, "CiphertextBlob": self.blob(it, state), "SourceEncryptionAlgorithm": oaep,
                "DestinationKeyId": self.other.id
            }),
            "ReEncrypt to" => json!({
                "CiphertextBlob": self.symmetric_blob, "DestinationKeyId": id, "DestinationEncryptionAlgorithm": oaep
            }),
            "GenerateDataKey" | "GenerateDataKeyWithoutPlaintext" => {
                json!({"KeyId": id, "KeySpec": "AES_256"})
            }
            "GenerateDataKeyPair" | "GenerateDataKeyPairWithoutPlaintext" => {
                json!({"KeyId": id, "KeyPairSpec": "ECC_NIST_P256"})
            }
            "Sign" => json!({"KeyId": id, "Message": "AAAA", "SigningAlgorithm": self.signs(algorithm)}),
            "Verify" => {
                let signing =
                    json!({"KeyId": id, "Message": "AAAA", "SigningAlgorithm": self.signs(algorithm)});
                self.with(state, "Sign", signing, "Signature")
            }
            "GenerateMac" => json!({"KeyId": id, "Message": "AAAA", "MacAlgorithm": "HMAC_SHA_256"}),
            "VerifyMac" => {
                let coding = json!({"KeyId": id, "Message": "AAAA", "MacAlgorithm": "HMAC_SHA_256"});
                self.with(state, "GenerateMac", coding, "Mac")
            }
            "DeriveSharedSecret" => {
                json!({"KeyId": id, "KeyAgreementAlgorithm": "ECDH", "PublicKey": base64(&self.peer)})
            }
            "CreateGrant" => json!({
                "KeyId": id, "GranteePrincipal": "arn:aws:iam::000000000000:user/bin", "Operations": ["DescribeKey"]
            }),
            "RevokeGrant" | "RetireGrant" => json!({"KeyId": id, "GrantId": "0".repeat(64)}),
            "PutKeyPolicy" => json!({"KeyId": id, "Policy": policy(json!([{
                "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"
            }]))}),
            "DeleteAlias" => json!({"AliasName": it.alias}),
            "UpdateAlias" => json!({"AliasName": it.alias, "TargetKeyId": id}),
            "CreateAlias" => json!({"AliasName": format!("{}-{case}-{state}", it.alias), "TargetKeyId": id}),
            "TagResource" => json!({"KeyId": id, "Tags": [{"TagKey": "a", "TagValue": "b"}]}),
            "UntagResource" => json!({"KeyId": id, "TagKeys": ["a"]}),
            "UpdateKeyDescription" => json!({"KeyId": id, "Description": "changed"}),
            "GetParametersForImport" => json!({
                "KeyId": id, "WrappingAlgorithm": crate::kind_import::best(self.spec), "WrappingKeySpec": "RSA_2048"
            }),
            "ImportKeyMaterial" if origin == "EXTERNAL" && state != "PendingDeletion" => {
                wrapped_request(self.service, &it.key, self.spec, &self.material)
            }
            "ImportKeyMaterial" => json!({
                "KeyId": id, "ImportToken": "AA==", "EncryptedKeyMaterial": "AA==",
                "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"
            }),
            "ReplicateKey" => json!({"KeyId": id, "ReplicaRegion": "eu-west-1"}),
            "UpdatePrimaryRegion" => json!({"KeyId": id, "PrimaryRegion": "eu-west-1"}),
            _ => json!({"KeyId": id}),
        };
        (case.split(' ').next().unwrap(), request)
    }

    /// A ciphertext of the key, where it makes some.
    fn blob(&self, it: &Subject, state: &str) -> String {
        if state != "Enabled" || self.usage != "ENCRYPT_DECRYPT" {
            return base64(&[7; 256]);
        }
        let request =
            json!({"KeyId": it.key.id, "Plaintext": "AAAA", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"});
        crate::fixture::text(&self.service.ok("Encrypt", request)["CiphertextBlob"])
    }

    fn signs(&self, algorithm: &'static str) -> &'static str {
        if self.usage == "SIGN_VERIFY" { algorithm } else { "ECDSA_SHA_256" }
    }

    /// `request` with what `maker` answers to it, where it answers.
    fn with(&self, state: &str, maker: &str, mut request: Value, member: &str) -> Value {
        let made = (state == "Enabled").then(|| self.service.call(maker, request.clone()).ok()).flatten();
        request[member] = made.flatten().map_or(json!("AAAA"), |made| made[member].clone());
        request
    }

    fn found(&self, it: &Subject, case: &str, state: &str, origin: &str) -> String {
        let (operation, request) = self.request(it, case, state, origin);
        match self.service.call(operation, request) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string().replace(&it.key.arn, "ARN"),
        }
    }
}

/// Where a permitted operation leads.
fn led<'s>(case: &str, state: &'s str, origin: &str) -> &'s str {
    match case {
        "EnableKey" => "Enabled",
        "DisableKey" => "Disabled",
        "ScheduleKeyDeletion" => "PendingDeletion",
        "CancelKeyDeletion" => "Disabled",
        "ImportKeyMaterial" if state == "PendingImport" => "Enabled",
        "DeleteImportedKeyMaterial" if state != "PendingDeletion" && origin == "EXTERNAL" => "PendingImport",
        _ => state,
    }
}

#[test]
fn st_1_every_operation_on_every_kind_in_every_state_is_answered_as_aws_does() {
    let service = Service::new();
    let other = service.key();
    let symmetric_blob = service.encrypt(&other.id, b"secret");
    let mut cells = 0;
    for (spec, usage, algorithm) in KINDS {
        let peer_spec = if usage == "KEY_AGREEMENT" { spec } else { "ECC_NIST_P384" };
        let peer = service.public_key(&service.of_kind(peer_spec, "KEY_AGREEMENT"));
        let (material, other, symmetric_blob) = (material(spec), other.clone(), symmetric_blob.clone());
        let mut bench = Bench {
            service: &service,
            spec,
            usage,
            algorithm,
            material,
            peer,
            other,
            symmetric_blob,
            number: 0,
        };
        for (origin, states) in [("AWS_KMS", &MADE[..]), ("EXTERNAL", &IMPORTED)] {
            for (column, state) in states.iter().enumerate() {
                let mut it = bench.subject(state, origin);
                let common = COMMON.iter().map(|(case, made, imported)| (*case, made, imported));
                let used = CRYPTOGRAPHIC.iter().map(|case| (*case, &USED.0, &USED.1));
                for (case, made, imported) in used.chain(common) {
                    let cell = if origin == "AWS_KMS" { made[column] } else { imported[column] };
                    let expected = match (case, cell) {
                        ("GetPublicKey", _) if spec.starts_with("HMAC") => KIND.to_owned(),
                        (_, "ok") => unfit(case, usage)
                            .filter(|_| CRYPTOGRAPHIC.contains(&case))
                            .unwrap_or("ok".to_owned()),
                        (_, cell) => cell.to_owned(),
                    };
                    let found = bench.found(&it, case, state, origin);
                    assert_eq!(found, expected, "{case} on {spec} for {usage} in {state}, origin {origin}");
                    cells += 1;
                    if found == "ok" {
                        let leads = led(case, state, origin);
                        assert_eq!(service.state(&it.key), leads, "{case} in {state}, {origin}");
                        if case == "DeleteAlias" && *state != "PendingDeletion" {
                            service.alias(&it.alias, &it.key);
                        }
                        // Making one takes its time.
                        if leads != *state || (case, *state) == ("DeleteAlias", "PendingDeletion") {
                            it = bench.subject(state, origin);
                        }
                    } else {
                        assert_eq!(service.state(&it.key), *state, "{case} was refused and changed the key");
                    }
                }
            }
        }
    }
    assert_eq!(cells, KINDS.len() * (MADE.len() + IMPORTED.len()) * (COMMON.len() + CRYPTOGRAPHIC.len()));
}

#[test]
fn st_1_the_test_covers_every_operation_that_names_a_key() {
    for operation in kmsfs::kms::Operation::ALL {
        let name = operation.name();
        let covered = CRYPTOGRAPHIC.iter().any(|case| case.split(' ').next() == Some(name))
            || COMMON.iter().any(|(case, ..)| *case == name);
        let names_none = ["CreateKey", "ListKeys", "ListRetirableGrants", "GenerateRandom"].contains(&name);
        assert_eq!(covered, !names_none, "{name}");
    }
}

#[test]
fn rotation_of_these_kinds_is_off_for_good() {
    let service = Service::new();
    for (spec, usage, _) in KINDS {
        let key = service.of_kind(spec, usage);
        let status = service.ok("GetKeyRotationStatus", json!({"KeyId": key.id}));
        assert_eq!(status, json!({"KeyRotationEnabled": false, "KeyId": key.id}));
        service.ok("DisableKeyRotation", json!({"KeyId": key.id}));
        assert_eq!(service.refusal("EnableKeyRotation", json!({"KeyId": key.id})), KIND);
        let status = service.ok("GetKeyRotationStatus", json!({"KeyId": key.id}));
        assert_eq!(status["KeyRotationEnabled"], json!(false));
        assert_eq!(service.ok("ListKeyRotations", json!({"KeyId": key.id}))["Rotations"], json!([]));
    }
}
