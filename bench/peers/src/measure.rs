//! Programs in turn, and what each used.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cases::{Case, Site};

/// One run of one program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) cpu_us_per_operation: f64,
    pub(crate) operations_per_second: f64,
}

/// A program's runs of a case.
#[derive(Debug)]
pub(crate) struct Row {
    case: &'static str,
    program: &'static str,
    runs: Vec<Run>,
    /// Storelab's median over this program's.
    ratio: Option<f64>,
}

/// Runs a case's programs in turn.
pub(crate) fn case(case: &Case, storelab: &Path, rounds: u32, seconds: u32) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let server = case
        .engine
        .map(|name| {
            let home = provision::Home::at(folder.path().join("servers"));
            let settings =
                case.settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let options = provision::Options { home: Some(home), settings, ..provision::Options::default() };
            provision::Server::start(provision::engine(name)?, &options)
        })
        .transpose()?;
    let site = Site::new(storelab, &folder, server.as_ref().map_or(case.target, provision::Server::url), seconds)?;
    for program in case.programs {
        for arguments in (program.prepare)(&site) {
            finish(&site, &arguments).with_context(|| format!("preparing {}", program.name))?;
        }
    }
    let mut rows: Vec<Row> = case
        .programs
        .iter()
        .map(|program| Row { case: case.name, program: program.name, runs: Vec::new(), ratio: None })
        .collect();
    for _ in 0..rounds {
        for (program, row) in case.programs.iter().zip(&mut rows) {
            let (started, before) = (Instant::now(), children_cpu_seconds()?);
            let output = finish(&site, &(program.run)(&site)).with_context(|| format!("running {}", program.name))?;
            let (elapsed, used) = (started.elapsed().as_secs_f64(), children_cpu_seconds()? - before);
            let operations = (program.operations)(&output, &site)
                .with_context(|| format!("{} does not say how many operations it did: {output}", program.name))?;
            ensure!(operations > 0.0, "{} did nothing: {output}", program.name);
            row.runs.push(Run {
                cpu_us_per_operation: used * 1e6 / operations,
                operations_per_second: operations / elapsed,
            });
        }
    }
    let ours = rows[0].median(|run| run.cpu_us_per_operation);
    for row in &mut rows[1..] {
        row.ratio = Some(ours / row.median(|run| run.cpu_us_per_operation));
    }
    if let Some(server) = server {
        server.stop()?;
    }
    Ok(rows)
}

/// Runs a program to its end and gives what it wrote to stdout.
fn finish(site: &Site, arguments: &[String]) -> anyhow::Result<String> {
    let [program, arguments @ ..] = arguments else { bail!("no program is named") };
    let output = Command::new(program)
        .args(arguments)
        .env("STORELAB_HOME", site.folder())
        .env("PGPASSWORD", &site.password)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} cannot be started: is it installed?"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} ended with {}: {}", output.status, said.lines().last().unwrap_or(stdout.trim()));
    }
    Ok(stdout)
}

/// Processor time of ended children, in seconds (`cutime` and `cstime` of `/proc/self/stat`, in ticks of a hundredth).
fn children_cpu_seconds() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("the process's name ends in a parenthesis")?;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(13)
        .take(2)
        .map(|field| field.parse::<u64>().context("ticks are a number"))
        .sum::<anyhow::Result<u64>>()?;
    Ok(ticks as f64 / 100.0)
}

impl Row {
    fn sorted(&self, figure: impl Fn(&Run) -> f64) -> Vec<f64> {
        let mut figures: Vec<f64> = self.runs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures
    }

    fn median(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        let figures = self.sorted(figure);
        f64::midpoint(figures[(figures.len() - 1) / 2], figures[figures.len() / 2])
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "case": self.case,
            "program": self.program,
            "cpu_us_per_operation": self.runs.iter().map(|run| run.cpu_us_per_operation).collect::<Vec<_>>(),
            "operations_per_second": self.runs.iter().map(|run| run.operations_per_second).collect::<Vec<_>>(),
            "ratio_of_medians": self.ratio,
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpu = self.sorted(|run| run.cpu_us_per_operation);
        let ratio = self.ratio.map_or_else(|| "—".to_owned(), |ratio| format!("{ratio:.2}"));
        write!(
            f,
            "| {} | {} | {:.3} ({:.3}–{:.3}) | {ratio} | {:.0} |",
            self.case,
            self.program,
            self.median(|run| run.cpu_us_per_operation),
            cpu[0],
            cpu[cpu.len() - 1],
            self.median(|run| run.operations_per_second),
        )
    }
}

impl Site {
    /// A site in a folder, for the server of that URL (`scheme://user:password@host:port/database`).
    fn new(storelab: &Path, folder: &TempDir, url: &str, seconds: u32) -> anyhow::Result<Self> {
        let mut site = Self {
            storelab: storelab.display().to_string(),
            folder: folder.path().to_owned(),
            url: url.to_owned(),
            user: String::new(),
            password: String::new(),
            port: String::new(),
            database: String::new(),
            seconds,
        };
        if let Some((credentials, place)) = url.split_once("://").and_then(|(_, rest)| rest.split_once('@')) {
            let (user, password) = credentials.split_once(':').context("the server has a password")?;
            let (host, database) = place.split_once('/').unwrap_or((place, ""));
            let (_, port) = host.rsplit_once(':').context("the server has a port")?;
            (site.user, site.password) = (user.to_owned(), password.to_owned());
            (site.port, site.database) = (port.to_owned(), database.to_owned());
        }
        Ok(site)
    }
}
