//! `storelab run --baseline … --repeat N`: runs in turns, then a comparison.

use experiment::{Plan, Record, RunData, Spec};
use results::Results;
use runner::Stop;
use store::Error;

use super::compare::{exit_of, is_doubtful, judged, labelled, run_of, tell};
use super::run::{exit_of as exit_of_run, is_plan, measure, plan_of, stop_on_signal, write_file};
use crate::cli::RunArguments;
use crate::environment;
use crate::exit::Exit;
use crate::terminal::{self, data, microseconds, table, table_text, talk, thousands};

/// What the runs are compared with.
enum Baseline {
    /// Nothing: they are only repeated.
    None,
    /// A run that was made before.
    Kept(Box<RunData>),
    /// Runs in turns with the others.
    Made(Box<Plan>),
}

pub(crate) fn run(arguments: &RunArguments, store: Option<&str>) -> anyhow::Result<Exit> {
    refuse_one_for_all(arguments)?;
    let mut results = super::open(store)?;
    let plan = plan_of(arguments, arguments.subject.as_ref())?;
    let baseline = baseline_of(arguments, &mut results)?;
    // One seed for all that is not said: the same data and operations on both sides.
    let seed = Spec::new(&plan, &environment::variable)?.seed;
    let plans: Vec<Plan> = match &baseline {
        Baseline::Made(baseline) => vec![(**baseline).clone(), plan],
        Baseline::None | Baseline::Kept(_) => vec![plan],
    };
    let stop = Stop::default();
    stop_on_signal(&stop)?;
    let repeats = arguments.comparison.repeat.map_or(1, std::num::NonZeroU32::get);
    // A report that is asked for is that of all of them together.
    let each = RunArguments { report: None, ..arguments.clone() };
    let records = match in_turns(&each, &plans, repeats, seed, &mut results, &stop)? {
        Ok(records) => records,
        Err(exit) => return Ok(exit),
    };
    if matches!(baseline, Baseline::None) {
        tell_spread(&records[0], arguments.json)?;
        if let Some(path) = &arguments.report {
            let runs: Vec<_> = records.iter().flatten().map(|record| record.id).collect();
            write_file("report", path, &results.report_side_by_side(&runs)?)?;
        }
        return Ok(worst_of(&records));
    }
    let mut sides = Vec::new();
    if let Baseline::Kept(run) = baseline {
        sides.push(vec![*run]);
    }
    for records in &records {
        sides.push(records.iter().map(|record| results.run_data(record.id)).collect::<Result<Vec<_>, _>>()?);
    }
    let has_doubts = is_doubtful(sides.iter().flatten().map(RunData::record));
    let flags = &arguments.comparison.judging;
    let comparison = judged(&results, &labelled(sides), flags)?;
    if let Some(path) = &arguments.report {
        write_file("report", path, &results.report_comparison(&comparison)?)?;
    }
    tell(&comparison, flags, arguments.json)?;
    Ok(match exit_of(&comparison, flags, has_doubts) {
        Exit::Ok => worst_of(&records),
        exit => exit,
    })
}

/// How runs ended that are worth comparing: one that is invalid says so before one whose threshold does not hold.
fn worst_of(records: &[Vec<Record>]) -> Exit {
    let exits: Vec<Exit> = records.iter().flatten().map(exit_of_run).collect();
    [Exit::Invalid, Exit::Threshold].into_iter().find(|exit| exits.contains(exit)).unwrap_or(Exit::Ok)
}

fn baseline_of(arguments: &RunArguments, results: &mut Results) -> anyhow::Result<Baseline> {
    let Some(given) = &arguments.comparison.baseline else { return Ok(Baseline::None) };
    let asked = given.expose();
    let is_document = is_plan(asked);
    // A name before a target: runs without a name of their own are called as `ycsb:b on sqlite`.
    let mut is_kept = || results.find(asked).is_ok() || !asked.contains(':') || asked.contains(".db:");
    if is_document && holds_a_record(asked) || !is_document && is_kept() {
        return Ok(Baseline::Kept(Box::new(run_of(results, asked)?)));
    }
    let mut plan = plan_of(arguments, Some(given))?;
    // A name that was given is that of the run, not of what it is compared with.
    if let Some(name) = &arguments.name
        && plan.name.as_ref() == Some(name)
    {
        plan.name = Some(format!("baseline of {name}"));
    }
    Ok(Baseline::Made(Box::new(plan)))
}

