//! Connections: each has a deadline for whatever its client has to do next, and there are at most so many.
//!
//! A client that sends half a head, half a body, or nothing, and one that does not read its answer, is closed within 15 seconds.
//! A body is received here, whole and bounded, before anything is done with it.

mod patient;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;

use crate::app::App;
use crate::metrics::Counted;
use crate::problem::Problem;
use crate::tls::Certificates;
use patient::Patient;

/// How long a client may take to send the head of a request, and how long a connection may be idle between two.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a client may take to send a body: 1 MiB in it is 70 kB/s.
const BODY_TIME_MAX: Duration = Duration::from_secs(13);

/// How long a client may leave an answer unread while there is no room for more of it.
const WRITE_STALL_MAX: Duration = Duration::from_secs(13);

/// How long an encrypted connection may take to be agreed on.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes of a body. The largest that makes sense is a plan with some hundred phases, of a few hundred kilobytes.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a body that is too large which are read all the same, and how long that may take.
const DISCARDED_BYTES_MAX: usize = 8 * BODY_BYTES_MAX;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);

/// Bytes of a head, and of what is read ahead.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Connections at the same time, where the system grants as many descriptors: a few thousand hostile ones must not keep others out.
const CONNECTIONS_MAX: u64 = 8_192;

/// Descriptors that are kept for everything that is no client: files, the store, and the runs' own sessions.
const DESCRIPTORS_RESERVED: u64 = 512;

/// Connections that there may be however few descriptors the system grants.
const CONNECTIONS_MIN: u64 = 16;

/// How long to wait where the system has no descriptor or memory for a connection: others end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long requests that are being answered may take once the service is to stop.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// From where a request came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Serves connections until `stop` says so, and then ends them: those that are idle at once, the others when they are answered.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    app: App,
    tls: Option<Arc<Certificates>>,
    stop: watch::Receiver<bool>,
) {
    let most = connections_max();
    let places = Arc::new(Semaphore::new(most as usize));
    let accepting = async {
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("nobody closes it");
            let (stream, peer) = accept(&listener).await;
            let connection =
                Connection { router: router.clone(), app: app.clone(), peer, stop: stop.clone(), _place: place };
            tokio::spawn(connection.serve(stream, tls.clone()));
        }
    };
    let mut stopped = stop.clone();
    tokio::select! {
        () = accepting => {}
        () = stopping(&mut stopped) => {}
    }
    drop(listener);
    let drained = tokio::time::timeout(DRAIN_TIME_MAX, places.acquire_many(most as u32)).await;
    if drained.is_err() {
        tracing::warn!("some requests were still being answered when the service stopped");
    }
}

/// Waits until the service is to stop.
async fn stopping(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The next connection. What goes wrong with one is nothing to the others; where the system has no room, others end soon.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_about_client(&error) => {}
            Err(error) => {
                tracing::warn!("no connection can be accepted at present: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_about_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// How many connections there may be, after the system has been asked for as many descriptors as it grants.
fn connections_max() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = CONNECTIONS_MAX + DESCRIPTORS_RESERVED;
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let granted = match current {
        None => wanted,
        Some(current) if current >= raised => current,
        Some(current) => {
            let asked = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
            asked.map_or(current, |()| raised)
        }
    };
    // With few descriptors, half of them: a connection to the store or to a target must still be possible.
    granted.saturating_sub(DESCRIPTORS_RESERVED).max(granted / 4).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// A client's connection, with the place that it takes among all.
struct Connection {
    router: Router,
    app: App,
    peer: SocketAddr,
    stop: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<Arc<Certificates>>) {
        // Answers are small and written whole; a client that is gone is found when it is written to.
        let _ = stream.set_nodelay(true);
        let stream = Patient::new(stream, WRITE_STALL_MAX);
        let Some(tls) = tls else { return self.answer(stream).await };
        let handshake = async { tls.acceptor().await.accept(stream).await };
        match tokio::time::timeout(HANDSHAKE_TIME_MAX, handshake).await {
            Ok(Ok(stream)) => self.answer(stream).await,
            Ok(Err(error)) => tracing::debug!("no encryption with {}: {error}", self.peer),
            Err(_) => tracing::debug!("no encryption with {}: it took too long", self.peer),
        }
    }

    async fn answer(mut self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let app = self.app.clone();
        let _counted = Counted::connection(&app.metrics);
        let (router, peer) = (self.router, self.peer);
        let was_asked = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&was_asked);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            let answered = router.clone().oneshot(request);
            async move { Ok::<_, Infallible>(answered.await.unwrap_or_else(|never| match never {})) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX).max_buf_size(HEAD_BYTES_MAX);
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopping(&mut self.stop) => {
                if !was_asked.load(Ordering::Relaxed) {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!("the connection of {peer} ended: {error}");
        }
    }
}

/// Receives a request's body whole, or says why not.
pub(crate) async fn receive(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, mut body) = request.into_parts();
    let received = if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        Ok(Err(too_large()))
    } else {
        tokio::time::timeout(BODY_TIME_MAX, collect(&mut body)).await
    };
    match received {
        Ok(Ok(bytes)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Ok(Err(problem)) => {
            // Who waits for our word before sending has sent nothing that would have to be read first.
            if problem.status() == StatusCode::PAYLOAD_TOO_LARGE && !parts.headers.contains_key(header::EXPECT) {
                let _ = tokio::time::timeout(DISCARD_TIME_MAX, discard(body)).await;
            }
            refuse(problem)
        }
        Err(_) => refuse(
            Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body took longer than {BODY_TIME_MAX:?}"))
                .with_field("body"),
        ),
    }
}

async fn collect(body: &mut Body) -> Result<Vec<u8>, Problem> {
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| Problem::malformed(format!("the body did not arrive: {error}")).with_field("body"))?;
        let Some(data) = frame.data_ref() else { continue };
        if collected.len() + data.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        collected.extend_from_slice(data);
    }
    Ok(collected)
}

/// Reads some of a body that is refused: a client that sends all of it before it listens would otherwise be cut off before it hears why.
async fn discard(mut body: Body) {
    let mut discarded = 0;
    while let Some(Ok(frame)) = body.frame().await {
        discarded += frame.data_ref().map_or(0, Bytes::len);
        if discarded > DISCARDED_BYTES_MAX {
            return;
        }
    }
}

fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("it has more than {BODY_BYTES_MAX} bytes")).with_field("body")
}

/// What is left of the body is not read, so that the connection is of no further use.
fn refuse(problem: Problem) -> Response {
    problem.with_header(header::CONNECTION, HeaderValue::from_static("close")).into_response()
}
