//! Reading records: every file of the log as it is at one instant, forwards, backwards, and what comes after.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};

use serde_json::Value;

use super::chain::ChainKeys;
use super::files;
use super::head::{self, HEAD_LEN, Head};
use super::{FILE_NAME, FileAuditLog, read_head, scan};

/// How much is read at a time from the end.
const BLOCK: u64 = 64 * 1024;

/// A record as it is read.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The line as it stands, without its line feed.
    pub line: String,
    /// The same, read.
    pub record: Value,
    /// Whether its MAC is right. One from before the chain has none; whether it is where it should be, only a verification tells.
    pub is_authentic: bool,
}

impl Entry {
    /// `None` for a line that is no JSON: a torn one.
    fn of(keys: &ChainKeys, line: &[u8]) -> Option<Self> {
        let record: Value = serde_json::from_slice(line).ok()?;
        let text = String::from_utf8(line.strip_suffix(b"\n").unwrap_or(line).to_vec()).ok()?;
        Some(Self { line: text, record, is_authentic: keys.open(line).is_ok() })
    }

    /// A member of the record that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.record.get(name)?.as_str()
    }
}

/// A file of a log.
pub(super) struct LogFile {
    pub name: String,
    pub number: u64,
    pub file: File,
    /// Up to its last whole line.
    pub len: u64,
}

/// The files of a log as they are at one instant, the oldest first.
pub(super) struct Files {
    pub files: Vec<LogFile>,
    pub head: Option<Head>,
    pub has_head: bool,
}

impl FileAuditLog {
    /// Hands out every record, the oldest first, until `each` has enough.
    ///
    /// # Errors
    /// Whatever the files answer.
    pub fn each(&self, mut each: impl FnMut(Entry) -> ControlFlow<()>) -> io::Result<()> {
        for LogFile { file, len, .. } in self.files()?.files {
            let mut flow = ControlFlow::Continue(());
            scan::lines(BufReader::new(file.take(len)), 0, |_, line| {
                if flow.is_continue()
                    && let Some(entry) = Entry::of(&self.keys, line)
                {
                    flow = each(entry);
                }
            })?;
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Hands out every line that `wants` wants as a record, the newest first, until one of the two has enough; what is written later is
    /// told by what this answers.
    ///
    /// # Errors
    /// Whatever the files answer.
    pub fn each_backwards(
        &self,
        mut wants: impl FnMut(&[u8]) -> ControlFlow<(), bool>,
        mut each: impl FnMut(Entry) -> ControlFlow<()>,
    ) -> io::Result<Follower<'_>> {
        let files = self.files()?.files;
        for LogFile { file, len, .. } in files.iter().rev() {
            let flow = lines_backwards(file, *len, &mut |line| {
                let is_wanted = match wants(line) {
                    ControlFlow::Continue(is_wanted) => is_wanted,
                    ControlFlow::Break(()) => return ControlFlow::Break(()),
                };
                match is_wanted.then(|| Entry::of(&self.keys, line)).flatten() {
                    Some(entry) => each(entry),
                    None => ControlFlow::Continue(()),
                }
            })?;
            if flow.is_break() {
                break;
            }
        }
        let last = files.into_iter().next_back();
        let (number, file, offset) = match last {
            Some(last) => (last.number, last.file, last.len),
            None => (0, files::open(&self.path, true)?, 0),
        };
        Ok(Follower { log: self, file, number, offset, rest: Vec::new() })
    }

    /// A line, read.
    pub(super) fn entry(&self, line: &[u8]) -> Option<Entry> {
        Entry::of(&self.keys, line)
    }

    pub(super) fn files(&self) -> io::Result<Files> {
        let (mut state, asked) = self.waited_for()?;
        self.leave(&mut state)?;
        let _turn = self.lock.turn(asked)?;
        let mut bytes = [0; HEAD_LEN];
        let head = read_head(&self.lock, &mut bytes, &self.keys)?;
        let has_head = self.dir.join(head::FILE_NAME).try_exists()? && bytes != [0; HEAD_LEN];
        let mut all = Vec::new();
        let mut last = 0;
        for (number, path) in files::rotated(&self.dir)? {
            let file = files::open_to_read(&path)?;
            let len = file.metadata()?.len();
            all.push(LogFile { name: files::rotated_name(number), number, file, len });
            last = number;
        }
        match files::open_to_read(&self.path) {
            Ok(file) => {
                // A record that a kill left behind the head is whole, or closed by the next one.
                let mut len = file.metadata()?.len();
                while len > 0 && !files::ends_line(&file, len)? {
                    len -= 1;
                }
                all.push(LogFile { name: FILE_NAME.to_owned(), number: last + 1, file, len });
            }
            // A rotation was killed before the next file was made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => return Err(error),
        }
        Ok(Files { files: all, head, has_head })
    }
}

/// Calls `each` with the lines of a file before `len`, the last one first.
fn lines_backwards(
    file: &File,
    len: u64,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut end = len;
    // What was read and begins in the middle of a line.
    let mut rest: Vec<u8> = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        let mut block = vec![0; (end - begin) as usize];
        file.read_exact_at(&mut block, begin)?;
        block.append(&mut rest);
        let mut until = block.len();
        // The byte before `until` ends a line; that before it ends the line before.
        while let Some(at) = block[..until.saturating_sub(1)].iter().rposition(|byte| *byte == b'\n') {
            if each(&block[at + 1..until]).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            until = at + 1;
        }
        block.truncate(until);
        rest = block;
        end = begin;
    }
    if rest.is_empty() { Ok(ControlFlow::Continue(())) } else { Ok(each(&rest)) }
}

