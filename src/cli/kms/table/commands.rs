//! Every operation with its flags.

use super::{Command, Kind, Parameter};
use crate::kms::Operation;

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

/// Every operation that is supported, in the order of their names.
pub static COMMANDS: [Command; 48] = [
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
