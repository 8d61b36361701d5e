//! The kill switch.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::extract::Json;
use crate::problem::Problem;

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(stop))
}

/// What was stopped.
#[derive(Debug, Serialize, ToSchema)]
struct Stopped {
    /// How many runs of this service went on. Those of other processes on the same store end within a second as well.
    #[schema(example = 1)]
    running: usize,
    /// The runs that waited.
    #[schema(example = json!(["0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a"]))]
    dequeued: Vec<Uuid>,
}

/// Stop everything.
///
/// The load of all runs ends within a second, and nothing that waited begins. What was measured is kept. New runs may be asked for at
/// once.
#[utoipa::path(post, path = "/api/v1/stop", tag = "control", operation_id = "stop_everything",
    responses((status = 200, description = "It is stopped", body = Stopped)))]
async fn stop(State(app): State<App>) -> Result<Json<Stopped>, Problem> {
    // Load first: it ends even where the store does not answer or has no room.
    let running = app.executor.cancel_all();
    let dequeued = app.storage.write(results::Results::cancel_all).await?;
    // What was claimed in between.
    app.executor.cancel_all();
    Ok(Json(Stopped { running, dequeued }))
}
