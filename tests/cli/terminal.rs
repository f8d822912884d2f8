//! What is asked on a terminal, and what is not.

use crate::fixture::{Fixture, said};

/// A passphrase that costs little to try.
const CHEAP: [&str; 4] = ["--argon2-memory", "8", "--argon2-iterations", "1"];

fn with(arguments: &[&'static str]) -> Vec<&'static str> {
    [arguments, &CHEAP].concat()
}

/// A home that the passphrase `correct horse` and a recovery code unlock; the code.
fn home_with_passphrase(fixture: &Fixture) -> String {
    fixture.secret("passphrase", "correct horse\n");
    let out = fixture.ok(&with(&["setup", "--passphrase-file", "passphrase"]));
    code_in(&out)
}

/// The recovery code in an output.
pub fn code_in(out: &str) -> String {
    let (_, rest) = out.split_once("recovery code is ").unwrap_or_else(|| panic!("no code: {out}"));
    rest[..34].to_owned()
}

#[test]
fn setup_asks_twice_shows_no_letter_and_the_passphrase_unlocks() {
    let fixture = Fixture::bare();
    let mut terminal = fixture.at_terminal(&with(&["setup"]));
    terminal.answer("New passphrase: ", "correct horse");
    let before = terminal.answer("The same again: ", "correct horse");
    let (code, shown) = terminal.ends();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("The home is") && shown.contains("recovery code is"), "{shown}");
    assert!(!format!("{before}{shown}").contains("horse"), "{before}{shown}");
    let mut terminal = fixture.at_terminal(&["keys"]);
    terminal.answer("Passphrase of the home: ", "correct horse");
    let (code, shown) = terminal.ends();
    assert!(code == 0 && shown.contains("There is no key") && !shown.contains("horse"), "{code} {shown}");
}

#[test]
fn two_passphrases_that_are_not_the_same_make_no_home() {
    let fixture = Fixture::bare();
    let mut terminal = fixture.at_terminal(&with(&["setup"]));
    terminal.answer("New passphrase: ", "correct horse");
    terminal.answer("The same again: ", "correct hoarse");
    let (code, shown) = terminal.ends();
    assert!(code == 2 && shown.contains("not the same"), "{code} {shown}");
    let mut terminal = fixture.at_terminal(&with(&["setup"]));
    terminal.answer("New passphrase: ", "");
    let (code, shown) = terminal.ends();
    assert!(code == 4 && shown.contains("it is empty"), "{code} {shown}");
    assert!(fixture.names().is_empty());
}

#[test]
fn a_wrong_passphrase_is_asked_for_again_and_three_are_enough() {
    let fixture = Fixture::bare();
    home_with_passphrase(&fixture);
    let mut terminal = fixture.at_terminal(&["keys"]);
    terminal.answer("Passphrase of the home: ", "wrong");
    let said = terminal.answer("Passphrase of the home: ", "correct horse");
    assert!(said.contains("does not unlock"), "{said}");
    assert_eq!(terminal.ends().0, 0);
    let mut terminal = fixture.at_terminal(&["keys"]);
    for _ in 0..3 {
        terminal.answer("Passphrase of the home: ", "wrong");
    }
    let (code, shown) = terminal.ends();
    assert!(code == 4 && shown.contains("the passphrase does not unlock this home"), "{code} {shown}");
}

#[test]
fn the_kernel_edits_the_line_while_it_is_typed() {
    let fixture = Fixture::bare();
    home_with_passphrase(&fixture);
    let mut terminal = fixture.at_terminal(&["keys"]);
    terminal.answer("Passphrase of the home: ", "nonsense\u{15}correct hoss\u{7f}\u{7f}rse");
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn ctrl_c_and_ctrl_backslash_end_the_command_and_leave_the_terminal_as_it_was() {
    let fixture = Fixture::bare();
    home_with_passphrase(&fixture);
    for (key, signal) in [("\u{3}", 2), ("half a pass\u{3}", 2), ("\u{1c}", 3)] {
        let mut terminal = fixture.at_terminal(&["keys"]);
        terminal.shows("Passphrase of the home: ");
        assert!(!terminal.echoes(), "nothing is shown while it asks");
        terminal.types(key);
        let (code, shown) = terminal.ends();
        assert_eq!(code, 128 + signal, "{key:?}: {shown}");
        assert!(!shown.contains("half"), "{shown}");
    }
    let mut terminal = fixture.at_terminal(&["keys"]);
    terminal.shows("Passphrase of the home: ");
    terminal.types("\u{4}");
    let (code, shown) = terminal.ends();
    assert!(code == 4 && shown.contains("it is empty") && shown.contains("hint: "), "{code} {shown}");
}

#[test]
fn nobody_is_asked_without_a_terminal_and_the_error_says_what_to_set() {
    let fixture = Fixture::bare();
    home_with_passphrase(&fixture);
    for arguments in [["keys"].as_slice(), &["kms", "list-keys"], &["slot", "list"], &["home", "backup", "b"]]
    {
        let hint = fixture.fails(arguments, 4, &["passphrase", "no terminal"]);
        assert!(hint.contains("KMSFS_PASSPHRASE_FILE"), "{hint}");
    }
    fixture.fails(&["setup"], 2, &["--key-file", "--passphrase-file", "no terminal"]);
    // These need no key, so nobody is asked for one.
    assert_eq!(fixture.ok(&["status"]), "Nothing is mounted.\n");
    fixture.fails(&["umount", "passphrase"], 8, &["no kmsfs is mounted"]);
}

#[test]
fn the_environment_gives_the_passphrase_and_then_nobody_is_asked() {
    let fixture = Fixture::bare();
    home_with_passphrase(&fixture);
    let with = |file: &str| said(fixture.command(&["keys"]).env("KMSFS_PASSPHRASE_FILE", file));
    assert_eq!(with("passphrase").code, 0);
    fixture.secret("wrong", "Correct horse\n");
    with("wrong").fails(4, &["the passphrase does not unlock"]);
    with("absent").fails(4, &["absent"]);
    with("").fails(4, &["no terminal"]);
    let mut terminal = fixture.at_terminal(&["keys"]);
    terminal.answer("Passphrase of the home: ", "correct horse");
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn a_recovery_code_typed_in_lower_case_sets_a_new_passphrase() {
    let fixture = Fixture::bare();
    let code = home_with_passphrase(&fixture);
    let mut terminal = fixture.at_terminal(&with(&["unlock", "--recovery-code"]));
    terminal.answer("Recovery code: ", &code.to_lowercase().replace('-', " "));
    terminal.answer("New passphrase: ", "another horse");
    terminal.answer("The same again: ", "another horse");
    let (status, shown) = terminal.ends();
    assert!(status == 0 && shown.contains("Slot 3 unlocks the home"), "{shown}");
    let mut terminal = fixture.at_terminal(&["keys"]);
    terminal.answer("Passphrase of the home: ", "another horse");
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn a_slip_in_a_recovery_code_is_told_apart_from_the_code_of_another_home() {
    let fixture = Fixture::bare();
    let code = home_with_passphrase(&fixture);
    let slip = if code.ends_with('0') { format!("{}1", &code[..33]) } else { format!("{}0", &code[..33]) };
    for (typed, says) in
        [(slip.as_str(), "there is a slip"), ("0000-0000-0000-0000-0000-0000-0000", "does not unlock")]
    {
        let mut terminal = fixture.at_terminal(&["unlock", "--recovery-code"]);
        terminal.answer("Recovery code: ", typed);
        let (status, shown) = terminal.ends();
        assert!(status == 4 && shown.contains(says), "{status} {shown}");
        assert!(!shown.contains(typed), "{shown}");
    }
}

#[test]
fn states_of_keys_are_coloured_on_a_terminal_and_nowhere_else() {
    let fixture = Fixture::with_volume();
    assert!(!fixture.run(&["keys"]).out.contains('\x1b'));
    let (code, shown) = fixture.at_terminal(&["keys"]).ends();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("\x1b[32mEnabled\x1b[0m"), "{shown:?}");
}
