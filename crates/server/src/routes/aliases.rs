//! Paths by which others describe this service, over the handlers of the paths that are ours.

use axum::routing::{get, post};
use utoipa_axum::router::OpenApiRouter;

use super::experiments;
use crate::app::App;

/// The same handlers under the other paths. They are not documented a second time.
pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .route("/api/v1/experiments/", post(experiments::create).get(experiments::list))
        .route("/api/v1/experiments/{id}/", get(experiments::show).delete(experiments::delete))
        .route("/api/v1/experiments/{id}/run/", post(experiments::run))
}
