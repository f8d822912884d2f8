//! What clients may take: bytes, time and connections.

use std::time::Duration;

/// Bytes in the body of a request at most. The largest that AWS KMS has, CreateKey with a policy of 32 KB and fifty tags, needs half of
/// this even where every letter of it is written as `\u` and four digits.
pub const BODY_BYTES: usize = 512 * 1024;
/// Bytes in a body that counts as small: as many as any operation needs but CreateKey, PutKeyPolicy and tags. It is read at once.
pub const SMALL_BODY_BYTES: usize = 16 * 1024;
/// Bytes of all larger bodies together. Nobody knows whose a body is before it is there, so this is what everybody who can connect may have
/// the server hold; further ones wait.
pub const BODIES_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of a body that is too large and is read all the same, so that the client reads the answer before it finds the connection closed.
pub const DISCARDED_BYTES: usize = 16 * 1024 * 1024;
/// Bytes in the head of a request at most; more is answered with status 431, or 414 where the path is too long.
pub const HEAD_BYTES: usize = 64 * 1024;
/// Headers in a request at most.
pub const HEADERS: usize = 100;
/// Operations in work at a time; further ones wait. Each takes a thread while it waits for the disk.
pub const OPERATIONS: usize = 64;
/// Of these, operations that may change a key: one that waits for a mount to obey must not keep others from decrypting.
pub const CHANGES: usize = 16;
/// Looks at the home that need no signature (`/healthz`, `/metrics`) at a time: a mount that hangs makes one of them wait for seconds.
pub const LOOKS: usize = 4;
/// Connections that the kernel keeps for the server until it takes them.
pub const BACKLOG: u32 = 1024;
/// How long a connection that has just been made counts as new: where others wait, one that has not sent a request by then makes room.
pub const NEW: Duration = Duration::from_secs(1);
/// How long connections that wait are looked after in between.
pub const PRESSURE: Duration = Duration::from_millis(100);

/// The limits that an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time. Further ones wait until one ends; idle ones are ended for that.
    pub connections: usize,
    /// How long a client may take for a handshake, for the head of a request, for its body, and for taking the answer: each of them.
    pub client: Duration,
    /// How long a connection may be idle between requests.
    pub idle: Duration,
    /// How long requests in work may take to end when the server is stopped.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            client: Duration::from_secs(10),
            // Longer than clients keep an idle connection by themselves: else they would send into one that is just being ended.
            idle: Duration::from_secs(120),
            stop: Duration::from_secs(20),
        }
    }
}
