//! Plans that have a name: checked when they are kept, and run as experiments.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use results::service::{Changed, Expected, NamedPlan, NewPlan};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::experiments::{self, ExperimentRequest, ExperimentShown, Kept};
use crate::app::App;
use crate::audit::Subject;
use crate::config::Config;
use crate::extract::{Json, Path, Query};
use crate::idempotency::NewId;
use crate::paging::{Cursor, Page, PageQuery};
use crate::problem::Problem;

/// Letters of a plan's name, which is a part of paths.
const NAME_LETTERS_MAX: usize = 100;

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(show, put, delete)).routes(routes!(run))
}

/// A plan as it is written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPlan)]
pub(super) struct PlanRequest {
    /// The kind of data store.
    #[schema(example = "postgres")]
    pub(super) database_type: String,
    /// What it does.
    #[serde(default)]
    pub(super) config: Config,
}

/// A plan.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plan)]
struct PlanShown {
    /// Its name.
    #[schema(example = "nightly")]
    name: String,
    /// The kind of data store.
    #[schema(example = "postgres")]
    database_type: String,
    /// Grows with each change; it is the `ETag` as well.
    #[schema(example = 3)]
    version: u64,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime, example = "2026-01-01T00:00:00Z")]
    changed_at: Timestamp,
    /// What it does; a password in its target is `***`.
    #[schema(value_type = Config)]
    config: Box<RawValue>,
}

/// List plans.
#[utoipa::path(get, path = "/api/v1/plans", tag = "plans", operation_id = "list_plans", params(PageQuery),
    responses((status = 200, description = "A page, by name", body = Page<PlanShown>)))]
async fn list(State(app): State<App>, Query(query): Query<PageQuery>) -> Result<Json<Page<PlanShown>>, Problem> {
    let after = query.cursor.as_ref().map(|cursor| cursor.held().to_owned());
    if after.as_deref().is_some_and(|after| after.contains('\0')) {
        return Err(Cursor::refused());
    }
    let limit = query.limit;
    let found = app.storage.read(move |results| results.plans(after.as_deref(), limit.and_one())).await?;
    let Page { items, next } = Page::cut(found, limit, |last| Cursor::of(&last.name));
    Ok(Json(Page { items: items.into_iter().map(shown).collect::<Result<_, _>>()?, next }))
}

/// Show a plan.
#[utoipa::path(get, path = "/api/v1/plans/{name}", tag = "plans", operation_id = "show_plan",
    params(("name" = String, Path, description = "The plan's name", example = "nightly")),
    responses((status = 200, description = "The plan", body = PlanShown,
        headers(("ETag" = String, description = "Its version, for If-Match")))))]
async fn show(State(app): State<App>, Path(name): Path<String>) -> Result<Response, Problem> {
    tagged(StatusCode::OK, find(&app, name).await?)
}

/// Keep a plan, in place of the one of that name.
///
/// With `If-Match`, only where the plan is of that version still; with `If-None-Match: *`, only where there is none.
#[utoipa::path(put, path = "/api/v1/plans/{name}", tag = "plans", operation_id = "put_plan",
    params(("name" = String, Path, description = "The plan's name: letters, digits, `-`, `_` and `.`", example = "nightly"),
        ("If-Match" = Option<String>, Header, description = "The version that is to be replaced", example = "\"3\""),
        ("If-None-Match" = Option<String>, Header, description = "`*`: the plan is to be new", example = "*")),
    request_body = PlanRequest,
    responses((status = 200, description = "It is replaced", body = PlanShown, headers(("ETag" = String, description = "Its version"))),
        (status = 201, description = "It is new", body = PlanShown, headers(("ETag" = String, description = "Its version"))),
        (status = 412, description = "It is of another version", body = Object, content_type = "application/problem+json")))]
async fn put(
    State(app): State<App>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Json(request): Json<PlanRequest>,
) -> Result<Response, Problem> {
    check_name(&name)?;
    let expected = expected(&headers)?;
    let policy = app.policy().await?;
    let PlanRequest { database_type, config } = request;
    let Kept { shown, sealed } = experiments::kept(&app, &name, &database_type, &config, &policy)?;
    let changed = app
        .storage
        .write(move |results| {
            let sealed = sealed.as_deref();
            results.put_plan(NewPlan { name: &name, database_type: &database_type, config: &shown, sealed }, expected)
        })
        .await?;
    match changed {
        Changed::Made(plan) => tagged(StatusCode::CREATED, plan),
        Changed::Replaced(plan) => tagged(StatusCode::OK, plan),
        Changed::Otherwise(version) => Err(otherwise(version)),
        Changed::Deleted | Changed::Unknown => Err(Problem::internal("a plan was kept and is not there")),
    }
}

