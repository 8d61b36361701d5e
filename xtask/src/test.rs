//! `cargo xtask test`: every test of the workspace, and one line that says what came of them.
//!
//! The output of tests that passed is not shown, but what they say was skipped (`skipped: NAME is not installed`) is. What
//! failed tests said is shown where it came and once more at the end, where it is looked for.
//!
//! Without arguments, binaries that wait for servers most of their time run beside one another; those that measure time
//! run after them, alone.

mod binaries;
mod totals;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use self::binaries::Binary;
use self::totals::Totals;

/// Packages whose tests are about time: they are alone with their servers.
const MEASURING: &[&str] = &["experiment", "reactor", "runner", "storelab"];

/// The package whose tests take as long as all others that do not measure.
const LONG: &str = "testkit";

/// The binary whose tests wait for servers to start, stop and die most of their time.
const WAITING: &str = "storelab::it";

/// So many of them run at the same time, whatever the processors.
const WAITING_THREADS: &str = "3";

/// The module of those of them that measure: they run after the others, one at a time.
const ALONE: &str = "alone::";

/// Runs `cargo test` with the arguments; the whole workspace without any.
#[expect(clippy::print_stdout, reason = "the total is its answer")]
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<ExitCode> {
    let totals = if arguments.is_empty() { workspace(root)? } else { cargo(root, arguments)? };
    println!("{totals}");
    Ok(if totals.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What `cargo test` does with these arguments.
fn cargo(root: &Path, arguments: &[String]) -> Result<Totals> {
    let mut command = binaries::cargo(root);
    command.args(["test", "--no-fail-fast"]).args(arguments).args(["--", "--show-output"]);
    let mut totals = Totals::default();
    watch(&mut command, "cargo test", &mut totals, show)?;
    Ok(totals)
}

/// Everything, in the order that takes least.
fn workspace(root: &Path) -> Result<Totals> {
    let all = binaries::build(root)?;
    let (measuring, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|binary| MEASURING.contains(&binary.package.as_str()));
    let (long, short): (Vec<_>, Vec<_>) = others.into_iter().partition(|binary| binary.package == LONG);
    let totals = Mutex::new(Totals::default());
    thread::scope(|scope| {
        let lanes = [&long, &short].map(|lane| scope.spawn(|| run_all(lane, &totals)));
        lanes.into_iter().try_for_each(|lane| lane.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    run_all(&measuring, &totals)?;
    let mut totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    totals.add(cargo(root, &["--workspace", "--doc"].map(str::to_owned))?);
    Ok(totals)
}

/// Runs binaries one after another. What one prints is shown when it has ended, so that lanes do not mix.
#[expect(clippy::print_stdout, reason = "it passes on what the tests print")]
fn run_all(binaries: &[Binary], totals: &Mutex<Totals>) -> Result<()> {
    for (binary, (part, arguments)) in
        binaries.iter().flat_map(|binary| parts(binary).iter().map(move |part| (binary, *part)))
    {
        println!("     Running {binary}{part}");
        let start = Instant::now();
        let mut said = Vec::new();
        let mut of_binary = Totals::default();
        let mut command = binary.command();
        watch(command.args(arguments), &binary.to_string(), &mut of_binary, |line| said.push(line.to_owned()))?;
        println!("\n{}\n       Ended {binary}{part} after {} s", said.join("\n"), start.elapsed().as_secs());
        totals.lock().unwrap_or_else(PoisonError::into_inner).add(of_binary);
    }
    Ok(())
}

/// What a binary's tests are divided into, each with what the harness is told for it.
fn parts(binary: &Binary) -> &'static [(&'static str, &'static [&'static str])] {
    if binary.to_string() == WAITING {
        &[
            (", side by side", &["--test-threads", WAITING_THREADS, "--skip", ALONE]),
            (", one by one", &["--test-threads", "1", ALONE]),
        ]
    } else {
        &[("", &[])]
    }
}

#[expect(clippy::print_stdout, reason = "it passes on what the tests print")]
fn show(line: &str) {
    println!("{line}");
}

/// Runs a command to its end, counts what it prints and hands over the lines that are worth showing.
fn watch(command: &mut Command, name: &str, totals: &mut Totals, mut show: impl FnMut(&str)) -> Result<()> {
    let mut child: Child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| format!("{name} did not start"))?;
    let output = child.stdout.take().context("its output is piped")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.with_context(|| format!("the output of {name} broke off"))?;
        let line = String::from_utf8_lossy(&line);
        if totals.take(&line) {
            show(&line);
        }
    }
    let status = child.wait().with_context(|| format!("{name} did not end"))?;
    if !status.success() && !totals.has_failed() {
        totals.broken(format!("{name} ended with {status}"));
    }
    Ok(())
}
