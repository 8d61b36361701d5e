//! What is to be measured, and its runs: created, run, looked at, cancelled, deleted.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use experiment::TargetPlan;
use jiff::Timestamp;
use results::service::{
    Cancelled, Deleted, Enqueued, Experiment, ExperimentCursor, ExperimentFilter, ExperimentStatus, NewExperiment,
    NewJob,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::ErrorKind;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::audit::Subject;
use crate::config::{self, Checked, Config, OnRestart, in_fields};
use crate::extract::{Json, Path, Query};
use crate::idempotency::NewId;
use crate::paging::{Cursor, Limit, Page};
use crate::policy::Policy;
use crate::problem::Problem;
use crate::shapes::ExperimentResults;

/// How long a target may take to answer before its run is accepted.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);

/// Letters of a name that a list is searched for.
const SEARCH_LETTERS_MAX: usize = config::NAME_LETTERS_MAX;

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(show, delete))
        .routes(routes!(run))
        .routes(routes!(cancel))
}

/// An experiment that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewExperiment)]
pub(crate) struct ExperimentRequest {
    /// What to call it: 1 to 200 letters.
    #[schema(example = "PostgreSQL Insert Benchmark", min_length = 1, max_length = 200)]
    pub(crate) name: String,
    /// The kind of data store: `GET /api/v1/stores` lists them.
    #[schema(example = "postgres")]
    pub(crate) database_type: String,
    /// What it does.
    #[serde(default)]
    pub(crate) config: Config,
}

/// An experiment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Experiment)]
pub(crate) struct ExperimentShown {
    /// Its id.
    #[schema(example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")]
    id: Uuid,
    /// What it is called.
    #[schema(example = "PostgreSQL Insert Benchmark")]
    name: String,
    /// The kind of data store.
    #[schema(example = "postgres")]
    database_type: String,
    /// Where it stands: `pending`, `queued`, `running`, `completed`, `failed`, `interrupted` or `cancelled`.
    #[schema(example = "completed")]
    status: &'static str,
    /// When it was made.
    #[schema(value_type = String, format = DateTime, example = "2026-01-01T00:00:00Z")]
    created_at: Timestamp,
    /// What it does, as it was given; a password in its target is `***`.
    #[schema(value_type = Config)]
    config: Box<RawValue>,
    /// What its newest run measured; null before that has ended.
    #[schema(value_type = Option<ExperimentResults>)]
    results: Option<Box<RawValue>>,
    /// Its newest run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b")]
    run_id: Option<Uuid>,
    /// Why its newest run failed, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "nobody answers at 127.0.0.1:5432")]
    reason: Option<String>,
}

/// A run that waits for its turn.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunAccepted {
    /// The experiment.
    #[schema(example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")]
    id: Uuid,
    /// The run.
    #[schema(example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b")]
    run_id: Uuid,
    /// `queued`.
    #[schema(example = "queued")]
    status: &'static str,
}

/// Which experiments a list has.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Of that status alone.
    #[param(required = false, example = "completed")]
    status: Option<String>,
    /// On that kind of data store alone.
    #[param(required = false, example = "postgres")]
    database_type: Option<String>,
    /// With that in their names, whatever the letters' case.
    #[param(required = false, example = "insert", max_length = 200)]
    name: Option<String>,
    /// Experiments of the page.
    #[serde(default)]
    #[param(required = false, value_type = u32, minimum = 1, maximum = 200, example = 50)]
    limit: Limit,
    /// `next` of the page before.
    #[param(required = false, value_type = Option<String>, example = "MTc2NzIyNTYwMDAwMDAwMA")]
    cursor: Option<Cursor>,
}

/// Make an experiment.
///
/// It is checked whole, but no data store is asked yet. Nothing runs before POST …/run.
#[utoipa::path(post, path = "/api/v1/experiments", tag = "experiments", operation_id = "create_experiment",
    request_body = ExperimentRequest,
    responses((status = 201, description = "It is made, and on disk", body = ExperimentShown,
        headers(("Location" = String, description = "Its path")))))]
pub(crate) async fn create(
    State(app): State<App>,
    NewId(id): NewId,
    subject: Subject,
    Json(request): Json<ExperimentRequest>,
) -> Result<impl IntoResponse, Problem> {
    subject.object(id);
    let made = make(&app, id, request).await?;
    let location = format!("/api/v1/experiments/{id}");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(shown(made)?)))
}

