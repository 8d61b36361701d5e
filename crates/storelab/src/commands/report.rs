//! `storelab report`: a run as one HTML file.

use std::fs;
use std::path::Path;

use anyhow::Context;
use results::Results;

use crate::cli::ReportArguments;
use crate::exit::Exit;
use crate::terminal::data;

pub(crate) fn run(arguments: &ReportArguments, store: Option<&Path>) -> anyhow::Result<Exit> {
    let results = Results::open(store)?;
    let html = results.report(results.find(&arguments.run)?)?;
    fs::write(&arguments.output, html)
        .with_context(|| format!("the report {} cannot be written", arguments.output.display()))?;
    data(&arguments.output.display().to_string());
    Ok(Exit::Ok)
}
