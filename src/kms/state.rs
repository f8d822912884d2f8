//! The life of a key as two tables: what each state permits, and where each event leads.
//!
//! Every other module asks these tables; none compares states by itself. The tables are total: a new operation, state
//! or event does not compile until its cells are filled in. `docs/KEYS.md` prints them, and a test compares.

use super::Operation;
use super::spec::KeyKind;
use crate::datakey::Usability;

/// The state of a key (AWS KMS Developer Guide, "Key states of AWS KMS keys"). A key has this one state and no flag
/// beside it (rule ST-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Usable.
    Enabled,
    /// Not usable until it is enabled.
    Disabled,
    /// Waiting for its deletion date.
    PendingDeletion,
    /// Without its imported material, or a part of it.
    PendingImport,
    /// Its custom key store is disconnected.
    Unavailable,
    /// A replica whose material is on its way. ReplicateKey answers that; when it has, the replica is there and has left it.
    Creating,
    /// The primary and the one to be are changing places. Both have before UpdatePrimaryRegion answers, so that no key stays in it.
    Updating,
    /// A primary key whose deletion waits for that of its replicas.
    PendingReplicaDeletion,
}

impl KeyState {
    /// Every state, in the order of the tables' columns.
    pub const ALL: [Self; 8] = [
        Self::Enabled,
        Self::Disabled,
        Self::PendingDeletion,
        Self::PendingImport,
        Self::Unavailable,
        Self::Creating,
        Self::Updating,
        Self::PendingReplicaDeletion,
    ];

    /// AWS's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
            Self::PendingImport => "PendingImport",
            Self::Unavailable => "Unavailable",
            Self::Creating => "Creating",
            Self::Updating => "Updating",
            Self::PendingReplicaDeletion => "PendingReplicaDeletion",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// What it means for the files of the key.
    pub const fn usability(self) -> Usability {
        match self {
            Self::Enabled | Self::Updating => Usability::Usable,
            // A disconnected key store gives the key back when it is connected: like a disabled key, not a lost one.
            Self::Disabled | Self::Unavailable | Self::Creating => Usability::Disabled,
            Self::PendingDeletion | Self::PendingReplicaDeletion => Usability::PendingDeletion,
            Self::PendingImport => Usability::PendingImport,
        }
    }

    /// The words of AWS's messages: `ARN is disabled.`
    pub const fn predicate(self) -> &'static str {
        match self {
            Self::Enabled => "is enabled.",
            Self::Disabled => "is disabled.",
            Self::PendingDeletion => "is pending deletion.",
            Self::PendingImport => "is pending import.",
            Self::Unavailable => "is unavailable.",
            Self::Creating => "is creating.",
            Self::Updating => "is updating.",
            Self::PendingReplicaDeletion => "is pending replica deletion.",
        }
    }

    /// Whether the key is to be destroyed, be it that its replicas have to be first.
    pub const fn is_pending_deletion(self) -> bool {
        match self {
            Self::PendingDeletion | Self::PendingReplicaDeletion => true,
            Self::Enabled
            | Self::Disabled
            | Self::PendingImport
            | Self::Unavailable
            | Self::Creating
            | Self::Updating => false,
        }
    }
}

/// Where a key's material comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The service makes it.
    AwsKms,
    /// The caller imports it.
    External,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Self; 2] = [Self::AwsKms, Self::External];

    /// AWS's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwsKms => "AWS_KMS",
            Self::External => "EXTERNAL",
        }
    }

    /// The origin of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.name() == name)
    }
}

/// Whether an operation may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permit {
    /// It may.
    Allowed,
    /// `DisabledException`.
    Disabled,
    /// `KMSInvalidStateException`.
    InvalidState,
    /// `UnsupportedOperationException`: not for a key of this origin, whatever its state.
    Unsupported,
    /// `UnsupportedOperationException` without a message: not for a key of this kind.
    WrongKind,
}

/// What `state` permits of `operation` on a key of `kind` and `origin` (rule ST-1). Operations that name no key are permitted. Whether
/// the operation is one for what the key is used for is another question ([`super::spec::is_for`]).
pub const fn permit(operation: Operation, state: KeyState, kind: KeyKind, origin: Origin) -> Permit {
    permits(operation, kind, origin)[state as usize]
}

