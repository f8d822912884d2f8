//! Names: key ids, key material ids, alias names, and the ARNs made of them.
//!
//! A name that is held here is well formed; whether anything of that name exists is the keyring's to say.

use std::fmt;

use uuid::Uuid;

use crate::crypto::rng;
use crate::datakey::{KeyArn, MATERIAL_ID_LEN};

/// Whether a key can have related ones in other regions. It is settled when the key is made, and for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyScope {
    /// It cannot.
    SingleRegion,
    /// It can: the related keys share its id and its material.
    MultiRegion,
}

impl KeyScope {
    /// Every scope.
    pub const ALL: [Self; 2] = [Self::SingleRegion, Self::MultiRegion];

    /// The byte in front of an id in what the service gives out: ciphertexts, grant tokens and import tokens.
    pub const fn code(self) -> u8 {
        match self {
            Self::SingleRegion => 1,
            Self::MultiRegion => 2,
        }
    }

    /// The scope of that byte.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.code() == code)
    }
}

/// The id of a CMK: 16 random bytes (a UUID of version 4). In text that of a single-Region key is the UUID, in lower-case hexadecimal with
/// hyphens; that of a multi-Region key is `mrk-` and the same digits without hyphens (AWS KMS Developer Guide, "Multi-Region keys").
/// Ids are in the order of their texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId {
    scope: KeyScope,
    id: Uuid,
}

impl KeyId {
    /// Bytes of an id.
    pub const LEN: usize = 16;
    /// What the text of a multi-Region key's id begins with.
    const PREFIX: &str = "mrk-";

    /// A fresh id.
    pub fn random(scope: KeyScope) -> Self {
        Self { scope, id: uuid::Builder::from_random_bytes(rng::bytes()).into_uuid() }
    }

    /// Reads the canonical text form and no other (AWS KMS refuses a UUID without hyphens or in upper case).
    pub fn parse(text: &str) -> Option<Self> {
        let (scope, digits) = match text.strip_prefix(Self::PREFIX) {
            None => (KeyScope::SingleRegion, text),
            Some(digits) => (KeyScope::MultiRegion, digits),
        };
        let id = Self { scope, id: Uuid::try_parse(digits).ok()? };
        (id.to_string() == text).then_some(id)
    }

    /// From its bytes, as a ciphertext carries them.
    pub const fn from_bytes(scope: KeyScope, bytes: [u8; Self::LEN]) -> Self {
        Self { scope, id: Uuid::from_bytes(bytes) }
    }

    /// Its bytes, without its scope.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        self.id.as_bytes()
    }

    /// Whether the key can have related ones.
    pub const fn scope(&self) -> KeyScope {
        self.scope
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scope {
            KeyScope::SingleRegion => self.id.as_hyphenated().fmt(f),
            KeyScope::MultiRegion => write!(f, "{}{}", Self::PREFIX, self.id.as_simple()),
        }
    }
}

/// The id of a backing key (AWS: key material id): 32 bytes, in text 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaterialId([u8; MATERIAL_ID_LEN]);

impl MaterialId {
    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; MATERIAL_ID_LEN]) -> Self {
        Self(bytes)
    }

    /// Reads the canonical text form and no other.
    pub fn parse(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; MATERIAL_ID_LEN] {
        &self.0
    }
}

impl fmt::Display for MaterialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The id of a grant: 32 random bytes, in text 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId([u8; GrantId::LEN]);

impl GrantId {
    /// Bytes of an id.
    pub const LEN: usize = 32;

    /// A fresh id.
    pub fn random() -> Self {
        Self(rng::bytes())
    }

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Reads the canonical text form and no other.
    pub fn parse(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The name of an alias with its prefix: `alias/NAME`, [`AliasName::MAX_LEN`] characters of `[a-zA-Z0-9/_-]` at most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AliasName(String);

impl AliasName {
    /// What every alias begins with.
    pub const PREFIX: &str = "alias/";
    /// What the aliases of AWS managed keys begin with.
    pub const RESERVED_PREFIX: &str = "alias/aws/";
    /// The alias of the one key that the service itself manages: that of volumes whose maker named none.
    pub const MANAGED: &str = "alias/aws/kmsfs";
    /// Characters at most, with the prefix.
    pub const MAX_LEN: usize = 256;

    /// [`AliasName::MANAGED`], where `text` is it or an ARN of it, in whichever account and region.
    pub fn managed_in(text: &str) -> Option<Self> {
        let name = text.rsplit(':').next().filter(|name| *name == Self::MANAGED)?;
        Some(Self(name.to_owned()))
    }

    /// Reads a name that is well formed.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix(Self::PREFIX)?;
        let fits = !name.is_empty()
            && text.len() <= Self::MAX_LEN
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte));
        fits.then(|| Self(text.to_owned()))
    }

    /// The name as text, with its prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AliasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The account and the region that the names of a home live in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// The account: 12 digits.
    pub account: String,
    /// The region, such as `us-east-1`.
    pub region: String,
}

/// Letters of a region's name at most.
const REGION_LEN: usize = 64;

/// Whether a text can name a region: `us-east-1`, lower-case letters and digits, beginning with a letter, with single hyphens between them. Which regions there are is nowhere said: each is there as soon as it is asked in.
pub fn is_region(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(letter);
    text.len() <= REGION_LEN
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.split('-').all(is_part)
}

