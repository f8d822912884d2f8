//! The encryption context: authenticated, unencrypted pairs that a wrap is bound to.
//!
//! It owns the one canonical serialisation, which every wrap uses as associated data: independent of the order of
//! the pairs and unambiguous, so that `{"ab":"c"}` is never taken for `{"a":"bc"}`. (Model: AWS Encryption SDK
//! specification, "Serialization of the encryption context", with wider lengths.)

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// String pairs, ordered by the bytes of their keys; no key occurs twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EncryptionContext(BTreeMap<String, String>);

impl EncryptionContext {
    /// The pairs in canonical order.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value of `key`.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Whether there is no pair. An absent context and an empty one are the same (AWS KMS).
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The canonical bytes:
    ///
    /// ```text
    /// number of pairs (u32, big-endian)
    /// per pair, sorted by the bytes of the key:
    ///     length of key (u32, big-endian) | key (UTF-8) | length of value (u32, big-endian) | value (UTF-8)
    /// ```
    ///
    /// # Panics
    /// When a string has 4 GiB or more; requests are limited far below that.
    pub fn canonical(&self) -> Vec<u8> {
        let len = self.0.iter().map(|(key, value)| 8 + key.len() + value.len()).sum::<usize>();
        let mut out = Vec::with_capacity(4 + len);
        out.extend_from_slice(&length(self.0.len()));
        for text in self.0.iter().flat_map(|(key, value)| [key, value]) {
            out.extend_from_slice(&length(text.len()));
            out.extend_from_slice(text.as_bytes());
        }
        out
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for EncryptionContext {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("a context is far below 4 GiB").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
        pairs.iter().copied().collect()
    }

    #[test]
    fn cr_2_the_boundary_between_key_and_value_counts() {
        assert_ne!(context(&[("ab", "c")]).canonical(), context(&[("a", "bc")]).canonical());
        assert_ne!(context(&[("a", "b"), ("c", "d")]).canonical(), context(&[("a", "bcd")]).canonical());
    }

    #[test]
    fn cr_2_the_order_of_pairs_does_not_count() {
        let one = context(&[("b", "2"), ("a", "1")]);
        let two = context(&[("a", "1"), ("b", "2")]);
        assert_eq!(one.canonical(), two.canonical());
    }

    #[test]
    fn the_canonical_form_is_what_the_documentation_says() {
        assert_eq!(context(&[]).canonical(), [0, 0, 0, 0]);
        assert_eq!(
            context(&[("a", "bc")]).canonical(),
            [0, 0, 0, 1, 0, 0, 0, 1, b'a', 0, 0, 0, 2, b'b', b'c']
        );
    }
}
