//! Reading the whole log: every file from the oldest, as far as the head goes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read};

use super::chain::hex;
use super::head;
use super::marks::Mark;
use super::read::LogFile;
use super::scan::{self, Met, Scan};
use super::{FileAuditLog, HASH_LEN};
use crate::crypto::hash::Hasher;

/// What is found in a log.
#[derive(Debug, Default)]
pub struct Report {
    /// How many authentic records follow one another from the first on.
    pub records: u64,
    /// The files, the oldest first.
    pub files: Vec<String>,
    /// Bytes from before the chain, which its first record covers.
    pub earlier_bytes: u64,
    /// What kills and losses of power left, and what was said of it.
    pub notes: Vec<Finding>,
    /// What nobody but this program's enemy leaves: the first is where to look.
    pub bad: Vec<Finding>,
}

/// Something about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file's name.
    pub file: String,
    /// The line in it, from 1.
    pub line: u64,
    /// What it is.
    pub what: String,
}

impl FileAuditLog {
    /// Every whole record of every file as it is now, the oldest first: no record is cut, whoever appends meanwhile.
    ///
    /// # Errors
    /// Whatever the files answer.
    pub fn whole(&self) -> io::Result<impl Read + use<>> {
        Ok(Whole(self.files()?.files.into_iter().map(|LogFile { file, len, .. }| file.take(len)).collect()))
    }

    /// Verifies every record.
    ///
    /// # Errors
    /// Whatever the files answer.
    pub fn verify(&self) -> io::Result<Report> {
        let files = self.files()?;
        let mut walk = Walk::new(Scan::behind(&self.keys, 0, [0; HASH_LEN]));
        for LogFile { name, file, len, .. } in files.files {
            walk.file(name, file.take(len))?;
        }
        walk.end(files.head.map_or(u64::MAX, |head| head.last.end));
        let last = match (&files.head, files.has_head) {
            (Some(head), _) => head.last.number,
            (None, has_head) => {
                let what = if has_head { "does not authenticate" } else { "is missing" };
                walk.bad_at_end(format!("{} {what}", head::FILE_NAME));
                0
            }
        };
        let (number, known) = (walk.scan.number(), self.known.max(self.synced_number()));
        if number < last.max(known) {
            walk.bad_at_end(scan::missing("at the end", number + 1, last.max(known)));
        }
        Ok(walk.report)
    }
}

/// Files, one after the other.
struct Whole(VecDeque<io::Take<File>>);

impl Read for Whole {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while let Some(file) = self.0.front_mut() {
            let len = file.read(out)?;
            if len > 0 || out.is_empty() {
                return Ok(len);
            }
            self.0.pop_front();
        }
        Ok(0)
    }
}

/// A verification under way.
struct Walk<'k> {
    scan: Scan<'k>,
    has_begun: bool,
    file: String,
    report: Report,
}

impl<'k> Walk<'k> {
    fn new(scan: Scan<'k>) -> Self {
        Self { scan, has_begun: false, file: String::new(), report: Report::default() }
    }

    fn file(&mut self, name: String, file: impl Read) -> io::Result<()> {
        self.end_file();
        self.report.files.push(name.clone());
        self.file = name;
        let mut earlier = (Hasher::default(), 0);
        scan::lines(BufReader::new(file), 0, |offset, line| match self.has_begun {
            true => self.line(offset, line),
            false => self.line_before(&mut earlier, offset, line),
        })?;
        Ok(())
    }

    /// A line from before the chain, or its first one.
    fn line_before(&mut self, earlier: &mut (Hasher, u64), offset: u64, line: &[u8]) {
        if self.scan.opens(line) {
            self.has_begun = true;
            if let Some(Mark::Begin(len, digest)) = Mark::of(line) {
                let is_covered = len == earlier.1 && digest == hex(&earlier.0.digest());
                self.report.earlier_bytes = len;
                self.line(offset, line);
                if !is_covered {
                    let what = "what stood in the log before its chain began was changed";
                    self.report.bad.push(self.finding(1, what));
                }
                return;
            }
            let what = "the record that began the chain is missing or was changed";
            self.report.bad.push(self.finding(1, what));
            return self.line(offset, line);
        }
        self.scan.skip();
        earlier.0.update(line);
        earlier.1 += line.len() as u64;
    }

    fn line(&mut self, offset: u64, line: &[u8]) {
        let met = self.scan.meet(offset, line);
        let number = self.scan.line_number();
        match met {
            Met::Record(_) => self.report.records += 1,
            Met::Pending => (),
            Met::Torn(_, region) => {
                self.report.records += 1;
                let what = "a writer was killed in the middle of this line, and the next record says so";
                self.report.notes.push(self.finding(region.line, what));
            }
            Met::Lost(_, from, to) => {
                self.report.records += 1;
                let what = format!("{} because the machine stopped", scan::missing("here", from, to));
                self.report.notes.push(self.finding(number, &what));
            }
            Met::Wrong(_, line, what) => self.report.bad.push(self.finding(line, &what)),
        }
    }

    fn end_file(&mut self) {
        if let Some(region) = self.scan.next_file() {
            self.report.bad.push(self.finding(region.line, scan::of_region(&region)));
        }
    }

    /// The last file ends, whose last record ends at `end`. Behind that, a kill may have left a part of one.
    fn end(&mut self, end: u64) {
        let line = self.scan.line_number();
        match self.scan.next_file() {
            Some(region) if region.offset >= end && !region.is_whole => {
                let what = "a writer was killed in the middle of this line, and the next record will say so";
                self.report.notes.push(self.finding(region.line, what));
            }
            Some(region) => self.report.bad.push(self.finding(region.line, scan::of_region(&region))),
            None => (),
        }
        (0..line).for_each(|_| self.scan.skip());
    }

    fn bad_at_end(&mut self, what: String) {
        let line = self.scan.line_number() + 1;
        self.report.bad.push(self.finding(line, &what));
    }

    fn finding(&self, line: u64, what: &str) -> Finding {
        Finding { file: self.file.clone(), line, what: what.to_owned() }
    }
}
