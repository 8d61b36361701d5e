//! What the service answers where it cannot do what it was asked: problem documents of RFC 9457, which also say which field is
//! wrong, why, and what to do.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use store::ErrorKind;
use utoipa::ToSchema;

/// The media type of a problem (RFC 9457, section 3).
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Where the documentation of a kind of problem stands, before its name.
const TYPE_PREFIX: &str = "/docs#problem-";

/// Why a request was not carried out. Made by [`new`](Self::new) or a constructor of a kind, refined by `with_…`.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    document: Document,
    headers: HeaderMap,
}

/// A problem as it is written (RFC 9457), with three members of ours: `field`, `reason` and `remedy`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document {
    /// A reference to the documentation of this kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "/docs#problem-invalid")]
    pub(crate) kind: String,
    /// The kind in words, the same for all problems of a kind.
    #[schema(example = "The request cannot work as it was written")]
    pub(crate) title: &'static str,
    /// The status of the answer.
    #[schema(example = 422)]
    pub(crate) status: u16,
    /// What happened this time.
    #[schema(example = "`config.rows` is 0")]
    pub(crate) detail: String,
    /// The path that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/api/v1/experiments")]
    pub(crate) instance: Option<String>,
    /// The name of the kind, for programs.
    #[schema(example = "invalid")]
    pub(crate) code: &'static str,
    /// The field of the body, the parameter or the header that is wrong, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "config.rows")]
    pub(crate) field: Option<Cow<'static, str>>,
    /// Why it cannot be done.
    #[schema(example = "there must be at least one row")]
    pub(crate) reason: String,
    /// What to do about it.
    #[schema(example = "give a number from 1 to 100000000")]
    pub(crate) remedy: Cow<'static, str>,
    /// The request's id, as in the header `X-Request-Id` and in the service's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")]
    pub(crate) request_id: Option<String>,
}

/// A kind of problem: its status, its name for programs, its title, and a remedy where nothing better is known.
pub(crate) struct Kind {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
    pub(crate) remedy: &'static str,
}

/// Every kind of problem. The documentation lists them from here.
pub(crate) static KINDS: &[Kind] = &[
    kind(
        StatusCode::BAD_REQUEST,
        "malformed",
        "The request cannot be understood",
        "send a request as /docs describes it",
    ),
    kind(
        StatusCode::UNAUTHORIZED,
        "unauthenticated",
        "The request needs a valid token",
        "send `Authorization: Bearer TOKEN`; `storelab token create` makes one",
    ),
    kind(StatusCode::FORBIDDEN, "forbidden", "The request is not allowed", "ask with a token whose role allows it"),
    kind(StatusCode::NOT_FOUND, "not_found", "There is no such thing", "list what there is, and ask for one of these"),
    kind(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "The path does not know that method",
        "use one of the methods in the header Allow",
    ),
    kind(
        StatusCode::NOT_ACCEPTABLE,
        "not_acceptable",
        "The answer does not exist in a form that is accepted",
        "accept application/json",
    ),
    kind(StatusCode::REQUEST_TIMEOUT, "timed_out", "The request did not arrive in time", "send the whole body at once"),
    kind(
        StatusCode::CONFLICT,
        "conflict",
        "The request does not fit the present state",
        "read the present state, and decide again",
    ),
    kind(
        StatusCode::PRECONDITION_FAILED,
        "precondition_failed",
        "The object has changed since it was read",
        "read it again, and decide again",
    ),
    kind(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large", "send at most 1 MiB"),
    kind(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "The body has an unknown media type",
        "send JSON with `Content-Type: application/json`",
    ),
    kind(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid",
        "The request cannot work as it was written",
        "correct the field, and send it again",
    ),
    kind(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many",
        "There is too much to do already",
        "wait as long as the header Retry-After says, and send it again",
    ),
    kind(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "The service has failed",
        "report it together with the request id; the service's log has the details",
    ),
    kind(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "Something that the request needs does not answer",
        "wait until it answers, and send the request again",
    ),
    kind(
        StatusCode::INSUFFICIENT_STORAGE,
        "storage_full",
        "There is no room to keep it",
        "free space where the results are kept, or delete old runs",
    ),
];

const fn kind(status: StatusCode, code: &'static str, title: &'static str, remedy: &'static str) -> Kind {
    Kind { status, code, title, remedy }
}

impl Problem {
    /// A problem of the kind that a status has. The reason says why: lower case, no full stop, never a secret.
    pub(crate) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        let found = KINDS.iter().find(|kind| kind.status == status);
        // A status without a kind is one of the client's requests that a library refused: what it means is in the reason.
        let kind = found.unwrap_or(&KINDS[0]);
        let reason = reason.into();
        let document = Document {
            kind: format!("{TYPE_PREFIX}{}", kind.code),
            title: kind.title,
            status: status.as_u16(),
            detail: reason.clone(),
            instance: None,
            code: kind.code,
            field: None,
            reason,
            remedy: Cow::Borrowed(kind.remedy),
            request_id: None,
        };
        Self(Box::new(Parts { status, document, headers: HeaderMap::new() }))
    }

    /// 400: the request cannot be understood.
    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    /// 401: no valid token came with it.
    pub(crate) fn unauthenticated(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, reason)
    }

    /// 403: whoever asks may not.
    pub(crate) fn forbidden(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, reason)
    }

    /// 404: there is no such thing.
    pub(crate) fn not_found(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, reason)
    }

    /// 409: it does not fit the present state.
    pub(crate) fn conflict(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, reason)
    }

    /// 422: a field has a value that cannot work.
    pub(crate) fn invalid(field: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, reason).with_field(field)
    }

    /// 429: there is too much to do already. Says when to come again.
    pub(crate) fn too_many(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, reason).with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// 503: something that is needed does not answer. Says when to come again.
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// 500: a bug, or something that only the operator can mend. The details go to the log, not to the client.
    pub(crate) fn internal(what: &(impl std::fmt::Display + ?Sized)) -> Self {
        tracing::error!("{what}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the service has failed; its log says how")
    }

    /// The same about a field of the body (`config.rows`), a parameter or a header.
    #[must_use]
    pub(crate) fn with_field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        let field = field.into();
        self.0.document.detail = format!("`{field}`: {}", self.0.document.reason);
        self.0.document.field = Some(field);
        self
    }

    /// The same with what to do about it.
    #[must_use]
    pub(crate) fn with_remedy(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.0.document.remedy = remedy.into();
        self
    }

    /// The same with the nearest of the names that there are as what to do about it, or all of them where none is near.
    #[must_use]
    pub(crate) fn with_names<'a>(self, given: &str, names: impl IntoIterator<Item = &'a str> + Clone) -> Self {
        match store::did_you_mean(given, names.clone()) {
            Some(near) => self.with_remedy(format!("did you mean `{near}`?")),
            None => self.with_remedy(format!("there are {}", names.into_iter().collect::<Vec<_>>().join(", "))),
        }
    }

    /// The same with a header of the answer.
    #[must_use]
    pub(crate) fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The same about a path and a request, as far as they are not told yet.
    #[must_use]
    pub(crate) fn about(mut self, instance: &str, request_id: &str) -> Self {
        self.0.document.instance.get_or_insert_with(|| instance.to_owned());
        self.0.document.request_id.get_or_insert_with(|| request_id.to_owned());
        self
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The name of its kind, for programs and the audit log.
    pub(crate) fn code(&self) -> &'static str {
        self.0.document.code
    }

    /// The field that is wrong, where it is one.
    pub(crate) fn field(&self) -> Option<&str> {
        self.0.document.field.as_deref()
    }

    /// Why.
    pub(crate) fn reason(&self) -> &str {
        &self.0.document.reason
    }
}

