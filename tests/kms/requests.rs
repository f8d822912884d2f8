//! Requests that do not fit: validation in AWS's words, members of a wrong type or name, and what this version lacks.

use serde_json::{Value, json};

use crate::fixture::Service;

#[test]
fn what_is_missing_is_named() {
    let service = Service::new();
    for (operation, members) in [
        ("DescribeKey", &["keyId"][..]),
        ("Encrypt", &["keyId", "plaintext"]),
        ("Sign", &["keyId", "message", "signingAlgorithm"]),
        ("Verify", &["keyId", "message", "signingAlgorithm", "signature"]),
        ("VerifyMac", &["keyId", "message", "macAlgorithm", "mac"]),
        ("Decrypt", &["ciphertextBlob"]),
        ("ReEncrypt", &["ciphertextBlob", "destinationKeyId"]),
        ("UpdateKeyDescription", &["keyId", "description"]),
        ("CreateAlias", &["aliasName", "targetKeyId"]),
        ("UpdateAlias", &["aliasName", "targetKeyId"]),
        ("DeleteAlias", &["aliasName"]),
        ("EnableKey", &["keyId"]),
        ("DisableKey", &["keyId"]),
        ("ScheduleKeyDeletion", &["keyId"]),
        ("CancelKeyDeletion", &["keyId"]),
        ("PutKeyPolicy", &["keyId", "policy"]),
        ("GetKeyPolicy", &["keyId"]),
        ("ListKeyPolicies", &["keyId"]),
        ("CreateGrant", &["keyId", "granteePrincipal", "operations"]),
        ("ListGrants", &["keyId"]),
        ("ListRetirableGrants", &["retiringPrincipal"]),
        ("RevokeGrant", &["keyId", "grantId"]),
        ("TagResource", &["keyId", "tags"]),
        ("UntagResource", &["keyId", "tagKeys"]),
        ("ListResourceTags", &["keyId"]),
        ("RotateKeyOnDemand", &["keyId"]),
        ("ListKeyRotations", &["keyId"]),
        ("GetKeyLastUsage", &["keyId"]),
        ("GetKeyRotationStatus", &["keyId"]),
    ] {
        let list: Vec<_> = members
            .iter()
            .map(|member| {
                // Of what its model calls sensitive AWS does not even say that it is null.
                let null = if ["plaintext", "message"].contains(member) { "" } else { " null" };
                format!("Value{null} at '{member}' failed to satisfy constraint: Member must not be null")
            })
            .collect();
        let errors = if list.len() == 1 { "error" } else { "errors" };
        let expected =
            format!("ValidationException: {} validation {errors} detected: {}", list.len(), list.join("; "));
        let mentioned = service.refusal(operation, json!({}));
        // An alias without a name violates its pattern as well as its presence; the presence comes first.
        assert!(mentioned.starts_with(&expected) || mentioned == expected, "{operation}: {mentioned}");
    }
}

