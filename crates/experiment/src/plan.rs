//! The one document that says everything about a run, in YAML or JSON; the command line's flags fill the same structs.
//!
//! Unknown fields are refused with the nearest that exists. [`Plan`] is what was written; [`LoadPlan::to_load`] makes of it
//! what the runner takes, so that nothing past this file meets an unchecked value.

use std::num::NonZeroU32;
use std::time::Duration;

use runner::{Arrivals, Limit, Load, Mode, Phase};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Error, Result, did_you_mean};
use workload::Settings;

use crate::prometheus::PrometheusPlan;
use crate::search::FindPlan;
use crate::target_text::TargetText;
use crate::threshold::ThresholdPlan;
use crate::units::{PerSecond, Span};

/// Sessions where the plan does not say.
const SESSIONS_DEFAULT: NonZeroU32 = NonZeroU32::new(16).expect("not zero");
/// How long a load without any limit goes on.
const DURATION_DEFAULT: Span = Span(Duration::from_secs(10));
/// Warm-up of a load that is limited by time, where the plan does not say.
const WARM_UP_DEFAULT: Span = Span(Duration::from_secs(1));
/// Steps of one phase: more make a ramp.
const STEPS_MAX: usize = 1_000;

/// A run as a user describes it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What to call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// URL of the data store, or `local:NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetText>,
    /// `NAME`, `NAME:VARIANT`, or `{ NAME: { variant: …, parameter: value … } }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadPlan>,
    /// The load.
    #[serde(default)]
    pub load: LoadPlan,
    /// What to record beside the client: `host`, `server`, `flamegraph`, `flamegraph_generator`, `prometheus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collect: Option<Vec<Collect>>,
    /// What is asked of a Prometheus, where `collect` has `prometheus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusPlan>,
    /// What must hold of what is measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<ThresholdPlan>,
    /// Ends the run once a threshold has failed, after its phases have been measured for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_on_fail: Option<Span>,
    /// What all randomness derives from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// What can be recorded beside the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collect {
    /// The host's processors, memory, disks, network and pressure.
    Host,
    /// The server's processes and its own counters.
    Server,
    /// What a Prometheus knows of these seconds.
    Prometheus,
    /// Where the server's processes spend their processor time.
    Flamegraph,
    /// The same of the generator.
    #[serde(alias = "flamegraph-generator")]
    FlamegraphGenerator,
}

/// A workload as a user names it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkloadPlan {
    /// Its name.
    pub name: String,
    /// Its variant's.
    pub variant: Option<String>,
    /// Its parameters.
    pub settings: Settings,
}

/// The load as a user describes it: phases, or one phase in short.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadPlan {
    /// Phases, one after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phases: Option<Vec<PhasePlan>>,
    /// In short: the rate of the only phase. Without one the load is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<PerSecond>,
    /// In short: how arrivals are spaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Spacing>,
    /// In short: how long the only phase takes.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// In short: how many operations it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<u64>,
    /// The load that keeps a condition is searched for, and the only phase runs at a share of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find: Option<FindPlan>,
    /// An unrecorded phase of the same kind before the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<Span>,
    /// So many operations before the only phase, or before each of a sequence, that do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up_operations: Option<u64>,
    /// Connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<NonZeroU32>,
    /// Requests in flight on each connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<NonZeroU32>,
    /// Threads that drive the connections; one a processor where the plan does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<NonZeroU32>,
    /// How connections are waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<IoPlan>,
    /// Whether each worker keeps to a processor of its own, in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<bool>,
    /// What a client waits between an answer and its next request, in closed phases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think: Option<Span>,
    /// How long an operation may be in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// How long after the last phase operations may still end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Span>,
    /// Due operations that may wait for a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u64>,
}

/// How connections are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IoPlan {
    /// By `io_uring` where the kernel grants it, else by `epoll`.
    #[default]
    Auto,
    /// By `io_uring`, or not at all.
    IoUring,
    /// By `epoll`.
    Epoll,
}

impl From<IoPlan> for runner::Io {
    fn from(plan: IoPlan) -> Self {
        match plan {
            IoPlan::Auto => Self::Auto,
            IoPlan::IoUring => Self::IoUring,
            IoPlan::Epoll => Self::Epoll,
        }
    }
}

/// One phase as a user describes it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhasePlan {
    /// What to call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How long it takes; with `steps`, each of them.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// How many operations it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<u64>,
    /// A constant rate. Without `rate`, `ramp` and `steps` the phase is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<PerSecond>,
    /// A rate that changes linearly from the first to the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<[PerSecond; 2]>,
    /// Rates one after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<PerSecond>>,
    /// How arrivals are spaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Spacing>,
    /// Whether it counts; `false` for a warm-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<bool>,
}

