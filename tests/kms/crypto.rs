//! Cryptographic operations (rules CR-1 to CR-3): sizes, contexts, altered blobs, named keys.

use serde_json::{Value, json};

use crate::fixture::{Key, Service, base64, bytes, forged_blob, text};

const INCORRECT_KEY: &str = "IncorrectKeyException: The key ID in the request does not identify a CMK that can perform this operation.";

fn encrypt(service: &Service, key: &Key, plaintext: &[u8], context: Value) -> Vec<u8> {
    let request = json!({"KeyId": key.id, "Plaintext": base64(plaintext), "EncryptionContext": context});
    bytes(&service.ok("Encrypt", request)["CiphertextBlob"])
}

fn decrypt_request(blob: &[u8], context: Value) -> Value {
    json!({"CiphertextBlob": base64(blob), "EncryptionContext": context})
}

#[test]
fn cr_1_encrypt_takes_one_to_4096_bytes() {
    let service = Service::new();
    let key = service.key();
    for len in [1, 2, 4095, 4096] {
        let plaintext = vec![0xa5; len];
        let blob = service.encrypt(&key.id, &plaintext);
        assert_eq!(service.decrypt(&blob), plaintext, "{len} bytes");
    }
    let refusal =
        |len| service.refusal("Encrypt", json!({"KeyId": key.id, "Plaintext": base64(&vec![1; len])}));
    assert_eq!(
        refusal(4097),
        "ValidationException: 1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member \
         must have length less than or equal to 4096"
    );
    assert_eq!(
        refusal(0),
        "ValidationException: 1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member \
         must have length greater than or equal to 1"
    );
}

#[test]
fn cr_1_a_blob_holds_nothing_of_its_plaintext_and_is_never_the_same_twice() {
    let service = Service::new();
    let key = service.key();
    let plaintext = b"sixteen of these";
    let (one, two) =
        (encrypt(&service, &key, plaintext, json!({})), encrypt(&service, &key, plaintext, json!({})));
    assert_ne!(one, two);
    assert!(!one.windows(4).any(|part| plaintext.windows(4).any(|other| part == other)));
    // Key id and material id are the same, the salt after them is not.
    assert_eq!(one[..52], two[..52]);
    assert_ne!(one[52..68], two[52..68]);
}

#[test]
fn cr_1_decrypt_finds_the_key_by_the_blob_and_checks_a_named_one() {
    let service = Service::new();
    let (a, b) = (service.key(), service.key());
    service.alias("alias/a", &a);
    service.alias("alias/b", &b);
    let blob = service.encrypt(&a.id, b"x");
    let answer = service.ok("Decrypt", json!({"CiphertextBlob": blob}));
    assert_eq!(answer["KeyId"], json!(a.arn));
    assert_eq!(answer["EncryptionAlgorithm"], json!("SYMMETRIC_DEFAULT"));
    assert_eq!(answer["KeyMaterialId"], service.describe(&a)["CurrentKeyMaterialId"]);
    for name in [&b.id, &b.arn, "alias/b"] {
        let request = json!({"CiphertextBlob": blob, "KeyId": name});
        assert_eq!(service.refusal("Decrypt", request), INCORRECT_KEY);
        let request = json!({"CiphertextBlob": blob, "SourceKeyId": name, "DestinationKeyId": b.id});
        assert_eq!(service.refusal("ReEncrypt", request), INCORRECT_KEY);
    }
    // Also where the named key could not be used anyway: it is not told.
    service.disable(&b);
    assert_eq!(service.refusal("Decrypt", json!({"CiphertextBlob": blob, "KeyId": b.id})), INCORRECT_KEY);
}

#[test]
fn cr_1_any_altered_byte_is_refused_and_nothing_is_told() {
    let service = Service::new();
    let key = service.key();
    let blob = encrypt(&service, &key, b"secret", json!({"a": "b"}));
    let unknown_key = 4..20;
    for place in 0..blob.len() {
        let mut altered = blob.clone();
        altered[place] ^= 0x40;
        let expected = match unknown_key.contains(&place) {
            true => {
                "AccessDeniedException: The ciphertext refers to a customer master key that does not exist, does not exist \
                 in this region, or you are not allowed to access."
            }
            false => "InvalidCiphertextException",
        };
        let refusal = service.refusal("Decrypt", decrypt_request(&altered, json!({"a": "b"})));
        assert_eq!(refusal, expected, "byte {place}");
    }
}

