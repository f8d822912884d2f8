//! `kmsfs alarm`: what is done when a key is used that should not be (rule AUD-4).

mod action;
mod bell;
mod period;
mod post;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Map;

use super::audit::event_of;
use super::clock::failed;
use super::error::{CliError, Result};
use super::exit::{self, Code};
use super::slot::caller;
use super::table::table;
use super::words::span;
use super::{done, home, print, print_json};
use crate::datakey::KeyArn;
use crate::kms::alarm::{self, Action, AlarmRecord, Alert, Watch};
use crate::kms::audit::{AuditEvent, HomeEvent, Scene};
use crate::kms::reference::{self, Form};
use crate::kms::ring::Keyring;
use crate::store::AlarmError;
use action::Job;
pub use bell::Bell;

const HELP: &str = "\
The process that writes a record does what its alarms ask for: a mount, or a command. A key that is pending deletion has an alarm without \
being given one: a refused use of it is a line in the log of the mount, at most once a minute, and kmsfs keys shows it. Each change of an \
alarm is recorded in the audit log. See docs/KEYS.md, \"Alarms\".";

const ADD_HELP: &str = "\
A command is run by sh in /, with the record on its standard input and KMSFS_ALARM, KMSFS_EVENT, KMSFS_KEY, KMSFS_PRINCIPAL and KMSFS_PATH \
in its environment; it is ended after 10 s, and its output goes nowhere. It runs as the user whose process wrote the record.";

/// What is done when a key is used while it is disabled or pending deletion, or when an event is recorded.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Alarm {
    #[command(subcommand)]
    command: AlarmCommand,
}

#[derive(Debug, Subcommand)]
enum AlarmCommand {
    /// Make an alarm
    Add(Add),
    /// Show the alarms
    List(List),
    /// Remove an alarm
    Remove(Remove),
    /// Do now what an alarm does, with a record made for that
    Test(Test),
}

/// Make an alarm: for uses of a key that are refused because it is disabled or pending deletion, or for an event.
#[derive(Debug, Args)]
#[command(after_help = ADD_HELP)]
struct Add {
    /// Its name: letters, digits, - and _
    name: String,
    /// The key that it watches: an id, ARN or alias [default: every key]
    #[arg(long)]
    key: Option<String>,
    /// Watch for uses that are refused because the key is disabled or pending deletion; this is the default
    #[arg(long, conflicts_with = "event")]
    refused: bool,
    /// Watch for records of this event, such as ScheduleKeyDeletion, however it ended
    #[arg(long)]
    event: Option<String>,
    #[command(flatten)]
    action: GivenAction,
    /// Sound at most once in so long: 1s to 1d
    #[arg(long, value_name = "SPAN", default_value = "1m", value_parser = span)]
    period: Duration,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct GivenAction {
    /// Run this command
    #[arg(long)]
    command: Option<String>,
    /// Append the record to this file, which is made where it is not there
    #[arg(long, value_name = "PATH")]
    file: Option<String>,
    /// Where to post the record, on this machine.
    #[arg(
        long,
        value_name = "URL",
        help = "Post the record to this URL on this machine: http://127.0.0.1, http://[::1] or http://localhost"
    )]
    post: Option<String>,
}

/// Show the alarms that were made.
#[derive(Debug, Args)]
struct List {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Remove an alarm.
#[derive(Debug, Args)]
struct Remove {
    /// Its name, as kmsfs alarm list shows it
    name: String,
}

/// Do now what an alarm does, whatever its period, with a record of the event TestAlarm, and say what happened.
#[derive(Debug, Args)]
struct Test {
    /// Its name, as kmsfs alarm list shows it
    name: String,
}

impl Alarm {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        match self.command {
            AlarmCommand::Add(command) => command.run(given),
            AlarmCommand::List(command) => command.run(given),
            AlarmCommand::Remove(command) => command.run(given),
            AlarmCommand::Test(command) => command.run(given),
        }
    }
}

fn unfit(what: impl Into<String>, hint: &str) -> CliError {
    CliError::new(exit::USAGE, what).hint(hint)
}

impl Add {
    fn run(self, given: Option<PathBuf>) -> Result<Code> {
        self.check()?;
        let watch = match &self.event {
            Some(event) => Watch::Event(event_of(event)?.to_owned()),
            None => Watch::Refused,
        };
        let action = self.action.action()?;
        let home = home::open(given)?;
        let ring = home.keyring()?;
        let key = self.key.as_deref().map(|named| {
            let found = reference::find(&ring, named, Form::Any);
            found.map(|key| key.record.id).map_err(|_| CliError::no_key(&ring, named))
        });
        let alarm = AlarmRecord {
            name: self.name,
            key: key.transpose()?,
            watch,
            action,
            period: self.period,
            created: home.now()?,
        };
        home.add_alarm(&caller(&home), &alarm)?;
        let Listed { watches, does, period_seconds, .. } = Listed::of(&ring, &alarm);
        let name = &alarm.name;
        print(&format!(
            "The alarm {name} watches for {watches}, at most once in {period_seconds} s: {does}.\n"
        ))?;
        done()
    }

