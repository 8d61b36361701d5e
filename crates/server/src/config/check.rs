//! From what a client wrote to a specification that can be run.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use experiment::{LOCAL_PREFIX, LoadPlan, Plan, Span, Spec, TargetPlan, Threshold, WorkloadPlan};
use runner::{Limit, Load, Mode};
use store::{Driver, Error, Lookup, Target, did_you_mean};
use workload::Settings;

use super::parts::parts;
use super::{Agents, Config, OnRestart, Parts, in_fields};
use crate::policy::{Policy, Refusal};
use crate::problem::Problem;
use crate::settings::Caps;

/// The workload of a driver's own operations.
const OPERATIONS: &str = "operations";

/// What a name of an experiment may have of letters: a line in lists and reports.
pub(crate) const NAME_LETTERS_MAX: usize = 200;

/// Letters of a config as JSON: plans are short, and lists show them.
const CONFIG_BYTES_MAX: usize = 64 * 1024;

/// A config that can be run.
pub(crate) struct Checked {
    /// What to run.
    pub(crate) spec: Spec,
    /// The config as it is shown and kept, without any password.
    pub(crate) shown: Config,
    /// The target's whole URL where the client's had a secret in it.
    pub(crate) secret: Option<String>,
    /// Among whom its load is divided, where it is.
    pub(crate) parts: Option<Parts>,
}

/// The driver of a database type.
///
/// # Errors
/// 422, with the name that was probably meant.
pub(crate) fn database_named(name: &str) -> Result<&'static dyn Driver, Problem> {
    drivers::DRIVERS.iter().copied().find(|driver| driver.name() == name).ok_or_else(|| {
        let names = drivers::DRIVERS.iter().map(|driver| driver.name());
        Problem::invalid("database_type", format!("there is no database type `{name}`"))
            .with_names(&name.to_lowercase(), names)
    })
}

/// Checks what an experiment is to do: all that can be known to be wrong without asking the data store.
///
/// # Errors
/// 422, naming the field, the reason and the remedy.
pub(crate) fn check(
    name: &str,
    database_type: &str,
    config: &Config,
    policy: &Policy,
    caps: &Caps,
    agents: Agents,
    lookup: Lookup<'_>,
) -> Result<Checked, Problem> {
    check_name(name)?;
    let driver = database_named(database_type)?;
    let (text, target) = target(driver, config, policy, lookup)?;
    check_numbers(config, caps)?;
    check_operations(driver, config)?;
    check_prometheus(config, policy)?;
    let mut plan = Plan {
        name: Some(name.to_owned()),
        target: Some(text.as_str().into()),
        workload: Some(workload(config, caps)?),
        load: load(config, driver, caps)?,
        collect: config.collect.clone(),
        prometheus: config.prometheus.clone(),
        thresholds: Vec::new(),
        abort_on_fail: None,
        seed: config.seed,
    };
    let spec = Spec::new(&plan, lookup).map_err(|error| of_plan(&error))?;
    check_caps(&spec, caps)?;
    plan.thresholds = config.thresholds.clone().unwrap_or_default();
    plan.abort_on_fail = config.abort_on_fail;
    check_thresholds(&plan, &spec)?;
    // A seed that was drawn stays the one that was drawn.
    plan.seed = Some(spec.seed);
    let mut spec = Spec::new(&plan, lookup).map_err(|error| of_plan(&error))?;
    if let TargetPlan::Url(reached) = &mut spec.target {
        reached.clone_from(&target);
    }
    // What is asked beside the target goes no further than that does.
    spec.prometheus = spec.prometheus.map(|asked| asked.with_reach(Arc::new(policy.clone())));
    let parts = parts(config, &spec, caps, agents)?;
    check_restart(config, &spec)?;
    let (shown, secret) = shown(config, &text, &target)?;
    Ok(Checked { spec, shown, secret, parts })
}

/// The target that two runs must not have at the same time; none for a throw-away one, which nobody else knows.
pub(crate) fn lease_of(spec: &Spec) -> Option<String> {
    let TargetPlan::Url(target) = &spec.target else { return None };
    let port = target.port().or(spec.driver.default_port())?;
    // What is in the same server shares its processors, whichever database of it is meant.
    let host = if target.is_loopback() { "localhost".to_owned() } else { target.host().to_ascii_lowercase() };
    Some(format!("{host}:{port}"))
}

fn check_name(name: &str) -> Result<(), Problem> {
    let letters = name.chars().count();
    if name.trim().is_empty() || letters > NAME_LETTERS_MAX || name.chars().any(char::is_control) {
        return Err(Problem::invalid("name", "the name is no line of text")
            .with_remedy(format!("give 1 to {NAME_LETTERS_MAX} letters, without control characters")));
    }
    Ok(())
}

