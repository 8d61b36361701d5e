//! The documentation: the OpenAPI document, and a page that shows it and sends requests.

use axum::http::header;
use axum::response::{IntoResponse, Redirect};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::{docs, openapi};

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(begin)).routes(routes!(page)).routes(routes!(document))
}

/// Go to the documentation.
#[utoipa::path(get, path = "/", tag = "documentation", operation_id = "begin",
    responses((status = 307, description = "The page is /docs", headers(("Location" = String, description = "Where it is")))))]
async fn begin() -> Redirect {
    Redirect::temporary("/docs")
}

/// Show this documentation.
///
/// One page that needs nothing from elsewhere, lists every route and sends requests.
#[utoipa::path(get, path = "/docs", tag = "documentation", operation_id = "show_documentation",
    responses((status = 200, description = "The page", content_type = "text/html", body = String, example = "<!doctype html>")))]
async fn page() -> impl IntoResponse {
    let page = docs::page();
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, &page.policy)];
    (headers, page.html.as_str()).into_response()
}

/// Show the OpenAPI document.
///
/// OpenAPI 3.1, made from the handlers.
#[utoipa::path(get, path = "/openapi.json", tag = "documentation", operation_id = "show_openapi",
    responses((status = 200, description = "The document", content_type = "application/json", body = serde_json::Value,
        example = json!({"openapi": "3.1.0"}))))]
async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi::text())
}
