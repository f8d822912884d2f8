//! The body of a request, within its limits: its length, its time, and what all bodies together may hold.
//!
//! A signature covers the body, so whoever connects can have one read. A small one is bounded by the number of connections. A larger one
//! waits for its whole room before more of it is read ([`limits::BODIES_BYTES`](super::limits::BODIES_BYTES)); none has a part and waits for the
//! rest, so that two never wait for each other.

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::State;
use super::limits::{BODY_BYTES, DISCARDED_BYTES, SMALL_BODY_BYTES};
use super::metrics::Late;

/// A body and its room; the bytes are wiped with it, and are not to be seen in anything that is printed.
#[derive(Default)]
pub struct Kept {
    bytes: Zeroizing<Vec<u8>>,
    room: Option<Room>,
}

/// Room for a large body.
type Room = OwnedSemaphorePermit;

impl Kept {
    /// The whole body.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends without leaving a copy behind: what a vector outgrows is not wiped.
    fn append(&mut self, data: &[u8]) {
        let needed = self.bytes.len() + data.len();
        if needed > self.bytes.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.bytes.capacity())));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(data);
    }
}

/// Why there is no body to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It is larger than any may be.
    TooLarge,
    /// It did not come in time.
    Late,
    /// The server has no room for it in time.
    NoRoom,
    /// The client is gone, or what it sent is no HTTP: nobody reads this answer.
    BrokenOff,
}

impl Missing {
    /// The status and the name of the answer.
    pub const fn status_and_name(self) -> (StatusCode, &'static str) {
        match self {
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException"),
            Self::Late => (StatusCode::REQUEST_TIMEOUT, "RequestTimeoutException"),
            Self::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException"),
            Self::BrokenOff => (StatusCode::BAD_REQUEST, "IncompleteBody"),
        }
    }

    /// What is said beside the name.
    pub fn message(self) -> Option<String> {
        match self {
            Self::TooLarge => Some(format!("The request is larger than {BODY_BYTES} bytes.")),
            Self::NoRoom => Some("The server reads too many large requests. Try again.".to_owned()),
            Self::Late | Self::BrokenOff => None,
        }
    }
}

/// The whole body of a request.
///
/// # Errors
/// [`Missing`]: the connection has to end, since what is left of the body would be taken for the next request.
pub async fn receive(state: &State, body: Incoming) -> Result<Kept, Missing> {
    let announced = body.size_hint();
    if announced.lower() > DISCARDED_BYTES as u64 {
        return Err(Missing::TooLarge);
    }
    let until = Instant::now() + state.limits.client;
    let expected = announced.exact().map(|len| usize::try_from(len).unwrap_or(usize::MAX));
    match tokio::time::timeout_at(until, collect(state, body, expected, until)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            state.metrics.late(Late::Body);
            Err(Missing::Late)
        }
    }
}

async fn collect(
    state: &State,
    mut body: Incoming,
    expected: Option<usize>,
    until: Instant,
) -> Result<Kept, Missing> {
    let mut kept = Kept::default();
    let mut received = 0;
    if let Some(len) = expected.filter(|len| *len <= BODY_BYTES) {
        kept.room = room(state, len, until).await?;
        kept.bytes = Zeroizing::new(Vec::with_capacity(len));
    }
    let is_known = expected.is_some();
    let mut is_kept = expected.is_none_or(|len| len <= BODY_BYTES);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Missing::BrokenOff)?.into_data() else { continue };
        received += data.len();
        if received > BODY_BYTES && is_kept {
            is_kept = false;
            kept = Kept::default();
        }
        if is_kept {
            if !is_known && kept.room.is_none() {
                // How long it becomes is not known: the most that it can be.
                let len = if received > SMALL_BODY_BYTES { BODY_BYTES } else { received };
                kept.room = room(state, len, until).await?;
            }
            kept.append(&data);
        } else if received > DISCARDED_BYTES {
            break;
        }
    }
    if is_kept { Ok(kept) } else { Err(Missing::TooLarge) }
}

/// Waits for the room of a body of `len` bytes; a small one needs none.
async fn room(state: &State, len: usize, until: Instant) -> Result<Option<Room>, Missing> {
    if len <= SMALL_BODY_BYTES {
        return Ok(None);
    }
    let bytes = u32::try_from(len).unwrap_or(u32::MAX);
    let rooms = state.bodies.clone();
    // A little before its client's time is over, so that this is told from a client that is slow.
    let patience = until - state.limits.client / 10;
    match tokio::time::timeout_at(patience, rooms.acquire_many_owned(bytes)).await {
        Ok(Ok(room)) => Ok(Some(room)),
        Ok(Err(_)) | Err(_) => Err(Missing::NoRoom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_grows_leaves_no_copy_and_loses_nothing() {
        let mut kept = Kept::default();
        for piece in [&b"abc"[..], &[b'x'; 5000], b"", b"end"] {
            kept.append(piece);
        }
        let bytes = kept.bytes();
        assert_eq!((bytes.len(), &bytes[..3], &bytes[5003..]), (5006, &b"abc"[..], &b"end"[..]));
    }
}
