//! `storelab agent`: drives parts of loads that others divide.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use experiment::{Spec, TargetPlan, TargetText};
use results::service::{ClaimedPart, drive_part};
use results::{Error, Results};
use runner::Stop;

use super::run::stop_on_signal;
use crate::cli::AgentArguments;
use crate::environment;
use crate::exit::Exit;
use crate::terminal::{talk, thousands};

/// Between two looks for a part.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) fn run(arguments: &AgentArguments, store: Option<&str>, is_loopback_allowed: bool) -> anyhow::Result<Exit> {
    let mut results = super::open(store)?;
    let stop = Stop::default();
    stop_on_signal(&stop)?;
    let name = arguments.name.clone().unwrap_or_else(name_here);
    let agent = results.register_agent(&name)?;
    talk(&format!("agent {name} waits for parts in {}", results.location()));
    while !stop.is_requested() {
        match results.claim_part(agent, &name) {
            Ok(Some(claim)) => {
                let spec = spec_of(arguments, &mut results, &claim, is_loopback_allowed);
                let is_driven = drive(&results, &claim, spec, &stop);
                if arguments.once {
                    return is_driven.map(|is_driven| if is_driven { Exit::Ok } else { Exit::Failed });
                }
                // Whoever divided the run was told; this agent is there for the next one.
                if let Err(error) = is_driven {
                    talk(&format!("error: {error:#}"));
                }
            }
            // Nothing waits; or a server that is started again comes back.
            Ok(None) | Err(Error::Unreachable { .. } | Error::Locked { .. }) => thread::sleep(LOOK_INTERVAL),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Exit::Interrupted)
}

/// What is to be driven. What a service was asked for goes where the service lets it and no further: the agent asks the same
/// list about every address that it connects to. On the command line nobody limits the user.
fn spec_of(
    arguments: &AgentArguments,
    results: &mut Results,
    claim: &ClaimedPart,
    is_loopback_allowed: bool,
) -> store::Result<Spec> {
    let given = arguments.target.as_ref().map(TargetText::expose);
    let mut spec = experiment::part_spec(&claim.plan, &claim.target, given, &environment::variable)?;
    if results.queue_entry(claim.run)?.is_some()
        && let TargetPlan::Url(target) = &mut spec.target
    {
        let policy = server::policy_of(results, is_loopback_allowed)?;
        *target = target.clone().with_reach(Arc::new(policy));
    }
    Ok(spec)
}

/// Drives one part. Returns whether it was this agent's to the end.
fn drive(results: &Results, claim: &ClaimedPart, spec: store::Result<Spec>, stop: &Stop) -> anyhow::Result<bool> {
    let ClaimedPart { run, number, part, .. } = claim;
    let what = format!("part {} of run {}", number + 1, results::short_id(*run));
    let last = part.first + part.sessions.get();
    talk(&format!("{what}: sessions {} to {} on {}", part.first + 1, thousands(last.into()), claim.target));
    // A stop of its own: that a part is lost is no reason for the agent to end.
    let part_stop = Stop::default();
    let location = results.location().clone();
    let is_driven = thread::scope(|scope| {
        let driving = scope.spawn(|| drive_part(&location, claim, spec, &part_stop));
        while !driving.is_finished() {
            if stop.is_requested() {
                part_stop.request();
            }
            thread::sleep(LOOK_INTERVAL);
        }
        driving.join()
    });
    let is_driven = is_driven.map_err(|_| store::Error::bug("the thread that drove a part died"))??;
    talk(&if is_driven { format!("{what}: done") } else { format!("{what}: given to another, or over") });
    Ok(is_driven)
}

/// The host's name and the process' number.
fn name_here() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}/{}", if host.is_empty() { "host" } else { host }, std::process::id())
}