/// The target's text and the target, which carries the policy.
fn target(
    driver: &'static dyn Driver,
    config: &Config,
    policy: &Policy,
    lookup: Lookup<'_>,
) -> Result<(String, Target), Problem> {
    let text = match &config.target {
        Some(text) => text.expose().to_owned(),
        None => driver.url_from_environment(lookup).unwrap_or_else(|| format!("{}:", driver.schemes()[0])),
    };
    let target = policy.check(&text).map_err(of_refusal)?;
    let (found, _) = experiment::resolve_target(&text, lookup).map_err(|error| of(&error, "config.target"))?;
    if found.name() != driver.name() {
        return Err(Problem::invalid(
            "config.target",
            format!("the target is of {}, and the database type is `{}`", found.title(), driver.name()),
        )
        .with_remedy(format!("give `database_type` as `{}`, or a target of {}", found.name(), driver.title())));
    }
    Ok((text, target))
}

fn of_refusal(refusal: Refusal) -> Problem {
    Problem::invalid(format!("config.{}", refusal.field), refusal.reason).with_remedy(refusal.remedy)
}

/// The config as it is shown, and the whole target where that has something that is not.
fn shown(config: &Config, text: &str, target: &Target) -> Result<(Config, Option<String>), Problem> {
    let mut shown = config.clone();
    let mut secret = None;
    if config.target.is_some() && !text.starts_with(LOCAL_PREFIX) {
        let masked = target.to_string();
        if masked.contains("***") {
            secret = Some(text.to_owned());
            shown.target = Some(masked.into());
        }
    }
    let length = serde_json::to_string(&shown).map_or(usize::MAX, |json| json.len());
    if length > CONFIG_BYTES_MAX {
        return Err(Problem::invalid("config", format!("the config takes {length} bytes"))
            .with_remedy(format!("give at most {CONFIG_BYTES_MAX} bytes")));
    }
    Ok((shown, secret))
}

fn check_numbers(config: &Config, caps: &Caps) -> Result<(), Problem> {
    let within = |field: &'static str, value: Option<u64>, least: u64, greatest: u64| match value {
        Some(value) if !(least..=greatest).contains(&value) => {
            Err(Problem::invalid(field, format!("{value} is not from {least} to {greatest}"))
                .with_remedy(format!("give a number from {least} to {greatest}")))
        }
        _ => Ok(()),
    };
    within("config.rows", config.rows, 1, caps.rows_max)?;
    within("config.warmup_rows", config.warmup_rows, 0, caps.rows_max)?;
    within("config.warmup_operations", config.warmup_operations, 0, caps.rows_max)?;
    within("config.concurrent_users", config.concurrent_users.map(u64::from), 1, caps.sessions_max.into())?;
    if let Some(seconds) = config.steady_state_duration
        && !(seconds > 0.0 && seconds <= caps.seconds_max)
    {
        return Err(Problem::invalid(
            "config.steady_state_duration",
            format!("{seconds} is no time that a run may take"),
        )
        .with_remedy(format!("give seconds over 0, at most {}", caps.seconds_max)));
    }
    Ok(())
}

fn check_operations(driver: &dyn Driver, config: &Config) -> Result<(), Problem> {
    let names = || driver.operations().iter().map(|operation| operation.name);
    let mut asked_for = config.operations.iter().flatten().enumerate();
    if let Some((place, name)) = asked_for.find(|(_, name)| !names().any(|known| known == name.as_str())) {
        let elsewhere: Vec<_> = drivers::DRIVERS
            .iter()
            .filter(|other| other.operations().iter().any(|operation| operation.name == name))
            .map(|other| other.name())
            .collect();
        let remedy = match did_you_mean(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if !elsewhere.is_empty() => format!("database types that have it: {}", elsewhere.join(", ")),
            None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        };
        let reason = format!("{} has no operation `{name}`", driver.title());
        return Err(Problem::invalid(format!("config.operations[{place}]"), reason).with_remedy(remedy));
    }
    let is_other = config.workload.as_ref().is_some_and(|workload| workload.name != OPERATIONS);
    let of_operations =
        [("config.operations", config.operations.is_some()), ("config.data_size", config.data_size.is_some())];
    if let Some((field, _)) = of_operations.into_iter().find(|(_, given)| is_other && *given) {
        return Err(Problem::invalid(field, "the workload has no such parameter")
            .with_remedy(format!("leave it out, or leave out `config.workload`, which is `{OPERATIONS}` then")));
    }
    if config.operations.as_ref().is_some_and(Vec::is_empty) {
        return Err(Problem::invalid("config.operations", "there is no operation in it")
            .with_remedy("name at least one, or leave the field out to measure all"));
    }
    Ok(())
}

