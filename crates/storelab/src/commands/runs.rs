//! `storelab runs`: what the results store holds.

use crate::cli::RunsArguments;
use crate::exit::Exit;
use crate::terminal::{data, json, microseconds, table, table_text, talk, thousands};

pub(crate) fn run(arguments: &RunsArguments, store: Option<&str>) -> anyhow::Result<Exit> {
    let mut results = super::open(store)?;
    let runs = results.runs(arguments.limit)?;
    if arguments.json {
        let runs: Vec<_> = runs
            .iter()
            .map(|run| {
                serde_json::json!({
                    "id": run.id,
                    "name": run.name,
                    "status": run.status.name(),
                    "started_at": run.started_at.to_string(),
                    "driver": run.driver,
                    "workload": run.workload,
                    "variant": run.variant,
                    "throughput_per_second": run.throughput_per_second,
                    "p99_us": run.latency_us_p99,
                    "failed": run.failed,
                    "valid": run.valid,
                    "seconds": run.seconds,
                })
            })
            .collect();
        json(&runs)?;
        return Ok(Exit::Ok);
    }
    if runs.is_empty() {
        talk("no runs yet: `storelab run` makes one");
        return Ok(Exit::Ok);
    }
    let mut rows = table(["RUN", "STARTED", "STATUS", "NAME", "OPERATIONS/S", "P99"]);
    for run in runs {
        rows.add_row([
            results::short_id(run.id),
            run.started_at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            run.status.name().to_owned(),
            run.name,
            run.throughput_per_second.map_or_else(String::new, |rate| thousands(rate.round() as u64)),
            run.latency_us_p99.map_or_else(String::new, microseconds),
        ]);
    }
    data(&table_text(&rows));
    Ok(Exit::Ok)
}
