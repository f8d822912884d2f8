//! The credentials of a home: made and revoked in one transaction with their record, and opened for who verifies a signature.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::home::Home;
use crate::crypto::{AuthenticationFailed, KEY_LEN, Secret, aead};
use crate::kms::credential::{self, AccessKeyId, CREDENTIALS_MAX, CredentialRecord};
use crate::kms::ring::{Change, KeyStore, StoreFailure};
use crate::kms::{Caller, Cause, KmsError};

/// Characters of a secret access key.
pub const SECRET_LEN: usize = 40;
/// Random bytes in them.
const SECRET_BYTES: usize = 30;

/// A secret access key: 240 random bits in 40 characters of base 64, as AWS's. Wiped on drop, never printed but by who reveals it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretAccessKey(Secret<SECRET_LEN>);

impl SecretAccessKey {
    /// A new one.
    pub fn random() -> Self {
        let random = Secret::<SECRET_BYTES>::random();
        let encoded = Secret::fill_with(|out: &mut [u8; SECRET_LEN]| {
            STANDARD.encode_slice(random.expose(), out).map(|_| ())
        });
        Self(encoded.expect("30 bytes are 40 characters"))
    }

    /// Its characters. What is made of them leaves the protection of the type.
    pub fn reveal(&self) -> &str {
        std::str::from_utf8(self.0.expose()).unwrap_or_default()
    }
}

/// A credential whose secret is open.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Its name.
    pub id: AccessKeyId,
    /// The ARN of the principal that signs with it.
    pub principal: String,
    /// What it signs with.
    pub secret: SecretAccessKey,
}

/// Seals secrets of credentials, under a key that serves nothing else.
#[derive(Debug)]
pub struct CredentialKey(Secret<KEY_LEN>);

impl CredentialKey {
    /// Of a sub-key of the root key.
    pub const fn new(key: Secret<KEY_LEN>) -> Self {
        Self(key)
    }

    fn seal(&self, id: &AccessKeyId, secret: &SecretAccessKey) -> Vec<u8> {
        aead::seal(&self.0, &associated_data(id), secret.0.expose())
    }

    fn open(&self, record: &CredentialRecord) -> Result<SecretAccessKey, AuthenticationFailed> {
        let bytes = aead::open(&self.0, &associated_data(&record.id), &record.sealed)?;
        let secret = Secret::from_slice(&bytes).filter(|secret| secret.expose().is_ascii());
        secret.map(SecretAccessKey).ok_or(AuthenticationFailed)
    }
}

/// `label | access key id (20)`.
fn associated_data(id: &AccessKeyId) -> Vec<u8> {
    [LABEL, id.as_str().as_bytes()].concat()
}

const LABEL: &[u8] = b"kmsfs credential v1";
/// Bytes of the associated data.
const AAD_LEN: usize = LABEL.len() + 20;
/// Bytes of a sealed secret.
const SEALED_LEN: usize = SECRET_LEN + aead::OVERHEAD;

/// Why a credential cannot be made or revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialError {
    /// This names no principal of the account.
    NotAPrincipal(String),
    /// There are as many as a home may have.
    TooMany,
    /// There is none of this access key id.
    NotFound(String),
    /// The store or the audit log failed.
    Failed(KmsError),
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPrincipal(named) => write!(f, "{named:?} is no principal of this home's account"),
            Self::TooMany => write!(f, "the home has {CREDENTIALS_MAX} credentials, and takes no more"),
            Self::NotFound(id) => write!(f, "there is no credential {id:?}"),
            Self::Failed(error) => f.write_str(&error.words()),
        }
    }
}

impl std::error::Error for CredentialError {}

impl From<KmsError> for CredentialError {
    fn from(error: KmsError) -> Self {
        Self::Failed(error)
    }
}

impl Home {
    /// Makes a credential for a principal: an ARN of the account, `root`, or the name of a user. It is a client's at once, and its
    /// secret is told to nobody else.
    ///
    /// # Errors
    /// [`CredentialError`]. Nothing is changed then.
    pub fn create_credential(&self, caller: &Caller, principal: &str) -> Result<Credential, CredentialError> {
        let arn = credential::principal_arn(principal, self.account());
        let arn = arn.ok_or_else(|| CredentialError::NotAPrincipal(principal.to_owned()))?;
        let made =
            Credential { id: AccessKeyId::random(), principal: arn, secret: SecretAccessKey::random() };
        let sealed = self.root().credentials().seal(&made.id, &made.secret);
        self.change_recorded(caller, "CreateCredential", |ring| {
            if ring.credentials().count() >= CREDENTIALS_MAX {
                return Err(CredentialError::TooMany);
            }
            let record = CredentialRecord {
                id: made.id.clone(),
                principal: made.principal.clone(),
                created: self.kms().now(ring),
                sealed: sealed.clone(),
            };
            Ok((facts(&record), Change::PutCredential(record)))
        })?;
        Ok(made)
    }

