//! What a cluster says when it does not do what it was asked.

use serde_json::Value;
use store::{Error, ErrorKind};

use crate::http::{Reply, StatusCode, shown};

/// A reply that is no success.
pub(super) struct Failure {
    status: StatusCode,
    /// The server's name for it: `index_not_found_exception`.
    name: String,
    reason: String,
}

impl Failure {
    /// What the reply says.
    pub(super) fn of(reply: Reply<'_>) -> Self {
        let body = serde_json::from_slice::<Value>(reply.body).unwrap_or_default();
        Self::named(reply.status, &body["error"], reply.body)
    }

    /// What `error` says, as it stands in replies, and in the items of those to bulk requests.
    pub(super) fn named(status: StatusCode, error: &Value, body: &[u8]) -> Self {
        let text = |name: &str| error.get(name).and_then(Value::as_str);
        let reason =
            text("reason").or_else(|| error.as_str()).map_or_else(|| shown(body), |text| shown(text.as_bytes()));
        Self { status, name: text("type").unwrap_or_default().to_owned(), reason }
    }

    /// Whether it is the one of that name.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// What it means to whoever asked.
    pub(super) fn into_error(self) -> Error {
        let Self { status, name, reason } = self;
        let what = match (name.as_str(), reason.as_str()) {
            ("", "") => format!("the server answered {status}"),
            ("", reason) => format!("the server answered {status}: {reason}"),
            (name, reason) => format!("the server answered {name}: {reason}"),
        };
        let (kind, hint) = match (status.as_u16(), name.as_str()) {
            (401, _) => (ErrorKind::Rejected, "correct the user and password of the target's URL, or its api_key"),
            (_, "cluster_block_exception") => {
                (ErrorKind::Rejected, "look at the server's disk: it blocks writes when that is nearly full")
            }
            (403, _) => (ErrorKind::Rejected, "allow the user to manage, write and search indices named storelab_*"),
            (404, "index_not_found_exception") => (ErrorKind::Rejected, "load the data first"),
            (408 | 504, _) => (ErrorKind::Timeout, "look at the load of the server's master"),
            (409, _) => (ErrorKind::Conflict, "another session changed the same document, try again"),
            (429, _) => (ErrorKind::Rejected, "the server has more work or less memory than it takes: offer less"),
            (500.., _) => (ErrorKind::Rejected, "look into the server's log, and at the state of its shards"),
            _ => (ErrorKind::Rejected, "check that Elasticsearch 7.10 or newer, or OpenSearch, answers there"),
        };
        Error::new(kind, what).with_hint(hint)
    }
}

/// A reply that is a success and yet not what such a reply is.
pub(super) fn not_understood(body: &[u8], source: serde_json::Error) -> Error {
    Error::rejected(format!("the server's reply is not understood: {}", shown(body)))
        .with_hint("check that Elasticsearch 7.10 or newer, or OpenSearch, answers there")
        .with_source(source)
}
