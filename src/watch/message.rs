//! What goes over a control socket: one JSON line each way.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::datakey::KeyArn;
use crate::volume::Volume;

/// The protocol's version, in every message.
pub const VERSION: u32 = 1;
/// The longest line that is read, in bytes.
const LINE_MAX: u64 = 1 << 20;

/// A question to a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// What is asked.
    pub ask: Ask,
}

/// What a mount is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// A key's state may have changed; its ARN.
    KeyChanged(String),
    /// What the mount is and uses.
    Status,
    /// A file is to be changed, or was.
    File(FileAsk),
}

/// What a mount is asked to do with a file of its volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAsk {
    /// What.
    pub change: FileChange,
    /// The path within the volume, as bytes.
    path: Vec<u8>,
    /// The key to move to: id, ARN or alias; none for the file's own.
    pub to: Option<String>,
}

/// A change of a file that mounts have to do, or to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileChange {
    /// Wrap its data key anew.
    Rewrap,
    /// Encrypt it anew.
    Reencrypt,
    /// It was rewrapped by another process: look at its header again.
    Reread,
}

impl FileAsk {
    /// About the file at `path` within the volume.
    pub fn new(change: FileChange, path: &Path, to: Option<&str>) -> Self {
        Self { change, path: path.as_os_str().as_bytes().to_owned(), to: to.map(str::to_owned) }
    }

    /// The path within the volume.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(self.path.clone()))
    }
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileMoved {
    /// The ARN of the CMK before.
    pub from_key: String,
    /// The version of its backing key.
    pub from_version: u32,
    /// The ARN of the CMK now.
    pub to_key: String,
    /// The version of its backing key.
    pub to_version: u32,
    /// The plain size, in bytes.
    pub size: u64,
}

/// Why a file is not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRefusal {
    /// What kind of reason.
    pub reason: Reason,
    /// In words.
    pub why: String,
}

/// Kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A key is not known, or its state or policy does not permit it.
    Key,
    /// The ciphertext is damaged.
    Damaged,
    /// Somebody uses the file.
    Busy,
    /// It is not there any more.
    Gone,
    /// Anything else.
    Failed,
}

/// A mount's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// What follows from the change is done.
    Done(RevokeReport),
    /// It could not be done.
    Failed(String),
    /// What the mount is and uses.
    Status(MountStatus),
    /// The file was changed; nothing is told of one that was only read again.
    Moved(Option<FileMoved>),
    /// The file was not changed.
    Refused(FileRefusal),
}

/// What a mount did when a key changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeReport {
    /// Inodes whose cached pages were dropped.
    pub inodes: usize,
    /// Files whose data keys were wiped.
    pub files: usize,
    /// Files that could not be committed before; they are recovered when the key can be used again.
    pub uncommitted: Vec<String>,
}

/// What a mount is and uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountStatus {
    /// The volume's id.
    pub volume_id: String,
    /// The encrypted directory.
    pub dir: PathBuf,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The mount's process.
    pub pid: u32,
    /// The CMKs that files were opened under, as ARNs.
    pub keys: Vec<String>,
    /// How many files are open.
    pub open_files: usize,
    /// How many of them are under each CMK that any is under; by ARN.
    #[serde(default)]
    pub open_by_key: BTreeMap<String, usize>,
    /// Whether it changes nothing.
    #[serde(default)]
    pub read_only: bool,
}

impl MountStatus {
    /// Of a mount by this process that has not opened anything yet.
    pub fn of(volume: &Volume, mountpoint: &Path) -> Self {
        Self {
            volume_id: volume.id().to_owned(),
            dir: volume.path().to_owned(),
            mountpoint: mountpoint.to_owned(),
            pid: std::process::id(),
            keys: Vec::new(),
            open_files: 0,
            open_by_key: BTreeMap::new(),
            read_only: false,
        }
    }
}

impl Request {
    /// A question in this version of the protocol.
    pub fn new(ask: Ask) -> Self {
        Self { version: VERSION, ask }
    }

    /// The question about a key.
    pub fn key_changed(key: &KeyArn) -> Self {
        Self::new(Ask::KeyChanged(key.as_str().to_owned()))
    }
}

/// Writes a message as one line.
///
/// # Errors
/// Whatever the stream answers.
pub fn send(mut stream: impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Reads a message of one line.
///
/// # Errors
/// `InvalidData` for anything else, `UnexpectedEof` where the line does not end.
pub fn receive<T: DeserializeOwned>(stream: impl Read) -> io::Result<T> {
    let mut line = Vec::new();
    BufReader::new(stream.take(LINE_MAX)).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_survives_its_line() {
        let request = Request::key_changed(&KeyArn::new("arn:aws:kms:x"));
        let mut line = Vec::new();
        send(&mut line, &request).unwrap();
        assert_eq!(receive::<Request>(&*line).unwrap(), request);
    }

    #[test]
    fn an_endless_line_is_refused_at_the_limit() {
        assert!(receive::<Request>(io::repeat(b'x')).is_err());
    }

    proptest! {
        #[test]
        fn receiving_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = receive::<Request>(&*bytes);
            let _ = receive::<Response>(&*bytes);
        }
    }
}
