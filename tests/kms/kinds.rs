//! Asymmetric and HMAC keys: every spec, usage and algorithm, and what is refused of them.

use std::collections::BTreeSet;

use kmsfs::kms::spec::{KeySpec, KeyUsage, MacAlgorithm, SigningAlgorithm};
use serde_json::{Value, json};

use crate::fixture::{Key, Service, base64, bytes, policy, text};

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

/// An operation's request on that key, with an algorithm of the key where it has one for the operation.
fn request(key: &Key, operation: &str, algorithm: &str, peer: &[u8]) -> Value {
    let id = &key.id;
    match operation {
        "Encrypt" => json!({"KeyId": id, "Plaintext": "AAAA", "EncryptionAlgorithm": algorithm}),
        "Decrypt" => json!({"KeyId": id, "CiphertextBlob": "AAAA", "EncryptionAlgorithm": algorithm}),
        "ReEncrypt" => json!({
            "SourceKeyId": id, "DestinationKeyId": id, "CiphertextBlob": "AAAA",
            "SourceEncryptionAlgorithm": algorithm, "DestinationEncryptionAlgorithm": algorithm
        }),
        "GenerateDataKey" | "GenerateDataKeyWithoutPlaintext" => json!({"KeyId": id, "KeySpec": "AES_256"}),
        "GenerateDataKeyPair" | "GenerateDataKeyPairWithoutPlaintext" => {
            json!({"KeyId": id, "KeyPairSpec": "ECC_NIST_P256"})
        }
        "Sign" => json!({"KeyId": id, "Message": "AAAA", "SigningAlgorithm": algorithm}),
        "Verify" => {
            json!({"KeyId": id, "Message": "AAAA", "SigningAlgorithm": algorithm, "Signature": "AAAA"})
        }
        "GenerateMac" => json!({"KeyId": id, "Message": "AAAA", "MacAlgorithm": algorithm}),
        "VerifyMac" => json!({"KeyId": id, "Message": "AAAA", "MacAlgorithm": algorithm, "Mac": "AAAA"}),
        "DeriveSharedSecret" => {
            json!({"KeyId": id, "KeyAgreementAlgorithm": "ECDH", "PublicKey": base64(peer)})
        }
        other => panic!("{other}"),
    }
}

#[test]
fn an_operation_that_is_not_for_a_keys_usage_says_so() {
    let service = Service::new();
    let operations = [
        ("Encrypt", "ENCRYPT_DECRYPT", "RSAES_OAEP_SHA_256"),
        ("Decrypt", "ENCRYPT_DECRYPT", "RSAES_OAEP_SHA_256"),
        ("GenerateDataKey", "", ""),
        ("GenerateDataKeyWithoutPlaintext", "", ""),
        ("GenerateDataKeyPair", "", ""),
        ("GenerateDataKeyPairWithoutPlaintext", "", ""),
        ("Sign", "SIGN_VERIFY", "RSASSA_PSS_SHA_256"),
        ("Verify", "SIGN_VERIFY", "RSASSA_PSS_SHA_256"),
        ("GenerateMac", "GENERATE_VERIFY_MAC", "HMAC_SHA_256"),
        ("VerifyMac", "GENERATE_VERIFY_MAC", "HMAC_SHA_256"),
        ("DeriveSharedSecret", "KEY_AGREEMENT", ""),
    ];
    for (spec, usage) in QUICK {
        let key = service.of_kind(spec, usage);
        for (operation, of, algorithm) in operations.into_iter().filter(|(_, of, _)| *of != usage) {
            if of.is_empty() && usage == "ENCRYPT_DECRYPT" {
                continue;
            }
            assert_eq!(
                service.refusal(operation, request(&key, operation, algorithm, b"x")),
                format!(
                    "InvalidKeyUsageException: {} key usage is {usage} which is not valid for {operation}.",
                    key.arn
                )
            );
        }
    }
    let rsa = service.of_kind("RSA_2048", "ENCRYPT_DECRYPT");
    for operation in [
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
    ] {
        assert_eq!(
            service.refusal(operation, request(&rsa, operation, "", b"x")),
            format!(
                "InvalidKeyUsageException: {} key spec is RSA_2048 which is not valid for {operation}.",
                rsa.arn
            )
        );
    }
}

