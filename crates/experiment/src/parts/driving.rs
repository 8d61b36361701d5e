//! What an agent needs of an experiment: a plan to send to it, and the load alone, from a start that is agreed on.

use std::sync::Arc;

use runner::{Gate, Outcome, Part, Sample, Stop};
use store::{Error, Result, Target};

use crate::beside::Beside;
use crate::data;
use crate::plan::{Collect, Plan};
use crate::run::connect;
use crate::spec::{Spec, TargetPlan};

/// What agents are sent of a specification: its plan as JSON, without the target, and the target without its password.
///
/// # Errors
/// `Config` for a throw-away server, which no other host reaches.
pub fn part_plan(spec: &Spec) -> Result<(String, String)> {
    super::check(spec)?;
    let TargetPlan::Url(target) = &spec.target else { return Err(Error::config("the target is no URL")) };
    let plan = Plan {
        name: Some(spec.name.clone()),
        workload: Some(spec.workload_plan.clone()),
        load: spec.load_plan.clone(),
        collect: Some(Vec::<Collect>::new()),
        seed: Some(spec.seed),
        ..Plan::default()
    };
    let plan = serde_json::to_string(&plan).map_err(|error| Error::bug(format!("a plan cannot be sent: {error}")))?;
    Ok((plan, target.to_string()))
}

/// The specification that an agent was sent. Where the target wants a password it is taken from `given`, the URL of the same
/// target with it.
///
/// # Errors
/// `Config` where a password is wanted and `given` is not that target.
pub fn part_spec(plan: &str, target: &str, given: Option<&str>, lookup: store::Lookup<'_>) -> Result<Spec> {
    let target = match given {
        Some(given) if Target::parse(given)?.to_string() == target => given,
        _ if target.contains("***") => {
            return Err(Error::config(format!("the password of {target} is not known here"))
                .with_hint("give the agent the same URL with its password: --target, or STORELAB_TARGET"));
        }
        _ => target,
    };
    let plan = Plan { target: Some(target.into()), ..Plan::parse(plan)? };
    Spec::new(&plan, lookup)
}

/// Drives a part of a load whose data are there. `observe` is given each second that has ended, and how much of its
/// processors this process used in it, in percent.
///
/// # Errors
/// Those of [`runner::run`], and of reaching the data store.
pub fn run_part(
    spec: Spec,
    part: Part,
    gate: Arc<dyn Gate>,
    stop: &Stop,
    observe: &mut dyn FnMut(&Sample, Option<f64>),
) -> Result<Outcome> {
    let runtime = data::local_runtime()?;
    let connected = connect(&runtime, spec, &mut |_| {})?;
    let spec = &connected.spec;
    let mut run = connected.run_spec(spec.load.clone(), Arc::clone(&spec.instance), spec.seed, stop);
    (run.part, run.gate) = (Some(part), Some(gate));
    let mut beside = Beside::new(None, false);
    let processors = f64::from(beside.processors().max(1));
    beside.start();
    let outcome = runner::run(&run, &mut |sample| {
        let gauges = beside.gauges();
        observe(sample, gauges.get("generator.cpu_percent").map(|percent| percent / processors));
    });
    beside.stop();
    outcome
}
