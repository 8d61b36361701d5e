//! Plan → run → record → verdict.

mod beside;
mod comparison;
mod data;
mod figures;
mod floor;
mod history;
mod plan;
mod record;
mod run;
mod search;
mod spec;
mod threshold;
mod units;
mod verdict;

pub use comparison::{COMPARISON_SCHEMA, Change, ComparedMetric, Comparison, Difference, Side};
pub use data::{LoadProgress, Prepared, clean, load, local_runtime, prepare};
pub use history::{ChangePoint, HISTORY_SCHEMA, History, HistoryPoint};
pub use plan::{Collect, IoPlan, LoadPlan, PhasePlan, Plan, Spacing, WorkloadPlan};
pub use record::{
    AccountingRecord, CheckOutcome, CheckRecord, ErrorMessage, GeneratorRecord, HistogramRecord, Lateness, Metric,
    OperationRecord, PhaseRecord, Provenance, Record, RecoveryRecord, SCHEMA, SampleRecord, SampledOperation,
    ServerRecord, Sink, Status, TargetRecord, ThresholdRecord, ValidityCheck, Verdict, Verification, WorkloadRecord,
};
pub use run::{Connected, DataPolicy, Event, Finished, Options, UNVERIFIED, connect, run};
pub use search::{Dimension, ScalabilityRecord, SearchPoint, SearchRecord, Stage};
pub use spec::{LOCAL_PREFIX, Spec, TargetPlan, resolve_target, workload_named};
pub use threshold::{
    Condition, Evidence, FUNCTIONS, Function, GAUGES, Gauge, GaugeSource, Limit, Names, Quantity, Relation, Seconds,
    Threshold, ThresholdError, ThresholdPlan, ThresholdSpec, Unit,
};
pub use units::{PerSecond, Span};
