//! One connection: its handshake, its requests one after the other, its end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::limits::{HEAD_BYTES, HEADERS, NEW};
use super::listen::{Accepted, Peer, Stream};
use super::metrics::Late;
use super::phase::{Phase, Phases, Watched};
use super::request::{self, Connected};
use super::{State, tls};

/// Serves a connection until it ends. It holds its place among the connections until then.
pub async fn serve(state: Arc<State>, accepted: Accepted, peer: Peer, _place: OwnedSemaphorePermit) {
    let _gauge = state.metrics.connection();
    match (accepted, state.tls()) {
        (Accepted::Unix(stream), _) => converse(&state, stream, Connected { peer, tls: None }).await,
        (Accepted::Tcp(stream), None) => converse(&state, stream, Connected { peer, tls: None }).await,
        (Accepted::Tcp(stream), Some(acceptor)) => {
            let Some(shaken) = shake_hands(&state, acceptor.accept(stream)).await else { return };
            match shaken {
                Ok(stream) => {
                    let tls = tls::details(stream.get_ref().1);
                    converse(&state, stream, Connected { peer, tls }).await;
                }
                Err(error) => log::debug!("no TLS with {peer:?}: {error}"),
            }
        }
    }
}

/// Waits for a handshake for as long as it may take; less where others wait for its place.
async fn shake_hands<T>(state: &State, handshake: impl Future<Output = T>) -> Option<T> {
    let begun = Instant::now();
    let mut handshake = pin!(tokio::time::timeout(state.limits.client, handshake));
    let mut stopping = state.stopping.subscribe();
    loop {
        tokio::select! {
            outcome = handshake.as_mut() => {
                return outcome.inspect_err(|_| state.metrics.late(Late::Handshake)).ok();
            }
            () = stopped(&mut stopping) => return None,
            () = state.pressure.notified() => if begun.elapsed() > NEW {
                state.metrics.late(Late::Pressure);
                return None;
            },
        }
    }
}

async fn converse(state: &Arc<State>, stream: impl Stream, connected: Connected) {
    let phases = Arc::new(Phases::new());
    let stream = Watched::new(stream, phases.clone(), state.limits, state.metrics.clone());
    let connected = Arc::new(connected);
    let service = service_fn(|request| {
        let (state, connected, phases) = (state.clone(), connected.clone(), phases.clone());
        async move {
            phases.begin();
            let answer = request::answer(&state, &connected, request).await;
            phases.answered();
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        // Whoever has sent its request may have nothing more to say, and waits for the answer all the same.
        .half_close(true)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        // The stream itself knows how long a head may take.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut stopping = state.stopping.subscribe();
    loop {
        tokio::select! {
            outcome = connection.as_mut() => {
                if let Err(error) = outcome {
                    log::debug!("a connection with {:?} broke off: {error}", connected.peer);
                }
                return;
            }
            () = stopped(&mut stopping) => {
                // Requests that have begun are answered; of one that has not, nothing is known yet.
                match phases.now().0 {
                    Phase::Busy => connection.as_mut().graceful_shutdown(),
                    Phase::Idle | Phase::Head => return,
                }
                return end(state, connection).await;
            }
            () = state.pressure.notified() => match phases.now() {
                (Phase::Idle, _) => return state.metrics.late(Late::Pressure),
                (Phase::Head, since) if since.elapsed() > NEW => return state.metrics.late(Late::Pressure),
                (Phase::Head, _) => (),
                (Phase::Busy, _) => connection.as_mut().graceful_shutdown(),
            },
        }
    }
}

/// Waits until the server is being stopped.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Lets a connection end that takes no further requests.
async fn end(state: &State, connection: impl Future<Output = hyper::Result<()>>) {
    let _ = tokio::time::timeout(state.limits.stop, connection).await;
}
