//! Where load may go: hosts and ports beyond loopback, allowed by administrators.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use results::service::{AllowedTarget, NewTarget};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::access::Actor;
use crate::app::App;
use crate::audit::Subject;
use crate::extract::{Json, Path};
use crate::paging::Page;
use crate::policy::{self, Refusal};
use crate::problem::Problem;

/// Letters of a note.
const NOTE_LETTERS_MAX: usize = 500;

/// How long a name may take to be resolved.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(3);

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list, allow)).routes(routes!(forbid))
}

/// A server that load is to be allowed to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TargetRequest {
    /// Its name or address, in its usual form.
    #[schema(example = "127.0.0.1", min_length = 1, max_length = 253)]
    host: String,
    /// Its port.
    #[schema(example = 5432, minimum = 1, maximum = 65535)]
    port: u16,
    /// Why it is allowed.
    #[serde(default)]
    #[schema(example = "the staging database", max_length = 500)]
    note: String,
}

/// A server that load is allowed to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Target)]
struct TargetShown {
    /// Its id.
    #[schema(example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")]
    id: Uuid,
    /// Its name or address.
    #[schema(example = "127.0.0.1")]
    host: String,
    /// Its port.
    #[schema(example = 5432)]
    port: u16,
    /// What the name meant when it was allowed: load goes to these addresses and no others.
    #[schema(value_type = Vec<String>, example = json!(["127.0.0.1"]))]
    addresses: Vec<IpAddr>,
    /// Why it is allowed.
    #[schema(example = "the staging database")]
    note: String,
    /// When it was allowed.
    #[schema(value_type = String, format = DateTime, example = "2026-01-01T00:00:00Z")]
    created_at: Timestamp,
    /// Who allowed it.
    #[schema(example = "ann")]
    created_by: String,
}

/// List the servers that load is allowed to.
///
/// Beside these there is loopback, which is always allowed.
#[utoipa::path(get, path = "/api/v1/targets", tag = "targets", operation_id = "list_targets",
    responses((status = 200, description = "All of them, the newest first", body = Page<TargetShown>)))]
async fn list(State(app): State<App>) -> Result<Json<Page<TargetShown>>, Problem> {
    let targets = app.storage.read(results::Results::targets).await?;
    Ok(Json(Page::whole(targets.into_iter().map(shown).collect())))
}

/// Allow load to a server.
///
/// Its name is resolved now, and load goes to the addresses of now alone. Allowing it again takes the addresses and the note anew.
#[utoipa::path(post, path = "/api/v1/targets", tag = "targets", operation_id = "allow_target", request_body = TargetRequest,
    responses((status = 201, description = "It is allowed", body = TargetShown,
        headers(("Location" = String, description = "Its path")))))]
async fn allow(
    State(app): State<App>,
    actor: Actor,
    subject: Subject,
    Json(request): Json<TargetRequest>,
) -> Result<impl IntoResponse, Problem> {
    if request.note.chars().count() > NOTE_LETTERS_MAX || request.note.contains('\0') {
        let reason = format!("it must have at most {NOTE_LETTERS_MAX} letters, and no zeroes");
        return Err(Problem::invalid("note", reason));
    }
    policy::check_host(&request.host).map_err(refused)?;
    let addresses = resolve(&request.host, request.port).await?;
    let allowed = policy::AllowedTarget::new(&request.host, request.port, addresses).map_err(refused)?;
    let new = NewTarget {
        host: allowed.host().to_owned(),
        port: allowed.port(),
        addresses: allowed.addresses().to_vec(),
        note: request.note,
        created_by: actor.name,
    };
    subject.target(format_args!("{}:{}", new.host, new.port));
    let made = app.storage.write(move |results| results.allow_target(&new, Timestamp::now())).await?;
    let made = made.ok_or_else(|| Problem::conflict("there are too many targets").with_remedy("delete some first"))?;
    subject.object(made.id);
    app.policy().await?;
    let location = format!("/api/v1/targets/{}", made.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(shown(made))))
}

/// Allow load to a server no longer.
///
/// Runs that go on are not stopped; later ones are refused.
#[utoipa::path(delete, path = "/api/v1/targets/{id}", tag = "targets", operation_id = "forbid_target",
    params(("id" = Uuid, Path, description = "The target's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")),
    responses((status = 204, description = "It is allowed no longer")))]
async fn forbid(State(app): State<App>, subject: Subject, Path(id): Path<Uuid>) -> Result<StatusCode, Problem> {
    let gone = app.storage.write(move |results| results.forbid_target(id)).await?;
    let gone = gone.ok_or_else(|| Problem::not_found(format!("there is no target {id}")).with_field("id"))?;
    subject.target(format_args!("{}:{}", gone.host, gone.port));
    app.policy().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn refused(refusal: Refusal) -> Problem {
    Problem::invalid("host", refusal.reason).with_remedy(refusal.remedy)
}

/// What a name means now.
async fn resolve(host: &str, port: u16) -> Result<Vec<IpAddr>, Problem> {
    let looked_up = tokio::time::timeout(RESOLVE_TIME_MAX, tokio::net::lookup_host((host, port))).await;
    let unknown = |reason: String| {
        Problem::invalid("host", reason).with_remedy("name a host that the service can resolve, or give its address")
    };
    match looked_up {
        Ok(Ok(found)) => {
            let mut addresses: Vec<_> = found.map(|address| address.ip()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            Ok(addresses)
        }
        Ok(Err(error)) => Err(unknown(format!("`{host}` cannot be resolved: {error}"))),
        Err(_) => Err(unknown(format!("`{host}` was not resolved within {RESOLVE_TIME_MAX:?}"))),
    }
}

fn shown(target: AllowedTarget) -> TargetShown {
    let AllowedTarget { id, host, port, addresses, note, created_at, created_by } = target;
    TargetShown { id, host, port, addresses, note, created_at, created_by }
}
