//! What Storelab costs beside a bare loop over the same client library: processor time of the client for each operation.
//!
//! The bare loop reads records of YCSB's shape by their key as somebody would write it with that library, and does nothing
//! else: no schedule, no histogram, no verification, no rows taken apart. Storelab runs YCSB C on the same server. Both are run
//! in turn, several times, and the medians are compared.

mod cassandra;
mod dynamodb;
mod http;
mod mongodb;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use nix::sys::resource::{UsageWho, getrusage};
use provision::{Home, Options, Server};
use serde_json::Value;
use tokio::runtime::{Builder, LocalOptions};
use url::Url;

/// What a record has: as YCSB's, ten fields of 100 bytes.
pub(crate) const FIELDS: usize = 10;
pub(crate) const FIELD_BYTES: usize = 100;

/// How many records a bare loop reads from.
pub(crate) const RECORDS: usize = 1000;

/// Connections, on one thread.
const SESSIONS: usize = 8;

/// The share of client time that everything beside the library may add.
const GOAL: f64 = 1.25;

/// The place of the table on its page.
const PLACE: &str = "floors";

/// Storelab beside bare loops over the same client libraries.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program, built for release.
    #[arg(long)]
    storelab: PathBuf,
    /// Only this store.
    #[arg(long)]
    store: Option<String>,
    /// How often each is run.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Operations of a run.
    #[arg(long, default_value_t = 20_000)]
    operations: usize,
    /// The page whose table is replaced.
    #[arg(long)]
    docs: Option<PathBuf>,
}

/// A bare loop over a library: fills its own place in the store, and then reads.
pub(crate) trait Bare {
    /// Makes records of its own.
    async fn fill(&self) -> Result<()>;

    /// Opens a connection and reads as many records from it, one after another.
    async fn read(&self, reads: usize) -> Result<()>;
}

/// A store, the library that its driver is made of, and the share of the operations that are enough: where the server takes
/// milliseconds for each, the rest would only take minutes.
struct Floor {
    engine: &'static str,
    library: &'static str,
    share: f64,
}

const FLOORS: &[Floor] = &[
    Floor { engine: "cassandra", library: "scylla, a prepared statement", share: 1.0 },
    Floor { engine: "dynamodb", library: "aws-sdk-dynamodb, GetItem", share: 1.0 },
    Floor { engine: "elasticsearch", library: "hyper, GET of a document's source", share: 1.0 },
    Floor { engine: "influxdb", library: "hyper, a Flux query and the fields of its CSV", share: 0.2 },
    Floor { engine: "mongodb", library: "mongodb, find_one of a raw document", share: 1.0 },
];

/// What came of a store.
struct Outcome {
    store: &'static str,
    version: String,
    library: &'static str,
    bare: f64,
    storelab: f64,
}

