//! What is read, what is refused and in which words, and what is shown of either.

use serde_json::json;

use super::*;

fn fields(request: Value) -> Fields {
    Fields::new(request).unwrap()
}

#[test]
fn every_violation_is_counted_in_aws_words() {
    let mut fields = fields(json!({"NumberOfBytes": 0, "KeySpec": "AES_512", "KeyId": ""}));
    fields.key_id("KeyId").unwrap();
    fields.integer("NumberOfBytes", 1..=1024).unwrap();
    fields.choice("KeySpec", &["AES_256", "AES_128"]).unwrap();
    fields.blob("Plaintext", 1..=4096).unwrap();
    let error = fields.finish().unwrap_err();
    assert_eq!(error.error, AwsError::Validation);
    assert_eq!(
        error.message.unwrap(),
        "4 validation errors detected: Value '' at 'keyId' failed to satisfy constraint: Member must have length \
         greater than or equal to 1; Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have \
         value greater than or equal to 1; Value 'AES_512' at 'keySpec' failed to satisfy constraint: Member must \
         satisfy enum value set: [AES_256, AES_128]; Value at 'plaintext' failed to satisfy constraint: \
         Member must not be null"
    );
}

#[test]
fn a_member_of_the_wrong_type_or_name_is_a_serialization_exception() {
    let wrong = fields(json!({"KeyId": 5})).key_id("KeyId").unwrap_err();
    assert_eq!(wrong.to_string(), "SerializationException: NUMBER_VALUE can not be converted to a String");
    let unknown = fields(json!({"KeyID": "x"})).finish().unwrap_err();
    assert_eq!(unknown.to_string(), "SerializationException: Unknown member: KeyID");
    let blob = fields(json!({"Plaintext": "?"})).blob("Plaintext", 1..=9).unwrap_err();
    assert_eq!(blob.to_string(), "SerializationException");
    assert_eq!(Fields::new(json!([])).unwrap_err().error, AwsError::Serialization);
}

#[test]
fn debug_form_shows_names_and_no_value() {
    let mut fields = fields(json!({"KeyId": "k", "Plaintext": "c2VjcmV0"}));
    fields.key_id("KeyId").unwrap();
    assert_eq!(format!("{fields:?}"), "{\"Plaintext\", \"keyId\"}");
}

#[test]
fn what_is_kept_for_the_audit_log_has_no_blob() {
    let mut fields = fields(json!({"KeyId": "k", "Plaintext": "c2VjcmV0", "EncryptionContext": {"a": "b"}}));
    fields.key_id("KeyId").unwrap();
    fields.blob("Plaintext", 1..=4096).unwrap();
    fields.context("EncryptionContext").unwrap();
    fields.finish().unwrap();
    assert_eq!(Value::Object(fields.take_read()), json!({"keyId": "k", "encryptionContext": {"a": "b"}}));
}
