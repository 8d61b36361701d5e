//! A load that agents drive: what a config may say of it, and when it cannot be.

use std::num::NonZeroU32;
use std::time::Duration;

use experiment::Spec;
use results::service::PATIENCE_DEFAULT;

use super::Config;
use super::check::of;
use crate::problem::Problem;
use crate::settings::Caps;

/// Among how many agents a load is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The agents.
    pub(crate) count: NonZeroU32,
    /// How long they are waited for.
    pub(crate) patience: Duration,
}

/// Whether agents find their parts where the service keeps its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agents {
    /// They reach it too.
    Reach,
    /// It is a file, which the service's host alone reaches.
    CannotReach,
}

/// The parts of a config's load; none where the service drives it by itself.
///
/// # Errors
/// 422, naming the field, the reason and the remedy.
pub(super) fn parts(config: &Config, spec: &Spec, caps: &Caps, agents: Agents) -> Result<Option<Parts>, Problem> {
    let Some(count) = config.parts else {
        return match config.parts_within {
            None => Ok(None),
            Some(_) => Err(Problem::invalid("config.parts_within", "there are no parts to wait for")
                .with_remedy("give `config.parts`, or leave it out")),
        };
    };
    let count = NonZeroU32::new(count).ok_or_else(|| {
        Problem::invalid("config.parts", "a load cannot be divided among no agents")
            .with_remedy("give the number of agents, or leave it out to drive the load from here")
    })?;
    if agents == Agents::CannotReach {
        return Err(Problem::invalid(
            "config.parts",
            "agents find their parts in the results store, and this service's is a file that they do not reach",
        )
        .with_remedy("leave it out, or have the service started with a PostgreSQL as its store (STORELAB_STORE)"));
    }
    let refused = |error: store::Error| of(&error, "config.parts");
    experiment::part_plan(spec).map_err(refused)?;
    experiment::divide(spec.load.sessions, count).map_err(refused)?;
    Ok(Some(Parts { count, patience: patience(config, caps)? }))
}

/// How long agents are waited for: the target is the run's alone all the while.
fn patience(config: &Config, caps: &Caps) -> Result<Duration, Problem> {
    let patience = config.parts_within.map_or(PATIENCE_DEFAULT, |within| within.0);
    if patience.is_zero() || patience.as_secs_f64() > caps.seconds_max {
        return Err(Problem::invalid(
            "config.parts_within",
            format!("{patience:?} is no time that a run may wait for its agents"),
        )
        .with_remedy(format!("give a time over 0, at most {}s", caps.seconds_max)));
    }
    Ok(patience)
}

#[cfg(test)]
mod tests {
    use experiment::{Plan, Span};

    use super::*;

    fn asked(plan: &str, config: &Config, agents: Agents) -> Result<Option<Parts>, Problem> {
        let spec = Spec::new(&Plan::parse(plan).expect("a plan"), &|_| None).expect("it can be run");
        parts(config, &spec, &Caps::default(), agents)
    }

    #[test]
    fn what_cannot_be_divided_is_refused_by_its_field() {
        let server = "{ target: 'redis://127.0.0.1', load: { sessions: 3 } }";
        let within = |seconds| Some(Span(Duration::from_secs(seconds)));
        let of = |count| Config { parts: Some(count), ..Config::default() };
        for (plan, config, agents, field, reason) in [
            (server, of(2), Agents::CannotReach, "config.parts", "results store"),
            (server, of(4), Agents::Reach, "config.parts", "3 sessions cannot be divided into 4 parts"),
            (server, of(0), Agents::Reach, "config.parts", "no agents"),
            ("{ target: 'sqlite:' }", of(2), Agents::Reach, "config.parts", "lives within one process"),
            ("{ target: 'local:redis' }", of(2), Agents::Reach, "config.parts", "this host alone"),
            (server, Config { parts_within: within(0), ..of(2) }, Agents::Reach, "config.parts_within", "no time"),
            (server, Config { parts_within: within(86_401), ..of(2) }, Agents::Reach, "config.parts_within", "no time"),
            (
                server,
                Config { parts_within: within(1), ..Config::default() },
                Agents::Reach,
                "config.parts_within",
                "no parts",
            ),
        ] {
            let problem = asked(plan, &config, agents).expect_err(reason);
            assert_eq!(problem.field(), Some(field), "{reason}");
            assert!(problem.reason().contains(reason), "{}", problem.reason());
        }
        assert_eq!(asked(server, &Config::default(), Agents::CannotReach).expect("nothing is divided"), None);
        let divided = asked(server, &of(3), Agents::Reach).expect("possible").expect("it is divided");
        assert_eq!((divided.count.get(), divided.patience), (3, PATIENCE_DEFAULT));
    }
}
