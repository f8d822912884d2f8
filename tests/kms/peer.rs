//! Another implementation beside the service: signatures, ciphertexts, secrets and codes of each are taken by the other one.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::{Value, json};

use crate::fixture::{base64, bytes};

/// Debian's own Python, which finds the package that `scripts/test` installs.
const PYTHON: &str = "/usr/bin/python3";

/// A running peer.
pub struct Peer {
    /// It ends when its requests do.
    _child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// A key pair of the peer's: PKCS #8 and SubjectPublicKeyInfo, in DER.
pub struct Pair {
    pub private: Vec<u8>,
    pub public: Vec<u8>,
}

impl Peer {
    /// One for what many tests ask for in passing, which starts once and ends with the process.
    pub fn shared() -> MutexGuard<'static, Self> {
        static SHARED: OnceLock<Mutex<Peer>> = OnceLock::new();
        // A test that failed meanwhile left no half a request: each is a line, and so is its answer.
        SHARED.get_or_init(|| Mutex::new(Self::start())).lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn start() -> Self {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peer/peer.py");
        let mut command = Command::new(PYTHON);
        command.args(["-B", program]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{PYTHON}: {error}"));
        let requests = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { _child: child, requests, answers }
    }

    fn ask(&mut self, job: &Value) -> Value {
        writeln!(self.requests, "{job}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the peer has ended: does {PYTHON} have the package cryptography?");
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer.get("error").is_none(), "{job}: {answer}");
        answer
    }

    pub fn make(&mut self, spec: &str) -> Pair {
        let answer = self.ask(&json!({"do": "make", "spec": spec}));
        Pair { private: bytes(&answer["private"]), public: bytes(&answer["public"]) }
    }

    /// The public key of a private one.
    pub fn public(&mut self, private: &[u8]) -> Vec<u8> {
        bytes(&self.ask(&json!({"do": "public", "private": base64(private)}))["public"])
    }

    pub fn sign(&mut self, private: &[u8], algorithm: &str, digest: bool, message: &[u8]) -> Vec<u8> {
        let job = json!({
            "do": "sign", "private": base64(private), "algorithm": algorithm, "digest": digest, "message": base64(message)
        });
        bytes(&self.ask(&job)["signature"])
    }

    pub fn verifies(
        &mut self,
        public: &[u8],
        algorithm: &str,
        digest: bool,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let job = json!({
            "do": "verify", "public": base64(public), "algorithm": algorithm, "digest": digest,
            "message": base64(message), "signature": base64(signature)
        });
        self.ask(&job)["valid"] == json!(true)
    }

    pub fn hash(&mut self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        bytes(&self.ask(&json!({"do": "hash", "algorithm": algorithm, "message": base64(message)}))["digest"])
    }

    pub fn encrypt(&mut self, public: &[u8], algorithm: &str, plaintext: &[u8]) -> Vec<u8> {
        let job = json!({
            "do": "encrypt", "public": base64(public), "algorithm": algorithm, "plaintext": base64(plaintext)
        });
        bytes(&self.ask(&job)["ciphertext"])
    }

    pub fn decrypt(&mut self, private: &[u8], algorithm: &str, ciphertext: &[u8]) -> Vec<u8> {
        let job = json!({
            "do": "decrypt", "private": base64(private), "algorithm": algorithm, "ciphertext": base64(ciphertext)
        });
        bytes(&self.ask(&job)["plaintext"])
    }

    pub fn agree(&mut self, private: &[u8], public: &[u8]) -> Vec<u8> {
        let job = json!({"do": "agree", "private": base64(private), "public": base64(public)});
        bytes(&self.ask(&job)["secret"])
    }

    pub fn hmac(&mut self, key: &[u8], algorithm: &str, message: &[u8]) -> Vec<u8> {
        let job =
            json!({"do": "hmac", "key": base64(key), "algorithm": algorithm, "message": base64(message)});
        bytes(&self.ask(&job)["mac"])
    }

    /// Material wrapped for an import; with RSA_AES_KEY_WRAP under an AES key of `len` bytes.
    pub fn wrap(&mut self, public: &[u8], algorithm: &str, len: usize, material: &[u8]) -> Vec<u8> {
        let job = json!({
            "do": "wrap", "public": base64(public), "algorithm": algorithm, "bytes": len, "material": base64(material)
        });
        bytes(&self.ask(&job)["wrapped"])
    }
}
