//! One HTTP/1.1 connection of a session, for the stores that speak it.
//!
//! A session has one connection and one request on it. Nothing is pooled, repeated or redirected, and what a request
//! is made of is reused: its path, its body, its headers and the reply's bytes.
//!
//! Whoever waits for a reply drives the connection: hyper's own task for it would take a turn of the runtime each way.

use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, LOCATION};
pub(crate) use hyper::header::{HeaderName, HeaderValue};
pub(crate) use hyper::{Method, StatusCode};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use store::{Error, Limits, Node, Result, Target, TlsMode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tls;
use crate::wire::{self, Direct, Wire};

/// A reply that is longer is refused: more than any request of ours can mean (a scan of a thousand records of 100 kB),
/// and what a machine that measures has to spare.
const REPLY_BYTES_MAX: usize = 128 << 20;

/// What the buffers for requests and replies may keep: a bulk request of a load is larger, a session's work is not.
const BUFFER_BYTES_RETAINED_MAX: usize = 256 << 10;

/// How much of what a server says is repeated in an error.
const SHOWN_BYTES_MAX: usize = 200;

/// Where a server is, how it is encrypted and how it is entered: made once of a target.
#[derive(Clone)]
pub(crate) struct Endpoint {
    node: Node,
    limits: Limits,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    connect_timeout: Duration,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
}

impl Endpoint {
    /// The endpoint of that target, entered with its user and password where it names them.
    ///
    /// # Errors
    /// `Config` for a URL that cannot work.
    pub(crate) fn of(target: &Target, default_port: u16, default_tls: TlsMode) -> Result<Self> {
        let endpoint = Self::unentered(target, default_port, default_tls)?;
        let password = target.password().map_or("", store::Secret::expose);
        match target.user() {
            Some(user) => endpoint.entered_as(user, password),
            None if password.is_empty() => Ok(endpoint),
            None => Err(Error::config("the target has a password and no user")
                .with_hint("write scheme://user:password@host:port")),
        }
    }

    /// The endpoint of that target, which is entered by what its requests say.
    ///
    /// # Errors
    /// `Config` for a URL that cannot work.
    pub(crate) fn unentered(target: &Target, default_port: u16, default_tls: TlsMode) -> Result<Self> {
        let node = Node { host: target.host().to_owned(), port: target.port().unwrap_or(default_port) };
        let tls = match tls::client_config(target, default_tls)? {
            Some(config) => Some((config, tls::server_name(target)?)),
            None => None,
        };
        let host = host_header(&node)?;
        let (limits, connect_timeout) = (target.limits().clone(), target.connect_timeout()?);
        Ok(Self { node, limits, tls, connect_timeout, host, authorization: None })
    }

    /// Entered with a user and a password: the basic scheme.
    ///
    /// # Errors
    /// `Config` for a user with a colon, which the scheme cannot say.
    pub(crate) fn entered_as(self, user: &str, password: &str) -> Result<Self> {
        if user.contains(':') {
            return Err(Error::config("the target's user has a colon, which HTTP takes for the password's beginning"));
        }
        self.authorized("Basic", &BASE64_STANDARD.encode(format!("{user}:{password}")))
    }

    /// Entered with a secret of another scheme: `Bearer`, `Token` or `ApiKey`.
    ///
    /// # Errors
    /// `Config` where the secret has characters that a header cannot have.
    pub(crate) fn authorized(mut self, scheme: &str, secret: &str) -> Result<Self> {
        let mut value = HeaderValue::from_str(&format!("{scheme} {secret}"))
            .map_err(|_| Error::config("the target's token has characters that no token has"))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// Another node of the same data store, entered in the same way.
    ///
    /// # Errors
    /// `Config` where its host cannot be one.
    #[cfg(feature = "elasticsearch")]
    pub(crate) fn at(&self, node: Node) -> Result<Self> {
        let tls = match &self.tls {
            Some((config, _)) => Some((
                Arc::clone(config),
                ServerName::try_from(node.host.clone()).map_err(|source| {
                    Error::config(format!("{node} of the target's `nodes` cannot be in a certificate"))
                        .with_source(source)
                })?,
            )),
            None => None,
        };
        Ok(Self { host: host_header(&node)?, node, tls, ..self.clone() })
    }

    /// Where it is, for messages.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Bounds what connecting consists of by the target's `connect_timeout`.
    ///
    /// # Errors
    /// `Unreachable` where the time is up.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Ok(result) = tokio::time::timeout(self.connect_timeout, work).await else {
            let seconds = self.connect_timeout.as_secs_f64();
            return Err(Error::unreachable(format!("no answer from {} within {seconds} s", self.node))
                .with_hint("check that the server runs and is not overloaded, or raise connect_timeout"));
        };
        result
    }
}

