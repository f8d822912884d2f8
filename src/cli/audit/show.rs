//! A record as a line.

use std::collections::HashMap;
use std::io::{self, Write};

use serde_json::Value;

use crate::cli::error::{CliError, Result, one_line};
use crate::cli::exit;
use crate::cli::terminal::has_colours;
use crate::store::Home;
use crate::store::audit::read::Entry;

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Prints records.
#[derive(Debug)]
pub struct Show {
    is_json: bool,
    has_colours: bool,
    is_over: bool,
    /// The aliases of keys, by their ids.
    aliases: HashMap<String, String>,
}

impl Show {
    /// For people, or as they are.
    ///
    /// # Errors
    /// Failures of the key store.
    pub fn new(home: &Home, is_json: bool) -> Result<Self> {
        let ring = home.keyring()?;
        let mut aliases = HashMap::new();
        for alias in ring.aliases() {
            aliases.entry(alias.key.to_string()).or_insert_with(|| alias.name.to_string());
        }
        Ok(Self { is_json, has_colours: has_colours(), is_over: false, aliases })
    }

    /// Whether the reader has gone.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Prints one.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn entry(&mut self, entry: &Entry) -> Result<()> {
        let line = match self.is_json {
            true => format!("{}\n", entry.line),
            false => self.line(entry),
        };
        let mut out = io::stdout().lock();
        match out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.is_over = true,
            Err(error) => {
                let what = format!("standard output cannot be written: {error}");
                return Err(
                    CliError::new(exit::FAILURE, what).hint("see where it leads: a full disk takes no more")
                );
            }
            Ok(()) => (),
        }
        Ok(())
    }

    fn line(&self, entry: &Entry) -> String {
        let record = &entry.record;
        let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let (time, event) = (text(record, "eventTime"), text(record, "eventName"));
        let outcome = match record["errorCode"].as_str() {
            Some(error) => format!("{error} {}", text(record, "errorMessage")),
            None => "ok".to_owned(),
        };
        let colour = match (&record["errorCode"], &record["readOnly"]) {
            (Value::String(_), _) => RED,
            (_, Value::Bool(false)) => YELLOW,
            _ => "",
        };
        let mark = if entry.is_authentic { " " } else { "!" };
        let cells = format!("{event:22} {:12} {:24} {}", who(record), self.keys(record), about(record));
        let (cells, outcome) = (one_line(&cells), one_line(&outcome));
        match self.has_colours {
            true => format!("{mark}{DIM}{time}{PLAIN} {cells}  {colour}{outcome}{PLAIN}\n"),
            false => format!("{mark}{time} {cells}  {outcome}\n"),
        }
    }

    /// The keys that a record is about: an alias, or else the id.
    fn keys(&self, record: &Value) -> String {
        let resources = record["resources"].as_array().into_iter().flatten();
        let arns = resources.filter_map(|resource| resource["ARN"].as_str());
        let names: Vec<_> = arns
            .map(|arn| {
                let id = arn.rsplit('/').next().unwrap_or(arn);
                self.aliases.get(id).map_or(id, String::as_str)
            })
            .collect();
        if names.is_empty() { "-".to_owned() } else { names.join(",") }
    }
}

/// A user's name, or what in the service did it.
fn who(record: &Value) -> String {
    let who = &record["userIdentity"];
    match who["userName"].as_str() {
        Some(name) => name.to_owned(),
        None if who["invokedBy"].is_string() => "(kmsfs)".to_owned(),
        None => "-".to_owned(),
    }
}

/// The file, or what else there is to say.
fn about(record: &Value) -> String {
    let file = &record["additionalEventData"];
    match (file["path"].as_str(), file["pid"].as_u64(), file["detail"].as_str()) {
        (Some(path), Some(pid), _) => format!("{path} (pid {pid})"),
        (Some(path), None, Some(detail)) => format!("{path}: {detail}"),
        (Some(path), None, None) => path.to_owned(),
        (None, ..) => "-".to_owned(),
    }
}
