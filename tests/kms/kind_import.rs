//! Imported material of asymmetric and HMAC keys: private keys that others made, and bytes of an HMAC.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::fixture::{DAY, Key, Service, base64, bytes, text};
use crate::peer::Peer;

const NEVER: &str = "KEY_MATERIAL_DOES_NOT_EXPIRE";
const ECC: [&str; 5] =
    ["ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519"];

/// The best wrapping algorithm for a spec.
pub fn best(spec: &str) -> &'static str {
    match spec {
        _ if spec.starts_with("RSA") => "RSA_AES_KEY_WRAP_SHA_256",
        "ECC_NIST_P521" => "RSA_AES_KEY_WRAP_SHA_256",
        _ => "RSAES_OAEP_SHA_256",
    }
}

/// Some material of a spec, the same each time.
pub fn material(spec: &str) -> Vec<u8> {
    match spec {
        _ if spec.starts_with("HMAC") => vec![7; 64],
        _ => Peer::shared().make(spec).private,
    }
}

/// Parameters for an import: public key and token.
struct Parameters {
    key: Key,
    algorithm: String,
    public: Vec<u8>,
    token: Value,
}

impl Parameters {
    fn of(service: &Service, key: &Key, algorithm: &str, wrapping: &str) -> Self {
        let request = json!({"KeyId": key.id, "WrappingAlgorithm": algorithm, "WrappingKeySpec": wrapping});
        let answer = service.ok("GetParametersForImport", request);
        Self {
            key: key.clone(),
            algorithm: algorithm.to_owned(),
            public: bytes(&answer["PublicKey"]),
            token: answer["ImportToken"].clone(),
        }
    }

    fn request(&self, peer: &mut Peer, material: &[u8]) -> Value {
        self.wrapped(&peer.wrap(&self.public, &self.algorithm, 32, material))
    }

    fn wrapped(&self, wrapped: &[u8]) -> Value {
        json!({
            "KeyId": self.key.id, "ImportToken": self.token, "EncryptedKeyMaterial": base64(wrapped),
            "ExpirationModel": NEVER
        })
    }
}

/// An ImportKeyMaterial with fresh parameters.
pub fn wrapped_request(service: &Service, key: &Key, spec: &str, material: &[u8]) -> Value {
    Parameters::of(service, key, best(spec), "RSA_2048").request(&mut Peer::shared(), material)
}

fn external(service: &Service, spec: &str, usage: &str) -> Key {
    service.key_of(json!({"KeySpec": spec, "KeyUsage": usage, "Origin": "EXTERNAL"}))
}

fn usage_of(spec: &str) -> &'static str {
    if spec.starts_with("HMAC") { "GENERATE_VERIFY_MAC" } else { "SIGN_VERIFY" }
}

