//! One run, from its claim to its end.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use experiment::{DataPolicy, Event, Options, Record, Status};
use results::Results;
use results::service::{Division, Experiment, ExperimentStatus, Finished, Job, Outcome, Resumption};
use serde_json::{Value, json};
use store::{Error, Result};
use uuid::Uuid;

use super::sink::FencedSink;
use super::teller::Teller;
use super::{Means, Running, Why};
use crate::config::{self, Checked, Config};
use crate::live::ended_body;
use crate::problem::{Problem, chain};
use crate::shapes::{ExperimentResults, Gathered};
use crate::traces;

/// Between attempts to write the end of a run down where the store is full or away.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What the reason of a run begins with that a full disk ended.
const STORAGE_FULL: &str = "storage_full";

/// How a run ended.
struct End {
    status: ExperimentStatus,
    reason: Option<String>,
    record: Option<Record>,
}

/// Carries a run out, and writes down how it ended: now, or once that is possible.
pub(super) fn carry_out(means: &Means, running: &Running, is_stopping: &dyn Fn() -> bool) {
    let run = running.job.run;
    let caller = means.callers.take(run);
    let _within = tracing::info_span!("run", run_id = %run).entered();
    let carried = catch_unwind(AssertUnwindSafe(|| carry(means, running, caller.as_deref())));
    let (end, teller) = carried.unwrap_or_else(|_| {
        tracing::error!(%run, "a run has panicked");
        let reason = Some("the service has failed: a bug, of which its log says more".to_owned());
        (End { status: ExperimentStatus::Failed, reason, record: None }, None)
    });
    let figures = end
        .record
        .as_ref()
        .zip(teller.as_ref())
        .and_then(|(record, teller)| serde_json::to_string(&ExperimentResults::of(record, &teller.gathered)).ok());
    let is_lost = write_down(means, &running.job, &end, figures.as_deref(), is_stopping);
    if let Some(teller) = teller {
        let body = match &end.record {
            _ if is_lost => json!({ "status": "interrupted", "reason": "the run was taken away from this process" }),
            Some(record) => with_status(ended_body(record, end.reason.as_deref()), end.status),
            None => json!({ "status": end.status.name(), "reason": end.reason }),
        };
        teller.end(end.record.as_ref().filter(|_| !is_lost), &body);
    }
}

/// What the experiment came to, which says more than the record: a run that somebody cancelled is an interrupted one there.
fn with_status(mut body: Value, status: ExperimentStatus) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.insert("status".to_owned(), status.name().into());
    }
    body
}

/// The run itself. What goes wrong is how it ended.
fn carry(means: &Means, running: &Running, caller: Option<&str>) -> (End, Option<Teller>) {
    let results = match Results::open(&means.location) {
        Ok(results) => Rc::new(RefCell::new(results)),
        Err(error) => return (ended_by(running, &error.into()), None),
    };
    let run = running.job.run;
    let trace = caller.and_then(traces::trace_of);
    let mut teller = Teller::new(run, Rc::clone(&results), means, trace);
    let found = results.borrow_mut().experiment(running.job.experiment);
    let checked = found.map_err(Error::from).and_then(|found| checked(means, found));
    let finished = checked.and_then(|Checked { spec, parts, .. }| {
        teller.expect(&spec.load);
        let options = Options { run: Some(run), data: DataPolicy::Clean, report: &|_| None, accepts_invalid: false };
        let channel = Arc::clone(&teller.channel);
        let mut sink = FencedSink { kept: Rc::clone(&results), job: &running.job, channel };
        let tell = &mut |event: Event<'_>| teller.tell(&event);
        match (parts, running.job.resumes) {
            (None, Some(from)) => {
                let resumption = Resumption::of(&spec, &means.location, from)?;
                experiment::run_driven(Rc::new(resumption), spec, options, &mut sink, &running.stop, tell)
            }
            (None, None) => experiment::run(spec, options, &mut sink, &running.stop, tell),
            (Some(parts), _) => {
                let division = Division::of(&spec, &means.location, parts.count, parts.patience)?;
                experiment::run_driven(Rc::new(division), spec, options, &mut sink, &running.stop, tell)
            }
        }
    });
    let end = match finished {
        Ok(finished) => {
            traces::run(&finished.record, caller);
            ended(running, finished.record)
        }
        Err(error) => {
            let mut end = ended_by(running, &error);
            // A run that began and could not be carried out to its end has a record all the same.
            end.record = results.borrow_mut().record(run).ok().filter(|record| record.status != Status::Running);
            end
        }
    };
    (end, Some(teller))
}

/// What the experiment is to do, checked once more: what it may reach can have changed while it waited.
fn checked(means: &Means, found: Option<Experiment>) -> Result<Checked> {
    let experiment = found.ok_or_else(|| Error::config("the experiment has been deleted"))?;
    let mut config: Config = serde_json::from_str(&experiment.config)
        .map_err(|error| Error::config("the experiment's config cannot be read any more").with_source(error))?;
    if let Some(sealed) = &experiment.sealed {
        config.target = Some(means.vault.open_sealed(sealed)?.into());
    }
    let policy = (means.policy)();
    let lookup = |name: &str| means.environment.get(name);
    let Experiment { name, database_type, .. } = &experiment;
    config::check(name, database_type, &config, &policy, &means.caps, means.agents(), &lookup)
        .map_err(|problem| refused(&problem))
}

