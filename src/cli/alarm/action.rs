//! What an alarm does: run a command, append to a file, post to a URL; and the log of this process for the alarm of its own that a
//! key has while it is pending deletion.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process_group};

use super::post;
use crate::kms::alarm::{Action, Alert};

/// How long a command may run, or a server take to answer.
pub const LIMIT: Duration = Duration::from_secs(10);
/// How often a command is asked whether it has ended.
const PAUSE: Duration = Duration::from_millis(5);
/// What says where secrets are, and is no business of a command.
const HIDDEN: [&str; 2] = ["KMSFS_PASSPHRASE_FILE", "KMSFS_KEY_FILE"];

/// An alarm that sounds, with everything that its action needs.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name; none for the one that a key has by itself.
    pub alarm: Option<String>,
    /// What it does; nothing but a line in the log for the one that a key has by itself.
    pub action: Option<Action>,
    /// The event's name.
    pub event: String,
    /// The key's ARN, or nothing.
    pub key: String,
    /// Who asked.
    pub principal: String,
    /// The file within its volume, or nothing.
    pub path: String,
    /// The record: one line of JSON, with its end.
    pub record: Vec<u8>,
}

impl Job {
    /// What an alert asks for.
    pub fn of(alert: &Alert<'_>) -> Self {
        let Alert { alarm, key, event } = alert;
        Self {
            alarm: alarm.map(|alarm| alarm.name.clone()),
            action: alarm.map(|alarm| alarm.action.clone()),
            event: event.name().to_owned(),
            key: key.map(ToString::to_string).unwrap_or_default(),
            principal: event.principal().to_owned(),
            path: event.path().unwrap_or_default().to_owned(),
            record: event.to_line(),
        }
    }

    /// Does it, within [`LIMIT`]; answers what happened.
    ///
    /// # Errors
    /// Why it failed, for people.
    pub fn run(&self) -> Result<String, String> {
        match &self.action {
            None => {
                let of = if self.path.is_empty() { String::new() } else { format!(" of {}", self.path) };
                log::warn!(
                    "{} is pending deletion and still asked for: {}{of} by {}",
                    self.key,
                    self.event,
                    self.principal
                );
                Ok("it is in the log".to_owned())
            }
            Some(Action::Command(command)) => self.command(command),
            Some(Action::File(path)) => match append(path, &self.record) {
                Ok(()) => Ok(format!("the record is in {path}")),
                Err(error) => Err(format!("{path} cannot be appended to: {error}")),
            },
            Some(Action::Post(url)) => post::post(url, &self.record, LIMIT),
        }
    }

    /// Runs a command in a group of its own, which ends with the time limit. It says nothing: its output would be taken for the
    /// output of the command that the alarm sounded in.
    fn command(&self, command: &str) -> Result<String, String> {
        let mut sh = Command::new("/bin/sh");
        sh.args(["-c", command]).current_dir("/").process_group(0);
        sh.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        for name in HIDDEN {
            sh.env_remove(name);
        }
        sh.env("KMSFS_ALARM", self.alarm.as_deref().unwrap_or_default());
        sh.envs([("KMSFS_EVENT", &self.event), ("KMSFS_KEY", &self.key)]);
        sh.envs([("KMSFS_PRINCIPAL", &self.principal), ("KMSFS_PATH", &self.path)]);
        let mut child = sh.spawn().map_err(|error| format!("/bin/sh cannot be started: {error}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A record has few kilobytes and fits into the pipe; a command that does not read it is free not to.
            let record = self.record.clone();
            thread::spawn(move || stdin.write_all(&record));
        }
        reap(&mut child)
    }
}

/// Waits for a command, and ends it and what it started when its time is over.
fn reap(child: &mut Child) -> Result<String, String> {
    let end = Instant::now() + LIMIT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok("the command has succeeded".to_owned()),
            Ok(Some(status)) => return Err(format!("the command failed: {status}")),
            Ok(None) if Instant::now() < end => thread::sleep(PAUSE),
            Ok(None) => {
                if let Ok(id) = i32::try_from(child.id())
                    && let Some(group) = Pid::from_raw(id)
                {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                let _ = child.wait();
                return Err(format!("the command was ended after {} s", LIMIT.as_secs()));
            }
            Err(error) => return Err(format!("the command cannot be waited for: {error}")),
        }
    }
}

/// Appends a line in one write. No link is followed where the path ends at one, and nothing is waited for.
fn append(path: &str, line: &[u8]) -> io::Result<()> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    file.write_all(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aud_4_a_file_is_appended_to_is_its_owners_alone_and_no_link_is_followed() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let text = path.to_str().unwrap();
        append(text, b"one\n").unwrap();
        append(text, b"two\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(append(link.to_str().unwrap(), b"three\n").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
    }
}
