//! Pages of a list, put together as the AWS CLI does: all of them, or as many items as were asked for and a token for the rest.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::arguments::{Arguments, Usage};
use super::table::Command;
use crate::kms::KmsError;

/// How many items were taken of the page that a token begins with (the AWS CLI's own name for it).
const TRUNCATE: &str = "boto_truncate_amount";

/// A list that is to be put together.
#[derive(Debug)]
pub struct Plan {
    listed: &'static str,
    request: Map<String, Value>,
    marker: Option<String>,
    skip: usize,
    most: Option<usize>,
}

/// The plan for an operation; `None` where its answer is printed as it is: it lists nothing, or the caller turns the pages.
///
/// # Errors
/// A token that cannot be read.
pub fn plan(command: &Command, arguments: &Arguments) -> Result<Option<Plan>, Usage> {
    let Some(listed) = command.listed else { return Ok(None) };
    let by_hand = ["Limit", "Marker"].iter().any(|member| arguments.request.contains_key(*member));
    if by_hand || arguments.no_paginate {
        let paging = [
            ("--max-items", arguments.max_items.is_some()),
            ("--page-size", arguments.page_size.is_some()),
            ("--starting-token", arguments.starting_token.is_some()),
        ];
        let given = paging.into_iter().find(|(_, given)| *given);
        return given.map_or(Ok(None), |(flag, _)| {
            let what = format!(
                "kms {}: {flag} cannot stand beside --no-paginate, --limit or --marker, which turn the pages by hand",
                command.name
            );
            Err(Usage::new(what, format!("kmsfs kms {} help", command.name)))
        });
    }
    let mut request = arguments.request.clone();
    if let Some(size) = arguments.page_size {
        request.insert("Limit".to_owned(), Value::from(size));
    }
    let (marker, skip) = match &arguments.starting_token {
        None => (None, 0),
        Some(token) => read_token(token).ok_or_else(|| {
            let what = format!("kms {}: Bad starting token: {token}", command.name);
            Usage::new(what, "take the NextToken of the answer before")
        })?,
    };
    Ok(Some(Plan { listed, request, marker, skip, most: arguments.max_items }))
}

impl Plan {
    /// Asks for page after page by `ask`.
    ///
    /// # Errors
    /// Whatever `ask` answers.
    pub fn run(
        mut self,
        ask: impl Fn(&Map<String, Value>) -> Result<Option<Value>, KmsError>,
    ) -> Result<Value, KmsError> {
        let mut items = Vec::new();
        loop {
            if let Some(marker) = &self.marker {
                self.request.insert("Marker".to_owned(), Value::from(marker.clone()));
            }
            let answer = ask(&self.request)?.unwrap_or_default();
            let page = answer.get(self.listed).and_then(Value::as_array).cloned().unwrap_or_default();
            let on_page = page.len();
            let wanted = self.most.map_or(usize::MAX, |most| most - items.len());
            let taken: Vec<_> = page.into_iter().skip(self.skip).take(wanted).collect();
            let used = self.skip + taken.len();
            items.extend(taken);
            if used < on_page {
                return Ok(json!({self.listed: items, "NextToken": token(self.marker.as_deref(), used)}));
            }
            self.skip = 0;
            self.marker = answer.get("NextMarker").and_then(Value::as_str).map(str::to_owned);
            match &self.marker {
                None => return Ok(json!({self.listed: items})),
                Some(marker) if self.most == Some(items.len()) => {
                    return Ok(json!({self.listed: items, "NextToken": token(Some(marker), 0)}));
                }
                Some(_) => (),
            }
        }
    }
}

fn token(marker: Option<&str>, used: usize) -> String {
    let mut token = Map::from_iter([("Marker".to_owned(), Value::from(marker))]);
    if used > 0 {
        token.insert(TRUNCATE.to_owned(), Value::from(used));
    }
    BASE64.encode(Value::Object(token).to_string())
}

fn read_token(token: &str) -> Option<(Option<String>, usize)> {
    let token: Value = serde_json::from_slice(&BASE64.decode(token).ok()?).ok()?;
    let marker = token.get("Marker")?.as_str().map(str::to_owned);
    let skip = token.get(TRUNCATE).and_then(Value::as_u64).unwrap_or(0);
    Some((marker, usize::try_from(skip).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five items in pages of two, by markers that are numbers.
    fn pages(request: &Map<String, Value>) -> Result<Option<Value>, KmsError> {
        let from: usize =
            request.get("Marker").and_then(Value::as_str).map_or(0, |marker| marker.parse().unwrap());
        let to = (from + 2).min(5);
        let mut answer = json!({"Keys": (from..to).collect::<Vec<_>>(), "Truncated": to < 5});
        if to < 5 {
            answer["NextMarker"] = Value::from(to.to_string());
        }
        Ok(Some(answer))
    }

    fn listed(most: Option<usize>, from: Option<&str>) -> Value {
        let (marker, skip) = from.map_or((None, 0), |token| read_token(token).unwrap());
        Plan { listed: "Keys", request: Map::new(), marker, skip, most }.run(pages).unwrap()
    }

    #[test]
    fn all_pages_are_put_together() {
        assert_eq!(listed(None, None), json!({"Keys": [0, 1, 2, 3, 4]}));
    }

    #[test]
    fn a_token_goes_on_where_the_answer_ended() {
        for most in 1..=4 {
            let mut seen = Vec::new();
            let mut token: Option<String> = None;
            loop {
                let answer = listed(Some(most), token.as_deref());
                let items = answer["Keys"].as_array().unwrap().clone();
                assert!(items.len() <= most);
                seen.extend(items);
                match answer.get("NextToken") {
                    Some(next) => token = next.as_str().map(str::to_owned),
                    None => break,
                }
            }
            assert_eq!(Value::from(seen), json!([0, 1, 2, 3, 4]), "{most} items at a time");
        }
    }

    #[test]
    fn a_bad_token_is_refused() {
        assert!(read_token("?").is_none());
        assert!(read_token(&BASE64.encode("[]")).is_none());
    }
}
