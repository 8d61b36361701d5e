//! Plan → run → record → verdict.

mod plan;
mod record;
mod units;

pub use plan::{Collect, LoadPlan, PhasePlan, Plan, Spacing, WorkloadPlan};
pub use record::{
    AccountingRecord, CheckRecord, ErrorMessage, GeneratorRecord, HistogramRecord, Lateness, Metric, OperationRecord,
    PhaseRecord, Provenance, Record, SCHEMA, SampleRecord, SampledOperation, ServerRecord, Sink, Status, TargetRecord,
    ThresholdRecord, Verdict, Verification, WorkloadRecord,
};
pub use units::{PerSecond, Span};
