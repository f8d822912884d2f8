//! The records of the list of dirty files, and what a log of them lists in the end.
//!
//! ```text
//! kind (1: listed or moved here, 2: clean) | file id (16) | length of path (u16, big-endian) | path | check (8)
//! ```
//!
//! The check is the first 8 bytes of the SHA-256 of what is before it; it finds torn records, not forged ones.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::crypto::hash::sha256;
use crate::envelope::FileId;

/// Begins a record of a file that is listed.
pub const LISTED: u8 = 1;
/// Begins one of a file that is clean.
pub const CLEAN: u8 = 2;
/// Bytes of a file's id.
pub const ID_LEN: usize = 16;
const HEAD_LEN: usize = 1 + ID_LEN + 2;
const CHECK_LEN: usize = 8;
/// The longest record.
const RECORD_MAX: usize = HEAD_LEN + u16::MAX as usize + CHECK_LEN;
/// Bytes of a log that are read at most: those of some million open files.
const LOG_MAX: u64 = 256 << 20;

/// A record. A path that does not fit is cut: the file is then recovered at its next open instead of the next mount.
pub fn record(kind: u8, file_id: &FileId, path: &OsStr) -> Vec<u8> {
    let path = path.as_bytes();
    let len = u16::try_from(path.len()).unwrap_or(0);
    let mut record = Vec::with_capacity(HEAD_LEN + usize::from(len) + CHECK_LEN);
    record.push(kind);
    record.extend_from_slice(&file_id.0);
    record.extend_from_slice(&len.to_be_bytes());
    record.extend_from_slice(&path[..usize::from(len)]);
    let check = sha256(&[&record]);
    record.extend_from_slice(&check[..CHECK_LEN]);
    record
}

/// What a log lists in the end. It may be as long as somebody made it: what is kept of it is what its records name, and no more of it
/// is read than [`LOG_MAX`].
pub fn read_log(log: impl Read) -> io::Result<HashMap<[u8; ID_LEN], PathBuf>> {
    let mut log = log.take(LOG_MAX);
    let mut listed = HashMap::new();
    let mut bytes = Vec::new();
    loop {
        let more = log.by_ref().take(RECORD_MAX as u64).read_to_end(&mut bytes)?;
        let rest = replay_on(&mut listed, &bytes).len();
        bytes.drain(..bytes.len() - rest);
        // What is no whole record in as many bytes as the longest has will never be one.
        if more == 0 || bytes.len() >= RECORD_MAX {
            return Ok(listed);
        }
    }
}

/// What a log lists in the end. It can be named for the fuzz target of this codec.
#[doc(hidden)]
pub fn replay(log: &[u8]) -> HashMap<[u8; ID_LEN], PathBuf> {
    let mut listed = HashMap::new();
    replay_on(&mut listed, log);
    listed
}

/// Does what the records at the beginning of `log` say, and answers what is left behind them.
fn replay_on<'a>(listed: &mut HashMap<[u8; ID_LEN], PathBuf>, mut log: &'a [u8]) -> &'a [u8] {
    while let Some((record, rest)) = split_record(log) {
        match record.kind {
            LISTED => drop(listed.insert(record.id, PathBuf::from(OsString::from_vec(record.path.to_vec())))),
            CLEAN => drop(listed.remove(&record.id)),
            _ => break,
        }
        log = rest;
    }
    log
}

/// A record as it is read.
struct Record<'a> {
    kind: u8,
    id: [u8; ID_LEN],
    path: &'a [u8],
}

/// Splits the first record off; `None` where there is no whole one.
fn split_record(log: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (head, rest) = log.split_first_chunk::<HEAD_LEN>()?;
    let len = usize::from(u16::from_be_bytes([head[HEAD_LEN - 2], head[HEAD_LEN - 1]]));
    let (path, rest) = rest.split_at_checked(len)?;
    let (check, rest) = rest.split_first_chunk::<CHECK_LEN>()?;
    if sha256(&[head, path])[..CHECK_LEN] != check[..] {
        return None;
    }
    let id = head[1..=ID_LEN].try_into().ok()?;
    Some((Record { kind: head[0], id, path }, rest))
}