/// Where a client would have a Prometheus asked. One that the service's environment names goes no further, either.
fn check_prometheus(config: &Config, policy: &Policy) -> Result<(), Problem> {
    let Some(url) = config.prometheus.as_ref().and_then(|asked| asked.url.as_ref()) else { return Ok(()) };
    match policy.check_web(url.expose()) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(Problem::invalid("config.prometheus.url", refusal.reason).with_remedy(refusal.remedy)),
    }
}

/// The workload with its parameters, those of their own fields among them.
fn workload(config: &Config, caps: &Caps) -> Result<WorkloadPlan, Problem> {
    let mut plan = config.workload.clone().unwrap_or_else(|| WorkloadPlan::named(OPERATIONS));
    let known = experiment::workload_named(&plan.name).map_err(|error| of(&error, "config.workload"))?;
    let has = |name: &str| known.parameters().iter().any(|parameter| parameter.name == name);
    let rows = match config.rows {
        Some(rows) => Some(rows),
        None => (plan.name == OPERATIONS).then_some(caps.rows_default),
    };
    let rows_parameter = ["rows", "records", "table_size"].into_iter().find(|name| has(name));
    let own: [(&'static str, Option<&str>, Option<String>); 3] = [
        ("config.rows", rows_parameter, rows.map(|rows| rows.to_string())),
        ("config.operations", Some("operations"), config.operations.as_ref().map(|names| names.join(","))),
        ("config.data_size", Some("size"), config.data_size.map(|size| size.name().to_owned())),
    ];
    for (field, parameter, value) in own {
        let Some(value) = value else { continue };
        let Some(parameter) = parameter else {
            return Err(Problem::invalid(field, format!("workload `{}` has no number of rows", plan.name))
                .with_remedy("leave it out, and give the workload's own parameters in `config.settings`"));
        };
        let is_given = |settings: &Settings| settings.iter().any(|(name, _)| name == parameter);
        let is_twice =
            is_given(&plan.settings) || config.settings.as_ref().is_some_and(|all| all.contains_key(parameter));
        let is_default = field == "config.rows" && config.rows.is_none();
        if is_twice && !is_default {
            return Err(Problem::invalid(field, format!("it is given again as the parameter `{parameter}`"))
                .with_remedy("give one of them"));
        }
        if !is_twice {
            plan.settings.set(parameter, value);
        }
    }
    for (name, value) in config.settings.iter().flatten() {
        plan.settings.set(name.as_str(), value.text());
    }
    Ok(plan)
}

/// The load, with what fields of their own say of it.
fn load(config: &Config, driver: &dyn Driver, caps: &Caps) -> Result<LoadPlan, Problem> {
    let mut plan = config.load.clone().unwrap_or_default();
    let users = config.concurrent_users.and_then(NonZeroU32::new);
    let warm_up = config.warmup_rows.max(config.warmup_operations);
    let steady = config.steady_state_duration.map(|seconds| Span(Duration::from_secs_f64(seconds)));
    for (field, is_twice, other) in [
        ("config.concurrent_users", users.is_some() && plan.sessions.is_some(), "config.load.sessions"),
        (
            "config.warmup_operations",
            warm_up.is_some() && plan.warm_up_operations.is_some(),
            "config.load.warm_up_operations",
        ),
        ("config.steady_state_duration", steady.is_some() && plan.duration.is_some(), "config.load.for"),
    ] {
        if is_twice {
            return Err(
                Problem::invalid(field, format!("it is given again as `{other}`")).with_remedy("give one of them")
            );
        }
    }
    plan.sessions = plan.sessions.or(users).or(NonZeroU32::new(caps.sessions_default_on(driver.name())));
    plan.warm_up_operations = plan.warm_up_operations.or(warm_up);
    plan.duration = plan.duration.or(steady);
    Ok(plan)
}

/// What an operator lets one experiment take.
fn check_caps(spec: &Spec, caps: &Caps) -> Result<(), Problem> {
    let Load { sessions, phases, .. } = &spec.load;
    let sessions_max = caps.sessions_max_on(spec.driver.name());
    if sessions.get() > sessions_max {
        return Err(Problem::invalid("config.load.sessions", format!("{sessions} sessions are more than may be"))
            .with_remedy(format!("give at most {sessions_max}")));
    }
    let rates = phases.iter().filter_map(|phase| match phase.mode {
        Mode::Open { from, to, .. } => Some(from.get().max(to.get())),
        Mode::Closed => None,
    });
    if let Some(rate) = rates.reduce(f64::max).filter(|rate| *rate > caps.rate_max) {
        return Err(Problem::invalid("config.load.rate", format!("{rate} operations a second are more than may be"))
            .with_remedy(format!("give at most {}/s", caps.rate_max)));
    }
    let seconds: f64 = phases
        .iter()
        .map(|phase| match (phase.limit, phase.mode) {
            (Limit::Duration(duration), _) => duration.as_secs_f64(),
            (Limit::Count(count), Mode::Open { from, to, .. }) => count as f64 / from.get().max(to.get()),
            // Nobody knows how long a closed phase takes: its run is stopped when it has taken too long.
            (Limit::Count(_), Mode::Closed) => 0.0,
        })
        .sum();
    if seconds > caps.seconds_max {
        return Err(Problem::invalid("config.load", format!("{seconds} seconds are more than a run may take"))
            .with_remedy(format!("let its phases take at most {} seconds together", caps.seconds_max)));
    }
    let rows = spec.instance.dataset().map_or(0, store::Dataset::rows);
    if rows > caps.rows_max {
        return Err(Problem::invalid("config.rows", format!("{rows} rows are more than may be loaded"))
            .with_remedy(format!("give at most {}", caps.rows_max)));
    }
    Ok(())
}

/// Whether there is something that a run can go on from.
fn check_restart(config: &Config, spec: &Spec) -> Result<(), Problem> {
    if config.on_restart != Some(OnRestart::Resume) {
        return Ok(());
    }
    let reason = match experiment::check_resumable(spec) {
        Err(error) => error.to_string(),
        Ok(()) if config.parts.is_some() => "a load that agents drive has no checkpoint to go on from".to_owned(),
        Ok(()) => return Ok(()),
    };
    Err(Problem::invalid("config.on_restart", reason).with_remedy("give `rerun`, which begins anew, or `interrupt`"))
}

/// Each threshold by itself, so that the wrong one is named.
fn check_thresholds(plan: &Plan, spec: &Spec) -> Result<(), Problem> {
    let names = spec.names();
    for (place, threshold) in plan.thresholds.iter().enumerate() {
        let resolved = Threshold::parse(&threshold.expr).and_then(|parsed| parsed.resolve(&names));
        if let Err(error) = resolved {
            let problem = Problem::invalid(format!("config.thresholds[{place}]"), error.message().to_owned());
            return Err(match error.hint().and_then(in_fields) {
                Some(hint) => problem.with_remedy(hint.into_owned()),
                None => problem,
            });
        }
    }
    Ok(())
}

/// An error of a plan, with the field that its message speaks of.
fn of_plan(error: &Error) -> Problem {
    let message = error.to_string();
    let quoted = message.split('`').nth(1).unwrap_or_default();
    let parameter = || {
        let name = quoted.split('=').next().unwrap_or_default();
        match name {
            "rows" | "operations" => format!("config.{name}"),
            "size" => "config.data_size".to_owned(),
            _ => format!("config.settings.{name}"),
        }
    };
    let field = if message.starts_with("parameter ") || message.contains(" has no parameter ") {
        let typed = if message.starts_with("parameter ") { parameter() } else { last_quoted(&message) };
        if typed.starts_with("config.") { typed } else { format!("config.settings.{typed}") }
    } else if ["load.", "prometheus"].iter().any(|own| quoted.starts_with(own)) {
        format!("config.{quoted}")
    } else if message.contains("threshold") {
        "config.thresholds".to_owned()
    } else if message.starts_with("phase ") {
        "config.load.phases".to_owned()
    } else if message.starts_with("a depth ") {
        "config.load.depth".to_owned()
    } else if message.contains("workload") || message.contains("variant") {
        "config.workload".to_owned()
    } else if message.contains("load") || message.contains("phase") {
        "config.load".to_owned()
    } else if message.contains("operation") {
        "config.operations".to_owned()
    } else {
        "config".to_owned()
    };
    of(error, field)
}

fn last_quoted(message: &str) -> String {
    message.rsplit('`').nth(1).unwrap_or_default().to_owned()
}

pub(super) fn of(error: &Error, field: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    let problem = Problem::invalid(field, error.to_string());
    match error.hint().and_then(in_fields) {
        Some(hint) => problem.with_remedy(hint.into_owned()),
        None => problem,
    }
}
