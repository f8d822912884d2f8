//! `kmsfs credentials`: what clients of the server sign their requests with.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use super::clock::failed;
use super::error::{CliError, Result};
use super::exit::{self, Code};
use super::slot::caller;
use super::table::table;
use super::{done, home, print, print_json};
use crate::kms::credential::CredentialRecord;
use crate::store::{Credential, CredentialError};

const HELP: &str = "\
A request to the server is signed with a secret, by Signature Version 4 as of AWS. The principal of the credential is who key policies, grants \
and the audit log see. A credential that is revoked is refused from then on, also by a server that runs. Each that is made or revoked is \
recorded in the audit log. See docs/CLIENTS.md.";

const CREATE_HELP: &str = "\
What is printed is a profile for the file ~/.aws/credentials: kmsfs credentials create --principal alice >> ~/.aws/credentials. The secret is \
shown this once, and stored sealed.";

/// What clients of the server sign their requests with.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Credentials {
    #[command(subcommand)]
    command: CredentialsCommand,
}

#[derive(Debug, Subcommand)]
enum CredentialsCommand {
    /// Make a credential for a principal, and show its secret once
    Create(Create),
    /// Show the credentials, without secrets
    List(List),
    /// Revoke a credential: it signs nothing any more
    Revoke(Revoke),
}

/// Make a credential for a principal, and show its secret once.
#[derive(Debug, Args)]
#[command(after_help = CREATE_HELP)]
struct Create {
    /// Whose it is: the name of a user, root, or an ARN of the home's account
    #[arg(long, value_name = "NAME|ARN")]
    principal: String,
    /// What the profile is called
    #[arg(long, value_name = "NAME", default_value = "kmsfs", conflicts_with = "json")]
    profile: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Show the credentials: access key id, principal, and since when.
#[derive(Debug, Args)]
struct List {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Revoke a credential. The secret is destroyed, and nothing brings it back.
#[derive(Debug, Args)]
struct Revoke {
    /// Which one, as kmsfs credentials list shows it
    access_key_id: String,
}

/// A credential as it is made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    principal: &'a str,
}

/// A credential as it is listed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    access_key_id: String,
    principal: String,
    created: String,
}

impl Credentials {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        match self.command {
            CredentialsCommand::Create(command) => command.run(given),
            CredentialsCommand::List(command) => command.run(given),
            CredentialsCommand::Revoke(command) => command.run(given),
        }
    }
}

impl Create {
    fn run(self, given: Option<PathBuf>) -> Result<Code> {
        if !is_profile(&self.profile) {
            let what = format!("{:?} cannot be the name of a profile", self.profile);
            return Err(CliError::new(exit::USAGE, what).hint("give it letters, digits, - and _"));
        }
        let home = home::open(given)?;
        let made = home.create_credential(&caller(&home), &self.principal)?;
        let text = if self.json { json(&made)? } else { profile(&self.profile, &made) };
        print(&text).map_err(|error| {
            let id = &made.id;
            error.hint(format!(
                "the secret is not shown again: kmsfs credentials revoke {id}, and make another one where there is room"
            ))
        })?;
        done()
    }
}

/// Whether a section of `~/.aws/credentials` can be called so, without quotes.
fn is_profile(name: &str) -> bool {
    let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || b"-_".contains(&letter);
    !name.is_empty() && name.bytes().all(is_letter)
}

/// How much room what is shown takes at most, made once: a text that grows leaves copies behind.
const ROOM: usize = 8192;

fn profile(name: &str, made: &Credential) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(ROOM));
    let Credential { id, principal, secret } = made;
    for part in ["# ", principal, "; the secret is not shown again\n[", name, "]\naws_access_key_id = "] {
        text.push_str(part);
    }
    for part in [id.as_str(), "\naws_secret_access_key = ", secret.reveal(), "\n"] {
        text.push_str(part);
    }
    text
}

fn json(made: &Credential) -> Result<Zeroizing<String>> {
    let Credential { id, principal, secret } = made;
    let shown = Made { access_key_id: id.as_str(), secret_access_key: secret.reveal(), principal };
    let mut text = Zeroizing::new(Vec::with_capacity(ROOM));
    serde_json::to_writer_pretty(&mut *text, &shown)
        .map_err(|error| CliError::new(exit::FAILURE, error.to_string()))?;
    text.push(b'\n');
    Ok(Zeroizing::new(String::from_utf8_lossy(&text).into_owned()))
}

impl List {
    fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let ring = home::open(given)?.keyring()?;
        let credentials: Vec<_> = ring.credentials().map(|credential| Listed::of(credential)).collect();
        if self.json {
            print_json(&credentials)?;
            return done();
        }
        let head = ["ACCESS KEY ID", "PRINCIPAL", "CREATED"].map(str::to_owned);
        let rows = credentials.into_iter().map(|one| [one.access_key_id, one.principal, one.created]);
        print(&table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()))?;
        done()
    }
}

impl Listed {
    fn of(record: &CredentialRecord) -> Self {
        Self {
            access_key_id: record.id.to_string(),
            principal: record.principal.clone(),
            created: record.created.to_string(),
        }
    }
}

impl Revoke {
    fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        home.revoke_credential(&caller(&home), &self.access_key_id)?;
        print(&format!("The credential {} is revoked: it signs nothing any more.\n", self.access_key_id))?;
        done()
    }
}

impl From<CredentialError> for CliError {
    fn from(error: CredentialError) -> Self {
        let what = error.to_string();
        match error {
            CredentialError::NotAPrincipal(_) => Self::new(exit::USAGE, what).hint(
                "give the name of a user, root, or an ARN of this account: arn:aws:iam::ACCOUNT:user/NAME, arn:aws:iam::ACCOUNT:role/NAME \
                 or arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION",
            ),
            CredentialError::TooMany => Self::new(exit::USAGE, what).hint(
                "kmsfs credentials list shows them; kmsfs credentials revoke ACCESS_KEY_ID revokes one",
            ),
            CredentialError::NotFound(_) => {
                Self::new(exit::USAGE, what).hint("kmsfs credentials list shows the credentials")
            }
            CredentialError::Failed(error) => failed(error.cause, what),
        }
    }
}
