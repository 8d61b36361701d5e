//! `cargo xtask bench-stores`: YCSB B on every data store that can be started here, one after another, and one report.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What every store is asked: small enough for the slowest, long enough for a steady minute of all together.
const LOAD: &[&str] = &[
    "--workload",
    "ycsb:b",
    "--set",
    "records=10000",
    "--sessions",
    "8",
    "--warm-up",
    "5s",
    "--for",
    "15s",
    "--seed",
    "1",
];

/// Where the example report lies.
const REPORT: &str = "docs/reports/stores.html";

/// Runs all and writes the report. `storelab` is the program, built for release.
#[expect(clippy::print_stderr, reason = "it takes minutes, and says where it is")]
pub(crate) fn run(root: &Path, storelab: &Path) -> Result<ExitCode> {
    let results = tempfile::tempdir().context("a folder for the results")?;
    let store = results.path().join("results.db");
    let command = || {
        let mut command = Command::new(storelab);
        command.current_dir(root).env("STORELAB_STORE", &store);
        command
    };
    let listed = command().args(["engines", "list", "--json"]).output().context("the program does not run")?;
    let listed: Value = serde_json::from_slice(&listed.stdout).context("the list of engines")?;
    let engines = listed["engines"].as_array().context("the list of engines")?;
    let mut targets = vec![("sqlite".to_owned(), "sqlite:".to_owned())];
    for engine in engines {
        let name = engine["name"].as_str().context("an engine's name")?;
        if engine["installed"] == true {
            targets.push((name.to_owned(), format!("local:{name}")));
        } else {
            eprintln!("{name} is not installed: left out");
        }
    }
    targets.sort();
    let mut measured = Vec::new();
    for (name, target) in &targets {
        eprintln!("{name}");
        let status = command().args(["run", target, "--name", name, "--quiet"]).args(LOAD).status()?;
        // 4: the run is shown as not valid in the report.
        if !matches!(status.code(), Some(0 | 4)) {
            bail!("{name}: the run ended with {status}");
        }
        measured.push(name.as_str());
    }
    let report = root.join(REPORT);
    std::fs::create_dir_all(report.parent().context("a folder")?).context("the folder of the report")?;
    let status = command().arg("report").args(&measured).arg("--output").arg(&report).status()?;
    // Where each run's own report was is nobody's business: it goes with the folder.
    let page = std::fs::read_to_string(&report).context("the report")?;
    std::fs::write(&report, page.replace(&format!("{}/", results.path().display()), "")).context("the report")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
