//! `cargo xtask knees`: the knee of real stores, searched for twice each: the two must agree.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::lab::{Lab, Server};

/// The stores, with the condition of each: some times what it takes with nothing else to do.
const STORES: &[(&str, &str)] = &[("postgres", "p99 < 10ms"), ("redis", "p99 < 5ms")];
/// How far the second may be from the first.
const DISTANCE_MAX: f64 = 0.10;
/// Where servers keep their data: what is searched for is a store's knee, and a disk that other machines share answers a
/// flush in 0.2 ms now and in 600 ms then.
const MEMORY: &str = "/dev/shm";
/// A mix that reads and writes, on data that fit into memory; independent users, and sessions enough for none to wait for one.
const LOAD: &[&str] = &[
    "--workload",
    "ycsb:b",
    "--set",
    "records=10000",
    "--sessions",
    "32",
    "--arrivals",
    "poisson",
    "--for",
    "15s",
    "--then",
    "70%",
];

/// The server's processor, and the generator's: what one takes from the other moves the knee.
const PROCESSORS: [&str; 2] = ["0", "1"];

/// Searches, and writes a table for docs/statistics to stdout. `storelab` is the program, built for release.
#[expect(clippy::print_stdout, reason = "the table is its answer")]
#[expect(clippy::print_stderr, reason = "it takes minutes, and says where it is")]
pub(crate) fn run(storelab: PathBuf) -> Result<ExitCode> {
    let home = tempfile::tempdir().context("a folder for the results")?;
    let memory = Path::new(MEMORY);
    let temporary = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let lab = Lab { program: storelab, home: home.path().to_owned(), temporary };
    println!("| store | condition | first | second | apart | p99 at 70 % |\n|---|---|---|---|---|---|");
    let mut agree = true;
    for (store, condition) in STORES {
        let mut found = Vec::new();
        for seed in ["1", "2"] {
            eprintln!("{store}, seed {seed}");
            let server = Server::start(&lab, store, Some(PROCESSORS[0]))?;
            let mut search = lab.command(Some(PROCESSORS[1]));
            search.args(["run", &server.url, "--find-rate", condition, "--seed", seed, "--json"]).args(LOAD);
            let output = search.output().context("the program does not run")?;
            let record: Value = serde_json::from_slice(&output.stdout)
                .with_context(|| format!("{store}: {}", String::from_utf8_lossy(&output.stderr)))?;
            found.push(Knee::of(&record).with_context(|| format!("{store}: {}", record["search"]["notes"]))?);
        }
        let [first, second] = &found[..] else { bail!("two knees of each store") };
        let apart = (second.rate / first.rate - 1.0).abs();
        agree &= apart <= DISTANCE_MAX;
        println!(
            "| {store} | `{condition}` | {first} | {second} | {:.1} % | {:.2} ms, {:.2} ms |",
            apart * 100.0,
            first.milliseconds_at_share,
            second.milliseconds_at_share
        );
    }
    Ok(if agree { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Knee {
    rate: f64,
    interval: Option<(f64, f64)>,
    confirmed: bool,
    milliseconds_at_share: f64,
}

impl Knee {
    fn of(record: &Value) -> Result<Self> {
        let search = &record["search"];
        Ok(Self {
            rate: search["knee"].as_f64().or(search["found"].as_f64()).context("no load kept the condition")?,
            interval: search["interval"][0].as_f64().zip(search["interval"][1].as_f64()),
            confirmed: search["confirmed"] == true,
            milliseconds_at_share: record["total"]["latency_us"]["p99"].as_f64().context("no p99")? / 1e3,
        })
    }
}

impl std::fmt::Display for Knee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0}/s", self.rate)?;
        match self.interval {
            Some((low, high)) => write!(f, " ({low:.0}–{high:.0})")?,
            None => write!(f, " (no upper end)")?,
        }
        if self.confirmed { Ok(()) } else { write!(f, ", not confirmed") }
    }
}
