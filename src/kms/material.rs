//! Key material: how it is made, named, sealed and opened. That of a symmetric key is called a backing key.
//!
//! Material leaves this module only as an open [`Material`] borrowed for one use. At rest it is sealed
//! under a key that the store derives from its root key, bound to the CMK and the material id, so that sealed bytes
//! that are moved to another row do not open.

use std::fmt;
use std::sync::{Arc, OnceLock};

use zeroize::Zeroizing;

use super::id::{KeyId, MaterialId};
use super::import::TokenKey;
use super::spec::{Content, KeySpec, MacAlgorithm};
use crate::crypto::mac::{self, MacKey};
use crate::crypto::pair::{self, PrivateKey};
use crate::crypto::{AuthenticationFailed, KEY_LEN, Secret, aead, rng};

/// A backing key: 256 bits.
pub type BackingKey = Secret<KEY_LEN>;

/// The key of an HMAC, of a length that its spec permits.
pub struct MacSecret(Zeroizing<Vec<u8>>);

impl MacSecret {
    /// The HMAC of `message`.
    pub fn tag(&self, algorithm: MacAlgorithm, message: &[u8]) -> Vec<u8> {
        mac::tag(algorithm.hash(), &self.0, message)
    }
}

impl fmt::Debug for MacSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacSecret(..)")
    }
}

/// Key material in the open.
#[derive(Debug)]
pub enum Material {
    /// Of a symmetric key for encryption.
    Backing(BackingKey),
    /// Of an asymmetric key.
    Pair(Box<PrivateKey>),
    /// Of a key for message authentication codes.
    Mac(MacSecret),
}

impl Material {
    /// Makes what a key of `spec` begins with. A pair of RSA takes up to a second: never while the store is held.
    pub fn generate(spec: KeySpec) -> Self {
        match spec.content() {
            Content::Backing => Self::Backing(BackingKey::random()),
            Content::Pair(kind) => {
                let made = pair::generate(kind);
                let read = PrivateKey::from_pkcs8(kind, &made.private);
                Self::Pair(Box::new(read.expect("what was made now can be read")))
            }
            Content::Mac { least, .. } => {
                let mut bytes = Zeroizing::new(vec![0; least]);
                rng::fill_secret(&mut bytes);
                Self::Mac(MacSecret(bytes))
            }
        }
    }

    /// Material of `spec` from bytes that come from elsewhere: 32 of them, PKCS #8 of exactly that key, or as many as an HMAC takes.
    pub fn from_bytes(spec: KeySpec, bytes: &[u8]) -> Option<Self> {
        match spec.content() {
            Content::Backing => BackingKey::from_slice(bytes).map(Self::Backing),
            Content::Pair(kind) => PrivateKey::from_pkcs8(kind, bytes).map(Box::new).map(Self::Pair),
            Content::Mac { least, most } => (least..=most)
                .contains(&bytes.len())
                .then(|| Self::Mac(MacSecret(Zeroizing::new(bytes.to_vec())))),
        }
    }

    /// What is sealed: one form for one material, also where a private key was written in another.
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Backing(key) => Zeroizing::new(key.expose().to_vec()),
            Self::Pair(key) => key.to_pkcs8(),
            Self::Mac(MacSecret(bytes)) => bytes.clone(),
        }
    }
}

/// Sealed bytes of key material, and the open material once it was needed.
///
/// The open material is kept as long as the record is in memory and wiped with it: opening it for each file would cost more
/// than the wrap itself, and reading a private key more than many a signature; and a process that can read this memory can read the sealing
/// key as well. A record whose bytes were destroyed is another one in memory, so that nothing is used of what is gone.
#[derive(Clone)]
pub struct SealedMaterial {
    sealed: Vec<u8>,
    opened: Arc<OnceLock<Material>>,
}

impl SealedMaterial {
    /// Takes sealed bytes as they come from the store.
    pub fn from_sealed(sealed: Vec<u8>) -> Self {
        Self { sealed, opened: Arc::default() }
    }

    /// The sealed bytes: `nonce (12) | ciphertext (32, or as many as the material has) | tag (16)`.
    pub fn as_sealed(&self) -> &[u8] {
        &self.sealed
    }
}

impl PartialEq for SealedMaterial {
    fn eq(&self, other: &Self) -> bool {
        self.sealed == other.sealed
    }
}

impl Eq for SealedMaterial {}

impl fmt::Debug for SealedMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedMaterial({} bytes)", self.sealed.len())
    }
}

/// Seals, opens and names key material, and has the key of import tokens. The store derives its keys from the root key.
#[derive(Debug)]
pub struct Sealer {
    sealing: Secret<KEY_LEN>,
    naming: MacKey,
    tokens: TokenKey,
}

impl Sealer {
    /// From a key that seals, one that names and one that seals import tokens; none may serve any other purpose.
    pub fn new(sealing: Secret<KEY_LEN>, naming: &Secret<KEY_LEN>, tokens: TokenKey) -> Self {
        Self { sealing, naming: MacKey::new(naming), tokens }
    }

    /// What seals and opens import tokens.
    pub const fn tokens(&self) -> &TokenKey {
        &self.tokens
    }

