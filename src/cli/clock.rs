//! `kmsfs clock`: the home's clock, and what falls due by it.

mod shown;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::error::{CliError, PUT_BACK, Result, STORE_FAILED};
use super::exit::{self, Code};
use super::secrets::CommandLine;
use super::slot::caller;
use super::words::{Words, span};
use super::{done, home, print, print_json};
use crate::clock::Timestamp;
use crate::kms::Cause;
use crate::kms::clock::{ClockError, ClockView, Done, Move, Moved};
use crate::kms::clock_guard::Jump;
use crate::kms::due::{Matter, ServiceEvent};
use crate::store::{Home, Key};
use shown::{Shown, ShownMove};

/// The home's clock: look at it, move a simulated one ahead, vouch for a real one.
#[derive(Debug, Args)]
#[command(
    after_help = "Deletions, expiries and rotations follow the home's clock. It is the system's clock as far as uptime explains it; what the \
    system's clock is ahead of that destroys nothing for 24 hours of uptime. A home that was made with setup --simulated-clock \
    has a clock that can be moved. See \"Time\" in docs/KEYS.md."
)]
pub struct Clock {
    #[command(subcommand)]
    command: ClockCommand,
}

#[derive(Debug, Subcommand)]
enum ClockCommand {
    /// Show the time, and what waits for a clock that is ahead
    Show(Show),
    /// Move a simulated clock ahead, and do what falls due on the way
    Advance(Advance),
    /// Move a simulated clock ahead to a time, and do what falls due on the way
    Set(Set),
    /// Believe a system's clock that is ahead, and do what waits for that
    Accept(Accept),
}

/// Show the home's time, the system's clock, what is unexplained of it, and what waits until that is believed.
#[derive(Debug, Args)]
struct Show {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Move a simulated clock ahead. What falls due on the way is done in its order of time, and mounts obey it, before the
/// command ends.
#[derive(Debug, Args)]
struct Advance {
    /// How far: 366d, 12h, 90m, 30s, 1w, or several of them: 1d12h
    #[arg(value_parser = span)]
    span: Duration,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Move a simulated clock ahead to a time. What falls due on the way is done in its order of time, and mounts obey it,
/// before the command ends.
#[derive(Debug, Args)]
struct Set {
    /// When: a time of RFC 3339 such as 2027-01-31T12:00:00Z, not before the home's time
    #[arg(value_parser = time)]
    time: Timestamp,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Believe what the system's clock shows, though uptime does not explain it: after the machine was off for long, or was
/// set right. What waits for that is done at once, and what is deleted then does not come back.
#[derive(Debug, Args)]
struct Accept {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Clock {
    pub fn run(self, given: Option<PathBuf>) -> Result<Code> {
        // Without the warning of a clock that is ahead: this command is what it names.
        let home = home::open_with(given, Key::Keychain(&mut CommandLine))?;
        match self.command {
            ClockCommand::Show(Show { json }) => show(&home, json),
            ClockCommand::Advance(Advance { span, json }) => move_clock(&home, Move::By(span), json),
            ClockCommand::Set(Set { time, json }) => move_clock(&home, Move::To(time), json),
            ClockCommand::Accept(Accept { json }) => accept(&home, json),
        }
    }
}

/// What a person is to know of a clock that is ahead: where something waits for it, or it is ahead by a week, the shortest
/// waiting period of a deletion. A machine that is off every night is told nothing.
pub fn warning(home: &Home) -> Option<String> {
    let view = home.kms().clock().ok()?;
    let ahead = view.jump?.ahead;
    let what = match view.waiting.as_slice() {
        [] if ahead < Duration::from_secs(7 * 86_400) => return None,
        [] => "nothing is destroyed by it yet".to_owned(),
        [(date, matter, key)] => format!("the {} of {key} of {date} waits", name_of(*matter)),
        several => format!("{} deletions, expiries or rotations wait", several.len()),
    };
    let ahead = Words(ahead);
    Some(format!(
        "kmsfs: warning: the system's clock is {ahead} ahead of what uptime explains: {what}\nhint: kmsfs clock show"
    ))
}

fn show(home: &Home, json: bool) -> Result<Code> {
    let view = home.kms().clock().map_err(ClockError::from)?;
    if json {
        print_json(&Shown::of(&view))?;
    } else {
        print(&people(&view))?;
    }
    done()
}

fn move_clock(home: &Home, to: Move, json: bool) -> Result<Code> {
    tell(&home.move_clock(&caller(home), to)?, json)
}

fn accept(home: &Home, json: bool) -> Result<Code> {
    match home.accept_clock(&caller(home))? {
        Some(moved) => tell(&moved, json),
        None if json => {
            let now = home.now()?;
            tell(&Moved { from: now, to: now, done: Vec::new(), unconfirmed: Vec::new() }, json)
        }
        None => {
            print("There is nothing to accept: uptime explains the system's clock.\n")?;
            done()
        }
    }
}

/// Prints what was done, and fails where a mount did not confirm it.
fn tell(moved: &Moved, json: bool) -> Result<Code> {
    if json {
        print_json(&ShownMove::of(moved))?;
    } else {
        let done: String = moved.done.iter().map(|done| format!("{}\n", Line(done))).collect();
        let by = Words(moved.to.since(moved.from));
        print(&format!("{done}The home's time is {}, {by} later.\n", moved.to))?;
    }
    if moved.unconfirmed.is_empty() {
        return done();
    }
    Err(CliError::new(exit::UNCONFIRMED, moved.unconfirmed.join("; "))
        .hint("kmsfs status shows the mounts; kmsfs umount MOUNTPOINT ends one"))
}

/// One line for what was done.
struct Line<'a>(&'a Done);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Done { date, aliases, event } = self.0;
        let key = event.key();
        match event {
            ServiceEvent::DeleteKey(_) => write!(f, "{date} deleted {key}")?,
            ServiceEvent::DeleteExpiredKeyMaterial(..) => write!(f, "{date} material of {key} expired")?,
            ServiceEvent::RotateKey { .. } => write!(f, "{date} rotated {key}")?,
            ServiceEvent::CreateManagedKey(_) => write!(f, "{date} made {key}")?,
            ServiceEvent::SynchronizeMultiRegionKey(_) => {
                write!(f, "{date} brought {key} to what its primary is")?;
            }
        }
        if aliases.is_empty() { Ok(()) } else { write!(f, " ({})", aliases.join(", ")) }
    }
}

fn people(view: &ClockView) -> String {
    let (claimed, shown) = (view.times.claimed, view.reading.clock);
    if let Some(offset) = view.simulated_offset {
        let offset = Words(Duration::from_millis(offset.unsigned_abs()));
        return format!(
            "The home's time is {claimed}.\nIts clock is simulated: {offset} ahead of the system's, which shows {shown}.\n"
        );
    }
    let Some(jump) = view.jump else {
        let what = if claimed.since(shown) > Duration::from_secs(1) {
            let behind = Words(claimed.since(shown));
            format!(", {behind} behind: time goes on by uptime until it has caught up")
        } else {
            ", and uptime explains it".to_owned()
        };
        return format!("The home's time is {claimed}.\nThe system's clock shows {shown}{what}.\n");
    };
    let Jump { ahead, held, remaining } = jump;
    let (ahead, held, remaining) = (Words(ahead), Words(held), Words(remaining));
    let mut text = format!(
        "The home's time is {claimed} for the use of keys, and {} for what cannot be undone.\n\
         The system's clock is {ahead} ahead of what uptime explains: it was set ahead, or the machine was off.\n\
         It has been so for {held} of uptime. In {remaining} of uptime it is believed.\n",
        view.times.trusted
    );
    for (date, matter, key) in &view.waiting {
        text += &format!("Waits for that: {date} {} of {key}\n", name_of(*matter));
    }
    text + "Where it is right, kmsfs clock accept believes it now; where it is wrong, set it right.\n"
}

const fn name_of(matter: Matter) -> &'static str {
    match matter {
        Matter::Deletion => "deletion",
        Matter::Expiry(_) => "expiry",
        Matter::Rotation => "rotation",
    }
}

