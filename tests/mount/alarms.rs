//! Alarms (rule AUD-4): who still needs a key that is pending deletion is found out before it is gone.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixture::{EKEYREVOKED, Fixture, errno};

/// What is in a file that an alarm writes, once it has a whole line.
#[track_caller]
fn written(path: &Path) -> String {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            Ok(_) | Err(_) => assert!(Instant::now() < end, "no alarm wrote {}", path.display()),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn aud_4_a_refused_open_under_a_key_pending_deletion_runs_the_command_and_keys_says_so() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), b"content").unwrap();
    let said = fixture.path("said");
    let command = format!(
        "printf '%s %s %s ' $KMSFS_ALARM $KMSFS_EVENT $KMSFS_PATH >> {0}; cat >> {0}",
        said.display()
    );
    // The mount is there already.
    fixture.ok(&["alarm", "add", "who", "--key", &fixture.key, "--command", &command]);
    fs::read(fixture.file("f")).unwrap();
    fixture.kms(&["schedule-key-deletion", "--key-id", &fixture.key, "--pending-window-in-days", "7"]);
    assert!(!said.exists(), "nothing was refused yet");
    for _ in 0..3 {
        assert_eq!(errno(fs::read(fixture.file("f"))), EKEYREVOKED);
    }
    let text = written(&said);
    let record: Value = serde_json::from_str(text.strip_prefix("who Decrypt f ").unwrap()).unwrap();
    assert_eq!(record["errorCode"], "KMSInvalidStateException");
    assert_eq!(record["additionalEventData"]["path"], "f");
    // Another process that is refused within the period does not sound it again, and has waited for its alarms when it ends.
    fixture.run(&["kms", "encrypt", "--key-id", &fixture.key, "--plaintext", "eA=="]);
    assert_eq!(fs::read_to_string(&said).unwrap(), text, "at most once a period");

    let keys = fixture.ok(&["keys"]);
    assert!(keys.contains("PendingDeletion !"), "{keys}");
    assert!(keys.contains(&format!("! {} is pending deletion and still asked for: ", fixture.key)), "{keys}");
    let keys: Value = serde_json::from_str(&fixture.ok(&["keys", "--json"])).unwrap();
    let of = |key: &&Value| key["keyId"] == fixture.key.as_str();
    assert_eq!(keys.as_array().unwrap().iter().find(of).unwrap()["usedWhilePendingDeletion"], true);
}

#[test]
fn aud_4_a_key_pending_deletion_has_an_alarm_of_its_own_in_the_log_of_the_mount() {
    let fixture = Fixture::new();
    fs::write(fixture.file("f"), b"content").unwrap();
    fixture.kms(&["schedule-key-deletion", "--key-id", &fixture.key, "--pending-window-in-days", "7"]);
    for _ in 0..3 {
        assert_eq!(errno(fs::read(fixture.file("f"))), EKEYREVOKED);
    }
    let log = fixture.path("home").join("mounts.log");
    let end = Instant::now() + Duration::from_secs(10);
    let lines = || -> Vec<String> {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().filter(|line| line.contains("still asked for")).map(str::to_owned).collect()
    };
    while lines().is_empty() {
        assert!(Instant::now() < end, "{:?}", fs::read_to_string(&log));
        std::thread::sleep(Duration::from_millis(10));
    }
    let lines = lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains(&fixture.key) && lines[0].contains("Decrypt of f by arn:aws:iam::"),
        "{lines:?}"
    );
}
