//! Drives the load of a plan and keeps nothing of it: what is counted, without all that a whole Storelab brings beside it
//! and that takes long to build with every optimisation.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use experiment::{DataPolicy, Nowhere, Options, Plan, Spec};
use runner::Stop;

/// Drive the load of a plan, and keep nothing of it.
#[derive(Debug, Parser)]
struct Arguments {
    /// A plan, as `storelab run` takes it.
    plan: PathBuf,
}

fn main() -> Result<()> {
    let file = Arguments::parse().plan;
    let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let spec = Spec::new(&Plan::parse(&text)?, &|_| None)?;
    // Under Callgrind nothing keeps time; what is counted does not depend on it.
    let options = Options { run: None, data: DataPolicy::Clean, report: &|_| None, accepts_invalid: true };
    let finished = experiment::run(spec, options, &mut Nowhere, &Stop::default(), &mut |_| {})?;
    // What failed costs something else.
    let accounting = &finished.record.accounting;
    ensure!(accounting.succeeded == accounting.scheduled, "not every operation succeeded: {accounting:?}");
    Ok(())
}
