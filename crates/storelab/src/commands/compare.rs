//! `storelab compare`: runs beside a baseline.

mod text;

use std::path::Path;

use experiment::{Change, CompareOptions, Comparison, Noise, Record, RunData, SideData, Subject, comparison_markdown};
use results::{Results, short_id};
use store::Error;

use super::run::write_file;
use crate::cli::{CompareArguments, FailOn, JudgingFlags};
use crate::exit::Exit;
use crate::terminal::{data, json};

/// Between a results store's file and a run in it.
const STORE_SUFFIX: &str = ".db:";

pub(crate) fn run(arguments: &CompareArguments, store: Option<&str>) -> anyhow::Result<Exit> {
    let mut results = super::open(store)?;
    let mut sides = Vec::new();
    for asked in &arguments.sides {
        // A name may have commas in it.
        let is_one = results.find(asked).is_ok();
        let runs: Vec<&str> = if is_one { vec![asked] } else { asked.split(',').collect() };
        sides.push(runs.into_iter().map(|run| run_of(&mut results, run)).collect::<anyhow::Result<Vec<_>>>()?);
    }
    let has_doubts = !arguments.accept_invalid && is_doubtful(sides.iter().flatten().map(RunData::record));
    let comparison = judged(&results, &labelled(sides), &arguments.judging)?;
    if let Some(path) = &arguments.report {
        write_file("report", path, &results.report_comparison(&comparison)?)?;
    }
    tell(&comparison, &arguments.judging, arguments.json)?;
    Ok(exit_of(&comparison, &arguments.judging, has_doubts))
}

/// A run with its seconds: of the results store, or of another that is named before it.
pub(super) fn run_of(results: &mut Results, asked: &str) -> anyhow::Result<RunData> {
    if let Some((folder_and_name, run)) = asked.rsplit_once(STORE_SUFFIX) {
        let path = format!("{folder_and_name}.db");
        if !Path::new(&path).is_file() {
            return Err(Error::config(format!("there is no results store `{path}`"))
                .with_hint("write FILE.db:RUN, the file that --store or STORELAB_STORE named when the run was made")
                .into());
        }
        let mut other = Results::open(&Path::new(&path).into())?;
        let run = other.find(run)?;
        return Ok(other.run_data(run)?);
    }
    let is_document = Path::new(asked).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if is_document && Path::new(asked).is_file() {
        return Err(Error::config(format!(
            "`{asked}` is a record without its seconds, from which nobody can tell how sure its figures are"
        ))
        .with_hint("name the run in its results store: RUN, or FILE.db:RUN for a copy of the store of another machine")
        .into());
    }
    let run = results.find(asked)?;
    Ok(results.run_data(run)?)
}

/// Sides with names that tell them apart: the runs' own where they do, else with the end of an id.
pub(super) fn labelled(sides: Vec<Vec<RunData>>) -> Vec<SideData> {
    let name = |side: &[RunData]| side.first().map(|run| run.record().name.clone()).unwrap_or_default();
    let names: Vec<_> = sides.iter().map(|side| name(side)).collect();
    let labels = sides.iter().zip(&names).map(|(side, name)| {
        let is_alone = names.iter().filter(|other| *other == name).count() == 1;
        let id = side.first().map(|run| short_id(run.record().id)).unwrap_or_default();
        if is_alone { name.clone() } else { format!("{name} {id}") }
    });
    let labels: Vec<_> = labels.collect();
    sides.into_iter().zip(labels).map(|(side, label)| SideData::new(label, side)).collect()
}

/// Compares with the noise that is given, or was measured for such runs, or is usual.
pub(super) fn judged(results: &Results, sides: &[SideData], flags: &JudgingFlags) -> anyhow::Result<Comparison> {
    let noise = match flags.noise {
        Some(noise) => Noise::given(noise),
        None => measured(results, sides)?.unwrap_or_default(),
    };
    Ok(experiment::compare(sides, &CompareOptions { force: flags.force, noise })?)
}

/// Where all runs are of one kind, on one host, and somebody calibrated it.
fn measured(results: &Results, sides: &[SideData]) -> anyhow::Result<Option<Noise>> {
    let mut subjects = sides.iter().flat_map(SideData::runs).map(|run| Subject::of(run.record()));
    let Some(first) = subjects.next() else { return Ok(None) };
    if subjects.any(|subject| subject != first) {
        return Ok(None);
    }
    Ok(results.calibration(&first)?.map(|calibration| calibration.noise()))
}

/// Writes a comparison where the flags want it.
pub(super) fn tell(comparison: &Comparison, flags: &JudgingFlags, as_json: bool) -> anyhow::Result<()> {
    if let Some(path) = &flags.markdown {
        let markdown = comparison_markdown(comparison);
        if path.as_os_str() == "-" {
            data(&markdown);
        } else {
            write_file("comparison", path, &markdown)?;
        }
    }
    let to_stdout = flags.markdown.as_ref().is_some_and(|path| path.as_os_str() == "-");
    match (as_json, to_stdout) {
        (true, _) => json(comparison)?,
        (false, true) => {}
        (false, false) => data(&text::of(comparison)),
    }
    Ok(())
}

/// Whether there are invalid runs whose numbers the user has not accepted.
pub(super) fn is_doubtful<'a>(records: impl IntoIterator<Item = &'a Record>) -> bool {
    records.into_iter().any(|record| !record.verdict.valid && !record.verdict.accepted)
}

pub(super) fn exit_of(comparison: &Comparison, flags: &JudgingFlags, has_doubts: bool) -> Exit {
    let is_slower = comparison.metrics.iter().any(|metric| metric.is_headline && metric.change_word == Change::Slower);
    match flags.fail_on {
        _ if has_doubts => Exit::Invalid,
        Some(FailOn::Slower) if is_slower => Exit::Threshold,
        _ => Exit::Ok,
    }
}
