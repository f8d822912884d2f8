//! Going on with a log that is not as its head says: after a kill, a loss of power, or somebody else's hand.
//!
//! | found | what is done |
//! |---|---|
//! | whole records behind the head | they are accepted: their writer was killed before it advanced the head |
//! | a part of a record behind the head | `CloseTornAuditLine` says where and how long |
//! | after a start of the machine: records before the head are missing that were not yet on disk | `AuditRecordsLost` says which |
//! | anything else: a file cut, lines of others, a head that is missing, older, or does not authenticate | `AuditLogAltered` says what |
//!
//! None of these stops the log: a home whose log somebody spoilt must still answer. `kmsfs audit verify` finds the last of them, and
//! goes by the lines and not by what is said of them.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};

use super::chain::HASH_LEN;
use super::head::{Head, Place};
use super::scan::{self, Met, Region, Scan};
use super::{FileAuditLog, State, files, marks};
use crate::kms::audit::AuditEvent;

/// What stands behind a place.
struct Found {
    /// The last record that follows.
    last: Place,
    /// The highest generation of the key store that it or one before it names.
    generation: i64,
    /// What stands behind it and is no record.
    region: Option<Region>,
    /// What is wrong with it.
    wrong: Option<String>,
}

impl FileAuditLog {
    /// Makes the head fit the file, and says what was found where that is more than whole records.
    pub(super) fn recover(
        &self,
        state: &mut State,
        event: &AuditEvent<'_>,
        suspicion: Option<String>,
    ) -> io::Result<()> {
        let head = match state.head {
            Some(head) => head,
            None => self.head_of_lines(state)?,
        };
        let has_restarted = head.boot != self.boot;
        let from = if has_restarted { head.synced } else { head.last };
        let found = self.behind(&state.file, from, state.len, head.generation)?;
        let last = if found.last.number >= head.last.number { found.last } else { head.last };
        let known = self.known;
        let number = last.number.max(known);
        let at_end = Place { end: found.last.end, number, ..last };
        let next = Head { last: at_end, generation: found.generation, boot: self.boot, ..head };
        let is_behind = last.number < known;
        let behind =
            || format!("it ended with record {}, and the key store knows of record {known}", last.number);
        let wrong = suspicion.or(found.wrong).or_else(|| is_behind.then(behind));
        let is_lost = has_restarted && found.last.number < head.last.number;
        let lost = (found.last.number.saturating_add(1), head.last.number);
        let (name, mut said) = match (wrong, &found.region) {
            (Some(what), _) => (marks::ALTERED, marks::parameters([("what", what.into())])),
            (None, Some(region)) if region.is_whole => {
                let what = scan::of_region(region);
                (marks::ALTERED, marks::parameters([("what", what.into())]))
            }
            (None, _) if is_lost => {
                (marks::LOST, marks::parameters([("from", lost.0.into()), ("to", lost.1.into())]))
            }
            (None, Some(_)) => (marks::TORN, marks::parameters([])),
            (None, None) => return self.accept(state, next),
        };
        let mut before: &[u8] = b"";
        match found.region {
            Some(mut region) => {
                if !region.is_ended {
                    before = b"\n";
                    region.extend(before);
                }
                marks::add_region(&mut said, &region);
            }
            None if !files::ends_line(&state.file, state.len)? => before = b"\n",
            None => (),
        }
        log::warn!("{}: {name} {}", self.path.display(), serde_json::Value::from(said.clone()));
        let mark = AuditEvent::of_log(&event.scene(), name, &said).to_line();
        state.head = Some(next);
        self.make_space_for_mark(state, mark.len() as u64)?;
        let outcome = self.write(state, mark, before);
        if outcome.is_err() {
            // Nothing of this has happened.
            state.head = Some(head);
        }
        outcome.map(|_| ())
    }

    /// Goes on behind whole records; the last may lack no more than its line feed.
    fn accept(&self, state: &mut State, mut next: Head) -> io::Result<()> {
        if !files::ends_line(&state.file, state.len)? {
            files::append(&state.file, state.len, b"\n")?;
            state.len += 1;
            next.last.end = state.len;
        }
        self.write_head(state, next)
    }

    fn make_space_for_mark(&self, state: &mut State, len: u64) -> io::Result<()> {
        if let Some(head) = state.head
            && let Ok(reserved) = files::reserve(&state.file, state.len, len)
        {
            state.head = Some(Head { reserved, ..head });
        }
        // Where there is none, what was reserved before may do.
        Ok(())
    }

    /// What stands in `file` behind `from`.
    fn behind(&self, file: &File, from: Place, len: u64, generation: i64) -> io::Result<Found> {
        let mut found = Found { last: from, generation, region: None, wrong: None };
        if len < from.end {
            let what = format!("{} had {len} bytes, and {} were written", files::FILE_NAME, from.end);
            found.wrong = Some(what);
            found.last.end = len;
            return Ok(found);
        }
        let mut scan = Scan::behind(&self.keys, from.number, from.hash);
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(from.end))?;
        let mut accept = |link: &super::chain::Link, end: u64| {
            found.last = Place { end, number: link.number, hash: link.hash };
            found.generation = found.generation.max(link.generation);
        };
        let mut wrong = None;
        scan::lines(BufReader::new(file), from.end, |offset, line| {
            let end = offset + line.len() as u64;
            match scan.meet(offset, line) {
                Met::Record(link) | Met::Torn(link, _) | Met::Lost(link, ..) => accept(&link, end),
                Met::Wrong(link, _, what) => {
                    // One that says so itself has been written, and its writer was killed before it advanced the head.
                    if marks::Mark::of(line).is_none() {
                        wrong.get_or_insert(what);
                    }
                    accept(&link, end);
                }
                Met::Pending => (),
            }
        })?;
        found.region = scan.next_file();
        found.wrong = wrong;
        Ok(found)
    }

    /// A head in place of one that is lost: that of the last authentic line.
    fn head_of_lines(&self, state: &State) -> io::Result<Head> {
        let mut last = Place { end: 0, number: 0, hash: [0; HASH_LEN] };
        let mut generation = 0;
        let mut file = state.file.try_clone()?;
        file.rewind()?;
        scan::lines(BufReader::new(file), 0, |offset, line| {
            if let Ok(link) = self.keys.open(line) {
                generation = generation.max(link.generation);
                if link.number >= last.number {
                    last = Place { end: offset + line.len() as u64, number: link.number, hash: link.hash };
                }
            }
        })?;
        let file = files::rotated(&self.dir)?.last().map_or(1, |(number, _)| number + 1);
        let chain = self.keys.id();
        Ok(Head { chain, file, last, generation, reserved: 0, synced: last, boot: self.boot })
    }
}