impl IntoResponse for Problem {
    /// The problem also stays with the answer as it is, so that what is further out can complete and count it.
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.0.document).expect("a problem is plain text and a number");
        let media_type = [(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))];
        let mut response = (self.0.status, self.0.headers.clone(), media_type, body).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<results::Error> for Problem {
    /// Who must act decides the status; what only the operator can mend is told to the log alone.
    fn from(error: results::Error) -> Self {
        use results::Error as Kept;
        match &error {
            Kept::StorageFull { .. } => Self::new(StatusCode::INSUFFICIENT_STORAGE, "the results store is full"),
            Kept::Locked { .. } => Self::unavailable("the results store is locked by another process"),
            Kept::ReadOnly { .. } => Self::unavailable("the results store can only be read at present")
                .with_remedy("let the operator make it writable"),
            Kept::NotFound { near, .. } => {
                let problem = Self::not_found(error.to_string());
                match near {
                    Some(near) => problem.with_remedy(format!("did you mean `{near}`?")),
                    None => problem,
                }
            }
            Kept::Ambiguous { .. } => Self::conflict(error.to_string()).with_remedy("give the whole id"),
            Kept::NoOperation { known, .. } => {
                Self::invalid("operation", error.to_string()).with_remedy(format!("they have {}", known.join(", ")))
            }
            Kept::StillRunning { .. } => {
                Self::conflict(error.to_string()).with_remedy("cancel it first, or wait for its end")
            }
            _ => Self::internal(&chain(&error)),
        }
    }
}

impl From<store::Error> for Problem {
    /// Plans and targets speak of fields, so what is wrong with them keeps its text; hints that name command-line flags do not.
    fn from(error: store::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Config | ErrorKind::Unsupported => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Unreachable | ErrorKind::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Conflict | ErrorKind::Rejected => StatusCode::CONFLICT,
            ErrorKind::WrongResult | ErrorKind::Bug => return Self::internal(&chain(&error)),
        };
        let problem = Self::new(status, error.to_string());
        match error.hint().filter(|hint| !hint.contains("--")) {
            Some(hint) => problem.with_remedy(hint.to_owned()),
            None => problem,
        }
    }
}

/// An error with what lies below it, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(source) = below {
        text.push_str(": ");
        text.push_str(&source.to_string());
        below = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_status_and_code() {
        for (place, kind) in KINDS.iter().enumerate() {
            assert!(kind.status.is_client_error() || kind.status.is_server_error(), "{}", kind.code);
            let earlier = &KINDS[..place];
            assert!(
                !earlier.iter().any(|other| other.status == kind.status || other.code == kind.code),
                "{}",
                kind.code
            );
            assert_eq!(Problem::new(kind.status, "x").code(), kind.code);
        }
    }

    #[test]
    fn a_target_that_does_not_answer_is_503_and_no_flag_is_named() {
        let error =
            store::Error::unreachable("nobody answers").with_hint("start it, or give another with --store PATH");
        let problem = Problem::from(error);
        assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(!problem.0.document.remedy.contains("--"), "{}", problem.0.document.remedy);
    }
}
