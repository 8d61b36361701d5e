//! Whether the service lives, and whether it can do its work.

use axum::extract::State;
use jiff::Timestamp;
use results::Access;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::Json;
use crate::problem::Problem;

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(show)).routes(routes!(live)).routes(routes!(ready))
}

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok`, or `read_only` while nothing can be kept, as on a full disk.
    #[schema(example = "ok")]
    status: &'static str,
    /// The version of Storelab.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// When it started.
    #[schema(value_type = String, format = DateTime, example = "2026-01-01T00:00:00Z")]
    started_at: Timestamp,
    /// Whether results can be kept at present.
    #[schema(example = true)]
    is_writable: bool,
}

/// Whether it lives.
#[derive(Debug, Serialize, ToSchema)]
struct Alive {
    /// `alive`.
    #[schema(example = "alive")]
    status: &'static str,
}

/// Show how the service is.
///
/// Asks the results store, so that it fails where that does not answer.
#[utoipa::path(get, path = "/health", tag = "health", operation_id = "show_health",
    responses((status = 200, description = "It can do its work", body = Health)))]
async fn show(State(app): State<App>) -> Result<Json<Health>, Problem> {
    look(&app).await.map(Json)
}

/// Say whether the service lives.
///
/// Needs no token and asks nothing else, so that whoever restarts it does so only where that helps.
#[utoipa::path(get, path = "/health/live", tag = "health", operation_id = "show_liveness",
    responses((status = 200, description = "It lives", body = Alive)))]
async fn live() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

/// Say whether the service can do its work.
///
/// Asks the results store. While this fails, requests should go elsewhere.
#[utoipa::path(get, path = "/health/ready", tag = "health", operation_id = "show_readiness",
    responses((status = 200, description = "It can do its work", body = Health)))]
async fn ready(State(app): State<App>) -> Result<Json<Health>, Problem> {
    look(&app).await.map(Json)
}

async fn look(app: &App) -> Result<Health, Problem> {
    let access = app
        .storage
        .read(|results| {
            // A question that every store can answer, so that one that is away is found out.
            results.runs(1)?;
            Ok(results.access())
        })
        .await?;
    let is_writable = access == Access::ReadWrite;
    Ok(Health {
        status: if is_writable { "ok" } else { "read_only" },
        version: env!("CARGO_PKG_VERSION"),
        started_at: app.started_at,
        is_writable,
    })
}
