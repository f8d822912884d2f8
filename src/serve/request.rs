//! One request: from its head to its answer.

use std::sync::Arc;
use std::time::Instant;

use super::auth::{self, Refusal, SignedRequest, Verified};
use super::body::{self, Kept, Missing};
use super::complaints::Complaint;
use super::listen::Peer;
use super::metrics::{self, SUCCESS, UNKNOWN};
use super::wire::{self, Answer};
use super::{State, Trust, sigv4};
use crate::clock::{Clock, SystemClock};
use crate::crypto::rng;
use crate::kms::{AwsError, Caller, Cause, Client, KmsError, Operation, Tls, Via};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, ORIGIN, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, StatusCode};
use uuid::Uuid;

/// Letters of a client's name for itself that records hold (CloudTrail User Guide, "userAgent").
const AGENT_LEN: usize = 1024;

/// What AWS answers to what names no operation.
const UNKNOWN_OPERATION: &str = "UnknownOperationException";

/// What is known of a connection.
#[derive(Debug)]
pub struct Connected {
    /// Where the client is.
    pub peer: Peer,
    /// Version of TLS and cipher suite, where it is encrypted.
    pub tls: Option<(&'static str, &'static str)>,
}

/// How a request ended: its answer, and the name of its error.
struct Ended {
    answer: Answer,
    outcome: &'static str,
}

impl Ended {
    fn refused(refusal: &Refusal) -> Self {
        Self { answer: wire::refused(refusal), outcome: refusal.name }
    }

    fn failed(error: &KmsError) -> Self {
        Self { answer: wire::failed(error), outcome: error.error.name() }
    }

    fn bare(status: StatusCode, name: &'static str) -> Self {
        Self { answer: wire::error_answer(status, name, None), outcome: name }
    }

    /// A request whose body did not come as it must.
    fn without_body(why: Missing) -> Self {
        let (status, name) = why.status_and_name();
        let message = why.message();
        let message = message.as_deref().map(|message| ("message", message));
        Self { answer: wire::error_answer(status, name, message), outcome: name }.and_closed()
    }

    /// No further request on this connection: what is left of this one would be taken for it.
    fn and_closed(mut self) -> Self {
        self.answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        self
    }
}

/// Answers a request.
pub async fn answer(state: &Arc<State>, connected: &Arc<Connected>, request: Request<Incoming>) -> Answer {
    let mut answer = answer_undated(state, connected, request).await;
    wire::date(&mut answer, SystemClock.now());
    answer
}

async fn answer_undated(
    state: &Arc<State>,
    connected: &Arc<Connected>,
    request: Request<Incoming>,
) -> Answer {
    let is_look = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        "/healthz" if is_look => return health(state).await,
        "/metrics" if is_look => return metrics(state, connected.peer).await,
        _ => (),
    }
    let (begun, _in_work) = (Instant::now(), state.metrics.in_work());
    let operation = wire::operation(request.headers());
    let id = uuid::Builder::from_random_bytes(rng::bytes()).into_uuid();
    let mut ended = call(state, connected, request, operation, id).await;
    wire::identify(&mut ended.answer, id);
    state.metrics.request(operation.map_or(UNKNOWN, Operation::name), ended.outcome, begun.elapsed());
    ended.answer
}

async fn call(
    state: &Arc<State>,
    connected: &Arc<Connected>,
    request: Request<Incoming>,
    operation: Option<Operation>,
    id: Uuid,
) -> Ended {
    let (head, body) = request.into_parts();
    if state.trust == Trust::Everybody && head.headers.contains_key(ORIGIN) {
        return Ended::refused(&Refusal::web_page()).and_closed();
    }
    if state.trust == Trust::Signatures && !head.headers.contains_key(AUTHORIZATION) {
        return Ended::refused(&Refusal::missing()).and_closed();
    }
    let body = match body::receive(state, body).await {
        Ok(body) => body,
        Err(why) => return Ended::without_body(why),
    };
    let Ok(_turn) = state.turn(operation).await else { return internal() };
    carry_out(state.clone(), connected.clone(), head, body, operation, id).await
}

