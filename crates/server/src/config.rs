//! What an experiment is to do, as clients write it, and what becomes of it: a plan that has been checked whole before anything
//! of it is kept. What is wrong is told with the JSON field that is, and with a remedy in terms of fields.

mod check;
mod parts;
mod remedy;

use std::collections::BTreeMap;

use experiment::{Collect, LoadPlan, PrometheusPlan, TargetText, ThresholdPlan, WorkloadPlan};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

pub(crate) use check::{Checked, NAME_LETTERS_MAX, check, database_named, lease_of};
pub(crate) use parts::{Agents, Parts};
pub(crate) use remedy::in_fields;

/// What an experiment does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Rows or documents of the dataset; each operation is done as often, unless a duration says otherwise. 1000 where it is
    /// not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1000, minimum = 1)]
    pub(crate) rows: Option<u64>,
    /// Operations to measure, one after another; all that the server can do where none are given. `GET /api/v1/stores` lists
    /// those of each store.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["insert", "select", "update"]))]
    pub(crate) operations: Option<Vec<String>>,
    /// Connections that ask at the same time. 10 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 10, minimum = 1)]
    pub(crate) concurrent_users: Option<u32>,
    /// Rows that each operation handles before it is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 100)]
    pub(crate) warmup_rows: Option<u64>,
    /// Times that each operation is done before it is measured. An operation handles a row, so of this and `warmup_rows` the
    /// greater counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 100)]
    pub(crate) warmup_operations: Option<u64>,
    /// Seconds to measure, shared out among the operations, in place of a number of operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 30.0)]
    pub(crate) steady_state_duration: Option<f64>,
    /// How large a row is: about 100 bytes, 1 kB or 10 kB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_size: Option<DataSize>,
    /// The load as plans have it: `sessions`, `rate`, `for`, `phases`, `find` …
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = load_schema, required = false)]
    pub(crate) load: Option<LoadPlan>,
    /// The workload in place of `operations`: `NAME`, `NAME:VARIANT`, or an object `{NAME: {parameter: value}}`.
    /// `GET /api/v1/workloads` lists them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = workload_schema, required = false)]
    pub(crate) workload: Option<WorkloadPlan>,
    /// Parameters of the workload, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = settings_schema, required = false)]
    pub(crate) settings: Option<BTreeMap<String, Setting>>,
    /// What is recorded beside the client: `host`, `server`, `flamegraph`, `flamegraph_generator`, `prometheus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, example = json!(["host", "server"]))]
    pub(crate) collect: Option<Vec<Collect>>,
    /// What a Prometheus is asked for once the run is over, where `collect` has `prometheus`: its `url`, which may go where
    /// targets may, and `queries`, gauges by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = prometheus_schema, required = false)]
    pub(crate) prometheus: Option<PrometheusPlan>,
    /// Conditions on what is measured: expressions, or objects `{expr, abort_on_fail, delay}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<serde_json::Value>>, example = json!(["p99(select) < 20ms"]))]
    pub(crate) thresholds: Option<Vec<ThresholdPlan>>,
    /// Ends the run once a condition has failed, after its phases have been measured for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10s")]
    pub(crate) abort_on_fail: Option<experiment::Span>,
    /// Where the data store is: a URL, or `local:NAME` for a throw-away server; without it, where the service's environment
    /// says (`POSTGRES_HOST` …). A password in it is never shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "local:postgres")]
    pub(crate) target: Option<TargetText>,
    /// Divides the load among so many agents (`storelab agent`) on other hosts, which share the service's results store: it must
    /// be a PostgreSQL. Without it the service drives the load by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 2, minimum = 1, maximum = 1000)]
    pub(crate) parts: Option<u32>,
    /// How long the run waits until all of them are ready. `1m` where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "1m")]
    pub(crate) parts_within: Option<experiment::Span>,
    /// What all randomness derives from; drawn where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 42)]
    pub(crate) seed: Option<u64>,
    /// Of runs that wait, greater ones go first. 0 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 0)]
    pub(crate) priority: Option<i32>,
    /// What becomes of the run where the service ends under it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on_restart: Option<OnRestart>,
}