#[test]
fn a_value_out_of_its_range_is_named_with_its_bound() {
    let service = Service::new();
    let key = service.key();
    let long = "x".repeat(8193);
    let cases: &[(&str, Value, String)] = &[
        (
            "DescribeKey",
            json!({"KeyId": ""}),
            "Value '' at 'keyId' failed to satisfy constraint: Member must have length \
          greater than or equal to 1"
                .into(),
        ),
        (
            "CreateKey",
            json!({"Description": long}),
            format!(
                "Value '{long}' at 'description' failed to satisfy constraint: \
          Member must have length less than or equal to 8192"
            ),
        ),
        (
            "CreateKey",
            json!({"KeyUsage": "SIGN"}),
            "Value 'SIGN' at 'keyUsage' failed to satisfy constraint: Member must \
          satisfy enum value set: [ENCRYPT_DECRYPT, SIGN_VERIFY, GENERATE_VERIFY_MAC, KEY_AGREEMENT, \
          ENCAPSULATE_DECAPSULATE]"
                .into(),
        ),
        // Up to HMAC_512 as recorded on AWS, LocalStack's test_hmac_create_key_invalid_operations.
        (
            "CreateKey",
            json!({"KeySpec": "HMAC_random"}),
            "Value 'HMAC_random' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: \
          [RSA_2048, ECC_NIST_P384, ECC_NIST_P256, ECC_NIST_P521, HMAC_384, RSA_3072, ECC_SECG_P256K1, \
          RSA_4096, SYMMETRIC_DEFAULT, HMAC_256, HMAC_224, HMAC_512, SM2, ML_DSA_44, ML_DSA_65, ML_DSA_87, \
          ECC_NIST_EDWARDS25519, ML_KEM_512, ML_KEM_768, ML_KEM_1024]"
                .into(),
        ),
        (
            "CreateKey",
            json!({"Origin": "HOME"}),
            "Value 'HOME' at 'origin' failed to satisfy constraint: Member must \
          satisfy enum value set: [AWS_KMS, EXTERNAL, AWS_CLOUDHSM, EXTERNAL_KEY_STORE]"
                .into(),
        ),
        (
            "GenerateDataKey",
            json!({"KeyId": key.id, "KeySpec": "AES_512"}),
            "Value 'AES_512' at 'keySpec' failed to satisfy \
          constraint: Member must satisfy enum value set: [AES_256, AES_128]"
                .into(),
        ),
        // These two in the order of another emulator, Floci.
        (
            "Encrypt",
            json!({"KeyId": key.id, "Plaintext": "AAAA", "EncryptionAlgorithm": "FOO"}),
            "Value 'FOO' at 'encryptionAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: \
          [RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, SM2PKE, SYMMETRIC_DEFAULT]"
                .into(),
        ),
        (
            "Sign",
            json!({"KeyId": key.id, "Message": "AAAA", "SigningAlgorithm": "FOO"}),
            "Value 'FOO' at 'signingAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: \
          [RSASSA_PSS_SHA_256, RSASSA_PSS_SHA_384, RSASSA_PSS_SHA_512, RSASSA_PKCS1_V1_5_SHA_256, \
          RSASSA_PKCS1_V1_5_SHA_384, RSASSA_PKCS1_V1_5_SHA_512, ECDSA_SHA_256, ECDSA_SHA_384, ECDSA_SHA_512, \
          ED25519_SHA_512, ED25519_PH_SHA_512, SM2DSA, ML_DSA_SHAKE_256]"
                .into(),
        ),
        (
            "GenerateRandom",
            json!({"NumberOfBytes": 1025}),
            "Value '1025' at 'numberOfBytes' failed to satisfy constraint: \
          Member must have value less than or equal to 1024"
                .into(),
        ),
        (
            "Decrypt",
            json!({"CiphertextBlob": ""}),
            "Value at 'ciphertextBlob' failed to satisfy constraint: Member must have \
          length greater than or equal to 1"
                .into(),
        ),
    ];
    for (operation, request, violation) in cases {
        let expected = format!("ValidationException: 1 validation error detected: {violation}");
        assert_eq!(service.refusal(operation, request.clone()), expected);
    }
}

#[test]
fn a_member_of_a_wrong_type_or_name_is_a_serialization_exception() {
    let service = Service::new();
    let key = service.key();
    for (operation, request, expected) in [
        ("DescribeKey", json!({"KeyId": 5}), ": NUMBER_VALUE can not be converted to a String"),
        ("DescribeKey", json!({"KeyId": ["x"]}), ": Start of list found where not expected"),
        ("DescribeKey", json!({"KeyId": key.id, "Extra": 1}), ": Unknown member: Extra"),
        ("Encrypt", json!({"KeyId": key.id, "Plaintext": "not base64!"}), ""),
        (
            "Encrypt",
            json!({"KeyId": key.id, "Plaintext": 7}),
            ": NUMBER_VALUE can not be converted to a Blob",
        ),
        ("ListKeys", json!({"Limit": "5"}), ": STRING_VALUE can not be converted to an Integer"),
        ("ListKeys", json!({"Limit": 1.5}), ": NUMBER_VALUE can not be converted to an Integer"),
        (
            "Decrypt",
            json!({"CiphertextBlob": "AA==", "EncryptionContext": {"a": 1}}),
            ": NUMBER_VALUE can not be converted to a String",
        ),
        ("Decrypt", json!({"CiphertextBlob": "AA==", "EncryptionContext": "a=b"}), ": Expected null"),
        (
            "Decrypt",
            json!({"CiphertextBlob": "AA==", "DryRun": "yes"}),
            ": STRING_VALUE can not be converted to a Boolean",
        ),
    ] {
        assert_eq!(service.refusal(operation, request), format!("SerializationException{expected}"));
    }
}

