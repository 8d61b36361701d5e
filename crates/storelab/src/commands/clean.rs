//! `storelab clean`: takes out of a data store what its manifest says Storelab made.

use experiment::{Plan, Spec, WorkloadPlan};

use crate::cli::CleanArguments;
use crate::environment;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::terminal::{data, talk};

pub(crate) fn run(arguments: &CleanArguments) -> anyhow::Result<Exit> {
    let plan = Plan {
        target: Some(arguments.target.clone()),
        workload: arguments.workload.as_deref().map(WorkloadPlan::named),
        ..Plan::default()
    };
    let spec = Spec::new(&plan, &environment::variable)?;
    let runtime = experiment::local_runtime()?;
    let mut progress = Progress::new(false);
    let connected = experiment::connect(&runtime, spec, &mut |event| progress.tell(&event))?;
    progress.close();
    let only = arguments.workload.as_ref().and_then(|_| connected.spec.instance.dataset());
    let cleaned = experiment::clean(&runtime, &*connected.store, only)?;
    if cleaned.is_empty() {
        talk("there was nothing of Storelab's");
    }
    for object in cleaned {
        data(&format!("dropped {} {}", object.kind, object.name));
    }
    Ok(Exit::Ok)
}