/// Waits for what comes: it goes on from file to file as they are rotated.
#[derive(Debug)]
pub struct Follower<'l> {
    log: &'l FileAuditLog,
    file: File,
    number: u64,
    offset: u64,
    /// The beginning of a line that is being written.
    rest: Vec<u8>,
}

impl Follower<'_> {
    /// The records that were written since the last call.
    ///
    /// # Errors
    /// Whatever the files answer.
    pub fn more(&mut self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        loop {
            // Asked before the file is read to its end: whatever was written before it was rotated is then read.
            let is_current = self.is_current()?;
            self.read(&mut entries)?;
            if is_current || !self.go_on()? {
                return Ok(entries);
            }
        }
    }

    fn is_current(&self) -> io::Result<bool> {
        match std::fs::metadata(&self.log.path) {
            Ok(current) => {
                let own = self.file.metadata()?;
                Ok((current.dev(), current.ino()) == (own.dev(), own.ino()))
            }
            // A rotation is under way.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, entries: &mut Vec<Entry>) -> io::Result<()> {
        let mut block = vec![0; BLOCK as usize];
        loop {
            let len = self.file.read_at(&mut block, self.offset)?;
            if len == 0 {
                return Ok(());
            }
            self.offset += len as u64;
            self.rest.extend_from_slice(&block[..len]);
            while let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=at).collect();
                entries.extend(Entry::of(&self.log.keys, &line));
            }
        }
    }

    /// Takes the next file; `false` where there is none yet.
    fn go_on(&mut self) -> io::Result<bool> {
        let rotated = files::rotated(&self.log.dir)?;
        let next = rotated.into_iter().find(|(number, _)| *number > self.number);
        let (number, path) = next.unwrap_or((self.number + 1, self.log.path.clone()));
        self.file = files::open_to_read(&path)?;
        (self.number, self.offset) = (number, 0);
        self.rest.clear();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_backwards_whatever_their_length() {
        let lines: Vec<String> = (0..40).map(|n| format!("{n}{}\n", "x".repeat(n * 997))).collect();
        let temp = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(temp.path(), lines.concat()).unwrap();
        let file = File::open(temp.path()).unwrap();
        let mut met = Vec::new();
        let flow = lines_backwards(&file, file.metadata().unwrap().len(), &mut |line| {
            met.push(String::from_utf8(line.to_vec()).unwrap());
            ControlFlow::Continue(())
        });
        met.reverse();
        assert!(flow.unwrap().is_continue() && met == lines);
        let flow = lines_backwards(&file, 0, &mut |_| panic!("nothing is read of an empty file"));
        assert!(flow.unwrap().is_continue());
    }
}