#[test]
fn an_algorithm_that_a_keys_spec_has_not_is_refused_by_name() {
    let service = Service::new();
    let incompatible = |algorithm: &str, spec: &str| {
        format!("InvalidKeyUsageException: Algorithm {algorithm} is incompatible with key spec {spec}.")
    };
    for (name, usage) in QUICK {
        let (spec, key) = (KeySpec::from_name(name).unwrap(), service.of_kind(name, usage));
        match KeyUsage::from_name(usage).unwrap() {
            KeyUsage::SignVerify => {
                let others =
                    SigningAlgorithm::ALL.iter().filter(|known| !spec.signing_algorithms().contains(known));
                let others = others.map(|known| known.name()).chain(["SM2DSA", "ML_DSA_SHAKE_256"]);
                for (operation, algorithm) in
                    others.flat_map(|algorithm| [("Sign", algorithm), ("Verify", algorithm)])
                {
                    let refusal = service.refusal(operation, request(&key, operation, algorithm, b""));
                    assert_eq!(refusal, incompatible(algorithm, name));
                }
            }
            KeyUsage::GenerateVerifyMac => {
                let others = MacAlgorithm::ALL.iter().filter(|known| !spec.mac_algorithms().contains(known));
                for (operation, algorithm) in
                    others.flat_map(|known| [("GenerateMac", known.name()), ("VerifyMac", known.name())])
                {
                    let refusal = service.refusal(operation, request(&key, operation, algorithm, b""));
                    assert_eq!(refusal, incompatible(algorithm, name));
                }
            }
            KeyUsage::EncryptDecrypt => {
                for algorithm in ["SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"] {
                    if spec.encryption_algorithms().iter().any(|known| known.name() == algorithm) {
                        continue;
                    }
                    let refusal = service.refusal("Encrypt", request(&key, "Encrypt", algorithm, b""));
                    assert_eq!(refusal, incompatible(algorithm, name));
                    if algorithm != "SYMMETRIC_DEFAULT" {
                        let refusal = service.refusal("Decrypt", request(&key, "Decrypt", algorithm, b""));
                        assert_eq!(refusal, incompatible(algorithm, name));
                    }
                }
            }
            KeyUsage::KeyAgreement => (),
        }
    }
    let key = service.of_kind("HMAC_256", "GENERATE_VERIFY_MAC");
    assert_eq!(
        service
            .refusal("GenerateMac", json!({"KeyId": key.id, "Message": "AAAA", "MacAlgorithm": "INVALID"})),
        "ValidationException: 1 validation error detected: Value 'INVALID' at 'macAlgorithm' failed to satisfy \
         constraint: Member must satisfy enum value set: [HMAC_SHA_384, HMAC_SHA_256, HMAC_SHA_224, HMAC_SHA_512]"
    );
    let key = service.of_kind("ECC_NIST_P256", "KEY_AGREEMENT");
    let request = json!({"KeyId": key.id, "PublicKey": "AAAA", "KeyAgreementAlgorithm": "INVALID"});
    assert_eq!(
        service.refusal("DeriveSharedSecret", request),
        "ValidationException: 1 validation error detected: Value 'INVALID' at 'keyAgreementAlgorithm' failed to satisfy \
         constraint: Member must satisfy enum value set: [ECDH]"
    );
}

#[test]
fn rsa_encrypts_what_fits_and_says_how_much_does() {
    let service = Service::new();
    let key = service.of_kind("RSA_2048", "ENCRYPT_DECRYPT");
    for (algorithm, most) in [("RSAES_OAEP_SHA_1", 214), ("RSAES_OAEP_SHA_256", 190)] {
        let encrypt = |len: usize| json!({"KeyId": key.id, "Plaintext": base64(&vec![7; len]), "EncryptionAlgorithm": algorithm});
        for len in [1, most] {
            let answer = service.ok("Encrypt", encrypt(len));
            assert_eq!(answer["EncryptionAlgorithm"], json!(algorithm));
            assert_eq!(bytes(&answer["CiphertextBlob"]).len(), 256);
            let request = json!({
                "KeyId": key.arn, "CiphertextBlob": answer["CiphertextBlob"], "EncryptionAlgorithm": algorithm
            });
            let answer = service.ok("Decrypt", request);
            assert_eq!(bytes(&answer["Plaintext"]), vec![7; len]);
            assert_eq!(answer["KeyId"], json!(key.arn));
            assert_eq!(answer.get("KeyMaterialId"), None, "AWS names it for symmetric keys");
        }
        assert_eq!(
            service.refusal("Encrypt", encrypt(most + 1)),
            format!(
                "ValidationException: Algorithm {algorithm} and key spec RSA_2048 cannot encrypt data larger than {most} \
                 bytes."
            )
        );
    }
    let with_context = json!({
        "KeyId": key.id, "Plaintext": "AAAA", "EncryptionAlgorithm": "RSAES_OAEP_SHA_1", "EncryptionContext": {"a": "b"}
    });
    assert!(
        service.refusal("Encrypt", with_context).starts_with("ValidationException: An encryption context")
    );
}

