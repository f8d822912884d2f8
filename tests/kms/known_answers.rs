//! What keys of the service sign, encrypt and agree on is taken by another implementation, and the other way round.

use kmsfs::kms::spec::KeySpec;
use serde_json::{Value, json};

use crate::fixture::{Key, Service, base64, bytes};
use crate::kind_import::wrapped_request;
use crate::peer::Peer;

/// A key of origin EXTERNAL with this private key.
fn imported(service: &Service, spec: &str, usage: &str, private: &[u8]) -> Key {
    let key = service.key_of(json!({"KeySpec": spec, "KeyUsage": usage, "Origin": "EXTERNAL"}));
    service.ok("ImportKeyMaterial", wrapped_request(service, &key, spec, private));
    key
}

fn signing(key: &Key, algorithm: &str, kind: &str, message: &[u8]) -> Value {
    json!({"KeyId": key.id, "Message": base64(message), "MessageType": kind, "SigningAlgorithm": algorithm})
}

#[test]
fn every_signing_algorithm_is_verified_by_the_other_implementation_and_verifies_its_signatures() {
    let (service, mut peer) = (Service::new(), Peer::start());
    let message = b"test message 123 !%$@ 1234567890";
    for spec in KeySpec::ALL.iter().filter(|spec| !spec.signing_algorithms().is_empty()) {
        // The algorithms of RSA_3072 are those of the others.
        if *spec == KeySpec::Rsa3072 {
            continue;
        }
        let pair = peer.make(spec.name());
        let theirs = imported(&service, spec.name(), "SIGN_VERIFY", &pair.private);
        let ours = service.of_kind(spec.name(), "SIGN_VERIFY");
        let public = service.public_key(&ours);
        for algorithm in spec.signing_algorithms() {
            let (name, scheme) = (algorithm.name(), algorithm.scheme());
            if !scheme.takes_messages() {
                // Ed25519ph: the vector of RFC 8032 is a unit test of `crypto::sign`.
                continue;
            }
            let mut subjects = vec![("RAW", false, message.to_vec())];
            if scheme.takes_digests() {
                subjects.push(("DIGEST", true, peer.hash(name, message)));
            }
            for (kind, is_digest, subject) in &subjects {
                let request = signing(&ours, name, kind, subject);
                let signature = bytes(&service.ok("Sign", request)["Signature"]);
                for (_, as_digest, same) in &subjects {
                    // A message and its digest have the same signatures.
                    assert!(peer.verifies(&public, name, *as_digest, same, &signature), "{spec:?} {name}");
                }
                assert!(!peer.verifies(&public, name, false, b"another", &signature));
                let signature = peer.sign(&pair.private, name, *is_digest, subject);
                let mut request = signing(&theirs, name, kind, subject);
                request["Signature"] = json!(base64(&signature));
                service.ok("Verify", request);
            }
        }
    }
}

#[test]
fn a_pss_signature_with_a_salt_of_another_length_does_not_verify() {
    let (service, mut peer) = (Service::new(), Peer::start());
    let pair = peer.make("RSA_2048");
    let key = imported(&service, "RSA_2048", "SIGN_VERIFY", &pair.private);
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("key"), &pair.private).unwrap();
    std::fs::write(temp.path().join("message"), b"message").unwrap();
    for (salt, valid) in [("32", true), ("20", false), ("max", false), ("0", false)] {
        let mut command = std::process::Command::new("openssl");
        command.args(["dgst", "-sha256", "-sign", "key", "-keyform", "DER", "-out", "signature"]);
        command.args([
            "-sigopt",
            "rsa_padding_mode:pss",
            "-sigopt",
            &format!("rsa_pss_saltlen:{salt}"),
            "message",
        ]);
        assert!(command.current_dir(temp.path()).status().unwrap().success());
        let mut request = signing(&key, "RSASSA_PSS_SHA_256", "RAW", b"message");
        request["Signature"] = json!(base64(&std::fs::read(temp.path().join("signature")).unwrap()));
        assert_eq!(service.call("Verify", request).is_ok(), valid, "a salt of {salt}");
    }
}

#[test]
fn rsa_opens_what_was_encrypted_outside_and_what_it_encrypts_opens_outside() {
    let (service, mut peer) = (Service::new(), Peer::start());
    let pair = peer.make("RSA_2048");
    let theirs = imported(&service, "RSA_2048", "ENCRYPT_DECRYPT", &pair.private);
    let ours = service.of_kind("RSA_2048", "ENCRYPT_DECRYPT");
    let public = service.public_key(&ours);
    for algorithm in ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"] {
        let outside = peer.encrypt(&public, algorithm, b"secret");
        let request = json!({
            "KeyId": ours.id, "CiphertextBlob": base64(&outside), "EncryptionAlgorithm": algorithm
        });
        assert_eq!(bytes(&service.ok("Decrypt", request)["Plaintext"]), b"secret");
        let request =
            json!({"KeyId": theirs.id, "Plaintext": base64(b"secret"), "EncryptionAlgorithm": algorithm});
        let inside = bytes(&service.ok("Encrypt", request)["CiphertextBlob"]);
        assert_eq!(peer.decrypt(&pair.private, algorithm, &inside), b"secret");
    }
}

#[test]
fn a_secret_is_the_one_that_the_other_side_derives() {
    let (service, mut peer) = (Service::new(), Peer::start());
    for spec in ["ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"] {
        let (key, pair) = (service.of_kind(spec, "KEY_AGREEMENT"), peer.make(spec));
        let request =
            json!({"KeyId": key.id, "KeyAgreementAlgorithm": "ECDH", "PublicKey": base64(&pair.public)});
        let secret = bytes(&service.ok("DeriveSharedSecret", request)["SharedSecret"]);
        assert_eq!(secret, peer.agree(&pair.private, &service.public_key(&key)), "{spec}");
    }
}

#[test]
fn a_data_key_pair_is_read_by_the_other_implementation() {
    let (service, mut peer) = (Service::new(), Peer::start());
    let key = service.key();
    for spec in [
        "RSA_2048",
        "ECC_NIST_P256",
        "ECC_NIST_P384",
        "ECC_NIST_P521",
        "ECC_SECG_P256K1",
        "ECC_NIST_EDWARDS25519",
    ] {
        let made = service.ok("GenerateDataKeyPair", json!({"KeyId": key.id, "KeyPairSpec": spec}));
        assert_eq!(peer.public(&bytes(&made["PrivateKeyPlaintext"])), bytes(&made["PublicKey"]), "{spec}");
    }
}
