//! `cargo xtask knees`: the knee of real stores, searched for twice each: the two must agree.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::lab::{Lab, Server};

/// What limits the store.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bottleneck {
    /// Server and generator in a network of their own, whose link carries so much and no more: the kernel's clock keeps it,
    /// whatever the processors do.
    Link,
    /// The server on one processor, the generator on another.
    Processor,
}

/// The stores, with the condition of each where the processor is the bottleneck: some times what it takes with nothing else
/// to do.
const STORES: &[(&str, &str)] = &[("postgres", "p99 < 10ms"), ("redis", "p99 < 5ms")];
/// The condition behind a link: half of the operations wait in its queue, so the queue does not empty any more. A stall of the
/// host, which one of a hundred operations would see, says nothing about that.
const QUEUE_STANDS: &str = "p50 < 50ms";
/// How far the second may be from the first.
const DISTANCE_MAX: f64 = 0.10;
/// Where servers keep their data: what is searched for is a store's knee, and a disk that other machines share answers a
/// flush in 0.2 ms now and in 600 ms then.
const MEMORY: &str = "/dev/shm";
/// Sessions enough for no user to wait for one, of data that fit into memory.
const SESSIONS: u32 = 32;
const RECORDS: u32 = 10_000;
/// How near the ends of a search come.
const PRECISION: &str = "2%";
/// Times that a search is made at most: one that the host got in the way of says so, and is no knee.
const TRIES_MAX: u32 = 3;
/// Seeds and first loads of the two: from other loads, others are tried, so that two that agree do not do so by their grid.
const SEARCHES: [(u64, &str); 2] = [(1, "100/s"), (2, "130/s")];

/// The server's processor, and the generator's: what one takes from the other moves the knee.
const PROCESSORS: [&str; 2] = ["0", "1"];

/// Some 1,800 reads of 1 kB a second: a tenth of what a processor could do, so that it is not the bottleneck even where half
/// of it is gone. The queue is so long that nothing is dropped.
const NETWORK: &str = "ip link set lo up && tc qdisc add dev lo root tbf rate 20mbit burst 128kb latency 5s \
                       && echo there && read -r _";