fn load_schema() -> Schema {
    described(
        SchemaType::from_iter([Type::Object, Type::Null]),
        "The load as plans have it: `sessions`, `rate`, `for`, `phases`, `find` …",
        json!({ "rate": "500/s", "for": "30s" }),
    )
}

fn workload_schema() -> Schema {
    described(
        SchemaType::AnyValue,
        "The workload in place of `operations`: `NAME`, `NAME:VARIANT`, or an object `{NAME: {parameter: value}}`. GET \
         /api/v1/workloads lists them.",
        json!("ycsb:b"),
    )
}

fn settings_schema() -> Schema {
    described(
        SchemaType::from_iter([Type::Object, Type::Null]),
        "Parameters of the workload, by name.",
        json!({ "mode": "mix", "weights": "insert=1,select=9" }),
    )
}

fn prometheus_schema() -> Schema {
    described(
        SchemaType::from_iter([Type::Object, Type::Null]),
        "What a Prometheus is asked for once the run is over, where `collect` has `prometheus`: its `url`, which may go where \
         targets may (without it, where the service's `PROMETHEUS_URL` says), and `queries`, gauges by name (without them, those \
         of the usual exporters).",
        json!({ "url": "http://127.0.0.1:9090", "queries": { "cpu_percent": "100 * (1 - avg(rate(node_cpu_seconds_total{mode=\"idle\"}[1m])))" } }),
    )
}

/// The schema of what has no type of ours.
pub(crate) fn described(kind: SchemaType, description: &str, example: Value) -> Schema {
    Schema::Object(ObjectBuilder::new().schema_type(kind).description(Some(description)).examples([example]).build())
}

/// How large a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DataSize {
    /// About 100 bytes.
    Small,
    /// About 1 kB.
    Medium,
    /// About 10 kB.
    Large,
}

impl DataSize {
    const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }
}

/// What becomes of a run where the service ends under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnRestart {
    /// It stays interrupted, with what it measured.
    #[default]
    Interrupt,
    /// It does too, and a new run of the same experiment is made, once.
    Rerun,
    /// It does too, and a new run goes on from the last second that was kept of it: its record is that of both. Not where the
    /// load is searched for, or divided among agents.
    Resume,
}

/// The value of a workload's parameter, in whichever way JSON writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Setting {
    Flag(bool),
    Integer(u64),
    Real(f64),
    Text(String),
    List(Vec<String>),
}

impl Setting {
    /// As parameters are typed.
    fn text(&self) -> String {
        match self {
            Self::Flag(flag) => flag.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Real(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::List(texts) => texts.join(","),
        }
    }
}

impl OnRestart {
    /// How often a run is made again: an experiment that ends the service must not do so for ever.
    pub(crate) const fn reruns(self) -> u32 {
        match self {
            Self::Interrupt => 0,
            Self::Rerun => 1,
            // Each of them goes on with less to do.
            Self::Resume => 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that nobody expected is shown by the panic that says so.
    #[test]
    fn a_panic_shows_no_password_of_a_target() {
        const CANARY: &str = "c4nary";
        for target in
            ["postgres://u:c4nary@127.0.0.1/db", "redis://:c4nary@127.0.0.1", "mysql://u:p/c4nary@h/db", "c4nary@h"]
        {
            let config = Config { target: Some(target.into()), ..Config::default() };
            let panicked = std::panic::catch_unwind(move || panic!("a bug, on purpose: {config:?}"));
            let told = panicked.expect_err("it panics").downcast::<String>().expect("a text");
            assert!(told.contains("target: Some(") && !told.contains(CANARY), "{told}");
        }
    }
}