#[test]
fn a_ciphertext_of_rsa_is_decrypted_by_the_key_that_is_named_and_in_its_way_alone() {
    let service = Service::new();
    let (key, other) =
        (service.of_kind("RSA_2048", "ENCRYPT_DECRYPT"), service.of_kind("RSA_2048", "ENCRYPT_DECRYPT"));
    let (symmetric, mac) = (service.key(), service.of_kind("HMAC_256", "GENERATE_VERIFY_MAC"));
    let sha256 = "RSAES_OAEP_SHA_256";
    let made =
        service.ok("Encrypt", json!({"KeyId": key.id, "Plaintext": "AAAA", "EncryptionAlgorithm": sha256}));
    let blob = made["CiphertextBlob"].clone();
    let decrypt = |key: Option<&Key>, blob: &Value, algorithm: Option<&str>| {
        let mut request = json!({"CiphertextBlob": blob});
        if let Some(key) = key {
            request["KeyId"] = json!(key.id);
        }
        if let Some(algorithm) = algorithm {
            request["EncryptionAlgorithm"] = json!(algorithm);
        }
        service.refusal("Decrypt", request)
    };
    let invalid = "InvalidCiphertextException";
    assert_eq!(decrypt(Some(&other), &blob, Some(sha256)), invalid);
    assert_eq!(decrypt(Some(&key), &blob, Some("RSAES_OAEP_SHA_1")), invalid);
    // The default algorithm takes it for a symmetric ciphertext, which it is not; so does AWS KMS.
    assert_eq!(decrypt(Some(&key), &blob, None), invalid);
    assert_eq!(decrypt(None, &blob, None), invalid);
    assert_eq!(
        decrypt(None, &blob, Some(sha256)),
        "ValidationException: You must specify the KMS key that decrypts with the algorithm RSAES_OAEP_SHA_256."
    );
    let of_symmetric = json!(service.encrypt(&symmetric.id, b"secret"));
    let incorrect = "IncorrectKeyException: The key ID in the request does not identify a CMK that can perform this operation.";
    assert_eq!(decrypt(Some(&mac), &of_symmetric, None), incorrect);
    assert_eq!(decrypt(Some(&key), &of_symmetric, None), incorrect);
    assert_eq!(decrypt(Some(&key), &of_symmetric, Some(sha256)), invalid);
}

#[test]
fn a_forged_ciphertext_that_names_material_of_another_kind_is_invalid() {
    let service = Service::new();
    let key = service.of_kind("RSA_2048", "ENCRYPT_DECRYPT");
    let ring = service.home.keyring().unwrap();
    let known = ring.keys().next().unwrap();
    let (id, material) = (known.record.id, known.materials[0].id);
    let forged = [b"kms\x01", id.as_bytes().as_slice(), material.as_bytes(), &[9; 76]].concat();
    for request in [
        json!({"CiphertextBlob": base64(&forged)}),
        json!({"CiphertextBlob": base64(&forged), "KeyId": key.id}),
    ] {
        assert_eq!(service.refusal("Decrypt", request), "InvalidCiphertextException");
    }
}