#[test]
fn a_private_key_that_another_made_signs_as_there_with_the_same_public_key() {
    let (service, mut peer) = (Service::new(), Peer::start());
    let cases = [
        ("RSA_2048", "RSA_AES_KEY_WRAP_SHA_256", "RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256"),
        ("RSA_2048", "RSA_AES_KEY_WRAP_SHA_1", "RSA_3072", "RSASSA_PSS_SHA_512"),
        ("RSA_4096", "RSA_AES_KEY_WRAP_SHA_256", "RSA_4096", "RSASSA_PSS_SHA_384"),
        ("ECC_NIST_P256", "RSAES_OAEP_SHA_1", "RSA_2048", "ECDSA_SHA_256"),
        ("ECC_NIST_P384", "RSAES_OAEP_SHA_1", "RSA_2048", "ECDSA_SHA_384"),
        ("ECC_NIST_P521", "RSAES_OAEP_SHA_256", "RSA_4096", "ECDSA_SHA_512"),
        ("ECC_NIST_P521", "RSA_AES_KEY_WRAP_SHA_256", "RSA_2048", "ECDSA_SHA_512"),
        ("ECC_SECG_P256K1", "RSAES_OAEP_SHA_256", "RSA_2048", "ECDSA_SHA_256"),
        ("ECC_NIST_EDWARDS25519", "RSAES_OAEP_SHA_256", "RSA_2048", "ED25519_SHA_512"),
    ];
    for (spec, wrapping, wrapping_spec, algorithm) in cases {
        let pair = peer.make(spec);
        let key = external(&service, spec, "SIGN_VERIFY");
        let before = service.describe(&key);
        assert_eq!(before["KeyState"], json!("PendingImport"));
        assert_eq!(before.get("ExpirationModel"), None);
        let request =
            Parameters::of(&service, &key, wrapping, wrapping_spec).request(&mut peer, &pair.private);
        service.ok("ImportKeyMaterial", request);
        let after = service.describe(&key);
        assert_eq!(after["KeyState"], json!("Enabled"));
        assert_eq!(after["ExpirationModel"], json!(NEVER));
        assert_eq!(after.get("CurrentKeyMaterialId"), None);
        assert_eq!(service.public_key(&key), pair.public, "{spec}");
        let sign = json!({"KeyId": key.id, "Message": base64(b"message"), "SigningAlgorithm": algorithm});
        let signature = bytes(&service.ok("Sign", sign)["Signature"]);
        assert!(peer.verifies(&pair.public, algorithm, false, b"message", &signature), "{spec}");
        service.ok("DeleteImportedKeyMaterial", json!({"KeyId": key.id}));
        let deleted = service.describe(&key);
        assert_eq!(deleted["KeyState"], json!("PendingImport"));
        assert_eq!(deleted.get("ExpirationModel"), None);
        assert_eq!(
            service.refusal("GetPublicKey", json!({"KeyId": key.id})),
            format!("KMSInvalidStateException: {} is pending import.", key.arn)
        );
    }
}

#[test]
fn keys_that_openssl_made_are_taken_as_it_writes_them() {
    let (service, mut peer) = (Service::new(), Peer::start());
    let temp = tempfile::tempdir().unwrap();
    let curves = [
        ("ECC_NIST_P256", "EC", "ec_paramgen_curve:P-256"),
        ("ECC_NIST_P384", "EC", "ec_paramgen_curve:P-384"),
        ("ECC_NIST_P521", "EC", "ec_paramgen_curve:P-521"),
        ("ECC_SECG_P256K1", "EC", "ec_paramgen_curve:secp256k1"),
        ("RSA_2048", "RSA", "rsa_keygen_bits:2048"),
        ("ECC_NIST_EDWARDS25519", "ED25519", ""),
    ];
    for (spec, algorithm, option) in curves {
        let openssl = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            command.args(arguments).current_dir(temp.path());
            assert!(command.status().unwrap().success(), "{spec}: {arguments:?}");
        };
        let generate = ["genpkey", "-quiet", "-algorithm", algorithm, "-out", "key.pem", "-pkeyopt", option];
        openssl(if option.is_empty() { &generate[..6] } else { &generate });
        openssl(&["pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-outform", "DER", "-out", "key.der"]);
        let private = fs::read(temp.path().join("key.der")).unwrap();
        let key = external(&service, spec, "SIGN_VERIFY");
        let request = Parameters::of(&service, &key, best(spec), "RSA_2048").request(&mut peer, &private);
        service.ok("ImportKeyMaterial", request);
        assert_eq!(service.public_key(&key), peer.public(&private), "{spec}");
    }
}

