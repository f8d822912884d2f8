//! Both tables in full: against the documentation that prints them, and against the rules that they implement.

use super::*;
use crate::kms::spec::{self, KeySpec, KeyUsage};

/// The word that the documentation has in a cell of the permit table.
const fn permit_word(permit: Permit) -> &'static str {
    match permit {
        Permit::Allowed => "ok",
        Permit::Disabled => "DisabledException",
        Permit::InvalidState => "KMSInvalidStateException",
        Permit::Unsupported | Permit::WrongKind => "UnsupportedOperationException",
    }
}

/// Every kind with every origin, and what the documentation calls a row that only some of them have.
const KEYS: [(KeyKind, Origin); 6] = [
    (KeyKind::Symmetric, Origin::AwsKms),
    (KeyKind::Symmetric, Origin::External),
    (KeyKind::Asymmetric, Origin::AwsKms),
    (KeyKind::Asymmetric, Origin::External),
    (KeyKind::Hmac, Origin::AwsKms),
    (KeyKind::Hmac, Origin::External),
];

/// `of asymmetric and HMAC keys, origin AWS_KMS`, for the keys that have a row.
fn of_keys(keys: &[(KeyKind, Origin)]) -> String {
    let kinds: Vec<_> =
        KeyKind::ALL.into_iter().filter(|kind| keys.iter().any(|(of, _)| of == kind)).collect();
    let origins: Vec<_> =
        Origin::ALL.into_iter().filter(|origin| keys.iter().any(|(_, of)| of == origin)).collect();
    assert_eq!(kinds.len() * origins.len(), keys.len(), "a row is of some kinds and some origins");
    let mut text = String::new();
    if kinds.len() < KeyKind::ALL.len() {
        let kinds: Vec<_> = kinds.into_iter().map(KeyKind::words).collect();
        text += &format!(", {} keys", kinds.join(" and "));
    }
    if let [origin] = origins[..] {
        text += &format!(", origin {}", origin.name());
    }
    text
}

const fn next_word(next: Next) -> &'static str {
    match next {
        Next::To(state) => state.name(),
        Next::Destroyed => "destroyed",
        Next::Refused => "-",
    }
}

const fn event_words(event: Event) -> &'static str {
    match event {
        Event::Enable => "EnableKey",
        Event::Disable => "DisableKey",
        Event::ScheduleDeletion => "ScheduleKeyDeletion",
        Event::ScheduleDeletionWithReplicas => "ScheduleKeyDeletion of a primary with replicas",
        Event::LastReplicaGone => "its last replica is gone",
        Event::CancelDeletion => "CancelKeyDeletion, material complete",
        Event::CancelDeletionWithoutMaterial => "CancelKeyDeletion, material missing",
        Event::MaterialComplete => "import completes the material",
        Event::MaterialLost => "imported material deleted or expired",
        Event::DeletionDue => "the deletion date comes",
    }
}

