//! The key service over HTTP: AWS's own clients talk to it as they talk to AWS KMS.
//!
//! A request of the AWS JSON 1.1 protocol becomes the JSON of an operation and goes through the service's one door,
//! [`crate::kms::Kms::call`], as a command of `kmsfs kms` does; nothing of an operation is decided here. This layer has what lies
//! between a socket and that door: connections and their limits, signatures, the wire's shape of answers and errors, metrics. It
//! knows no store and no home: it asks through [`Backend`], which the command line implements.
//!
//! Invariants: a request that is not authenticated reaches no operation; no client holds up another for longer than the limits
//! say; a request that has begun ends with an answer, also when the server is stopped; what is secret is in no log, record or metric.

pub mod auth;
mod body;
mod complaints;
mod connection;
mod error;
pub mod limits;
mod listen;
mod metrics;
mod phase;
mod request;
mod server;
pub mod sigv4;
mod tls;
pub mod wire;

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::kms::{Kms, KmsError, Operation};

use complaints::Complaints;
pub use error::ServeError;
use limits::{BODIES_BYTES, CHANGES, LOOKS, Limits, OPERATIONS};
pub use listen::Address;
use metrics::Metrics;
pub use server::{Options, serve};
pub use tls::TlsFiles;

/// What the server stands on: a home, as far as it concerns a server. Called from several threads; a call may block.
pub trait Backend: Send + Sync + 'static {
    /// The account of the home: 12 digits.
    fn account(&self) -> &str;

    /// The region of the home, for requests that name none.
    fn region(&self) -> &str;

    /// The key service of a region.
    ///
    /// # Errors
    /// [`KmsError`] where the home has no such region, or cannot make it.
    fn kms(&self, region: &str) -> Result<Arc<Kms>, KmsError>;

    /// Every region that has keys, with its service; for metrics.
    ///
    /// # Errors
    /// [`KmsError`] where the store cannot be read.
    fn regions(&self) -> Result<Vec<(String, Arc<Kms>)>, KmsError>;

    /// The credential with that access key id, as it is now: a revoked one is not there. `None` where there is none.
    ///
    /// # Errors
    /// [`KmsError`] where the store cannot be read.
    fn credential(&self, access_key_id: &str) -> Result<Option<Credential>, KmsError>;

    /// How many live mounts use the home.
    ///
    /// # Errors
    /// Where they cannot be looked for.
    fn mounts(&self) -> io::Result<usize>;
}

/// What a client signs its requests with.
pub struct Credential {
    /// The ARN of the principal that the holder is.
    pub principal: String,
    /// The secret access key.
    pub secret: Zeroizing<String>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("principal", &self.principal).finish_non_exhaustive()
    }
}

/// Whose requests are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Those that are signed with a credential of the home, in the name of its principal.
    Signatures,
    /// Everybody's who can connect, in the name of the home's owner.
    Everybody,
}

/// What all connections of a server share.
struct State {
    backend: Arc<dyn Backend>,
    trust: Trust,
    limits: Limits,
    metrics: Arc<Metrics>,
    metrics_for_all: bool,
    complaints: Complaints,
    /// The certificate in use, where there is one; it may be another one later.
    tls: RwLock<Option<TlsAcceptor>>,
    /// Whether the server is being stopped.
    stopping: watch::Sender<bool>,
    /// Wakes connections, to end where they are idle: others wait.
    pressure: Notify,
    operations: Arc<Semaphore>,
    changes: Arc<Semaphore>,
    looks: Arc<Semaphore>,
    /// A permit is a byte of a body that is not small.
    bodies: Arc<Semaphore>,
}

impl State {
    fn new(backend: Arc<dyn Backend>, options: &Options, tls: Option<TlsAcceptor>) -> Self {
        let Options { trust, limits, metrics_for_all, .. } = *options;
        Self {
            backend,
            trust,
            limits,
            metrics: Arc::default(),
            metrics_for_all,
            complaints: Complaints::default(),
            tls: RwLock::new(tls),
            stopping: watch::Sender::new(false),
            pressure: Notify::new(),
            operations: Arc::new(Semaphore::new(OPERATIONS)),
            changes: Arc::new(Semaphore::new(CHANGES)),
            looks: Arc::new(Semaphore::new(LOOKS)),
            bodies: Arc::new(Semaphore::new(BODIES_BYTES)),
        }
    }

    fn tls(&self) -> Option<TlsAcceptor> {
        self.tls.read().clone()
    }

    /// Has a thread look at the home, once it is its turn; none where the look was a bug.
    async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        look: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        let turn = self.looks.clone().acquire_owned().await.ok()?;
        let state = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            look(&state)
        });
        looked.await.ok()
    }

    /// Waits until an operation may begin; it may work for as long as the answer is there.
    async fn turn(
        &self,
        operation: Option<Operation>,
    ) -> Result<[Option<OwnedSemaphorePermit>; 2], tokio::sync::AcquireError> {
        let change = match operation {
            Some(operation) if !operation.is_read_only() => Some(self.changes.clone().acquire_owned().await?),
            Some(_) | None => None,
        };
        Ok([change, Some(self.operations.clone().acquire_owned().await?)])
    }
}
