//! The beginning of a chain, and what is known of one before its log is opened.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use super::chain::{self, ChainKeys, HASH_LEN};
use super::head::{self, HEAD_LEN, Head, Place};
use super::lock::Lock;
use super::{FILE_NAME, files, marks, scan};
use crate::kms::audit::{AuditEvent, Scene};

/// Begins a chain in the home in `dir`, whatever log there is: its first record covers what stands in the file already. It is on disk
/// when this returns.
///
/// # Errors
/// Whatever the files answer.
pub fn begin(dir: &Path, keys: &ChainKeys, scene: &Scene<'_>, generation: i64) -> io::Result<()> {
    let lock = Lock::open(dir)?;
    let _turn = lock.turn(Instant::now())?;
    let file = files::open(&dir.join(FILE_NAME), true)?;
    let mut digest = crate::crypto::hash::Hasher::default();
    let mut len = scan::lines(io::BufReader::new(&file), 0, |_, line| digest.update(line))?;
    if !files::ends_line(&file, len)? {
        files::append(&file, len, b"\n")?;
        digest.update(b"\n");
        len += 1;
    }
    let said = marks::begin(&keys.id(), len, &digest.digest());
    let mut line = AuditEvent::of_log(scene, marks::BEGIN, &said).to_line();
    let hash = keys.seal(&mut line, 1, generation, &[0; HASH_LEN]);
    files::append(&file, len, &line)?;
    file.sync_data()?;
    let last = Place { end: len + line.len() as u64, number: 1, hash };
    let number = files::rotated(dir)?.last().map_or(1, |(number, _)| number + 1);
    let boot = head::boot_id();
    let head = Head { chain: keys.id(), file: number, last, generation, reserved: 0, synced: last, boot };
    lock.head().write_all_at(&head.encode(keys), 0)?;
    lock.head().sync_all()?;
    files::sync_dir(dir)
}

/// The highest generation of the key store that the log in `dir` says was seen; `None` where its head does not say anything that
/// authenticates. `keys` are those of the chain that the head names.
///
/// # Errors
/// Whatever the files answer.
pub fn seen_generation(
    dir: &Path,
    keys: impl FnOnce([u8; chain::CHAIN_ID_LEN]) -> ChainKeys,
) -> io::Result<Option<i64>> {
    let lock = match File::open(dir.join(head::FILE_NAME)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = [0; HEAD_LEN];
    let len = lock.read_at(&mut bytes, 0)?;
    let Some(claimed) = Head::claimed_chain(&bytes).filter(|_| len == HEAD_LEN) else { return Ok(None) };
    let head = Head::decode(&bytes, &keys(claimed));
    Ok(head.map(|head| head.generation))
}
