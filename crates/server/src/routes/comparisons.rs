//! Whether runs are faster or slower than others.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use experiment::{CompareOptions, Comparison, Noise, RunData, SideData, Subject, comparison_markdown};
use results::Results;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::reports;
use crate::app::App;
use crate::config::in_fields;
use crate::extract::Json;
use crate::problem::Problem;

/// Runs of all sides together: each is read whole.
const RUNS_MAX: usize = 100;

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(compare))
}

/// Runs that are to be compared.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ComparisonRequest {
    /// The sides, the baseline first: a run each, or a list of runs of the same plan.
    #[schema(value_type = Vec<serde_json::Value>, min_items = 2,
        example = json!(["0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b", "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3c"]))]
    runs: Vec<SideRequest>,
    /// Whether runs that did not do the same are compared all the same.
    #[serde(default)]
    #[schema(example = false)]
    force: bool,
    /// By which share identical runs differ on this host; what was measured there, or is usual, where it is not given.
    #[serde(default)]
    #[schema(example = 0.05, minimum = 0, maximum = 1)]
    noise: Option<f64>,
}

/// One side.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum SideRequest {
    One(Uuid),
    Several(Vec<Uuid>),
}

/// In which form the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Markdown,
    Html,
}

/// Compare runs.
///
/// The record `storelab.comparison/1`: what changed, by how much, and how sure that is. As a page (`text/html`) or a summary
/// (`text/markdown`) where the request accepts that.
#[utoipa::path(post, path = "/api/v1/comparisons", tag = "comparisons", operation_id = "compare_runs",
    request_body = ComparisonRequest,
    responses((status = 200, description = "The comparison", body = Object,
        example = json!({"schema": "storelab.comparison/1", "sides": [], "metrics": []}))))]
async fn compare(
    State(app): State<App>,
    headers: HeaderMap,
    Json(request): Json<ComparisonRequest>,
) -> Result<Response, Problem> {
    let form = form(&headers)?;
    let ComparisonRequest { runs, force, noise } = request;
    if noise.is_some_and(|noise| !(0.0..=1.0).contains(&noise)) {
        return Err(Problem::invalid("noise", "it is no share").with_remedy("give a number from 0 to 1"));
    }
    let sides: Vec<Vec<Uuid>> = runs
        .into_iter()
        .map(|side| match side {
            SideRequest::One(run) => vec![run],
            SideRequest::Several(runs) => runs,
        })
        .collect();
    let count: usize = sides.iter().map(Vec::len).sum();
    if count > RUNS_MAX {
        return Err(Problem::invalid("runs", format!("{count} runs are too many"))
            .with_remedy(format!("give at most {RUNS_MAX}")));
    }
    let compared = app.storage.read(move |results| judged(results, &sides, force, noise, form)).await?;
    let (comparison, page) = compared.map_err(|error| of(&error))?;
    Ok(match (form, page) {
        (Form::Html, Some(page)) => reports::html(page).into_response(),
        (Form::Markdown, _) => {
            ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], comparison_markdown(&comparison)).into_response()
        }
        _ => Json(comparison).into_response(),
    })
}

type Judged = Result<(Comparison, Option<String>), store::Error>;

fn judged(
    results: &mut Results,
    sides: &[Vec<Uuid>],
    force: bool,
    noise: Option<f64>,
    form: Form,
) -> results::Result<Judged> {
    let mut data = Vec::new();
    for side in sides {
        data.push(side.iter().map(|run| results.run_data(*run)).collect::<results::Result<Vec<_>>>()?);
    }
    let sides = labelled(data);
    let noise = match noise {
        Some(noise) => Noise::given(noise),
        None => measured(results, &sides)?.unwrap_or_default(),
    };
    let comparison = match experiment::compare(&sides, &CompareOptions { force, noise }) {
        Ok(comparison) => comparison,
        Err(error) => return Ok(Err(error)),
    };
    let page = (form == Form::Html).then(|| results.report_comparison(&comparison)).transpose()?;
    Ok(Ok((comparison, page)))
}

/// Sides by the names of their runs, with the end of an id where those are alike.
fn labelled(sides: Vec<Vec<RunData>>) -> Vec<SideData> {
    let names: Vec<String> =
        sides.iter().map(|side| side.first().map(|run| run.record().name.clone()).unwrap_or_default()).collect();
    let is_alone = |name: &String| names.iter().filter(|other| *other == name).count() == 1;
    sides
        .into_iter()
        .zip(&names)
        .map(|(side, name)| {
            let id = side.first().map(|run| results::short_id(run.record().id)).unwrap_or_default();
            let label = if is_alone(name) { name.clone() } else { format!("{name} {id}") };
            SideData::new(label, side)
        })
        .collect()
}

/// Where all runs are of one kind, on one host, and somebody calibrated it.
fn measured(results: &mut Results, sides: &[SideData]) -> results::Result<Option<Noise>> {
    let mut subjects = sides.iter().flat_map(SideData::runs).map(|run| Subject::of(run.record()));
    let Some(first) = subjects.next() else { return Ok(None) };
    if subjects.any(|subject| subject != first) {
        return Ok(None);
    }
    Ok(results.calibration(&first)?.map(|calibration| calibration.noise()))
}

fn of(error: &store::Error) -> Problem {
    let problem = Problem::invalid("runs", error.to_string());
    match error.hint().and_then(in_fields) {
        Some(hint) => problem.with_remedy(hint.into_owned()),
        None => problem,
    }
}

/// The first form that is accepted and exists.
fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut accepted =
        accepted.flat_map(|value| value.split(',')).map(|part| part.split(';').next().unwrap_or("").trim()).peekable();
    if accepted.peek().is_none() {
        return Ok(Form::Json);
    }
    let found = accepted.find_map(|media_type| match media_type.to_ascii_lowercase().as_str() {
        "application/json" | "application/*" | "*/*" | "" => Some(Form::Json),
        "text/markdown" => Some(Form::Markdown),
        "text/html" | "text/*" => Some(Form::Html),
        _ => None,
    });
    found.ok_or_else(|| {
        Problem::new(axum::http::StatusCode::NOT_ACCEPTABLE, "no form of a comparison is accepted")
            .with_field("Accept")
            .with_remedy("accept application/json, text/markdown or text/html")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_exists_is_taken() {
        let form = |accept: Option<&str>| {
            let value = accept.map(|accept| accept.parse().expect("a header"));
            form(&HeaderMap::from_iter(value.map(|value| (header::ACCEPT, value)))).ok()
        };
        for (accept, expected) in [
            (None, Some(Form::Json)),
            (Some("*/*"), Some(Form::Json)),
            (Some("image/png, text/markdown;q=0.9"), Some(Form::Markdown)),
            (Some("text/html,application/xhtml+xml,*/*"), Some(Form::Html)),
            (Some("image/png"), None),
        ] {
            assert_eq!(form(accept), expected, "{accept:?}");
        }
    }
}
