//! What was measured: runs, whoever made them, with their records and seconds; and how they are stopped and deleted.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use experiment::Status;
use jiff::Timestamp;
use results::RunSummary;
use results::service::{QueueEntry, RunCursor, RunFilter};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::experiments::cancel_run;
use crate::app::App;
use crate::extract::{Json, Path, Query};
use crate::live::{SampleBody, sample_body};
use crate::paging::{Cursor, Limit, Page, PageQuery};
use crate::problem::Problem;

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list))
        .routes(routes!(show, delete))
        .routes(routes!(samples))
        .routes(routes!(cancel))
}

/// A run in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunSummary)]
struct RunListed {
    /// Its id.
    #[schema(example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b")]
    id: Uuid,
    /// What it is called.
    #[schema(example = "PostgreSQL Insert Benchmark")]
    name: String,
    /// Where it stands: `running`, `completed`, `interrupted` or `failed`.
    #[schema(example = "completed")]
    status: &'static str,
    /// When it started.
    #[schema(value_type = String, format = DateTime, example = "2026-01-01T00:00:00Z")]
    started_at: Timestamp,
    /// When it ended, or was last heard of.
    #[schema(value_type = String, format = DateTime, example = "2026-01-01T00:00:30Z")]
    ended_at: Timestamp,
    /// The data store's driver.
    #[schema(example = "postgres")]
    driver: String,
    /// The workload.
    #[schema(example = "operations")]
    workload: String,
    /// The workload's variant; null where it has none.
    #[schema(example = "b")]
    variant: Option<String>,
    /// Operations a second; null before the end.
    #[schema(example = 2412.28)]
    throughput_per_second: Option<f64>,
    /// 99th percentile of latency in microseconds; null before the end.
    #[schema(example = 1230.0)]
    latency_us_p99: Option<f64>,
    /// Operations that failed; null before the end.
    #[schema(example = 0)]
    failed: Option<u64>,
    /// Whether the generator did what was planned; null before the end.
    #[schema(example = true)]
    valid: Option<bool>,
    /// Seconds of it that are kept.
    #[schema(example = 30)]
    seconds: u64,
}

/// A run that has not begun, or never did.
#[derive(Debug, Serialize)]
struct RunUnstarted {
    id: Uuid,
    status: &'static str,
    experiment_id: Uuid,
    queued_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Which runs a list has.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Of that status alone: `running`, `completed`, `interrupted` or `failed`.
    #[param(required = false, example = "completed")]
    status: Option<String>,
    /// On data stores of that driver alone.
    #[param(required = false, example = "postgres")]
    driver: Option<String>,
    /// Of that very name alone.
    #[param(required = false, example = "PostgreSQL Insert Benchmark")]
    name: Option<String>,
    /// Runs of the page.
    #[serde(default)]
    #[param(required = false, value_type = u32, minimum = 1, maximum = 200, example = 50)]
    limit: Limit,
    /// `next` of the page before.
    #[param(required = false, value_type = Option<String>, example = "MTc2NzIyNTYwMDAwMDAwMA")]
    cursor: Option<Cursor>,
}

/// List runs.
///
/// Also those that were made from the command line into the same store.
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", operation_id = "list_runs", params(ListQuery),
    responses((status = 200, description = "A page, the newest first", body = Page<RunListed>)))]
async fn list(State(app): State<App>, Query(query): Query<ListQuery>) -> Result<Json<Page<RunListed>>, Problem> {
    let filter = RunFilter {
        status: query.status.as_deref().map(status).transpose()?,
        driver: plain("driver", query.driver)?,
        name: plain("name", query.name)?,
    };
    let after = query.cursor.as_ref().map(Cursor::moment).transpose()?;
    let after = after.map(|(started_at, id)| RunCursor { started_at, id });
    let limit = query.limit;
    let found = app.storage.read(move |results| results.runs_page(&filter, after, limit.and_one())).await?;
    Ok(Json(Page::cut(found, limit, |last| Cursor::behind(last.started_at, last.id)).map(listed)))
}

/// Show a run, whole.
///
/// The published record `storelab.run/1`. A run that waits for its turn, or never began, has `id`, `status`, `experiment_id`
/// and `queued_at` alone.
#[utoipa::path(get, path = "/api/v1/runs/{id}", tag = "runs", operation_id = "show_run",
    params(("id" = Uuid, Path, description = "The run's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b")),
    responses((status = 200, description = "The record", body = Object,
        example = json!({"schema": "storelab.run/1", "id": "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b", "status": "completed"}))))]
async fn show(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Response, Problem> {
    let found = app.storage.read(move |results| look(results, id)).await?;
    match found {
        Found::Record(json) => Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response()),
        Found::Unstarted(entry) => {
            let QueueEntry { experiment, queued_at, status, reason } = entry;
            let status = status.name();
            Ok(Json(RunUnstarted { id, status, experiment_id: experiment, queued_at, reason }).into_response())
        }
        Found::Nothing => Err(unknown(id)),
    }
}

/// List the seconds of a run.
#[utoipa::path(get, path = "/api/v1/runs/{id}/samples", tag = "runs", operation_id = "list_samples",
    params(("id" = Uuid, Path, description = "The run's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b"), PageQuery),
    responses((status = 200, description = "A page, in order of time", body = Page<SampleBody>)))]
