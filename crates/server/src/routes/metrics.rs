//! What the service counts of itself, for Prometheus.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::metrics::{Form, RUNS_RUNNING, RUNS_WAITING};

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(show))
}

/// Show the service's metrics.
///
/// The text format of Prometheus, version 0.0.4, or `OpenMetrics` 1.0 where that is accepted, which has exemplars where the service
/// makes traces. Names begin with `storelab_`, units are seconds and bytes. A run that goes on has series of its own, which end with it.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "show_metrics",
    responses((status = 200, description = "All series", content(
        (String = "text/plain", example = "# HELP storelab_build_info 1, with the version of Storelab that runs.\n"),
        (String = "application/openmetrics-text", example = "# TYPE storelab_build_info gauge\n")))))]
async fn show(State(app): State<App>, headers: HeaderMap) -> impl IntoResponse {
    // A store that is away is seen elsewhere: the rest is worth scraping all the same.
    if let Ok((waiting, running)) = app.storage.read(results::Results::queue_lengths).await {
        app.metrics.set(&RUNS_WAITING, &[], waiting as f64);
        app.metrics.set(&RUNS_RUNNING, &[], running as f64);
    }
    let form = Form::wanted(&headers);
    ([(header::CONTENT_TYPE, form.media_type()), (header::VARY, "Accept")], app.metrics.page(form))
}
