//! The operations and their flags, as data.

use super::arguments::Usage;
use crate::cli::similar::with_nearest;
use crate::kms::Operation;

/// How a flag's value becomes JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text as it is.
    Text,
    /// A whole number.
    Integer,
    /// `--flag` and `--no-flag`.
    Boolean,
    /// Bytes: base64, or `fileb://FILE`.
    Blob,
    /// A point in time: ISO 8601, or seconds since 1970.
    Timestamp,
    /// Text pairs: `name=value,...` or JSON.
    Map,
    /// Texts: one after the other, or JSON.
    List,
    /// A structure of maps: `Name={name=text,...},...` or JSON.
    Maps,
    /// Structures of texts: `Name=text,...` one after the other, or JSON.
    Structures,
}

/// A flag of an operation.
#[derive(Debug)]
pub struct Parameter {
    /// Its name without the dashes.
    pub flag: &'static str,
    /// The member of the request.
    pub member: &'static str,
    /// How its value is read.
    pub kind: Kind,
    /// Whether the operation cannot do without it.
    pub required: bool,
}

/// An operation on the command line.
#[derive(Debug)]
pub struct Command {
    /// Its name: `create-key`.
    pub name: &'static str,
    /// The operation.
    pub operation: Operation,
    /// Its flags.
    pub parameters: &'static [Parameter],
    /// The member of the answer that holds a list, for an operation that answers in pages.
    pub listed: Option<&'static str>,
}

const fn must(flag: &'static str, member: &'static str, kind: Kind) -> Parameter {
    Parameter { flag, member, kind, required: true }
}

const fn may(flag: &'static str, member: &'static str, kind: Kind) -> Parameter {
    Parameter { flag, member, kind, required: false }
}

const KEY_ID: Parameter = must("key-id", "KeyId", Kind::Text);
const GRANT_TOKENS: Parameter = may("grant-tokens", "GrantTokens", Kind::List);
const DRY_RUN: Parameter = may("dry-run", "DryRun", Kind::Boolean);
const CONTEXT: Parameter = may("encryption-context", "EncryptionContext", Kind::Map);
const ALGORITHM: Parameter = may("encryption-algorithm", "EncryptionAlgorithm", Kind::Text);
const LIMIT: Parameter = may("limit", "Limit", Kind::Integer);
const MARKER: Parameter = may("marker", "Marker", Kind::Text);
const POLICY_NAME: Parameter = may("policy-name", "PolicyName", Kind::Text);
const DATA_KEY: [Parameter; 6] = [
    KEY_ID,
    CONTEXT,
    may("number-of-bytes", "NumberOfBytes", Kind::Integer),
    may("key-spec", "KeySpec", Kind::Text),
    GRANT_TOKENS,
    DRY_RUN,
];

const DATA_KEY_PAIR: [Parameter; 5] =
    [CONTEXT, KEY_ID, must("key-pair-spec", "KeyPairSpec", Kind::Text), GRANT_TOKENS, DRY_RUN];
const MESSAGE: Parameter = must("message", "Message", Kind::Blob);
const MESSAGE_TYPE: Parameter = may("message-type", "MessageType", Kind::Text);
const SIGNING_ALGORITHM: Parameter = must("signing-algorithm", "SigningAlgorithm", Kind::Text);
const MAC_ALGORITHM: Parameter = must("mac-algorithm", "MacAlgorithm", Kind::Text);

/// Declares an operation.
macro_rules! command {
    ($name:literal, $operation:ident, [$($parameter:expr),* $(,)?] $(, lists $listed:literal)?) => {
        Command {
            name: $name,
            operation: Operation::$operation,
            parameters: const { &[$($parameter),*] },
            listed: command!(@listed $($listed)?),
        }
    };
    (@listed) => { None };
    (@listed $listed:literal) => { Some($listed) };
}

