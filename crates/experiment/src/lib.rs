//! Plan → run → record → verdict.

mod beside;
mod data;
mod figures;
mod floor;
mod plan;
mod record;
mod run;
mod spec;
mod units;
mod verdict;

pub use data::{LoadProgress, Prepared, clean, load, local_runtime, prepare};
pub use plan::{Collect, IoPlan, LoadPlan, PhasePlan, Plan, Spacing, WorkloadPlan};
pub use record::{
    AccountingRecord, CheckRecord, ErrorMessage, GeneratorRecord, HistogramRecord, Lateness, Metric, OperationRecord,
    PhaseRecord, Provenance, Record, RecoveryRecord, SCHEMA, SampleRecord, SampledOperation, ServerRecord, Sink,
    Status, TargetRecord, ThresholdRecord, Verdict, Verification, WorkloadRecord,
};
pub use run::{Connected, DataPolicy, Event, Finished, Options, UNVERIFIED, connect, run};
pub use spec::{LOCAL_PREFIX, Spec, TargetPlan, resolve_target, workload_named};
pub use units::{PerSecond, Span};
