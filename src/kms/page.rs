//! Pages of a list: Limit, Marker, NextMarker, Truncated.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use super::fields::Fields;
use super::{AwsError, KmsError};

/// Which page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    limit: usize,
    marker: Option<String>,
}

/// A page, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// The marker of the next page; `None` on the last one.
    pub next_marker: Option<String>,
}

impl PageRequest {
    /// Reads Limit (at most `max`, `default` where it is absent) and Marker.
    ///
    /// # Errors
    /// As [`Fields`] says.
    pub fn read(fields: &mut Fields, default: u32, max: u32) -> Result<Self, KmsError> {
        let limit = fields.integer("Limit", 1..=max)?.unwrap_or(default);
        let marker = fields.text("Marker", 1..=1024)?;
        Ok(Self { limit: limit as usize, marker })
    }

    /// The page of `items`, which come in the order of `place`. A marker holds the place of the last entry before it,
    /// so that entries which come and go between two pages neither repeat others nor hide them.
    ///
    /// # Errors
    /// `InvalidMarkerException` for a marker that this list did not give out.
    pub fn cut<T>(
        &self,
        list: &str,
        items: impl Iterator<Item = T>,
        place: impl Fn(&T) -> String,
    ) -> Result<Page<T>, KmsError> {
        let after = self.marker.as_deref().map(|marker| decode(list, marker)).transpose()?;
        let mut rest = items.skip_while(|item| after.as_deref().is_some_and(|after| *place(item) <= *after));
        let items: Vec<T> = rest.by_ref().take(self.limit).collect();
        let next_marker = match (rest.next(), items.last()) {
            (Some(_), Some(last)) => Some(BASE64.encode(format!("{list}:{}", place(last)))),
            (Some(_), None) | (None, _) => None,
        };
        Ok(Page { items, next_marker })
    }
}

fn decode(list: &str, marker: &str) -> Result<String, KmsError> {
    let place = BASE64.decode(marker).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    place
        .as_deref()
        .and_then(|place| place.strip_prefix(list)?.strip_prefix(':'))
        .map(str::to_owned)
        .ok_or_else(|| KmsError::new(AwsError::InvalidMarker, "Invalid marker."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: usize, marker: Option<String>) -> Page<char> {
        PageRequest { limit, marker }.cut("letters", 'a'..='e', |letter| letter.to_string()).unwrap()
    }

    #[test]
    fn pages_join_to_the_whole_list() {
        let first = page(2, None);
        assert_eq!(first.items, ['a', 'b']);
        let second = page(2, first.next_marker);
        assert_eq!(second.items, ['c', 'd']);
        let last = page(2, second.next_marker);
        assert_eq!((last.items, last.next_marker), (vec!['e'], None));
        assert_eq!(page(5, None).next_marker, None);
    }

    #[test]
    fn a_marker_of_another_list_is_refused() {
        let marker = page(2, None).next_marker;
        for wrong in [marker, Some("?".into()), Some("AAAA".into())] {
            let error = PageRequest { limit: 1, marker: wrong }
                .cut("digits", '0'..='9', |digit| digit.to_string())
                .unwrap_err();
            assert_eq!(error.error, AwsError::InvalidMarker);
        }
    }
}
