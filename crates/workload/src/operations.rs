//! A driver's own operations (`insert`, `select`, `join`, `sortedset` …), one after another or as a weighted mix.
//!
//! The driver makes the data and verifies what it reads; this decides what is done to which row. Reads and changes
//! take loaded rows, all equally probable. Every client adds rows of its own and removes those only, oldest first;
//! where it has none left *it adds one first, and that call is counted as the operation that adds*.

mod client;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value as Json, json};
use store::{
    Capabilities, DataSize, Dataset, Driver, Effect, Error, ErrorKind, LocalBoxFuture, Namespace, NullSource,
    Operation, OperationRows, RecordSource, Request, Result, SessionSpec, Store, did_you_mean, execute,
};

use crate::random::Mix;
use crate::{Check, Client, ClientSpec, Instance, Parameter, ParameterKind, Settings, Variant, Workload};
use client::OperationsClient;

/// The workload.
pub(crate) struct Operations;

/// Rows that can be loaded; the numbers of added rows follow them and stay within a signed 64-bit column.
const ROWS_MAX: u64 = u32::MAX as u64;

/// Rows that the check after a run reads with each reading operation: the first, the middle and the last.
const ROWS_VERIFIED: u64 = 3;

const OPERATIONS: Parameter = Parameter {
    name: "operations",
    kind: ParameterKind::Text,
    default: "",
    summary: "the operations, separated by commas; without it all that the store's driver has",
};
const MODE: Parameter = Parameter {
    name: "mode",
    kind: ParameterKind::Choice(&["sequence", "mix"]),
    default: "sequence",
    summary: "one operation after another, each a phase of its own, or all at once",
};
const WEIGHTS: Parameter = Parameter {
    name: "weights",
    kind: ParameterKind::Text,
    default: "",
    summary: "weights of a mix, as insert=1,select=9: operations without one are left out; without it all are alike",
};
const ROWS: Parameter = Parameter {
    name: "rows",
    kind: ParameterKind::Integer { min: 1, max: ROWS_MAX },
    default: "1000",
    summary: "rows that are loaded",
};
const SIZE: Parameter = Parameter {
    name: "size",
    kind: ParameterKind::Choice(&["small", "medium", "large"]),
    default: "small",
    summary: "payload of a row: about 100 bytes, 1 kB or 10 kB",
};
const DATA_SEED: Parameter = Parameter {
    name: "data_seed",
    kind: ParameterKind::Integer { min: 0, max: u64::MAX },
    default: "1",
    summary: "what the rows' contents derive from; apart from the run's seed, so that loaded rows serve many runs",
};

static PARAMETERS: [Parameter; 6] = [OPERATIONS, MODE, WEIGHTS, ROWS, SIZE, DATA_SEED];

impl Workload for Operations {
    fn name(&self) -> &'static str {
        "operations"
    }

    fn summary(&self) -> &'static str {
        "the store's own operations, one after another or as a weighted mix"
    }

    fn variants(&self) -> &'static [Variant] {
        &[]
    }

    fn parameters(&self) -> &'static [Parameter] {
        &PARAMETERS
    }

    fn needs(&self) -> Capabilities {
        Capabilities::default()
    }

    fn configure(
        &self,
        driver: &'static dyn Driver,
        variant: Option<&str>,
        settings: &Settings,
        seed: u64,
    ) -> Result<Arc<dyn Instance>> {
        settings.check(self.name(), &PARAMETERS)?;
        if let Some(variant) = variant {
            return Err(Error::config(format!("workload `operations` has no variant `{variant}`"))
                .with_hint("choose operations with the parameter `operations`"));
        }
        let (chosen, weights) = choose(driver, settings)?;
        let rows = settings.integer(&ROWS)?;
        let (size_name, size) = size(settings)?;
        let data_seed = settings.integer(&DATA_SEED)?;
        let mix = settings.choice(&MODE)? == "mix";
        let mut plan = Plan { seed, rows, mix: Mix::new(&weights), planned: chosen, adding: None };
        let chosen_count = plan.planned.len();
        plan.adding = plan.find_adding(driver)?;
        let names: Vec<&str> = plan.planned[..chosen_count].iter().map(|planned| planned.name).collect();
        let weight_list: Vec<String> =
            names.iter().zip(&weights).map(|(name, weight)| format!("{name}={weight}")).collect();
        let parameters = BTreeMap::from([
            (OPERATIONS.name.to_owned(), json!(names.join(","))),
            (MODE.name.to_owned(), json!(if mix { "mix" } else { "sequence" })),
            (WEIGHTS.name.to_owned(), json!(if mix { weight_list.join(",") } else { String::new() })),
            (ROWS.name.to_owned(), json!(rows)),
            (SIZE.name.to_owned(), json!(size_name)),
            (DATA_SEED.name.to_owned(), json!(data_seed)),
        ]);
        let namespace = Namespace::new("operations")?;
        Ok(Arc::new(OperationsInstance {
            parameters,
            operations: plan.planned.iter().map(|planned| planned.name).collect(),
            sequence: if mix { Vec::new() } else { (0..chosen_count as u16).collect() },
            dataset: Dataset::Operations(OperationRows { namespace, rows, size, seed: data_seed }),
            plan: Arc::new(plan),
        }))
    }
}

