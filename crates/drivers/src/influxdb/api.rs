//! A server's HTTP interface (<https://docs.influxdata.com/influxdb/v2/api/>): how it is entered, asked, and how it says no.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use store::{Error, ErrorKind, Node, Result, Target, TlsMode};

use super::DEFAULT_PORT;
use crate::http::{Connection, Endpoint, HeaderName, HeaderValue, Method, Reply, StatusCode, shown};

static JSON: [(HeaderName, HeaderValue); 1] =
    [(HeaderName::from_static("content-type"), HeaderValue::from_static("application/json"))];
static TEXT: [(HeaderName, HeaderValue); 1] =
    [(HeaderName::from_static("content-type"), HeaderValue::from_static("text/plain; charset=utf-8"))];

/// What the server's version begins with.
const VERSION_PREFIX: &str = "v2.";

/// A server that answers and lets us in.
pub(crate) struct Address {
    endpoint: Endpoint,
    organisation_id: String,
}

/// What a server says of its health.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    /// `2.9.1`.
    pub(crate) version: String,
    /// What it was built from.
    pub(crate) commit: String,
}

impl Address {
    /// Reaches the target's server and finds its organisation.
    ///
    /// # Errors
    /// `Config` for a URL that cannot work; `Unreachable`; `Rejected` for a wrong token, an unknown organisation and
    /// servers of another kind.
    pub(crate) async fn of(target: &Target) -> Result<Self> {
        let mut endpoint = Endpoint::of(target, DEFAULT_PORT, TlsMode::Off)?;
        if let Some(token) = target.password() {
            endpoint = endpoint.authorized("Token", token.expose())?;
        }
        let mut address = Self { endpoint, organisation_id: String::new() };
        let mut api = address.open().await?;
        let organisation_id = address
            .endpoint
            .in_time(async {
                api.health().await?;
                api.organisation(target.path()).await
            })
            .await?;
        address.organisation_id = organisation_id;
        Ok(address)
    }

    /// Connects.
    ///
    /// # Errors
    /// `Unreachable` where nobody answers within the target's time-out.
    pub(crate) async fn open(&self) -> Result<Api> {
        let connection = Connection::open(&self.endpoint).await?;
        let organisation_id = self.organisation_id.clone();
        let query_path = format!("/api/v2/query?org={organisation_id}");
        Ok(Api { connection, node: self.endpoint.node().clone(), organisation_id, query_path })
    }

    /// Where points of a bucket are sent to.
    pub(crate) fn write_path(&self, bucket: &str) -> String {
        format!("/api/v2/write?org={}&bucket={bucket}&precision=ns", self.organisation_id)
    }

    /// Where deletions from a bucket are sent to.
    pub(crate) fn delete_path(&self, bucket: &str) -> String {
        format!("/api/v2/delete?org={}&bucket={bucket}", self.organisation_id)
    }

    /// Bounds some looks at the server by the target's time-out for connecting.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.endpoint.in_time(work).await
    }
}

/// A connection.
pub(crate) struct Api {
    connection: Connection,
    node: Node,
    organisation_id: String,
    query_path: String,
}

impl Api {
    /// Whether the connection is gone.
    pub(crate) fn is_broken(&self) -> bool {
        self.connection.is_broken()
    }

    /// Whose buckets are looked at.
    pub(crate) fn organisation_id(&self) -> &str {
        &self.organisation_id
    }

    /// The reply to a query that is JSON already.
    ///
    /// # Errors
    /// `Rejected` with what the server says; `Unreachable` where the connection was lost.
    pub(crate) async fn query(&mut self, body: &str) -> Result<&[u8]> {
        let Reply { status, body } =
            self.connection.send(Method::POST, &self.query_path, &JSON, body.as_bytes()).await?;
        if status == StatusCode::OK { Ok(body) } else { Err(refused(status, body)) }
    }