/// How arrivals are spaced, as a user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Evenly.
    Constant,
    /// With exponentially distributed gaps.
    Poisson,
}

impl From<Spacing> for Arrivals {
    fn from(spacing: Spacing) -> Self {
        match spacing {
            Spacing::Constant => Self::Constant,
            Spacing::Poisson => Self::Poisson,
        }
    }
}

impl Plan {
    /// Reads a plan from YAML, of which JSON is a part.
    ///
    /// # Errors
    /// `Config`, naming the place, the field and the nearest that exists.
    pub fn parse(text: &str) -> Result<Self> {
        serde_saphyr::from_str(text).map_err(|error| {
            let message = error.to_string();
            // The first line says what and where; the excerpt below it would bury the hint.
            let message = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
            let error = Error::config(format!("the plan cannot be read: {message}"));
            match unknown_field_hint(message) {
                Some(hint) => error.with_hint(hint),
                None => error.with_hint("`storelab run --help` names a plan's fields"),
            }
        })
    }
}

/// Of serde's "unknown field `x`, expected one of a, b": the nearest to `x`.
fn unknown_field_hint(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("unknown field `").or_else(|| message.split_once("unknown variant `"))?;
    let (typed, rest) = rest.split_once('`')?;
    let (_, expected) = rest.split_once("expected ")?;
    let candidates: Vec<&str> = expected
        .trim_start_matches("one of ")
        .split([',', ' '])
        .map(|candidate| candidate.trim_matches(['`', '.']))
        .filter(|candidate| !candidate.is_empty() && *candidate != "or")
        .collect();
    Some(match did_you_mean(typed, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", candidates.join(", ")),
    })
}

impl LoadPlan {
    /// What the runner takes. `sequence` names operations that are run one after another, by their place and name, each as
    /// a phase; `sequence_count` is how many of each where the plan sets no limit. Where a load is searched for, it is the one
    /// that the search starts with.
    ///
    /// # Errors
    /// `Config`, naming the field.
    pub fn to_load(&self, sequence: &[(u16, &str)], sequence_count: u64) -> Result<Load> {
        if let Some(find) = &self.find {
            find.check(self, sequence.len())?;
            let find = find.resolve()?;
            return find.plan_at(self, find.bounds.start)?.to_load(sequence, sequence_count);
        }
        let phases = match &self.phases {
            Some(phases) => self.written_phases(phases)?,
            None if sequence.is_empty() => self.short_phases()?,
            None => self.sequence_phases(sequence, sequence_count)?,
        };
        if self.phases.is_some() && !sequence.is_empty() {
            return Err(Error::config(
                "the workload runs its operations one after another, so `load.phases` has no meaning",
            )
            .with_hint("set the workload's parameter mode=mix, or give `for` or `operations` instead of phases"));
        }
        let mut load = Load::closed(self.sessions.unwrap_or(SESSIONS_DEFAULT), Limit::Count(1));
        load.phases = phases;
        load.depth = self.depth.unwrap_or(load.depth);
        load.think = self.think.map_or(load.think, |span| span.0);
        load.timeout = self.timeout.map_or(load.timeout, |span| span.0);
        load.drain = self.drain.map_or(load.drain, |span| span.0);
        load.backlog_max = self.backlog.unwrap_or(load.backlog_max);
        if !load.think.is_zero() && !load.phases.iter().any(|phase| phase.mode == Mode::Closed) {
            return Err(Error::config("`load.think` has no meaning in an open load")
                .with_hint("leave out `think`, or leave out `rate`"));
        }
        load.validate()?;
        Ok(load)
    }

    /// The load with every default filled in, as it goes into the record.
    #[must_use]
    pub fn resolved(&self, load: &Load) -> Self {
        Self {
            sessions: Some(load.sessions),
            depth: Some(load.depth),
            timeout: Some(Span(load.timeout)),
            drain: Some(Span(load.drain)),
            backlog: Some(load.backlog_max),
            ..self.clone()
        }
    }

    fn mode(&self) -> Mode {
        open_or_closed(self.rate.map(|rate| [rate, rate]), self.arrivals)
    }

