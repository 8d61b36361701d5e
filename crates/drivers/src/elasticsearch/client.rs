//! Where a cluster is, how it is entered, and the connection that asks it.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use store::{Error, Lookup, Result, Target, TargetOption, TlsMode};

use super::failure::{Failure, not_understood};
use crate::http::{Connection, Endpoint, HeaderName, HeaderValue, Method, Reply};
use crate::tls::{TLS_CA_OPTION, TLS_OPTION};

/// What both products listen on.
pub(super) const PORT_DEFAULT: u16 = 9200;

/// What the documented environment variables are where they are not set.
const URL_DEFAULT: &str = "http://127.0.0.1:9200";
const USER_DEFAULT: &str = "elastic";
const PASSWORD_DEFAULT: &str = "changeme";

pub(super) static OPTIONS: [TargetOption; 8] = [
    TargetOption {
        name: "api_key",
        summary: "instead of a user and password: ID:KEY, or what the server calls `encoded`",
    },
    TargetOption { name: "connect_timeout", summary: "seconds that connecting may take, 10" },
    TargetOption { name: "nodes", summary: "further nodes of the cluster, HOST:PORT,HOST:PORT: sessions take turns" },
    TargetOption {
        name: "refresh",
        summary: "true: what is written is found by the next search; wait_for: the write waits for the server's own \
            refresh; false: it is found a second later",
    },
    TargetOption { name: "replicas", summary: "copies of each shard beside itself, 0" },
    TargetOption { name: "shards", summary: "primary shards of each index, 1" },
    TLS_OPTION,
    TLS_CA_OPTION,
];

const REFRESH_MODES: [&str; 3] = ["true", "wait_for", "false"];

/// More shards than this in an index are a slip of the finger: the servers' own bound.
const SHARDS_MAX: u32 = 1024;

/// What every request says of its body.
static JSON: [(HeaderName, HeaderValue); 1] = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
static JSON_LINES: [(HeaderName, HeaderValue); 1] = [(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))];

/// A target, taken apart.
pub(super) struct Address {
    /// The nodes that the target lists, which need not be all that the cluster has.
    endpoints: Vec<Endpoint>,
    /// Whose turn it is.
    turn: AtomicUsize,
    /// What every path begins with: nothing, or where a proxy has the cluster.
    pub(super) prefix: String,
    /// What our writes say of the refresh.
    pub(super) refresh: &'static str,
    pub(super) shards: u32,
    pub(super) replicas: u32,
}

impl Address {
    /// Of that target.
    ///
    /// # Errors
    /// `Config` for a URL that cannot work.
    pub(super) fn of(target: &Target) -> Result<Self> {
        let mut endpoint = Endpoint::of(target, PORT_DEFAULT, TlsMode::Off)?;
        if let Some(key) = target.option("api_key") {
            if target.user().is_some() {
                return Err(Error::config("the target has both a user and an `api_key`").with_hint("leave one out"));
            }
            let encoded = if key.contains(':') { BASE64_STANDARD.encode(key) } else { key.to_owned() };
            endpoint = endpoint.authorized("ApiKey", &encoded)?;
        }
        let refresh = target.option("refresh").unwrap_or(REFRESH_MODES[0]);
        let refresh = REFRESH_MODES.into_iter().find(|mode| *mode == refresh).ok_or_else(|| {
            Error::config(format!("the target's `refresh={refresh}` is unknown"))
                .with_hint(format!("use one of {}", REFRESH_MODES.join(", ")))
        })?;
        let shards = target.option_parsed("shards")?.unwrap_or(1);
        if !(1..=SHARDS_MAX).contains(&shards) {
            return Err(Error::config(format!("the target's `shards={shards}` is not from 1 to {SHARDS_MAX}"))
                .with_hint("leave it out for one shard"));
        }
        let mut prefix = String::new();
        for part in target.path().split('/').filter(|part| !part.is_empty()) {
            prefix.push('/');
            push_encoded(&mut prefix, part);
        }
        let nodes = target.nodes(PORT_DEFAULT)?.into_iter();
        let endpoints = nodes.map(|node| endpoint.at(node)).collect::<Result<_>>()?;
        let replicas = target.option_parsed("replicas")?.unwrap_or(0);
        Ok(Self { endpoints, turn: AtomicUsize::new(0), prefix, refresh, shards, replicas })
    }

