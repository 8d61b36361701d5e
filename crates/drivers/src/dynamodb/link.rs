//! A client of the library and the one connection that its requests go over.
//!
//! The library's own connector keeps a pool and opens connections as it likes. Ours has one, opened before the first
//! request: when it is lost under a request nothing opens another, and when the client is dropped it closes at once. Only
//! where the service has closed it because nothing was asked for a while, as it does, the next request opens it anew.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_sdk_dynamodb::error::{BoxError, ConnectorError};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::http::StatusCode;
use store::{Error, Result};

use super::address::Address;
use crate::http::{Connection, Endpoint, HeaderName, HeaderValue, Method};

/// Headers of a request of the library: that of its signature, its body's, and what it says of itself.
const HEADERS_EXPECTED: usize = 16;

/// Nobody closes a connection because it is idle sooner: `DynamoDB` Local waits half a minute, AWS longer.
const CLOSED_AFTER_MIN: Duration = Duration::from_secs(5);

/// A client with a connection of its own.
pub(super) struct Link {
    pub(super) client: Client,
    line: Line,
}

impl Link {
    /// Connects, within the target's time-out. Nothing is asked yet.
    ///
    /// # Errors
    /// `Unreachable` where nobody answers, `Rejected` where the encryption cannot be agreed on; with hints.
    pub(super) async fn open(address: &Address) -> Result<Self> {
        let connection = Connection::open(&address.endpoint).await?;
        let idle = Idle { connection, since: Instant::now() };
        let line = Line { idle: Arc::new(Mutex::new(Some(idle))), endpoint: Arc::clone(&address.endpoint) };
        let connector = SharedHttpConnector::new(line.clone());
        let config = address.config().http_client(http_client_fn(move |_, _| connector.clone())).build();
        Ok(Self { client: Client::from_conf(config), line })
    }

    /// Whether the connection is gone. To be asked while no request is under way.
    pub(super) fn is_broken(&self) -> bool {
        self.line.lock().is_none()
    }
}

/// The connection, taken out while a request is on it: a request that is dropped closes it.
#[derive(Clone)]
struct Line {
    idle: Arc<Mutex<Option<Idle>>>,
    endpoint: Arc<Endpoint>,
}

/// A connection without a request on it.
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Option<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchange(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let Some(Idle { mut connection, since }) = self.lock().take() else {
            return Err(unsent(
                Error::unreachable("the connection was lost before")
                    .with_hint("look into the server's log for why it closed the connection"),
            ));
        };
        if since.elapsed() >= CLOSED_AFTER_MIN && connection.is_closed() {
            connection = Connection::open(&self.endpoint).await.map_err(unsent)?;
        }
        let response = send(&mut connection, request).await;
        if !connection.is_broken() {
            *self.lock() = Some(Idle { connection, since: Instant::now() });
        }
        response
    }
}

impl HttpConnector for Line {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().exchange(request))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

async fn send(connection: &mut Connection, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|source| ConnectorError::user(source.into()))?;
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(HEADERS_EXPECTED);
    headers.extend(request.headers().iter().map(|(name, value)| (name.clone(), value.clone())));
    if let Some(authority) = request.uri().authority() {
        // As it was signed, which is without the port of AWS.
        let host = HeaderValue::from_str(authority.as_str()).map_err(|source| ConnectorError::user(source.into()))?;
        headers.push((HeaderName::from_static("host"), host));
    }
    // The library's bodies are whole, except for those of streams, which this store has not.
    let body = request.body().bytes().unwrap_or_default();
    let path = request.uri().path();
    let reply = connection.send(Method::POST, path, &headers, body).await.map_err(unsent)?;
    let status =
        StatusCode::try_from(reply.status.as_u16()).map_err(|source| ConnectorError::other(source.into(), None))?;
    Ok(HttpResponse::new(status, reply.body.into()))
}

/// Whether an answer is nested no deeper than answers are: the library reads a value in a value by calling itself, and a
/// stranger could have it run out of stack.
fn is_bearable(body: &[u8]) -> bool {
    /// A value may be nested 32 deep (a quota of the service), at two brackets each; the rest is around it.
    const DEPTH_MAX: u32 = 32 * 2 + 16;
    let (mut depth, mut is_text, mut is_escaped) = (0_u32, false, false);
    body.iter().all(|byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => depth += 1,
            b'}' | b']' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth <= DEPTH_MAX
    })
}

/// Our own error, to be found again in the library's.
fn unsent(error: Error) -> ConnectorError {
    ConnectorError::io(BoxError::from(error))
}

#[cfg(test)]
impl Link {
    /// As if the last request had been long ago.
    pub(super) fn rest(&self) {
        if let Some(idle) = self.line.lock().as_mut() {
            idle.since = idle.since.checked_sub(CLOSED_AFTER_MIN).expect("the clock runs longer than that");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_nested_deeper_than_any_value_is_refused() {
        let value = |depth: usize| format!(r#"{{"Item":{{"a":{}{}}}}}"#, r#"{"L":["#.repeat(depth), "]}".repeat(depth));
        assert!(is_bearable(value(32).as_bytes()));
        assert!(!is_bearable(value(1000).as_bytes()));
        let text = format!(r#"{{"Item":{{"a":{{"S":"\"{}"}}}}}}"#, "[{".repeat(1000));
        assert!(is_bearable(text.as_bytes()), "brackets in a text nest nothing");
        assert!(is_bearable("{}".repeat(1000).as_bytes()), "nor do those that are closed");
    }
}