fn refused(problem: &Problem) -> Error {
    match problem.field() {
        Some(field) => Error::config(format!("`{field}`: {}", problem.reason())),
        None => Error::config(problem.reason().to_owned()),
    }
}

/// How a run ended that came to an end.
fn ended(running: &Running, record: Record) -> End {
    let aborting = record.verdict.thresholds.iter().find(|threshold| threshold.aborted_at_seconds.is_some());
    let (status, reason) = match (record.status, running.why()) {
        (Status::Completed, _) => (ExperimentStatus::Completed, None),
        (_, Why::Cancelled) => (ExperimentStatus::Cancelled, None),
        (_, Why::TooLong) => (ExperimentStatus::Failed, Some(TOO_LONG.to_owned())),
        (_, Why::Ending | Why::Lost) => (ExperimentStatus::Interrupted, None),
        (_, Why::NotStopped) => match aborting {
            Some(threshold) => {
                let reason = format!("a threshold ended the run: {}", threshold.expression);
                (ExperimentStatus::Failed, Some(reason))
            }
            None => (ExperimentStatus::Completed, None),
        },
    };
    End { status, reason, record: Some(record) }
}

/// Said of a run that took more time than the operator lets one take.
const TOO_LONG: &str = "the run took longer than one may";

/// How a run ended that could not be carried out.
fn ended_by(running: &Running, error: &Error) -> End {
    let is_full = is_storage_full(error);
    let reason = || {
        let text = match error.hint().and_then(config::in_fields) {
            Some(hint) => format!("{error} (hint: {hint})"),
            None => error.to_string(),
        };
        if is_full { format!("{STORAGE_FULL}: {text}") } else { text }
    };
    let (status, reason) = match running.why() {
        Why::NotStopped => (ExperimentStatus::Failed, Some(reason())),
        // The sink stops the run that it cannot keep any more.
        _ if is_full => (ExperimentStatus::Failed, Some(reason())),
        Why::Cancelled => (ExperimentStatus::Cancelled, None),
        Why::TooLong => (ExperimentStatus::Failed, Some(TOO_LONG.to_owned())),
        Why::Ending | Why::Lost => (ExperimentStatus::Interrupted, None),
    };
    tracing::info!(run = %running.job.run, status = status.name(), error = %chain(error), "a run was not carried out");
    End { status, reason, record: None }
}

fn is_storage_full(error: &Error) -> bool {
    std::iter::successors(std::error::Error::source(error), |error| error.source())
        .any(|source| matches!(source.downcast_ref(), Some(results::Error::StorageFull { .. })))
}

/// Writes the end of a run down; returns whether the run is not this process's any more. Where the store takes nothing at
/// present it is tried again until it does, or until the service ends: then the next one finds the run interrupted.
fn write_down(means: &Means, job: &Job, end: &End, figures: Option<&str>, is_stopping: &dyn Fn() -> bool) -> bool {
    let mut is_told = false;
    loop {
        let written = Results::open(&means.location).and_then(|mut results| {
            let reason = end.reason.as_deref().unwrap_or("the run could not be carried out");
            if end.record.is_none() {
                results.fail_run(job.run, reason)?;
            }
            results.finish(job, Outcome { status: end.status, reason: end.reason.as_deref(), figures })
        });
        match written {
            Ok(Finished::Over { rerun }) => {
                tracing::info!(run = %job.run, status = end.status.name(), ?rerun, "a run is over");
                return false;
            }
            Ok(Finished::Refused) => {
                tracing::warn!(run = %job.run, "a run was taken away from this process");
                return true;
            }
            Err(error) => {
                if !is_told {
                    tracing::warn!(run = %job.run, error = %chain(&error), "the end of a run cannot be written down yet");
                    is_told = true;
                }
                if is_stopping() {
                    return false;
                }
                std::thread::sleep(RETRY_INTERVAL);
            }
        }
    }
}

/// Closes the claim of a run for which the host gave no thread.
pub(super) fn close_unstarted(means: &Means, job: &Job) {
    let reason = "the host gives the service no thread for the run";
    let closed = Results::open(&means.location).and_then(|mut results| {
        results.finish(job, Outcome { reason: Some(reason), ..Outcome::of(ExperimentStatus::Failed) })
    });
    if let Err(error) = closed {
        tracing::error!(run = %job.run, error = %chain(&error), "a run without a thread cannot be closed");
    }
}

/// Keeps with an experiment what its run measured before its process died.
pub(super) fn keep_figures(results: &mut Results, run: Uuid) -> results::Result<()> {
    let record = match results.record(run) {
        // It never began.
        Err(results::Error::NotFound { .. }) => return Ok(()),
        record => record?,
    };
    let mut gathered = Gathered::default();
    let is_recorded = |phase: u16| record.phases.get(usize::from(phase)).is_none_or(|phase| phase.recorded);
    results.each_sample(run, |sample| gathered.add(&sample, is_recorded))?;
    match serde_json::to_string(&ExperimentResults::of(&record, &gathered)) {
        Ok(figures) => results.keep_figures(run, &figures),
        Err(error) => {
            tracing::error!(%run, %error, "what a run measured cannot be written as JSON");
            Ok(())
        }
    }
}
