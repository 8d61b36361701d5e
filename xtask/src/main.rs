//! Chores of the workspace, in Rust so that they run wherever it builds: `cargo xtask COMMAND`.

mod calibrate;
mod knees;
mod lab;
mod squeeze;
mod stores;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND
  bench-stores PROGRAM
                   run YCSB B on every store that can be started here, and write the example report
  calibrate PROGRAM [--pairs N] [--seconds S] [--slower N] [--slower-seconds S] [--postgres N] [--out FILE] [--home FOLDER]
                   count how often comparisons of identical and of slower runs are wrong
  knees PROGRAM [--processor]
                   search for the knee of PostgreSQL and of Redis, twice each, and say how far the two are apart: behind a link
                   of known width, or limited by a processor
  squeeze PROGRAM [--tries 20]
                   leave a generator a tenth of a core, and say how often its runs are called invalid, and how often
                   those of one that is left alone
  tidy             check the rules of the house that no compiler knows
  test [ARGS...]   run all tests, or what `cargo test ARGS` runs, and say how many passed, failed and were skipped";

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else {
        return Ok(usage());
    };
    match (command.as_str(), rest) {
        ("bench-stores", [program]) => stores::run(root()?, &built(program)?),
        ("squeeze", [program]) => squeeze::run(built(program)?, None),
        ("squeeze", [program, flag, tries]) if flag == "--tries" => squeeze::run(built(program)?, Some(tries)),
        ("calibrate", [program, options @ ..]) => calibrate::run(root()?, built(program)?, options),
        ("knees", [program]) => knees::run(built(program)?, knees::Bottleneck::Link),
        ("knees", [program, flag]) if flag == "--processor" => {
            knees::run(built(program)?, knees::Bottleneck::Processor)
        }
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

/// Where the program that is to be measured lies, whatever folder it is then started from.
fn built(program: &str) -> Result<PathBuf> {
    let path = std::path::absolute(program).context("the program's path")?;
    if !path.is_file() {
        bail!("PROGRAM: there is no `{program}`; build it with `cargo build --release --package storelab`");
    }
    Ok(path)
}

/// The workspace's folder.
fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace's folder")
}