    /// The only phase in short, after its warm-up.
    fn short_phases(&self) -> Result<Vec<Phase>> {
        let mode = self.mode();
        if self.arrivals.is_some() && self.rate.is_none() {
            return Err(Error::config("`load.arrivals` has no meaning in a closed load").with_hint("give a `rate`"));
        }
        let limit = limit("load", self.duration, self.operations)?.unwrap_or(Limit::Duration(DURATION_DEFAULT.0));
        let warm_up = match (self.warm_up, self.warm_up_operations, limit) {
            (Some(_), Some(_), _) => {
                return Err(Error::config("the load has both `warm_up` and `warm_up_operations`")
                    .with_hint("warm up by one of them"));
            }
            (Some(span), None, _) => Limit::Duration(span.0),
            (None, Some(count), _) => Limit::Count(count),
            (None, None, Limit::Duration(_)) => Limit::Duration(WARM_UP_DEFAULT.0),
            (None, None, Limit::Count(_)) => Limit::Count(0),
        };
        let steady = Phase { name: "steady".to_owned(), recorded: true, mode, limit, operation: None };
        let warming = Phase { name: "warm-up".to_owned(), recorded: false, limit: warm_up, ..steady.clone() };
        let is_none = matches!(warm_up, Limit::Duration(Duration::ZERO) | Limit::Count(0));
        Ok(if is_none { vec![steady] } else { vec![warming, steady] })
    }

    /// One phase for each operation of a sequence, the limit shared out among them, each after a warm-up of its own where the
    /// plan has one.
    fn sequence_phases(&self, sequence: &[(u16, &str)], count: u64) -> Result<Vec<Phase>> {
        let of = sequence.len() as u64;
        let limit = limit("load", self.duration, self.operations)?;
        let shared = |position: u64| match limit {
            None => Limit::Count(count),
            Some(Limit::Duration(duration)) => Limit::Duration(duration / of as u32),
            Some(Limit::Count(total)) => Limit::Count(total / of + u64::from(position < total % of)),
        };
        let warm_up = Limit::Count(self.warm_up_operations.unwrap_or(0));
        let phases = sequence.iter().zip(0..).flat_map(|((operation, name), position)| {
            let (mode, operation) = (self.mode(), Some(*operation));
            let phase = |name, recorded, limit| Phase { name, recorded, mode, limit, operation };
            let limit = shared(position);
            // What is left out needs no warm-up.
            let warming = if limit == Limit::Count(0) { limit } else { warm_up };
            [phase(format!("warm-up {name}"), false, warming), phase((*name).to_owned(), true, limit)]
        });
        Ok(phases.filter(|phase| phase.limit != Limit::Count(0)).collect())
    }

    fn written_phases(&self, phases: &[PhasePlan]) -> Result<Vec<Phase>> {
        let short = [
            ("rate", self.rate.is_some()),
            ("arrivals", self.arrivals.is_some()),
            ("for", self.duration.is_some()),
            ("operations", self.operations.is_some()),
            ("warm_up", self.warm_up.is_some()),
            ("warm_up_operations", self.warm_up_operations.is_some()),
        ];
        if let Some((field, _)) = short.iter().find(|(_, given)| *given) {
            return Err(Error::config(format!("the load has `phases` and `{field}`"))
                .with_hint(format!("put `{field}` into a phase, or leave out `phases`")));
        }
        let mut made = Vec::new();
        for (number, phase) in phases.iter().enumerate() {
            phase.expand(number, &mut made)?;
        }
        if !made.iter().any(|phase| phase.recorded) {
            return Err(Error::config("no phase of the load is recorded").with_hint("leave out `record: false` in one"));
        }
        Ok(made)
    }
}

impl PhasePlan {
    fn expand(&self, number: usize, into: &mut Vec<Phase>) -> Result<()> {
        let recorded = self.record.unwrap_or(true);
        let name = self
            .name
            .clone()
            .unwrap_or_else(|| if recorded { format!("phase-{}", number + 1) } else { "warm-up".to_owned() });
        let place = format!("phase `{name}`");
        let limit = limit(&place, self.duration, self.operations)?.ok_or_else(|| {
            Error::config(format!("{place} has no end")).with_hint("give it `for: 30s` or `operations: 10000`")
        })?;
        let kinds = [self.rate.is_some(), self.ramp.is_some(), self.steps.is_some()];
        if kinds.into_iter().filter(|given| *given).count() > 1 {
            return Err(Error::config(format!("{place} has more than one of `rate`, `ramp` and `steps`"))
                .with_hint("use one of them in a phase"));
        }
        if self.arrivals.is_some() && !kinds.contains(&true) {
            return Err(Error::config(format!("{place} has `arrivals` but is closed")).with_hint("give it a `rate`"));
        }
        let phase =
            |name, range| Phase { name, recorded, mode: open_or_closed(range, self.arrivals), limit, operation: None };
        match &self.steps {
            Some(steps) if steps.is_empty() || steps.len() > STEPS_MAX => {
                return Err(Error::config(format!("{place} has {} steps", steps.len()))
                    .with_hint(format!("give 1 to {STEPS_MAX} rates")));
            }
            Some(steps) => {
                into.extend(steps.iter().map(|rate| phase(format!("{name} {rate}"), Some([*rate, *rate]))));
            }
            None => into.push(phase(name, self.ramp.or(self.rate.map(|rate| [rate, rate])))),
        }
        Ok(())
    }
}

