//! Measures Storelab against the load generators people use today.
//!
//! For each case a server is started, loaded once for each program, and the programs take turns on it for some rounds; what
//! is compared is the processor time that each program's process used for an operation, as the operating system counts it
//! for ended children. Medians of rounds and ratios of medians are printed as the table of `docs/benchmarks.md`.

mod cases;
mod measure;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

/// Measure Storelab against its peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only cases whose name contains this.
    #[arg(long)]
    case: Option<String>,

    /// Rounds in which every program of a case runs once.
    #[arg(long, default_value_t = 5)]
    rounds: u32,

    /// Seconds a program runs in a round.
    #[arg(long, default_value_t = 6)]
    seconds: u32,

    /// The program that is measured.
    #[arg(long, default_value = "target/release/storelab")]
    storelab: PathBuf,

    /// Also write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let storelab = arguments.storelab.canonicalize().with_context(|| {
        format!("{} is not there: build it with `cargo build --release`", arguments.storelab.display())
    })?;
    let mut results = Vec::new();
    println!(
        "| case | program | CPU µs an operation, median (min–max) | ratio | operations a second of the process's life, median |"
    );
    println!("|---|---|---|---|---|");
    for case in cases::CASES {
        if arguments.case.as_ref().is_some_and(|wanted| !case.name.contains(wanted.as_str())) {
            continue;
        }
        match measure::case(case, &storelab, arguments.rounds, arguments.seconds) {
            Ok(rows) => {
                for row in &rows {
                    println!("{row}");
                }
                results.extend(rows.iter().map(measure::Row::json));
            }
            Err(error) => println!("| {} | not measured: {error:#} | | | |", case.name),
        }
    }
    if let Some(path) = arguments.json {
        std::fs::write(&path, serde_json::to_string_pretty(&results)?)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}
