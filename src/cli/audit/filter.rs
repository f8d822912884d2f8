//! Which records are asked for.

use clap::Args;
use serde_json::Value;

use crate::cli::error::{CliError, Result};
use crate::cli::exit;
use crate::cli::similar::with_nearest;
use crate::cli::words::span;
use crate::clock::Timestamp;
use crate::kms::AwsError;
use crate::kms::audit::event_names;
use crate::kms::ring::Keyring;
use crate::store::Home;

/// What `--error` stands for without a name.
const ANY: &str = "any";

/// Filters of every command that shows records.
#[derive(Debug, Default, Args)]
pub struct Filters {
    /// Of this key: id, ARN or alias; also one that was destroyed
    #[arg(long)]
    key: Option<String>,
    /// Of this event: Decrypt, DisableKey, ...
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// Since a time (RFC 3339), or for a span: 90s, 30m, 2h, 7d, 4w
    #[arg(long, value_name = "T")]
    since: Option<String>,
}

/// Filters of a search.
#[derive(Debug, Default, Args)]
pub struct Search {
    /// Until a time, or a span ago
    #[arg(long, value_name = "T")]
    until: Option<String>,
    /// By this user: name, user id or ARN
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Of this file or directory within its volume, and what is beneath
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// That were refused, with this error where one is named
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = ANY)]
    error: Option<String>,
}

/// What a record must be.
#[derive(Debug)]
pub struct Filter {
    /// An id, and what it was called by.
    key: Option<(String, String)>,
    event: Option<&'static str>,
    since: Option<String>,
    until: Option<String>,
    user: Option<String>,
    path: Option<String>,
    /// A name, or none for every error.
    error: Option<Option<&'static str>>,
}

impl Filter {
    /// Reads the arguments; spans end now, by the home's clock.
    ///
    /// # Errors
    /// A time that is none.
    pub fn new(home: &Home, filters: Filters, search: Search) -> Result<Self> {
        let (ring, now) = (home.keyring()?, home.now()?);
        let time = |given: Option<String>| given.map(|given| time(&given, now)).transpose();
        Ok(Self {
            key: filters.key.map(|key| (id_of(&ring, &key), key)),
            event: filters.event.map(|event| event_of(&event)).transpose()?,
            since: time(filters.since)?,
            until: time(search.until)?,
            user: search.user,
            path: search.path.map(|path| path.trim_matches('/').to_owned()),
            error: search.error.map(|error| error_of(&error)).transpose()?,
        })
    }

    /// Whether a record is one of them.
    pub fn takes(&self, record: &Value) -> bool {
        let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let fits = |wanted: &Option<String>, fits: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(fits);
        let when = text(record, "eventTime");
        let file = &record["additionalEventData"];
        let who = &record["userIdentity"];
        self.key.as_ref().is_none_or(|(id, name)| is_about(record, id, name))
            && self.event.is_none_or(|event| record["eventName"] == event)
            && fits(&self.since, &|since| *when >= *since)
            && fits(&self.until, &|until| *when <= *until)
            && fits(&self.user, &|user| {
                [text(who, "userName"), text(who, "arn")].contains(&user.to_owned())
                    || file["uid"].as_u64().is_some_and(|uid| uid.to_string() == user)
            })
            && fits(&self.path, &|path| {
                let found = text(file, "path");
                let rest = found.strip_prefix(path);
                !found.is_empty()
                    && rest.is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with('/'))
            })
            && self.error.is_none_or(|error| match record["errorCode"].as_str() {
                Some(found) => error.is_none_or(|error| found == error),
                None => false,
            })
    }
}

/// The event of that name, in upper or lower case: one that nothing is ever recorded under would be waited for in vain.
pub fn event_of(given: &str) -> Result<&'static str> {
    event_names().find(|name| name.eq_ignore_ascii_case(given)).ok_or_else(|| {
        let hint = "kmsfs audit tail shows events: Decrypt, ScheduleKeyDeletion";
        CliError::new(exit::USAGE, format!("{given:?} is no name of an event")).hint(with_nearest(
            hint,
            given,
            event_names(),
        ))
    })
}

/// The error of that name, in upper or lower case; none where any is meant.
fn error_of(given: &str) -> Result<Option<&'static str>> {
    let names = || AwsError::ALL.iter().map(|error| error.name());
    match names().find(|name| name.eq_ignore_ascii_case(given)) {
        Some(name) => Ok(Some(name)),
        None if given == ANY => Ok(None),
        None => {
            let hint = "kmsfs audit search --error shows all that was refused, with the name of the error";
            Err(CliError::new(exit::USAGE, format!("{given:?} is no name of an error")).hint(with_nearest(
                hint,
                given,
                names(),
            )))
        }
    }
}

/// The id that a name stands for now; what is no name of a key may be that of one that was destroyed.
fn id_of(ring: &Keyring, name: &str) -> String {
    let alias = ring.aliases().find(|alias| alias.name.as_str() == name);
    match alias {
        Some(alias) => alias.key.to_string(),
        None => name.rsplit('/').next().unwrap_or(name).to_owned(),
    }
}

fn is_about(record: &Value, id: &str, name: &str) -> bool {
    let resources = record["resources"].as_array().into_iter().flatten();
    let mut arns = resources.filter_map(|resource| resource["ARN"].as_str());
    arns.any(|arn| arn.rsplit('/').next() == Some(id))
        || record["requestParameters"]["keyId"].as_str().is_some_and(|key| key == name || key == id)
}

/// A time as records write it: given as RFC 3339, or as a span before `now`.
fn time(given: &str, now: Timestamp) -> Result<String> {
    let at = given.parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond());
    let ago = || now.as_millis().checked_sub(i64::try_from(span(given).ok()?.as_millis()).ok()?);
    let millis = at.or_else(ago).ok_or_else(|| {
        CliError::new(exit::USAGE, format!("{given:?} is no time"))
            .hint("give one such as 2026-11-24T08:00:00Z, or a span: 90s, 30m, 2h, 7d, 4w")
    })?;
    Ok(Timestamp::from_millis(millis).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rfc_3339_or_a_span() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let said = |given| time(given, now).map_err(|error| error.to_string());
        assert_eq!(said("2023-11-14T22:13:20Z").unwrap(), "2023-11-14T22:13:20.000Z");
        assert_eq!(said("2023-11-14T23:13:20+01:00").unwrap(), "2023-11-14T22:13:20.000Z");
        assert_eq!(said("2h").unwrap(), "2023-11-14T20:13:20.000Z");
        assert_eq!(said("1w").unwrap(), "2023-11-07T22:13:20.000Z");
        for wrong in ["", "h", "-2h", "2y", "yesterday", "2ü", "99999999999d"] {
            assert!(said(wrong).is_err(), "{wrong:?}");
        }
    }
}