impl Outcome {
    fn ratio(&self) -> f64 {
        self.storelab / self.bare
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut outcomes = Vec::new();
    for floor in FLOORS.iter().filter(|floor| arguments.store.as_deref().is_none_or(|wanted| wanted == floor.engine)) {
        let engine = provision::engine(floor.engine)?;
        if engine.find(&Home::locate()?).is_err() {
            say(&format!("{} is not installed: left out", floor.engine));
            continue;
        }
        let server = Server::start(engine, &Options::default())?;
        let outcome = measure(floor, &server, &arguments)?;
        server.stop()?;
        say(&row(&outcome));
        outcomes.push(outcome);
    }
    let table = table(&outcomes);
    say(&table);
    match &arguments.docs {
        Some(path) => figures::replace(path, PLACE, &table),
        None => Ok(()),
    }
}

fn measure(floor: &Floor, server: &Server, arguments: &Arguments) -> Result<Outcome> {
    let url = Url::parse(server.url()).context("the server's URL")?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    let operations = (arguments.operations as f64 * floor.share) as usize;
    let (mut bare, mut storelab) = (Vec::new(), Vec::new());
    for round in 0..=arguments.rounds {
        let of_bare = match floor.engine {
            "cassandra" => run_bare(&cassandra::Scylla(&url), operations, round == 0)?,
            "dynamodb" => run_bare(&dynamodb::Sdk(&url), operations, round == 0)?,
            "mongodb" => run_bare(&mongodb::Official(&url), operations, round == 0)?,
            _ => run_bare(&http::Hyper::of(floor.engine, &url), operations, round == 0)?,
        };
        let of_storelab = run_storelab(&arguments.storelab, server.url(), operations)?;
        // The first of each warms the server up.
        if round > 0 {
            say(&format!("{} {round}: bare {of_bare:.1} µs, storelab {of_storelab:.1} µs", floor.engine));
            bare.push(of_bare);
            storelab.push(of_storelab);
        }
    }
    let version = server.instance().version().to_owned();
    let median = |values: &[f64]| figures::median(values).context("at least one round");
    let (bare, storelab) = (median(&bare)?, median(&storelab)?);
    Ok(Outcome { store: floor.engine, version, library: floor.library, bare, storelab })
}

/// Microseconds of processor time for each read.
fn run_bare(bare: &impl Bare, operations: usize, is_first: bool) -> Result<f64> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        if is_first {
            bare.fill().await?;
        }
        let before = processor_time()?;
        let each = operations / SESSIONS;
        let sessions = [(); SESSIONS].map(|()| bare.read(each));
        for result in join(sessions).await {
            result?;
        }
        let used = processor_time()?.saturating_sub(before);
        Ok(used.as_secs_f64() * 1e6 / (each * SESSIONS) as f64)
    })
}

/// Waits for all of them on this thread.
async fn join<T>(futures: [impl Future<Output = T>; SESSIONS]) -> Vec<T> {
    let mut pending: Vec<_> = futures.into_iter().map(Box::pin).map(Some).collect();
    let mut done: Vec<Option<T>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in pending.iter_mut().zip(&mut done) {
            if let Some(running) = future
                && let std::task::Poll::Ready(value) = running.as_mut().poll(context)
            {
                (*future, *done) = (None, Some(value));
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// What this process has used so far.
fn processor_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let of = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs()) + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

/// The same of Storelab, which measures itself.
fn run_storelab(program: &Path, url: &str, operations: usize) -> Result<f64> {
    let home = tempfile::tempdir()?;
    let output = Command::new(program)
        .env("STORELAB_HOME", home.path())
        .args(["run", url, "--json", "--workload", "ycsb:c", "--set"])
        .arg(format!("records={RECORDS}"))
        .args(["--workers", "1", "--sessions", &SESSIONS.to_string(), "--operations", &operations.to_string()])
        .args(["--collect", "host"])
        .output()?;
    let record: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("storelab: {}", String::from_utf8_lossy(&output.stderr)))?;
    if record["accounting"]["succeeded"].as_u64() != Some(operations as u64) {
        bail!("storelab did not do what was planned: {}", record["accounting"]);
    }
    record["generator"]["cpu_us_per_operation"].as_f64().context("the processor time of the generator")
}

fn table(outcomes: &[Outcome]) -> String {
    let mut lines = vec![
        "| store | a bare loop over | bare, µs | Storelab, µs | ratio | goal |".to_owned(),
        "|---|---|---:|---:|---:|---|".to_owned(),
    ];
    lines.extend(outcomes.iter().map(row));
    lines.join("\n")
}

fn row(outcome: &Outcome) -> String {
    let Outcome { store, version, library, bare, storelab } = outcome;
    let ratio = outcome.ratio();
    let met = if ratio <= GOAL { "met" } else { "missed" };
    format!("| {store} {version} | {library} | {bare:.1} | {storelab:.1} | {ratio:.2} | ≤ {GOAL}: {met} |")
}

fn say(line: &str) {
    // Whoever does not listen any more does not need it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A record's key.
pub(crate) fn key(number: usize) -> String {
    format!("user{number:08}")
}

/// A field's name.
pub(crate) fn field(number: usize) -> String {
    format!("field{number}")
}

/// A field's value.
pub(crate) fn value() -> String {
    "x".repeat(FIELD_BYTES)
}
