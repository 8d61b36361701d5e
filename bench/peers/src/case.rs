//! What a comparison is made of.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::peer::{Found, Peer};

/// A comparison: programs that take turns on one server.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The engine that is started for it, or none where `target` needs no server.
    pub(crate) engine: Option<&'static str>,
    /// Storelab's target where there is no engine; `{folder}` is the case's own.
    pub(crate) target: &'static str,
    /// Files and sockets that must be open at once.
    pub(crate) open_files: u64,
    /// Storelab first.
    pub(crate) programs: &'static [Program],
}

/// One program of a comparison.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// What must be installed for it.
    pub(crate) peer: Option<&'static Peer>,
    /// Command lines that load its data.
    pub(crate) prepare: fn(&Site) -> anyhow::Result<Vec<Vec<String>>>,
    /// The command line that is measured.
    pub(crate) run: fn(&Site) -> Vec<String>,
    /// What it says it did, from what it wrote.
    pub(crate) read: fn(&str, &Site) -> Option<Reading>,
    /// Whether its stderr is a terminal, so that it shows its progress.
    pub(crate) is_watched: bool,
    /// For the first program about its own figures; for others about the first one's over theirs.
    pub(crate) goals: &'static [Goal],
}

/// What a program says of its run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    pub(crate) operations: f64,
    pub(crate) operations_per_second: Option<f64>,
    /// How late requests were sent, in µs: p50 and p99.
    pub(crate) lateness_us: Option<(f64, f64)>,
    /// Which server answered.
    pub(crate) server: Option<String>,
}

/// What is wanted of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) figure: Figure,
    pub(crate) bound: Bound,
}

/// A figure of a run, or of one program's runs over another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Processor time for an operation, in µs.
    Cpu,
    /// Operations a second, as the program says itself.
    Throughput,
    /// 99th percentile of how late requests were sent, in µs.
    Lateness,
    /// Resident memory at its highest, in MiB.
    Memory,
}

/// A bound of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    pub(crate) const fn cpu(at_most: f64) -> Self {
        Self { figure: Figure::Cpu, bound: Bound::AtMost(at_most) }
    }

    pub(crate) const fn throughput(at_least: f64) -> Self {
        Self { figure: Figure::Throughput, bound: Bound::AtLeast(at_least) }
    }

    pub(crate) const fn lateness_us(at_most: f64) -> Self {
        Self { figure: Figure::Lateness, bound: Bound::AtMost(at_most) }
    }

    pub(crate) const fn memory_mib(at_most: f64) -> Self {
        Self { figure: Figure::Memory, bound: Bound::AtMost(at_most) }
    }

    pub(crate) fn is_met(&self, value: f64) -> bool {
        match self.bound {
            Bound::AtMost(bound) => value <= bound,
            Bound::AtLeast(bound) => value >= bound,
        }
    }
}

impl Figure {
    pub(crate) const ALL: [Self; 4] = [Self::Cpu, Self::Throughput, Self::Lateness, Self::Memory];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Throughput => "throughput",
            Self::Lateness => "lateness p50",
            Self::Memory => "memory",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "µs an operation",
            Self::Throughput => "operations a second",
            Self::Lateness => "µs",
            Self::Memory => "MiB",
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
        }
    }
}

/// Where a case runs.
pub(crate) struct Site<'a> {
    pub(crate) storelab: String,
    /// This program, some of whose subcommands are measured too.
    pub(crate) ourselves: String,
    pub(crate) folder: PathBuf,
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) port: String,
    pub(crate) database: String,
    /// How long a program runs in a round.
    pub(crate) seconds: u32,
    pub(crate) peers: &'a BTreeMap<&'static str, Result<Found, String>>,
}

impl<'a> Site<'a> {
    /// A site in a folder, for the server of that URL (`scheme://user:password@host:port/database`).
    pub(crate) fn new(
        storelab: &Path,
        folder: &Path,
        url: &str,
        seconds: u32,
        peers: &'a BTreeMap<&'static str, Result<Found, String>>,
    ) -> anyhow::Result<Self> {
        let mut site = Self {
            storelab: storelab.display().to_string(),
            ourselves: std::env::current_exe()?.display().to_string(),
            folder: folder.to_owned(),
            url: url.to_owned(),
            user: String::new(),
            password: String::new(),
            port: String::new(),
            database: String::new(),
            seconds,
            peers,
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

    /// A file of the case's own.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Where a peer's program is; its name where that is not known.
    pub(crate) fn program(&self, peer: &Peer) -> String {
        match self.peers.get(peer.name) {
            Some(Ok(found)) => found.program.clone(),
            _ => peer.name.to_owned(),
        }
    }
}