/// The operations that were asked for, in that order, with their weights in a mix.
fn choose(driver: &dyn Driver, settings: &Settings) -> Result<(Vec<Planned>, Vec<f64>)> {
    let all = driver.operations();
    if all.is_empty() {
        return Err(Error::unsupported(format!("{} has no operations of its own", driver.title()))
            .with_hint("use the workload `ycsb`"));
    }
    let mut chosen = match settings.text(&OPERATIONS).trim() {
        "" => all.iter().zip(0..).map(|(operation, place)| Planned::new(place, operation)).collect(),
        list => list.split(',').map(|name| Planned::find(driver, name)).collect::<Result<Vec<_>>>()?,
    };
    let mut seen = BTreeSet::new();
    if let Some(twice) = chosen.iter().find(|planned| !seen.insert(planned.driver_place)) {
        return Err(Error::config(format!("parameter `operations` names `{}` twice", twice.name))
            .with_hint("name each operation once; a mix takes `weights`"));
    }
    let given = settings.text(&WEIGHTS).trim();
    if given.is_empty() {
        let weights = vec![1.0; chosen.len()];
        return Ok((chosen, weights));
    }
    if settings.choice(&MODE)? != "mix" {
        return Err(Error::config("parameter `weights` is only for a mix").with_hint("add mode=mix"));
    }
    let weights = parse_weights(driver, given, &chosen)?;
    chosen.retain(|planned| weights.contains_key(planned.name));
    let weights = chosen.iter().map(|planned| weights[planned.name]).collect();
    Ok((chosen, weights))
}

/// The weights that are over 0, by operation.
fn parse_weights(driver: &dyn Driver, given: &str, chosen: &[Planned]) -> Result<BTreeMap<&'static str, f64>> {
    let unusable = |part: &str| {
        Error::config(format!("parameter `weights` has `{part}`, which is not usable"))
            .with_hint("write name=number for each operation, separated by commas: insert=1,select=9")
    };
    let mut weights = BTreeMap::new();
    for part in given.split(',') {
        let (name, weight) = part.split_once('=').ok_or_else(|| unusable(part))?;
        let planned = Planned::find(driver, name)?;
        if !chosen.iter().any(|other| other.driver_place == planned.driver_place) {
            return Err(Error::config(format!("parameter `weights` names `{}`, which is not chosen", planned.name))
                .with_hint("add it to `operations`, or leave it out of `weights`"));
        }
        let weight: f64 = weight.trim().parse().map_err(|_| unusable(part))?;
        if !(weight.is_finite() && weight >= 0.0) || weights.insert(planned.name, weight).is_some() {
            return Err(unusable(part));
        }
    }
    weights.retain(|_, weight| *weight > 0.0);
    if weights.is_empty() {
        return Err(Error::config("all `weights` are 0").with_hint("give one operation a weight over 0"));
    }
    Ok(weights)
}

fn size(settings: &Settings) -> Result<(&'static str, DataSize)> {
    let typed = settings.choice(&SIZE)?;
    DataSize::ALL
        .into_iter()
        .find(|(name, _)| *name == typed)
        .ok_or_else(|| Error::bug(format!("parameter `size` allows `{typed}`, which is no size")))
}

/// An operation of the instance's list.
#[derive(Debug, Clone, Copy)]
struct Planned {
    /// Its place in the driver's list.
    driver_place: u16,
    name: &'static str,
    effect: Effect,
}

