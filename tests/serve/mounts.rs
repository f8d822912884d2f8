//! What clients do to keys reaches mounts before it is answered; what dates bring happens while nobody asks.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::fixture::{Home, Server};

/// A mount of the server's home, unmounted when the test ends.
struct Mount<'a>(&'a Server);

impl<'a> Mount<'a> {
    fn new(server: &'a Server) -> Self {
        server.home.ok(&["init", "dir", "--key", "alias/main"]);
        fs::create_dir(server.home.path("mnt")).unwrap();
        server.home.ok(&["mount", "dir", "mnt"]);
        Self(server)
    }

    fn read(&self) -> Result<String, Option<i32>> {
        fs::read_to_string(self.0.home.path("mnt/file")).map_err(|error| error.raw_os_error())
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = self.0.home.run(&["umount", "mnt"]);
        let _ = Command::new("umount").arg("-l").arg(self.0.home.path("mnt")).output();
    }
}

#[test]
fn a_mount_follows_what_clients_do_before_they_have_their_answer() {
    let server = Server::new();
    let key = server.new_key();
    server.ok("CreateAlias", json!({"AliasName": "alias/main", "TargetKeyId": key}));
    let mount = Mount::new(&server);
    fs::write(server.home.path("mnt/file"), "content").unwrap();
    assert_eq!(mount.read().as_deref(), Ok("content"));
    assert_eq!(server.metric("kmsfs_mounts"), 1.0);
    let name = json!({"KeyId": key});
    for _ in 0..3 {
        server.ok("DisableKey", name.clone());
        assert_eq!(mount.read(), Err(Some(libc::ENOKEY)));
        server.ok("EnableKey", name.clone());
        assert_eq!(mount.read().as_deref(), Ok("content"));
    }
    server.ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7}));
    assert_eq!(mount.read(), Err(Some(libc::EKEYREVOKED)));
    server.ok("CancelKeyDeletion", name.clone());
    server.ok("EnableKey", name);
    assert_eq!(mount.read().as_deref(), Ok("content"));
}

#[test]
fn a_mount_that_does_not_confirm_is_named_and_holds_up_nobody_else() {
    let server = Server::new();
    let key = server.new_key();
    let other = server.new_key();
    server.ok("CreateAlias", json!({"AliasName": "alias/main", "TargetKeyId": key}));
    let mount = Mount::new(&server);
    fs::write(server.home.path("mnt/file"), "content").unwrap();
    let status: serde_json::Value = serde_json::from_str(&server.home.ok(&["status", "--json"])).unwrap();
    let daemon = status[0]["pid"].to_string();
    let stop = |signal: &str| {
        assert!(Command::new("kill").args(["-s", signal, &daemon]).status().unwrap().success())
    };
    stop("STOP");
    let refused = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.call("DisableKey", json!({"KeyId": key})));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            let answer = server.call("GenerateDataKey", json!({"KeyId": other, "KeySpec": "AES_256"}));
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        assert!(!waiting.is_finished());
        waiting.join().unwrap()
    });
    stop("CONT");
    let body = refused.json();
    assert_eq!((refused.status, body["__type"].as_str()), (500, Some("KMSInternalException")));
    let message = body["message"].as_str().unwrap();
    assert!(
        message.contains("is changed, and that stands, but the mount ")
            && message.contains("/mnt did not confirm"),
        "{message}"
    );
    let state = server.ok("DescribeKey", json!({"KeyId": key}))["KeyMetadata"]["KeyState"].clone();
    assert_eq!(state, "Disabled");
    assert_eq!(mount.read(), Err(Some(libc::ENOKEY)));
}

#[test]
fn a_key_in_the_mount_is_used_by_clients_as_well() {
    let server = Server::new();
    let key = server.new_key();
    server.ok("CreateAlias", json!({"AliasName": "alias/main", "TargetKeyId": key}));
    let mount = Mount::new(&server);
    fs::write(server.home.path("mnt/file"), "content").unwrap();
    server.ok("RotateKeyOnDemand", json!({"KeyId": key}));
    assert_eq!(mount.read().as_deref(), Ok("content"));
    drop(mount);
    assert_eq!(server.metric("kmsfs_mounts"), 0.0);
}

#[test]
fn imported_material_expires_while_nobody_asks() {
    let server = Home::new().serve(&[]);
    let key = server.ok("CreateKey", json!({"Origin": "EXTERNAL"}))["KeyMetadata"]["KeyId"].clone();
    let wrapped = {
        let asked =
            json!({"KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"});
        let parameters = server.ok("GetParametersForImport", asked);
        let text = |name: &str| parameters[name].as_str().unwrap().to_owned();
        let script = "base64 -d <<<\"$1\" >public.der && head -c 32 /dev/zero | openssl pkeyutl -encrypt -pubin -keyform DER -inkey \
            public.der -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256 | base64 -w 0";
        let output = Command::new("bash")
            .args(["-c", script, "wrap", &text("PublicKey")])
            .current_dir(server.home.temp.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        json!({"KeyId": key, "ImportToken": text("ImportToken"), "EncryptedKeyMaterial": String::from_utf8(output.stdout).unwrap()})
    };
    let soon = std::time::SystemTime::now() + Duration::from_secs(3);
    let seconds = soon.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut request = wrapped;
    // Some clients write times as texts.
    request["ValidTo"] = json!(kmsfs::clock::Timestamp::from_millis(seconds as i64 * 1000).to_string());
    server.ok("ImportKeyMaterial", request);
    let blob = server.ok("Encrypt", json!({"KeyId": key, "Plaintext": "AAAA"}))["CiphertextBlob"].clone();
    let until = Instant::now() + crate::fixture::PATIENCE;
    let expired = |record: &serde_json::Value| record["eventName"] == "DeleteExpiredKeyMaterial";
    while !server.home.records().iter().any(expired) {
        assert!(Instant::now() < until, "it does not expire by itself");
        std::thread::sleep(Duration::from_millis(50));
    }
    let refused = server.call("Decrypt", json!({"CiphertextBlob": blob}));
    assert_eq!(refused.json()["__type"], "KMSInvalidStateException");
}