#[test]
fn cr_1_a_cut_a_longer_and_a_made_up_blob_are_refused_like_an_altered_one() {
    let service = Service::new();
    let key = service.key();
    let blob = encrypt(&service, &key, b"secret", json!({}));
    let longer = [blob.as_slice(), b"x"].concat();
    let forged = bytes(&json!(forged_blob(&key)));
    for altered in [&blob[..blob.len() - 1], &blob[..52], &blob[..1], &longer, &forged, b"garbage"] {
        let request = decrypt_request(altered, json!({}));
        assert_eq!(service.refusal("Decrypt", request), "InvalidCiphertextException");
    }
    let too_long = decrypt_request(&vec![1; 6145], json!({}));
    assert_eq!(
        service.refusal("Decrypt", too_long),
        "ValidationException: 1 validation error detected: Value at 'ciphertextBlob' failed to satisfy constraint: \
         Member must have length less than or equal to 6144"
    );
}

#[test]
fn cr_1_a_blob_moved_to_another_key_is_refused() {
    let service = Service::new();
    let (a, b) = (service.key(), service.key());
    let blob_of_a = encrypt(&service, &a, b"secret", json!({}));
    let blob_of_b = encrypt(&service, &b, b"secret", json!({}));
    let grafted = [&blob_of_b[..52], &blob_of_a[52..]].concat();
    assert_eq!(
        service.refusal("Decrypt", decrypt_request(&grafted, json!({}))),
        "InvalidCiphertextException"
    );
    let other_home = Service::new();
    let refusal = other_home.refusal("Decrypt", decrypt_request(&blob_of_a, json!({})));
    assert!(refusal.starts_with("AccessDeniedException: "), "{refusal}");
}

#[test]
fn cr_1_state_comes_before_context_and_existence_before_state() {
    let service = Service::new();
    let key = service.key();
    let blob = encrypt(&service, &key, b"secret", json!({"a": "b"}));
    service.disable(&key);
    let refusal = service.refusal("Decrypt", decrypt_request(&blob, json!({"a": "wrong"})));
    assert_eq!(refusal, format!("DisabledException: {} is disabled.", key.arn));
}

#[test]
fn cr_2_a_context_opens_only_what_it_was_given_to() {
    let service = Service::new();
    let key = service.key();
    let contexts = [
        json!({}),
        json!({"a": ""}),
        json!({"": "a"}),
        json!({"ab": "c"}),
        json!({"a": "bc"}),
        json!({"A": "bc"}),
        json!({"a": "b", "c": "d"}),
        json!({"a": "bcd"}),
        json!({"a": "d", "c": "b"}),
        json!({"ä": "ö"}),
        json!({"a\u{0}b": "c"}),
    ];
    let blobs = contexts.each_ref().map(|context| encrypt(&service, &key, b"secret", context.clone()));
    for (given, blob) in contexts.iter().zip(&blobs) {
        for asked in &contexts {
            let request = decrypt_request(blob, asked.clone());
            if given == asked {
                assert_eq!(bytes(&service.ok("Decrypt", request)["Plaintext"]), b"secret");
            } else {
                let refusal = service.refusal("Decrypt", request);
                assert_eq!(refusal, "InvalidCiphertextException", "{given} opened with {asked}");
            }
        }
    }
}

#[test]
fn cr_2_the_order_of_pairs_does_not_count_and_no_context_is_an_empty_one() {
    let service = Service::new();
    let key = service.key();
    let blob = encrypt(&service, &key, b"secret", json!({"a": "1", "b": "2", "c": "3"}));
    service.ok("Decrypt", decrypt_request(&blob, json!({"c": "3", "a": "1", "b": "2"})));
    let blob = encrypt(&service, &key, b"secret", json!({}));
    service.ok("Decrypt", json!({"CiphertextBlob": base64(&blob)}));
    service.ok("Decrypt", json!({"CiphertextBlob": base64(&blob), "EncryptionContext": null}));
}

