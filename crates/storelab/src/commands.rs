//! One command a file.

mod agent;
mod calibrate;
mod clean;
mod compare;
mod config;
mod engines;
mod export;
mod history;
mod load;
mod manual;
mod repeat;
mod report;
mod run;
mod runs;
mod serve;
mod show;
mod stores;
mod token;
mod workloads;

use experiment::{Plan, WorkloadPlan};
use results::{Location, Results};

pub(crate) use history::HistoryArguments;

use crate::cli::{Command, WorkloadArguments};
use crate::exit::Exit;
use crate::settings::Settings;

/// Carries out a command.
pub(crate) fn run(command: Command, settings: &Settings) -> anyhow::Result<Exit> {
    let store = settings.text("store")?;
    let store = store.as_deref();
    match command {
        Command::Run(arguments) => run::run(&arguments, store),
        Command::Agent(arguments) => agent::run(&arguments, store, settings.switch("server.loopback")?),
        Command::Load(arguments) => load::run(&arguments),
        Command::Clean(arguments) => clean::run(&arguments),
        Command::Runs(arguments) => runs::run(&arguments, store),
        Command::Show(arguments) => show::run(&arguments, store),
        Command::Compare(arguments) => compare::run(&arguments, store),
        Command::Calibrate(arguments) => calibrate::run(&arguments, store),
        Command::Report(arguments) => report::run(&arguments, store),
        Command::History(arguments) => history::run(&arguments, store),
        Command::Export(arguments) => export::run(&arguments, store),
        Command::Serve(arguments) => serve::run(&arguments, settings),
        Command::Token(arguments) => token::run(&arguments, settings),
        Command::Stores(arguments) => stores::run(&arguments),
        Command::Workloads(arguments) => workloads::run(&arguments),
        Command::Engines(arguments) => engines::run(arguments.command),
        Command::Config(arguments) => config::run(&arguments, settings),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { folder } => manual::man(folder.as_deref()),
    }
}

/// Opens the results store that is named so; the default one where none is.
fn open(store: Option<&str>) -> results::Result<Results> {
    Results::open(&Location::parse(store)?)
}

/// Lets the flags that name the work override the plan's.
fn override_workload(plan: &mut Plan, arguments: &WorkloadArguments) {
    if let Some(named) = &arguments.workload {
        plan.workload = Some(WorkloadPlan::named(named));
    }
    if !arguments.set.is_empty() {
        let workload = plan.workload.get_or_insert_with(|| WorkloadPlan::named("ycsb:b"));
        for (name, value) in &arguments.set {
            workload.settings.set(name, value);
        }
    }
}
