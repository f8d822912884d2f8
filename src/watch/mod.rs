//! Key-state changes to revocations: control sockets between who changes a key and who has files of it open.
//!
//! Each mount listens on a Unix socket of its own in the home's run directory. Who changes a CMK asks all of them at once, and
//! waits until each has answered that it has done what follows, or until a limit. A socket that nobody listens on belongs to a
//! mount that died, and is removed. It knows what a mount can be asked ([`Revoke`]) and nothing of how it does it.

mod announce;
mod listener;
mod message;
mod poller;

pub use announce::{AnnounceReport, Failure, Mount, announce, mounts, sockets};
pub use listener::Listener;
pub use message::{FileAsk, FileChange, FileMoved, FileRefusal, MountStatus, Reason, RevokeReport};
pub use poller::Poller;

use crate::datakey::KeyArn;

/// The process at the other end of a control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its user id.
    pub uid: u32,
    /// Its process id.
    pub pid: u32,
}

/// What a mount can be asked.
pub trait Revoke: Send + Sync {
    /// The state of `key` may have changed: look at it, and answer when all that follows from it is done.
    ///
    /// # Errors
    /// What could not be done, in words.
    fn key_changed(&self, key: &KeyArn) -> Result<RevokeReport, String>;

    /// Changes a file, in the name of `who` asks.
    ///
    /// # Errors
    /// Why it is not changed.
    fn change_file(&self, ask: &FileAsk, who: Peer) -> Result<Option<FileMoved>, FileRefusal>;

    /// What the mount is and uses.
    fn status(&self) -> MountStatus;
}
