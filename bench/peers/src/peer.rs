//! The programs that Storelab is measured against: where they are, or why not, and how they get here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// A program that somebody else made.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Where it may lie beside PATH.
    elsewhere: fn() -> Vec<PathBuf>,
    /// Brings it here without touching the system, where that can be done.
    install: Option<fn() -> anyhow::Result<()>>,
    /// How a person gets it.
    hint: &'static str,
}

/// A program that is here.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) program: String,
    /// What it says to `--version`.
    pub(crate) version: String,
}

pub(crate) static PGBENCH: Peer = Peer {
    name: "pgbench",
    elsewhere: || postgres_programs("pgbench"),
    install: None,
    hint: "apt-get install postgresql-contrib",
};

pub(crate) static REDIS_BENCHMARK: Peer =
    Peer { name: "redis-benchmark", elsewhere: Vec::new, install: None, hint: "apt-get install redis-tools" };

pub(crate) static SYSBENCH: Peer =
    Peer { name: "sysbench", elsewhere: Vec::new, install: None, hint: "apt-get install sysbench" };

pub(crate) static RESP_BENCHMARK: Peer = Peer {
    name: "resp-benchmark",
    elsewhere: || python_environment().map(|folder| vec![folder.join("bin/resp-benchmark")]).unwrap_or_default(),
    install: Some(install_resp_benchmark),
    hint: "apt-get install python3-venv; it comes from PyPI",
};

/// The release that the figures are about.
const RESP_BENCHMARK_REQUIREMENT: &str = "resp-benchmark==0.2.5";

impl Peer {
    /// Finds it, and installs it where it is absent and that touches nothing else.
    ///
    /// # Errors
    /// Why it is not here, for a table.
    pub(crate) fn locate(&self) -> Result<Found, String> {
        if let Some(found) = self.find() {
            return Ok(found);
        }
        if let Some(install) = self.install {
            install().map_err(|error| format!("cannot be installed ({error:#}): {}", self.hint))?;
            if let Some(found) = self.find() {
                return Ok(found);
            }
        }
        Err(format!("not installed: {}", self.hint))
    }

    fn find(&self) -> Option<Found> {
        let elsewhere = (self.elsewhere)();
        let candidates = elsewhere.iter().map(|path| path.display().to_string()).chain([self.name.to_owned()]);
        candidates.into_iter().find_map(|program| {
            let output = Command::new(&program).arg("--version").stdin(Stdio::null()).output().ok()?;
            let version = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
            output.status.success().then_some(Found { program, version })
        })
    }
}

/// Debian keeps `PostgreSQL`'s own programs in a folder for each version, only some of them on PATH; the newest first.
fn postgres_programs(name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut programs: Vec<PathBuf> = entries.map(|entry| entry.path().join("bin").join(name)).collect();
    programs.sort();
    programs.reverse();
    programs
}

/// Python programs live in an environment of their own below Storelab's cache, never in the system's.
fn python_environment() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("STORELAB_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("storelab")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/storelab")))?;
    Some(cache.join("peers"))
}

fn install_resp_benchmark() -> anyhow::Result<()> {
    let folder = python_environment().context("there is no folder for a cache: set STORELAB_CACHE")?;
    let pip = folder.join("bin/pip");
    if !pip.is_file() {
        finish(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    }
    finish(Command::new(&pip).args(["install", "--quiet", "--disable-pip-version-check", RESP_BENCHMARK_REQUIREMENT]))
}

fn finish(command: &mut Command) -> anyhow::Result<()> {
    let name = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{name} does not start"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stderr, output.stdout].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
    bail!("{name}: {}", line.trim())
}
