//! sysbench's `OLTP` scripts: <https://github.com/akopytov/sysbench>, `oltp_common.lua` of 1.0.20.
//!
//! Where this differs from sysbench, each time in [`Instance::parameters`] as well:
//! - What is read is verified. For that a `c` is bound to its row ([`row`]), and each client of `oltp_insert` and
//!   `bulk_insert` gives ids of its own where sysbench leaves them to the store.
//! - All statements are prepared, also those of `oltp_insert` and `bulk_insert`, which sysbench writes out.
//! - `bulk_insert` counts a statement with `bulk_rows` rows where sysbench counts rows that it gathers in memory.

mod answer;
mod client;
mod draw;
mod parameters;
mod plan;
mod row;
mod script;
mod verify;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::{Value as Json, json};
use store::{
    Capabilities, Capability, Column, ColumnType, Dataset, Driver, Error, LocalBoxFuture, Namespace, RecordSource,
    Result, Rows, Store, TableIndex, TableSet, TableSpec, Value, did_you_mean,
};

use crate::{Check, Client, ClientSpec, Instance, Parameter, Settings, Variant, Workload};
use answer::Certain;
use client::{SysbenchClient, Tally};
use draw::{Chooser, Distribution};
use parameters::{DELTA, DISTRIBUTION, PARAMETERS, RANGE_SIZE, SKIP_TRX, TABLE_SIZE, TABLES};
use plan::Plan;
use row::Row;
use script::{Kind, Leaves, Script};

/// The workload.
pub(crate) struct Sysbench;

static VARIANTS: [Variant; Script::ALL.len()] = {
    let mut variants = [Script::ALL[0].1; Script::ALL.len()];
    let mut place = 0;
    while place < variants.len() {
        variants[place] = Script::ALL[place].1;
        place += 1;
    }
    variants
};

impl Workload for Sysbench {
    fn name(&self) -> &'static str {
        "sysbench"
    }

    fn summary(&self) -> &'static str {
        "sysbench's OLTP scripts in SQL, with its options and defaults (oltp_common.lua of 1.0.20)"
    }

    fn variants(&self) -> &'static [Variant] {
        &VARIANTS
    }

    fn parameters(&self) -> &'static [Parameter] {
        &PARAMETERS
    }

    fn needs(&self) -> Capabilities {
        Capabilities::of(&[Capability::Sql, Capability::Transactions])
    }

    fn configure(
        &self,
        driver: &'static dyn Driver,
        variant: Option<&str>,
        settings: &Settings,
        seed: u64,
    ) -> Result<Arc<dyn Instance>> {
        settings.check(self.name(), &PARAMETERS)?;
        let script = find_script(variant)?;
        if let Some(missing) = driver.capabilities().missing(self.needs()).next() {
            return Err(Error::unsupported(format!(
                "`sysbench` needs {} and {} has not",
                missing.name(),
                driver.title()
            ))
            .with_hint("use a store with SQL, or the workload `ycsb`"));
        }
        let plan = plan(script, settings, seed)?;
        let dataset = Dataset::Tables(table_set(&plan)?);
        let source = Source { table_size: plan.certain.table_size };
        Ok(Arc::new(SysbenchInstance {
            operations: [script.name()],
            parameters: effective(settings, script)?,
            dataset,
            source,
            tallies: Mutex::default(),
            plan: Arc::new(plan),
        }))
    }
}

fn find_script(name: Option<&str>) -> Result<Script> {
    let typed = name.unwrap_or(VARIANTS[0].name);
    let lower = typed.to_ascii_lowercase();
    let names = || VARIANTS.iter().map(|variant| variant.name);
    names().position(|name| name == lower).map(|place| Script::ALL[place].0).ok_or_else(|| {
        let error = Error::config(format!("workload `sysbench` has no variant `{typed}`"));
        match did_you_mean(&lower, names()) {
            Some(near) => error.with_hint(format!("did you mean `sysbench:{near}`?")),
            None => error.with_hint(format!("it has {}", names().collect::<Vec<_>>().join(", "))),
        }
    })
}

fn plan(script: Script, settings: &Settings, seed: u64) -> Result<Plan> {
    let chosen = settings.choice(&DISTRIBUTION)?;
    let (_, distribution) = Distribution::ALL
        .into_iter()
        .find(|(name, _)| *name == chosen)
        .ok_or_else(|| Error::bug(format!("parameter `distribution` allows `{chosen}`, which is none")))?;
    let steps = script.steps(settings)?;
    if steps.is_empty() {
        return Err(Error::config(format!("a transaction of `sysbench:{}` would have no statement", script.name()))
            .with_hint("leave one of its statements in: --set point_selects=1"));
    }
    let mut kinds: Vec<Kind> = Vec::new();
    let place = |kind: Kind| {
        kinds.iter().position(|other| *other == kind).unwrap_or_else(|| {
            kinds.push(kind);
            kinds.len() - 1
        }) as u32
    };
    let kind_of_step = steps.iter().map(|step| step.kind).map(place).collect();
    let has_transactions = script.is_transaction() && !settings.flag(&SKIP_TRX)?;
    let table_size = settings.integer(&TABLE_SIZE)?;
    let certain = Certain {
        values: script.leaves() == Leaves::AsLoaded,
        rows: has_transactions || script.leaves() == Leaves::AsLoaded,
        table_size,
    };
    let tables = settings.integer(&TABLES)? as u32;
    if tables > 1 && matches!(script, Script::RandomPoints | Script::RandomRanges) {
        return Err(Error::config(format!("`sysbench:{}` has one table", script.name()))
            .with_hint("leave `tables` out: this script does not support more"));
    }
    Ok(Plan {
        script,
        seed,
        tables,
        distribution,
        ids: Chooser::new(distribution, table_size),
        range_size: settings.integer(&RANGE_SIZE)?,
        delta: settings.integer(&DELTA)?,
        has_transactions,
        steps,
        kinds,
        kind_of_step,
        certain,
        counts: OnceLock::new(),
    })
}

