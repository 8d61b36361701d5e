//! Chores of the workspace, in Rust so that they run wherever it builds: `cargo xtask COMMAND`.

mod knees;
mod stores;
mod test;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

const USAGE: &str = "\
usage: cargo xtask COMMAND
  bench-stores PROGRAM
                   run YCSB B on every store that can be started here, and write the example report
  knees PROGRAM    search for the knee of PostgreSQL and of Redis, twice each, and say how far the two are apart
  tidy             check the rules of the house that no compiler knows
  test [ARGS...]   run all tests, or what `cargo test ARGS` runs, and say how many passed, failed and were skipped";

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else {
        return Ok(usage());
    };
    match (command.as_str(), rest) {
        ("bench-stores", [program]) => stores::run(root()?, Path::new(program)),
        ("knees", [program]) => knees::run(root()?, Path::new(program)),
        ("tidy", []) => tidy::run(root()?),
        ("test", rest) => test::run(root()?, rest),
        _ => Ok(usage()),
    }
}

#[expect(clippy::print_stderr, reason = "it is the command line's answer")]
fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// The workspace's folder.
fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace's folder")
}