fn header(first: &str) -> String {
    let names = KeyState::ALL.map(KeyState::name);
    format!("| {first} | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()))
}

fn row(name: &str, cells: [&str; KeyState::ALL.len()]) -> String {
    format!("| {name} | {} |\n", cells.join(" | "))
}

fn assert_documented(table: &str) {
    let document = include_str!("../../../docs/KEYS.md");
    assert!(document.contains(table), "docs/KEYS.md lacks this table:\n{table}");
}

#[test]
fn st_1_the_permit_table_is_the_documented_one() {
    let mut table = header("operation");
    for operation in Operation::ALL {
        let mut rows: Vec<(_, Vec<_>)> = Vec::new();
        for (kind, origin) in KEYS {
            let cells = KeyState::ALL.map(|state| permit_word(permit(*operation, state, kind, origin)));
            match rows.iter_mut().find(|(known, _)| *known == cells) {
                Some((_, keys)) => keys.push((kind, origin)),
                None => rows.push((cells, vec![(kind, origin)])),
            }
        }
        for (cells, keys) in rows {
            table += &row(&format!("{}{}", operation.name(), of_keys(&keys)), cells);
        }
    }
    assert_documented(&table);
}

#[test]
fn the_table_of_usages_is_the_documented_one() {
    let names = KeyUsage::ALL.iter().map(|usage| usage.name()).collect::<Vec<_>>();
    let mut table = format!("| operation | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    let some = |operation: &&Operation| !KeyUsage::ALL.iter().all(|usage| spec::is_for(**operation, *usage));
    for operation in Operation::ALL.iter().filter(some) {
        let word = |usage: &KeyUsage| match spec::is_for(*operation, *usage) {
            true if spec::is_for_symmetric_alone(*operation) => "symmetric keys",
            true => "ok",
            false => "InvalidKeyUsageException",
        };
        let cells: Vec<_> = KeyUsage::ALL.iter().map(word).collect();
        table += &format!("| {} | {} |\n", operation.name(), cells.join(" | "));
    }
    assert_documented(&table);
}

#[test]
fn the_table_of_specs_is_the_documented_one() {
    let mut table = "| key spec | key usage | algorithms |\n|---|---|---|\n".to_owned();
    for spec in KeySpec::ALL {
        for usage in spec.usages() {
            let algorithms: Vec<_> = match usage {
                KeyUsage::EncryptDecrypt => {
                    spec.encryption_algorithms().iter().map(|algorithm| algorithm.name()).collect()
                }
                KeyUsage::SignVerify => {
                    spec.signing_algorithms().iter().map(|algorithm| algorithm.name()).collect()
                }
                KeyUsage::GenerateVerifyMac => {
                    spec.mac_algorithms().iter().map(|algorithm| algorithm.name()).collect()
                }
                KeyUsage::KeyAgreement => {
                    spec.key_agreement_algorithms().iter().map(|algorithm| algorithm.name()).collect()
                }
            };
            table += &format!("| {} | {} | {} |\n", spec.name(), usage.name(), algorithms.join(", "));
        }
    }
    assert_documented(&table);
}

#[test]
fn the_transition_table_is_the_documented_one() {
    let mut table = header("event");
    for event in Event::ALL {
        table += &row(event_words(event), KeyState::ALL.map(|state| next_word(next(state, event))));
    }
    assert_documented(&table);
}

/// Operations, the keys, the cells of the four states that the rule names, and those of Unavailable, Creating, Updating and
/// PendingReplicaDeletion.
type Rule = (&'static [&'static str], Of, [&'static str; 4], [&'static str; 4]);

/// Which keys a rule is of: kinds (`None`: every one) and origin (`None`: both).
type Of = (Option<&'static [KeyKind]>, Option<Origin>);

const EVERY: Of = (None, None);
const MADE: Of = (None, Some(Origin::AwsKms));
const IMPORTED: Of = (None, Some(Origin::External));
const OTHERS: &[KeyKind] = &[KeyKind::Asymmetric, KeyKind::Hmac];

/// The table of rule ST-1, row by row as the rule has it. The rule says nothing of the other four; AWS's own table does.
/// `-` is a cell that no key can be in: only an EXTERNAL key is ever pending import. What the rule says of symmetric keys alone, AWS's own
/// table and what was recorded of it say of others.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    (&["Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair",
       "GenerateDataKeyPairWithoutPlaintext", "Sign", "Verify", "GenerateMac", "VerifyMac", "DeriveSharedSecret"], EVERY,
        ["ok", "disabled", "invalid", "invalid"], ["invalid", "invalid", "ok", "invalid"]),
    (&["GetPublicKey"], (Some(&[KeyKind::Asymmetric]), None),
        ["ok", "disabled", "invalid", "invalid"], ["invalid", "invalid", "ok", "invalid"]),
    (&["GetPublicKey"], (Some(&[KeyKind::Symmetric, KeyKind::Hmac]), None),
        ["kind", "kind", "kind", "kind"], ["kind", "kind", "kind", "kind"]),
    (&["CreateGrant"], EVERY, ["ok", "disabled", "invalid", "invalid"], ["ok", "invalid", "ok", "invalid"]),
    (&["DescribeKey", "ListAliases", "ListGrants", "GetKeyPolicy", "PutKeyPolicy", "ListKeyPolicies", "ListResourceTags",
       "RetireGrant", "RevokeGrant", "DeleteAlias"], EVERY,
        ["ok", "ok", "ok", "ok"], ["ok", "ok", "ok", "ok"]),
    (&["EnableKey", "DisableKey"], EVERY, ["ok", "ok", "invalid", "invalid"], ["ok", "invalid", "invalid", "invalid"]),
    (&["EnableKeyRotation"], (Some(&[KeyKind::Symmetric]), Some(Origin::AwsKms)),
        ["ok", "disabled", "invalid", "-"], ["unsupported", "invalid", "ok", "invalid"]),
    (&["EnableKeyRotation"], (Some(OTHERS), Some(Origin::AwsKms)),
        ["kind", "disabled", "invalid", "-"], ["unsupported", "invalid", "kind", "invalid"]),
    (&["DisableKeyRotation"], MADE, ["ok", "disabled", "invalid", "-"], ["unsupported", "invalid", "ok", "invalid"]),
    (&["EnableKeyRotation", "DisableKeyRotation"], IMPORTED,
        ["unsupported", "unsupported", "unsupported", "unsupported"],
        ["unsupported", "unsupported", "unsupported", "unsupported"]),
    (&["RotateKeyOnDemand"], (Some(&[KeyKind::Symmetric]), None),
        ["ok", "disabled", "invalid", "invalid"], ["unsupported", "invalid", "invalid", "invalid"]),
    (&["RotateKeyOnDemand"], (Some(OTHERS), None),
        ["kind", "disabled", "invalid", "invalid"], ["unsupported", "invalid", "invalid", "invalid"]),
    (&["GetKeyRotationStatus"], EVERY, ["ok", "ok", "ok", "unsupported"], ["unsupported", "ok", "ok", "ok"]),
    (&["ListKeyRotations", "GetKeyLastUsage"], EVERY, ["ok", "ok", "ok", "ok"], ["ok", "ok", "ok", "ok"]),
    (&["UpdateAlias"], EVERY, ["ok", "ok", "invalid", "ok"], ["ok", "ok", "ok", "invalid"]),
    (&["CreateAlias", "TagResource", "UntagResource", "UpdateKeyDescription"], EVERY,
        ["ok", "ok", "invalid", "ok"], ["ok", "ok", "ok", "invalid"]),
    (&["ScheduleKeyDeletion"], EVERY, ["ok", "ok", "invalid", "ok"], ["ok", "ok", "invalid", "invalid"]),
    (&["CancelKeyDeletion"], EVERY, ["invalid", "invalid", "ok", "invalid"], ["invalid", "invalid", "invalid", "ok"]),
    (&["GetParametersForImport", "ImportKeyMaterial"], MADE,
        ["unsupported", "unsupported", "invalid", "-"], ["unsupported", "unsupported", "unsupported", "invalid"]),
    (&["GetParametersForImport"], IMPORTED,
        ["ok", "ok", "invalid", "ok"], ["unsupported", "invalid", "invalid", "invalid"]),
    (&["ImportKeyMaterial"], IMPORTED,
        ["ok", "ok", "invalid", "ok"], ["unsupported", "invalid", "ok", "invalid"]),
    (&["DeleteImportedKeyMaterial"], MADE,
        ["unsupported", "unsupported", "unsupported", "-"],
        ["unsupported", "unsupported", "unsupported", "unsupported"]),
    (&["DeleteImportedKeyMaterial"], IMPORTED,
        ["ok", "ok", "ok", "ok"], ["unsupported", "invalid", "invalid", "ok"]),
    (&["ReplicateKey"], EVERY, ["ok", "disabled", "invalid", "invalid"], ["invalid", "invalid", "invalid", "invalid"]),
    (&["UpdatePrimaryRegion"], EVERY, ["ok", "disabled", "invalid", "invalid"], ["invalid", "invalid", "ok", "invalid"]),
    // Operations that name no key.
    (&["CreateKey", "ListKeys", "ListRetirableGrants", "GenerateRandom"], EVERY,
        ["ok", "ok", "ok", "ok"], ["ok", "ok", "ok", "ok"]),
];

