//! Results stores to start a service on: an empty one, and one in which a team has worked.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

use crate::http::Connection;
use crate::process::{Service, storelab};
use crate::runs::{self, Plan};

/// Runs with seconds, of the command line, which share the store with the service.
const RUNS: usize = 8;

/// Seconds of each.
const SECONDS: u32 = 20;

/// What a filled store has.
#[derive(Debug, Clone)]
pub(crate) struct Filled {
    pub(crate) home: PathBuf,
    pub(crate) experiments: Vec<String>,
    pub(crate) runs: Vec<String>,
}

/// Fills a store with experiments, through a service, and with some runs.
pub(crate) fn fill(program: &Path, home: &Path, experiments: usize) -> anyhow::Result<Filled> {
    let service = Service::start(program, home)?;
    let mut connection = Connection::open(service.address)?;
    let config = Plan { per_second: 1_000, seconds: 30 }.config();
    let experiments = (0..experiments)
        .map(|number| runs::create(&mut connection, &format!("Reads of records, variant {number}"), &config))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let running: Vec<Child> = (0..RUNS).map(|_| begin_run(program, home)).collect::<anyhow::Result<_>>()?;
    for mut run in running {
        let status = run.wait()?;
        ensure!(status.success(), "a run that fills the store ended with {status}");
    }
    // A connection that nobody asks anything on for ten seconds is closed.
    let listed = Connection::open(service.address)?.get("/api/v1/runs")?;
    let listed = listed["items"].as_array().context("a list of runs")?;
    let runs: Vec<String> = listed.iter().filter_map(|run| Some(run["id"].as_str()?.to_owned())).collect();
    ensure!(runs.len() == RUNS, "{} of {RUNS} runs are kept", runs.len());
    service.stop()?;
    Ok(Filled { home: home.to_owned(), experiments, runs })
}

fn begin_run(program: &Path, home: &Path) -> anyhow::Result<Child> {
    let mut command: Command = storelab(program, home);
    command.args(["run", "null:?latency=1ms", "--workload", "ycsb:b", "--rate", "100/s", "--warm-up", "0s", "--for"]);
    command.arg(format!("{SECONDS}s")).args(["--sessions", "2", "--workers", "1", "--quiet", "--accept-invalid"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("a run does not start")
}
