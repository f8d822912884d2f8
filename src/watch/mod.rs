//! Key-state changes to revocations: control sockets between who changes a key and who has files of it open.
//!
//! Each mount listens on a Unix socket of its own in the home's run directory. Who changes a CMK asks all of them at once, and
//! waits until each has answered that it has done what follows, or until a limit. A socket that nobody listens on belongs to a
//! mount that died, and is removed. It knows what a mount can be asked ([`Revoke`]) and nothing of how it does it.

mod announce;
mod listener;
mod message;
mod poller;

pub use announce::{AnnounceReport, Failure, announce, mounts};
pub use listener::Listener;
pub use message::{MountStatus, RevokeReport};
pub use poller::Poller;

use crate::datakey::KeyArn;

/// What a mount can be asked.
pub trait Revoke: Send + Sync {
    /// The state of `key` may have changed: look at it, and answer when all that follows from it is done.
    ///
    /// # Errors
    /// What could not be done, in words.
    fn key_changed(&self, key: &KeyArn) -> Result<RevokeReport, String>;

    /// What the mount is and uses.
    fn status(&self) -> MountStatus;
}
