//! Writes down who changed what, or tried to: every request with an unsafe method from somebody who is known.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use results::service::AuditEntry;

use crate::access::{self, Actor};
use crate::app::App;
use crate::envelope::RequestId;
use crate::http::Peer;
use crate::problem::Problem;

/// The outcome of what was done.
pub(crate) const OK: &str = "ok";

/// Letters of what an entry says a request was about: ids have 36, routes and targets some more. What a client made up is cut.
const TEXT_LETTERS_MAX: usize = 300;

/// What a request is about, told by its handler as it finds out. Without a word of it, it is about the path's id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject(Arc<Mutex<Told>>);

#[derive(Debug, Clone, Default)]
struct Told {
    object: Option<String>,
    target: Option<String>,
}

impl Subject {
    /// The id of what was made or changed.
    #[expect(clippy::needless_pass_by_value, reason = "ids are copied and texts made on the spot")]
    pub(crate) fn object(&self, id: impl ToString) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).object = Some(id.to_string());
    }

    /// The target that load is to go to; what is given shows no password.
    #[expect(clippy::needless_pass_by_value, reason = "ids are copied and texts made on the spot")]
    pub(crate) fn target(&self, target: impl ToString) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).target = Some(target.to_string());
    }

    fn told(&self) -> Told {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S: Sync> FromRequestParts<S> for Subject {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Lets a request through, and writes down what came of it before whoever asked is told.
pub(crate) async fn log(
    State(app): State<App>,
    parameters: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    if access::is_safe(request.method()) {
        return next.run(request).await;
    }
    let subject = Subject::default();
    if let Some((_, id)) = parameters.as_ref().ok().and_then(|parameters| parameters.iter().next()) {
        subject.object(id);
    }
    let path = request.extensions().get::<MatchedPath>().map_or(request.uri().path(), MatchedPath::as_str);
    let action = format!("{} {path}", request.method());
    let address = request.extensions().get::<Peer>().map_or_else(String::new, |Peer(peer)| peer.ip().to_string());
    let id = request.extensions().get::<RequestId>().map_or_else(String::new, |RequestId(id)| id.clone());
    request.extensions_mut().insert(subject.clone());
    let response = next.run(request).await;
    // Who is not known is in the counts: what anybody can send must not fill the disk.
    let Some(actor) = response.extensions().get::<Actor>() else { return response };
    let told = subject.told();
    let entry = AuditEntry {
        at: Timestamp::now(),
        actor: actor.name.clone(),
        role: actor.role.name().to_owned(),
        token: actor.token,
        action: plain(&action),
        object: told.object.as_deref().map(plain),
        target: told.target.as_deref().map(plain),
        outcome: outcome(&response),
        address,
        request: id,
    };
    write(&app, entry).await;
    response
}

/// Adds an entry; one that cannot be kept stands in the service's log.
pub(crate) async fn write(app: &App, entry: AuditEntry) {
    let kept = entry.clone();
    if let Err(problem) = app.storage.write(move |results| results.append_audit(&kept)).await {
        tracing::error!("the audit log lacks an entry ({}): {entry:?}", problem.reason());
    }
}

/// A text of a client's, as much of it as is worth keeping.
fn plain(text: &str) -> String {
    let shown = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
    text.chars().take(TEXT_LETTERS_MAX).map(shown).collect()
}

fn outcome(response: &Response) -> String {
    match response.extensions().get::<Problem>() {
        Some(problem) => problem.code().to_owned(),
        None if response.status().is_success() => OK.to_owned(),
        None => response.status().as_str().to_owned(),
    }
}