    fn check(&self) -> Result<()> {
        if !alarm::is_name(&self.name) {
            let what = format!("{:?} cannot be the name of an alarm", self.name);
            return Err(unfit(what, "give it up to 64 letters, digits, - and _"));
        }
        if !alarm::is_period(self.period) {
            return Err(unfit("the period of an alarm is whole seconds, 1s to 1d", "kmsfs alarm add --help"));
        }
        Ok(())
    }
}

impl GivenAction {
    fn action(&self) -> Result<Action> {
        let action = match (&self.command, &self.file, &self.post) {
            (Some(command), ..) => Action::Command(command.clone()),
            (None, Some(path), _) => {
                let path =
                    std::path::absolute(path).ok().and_then(|path| path.into_os_string().into_string().ok());
                Action::File(path.unwrap_or_default())
            }
            (None, None, Some(url)) if !post::is_local(url) => {
                let what = format!("{url} is not a URL on this machine");
                return Err(unfit(what, "give one such as http://127.0.0.1:8080/alarms"));
            }
            (None, None, url) => Action::Post(url.clone().unwrap_or_default()),
        };
        match alarm::is_target(action.target()) {
            true => Ok(action),
            false => Err(unfit(
                format!("the {} of the alarm is empty or too long", action.kind()),
                "give it 1 to 4096 bytes",
            )),
        }
    }
}

/// An alarm as it is listed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: String,
    key: Option<String>,
    #[serde(skip)]
    watches: String,
    watch: &'static str,
    event: Option<String>,
    #[serde(skip)]
    does: String,
    action: &'static str,
    target: String,
    period_seconds: u64,
    created: String,
}

impl Listed {
    fn of(ring: &Keyring, alarm: &AlarmRecord) -> Self {
        let key = alarm.key.map(|key| ring.namespace().key_arn(key));
        let of = key.as_ref().map_or("every key", KeyArn::id);
        let (watch, event, watches) = match &alarm.watch {
            Watch::Refused => ("refused", None, format!("refused uses of {of}")),
            Watch::Event(name) => ("event", Some(name.clone()), format!("{name} of {of}")),
        };
        let target = alarm.action.target().to_owned();
        Self {
            name: alarm.name.clone(),
            key: key.as_ref().map(KeyArn::to_string),
            watches,
            watch,
            event,
            does: format!("{} {target}", alarm.action.kind()),
            action: alarm.action.kind(),
            target,
            period_seconds: alarm.period.as_secs(),
            created: alarm.created.to_string(),
        }
    }
}

impl List {
    fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let ring = home::open(given)?.keyring()?;
        let alarms: Vec<_> = ring.alarms().map(|alarm| Listed::of(&ring, alarm)).collect();
        if self.json {
            print_json(&alarms)?;
            return done();
        }
        let head = ["NAME", "WATCHES FOR", "PERIOD", "DOES"].map(str::to_owned);
        let rows = alarms
            .into_iter()
            .map(|alarm| [alarm.name, alarm.watches, format!("{} s", alarm.period_seconds), alarm.does]);
        print(&table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()))?;
        done()
    }
}

impl Remove {
    fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        home.remove_alarm(&caller(&home), &self.name)?;
        print(&format!("The alarm {} is removed.\n", self.name))?;
        done()
    }
}

impl Test {
    fn run(self, given: Option<PathBuf>) -> Result<Code> {
        let home = home::open(given)?;
        let ring = home.keyring()?;
        let alarm = ring.alarm(&self.name).ok_or_else(|| AlarmError::NotFound(self.name.clone()))?;
        let caller = caller(&home);
        let parameters = Map::from_iter([("alarm".to_owned(), alarm.name.clone().into())]);
        let tested = HomeEvent { name: "TestAlarm", parameters, read_only: true };
        home.kms().record_of_home(&ring, &caller, &tested, None).map_err(AlarmError::Failed)?;
        let scene = Scene { account: home.account(), region: home.region(), now: home.now()?, ring: None };
        let event = AuditEvent::of_home(&scene, &caller, &tested);
        let key = alarm.key.map(|key| ring.namespace().key_arn(key));
        match Job::of(&Alert { alarm: Some(alarm), key: key.as_ref(), event: &event }).run() {
            Ok(said) => {
                print(&format!("The alarm {} works: {said}.\n", alarm.name))?;
                done()
            }
            Err(why) => Err(CliError::new(exit::FAILURE, format!("the alarm {}: {why}", alarm.name))
                .hint("kmsfs alarm list shows what it does; kmsfs alarm remove and add change it")),
        }
    }
}

impl From<AlarmError> for CliError {
    fn from(error: AlarmError) -> Self {
        let what = error.to_string();
        match error {
            AlarmError::Exists(name) => Self::new(exit::USAGE, what)
                .hint(format!("name another one, or remove it first: kmsfs alarm remove {name}")),
            AlarmError::NotFound(_) => Self::new(exit::USAGE, what).hint("kmsfs alarm list shows the alarms"),
            AlarmError::Failed(error) => failed(error.cause, what),
        }
    }
}
