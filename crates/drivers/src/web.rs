//! One HTTP request to who is no data store: a Prometheus that is asked, a collector that is told.
//!
//! On a connection of its own, encrypted for `https:`, under the target's limits on where connections may go.

use std::time::Duration;

use store::{Error, Result, Target, TlsMode};

use crate::http::{Connection, Endpoint, HeaderName, HeaderValue, Method, shown};

/// What is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Question<'a> {
    /// Path and query, percent-encoded, from its slash on.
    pub path: &'a str,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a str)],
    /// What is posted; without it, this is a GET.
    pub body: Option<&'a [u8]>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's status, which is no redirect.
    pub status: u16,
    /// All of it.
    pub body: Vec<u8>,
}

impl Answer {
    /// The beginning of the body, fit for a message.
    pub fn shown(&self) -> String {
        shown(&self.body)
    }
}

/// Connects, asks and waits for the answer, no longer than `within` together. The target is a URL of `http:` or `https:`.
///
/// # Errors
/// `Config` for a URL or a header that cannot be, `Rejected` for an address that the target's limits forbid and for a
/// redirect, `Unreachable` where nobody answers in time.
pub async fn ask(target: &Target, question: Question<'_>, within: Duration) -> Result<Answer> {
    let (port, tls) = match target.scheme() {
        "http" => (80, TlsMode::Off),
        "https" => (443, TlsMode::Verify),
        scheme => {
            return Err(Error::config(format!("`{scheme}:` cannot be asked over HTTP"))
                .with_hint("write a URL that begins with http:// or https://"));
        }
    };
    let endpoint = Endpoint::of(target, port, tls)?;
    let headers = question.headers.iter().map(|(name, value)| header(name, value)).collect::<Result<Vec<_>>>()?;
    let exchange = async {
        let mut connection = Connection::open(&endpoint).await?;
        let method = if question.body.is_some() { Method::POST } else { Method::GET };
        let reply = connection.send(method, question.path, &headers, question.body.unwrap_or_default()).await?;
        Ok(Answer { status: reply.status.as_u16(), body: reply.body.to_vec() })
    };
    let in_time = tokio::time::timeout(within, exchange).await;
    in_time.unwrap_or_else(|_| {
        Err(Error::unreachable(format!("no answer from {} within {} s", endpoint.node(), within.as_secs_f64()))
            .with_hint("check that the server runs there and is not overloaded"))
    })
}

/// A header, whose value may be a secret and is in no message.
fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let named = HeaderName::from_bytes(name.as_bytes());
    let (Ok(name), Ok(mut value)) = (named, HeaderValue::from_str(value)) else {
        return Err(Error::config("a header has characters that no header has"));
    };
    value.set_sensitive(true);
    Ok((name, value))
}