fn host_header(node: &Node) -> Result<HeaderValue> {
    HeaderValue::from_str(&node.to_string())
        .map_err(|source| Error::config("the target's host has characters that no host has").with_source(source))
}

/// What came back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply<'a> {
    /// Whatever it says but redirects, which are errors.
    pub(crate) status: StatusCode,
    /// All of it.
    pub(crate) body: &'a [u8],
}

/// A connection with one request on it at a time.
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// What moves the bytes, while somebody waits; none once it has ended.
    driver: Option<http1::Connection<TokioIo<Direct>, Full<Bytes>>>,
    node: Node,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
    /// Memory for the next request's headers: that of the last reply's.
    headers: HeaderMap,
    /// Memory for the path and the body, taken back once they have left.
    path: BytesMut,
    request: BytesMut,
    reply: Vec<u8>,
    reply_bytes_max: usize,
    broken: bool,
}

impl Connection {
    /// Connects, and agrees on encryption where the target asks for it, within its time-out. Nothing is asked yet.
    ///
    /// # Errors
    /// `Unreachable` where nobody answers, `Rejected` where the encryption cannot be agreed on; with hints.
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self> {
        let Endpoint { node, limits, tls, host, authorization, .. } = endpoint;
        let wire = wire::Endpoint { host: &node.host, port: node.port, limits, tls: tls.clone() };
        let stream = endpoint.in_time(Wire::connect(wire)).await?.into_stream();
        let (sender, driver) =
            http1::Builder::new().handshake(TokioIo::new(stream)).await.map_err(|source| lost(node, source))?;
        Ok(Self {
            sender,
            driver: Some(driver),
            node: node.clone(),
            host: host.clone(),
            authorization: authorization.clone(),
            headers: HeaderMap::new(),
            path: BytesMut::new(),
            request: BytesMut::new(),
            reply: Vec::new(),
            reply_bytes_max: REPLY_BYTES_MAX,
            broken: false,
        })
    }

