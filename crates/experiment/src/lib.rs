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
mod units;
mod verdict;

pub use comparison::{
    COMPARISON_SCHEMA, Calibration, Change, CompareOptions, ComparedMetric, Comparison, Difference,
    ERRORS_NOISE_DEFAULT, MeasuredNoise, NOISE_DEFAULT, Noise, RunData, Side, SideData, Subject, change_text,
    change_word_text, compare, comparison_markdown, interval_text, p_value_text, value_text, verdicts,
};
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
pub use units::{PerSecond, Span};
