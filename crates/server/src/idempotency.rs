//! `Idempotency-Key`: who did not hear the answer to a POST sends it again with the same key, and gets the answer that was given.

use std::collections::BTreeMap;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jiff::Timestamp;
use results::service::{Answer, Claim, RequestKey};
use ring::digest;
use uuid::Uuid;

use crate::access::Actor;
use crate::app::App;
use crate::http::BODY_BYTES_MAX;
use crate::problem::Problem;

/// The header, as drafted by the IETF (draft-ietf-httpapi-idempotency-key-header).
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Letters of a key; a UUID has 36.
const KEY_LETTERS_MAX: usize = 255;

/// Routes whose answers are not kept: a token is shown once and is nowhere written down.
const NEVER_KEPT: &[&str] = &["/api/v1/tokens"];

/// Headers of an answer that are given again.
const KEPT_HEADERS: [HeaderName; 2] = [header::CONTENT_TYPE, header::LOCATION];

/// The id of what a request makes. The same when it is carried out again after the process died in between, so that nothing is
/// made twice: where there is something of that id already, it is what was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewId(pub(crate) Uuid);

impl<S: Sync> FromRequestParts<S> for NewId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(parts.extensions.get::<Self>().copied().unwrap_or_else(|| Self(Uuid::now_v7())))
    }
}

/// Whether answers of a path are never kept, so that it takes no key.
pub(crate) fn is_never_kept(path: &str) -> bool {
    NEVER_KEPT.contains(&path.trim_end_matches('/'))
}

/// Carries a request out once for each key.
pub(crate) async fn once(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    match key_of(&request) {
        Ok(None) => next.run(request).await,
        Ok(Some(key)) => claim(&app, key, request, next).await.unwrap_or_else(IntoResponse::into_response),
        Err(problem) => problem.into_response(),
    }
}

/// Whose key it is, and for what.
fn key_of(request: &Request) -> Result<Option<RequestKey>, Problem> {
    let mut given = request.headers().get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let wrong = |reason: &str| Problem::invalid("Idempotency-Key", reason).with_remedy("send one UUID");
    let text = value.to_str().map_err(|_| wrong("it is not plain text"))?;
    if given.next().is_some() {
        return Err(wrong("it is given twice"));
    }
    let is_plain = text.bytes().all(|letter| letter.is_ascii_graphic());
    if text.is_empty() || text.len() > KEY_LETTERS_MAX || !is_plain {
        return Err(wrong("it must have 1 to 255 letters, digits and signs, without a space"));
    }
    let path = request.uri().path().trim_end_matches('/');
    if is_never_kept(path) {
        return Err(wrong("the answer is shown once and cannot be given again").with_remedy("leave the header out"));
    }
    let actor = request.extensions().get::<Actor>();
    let whose = actor.and_then(|actor| actor.token).map_or_else(|| "local".to_owned(), |token| token.to_string());
    Ok(Some(RequestKey { scope: format!("{whose} {path}"), name: text.to_owned() }))
}

async fn claim(app: &App, key: RequestKey, request: Request, next: Next) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    // It has been received whole already.
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| Problem::malformed(error.to_string()))?;
    let fingerprint = fingerprint(parts.uri.query(), &body);
    let mut request = Request::from_parts(parts, Body::from(body));
    let claimed = key.clone();
    let claim =
        app.storage.write(move |results| results.claim_request(&claimed, &fingerprint, Timestamp::now())).await?;
    match claim {
        Claim::Granted(id) => {
            request.extensions_mut().insert(NewId(id));
            Ok(keep(app, key, next.run(request).await).await)
        }
        Claim::Answered(answer) => again(answer),
        Claim::Different => Err(Problem::invalid("Idempotency-Key", "the key was used for another request")
            .with_remedy("send a new key with a new request")),
        Claim::Busy => Err(Problem::conflict("a request with this key is being carried out")
            .with_field("Idempotency-Key")
            .with_remedy("wait a second, and send it again")
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))),
        Claim::Full => Err(Problem::too_many("there are too many keys of the last day")
            .with_field("Idempotency-Key")
            .with_remedy("send it without a key, or tomorrow")),
    }
}

/// All that matters of a request beside its route.
fn fingerprint(query: Option<&str>, body: &Bytes) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(query.unwrap_or_default().as_bytes());
    context.update(b"\n");
    context.update(body);
    context.finish().as_ref().to_vec()
}

/// Keeps an answer that says what was done. Where nothing was, there is nothing that could be done twice.
async fn keep(app: &App, key: RequestKey, response: Response) -> Response {
    let is_bounded = response.body().size_hint().upper().is_some_and(|bytes| bytes <= BODY_BYTES_MAX as u64);
    if !response.status().is_success() || !is_bounded {
        let released = app.storage.write(move |results| results.release_request(&key)).await;
        return told(response, released);
    }
    let (parts, body) = response.into_parts();
    let body = match to_bytes(body, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(error) => return Problem::internal(&format!("an answer cannot be read: {error}")).into_response(),
    };
    let headers = KEPT_HEADERS.iter().filter_map(|name| Some((name.as_str(), parts.headers.get(name)?.to_str().ok()?)));
    let headers: BTreeMap<_, _> = headers.collect();
    let answer = Answer {
        status: parts.status.as_u16(),
        headers: serde_json::to_string(&headers).expect("names and texts"),
        body: body.to_vec(),
    };
    let kept = app.storage.write(move |results| results.keep_answer(&key, &answer)).await;
    told(Response::from_parts(parts, Body::from(body)), kept)
}

/// The request was carried out, whatever became of the note about it.
fn told(response: Response, noted: Result<(), Problem>) -> Response {
    if let Err(problem) = noted {
        tracing::warn!("an answer could not be kept for its key: {}", problem.reason());
    }
    response
}

/// An answer that was given before.
fn again(answer: Answer) -> Result<Response, Problem> {
    let damaged = |reason: String| Problem::internal(&format!("an answer that was kept cannot be read: {reason}"));
    let status = StatusCode::from_u16(answer.status).map_err(|error| damaged(error.to_string()))?;
    let headers: BTreeMap<String, String> =
        serde_json::from_str(&answer.headers).map_err(|error| damaged(error.to_string()))?;
    let mut response = (status, answer.body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|error| damaged(error.to_string()))?;
        let value = HeaderValue::try_from(value).map_err(|error| damaged(error.to_string()))?;
        response.headers_mut().insert(name, value);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}
