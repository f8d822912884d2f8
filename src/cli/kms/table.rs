//! The operations and their flags, as data.

mod commands;

use super::arguments::Usage;
use crate::cli::similar::with_nearest;
use crate::kms::Operation;
use commands::COMMANDS;

/// How a flag's value becomes JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text as it is.
    Text,
    /// A whole number.
    Integer,
    /// `--flag` and `--no-flag`.
    Boolean,
    /// Bytes: base64, or `fileb://FILE`.
    Blob,
    /// A point in time: ISO 8601, or seconds since 1970.
    Timestamp,
    /// Text pairs: `name=value,...` or JSON.
    Map,
    /// Texts: one after the other, or JSON.
    List,
    /// A structure of maps: `Name={name=text,...},...` or JSON.
    Maps,
    /// Structures of texts: `Name=text,...` one after the other, or JSON.
    Structures,
}

/// A flag of an operation.
#[derive(Debug)]
pub struct Parameter {
    /// Its name without the dashes.
    pub flag: &'static str,
    /// The member of the request.
    pub member: &'static str,
    /// How its value is read.
    pub kind: Kind,
    /// Whether the operation cannot do without it.
    pub required: bool,
}

/// An operation on the command line.
#[derive(Debug)]
pub struct Command {
    /// Its name: `create-key`.
    pub name: &'static str,
    /// The operation.
    pub operation: Operation,
    /// Its flags.
    pub parameters: &'static [Parameter],
    /// The member of the answer that holds a list, for an operation that answers in pages.
    pub listed: Option<&'static str>,
}

/// Operations of AWS KMS that [`Operation`] does not know: what encapsulates keys or is of a key store of one's own (service model
/// `kms/2014-11-01`).
const OF_AWS_ALONE: [&str; 8] = [
    "connect-custom-key-store",
    "create-custom-key-store",
    "decapsulate",
    "delete-custom-key-store",
    "describe-custom-key-stores",
    "disconnect-custom-key-store",
    "encapsulate",
    "update-custom-key-store",
];

/// The operation of a name.
///
/// # Errors
/// The name, where there is no such operation here; one of AWS's that is not here yet is told apart from a misspelt one.
pub fn find(name: &str) -> Result<&'static Command, Usage> {
    if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
        return Ok(command);
    }
    let is_aws = OF_AWS_ALONE.contains(&name)
        || Operation::ALL.iter().any(|operation| kebab(operation.name()) == name);
    let what = match is_aws {
        true => format!("kms: the operation {name} is not supported by this version"),
        false => format!("kms: the operation {name:?} is not known"),
    };
    let known = COMMANDS.iter().map(|command| command.name).filter(|_| !is_aws);
    Err(Usage::new(what, with_nearest("kmsfs kms help", name, known)))
}

/// What `kmsfs kms help` says.
pub fn help() -> String {
    let names: Vec<_> = COMMANDS.iter().map(|command| format!("    {}\n", command.name)).collect();
    format!(
        "Usage: kmsfs kms OPERATION [--FLAG VALUE ...]\n\nOperations, with the flags and the output of aws kms:\n{}\n\
         Flags of every operation:\n    --home DIR\n    --region REGION\n    --output json\n    --cli-input-json JSON, file://FILE\n\
         Flags of operations that list:\n    --max-items N, --page-size N, --starting-token TOKEN, --no-paginate\n\n\
         Bytes are given in base64, or as fileb://FILE; times as 2027-01-31T12:00:00+01:00, or as seconds since 1970.\n\
         kmsfs kms OPERATION help shows an operation's flags.\n",
        names.concat()
    )
}

impl Command {
    /// What `kmsfs kms OPERATION help` says.
    pub fn help(&self) -> String {
        let mut text = format!("Usage: kmsfs kms {}\n", self.name);
        for parameter in self.parameters {
            let value = match parameter.kind {
                Kind::Text => " TEXT",
                Kind::Integer => " NUMBER",
                Kind::Boolean => " | --no-...",
                Kind::Blob => " BASE64 or fileb://FILE",
                Kind::Timestamp => " TIME",
                Kind::Map => " NAME=TEXT,... or JSON",
                Kind::Maps => " NAME={NAME=TEXT,...},... or JSON",
                Kind::List => " TEXT ... or JSON",
                Kind::Structures => " NAME=TEXT,... ... or JSON",
            };
            let flag = format!("--{}{value}", parameter.flag);
            text += &if parameter.required { format!("    {flag}\n") } else { format!("    [{flag}]\n") };
        }
        text
    }
}

/// `CreateKey` as `create-key`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_here_under_its_name() {
        for operation in Operation::ALL {
            let command = find(&kebab(operation.name())).unwrap();
            assert_eq!(command.operation, *operation);
        }
        assert_eq!(COMMANDS.len(), Operation::ALL.len());
    }

    #[test]
    fn what_aws_has_and_this_version_has_not_is_told_apart_from_a_misspelling() {
        assert!(find("decapsulate").unwrap_err().what.contains("not supported by this version"));
        assert!(find("create-kye").unwrap_err().what.contains("not known"));
    }

    #[test]
    fn flags_are_their_members_in_lower_case() {
        for parameter in COMMANDS.iter().flat_map(|command| command.parameters) {
            assert_eq!(kebab(parameter.member), parameter.flag);
        }
    }
}