impl From<ClockError> for CliError {
    fn from(error: ClockError) -> Self {
        let what = error.to_string();
        match error {
            ClockError::NotSimulated => Self::new(exit::USAGE, what).hint(
                "kmsfs --home DIR setup --simulated-clock --key-file FILE makes a home whose clock can be moved",
            ),
            ClockError::Simulated => Self::new(exit::USAGE, what).hint("kmsfs clock advance SPAN moves it ahead"),
            ClockError::Backwards { .. } => Self::new(exit::USAGE, what).hint(
                "name a later time; a new home begins at the present: kmsfs --home DIR setup --simulated-clock",
            ),
            ClockError::TooFar => Self::new(exit::USAGE, what).hint("name an earlier time, or a shorter span"),
            ClockError::Failed(error) => failed(error.cause, what),
        }
    }
}

/// A failure of what the key service stands on.
pub fn failed(cause: Cause, what: String) -> CliError {
    match cause {
        Cause::Tampered => CliError::new(exit::TAMPERED, what).hint(PUT_BACK),
        Cause::Store | Cause::Audit => CliError::new(exit::HOME, what).hint(STORE_FAILED),
        Cause::Refused | Cause::Unconfirmed => CliError::new(exit::FAILURE, what),
    }
}

fn time(text: &str) -> std::result::Result<Timestamp, String> {
    let time: jiff::Timestamp =
        text.parse().map_err(|_| "expected a time such as 2027-01-31T12:00:00Z".to_owned())?;
    Ok(Timestamp::from_millis(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_its_zone() {
        assert_eq!(time("1970-01-02T01:00:00+01:00"), Ok(Timestamp::from_millis(86_400_000)));
        for text in ["2027-01-31", "2027-01-31T12:00:00", "tomorrow", "2027-02-30T00:00:00Z"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