    /// Sends a request and waits for all of its reply. The path begins with a slash and is percent-encoded. Dropping the
    /// future leaves the connection broken: its reply would be taken for another request's.
    ///
    /// # Errors
    /// `Unreachable` where the connection was lost, what came back is not HTTP or longer than we take, after which it is
    /// broken. `Rejected` for a redirect, which is not followed.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: &[u8],
    ) -> Result<Reply<'_>> {
        if self.broken {
            return Err(lost(&self.node, "it was lost before"));
        }
        self.broken = true;
        let request = self.request(method, path, headers, body)?;
        let response = self.exchange(request).await?;
        let (mut head, body) = response.into_parts();
        self.receive(body).await?;
        self.broken = false;
        let redirected = head.status.is_redirection().then(|| self.redirected(&head.headers));
        head.headers.clear();
        self.headers = head.headers;
        match redirected {
            Some(error) => Err(error),
            None => Ok(Reply { status: head.status, body: &self.reply }),
        }
    }

    /// Whether the other side has closed it, as servers do where nothing is asked for a while. To be asked between requests.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn is_closed(&mut self) -> bool {
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(&mut Context::from_waker(Waker::noop())).is_ready()
        {
            self.driver = None;
        }
        self.driver.is_none()
    }

    /// Whether the connection is gone.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: &[u8],
    ) -> Result<Request<Full<Bytes>>> {
        self.path.extend_from_slice(path.as_bytes());
        let uri = Uri::from_maybe_shared(self.path.split().freeze()).map_err(|source| {
            // Nothing has been sent.
            self.broken = false;
            Error::bug("a path that HTTP cannot ask for").with_source(source)
        })?;
        if self.request.capacity() > BUFFER_BYTES_RETAINED_MAX && body.len() <= BUFFER_BYTES_RETAINED_MAX {
            self.request = BytesMut::new();
        }
        self.request.extend_from_slice(body);
        let mut request = Request::new(Full::new(self.request.split().freeze()));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = std::mem::take(&mut self.headers);
        request.headers_mut().insert(HOST, self.host.clone());
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        for (name, value) in headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let Self { sender, driver, node, .. } = self;
        poll_fn(|context| drive(driver, context, |context| sender.poll_ready(context)))
            .await
            .map_err(|source| lost(node, source))?;
        let mut response = pin!(sender.send_request(request));
        poll_fn(|context| drive(driver, context, |context| response.as_mut().poll(context)))
            .await
            .map_err(|source| lost(node, source))
    }

    /// Takes a reply's body, as far as its length is bearable.
    async fn receive(&mut self, mut body: Incoming) -> Result<()> {
        let Self { driver, reply, node, reply_bytes_max, .. } = self;
        reply.clear();
        if reply.capacity() > BUFFER_BYTES_RETAINED_MAX {
            reply.shrink_to(BUFFER_BYTES_RETAINED_MAX);
        }
        if body.size_hint().lower() > *reply_bytes_max as u64 {
            return Err(too_long(node, *reply_bytes_max));
        }
        let mut frames = pin!(async {
            while let Some(frame) = body.frame().await {
                let Ok(mut data) = frame.map_err(|source| lost(node, source))?.into_data() else { continue };
                if reply.len() + data.remaining() > *reply_bytes_max {
                    return Err(too_long(node, *reply_bytes_max));
                }
                reply.extend_from_slice(data.chunk());
                data.advance(data.remaining());
            }
            Ok(())
        });
        poll_fn(|context| drive(driver, context, |context| frames.as_mut().poll(context))).await
    }

    fn redirected(&self, headers: &HeaderMap) -> Error {
        let to = headers.get(LOCATION).map_or_else(|| "nowhere".to_owned(), |value| address_in(value.as_bytes()));
        Error::rejected(format!("{} sends us to {to}, and redirects are not followed", self.node))
            .with_hint("if that is the server to measure, name it in the target's URL")
    }
}

/// Moves a connection's bytes as far as they go, and then lets what waits for them look. That has nothing else to wait
/// for, so it needs no waker; what it asks of the connection wakes the caller.
fn drive<T>(
    driver: &mut Option<http1::Connection<TokioIo<Direct>, Full<Bytes>>>,
    context: &mut Context<'_>,
    mut wait: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    if let Some(connection) = driver
        && Pin::new(connection).poll(context).is_ready()
    {
        // Whoever waits is told by hyper what came to pass.
        *driver = None;
    }
    wait(&mut Context::from_waker(if driver.is_some() { Waker::noop() } else { context.waker() }))
}

fn lost(node: &Node, reason: impl Display) -> Error {
    Error::unreachable(format!("the connection with {node} was lost: {reason}"))
        .with_hint("check that the server runs and speaks HTTP there, encrypted or not as the target's tls= says")
}

fn too_long(node: &Node, bytes_max: usize) -> Error {
    Error::unreachable(format!("the connection with {node} was given up: a reply is longer than {bytes_max} bytes"))
        .with_hint("ask for less at a time: shorter fields, or fewer records a scan")
}

/// The address in a `Location`, without the user and password that it may hold.
fn address_in(location: &[u8]) -> String {
    let text = shown(location);
    let Some((scheme, rest)) = text.split_once("://") else { return text };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let address = &rest[..end];
    format!("{scheme}://{}", address.rsplit_once('@').map_or(address, |(_, address)| address))
}

/// The beginning of what a server said, fit for a message.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES_MAX)]);
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

impl AsyncRead for Direct {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Direct {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