/// One row of the table: a cell a state, in the order of [`KeyState::ALL`].
const fn permits(operation: Operation, kind: KeyKind, origin: Origin) -> [Permit; KeyState::ALL.len()] {
    use KeyKind::{Asymmetric, Hmac, Symmetric};
    use Operation as O;
    use Permit::{Allowed as OK, Disabled as DIS, InvalidState as INV, Unsupported as UNS, WrongKind as KND};
    match (operation, kind, origin) {
        // columns: Enabled, Disabled, PendingDeletion, PendingImport, Unavailable, Creating, Updating, PendingReplicaDeletion
        (
            O::Encrypt
            | O::Decrypt
            | O::ReEncrypt
            | O::GenerateDataKey
            | O::GenerateDataKeyWithoutPlaintext
            | O::GenerateDataKeyPair
            | O::GenerateDataKeyPairWithoutPlaintext
            | O::Sign
            | O::Verify
            | O::GenerateMac
            | O::VerifyMac
            | O::DeriveSharedSecret,
            _,
            _,
        ) => [OK, DIS, INV, INV, INV, INV, OK, INV],
        (O::GetPublicKey, Asymmetric, _) => [OK, DIS, INV, INV, INV, INV, OK, INV],
        (O::GetPublicKey, Symmetric | Hmac, _) => [KND, KND, KND, KND, KND, KND, KND, KND],
        (O::CreateGrant, _, _) => [OK, DIS, INV, INV, OK, INV, OK, INV],
        (
            O::DescribeKey
            | O::ListAliases
            | O::ListGrants
            | O::GetKeyPolicy
            | O::PutKeyPolicy
            | O::ListKeyPolicies
            | O::ListResourceTags
            | O::RetireGrant
            | O::RevokeGrant
            | O::DeleteAlias
            | O::ListKeyRotations
            | O::GetKeyLastUsage,
            _,
            _,
        ) => [OK, OK, OK, OK, OK, OK, OK, OK],
        (O::EnableKey | O::DisableKey, _, _) => [OK, OK, INV, INV, OK, INV, INV, INV],
        (O::EnableKeyRotation, Asymmetric | Hmac, Origin::AwsKms) => [KND, DIS, INV, UNS, UNS, INV, KND, INV],
        // AWS KMS turns off what is never on.
        (O::EnableKeyRotation, Symmetric, Origin::AwsKms) | (O::DisableKeyRotation, _, Origin::AwsKms) => {
            [OK, DIS, INV, UNS, UNS, INV, OK, INV]
        }
        (O::EnableKeyRotation | O::DisableKeyRotation, _, Origin::External) => {
            [UNS, UNS, UNS, UNS, UNS, UNS, UNS, UNS]
        }
        // AWS says nothing of a key that is updating: it is not rotated while its primary is another in every region.
        (O::RotateKeyOnDemand, Symmetric, _) => [OK, DIS, INV, INV, UNS, INV, INV, INV],
        (O::RotateKeyOnDemand, Asymmetric | Hmac, _) => [KND, DIS, INV, INV, UNS, INV, INV, INV],
        (O::GetKeyRotationStatus, _, _) => [OK, OK, OK, UNS, UNS, OK, OK, OK],
        (
            O::UpdateAlias | O::CreateAlias | O::TagResource | O::UntagResource | O::UpdateKeyDescription,
            _,
            _,
        ) => [OK, OK, INV, OK, OK, OK, OK, INV],
        (O::ScheduleKeyDeletion, _, _) => [OK, OK, INV, OK, OK, OK, INV, INV],
        (O::CancelKeyDeletion, _, _) => [INV, INV, OK, INV, INV, INV, INV, OK],
        (O::GetParametersForImport | O::ImportKeyMaterial, _, Origin::AwsKms) => {
            [UNS, UNS, INV, UNS, UNS, UNS, UNS, INV]
        }
        (O::GetParametersForImport, _, Origin::External) => [OK, OK, INV, OK, UNS, INV, INV, INV],
        (O::ImportKeyMaterial, _, Origin::External) => [OK, OK, INV, OK, UNS, INV, OK, INV],
        (O::DeleteImportedKeyMaterial, _, Origin::AwsKms) => [UNS, UNS, UNS, UNS, UNS, UNS, UNS, UNS],
        (O::DeleteImportedKeyMaterial, _, Origin::External) => [OK, OK, OK, OK, UNS, INV, INV, OK],
        (O::ReplicateKey, _, _) => [OK, DIS, INV, INV, INV, INV, INV, INV],
        (O::UpdatePrimaryRegion, _, _) => [OK, DIS, INV, INV, INV, INV, OK, INV],
        (O::CreateKey | O::ListKeys | O::ListRetirableGrants | O::GenerateRandom, _, _) => {
            [OK, OK, OK, OK, OK, OK, OK, OK]
        }
    }
}