#[test]
fn st_1_every_cell_of_the_permit_table_is_as_the_rule_says() {
    let word = |permit| match permit {
        Permit::Allowed => "ok",
        Permit::Disabled => "disabled",
        Permit::InvalidState => "invalid",
        Permit::Unsupported => "unsupported",
        Permit::WrongKind => "kind",
    };
    let mut ruled = std::collections::BTreeSet::new();
    for (operations, (kinds, origin), cells, others) in RULES {
        let applies = |(kind, of): &(KeyKind, Origin)| {
            kinds.is_none_or(|kinds| kinds.contains(kind)) && origin.is_none_or(|origin| origin == *of)
        };
        for name in *operations {
            let operation = Operation::from_name(name).unwrap_or_else(|| panic!("{name} is an operation"));
            for (kind, origin) in KEYS.into_iter().filter(applies) {
                assert!(ruled.insert((operation, kind, origin.name())), "{name} is ruled on twice");
                for (state, expected) in KeyState::ALL.into_iter().zip(cells.iter().chain(others)) {
                    let found = word(permit(operation, state, kind, origin));
                    assert!(
                        *expected == "-" || *expected == found,
                        "{name} on a {} key of origin {} in {}: {expected} expected, {found} found",
                        kind.words(),
                        origin.name(),
                        state.name()
                    );
                }
            }
        }
    }
    assert_eq!(ruled.len(), Operation::ALL.len() * KEYS.len(), "every row is ruled on");
}

