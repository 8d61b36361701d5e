//! The page of a run: one HTML file that needs nothing else.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::runs;
use crate::app::App;
use crate::extract::Path;
use crate::problem::Problem;

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(show))
}

/// Show the page of a run.
///
/// It asks nobody for anything, and its policy lets nothing in it do so: its own scripts and styles run, by their hashes, and no
/// others.
#[utoipa::path(get, path = "/api/v1/runs/{id}/report", tag = "reports", operation_id = "show_report",
    params(("id" = Uuid, Path, description = "The run's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b")),
    responses((status = 200, description = "The page", content_type = "text/html", body = String, example = "<!doctype html>")))]
async fn show(State(app): State<App>, Path(id): Path<Uuid>) -> Result<impl IntoResponse, Problem> {
    runs::require(&app, id).await?;
    let page = app.storage.read(move |results| results.report(id)).await?;
    Ok(html(page))
}

/// A page of ours with the policy that it needs.
pub(super) fn html(page: String) -> impl IntoResponse {
    let policy = policy(&page);
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()), (header::CONTENT_SECURITY_POLICY, policy)], page)
}

/// Nothing is fetched, nothing is sent, and of scripts those alone run that are in the page as it was made. Charts have
/// attributes of style, which no hash can name, so styles within the page are let be; they can fetch nothing.
fn policy(page: &str) -> String {
    let scripts: Vec<_> = inline(page, "script").map(hash).collect();
    let scripts = if scripts.is_empty() { "'none'".to_owned() } else { scripts.join(" ") };
    format!(
        "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// What stands within each element of a name that has no address of its own.
fn inline<'a>(page: &'a str, element: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{element}"), format!("</{element}>"));
    let mut rest = page;
    std::iter::from_fn(move || {
        let start = rest.find(&open)?;
        let within = start + rest[start..].find('>')? + 1;
        let end = within + rest[within..].find(&close)?;
        let found = &rest[within..end];
        rest = &rest[end + close.len()..];
        Some(found)
    })
}

fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_the_page_run_and_no_others() {
        let page = "<html><script>let a = 1;</script><p>x</p><script type=\"module\">b()</script></html>";
        assert_eq!(inline(page, "script").collect::<Vec<_>>(), ["let a = 1;", "b()"]);
        let policy = policy(page);
        assert!(policy.contains(&hash("let a = 1;")) && policy.contains(&hash("b()")), "{policy}");
        assert!(!policy.contains("script-src 'unsafe"), "{policy}");
        assert!(super::policy("<p>").contains("script-src 'none'"));
    }
}