/// Delete a plan.
///
/// Experiments that were made from it stay. With `If-Match`, only where it is of that version still.
#[utoipa::path(delete, path = "/api/v1/plans/{name}", tag = "plans", operation_id = "delete_plan",
    params(("name" = String, Path, description = "The plan's name", example = "nightly"),
        ("If-Match" = Option<String>, Header, description = "The version that is to be deleted", example = "\"3\"")),
    responses((status = 204, description = "It is deleted"),
        (status = 412, description = "It is of another version", body = Object, content_type = "application/problem+json"),
        (status = 422, description = "The header cannot be understood", body = Object, content_type = "application/problem+json")))]
async fn delete(State(app): State<App>, headers: HeaderMap, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let expected = expected(&headers)?;
    let asked = plain(name.clone())?;
    match app.storage.write(move |results| results.delete_plan(&asked, expected)).await? {
        Changed::Deleted => Ok(StatusCode::NO_CONTENT),
        Changed::Otherwise(version) => Err(otherwise(version)),
        _ => Err(unknown(&name)),
    }
}

/// Run a plan.
///
/// Makes an experiment of the plan's name, and runs it.
#[utoipa::path(post, path = "/api/v1/plans/{name}/run", tag = "plans", operation_id = "run_plan",
    params(("name" = String, Path, description = "The plan's name", example = "nightly")),
    responses((status = 202, description = "The run of the new experiment waits for its turn, and is on disk", body = ExperimentShown,
        headers(("Location" = String, description = "The experiment's path")))))]
async fn run(
    State(app): State<App>,
    NewId(id): NewId,
    subject: Subject,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let plan = find(&app, name).await?;
    let mut config: Config = serde_json::from_str(&plan.config)
        .map_err(|error| Problem::internal(&format!("the plan `{}` cannot be read: {error}", plan.name)))?;
    if let Some(sealed) = &plan.sealed {
        config.target = Some(app.vault.open_sealed(sealed)?.into());
    }
    let request = ExperimentRequest { name: plan.name, database_type: plan.database_type, config };
    let experiment = experiments::make(&app, id, request).await?;
    subject.object(id);
    // The experiment and its run have one id each; the run's follows from the request as the experiment's does.
    experiments::enqueue(&app, experiment, run_of(id), &subject).await?;
    let found = experiments::find(&app, id).await?;
    let location = format!("/api/v1/experiments/{id}");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(experiments::shown(found)?)))
}

/// The id of the run that one request makes beside an experiment: the experiment's with its last bit turned, so that the same
/// request makes the same run.
fn run_of(experiment: uuid::Uuid) -> uuid::Uuid {
    uuid::Uuid::from_u128(experiment.as_u128() ^ 1)
}

async fn find(app: &App, name: String) -> Result<NamedPlan, Problem> {
    let asked = plain(name.clone())?;
    app.storage.read(move |results| results.plan(&asked)).await?.ok_or_else(|| unknown(&name))
}

/// A name that the store can be asked for; any other is the name of nothing.
fn plain(name: String) -> Result<String, Problem> {
    if name.contains('\0') { Err(unknown(&name.replace('\0', ""))) } else { Ok(name) }
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("there is no plan `{name}`"))
        .with_field("name")
        .with_remedy("GET /api/v1/plans lists them")
}

fn check_name(name: &str) -> Result<(), Problem> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_LETTERS_MAX || !name.chars().all(fits) {
        return Err(Problem::invalid("name", "it is no name of a plan")
            .with_remedy(format!("give 1 to {NAME_LETTERS_MAX} letters, digits, `-`, `_` and `.`")));
    }
    Ok(())
}

/// Which version is meant.
fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim().to_owned());
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Expected::Any),
        (None, Some(none)) if none == "*" => Ok(Expected::Absent),
        (None, Some(_)) => {
            Err(Problem::invalid("If-None-Match", "only `*` means anything here").with_remedy("send `*`"))
        }
        (Some(tag), None) => {
            let version = tag.trim_start_matches("W/").trim_matches('"').parse().map(Expected::Version);
            version.map_err(|_| {
                Problem::invalid("If-Match", "it is no version of a plan")
                    .with_remedy("send the ETag of the plan as it was read")
            })
        }
        (Some(_), Some(_)) => {
            Err(Problem::invalid("If-Match", "If-None-Match is given as well").with_remedy("send one of them"))
        }
    }
}

fn otherwise(version: Option<u64>) -> Problem {
    let reason = match version {
        Some(version) => format!("the plan is of version {version}"),
        None => "there is no plan of that name".to_owned(),
    };
    Problem::new(StatusCode::PRECONDITION_FAILED, reason)
}

fn tagged(status: StatusCode, plan: NamedPlan) -> Result<Response, Problem> {
    let tag = HeaderValue::try_from(format!("\"{}\"", plan.version)).map_err(|error| Problem::internal(&error))?;
    Ok((status, [(header::ETAG, tag)], Json(shown(plan)?)).into_response())
}

fn shown(plan: NamedPlan) -> Result<PlanShown, Problem> {
    let NamedPlan { name, database_type, version, changed_at, config, .. } = plan;
    let config = RawValue::from_string(config)
        .map_err(|error| Problem::internal(&format!("the plan `{name}` is damaged: {error}")))?;
    Ok(PlanShown { name, database_type, version, changed_at, config })
}