/// Something that happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// EnableKey.
    Enable,
    /// DisableKey.
    Disable,
    /// ScheduleKeyDeletion.
    ScheduleDeletion,
    /// ScheduleKeyDeletion of a primary that has replicas.
    ScheduleDeletionWithReplicas,
    /// The last replica of a primary is gone.
    LastReplicaGone,
    /// CancelKeyDeletion while all of the key's material is there.
    CancelDeletion,
    /// CancelKeyDeletion while imported material is missing.
    CancelDeletionWithoutMaterial,
    /// An import after which all of the key's material is there.
    MaterialComplete,
    /// Imported material was deleted or expired.
    MaterialLost,
    /// The deletion date has come.
    DeletionDue,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 10] = [
        Self::Enable,
        Self::Disable,
        Self::ScheduleDeletion,
        Self::ScheduleDeletionWithReplicas,
        Self::LastReplicaGone,
        Self::CancelDeletion,
        Self::CancelDeletionWithoutMaterial,
        Self::MaterialComplete,
        Self::MaterialLost,
        Self::DeletionDue,
    ];
}

/// Where an event leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Next {
    /// To this state.
    To(KeyState),
    /// The key and its material are destroyed; a tombstone stays.
    Destroyed,
    /// It cannot happen in this state.
    Refused,
}

/// Where `event` leads from `state`.
pub const fn next(state: KeyState, event: Event) -> Next {
    nexts(event)[state as usize]
}

/// One row of the table: a cell a state, in the order of [`KeyState::ALL`].
const fn nexts(event: Event) -> [Next; KeyState::ALL.len()] {
    const ENA: Next = Next::To(KeyState::Enabled);
    const DIS: Next = Next::To(KeyState::Disabled);
    const DEL: Next = Next::To(KeyState::PendingDeletion);
    const IMP: Next = Next::To(KeyState::PendingImport);
    const UNA: Next = Next::To(KeyState::Unavailable);
    const REP: Next = Next::To(KeyState::PendingReplicaDeletion);
    const NO: Next = Next::Refused;
    match event {
        // columns: Enabled, Disabled, PendingDeletion, PendingImport, Unavailable, Creating, Updating, PendingReplicaDeletion
        Event::Enable => [ENA, ENA, NO, NO, UNA, NO, NO, NO],
        Event::Disable => [DIS, DIS, NO, NO, UNA, NO, NO, NO],
        Event::ScheduleDeletion => [DEL, DEL, NO, DEL, DEL, DEL, NO, NO],
        Event::ScheduleDeletionWithReplicas => [REP, REP, NO, REP, REP, NO, NO, NO],
        Event::LastReplicaGone => [NO, NO, NO, NO, NO, NO, NO, DEL],
        Event::CancelDeletion => [NO, NO, DIS, NO, NO, NO, NO, DIS],
        Event::CancelDeletionWithoutMaterial => [NO, NO, IMP, NO, NO, NO, NO, IMP],
        Event::MaterialComplete => [ENA, DIS, NO, ENA, NO, NO, ENA, NO],
        Event::MaterialLost => [IMP, IMP, DEL, IMP, NO, NO, IMP, REP],
        Event::DeletionDue => [NO, NO, Next::Destroyed, NO, NO, NO, NO, NO],
    }
}

#[cfg(test)]
mod tests;
