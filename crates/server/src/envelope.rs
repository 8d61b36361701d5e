//! What is around every answer: an id, headers that keep browsers in check, a problem document for whatever went wrong, and a count.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::Instrument;
use uuid::Uuid;

use crate::app::App;
use crate::problem::Problem;
use crate::traces::RequestSpan;

/// The header that an id comes in and goes out by.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Letters of a client's own id; more would only fill logs.
const REQUEST_ID_LETTERS_MAX: usize = 64;

/// The route of a request that no route fits, in counts: paths that somebody made up are not told apart.
const NO_ROUTE: &str = "none";

/// The id of a request, for logs and for whoever reports a problem.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Headers of every answer that does not have them already. A page of ours has its own policy.
const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// For a year, as RFC 6797 has it in its examples; only over TLS.
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Answers a request, whatever becomes of it inside.
pub(crate) async fn wrap(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = id_of(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    request.extensions_mut().insert(RequestId(id.clone()));
    let traced = RequestSpan::begin(request.headers(), &method, route.as_deref(), &path, &id);
    let spanned = tracing::info_span!("request", request_id = id);
    // A panic is a bug of ours, and one request's: the others go on.
    let inside = AssertUnwindSafe(traced.around(next.run(request)).instrument(spanned)).catch_unwind().await;
    let response =
        inside.unwrap_or_else(|_| Problem::internal(&format!("{method} {path} has panicked")).into_response());
    let mut response = completed(response, &path, &id);
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(value);
    }
    if app.authority.is_encrypted() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
    }
    headers.insert(REQUEST_ID, HeaderValue::try_from(&id).expect("letters, digits and hyphens"));
    let status = response.status();
    traced.end(status);
    let route = route.as_deref().unwrap_or(NO_ROUTE);
    let trace = traced.trace();
    app.metrics.answered(known_method(&method), route, status.as_str(), started.elapsed(), trace.as_deref());
    tracing::debug!(%method, path, status = status.as_u16(), request = id, "answered");
    response
}

/// Makes a problem of ours of every answer that says that something went wrong, also where a library said so.
fn completed(mut response: Response, path: &str, id: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = response.extensions_mut().remove::<Problem>().unwrap_or_else(|| unnamed(status, path));
    let mut renewed = problem.about(path, id).into_response();
    // What was said beside the body stays: Allow, Retry-After, WWW-Authenticate, Connection.
    let body = [header::CONTENT_TYPE, header::CONTENT_LENGTH];
    for (name, value) in response.headers().iter().filter(|(name, _)| !body.contains(name)) {
        renewed.headers_mut().insert(name.clone(), value.clone());
    }
    *renewed.extensions_mut() = std::mem::take(response.extensions_mut());
    renewed
}

/// A problem that the router or a library told by its status alone.
fn unnamed(status: StatusCode, path: &str) -> Problem {
    match status {
        StatusCode::NOT_FOUND => {
            Problem::not_found(format!("there is no `{path}`")).with_remedy("/docs lists what there is")
        }
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(status, format!("`{path}` does not know that method")),
        _ => Problem::new(status, status.canonical_reason().unwrap_or("it was refused").to_lowercase()),
    }
}

/// The client's own id where it is a short word, or a new one.
fn id_of(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_word = |text: &&str| {
        (1..=REQUEST_ID_LETTERS_MAX).contains(&text.len())
            && text.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-' || letter == b'_')
    };
    given.filter(is_word).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// The method, where it is one that somebody defined.
fn known_method(method: &axum::http::Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_give_a_word_as_id() {
        for (given, is_kept) in
            [("abc-1_2", true), ("", false), ("a b", false), ("a\"b", false), (&"x".repeat(65), false)]
        {
            let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(given).expect("a header"))]);
            assert_eq!(id_of(&headers) == given, is_kept, "{given}");
        }
    }
}
