//! What `storelab serve` costs and how quickly it answers, beside its goals.
//!
//! Against a release build on loopback, each service with a folder of its own that is thrown away: how quickly it is ready, what it
//! has in memory while it is idle, how quickly it answers two thousand reads a second, what two hundred viewers of a run cost, and
//! what a run costs more than from the command line. Each is measured several times and judged by its median; what else the host did
//! meanwhile stands beside it. Figures are worth something only while nobody else uses the host.

mod host;
mod http;
mod outcome;
mod process;
mod reads;
mod ready;
mod runs;
mod store;
mod viewers;

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use serde_json::{Map, Value, json};
use telemetry::Provenance;

use crate::host::Processors;
use crate::outcome::{Figure, Outcome};
use crate::process::{Service, ended_children_processor_time, own_processor_time};
use crate::reads::{Load, Mix};
use crate::runs::Plan;
use crate::store::Filled;
use crate::viewers::Audience;

/// The place of the table on its page.
const PLACE: &str = "service";

/// Memory is the same again each time that a service starts.
const IDLE_ROUNDS: usize = 2;

/// Measure the service against its goals.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program, built for release.
    #[arg(long)]
    storelab: PathBuf,
    /// Only this part; all of them without it.
    #[arg(long)]
    part: Option<Part>,
    /// Experiments of the filled store.
    #[arg(long, default_value_t = 1_000)]
    experiments: usize,
    /// How often the service is started on each store.
    #[arg(long, default_value_t = 12)]
    starts: usize,
    /// Reads a second.
    #[arg(long, default_value_t = 2_000)]
    reads: u32,
    /// How long they go on.
    #[arg(long, default_value_t = 20)]
    read_seconds: u32,
    /// How often.
    #[arg(long, default_value_t = 3)]
    read_rounds: usize,
    /// Viewers of a run.
    #[arg(long, default_value_t = 200)]
    viewers: usize,
    /// How long the service is looked at with them and without them, each.
    #[arg(long, default_value_t = 12)]
    viewer_seconds: u32,
    /// How often.
    #[arg(long, default_value_t = 4)]
    viewer_rounds: usize,
    /// Operations a second of a run that is compared with one from the command line.
    #[arg(long, default_value_t = 10_000)]
    rate: u32,
    /// How long it goes on.
    #[arg(long, default_value_t = 12)]
    run_seconds: u32,
    /// How often each is run.
    #[arg(long, default_value_t = 6)]
    run_rounds: usize,
    /// Also write all figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also replace the table on this page, between its two markers.
    #[arg(long, value_name = "FILE", conflicts_with = "part")]
    docs: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// How quickly it is ready.
    Ready,
    /// What it has in memory.
    Idle,
    /// Reads at a fixed rate.
    Reads,
    /// Viewers of a run.
    Viewers,
    /// A run beside one from the command line.
    Runs,
}

/// Where a part is measured: the program, and a folder that is thrown away.
struct Site<'a> {
    arguments: &'a Arguments,
    program: PathBuf,
    folder: &'a Path,
    /// Made when it is needed first.
    filled: Option<Filled>,
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let program = arguments.storelab.canonicalize().with_context(|| {
        format!("{} is not there: build it with `cargo build --release`", arguments.storelab.display())
    })?;
    let folder = tempfile::tempdir()?;
    let mut site = Site { arguments: &arguments, program, folder: folder.path(), filled: None };
    let (mut figures, mut host) = (Vec::new(), Map::new());
    for part in Part::value_variants().iter().filter(|part| arguments.part.is_none_or(|wanted| wanted == **part)) {
        let name = part.to_possible_value().context("each has a name")?.get_name().to_owned();
        let outcome = site.measure(*part).with_context(|| format!("measuring {name}"))?;
        for figure in &outcome.figures {
            print!("{}", figure.row());
        }
        for shares in &outcome.host {
            println!("  {name}: {}", shares.text());
        }
        host.insert(name, outcome.host.iter().map(|shares| shares.json()).collect());
        figures.extend(outcome.figures);
    }
    let table = outcome::table(&figures);
    println!("\n{table}");
    publish(&arguments, &site.program, &figures, &table, &host)
}