static COMMANDS: [Command; 48] = [
    command!("cancel-key-deletion", CancelKeyDeletion, [KEY_ID]),
    command!(
        "create-alias",
        CreateAlias,
        [must("alias-name", "AliasName", Kind::Text), must("target-key-id", "TargetKeyId", Kind::Text),]
    ),
    command!(
        "create-grant",
        CreateGrant,
        [
            KEY_ID,
            must("grantee-principal", "GranteePrincipal", Kind::Text),
            may("retiring-principal", "RetiringPrincipal", Kind::Text),
            must("operations", "Operations", Kind::List),
            may("constraints", "Constraints", Kind::Maps),
            GRANT_TOKENS,
            may("name", "Name", Kind::Text),
            DRY_RUN,
        ]
    ),
    command!(
        "create-key",
        CreateKey,
        [
            may("policy", "Policy", Kind::Text),
            may("description", "Description", Kind::Text),
            may("key-usage", "KeyUsage", Kind::Text),
            may("customer-master-key-spec", "CustomerMasterKeySpec", Kind::Text),
            may("key-spec", "KeySpec", Kind::Text),
            may("origin", "Origin", Kind::Text),
            may("custom-key-store-id", "CustomKeyStoreId", Kind::Text),
            may("bypass-policy-lockout-safety-check", "BypassPolicyLockoutSafetyCheck", Kind::Boolean),
            may("tags", "Tags", Kind::Structures),
            may("multi-region", "MultiRegion", Kind::Boolean),
            may("xks-key-id", "XksKeyId", Kind::Text),
        ]
    ),
    command!(
        "decrypt",
        Decrypt,
        [
            must("ciphertext-blob", "CiphertextBlob", Kind::Blob),
            CONTEXT,
            GRANT_TOKENS,
            may("key-id", "KeyId", Kind::Text),
            ALGORITHM,
            DRY_RUN,
        ]
    ),
    command!("delete-alias", DeleteAlias, [must("alias-name", "AliasName", Kind::Text)]),
    command!(
        "delete-imported-key-material",
        DeleteImportedKeyMaterial,
        [KEY_ID, may("key-material-id", "KeyMaterialId", Kind::Text)]
    ),
    command!(
        "derive-shared-secret",
        DeriveSharedSecret,
        [
            KEY_ID,
            must("key-agreement-algorithm", "KeyAgreementAlgorithm", Kind::Text),
            must("public-key", "PublicKey", Kind::Blob),
            GRANT_TOKENS,
            DRY_RUN,
        ]
    ),
    command!("describe-key", DescribeKey, [KEY_ID, GRANT_TOKENS]),
    command!("disable-key", DisableKey, [KEY_ID]),
    command!("disable-key-rotation", DisableKeyRotation, [KEY_ID]),
    command!("enable-key", EnableKey, [KEY_ID]),
    command!(
        "enable-key-rotation",
        EnableKeyRotation,
        [KEY_ID, may("rotation-period-in-days", "RotationPeriodInDays", Kind::Integer)]
    ),
    command!(
        "encrypt",
        Encrypt,
        [KEY_ID, must("plaintext", "Plaintext", Kind::Blob), CONTEXT, GRANT_TOKENS, ALGORITHM, DRY_RUN,]
    ),
    Command {
        name: "generate-data-key",
        operation: Operation::GenerateDataKey,
        parameters: &DATA_KEY,
        listed: None,
    },
    Command {
        name: "generate-data-key-pair",
        operation: Operation::GenerateDataKeyPair,
        parameters: &DATA_KEY_PAIR,
        listed: None,
    },
    Command {
        name: "generate-data-key-pair-without-plaintext",
        operation: Operation::GenerateDataKeyPairWithoutPlaintext,
        parameters: &DATA_KEY_PAIR,
        listed: None,
    },
    Command {
        name: "generate-data-key-without-plaintext",
        operation: Operation::GenerateDataKeyWithoutPlaintext,
        parameters: &DATA_KEY,
        listed: None,
    },
    command!("generate-mac", GenerateMac, [MESSAGE, KEY_ID, MAC_ALGORITHM, GRANT_TOKENS, DRY_RUN]),
    command!(
        "generate-random",
        GenerateRandom,
        [
            may("number-of-bytes", "NumberOfBytes", Kind::Integer),
            may("custom-key-store-id", "CustomKeyStoreId", Kind::Text),
        ]
    ),
    command!("get-key-last-usage", GetKeyLastUsage, [KEY_ID]),
    command!("get-key-policy", GetKeyPolicy, [KEY_ID, POLICY_NAME]),
    command!("get-key-rotation-status", GetKeyRotationStatus, [KEY_ID]),
    command!(
        "get-parameters-for-import",
        GetParametersForImport,
        [
            KEY_ID,
            must("wrapping-algorithm", "WrappingAlgorithm", Kind::Text),
            must("wrapping-key-spec", "WrappingKeySpec", Kind::Text),
        ]
    ),
    command!("get-public-key", GetPublicKey, [KEY_ID, GRANT_TOKENS]),
    command!(
        "import-key-material",
        ImportKeyMaterial,
        [
            KEY_ID,
            must("import-token", "ImportToken", Kind::Blob),
            must("encrypted-key-material", "EncryptedKeyMaterial", Kind::Blob),
            may("valid-to", "ValidTo", Kind::Timestamp),
            may("expiration-model", "ExpirationModel", Kind::Text),
            may("import-type", "ImportType", Kind::Text),
            may("key-material-description", "KeyMaterialDescription", Kind::Text),
            may("key-material-id", "KeyMaterialId", Kind::Text),
        ]
    ),
    command!("list-aliases", ListAliases, [may("key-id", "KeyId", Kind::Text), LIMIT, MARKER], lists "Aliases"),
    command!("list-grants", ListGrants, [
        LIMIT,
        MARKER,
        KEY_ID,
        may("grant-id", "GrantId", Kind::Text),
        may("grantee-principal", "GranteePrincipal", Kind::Text),
    ], lists "Grants"),
    command!("list-key-policies", ListKeyPolicies, [KEY_ID, LIMIT, MARKER], lists "PolicyNames"),
    command!("list-key-rotations", ListKeyRotations, [
        KEY_ID,
        may("include-key-material", "IncludeKeyMaterial", Kind::Text),
        LIMIT,
        MARKER,
    ], lists "Rotations"),
    command!("list-keys", ListKeys, [LIMIT, MARKER], lists "Keys"),
    command!("list-resource-tags", ListResourceTags, [KEY_ID, LIMIT, MARKER], lists "Tags"),
    command!("list-retirable-grants", ListRetirableGrants, [
        LIMIT,
        MARKER,
        must("retiring-principal", "RetiringPrincipal", Kind::Text),
    ], lists "Grants"),
    command!(
        "put-key-policy",
        PutKeyPolicy,
        [
            KEY_ID,
            POLICY_NAME,
            must("policy", "Policy", Kind::Text),
            may("bypass-policy-lockout-safety-check", "BypassPolicyLockoutSafetyCheck", Kind::Boolean),
        ]
    ),
    command!(
        "re-encrypt",
        ReEncrypt,
        [
            must("ciphertext-blob", "CiphertextBlob", Kind::Blob),
            may("source-encryption-context", "SourceEncryptionContext", Kind::Map),
            may("source-key-id", "SourceKeyId", Kind::Text),
            must("destination-key-id", "DestinationKeyId", Kind::Text),
            may("destination-encryption-context", "DestinationEncryptionContext", Kind::Map),
            may("source-encryption-algorithm", "SourceEncryptionAlgorithm", Kind::Text),
            may("destination-encryption-algorithm", "DestinationEncryptionAlgorithm", Kind::Text),
            GRANT_TOKENS,
            DRY_RUN,
        ]
    ),
    command!(
        "replicate-key",
        ReplicateKey,
        [
            KEY_ID,
            must("replica-region", "ReplicaRegion", Kind::Text),
            may("policy", "Policy", Kind::Text),
            may("bypass-policy-lockout-safety-check", "BypassPolicyLockoutSafetyCheck", Kind::Boolean),
            may("description", "Description", Kind::Text),
            may("tags", "Tags", Kind::Structures),
        ]
    ),
    command!(
        "retire-grant",
        RetireGrant,
        [
            may("grant-token", "GrantToken", Kind::Text),
            may("key-id", "KeyId", Kind::Text),
            may("grant-id", "GrantId", Kind::Text),
            DRY_RUN,
        ]
    ),
    command!("revoke-grant", RevokeGrant, [KEY_ID, must("grant-id", "GrantId", Kind::Text), DRY_RUN]),
    command!("rotate-key-on-demand", RotateKeyOnDemand, [KEY_ID]),
    command!(
        "schedule-key-deletion",
        ScheduleKeyDeletion,
        [KEY_ID, may("pending-window-in-days", "PendingWindowInDays", Kind::Integer),]
    ),
    command!("sign", Sign, [KEY_ID, MESSAGE, MESSAGE_TYPE, GRANT_TOKENS, SIGNING_ALGORITHM, DRY_RUN]),
    command!("tag-resource", TagResource, [KEY_ID, must("tags", "Tags", Kind::Structures)]),
    command!("untag-resource", UntagResource, [KEY_ID, must("tag-keys", "TagKeys", Kind::List)]),
    command!(
        "update-alias",
        UpdateAlias,
        [must("alias-name", "AliasName", Kind::Text), must("target-key-id", "TargetKeyId", Kind::Text),]
    ),
    command!(
        "update-key-description",
        UpdateKeyDescription,
        [KEY_ID, must("description", "Description", Kind::Text),]
    ),
    command!(
        "update-primary-region",
        UpdatePrimaryRegion,
        [KEY_ID, must("primary-region", "PrimaryRegion", Kind::Text)]
    ),
    command!(
        "verify",
        Verify,
        [
            KEY_ID,
            MESSAGE,
            MESSAGE_TYPE,
            must("signature", "Signature", Kind::Blob),
            SIGNING_ALGORITHM,
            GRANT_TOKENS,
            DRY_RUN,
        ]
    ),
    command!(
        "verify-mac",
        VerifyMac,
        [MESSAGE, KEY_ID, MAC_ALGORITHM, must("mac", "Mac", Kind::Blob), GRANT_TOKENS, DRY_RUN]
    ),
];