    /// Makes a fresh backing key for the symmetric key `key`.
    pub fn generate(&self, key: KeyId) -> (MaterialId, SealedMaterial) {
        self.take(key, &Material::Backing(BackingKey::random()))
    }

    /// Takes material that was made before. The same material has the same id under one CMK, and another one under another.
    pub fn take(&self, key: KeyId, material: &Material) -> (MaterialId, SealedMaterial) {
        let bytes = material.to_bytes();
        let id = self.name(key, &bytes);
        let sealed = aead::seal(&self.sealing, &associated_data(key, id), &bytes);
        (id, SealedMaterial::from_sealed(sealed))
    }

    /// The material in `sealed`, which belongs to a key of `spec`, opened at its first use.
    ///
    /// # Errors
    /// [`AuthenticationFailed`] when these bytes were not sealed for this key and this material id, or are no material of that spec.
    pub fn open<'a>(
        &self,
        key: KeyId,
        spec: KeySpec,
        id: MaterialId,
        sealed: &'a SealedMaterial,
    ) -> Result<&'a Material, AuthenticationFailed> {
        if let Some(opened) = sealed.opened.get() {
            return Ok(opened);
        }
        let bytes = aead::open(&self.sealing, &associated_data(key, id), &sealed.sealed)?;
        let opened = Material::from_bytes(spec, &bytes).ok_or(AuthenticationFailed)?;
        Ok(sealed.opened.get_or_init(|| opened))
    }

    /// The material id: a keyed digest of CMK and material, so that it tells nothing about the material, and the same
    /// bytes under two CMKs have two ids (AWS KMS API, KeyMaterialId).
    fn name(&self, key: KeyId, material: &[u8]) -> MaterialId {
        MaterialId::from_bytes(self.naming.sign(&[b"kmsfs key material id v1", key.as_bytes(), material]))
    }
}

/// `label | key id (16) | material id (32)`.
fn associated_data(key: KeyId, id: MaterialId) -> Vec<u8> {
    [b"kmsfs backing key v1".as_slice(), key.as_bytes(), id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::id::KeyScope;

    fn random() -> KeyId {
        KeyId::random(KeyScope::SingleRegion)
    }

    fn sealer() -> Sealer {
        Sealer::new(Secret::random(), &Secret::random(), TokenKey::new(Secret::random()))
    }

    #[test]
    fn sealed_material_opens_only_for_its_key_its_spec_and_its_id() {
        let sealer = sealer();
        for spec in [KeySpec::SymmetricDefault, KeySpec::Rsa2048, KeySpec::EccNistP256, KeySpec::Hmac384] {
            let key = random();
            let (id, sealed) = sealer.take(key, &Material::generate(spec));
            let fresh = || SealedMaterial::from_sealed(sealed.as_sealed().to_vec());
            assert!(sealer.open(key, spec, id, &fresh()).is_ok());
            assert!(sealer.open(random(), spec, id, &fresh()).is_err());
            assert!(sealer.open(key, spec, MaterialId::from_bytes([7; 32]), &fresh()).is_err());
            assert!(sealer.open(key, KeySpec::EccNistEdwards25519, id, &fresh()).is_err());
            assert!(self::sealer().open(key, spec, id, &fresh()).is_err());
        }
    }

    #[test]
    fn the_same_bytes_under_two_keys_have_two_ids() {
        let sealer = sealer();
        let material = [7; 32];
        let (one, two) = (random(), random());
        assert_ne!(sealer.name(one, &material), sealer.name(two, &material));
        assert_eq!(sealer.name(one, &material), sealer.name(one, &material));
    }

    /// RFC 8410, 10.3: version 2 with the public key, and version 1 without.
    #[test]
    fn a_private_key_has_one_id_however_it_is_written() {
        let sealer = sealer();
        let made = pair::generate(pair::PairKind::Ed25519);
        let public = &made.public[made.public.len() - 32..];
        let seed = &made.private[made.private.len() - 32..];
        let begins = [0x30, 0x51, 2, 1, 1, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        let two = [&begins[..], seed, &[0x81, 0x21, 0], public].concat();
        assert_ne!(two, *made.private);
        let key = random();
        let id = |der: &[u8]| {
            let material = Material::from_bytes(KeySpec::EccNistEdwards25519, der).unwrap();
            sealer.take(key, &material).0
        };
        assert_eq!(id(&made.private), id(&two));
    }

    #[test]
    fn a_mac_key_has_the_lengths_of_its_spec() {
        for (spec, lengths) in [
            (KeySpec::Hmac224, 28..=64),
            (KeySpec::Hmac256, 32..=64),
            (KeySpec::Hmac384, 48..=128),
            (KeySpec::Hmac512, 64..=128),
        ] {
            for len in 0..200 {
                let taken = Material::from_bytes(spec, &vec![1; len]).is_some();
                assert_eq!(taken, lengths.contains(&len), "{spec:?}: {len}");
            }
            assert_eq!(Material::generate(spec).to_bytes().len(), *lengths.start());
        }
    }

    #[test]
    fn debug_form_shows_no_byte() {
        let sealed = SealedMaterial::from_sealed(vec![0xab; 60]);
        assert_eq!(format!("{sealed:?}"), "SealedMaterial(60 bytes)");
    }
}