impl Site<'_> {
    fn measure(&mut self, part: Part) -> anyhow::Result<Outcome> {
        match part {
            Part::Ready => self.ready(),
            Part::Idle => self.idle(),
            Part::Reads => self.reads(),
            Part::Viewers => self.viewers(),
            Part::Runs => self.runs(),
        }
    }

    fn ready(&mut self) -> anyhow::Result<Outcome> {
        let (stores, starts) = (self.stores()?, self.arguments.starts);
        during(|| stores.iter().map(|(name, home)| ready::starts(&self.program, home, name, starts)).collect())
    }

    fn idle(&mut self) -> anyhow::Result<Outcome> {
        let stores = self.stores()?;
        let idle = |(name, home): &(String, PathBuf)| ready::idle(&self.program, home, name, IDLE_ROUNDS);
        during(|| Ok(stores.iter().map(idle).collect::<anyhow::Result<Vec<_>>>()?.concat()))
    }

    /// Reads, and what the service has in memory once it is idle again.
    fn reads(&mut self) -> anyhow::Result<Outcome> {
        let filled = self.filled()?;
        let service = Service::start(&self.program, &filled.home)?;
        service.until_ready()?;
        let mix = Mix::of(service.address, &filled.experiments, &filled.runs)?;
        let load = Load { per_second: self.arguments.reads, seconds: self.arguments.read_seconds };
        let mut outcome = reads::measure(&service, mix, load, self.arguments.read_rounds)?;
        thread::sleep(ready::IDLE);
        outcome.figures.extend(ready::memory("idle again after the reads", &[service.memory()?]));
        service.stop()?;
        Ok(outcome)
    }

    fn viewers(&self) -> anyhow::Result<Outcome> {
        let service = Service::start(&self.program, &self.home("viewers")?)?;
        let audience = Audience { viewers: self.arguments.viewers, seconds: self.arguments.viewer_seconds };
        let outcome = viewers::measure(&service, audience, self.arguments.viewer_rounds)?;
        service.stop()?;
        Ok(outcome)
    }

    fn runs(&self) -> anyhow::Result<Outcome> {
        let plan = Plan { per_second: self.arguments.rate, seconds: self.arguments.run_seconds };
        runs::measure(&self.program, &self.home("runs")?, plan, self.arguments.run_rounds)
    }

    /// Stores that a service is started on, with what they are called.
    fn stores(&mut self) -> anyhow::Result<[(String, PathBuf); 2]> {
        let filled = self.filled()?;
        let named = format!("a store of {} experiments", filled.experiments.len());
        Ok([("an empty store".to_owned(), self.home("empty")?), (named, filled.home)])
    }

    fn filled(&mut self) -> anyhow::Result<Filled> {
        if let Some(filled) = &self.filled {
            return Ok(filled.clone());
        }
        let filled = store::fill(&self.program, &self.home("filled")?, self.arguments.experiments)?;
        Ok(self.filled.insert(filled).clone())
    }

    fn home(&self, name: &str) -> anyhow::Result<PathBuf> {
        let home = self.folder.join(name);
        std::fs::create_dir_all(&home)?;
        Ok(home)
    }
}

/// What is measured, with what else the host did; services that come and go count as children of ours.
fn during(measure: impl FnOnce() -> anyhow::Result<Vec<Figure>>) -> anyhow::Result<Outcome> {
    let used = || anyhow::Ok(own_processor_time()? + ended_children_processor_time()?);
    let (before, of_ours) = (Processors::now()?, used()?);
    let figures = measure()?;
    Ok(Outcome { figures, host: vec![before.since(used()?.saturating_sub(of_ours))?] })
}

/// Writes the figures and the page, where they are asked for.
fn publish(
    arguments: &Arguments,
    program: &Path,
    figures: &[Figure],
    table: &str,
    host: &Map<String, Value>,
) -> anyhow::Result<()> {
    let output = std::process::Command::new(program).arg("--version").output().context("storelab does not start")?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let machine = Provenance::read();
    let steal = most(host, "steal_percent");
    let others = most(host, "others_percent");
    if let Some(path) = &arguments.json {
        let result = json!({
            "machine": machine,
            "program": version,
            "beside": host,
            "figures": figures.iter().map(Figure::json).collect::<Vec<_>>(),
        });
        std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(&result)?))
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    if let Some(path) = &arguments.docs {
        let about = format!(
            "{version} on {}, service and clients on the same host; of the host's time at most {steal:.1} % were stolen and {others:.1} % \
             used by other programs while something was measured.",
            figures::machine(&machine)
        );
        figures::replace(path, PLACE, &format!("\n{about}\n\n{table}"))?;
    }
    Ok(())
}

/// The most of a share of the host in all that was measured.
fn most(host: &Map<String, Value>, share: &str) -> f64 {
    let shares = host.values().filter_map(Value::as_array).flatten().filter_map(|shares| shares[share].as_f64());
    shares.fold(0.0, f64::max)
}