#[test]
fn an_hmac_key_has_the_lengths_of_its_spec_and_codes_as_elsewhere() {
    let (service, mut peer) = (Service::new(), Peer::start());
    for (spec, algorithm, least, most) in [
        ("HMAC_224", "HMAC_SHA_224", 28, 64),
        ("HMAC_256", "HMAC_SHA_256", 32, 64),
        ("HMAC_384", "HMAC_SHA_384", 48, 128),
        ("HMAC_512", "HMAC_SHA_512", 64, 128),
    ] {
        for len in [least, most] {
            let key = external(&service, spec, "GENERATE_VERIFY_MAC");
            let material = vec![len as u8; len];
            let parameters = Parameters::of(&service, &key, "RSAES_OAEP_SHA_256", "RSA_2048");
            for wrong in [1, least - 1, most + 1] {
                let refused =
                    service.refusal("ImportKeyMaterial", parameters.request(&mut peer, &vec![1; wrong]));
                assert_eq!(
                    refused,
                    format!(
                        "IncorrectKeyMaterialException: The key material has {wrong} bytes, and a key of the key spec \
                         {spec} has {least} to {most}."
                    )
                );
            }
            service.ok("ImportKeyMaterial", parameters.request(&mut peer, &material));
            let request = json!({"KeyId": key.id, "Message": base64(b"message"), "MacAlgorithm": algorithm});
            let mac = bytes(&service.ok("GenerateMac", request)["Mac"]);
            assert_eq!(mac, peer.hmac(&material, algorithm, b"message"));
        }
    }
}

#[test]
fn what_wraps_which_material_is_as_aws_says() {
    let service = Service::new();
    let key_wraps = ["RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"];
    let oaep = ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"];
    let ask = |key: &Key, algorithm: &str, wrapping: &str| {
        let request = json!({"KeyId": key.id, "WrappingAlgorithm": algorithm, "WrappingKeySpec": wrapping});
        service.call("GetParametersForImport", request).map(|_| ()).map_err(|error| error.to_string())
    };
    let specs = ["RSA_2048", "RSA_3072", "RSA_4096", "HMAC_224", "HMAC_512"].into_iter().chain(ECC);
    for spec in specs {
        let key = external(&service, spec, usage_of(spec));
        for algorithm in key_wraps {
            let taken = ask(&key, algorithm, "RSA_2048");
            assert_eq!(taken.is_ok(), !spec.starts_with("HMAC"), "{spec} {algorithm}");
            if let Err(why) = taken {
                let expected = format!(
                    "UnsupportedOperationException: The wrapping algorithm {algorithm} is for RSA and ECC key material, and \
                     the key spec of {} is {spec}. Use RSAES_OAEP_SHA_256.",
                    key.arn
                );
                assert_eq!(why, expected);
            }
        }
        for algorithm in oaep {
            let taken = ask(&key, algorithm, "RSA_2048");
            let fits = !spec.starts_with("RSA") && spec != "ECC_NIST_P521";
            assert_eq!(taken.is_ok(), fits, "{spec} {algorithm}");
            if let Err(why) = taken {
                let expected = format!(
                    "UnsupportedOperationException: The wrapping algorithm {algorithm} with the wrapping key spec RSA_2048 \
                     is not for key material of the key spec {spec}, which that of {} is. Use RSA_AES_KEY_WRAP_SHA_256.",
                    key.arn
                );
                assert_eq!(why, expected);
            }
        }
        assert_eq!(ask(&key, "RSAES_OAEP_SHA_256", "RSA_3072").is_ok(), !spec.starts_with("RSA"), "{spec}");
        assert!(ask(&key, "RSAES_PKCS1_V1_5", "RSA_2048").unwrap_err().contains("is not supported"));
    }
    let old = Service::with_legacy_wrapping();
    let key = external(&old, "ECC_NIST_P256", "SIGN_VERIFY");
    let request =
        json!({"KeyId": key.id, "WrappingAlgorithm": "RSAES_PKCS1_V1_5", "WrappingKeySpec": "RSA_2048"});
    assert!(
        old.refusal("GetParametersForImport", request).contains("is not for key material of the key spec")
    );
}

