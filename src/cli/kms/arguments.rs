//! From flags to a request.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::table::{Command, Kind, Parameter};
use super::value;
use crate::cli::similar::with_nearest;

/// Arguments that cannot be understood: what, and what to do.
#[derive(Debug)]
pub struct Usage {
    /// What is wrong.
    pub what: String,
    /// The next command.
    pub hint: String,
}

impl Usage {
    /// What is wrong, and what to do.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// The result of reading arguments.
pub type Result<T> = std::result::Result<T, Usage>;

/// Flags of the AWS CLI that work here are read elsewhere; these are refused by name.
const REFUSED: [&str; 17] = [
    "profile",
    "endpoint-url",
    "query",
    "debug",
    "no-verify-ssl",
    "no-sign-request",
    "ca-bundle",
    "cli-read-timeout",
    "cli-connect-timeout",
    "cli-binary-format",
    "cli-input-yaml",
    "generate-cli-skeleton",
    "color",
    "no-cli-pager",
    "cli-auto-prompt",
    "no-cli-auto-prompt",
    "version",
];

/// Flags that may stand before the operation, as with the AWS CLI; and what is behind them.
///
/// # Errors
/// A flag that may not, by name.
pub fn split_globals(given: Vec<String>) -> Result<(Vec<String>, std::vec::IntoIter<String>)> {
    let mut globals = Vec::new();
    let mut rest = given.into_iter();
    while let Some(word) = rest.as_slice().first().and_then(|word| word.strip_prefix("--")) {
        let (name, is_joined) = word.split_once('=').map_or((word, false), |(name, _)| (name, true));
        match name {
            "help" => break,
            "region" | "output" | "home" => globals.extend(rest.by_ref().take(if is_joined { 1 } else { 2 })),
            name if REFUSED.contains(&name) => {
                return Err(Usage::new(
                    format!("kms: --{name} of the AWS CLI is not supported"),
                    "kmsfs kms help",
                ));
            }
            name => return Err(Usage::new(format!("kms: Unknown options: --{name}"), "kmsfs kms help")),
        }
    }
    Ok((globals, rest))
}

/// Flags of every operation.
const COMMON: [&str; 4] = ["region", "home", "output", "cli-input-json"];
/// Flags of every operation that lists.
const PAGING: [&str; 4] = ["max-items", "page-size", "starting-token", "no-paginate"];

/// What was given.
#[derive(Debug, Default)]
pub struct Arguments {
    /// The request, by its members.
    pub request: Map<String, Value>,
    /// `--region`.
    pub region: Option<String>,
    /// `--home` behind the operation.
    pub home: Option<PathBuf>,
    /// `--max-items`.
    pub max_items: Option<usize>,
    /// `--page-size`.
    pub page_size: Option<u64>,
    /// `--starting-token`.
    pub starting_token: Option<String>,
    /// `--no-paginate`.
    pub no_paginate: bool,
}

impl Arguments {
    /// Reads the flags of an operation.
    ///
    /// # Errors
    /// The flag or value that cannot be understood, by name.
    pub fn parse(command: &Command, given: &[String]) -> Result<Self> {
        let mut arguments = Self::default();
        let mut input = None;
        let mut words = Words { command, given, at: 0 };
        while let Some(flag) = words.flag()? {
            let flag = words.whole(flag)?;
            if !arguments.read_global(&flag, &mut words, &mut input)? {
                arguments.read_parameter(&flag, &mut words)?;
            }
        }
        if let Some(text) = input {
            arguments.merge(command, &text)?;
        }
        let missing: Vec<_> = command
            .parameters
            .iter()
            .filter(|parameter| parameter.required && !arguments.request.contains_key(parameter.member))
            .map(|parameter| format!("--{}", parameter.flag))
            .collect();
        if missing.is_empty() {
            return Ok(arguments);
        }
        Err(words.wrong(format!("the following arguments are required: {}", missing.join(", "))))
    }