#[test]
fn re_encryption_crosses_kinds() {
    let service = Service::new();
    let (rsa, symmetric) = (service.of_kind("RSA_2048", "ENCRYPT_DECRYPT"), service.key());
    let sha1 = "RSAES_OAEP_SHA_1";
    let blob = service.encrypt(&symmetric.id, b"secret");
    let to_rsa = service.ok(
        "ReEncrypt",
        json!({"CiphertextBlob": blob, "DestinationKeyId": rsa.id, "DestinationEncryptionAlgorithm": sha1}),
    );
    assert_eq!(to_rsa["SourceEncryptionAlgorithm"], json!("SYMMETRIC_DEFAULT"));
    assert_eq!(to_rsa["DestinationEncryptionAlgorithm"], json!(sha1));
    assert!(to_rsa.get("SourceKeyMaterialId").is_some() && to_rsa.get("DestinationKeyMaterialId").is_none());
    let back = json!({
        "CiphertextBlob": to_rsa["CiphertextBlob"], "SourceKeyId": rsa.id, "SourceEncryptionAlgorithm": sha1,
        "DestinationKeyId": symmetric.id, "DestinationEncryptionContext": {"a": "b"}
    });
    let back = service.ok("ReEncrypt", back);
    assert!(back.get("SourceKeyMaterialId").is_none() && back.get("DestinationKeyMaterialId").is_some());
    let decrypted = service
        .ok("Decrypt", json!({"CiphertextBlob": back["CiphertextBlob"], "EncryptionContext": {"a": "b"}}));
    assert_eq!(bytes(&decrypted["Plaintext"]), b"secret");
    let signing = service.of_kind("ECC_NIST_P256", "SIGN_VERIFY");
    let wrong = service.refusal("ReEncrypt", json!({"CiphertextBlob": blob, "DestinationKeyId": signing.id}));
    assert_eq!(
        wrong,
        format!(
            "InvalidKeyUsageException: {} key usage is SIGN_VERIFY which is not valid for ReEncrypt.",
            signing.arn
        )
    );
    let mac = service.of_kind("HMAC_224", "GENERATE_VERIFY_MAC");
    let wrong = json!({"CiphertextBlob": blob, "SourceKeyId": mac.id, "DestinationKeyId": mac.id});
    assert!(service.refusal("ReEncrypt", wrong).starts_with("IncorrectKeyException"));
}

#[test]
fn digests_and_messages_have_their_lengths_and_their_algorithms() {
    let service = Service::new();
    let key = service.of_kind("RSA_2048", "SIGN_VERIFY");
    let sign = |key: &Key, algorithm: &str, kind: &str, message: &[u8]| {
        let request = json!({
            "KeyId": key.id, "Message": base64(message), "MessageType": kind, "SigningAlgorithm": algorithm
        });
        service.call("Sign", request).map(|_| ()).map_err(|error| error.to_string())
    };
    for algorithm in SigningAlgorithm::ALL.iter().filter(|algorithm| algorithm.name().starts_with("RSASSA")) {
        let name = algorithm.name();
        let len = algorithm.scheme().hash().digest_len();
        assert_eq!(sign(&key, name, "DIGEST", &vec![1; len]), Ok(()));
        for wrong in [1, len - 1, len + 1, 4096] {
            assert_eq!(
                sign(&key, name, "DIGEST", &vec![1; wrong]),
                Err(format!("ValidationException: Digest is invalid length for algorithm {name}."))
            );
        }
    }
    assert_eq!(sign(&key, "RSASSA_PSS_SHA_256", "RAW", &[1; 4096]), Ok(()));
    assert_eq!(
        sign(&key, "RSASSA_PSS_SHA_256", "RAW", &[1; 4097]),
        Err("ValidationException: 1 validation error detected: Value at 'message' failed to satisfy constraint: Member \
             must have length less than or equal to 4096"
            .to_owned())
    );
    let edwards = service.of_kind("ECC_NIST_EDWARDS25519", "SIGN_VERIFY");
    let invalid = |kind: &str, name: &str| {
        Err(format!("ValidationException: MessageType {kind} is not valid for algorithm {name}."))
    };
    assert_eq!(sign(&edwards, "ED25519_SHA_512", "RAW", &[1; 4096]), Ok(()));
    assert_eq!(sign(&edwards, "ED25519_SHA_512", "DIGEST", &[1; 64]), invalid("DIGEST", "ED25519_SHA_512"));
    assert_eq!(sign(&edwards, "ED25519_PH_SHA_512", "DIGEST", &[1; 64]), Ok(()));
    assert_eq!(sign(&edwards, "ED25519_PH_SHA_512", "RAW", &[1; 64]), invalid("RAW", "ED25519_PH_SHA_512"));
    assert_eq!(
        sign(&key, "RSASSA_PSS_SHA_256", "EXTERNAL_MU", &[1; 64]),
        invalid("EXTERNAL_MU", "RSASSA_PSS_SHA_256")
    );
    assert_eq!(
        sign(&key, "RSASSA_PSS_SHA_256", "HASH", &[1; 64]),
        Err("ValidationException: 1 validation error detected: Value 'HASH' at 'messageType' failed to satisfy \
             constraint: Member must satisfy enum value set: [RAW, DIGEST, EXTERNAL_MU]"
            .to_owned())
    );
}

