//! `volume.json`: what a volume is, authenticated.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::VolumeError;
use crate::crypto::mac;
use crate::datakey::Authenticator;

/// The volume format that this version writes, and the latest that it reads.
pub const FORMAT: u64 = 1;
/// The provider that keeps keys in a home on this machine.
const LOCAL: &str = "local";
/// What the MAC is for; changes when the meaning of a field does.
const PURPOSE: &str = "kmsfs volume configuration 1";

/// The content of `volume.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeConfig {
    /// The format of the volume and its files.
    pub format: u64,
    /// A UUID; part of every file's encryption context.
    pub id: String,
    /// Where keys come from.
    pub provider: Provider,
    /// The key of new files in directories that name none.
    #[serde(rename = "defaultKey")]
    pub default_key: String,
    /// HMAC-SHA256 over all of the above, in hex digits.
    mac: String,
}

/// Where a volume's keys come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// `local`: the embedded key service.
    pub kind: String,
    /// The identity of its home.
    pub home: String,
}

/// The field that is read before anything else is understood.
#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

impl VolumeConfig {
    /// The configuration of a new volume.
    pub fn new(default_key: &str, auth: &dyn Authenticator) -> Self {
        let mut config = Self {
            format: FORMAT,
            id: uuid::Uuid::new_v4().to_string(),
            provider: Provider { kind: LOCAL.to_owned(), home: auth.identity() },
            default_key: default_key.to_owned(),
            mac: String::new(),
        };
        config.mac = hex(&auth.mac(PURPOSE, &config.message()));
        config
    }

    /// Reads a configuration, not yet authenticated.
    ///
    /// # Errors
    /// [`VolumeError::NewerFormat`], [`VolumeError::Tampered`] for anything that is not a configuration.
    pub fn parse(bytes: &[u8], dir: &Path) -> Result<Self, VolumeError> {
        let altered = |error| VolumeError::Tampered(format!("{}/.kmsfs/volume.json: {error}", dir.display()));
        let format = serde_json::from_slice::<FormatOnly>(bytes).map_err(altered)?.format;
        if format > FORMAT {
            return Err(VolumeError::NewerFormat { dir: dir.to_owned(), found: format, supported: FORMAT });
        }
        serde_json::from_slice(bytes).map_err(altered)
    }

    /// Checks that the configuration is this home's, and as it was written.
    ///
    /// # Errors
    /// [`VolumeError::OtherHome`], [`VolumeError::Tampered`].
    pub fn verify(&self, dir: &Path, auth: &dyn Authenticator) -> Result<(), VolumeError> {
        let ours = auth.identity();
        if self.provider.kind != LOCAL || self.provider.home != ours {
            let theirs = self.provider.home.clone();
            return Err(VolumeError::OtherHome { dir: dir.to_owned(), theirs, ours });
        }
        let expected = hex(&auth.mac(PURPOSE, &self.message()));
        if mac::same(expected.as_bytes(), self.mac.as_bytes()) {
            return Ok(());
        }
        Err(VolumeError::Tampered(format!("{}/.kmsfs/volume.json does not authenticate", dir.display())))
    }

    /// As it is stored.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("strings and numbers are JSON");
        json.push('\n');
        json
    }

    /// What the MAC covers: each field behind its length, so that no two configurations have one message.
    fn message(&self) -> Vec<u8> {
        let mut message = self.format.to_be_bytes().to_vec();
        for field in [&self.id, &self.provider.kind, &self.provider.home, &self.default_key] {
            message.extend_from_slice(&(field.len() as u64).to_be_bytes());
            message.extend_from_slice(field.as_bytes());
        }
        message
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::crypto::Secret;
    use crate::crypto::mac::MacKey;
    use proptest::prelude::*;

    /// An authenticator with a key of its own, as a home's.
    pub struct TestHome(pub MacKey, pub &'static str);

    impl TestHome {
        pub fn new() -> Self {
            Self(MacKey::new(&Secret::random()), "home-1")
        }
    }

    impl Authenticator for TestHome {
        fn mac(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
            self.0.sign(&[&(purpose.len() as u64).to_be_bytes(), purpose.as_bytes(), message])
        }

        fn identity(&self) -> String {
            self.1.to_owned()
        }
    }

    #[test]
    fn each_changed_field_is_detected() {
        let home = TestHome::new();
        let dir = Path::new("/volume");
        let config = VolumeConfig::new("alias/a", &home);
        config.verify(dir, &home).unwrap();
        let json = config.to_json();
        for (from, to) in
            [("alias/a", "alias/b"), (&config.id[..8], "00000000"), ("\"format\": 1", "\"format\": 0")]
        {
            let altered = VolumeConfig::parse(json.replace(from, to).as_bytes(), dir).unwrap();
            assert!(matches!(altered.verify(dir, &home), Err(VolumeError::Tampered(_))), "{from}");
        }
    }

    #[test]
    fn a_newer_format_is_named_before_anything_else_is_read() {
        let parsed = VolumeConfig::parse(br#"{"format": 2, "strange": []}"#, Path::new("/v"));
        assert!(matches!(parsed, Err(VolumeError::NewerFormat { found: 2, supported: 1, .. })));
    }

    #[test]
    fn another_home_is_named() {
        let home = TestHome::new();
        let config = VolumeConfig::new("alias/a", &home);
        let other = TestHome(MacKey::new(&Secret::random()), "home-2");
        let answer = config.verify(Path::new("/v"), &other);
        assert!(matches!(answer, Err(VolumeError::OtherHome { .. })));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = VolumeConfig::parse(&bytes, Path::new("/v"));
        }
    }
}
