//! Conditions on what is measured, checked before they are relied on.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use axum::extract::State;
use experiment::{Condition, Evidence, Names, Record, Seconds, Threshold, ThresholdError, ThresholdRecord};
use results::Results;
use runner::{Limit, Mode, Phase};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::plans::PlanRequest;
use super::{experiments, runs};
use crate::app::App;
use crate::config::in_fields;
use crate::extract::Json;
use crate::problem::Problem;

/// Expressions of one request, and letters of one.
const EXPRESSIONS_MAX: usize = 100;
const EXPRESSION_BYTES_MAX: usize = 1_000;

/// Names of operations that are kept for good, in a process: runs must not grow it without end.
const NAMES_MAX: usize = 1_024;

pub(super) fn register() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(check))
}

/// Conditions that are to be checked, alone, against a plan or against a run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ThresholdsRequest)]
struct Request {
    /// The conditions.
    #[schema(example = json!(["p99(select) < 20ms", "errors < 0.1%"]), min_items = 1, max_items = 100)]
    expressions: Vec<String>,
    /// The plan that they are to be of: their names must mean something in it.
    #[serde(default)]
    plan: Option<PlanRequest>,
    /// The run that they are to be judged by.
    #[serde(default)]
    #[schema(example = "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b")]
    run: Option<Uuid>,
}

/// What became of each condition.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ThresholdsChecked)]
struct Checked {
    /// Whether all of them can be understood, and mean something where a plan or a run was given.
    #[schema(example = true)]
    valid: bool,
    /// One for each expression, in their order.
    thresholds: Vec<CheckedThreshold>,
}

/// What became of a condition.
#[derive(Debug, Serialize, ToSchema)]
struct CheckedThreshold {
    /// As it was given.
    #[schema(example = "p99(select) < 20ms")]
    expression: String,
    /// Whether it can be understood.
    #[schema(example = true)]
    valid: bool,
    /// As it is written in one spelling; null where it cannot be understood.
    #[schema(example = "p99(select) < 20ms")]
    canonical: Option<String>,
    /// What is wrong with it; null where nothing is.
    error: Option<Wrong>,
    /// How it was judged by the run; null where none was given.
    judgement: Option<Judgement>,
}

/// What is wrong with a condition.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ThresholdProblem)]
struct Wrong {
    /// What it is.
    #[schema(example = "there is no operation `selekt` in this workload")]
    message: String,
    /// What to do about it; null where that is not known.
    #[schema(example = "did you mean `select`?")]
    hint: Option<String>,
    /// Which bytes of the expression are meant: the first.
    #[schema(example = 4)]
    start: usize,
    /// And the one behind the last.
    #[schema(example = 10)]
    end: usize,
}

/// How a condition was judged.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ThresholdJudgement)]
struct Judgement {
    /// Whether it holds.
    #[schema(example = true)]
    passed: bool,
    /// The figure; null where there was nothing to measure.
    #[schema(example = 1230.0)]
    value: Option<f64>,
    /// What it was compared with.
    #[schema(example = 20000.0)]
    limit: Option<f64>,
    /// Of both: `us`, `%`, `/s`, `B`, `B/s`, `1` for plain numbers.
    #[schema(example = "us")]
    unit: String,
    /// Why there is no figure; null where there is.
    #[schema(example = "no operation ended well")]
    reason: Option<String>,
}

/// Check conditions.
#[utoipa::path(post, path = "/api/v1/thresholds/check", tag = "thresholds", operation_id = "check_thresholds",
    request_body = Request,
    responses((status = 200, description = "What became of each", body = Checked)))]
async fn check(State(app): State<App>, Json(request): Json<Request>) -> Result<Json<Checked>, Problem> {
    check_size(&request.expressions)?;
    let thresholds = match (request.plan, request.run) {
        (Some(_), Some(_)) => {
            return Err(
                Problem::invalid("run", "a plan is given as well").with_remedy("give a plan or a run, not both")
            );
        }
        (None, None) => request.expressions.iter().map(|text| checked(text, Threshold::parse(text), None)).collect(),
        (Some(plan), None) => against_plan(&app, &plan, &request.expressions).await?,
        (None, Some(run)) => {
            runs::require(&app, run).await?;
            let expressions = request.expressions;
            app.storage.read(move |results| against_run(results, run, &expressions)).await?
        }
    };
    Ok(Json(Checked { valid: thresholds.iter().all(|threshold| threshold.valid), thresholds }))
}

