//! What a mount is asked over its control socket, done by its filesystem.

use std::sync::Arc;

use rustix::io::Errno;

use crate::datakey::{DataKeyError, KeyArn};
use crate::fs::{Caller, Filesystem, FsError, Moved};
use crate::watch::{
    FileAsk, FileChange, FileMoved, FileRefusal, MountStatus, Peer, Reason, Revoke, RevokeReport,
};

/// What key changes, and changes of files, reach a mount through.
#[derive(Debug)]
pub struct Control {
    /// The mounted filesystem.
    pub fs: Arc<Filesystem>,
    /// What the mount is.
    pub status: MountStatus,
}

impl Revoke for Control {
    fn key_changed(&self, key: &KeyArn) -> Result<RevokeReport, String> {
        let done = self.fs.key_changed(key)?;
        Ok(RevokeReport { inodes: done.inodes, files: done.files, uncommitted: done.uncommitted })
    }

    fn change_file(&self, ask: &FileAsk, who: Peer) -> Result<Option<FileMoved>, FileRefusal> {
        change_file(&self.fs, ask, Caller { uid: who.uid, gid: 0, pid: who.pid })
    }

    fn status(&self) -> MountStatus {
        let by_key = self.fs.open_by_key().into_iter().map(|(key, count)| (key.to_string(), count));
        MountStatus {
            keys: self.fs.keys_in_use().iter().map(ToString::to_string).collect(),
            open_files: self.fs.open_files(),
            open_by_key: by_key.collect(),
            ..self.status.clone()
        }
    }
}

/// Changes a file of a filesystem, mounted or not, as [`FileAsk`] says.
///
/// # Errors
/// Why it is not changed.
pub fn change_file(fs: &Filesystem, ask: &FileAsk, caller: Caller) -> Result<Option<FileMoved>, FileRefusal> {
    let (path, to) = (ask.path(), ask.to.as_deref());
    let moved = match ask.change {
        FileChange::Rewrap => fs.rewrap(&path, to, caller).map(Some),
        FileChange::Reencrypt => fs.reencrypt(&path, to, caller).map(Some),
        FileChange::Reread => fs.reread(&path, caller).map(|()| None),
    };
    moved.map(|moved| moved.map(told)).map_err(|error| refusal(&error))
}

fn told(moved: Moved) -> FileMoved {
    let (from_key, from_version) = moved.from;
    let (to_key, to_version) = moved.to;
    FileMoved {
        from_key: from_key.to_string(),
        from_version,
        to_key: to_key.to_string(),
        to_version,
        size: moved.size,
    }
}

fn refusal(error: &FsError) -> FileRefusal {
    let reason = match error {
        FsError::Os(Errno::NOENT) | FsError::Stale => Reason::Gone,
        FsError::Key(DataKeyError::Inauthentic) => Reason::Damaged,
        FsError::Key(DataKeyError::Failed(_)) => Reason::Failed,
        FsError::Key(
            DataKeyError::Unusable(..)
            | DataKeyError::Denied(_)
            | DataKeyError::Unreachable(_)
            | DataKeyError::NotFound(_)
            | DataKeyError::WrongKind(..),
        ) => Reason::Key,
        FsError::File { error, .. } if error.is_damage() => Reason::Damaged,
        FsError::Busy(_) => Reason::Busy,
        FsError::Os(_)
        | FsError::File { .. }
        | FsError::Volume(_)
        | FsError::Reserved
        | FsError::ReadOnlyAttribute
        | FsError::ReadOnlyMount
        | FsError::Invalid
        | FsError::Unsupported => Reason::Failed,
    };
    let why = match error {
        // Whoever asked knows the path.
        FsError::File { error, .. } => error.to_string(),
        error => error.to_string(),
    };
    FileRefusal { reason, why }
}
