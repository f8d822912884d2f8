//! Credentials: what a client signs its requests with, and which principal it is then.
//!
//! As on AWS a credential has a public name, its access key id, and a secret that is shown once. The key service keeps the secret only
//! as sealed bytes, which the store opens for whoever verifies a signature.

use std::fmt;

use super::policy::{NamedPrincipal, Principal};
use crate::clock::Timestamp;
use crate::crypto::rng;

/// How many credentials a home has at most.
pub const CREDENTIALS_MAX: usize = 1000;

/// What an access key id begins with: one that stays until it is revoked (IAM User Guide, "Understanding unique ID prefixes").
const PREFIX: &str = "AKIA";
/// Random characters behind the prefix.
const RANDOM: usize = 16;
/// What those are of: base 32 as of RFC 4648.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// An access key id: `AKIA` and 16 characters of A to Z and 2 to 7. It is no secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessKeyId(String);

impl AccessKeyId {
    /// A new one: 80 random bits.
    pub fn random() -> Self {
        let letters = rng::bytes::<RANDOM>().map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
        Self(PREFIX.chars().chain(letters).collect())
    }

    /// Reads one; `None` where it is none that a home makes.
    pub fn parse(text: &str) -> Option<Self> {
        let letters = text.strip_prefix(PREFIX)?;
        let is_one = letters.len() == RANDOM && letters.bytes().all(|letter| ALPHABET.contains(&letter));
        is_one.then(|| Self(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A credential as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialRecord {
    /// Its name.
    pub id: AccessKeyId,
    /// The ARN of the principal that signs with it.
    pub principal: String,
    /// When it was made.
    pub created: Timestamp,
    /// The sealed secret: `nonce (12) | ciphertext (40) | tag (16)`.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for CredentialRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialRecord({} of {})", self.id, self.principal)
    }
}

/// The ARN of the principal that somebody named for a credential: an ARN of the account as it is, `root` the account's, and any other
/// name that a user of IAM can have as that user's. `None` where it is none of these.
pub fn principal_arn(named: &str, account: &str) -> Option<String> {
    let arn = match named {
        "root" => format!("arn:aws:iam::{account}:root"),
        arn if arn.starts_with("arn:") => is_name_of_aws(arn).then(|| arn.to_owned())?,
        name if is_user_name(name) => format!("arn:aws:iam::{account}:user/{name}"),
        _ => return None,
    };
    is_principal(&arn, account).then_some(arn)
}

/// Whether `arn` can be the principal of a credential: the account itself, or a user, role or session of it.
pub fn is_principal(arn: &str, account: &str) -> bool {
    let in_account = match NamedPrincipal::parse(arn).as_ref().map(NamedPrincipal::principal) {
        Some(Principal::Account(of)) => of == account,
        Some(Principal::One(arn)) => arn.split(':').nth(4) == Some(account),
        Some(Principal::Anyone | Principal::Service) | None => false,
    };
    in_account && arn.len() <= ARN_LEN_MAX && arn.chars().all(|letter| letter.is_ascii_graphic())
}

/// Whether an ARN is one that IAM or STS would give (IAM User Guide, "IAM identifiers"): of the partition `aws`, with names as they
/// may be there, and a path of a user or role without an empty part. What is stored is held to less: it was made before, or by others.
fn is_name_of_aws(arn: &str) -> bool {
    let resource = arn.strip_prefix("arn:aws:").and_then(|rest| rest.splitn(4, ':').nth(3));
    let parts: Vec<&str> = resource.unwrap_or_default().split('/').collect();
    match parts[..] {
        ["root"] => true,
        ["user" | "role", ref path @ .., name] => is_user_name(name) && path.iter().all(|part| is_path(part)),
        ["assumed-role", role, session] => is_user_name(role) && is_user_name(session) && session.len() >= 2,
        ["federated-user", name] => is_user_name(name) && name.len() >= 2,
        _ => false,
    }
}

/// Whether a part of the path of a user or role can be called so (IAM API, `Path`).
fn is_path(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Bytes of a principal's ARN (IAM API: 2048).
const ARN_LEN_MAX: usize = 2048;

/// Whether a user of IAM can be called so (IAM API, `UserName`: 1 to 64 of `[\w+=,.@-]`).
fn is_user_name(text: &str) -> bool {
    let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || b"_+=,.@-".contains(&letter);
    (1..=64).contains(&text.len()) && text.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_key_id_has_the_form_of_awss_and_no_other_is_read() {
        let id = AccessKeyId::random();
        assert!(id.as_str().len() == 20 && AccessKeyId::parse(id.as_str()) == Some(id.clone()), "{id}");
        assert_ne!(AccessKeyId::random(), id);
        for wrong in [
            "",
            "AKIA",
            "AKIAAAAAAAAAAAAAAAA",
            "ASIAAAAAAAAAAAAAAAAA",
            "AKIAaaaaaaaaaaaaaaaa",
            "AKIA0000000000000000",
        ] {
            assert_eq!(AccessKeyId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_is_a_user_of_the_account_and_an_arn_of_it_stays_as_it_is() {
        let account = "000000000000";
        for (named, arn) in [
            ("root", Some("arn:aws:iam::000000000000:root")),
            ("alice", Some("arn:aws:iam::000000000000:user/alice")),
            ("a.b@c-d_e+f=g,h", Some("arn:aws:iam::000000000000:user/a.b@c-d_e+f=g,h")),
            ("arn:aws:iam::000000000000:root", Some("arn:aws:iam::000000000000:root")),
            ("arn:aws:iam::000000000000:role/ci/build", Some("arn:aws:iam::000000000000:role/ci/build")),
            (
                "arn:aws:sts::000000000000:assumed-role/r/me",
                Some("arn:aws:sts::000000000000:assumed-role/r/me"),
            ),
            ("arn:aws-cn:iam::000000000000:user/alice", None),
            ("arn:aws-:iam::000000000000:root", None),
            ("arn:aws:kms::000000000000:user/alice", None),
            ("arn:aws:iam::000000000000:user/", None),
            ("arn:aws:iam::000000000000:user//alice", None),
            ("arn:aws:iam::000000000000:user/a'b", None),
            ("arn:aws:iam::000000000000:role/a:b", None),
            ("arn:aws:iam::000000000000:assumed-role/r/me", None),
            ("arn:aws:sts::000000000000:assumed-role/r", None),
            ("arn:aws:sts::000000000000:assumed-role/r/s", None),
            ("arn:aws:sts::000000000000:assumed-role/r/me/too", None),
            ("arn:aws:sts::000000000000:federated-user/a/b", None),
            ("arn:aws:iam::111111111111:user/alice", None),
            ("arn:aws:iam::111111111111:root", None),
            ("arn:aws:iam::000000000000:group/staff", None),
            ("arn:aws:iam::000000000000:user/a b", None),
            ("arn:aws:iam::000000000000:user/*", None),
            ("*", None),
            ("", None),
            ("a b", None),
            ("user/alice", None),
            ("ä", None),
        ] {
            assert_eq!(principal_arn(named, account).as_deref(), arn, "{named}");
        }
        assert_eq!(principal_arn(&"a".repeat(65), account), None);
    }

    #[test]
    fn debug_form_shows_no_sealed_byte() {
        let id = AccessKeyId::random();
        let record = CredentialRecord {
            id: id.clone(),
            principal: "p".to_owned(),
            created: Timestamp::from_millis(5),
            sealed: vec![171],
        };
        assert_eq!(format!("{record:?}"), format!("CredentialRecord({id} of p)"));
    }
}
