//! `storelab report`: a run, or several side by side, as one HTML file.

use std::fs;
use std::path::Path;

use anyhow::Context;
use results::Results;

use crate::cli::ReportArguments;
use crate::exit::Exit;
use crate::terminal::data;

pub(crate) fn run(arguments: &ReportArguments, store: Option<&Path>) -> anyhow::Result<Exit> {
    let results = Results::open(store)?;
    let runs = arguments.runs.iter().map(|run| results.find(run)).collect::<Result<Vec<_>, _>>()?;
    let html = match runs.as_slice() {
        [run] => results.report(*run)?,
        several => results.report_side_by_side(several)?,
    };
    fs::write(&arguments.output, html)
        .with_context(|| format!("the report {} cannot be written", arguments.output.display()))?;
    data(&arguments.output.display().to_string());
    Ok(Exit::Ok)
}
