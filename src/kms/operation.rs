//! The operations of the key service, by AWS's names.

use super::key::RegionRole;

/// Declares [`Operation`] together with its names, so that the three lists cannot drift apart.
macro_rules! operations {
    ($($variant:ident: $doc:literal,)*) => {
        /// An operation of AWS KMS that this version carries out. The state table covers all of them; what AWS has beside them
        /// is unknown here.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Operation {
            $(#[doc = $doc] $variant,)*
        }

        impl Operation {
            /// Every operation, in the order of the documentation's table.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name on the wire: `CreateKey`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }
        }
    };
}

operations! {
    Encrypt: "Encrypts up to 4096 bytes.",
    Decrypt: "Decrypts what Encrypt, GenerateDataKey or ReEncrypt made.",
    ReEncrypt: "Decrypts and encrypts again without showing the plaintext.",
    GenerateDataKey: "Makes a data key, in the clear and wrapped.",
    GenerateDataKeyWithoutPlaintext: "Makes a data key, wrapped only.",
    GenerateDataKeyPair: "Makes a data key pair, its private key in the clear and wrapped.",
    GenerateDataKeyPairWithoutPlaintext: "Makes a data key pair, its private key wrapped only.",
    Sign: "Signs a message or a digest.",
    Verify: "Verifies a signature.",
    GenerateMac: "Makes a message authentication code.",
    VerifyMac: "Verifies a message authentication code.",
    GetPublicKey: "The public key of an asymmetric key.",
    DeriveSharedSecret: "The secret that a key shares with the owner of a public key.",
    CreateGrant: "Gives a principal the use of a key.",
    DescribeKey: "A key's metadata.",
    ListAliases: "The aliases of the account or of a key.",
    ListGrants: "A key's grants.",
    GetKeyPolicy: "A key's policy.",
    PutKeyPolicy: "Replaces a key's policy.",
    ListKeyPolicies: "The names of a key's policies.",
    ListResourceTags: "A key's tags.",
    RetireGrant: "Ends a grant, by whom it was given to.",
    RevokeGrant: "Ends a grant, by the key's administrator.",
    DeleteAlias: "Removes an alias.",
    EnableKey: "Makes a disabled key usable.",
    DisableKey: "Makes a key unusable until it is enabled.",
    EnableKeyRotation: "Turns automatic rotation on.",
    DisableKeyRotation: "Turns automatic rotation off.",
    RotateKeyOnDemand: "Rotates now.",
    GetKeyRotationStatus: "Whether and when a key rotates.",
    ListKeyRotations: "The rotations that took place.",
    GetKeyLastUsage: "When a key was last used with success.",
    UpdateAlias: "Points an alias at another key.",
    CreateAlias: "Names a key.",
    TagResource: "Tags a key.",
    UntagResource: "Removes tags from a key.",
    UpdateKeyDescription: "Replaces a key's description.",
    ScheduleKeyDeletion: "Begins the waiting period before a key is destroyed.",
    CancelKeyDeletion: "Ends that waiting period; the key is then disabled.",
    GetParametersForImport: "A wrapping key and a token for an import.",
    ImportKeyMaterial: "Gives a key its imported material.",
    DeleteImportedKeyMaterial: "Takes imported material away.",
    ReplicateKey: "Makes a replica of a multi-Region key in another region.",
    UpdatePrimaryRegion: "Makes a replica the primary of its multi-Region key.",
    CreateKey: "Makes a key.",
    ListKeys: "The keys of the account.",
    ListRetirableGrants: "The grants that a principal may end.",
    GenerateRandom: "Random bytes.",
}

