//! Measures Storelab against the load generators people use today.
//!
//! For each case a server is started, loaded once for each program, and the programs take turns on it for some rounds; what
//! is compared is what each program's processes used, as the operating system counts it for ended children, and what the
//! program says it did. Ratios are medians over rounds of the ratio within a round. Each case has its goals, and the table
//! of `docs/benchmarks.md` says which are met.

mod case;
mod cases;
mod document;
mod floor;
mod measure;
mod outcome;
mod peer;
mod programs;
mod sqlite_loop;
mod usage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use crate::case::Case;
use crate::peer::Found;

/// Rounds and seconds of a full measurement: the thirteen cases end within half an hour.
const ROUNDS: u32 = 5;
const SECONDS: u32 = 8;
/// Of a quick one, of which each case ends within three minutes.
const ROUNDS_QUICK: u32 = 3;
const SECONDS_QUICK: u32 = 2;

/// Measure Storelab against its peers.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Helper>,

    /// Only cases whose name contains this.
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,

    /// Name the cases and their programs.
    #[arg(long)]
    list: bool,

    /// Fewer and shorter rounds: to see that it works, not to publish.
    #[arg(long)]
    quick: bool,

    /// Rounds in which every program of a case runs once; 5, or 3 where it is quick.
    #[arg(long)]
    rounds: Option<u32>,

    /// Seconds a program runs in a round; 8, or 2 where it is quick.
    #[arg(long)]
    seconds: Option<u32>,

    /// The program that is measured.
    #[arg(long, default_value = "target/release/storelab")]
    storelab: PathBuf,

    /// Also write all figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Also replace the table in this document, between its two markers.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["case", "quick"])]
    docs: Option<PathBuf>,
}

/// What this program does beside comparing, mostly started by itself.
#[derive(Debug, Subcommand)]
enum Helper {
    /// Run a program and write what it used.
    #[command(hide = true)]
    Measured {
        #[arg(long)]
        file: PathBuf,
        #[arg(long)]
        terminal: bool,
        #[arg(last = true, required = true)]
        program: Vec<String>,
    },
    /// Measure what this host takes for the steps that no client can leave out.
    Floor,
    /// Read rows of an SQLite file as often as possible.
    #[command(hide = true)]
    SqliteLoop { file: PathBuf, seconds: u32 },
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Helper::Measured { file, terminal, program }) => usage::run(file, *terminal, program),
        Some(Helper::SqliteLoop { file, seconds }) => sqlite_loop::run(file, *seconds).map(|()| ExitCode::SUCCESS),
        Some(Helper::Floor) => {
            floor::run();
            Ok(ExitCode::SUCCESS)
        }
        None => compare(&arguments).map(|()| ExitCode::SUCCESS),
    }
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn compare(arguments: &Arguments) -> anyhow::Result<()> {
    let wanted = |case: &&Case| arguments.case.as_ref().is_none_or(|wanted| case.name.contains(wanted.as_str()));
    let cases: Vec<&'static Case> = cases::CASES.iter().filter(wanted).collect();
    ensure!(!cases.is_empty(), "no case is called so: `--list` names them");
    if arguments.list {
        for case in cases {
            let programs: Vec<_> = case.programs.iter().map(|program| program.name).collect();
            println!("{}\n  {}", case.name, programs.join("\n  "));
        }
        return Ok(());
    }
    let storelab = arguments.storelab.canonicalize().with_context(|| {
        format!("{} is not there: build it with `cargo build --release`", arguments.storelab.display())
    })?;
    let peers = locate_peers(&cases);
    let (rounds, seconds) = if arguments.quick { (ROUNDS_QUICK, SECONDS_QUICK) } else { (ROUNDS, SECONDS) };
    let plan = measure::Plan {
        storelab: &storelab,
        rounds: arguments.rounds.unwrap_or(rounds).max(1),
        seconds: arguments.seconds.unwrap_or(seconds).max(1),
        peers: &peers,
    };
    let (mut rows, mut results, mut servers) = (String::new(), Vec::new(), Vec::new());
    let (mut met, mut missed) = (0, 0);
    print!("{}", outcome::TABLE_HEAD);
    for case in cases {
        let (case_rows, result) = match measure::case(case, &plan) {
            Ok(outcome) => {
                let (case_met, case_missed) = outcome.met_and_missed();
                (met, missed) = (met + case_met, missed + case_missed);
                servers.extend(
                    outcome.server.clone().filter(|_| case.engine.is_some() || case.target.starts_with("sqlite:")),
                );
                (outcome.rows(), outcome.json())
            }
            Err(error) => {
                let reason = outcome::cell(&format!("{error:#}"));
                (
                    format!("| {} | | not measured: {reason} | | | | | |\n", case.name),
                    json!({ "name": case.name, "not_measured": reason }),
                )
            }
        };
        print!("{case_rows}");
        rows.push_str(&case_rows);
        results.push(result);
    }
    let verdict = format!("{met} goals met, {missed} missed");
    println!("\n{verdict}");
    servers.sort();
    servers.dedup();
    let table = format!("{}{rows}\n{verdict}.\n", outcome::TABLE_HEAD);
    publish(arguments, &plan, &servers, &table, &results)
}

/// Writes the figures and the document, where they are asked for.
fn publish(
    arguments: &Arguments,
    plan: &measure::Plan<'_>,
    servers: &[String],
    table: &str,
    results: &[Value],
) -> anyhow::Result<()> {
    let versions = versions(plan.storelab, plan.peers)?;
    let machine = telemetry::Provenance::read();
    if let Some(path) = &arguments.json {
        let result = json!({
            "machine": machine,
            "programs": versions,
            "servers": servers,
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "cases": results,
        });
        write(path, &format!("{}\n", serde_json::to_string_pretty(&result)?))?;
    }
    if let Some(path) = &arguments.docs {
        let about = document::about(&machine, servers, &versions, plan.rounds, plan.seconds);
        figures::replace(path, document::PLACE, &format!("\n{about}\n\n{table}"))?;
    }
    Ok(())
}

/// Looks for what the cases need, and tells what is missing before anything takes time.
#[expect(clippy::print_stderr, reason = "talk")]
fn locate_peers(cases: &[&'static Case]) -> BTreeMap<&'static str, Result<Found, String>> {
    let mut peers = BTreeMap::new();
    for peer in cases.iter().flat_map(|case| case.programs).filter_map(|program| program.peer) {
        peers.entry(peer.name).or_insert_with(|| {
            let found = peer.locate();
            if let Err(reason) = &found {
                eprintln!("not measured: {}: {reason}", peer.name);
            }
            found
        });
    }
    peers
}

/// What each program says to `--version`.
fn versions(
    storelab: &Path,
    peers: &BTreeMap<&'static str, Result<Found, String>>,
) -> anyhow::Result<BTreeMap<String, Value>> {
    let output = Command::new(storelab).arg("--version").output().context("storelab does not start")?;
    let ours = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut versions = BTreeMap::from([("storelab".to_owned(), Value::from(ours))]);
    for (name, found) in peers {
        let version = found.as_ref().map(|found| Value::from(found.version.clone())).unwrap_or_default();
        versions.insert((*name).to_owned(), version);
    }
    Ok(versions)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
