//! AWS's words for members that cannot be read.

use serde_json::Value;

use crate::kms::{AwsError, KmsError};

/// The refusal of what AWS KMS has and this version has not.
pub fn not_supported(what: &str) -> KmsError {
    KmsError::new(
        AwsError::UnsupportedOperation,
        format!("{what} is not supported by this version of kmsfs."),
    )
}

/// A member's name as AWS's messages and records spell it.
pub(super) fn lower_camel(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

/// A request that is not of the right shape.
pub(super) fn serialization(message: &str) -> KmsError {
    KmsError::new(AwsError::Serialization, message)
}

/// In the words of AWS's framework, as they were recorded in 2026 from a service of the same protocol.
pub(super) fn mismatch(found: &Value, expected: &str) -> KmsError {
    let found = match found {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => return serialization("Start of list found where not expected"),
        Value::Object(_) => {
            return serialization("Start of structure or map found where not expected.");
        }
    };
    match expected {
        "List" => serialization("Expected list or null"),
        "Map" | "Structure" => serialization("Expected null"),
        "Integer" => serialization(&format!("{found} can not be converted to an Integer")),
        _ => serialization(&format!("{found} can not be converted to a {expected}")),
    }
}
