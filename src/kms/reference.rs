//! How a request names a key: id, ARN, alias or alias ARN, and which operation takes which.

use std::sync::Arc;

use super::id::{AliasName, KeyId};
use super::key::Key;
use super::ring::Keyring;
use super::{AwsError, KmsError};

/// The forms of a key's name that an operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Id, ARN, alias, alias ARN: cryptographic operations and DescribeKey.
    Any,
    /// Id or ARN: the operations that manage a key (AWS KMS: "Aliases are not valid identifiers ... in other operations").
    IdOrArn,
}

/// The key that `name` names.
///
/// # Errors
/// AWS's error for a name that names nothing here, or has a form that the operation does not take.
pub fn find<'a>(ring: &'a Keyring, name: &str, form: Form) -> Result<&'a Arc<Key>, KmsError> {
    if name.starts_with("arn:") {
        find_by_arn(ring, name, form)
    } else if name.starts_with(AliasName::PREFIX) {
        find_by_alias(ring, name, name, form)
    } else {
        find_by_id(ring, name)
    }
}

fn find_by_id<'a>(ring: &'a Keyring, name: &str) -> Result<&'a Arc<Key>, KmsError> {
    let id = KeyId::parse(name).ok_or_else(|| invalid(name))?;
    ring.key(id).ok_or_else(|| {
        let arn = ring.namespace().key_arn(id);
        KmsError::new(AwsError::NotFound, format!("Key '{arn}' does not exist"))
    })
}

fn find_by_alias<'a>(
    ring: &'a Keyring,
    name: &str,
    typed: &str,
    form: Form,
) -> Result<&'a Arc<Key>, KmsError> {
    if form == Form::IdOrArn {
        return Err(KmsError::new(AwsError::InvalidArn, "Key Aliases are not supported for this operation."));
    }
    let alias = AliasName::parse(name).ok_or_else(|| invalid(typed))?;
    let target = ring.alias(&alias).and_then(|alias| ring.key(alias.key));
    target.ok_or_else(|| alias_not_found(ring, &alias))
}

/// `arn:aws:kms:REGION:ACCOUNT:key/ID` or `...:alias/NAME`.
fn find_by_arn<'a>(ring: &'a Keyring, arn: &str, form: Form) -> Result<&'a Arc<Key>, KmsError> {
    let invalid_arn = || match form {
        Form::Any => invalid(arn),
        Form::IdOrArn => KmsError::new(AwsError::InvalidArn, format!("Invalid arn {arn}")),
    };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", "aws", "kms", region, account, resource] = parts[..] else { return Err(invalid_arn()) };
    if region != ring.namespace().region {
        return Err(KmsError::new(AwsError::NotFound, format!("Invalid arn {region}")));
    }
    if account != ring.namespace().account {
        return Err(KmsError::new(
            AwsError::AccessDenied,
            format!(
                "Not authorized to perform this operation on resource: {arn} because the resource does not exist in \
                 this Region, no resource-based policies allow access, or a resource-based policy explicitly denies \
                 access"
            ),
        ));
    }
    if let Some(id) = resource.strip_prefix("key/") {
        find_by_id(ring, id)
    } else if resource.starts_with(AliasName::PREFIX) {
        find_by_alias(ring, resource, arn, form)
    } else {
        Err(invalid_arn())
    }
}

/// The error for an alias that is not there.
pub fn alias_not_found(ring: &Keyring, alias: &AliasName) -> KmsError {
    let arn = ring.namespace().alias_arn(alias);
    KmsError::new(AwsError::NotFound, format!("Alias {arn} is not found."))
}

fn invalid(name: &str) -> KmsError {
    KmsError::new(AwsError::NotFound, format!("Invalid keyId '{name}'"))
}
