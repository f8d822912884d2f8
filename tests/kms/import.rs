//! Imported key material (rules IMP-1 to IMP-4 and IMP-6); when it expires, `expiry.rs` says.

use std::collections::BTreeSet;

use kmsfs::store::Home;
use serde_json::{Value, json};

use crate::fixture::{DAY, Key, Service, base64, bytes, call, text};
use crate::wrapping::{OAEP_SHA_256, Padding, Parameters, wrap};

const NEVER: &str = "KEY_MATERIAL_DOES_NOT_EXPIRE";

/// A key of origin EXTERNAL in whose state nothing is missing.
fn imported(service: &Service, material: [u8; 32]) -> Key {
    let key = service.external();
    service.import(&key, &material, json!({"ExpirationModel": NEVER}));
    assert_eq!(service.state(&key), "Enabled");
    key
}

fn materials(service: &Service, key: &Key) -> Vec<Value> {
    let request = json!({"KeyId": key.id, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
    service.ok("ListKeyRotations", request)["Rotations"].as_array().unwrap().clone()
}

/// State and import state of each material, in the order of their versions.
fn states_of_material(service: &Service, key: &Key) -> Vec<(String, String)> {
    let read = |entry: &Value| (text(&entry["KeyMaterialState"]), text(&entry["ImportState"]));
    materials(service, key).iter().map(read).collect()
}

fn rotate(service: &Service, key: &Key) {
    service.ok("RotateKeyOnDemand", json!({"KeyId": key.id}));
}

#[test]
fn imp_1_a_key_of_origin_external_begins_without_material() {
    let service = Service::new();
    let key = service.external();
    let metadata = service.describe(&key);
    assert_eq!(metadata["KeyState"], json!("PendingImport"));
    assert_eq!(metadata["Enabled"], json!(false));
    assert_eq!(metadata["Origin"], json!("EXTERNAL"));
    for absent in ["CurrentKeyMaterialId", "ExpirationModel", "ValidTo"] {
        assert_eq!(metadata.get(absent), None, "{absent}");
    }
    assert_eq!(materials(&service, &key), [] as [Value; 0]);
    let refused = service.refusal("Encrypt", json!({"KeyId": key.id, "Plaintext": "AA=="}));
    assert_eq!(refused, format!("KMSInvalidStateException: {} is pending import.", key.arn));
}

#[test]
fn imp_2_parameters_are_a_public_key_in_der_and_a_token_good_for_a_day() {
    let service = Service::new();
    let key = service.external();
    let mut seen = BTreeSet::new();
    for (spec, modulus_bytes) in [("RSA_2048", 256), ("RSA_3072", 384), ("RSA_4096", 512)] {
        for algorithm in [OAEP_SHA_256, "RSAES_OAEP_SHA_1"] {
            let before = service.home.now().unwrap().as_seconds_f64();
            let answer = service.ok(
                "GetParametersForImport",
                json!({"KeyId": key.id, "WrappingAlgorithm": algorithm, "WrappingKeySpec": spec}),
            );
            let after = service.home.now().unwrap().as_seconds_f64();
            assert_eq!(answer.as_object().unwrap().len(), 4, "{answer}");
            assert_eq!(answer["KeyId"], json!(key.arn));
            let valid_to = answer["ParametersValidTo"].as_f64().unwrap() - DAY as f64;
            assert!((before..=after).contains(&valid_to));
            assert!(bytes(&answer["ImportToken"]).len() <= 6144);
            assert_eq!(wrap(&bytes(&answer["PublicKey"]), Padding::of(algorithm), b"k").len(), modulus_bytes);
            assert!(seen.insert(text(&answer["PublicKey"])), "a key pair is never given out twice");
        }
    }
    assert_eq!(service.state(&key), "PendingImport");
}

#[test]
fn imp_2_what_no_symmetric_key_is_wrapped_with_is_refused_by_name() {
    let service = Service::new();
    let key = service.external();
    let ask = |algorithm: &str, spec: &str| {
        let request = json!({"KeyId": key.id, "WrappingAlgorithm": algorithm, "WrappingKeySpec": spec});
        service.refusal("GetParametersForImport", request)
    };
    for algorithm in ["RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"] {
        assert_eq!(
            ask(algorithm, "RSA_4096"),
            format!(
                "UnsupportedOperationException: The wrapping algorithm {algorithm} is for RSA and ECC key material, and \
                 the key spec of {} is SYMMETRIC_DEFAULT. Use RSAES_OAEP_SHA_256.",
                key.arn
            )
        );
    }
    let here = "is not supported by this version of kmsfs.";
    assert_eq!(
        ask("SM2PKE", "RSA_4096"),
        format!("UnsupportedOperationException: The wrapping algorithm SM2PKE {here}")
    );
    assert_eq!(
        ask(OAEP_SHA_256, "SM2"),
        format!("UnsupportedOperationException: The wrapping key spec SM2 {here}")
    );
    assert_eq!(
        ask("ROT13", "RSA_1024"),
        "ValidationException: 2 validation errors detected: Value 'ROT13' at 'wrappingAlgorithm' failed to satisfy \
         constraint: Member must satisfy enum value set: [RSAES_PKCS1_V1_5, RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, \
         RSA_AES_KEY_WRAP_SHA_1, RSA_AES_KEY_WRAP_SHA_256, SM2PKE]; Value 'RSA_1024' at 'wrappingKeySpec' failed to \
         satisfy constraint: Member must satisfy enum value set: [RSA_2048, RSA_3072, RSA_4096, SM2]"
    );
    assert_eq!(
        service.refusal("GetParametersForImport", json!({"KeyId": key.id})),
        "ValidationException: 2 validation errors detected: Value null at 'wrappingAlgorithm' failed to satisfy \
         constraint: Member must not be null; Value null at 'wrappingKeySpec' failed to satisfy constraint: Member must \
         not be null"
    );
}

#[test]
fn imp_2_pkcs1_is_refused_and_says_why_but_in_a_home_that_was_made_to_take_it() {
    let ask = |home: &Home, key: &Key| {
        let request = json!({
            "KeyId": key.id, "WrappingAlgorithm": "RSAES_PKCS1_V1_5", "WrappingKeySpec": "RSA_2048"
        });
        call(home, "GetParametersForImport", request)
    };
    let service = Service::new();
    let key = service.external();
    assert_eq!(
        ask(&service.home, &key).unwrap_err().to_string(),
        "UnsupportedOperationException: The wrapping algorithm RSAES_PKCS1_V1_5 is not supported: it lets whoever sees \
         which wraps fail work out what is in others, and AWS KMS refuses it since October 10, 2023. Use \
         RSAES_OAEP_SHA_256. Only a home that was made with kmsfs setup --legacy-wrapping takes it."
    );
    let service = Service::with_legacy_wrapping();
    let key = service.external();
    ask(&service.home, &key).unwrap();
    let parameters = Parameters::get(&service, &key, "RSAES_PKCS1_V1_5");
    let request = parameters.request(&[7; 32], json!({"ExpirationModel": NEVER}));
    service.ok("ImportKeyMaterial", request);
    assert_eq!(service.state(&key), "Enabled");
    // It is a fact of the home, not of the process.
    ask(&service.another(), &key).unwrap();
}

#[test]
fn imp_3_an_import_makes_a_pending_key_usable_and_leaves_a_disabled_one_disabled() {
    let service = Service::new();
    let key = service.external();
    let answer = service.import(&key, &[7; 32], json!({"ExpirationModel": NEVER}));
    let metadata = service.describe(&key);
    assert_eq!(answer, json!({"KeyId": key.arn, "KeyMaterialId": metadata["CurrentKeyMaterialId"]}));
    assert_eq!((&metadata["KeyState"], &metadata["Enabled"]), (&json!("Enabled"), &json!(true)));
    assert_eq!(metadata["ExpirationModel"], json!(NEVER));
    assert_eq!(metadata.get("ValidTo"), None);
    let blob = service.encrypt(&key.id, b"secret");
    assert_eq!(service.decrypt(&blob), b"secret");
    // The same bytes once more change nothing but what the import says of them.
    service.disable(&key);
    service.import(
        &key,
        &[7; 32],
        json!({"ExpirationModel": NEVER, "KeyMaterialDescription": "from the safe"}),
    );
    assert_eq!(service.state(&key), "Disabled");
    service.enable(&key);
    assert_eq!(service.decrypt(&blob), b"secret");
    assert_eq!(materials(&service, &key)[0]["KeyMaterialDescription"], json!("from the safe"));
}

#[test]
fn imp_3_a_token_is_for_its_key_alone_and_for_a_day() {
    let service = Service::new();
    let (key, other) = (service.external(), service.external());
    let (older, newer) = (Parameters::of(&service, &key), Parameters::of(&service, &key));
    let never = json!({"ExpirationModel": NEVER});
    let refusal = |parameters: &Parameters| {
        service.refusal("ImportKeyMaterial", parameters.request(&[7; 32], never.clone()))
    };
    // Another key's token; one that was altered, at its ends and between; one that is none.
    assert_eq!(refusal(&Parameters::of(&service, &other).for_key(&key)), "InvalidImportTokenException");
    for byte in [0, 5, 20, 25, 40, older.token.len() / 2, older.token.len() - 1] {
        let mut altered = older.clone();
        altered.token[byte] ^= 1;
        assert_eq!(refusal(&altered), "InvalidImportTokenException", "byte {byte}");
    }
    assert_eq!(refusal(&Parameters { token: vec![1], ..older.clone() }), "InvalidImportTokenException");
    // The public key of one pair and the token of another.
    assert_eq!(
        refusal(&Parameters { token: newer.token.clone(), ..older.clone() }),
        "InvalidCiphertextException"
    );
    assert_eq!(service.state(&key), "PendingImport");

    // A newer one does not replace it, and it can be used twice.
    service.ok("ImportKeyMaterial", older.request(&[7; 32], never.clone()));
    service.ok("ImportKeyMaterial", older.request(&[7; 32], never.clone()));
    service.advance_seconds(DAY - 60);
    service.ok("ImportKeyMaterial", newer.request(&[7; 32], never.clone()));
    service.advance_seconds(61);
    for expired in [&older, &newer] {
        assert_eq!(refusal(expired), "ExpiredImportTokenException");
        let mut altered = (*expired).clone();
        altered.token[30] ^= 1;
        assert_eq!(refusal(&altered), "InvalidImportTokenException", "nothing is told of a forged one");
    }
}

#[test]
fn imp_3_what_does_not_unwrap_and_what_is_no_key_are_two_errors() {
    let service = Service::new();
    let key = service.external();
    let before = service.describe(&key);
    let never = json!({"ExpirationModel": NEVER});
    for algorithm in [OAEP_SHA_256, "RSAES_OAEP_SHA_1"] {
        let parameters = Parameters::get(&service, &key, algorithm);
        let refusal = |wrapped: &[u8]| {
            service.refusal("ImportKeyMaterial", parameters.request_wrapped(wrapped, never.clone()))
        };
        let good = parameters.wrap(&[7; 32]);
        for byte in [0, 100, good.len() - 1] {
            let mut altered = good.clone();
            altered[byte] ^= 1;
            assert_eq!(refusal(&altered), "InvalidCiphertextException", "byte {byte}");
        }
        for garbage in [&good[1..], &[0][..], &[9; 256], &[9; 6144]] {
            assert_eq!(refusal(garbage), "InvalidCiphertextException");
        }
        for padding in [Padding::OaepSha256, Padding::OaepSha1, Padding::Pkcs1] {
            if padding != Padding::of(algorithm) {
                let other = wrap(&parameters.public_key, padding, &[7; 32]);
                assert_eq!(refusal(&other), "InvalidCiphertextException", "{padding:?} for {algorithm}");
            }
        }
        for len in [0, 16, 31, 33, 64] {
            assert_eq!(
                refusal(&parameters.wrap(&vec![7; len])),
                format!(
                    "IncorrectKeyMaterialException: The key material has {len} bytes, and a symmetric key has 32."
                )
            );
        }
    }
    assert_eq!(service.describe(&key), before);
    assert_eq!(materials(&service, &key), [] as [Value; 0]);
}

/// With PKCS #1 v1.5 nothing may tell a bad padding from a wrong length.
#[test]
fn imp_3_pkcs1_answers_a_wrong_length_as_it_answers_a_bad_padding() {
    let service = Service::with_legacy_wrapping();
    let key = service.external();
    let parameters = Parameters::get(&service, &key, "RSAES_PKCS1_V1_5");
    let ask = |wrapped: &[u8]| {
        service
            .call("ImportKeyMaterial", parameters.request_wrapped(wrapped, json!({"ExpirationModel": NEVER})))
    };
    for len in [0, 16, 31, 33, 64] {
        let error = ask(&parameters.wrap(&vec![7; len])).unwrap_err();
        assert_eq!(error.to_string(), "InvalidCiphertextException", "{len} bytes");
    }
    assert_eq!(ask(&[9; 255]).unwrap_err().to_string(), "InvalidCiphertextException");
    // What is rejected looks like a key in one of some 240 cases (docs/KEYS.md): so most, and not all, of these are refused.
    let refused = (0..8).filter(|_| {
        let padded_otherwise = wrap(&parameters.public_key, Padding::OaepSha256, &[7; 32]);
        match ask(&padded_otherwise) {
            Ok(_) => false,
            Err(error) => {
                ["InvalidCiphertextException", "IncorrectKeyMaterialException"].contains(&error.error.name())
            }
        }
    });
    assert!(refused.count() >= 6);
}

#[test]
fn imp_3_a_request_that_cannot_be_is_refused_in_aws_words() {
    let service = Service::new();
    let key = service.external();
    let parameters = Parameters::of(&service, &key);
    let refusal = |more: Value| service.refusal("ImportKeyMaterial", parameters.request(&[7; 32], more));
    let validation = |what: &str| format!("ValidationException: {what}");
    let one = |what: &str| format!("ValidationException: 1 validation error detected: {what}");
    let now = service.home.now().unwrap().as_seconds_f64();
    for (more, expected) in [
        (json!({}), validation("A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES")),
        (
            json!({"ExpirationModel": "KEY_MATERIAL_EXPIRES"}),
            validation("A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"),
        ),
        (
            json!({"ExpirationModel": NEVER, "ValidTo": now + 60.0}),
            validation(
                "The parameter ValidTo cannot be specified for a key with an expiration model of \
                 KEY_MATERIAL_DOES_NOT_EXPIRE",
            ),
        ),
        (json!({"ValidTo": now - 1.0}), validation("ValidTo must be in the future")),
        (
            json!({"ValidTo": now + (366 * DAY) as f64}),
            validation("ValidTo must be at most 365 days in the future"),
        ),
        (
            json!({"ExpirationModel": NEVER, "ImportType": "NEW_KEY_MATERIAL", "KeyMaterialId": "a".repeat(64)}),
            validation("KeyMaterialId cannot be specified when ImportType is NEW_KEY_MATERIAL"),
        ),
        (
            json!({"ExpirationModel": "SOMETIMES"}),
            one(
                "Value 'SOMETIMES' at 'expirationModel' failed to satisfy constraint: Member must satisfy enum value \
                 set: [KEY_MATERIAL_EXPIRES, KEY_MATERIAL_DOES_NOT_EXPIRE]",
            ),
        ),
        (
            json!({"ExpirationModel": NEVER, "KeyMaterialDescription": "safe #7"}),
            one(
                "Value 'safe #7' at 'keyMaterialDescription' failed to satisfy constraint: Member must satisfy regular \
                 expression pattern: ^[a-zA-Z0-9:/_\\s.-]+$",
            ),
        ),
        (
            json!({"ExpirationModel": NEVER, "KeyMaterialId": "abc"}),
            one(
                "Value 'abc' at 'keyMaterialId' failed to satisfy constraint: Member must have length greater than or \
                 equal to 64",
            ),
        ),
        (
            json!({"ExpirationModel": NEVER, "KeyMaterialId": "X".repeat(64)}),
            one(&format!(
                "Value '{}' at 'keyMaterialId' failed to satisfy constraint: Member must satisfy regular expression \
                 pattern: ^[a-f0-9]+$",
                "X".repeat(64)
            )),
        ),
        (
            json!({"ExpirationModel": NEVER, "EncryptedKeyMaterial": base64(&[1; 6145])}),
            one(
                "Value at 'encryptedKeyMaterial' failed to satisfy constraint: Member must have length less than or \
                 equal to 6144",
            ),
        ),
        (
            json!({"ValidTo": "2099-01-01"}),
            "SerializationException: STRING_VALUE can not be converted to a Timestamp".to_owned(),
        ),
    ] {
        assert_eq!(refusal(more.clone()), expected, "{more}");
    }
    assert_eq!(service.state(&key), "PendingImport");
    // The last day that is permitted.
    let last = service.home.now().unwrap().plus_days(365).as_seconds_f64();
    service.ok("ImportKeyMaterial", parameters.request(&[7; 32], json!({"ValidTo": last})));
    assert_eq!(service.describe(&key)["ValidTo"], json!(last));
}

#[test]
fn imp_4_material_is_bound_to_its_key_for_good() {
    let service = Service::new();
    let key = imported(&service, [7; 32]);
    let blob = service.encrypt(&key.id, b"secret");
    let id = text(&service.describe(&key)["CurrentKeyMaterialId"]);
    let never = json!({"ExpirationModel": NEVER});
    let parameters = Parameters::of(&service, &key);
    let refusal = |material: [u8; 32], more: Value| {
        let mut request = parameters.request(&material, never.clone());
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        service.refusal("ImportKeyMaterial", request)
    };
    let another = "IncorrectKeyMaterialException: The key material is not the same that was imported into this KMS key before.";
    for _ in 0..2 {
        // Without a type, and with the one that is meant then; while it is there, and after it was deleted.
        assert_eq!(refusal([8; 32], json!({})), another);
        assert_eq!(refusal([8; 32], json!({"ImportType": "EXISTING_KEY_MATERIAL"})), another);
        let wanted = "a".repeat(64);
        assert_eq!(
            refusal([7; 32], json!({"KeyMaterialId": wanted})),
            format!("IncorrectKeyMaterialException: The key material is not that of the id {wanted}.")
        );
        assert_eq!(
            refusal([8; 32], json!({"KeyMaterialId": id})),
            format!("IncorrectKeyMaterialException: The key material is not that of the id {id}.")
        );
        assert_eq!(
            refusal([7; 32], json!({"ImportType": "NEW_KEY_MATERIAL"})),
            format!(
                "IncorrectKeyMaterialException: The key material (id: {id}) is already associated with the KMS key. Use \
                 EXISTING_KEY_MATERIAL to import it again."
            )
        );
        service.ok("DeleteImportedKeyMaterial", json!({"KeyId": key.id}));
        assert_eq!(service.describe(&key)["CurrentKeyMaterialId"], json!(id));
        assert_eq!(service.state(&key), "PendingImport");
    }
    let named = json!({
        "ExpirationModel": NEVER, "ImportType": "EXISTING_KEY_MATERIAL", "KeyMaterialId": id
    });
    let answer = service.ok("ImportKeyMaterial", parameters.request(&[7; 32], named));
    assert_eq!(answer["KeyMaterialId"], json!(id));
    assert_eq!(service.state(&key), "Enabled");
    assert_eq!(service.decrypt(&blob), b"secret");
}

#[test]
fn imp_4_the_first_import_is_of_new_material() {
    let service = Service::new();
    let key = service.external();
    let existing = json!({"ExpirationModel": NEVER, "ImportType": "EXISTING_KEY_MATERIAL"});
    let parameters = Parameters::of(&service, &key);
    assert!(
        service
            .refusal("ImportKeyMaterial", parameters.request(&[7; 32], existing))
            .starts_with("IncorrectKeyMaterialException")
    );
    let new = json!({"ExpirationModel": NEVER, "ImportType": "NEW_KEY_MATERIAL"});
    service.ok("ImportKeyMaterial", parameters.request(&[7; 32], new));
    assert_eq!(states_of_material(&service, &key), [("CURRENT".into(), "IMPORTED".into())]);
}

#[test]
fn imp_4_new_material_waits_until_the_key_is_rotated_to_it() {
    let service = Service::new();
    let key = imported(&service, [1; 32]);
    let first = text(&service.describe(&key)["CurrentKeyMaterialId"]);
    let old = service.encrypt(&key.id, b"old");
    let none = format!(
        "KMSInvalidStateException: No available key material pending rotation for the key: {}.",
        key.arn
    );
    assert_eq!(service.refusal("RotateKeyOnDemand", json!({"KeyId": key.id})), none);

    let new = json!({
        "ExpirationModel": NEVER, "ImportType": "NEW_KEY_MATERIAL", "KeyMaterialDescription": "2nd"
    });
    let second = text(&service.import(&key, &[2; 32], new.clone())["KeyMaterialId"]);
    assert_eq!(service.describe(&key)["CurrentKeyMaterialId"], json!(first), "it is not in use yet");
    let waits = json!({
        "KeyId": key.id, "KeyMaterialId": second, "KeyMaterialDescription": "2nd", "ImportState": "IMPORTED",
        "KeyMaterialState": "PENDING_ROTATION", "ExpirationModel": NEVER
    });
    assert_eq!(materials(&service, &key)[1], waits);
    assert_eq!(service.ok("ListKeyRotations", json!({"KeyId": key.id}))["Rotations"], json!([]));

    // One at a time; and the same once more is not new.
    let third = Parameters::of(&service, &key).request(&[3; 32], new.clone());
    let refused = service.refusal("ImportKeyMaterial", third);
    let third = refused.split("(id: ").nth(1).unwrap()[..64].to_owned();
    assert!(third != first && third != second);
    assert_eq!(
        refused,
        format!(
            "KMSInvalidStateException: New key material (id: {third}) cannot be imported into KMS key {}, because another \
             key material (id: {second}) is pending rotation.",
            key.arn
        )
    );
    assert!(
        service
            .refusal("ImportKeyMaterial", Parameters::of(&service, &key).request(&[2; 32], new))
            .starts_with("IncorrectKeyMaterialException")
    );
    service.import(&key, &[2; 32], json!({"ExpirationModel": NEVER}));

    rotate(&service, &key);
    assert_eq!(service.describe(&key)["CurrentKeyMaterialId"], json!(second));
    let listed = service.ok("ListKeyRotations", json!({"KeyId": key.id}))["Rotations"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["RotationType"], json!("ON_DEMAND"));
    assert!(listed[0]["RotationDate"].is_number());
    let named = |blob: &str| text(&service.ok("Decrypt", json!({"CiphertextBlob": blob}))["KeyMaterialId"]);
    let new = service.encrypt(&key.id, b"new");
    assert_eq!((named(&old), named(&new)), (first, second));
    assert_eq!(service.refusal("RotateKeyOnDemand", json!({"KeyId": key.id})), none);
    for (blob, plaintext) in [(&old, &b"old"[..]), (&new, b"new")] {
        let answer = call(&service.another(), "Decrypt", json!({"CiphertextBlob": blob})).unwrap().unwrap();
        assert_eq!(bytes(&answer["Plaintext"]), plaintext);
    }
}

#[test]
fn imp_4_a_key_is_usable_only_while_all_of_its_material_is_there() {
    let service = Service::new();
    let key = imported(&service, [1; 32]);
    let first = text(&service.describe(&key)["CurrentKeyMaterialId"]);
    let new = json!({"ExpirationModel": NEVER, "ImportType": "NEW_KEY_MATERIAL"});
    service.import(&key, &[2; 32], new.clone());
    let blob = service.encrypt(&key.id, b"under the first");
    rotate(&service, &key);
    let second = text(&service.describe(&key)["CurrentKeyMaterialId"]);

    // The older one is missing: nothing is encrypted either, although the current one is there.
    let answer = service.ok("DeleteImportedKeyMaterial", json!({"KeyId": key.id, "KeyMaterialId": first}));
    assert_eq!(answer, json!({"KeyId": key.arn, "KeyMaterialId": first}));
    let pending = format!("KMSInvalidStateException: {} is pending import.", key.arn);
    assert_eq!(service.refusal("Encrypt", json!({"KeyId": key.id, "Plaintext": "AA=="})), pending);
    assert_eq!(service.describe(&key)["ExpirationModel"], json!(NEVER));
    service.ok("DeleteImportedKeyMaterial", json!({"KeyId": key.id}));
    let gone = |state: &str| (state.to_owned(), "PENDING_IMPORT".to_owned());
    assert_eq!(states_of_material(&service, &key), [gone("NON_CURRENT"), gone("CURRENT")]);
    assert_eq!(service.describe(&key).get("ExpirationModel"), None);
    let missing = &materials(&service, &key)[0];
    assert!(missing.get("ExpirationModel").is_none() && missing.get("ValidTo").is_none());

    // One of two: still not. Material that waits for a rotation does not count.
    service.import(&key, &[2; 32], json!({"ExpirationModel": NEVER}));
    service.import(&key, &[3; 32], new);
    assert_eq!(service.state(&key), "PendingImport");
    assert_eq!(service.refusal("RotateKeyOnDemand", json!({"KeyId": key.id})), pending);
    service.import(&key, &[1; 32], json!({"ExpirationModel": NEVER}));
    assert_eq!(service.state(&key), "Enabled");
    assert_eq!(service.decrypt(&blob), b"under the first");
    assert_eq!(service.describe(&key)["CurrentKeyMaterialId"], json!(second));
}

#[test]
fn imp_4_material_that_waits_can_be_deleted_and_other_takes_its_place() {
    let service = Service::new();
    let key = imported(&service, [1; 32]);
    let new = json!({"ExpirationModel": NEVER, "ImportType": "NEW_KEY_MATERIAL"});
    let waiting = service.import(&key, &[2; 32], new.clone())["KeyMaterialId"].clone();
    let before = service.describe(&key);
    let answer = service.ok("DeleteImportedKeyMaterial", json!({"KeyId": key.id, "KeyMaterialId": waiting}));
    assert_eq!(answer, json!({"KeyId": key.arn, "KeyMaterialId": waiting}));
    assert_eq!(service.describe(&key), before);
    assert_eq!(states_of_material(&service, &key), [("CURRENT".into(), "IMPORTED".into())]);
    service.import(&key, &[3; 32], new);
    rotate(&service, &key);
    assert_eq!(service.state(&key), "Enabled");
}

#[test]
fn imp_4_two_keys_with_the_same_bytes_cannot_read_each_other_s_ciphertexts() {
    let service = Service::new();
    let (one, two) = (imported(&service, [7; 32]), imported(&service, [7; 32]));
    let id = |key: &Key| text(&service.describe(key)["CurrentKeyMaterialId"]);
    assert_ne!(id(&one), id(&two));
    let blob = bytes(&json!(service.encrypt(&one.id, b"secret")));
    // The blob with the names of the other key and its material in place of its own.
    let key_id = uuid::Uuid::parse_str(&two.id).unwrap();
    let digits = id(&two);
    let material_id: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect();
    let forged = [&blob[..4], key_id.as_bytes(), &material_id, &blob[52..]].concat();
    assert_eq!(
        service.refusal("Decrypt", json!({"CiphertextBlob": base64(&forged)})),
        "InvalidCiphertextException"
    );
    let named = json!({"CiphertextBlob": base64(&blob), "KeyId": two.id});
    assert!(service.refusal("Decrypt", named).starts_with("IncorrectKeyException"));
    assert_eq!(service.decrypt(&base64(&blob)), b"secret");
}

#[test]
fn imp_4_imported_material_is_rotated_25_times_in_a_key_s_life() {
    let service = Service::new();
    let key = imported(&service, [0; 32]);
    let parameters = Parameters::of(&service, &key);
    let new = json!({"ExpirationModel": NEVER, "ImportType": "NEW_KEY_MATERIAL"});
    for number in 1..=26 {
        service.ok("ImportKeyMaterial", parameters.request(&[number; 32], new.clone()));
        if number <= 25 {
            rotate(&service, &key);
        }
    }
    let refused = service.refusal("RotateKeyOnDemand", json!({"KeyId": key.id}));
    assert!(refused.starts_with("LimitExceededException"), "{refused}");
}

#[test]
fn imp_6_deleting_material_takes_effect_at_once_and_in_every_process() {
    let service = Service::new();
    let key = imported(&service, [7; 32]);
    let other = service.another();
    let encrypt = || call(&other, "Encrypt", json!({"KeyId": key.id, "Plaintext": "AA=="}));
    encrypt().unwrap();
    let id = service.describe(&key)["CurrentKeyMaterialId"].clone();
    let answer = service.ok("DeleteImportedKeyMaterial", json!({"KeyId": key.arn}));
    assert_eq!(answer, json!({"KeyId": key.arn, "KeyMaterialId": id}));
    assert_eq!(encrypt().unwrap_err().error.name(), "KMSInvalidStateException");
    // Once more has no effect, and says the same.
    assert_eq!(service.ok("DeleteImportedKeyMaterial", json!({"KeyId": key.id})), answer);
    assert_eq!(service.state(&key), "PendingImport");
    let unknown = "0".repeat(64);
    assert_eq!(
        service.refusal("DeleteImportedKeyMaterial", json!({"KeyId": key.id, "KeyMaterialId": unknown})),
        format!("NotFoundException: Key material '{unknown}' is not associated with {}", key.arn)
    );
    // A key that never had any.
    let empty = service.external();
    let answer = service.ok("DeleteImportedKeyMaterial", json!({"KeyId": empty.id}));
    assert_eq!(answer, json!({"KeyId": empty.arn}));
}

#[test]
fn imp_6_a_key_that_waits_for_its_deletion_stays_so_without_its_material() {
    let service = Service::new();
    let key = imported(&service, [7; 32]);
    service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id, "PendingWindowInDays": 7}));
    let date = service.describe(&key)["DeletionDate"].clone();
    service.ok("DeleteImportedKeyMaterial", json!({"KeyId": key.id}));
    assert_eq!(service.state(&key), "PendingDeletion");
    assert_eq!(service.describe(&key)["DeletionDate"], date);
    service.ok("CancelKeyDeletion", json!({"KeyId": key.id}));
    assert_eq!(service.state(&key), "PendingImport");
    service.import(&key, &[7; 32], json!({"ExpirationModel": NEVER}));
    assert_eq!(service.state(&key), "Enabled");
}