fn check_size(expressions: &[String]) -> Result<(), Problem> {
    if expressions.is_empty() || expressions.len() > EXPRESSIONS_MAX {
        return Err(Problem::invalid("expressions", format!("there are {}", expressions.len()))
            .with_remedy(format!("give 1 to {EXPRESSIONS_MAX}")));
    }
    match expressions.iter().position(|text| text.len() > EXPRESSION_BYTES_MAX) {
        None => Ok(()),
        Some(place) => Err(Problem::invalid(format!("expressions[{place}]"), "it is too long")
            .with_remedy(format!("give at most {EXPRESSION_BYTES_MAX} bytes"))),
    }
}

async fn against_plan(app: &App, plan: &PlanRequest, expressions: &[String]) -> Result<Vec<CheckedThreshold>, Problem> {
    let policy = app.policy().await?;
    let found =
        experiments::check(app, "thresholds", &plan.database_type, &plan.config, &policy).map_err(|problem| {
            match problem.field().map(|field| format!("plan.{field}")) {
                Some(field) => problem.with_field(field),
                None => problem,
            }
        })?;
    let names = found.spec.names();
    let resolved = |text: &String| Threshold::parse(text).and_then(|parsed| parsed.resolve(&names));
    Ok(expressions.iter().map(|text| checked(text, resolved(text).map(|one| one.threshold().clone()), None)).collect())
}

fn against_run(results: &mut Results, run: Uuid, expressions: &[String]) -> results::Result<Vec<CheckedThreshold>> {
    let record = results.record(run)?;
    let phases = phases(&record);
    let operations: Vec<&'static str> =
        record.operations.iter().filter_map(|operation| for_good(&operation.name)).collect();
    let names = Names { operations: &operations, phases: &phases, unsampled: Vec::new() };
    let resolved: Vec<Result<Condition, ThresholdError>> =
        expressions.iter().map(|text| Threshold::parse(text).and_then(|parsed| parsed.resolve(&names))).collect();
    let mut seconds = Seconds::of(resolved.iter().filter_map(|one| one.as_ref().ok()));
    results.each_sample(run, |sample| seconds.add(&sample))?;
    let histograms = results.histograms(run)?;
    let evidence = Evidence::of(&record, &histograms, &seconds);
    let judged = resolved.into_iter().zip(expressions).map(|(one, text)| match one {
        Ok(condition) => {
            let judgement = condition.evaluate(&evidence);
            checked(text, Ok(condition.threshold().clone()), Some(judgement))
        }
        Err(error) => checked(text, Err(error), None),
    });
    Ok(judged.collect())
}

/// The phases of a run as they were planned, as far as its record tells.
fn phases(record: &Record) -> Vec<Phase> {
    let planned = record.load.to_load(&[], 1).map(|load| load.phases).unwrap_or_default();
    let fits = planned.len() == record.phases.len();
    let mode = |place: usize| planned.get(if fits { place } else { 0 }).map_or(Mode::Closed, |phase| phase.mode);
    let phases = record.phases.iter().enumerate();
    phases
        .map(|(place, phase)| Phase {
            name: phase.name.clone(),
            recorded: phase.recorded,
            mode: mode(place),
            limit: planned
                .get(place)
                .filter(|_| fits)
                .map_or(Limit::Count(phase.accounting.scheduled), |phase| phase.limit),
            operation: None,
        })
        .collect()
}

/// The same name, for good: conditions keep names of operations as constants. `None` past a limit.
fn for_good(name: &str) -> Option<&'static str> {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return Some(known);
    }
    if names.len() >= NAMES_MAX {
        return None;
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(kept);
    Some(kept)
}

fn checked(
    text: &str,
    read: Result<Threshold, ThresholdError>,
    judgement: Option<ThresholdRecord>,
) -> CheckedThreshold {
    let (canonical, error) = match read {
        Ok(threshold) => (Some(threshold.to_string()), None),
        Err(error) => {
            let span = error.span();
            let hint = error.hint().and_then(in_fields).map(std::borrow::Cow::into_owned);
            (None, Some(Wrong { message: error.message().to_owned(), hint, start: span.start, end: span.end }))
        }
    };
    let judgement = judgement.map(|judged| {
        let ThresholdRecord { passed, value, limit, unit, reason, .. } = judged;
        Judgement { passed, value, limit, unit, reason }
    });
    CheckedThreshold { expression: text.to_owned(), valid: error.is_none(), canonical, error, judgement }
}
