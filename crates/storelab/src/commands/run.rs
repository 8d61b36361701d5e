//! `storelab run`: an experiment from a plan, a target, or nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

use anyhow::Context;
use experiment::{DataPolicy, Drive, Event, Options, Plan, Record, Spec, Status, TargetText, UNVERIFIED, WorkloadPlan};
use results::Results;
use results::service::{Division, PATIENCE_DEFAULT};
use runner::Stop;
use store::Error;
use uuid::Uuid;

use crate::cli::{LoadFlags, RunArguments};
use crate::commands::{export, override_workload};
use crate::environment;
use crate::exit::Exit;
use crate::knee;
use crate::live::screen;
use crate::progress::Progress;
use crate::terminal::{self, microseconds, talk, thousands};

/// The canonical experiment: what an embedded store does on this machine, in twelve seconds.
const CANONICAL: &str = "
name: canonical
target: 'sqlite:'
workload: ycsb:b
load: { sessions: 2, for: 10s }
";

pub(crate) fn run(arguments: &RunArguments, store: Option<&str>) -> anyhow::Result<Exit> {
    if arguments.comparison.is_given()? {
        return super::repeat::run(arguments, store);
    }
    let plan = plan_of(arguments, arguments.subject.as_ref())?;
    let spec = Spec::new(&plan, &environment::variable)?;
    let summaries = export::summaries(&arguments.summary)?;
    let mut results = super::open(store)?;
    let stop = Stop::default();
    stop_on_signal(&stop)?;
    let Some((record, path)) = measure(arguments, spec, &mut results, &stop)? else {
        talk("interrupted before anything was measured");
        return Ok(Exit::Interrupted);
    };
    if let Some(path) = &arguments.thresholds.junit {
        write_file("JUnit file", path, &results::export::junit::junit(&record))?;
    }
    export::write_summaries(&mut results, record.id, &summaries)?;
    if arguments.json {
        terminal::json(&record)?;
    } else {
        tell_result(&record, &path, arguments.quiet);
    }
    Ok(exit_of(&record))
}

/// One run from its specification to its record and report; none where it was stopped before its load began.
pub(super) fn measure(
    arguments: &RunArguments,
    spec: Spec,
    results: &mut Results,
    stop: &Stop,
) -> anyhow::Result<Option<(Record, PathBuf)>> {
    let reports = results.folder()?.join("reports");
    let report_path = |id: Uuid| arguments.report.clone().unwrap_or_else(|| reports.join(format!("{id}.html")));
    let quiet = arguments.quiet || arguments.json && !terminal::is_watched();
    let mut progress = if arguments.view.live { Progress::live(quiet) } else { Progress::new(quiet) };
    progress.expect(&spec.load);
    let options = Options {
        run: None,
        data: if arguments.keep_data { DataPolicy::Keep } else { DataPolicy::Clean },
        report: &|id| Some(report_path(id).display().to_string()),
        accepts_invalid: arguments.validity.accept_invalid,
    };
    let division = division_of(arguments, &spec, results)?;
    let mut tell = |event: Event<'_>| progress.tell(&event);
    let finished = match division {
        Some(division) => experiment::run_driven(division, spec, options, results, stop, &mut tell),
        None => experiment::run(spec, options, results, stop, &mut tell),
    };
    progress.close();
    let finished = match finished {
        Ok(finished) => finished,
        // A run that was stopped before its load began has nothing to keep.
        Err(_) if stop.is_requested() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let path = report_path(finished.record.id);
    write_file("report", &path, &results.report(finished.record.id)?)?;
    Ok(Some((finished.record, path)))
}

/// Who drives the load, where agents do.
fn division_of(arguments: &RunArguments, spec: &Spec, results: &Results) -> anyhow::Result<Option<Rc<dyn Drive>>> {
    let Some(parts) = arguments.parts.parts else { return Ok(None) };
    let patience = arguments.parts.parts_within.map_or(PATIENCE_DEFAULT, |within| within.0);
    Ok(Some(Rc::new(Division::of(spec, results.location(), parts, patience)?)))
}

/// The plan that `subject`, a plan's file or a target, and the flags make.
pub(super) fn plan_of(arguments: &RunArguments, subject: Option<&TargetText>) -> anyhow::Result<Plan> {
    let mut plan = match subject.map(TargetText::expose) {
        None => Plan::parse(CANONICAL)?,
        Some(subject) if is_plan(subject) => {
            let text = fs::read_to_string(subject).map_err(|source| {
                Error::config(format!("the plan `{subject}` cannot be read"))
                    .with_hint("give a plan's path, a target's URL, or `local:NAME`")
                    .with_source(source)
            })?;
            Plan::parse(&text)?
        }
        Some(target) => Plan { target: Some(target.into()), ..Plan::default() },
    };
    override_workload(&mut plan, &arguments.workload);
    override_load(&mut plan, &arguments.load);
    arguments.find.apply(&mut plan.load)?;
    arguments.thresholds.add_to(&mut plan);
    plan.seed = arguments.seed.or(plan.seed);
    plan.name = arguments.name.clone().or(plan.name);
    if let Some(collect) = &arguments.collect {
        plan.collect = Some(collect.iter().map(|what| (*what).into()).collect());
    }
    if plan.workload.as_ref().is_some_and(|workload| workload.name.is_empty()) {
        plan.workload = None::<WorkloadPlan>;
    }
    Ok(plan)
}

/// Whether the positional argument means a file: it is one, or is named like one.
pub(super) fn is_plan(subject: &str) -> bool {
    let path = Path::new(subject);
    let named_like_one = path
        .extension()
        .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known)));
    path.is_file() || (named_like_one && !subject.contains("://"))
}

