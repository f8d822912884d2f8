//! What asymmetric and HMAC keys do, with which algorithms, and what is refused of that.

use kmsfs::kms::spec::{KeySpec, KeyUsage, MacAlgorithm, SigningAlgorithm};
use serde_json::{Value, json};

use crate::fixture::{Key, Service, base64, bytes};
use crate::kinds::QUICK;

/// An operation's request on that key, with an algorithm of the key where it has one for the operation.
pub fn request(key: &Key, operation: &str, algorithm: &str, peer: &[u8]) -> Value {
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
            "InvalidKeyUsageException: You cannot generate a data key with an asymmetric CMK"
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
