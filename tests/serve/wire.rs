//! The protocol: targets, bodies, answers and errors, byte by byte as AWS gives them.

use serde_json::{Value, json};

use crate::fixture::{Client, request, shared};

#[test]
fn an_answer_is_json_of_aws_s_kind_and_has_an_id_and_no_error_type() {
    let server = shared();
    let answer = server.connect().exchange(
        b"POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: TrentService.ListKeys\r\ncontent-length: 2\r\n\r\n{}",
    );
    assert_eq!(answer.status, 200);
    assert!(answer.json()["Keys"].is_array());
    assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(answer.request_id().len(), 36);
    let wrong = server.call("DescribeKey", json!({"KeyId": "none"}));
    wrong.is_error(400, json!({"__type": "NotFoundException", "message": "Invalid keyId 'none'"}));
    assert_eq!(wrong.header("content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(wrong.header("x-amzn-errortype"), None);
    assert_ne!(wrong.request_id(), answer.request_id());
}

#[test]
fn an_operation_without_output_answers_an_empty_body() {
    let server = shared();
    let key = server.new_key();
    for operation in ["DisableKey", "EnableKey"] {
        let answer = server.call(operation, json!({"KeyId": key}));
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")), "{operation}");
    }
}

#[test]
fn a_target_that_is_no_operation_is_unknown_and_has_no_message() {
    let mut client = shared().connect();
    let unknown = json!({"__type": "UnknownOperationException"});
    for target in [
        "x-amz-target: TrentService.MakeCoffee\r\n",
        "x-amz-target: TrentService.listkeys\r\n",
        "x-amz-target: ListKeys\r\n",
        "x-amz-target: trentservice.ListKeys\r\n",
        "x-amz-target: DynamoDB_20120810.ListTables\r\n",
        "x-amz-target: TrentService.ListKeys\r\nx-amz-target: TrentService.DeleteAlias\r\n",
        "x-amz-target: \r\n",
        "",
    ] {
        let answer = client.exchange(
            format!("POST / HTTP/1.1\r\nhost: x\r\n{target}content-length: 2\r\n\r\n{{}}").as_bytes(),
        );
        answer.is_error(400, unknown.clone());
    }
}

#[test]
fn another_method_or_path_is_not_found() {
    let mut client = shared().connect();
    for line in [
        "GET /",
        "PUT /",
        "DELETE /",
        "OPTIONS /",
        "POST /kms",
        "GET /healthz/x",
        "POST /healthz",
        "POST /metrics",
    ] {
        let answer = client.exchange(
            format!("{line} HTTP/1.1\r\nhost: x\r\nx-amz-target: TrentService.ListKeys\r\ncontent-length: 0\r\n\r\n").as_bytes(),
        );
        answer.is_error(404, json!({"__type": "UnknownOperationException"}));
    }
    assert_eq!(
        client
            .exchange(b"POST /?x=1 HTTP/1.1\r\nhost: x\r\nx-amz-target: TrentService.ListKeys\r\ncontent-length: 2\r\n\r\n{}")
            .status,
        200
    );
}

#[test]
fn a_body_that_is_no_object_is_a_serialization_exception() {
    let mut client = shared().connect();
    let bare = json!({"__type": "SerializationException"});
    let deep = "[".repeat(100_000);
    let deeper = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    for body in [
        "",
        " \n",
        "{",
        "null",
        "\"x\"",
        "7",
        "{\"Limit\": 1,}",
        "{} {}",
        "{\"Limit\": 01}",
        "\u{feff}{}",
        "{'a': 1}",
        &deep,
        &deeper,
    ] {
        client.exchange(&request("ListKeys", body)).is_error(400, bare.clone());
    }
    let list =
        json!({"__type": "SerializationException", "Message": "Start of list found where not expected"});
    client.exchange(&request("ListKeys", "[]")).is_error(400, list);
    let mut not_utf_8 =
        b"POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: TrentService.ListKeys\r\ncontent-length: 14\r\n\r\n"
            .to_vec();
    not_utf_8.extend_from_slice(b"{\"Marker\":\"\xff\"}");
    client.exchange(&not_utf_8).is_error(400, bare.clone());
    // Which of the two would count is a matter of who reads.
    let twice = r#"{"KeyId": "x", "EncryptionContext": {"a": "1", "a": "2"}, "KeyId": "y"}"#;
    client.exchange(&request("GenerateDataKey", twice)).is_error(400, bare);
}

#[test]
fn a_member_of_another_type_is_told_in_the_words_of_aws_s_framework() {
    let mut client = shared().connect();
    for (body, message) in [
        (json!({"Limit": "5"}), "STRING_VALUE can not be converted to an Integer"),
        (json!({"Limit": true}), "TRUE_VALUE can not be converted to an Integer"),
        (json!({"Limit": [1]}), "Start of list found where not expected"),
        (json!({"Limit": {}}), "Start of structure or map found where not expected."),
        (json!({"Marker": 1}), "NUMBER_VALUE can not be converted to a String"),
    ] {
        let expected = json!({"__type": "SerializationException", "Message": message});
        client.call("ListKeys", &body).is_error(400, expected);
    }
}

#[test]
fn members_that_are_not_known_are_left_out_and_fractions_cut_off_as_aws_does() {
    let server = shared();
    let key = server.new_key();
    let answer = server.ok("ListKeys", json!({"Limit": 1.9, "Nonsense": {"a": [1]}, "Marker": null}));
    assert_eq!(answer["Keys"].as_array().unwrap().len(), 1);
    let tag = json!({"TagKey": "a", "TagValue": "b", "Colour": "red"});
    server.ok("TagResource", json!({"KeyId": key, "Tags": [tag]}));
    let grant = json!({"KeyId": key, "GranteePrincipal": "arn:aws:iam::000000000000:user/a", "Operations": ["Encrypt"],
        "Constraints": {"EncryptionContextSubset": {"a": "b"}, "Later": 1}});
    server.ok("CreateGrant", grant);
    // The command line, where a member that is not known is a word that is misspelt, stays strict.
    let strict = server.home.run(&["kms", "list-keys", "--cli-input-json", "{\"Nonsense\": 1}"]);
    assert_ne!(strict.code, 0);
}

#[test]
fn all_that_is_out_of_its_range_is_counted() {
    let answer = shared().call("GenerateDataKey", json!({"NumberOfBytes": 0, "KeySpec": "AES_512"}));
    let message = "3 validation errors detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null; Value \
        'AES_512' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [AES_256, AES_128]; Value '0' at \
        'numberOfBytes' failed to satisfy constraint: Member must have value greater than or equal to 1";
    answer.is_error(400, json!({"__type": "ValidationException", "message": message}));
}

#[test]
fn errors_that_have_no_message_have_none_and_access_denied_has_a_capital_one() {
    let server = shared();
    let garbage = server.call("Decrypt", json!({"CiphertextBlob": "AAAA"}));
    garbage.is_error(400, json!({"__type": "InvalidCiphertextException"}));
    let no_base64 = server.call("Decrypt", json!({"CiphertextBlob": "?"}));
    no_base64.is_error(400, json!({"__type": "SerializationException"}));
    let key = server.new_key();
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"},
        {"Effect": "Deny", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*"}]});
    server.ok("PutKeyPolicy", json!({"KeyId": key, "PolicyName": "default", "Policy": policy.to_string()}));
    let denied = server.call("Encrypt", json!({"KeyId": key, "Plaintext": "AAAA"}));
    let body = denied.json();
    assert_eq!((denied.status, body["__type"].as_str()), (400, Some("AccessDeniedException")));
    assert!(
        body["Message"]
            .as_str()
            .unwrap()
            .contains("arn:aws:iam::000000000000:root is not authorized to perform: kms:Encrypt")
    );
    assert_eq!(body.as_object().unwrap().len(), 2);
}

#[test]
fn times_are_seconds_since_1970() {
    let server = shared();
    let created = server.ok("CreateKey", json!({}))["KeyMetadata"]["CreationDate"].as_f64().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - created).abs() < 60.0);
}

#[test]
fn pages_of_a_list_join_to_the_whole() {
    let server = shared();
    let key = server.new_key();
    let alias = |number: usize| format!("alias/page-{number:02}");
    for number in 0..7 {
        server.ok("CreateAlias", json!({"AliasName": alias(number), "TargetKeyId": key}));
    }
    let mut client = server.connect();
    let (mut found, mut marker, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        let page = client.call("ListAliases", &json!({"KeyId": key, "Limit": 3, "Marker": marker})).json();
        found.extend(
            page["Aliases"]
                .as_array()
                .unwrap()
                .iter()
                .map(|alias| alias["AliasName"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        marker = page["NextMarker"].clone();
        assert_eq!(page["Truncated"], json!(!marker.is_null()));
        if marker.is_null() {
            assert!(page.get("NextMarker").is_none());
            break;
        }
    }
    assert_eq!((found, pages), ((0..7).map(alias).collect::<Vec<_>>(), 3));
    for marker in ["nonsense", "TGlzdEtleXM6eA"] {
        let answer = client.call("ListAliases", &json!({"Marker": marker}));
        assert_eq!(answer.json()["__type"], "InvalidMarkerException");
    }
}

#[test]
fn each_region_of_a_credential_scope_has_keys_of_its_own() {
    let mut client: Client<_> = shared().connect();
    let mut call = |region: &str, operation: &str, body: &str| {
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=dummy/20261125/{region}/kms/aws4_request, SignedHeaders=host, Signature=0"
        );
        let head = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nauthorization: {scope}\r\nx-amz-target: TrentService.{operation}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        client.exchange(head.as_bytes()).json()
    };
    let key = call("eu-central-1", "CreateKey", "{}")["KeyMetadata"].clone();
    let arn = key["Arn"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:kms:eu-central-1:000000000000:key/"), "{arn}");
    let named = format!("{{\"KeyId\":{}}}", key["KeyId"]);
    assert_eq!(call("eu-central-1", "DescribeKey", &named)["KeyMetadata"]["Arn"], arn);
    assert_eq!(call("us-east-1", "DescribeKey", &named)["__type"], "NotFoundException");
    assert!(shared().metric("kmsfs_keys{region=\"eu-central-1\",state=\"Enabled\"}") >= 1.0);
}

#[test]
fn the_region_is_that_of_the_credential_scope_or_the_home_s() {
    let mut client: Client<_> = shared().connect();
    for authorization in [
        "AWS4-HMAC-SHA256 Credential=dummy/20261125/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=/////",
        "Basic dTpw",
    ] {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\nx-amz-target: TrentService.CreateKey\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        let arn = client.exchange(head.as_bytes()).json()["KeyMetadata"]["Arn"].clone();
        assert!(arn.as_str().unwrap().starts_with("arn:aws:kms:us-east-1:000000000000:key/"), "{arn}");
    }
}
