//! What stands in a record, and that it is one line of JSON.

use super::*;
use crate::kms::AwsError;
use proptest::prelude::*;
use serde_json::json;

fn scene() -> Scene<'static> {
    Scene { account: "000000000000", region: "us-east-1", now: Timestamp::from_millis(0), ring: None }
}

fn caller(via: Via) -> Caller {
    let principal = "arn:aws:iam::000000000000:root".into();
    Caller { principal, uid: 7, pid: 8, user: "root".into(), via }
}

#[test]
fn aud_1_a_refused_open_names_file_caller_and_error() {
    let via = Via::Mount { volume: "v".into(), path: "a/b".into() };
    let error = KmsError::new(AwsError::Disabled, "X is disabled.");
    let arn = KeyArn::new("arn:aws:kms:us-east-1:000000000000:key/k");
    let (caller, nothing, touched) = (caller(via), Map::new(), [arn]);
    let asked = Parameters::Read(&nothing);
    let event = AuditEvent::of_call(&scene(), &caller, Operation::Decrypt, asked, &touched, Some(&error));
    let line: Value = serde_json::from_slice(&event.to_line()).unwrap();
    assert_eq!(line["eventName"], "Decrypt");
    assert_eq!(line["eventTime"], "1970-01-01T00:00:00.000Z");
    assert_eq!(line["errorCode"], "DisabledException");
    assert_eq!(line["readOnly"], true);
    assert_eq!(line["additionalEventData"], json!({"volume": "v", "path": "a/b", "uid": 7, "pid": 8}));
    assert_eq!(line["resources"][0]["ARN"], "arn:aws:kms:us-east-1:000000000000:key/k");
    assert_eq!(line["userIdentity"]["type"], "Root");
}

#[test]
fn aud_1_a_record_says_what_kind_of_principal_asked() {
    for (principal, kind) in [
        ("arn:aws:iam::000000000000:root", "Root"),
        ("arn:aws:iam::000000000000:user/root", "IAMUser"),
        ("arn:aws:iam::000000000000:user/a:root", "IAMUser"),
        ("arn:aws:iam::000000000000:role/ci/build", "Role"),
        ("arn:aws:sts::000000000000:assumed-role/build/me", "AssumedRole"),
        ("arn:aws:sts::000000000000:federated-user/me", "FederatedUser"),
    ] {
        let caller = Caller { principal: principal.into(), ..caller(Via::Cli) };
        let nothing = Map::new();
        let asked = Parameters::Read(&nothing);
        let event = AuditEvent::of_call(&scene(), &caller, Operation::ListKeys, asked, &[], None);
        let line: Value = serde_json::from_slice(&event.to_line()).unwrap();
        assert_eq!(line["userIdentity"]["type"], kind, "{principal}");
    }
}

proptest! {
    #[test]
    fn whatever_stands_in_a_record_reads_back(text: String, name: String, uid: u32) {
        let mut caller = caller(Via::Mount { volume: "v".into(), path: text.clone() });
        (caller.principal, caller.uid) = (text.clone(), uid);
        let context = [(name.as_str(), text.as_str()), ("other", "")].into_iter().collect();
        let algorithm = "SYMMETRIC_DEFAULT";
        let asked =
            Parameters::File { key_id: &name, encryption_context: &context, encryption_algorithm: algorithm };
        let touched = [KeyArn::new("a"), KeyArn::new(text.as_str())];
        let error = KmsError::new(AwsError::Disabled, text.clone());
        let event =
            AuditEvent::of_call(&scene(), &caller, Operation::Decrypt, asked, &touched, Some(&error));
        let line: Value = serde_json::from_slice(&event.to_line()).unwrap();
        prop_assert_eq!(&line["additionalEventData"]["path"], &text);
        prop_assert_eq!(&line["additionalEventData"]["uid"], uid);
        prop_assert_eq!(&line["userIdentity"]["arn"], &text);
        prop_assert_eq!(&line["errorMessage"], &text);
        prop_assert_eq!(&line["resources"][1]["ARN"], &text);
        let parameters = json!({
            "keyId": name, "encryptionContext": context, "encryptionAlgorithm": algorithm,
        });
        prop_assert_eq!(&line["requestParameters"], &parameters);
    }
}

#[test]
fn a_record_is_one_line() {
    let event = ServiceEvent::DeleteKey(KeyArn::new("arn:aws:kms:us-east-1:000000000000:key/k"));
    let event = AuditEvent::of_service(&scene(), &event);
    let line = event.to_line();
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(line.last(), Some(&b'\n'));
}