/// The tables of the plan, and its statements: those of the first table, then those of the next.
fn table_set(plan: &Plan) -> Result<TableSet> {
    let namespace = Namespace::new("sysbench")?;
    let name = |table: u32| format!("sbtest{}", table + 1);
    let of_table = |table| plan.kinds.iter().map(move |kind| (table, *kind));
    let statements = (0..plan.tables).flat_map(of_table).map(|(table, kind)| kind.text(&namespace, &name(table)));
    let is_bulk = plan.script == Script::BulkInsert;
    let integer = |name| Column { name, kind: ColumnType::Integer };
    let mut columns = vec![integer("id"), integer("k")];
    if !is_bulk {
        columns.push(Column { name: "c", kind: ColumnType::Character(row::C_LENGTH as u32 + 1) });
        columns.push(Column { name: "pad", kind: ColumnType::Character(row::PAD_LENGTH as u32 + 1) });
    }
    let index = |table| TableIndex { name: format!("k_{}", table + 1), columns: vec![1] };
    let table = |table| TableSpec {
        name: name(table),
        columns: columns.clone(),
        primary_key: vec![0],
        indexes: if is_bulk { Vec::new() } else { vec![index(table)] },
        numbers: plan.rows_loaded(),
        rows_per_number: 1,
    };
    let leaves = if removes_unseen(plan) { Leaves::OtherRows } else { plan.script.leaves() };
    let shape = if is_bulk { "bulk" } else { "oltp" };
    let content = format!("sysbench/1 {shape} {}x{}, {}", plan.tables, plan.rows_loaded(), leaves.name());
    Ok(TableSet { content, statements: statements.collect(), tables: (0..plan.tables).map(table).collect(), namespace })
}

/// Whether a row may be missing after a run that was cut short: between a delete and its insert.
fn removes_unseen(plan: &Plan) -> bool {
    !plan.has_transactions && plan.kinds.contains(&Kind::Reinsert)
}

/// Every parameter with its effective value, and what differs from sysbench.
fn effective(settings: &Settings, script: Script) -> Result<BTreeMap<String, Json>> {
    let mut parameters = parameters::effective(settings)?;
    let mut deviations = vec!["what is read is verified: a row's c begins with digits that name the row"];
    match script {
        Script::Insert => deviations.push("ids are given by the clients, and the statement is prepared"),
        Script::BulkInsert => {
            deviations.push("ids are given by the clients, and the statement is prepared");
            deviations.push("an operation is a statement with bulk_rows rows");
        }
        _ => {}
    }
    parameters.insert("deviations".to_owned(), json!(deviations));
    Ok(parameters)
}

/// Makes the rows that are loaded.
struct Source {
    table_size: u64,
}

impl RecordSource for Source {
    fn rows(&self, table: usize, number: u64, rows: &mut dyn Rows) {
        let id = number + 1;
        let row = Row::new(table as u32, id);
        let (c, pad) = (row.c(), row.pad());
        let text = |bytes| Value::Text(std::str::from_utf8(bytes).expect("digits and dashes are text"));
        rows.row(None);
        rows.value(0, Value::Integer(id.cast_signed()));
        rows.value(1, Value::Integer(row.k(self.table_size).cast_signed()));
        rows.value(2, text(c.as_slice()));
        rows.value(3, text(pad.as_slice()));
    }
}

/// A script with all its values.
struct SysbenchInstance {
    plan: Arc<Plan>,
    parameters: BTreeMap<String, Json>,
    operations: [&'static str; 1],
    dataset: Dataset,
    source: Source,
    /// What the clients of the latest run have done, with which of how many each was.
    tallies: Mutex<Vec<(ClientSpec, Arc<Tally>)>>,
}

impl Instance for SysbenchInstance {
    fn variant(&self) -> Option<&str> {
        Some(self.plan.script.name())
    }

    fn parameters(&self) -> BTreeMap<String, Json> {
        self.parameters.clone()
    }

    fn dataset(&self) -> Option<&Dataset> {
        Some(&self.dataset)
    }

    fn source(&self) -> &dyn RecordSource {
        &self.source
    }

    fn operations(&self) -> &[&'static str] {
        &self.operations
    }

    fn adds_rows(&self) -> bool {
        self.plan.script.leaves() == Leaves::OtherRows || removes_unseen(&self.plan)
    }

    fn depth_max(&self) -> u32 {
        // What another transaction sends in between would become a part of this one.
        if self.plan.steps.len() > 1 { 1 } else { u32::MAX }
    }

    fn client(&self, spec: ClientSpec) -> Box<dyn Client> {
        let tally = Arc::new(Tally::default());
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.retain(|(other, _)| other.of == spec.of && other.index != spec.index);
        tallies.push((spec, Arc::clone(&tally)));
        Box::new(SysbenchClient::new(Arc::clone(&self.plan), tally, spec))
    }

    fn verify<'a>(&'a self, store: &'a dyn Store) -> LocalBoxFuture<'a, Result<Vec<Check>>> {
        Box::pin(async move {
            let tallies: Vec<_> = {
                let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
                tallies.iter().map(|(_, tally)| Arc::clone(tally)).collect()
            };
            verify::check(&self.plan, &self.dataset, store, &tallies).await
        })
    }
}
