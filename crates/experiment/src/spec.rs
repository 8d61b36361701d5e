//! A plan, checked: everything that can be known to be wrong is found here, before any connection is opened.

use std::sync::Arc;

use runner::Load;
use store::{Capability, Driver, Error, Result, Target, did_you_mean};
use workload::{Instance, Settings, WORKLOADS, Workload};

use crate::plan::{Collect, LoadPlan, Plan, WorkloadPlan};
use crate::profiles;
use crate::prometheus::Prometheus;
use crate::search::{Find, Sought};
use crate::target_text::TargetText;
use crate::threshold::{GaugeSource, Names, ThresholdSpec};

/// The prefix of targets that are throw-away servers.
pub const LOCAL_PREFIX: &str = "local:";

/// Where a run goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPlan {
    /// A throw-away server of that engine, started for the run.
    Local(String),
    /// A data store that is there.
    Url(Target),
}

/// A plan with all its parts resolved.
#[derive(Clone)]
pub struct Spec {
    /// What to call the run.
    pub name: String,
    /// How the data store is reached.
    pub driver: &'static dyn Driver,
    /// Where it is.
    pub target: TargetPlan,
    /// The kind of work.
    pub workload: &'static dyn Workload,
    /// Its variant and parameters as given.
    pub workload_plan: WorkloadPlan,
    /// It with all its values.
    pub instance: Arc<dyn Instance>,
    /// The load as given.
    pub load_plan: LoadPlan,
    /// The load with all its values.
    pub load: Load,
    /// Which load is searched for before the run.
    pub(crate) sought: Option<Sought>,
    /// What to record beside the client.
    pub collect: Vec<Collect>,
    /// What is asked of a Prometheus once the run is over.
    pub prometheus: Option<Prometheus>,
    /// What must hold of what is measured.
    pub thresholds: Vec<ThresholdSpec>,
    /// What all randomness derives from.
    pub seed: u64,
}

/// The parameter by which operations are asked for.
const OPERATIONS: &str = "operations";

impl Spec {
    /// Resolves a plan. `lookup` reads environment variables.
    ///
    /// # Errors
    /// `Config` or `Unsupported`, naming the field, the reason and the remedy.
    pub fn new(plan: &Plan, lookup: store::Lookup<'_>) -> Result<Self> {
        let target = plan.target.as_ref().map(TargetText::expose).ok_or_else(|| {
            Error::config("the plan has no target")
                .with_hint("give a URL, `local:NAME`, or `sqlite:` for a throw-away file")
        })?;
        let (driver, target) = resolve_target(target, lookup)?;
        let workload_plan = plan.workload.clone().unwrap_or_else(|| default_workload(driver));
        let workload = workload_named(&workload_plan.name)?;
        let missing: Vec<_> = driver.capabilities().missing(workload.needs()).map(Capability::name).collect();
        if !missing.is_empty() {
            return Err(Error::unsupported(format!(
                "{} cannot run workload `{}`: it has no {}",
                driver.title(),
                workload.name(),
                missing.join(", ")
            ))
            .with_hint("`storelab stores` lists what each store can do"));
        }
        // A seed that nobody chose is drawn from the clock and the process, and recorded.
        let seed = plan.seed.unwrap_or_else(|| u64::from(uuid::Uuid::now_v7().as_u64_pair().1 as u32));
        check_operations(driver, &workload_plan.settings)?;
        let variant = workload_plan.variant.as_deref();
        let instance = workload.configure(driver, variant, &workload_plan.settings, seed)?;
        let load = load_for(&plan.load, &*instance)?;
        let name = plan.name.clone().unwrap_or_else(|| match instance.variant() {
            Some(variant) => format!("{}:{variant} on {}", workload.name(), driver.name()),
            None => format!("{} on {}", workload.name(), driver.name()),
        });
        let mut spec = Self {
            name,
            driver,
            target,
            workload,
            workload_plan,
            instance,
            load_plan: plan.load.clone(),
            load,
            collect: plan.collect.clone().unwrap_or_else(|| vec![Collect::Host, Collect::Server]),
            prometheus: None,
            sought: None,
            thresholds: Vec::new(),
            seed,
        };
        spec.prometheus = Prometheus::of(plan, driver.name(), lookup)?;
        spec.thresholds = ThresholdSpec::all(&plan.thresholds, plan.abort_on_fail, &spec.names())?;
        spec.sought = spec.seek()?;
        profiles::check(&spec)?;
        Ok(spec)
    }