async fn samples(
    State(app): State<App>,
    Path(id): Path<Uuid>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<SampleBody>>, Problem> {
    let behind: u64 = match &query.cursor {
        None => 0,
        Some(cursor) => {
            cursor.held().parse().ok().filter(|behind| *behind < u64::from(u32::MAX)).ok_or_else(Cursor::refused)?
        }
    };
    let limit = query.limit;
    let found = app
        .storage
        .read(move |results| {
            if results.status_of(id)?.is_none() && results.queue_entry(id)?.is_none() {
                return Ok(None);
            }
            // What is told of a second is a hundredth of what it is in memory.
            let mut told = Vec::new();
            results
                .each_sample_behind(id, behind, limit.and_one() as usize, |sample| told.push(sample_body(&sample)))?;
            Ok(Some(told))
        })
        .await?;
    let mut found = found.ok_or_else(|| unknown(id))?;
    let has_more = found.len() > limit.get() as usize;
    found.truncate(limit.get() as usize);
    let next = has_more.then(|| Cursor::of(behind + found.len() as u64).written());
    Ok(Json(Page { items: found, next }))
}

/// Cancel a run.
///
/// One that waits never runs; one that runs stops its load at once and keeps what it measured.
#[utoipa::path(post, path = "/api/v1/runs/{id}/cancel", tag = "runs", operation_id = "cancel_run",
    params(("id" = Uuid, Path, description = "The run's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b")),
    responses((status = 202, description = "It is cancelled, or will be within a second", body = Object,
        example = json!({"id": "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b", "status": "cancelled"}))))]
async fn cancel(State(app): State<App>, Path(id): Path<Uuid>) -> Result<impl IntoResponse, Problem> {
    match app.storage.read(move |results| look(results, id)).await? {
        Found::Nothing => return Err(unknown(id)),
        Found::Record(_) | Found::Unstarted(_) => cancel_run(&app, id).await?,
    }
    let entry = app.storage.read(move |results| results.queue_entry(id)).await?;
    let status = entry.map_or("cancelled", |entry| entry.status.name());
    Ok((StatusCode::ACCEPTED, Json(json!({ "id": id, "status": status }))))
}

/// Delete a run with its seconds and histograms.
///
/// One that goes on is not deleted.
#[utoipa::path(delete, path = "/api/v1/runs/{id}", tag = "runs", operation_id = "delete_run",
    params(("id" = Uuid, Path, description = "The run's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b")),
    responses((status = 204, description = "It is deleted")))]
async fn delete(State(app): State<App>, Path(id): Path<Uuid>) -> Result<StatusCode, Problem> {
    let is_active = app
        .storage
        .write(move |results| {
            if results.queue_entry(id)?.is_some_and(|entry| entry.status.is_active()) {
                return Ok(true);
            }
            results.delete(id)?;
            results.forget_messages(id)?;
            Ok(false)
        })
        .await?;
    if is_active {
        return Err(
            Problem::conflict("the run waits or goes on").with_remedy("cancel it first: POST /api/v1/runs/{id}/cancel")
        );
    }
    Ok(StatusCode::NO_CONTENT)
}

/// What there is of a run.
enum Found {
    /// Its record, as JSON.
    Record(String),
    /// A place in the queue alone.
    Unstarted(QueueEntry),
    Nothing,
}

fn look(results: &mut results::Results, id: Uuid) -> results::Result<Found> {
    match results.record(id) {
        Ok(record) => {
            let json = serde_json::to_string(&record).map_err(|error| results::Error::Damaged {
                what: format!("the record of run {id}"),
                reason: error.to_string(),
            })?;
            Ok(Found::Record(json))
        }
        Err(results::Error::NotFound { .. }) => Ok(results.queue_entry(id)?.map_or(Found::Nothing, Found::Unstarted)),
        Err(error) => Err(error),
    }
}

pub(super) fn unknown(id: Uuid) -> Problem {
    Problem::not_found(format!("there is no run {id}")).with_field("id").with_remedy("GET /api/v1/runs lists them")
}

/// A run that has a record, or why not.
pub(super) async fn require(app: &App, id: Uuid) -> Result<(), Problem> {
    let (kept, waits) =
        app.storage.read(move |results| Ok((results.status_of(id)?, results.queue_entry(id)?.is_some()))).await?;
    match kept {
        Some(_) => Ok(()),
        None if waits => Err(Problem::conflict("the run has not begun").with_remedy("wait until it has")),
        None => Err(unknown(id)),
    }
}

fn status(text: &str) -> Result<Status, Problem> {
    let all = [Status::Running, Status::Completed, Status::Interrupted, Status::Failed];
    all.into_iter().find(|status| status.name() == text).ok_or_else(|| {
        Problem::invalid("status", format!("there is no status `{text}`")).with_names(text, all.map(Status::name))
    })
}

/// Text that the store can be asked for.
fn plain(field: &'static str, given: Option<String>) -> Result<Option<String>, Problem> {
    match given {
        Some(text) if text.contains('\0') => {
            Err(Problem::invalid(field, "it has a zero byte").with_remedy("leave that out"))
        }
        given => Ok(given),
    }
}

fn listed(run: RunSummary) -> RunListed {
    let RunSummary { id, name, status, started_at, ended_at, driver, workload, variant, .. } = run;
    RunListed {
        id,
        name,
        status: status.name(),
        started_at,
        ended_at,
        driver,
        workload,
        variant,
        throughput_per_second: run.throughput_per_second,
        latency_us_p99: run.latency_us_p99,
        failed: run.failed,
        valid: run.valid,
        seconds: run.seconds,
    }
}