impl Operation {
    /// The operation of that name on the wire (`CreateKey`), if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|operation| operation.name() == name)
    }

    /// Whether it makes the key of the service's own alias where it names that for the first time.
    pub const fn makes_managed_keys(self) -> bool {
        matches!(
            self,
            Self::Encrypt
                | Self::ReEncrypt
                | Self::GenerateDataKey
                | Self::GenerateDataKeyWithoutPlaintext
                | Self::GenerateDataKeyPair
                | Self::GenerateDataKeyPairWithoutPlaintext
                | Self::DescribeKey
        )
    }

    /// Whether a caller may have it done to a key that the service manages: use and looks, and nothing that changes the key
    /// (rule ROT-5).
    pub const fn is_for_managed_keys(self) -> bool {
        match self {
            Self::Encrypt
            | Self::Decrypt
            | Self::ReEncrypt
            | Self::GenerateDataKey
            | Self::GenerateDataKeyWithoutPlaintext
            | Self::GenerateDataKeyPair
            | Self::GenerateDataKeyPairWithoutPlaintext
            | Self::Sign
            | Self::Verify
            | Self::GenerateMac
            | Self::VerifyMac
            | Self::GetPublicKey
            | Self::DeriveSharedSecret
            | Self::CreateGrant
            | Self::ListGrants
            | Self::RetireGrant
            | Self::RevokeGrant
            | Self::DescribeKey
            | Self::ListAliases
            | Self::GetKeyPolicy
            | Self::ListKeyPolicies
            | Self::ListResourceTags
            | Self::GetKeyRotationStatus
            | Self::ListKeyRotations
            | Self::GetKeyLastUsage
            | Self::CreateKey
            | Self::ListKeys
            | Self::ListRetirableGrants
            | Self::GenerateRandom => true,
            Self::PutKeyPolicy
            | Self::DeleteAlias
            | Self::EnableKey
            | Self::DisableKey
            | Self::EnableKeyRotation
            | Self::DisableKeyRotation
            | Self::RotateKeyOnDemand
            | Self::UpdateAlias
            | Self::CreateAlias
            | Self::TagResource
            | Self::UntagResource
            | Self::UpdateKeyDescription
            | Self::ScheduleKeyDeletion
            | Self::CancelKeyDeletion
            | Self::GetParametersForImport
            | Self::ImportKeyMaterial
            | Self::DeleteImportedKeyMaterial
            | Self::ReplicateKey
            | Self::UpdatePrimaryRegion => false,
        }
    }

    /// Whether a key of that role among its related ones is good for it: what they share, their primary alone changes.
    pub const fn is_for(self, role: Option<RegionRole>) -> bool {
        let is_of_primaries = matches!(self, Self::ReplicateKey | Self::UpdatePrimaryRegion);
        let changes_what_is_shared =
            matches!(self, Self::EnableKeyRotation | Self::DisableKeyRotation | Self::RotateKeyOnDemand);
        match role {
            Some(RegionRole::Primary) => true,
            Some(RegionRole::Replica) => !is_of_primaries && !changes_what_is_shared,
            None => !is_of_primaries,
        }
    }

    /// Whether it leaves every key as it was (CloudTrail's `readOnly`).
    pub const fn is_read_only(self) -> bool {
        match self {
            Self::Encrypt
            | Self::Decrypt
            | Self::ReEncrypt
            | Self::GenerateDataKey
            | Self::GenerateDataKeyWithoutPlaintext
            | Self::GenerateDataKeyPair
            | Self::GenerateDataKeyPairWithoutPlaintext
            | Self::Sign
            | Self::Verify
            | Self::GenerateMac
            | Self::VerifyMac
            | Self::GetPublicKey
            | Self::DeriveSharedSecret
            | Self::DescribeKey
            | Self::ListAliases
            | Self::ListGrants
            | Self::GetKeyPolicy
            | Self::ListKeyPolicies
            | Self::ListResourceTags
            | Self::GetKeyRotationStatus
            | Self::ListKeyRotations
            | Self::GetKeyLastUsage
            | Self::GetParametersForImport
            | Self::ListKeys
            | Self::ListRetirableGrants
            | Self::GenerateRandom => true,
            Self::CreateGrant
            | Self::PutKeyPolicy
            | Self::RetireGrant
            | Self::RevokeGrant
            | Self::DeleteAlias
            | Self::EnableKey
            | Self::DisableKey
            | Self::EnableKeyRotation
            | Self::DisableKeyRotation
            | Self::RotateKeyOnDemand
            | Self::UpdateAlias
            | Self::CreateAlias
            | Self::TagResource
            | Self::UntagResource
            | Self::UpdateKeyDescription
            | Self::ScheduleKeyDeletion
            | Self::CancelKeyDeletion
            | Self::ImportKeyMaterial
            | Self::DeleteImportedKeyMaterial
            | Self::ReplicateKey
            | Self::UpdatePrimaryRegion
            | Self::CreateKey => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_operation() {
        for operation in Operation::ALL {
            assert_eq!(Operation::from_name(operation.name()), Some(*operation));
        }
        assert_eq!(Operation::from_name("createKey"), None);
    }
}
