//! Private keys and other material that others made, and public keys to agree with.

use std::sync::OnceLock;

use kmsfs::crypto::agree::agree;
use kmsfs::crypto::pair::{self, PairKind, PrivateKey};
use kmsfs::kms::KeySpec;
use kmsfs::kms::id::{KeyId, KeyScope};
use kmsfs::kms::import::TokenKey;
use kmsfs::kms::material::{Material, SealedMaterial, Sealer};

use crate::sealing::secret;

/// What is read as material of a spec is sealed in one form, opens again, and has one id; a secret is as long as its curve says.
pub fn key_material(data: &[u8]) {
    let sealer = Sealer::new(secret(), &secret(), TokenKey::new(secret()));
    let key = KeyId::from_bytes(KeyScope::SingleRegion, [3; 16]);
    for spec in KeySpec::ALL {
        let Some(material) = Material::from_bytes(*spec, data) else { continue };
        let (id, sealed) = sealer.take(key, &material);
        let sealed = SealedMaterial::from_sealed(sealed.as_sealed().to_vec());
        let opened = sealer.open(key, *spec, id, &sealed).expect("what was sealed opens");
        assert_eq!(sealer.take(key, opened).0, id, "{spec:?}");
    }

    static OURS: OnceLock<PrivateKey> = OnceLock::new();
    let ours = OURS.get_or_init(|| {
        let made = pair::generate(PairKind::P256);
        PrivateKey::from_pkcs8(PairKind::P256, &made.private).expect("what was made can be read")
    });
    if let Ok(secret) = agree(ours, data) {
        assert_eq!(secret.len(), 32);
    }
}