#[test]
fn cr_3_a_data_key_has_the_asked_length_and_opens_from_its_blob() {
    let service = Service::new();
    let key = service.key();
    let sizes = [
        (json!({"KeySpec": "AES_256"}), 32),
        (json!({"KeySpec": "AES_128"}), 16),
        (json!({"NumberOfBytes": 1}), 1),
        (json!({"NumberOfBytes": 1024}), 1024),
    ];
    for (size, len) in sizes {
        let mut request = json!({"KeyId": key.arn, "EncryptionContext": {"a": "b"}});
        request.as_object_mut().unwrap().extend(size.as_object().unwrap().clone());
        let made = service.ok("GenerateDataKey", request.clone());
        let plaintext = bytes(&made["Plaintext"]);
        assert_eq!(plaintext.len(), len);
        assert_eq!(made["KeyMaterialId"], service.describe(&key)["CurrentKeyMaterialId"]);
        let opened =
            service.ok("Decrypt", decrypt_request(&bytes(&made["CiphertextBlob"]), json!({"a": "b"})));
        assert_eq!(bytes(&opened["Plaintext"]), plaintext);

        let hidden = service.ok("GenerateDataKeyWithoutPlaintext", request);
        assert_eq!(hidden.get("Plaintext"), None);
        let opened =
            service.ok("Decrypt", decrypt_request(&bytes(&hidden["CiphertextBlob"]), json!({"a": "b"})));
        assert_eq!(bytes(&opened["Plaintext"]).len(), len);
        // A single byte may well be the same twice.
        assert!(len == 1 || bytes(&opened["Plaintext"]) != plaintext);
    }
}

#[test]
fn cr_3_a_data_key_needs_one_way_to_say_its_size() {
    let service = Service::new();
    let key = service.key();
    for operation in ["GenerateDataKey", "GenerateDataKeyWithoutPlaintext"] {
        for request in
            [json!({"KeyId": key.id}), json!({"KeyId": key.id, "KeySpec": "AES_256", "NumberOfBytes": 32})]
        {
            assert_eq!(
                service.refusal(operation, request),
                "ValidationException: Please specify either number of bytes or key spec."
            );
        }
        for (number, bound) in [(0, "greater than or equal to 1"), (1025, "less than or equal to 1024")] {
            assert_eq!(
                service.refusal(operation, json!({"KeyId": key.id, "NumberOfBytes": number})),
                format!(
                    "ValidationException: 1 validation error detected: Value '{number}' at 'numberOfBytes' failed to \
                     satisfy constraint: Member must have value {bound}"
                )
            );
        }
    }
}

#[test]
fn cr_3_re_encrypt_moves_between_keys_and_contexts_and_shows_no_plaintext() {
    let service = Service::new();
    let (a, b) = (service.key(), service.key());
    let blob = encrypt(&service, &a, b"secret", json!({"a": "b"}));
    let request = json!({
        "CiphertextBlob": base64(&blob), "SourceEncryptionContext": {"a": "b"},
        "DestinationKeyId": b.id, "DestinationEncryptionContext": {"c": "d"},
    });
    let answer = service.ok("ReEncrypt", request);
    assert_eq!((&answer["SourceKeyId"], &answer["KeyId"]), (&json!(a.arn), &json!(b.arn)));
    assert_eq!(answer["SourceKeyMaterialId"], service.describe(&a)["CurrentKeyMaterialId"]);
    assert_eq!(answer["DestinationKeyMaterialId"], service.describe(&b)["CurrentKeyMaterialId"]);
    assert_eq!(answer["SourceEncryptionAlgorithm"], json!("SYMMETRIC_DEFAULT"));
    assert_eq!(answer["DestinationEncryptionAlgorithm"], json!("SYMMETRIC_DEFAULT"));
    assert_eq!(answer.as_object().unwrap().len(), 7, "nothing else is answered: {answer}");
    let moved = bytes(&answer["CiphertextBlob"]);
    service.disable(&a);
    assert_eq!(
        bytes(&service.ok("Decrypt", decrypt_request(&moved, json!({"c": "d"})))["Plaintext"]),
        b"secret"
    );
    let old_context = service.refusal("Decrypt", decrypt_request(&moved, json!({"a": "b"})));
    assert_eq!(old_context, "InvalidCiphertextException");
    let wrong_context = json!({"CiphertextBlob": base64(&moved), "DestinationKeyId": b.id});
    assert_eq!(service.refusal("ReEncrypt", wrong_context), "InvalidCiphertextException");
}