#[test]
fn st_2_every_state_and_origin_has_one_name() {
    for state in KeyState::ALL {
        assert_eq!(KeyState::from_name(state.name()), Some(state));
    }
    for origin in Origin::ALL {
        assert_eq!(Origin::from_name(origin.name()), Some(origin));
    }
    assert_eq!(KeyState::from_name("enabled"), None);
}

#[test]
fn st_2_the_columns_of_the_tables_are_in_the_order_of_the_states() {
    for (place, state) in KeyState::ALL.into_iter().enumerate() {
        assert_eq!(state as usize, place, "{}", state.name());
    }
}

/// An operation that the first table permits and that moves a key must lead somewhere in the second.
#[test]
fn what_the_permit_table_allows_the_transition_table_carries_out() {
    let moves = [
        (Operation::EnableKey, &[Event::Enable][..]),
        (Operation::DisableKey, &[Event::Disable]),
        (Operation::ScheduleKeyDeletion, &[Event::ScheduleDeletion]),
        (Operation::CancelKeyDeletion, &[Event::CancelDeletion, Event::CancelDeletionWithoutMaterial]),
    ];
    for (operation, events) in moves {
        for (state, (kind, origin)) in
            KeyState::ALL.into_iter().flat_map(|state| KEYS.map(|key| (state, key)))
        {
            let allowed = permit(operation, state, kind, origin) == Permit::Allowed;
            for event in events {
                let leads = next(state, *event) != Next::Refused;
                assert_eq!(allowed, leads, "{} in {}", operation.name(), state.name());
            }
        }
    }
}

#[test]
fn only_an_enabled_key_is_usable_for_files_or_one_that_changes_places_with_its_primary() {
    for state in KeyState::ALL {
        let permits = permit(Operation::GenerateDataKey, state, KeyKind::Symmetric, Origin::AwsKms);
        let encrypts = permits == Permit::Allowed;
        assert_eq!(state.usability() == Usability::Usable, encrypts, "{}", state.name());
        assert_eq!(encrypts, matches!(state, KeyState::Enabled | KeyState::Updating));
    }
}

#[test]
fn del_3_no_event_leads_out_of_a_waiting_period_but_its_end_and_its_cancelling() {
    for event in Event::ALL {
        let led = next(KeyState::PendingDeletion, event);
        let waits = next(KeyState::PendingReplicaDeletion, event);
        let can_come = event != Event::DeletionDue && event != Event::LastReplicaGone;
        assert!(!can_come || matches!(waits, Next::Refused) == matches!(led, Next::Refused), "{event:?}");
        let ends = matches!(
            event,
            Event::CancelDeletion | Event::CancelDeletionWithoutMaterial | Event::DeletionDue
        );
        let stays = matches!(led, Next::Refused | Next::To(KeyState::PendingDeletion));
        assert_ne!(ends, stays, "{event:?} leads to {led:?}");
    }
    for state in KeyState::ALL {
        let destroyed = next(state, Event::DeletionDue) == Next::Destroyed;
        assert_eq!(destroyed, state == KeyState::PendingDeletion, "{}", state.name());
    }
}