impl Planned {
    fn new(driver_place: u16, operation: &Operation) -> Self {
        Self { driver_place, name: operation.name, effect: operation.effect }
    }

    /// The driver's operation of that name.
    fn find(driver: &dyn Driver, name: &str) -> Result<Self> {
        let name = name.trim();
        let all = driver.operations();
        if let Some((operation, place)) = all.iter().zip(0..).find(|(operation, _)| operation.name == name) {
            return Ok(Self::new(place, operation));
        }
        let error = Error::config(format!("{} has no operation `{name}`", driver.title()));
        let names = || all.iter().map(|operation| operation.name);
        Err(match did_you_mean(name, names()) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint(format!("it has {}", names().collect::<Vec<_>>().join(", "))),
        })
    }
}

/// What all clients of an instance share.
struct Plan {
    seed: u64,
    rows: u64,
    /// Over the operations that were chosen.
    mix: Mix,
    /// The operations that were chosen, and behind them the one that makes rows to remove where it was not.
    planned: Vec<Planned>,
    /// The place of the operation that makes rows to remove, where there are removals.
    adding: Option<u16>,
}

impl Plan {
    /// The place of the operation that makes rows to remove, where there are removals; it is appended where it was
    /// not chosen.
    fn find_adding(&mut self, driver: &dyn Driver) -> Result<Option<u16>> {
        let Some(removal) = self.planned.iter().find(|planned| planned.effect == Effect::Removes) else {
            return Ok(None);
        };
        if let Some(place) = self.planned.iter().position(|planned| planned.effect == Effect::Adds) {
            return Ok(Some(place as u16));
        }
        let mut all = driver.operations().iter().zip(0..);
        let (operation, place) = all.find(|(operation, _)| operation.effect == Effect::Adds).ok_or_else(|| {
            Error::bug(format!("{} has `{}` but nothing that adds the rows for it", driver.title(), removal.name))
        })?;
        self.planned.push(Planned::new(place, operation));
        Ok(Some(self.planned.len() as u16 - 1))
    }
}

/// The workload with all its values.
struct OperationsInstance {
    plan: Arc<Plan>,
    parameters: BTreeMap<String, Json>,
    operations: Vec<&'static str>,
    sequence: Vec<u16>,
    dataset: Dataset,
}

impl Instance for OperationsInstance {
    fn variant(&self) -> Option<&str> {
        None
    }

    fn parameters(&self) -> BTreeMap<String, Json> {
        self.parameters.clone()
    }

    fn dataset(&self) -> Option<&Dataset> {
        Some(&self.dataset)
    }

    fn source(&self) -> &dyn RecordSource {
        &NullSource
    }

    fn operations(&self) -> &[&'static str] {
        &self.operations
    }

    fn sequence(&self) -> &[u16] {
        &self.sequence
    }

    fn adds_rows(&self) -> bool {
        self.plan.planned.iter().any(|planned| matches!(planned.effect, Effect::Adds | Effect::Removes))
    }

    fn client(&self, spec: ClientSpec) -> Box<dyn Client> {
        Box::new(OperationsClient::new(Arc::clone(&self.plan), spec))
    }

    fn verify<'a>(&'a self, store: &'a dyn Store) -> LocalBoxFuture<'a, Result<Vec<Check>>> {
        Box::pin(async move {
            let mut session = store.session(SessionSpec { dataset: Some(&self.dataset), depth: 1 }).await?;
            let mut checks = Vec::new();
            for planned in self.plan.planned.iter().filter(|planned| planned.effect == Effect::Reads) {
                let mut fault = None;
                for place in 0..ROWS_VERIFIED {
                    let row = (self.plan.rows - 1) * place / (ROWS_VERIFIED - 1);
                    let request = Request::Operation { operation: planned.driver_place, row };
                    match execute(session.as_mut(), &request, &mut ()).await {
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::Unreachable => return Err(error),
                        Err(error) => fault = Some(format!("row {row}: {error}")),
                    }
                }
                checks.push(Check {
                    name: planned.name.to_owned(),
                    passed: fault.is_none(),
                    detail: fault.unwrap_or_else(|| "reads the first, the middle and the last row right".to_owned()),
                });
            }
            Ok(checks)
        })
    }
}