    /// What the plan searches for, all names resolved.
    fn seek(&self) -> Result<Option<Sought>> {
        self.load_plan.find.as_ref().map(|find| Sought::new(find.resolve()?, &self.names())).transpose()
    }

    /// The same with the run at the load that was found, and an instance whose data are as they were loaded.
    ///
    /// # Errors
    /// `Config` for a load that is not possible.
    pub(crate) fn at(&self, find: &Find, load: f64, instance: Arc<dyn Instance>) -> Result<Self> {
        let found = find.plan_at(&self.load_plan, load)?;
        let load = load_for(&found, &*instance)?;
        let load_plan = LoadPlan { find: self.load_plan.find.clone(), ..found };
        Ok(Self { instance, load_plan, load, ..self.clone() })
    }

    /// An instance that has not been run.
    ///
    /// # Errors
    /// Those of configuring it, which it once was without.
    pub(crate) fn fresh_instance(&self) -> Result<Arc<dyn Instance>> {
        let WorkloadPlan { variant, settings, .. } = &self.workload_plan;
        self.workload.configure(self.driver, variant.as_deref(), settings, self.seed)
    }

    /// What conditions on its runs can name.
    pub fn names(&self) -> Names<'_> {
        let server = if !self.collect.contains(&Collect::Server) {
            Some(("it does not collect `server`", "add `server` to what it collects"))
        } else if self.driver.capabilities().has(Capability::Embedded) {
            Some(("the store runs inside of the generator", "ask of generator.cpu or generator.rss instead"))
        } else if matches!(&self.target, TargetPlan::Url(target) if !target.is_loopback()) {
            Some(("the server is on another host", "run where the server runs, or leave this out"))
        } else {
            None
        };
        let host = (!self.collect.contains(&Collect::Host))
            .then_some(("it does not collect `host`", "add `host` to what it collects"));
        let unsampled = [(GaugeSource::Server, server), (GaugeSource::Host, host)]
            .into_iter()
            .filter_map(|(source, reason)| reason.map(|(why, remedy)| (source, why, remedy)))
            .collect();
        Names { operations: self.instance.operations(), phases: &self.load.phases, unsampled }
    }

    /// The same without operations that the server cannot do.
    ///
    /// # Errors
    /// `Unsupported` where one was asked for by name, or nothing is left.
    pub fn without_operations(&self, missing: &[&'static str]) -> Result<Self> {
        let asked_for = self.workload_plan.settings.iter().any(|(name, _)| name == OPERATIONS);
        let left: Vec<_> = self.instance.operations().iter().copied().filter(|name| !missing.contains(name)).collect();
        if asked_for || left.is_empty() {
            return Err(Error::unsupported(format!("this server cannot do {}", missing.join(", ")))
                .with_hint(format!("leave them out: --set {OPERATIONS}={}", left.join(","))));
        }
        let mut settings: Settings = self.workload_plan.settings.clone();
        settings.set(OPERATIONS, left.join(","));
        let variant = self.workload_plan.variant.as_deref();
        let instance = self.workload.configure(self.driver, variant, &settings, self.seed)?;
        let load = load_for(&self.load_plan, &*instance)?;
        let workload_plan = WorkloadPlan { settings, ..self.workload_plan.clone() };
        let mut spec = Self { workload_plan, instance, load, ..self.clone() };
        let names = spec.names();
        spec.thresholds = self.thresholds.iter().map(|threshold| threshold.again(&names)).collect::<Result<_>>()?;
        spec.sought = spec.seek()?;
        Ok(spec)
    }
}

/// Refuses operations that this kind of store has not, where others have them, and names those.
fn check_operations(driver: &dyn Driver, settings: &Settings) -> Result<()> {
    let has = |driver: &dyn Driver, name: &str| driver.operations().iter().any(|operation| operation.name == name);
    let asked_for = settings.iter().filter(|(name, _)| *name == OPERATIONS).flat_map(|(_, list)| list.split(','));
    for name in asked_for.map(str::trim).filter(|name| !has(driver, name)) {
        let others: Vec<_> = drivers::DRIVERS.iter().filter(|other| has(**other, name)).collect();
        if !others.is_empty() {
            let names: Vec<_> = others.iter().map(|other| other.name()).collect();
            return Err(Error::unsupported(format!("{} has no operation `{name}`", driver.title()))
                .with_hint(format!("stores that have it: {}", names.join(", "))));
        }
    }
    Ok(())
}