/// Operations of AWS KMS that [`Operation`] does not know: what encapsulates keys or is of a key store of one's own (service model
/// `kms/2014-11-01`).
const OF_AWS_ALONE: [&str; 8] = [
    "connect-custom-key-store",
    "create-custom-key-store",
    "decapsulate",
    "delete-custom-key-store",
    "describe-custom-key-stores",
    "disconnect-custom-key-store",
    "encapsulate",
    "update-custom-key-store",
];

/// The operation of a name.
///
/// # Errors
/// The name, where there is no such operation here; one of AWS's that is not here yet is told apart from a misspelt one.
pub fn find(name: &str) -> Result<&'static Command, Usage> {
    if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
        return Ok(command);
    }
    let is_aws = OF_AWS_ALONE.contains(&name)
        || Operation::ALL.iter().any(|operation| kebab(operation.name()) == name);
    let what = match is_aws {
        true => format!("kms: the operation {name} is not supported by this version"),
        false => format!("kms: the operation {name:?} is not known"),
    };
    Err(Usage::new(what, with_nearest("kmsfs kms help", name, COMMANDS.iter().map(|command| command.name))))
}

/// What `kmsfs kms help` says.
pub fn help() -> String {
    let names: Vec<_> = COMMANDS.iter().map(|command| format!("    {}\n", command.name)).collect();
    format!(
        "Usage: kmsfs kms OPERATION [--FLAG VALUE ...]\n\nOperations, with the flags and the output of aws kms:\n{}\n\
         Flags of every operation:\n    --home DIR\n    --region REGION\n    --output json\n    --cli-input-json JSON, file://FILE\n\
         Flags of operations that list:\n    --max-items N, --page-size N, --starting-token TOKEN, --no-paginate\n\n\
         Bytes are given in base64, or as fileb://FILE; times as 2027-01-31T12:00:00+01:00, or as seconds since 1970.\n\
         kmsfs kms OPERATION help shows an operation's flags.\n",
        names.concat()
    )
}

