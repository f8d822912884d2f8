//! What a connection waits for, and how long it may.
//!
//! A connection is in one of three phases. The byte stream of the connection ([`Watched`]) sees its first two end, the
//! answering of requests its third.
//!
//! | phase | waits for | ends with | at most |
//! |---|---|---|---|
//! | Idle | the first byte of a request | that byte | `Limits::idle` |
//! | Head | the rest of the head | the call that answers it | `Limits::client` |
//! | Busy | the answer | the answer's last byte, taken by the client | no limit of its own: the body's, the operation's, and that of each write |

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::limits::Limits;
use super::metrics::{Late, Metrics};

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The next request.
    Idle,
    /// The rest of a request's head; a new connection, its first request.
    Head,
    /// An answer.
    Busy,
}

/// The phase of one connection, shared by its byte stream and by what answers its requests.
#[derive(Debug)]
pub struct Phases {
    now: Mutex<(Phase, Instant)>,
    /// Counts the changes of phase, so that the stream knows when its time begins anew.
    changes: AtomicU64,
    /// Whether the answer is made: once it is sent, the connection is idle.
    answered: Mutex<bool>,
}

impl Phases {
    /// Of a new connection.
    pub fn new() -> Self {
        let now = Mutex::new((Phase::Head, Instant::now()));
        Self { now, changes: AtomicU64::new(0), answered: Mutex::new(false) }
    }

    /// The phase, and since when.
    pub fn now(&self) -> (Phase, Instant) {
        *self.now.lock()
    }

    /// A request's head is there.
    pub fn begin(&self) {
        *self.answered.lock() = false;
        self.set(Phase::Busy);
    }

    /// A request's answer is there.
    pub fn answered(&self) {
        *self.answered.lock() = true;
    }

    fn sent(&self) {
        if std::mem::take(&mut *self.answered.lock()) {
            self.set(Phase::Idle);
        }
    }

    fn set(&self, phase: Phase) {
        *self.now.lock() = (phase, Instant::now());
        self.changes.fetch_add(1, Ordering::Release);
    }
}

/// A byte stream that breaks off when its client takes longer than it may.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    phases: Arc<Phases>,
    limits: Limits,
    metrics: Arc<Metrics>,
    /// When the phase's time is over, and of which change of phase that is.
    reading: Option<(u64, Pin<Box<Sleep>>)>,
    /// When the client must have taken what is written.
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    /// Over `stream`.
    pub fn new(stream: S, phases: Arc<Phases>, limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self { stream, phases, limits, metrics, reading: None, writing: None }
    }

    /// Whether the time of the phase is over.
    fn is_late(&mut self, cx: &mut Context<'_>) -> Option<Late> {
        let changes = self.phases.changes.load(Ordering::Acquire);
        let (phase, since) = self.phases.now();
        let (limit, late) = match phase {
            Phase::Idle => (self.limits.idle, Late::Idle),
            Phase::Head => (self.limits.client, Late::Head),
            Phase::Busy => return None,
        };
        if self.reading.as_ref().is_none_or(|(of, _)| *of != changes) {
            self.reading = Some((changes, Box::pin(tokio::time::sleep_until(since + limit))));
        }
        let (_, sleep) = self.reading.as_mut()?;
        sleep.as_mut().poll(cx).is_ready().then_some(late)
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            return outcome;
        }
        let limit: Duration = self.limits.client;
        let sleep = self.writing.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        match sleep.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(self.broken_off(Late::Answer))),
        }
    }

    fn broken_off(&self, late: Late) -> io::Error {
        self.metrics.late(late);
        io::Error::from(io::ErrorKind::TimedOut)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(outcome) => {
                if buffer.filled().len() > before && this.phases.now().0 == Phase::Idle {
                    this.phases.set(Phase::Head);
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => match this.is_late(cx) {
                None => Poll::Pending,
                Some(late) => Poll::Ready(Err(this.broken_off(late))),
            },
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.written(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = outcome {
            this.writing = None;
            this.phases.sent();
        }
        this.written(cx, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.written(cx, outcome)
    }
}
