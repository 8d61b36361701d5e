//! `ETag` and `If-None-Match`: who has an answer already is told so instead of getting it again.

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;

use crate::problem::Problem;

/// Bytes of an answer that gets a tag; what is larger is streamed, and never held whole.
const TAGGED_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bytes of the hash that make a tag: 2^64 answers of one route before two are likely to share one.
const TAG_BYTES: usize = 16;

/// A client asks each time, and only its own copy may be used.
const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Gives answers to GET a tag, and no body to whoever has that tag already.
pub(crate) async fn tag(request: Request, next: Next) -> Response {
    // The head of an answer comes without its body, of which no tag could be made.
    if *request.method() != Method::GET {
        return next.run(request).await;
    }
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    let bytes = response.body().size_hint().exact();
    if response.status() != StatusCode::OK || bytes.is_none_or(|bytes| bytes > TAGGED_BYTES_MAX) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = match to_bytes(body, TAGGED_BYTES_MAX as usize).await {
        Ok(body) => body,
        Err(error) => return Problem::internal(&format!("an answer cannot be read: {error}")).into_response(),
    };
    let tag = parts.headers.entry(header::ETAG).or_insert_with(|| tag_of(&body)).clone();
    parts.headers.entry(header::CACHE_CONTROL).or_insert(ASK_EACH_TIME);
    if known.is_some_and(|known| fits(&known, &tag)) {
        return not_modified(parts.headers);
    }
    Response::from_parts(parts, Body::from(body))
}

/// A weak tag: the same answer compressed in another way is the same.
fn tag_of(body: &[u8]) -> HeaderValue {
    let hash = digest::digest(&digest::SHA256, body);
    let text = format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..TAG_BYTES]));
    HeaderValue::try_from(text).expect("letters and digits")
}

/// Whether one of the tags that a client has is this one, compared weakly (RFC 9110, section 13.1.2).
fn fits(known: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(known), Ok(tag)) = (known.to_str(), tag.to_str()) else { return false };
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    known.split(',').any(|known| known.trim() == "*" || bare(known) == bare(tag))
}

fn not_modified(mut headers: HeaderMap) -> Response {
    headers.remove(header::CONTENT_TYPE);
    headers.remove(header::CONTENT_LENGTH);
    (StatusCode::NOT_MODIFIED, headers).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        let tag = tag_of(b"one");
        let text = tag.to_str().expect("letters");
        for (known, expect) in [
            (text.to_owned(), true),
            (text.trim_start_matches("W/").to_owned(), true),
            (format!("\"x\", {text}"), true),
            ("*".to_owned(), true),
            ("\"x\"".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(fits(&HeaderValue::try_from(&known).expect("a header"), &tag), expect, "{known}");
        }
        assert_ne!(tag, tag_of(b"two"));
    }
}