impl Command {
    /// What `kmsfs kms OPERATION help` says.
    pub fn help(&self) -> String {
        let mut text = format!("Usage: kmsfs kms {}\n", self.name);
        for parameter in self.parameters {
            let value = match parameter.kind {
                Kind::Text => " TEXT",
                Kind::Integer => " NUMBER",
                Kind::Boolean => " | --no-...",
                Kind::Blob => " BASE64 or fileb://FILE",
                Kind::Timestamp => " TIME",
                Kind::Map => " NAME=TEXT,... or JSON",
                Kind::Maps => " NAME={NAME=TEXT,...},... or JSON",
                Kind::List => " TEXT ... or JSON",
                Kind::Structures => " NAME=TEXT,... ... or JSON",
            };
            let flag = format!("--{}{value}", parameter.flag);
            text += &if parameter.required { format!("    {flag}\n") } else { format!("    [{flag}]\n") };
        }
        text
    }
}

/// `CreateKey` as `create-key`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_here_under_its_name() {
        for operation in Operation::ALL {
            let command = find(&kebab(operation.name())).unwrap();
            assert_eq!(command.operation, *operation);
        }
        assert_eq!(COMMANDS.len(), Operation::ALL.len());
    }

    #[test]
    fn what_aws_has_and_this_version_has_not_is_told_apart_from_a_misspelling() {
        assert!(find("decapsulate").unwrap_err().what.contains("not supported by this version"));
        assert!(find("create-kye").unwrap_err().what.contains("not known"));
    }

    #[test]
    fn flags_are_their_members_in_lower_case() {
        for parameter in COMMANDS.iter().flat_map(|command| command.parameters) {
            assert_eq!(kebab(parameter.member), parameter.flag);
        }
    }
}