    /// Connects to the node whose turn it is, or to the next that answers. Nothing is asked yet.
    ///
    /// # Errors
    /// `Unreachable` where none answers.
    async fn open(&self) -> Result<Connection> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut refused = None;
        for place in 0..self.endpoints.len() {
            let endpoint = &self.endpoints[(turn + place) % self.endpoints.len()];
            match Connection::open(endpoint).await {
                Ok(connection) => return Ok(connection),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or_else(|| Error::bug("a target without a node")))
    }

    /// Bounds what reaching the cluster consists of.
    pub(super) async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.endpoints.first() {
            Some(endpoint) => endpoint.in_time(work).await,
            None => work.await,
        }
    }
}

/// Appends a text as a part of a path.
pub(super) fn push_encoded(path: &mut String, text: &str) {
    path.extend(percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC));
}

/// The URL that the documented environment variables describe.
pub(super) fn url_from_environment(lookup: Lookup<'_>) -> String {
    let [url, user, password] = [
        ("ELASTICSEARCH_URL", URL_DEFAULT),
        ("ELASTICSEARCH_USER", USER_DEFAULT),
        ("ELASTICSEARCH_PASSWORD", PASSWORD_DEFAULT),
    ]
    .map(|(name, default)| lookup(name).filter(|value| !value.is_empty()).unwrap_or(default.to_owned()));
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", &url));
    let rest = rest.trim_end_matches('/');
    let (scheme, tls) = match scheme {
        "http" => ("elasticsearch", None),
        "https" => ("elasticsearch", Some("tls=verify")),
        given => (given, None),
    };
    let mut text = format!("{scheme}://");
    if !rest.contains('@') {
        push_encoded(&mut text, &user);
        text.push(':');
        push_encoded(&mut text, &password);
        text.push('@');
    }
    text.push_str(rest);
    if let Some(tls) = tls.filter(|_| !rest.contains("tls=")) {
        text.push(if rest.contains('?') { '&' } else { '?' });
        text.push_str(tls);
    }
    text
}

/// A connection to a cluster.
pub(super) struct Client {
    connection: Connection,
}

impl Client {
    /// Connects. Nothing is asked yet.
    pub(super) async fn open(address: &Address) -> Result<Self> {
        Ok(Self { connection: address.open().await? })
    }

    /// Sends a request with a body of JSON, or none; whatever comes back.
    pub(super) async fn send(&mut self, method: Method, path: &str, body: &[u8]) -> Result<Reply<'_>> {
        let headers: &[_] = if body.is_empty() { &[] } else { &JSON };
        self.connection.send(method, path, headers, body).await
    }

    /// Sends a request whose body is lines of JSON; whatever comes back.
    pub(super) async fn send_lines(&mut self, path: &str, body: &[u8]) -> Result<Reply<'_>> {
        self.connection.send(Method::POST, path, &JSON_LINES, body).await
    }

    /// Sends a request that must succeed, and reads its reply.
    pub(super) async fn ask<T: DeserializeOwned>(&mut self, method: Method, path: &str, body: &str) -> Result<T> {
        understood(self.send(method, path, body.as_bytes()).await?)
    }

    /// Whether the connection is gone.
    pub(super) fn is_broken(&self) -> bool {
        self.connection.is_broken()
    }
}

/// What a reply says.
pub(super) fn understood<T: DeserializeOwned>(reply: Reply<'_>) -> Result<T> {
    if !reply.status.is_success() {
        return Err(Failure::of(reply).into_error());
    }
    serde_json::from_slice(reply.body).map_err(|source| not_understood(reply.body, source))
}