#[test]
fn a_request_that_is_no_object_is_refused_whatever_the_operation_needs() {
    let service = Service::new();
    let key = service.key();
    for request in [json!([]), json!(null), json!("x"), json!(1), json!(true), json!([{"KeyId": key.id}])] {
        for operation in ["ListKeys", "CreateKey", "DescribeKey", "GenerateRandom"] {
            let refusal = service.refusal(operation, request.clone());
            assert!(refusal.starts_with("SerializationException"), "{operation} {request}: {refusal}");
        }
    }
    assert_eq!(service.ok("ListKeys", json!({}))["Keys"].as_array().unwrap().len(), 1);
}

#[test]
fn what_this_version_lacks_is_refused_by_name_and_nothing_is_made() {
    let service = Service::new();
    assert_eq!(
        service.refusal("CreateKey", json!({"XksKeyId": "x"})),
        "UnsupportedOperationException: The parameter XksKeyId is not supported by this version of kmsfs."
    );
    for origin in ["AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"] {
        assert_eq!(
            service.refusal("CreateKey", json!({"Origin": origin})),
            "CustomKeyStoreNotFoundException: The custom key store that the origin asks for does not exist."
        );
        assert_eq!(
            service.refusal("CreateKey", json!({"Origin": origin, "CustomKeyStoreId": "cks-1"})),
            "CustomKeyStoreNotFoundException: The custom key store cks-1 does not exist."
        );
    }
    for (spec, usage) in [
        ("ML_DSA_44", "SIGN_VERIFY"),
        ("ML_DSA_65", "SIGN_VERIFY"),
        ("ML_DSA_87", "SIGN_VERIFY"),
        ("ML_KEM_512", "ENCAPSULATE_DECAPSULATE"),
        ("ML_KEM_768", "ENCAPSULATE_DECAPSULATE"),
        ("ML_KEM_1024", "ENCAPSULATE_DECAPSULATE"),
        ("SM2", "SIGN_VERIFY"),
    ] {
        assert_eq!(
            service.refusal("CreateKey", json!({"KeySpec": spec, "KeyUsage": usage})),
            format!(
                "UnsupportedOperationException: The key spec {spec} is not supported by this version of kmsfs."
            )
        );
    }
    assert_eq!(service.ok("ListKeys", json!({}))["Keys"], json!([]));
    // What asks for nothing is no reason to refuse.
    service.ok("CreateKey", json!({"Tags": [], "MultiRegion": false, "KeyUsage": "ENCRYPT_DECRYPT"}));
    service.ok("CreateKey", json!({"KeySpec": "SYMMETRIC_DEFAULT"}));
    service.ok("CreateKey", json!({"CustomerMasterKeySpec": "SYMMETRIC_DEFAULT"}));
}

#[test]
fn specs_and_usages_that_do_not_fit_are_told_in_aws_words() {
    let service = Service::new();
    for (request, expected) in [
        (
            json!({"KeySpec": "SYMMETRIC_DEFAULT", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT"}),
            "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.",
        ),
        (
            json!({"KeySpec": "RSA_2048"}),
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
        ),
        (
            json!({"KeyUsage": "SIGN_VERIFY"}),
            "KeyUsage SIGN_VERIFY is not compatible with KeySpec SYMMETRIC_DEFAULT",
        ),
    ] {
        assert_eq!(service.refusal("CreateKey", request), format!("ValidationException: {expected}"));
    }
}