fn open_or_closed(range: Option<[PerSecond; 2]>, spacing: Option<Spacing>) -> Mode {
    match range {
        None => Mode::Closed,
        Some([from, to]) => {
            Mode::Open { from: from.0, to: to.0, arrivals: spacing.map_or(Arrivals::Constant, Arrivals::from) }
        }
    }
}

fn limit(place: &str, duration: Option<Span>, operations: Option<u64>) -> Result<Option<Limit>> {
    match (duration, operations) {
        (Some(_), Some(_)) => {
            Err(Error::config(format!("{place} has both `for` and `operations`")).with_hint("limit it by one of them"))
        }
        (Some(span), None) => Ok(Some(Limit::Duration(span.0))),
        (None, Some(count)) => Ok(Some(Limit::Count(count))),
        (None, None) => Ok(None),
    }
}

impl WorkloadPlan {
    /// Reads `NAME` or `NAME:VARIANT`.
    pub fn named(text: &str) -> Self {
        let (name, variant) = match text.split_once(':') {
            Some((name, variant)) => (name, Some(variant.to_owned())),
            None => (text, None),
        };
        Self { name: name.to_owned(), variant, settings: Settings::default() }
    }
}

impl<'de> Deserialize<'de> for WorkloadPlan {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        use serde::de::Error as _;
        let scalar = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Array(values) => {
                values.iter().map(|value| value.as_str()).collect::<Option<Vec<_>>>().map(|values| values.join(","))
            }
            Value::Null | Value::Object(_) => None,
        };
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::named(&text)),
            Value::Object(map) if map.len() == 1 => {
                let (name, parameters) = map.into_iter().next().expect("it has one entry");
                let mut plan = Self::named(&name);
                let parameters = match parameters {
                    Value::Null => serde_json::Map::new(),
                    Value::Object(parameters) => parameters,
                    _ => {
                        return Err(D::Error::custom(format!("the parameters of workload `{name}` are not a mapping")));
                    }
                };
                for (parameter, value) in parameters {
                    let text = scalar(&value).ok_or_else(|| {
                        D::Error::custom(format!("parameter `{parameter}` of workload `{name}` is not a plain value"))
                    })?;
                    if parameter == "variant" {
                        plan.variant = Some(text);
                    } else {
                        plan.settings.set(parameter, text);
                    }
                }
                Ok(plan)
            }
            _ => Err(D::Error::custom("a workload is `NAME`, `NAME:VARIANT` or `{ NAME: { parameter: value } }`")),
        }
    }
}

impl Serialize for WorkloadPlan {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut parameters: serde_json::Map<String, Value> =
            self.settings.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        if let Some(variant) = &self.variant {
            parameters.insert("variant".to_owned(), Value::from(variant.as_str()));
        }
        serde_json::Map::from_iter([(self.name.clone(), Value::Object(parameters))]).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "
name: checkout
target: postgres://lab@127.0.0.1/lab
workload: { ycsb: { variant: b, records: 1000, distribution: zipfian } }
load:
  phases:
    - { for: 10s, rate: 500/s, record: false }
    - { for: 60s, rate: 2000/s, arrivals: poisson }
    - { for: 30s, ramp: [2000/s, 6000/s] }
    - { for: 5s, steps: [1/s, 2/s], name: stairs }
  sessions: 32
collect: [host, server]
thresholds:
  - p99(insert) < 20ms
  - { expr: errors < 0.1%, abort_on_fail: true, delay: 10s }
abort_on_fail: 3s
seed: 42
";

