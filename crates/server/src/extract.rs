//! Bodies, paths and queries, read strictly: what is not understood is refused, with the field and the reason.

mod strict;

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::problem::Problem;
use strict::Strict;

/// JSON: as an argument a body that was sent, as a result the body of an answer.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let body = Bytes::from_request(request, state).await.map_err(|error| Problem::malformed(error.body_text()))?;
        read_json(&body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response(),
            Err(error) => Problem::internal(&format!("an answer cannot be written as JSON: {error}")).into_response(),
        }
    }
}

/// The parameters of a path. Something that cannot be the id of anything is the id of nothing: 404.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(read)) => Ok(Self(read)),
            Err(PathRejection::FailedToDeserializePathParams(error)) if error.status().is_client_error() => {
                Err(Problem::not_found("nothing has an id of that form")
                    .with_remedy("ids are UUIDs; list what there is"))
            }
            Err(error) => Err(Problem::internal(&error.body_text())),
        }
    }
}

/// The parameters behind the question mark, each at most once; unknown ones are refused where the type does so.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Reads a body that has been received whole.
pub(crate) fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Problem::malformed(format!("the body is not JSON: {error}")).with_field("body"))?;
    T::deserialize(Strict::json(value)).map_err(|error| {
        let field = error.field().map_or_else(|| "body".to_owned(), str::to_owned);
        Problem::invalid(field, error.to_string())
    })
}

fn read_query<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let mut parameters = serde_json::Map::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        if parameters.insert(name.to_string(), Value::String(value.into_owned())).is_some() {
            return Err(Problem::invalid(name.into_owned(), "the parameter is given twice").with_remedy("give it once"));
        }
    }
    T::deserialize(Strict::text(Value::Object(parameters))).map_err(|error| {
        let field = error.field().map_or_else(|| "query".to_owned(), str::to_owned);
        Problem::invalid(field, error.to_string())
    })
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or_default().trim();
    let is_json = media_type.eq_ignore_ascii_case("application/json")
        || (media_type.len() > "+json".len() && media_type.to_ascii_lowercase().ends_with("+json"));
    if is_json {
        return Ok(());
    }
    let reason =
        if given.is_empty() { "the body has no Content-Type".to_owned() } else { format!("`{given}` is not JSON") };
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason).with_field("Content-Type"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        #[serde(default)]
        inner: Inner,
        rows: Option<u32>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        list: Vec<u8>,
        flag: bool,
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_field() {
        for (body, field) in [
            ("null", Some("body")),
            ("[]", Some("body")),
            ("[\"x\",{},1]", Some("body")),
            ("\"x\"", Some("body")),
            ("{", Some("body")),
            ("{}", Some("name")),
            (r#"{"name": null}"#, Some("name")),
            (r#"{"name": "x", "inner": []}"#, Some("inner")),
            (r#"{"name": "x", "inner": null}"#, Some("inner")),
            (r#"{"name": "x", "inner": {"list": [1, 256]}}"#, Some("inner.list[1]")),
            (r#"{"name": "x", "inner": {"lost": 1}}"#, Some("inner.lost")),
            (r#"{"name": "x", "rows": -9223372036854775808}"#, Some("rows")),
            (r#"{"name": "x", "rows": 1.5}"#, Some("rows")),
            (r#"{"name": "x", "rows": null}"#, None),
            (r#"{"name": "x", "rows": 7, "inner": {"flag": true}}"#, None),
        ] {
            let read = read_json::<Outer>(body.as_bytes());
            match (read, field) {
                (Ok(_), None) => {}
                (Err(problem), Some(field)) => assert_eq!(problem.field(), Some(field), "{body}: {}", problem.reason()),
                (read, _) => panic!("{body}: {read:?}"),
            }
        }
    }

    #[test]
    fn a_query_is_read_from_text() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Filter {
            name: Option<String>,
            limit: Option<u32>,
            valid: Option<bool>,
        }
        let read: Filter = read_query("name=a%20b&limit=7&valid=true").expect("well-formed");
        assert_eq!((read.name.as_deref(), read.limit, read.valid), (Some("a b"), Some(7), Some(true)));
        for (text, field) in [
            ("limit=x", "limit"),
            ("limit=-1", "limit"),
            ("limit=", "limit"),
            ("limit=1&limit=2", "limit"),
            ("valid=maybe", "valid"),
            ("nmae=x", "nmae"),
        ] {
            let problem = read_query::<Filter>(text).expect_err(text);
            assert_eq!(problem.field(), Some(field), "{text}");
            assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
        }
    }
}