/// Lets the flags override the plan's load. A flag that describes the only phase replaces the plan's phases.
fn override_load(plan: &mut Plan, flags: &LoadFlags) {
    let load = &mut plan.load;
    let describes_phase = flags.rate.is_some()
        || flags.arrivals.is_some()
        || flags.duration.is_some()
        || flags.operations.is_some()
        || flags.warm_up.is_some();
    if describes_phase {
        load.phases = None;
    }
    if flags.rate.is_some() || flags.operations.is_some() {
        load.find = None;
    }
    // `--for` and `--operations` exclude each other; the one given replaces the plan's other.
    if flags.duration.is_some() && flags.operations.is_none() {
        load.operations = None;
    }
    if flags.operations.is_some() && flags.duration.is_none() {
        load.duration = None;
    }
    load.rate = flags.rate.or(load.rate);
    load.arrivals = flags.arrivals.map(Into::into).or(load.arrivals);
    load.duration = flags.duration.or(load.duration);
    load.operations = flags.operations.or(load.operations);
    load.warm_up = flags.warm_up.or(load.warm_up);
    load.sessions = flags.sessions.or(load.sessions);
    load.depth = flags.depth.or(load.depth);
    load.workers = flags.workers.or(load.workers);
    load.io = flags.io.map(Into::into).or(load.io);
    load.pin = flags.pin.then_some(true).or(load.pin);
    load.think = flags.think.or(load.think);
    load.timeout = flags.timeout.or(load.timeout);
    load.drain = flags.drain.or(load.drain);
    load.backlog = flags.backlog.or(load.backlog);
}

/// The first Ctrl-C or SIGTERM asks the run to stop; a second one ends the process, whose servers then end by themselves.
pub(super) fn stop_on_signal(stop: &Stop) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = stop.clone();
    let runtime = experiment::local_runtime()?;
    drop(runtime);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let Ok(runtime) = experiment::local_runtime() else { return };
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if stop.is_requested() {
                    screen::give_back();
                    std::process::exit(Exit::Interrupted as i32);
                }
                stop.request();
            }
        });
    })?;
    Ok(())
}

pub(super) fn write_file(what: &str, path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("the {what} {} cannot be written", path.display()))
}

/// Two numbers and where the report is, to stdout; the rest to stderr.
fn tell_result(record: &Record, report: &Path, quiet: bool) {
    if !quiet {
        record.search.iter().for_each(|search| talk(&knee::curve(search)));
        talk(&crate::commands::show::operations_table(record));
        for reason in &record.verdict.reasons {
            talk(&format!("{}: {reason}", if record.verdict.accepted { "invalid, but accepted" } else { "invalid" }));
        }
        for warning in &record.verdict.warnings {
            talk(&format!("warning: {warning}"));
        }
        for message in &record.error_messages {
            talk(&format!("error: {} × {} ({})", thousands(message.count), message.message, message.kind));
        }
        for check in record.verification.checks.iter().filter(|check| !check.passed) {
            talk(&format!("failed check: {}: {}", check.name, check.detail));
        }
        if !record.verdict.thresholds.is_empty() {
            talk(&crate::commands::show::thresholds_table(record));
        }
    }
    let knee = record.search.as_ref().map(|search| format!("knee        {}\n", knee::line(search))).unwrap_or_default();
    terminal::data(&format!(
        "throughput  {} operations/s\np99         {}\n{knee}report      {}",
        thousands(record.throughput_per_second.round() as u64),
        microseconds(record.total.latency_us.p99),
        report.display(),
    ));
}

/// The first that applies, in this order: a run that was interrupted says nothing, figures of a store that was gone or
/// read wrong say little, and thresholds on figures that are not worth what they seem say nothing.
pub(super) fn exit_of(record: &Record) -> Exit {
    let thresholds = &record.verdict.thresholds;
    if record.status == Status::Interrupted && !thresholds.iter().any(|one| one.aborted_at_seconds.is_some()) {
        return Exit::Interrupted;
    }
    let failed = || record.verification.checks.iter().filter(|check| !check.passed);
    if failed().any(|check| check.name == UNVERIFIED) {
        Exit::Unreachable
    } else if failed().next().is_some() {
        Exit::Unverified
    } else if !record.verdict.valid && !record.verdict.accepted {
        Exit::Invalid
    } else if thresholds.iter().any(|one| !one.passed) {
        Exit::Threshold
    } else {
        Exit::Ok
    }
}
