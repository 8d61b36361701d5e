//! Whether the service lives, and whether it can do its work.

use std::time::{Duration, Instant};

use axum::extract::State;
use jiff::Timestamp;
use results::Access;
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::Json;
use crate::problem::Problem;

/// How old an answer about readiness may be: far less than the time between two probes, and more than a crowd of strangers needs
/// to keep the results store busy.
const READINESS_AGE_MAX: Duration = Duration::from_millis(500);

/// How long the results store may take to answer: less than probes wait.
const READINESS_TIME_MAX: Duration = Duration::from_secs(2);

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

/// Whether it can do its work.
#[derive(Debug, Serialize, ToSchema)]
struct Ready {
    /// `ready`.
    #[schema(example = "ready")]
    status: &'static str,
}

/// Whether the results store answered when it was last asked for those who have no token: however many they are, it is asked once
/// in a while.
#[derive(Debug, Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, bool)>>);

/// Show how the service is.
///
/// Asks the results store, so that it fails where that does not answer. `GET /health/ready` says as much to those without a token,
/// and no more.
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
/// Needs no token, and says nothing else: why it cannot is in `GET /health` and in the log. Asks the results store, at most twice a
/// second. While this fails, requests should go elsewhere.
#[utoipa::path(get, path = "/health/ready", tag = "health", operation_id = "show_readiness",
    responses((status = 200, description = "It can do its work", body = Ready)))]
async fn ready(State(app): State<App>) -> Result<Json<Ready>, Problem> {
    // Whoever comes while the store is being asked waits for that answer.
    let mut known = app.readiness.0.lock().await;
    let is_ready = match *known {
        Some((asked_at, is_ready)) if asked_at.elapsed() < READINESS_AGE_MAX => is_ready,
        _ => {
            let is_ready = answers(&app).await;
            *known = Some((Instant::now(), is_ready));
            is_ready
        }
    };
    if is_ready { Ok(Json(Ready { status: "ready" })) } else { Err(Problem::unavailable("the service is not ready")) }
}

/// Whether the results store answers in time. Where it does not, the log says why.
async fn answers(app: &App) -> bool {
    match tokio::time::timeout(READINESS_TIME_MAX, look(app)).await {
        Ok(Ok(_)) => true,
        Ok(Err(problem)) => {
            tracing::warn!("the service is not ready: {}", problem.reason());
            false
        }
        Err(_) => {
            tracing::warn!("the service is not ready: the results store took longer than {READINESS_TIME_MAX:?}");
            false
        }
    }
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
