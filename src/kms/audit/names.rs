//! The names of all events, for who looks for one.

use crate::kms::Operation;

/// What is recorded beside the operations of the key service: what it does by itself, what is done to the home, and what is found in it.
const OTHERS: [&str; 29] = [
    "AcceptClockJump",
    "AddAlarm",
    "AddUnlockSlot",
    "AdvanceClock",
    "AuditLogAltered",
    "AuditRecordsLost",
    "BackupHome",
    "BeginAuditChain",
    "ChangeUnlockSlot",
    "ClockJumpCorrected",
    "ClockJumpFound",
    "ClockJumpHeld",
    "CloseTornAuditLine",
    "CreateCredential",
    "DeleteExpiredKeyMaterial",
    "DeleteKey",
    "FileDamaged",
    "FileRecovered",
    "FileRepaired",
    "RemoveAlarm",
    "RemoveUnlockSlot",
    "RestoreHome",
    "RevokeCredential",
    "RotateAuditLog",
    "RotateKey",
    "SetAuditFileSize",
    "SetClock",
    "SynchronizeMultiRegionKey",
    "TestAlarm",
];

/// The name of every event that is recorded.
pub fn event_names() -> impl Iterator<Item = &'static str> {
    Operation::ALL.iter().map(|operation| operation.name()).chain(OTHERS)
}