#[test]
fn imp_6_a_disabled_key_that_lost_its_material_is_enabled_by_the_import() {
    let service = Service::new();
    let key = imported(&service, [7; 32]);
    service.disable(&key);
    service.ok("DeleteImportedKeyMaterial", json!({"KeyId": key.id}));
    assert_eq!(service.state(&key), "PendingImport");
    service.import(&key, &[7; 32], json!({"ExpirationModel": NEVER}));
    assert_eq!(service.state(&key), "Enabled");
}

#[test]
fn imp_6_material_that_the_service_made_cannot_be_deleted_alone() {
    let service = Service::new();
    let key = service.key();
    assert_eq!(
        service.refusal("DeleteImportedKeyMaterial", json!({"KeyId": key.id})),
        format!(
            "UnsupportedOperationException: {} origin is AWS_KMS which is not valid for this operation.",
            key.arn
        )
    );
    assert_eq!(service.state(&key), "Enabled");
}

#[test]
fn imp_3_the_records_name_what_was_asked_and_hold_no_blob() {
    let service = Service::new();
    let key = service.external();
    let valid_to = service.home.now().unwrap().plus_days(30);
    let parameters = Parameters::of(&service, &key);
    let request = parameters
        .request(&[7; 32], json!({"ValidTo": valid_to.as_seconds_f64(), "KeyMaterialDescription": "safe 7"}));
    service.ok("ImportKeyMaterial", request.clone());
    service.ok("DeleteImportedKeyMaterial", json!({"KeyId": key.id}));
    let records = service.records();
    let last = |name: &str| records.iter().rfind(|record| record["eventName"] == json!(name)).unwrap();
    let asked = |name: &str| last(name)["requestParameters"].clone();
    assert_eq!(
        asked("GetParametersForImport"),
        json!({"keyId": key.id, "wrappingAlgorithm": OAEP_SHA_256, "wrappingKeySpec": "RSA_2048"})
    );
    assert_eq!(
        asked("ImportKeyMaterial"),
        json!({
            "keyId": key.id, "validTo": valid_to.to_string(), "expirationModel": "KEY_MATERIAL_EXPIRES",
            "keyMaterialDescription": "safe 7"
        })
    );
    assert_eq!(asked("DeleteImportedKeyMaterial"), json!({"keyId": key.id}));
    assert_eq!(last("GetParametersForImport")["readOnly"], json!(true));
    assert_eq!(last("ImportKeyMaterial")["readOnly"], json!(false));
    let log = std::fs::read_to_string(service.home.dir().join("audit.log")).unwrap();
    for blob in ["ImportToken", "EncryptedKeyMaterial"] {
        assert!(!log.contains(&text(&request[blob])[..40]), "{blob}");
    }
}