/// Refuses files that are of one run.
fn refuse_one_for_all(arguments: &RunArguments) -> store::Result<()> {
    let flags = [
        ("summary-file", !arguments.summary.summary_file.is_empty(), "`storelab export` writes one of each run"),
        ("junit", arguments.thresholds.junit.is_some(), "`storelab export --format junit` writes one of each run"),
    ];
    match flags.iter().find(|(_, is_given, _)| *is_given) {
        Some((flag, _, instead)) => Err(Error::config(format!("one file of --{flag} cannot be that of several runs"))
            .with_hint(format!("leave out --{flag}: {instead}; --markdown FILE writes the comparison"))),
        None => Ok(()),
    }
}

/// Whether a file is what `--json` wrote, not a plan.
fn holds_a_record(path: &str) -> bool {
    let text = std::fs::read(path).unwrap_or_default();
    serde_json::from_slice::<serde_json::Value>(&text).is_ok_and(|value| value["schema"].is_string())
}

/// Makes the runs, the plans in turns: A B B A A B …, so that what changes slowly touches both alike. Where they were
/// stopped, or one ended so that there is nothing to compare, how to end.
pub(super) fn in_turns(
    arguments: &RunArguments,
    plans: &[Plan],
    repeats: u32,
    seed: u64,
    results: &mut Results,
    stop: &Stop,
) -> anyhow::Result<Result<Vec<Vec<Record>>, Exit>> {
    let mut records = vec![Vec::new(); plans.len()];
    for repeat in 0..repeats {
        let mut order: Vec<usize> = (0..plans.len()).collect();
        if !repeat.is_multiple_of(2) {
            order.reverse();
        }
        for place in order {
            let plan = Plan { seed: Some(seed.wrapping_add(u64::from(repeat))), ..plans[place].clone() };
            let spec = Spec::new(&plan, &environment::variable)?;
            let measured = measure(arguments, spec, results, stop)?;
            let Some((record, _)) = measured.filter(|_| !stop.is_requested()) else {
                talk("interrupted: the runs that had ended are kept, and nothing is made of them");
                return Ok(Err(Exit::Interrupted));
            };
            let exit = exit_of_run(&record);
            if !matches!(exit, Exit::Ok | Exit::Invalid | Exit::Threshold) {
                talk(&format!("the run {} did not end well: `storelab show {}` says why", record.name, record.id));
                return Ok(Err(exit));
            }
            if !arguments.quiet {
                let made = records.iter().map(Vec::len).sum::<usize>() + 1;
                talk(&format!("run {made} of {}: {}", repeats as usize * plans.len(), line_of(&record)));
            }
            records[place].push(record);
        }
    }
    Ok(Ok(records))
}

fn line_of(record: &Record) -> String {
    format!(
        "{} · {}/s · p50 {} · p99 {}{}",
        record.name,
        thousands(record.throughput_per_second.round() as u64),
        microseconds(record.total.latency_us.p50),
        microseconds(record.total.latency_us.p99),
        if record.verdict.valid { "" } else { " · INVALID" },
    )
}

/// What repeats of one plan differ by, or with `--json` their records.
fn tell_spread(records: &[Record], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return terminal::json(&records);
    }
    let mut rows = table(["METRIC", "LEAST", "MEDIAN", "GREATEST", "SPREAD"]);
    let mut row = |name: &str, value: &dyn Fn(&Record) -> f64, shown: &dyn Fn(f64) -> String| {
        let mut values: Vec<f64> = records.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (values[0], values[values.len() - 1]);
        let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        let spread = if median > 0.0 { (greatest - least) / median * 100.0 } else { 0.0 };
        rows.add_row([name.to_owned(), shown(least), shown(median), shown(greatest), format!("{spread:.1} %")]);
    };
    row("throughput", &|record| record.throughput_per_second, &|value| {
        format!("{}/s", thousands(value.round() as u64))
    });
    row("mean", &|record| record.total.latency_us.mean, &microseconds);
    row("p50", &|record| record.total.latency_us.p50, &microseconds);
    row("p99", &|record| record.total.latency_us.p99, &microseconds);
    data(&format!("{} runs of {}\n\n{}", records.len(), records[0].name, table_text(&rows)));
    Ok(())
}
