//! Files that belong to a run: flame graphs, and the stacks that they were drawn of.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use results::{ArtifactSummary, KeptArtifact};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::runs;
use crate::app::App;
use crate::extract::{Json, Path};
use crate::paging::Page;
use crate::problem::Problem;

/// A flame graph has a script of its own, by which it is searched and zoomed. It has no origin here, and can fetch nothing.
const POLICY: &str = "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(show))
}

/// A file of a run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Artifact)]
struct ArtifactShown {
    /// Its name.
    #[schema(example = "flamegraph-server.svg")]
    name: String,
    /// What it is.
    #[schema(example = "image/svg+xml")]
    media_type: String,
    /// How large it is.
    #[schema(example = 48_213)]
    bytes: u64,
}

/// List the files of a run.
#[utoipa::path(get, path = "/api/v1/runs/{id}/artifacts", tag = "runs", operation_id = "list_artifacts",
    params(("id" = Uuid, Path, description = "The run's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b")),
    responses((status = 200, description = "All of them, by name", body = Page<ArtifactShown>)))]
async fn list(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Json<Page<ArtifactShown>>, Problem> {
    runs::require(&app, id).await?;
    let found = app.storage.read(move |results| results.artifacts(id)).await?;
    let shown = found.into_iter().map(|artifact| {
        let ArtifactSummary { name, media_type, bytes } = artifact;
        ArtifactShown { name, media_type, bytes }
    });
    Ok(Json(Page::whole(shown.collect())))
}

/// Show a file of a run.
#[utoipa::path(get, path = "/api/v1/runs/{id}/artifacts/{name}", tag = "runs", operation_id = "show_artifact",
    params(("id" = Uuid, Path, description = "The run's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b"),
        ("name" = String, Path, description = "The file's name", example = "flamegraph-server.svg")),
    responses((status = 200, description = "The file", content_type = "application/octet-stream", body = String, example = "<svg/>")))]
async fn show(State(app): State<App>, Path((id, name)): Path<(Uuid, String)>) -> Result<impl IntoResponse, Problem> {
    let asked = name.replace('\0', "");
    let found = app.storage.read(move |results| results.artifact(id, &asked)).await?;
    let Some(KeptArtifact { media_type, bytes }) = found else {
        return Err(Problem::not_found("the run has no such file")
            .with_field("name")
            .with_remedy("GET /api/v1/runs/{id}/artifacts lists them"));
    };
    let headers = [(header::CONTENT_TYPE, media_type), (header::CONTENT_SECURITY_POLICY, POLICY.to_owned())];
    Ok((headers, bytes))
}
