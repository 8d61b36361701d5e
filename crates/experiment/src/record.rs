//! What is kept of a run: the published shape `storelab.run/1`, and beside it the samples and raw histograms.
//!
//! Fields are only ever added. `docs/schema/run-1.schema.json` is the same as a JSON Schema.

use std::collections::BTreeMap;

use jiff::Timestamp;
use runner::{Accounting, Cell, Phase, Watch};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stats::{Histogram, Summary};
use store::ErrorKind;
use uuid::Uuid;

use crate::parts::PartRecord;
use crate::plan::LoadPlan;
use crate::resume::ResumedRecord;
use crate::search::SearchRecord;

/// The name of the shape.
pub const SCHEMA: &str = "storelab.run/1";

/// A run, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: String,
    /// UUID version 7: sorts by time.
    pub id: Uuid,
    /// What the user calls it.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended; for a run that is going on, when it was last heard of.
    pub ended_at: Timestamp,
    /// What all randomness derives from.
    pub seed: u64,
    /// On what.
    pub target: TargetRecord,
    /// With what.
    pub workload: WorkloadRecord,
    /// Under which load.
    pub load: LoadPlan,
    /// Where every operation of the recorded phases went.
    pub accounting: AccountingRecord,
    /// How long the recorded phases took.
    pub duration_seconds: f64,
    /// Operations that succeeded, over that time.
    pub throughput_per_second: f64,
    /// The recorded phases, by operation.
    pub operations: Vec<OperationRecord>,
    /// The recorded phases, all operations together.
    pub total: OperationRecord,
    /// All phases, each for itself.
    pub phases: Vec<PhaseRecord>,
    /// What the load generator itself used, and how well it kept time.
    pub generator: GeneratorRecord,
    /// How the store was lost, and came back.
    #[serde(default)]
    pub recovery: RecoveryRecord,
    /// The host that the generator ran on.
    pub host: Value,
    /// The data store's side.
    pub server: ServerRecord,
    /// Whether the data are right.
    pub verification: Verification,
    /// What the numbers are worth.
    pub verdict: Verdict,
    /// How the load was found; none where it was not searched for.
    #[serde(default)]
    pub search: Option<SearchRecord>,
    /// Error messages, the first of each.
    pub error_messages: Vec<ErrorMessage>,
    /// What a Prometheus knew of these seconds, where it was asked.
    #[serde(default)]
    pub prometheus: Option<PrometheusRecord>,
    /// Where processor time went, where that was asked for.
    #[serde(default)]
    pub profiles: Vec<ProfileRecord>,
    /// Who drove which part of the load, where several hosts did.
    #[serde(default)]
    pub parts: Vec<PartRecord>,
    /// From where it went on, where a run before it was cut off.
    #[serde(default)]
    pub resumed: Option<ResumedRecord>,
    /// Under which circumstances.
    pub provenance: Provenance,
    /// Where the report is, if one was written.
    pub report: Option<String>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It goes on.
    Running,
    /// It came to its end.
    Completed,
    /// It was stopped, or its process died.
    Interrupted,
    /// It could not be carried out.
    Failed,
}

impl Status {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

/// The data store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRecord {
    /// The driver's name.
    pub driver: String,
    /// Its address, the password as `***`.
    pub url: String,
    /// Product and version.
    pub server: String,
}

/// The workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadRecord {
    /// Its name.
    pub name: String,
    /// Its variant's.
    pub variant: Option<String>,
    /// Every parameter with its effective value.
    pub parameters: BTreeMap<String, Value>,
}

/// scheduled = succeeded + failed + shed + unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AccountingRecord {
    /// Were to be started.
    pub scheduled: u64,
    /// Ended well.
    pub succeeded: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Were not started: too many others waited.
    pub shed: u64,
    /// Had not ended when the run did.
    pub unfinished: u64,
}

impl From<Accounting> for AccountingRecord {
    fn from(accounting: Accounting) -> Self {
        let Accounting { scheduled, succeeded, failed, shed, unfinished } = accounting;
        Self { scheduled, succeeded, failed, shed, unfinished }
    }
}

/// One operation's figures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct OperationRecord {
    /// The operation; `total` for all together.
    pub name: String,
    /// Ended well.
    pub succeeded: u64,
    /// Ended with an error.
    pub failed: u64,
    /// The errors by kind; kinds that did not occur are left out.
    pub errors: BTreeMap<String, u64>,
    /// Of the successes, from the intended start (open) or the send (closed) to the end, in microseconds.
    pub latency_us: Summary,
    /// From the send to the end.
    pub service_time_us: Summary,
    /// From the intended start to the send; 0 in closed phases.
    pub queueing_time_us: Summary,
}