impl Namespace {
    /// `arn:aws:kms:REGION:ACCOUNT:key/ID`.
    pub fn key_arn(&self, id: KeyId) -> KeyArn {
        self.key_arn_in(&self.region, id)
    }

    /// That of a key of the account in any region.
    pub fn key_arn_in(&self, region: &str, id: KeyId) -> KeyArn {
        KeyArn::new(format!("arn:aws:kms:{region}:{}:key/{id}", self.account))
    }

    /// `arn:aws:kms:REGION:ACCOUNT:alias/NAME`.
    pub fn alias_arn(&self, name: &AliasName) -> String {
        format!("arn:aws:kms:{}:{}:{name}", self.region, self.account)
    }

    /// The id in an ARN of a key of this account and region; `None` for any other text.
    pub fn key_id_of(&self, arn: &KeyArn) -> Option<KeyId> {
        let resource = arn.as_str().strip_prefix("arn:aws:kms:")?;
        let resource = resource.strip_prefix(self.region.as_str())?.strip_prefix(':')?;
        let resource = resource.strip_prefix(self.account.as_str())?.strip_prefix(":key/")?;
        KeyId::parse(resource)
    }
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(bytes)
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_has_one_text_form() {
        for scope in KeyScope::ALL {
            let id = KeyId::random(scope);
            assert_eq!(KeyId::parse(&id.to_string()), Some(id));
            assert_eq!(id.scope(), scope);
        }
        let digits = "6f1b6a0c000040008000000000000000";
        assert_eq!(KeyId::parse(&format!("mrk-{digits}")).unwrap().scope(), KeyScope::MultiRegion);
        for wrong in [
            "6F1B6A0C-0000-4000-8000-000000000000",
            digits,
            "",
            "mrk-",
            "mrk-6f1b6a0c-0000-4000-8000-000000000000",
            "mrk-6F1B6A0C000040008000000000000000",
            "MRK-6f1b6a0c000040008000000000000000",
            "mrk-mrk-6f1b6a0c000040008000000000000000",
        ] {
            assert_eq!(KeyId::parse(wrong), None, "{wrong}");
        }
    }

    /// Pages of lists go by the text of ids, and the keyring by the ids.
    #[test]
    fn key_ids_are_in_the_order_of_their_texts() {
        let mut ids: Vec<_> = (0..200).map(|number| KeyId::random(KeyScope::ALL[number % 2])).collect();
        ids.sort();
        let texts: Vec<_> = ids.iter().map(KeyId::to_string).collect();
        assert!(texts.is_sorted());
    }

    #[test]
    fn a_scope_has_one_code() {
        for scope in KeyScope::ALL {
            assert_eq!(KeyScope::from_code(scope.code()), Some(scope));
        }
        assert_eq!(KeyScope::from_code(0), None);
    }

    #[test]
    fn a_material_id_has_one_text_form() {
        let id = MaterialId::from_bytes(rng::bytes());
        assert_eq!(MaterialId::parse(&id.to_string()), Some(id));
        assert_eq!(MaterialId::parse(&id.to_string().to_uppercase().replace('0', "A")), None);
        assert_eq!(MaterialId::parse("00"), None);
        assert_eq!(MaterialId::parse(&"é".repeat(32)), None);
    }

    #[test]
    fn a_region_has_letters_digits_and_single_hyphens_between_them() {
        for region in ["us-east-1", "us-gov-west-1", "ap-southeast-99", "local", "eu1", "a"] {
            assert!(is_region(region), "{region}");
        }
        for wrong in [
            "",
            "-",
            "--",
            "-us-east-1",
            "us-east-1-",
            "us--east-1",
            "1",
            "US-east-1",
            "us_east",
            "us.1",
            "ü",
        ] {
            assert!(!is_region(wrong), "{wrong:?}");
        }
        assert!(!is_region(&"a".repeat(65)));
    }

    #[test]
    fn al_1_an_alias_name_has_a_prefix_and_a_few_characters() {
        assert!(AliasName::parse("alias/a/b_c-D9").is_some());
        assert!(AliasName::parse(&format!("alias/{}", "a".repeat(250))).is_some());
        for wrong in ["", "a", "alias/", "alias/a b", "alias/a:b", "alias/ä"] {
            assert!(AliasName::parse(wrong).is_none(), "{wrong:?}");
        }
        assert!(AliasName::parse(&format!("alias/{}", "a".repeat(251))).is_none());
    }

    #[test]
    fn an_arn_of_another_account_region_or_kind_has_no_key_id_here() {
        let here = Namespace { account: "000000000000".into(), region: "us-east-1".into() };
        let id = KeyId::random(KeyScope::MultiRegion);
        assert_eq!(here.key_id_of(&here.key_arn(id)), Some(id));
        let there = Namespace { region: "us-east-11".into(), ..here.clone() };
        assert_eq!(here.key_id_of(&there.key_arn(id)), None);
        assert_eq!(there.key_id_of(&here.key_arn(id)), None);
        assert_eq!(here.key_id_of(&KeyArn::new("arn:aws:kms:us-east-1:000000000000:alias/x")), None);
    }
}