#[test]
fn a_dry_run_says_that_it_would_have_succeeded_and_gives_nothing() {
    let service = Service::new();
    let key = service.key();
    let blob = service.encrypt(&key.id, b"secret");
    let requests = [
        ("Encrypt", json!({"KeyId": key.id, "Plaintext": "AA=="})),
        ("Decrypt", json!({"CiphertextBlob": blob})),
        ("ReEncrypt", json!({"CiphertextBlob": blob, "DestinationKeyId": key.id})),
        ("GenerateDataKey", json!({"KeyId": key.id, "KeySpec": "AES_256"})),
        ("GenerateDataKeyWithoutPlaintext", json!({"KeyId": key.id, "KeySpec": "AES_256"})),
    ];
    let dry = |mut request: Value| {
        request["DryRun"] = json!(true);
        request
    };
    for (operation, request) in requests.clone() {
        assert_eq!(
            service.refusal(operation, dry(request)),
            "DryRunOperationException: The request would have succeeded, but the DryRun option is set."
        );
    }
    service.disable(&key);
    for (operation, request) in requests {
        let refusal = service.refusal(operation, dry(request));
        assert_eq!(refusal, format!("DisabledException: {} is disabled.", key.arn));
    }
}

#[test]
fn an_algorithm_of_another_kind_of_key_is_refused() {
    let service = Service::new();
    let key = service.key();
    let request = json!({"KeyId": key.id, "Plaintext": "AA==", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"});
    assert_eq!(
        service.refusal("Encrypt", request),
        "InvalidKeyUsageException: Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT."
    );
    let request = json!({"KeyId": key.id, "Plaintext": "AA==", "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"});
    assert_eq!(service.ok("Encrypt", request)["EncryptionAlgorithm"], json!("SYMMETRIC_DEFAULT"));
}

#[test]
fn random_bytes_are_as_many_as_asked_for() {
    let service = Service::new();
    for len in [1, 32, 1024] {
        let answer = service.ok("GenerateRandom", json!({"NumberOfBytes": len}));
        assert_eq!(bytes(&answer["Plaintext"]).len(), len);
    }
    let random = || text(&service.ok("GenerateRandom", json!({"NumberOfBytes": 32}))["Plaintext"]);
    assert_ne!(random(), random());
    assert_eq!(
        service.refusal("GenerateRandom", json!({})),
        "ValidationException: NumberOfBytes is required."
    );
}

/// The uses of each backing key of `key`, oldest first, as the store has them.
fn uses(home: &kmsfs::store::Home, key: &Key) -> Vec<u64> {
    let ring = home.keyring().unwrap();
    let key = ring.keys().find(|other| other.record.id.to_string() == key.id).unwrap().clone();
    key.materials.iter().map(|material| material.uses).collect()
}

#[test]
fn cr_4_each_backing_key_counts_what_it_encrypted_and_not_what_it_decrypted() {
    let service = Service::new();
    let key = service.key();
    let blob = service.encrypt(&key.id, b"1");
    service.ok("GenerateDataKey", json!({"KeyId": key.id, "KeySpec": "AES_256"}));
    service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}));
    service.ok("ReEncrypt", json!({"CiphertextBlob": blob, "DestinationKeyId": key.id}));
    (0..3).for_each(|_| assert_eq!(service.decrypt(&blob), b"1"));
    let dry = json!({"KeyId": key.id, "Plaintext": "eA==", "DryRun": true});
    assert!(service.refusal("Encrypt", dry).starts_with("DryRunOperationException"));
    let (dir, other) = service.close();
    assert_eq!(uses(&other, &key), [2, 1], "and what was counted ahead is given back");
    drop(dir);
}

#[test]
fn cr_4_the_uses_of_a_process_that_is_killed_are_rounded_up() {
    let service = Service::new();
    let key = service.key();
    let other = service.another();
    for done in 1..=100_u64 {
        service.encrypt(&key.id, b"x");
        let counted = uses(&other, &key)[0];
        assert!((done..2 * done + 1).contains(&counted), "{counted} for {done}");
    }
}

#[test]
fn cr_4_processes_that_encrypt_at_once_lose_no_use() {
    let service = Service::new();
    let key = service.key();
    let homes: Vec<_> = (0..4).map(|_| service.another()).collect();
    std::thread::scope(|scope| {
        for home in &homes {
            let request = json!({"KeyId": key.id, "Plaintext": "eA=="});
            scope.spawn(move || {
                (0..25).for_each(|_| drop(crate::fixture::call(home, "Encrypt", request.clone()).unwrap()));
            });
        }
    });
    drop(homes);
    assert_eq!(uses(&service.home, &key), [100]);
}
