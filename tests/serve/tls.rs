//! HTTPS, with certificates that openssl makes, and openssl as the client.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::fixture::{Home, Server, request};

/// A key and a certificate for `localhost` and this machine's address.
pub fn make_certificate(home: &Home, kind: &str) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-newkey", kind])
        .args(["-pkeyopt", if kind == "ec" { "ec_paramgen_curve:P-256" } else { "rsa_keygen_bits:2048" }])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout",
            "tls.key",
            "-out",
            "tls.crt",
        ])
        .current_dir(home.temp.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn serve(kind: &str) -> Server {
    let home = Home::new();
    make_certificate(&home, kind);
    home.serve(&["--tls-cert", "tls.crt", "--tls-key", "tls.key"])
}

/// One request over TLS; the client verifies the certificate.
pub fn exchange(server: &Server, options: &[&str], bytes: &[u8]) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &server.address, "-servername", "localhost", "-CAfile", "tls.crt"])
        .args(["-verify_return_error", "-verify_hostname", "localhost", "-quiet", "-ign_eof"])
        .args(options)
        .current_dir(server.home.temp.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8_lossy(&client.wait_with_output().unwrap().stdout).into_owned()
}

pub fn closing(operation: &str) -> Vec<u8> {
    let text = String::from_utf8(request(operation, "{}")).unwrap();
    text.replacen("\r\n", "\r\nconnection: close\r\n", 1).into_bytes()
}

#[test]
fn https_is_spoken_in_both_versions_and_recorded() {
    let server = serve("ec");
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    for (option, version) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let answer = exchange(&server, &[option], &closing("ListKeys"));
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{version}: {answer}");
        let id = answer.split("x-amzn-requestid: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let details = server.home.record_of(id)["tlsDetails"].clone();
        assert_eq!(
            (&details["tlsVersion"], &details["clientProvidedHostHeader"]),
            (&json!(version), &json!("localhost"))
        );
        assert!(details["cipherSuite"].as_str().unwrap().starts_with("TLS_"), "{details}");
    }
    assert_eq!(exchange(&server, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], &closing("ListKeys")), "");
}

#[test]
fn what_is_no_tls_is_not_answered_and_harms_nobody() {
    let server = serve("rsa");
    let mut plain = server.connect();
    plain.send(&request("ListKeys", "{}"));
    assert!(!plain.until_end().starts_with(b"HTTP"));
    let silent = server.connect();
    assert!(exchange(&server, &[], &closing("ListKeys")).starts_with("HTTP/1.1 200 OK"));
    drop(silent);
}

#[test]
fn a_new_certificate_is_taken_at_a_hang_up_and_a_broken_one_is_not() {
    let server = serve("ec");
    let serves = |what: &str| {
        for _ in 0..100 {
            if exchange(&server, &[], &closing("ListKeys")).starts_with("HTTP/1.1 200 OK") {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{what}");
    };
    make_certificate(&server.home, "ec");
    assert_eq!(exchange(&server, &[], &closing("ListKeys")), "", "the old one is not the new one");
    server.signal("HUP");
    serves("the new certificate is not served");
    std::fs::write(server.home.path("tls.key"), "nothing").unwrap();
    server.signal("HUP");
    serves("a broken file took the certificate away");
}