    /// Revokes a credential: from now on it signs nothing, in every process. Its sealed secret is destroyed as a key is.
    ///
    /// # Errors
    /// [`CredentialError`]. Nothing is changed then.
    pub fn revoke_credential(&self, caller: &Caller, id: &str) -> Result<(), CredentialError> {
        self.change_recorded(caller, "RevokeCredential", |ring| {
            let known = AccessKeyId::parse(id).and_then(|id| ring.credential(&id));
            let known = known.ok_or_else(|| CredentialError::NotFound(id.to_owned()))?;
            Ok((facts(known), Change::RemoveCredential(known.id.clone())))
        })
    }

    /// The credential of that access key id as it is now, for who verifies a signature; `None` where there is none, or none any more.
    /// An unknown one takes as long as a known one.
    ///
    /// # Errors
    /// [`KmsError`] where the key store cannot be read or was altered.
    pub fn credential(&self, id: &str) -> Result<Option<Credential>, KmsError> {
        let ring = self.store().ring().map_err(of_store)?;
        let key = self.root().credentials();
        let known = AccessKeyId::parse(id).and_then(|id| ring.credential(&id).cloned());
        let Some(record) = known else {
            // The same work, and nothing comes of it.
            let _ = std::hint::black_box(aead::open(&key.0, &[0; AAD_LEN], &[0; SEALED_LEN]));
            return Ok(None);
        };
        let secret = key.open(&record).map_err(|_| {
            of_store(StoreFailure::Tampered(format!("the credential {} does not authenticate", record.id)))
        })?;
        Ok(Some(Credential { id: record.id.clone(), principal: record.principal.clone(), secret }))
    }
}

/// The error of a store that cannot be read.
fn of_store(failure: StoreFailure) -> KmsError {
    let cause = match failure {
        StoreFailure::Tampered(_) => Cause::Tampered,
        StoreFailure::Failed(_) => Cause::Store,
    };
    KmsError::failed(cause, failure.to_string())
}

/// What the audit log keeps of a credential: whose it is, and nothing of the secret.
fn facts(record: &CredentialRecord) -> Map<String, Value> {
    Map::from_iter([
        ("accessKeyId".to_owned(), record.id.as_str().into()),
        ("principal".to_owned(), record.principal.as_str().into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::kms::Via;
    use crate::store::{NewSlot, SetupOptions};

    fn record(id: AccessKeyId, sealed: Vec<u8>) -> CredentialRecord {
        CredentialRecord { id, principal: String::new(), created: Timestamp::from_millis(1), sealed }
    }

    #[test]
    fn a_sealed_secret_opens_only_under_its_access_key_id_and_its_key() {
        let (key, id) = (CredentialKey::new(Secret::random()), AccessKeyId::random());
        let secret = SecretAccessKey::random();
        let sealed = key.seal(&id, &secret);
        assert_eq!(sealed.len(), SEALED_LEN);
        assert_eq!(associated_data(&id).len(), AAD_LEN);
        assert_eq!(key.open(&record(id.clone(), sealed.clone())), Ok(secret));
        assert!(key.open(&record(AccessKeyId::random(), sealed.clone())).is_err());
        assert!(CredentialKey::new(Secret::random()).open(&record(id, sealed)).is_err());
    }

    #[test]
    fn a_secret_has_the_form_of_awss_and_is_not_shown_by_debug() {
        let secret = SecretAccessKey::random();
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "+/".contains(letter);
        assert!(secret.reveal().len() == SECRET_LEN && secret.reveal().chars().all(is_letter));
        assert_eq!(format!("{secret:?}"), "SecretAccessKey(Secret<40>(..))");
        assert_ne!(SecretAccessKey::random(), secret);
    }

    #[test]
    fn a_home_has_so_many_credentials_and_no_more() {
        let temp = tempfile::tempdir().unwrap();
        let options = SetupOptions::new(vec![NewSlot::KeyFile(temp.path().join("key-file"))]);
        let home = Home::setup(&temp.path().join("home"), &options).unwrap();
        let one = |_| Change::PutCredential(record(AccessKeyId::random(), vec![0; SEALED_LEN]));
        home.store().update(&mut |_| Ok((1..CREDENTIALS_MAX).map(one).collect())).unwrap();
        let caller = home.caller(0, 1, Via::Cli);
        let last = home.create_credential(&caller, "alice").unwrap();
        assert_eq!(home.create_credential(&caller, "alice").unwrap_err(), CredentialError::TooMany);
        home.revoke_credential(&caller, last.id.as_str()).unwrap();
        home.create_credential(&caller, "bob").unwrap();
    }
}