/// The load for an instance, with a phase for each operation where it runs them one after another.
pub(crate) fn load_for(plan: &LoadPlan, instance: &dyn Instance) -> Result<Load> {
    let names = instance.operations();
    let sequence: Vec<_> =
        instance.sequence().iter().map(|operation| (*operation, names[usize::from(*operation)])).collect();
    let load = plan.to_load(&sequence, instance.dataset().map_or(1, store::Dataset::rows))?;
    if load.depth.get() > instance.depth_max() {
        let what = instance.variant().unwrap_or("the workload");
        return Err(Error::config(format!(
            "a depth of {} is too much for {what}: its operations are transactions",
            load.depth
        ))
        .with_hint(format!("use --depth {}, and more --sessions", instance.depth_max())));
    }
    Ok(load)
}

/// The work that tells most about a store that can do it: YCSB B; else what the driver itself offers.
fn default_workload(driver: &dyn Driver) -> WorkloadPlan {
    if driver.capabilities().has(Capability::KeyValue) {
        WorkloadPlan::named("ycsb:b")
    } else {
        WorkloadPlan::named("operations")
    }
}

/// The workload of that name.
///
/// # Errors
/// `Config`, with the nearest name.
pub fn workload_named(name: &str) -> Result<&'static dyn Workload> {
    WORKLOADS.iter().copied().find(|workload| workload.name() == name).ok_or_else(|| {
        let names = || WORKLOADS.iter().map(|workload| workload.name());
        let error = Error::config(format!("there is no workload `{name}`"));
        match did_you_mean(name, names()) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint(format!("there are {}", names().collect::<Vec<_>>().join(", "))),
        }
    })
}

/// A target as users write it: a URL, `local:NAME`, or a driver's name alone, which reads its environment variables.
///
/// # Errors
/// `Config`, naming what is wrong.
pub fn resolve_target(text: &str, lookup: store::Lookup<'_>) -> Result<(&'static dyn Driver, TargetPlan)> {
    if let Some(name) = text.strip_prefix(LOCAL_PREFIX) {
        let engine = provision::engine(name).map_err(from_provision)?;
        let driver = drivers::for_scheme(engine.scheme())?;
        return Ok((driver, TargetPlan::Local(engine.name().to_owned())));
    }
    if let Some(driver) = drivers::DRIVERS.iter().copied().find(|driver| driver.name() == text) {
        let url = driver.url_from_environment(lookup).ok_or_else(|| {
            Error::config(format!("`{text}` alone is no target: it has no environment variables"))
                .with_hint(format!("write `{}:`", driver.schemes()[0]))
        })?;
        let (driver, target) = drivers::resolve(&url)?;
        return Ok((driver, TargetPlan::Url(target)));
    }
    if !text.contains(':') {
        let known = || {
            drivers::DRIVERS
                .iter()
                .map(|driver| driver.name())
                .chain(provision::ENGINES.iter().map(|engine| engine.name()))
        };
        let error = Error::config(format!("`{text}` is neither a target nor a plan file that exists"));
        return Err(match did_you_mean(text, known()) {
            Some(near) => error.with_hint(format!("did you mean `local:{near}` or a URL of it?")),
            None => error.with_hint("give a URL such as postgres://user@host/database, `local:NAME`, or a plan's path"),
        });
    }
    let (driver, target) = drivers::resolve(text)?;
    Ok((driver, TargetPlan::Url(target)))
}

/// An error of the crate that starts servers, as one of ours: the user or the operator of this host must act.
pub(crate) fn from_provision(error: provision::Error) -> Error {
    let hint = error.hint().map(str::to_owned);
    let kind = match error.kind() {
        provision::ErrorKind::Unknown | provision::ErrorKind::NotInstalled => store::ErrorKind::Config,
        _ => store::ErrorKind::Unreachable,
    };
    let ours = Error::new(kind, error.to_string()).with_source(error);
    match hint {
        Some(hint) => ours.with_hint(hint),
        None => ours,
    }
}
