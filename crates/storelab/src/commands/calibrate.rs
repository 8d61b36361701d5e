//! `storelab calibrate`: pairs of identical runs say what a change must exceed on this machine.

use std::path::Path;

use experiment::{Calibration, Change, CompareOptions, Comparison, Noise, RunData, SideData, Span, Spec, Subject};
use jiff::Timestamp;
use runner::Stop;
use store::Error;

use super::compare::is_doubtful;
use super::repeat::in_turns;
use super::run::{is_plan, plan_of, stop_on_signal};
use crate::cli::{CalibrateArguments, RunArguments};
use crate::environment;
use crate::exit::Exit;
use crate::terminal::{data, json, table, table_text, talk};

/// How long each run counts where nothing says it.
const DURATION_DEFAULT: Span = Span(std::time::Duration::from_secs(5));

/// What the runs are called where no plan says it.
const NAME: &str = "calibration";

pub(crate) fn run(arguments: &CalibrateArguments, store: Option<&str>) -> anyhow::Result<Exit> {
    let mut results = super::open(store)?;
    let run = run_arguments(arguments);
    let plan = plan_of(&run, arguments.subject.as_ref())?;
    let seed = Spec::new(&plan, &environment::variable)?.seed;
    let stop = Stop::default();
    stop_on_signal(&stop)?;
    let records = match in_turns(&run, &[plan.clone(), plan], arguments.pairs, seed, &mut results, &stop)? {
        Ok(records) => records,
        Err(exit) => return Ok(exit),
    };
    let has_doubts = is_doubtful(records.iter().flatten());
    let mut pairs = Vec::new();
    for (first, second) in records[0].iter().zip(&records[1]) {
        pairs.push([results.run_data(first.id)?, results.run_data(second.id)?]);
    }
    let first = pairs.first().map(|[first, _]| first.record().clone());
    let first = first.ok_or_else(|| Error::config("a calibration needs pairs of runs"))?;
    let called = Called::of(&pairs, &first)?;
    let calibration = calibrated(&first, &called.by_default);
    results.keep_calibration(calibration.clone())?;
    if arguments.json {
        json(&calibration)?;
    } else {
        data(&text(&calibration, &called, &results.calibration_path()?));
    }
    if has_doubts {
        talk(
            "warning: some of these runs are invalid: `storelab runs` shows which, and the noise is that of such runs",
        );
        return Ok(Exit::Invalid);
    }
    Ok(Exit::Ok)
}

fn run_arguments(arguments: &CalibrateArguments) -> RunArguments {
    let mut load = arguments.load.clone();
    let has_plan = arguments.subject.as_ref().is_some_and(|subject| is_plan(subject.expose()));
    if !has_plan && load.duration.is_none() && load.operations.is_none() {
        load.duration = Some(DURATION_DEFAULT);
    }
    RunArguments {
        subject: arguments.subject.clone(),
        workload: arguments.workload.clone(),
        load,
        seed: arguments.seed,
        name: (!has_plan).then(|| NAME.to_owned()),
        quiet: arguments.quiet,
        ..RunArguments::default()
    }
}

/// Each pair compared, with a noise that may depend on which it is.
fn compared(pairs: &[[RunData; 2]], noise: impl Fn(usize) -> Noise) -> anyhow::Result<Vec<Comparison>> {
    let comparisons = pairs.iter().enumerate().map(|(place, [first, second])| {
        let sides = [("first", first), ("second", second)];
        let sides = sides.map(|(label, run)| SideData::new(label, vec![run.clone()]));
        experiment::compare(&sides, &CompareOptions { force: false, noise: noise(place) })
    });
    Ok(comparisons.collect::<Result<_, _>>()?)
}

fn calibrated(record: &experiment::Record, comparisons: &[Comparison]) -> Calibration {
    Calibration::of(Subject::of(record), Timestamp::now(), record.duration_seconds, comparisons)
}

/// How many of the pairs, which are alike, are called different.
struct Called {
    by_default: Vec<Comparison>,
    /// Each pair judged by what the others measured, since a pair must not judge itself.
    by_the_others: Vec<Comparison>,
}

impl Called {
    fn of(pairs: &[[RunData; 2]], record: &experiment::Record) -> anyhow::Result<Self> {
        let by_default = compared(pairs, |_| Noise::default())?;
        let by_the_others = compared(pairs, |place| {
            let mut others = by_default.clone();
            others.remove(place);
            calibrated(record, &others).noise()
        })?;
        Ok(Self { by_default, by_the_others })
    }
}

fn different(comparisons: &[Comparison], metric: &str) -> usize {
    let is_different = |comparison: &&Comparison| {
        comparison.metrics.iter().any(|found| {
            found.operation == "total" && found.metric == metric && found.change_word != Change::NoSignificantChange
        })
    };
    comparisons.iter().filter(is_different).count()
}

fn text(calibration: &Calibration, called: &Called, path: &Path) -> String {
    let mut rows = table(["METRIC", "NOISE", "95 % INTERVAL", "DIFFERENT BY DEFAULT", "BY THE OTHERS' NOISE"]);
    for (metric, found) in &calibration.metrics {
        let percent = |value: f64| format!("{:.2} %", value * 100.0);
        let high = found.interval.1.map_or_else(|| "unbounded".to_owned(), percent);
        let share = |comparisons: &[Comparison]| format!("{} of {}", different(comparisons, metric), comparisons.len());
        rows.add_row([
            metric.clone(),
            percent(found.noise),
            format!("{} to {high}", percent(found.interval.0)),
            share(&called.by_default),
            share(&called.by_the_others),
        ]);
    }
    format!(
        "{} pairs of identical runs of {} on {}, {:.1} s each\n\n{}\n\nkept in {}; `storelab compare` takes it for such runs on \
         this machine",
        calibration.pairs,
        calibration.subject.workload,
        calibration.subject.driver,
        calibration.duration_seconds,
        table_text(&rows),
        path.display(),
    )
}
