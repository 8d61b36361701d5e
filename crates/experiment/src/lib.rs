//! Plan → run → record → verdict.

mod beside;
mod comparison;
mod conditions;
mod data;
mod figures;
mod floor;
mod history;
mod parts;
mod plan;
mod profiles;
mod prometheus;
mod record;
mod resume;
mod run;
mod search;
mod seconds;
mod spec;
mod target_text;
mod threshold;
mod units;
mod verdict;

pub use comparison::{
    COMPARISON_SCHEMA, Calibration, Change, CompareOptions, ComparedMetric, Comparison, Difference,
    ERRORS_NOISE_DEFAULT, MeasuredNoise, NOISE_DEFAULT, Noise, RunData, Side, SideData, Subject, change_text,
    change_word_text, compare, comparison_markdown, interval_text, p_value_text, value_text, verdicts,
};
pub use data::{LoadProgress, Prepared, clean, load, local_runtime, prepare};
pub use history::{
    ChangePoint, E_DIVISIVE_RUNS_MAX, HISTORY_RUNS_MAX, HISTORY_SCHEMA, History, HistoryMethod, HistoryMetric,
    HistoryPoint,
};
pub use parts::{
    Drive, Driven, Merger, PartRecord, PartState, Seen, decode_outcome, decode_sample, divide, encode_outcome,
    encode_sample, outcome_of_samples, part_plan, part_spec, run_part,
};
pub use plan::{Collect, IoPlan, LoadPlan, PhasePlan, Plan, Spacing, WorkloadPlan};
pub use prometheus::{Prometheus, PrometheusPlan};
pub use record::{
    AccountingRecord, Artifact, CheckOutcome, CheckRecord, ErrorMessage, GeneratorRecord, HistogramRecord,
    HotFunctionRecord, Lateness, Metric, Nowhere, OperationRecord, PhaseRecord, ProfileRecord, PrometheusGauge,
    PrometheusRecord, Provenance, QuarterRecord, Record, RecoveryRecord, SCHEMA, SampleRecord, SampledOperation,
    ServerRecord, Sink, Status, TargetRecord, ThresholdRecord, ValidityCheck, Verdict, Verification, WorkloadRecord,
};
pub use resume::{Progress, ResumedRecord, check_resumable, sample_of};
pub use run::{Connected, DataPolicy, Event, Finished, Options, UNVERIFIED, connect, run, run_driven};
pub use search::{Dimension, FindPlan, LoadRange, ScalabilityRecord, SearchPoint, SearchRecord, Share, Stage};
pub use spec::{LOCAL_PREFIX, Spec, TargetPlan, resolve_target, workload_named};
pub use target_text::TargetText;
pub use threshold::{
    Condition, Evidence, FUNCTIONS, Function, GAUGES, Gauge, GaugeSource, Limit, Names, Quantity, Relation, Seconds,
    Threshold, ThresholdError, ThresholdPlan, ThresholdSpec, Unit,
};
pub use units::{PerSecond, Span};