    /// Writes lines, which are durable once this has ended.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub(crate) async fn write(&mut self, path: &str, lines: &[u8]) -> Result<()> {
        let Reply { status, body } = self.connection.send(Method::POST, path, &TEXT, lines).await?;
        if status == StatusCode::NO_CONTENT { Ok(()) } else { Err(refused(status, body)) }
    }

    /// Deletes what a predicate says.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub(crate) async fn delete(&mut self, path: &str, predicate: &str) -> Result<()> {
        let Reply { status, body } = self.connection.send(Method::POST, path, &JSON, predicate.as_bytes()).await?;
        if status == StatusCode::NO_CONTENT { Ok(()) } else { Err(refused(status, body)) }
    }

    /// Asks for, or changes, what the server keeps beside the data.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub(crate) async fn ask(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let text = body.map(Value::to_string).unwrap_or_default();
        let reply = self.connection.send(method, path, &JSON, text.as_bytes()).await?;
        match reply.status {
            StatusCode::NO_CONTENT => Ok(Value::Null),
            status if status.is_success() => serde_json::from_slice(reply.body)
                .map_err(|source| not_influxdb(&self.node, &reply).with_source(source)),
            status => Err(refused(status, reply.body)),
        }
    }

    /// What the server counts, as text.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub(crate) async fn metrics(&mut self) -> Result<&[u8]> {
        let Reply { status, body } = self.connection.send(Method::GET, "/metrics", &[], b"").await?;
        match status {
            StatusCode::OK => Ok(body),
            // `metrics-disabled`.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Ok(b""),
            _ => Err(refused(status, body)),
        }
    }

    /// What the server is.
    ///
    /// # Errors
    /// `Rejected` where it is something else than `InfluxDB` 2, or not ready.
    pub(crate) async fn health(&mut self) -> Result<Health> {
        let reply = self.connection.send(Method::GET, "/health", &[], b"").await?;
        let health: Value = serde_json::from_slice(reply.body)
            .map_err(|source| not_influxdb(&self.node, &reply).with_source(source))?;
        let text = |name: &str| health.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("name") != "influxdb" {
            return Err(not_influxdb(&self.node, &reply));
        }
        if reply.status != StatusCode::OK {
            return Err(Error::rejected(format!("InfluxDB is not ready: {}", shown(text("message").as_bytes())))
                .with_hint("wait until it has started, or look into its log"));
        }
        let version = shown(text("version").as_bytes());
        let Some(_) = version.strip_prefix(VERSION_PREFIX) else {
            return Err(Error::rejected(format!("the server is InfluxDB {version}, and version 2 is spoken here"))
                .with_hint("measure a server of version 2"));
        };
        Ok(Health { version: version[1..].to_owned(), commit: shown(text("commit").as_bytes()) })
    }

    /// The number of the organisation of that name, or of the only one that the token sees.
    async fn organisation(&mut self, name: &str) -> Result<String> {
        let path = if name.is_empty() {
            "/api/v2/orgs?limit=2".to_owned()
        } else {
            format!("/api/v2/orgs?org={}", utf8_percent_encode(name, NON_ALPHANUMERIC))
        };
        let unknown = || {
            Error::rejected(format!("the server has no organisation `{name}` that the token may see"))
                .with_hint("name one in the URL's path, influxdb://token:TOKEN@HOST:8086/ORGANISATION")
        };
        let answer = match self.ask(Method::GET, &path, None).await {
            Err(error) if error.kind() == ErrorKind::Rejected && error.to_string().contains("not found") => {
                return Err(unknown());
            }
            answer => answer?,
        };
        let organisations = answer.get("orgs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        match organisations {
            [organisation] => match organisation.get("id").and_then(Value::as_str) {
                Some(id) if is_id(id) => Ok(id.to_owned()),
                _ => Err(unknown()),
            },
            [] => Err(unknown()),
            [..] => Err(Error::config("the server has several organisations and the target's URL names none")
                .with_hint("name one in the URL's path, influxdb://token:TOKEN@HOST:8086/ORGANISATION")),
        }
    }
}

/// Whether a text is what the server numbers its things with.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn not_influxdb(node: &Node, reply: &Reply<'_>) -> Error {
    Error::rejected(format!("{node} answers {} and not as InfluxDB does: {}", reply.status, shown(reply.body)))
        .with_hint("check the target's host, port and tls=; InfluxDB listens on 8086 where it is not told otherwise")
}

/// A refusal, sorted by who must act.
fn refused(status: StatusCode, body: &[u8]) -> Error {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = answer.get("message").and_then(Value::as_str).map_or(body, str::as_bytes);
    let text = format!("InfluxDB says {}: {}", status.as_u16(), shown(message));
    let (kind, hint) = match status {
        StatusCode::UNAUTHORIZED => (
            ErrorKind::Rejected,
            "give a token of the server's in the URL, influxdb://token:TOKEN@HOST:8086/ORGANISATION",
        ),
        StatusCode::FORBIDDEN => {
            (ErrorKind::Rejected, "give a token that may make, read, write and drop buckets of the organisation")
        }
        StatusCode::NOT_FOUND => (ErrorKind::Rejected, "load the data anew: somebody may have dropped the bucket"),
        StatusCode::PAYLOAD_TOO_LARGE => (ErrorKind::Rejected, "write less at a time: shorter fields"),
        StatusCode::TOO_MANY_REQUESTS => {
            (ErrorKind::Rejected, "the server's queue of queries is full: use fewer clients, or raise query-queue-size")
        }
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE => {
            (ErrorKind::Rejected, "look into the server's log")
        }
        StatusCode::GATEWAY_TIMEOUT => (ErrorKind::Timeout, "the server is overloaded: use fewer clients"),
        _ => (ErrorKind::Rejected, "look into the server's log, or into its version's documentation"),
    };
    Error::new(kind, text).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_who_must_act() {
        for (status, body, kind, expect) in [
            (
                401,
                r#"{"code":"unauthorized","message":"unauthorized access"}"#,
                ErrorKind::Rejected,
                "unauthorized access",
            ),
            (429, r#"{"code":"too many requests","message":"queue full"}"#, ErrorKind::Rejected, "429: queue full"),
            (504, "", ErrorKind::Timeout, "504"),
            (500, "<html>\n", ErrorKind::Rejected, "500: <html> "),
            (422, r#"{"message":7}"#, ErrorKind::Rejected, r#"422: {"message":7}"#),
        ] {
            let error = refused(StatusCode::from_u16(status).expect("a status"), body.as_bytes());
            assert_eq!(error.kind(), kind, "{status}");
            assert!(error.to_string().contains(expect) && error.hint().is_some(), "{error}");
        }
    }
}