/// The service waits for disks, locks and mounts: it has threads of its own for that. A panic there ends one request.
async fn carry_out(
    state: Arc<State>,
    connected: Arc<Connected>,
    head: Parts,
    body: Kept,
    operation: Option<Operation>,
    id: Uuid,
) -> Ended {
    let answered = tokio::task::spawn_blocking(move || {
        decide(&state, &connected, &head, body.bytes(), operation, id).unwrap_or_else(|ended| *ended)
    });
    answered.await.unwrap_or_else(|error| {
        log::error!("request {id} ended in a panic: {error}");
        internal()
    })
}

fn internal() -> Ended {
    Ended { answer: wire::internal(), outcome: AwsError::Internal.name() }
}

/// Who asks, for what, and the service's answer. It blocks.
fn decide(
    state: &State,
    connected: &Connected,
    head: &Parts,
    body: &[u8],
    operation: Option<Operation>,
    id: Uuid,
) -> Result<Ended, Box<Ended>> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let signed = SignedRequest { method: head.method.as_str(), target, headers: &head.headers, body };
    let verified = authenticate(state, &signed)?;
    if head.method != Method::POST || head.uri.path() != "/" {
        return Err(Box::new(Ended::bare(StatusCode::NOT_FOUND, UNKNOWN_OPERATION)));
    }
    let Some(operation) = operation else {
        return Err(Box::new(Ended::bare(StatusCode::BAD_REQUEST, UNKNOWN_OPERATION)));
    };
    let failed = |error: KmsError| {
        let what = || format!("request {id} for {} failed: {error}", operation.name());
        match Complaint::of(error.cause) {
            Some(complaint) => state.complaints.say(complaint, what()),
            None if error.cause == Cause::Refused => (),
            None => log::error!("{}", what()),
        }
        Box::new(Ended::failed(&error))
    };
    let kms = state.backend.kms(&verified.region).map_err(failed)?;
    let caller = caller(verified, connected, &head.headers, id);
    let output = kms.answer(&caller, operation, wire::read(body)).map_err(failed)?;
    Ok(Ended { answer: wire::answered(output), outcome: SUCCESS })
}

fn authenticate(state: &State, request: &SignedRequest<'_>) -> Result<Verified, Box<Ended>> {
    match state.trust {
        Trust::Everybody => Ok(Verified {
            principal: format!("arn:aws:iam::{}:root", state.backend.account()),
            region: auth::region_of_scope(request.headers)
                .unwrap_or_else(|| state.backend.region().to_owned()),
            access_key_id: None,
        }),
        Trust::Signatures => {
            let verified = sigv4::verify(request, SystemClock.now(), |id| state.backend.credential(id))
                .map_err(|error| {
                    let what = format!("a signature cannot be verified: {error}");
                    state.complaints.say(Complaint::Signature, what);
                    Box::new(Ended::failed(&error))
                })?;
            verified.map_err(|refusal| Box::new(Ended::refused(&refusal)))
        }
    }
}

/// The client as policies and records see it.
fn caller(verified: Verified, connected: &Connected, headers: &HeaderMap, id: Uuid) -> Caller {
    let Verified { principal, access_key_id, region: _ } = verified;
    let user = principal.rsplit([':', '/']).next().unwrap_or_default().to_owned();
    let (source, uid, pid) = match connected.peer {
        Peer::Ip(ip) => (ip.to_string(), u32::MAX, 0),
        Peer::Local { uid, pid } => ("127.0.0.1".to_owned(), uid, pid),
    };
    let tls =
        connected.tls.map(|(version, cipher_suite)| Tls { version, cipher_suite, host: text(headers, HOST) });
    let via = Via::Server(Box::new(Client {
        source,
        is_local: matches!(connected.peer, Peer::Local { .. }),
        agent: text(headers, USER_AGENT),
        access_key_id,
        request_id: id,
        tls,
    }));
    Caller { principal, uid, pid, user, via }
}