    /// Reads a flag that every operation has, or every one that lists.
    fn read_global(
        &mut self,
        flag: &Flag,
        words: &mut Words<'_>,
        input: &mut Option<String>,
    ) -> Result<bool> {
        let lists = words.command.listed.is_some();
        match flag.name.as_str() {
            "region" => self.region = Some(words.value(flag)?),
            "home" => self.home = Some(words.value(flag)?.into()),
            "output" => match words.value(flag)?.as_str() {
                "json" => (),
                other => {
                    return Err(words.wrong(format!("--output {other} is not supported: the output is json")));
                }
            },
            "cli-input-json" => {
                *input = Some(value::text(&words.value(flag)?).map_err(|why| words.wrong(why))?)
            }
            "max-items" if lists => self.max_items = Some(words.number(flag)? as usize),
            "page-size" if lists => self.page_size = Some(words.number(flag)?),
            "starting-token" if lists => self.starting_token = Some(words.value(flag)?),
            "no-paginate" if lists => self.no_paginate = true,
            name if REFUSED.contains(&name) => {
                return Err(words.wrong(format!("--{name} of the AWS CLI is not supported")));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read_parameter(&mut self, flag: &Flag, words: &mut Words<'_>) -> Result<()> {
        let find = |name: &str| words.command.parameters.iter().find(|parameter| parameter.flag == name);
        if let Some(parameter) = flag.name.strip_prefix("no-").and_then(find)
            && parameter.kind == Kind::Boolean
        {
            self.request.insert(parameter.member.to_owned(), Value::Bool(false));
            return Ok(());
        }
        let Some(parameter) = find(&flag.name) else {
            let Usage { what, hint } = words.wrong(format!("Unknown options: --{}", flag.name));
            let known: Vec<_> = words.flags().map(|name| format!("--{name}")).collect();
            let known = known.iter().map(String::as_str);
            return Err(Usage { what, hint: with_nearest(&hint, &format!("--{}", flag.name), known) });
        };
        let value = words.parameter(flag, parameter)?;
        self.request.insert(parameter.member.to_owned(), value);
        Ok(())
    }

    /// Takes members of `--cli-input-json` over, where no flag gave them.
    fn merge(&mut self, command: &Command, text: &str) -> Result<()> {
        let hint = format!("kmsfs kms {} help", command.name);
        let Ok(Value::Object(members)) = serde_json::from_str(text) else {
            return Err(Usage::new("--cli-input-json is not a JSON object", hint));
        };
        for (member, value) in members {
            let Some(parameter) = command.parameters.iter().find(|parameter| parameter.member == member)
            else {
                return Err(Usage::new(
                    format!("--cli-input-json: {member:?} is not a member of the request"),
                    hint,
                ));
            };
            // A date in words is a matter of the command line: the service takes numbers.
            let value = match (parameter.kind, &value) {
                (Kind::Timestamp, Value::String(text)) => value::timestamp(text).map_err(|why| {
                    Usage::new(format!("--cli-input-json: {member:?}: {why}"), hint.clone())
                })?,
                _ => value,
            };
            self.request.entry(member).or_insert(value);
        }
        Ok(())
    }
}

/// A flag, and its value where it was joined to it.
struct Flag {
    name: String,
    joined: Option<String>,
}

/// The words of a command line.
struct Words<'a> {
    command: &'a Command,
    given: &'a [String],
    at: usize,
}

impl Words<'_> {
    fn wrong(&self, what: impl Into<String>) -> Usage {
        let name = self.command.name;
        Usage::new(format!("kms {name}: {}", what.into()), format!("kmsfs kms {name} help"))
    }

    fn next(&mut self) -> Option<&str> {
        let word = self.given.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    /// The names of all flags that the operation has.
    fn flags(&self) -> impl Iterator<Item = &'static str> {
        let lists = self.command.listed.is_some();
        let own = self.command.parameters.iter().map(|parameter| parameter.flag);
        own.chain(COMMON).chain(PAGING.into_iter().filter(move |_| lists))
    }

    fn flag(&mut self) -> Result<Option<Flag>> {
        let Some(word) = self.next() else { return Ok(None) };
        let word = word.to_owned();
        let Some(flag) = word.strip_prefix("--").filter(|flag| !flag.is_empty()) else {
            return Err(self.wrong(format!("Unknown options: {word}")));
        };
        Ok(Some(match flag.split_once('=') {
            Some((name, value)) => Flag { name: name.to_owned(), joined: Some(value.to_owned()) },
            None => Flag { name: flag.to_owned(), joined: None },
        }))
    }

    /// A flag by its whole name: what begins one flag of the operation and no other stands for it, as with the AWS CLI.
    fn whole(&self, flag: Flag) -> Result<Flag> {
        let mut known: Vec<&str> = self.flags().collect();
        let given = flag.name.as_str();
        if REFUSED.contains(&given) || known.contains(&given) {
            return Ok(flag);
        }
        known.retain(|known| known.starts_with(given));
        match known.as_slice() {
            [] => Ok(flag),
            [one] => Ok(Flag { name: (*one).to_owned(), ..flag }),
            several => {
                let several: Vec<_> = several.iter().map(|name| format!("--{name}")).collect();
                let what = format!("ambiguous option: --{given} could match {}", several.join(", "));
                Err(self.wrong(what))
            }
        }
    }

    fn value(&mut self, flag: &Flag) -> Result<String> {
        if let Some(joined) = &flag.joined {
            return Ok(joined.clone());
        }
        // A value may begin with a dash, and a flag is no value.
        match self.given.get(self.at).filter(|word| !word.starts_with("--")) {
            Some(word) => {
                self.at += 1;
                Ok(word.clone())
            }
            None => Err(self.wrong(format!("argument --{}: expected one argument", flag.name))),
        }
    }

    /// All words up to the next flag.
    fn values(&mut self, flag: &Flag) -> Result<Vec<String>> {
        let mut values = vec![self.value(flag)?];
        while flag.joined.is_none()
            && let Some(word) = self.given.get(self.at).filter(|word| !word.starts_with("--"))
        {
            values.push(word.clone());
            self.at += 1;
        }
        Ok(values)
    }

    fn number(&mut self, flag: &Flag) -> Result<u64> {
        let text = self.value(flag)?;
        text.parse().map_err(|_| self.wrong(format!("argument --{}: invalid int value: '{text}'", flag.name)))
    }

    fn parameter(&mut self, flag: &Flag, parameter: &Parameter) -> Result<Value> {
        let named = |words: &Self, why: String| {
            words.wrong(format!("Error parsing parameter '--{}': {why}", flag.name))
        };
        if parameter.kind == Kind::Boolean {
            return Ok(Value::Bool(true));
        }
        if matches!(parameter.kind, Kind::List | Kind::Structures) {
            let values = self.values(flag)?;
            let read =
                if parameter.kind == Kind::List { value::list(&values) } else { value::structures(&values) };
            return read.map_err(|why| named(self, why));
        }
        let given = self.value(flag)?;
        let read = match parameter.kind {
            Kind::Text => value::text(&given).map(Value::String),
            Kind::Integer => value::integer(&given),
            Kind::Blob => value::blob(&given).map(Value::String),
            Kind::Timestamp => value::timestamp(&given),
            Kind::Map => value::map(&given),
            Kind::Maps => value::maps(&given),
            Kind::Boolean | Kind::List | Kind::Structures => Err("it takes no single value".to_owned()),
        };
        read.map_err(|why| named(self, why))
    }
}
