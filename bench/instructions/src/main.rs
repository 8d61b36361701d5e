//! Counts the instructions that Storelab needs for an operation, and says where they became more.
//!
//! A processor's time is noise on a machine that others use too; its instructions are not. Each case runs twice under
//! Callgrind, once with twice the operations: the difference, divided by their number, is what one costs, without start,
//! load and report. Only the thread that does the operations is counted: what others record of each second depends on how
//! many seconds Callgrind takes. What is expected stands in `bench/instructions/expected.json`, for the release build of
//! the toolchain that `rust-toolchain.toml` names, on x86-64. What is counted is `drive`: the code that drives a load, in a
//! program that has little else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize};

/// Set where what is missing must not pass unnoticed.
const REQUIRE: &str = "STORELAB_REQUIRE_ENGINES";

/// Reads of one kind, of a thousand rows.
const GETS: &str = r#"{ "operations": { "operations": "get", "mode": "mix", "rows": 1000 } }"#;

/// What the kernel does counts for nothing, the clock's reading among it, which is a system call here.
const CASES: &[Case] = &[
    Case {
        name: "null, ycsb:c",
        engine: None,
        workload: r#""ycsb:c""#,
        depth: 1,
        operations: 500_000,
        tolerance: 0.03,
    },
    Case {
        name: "null, ycsb:a",
        engine: None,
        workload: r#""ycsb:a""#,
        depth: 1,
        operations: 500_000,
        tolerance: 0.03,
    },
    Case {
        name: "redis, GET, depth 1",
        engine: Some("redis"),
        workload: GETS,
        depth: 1,
        operations: 100_000,
        tolerance: 0.05,
    },
    Case {
        name: "redis, GET, depth 16",
        engine: Some("redis"),
        workload: GETS,
        depth: 16,
        operations: 200_000,
        // How many replies come in with one read depends on the server's pace.
        tolerance: 0.10,
    },
];

struct Case {
    name: &'static str,
    /// The engine that is started for it, outside Callgrind; the null driver without one.
    engine: Option<&'static str>,
    /// As a plan in JSON has it.
    workload: &'static str,
    /// Requests in flight on a connection.
    depth: u32,
    /// Of the shorter run.
    operations: u64,
    /// What the count may be above the expected one, as a share of it.
    tolerance: f64,
}

/// Count the instructions of an operation.
#[derive(Debug, Parser)]
struct Arguments {
    /// Write what was counted as what is expected from now on.
    #[arg(long)]
    accept: bool,

    /// The program that is counted: `drive`, which is made beside this one.
    #[arg(long, default_value = "target/release/drive")]
    drive: PathBuf,

    /// What is expected.
    #[arg(long, default_value = "bench/instructions/expected.json")]
    expected: PathBuf,
}

/// Instructions for an operation, by case.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Expected {
    instructions_per_operation: BTreeMap<String, f64>,
}

/// What came of a case.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    AsExpected,
    /// Fewer than the tolerance lets pass in the other direction: worth being held to from now on.
    Fewer,
    More,
    Unknown,
}

#[expect(clippy::print_stdout, reason = "the counts are what this program is for")]
fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(reason) = absent() {
        ensure!(std::env::var_os(REQUIRE).is_none(), "{reason}");
        println!("skipped: {reason}");
        return Ok(ExitCode::SUCCESS);
    }
    let drive = arguments.drive.canonicalize().with_context(|| {
        format!("{} is not there: build it with `cargo build --release -p instructions`", arguments.drive.display())
    })?;
    let mut expected = read(&arguments.expected)?;
    let mut failed = false;
    for case in CASES {
        if let Some(name) = case.engine.filter(|name| !is_installed(name)) {
            ensure!(std::env::var_os(REQUIRE).is_none(), "{name} is not installed");
            println!("skipped: {name} is not installed ({})", case.name);
            continue;
        }
        let counted = count(case, &drive).with_context(|| format!("counting {}", case.name))?;
        let before = expected.instructions_per_operation.get(case.name).copied();
        let verdict = judge(before, counted, case.tolerance);
        failed |= matches!(verdict, Verdict::More | Verdict::Unknown);
        let change = before.map_or_else(String::new, |before| {
            format!(", {:+.1} % of the expected {before:.0}", (counted / before - 1.0) * 100.0)
        });
        let said = match verdict {
            Verdict::AsExpected => "ok",
            Verdict::Fewer => "fewer: worth accepting",
            Verdict::More => "MORE than the tolerance lets pass",
            Verdict::Unknown => "not expected yet",
        };
        println!("{}: {counted:.0} instructions an operation{change}: {said}", case.name);
        if arguments.accept {
            expected.instructions_per_operation.insert(case.name.to_owned(), counted.round());
        }
    }
    if arguments.accept {
        let text = format!("{}\n", serde_json::to_string_pretty(&expected)?);
        std::fs::write(&arguments.expected, text)
            .with_context(|| format!("{} cannot be written", arguments.expected.display()))?;
        println!("{} holds these counts now; commit it with the reason", arguments.expected.display());
        return Ok(ExitCode::SUCCESS);
    }
    if failed {
        println!("hint: find what costs more with callgrind_annotate, or accept it: make bench-instructions ACCEPT=1");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Why nothing can be counted here.
fn absent() -> Option<&'static str> {
    if !cfg!(target_arch = "x86_64") {
        return Some("instructions are expected for x86-64 only");
    }
    let mut command = Command::new("valgrind");
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let is_there = command.status().is_ok_and(|status| status.success());
    (!is_there).then_some("valgrind is not installed (apt-get install valgrind)")
}