/// What a header says, as far as records hold it.
fn text(headers: &HeaderMap, name: HeaderName) -> String {
    let value = headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default();
    value.chars().take(AGENT_LEN).collect()
}

/// Whether the store can be read; whoever balances load asks that, without a signature.
async fn health(state: &Arc<State>) -> Answer {
    let looked = state
        .look(|state| state.backend.kms(state.backend.region()).and_then(|kms| kms.current_ring().map(drop)));
    let (status, text) = match looked.await {
        Some(Ok(())) => (StatusCode::OK, "ok\n"),
        Some(Err(error)) => {
            state.complaints.say(Complaint::Health, format!("the store cannot be read: {error}"));
            (StatusCode::SERVICE_UNAVAILABLE, "the key store cannot be read\n")
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "the key store cannot be read\n"),
    };
    wire::text(status, "text/plain; charset=utf-8", text.to_owned())
}

async fn metrics(state: &Arc<State>, peer: Peer) -> Answer {
    if !state.metrics_for_all && !peer.is_local() {
        let text = "metrics are for this machine; kmsfs serve --metrics-for-all opens them\n";
        return wire::text(StatusCode::FORBIDDEN, "text/plain; charset=utf-8", text.to_owned());
    }
    match state.look(|state| state.metrics.render(&*state.backend)).await {
        Some(text) => wire::text(StatusCode::OK, metrics::CONTENT_TYPE, text),
        None => wire::internal(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::kms::Kms;
    use crate::serve::limits::Limits;
    use crate::serve::{Backend, Credential, Options};

    /// A home that is a bug.
    struct Panics;

    impl Backend for Panics {
        fn account(&self) -> &str {
            "000000000000"
        }

        fn region(&self) -> &str {
            "us-east-1"
        }

        fn kms(&self, _: &str) -> Result<Arc<Kms>, KmsError> {
            panic!("on purpose");
        }

        fn regions(&self) -> Result<Vec<(String, Arc<Kms>)>, KmsError> {
            panic!("on purpose");
        }

        fn credential(&self, _: &str) -> Result<Option<Credential>, KmsError> {
            panic!("on purpose");
        }

        fn mounts(&self) -> io::Result<usize> {
            panic!("on purpose");
        }
    }

    fn state(trust: Trust) -> Arc<State> {
        let (limits, addresses) = (Limits::default(), Vec::new());
        let options = Options { addresses, trust, tls: None, limits, metrics_for_all: false };
        Arc::new(State::new(Arc::new(Panics), &options, None))
    }

    fn head(headers: &[(&'static str, &'static str)]) -> Parts {
        let mut builder = Request::builder().method("POST").uri("/");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error_of_one_request() {
        let state = state(Trust::Everybody);
        let connected = Arc::new(Connected { peer: Peer::Local { uid: 0, pid: 1 }, tls: None });
        for _ in 0..3 {
            let (state, connected) = (state.clone(), connected.clone());
            let head = head(&[]);
            let ended =
                carry_out(state, connected, head, Kept::default(), Some(Operation::ListKeys), Uuid::nil());
            let ended = ended.await;
            assert_eq!(
                (ended.answer.status(), ended.outcome),
                (StatusCode::INTERNAL_SERVER_ERROR, "KMSInternalException")
            );
        }
        assert_eq!(health(&state).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        let metrics = metrics(&state, connected.peer).await;
        assert_eq!(metrics.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[tokio::test]
    async fn metrics_are_for_this_machine_unless_they_are_opened() {
        let other = Peer::Ip([192, 0, 2, 1].into());
        assert_eq!(metrics(&state(Trust::Signatures), other).await.status(), StatusCode::FORBIDDEN);
    }
}
