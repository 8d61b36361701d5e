//! The audit log, for administrators.

use axum::extract::State;
use jiff::Timestamp;
use results::service::{AuditFilter, AuditRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::extract::{Json, Query};
use crate::paging::{Cursor, Limit, Page};
use crate::problem::Problem;

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list))
}

/// Which entries.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Of that actor alone: the name of a token, `local` or `service`.
    #[param(example = "ci")]
    actor: Option<String>,
    /// With that outcome alone: `ok`, or the code of a problem.
    #[param(example = "ok")]
    outcome: Option<String>,
    /// Against that target alone, as the entry has it.
    #[param(example = "postgres://127.0.0.1:5432/lab")]
    target: Option<String>,
    /// To the object of that id alone.
    #[param(example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")]
    object: Option<String>,
    /// From that time on.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-01T00:00:00Z")]
    since: Option<Timestamp>,
    /// Before that time.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-02-01T00:00:00Z")]
    until: Option<Timestamp>,
    /// Entries of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50, example = 20)]
    limit: Option<Limit>,
    /// `next` of the page before.
    #[param(value_type = Option<String>, example = "MTA1")]
    cursor: Option<Cursor>,
}

/// Something that was done, or tried.
#[derive(Debug, Serialize, ToSchema)]
struct AuditShown {
    /// Grows from entry to entry.
    #[schema(example = 105)]
    sequence: i64,
    /// When it was over.
    #[schema(value_type = String, format = DateTime, example = "2026-01-01T00:00:00Z")]
    at: Timestamp,
    /// Who: the name of a token, `local` without one, `service` for what the service did by itself.
    #[schema(example = "ci")]
    actor: String,
    /// What they might do.
    #[schema(example = "operator")]
    role: String,
    /// The id of their token; null without one.
    #[schema(example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")]
    token: Option<Uuid>,
    /// What they did: the method and the route.
    #[schema(example = "POST /api/v1/experiments/{id}/run")]
    action: String,
    /// The id of what they did it to; null where there is none.
    #[schema(example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")]
    object: Option<String>,
    /// The target of the load, where it is about one, without its password.
    #[schema(example = "postgres://127.0.0.1:5432/lab")]
    target: Option<String>,
    /// `ok`, or the code of the problem.
    #[schema(example = "ok")]
    outcome: String,
    /// The address that it was asked from.
    #[schema(example = "127.0.0.1")]
    address: String,
    /// The id of the request.
    #[schema(example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b")]
    request_id: String,
}

/// List what was done.
///
/// Every request that changes something, from whoever is known, with what came of it; the newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", operation_id = "list_audit", params(Asked),
    responses((status = 200, description = "A page of it", body = Page<AuditShown>)))]
async fn list(State(app): State<App>, Query(asked): Query<Asked>) -> Result<Json<Page<AuditShown>>, Problem> {
    let limit = asked.limit.unwrap_or_default();
    let before = asked.cursor.map(|cursor| cursor.held().parse::<i64>()).transpose().map_err(|_| Cursor::refused())?;
    let filter = AuditFilter {
        actor: plain("actor", asked.actor)?,
        outcome: plain("outcome", asked.outcome)?,
        target: plain("target", asked.target)?,
        object: plain("object", asked.object)?,
        since: asked.since,
        until: asked.until,
    };
    let found = app.storage.read(move |results| results.audit(&filter, before, limit.and_one())).await?;
    Ok(Json(Page::cut(found, limit, |record| Cursor::of(record.sequence)).map(shown)))
}

/// A text that an entry can have.
fn plain(field: &'static str, given: Option<String>) -> Result<Option<String>, Problem> {
    match given {
        Some(text) if text.chars().any(char::is_control) => {
            Err(Problem::invalid(field, "it has a control character").with_remedy("leave that out"))
        }
        given => Ok(given),
    }
}

fn shown(record: AuditRecord) -> AuditShown {
    let AuditRecord { sequence, entry } = record;
    AuditShown {
        sequence,
        at: entry.at,
        actor: entry.actor,
        role: entry.role,
        token: entry.token,
        action: entry.action,
        object: entry.object,
        target: entry.target,
        outcome: entry.outcome,
        address: entry.address,
        request_id: entry.request,
    }
}
