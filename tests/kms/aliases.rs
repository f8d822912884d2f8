//! Aliases (rule AL-1), and manual rotation through them (rule ROT-9).

use serde_json::json;

use crate::fixture::{ARN_PREFIX, Service, call};

#[test]
fn al_1_one_alias_names_one_key_and_a_key_has_many() {
    let service = Service::new();
    let (a, b) = (service.key(), service.key());
    service.alias("alias/one", &a);
    service.alias("alias/two", &a);
    let request = json!({"AliasName": "alias/one", "TargetKeyId": b.id});
    assert_eq!(
        service.refusal("CreateAlias", request),
        format!("AlreadyExistsException: An alias with the name {ARN_PREFIX}alias/one already exists")
    );
    let listed = service.ok("ListAliases", json!({"KeyId": a.id}));
    let names: Vec<_> = listed["Aliases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|alias| alias["AliasName"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["alias/one", "alias/two"]);
    assert_eq!(service.ok("ListAliases", json!({"KeyId": b.arn}))["Aliases"], json!([]));
}

#[test]
fn al_1_an_alias_is_listed_with_its_arn_and_its_dates() {
    let service = Service::new();
    let (a, b) = (service.key(), service.key());
    service.alias("alias/it", &a);
    let made = service.ok("ListAliases", json!({}))["Aliases"][0].clone();
    assert_eq!(made["AliasArn"], json!(format!("{ARN_PREFIX}alias/it")));
    assert_eq!(made["CreationDate"], made["LastUpdatedDate"]);
    service.advance_days(1);
    service.ok("UpdateAlias", json!({"AliasName": "alias/it", "TargetKeyId": b.arn}));
    let moved = service.ok("ListAliases", json!({}))["Aliases"][0].clone();
    assert_eq!(moved["TargetKeyId"], json!(b.id));
    assert_eq!(moved["CreationDate"], made["CreationDate"]);
    assert!(
        moved["LastUpdatedDate"].as_f64().unwrap() >= made["LastUpdatedDate"].as_f64().unwrap() + 86_400.0
    );
}

#[test]
fn al_1_names_are_of_a_few_characters_with_a_prefix() {
    let service = Service::new();
    let key = service.key();
    let create = |name: &str| json!({"AliasName": name, "TargetKeyId": key.id});
    let prefix = "ValidationException: Alias must start with the prefix \"alias/\". Please see \
                  https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html";
    assert_eq!(service.refusal("CreateAlias", create("it")), prefix);
    assert_eq!(service.refusal("CreateAlias", create("Alias/it")), prefix);
    let pattern = "ValidationException: 1 validation error detected: Value 'alias/a b' at 'aliasName' failed to satisfy \
                   constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$";
    assert_eq!(service.refusal("CreateAlias", create("alias/a b")), pattern);
    assert_eq!(
        service.refusal("CreateAlias", create("alias/my:alias")),
        "ValidationException: alias/my:alias contains invalid characters for an alias"
    );
    let long = format!("alias/{}", "a".repeat(251));
    assert_eq!(
        service.refusal("CreateAlias", create(&long)),
        format!(
            "ValidationException: 1 validation error detected: Value '{long}' at 'aliasName' failed to satisfy \
             constraint: Member must have length less than or equal to 256"
        )
    );
    assert!(service.refusal("CreateAlias", create("alias/")).starts_with("InvalidAliasNameException: "));
    service.ok("CreateAlias", create(&long[..256]));
    service.ok("CreateAlias", create("alias/A/b_c-9"));
}

#[test]
fn al_1_the_names_of_aws_managed_keys_are_reserved() {
    let service = Service::new();
    let key = service.key();
    let request = json!({"AliasName": "alias/aws/s3", "TargetKeyId": key.id});
    assert_eq!(service.refusal("CreateAlias", request.clone()), "NotAuthorizedException");
    assert_eq!(service.refusal("UpdateAlias", request), "NotAuthorizedException");
    assert_eq!(
        service.refusal("DeleteAlias", json!({"AliasName": "alias/aws/s3"})),
        "NotAuthorizedException"
    );
}

#[test]
fn al_1_an_alias_never_names_an_alias() {
    let service = Service::new();
    let key = service.key();
    service.alias("alias/it", &key);
    for target in ["alias/it".to_owned(), format!("{ARN_PREFIX}alias/it")] {
        for (operation, name) in [("CreateAlias", "alias/other"), ("UpdateAlias", "alias/it")] {
            let request = json!({"AliasName": name, "TargetKeyId": target});
            assert_eq!(
                service.refusal(operation, request),
                "ValidationException: Aliases must refer to keys. Not aliases"
            );
        }
    }
}

#[test]
fn al_1_letters_of_two_cases_are_two_names() {
    let service = Service::new();
    let (a, b) = (service.key(), service.key());
    service.alias("alias/it", &a);
    service.alias("alias/IT", &b);
    let described =
        |name: &str| service.ok("DescribeKey", json!({"KeyId": name}))["KeyMetadata"]["KeyId"].clone();
    assert_eq!((described("alias/it"), described("alias/IT")), (json!(a.id), json!(b.id)));
}

#[test]
fn al_1_a_key_has_fifty_aliases_at_most() {
    let service = Service::new();
    let (full, other) = (service.key(), service.key());
    for number in 0..50 {
        service.alias(&format!("alias/{number}"), &full);
    }
    service.alias("alias/elsewhere", &other);
    let expected = "LimitExceededException: Aliases per key quota for this account in this region is 50, current usage is 50.";
    for (operation, name) in [("CreateAlias", "alias/50"), ("UpdateAlias", "alias/elsewhere")] {
        let request = json!({"AliasName": name, "TargetKeyId": full.id});
        assert_eq!(service.refusal(operation, request), expected);
    }
    // One that is the key's already takes no further place.
    service.ok("UpdateAlias", json!({"AliasName": "alias/7", "TargetKeyId": full.id}));
    service.ok("DeleteAlias", json!({"AliasName": "alias/7"}));
    service.alias("alias/50", &full);
}

#[test]
fn al_1_a_deleted_alias_can_be_given_again_and_its_key_stays() {
    let service = Service::new();
    let (a, b) = (service.key(), service.key());
    service.alias("alias/it", &a);
    service.ok("DeleteAlias", json!({"AliasName": "alias/it"}));
    let missing = format!("NotFoundException: Alias {ARN_PREFIX}alias/it is not found.");
    assert_eq!(service.refusal("DeleteAlias", json!({"AliasName": "alias/it"})), missing);
    let update = json!({"AliasName": "alias/it", "TargetKeyId": b.id});
    assert_eq!(service.refusal("UpdateAlias", update), missing);
    assert_eq!(service.state(&a), "Enabled");
    service.alias("alias/it", &b);
    assert_eq!(service.ok("DescribeKey", json!({"KeyId": "alias/it"}))["KeyMetadata"]["KeyId"], json!(b.id));
}

#[test]
fn rot_9_a_moved_alias_encrypts_under_the_new_key_and_old_ciphertexts_need_the_old_one() {
    let service = Service::new();
    let (a, b) = (service.key(), service.key());
    service.alias("alias/it", &a);
    let document_a = service.encrypt("alias/it", b"document A");
    service.ok("UpdateAlias", json!({"AliasName": "alias/it", "TargetKeyId": b.id}));
    let document_b = service.encrypt("alias/it", b"document B");
    let decrypted_under =
        |blob: &str| service.ok("Decrypt", json!({"CiphertextBlob": blob}))["KeyId"].clone();
    assert_eq!((decrypted_under(&document_a), decrypted_under(&document_b)), (json!(a.arn), json!(b.arn)));

    service.disable(&a);
    let refusal = service.refusal("Decrypt", json!({"CiphertextBlob": document_a}));
    assert_eq!(refusal, format!("DisabledException: {} is disabled.", a.arn));
    assert_eq!(service.decrypt(&document_b), b"document B");

    service.enable(&a);
    assert_eq!(service.decrypt(&document_a), b"document A");
    // Who names the alias when decrypting names the new key.
    assert_eq!(
        service.refusal("Decrypt", json!({"CiphertextBlob": document_a, "KeyId": "alias/it"})),
        "IncorrectKeyException: The key ID in the request does not identify a CMK that can perform this operation."
    );
}

#[test]
fn al_1_of_processes_that_make_one_alias_at_once_one_wins() {
    let service = Service::new();
    let keys = [service.key(), service.key(), service.key()];
    for round in 0..5 {
        let name = format!("alias/{round}");
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = keys
                .iter()
                .map(|key| {
                    let request = json!({"AliasName": name, "TargetKeyId": key.id});
                    scope.spawn(|| call(&service.another(), "CreateAlias", request).map(|_| &key.id))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners: Vec<_> = made.iter().flatten().collect();
        assert_eq!(winners.len(), 1, "{made:?}");
        let refusals = made.iter().filter_map(|outcome| outcome.as_ref().err());
        assert!(refusals.into_iter().all(|error| error.error.name() == "AlreadyExistsException"));
        let named = service.ok("DescribeKey", json!({"KeyId": name}));
        assert_eq!(named["KeyMetadata"]["KeyId"], json!(winners[0]));
    }
}
