//! `kmsfs kms OPERATION`: the key service with the operations, flags, output, errors and exit codes of `aws kms`.
//!
//! Flags become one JSON request by a table ([`table`]); the request goes through the service's one door; its answer is printed
//! as the AWS CLI version 2 prints it.

mod arguments;
mod output;
mod paginate;
mod table;
mod value;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};

use super::error::{CliError, PUT_BACK, Result, STORE_FAILED};
use super::exit::{self, Code};
use super::{complain, done, home, impact, print};
use crate::datakey::DataKeyError;
use crate::kms::{Caller, Cause, Kms as Service, KmsError, Operation, Via};
use crate::store::Home;
use arguments::{Arguments, Usage};
use table::Command;

/// What whoever imports must know (rule IMP-7).
const DURABILITY: &str = "\
note: this CMK is only as durable as your own copy of its key material. kmsfs never gives the material out: once it has expired or
was deleted, only the same bytes, imported again, bring the CMK and its files back. Keep them in a safe place.";

/// The key service, with the operations, flags and output of `aws kms`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct Kms {
    /// OPERATION and its flags; `kmsfs kms help` lists the operations
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Kms {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        match self.prepare() {
            Ok(Prepared::Help(text)) => {
                print(&text)?;
                done()
            }
            Ok(Prepared::Call(command, arguments)) => {
                let given = arguments.home.clone().or(given);
                // Failures of the home are not AWS's: they keep their own words and codes.
                let home = home::open(given)?;
                let region = arguments.region.as_deref().unwrap_or(home.region());
                let kms = home.kms_in(region).map_err(|error| {
                    CliError::new(exit::AWS_USAGE, error.to_string())
                        .hint("kmsfs keys --all-regions shows where there are keys")
                })?;
                let uid = rustix::process::geteuid().as_raw();
                let caller = home.caller(uid, std::process::id(), Via::Cli);
                let code = call(&kms, &caller, command, &arguments)?;
                // Files have keys of the home's region.
                let is_of_files = region == home.region();
                if code == exit::OK && is_of_files && command.operation == Operation::ScheduleKeyDeletion {
                    warn_of_deletion(&home, &arguments);
                }
                Ok(code)
            }
            Err(usage) => Err(CliError::new(exit::AWS_USAGE, usage.what).hint(usage.hint)),
        }
    }

    fn prepare(self) -> std::result::Result<Prepared, Usage> {
        let (globals, mut rest) = arguments::split_globals(self.arguments)?;
        let name = rest.next();
        let name = match name.as_deref() {
            None => return Err(Usage::new("kms: no operation is named", "kmsfs kms help")),
            Some("help" | "--help" | "-h") => return Ok(Prepared::Help(table::help())),
            Some(name) => name,
        };
        let command = table::find(name)?;
        let rest: Vec<String> = globals.into_iter().chain(rest).collect();
        if matches!(rest.first().map(String::as_str), Some("help" | "--help" | "-h")) {
            return Ok(Prepared::Help(command.help()));
        }
        Ok(Prepared::Call(command, Arguments::parse(command, &rest)?))
    }
}

enum Prepared {
    Help(String),
    Call(&'static Command, Arguments),
}

fn call(service: &Service, caller: &Caller, command: &Command, arguments: &Arguments) -> Result<Code> {
    let once = |request: &Map<String, Value>| {
        service.call(caller, command.operation, Value::Object(request.clone()))
    };
    let answer = match paginate::plan(command, arguments) {
        Ok(Some(plan)) => plan.run(once).map(Some),
        Ok(None) => once(&arguments.request),
        Err(usage) => return Err(CliError::new(exit::AWS_USAGE, usage.what).hint(usage.hint)),
    };
    match answer {
        Ok(Some(answer)) => {
            print(&output::render(&answer))?;
            if command.operation == Operation::ImportKeyMaterial {
                complain(DURABILITY);
            }
            done()
        }
        Ok(None) => done(),
        Err(error) => refused(command.operation, &error),
    }
}

/// What will not be readable any more, to standard error: standard output is AWS's answer (rule DEL-4).
fn warn_of_deletion(home: &Home, arguments: &Arguments) {
    let named = arguments.request.get("KeyId").and_then(Value::as_str).unwrap_or_default();
    let warning = match home.data_keys().resolve(named) {
        // It has no files.
        Err(DataKeyError::WrongKind(..)) => return,
        resolved => resolved.map_err(CliError::from),
    };
    match warning.and_then(|arn| impact::warning(home, &arn)) {
        Ok(Some(text)) => complain(&format!(
            "What needs this key cannot be read now, and never again after its deletion date:\n{}",
            text.trim_end()
        )),
        Ok(None) => (),
        Err(error) => complain(&error.to_string()),
    }
}

/// A refusal of the service in the AWS CLI's words; a failure of what lies beneath it in ours.
fn refused(operation: Operation, error: &KmsError) -> Result<Code> {
    let message = error.message.clone().unwrap_or_default();
    match error.cause {
        Cause::Refused => {
            complain(&format!(
                "\nAn error occurred ({}) when calling the {} operation: {message}",
                error.error.name(),
                operation.name()
            ));
            Ok(exit::AWS_SERVICE)
        }
        Cause::Tampered => Err(CliError::new(exit::TAMPERED, message).hint(PUT_BACK)),
        Cause::Unconfirmed => Err(CliError::new(exit::UNCONFIRMED, message).hint(
            "repeat the command, or end that mount: kmsfs status lists the mounts with their processes",
        )),
        Cause::Store | Cause::Audit => Err(CliError::new(exit::AWS_GENERAL, message).hint(STORE_FAILED)),
    }
}