/// List experiments.
#[utoipa::path(get, path = "/api/v1/experiments", tag = "experiments", operation_id = "list_experiments", params(ListQuery),
    responses((status = 200, description = "A page, the newest first", body = Page<ExperimentShown>)))]
pub(crate) async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<ExperimentShown>>, Problem> {
    let filter = filter(&query)?;
    let after = query.cursor.as_ref().map(Cursor::moment).transpose()?;
    let after = after.map(|(created_at, id)| ExperimentCursor { created_at, id });
    let limit = query.limit;
    let found = app.storage.read(move |results| results.experiments(&filter, after, limit.and_one())).await?;
    let Page { items, next } = Page::cut(found, limit, |last| Cursor::behind(last.created_at, last.id));
    let items = items.into_iter().map(shown).collect::<Result<_, _>>()?;
    Ok(Json(Page { items, next }))
}

/// Show an experiment, with what its newest run measured.
#[utoipa::path(get, path = "/api/v1/experiments/{id}", tag = "experiments", operation_id = "show_experiment",
    params(("id" = Uuid, Path, description = "The experiment's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")),
    responses((status = 200, description = "The experiment", body = ExperimentShown)))]
pub(crate) async fn show(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Json<ExperimentShown>, Problem> {
    shown(find(&app, id).await?).map(Json)
}

/// Run an experiment.
///
/// Its target is connected to once, and the run then waits for its turn: it outlives this request and a restart of the service.
/// Of one target only one run goes on at a time.
#[utoipa::path(post, path = "/api/v1/experiments/{id}/run", tag = "experiments", operation_id = "run_experiment",
    params(("id" = Uuid, Path, description = "The experiment's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")),
    responses((status = 202, description = "The run waits for its turn, and is on disk", body = RunAccepted,
        headers(("Location" = String, description = "The run's path")))))]
pub(crate) async fn run(
    State(app): State<App>,
    NewId(run): NewId,
    subject: Subject,
    Path(id): Path<Uuid>,
) -> Result<impl IntoResponse, Problem> {
    let experiment = find(&app, id).await?;
    let run = enqueue(&app, experiment, run, &subject).await?;
    let location = format!("/api/v1/runs/{run}");
    let accepted = RunAccepted { id, run_id: run, status: ExperimentStatus::Queued.name() };
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(accepted)))
}

/// Cancel the run of an experiment.
///
/// One that waits never runs; one that runs stops its load at once and keeps what it measured.
#[utoipa::path(post, path = "/api/v1/experiments/{id}/cancel", tag = "experiments", operation_id = "cancel_experiment",
    params(("id" = Uuid, Path, description = "The experiment's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")),
    responses((status = 202, description = "It is cancelled, or will be within a second", body = ExperimentShown)))]
pub(crate) async fn cancel(State(app): State<App>, Path(id): Path<Uuid>) -> Result<impl IntoResponse, Problem> {
    let experiment = find(&app, id).await?;
    let run = experiment.run.filter(|_| experiment.status.is_active());
    let run = run.ok_or_else(|| nothing_to_cancel(experiment.status))?;
    cancel_run(&app, run).await?;
    Ok((StatusCode::ACCEPTED, Json(shown(find(&app, id).await?)?)))
}

/// Delete an experiment.
///
/// Its runs stay. One whose run waits or goes on is not deleted.
#[utoipa::path(delete, path = "/api/v1/experiments/{id}", tag = "experiments", operation_id = "delete_experiment",
    params(("id" = Uuid, Path, description = "The experiment's id", example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a")),
    responses((status = 204, description = "It is deleted")))]
pub(crate) async fn delete(State(app): State<App>, Path(id): Path<Uuid>) -> Result<StatusCode, Problem> {
    match app.storage.write(move |results| results.delete_experiment(id)).await? {
        Deleted::Gone => Ok(StatusCode::NO_CONTENT),
        Deleted::Unknown => Err(unknown(id)),
        Deleted::Active => Err(Problem::conflict("a run of the experiment waits or goes on")
            .with_remedy("cancel it first: POST /api/v1/experiments/{id}/cancel")),
    }
}

/// Checks and keeps an experiment.
pub(super) async fn make(app: &App, id: Uuid, request: ExperimentRequest) -> Result<Experiment, Problem> {
    let policy = app.policy().await?;
    let ExperimentRequest { name, database_type, config } = request;
    let Kept { shown, sealed } = kept(app, &name, &database_type, &config, &policy)?;
    app.storage
        .write(move |results| {
            results.create_experiment(NewExperiment {
                id,
                name: &name,
                database_type: &database_type,
                config: &shown,
                sealed: sealed.as_deref(),
            })
        })
        .await
}