#[test]
fn what_does_not_verify_is_an_error_without_a_message() {
    let service = Service::new();
    for (spec, usage) in QUICK.into_iter().filter(|(_, usage)| *usage == "SIGN_VERIFY") {
        let (key, other) = (service.of_kind(spec, usage), service.of_kind(spec, usage));
        for algorithm in KeySpec::from_name(spec).unwrap().signing_algorithms() {
            let scheme = algorithm.scheme();
            let (kind, message) =
                if scheme.takes_messages() { ("RAW", vec![1; 3]) } else { ("DIGEST", vec![1; 64]) };
            let signing = json!({
                "KeyId": key.id, "Message": base64(&message), "MessageType": kind, "SigningAlgorithm": algorithm.name()
            });
            let signed = service.ok("Sign", signing.clone());
            assert_eq!(signed["KeyId"], json!(key.arn));
            let mut request = signing;
            request["Signature"] = signed["Signature"].clone();
            let verified = service.ok("Verify", request.clone());
            let expected =
                json!({"KeyId": key.arn, "SignatureValid": true, "SigningAlgorithm": algorithm.name()});
            assert_eq!(verified, expected);
            let invalid = |change: (&str, Value)| {
                let mut request = request.clone();
                request[change.0] = change.1;
                assert_eq!(
                    service.refusal("Verify", request),
                    "KMSInvalidSignatureException",
                    "{algorithm:?}"
                );
            };
            let mut altered = bytes(&signed["Signature"]);
            *altered.last_mut().unwrap() ^= 1;
            invalid(("Signature", json!(base64(&altered))));
            invalid(("Signature", json!(base64(&vec![0x30; 6144]))));
            invalid(("Message", json!(base64(&vec![2; message.len()]))));
            invalid(("KeyId", json!(other.id)));
        }
    }
    let key = service.of_kind("HMAC_256", "GENERATE_VERIFY_MAC");
    let coding = json!({"KeyId": key.id, "Message": "AAAA", "MacAlgorithm": "HMAC_SHA_256"});
    let made = service.ok("GenerateMac", coding.clone());
    assert_eq!(made["KeyId"], json!(key.arn));
    let verify = |mac: Value| {
        let mut request = coding.clone();
        request["Mac"] = mac;
        service.call("VerifyMac", request).map(Option::unwrap).map_err(|error| error.to_string())
    };
    let expected = json!({"KeyId": key.arn, "MacValid": true, "MacAlgorithm": "HMAC_SHA_256"});
    assert_eq!(verify(made["Mac"].clone()), Ok(expected));
    let mac = bytes(&made["Mac"]);
    let mut altered = mac.clone();
    altered[0] ^= 1;
    for wrong in [&altered[..], &mac[..31], &[mac.as_slice(), &[0]].concat()] {
        assert_eq!(verify(json!(base64(wrong))), Err("KMSInvalidMacException".to_owned()));
    }
}

#[test]
fn two_keys_agree_on_one_secret_and_what_is_no_public_key_is_refused() {
    let service = Service::new();
    for (spec, len) in [("ECC_NIST_P256", 32), ("ECC_NIST_P384", 48), ("ECC_NIST_P521", 66)] {
        let keys = [0, 1].map(|_| service.of_kind(spec, "KEY_AGREEMENT"));
        let publics = [0, 1].map(|number: usize| service.public_key(&keys[number]));
        let secrets = [0, 1].map(|number: usize| {
            let peer = base64(&publics[1 - number]);
            let request =
                json!({"KeyId": keys[number].id, "KeyAgreementAlgorithm": "ECDH", "PublicKey": peer});
            let answer = service.ok("DeriveSharedSecret", request);
            assert_eq!(answer["KeyOrigin"], json!("AWS_KMS"));
            assert_eq!(answer["KeyAgreementAlgorithm"], json!("ECDH"));
            assert_eq!(answer["KeyId"], json!(keys[number].arn));
            bytes(&answer["SharedSecret"])
        });
        assert_eq!(secrets[0], secrets[1]);
        assert_eq!(secrets[0].len(), len);
        let other = service.public_key(&service.of_kind("ECC_SECG_P256K1", "SIGN_VERIFY"));
        for wrong in [b"InvalidPublicKey".as_slice(), &publics[0][1..], &other] {
            let request =
                json!({"KeyId": keys[0].id, "KeyAgreementAlgorithm": "ECDH", "PublicKey": base64(wrong)});
            assert_eq!(service.refusal("DeriveSharedSecret", request), "ValidationException");
        }
    }
}