    #[test]
    fn a_whole_plan_is_read() {
        let plan = Plan::parse(WHOLE).expect("valid");
        let workload = plan.workload.as_ref().expect("given");
        assert_eq!((workload.name.as_str(), workload.variant.as_deref()), ("ycsb", Some("b")));
        let load = plan.load.to_load(&[], 0).expect("valid");
        let names: Vec<_> = load.phases.iter().map(|phase| phase.name.as_str()).collect();
        assert_eq!(names, ["warm-up", "phase-2", "phase-3", "stairs 1/s", "stairs 2/s"]);
        assert!(!load.phases[0].recorded && load.phases[1].recorded);
        let again: Plan = serde_json::from_value(serde_json::to_value(&plan).expect("JSON")).expect("reads");
        assert_eq!(again, plan);
    }

    #[test]
    fn json_is_read_too() {
        let plan = Plan::parse(r#"{"workload": "ycsb:c", "load": {"rate": "5/s", "for": "2s"}}"#).expect("valid");
        let load = plan.load.to_load(&[], 0).expect("valid");
        assert_eq!(load.phases.len(), 2);
    }

    #[test]
    fn misspelt_fields_get_the_nearest() {
        for (text, near) in [
            ("tarket: x", "target"),
            ("load: { sesions: 3 }", "sessions"),
            ("load: { phases: [ { four: 3s } ] }", "for"),
            ("collect: [hots]", "host"),
            ("thresholds: [{ expr: errors < 1%, abort_on_fial: true }]", "abort_on_fail"),
            ("tresholds: []", "thresholds"),
        ] {
            let error = Plan::parse(text).expect_err("misspelt");
            assert_eq!(error.hint(), Some(format!("did you mean `{near}`?").as_str()), "{text}: {error}");
        }
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        for (text, part) in [
            ("load: { phases: [ { for: 1s } ], rate: 3/s }", "`rate`"),
            ("load: { for: 1s, operations: 3 }", "`operations`"),
            ("load: { phases: [ { rate: 3/s } ] }", "no end"),
            ("load: { phases: [ { for: 1s, rate: 3/s, ramp: [1/s, 2/s] } ] }", "more than one"),
            ("load: { phases: [ { for: 1s, record: false } ] }", "recorded"),
            ("load: { arrivals: poisson }", "`load.arrivals`"),
            ("load: { think: 1s, rate: 3/s }", "`load.think`"),
            ("load: { phases: [] }", "recorded"),
            ("load: { phases: [ { for: 1s } ], warm_up_operations: 3 }", "`warm_up_operations`"),
            ("load: { warm_up: 1s, warm_up_operations: 3 }", "`warm_up_operations`"),
        ] {
            let error = Plan::parse(text).expect("reads").load.to_load(&[], 0).expect_err("contradiction");
            assert!(error.to_string().contains(part) && error.hint().is_some(), "{text}: {error}");
        }
    }

    #[test]
    fn a_sequence_shares_the_limit_out() {
        let sequence = [(0, "insert"), (2, "select"), (1, "update")];
        let counts = |plan: &LoadPlan| -> Vec<Limit> {
            plan.to_load(&sequence, 1000).expect("valid").phases.iter().map(|phase| phase.limit).collect()
        };
        assert_eq!(counts(&LoadPlan::default()), [Limit::Count(1000); 3]);
        let ten = LoadPlan { operations: Some(10), ..LoadPlan::default() };
        assert_eq!(counts(&ten), [Limit::Count(4), Limit::Count(3), Limit::Count(3)]);
        let timed = LoadPlan { duration: Some(Span(Duration::from_secs(6))), ..LoadPlan::default() };
        assert_eq!(counts(&timed), [Limit::Duration(Duration::from_secs(2)); 3]);
    }

    #[test]
    fn operations_that_do_not_count_come_before_those_that_do() {
        let phases = |text: &str, sequence: &[(u16, &str)]| -> Vec<(String, bool, Limit)> {
            let load = Plan::parse(text).expect("reads").load.to_load(sequence, 5).expect("valid");
            load.phases.into_iter().map(|phase| (phase.name, phase.recorded, phase.limit)).collect()
        };
        let expected = |name: &str, recorded, count| (name.to_owned(), recorded, Limit::Count(count));
        assert_eq!(
            phases("load: { warm_up_operations: 3 }", &[(0, "insert"), (1, "select")]),
            [
                expected("warm-up insert", false, 3),
                expected("insert", true, 5),
                expected("warm-up select", false, 3),
                expected("select", true, 5)
            ]
        );
        assert_eq!(
            phases("load: { warm_up_operations: 3, operations: 9 }", &[]),
            [expected("warm-up", false, 3), expected("steady", true, 9)]
        );
        assert_eq!(phases("load: { warm_up_operations: 0, for: 1s }", &[]).len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = Plan::parse(&text);
        }
    }
}