#[test]
fn a_key_of_another_spec_or_form_is_no_material() {
    let (service, mut peer) = (Service::new(), Peer::start());
    let pairs: Vec<_> =
        ["RSA_2048", "RSA_3072"].into_iter().chain(ECC).map(|spec| (spec, peer.make(spec))).collect();
    for (spec, own) in &pairs {
        let key = external(&service, spec, "SIGN_VERIFY");
        let parameters = Parameters::of(&service, &key, "RSA_AES_KEY_WRAP_SHA_256", "RSA_2048");
        let others = pairs.iter().filter(|(other, _)| other != spec).map(|(_, pair)| pair.private.clone());
        let longer = [own.private.as_slice(), &[0]].concat();
        let shorter = own.private[..own.private.len() - 1].to_vec();
        for wrong in
            others.chain([own.public.clone(), longer, shorter, b"-----BEGIN PRIVATE KEY-----".to_vec()])
        {
            assert_eq!(
                service.refusal("ImportKeyMaterial", parameters.request(&mut peer, &wrong)),
                format!(
                    "IncorrectKeyMaterialException: The key material is no private key of the key spec {spec}, in PKCS #8 \
                     and DER without encryption."
                )
            );
        }
        assert_eq!(service.state(&key), "PendingImport");
        service.ok("ImportKeyMaterial", parameters.request(&mut peer, &own.private));
    }
}

#[test]
fn a_wrap_that_does_not_open_is_an_invalid_ciphertext() {
    let (service, mut peer) = (Service::new(), Peer::start());
    let pair = peer.make("RSA_2048");
    let key = external(&service, "RSA_2048", "SIGN_VERIFY");
    let parameters = Parameters::of(&service, &key, "RSA_AES_KEY_WRAP_SHA_256", "RSA_2048");
    let good = peer.wrap(&parameters.public, "RSA_AES_KEY_WRAP_SHA_256", 32, &pair.private);
    let invalid = |wrapped: &[u8]| {
        let refused = service.refusal("ImportKeyMaterial", parameters.wrapped(wrapped));
        assert_eq!(refused, "InvalidCiphertextException");
    };
    for place in [0, 255, 256, good.len() - 1] {
        let mut altered = good.clone();
        altered[place] ^= 1;
        invalid(&altered);
    }
    for len in [1, 255, 256, 264, good.len() - 1] {
        invalid(&good[..len]);
    }
    // AWS KMS asks for an AES key of 256 bits, and for the hash that was named.
    invalid(&peer.wrap(&parameters.public, "RSA_AES_KEY_WRAP_SHA_256", 16, &pair.private));
    invalid(&peer.wrap(&parameters.public, "RSA_AES_KEY_WRAP_SHA_1", 32, &pair.private));
    service.ok("ImportKeyMaterial", parameters.wrapped(&good));
}

#[test]
fn imp_4_other_kinds_take_one_material_for_ever() {
    let (service, mut peer) = (Service::new(), Peer::start());
    for spec in ["ECC_NIST_P256", "HMAC_256"] {
        let key = external(&service, spec, usage_of(spec));
        let parameters = Parameters::of(&service, &key, "RSAES_OAEP_SHA_256", "RSA_2048");
        let first = if spec.starts_with("HMAC") { vec![1; 40] } else { peer.make(spec).private };
        let other = if spec.starts_with("HMAC") { vec![2; 40] } else { peer.make(spec).private };
        let id =
            text(&service.ok("ImportKeyMaterial", parameters.request(&mut peer, &first))["KeyMaterialId"]);
        let refused = "IncorrectKeyMaterialException: The key material is not the same that was imported into this KMS key \
                       before.";
        for present in [true, false] {
            for kind in [None, Some("NEW_KEY_MATERIAL"), Some("EXISTING_KEY_MATERIAL")] {
                let mut request = parameters.request(&mut peer, &other);
                if let Some(kind) = kind {
                    request["ImportType"] = json!(kind);
                }
                assert_eq!(service.refusal("ImportKeyMaterial", request), refused, "{spec} {kind:?}");
            }
            if present {
                service.ok("DeleteImportedKeyMaterial", json!({"KeyId": key.id}));
                assert_eq!(service.state(&key), "PendingImport");
            }
        }
        let again = service.ok("ImportKeyMaterial", parameters.request(&mut peer, &first));
        assert_eq!(again["KeyMaterialId"], json!(id));
        assert_eq!(service.state(&key), "Enabled");
        let mut new = parameters.request(&mut peer, &first);
        new["ImportType"] = json!("NEW_KEY_MATERIAL");
        assert!(service.refusal("ImportKeyMaterial", new).starts_with("IncorrectKeyMaterialException"));
    }
}