/// Searches, and writes a table for docs/statistics to stdout. `storelab` is the program, built for release.
#[expect(clippy::print_stdout, reason = "the table is its answer")]
#[expect(clippy::print_stderr, reason = "it takes minutes, and says where it is")]
pub(crate) fn run(storelab: PathBuf, bottleneck: Bottleneck) -> Result<ExitCode> {
    let home = tempfile::tempdir().context("a folder for the results")?;
    let memory = Path::new(MEMORY);
    let temporary = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let lab = Lab { program: storelab, home: home.path().to_owned(), temporary };
    let place = Place::of(bottleneck)?;
    println!(
        "| store | condition | first | second | apart | p50 at 70 % | p99 at 70 % |\n|---|---|---|---|---|---|---|"
    );
    let mut agree = true;
    for (store, condition) in STORES {
        let condition = place.condition.unwrap_or(condition);
        let mut found = Vec::new();
        for (seed, from) in SEARCHES {
            eprintln!("{store}, from {from}");
            found.push(place.knee(&lab, store, condition, seed, from)?);
        }
        let [first, second] = &found[..] else { bail!("two knees of each store") };
        let apart = (second.rate / first.rate - 1.0).abs();
        agree &= apart <= DISTANCE_MAX;
        let at_share = |of: fn(&Knee) -> f64| format!("{:.2} ms, {:.2} ms", of(first), of(second));
        println!(
            "| {store} | `{condition}` | {first} | {second} | {:.1} % | {} | {} |",
            apart * 100.0,
            at_share(|knee| knee.p50_ms_at_share),
            at_share(|knee| knee.p99_ms_at_share)
        );
    }
    Ok(if agree { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the two run, and what is asked there.
struct Place {
    server: Vec<String>,
    generator: Vec<String>,
    condition: Option<&'static str>,
    workload: &'static str,
    /// How long a step of the search takes.
    step: &'static str,
    /// Holds the network: its end is the network's.
    _network: Option<Child>,
}

impl Place {
    fn of(bottleneck: Bottleneck) -> Result<Self> {
        match bottleneck {
            Bottleneck::Processor => {
                let on = |processor: &str| ["taskset", "--cpu-list", processor].map(str::to_owned).to_vec();
                let [server, generator] = PROCESSORS.map(on);
                Ok(Self { server, generator, condition: None, workload: "ycsb:b", step: "15s", _network: None })
            }
            Bottleneck::Link => {
                let network = network()?;
                let inside = vec!["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", network.id())];
                Ok(Self {
                    server: inside.clone(),
                    generator: inside,
                    condition: Some(QUEUE_STANDS),
                    workload: "ycsb:c",
                    step: "10s",
                    _network: Some(network),
                })
            }
        }
    }

    /// Searches, and once more where the host was the bottleneck and so no knee was found.
    #[expect(clippy::print_stderr, reason = "what was left out is told")]
    fn knee(&self, lab: &Lab, store: &str, condition: &str, seed: u64, from: &str) -> Result<Knee> {
        let mut tries = 0;
        loop {
            tries += 1;
            let record = self.search(lab, store, condition, seed, from)?;
            let notes = &record["search"]["notes"];
            match Knee::of(&record) {
                Ok(knee) if knee.interval.is_some() || tries == TRIES_MAX => return Ok(knee),
                Err(error) if tries == TRIES_MAX => return Err(error.context(format!("{store}: {notes}"))),
                Ok(knee) => eprintln!("no knee, and once more: {knee}: {notes}"),
                Err(error) => eprintln!("no knee, and once more: {error}: {notes}"),
            }
        }
    }

    /// One search on a server of its own: the record of the run at the end of it.
    fn search(&self, lab: &Lab, store: &str, condition: &str, seed: u64, from: &str) -> Result<Value> {
        let server = Server::start(lab, store, &self.server)?;
        let plan = json!({
            "target": server.url,
            "workload": { self.workload: { "records": RECORDS } },
            "seed": seed,
            "load": {
                "sessions": SESSIONS,
                "arrivals": "poisson",
                "find": {
                    "rate": { "from": from },
                    "under": condition,
                    "for": self.step,
                    "precision": PRECISION,
                    "then": "70%",
                },
            },
        });
        let path = lab.home.join("plan.json");
        fs::write(&path, plan.to_string()).context("a plan of the search")?;
        let mut command = lab.command(&self.generator);
        let output = command.arg("run").arg(&path).arg("--json").output().context("the program does not run")?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{store}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// A network of its own with nothing but loopback, as wide as [`NETWORK`] says; it ends once the input of this process does.
fn network() -> Result<Child> {
    let mut holder = Command::new("unshare")
        .args(["--net", "/bin/sh", "-c", NETWORK])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("`unshare` of util-linux does not run")?;
    let mut said = String::new();
    if let Some(stdout) = holder.stdout.as_mut() {
        BufReader::new(stdout).read_line(&mut said).context("the network's holder")?;
    }
    if said.trim() != "there" {
        bail!("no network of our own: it takes root, and `ip` and `tc` of iproute2; --processor needs neither");
    }
    Ok(holder)
}

struct Knee {
    rate: f64,
    interval: Option<(f64, f64)>,
    confirmed: bool,
    p50_ms_at_share: f64,
    p99_ms_at_share: f64,
}

impl Knee {
    fn of(record: &Value) -> Result<Self> {
        let search = &record["search"];
        let milliseconds = |name: &str| {
            record["total"]["latency_us"][name].as_f64().map(|us| us / 1e3).with_context(|| format!("no {name}"))
        };
        Ok(Self {
            rate: search["knee"].as_f64().or(search["found"].as_f64()).context("no load kept the condition")?,
            interval: search["interval"][0].as_f64().zip(search["interval"][1].as_f64()),
            confirmed: search["confirmed"] == true,
            p50_ms_at_share: milliseconds("p50")?,
            p99_ms_at_share: milliseconds("p99")?,
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
