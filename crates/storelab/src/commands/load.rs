//! `storelab load`: a workload's data, put into a data store for later runs.

use experiment::{Event, LOCAL_PREFIX, Plan, Spec};
use runner::Stop;
use store::{Capability, Error};

use crate::cli::LoadArguments;
use crate::commands::override_workload;
use crate::environment;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::terminal::{data, thousands};

pub(crate) fn run(arguments: &LoadArguments) -> anyhow::Result<Exit> {
    if arguments.target.expose().starts_with(LOCAL_PREFIX) {
        return Err(Error::config("a throw-away server would take the data with it")
            .with_hint("start one that stays with `storelab engines up`, and load into its URL")
            .into());
    }
    let mut plan = Plan { target: Some(arguments.target.clone()), ..Plan::default() };
    override_workload(&mut plan, &arguments.workload);
    let spec = Spec::new(&plan, &environment::variable)?;
    let mut progress = Progress::new(false);
    let runtime = experiment::local_runtime()?;
    let connected = experiment::connect(&runtime, spec, &mut |event| progress.tell(&event))?;
    let sequential = connected.spec.driver.capabilities().has(Capability::BlockingClient);
    let loaded = experiment::load(
        &runtime,
        &connected.store,
        &connected.spec.instance,
        sequential,
        &Stop::default(),
        &mut |rows, of| progress.tell(&Event::Loading(rows, of)),
    );
    progress.close();
    loaded?;
    match connected.spec.instance.dataset() {
        Some(dataset) => data(&format!("loaded {} rows into {}", thousands(dataset.rows()), dataset.namespace())),
        None => data("this workload needs no data"),
    }
    Ok(Exit::Ok)
}