#[test]
fn a_dry_run_says_that_it_would_have_succeeded_and_gives_nothing() {
    let service = Service::new();
    let symmetric = service.key();
    let (signing, mac) =
        (service.of_kind("ECC_NIST_P256", "SIGN_VERIFY"), service.of_kind("HMAC_256", "GENERATE_VERIFY_MAC"));
    let (rsa, agreeing) =
        (service.of_kind("RSA_2048", "ENCRYPT_DECRYPT"), service.of_kind("ECC_NIST_P256", "KEY_AGREEMENT"));
    let peer = service.public_key(&service.of_kind("ECC_NIST_P256", "KEY_AGREEMENT"));
    for (key, operation, algorithm) in [
        (&symmetric, "GenerateDataKeyPair", ""),
        (&symmetric, "GenerateDataKeyPairWithoutPlaintext", ""),
        (&signing, "Sign", "ECDSA_SHA_256"),
        (&signing, "Verify", "ECDSA_SHA_256"),
        (&mac, "GenerateMac", "HMAC_SHA_256"),
        (&mac, "VerifyMac", "HMAC_SHA_256"),
        (&rsa, "Encrypt", "RSAES_OAEP_SHA_1"),
        (&agreeing, "DeriveSharedSecret", ""),
    ] {
        let mut request = request(key, operation, algorithm, &peer);
        request["DryRun"] = json!(true);
        assert_eq!(
            service.refusal(operation, request.clone()),
            "DryRunOperationException: The request would have succeeded, but the DryRun option is set.",
            "{operation}"
        );
        service.disable(key);
        assert_eq!(
            service.refusal(operation, request),
            format!("DisabledException: {} is disabled.", key.arn)
        );
        service.enable(key);
    }
}

#[test]
fn a_data_key_pair_is_a_pair_whose_private_key_opens_with_its_context() {
    let service = Service::new();
    let key = service.key();
    for spec in [
        "RSA_2048",
        "ECC_NIST_P256",
        "ECC_NIST_P384",
        "ECC_NIST_P521",
        "ECC_SECG_P256K1",
        "ECC_NIST_EDWARDS25519",
    ] {
        let request = json!({"KeyId": key.id, "KeyPairSpec": spec, "EncryptionContext": {"a": "b"}});
        let made = service.ok("GenerateDataKeyPair", request.clone());
        assert_eq!(made["KeyPairSpec"], json!(spec));
        assert_eq!(made["KeyId"], json!(key.arn));
        assert!(made.get("KeyMaterialId").is_some());
        let blob = &made["PrivateKeyCiphertextBlob"];
        let opened = service.ok("Decrypt", json!({"CiphertextBlob": blob, "EncryptionContext": {"a": "b"}}));
        assert_eq!(opened["Plaintext"], made["PrivateKeyPlaintext"]);
        assert_eq!(service.refusal("Decrypt", json!({"CiphertextBlob": blob})), "InvalidCiphertextException");
        let hidden = service.ok("GenerateDataKeyPairWithoutPlaintext", request);
        assert_eq!(hidden.get("PrivateKeyPlaintext"), None);
        assert_ne!(hidden["PublicKey"], made["PublicKey"]);
    }
    for spec in ["SM2", "ML_KEM_512"] {
        assert_eq!(
            service.refusal("GenerateDataKeyPair", json!({"KeyId": key.id, "KeyPairSpec": spec})),
            format!(
                "UnsupportedOperationException: The key pair spec {spec} is not supported by this version of kmsfs."
            )
        );
    }
    let recipient = json!({"KeyId": key.id, "KeyPairSpec": "ECC_NIST_P256", "Recipient": {"KeyEncryptionAlgorithm": "x"}});
    assert_eq!(
        service.refusal("GenerateDataKeyPair", recipient),
        "UnsupportedOperationException: The parameter Recipient is not supported by this version of kmsfs."
    );
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
            let request = json!({"KeyId": key.id, "GranteePrincipal": BIN, "Operations": [operation]});
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
