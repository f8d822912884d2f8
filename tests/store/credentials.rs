//! Credentials in the key store: made, opened and revoked, in every process; and their secrets nowhere in the clear.

use std::fs;

use kmsfs::kms::{Caller, Via};
use kmsfs::store::{CredentialError, Home};

use crate::fixture::{Fixture, rows_of};

fn owner(home: &Home) -> Caller {
    home.caller(0, 1, Via::Cli)
}

#[test]
fn a_credential_is_its_principals_in_every_process_until_it_is_revoked() {
    let fixture = Fixture::empty();
    let (home, other) = (fixture.open(), fixture.open());
    let made = home.create_credential(&owner(&home), "alice").unwrap();
    let known = other.credential(made.id.as_str()).unwrap().unwrap();
    assert_eq!(known.principal, "arn:aws:iam::000000000000:user/alice");
    assert!(known.id == made.id && known.secret == made.secret);
    let second = other.create_credential(&owner(&other), "alice").unwrap();
    assert!(second.id != made.id && second.secret != made.secret, "a user may have several");
    assert_eq!(fixture.open().keyring().unwrap().credentials().count(), 2);

    other.revoke_credential(&owner(&other), made.id.as_str()).unwrap();
    assert!(home.credential(made.id.as_str()).unwrap().is_none(), "the other process sees it");
    assert!(home.credential(second.id.as_str()).unwrap().is_some());
    let again = home.revoke_credential(&owner(&home), made.id.as_str());
    assert_eq!(again, Err(CredentialError::NotFound(made.id.to_string())));
}

#[test]
fn what_is_no_access_key_id_is_not_known() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    home.create_credential(&owner(&home), "root").unwrap();
    for unknown in ["", "AKIA", "AKIAAAAAAAAAAAAAAAAA", "root", "\0", "ä"] {
        assert!(home.credential(unknown).unwrap().is_none(), "{unknown}");
        let revoked = home.revoke_credential(&owner(&home), unknown);
        assert_eq!(revoked, Err(CredentialError::NotFound(unknown.to_owned())));
    }
}

#[test]
fn a_principal_of_another_account_is_refused() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    for wrong in ["arn:aws:iam::111111111111:user/alice", "a b", "*"] {
        let made = home.create_credential(&owner(&home), wrong);
        assert_eq!(made.unwrap_err(), CredentialError::NotAPrincipal(wrong.to_owned()));
    }
    assert_eq!(rows_of(&fixture.connect(), "credentials").len(), 0);
}

#[test]
fn a_secret_is_in_no_file_of_the_home_and_sealed_bytes_are_gone_once_it_is_revoked() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let made = home.create_credential(&owner(&home), "alice").unwrap();
    let sealed = home.keyring().unwrap().credential(&made.id).unwrap().sealed.clone();
    let holds = |needle: &[u8]| {
        let files = fs::read_dir(fixture.home()).unwrap().map(|entry| entry.unwrap().path());
        let holding = files
            .filter(|path| path.is_file())
            .filter(|path| fs::read(path).unwrap().windows(needle.len()).any(|window| window == needle));
        holding.collect::<Vec<_>>()
    };
    assert_eq!(holds(made.secret.reveal().as_bytes()), Vec::<std::path::PathBuf>::new());
    assert_ne!(holds(&sealed), Vec::<std::path::PathBuf>::new());
    home.revoke_credential(&owner(&home), made.id.as_str()).unwrap();
    assert_eq!(holds(&sealed), Vec::<std::path::PathBuf>::new());
    assert!(!format!("{made:?}").contains(made.secret.reveal()));
}

#[test]
fn a_backup_has_the_credentials_and_restores_one_that_was_revoked_since() {
    let fixture = Fixture::empty();
    let home = fixture.open();
    let made = home.create_credential(&owner(&home), "alice").unwrap();
    let copy = fixture.copy();
    home.revoke_credential(&owner(&home), made.id.as_str()).unwrap();
    let known = copy.open().credential(made.id.as_str()).unwrap().unwrap();
    assert!(known.secret == made.secret, "an older copy of the home knows no better");
}