fn is_installed(engine: &str) -> bool {
    let Ok(home) = provision::Home::locate() else { return false };
    provision::list(&home).iter().any(|status| status.engine.name() == engine && status.installation.is_ok())
}

fn read(path: &Path) -> anyhow::Result<Expected> {
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} cannot be read", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Expected::default()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn judge(expected: Option<f64>, counted: f64, tolerance: f64) -> Verdict {
    match expected.map(|expected| counted / expected - 1.0) {
        None => Verdict::Unknown,
        Some(change) if change > tolerance => Verdict::More,
        Some(change) if change < -tolerance => Verdict::Fewer,
        Some(_) => Verdict::AsExpected,
    }
}

/// Instructions for one operation.
fn count(case: &Case, drive: &Path) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let server = case
        .engine
        .map(|name| {
            let home = provision::Home::at(folder.path().join("servers"));
            let options = provision::Options { home: Some(home), ..provision::Options::default() };
            provision::Server::start(provision::engine(name)?, &options)
        })
        .transpose()?;
    let url = server.as_ref().map_or("null:", provision::Server::url);
    let workload: serde_json::Value = serde_json::from_str(case.workload)?;
    let mut totals = [0; 2];
    for (total, times) in totals.iter_mut().zip([1, 2]) {
        let output = folder.path().join(format!("counted-{times}"));
        std::fs::create_dir(&output)?;
        let plan = serde_json::json!({
            "target": url,
            "workload": &workload,
            // What is watched beside the client costs by the second, and seconds are long here.
            "collect": [],
            "seed": 1,
            // Not every host has `io_uring`, and counts must be the same on all.
            "load": {
                "sessions": 1, "workers": 1, "depth": case.depth, "io": "epoll", "operations": times * case.operations,
            },
        });
        let plan_file = output.join("plan.json");
        std::fs::write(&plan_file, plan.to_string())?;
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--separate-threads=yes"]);
        command.arg(format!("--callgrind-out-file={}", output.join("thread").display()));
        command.arg(drive).arg(&plan_file).env("STORELAB_HOME", folder.path());
        finish(&mut command)?;
        *total = busiest_thread(&output)?;
    }
    if let Some(server) = server {
        server.stop()?;
    }
    let [once, twice] = totals;
    ensure!(twice > once, "twice the operations took no more instructions: {once} and {twice}");
    Ok((twice - once) as f64 / case.operations as f64)
}

/// The instructions of the thread with the most of them: each has a file of its own.
fn busiest_thread(folder: &Path) -> anyhow::Result<u64> {
    let mut most = None;
    for entry in std::fs::read_dir(folder)? {
        let text = std::fs::read_to_string(entry?.path())?;
        most = most.max(total_of(&text));
    }
    most.context("Callgrind counted nothing")
}

/// The sum of a Callgrind file: `totals: 341678892`, or `summary:` where it has several parts.
fn total_of(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")))?;
    line.trim().parse().ok()
}

fn finish(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{name} does not start"))?;
    if !output.status.success() {
        bail!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_more_is_a_failure() {
        for (expected, counted, verdict) in [
            (Some(100.0), 102.0, Verdict::AsExpected),
            (Some(100.0), 104.0, Verdict::More),
            (Some(100.0), 90.0, Verdict::Fewer),
            (None, 100.0, Verdict::Unknown),
        ] {
            assert_eq!(judge(expected, counted, 0.03), verdict, "{expected:?} {counted}");
        }
    }

    #[test]
    fn totals_are_read() {
        assert_eq!(total_of("version: 1\nevents: Ir\nsummary: 42\n\nfn=(1)\n"), Some(42));
        assert_eq!(total_of("fn=(1)\n1 2\ntotals: 42\n"), Some(42));
        assert_eq!(total_of("fn=(1)\n"), None);
    }
}
