//! The server from its beginning to its end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::complaints::Complaint;
use super::limits::{Limits, OPERATIONS, PRESSURE};
use super::listen::{Address, Listener};
use super::{Backend, ServeError, State, TlsFiles, Trust, connection, tls};

/// How often what dates bring is looked for while nobody asks.
const PERIOD: Duration = Duration::from_secs(1);
/// How long the server waits where the machine has no descriptors left for a connection.
const RECOVERY: Duration = Duration::from_millis(100);
/// Threads for what has no turn among the operations: looks at the home, and at what is due.
const SPARE_THREADS: usize = 8;

/// How a server is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; at least one.
    pub addresses: Vec<Address>,
    /// Whose requests it carries out.
    pub trust: Trust,
    /// The certificate for its TCP addresses; without one they are not encrypted.
    pub tls: Option<TlsFiles>,
    /// What clients may take.
    pub limits: Limits,
    /// Whether clients of other machines may read the metrics, too.
    pub metrics_for_all: bool,
}

/// Serves until SIGTERM or SIGINT. `ready` is told where the server listens, once it does.
///
/// # Errors
/// [`ServeError`] where it does not start.
pub fn serve(
    backend: Arc<dyn Backend>,
    options: &Options,
    ready: impl FnOnce(&[String]),
) -> Result<(), ServeError> {
    let acceptor = options.tls.as_ref().map(tls::acceptor).transpose()?;
    let state = Arc::new(State::new(backend, options, acceptor));
    let runtime = runtime().map_err(ServeError::System)?;
    let outcome = runtime.block_on(run(&state, options, ready));
    // What is in work still is recorded and answered to nobody; the process need not wait for a mount that hangs.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().max_blocking_threads(OPERATIONS + SPARE_THREADS).build()
}

async fn run(state: &Arc<State>, options: &Options, ready: impl FnOnce(&[String])) -> Result<(), ServeError> {
    let mut signals = Signals::new().map_err(ServeError::System)?;
    let listeners = options.addresses.iter().map(Listener::bind).collect::<Result<Vec<_>, _>>()?;
    let addresses = listeners.iter().map(Listener::address).collect::<io::Result<Vec<_>>>();
    let addresses = addresses.map_err(ServeError::System)?;
    ready(&addresses.iter().map(|address| url(address, options.tls.is_some())).collect::<Vec<_>>());
    let places = Arc::new(Semaphore::new(state.limits.connections));
    for listener in listeners {
        tokio::spawn(accept(state.clone(), listener, places.clone()));
    }
    tokio::spawn(keep_time(state.clone()));
    signals.until_end(state, options).await;
    log::info!("stopping: requests in work are answered first");
    state.stopping.send_replace(true);
    let all = u32::try_from(state.limits.connections).unwrap_or(u32::MAX);
    tokio::select! {
        ended = tokio::time::timeout(state.limits.stop, places.acquire_many(all)) => if ended.is_err() {
            log::warn!("connections were cut off that did not end within {} s", state.limits.stop.as_secs());
        },
        () = signals.until_end(state, options) => log::warn!("connections were cut off: a second signal"),
    }
    Ok(())
}

/// The address as clients name it.
fn url(address: &Address, tls: bool) -> String {
    match address {
        Address::Tcp(address) => format!("{}://{address}", if tls { "https" } else { "http" }),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Takes connections until the server stops. Where there is no place for another one, it waits, those after it stay with the kernel, and
/// idle ones are ended.
async fn accept(state: Arc<State>, listener: Listener, places: Arc<Semaphore>) {
    let mut stopping = state.stopping.subscribe();
    let taking = async {
        loop {
            match listener.accept().await {
                Ok((accepted, peer)) => {
                    let Some(place) = place(&state, &places).await else { return };
                    tokio::spawn(connection::serve(state.clone(), accepted, peer, place));
                }
                Err(error) => {
                    let what = format!("a connection could not be taken: {error}");
                    state.complaints.say(Complaint::Connection, what);
                    tokio::time::sleep(RECOVERY).await;
                }
            }
        }
    };
    tokio::select! {
        () = connection::stopped(&mut stopping) => (),
        () = taking => (),
    }
}

/// Waits for a place for another connection; none where the server ends.
async fn place(state: &State, places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    loop {
        match tokio::time::timeout(PRESSURE, places.clone().acquire_owned()).await {
            Ok(place) => return place.ok(),
            Err(_) => state.pressure.notify_waiters(),
        }
    }
}

/// Does what dates bring, also while nobody asks: deletions, expiries, rotations.
async fn keep_time(state: Arc<State>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        state.complaints.sum_up();
        let of_thread = state.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let regions = of_thread.backend.regions()?;
            regions.iter().try_for_each(|(_, kms)| kms.current_ring().map(drop))
        });
        match looked.await {
            Ok(Ok(())) => (),
            Ok(Err(error)) => {
                let what = format!("what is due of the keys cannot be done: {error}");
                state.complaints.say(Complaint::Due, what);
            }
            Err(error) => log::error!("what is due of the keys cannot be done: {error}"),
        }
    }
}

/// The signals that the server obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT. At SIGHUP certificate and key are read again, for connections from then on.
    async fn until_end(&mut self, state: &State, options: &Options) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => renew(state, options.tls.as_ref()),
            }
        }
    }
}

fn renew(state: &State, files: Option<&TlsFiles>) {
    let Some(files) = files else { return };
    match tls::acceptor(files) {
        Ok(acceptor) => *state.tls.write() = Some(acceptor),
        Err(error) => log::error!("the certificate stays the one that was read before: {error}"),
    }
}