/// What is kept of a config.
pub(super) struct Kept {
    /// As JSON, without any password.
    pub(super) shown: String,
    /// The target's URL where that has one.
    pub(super) sealed: Option<Vec<u8>>,
}

/// Checks what is to be kept.
pub(super) fn kept(
    app: &App,
    name: &str,
    database_type: &str,
    config: &Config,
    policy: &Policy,
) -> Result<Kept, Problem> {
    let Checked { shown, secret, .. } = check(app, name, database_type, config, policy)?;
    let shown = serde_json::to_string(&shown).map_err(|error| Problem::internal(&error))?;
    let sealed = secret.map(|text| app.vault.seal(&text)).transpose().map_err(|error| Problem::internal(&error))?;
    Ok(Kept { shown, sealed })
}

pub(super) fn check(
    app: &App,
    name: &str,
    database_type: &str,
    config: &Config,
    policy: &Policy,
) -> Result<Checked, Problem> {
    let lookup = |name: &str| app.settings.environment.get(name);
    config::check(name, database_type, config, policy, &app.settings.caps, app.executor.agents(), &lookup)
}

/// What is needed of a checked config to enqueue a run of it.
struct Way {
    /// What no other run may have at the same time.
    lease: Option<String>,
    /// What is connected to first; none for a throw-away server.
    target: Option<(&'static dyn store::Driver, store::Target)>,
}

fn way(app: &App, experiment: &Experiment, config: &Config, policy: &Policy) -> Result<Way, Problem> {
    let spec = check(app, &experiment.name, &experiment.database_type, config, policy)?.spec;
    let lease = config::lease_of(&spec);
    let target = match spec.target {
        TargetPlan::Url(target) => Some((spec.driver, target)),
        TargetPlan::Local(_) => None,
    };
    Ok(Way { lease, target })
}

/// Connects to the target once, and enqueues a run.
pub(super) async fn enqueue(app: &App, experiment: Experiment, run: Uuid, subject: &Subject) -> Result<Uuid, Problem> {
    if experiment.status.is_active() && experiment.run != Some(run) {
        return Err(active(experiment.run.unwrap_or_default()));
    }
    let id = experiment.id;
    let mut config: Config = serde_json::from_str(&experiment.config)
        .map_err(|error| Problem::internal(&format!("the config of {id} cannot be read: {error}")))?;
    if let Some(sealed) = &experiment.sealed {
        config.target = Some(app.vault.open_sealed(sealed).map_err(|error| of_store(&error))?.into());
    }
    let policy = app.policy().await?;
    let Way { lease, target } = way(app, &experiment, &config, &policy)?;
    if let Some((driver, target)) = target {
        subject.target(&target);
        reach(driver, target).await?;
    }
    let waiting_max = app.settings.caps.queue_max;
    let (priority, on_restart) = (config.priority.unwrap_or_default(), config.on_restart.unwrap_or_default());
    let (reruns, resumable) = (on_restart.reruns(), on_restart == OnRestart::Resume);
    app.executor.callers().note(run);
    let enqueued = app
        .storage
        .write(move |results| {
            let target = lease.as_deref();
            let resumes = None;
            results.enqueue(NewJob { experiment: id, run, priority, target, reruns, resumable, resumes, waiting_max })
        })
        .await;
    if !matches!(enqueued, Ok(Enqueued::Waiting)) {
        app.executor.callers().take(run);
    }
    let enqueued = enqueued?;
    match enqueued {
        Enqueued::Waiting => {
            app.executor.wake();
            Ok(run)
        }
        Enqueued::Unknown => Err(unknown(id)),
        Enqueued::Active(other) => Err(active(other)),
        Enqueued::Full(most) => {
            Err(Problem::too_many(format!("{most} runs wait already")).with_remedy("wait until some are over"))
        }
    }
}

/// Cancels a run, wherever it is.
pub(super) async fn cancel_run(app: &App, run: Uuid) -> Result<(), Problem> {
    // Load first: it ends even where the store does not answer or has no room.
    let is_here = app.executor.cancel(run);
    let cancelled = app.storage.write(move |results| results.cancel(run)).await;
    if is_here {
        return Ok(());
    }
    match cancelled? {
        Cancelled::Dequeued | Cancelled::Asked => Ok(()),
        Cancelled::Over => Err(Problem::conflict("the run is over already").with_remedy("nothing needs to be done")),
        Cancelled::Unknown => Err(Problem::conflict("the run was not made by the service, and ends by itself")
            .with_remedy("end the program that carries it out")),
    }
}

/// Whether the target answers, asked on a thread of its own: drivers have runtimes of one thread.
async fn reach(driver: &'static dyn store::Driver, target: store::Target) -> Result<(), Problem> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let address = target.to_string();
    let asking = move || {
        let reached = experiment::local_runtime().and_then(|runtime| {
            runtime.block_on(async {
                let connected = tokio::time::timeout(CONNECT_TIME_MAX, driver.connect(&target)).await;
                let late = || store::Error::unreachable(format!("no answer within {CONNECT_TIME_MAX:?}"));
                connected.map_err(|_| late()).and_then(|connected| connected.map(drop))
            })
        });
        // Who asked may be gone.
        let _ = tell.send(reached);
    };
    std::thread::Builder::new()
        .name("storelab-reach".to_owned())
        .spawn(asking)
        .map_err(|error| Problem::unavailable(format!("the host gives the service no thread: {error}")))?;
    let reached = told.await.map_err(|_| Problem::internal("connecting to a target has panicked"))?;
    reached.map_err(|error| unreachable(&error, &address))
}

/// A target that says no is as far out of reach as one that does not answer, unless nobody may go there.
fn unreachable(error: &store::Error, address: &str) -> Problem {
    if store::Forbidden::is_below(error) {
        return with_hint(Problem::invalid("config.target", error.to_string()), error);
    }
    match error.kind() {
        ErrorKind::Config | ErrorKind::Unsupported => {
            with_hint(Problem::invalid("config.target", error.to_string()), error)
        }
        ErrorKind::Bug => Problem::internal(&crate::problem::chain(error)),
        _ => {
            let problem = Problem::unavailable(format!("the data store at {address} cannot be reached: {error}"));
            with_hint(problem.with_field("config.target"), error)
        }
    }
}

fn of_store(error: &store::Error) -> Problem {
    with_hint(Problem::conflict(error.to_string()), error)
}

fn with_hint(problem: Problem, error: &store::Error) -> Problem {
    match error.hint().and_then(in_fields) {
        Some(hint) => problem.with_remedy(hint.into_owned()),
        None => problem,
    }
}

pub(super) async fn find(app: &App, id: Uuid) -> Result<Experiment, Problem> {
    let found = app.storage.read(move |results| results.experiment(id)).await?;
    found.ok_or_else(|| unknown(id))
}

fn unknown(id: Uuid) -> Problem {
    Problem::not_found(format!("there is no experiment {id}"))
        .with_field("id")
        .with_remedy("GET /api/v1/experiments lists them")
}

fn active(run: Uuid) -> Problem {
    Problem::conflict(format!("run {run} of the experiment waits or goes on"))
        .with_remedy("wait for its end, cancel it, or make another experiment")
}

fn nothing_to_cancel(status: ExperimentStatus) -> Problem {
    Problem::conflict(format!("the experiment is {}, and has no run to cancel", status.name()))
        .with_remedy("nothing needs to be done")
}

fn filter(query: &ListQuery) -> Result<ExperimentFilter, Problem> {
    let status = query.status.as_deref().map(|text| {
        text.parse::<ExperimentStatus>()
            .map_err(|error| with_hint(Problem::invalid("status", error.to_string()), &error))
    });
    if query.name.as_ref().is_some_and(|name| name.chars().count() > SEARCH_LETTERS_MAX || name.contains('\0')) {
        return Err(Problem::invalid("name", "no experiment has such a name")
            .with_remedy(format!("give at most {SEARCH_LETTERS_MAX} letters")));
    }
    if let Some(database_type) = &query.database_type {
        config::database_named(database_type)?;
    }
    Ok(ExperimentFilter {
        status: status.transpose()?,
        database_type: query.database_type.clone(),
        name: query.name.clone(),
    })
}

/// An experiment as clients see it.
pub(super) fn shown(found: Experiment) -> Result<ExperimentShown, Problem> {
    let raw = |text: String| {
        RawValue::from_string(text).map_err(|error| Problem::internal(&format!("an experiment is damaged: {error}")))
    };
    let Experiment { id, name, database_type, status, created_at, config, run, reason, figures, .. } = found;
    Ok(ExperimentShown {
        id,
        name,
        database_type,
        status: status.name(),
        created_at,
        config: raw(config)?,
        results: figures.map(raw).transpose()?,
        run_id: run,
        reason,
    })
}
