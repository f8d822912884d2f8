//! What opens a slot, and what does not.

use super::*;

fn cost(memory_kib: u32, iterations: u32) -> Cost {
    Cost::new(memory_kib, iterations, 1).unwrap()
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(text.as_bytes().to_vec()), "a test").unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_millis(7)
}

/// A slot of each kind for one root key, with its secret.
struct Slots {
    root: Secret<KEY_LEN>,
    key_file: Zeroizing<Vec<u8>>,
    passphrase: Passphrase,
    code: RecoveryCode,
}

impl Slots {
    fn new() -> Self {
        Self {
            root: Secret::random(),
            key_file: Zeroizing::new(vec![7; 32]),
            passphrase: passphrase("correct horse"),
            code: RecoveryCode::random(),
        }
    }

    fn all(&self) -> [(SlotKind, SlotSecret<'_>); 3] {
        [
            (SlotKind::KeyFile("/a/key".into()), SlotSecret::KeyFile(&self.key_file)),
            (SlotKind::Passphrase(cost(8192, 1)), SlotSecret::Passphrase(&self.passphrase)),
            (SlotKind::RecoveryCode, SlotSecret::RecoveryCode(&self.code)),
        ]
    }
}

#[test]
fn each_slot_opens_with_its_secret_and_with_no_other() {
    let slots = Slots::new();
    let others = (Zeroizing::new(vec![8; 32]), passphrase("Correct horse"), RecoveryCode::random());
    for (kind, secret) in slots.all() {
        let slot = Slot::seal(&slots.root, kind.clone(), secret, now()).unwrap();
        assert!(slot.open(secret).unwrap().unwrap() == slots.root, "{kind:?}");
        for (other, secret) in slots.all() {
            assert_eq!(slot.open(secret).unwrap().is_some(), other == kind, "{kind:?} with {other:?}");
        }
        for wrong in [
            SlotSecret::KeyFile(&others.0),
            SlotSecret::Passphrase(&others.1),
            SlotSecret::RecoveryCode(&others.2),
        ] {
            assert!(slot.open(wrong).unwrap().is_none());
        }
    }
}

#[test]
fn a_slot_has_one_row_and_a_row_one_slot() {
    let slots = Slots::new();
    for (kind, secret) in slots.all() {
        let slot = Slot { id: 3, ..Slot::seal(&slots.root, kind, secret, now()).unwrap() };
        assert_eq!(Slot::of(&slot.row()).unwrap(), slot);
        let old = Slot { made: None, ..slot };
        assert_eq!(Slot::of(&old.row()).unwrap(), old);
    }
}

#[test]
fn a_cost_that_was_altered_opens_nothing() {
    let slots = Slots::new();
    let secret = SlotSecret::Passphrase(&slots.passphrase);
    let slot = Slot::seal(&slots.root, SlotKind::Passphrase(cost(8192, 1)), secret, now()).unwrap();
    for cost in [cost(8192, 2), cost(8193, 1), Cost::new(8192, 1, 2).unwrap()] {
        let altered = Slot { kind: SlotKind::Passphrase(cost), ..slot.clone() };
        assert!(altered.open(secret).unwrap().is_none(), "{cost}");
    }
}

/// Whoever knows a slot's key cannot pass its bytes off as a slot of another cost: that is bound as well.
#[test]
fn kind_and_parameters_are_authenticated_with_the_root_key() {
    let kinds = [
        SlotKind::KeyFile("/a".into()),
        SlotKind::Passphrase(cost(8192, 1)),
        SlotKind::Passphrase(cost(8192, 2)),
        SlotKind::RecoveryCode,
    ];
    for (place, kind) in kinds.iter().enumerate() {
        for other in &kinds[..place] {
            assert_ne!(kind.associated(), other.associated());
        }
    }
}

#[test]
fn a_row_that_asks_for_what_cannot_be_is_refused_before_it_is_tried() {
    let row = |kind: &str, parameters: &[u8]| -> Row {
        vec![
            1.into(),
            kind.to_owned().into(),
            parameters.to_vec().into(),
            vec![0; 32].into(),
            vec![0; 60].into(),
            Value::Null,
        ]
    };
    for (kind, parameters) in [
        ("passphrase", b"argon2id,v=19,m=104857600,t=3,p=4".as_slice()),
        ("passphrase", b""),
        ("passphrase", b"\xff"),
        ("recovery-code", b"x"),
        ("tpm", b""),
    ] {
        let error = Slot::of(&row(kind, parameters)).unwrap_err();
        assert!(matches!(&error, HomeError::Tampered(why) if why.contains("slot 1")), "{error}");
    }
    for place in 0..6 {
        let mut cut = row("recovery-code", b"");
        cut[place] = Value::Real(1.0);
        assert!(Slot::of(&cut).is_err(), "{place}");
        cut.remove(place);
        assert!(Slot::of(&cut).is_err(), "{place} missing");
    }
}

#[test]
fn a_salt_that_was_cut_is_refused_and_does_not_panic() {
    let slots = Slots::new();
    for (kind, secret) in slots.all() {
        let slot = Slot::seal(&slots.root, kind, secret, now()).unwrap();
        for len in [0, 1, 7, 31] {
            let cut = Slot { salt: slot.salt[..len].to_vec(), ..slot.clone() };
            assert!(!matches!(cut.open(secret), Ok(Some(_))));
        }
        let longer = Slot { salt: [&slot.salt[..], &[0]].concat(), ..slot };
        assert!(!matches!(longer.open(secret), Ok(Some(_))));
    }
}
