//! `storelab report`: a run, or several side by side, as one HTML file; or the flame graph of a run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use results::Results;
use store::Error;

use crate::cli::{FlamegraphOf, ReportArguments};
use crate::exit::Exit;
use crate::terminal::data;

/// Where they are written to where nothing says otherwise.
const REPORT: &str = "report.html";
const FLAMEGRAPH: &str = "flamegraph.svg";

pub(crate) fn run(arguments: &ReportArguments, store: Option<&str>) -> anyhow::Result<Exit> {
    let mut results = super::open(store)?;
    let runs = arguments.runs.iter().map(|run| results.find(run)).collect::<Result<Vec<_>, _>>()?;
    let output = |default: &str| arguments.output.clone().unwrap_or_else(|| PathBuf::from(default));
    let (output, bytes) = match (runs.as_slice(), arguments.flamegraph) {
        ([run], Some(of)) => {
            let output = output(FLAMEGRAPH);
            let bytes = flamegraph(&mut results, *run, of, &output)?;
            (output, bytes)
        }
        (_, Some(_)) => {
            return Err(Error::config("a flame graph is of one run")
                .with_hint("name one run with --flamegraph")
                .into());
        }
        ([run], None) => (output(REPORT), results.report(*run)?.into_bytes()),
        (several, None) => (output(REPORT), results.report_side_by_side(several)?.into_bytes()),
    };
    fs::write(&output, bytes).with_context(|| format!("the report {} cannot be written", output.display()))?;
    data(&output.display().to_string());
    Ok(Exit::Ok)
}

/// The picture, or its stacks where the file's name asks for them.
fn flamegraph(results: &mut Results, run: uuid::Uuid, of: FlamegraphOf, output: &Path) -> anyhow::Result<Vec<u8>> {
    let extension = if output.extension().is_some_and(|extension| extension == "folded") { "folded" } else { "svg" };
    let name = format!("flamegraph-{}.{extension}", of.name());
    if let Some(artifact) = results.artifact(run, &name)? {
        return Ok(artifact.bytes);
    }
    let kept: Vec<_> = results.artifacts(run)?.into_iter().map(|artifact| artifact.name).collect();
    let collect = match of {
        FlamegraphOf::Server => "flamegraph",
        FlamegraphOf::Generator => "flamegraph-generator",
    };
    let hint = if kept.is_empty() {
        format!("run it again with --collect host,server,{collect}")
    } else {
        format!("it has {}", kept.join(", "))
    };
    Err(Error::config(format!("the run has no flame graph of the {}", of.name())).with_hint(hint).into())
}
