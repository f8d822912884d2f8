//! Going along the chain: whether each line follows the one before, and what it means where it does not.
//!
//! Who goes on with the log after a kill and who verifies it go by the same judgement, so what the one accepts the other does.

use std::io::{self, BufRead};

use super::chain::{ChainKeys, HASH_LEN, Link, NoLink, hex};
use super::marks::{Mark, Span};
use crate::crypto::hash::Hasher;

/// The longest line that is looked at as one. A record has a few KiB at most: a request has 4 MiB, and its blobs are left out.
const LINE_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of a file that are no record: from where they begin to the next record.
#[derive(Debug, Clone)]
pub struct Region {
    /// Where they begin.
    pub offset: u64,
    /// The number of the first line of them in the file, from 1.
    pub line: u64,
    /// Why the first line is no record.
    pub why: NoLink,
    /// Whether a line of them is a whole JSON object: no kill leaves that, since a record is written from its beginning.
    pub is_whole: bool,
    /// Whether they end with a line feed.
    pub is_ended: bool,
    bytes: u64,
    digest: Hasher,
}

impl Region {
    fn new(offset: u64, line: u64, why: NoLink) -> Self {
        let digest = Hasher::default();
        Self { offset, line, why, is_whole: false, is_ended: false, bytes: 0, digest }
    }

    fn add(&mut self, line: &[u8]) {
        let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
        self.is_whole |= line.first() == Some(&b'{') && is_json();
        self.extend(line);
    }

    /// Bytes that belong to it and are no line of their own.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.is_ended = bytes.last() == Some(&b'\n');
        self.bytes += bytes.len() as u64;
        self.digest.update(bytes);
    }

    /// Place, length and SHA-256.
    pub fn span(&self) -> Span {
        (self.offset, self.bytes, hex(&self.digest.digest()))
    }
}

/// What a line turns out to be.
#[derive(Debug)]
pub enum Met {
    /// The record that follows the one before.
    Record(Link),
    /// No record. What that means depends on the next record.
    Pending,
    /// The record that closes the torn line before it.
    Torn(Link, Region),
    /// The record that says which records a loss of power took.
    Lost(Link, u64, u64),
    /// An authentic record that should not stand here, and why; or one that says that the log was altered. The line that it is
    /// about may be before it.
    Wrong(Link, u64, String),
}

/// A walk along the lines of one or more files.
#[derive(Debug)]
pub struct Scan<'k> {
    keys: &'k ChainKeys,
    /// The number and the hash of the record before.
    at: (u64, [u8; HASH_LEN]),
    region: Option<Region>,
    lines: u64,
}

impl<'k> Scan<'k> {
    /// Goes on behind the record `number` with that hash.
    pub fn behind(keys: &'k ChainKeys, number: u64, hash: [u8; HASH_LEN]) -> Self {
        Self { keys, at: (number, hash), region: None, lines: 0 }
    }

    /// The number of the record before.
    pub fn number(&self) -> u64 {
        self.at.0
    }

    /// The number of the line that was met last, in its file, from 1.
    pub fn line_number(&self) -> u64 {
        self.lines
    }

    /// The next file begins; what stood at the end of the last one and is no record, if anything.
    pub fn next_file(&mut self) -> Option<Region> {
        self.lines = 0;
        self.region.take()
    }

    /// Whether a line is a record of this chain, wherever it should stand.
    pub fn opens(&self, line: &[u8]) -> bool {
        self.keys.open(line).is_ok()
    }

    /// Passes over a line that is judged otherwise.
    pub fn skip(&mut self) {
        self.lines += 1;
    }

    /// Judges the next line, which begins at `offset`.
    pub fn meet(&mut self, offset: u64, line: &[u8]) -> Met {
        self.lines += 1;
        let link = match self.keys.open(line) {
            Ok(link) => link,
            Err(why) => return self.pend(offset, line, why),
        };
        let (number, hash) = self.at;
        let region = self.region.take();
        self.at = (link.number, link.hash);
        let due = number.saturating_add(1);
        let follows = link.number == due && link.previous == hash;
        match (Mark::of(line), region) {
            (Some(Mark::Lost(from, to, span)), region)
                if from == due
                    && link.number == to.saturating_add(1)
                    && span == region.as_ref().map(Region::span) =>
            {
                Met::Lost(link, from, to)
            }
            (Some(Mark::Torn(Some(span))), Some(region))
                if follows && !region.is_whole && span == region.span() =>
            {
                Met::Torn(link, region)
            }
            (_, Some(region)) => Met::Wrong(link, region.line, of_region(&region).to_owned()),
            (Some(Mark::Altered(what)), None) if follows => Met::Wrong(link, self.lines, what),
            (Some(Mark::Altered(what)), None) => {
                Met::Wrong(link, self.lines, format!("{}: {what}", out_of_order(due, link.number)))
            }
            (_, None) if follows => Met::Record(link),
            (_, None) => Met::Wrong(link, self.lines, out_of_order(due, link.number)),
        }
    }

    fn pend(&mut self, offset: u64, line: &[u8], why: NoLink) -> Met {
        self.region.get_or_insert_with(|| Region::new(offset, self.lines, why)).add(line);
        Met::Pending
    }
}

/// What is wrong with bytes that no record explains.
pub fn of_region(region: &Region) -> &'static str {
    match region.why {
        NoLink::Altered => "the record was changed",
        NoLink::Unchained if region.is_whole => "this record was not written by kmsfs",
        NoLink::Unchained => "the line is no whole record",
    }
}

fn out_of_order(due: u64, found: u64) -> String {
    if found > due {
        return missing("before it", due, found - 1);
    }
    if found < due {
        return format!("record {found} stands here out of order, where record {due} is due");
    }
    "it does not follow the record before it".to_owned()
}

/// Which records are missing.
pub fn missing(place: &str, from: u64, to: u64) -> String {
    match from == to {
        true => format!("record {from} is missing {place}"),
        false => format!("records {from} to {to} are missing {place}"),
    }
}

/// Calls `each` with the offset and the bytes of every line of `from`, which begins at `offset`; the last may have no line feed.
/// Answers where the lines end.
///
/// # Errors
/// What reading answers.
pub fn lines(mut from: impl BufRead, mut offset: u64, mut each: impl FnMut(u64, &[u8])) -> io::Result<u64> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let len = io::Read::take(&mut from, LINE_MAX).read_until(b'\n', &mut line)? as u64;
        if len == 0 {
            return Ok(offset);
        }
        each(offset, &line);
        offset += len;
    }
}