impl OperationRecord {
    /// The figures of a cell.
    pub fn of(name: &str, cell: &Cell) -> Self {
        let latency_us = cell.latency.summary();
        Self {
            name: name.to_owned(),
            succeeded: cell.succeeded,
            failed: cell.failed,
            errors: errors_by_kind(cell),
            latency_us,
            service_time_us: cell.service_time.as_ref().map_or(latency_us, |histogram| histogram.summary()),
            queueing_time_us: cell
                .queueing_time
                .as_ref()
                .map_or_else(Summary::default, |histogram| histogram.summary()),
        }
    }
}

/// The errors of a cell under their kinds' names.
pub(crate) fn errors_by_kind(cell: &Cell) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    add_errors(&mut errors, cell);
    errors
}

/// Adds the errors of a cell.
pub(crate) fn add_errors(errors: &mut BTreeMap<String, u64>, cell: &Cell) {
    for (kind, count) in ErrorKind::ALL.iter().zip(cell.errors).filter(|(_, count)| *count > 0) {
        *errors.entry(kind.name().to_owned()).or_default() += count;
    }
}

/// One phase's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// Its name.
    pub name: String,
    /// Whether it counts.
    pub recorded: bool,
    /// Seconds from the run's start to its start.
    pub start_seconds: f64,
    /// How long it took.
    pub duration_seconds: f64,
    /// Operations that succeeded, over that time.
    pub throughput_per_second: f64,
    /// Where every operation went.
    pub accounting: AccountingRecord,
    /// By operation.
    pub operations: Vec<OperationRecord>,
    /// All operations together.
    pub total: OperationRecord,
}

impl PhaseRecord {
    /// A phase that is yet to come.
    pub(crate) fn expected(phase: &Phase) -> Self {
        Self {
            name: phase.name.clone(),
            recorded: phase.recorded,
            start_seconds: 0.0,
            duration_seconds: 0.0,
            throughput_per_second: 0.0,
            accounting: AccountingRecord::default(),
            operations: Vec::new(),
            total: OperationRecord { name: "total".to_owned(), ..OperationRecord::default() },
        }
    }
}

/// The load generator's own side.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GeneratorRecord {
    /// Processor time that it used, user and system, during all phases.
    pub cpu_seconds: f64,
    /// The same over the operations that ended.
    pub cpu_us_per_operation: f64,
    /// The same over elapsed time and the processors that its workers could use: 1 is saturated.
    pub cpu_share: f64,
    /// Greatest resident memory.
    pub max_rss_bytes: u64,
    /// Voluntary and involuntary.
    pub context_switches: u64,
    /// How late sends were that waited for nothing but the clock.
    pub lateness_us: Lateness,
    /// What the harness itself takes for an operation, measured on a store that does nothing.
    pub harness_floor_us: f64,
    /// Worker threads.
    pub workers: u32,
    /// How all of its connections were waited for: `io_uring`, or `epoll`.
    #[serde(default)]
    pub io: String,
    /// Connections that were lost and tried for again.
    pub reconnects: u64,
    /// Attempts at it that failed.
    pub connects_failed: u64,
}

/// Send lateness in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Lateness {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Greatest.
    pub max: f64,
}

/// How the store was lost, and came back: it is gone from the first operation that fails because nobody answers to the
/// next one of any session that ends well. Of the whole run, phases that do not count included.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct RecoveryRecord {
    /// How often it was gone for a millisecond or more.
    pub outages: u64,
    /// How long, all of them together.
    pub gone_seconds: f64,
    /// The longest one.
    pub longest_seconds: f64,
    /// When that one began, since the run's start.
    pub longest_start_seconds: Option<f64>,
    /// Whether it had not come back when the run ended; that outage is counted as far as it was seen.
    pub is_gone: bool,
    /// The longest that one session was without a connection after it had lost it.
    pub session_seconds_max: f64,
}

impl From<runner::Recovery> for RecoveryRecord {
    fn from(recovery: runner::Recovery) -> Self {
        Self {
            outages: recovery.outages,
            gone_seconds: recovery.gone.as_secs_f64(),
            longest_seconds: recovery.longest.as_secs_f64(),
            longest_start_seconds: (recovery.outages > 0).then_some(recovery.longest_start.as_secs_f64()),
            is_gone: recovery.is_gone,
            session_seconds_max: recovery.session_max.as_secs_f64(),
        }
    }
}

