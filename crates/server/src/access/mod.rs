//! Who asks, and whether they may.
//!
//! Every request passes [`check`]: it comes from where it may come from ([`origin`]), it carries a token that is valid
//! ([`tokens`]), and the rule of its route ([`rules`]) lets the token's role in. What was refused is counted and logged; what a
//! role was refused, and everything that changes something, stands in the audit log.

pub(crate) mod origin;
pub(crate) mod rules;
pub(crate) mod tokens;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use results::service::TokenSecret;
use uuid::Uuid;

use crate::app::App;
use crate::problem::Problem;
use rules::Rule;

pub(crate) use results::service::Role;

/// Whoever a request is from. As an argument of a handler it is what the request was let in as; the rule of the route has been
/// kept before the handler is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    /// What it may do.
    pub(crate) role: Role,
    /// What the audit log calls it: the token's name, or `local` where no token is needed.
    pub(crate) name: String,
    /// The token, where there is one.
    pub(crate) token: Option<Uuid>,
}

impl Actor {
    /// Anybody, on a loopback address, as long as there is no token.
    pub(crate) fn local() -> Self {
        Self { role: Role::Admin, name: "local".to_owned(), token: None }
    }
}

impl<S: Sync> FromRequestParts<S> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let actor = parts.extensions.get::<Self>().cloned();
        actor.ok_or_else(|| Problem::internal("a route was reached past the check of who asks"))
    }
}

/// Lets a request through to its handler, or says why not.
pub(crate) async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admit(&app, &parts).await {
        Ok(None) => next.run(Request::from_parts(parts, body)).await,
        Ok(Some(actor)) => {
            parts.extensions.insert(actor.clone());
            let mut response = next.run(Request::from_parts(parts, body)).await;
            response.extensions_mut().insert(actor);
            response
        }
        Err((problem, actor)) => {
            let mut response = problem.into_response();
            if let Some(actor) = actor {
                response.extensions_mut().insert(actor);
            }
            response
        }
    }
}

/// Who asks, where that matters; with what is refused, who was refused it.
async fn admit(app: &App, request: &Parts) -> Result<Option<Actor>, (Problem, Option<Actor>)> {
    origin::check(&app.authority, request).map_err(|problem| (problem, None))?;
    let path = request.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    let rule = path.map(|path| rules::of(&request.method, path));
    if rule == Some(Some(Rule::Anybody)) {
        return Ok(None);
    }
    let actor = identify(app, request).await.map_err(|problem| (problem, None))?;
    match rule {
        // Nothing is there, or not for that method: the router says so to whoever may ask at all.
        None => Ok(Some(actor)),
        Some(None) if path.is_some_and(|path| !rules::has_method(&request.method, path)) => Ok(Some(actor)),
        Some(Some(Rule::Role(least))) if actor.role >= least => Ok(Some(actor)),
        Some(Some(Rule::Role(least))) => {
            let reason = format!("the token `{}` has the role {}", actor.name, actor.role);
            let problem = Problem::forbidden(reason).with_remedy(format!("ask with a token of the role {least}"));
            Err((problem, Some(actor)))
        }
        Some(_) => Err((Problem::forbidden("the route has no rule, so that nobody may use it"), Some(actor))),
    }
}

/// The token's owner, or anybody where none is needed.
async fn identify(app: &App, request: &Parts) -> Result<Actor, Problem> {
    let known = app.tokens.current(&app.storage).await?;
    if known.is_empty() && app.authority.is_loopback() {
        return Ok(Actor::local());
    }
    let Some(secret) = sent_token(request)? else {
        return Err(challenge(request, "no token came with the request"));
    };
    match known.owner_of(&secret, Timestamp::now()) {
        Some(actor) => Ok(actor),
        None => Err(challenge(request, "the token is unknown, revoked or expired")),
    }
}

/// 401, with what to send. A browser that opens a page is asked for the token as a password.
fn challenge(request: &Parts, reason: &str) -> Problem {
    let accepts = request.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let scheme = if is_safe(&request.method) && accepts.contains("text/html") {
        "Basic realm=\"storelab: any user, a token as password\", charset=\"UTF-8\""
    } else {
        "Bearer realm=\"storelab\""
    };
    Problem::unauthenticated(reason).with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme))
}

/// The token of a request: `Authorization: Bearer TOKEN`; for reading also as the password of `Basic`, which browsers and
/// scrapers can send. A browser sends that by itself, so that it must not be enough to change anything.
fn sent_token(request: &Parts) -> Result<Option<TokenSecret>, Problem> {
    let Some(text) = authorization(&request.headers)? else { return Ok(None) };
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
        return Ok(Some(TokenSecret::sent(rest)));
    }
    if scheme.eq_ignore_ascii_case("basic") && is_safe(&request.method) {
        let password = STANDARD.decode(rest).ok().and_then(|bytes| {
            let text = String::from_utf8(bytes).ok()?;
            text.split_once(':').map(|(_, password)| TokenSecret::sent(password))
        });
        return Ok(password);
    }
    Ok(None)
}

fn authorization(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = given.next() else { return Ok(None) };
    match (value.to_str(), given.next()) {
        (Ok(text), None) => Ok(Some(text)),
        _ => Err(Problem::malformed("the header is given twice, or is not text").with_field("Authorization")),
    }
}

/// Whether a method only reads (RFC 9110, section 9.2.1).
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
