//! Both tables in full: against the documentation that prints them, and against the rules that they implement.

use super::*;

/// The word that the documentation has in a cell of the permit table.
const fn permit_word(permit: Permit) -> &'static str {
    match permit {
        Permit::Allowed => "ok",
        Permit::Disabled => "DisabledException",
        Permit::InvalidState => "KMSInvalidStateException",
        Permit::Unsupported => "UnsupportedOperationException",
    }
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
        let cells = |origin| KeyState::ALL.map(|state| permit_word(permit(*operation, state, origin)));
        let name = operation.name();
        let [made, imported] = Origin::ALL.map(cells);
        if made == imported {
            table += &row(name, made);
        } else {
            table += &row(&format!("{name}, origin AWS_KMS"), made);
            table += &row(&format!("{name}, origin EXTERNAL"), imported);
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

/// Operations, the origin (`None`: both), the cells of the four states that the rule names, the cell of Unavailable.
type Rule = (&'static [&'static str], Option<Origin>, [&'static str; 4], &'static str);

/// The table of rule ST-1, row by row as the rule has it. The rule says nothing of Unavailable; AWS's own table does.
/// `-` is a cell that no key can be in: only an EXTERNAL key is ever pending import.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    (&["Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext"], None,
        ["ok", "disabled", "invalid", "invalid"], "invalid"),
    (&["CreateGrant"], None, ["ok", "disabled", "invalid", "invalid"], "ok"),
    (&["DescribeKey", "ListAliases", "ListGrants", "GetKeyPolicy", "PutKeyPolicy", "ListKeyPolicies", "ListResourceTags",
       "RetireGrant", "RevokeGrant", "DeleteAlias"], None,
        ["ok", "ok", "ok", "ok"], "ok"),
    (&["EnableKey", "DisableKey"], None, ["ok", "ok", "invalid", "invalid"], "ok"),
    (&["EnableKeyRotation", "DisableKeyRotation"], Some(Origin::AwsKms),
        ["ok", "disabled", "invalid", "-"], "unsupported"),
    (&["EnableKeyRotation", "DisableKeyRotation"], Some(Origin::External),
        ["unsupported", "unsupported", "unsupported", "unsupported"], "unsupported"),
    (&["RotateKeyOnDemand"], None, ["ok", "disabled", "invalid", "invalid"], "unsupported"),
    (&["GetKeyRotationStatus"], None, ["ok", "ok", "ok", "unsupported"], "unsupported"),
    (&["ListKeyRotations"], None, ["ok", "ok", "ok", "ok"], "ok"),
    (&["UpdateAlias"], None, ["ok", "ok", "invalid", "ok"], "ok"),
    (&["CreateAlias", "TagResource", "UntagResource", "UpdateKeyDescription"], None,
        ["ok", "ok", "invalid", "ok"], "ok"),
    (&["ScheduleKeyDeletion"], None, ["ok", "ok", "invalid", "ok"], "ok"),
    (&["CancelKeyDeletion"], None, ["invalid", "invalid", "ok", "invalid"], "invalid"),
    (&["GetParametersForImport", "ImportKeyMaterial"], Some(Origin::AwsKms),
        ["unsupported", "unsupported", "invalid", "-"], "unsupported"),
    (&["GetParametersForImport", "ImportKeyMaterial"], Some(Origin::External),
        ["ok", "ok", "invalid", "ok"], "unsupported"),
    (&["DeleteImportedKeyMaterial"], Some(Origin::AwsKms),
        ["unsupported", "unsupported", "unsupported", "-"], "unsupported"),
    (&["DeleteImportedKeyMaterial"], Some(Origin::External),
        ["ok", "ok", "ok", "ok"], "unsupported"),
    // Operations that name no key.
    (&["CreateKey", "ListKeys", "ListRetirableGrants", "GenerateRandom"], None, ["ok", "ok", "ok", "ok"], "ok"),
];

#[test]
fn st_1_every_cell_of_the_permit_table_is_as_the_rule_says() {
    let word = |permit| match permit {
        Permit::Allowed => "ok",
        Permit::Disabled => "disabled",
        Permit::InvalidState => "invalid",
        Permit::Unsupported => "unsupported",
    };
    let mut ruled = std::collections::BTreeSet::new();
    for (operations, origin, cells, unavailable) in RULES {
        for name in *operations {
            let operation = Operation::from_name(name).unwrap_or_else(|| panic!("{name} is an operation"));
            for origin in origin.map_or(Origin::ALL.to_vec(), |origin| vec![origin]) {
                assert!(ruled.insert((operation, origin.name())), "{name} is ruled on twice");
                for (state, expected) in KeyState::ALL.into_iter().zip(cells.iter().chain([unavailable])) {
                    let found = word(permit(operation, state, origin));
                    assert!(
                        *expected == "-" || *expected == found,
                        "{name} on a key of origin {} in {}: {expected} expected, {found} found",
                        origin.name(),
                        state.name()
                    );
                }
            }
        }
    }
    assert_eq!(ruled.len(), Operation::ALL.len() * Origin::ALL.len(), "every row is ruled on");
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
        for (state, origin) in
            KeyState::ALL.into_iter().flat_map(|state| Origin::ALL.map(|origin| (state, origin)))
        {
            let allowed = permit(operation, state, origin) == Permit::Allowed;
            for event in events {
                let leads = next(state, *event) != Next::Refused;
                assert_eq!(allowed, leads, "{} in {}", operation.name(), state.name());
            }
        }
    }
}

#[test]
fn only_an_enabled_key_is_usable_for_files() {
    for state in KeyState::ALL {
        let encrypts = permit(Operation::GenerateDataKey, state, Origin::AwsKms) == Permit::Allowed;
        assert_eq!(state.usability() == Usability::Usable, encrypts, "{}", state.name());
        assert_eq!(encrypts, state == KeyState::Enabled);
    }
}

#[test]
fn del_3_no_event_leads_out_of_a_waiting_period_but_its_end_and_its_cancelling() {
    for event in Event::ALL {
        let led = next(KeyState::PendingDeletion, event);
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