/// The data store's side.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServerRecord {
    /// Processor time of its processes, where they are on this host.
    pub cpu_seconds: Option<f64>,
    /// Greatest resident memory of its processes together, where they are on this host.
    pub max_rss_bytes: Option<u64>,
    /// Its own counters, end minus start.
    pub counters: BTreeMap<String, f64>,
    /// Its settings that matter.
    pub settings: BTreeMap<String, String>,
    /// Figures that could not be read, and why.
    pub missing: Vec<String>,
}

/// Whether the data are right.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Verification {
    /// All checks passed, and no operation read what had not been written.
    pub passed: bool,
    /// Each check.
    pub checks: Vec<CheckRecord>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// What was checked.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was found.
    pub detail: String,
}

/// What the numbers are worth.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether the generator did what was planned.
    pub valid: bool,
    /// Why not, each with its remedy.
    pub reasons: Vec<String>,
    /// What to know before relying on the numbers.
    pub warnings: Vec<String>,
    /// Whether the user takes the numbers of an invalid run all the same.
    #[serde(default)]
    pub accepted: bool,
    /// What `valid`, `reasons` and some of `warnings` follow from.
    #[serde(default)]
    pub checks: Vec<ValidityCheck>,
    /// Conditions and whether they hold.
    pub thresholds: Vec<ThresholdRecord>,
}

/// Something that must hold for the numbers to be worth what they seem: a figure with its limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidityCheck {
    /// A name to look for: `generator_cpu`, `send_lateness` …
    pub name: String,
    /// What came of it.
    pub outcome: CheckOutcome,
    /// The figure; none where it does not apply or could not be read.
    pub value: Option<f64>,
    /// Beyond it the numbers are in doubt.
    pub doubtful_limit: Option<f64>,
    /// Beyond it the run is invalid.
    pub limit: Option<f64>,
    /// Of the figure and its limits: `%`, `us`, `1` for plain numbers.
    pub unit: String,
    /// What was found, in words.
    pub detail: String,
    /// What to do where it does not hold.
    pub remedy: String,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// It holds.
    Passed,
    /// The numbers are to be taken with care.
    Doubtful,
    /// The run is invalid.
    Failed,
    /// It says nothing about such a run, or its figure could not be read.
    NotApplicable,
}

/// A condition and whether it holds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ThresholdRecord {
    /// As the user wrote it.
    pub expression: String,
    /// Whether it holds.
    pub passed: bool,
    /// The figure that it is about, in the unit of the limit; none where there was nothing to measure, which does not
    /// pass.
    pub value: Option<f64>,
    /// What it was compared with.
    #[serde(default)]
    pub limit: Option<f64>,
    /// Of both: `us`, `%`, `/s`, `B`, `B/s`, `1` for plain numbers.
    #[serde(default)]
    pub unit: String,
    /// When it ended the run, in seconds since the start.
    #[serde(default)]
    pub aborted_at_seconds: Option<f64>,
    /// Why there is no value.
    #[serde(default)]
    pub reason: Option<String>,
}

/// An error message with how often it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorMessage {
    /// Who must act.
    pub kind: String,
    /// What happened.
    pub message: String,
    /// How often.
    pub count: u64,
}

/// What a Prometheus knew of a run's seconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PrometheusRecord {
    /// Where it is, the password as `***`.
    pub url: String,
    /// What was asked.
    pub gauges: Vec<PrometheusGauge>,
    /// Why not all of it was.
    pub reason: Option<String>,
}

/// Values of a query over a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PrometheusGauge {
    /// `prometheus.` and the name that the plan gives it.
    pub name: String,
    /// What was asked, in `PromQL`.
    pub query: String,
    /// The mean of its values.
    pub mean: Option<f64>,
    /// The highest of them.
    pub max: Option<f64>,
    /// Seconds since the load began, each with a value.
    pub points: Vec<(f64, f64)>,
    /// Why there are none.
    pub reason: Option<String>,
}

/// Where the processor time of some processes went: stacks, sampled while the load ran.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProfileRecord {
    /// Whose: `server` or `generator`.
    pub of: String,
    /// What was counted: `cycles`, or `cpu-clock` where the processor's counters are not to be had.
    pub event: String,
    /// How often, on each processor that they used.
    pub samples_per_second: u32,
    /// Samples that were taken.
    pub samples: u64,
    /// From its start, with the first phase, to its end.
    pub duration_seconds: f64,
    /// Whether it ended before the load did.
    pub is_cut: bool,
    /// The functions that most samples found running, the most frequent first.
    pub hottest: Vec<HotFunctionRecord>,
    /// What is kept of it beside the record: the flame graph, and its stacks as text.
    pub artifacts: Vec<String>,
    /// Why there is none, or why it could not be kept.
    pub reason: Option<String>,
}