#[test]
fn imp_5_a_private_key_expires_at_its_date_and_comes_back() {
    let (service, mut peer) = (Service::new(), Peer::start());
    let pair = peer.make("ECC_NIST_P256");
    let key = external(&service, "ECC_NIST_P256", "SIGN_VERIFY");
    let parameters = Parameters::of(&service, &key, "RSAES_OAEP_SHA_256", "RSA_2048");
    let mut request = parameters.request(&mut peer, &pair.private);
    request["ExpirationModel"] = json!("KEY_MATERIAL_EXPIRES");
    let end = service.home.now().unwrap().as_seconds_f64() + 3.0 * DAY as f64;
    request["ValidTo"] = json!(end);
    service.ok("ImportKeyMaterial", request);
    assert_eq!(service.describe(&key)["ExpirationModel"], json!("KEY_MATERIAL_EXPIRES"));
    let sign = json!({"KeyId": key.id, "Message": "AAAA", "SigningAlgorithm": "ECDSA_SHA_256"});
    let signature = service.ok("Sign", sign.clone())["Signature"].clone();
    service.advance_days(3);
    let expected = format!("KMSInvalidStateException: {} is pending import.", key.arn);
    assert_eq!(service.refusal("Sign", sign.clone()), expected);
    let request =
        Parameters::of(&service, &key, "RSAES_OAEP_SHA_256", "RSA_2048").request(&mut peer, &pair.private);
    service.ok("ImportKeyMaterial", request);
    let mut verify = sign;
    verify["Signature"] = signature;
    service.ok("Verify", verify);
}

/// The sealed bytes of a key's material, as the store has them.
fn sealed(service: &Service, key: &Key) -> Vec<u8> {
    let ring = service.home.keyring().unwrap();
    let found = ring.keys().find(|known| known.record.id.to_string() == key.id).unwrap();
    found.materials[0].sealed.as_ref().unwrap().as_sealed().to_vec()
}

fn is_in_home(service: &Service, part: &[u8]) -> bool {
    let files = fs::read_dir(service.home.dir()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).any(|path| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(part.len()).any(|window| window == part)
    })
}

#[test]
fn destroyed_material_of_every_kind_leaves_no_sealed_byte() {
    let (service, mut peer) = (Service::new(), Peer::start());
    for (spec, origin) in [
        ("RSA_2048", "EXTERNAL"),
        ("ECC_NIST_P256", "EXTERNAL"),
        ("HMAC_256", "EXTERNAL"),
        ("RSA_2048", "AWS_KMS"),
    ] {
        let key = service.key_of(json!({"KeySpec": spec, "KeyUsage": usage_of(spec), "Origin": origin}));
        if origin == "EXTERNAL" {
            let own = if spec.starts_with("HMAC") { vec![1; 40] } else { peer.make(spec).private };
            let parameters = Parameters::of(&service, &key, best(spec), "RSA_2048");
            service.ok("ImportKeyMaterial", parameters.request(&mut peer, &own));
        }
        let sealed = sealed(&service, &key);
        // A long one lies on pages of its own: parts of it are looked for.
        let parts: Vec<_> = sealed.chunks(64).filter(|part| part.len() == 64).map(<[u8]>::to_vec).collect();
        assert!(!parts.is_empty() && parts.iter().any(|part| is_in_home(&service, part)), "{spec} {origin}");
        if origin == "EXTERNAL" {
            service.ok("DeleteImportedKeyMaterial", json!({"KeyId": key.id}));
        } else {
            service.ok("ScheduleKeyDeletion", json!({"KeyId": key.id, "PendingWindowInDays": 7}));
            service.advance_days(7);
            assert!(
                service.refusal("DescribeKey", json!({"KeyId": key.id})).starts_with("NotFoundException")
            );
        }
        for part in parts {
            assert!(!is_in_home(&service, &part), "{spec} {origin}: sealed bytes are left");
        }
    }
}
