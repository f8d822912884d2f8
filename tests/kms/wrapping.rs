//! What whoever imports does on the other side: key material wrapped under the public key of GetParametersForImport.

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey,
    PublicEncryptingKey,
};
use serde_json::{Value, json};

use crate::fixture::{Key, Service, base64, bytes};

pub const OAEP_SHA_256: &str = "RSAES_OAEP_SHA_256";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    OaepSha256,
    OaepSha1,
    Pkcs1,
}

impl Padding {
    pub fn of(algorithm: &str) -> Self {
        match algorithm {
            OAEP_SHA_256 => Self::OaepSha256,
            "RSAES_OAEP_SHA_1" => Self::OaepSha1,
            "RSAES_PKCS1_V1_5" => Self::Pkcs1,
            other => panic!("{other} wraps no symmetric key"),
        }
    }
}

/// `plaintext` wrapped under a public key in DER.
pub fn wrap(public_key: &[u8], padding: Padding, plaintext: &[u8]) -> Vec<u8> {
    let key = PublicEncryptingKey::from_der(public_key).unwrap();
    let mut out = vec![0; key.key_size_bytes()];
    let oaep = |algorithm, out: &mut [u8]| {
        let key = OaepPublicEncryptingKey::new(key.clone()).unwrap();
        key.encrypt(algorithm, plaintext, out, None).unwrap();
    };
    match padding {
        Padding::OaepSha256 => oaep(&OAEP_SHA256_MGF1SHA256, &mut out),
        Padding::OaepSha1 => oaep(&OAEP_SHA1_MGF1SHA1, &mut out),
        Padding::Pkcs1 => {
            Pkcs1PublicEncryptingKey::new(key.clone()).unwrap().encrypt(plaintext, &mut out).unwrap();
        }
    }
    out
}

/// What GetParametersForImport answered.
#[derive(Debug, Clone)]
pub struct Parameters {
    pub key: String,
    pub padding: Padding,
    pub public_key: Vec<u8>,
    pub token: Vec<u8>,
}

impl Parameters {
    pub fn of(service: &Service, key: &Key) -> Self {
        Self::get(service, key, OAEP_SHA_256)
    }

    pub fn get(service: &Service, key: &Key, algorithm: &str) -> Self {
        let request = json!({"KeyId": key.id, "WrappingAlgorithm": algorithm, "WrappingKeySpec": "RSA_2048"});
        let answer = service.ok("GetParametersForImport", request);
        Self {
            key: key.id.clone(),
            padding: Padding::of(algorithm),
            public_key: bytes(&answer["PublicKey"]),
            token: bytes(&answer["ImportToken"]),
        }
    }

    /// The same, said to be of another key.
    pub fn for_key(self, key: &Key) -> Self {
        Self { key: key.id.clone(), ..self }
    }

    pub fn wrap(&self, material: &[u8]) -> Vec<u8> {
        wrap(&self.public_key, self.padding, material)
    }

    /// An ImportKeyMaterial of `material`, with `more` members.
    pub fn request(&self, material: &[u8], more: Value) -> Value {
        self.request_wrapped(&self.wrap(material), more)
    }

    pub fn request_wrapped(&self, wrapped: &[u8], more: Value) -> Value {
        let mut request = json!({
            "KeyId": self.key, "ImportToken": base64(&self.token), "EncryptedKeyMaterial": base64(wrapped)
        });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    }
}

impl Service {
    /// A key of origin EXTERNAL, without material.
    pub fn external(&self) -> Key {
        self.key_of(json!({"Origin": "EXTERNAL"}))
    }

    /// Imports `material` with fresh parameters; what ImportKeyMaterial answers.
    pub fn import(&self, key: &Key, material: &[u8], more: Value) -> Value {
        self.ok("ImportKeyMaterial", Parameters::of(self, key).request(material, more))
    }
}