impl ProfileRecord {
    /// One that was asked for and is not there.
    pub(crate) fn missing(of: &str, reason: String) -> Self {
        Self { of: of.to_owned(), reason: Some(reason), ..Self::default() }
    }
}

/// A function and how often it was what ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HotFunctionRecord {
    /// Its name.
    pub name: String,
    /// The share of all samples, 0 to 1.
    pub self_share: f64,
}

/// A file that belongs to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its name, unique in its run: `flamegraph-server.svg`.
    pub name: String,
    /// What it is: `image/svg+xml`.
    pub media_type: &'static str,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Under which circumstances a run took place.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// Storelab's version.
    pub storelab: String,
    /// The host: kernel, processors, memory …
    pub host: Value,
}

/// One second of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRecord {
    /// Which second since the start, from 0.
    pub second: u64,
    /// By phase and operation.
    pub operations: Vec<SampledOperation>,
    /// Everything else, by name: `generator.backlog`, `errors.timeout`, `host.cpu_percent` …
    pub gauges: BTreeMap<&'static str, f64>,
}

/// A quarter of one second of a run, of a second that somebody watches.
#[derive(Debug, Clone, PartialEq)]
pub struct QuarterRecord {
    /// Which one of its second, from 0.
    pub quarter: u8,
    /// What ended in it. Its gauges are the generator's own and the errors; the others are looked at once a second.
    pub sample: SampleRecord,
}

/// One operation during one second.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledOperation {
    /// The phase's place.
    pub phase: u16,
    /// The operation's name.
    pub operation: String,
    /// Ended well.
    pub succeeded: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Of the successes.
    pub latency: Histogram,
}

/// A raw histogram of a whole phase.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramRecord {
    /// The phase's place.
    pub phase: u16,
    /// The operation's name.
    pub operation: String,
    /// What was measured.
    pub metric: Metric,
    /// The counts.
    pub histogram: Histogram,
}

/// What a histogram is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// From the intended start (open) or the send (closed) to the end.
    Latency,
    /// From the send to the end.
    ServiceTime,
    /// From the intended start to the send.
    QueueingTime,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 3] = [Self::Latency, Self::ServiceTime, Self::QueueingTime];

    /// The name in stores and exports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::ServiceTime => "service_time",
            Self::QueueingTime => "queueing_time",
        }
    }
}

/// Keeps what a run gives, while it goes on.
pub trait Sink {
    /// A run has started: everything that is known beforehand.
    ///
    /// # Errors
    /// Where it cannot be kept: the run does not start.
    fn started(&mut self, record: &Record) -> store::Result<()>;

    /// A second has ended.
    ///
    /// # Errors
    /// Where it cannot be kept: the run is stopped and fails.
    fn sampled(&mut self, run: Uuid, sample: &SampleRecord) -> store::Result<()>;

    /// Those who watch the run: while there are any, it is told in quarters of a second too.
    fn watch(&self) -> Watch {
        Watch::default()
    }

    /// A quarter of a second that is watched has ended. It is not kept: the second is, which is the sum of its quarters.
    fn glimpsed(&mut self, _run: Uuid, _quarter: &QuarterRecord) {}

    /// A file belongs to the run, which has not ended yet. Who keeps no files drops it.
    ///
    /// # Errors
    /// Where it cannot be kept: the record says so, and the run goes on.
    fn attached(&mut self, _run: Uuid, _artifact: &Artifact) -> store::Result<()> {
        Ok(())
    }

    /// The run has ended.
    ///
    /// # Errors
    /// Where it cannot be kept.
    fn ended(&mut self, record: &Record, histograms: &[HistogramRecord]) -> store::Result<()>;
}

/// Keeps nothing of a run: for whoever wants its outcome alone.
#[derive(Debug)]
pub struct Nowhere;

impl Sink for Nowhere {
    fn started(&mut self, _: &Record) -> store::Result<()> {
        Ok(())
    }

    fn sampled(&mut self, _: Uuid, _: &SampleRecord) -> store::Result<()> {
        Ok(())
    }

    fn ended(&mut self, _: &Record, _: &[HistogramRecord]) -> store::Result<()> {
        Ok(())
    }
}
