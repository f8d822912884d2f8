//! At most once a period, for all processes together: when each alarm sounded last, in the file `alarms` of the home's run directory.
//! Nothing but the rate depends on it: it is not authenticated, and a file that cannot be used lets alarms sound.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags};

use crate::clock::Timestamp;
use crate::kms::alarm::PERIOD_MAX;
use crate::sys;

/// The file's name.
pub const FILE_NAME: &str = "alarms";
/// The longest file that is read, in bytes.
const LEN_MAX: u64 = 4 * 1024 * 1024;

/// Whether `period` is over at `now` since `last`. A time that is ahead says nothing.
pub fn is_over(last: Timestamp, now: Timestamp, period: Duration) -> bool {
    let age = now.as_millis().saturating_sub(last.as_millis());
    u64::try_from(age).map_or(true, |age| u128::from(age) >= period.as_millis())
}

/// Whether the alarm `id` may sound at `now`, which is then the last time that it did.
///
/// # Errors
/// Whatever the file answers.
pub fn claim(run_dir: &Path, id: &str, now: Timestamp, period: Duration) -> io::Result<bool> {
    let path = run_dir.join(FILE_NAME);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = sys::open_regular(&mut options, OFlags::NOFOLLOW, &path)?;
    // Released when the file is closed.
    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))?;
    let mut text = Vec::new();
    (&file).take(LEN_MAX).read_to_end(&mut text)?;
    let mut times: BTreeMap<String, i64> = serde_json::from_slice(&text).unwrap_or_default();
    let last = times.get(id).copied().map(Timestamp::from_millis);
    if last.is_some_and(|last| !is_over(last, now, period)) {
        return Ok(false);
    }
    times.insert(id.to_owned(), now.as_millis());
    times.retain(|_, last| !is_over(Timestamp::from_millis(*last), now, PERIOD_MAX));
    let text = serde_json::to_vec(&times).map_err(io::Error::other)?;
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(&text)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aud_4_an_alarm_sounds_once_a_period_and_a_spoilt_file_lets_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let claim = |id: &str, now| claim(dir.path(), id, now, Duration::from_secs(60)).unwrap();
        assert!(claim("a", at(1000)));
        assert!(!claim("a", at(1000)) && !claim("a", at(1059)) && claim("b", at(1059)));
        assert!(claim("a", at(1060)) && !claim("a", at(1061)));
        // A time that is ahead was of another clock.
        assert!(claim("a", at(500)));
        std::fs::write(dir.path().join(FILE_NAME), "nothing").unwrap();
        assert!(claim("a", at(501)) && !claim("a", at(502)));
    }
}
