//! What a run measured, in the shape that the first description of the service shows. Every number is one of the run's record,
//! or of the seconds that belong to it.

use std::collections::BTreeMap;

use experiment::{OperationRecord, Record, SampleRecord};
use serde::Serialize;
use stats::Summary;
use store::Effect;
use utoipa::ToSchema;

/// Microseconds in a second and in a millisecond.
const US_A_SECOND: f64 = 1e6;
const US_A_MILLISECOND: f64 = 1e3;
/// Bytes in a megabyte.
const BYTES_A_MEGABYTE: f64 = 1e6;

/// What adds rows in workloads that are not a driver's own operations.
const INSERT: &str = "insert";

/// What an experiment's run measured.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ExperimentResults {
    /// By operation.
    pub(crate) benchmark_results: BTreeMap<String, OperationResult>,
    /// All operations together.
    pub(crate) performance_metrics: PerformanceMetrics,
}

/// What one operation came to.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum OperationResult {
    /// Of an operation that adds rows.
    Added {
        /// Rows that were added.
        #[schema(example = 1000)]
        rows_inserted: u64,
        /// How long that took.
        #[schema(example = 0.245)]
        time_seconds: f64,
        /// The one over the other.
        #[schema(example = 4081.63)]
        rows_per_second: f64,
    },
    /// Of any other.
    Asked {
        /// Operations that ended well.
        #[schema(example = 100)]
        queries_executed: u64,
        /// Mean of their latencies.
        #[schema(example = 0.0012)]
        avg_time_seconds: f64,
        /// Least of them.
        #[schema(example = 0.0008)]
        min_time_seconds: f64,
        /// Greatest of them.
        #[schema(example = 0.0035)]
        max_time_seconds: f64,
    },
}

/// All operations together, and what the data store and its host took for them.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct PerformanceMetrics {
    /// How long the phases that count took.
    #[schema(example = 0.456)]
    pub(crate) duration_seconds: f64,
    /// Operations that ended well.
    #[schema(example = 1100)]
    pub(crate) total_queries: u64,
    /// The same a second.
    #[schema(example = 2412.28)]
    pub(crate) ops_per_second: f64,
    /// Latency of those.
    pub(crate) latency_ms: LatencyMilliseconds,
    /// Share of one processor that the data store's processes used, or all processors of the host where those are not seen;
    /// none where neither was.
    pub(crate) cpu_percent: Option<AverageAndMax>,
    /// Resident memory of the data store's processes, or of the generator where those are not seen; none where neither was.
    pub(crate) memory_mb: Option<AverageAndMax>,
}

/// Latency in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub(crate) struct LatencyMilliseconds {
    /// Mean.
    #[schema(example = 0.45)]
    avg: f64,
    /// Median.
    #[schema(example = 0.42)]
    p50: f64,
    /// 95th percentile.
    #[schema(example = 0.89)]
    p95: f64,
    /// 99th percentile.
    #[schema(example = 1.23)]
    p99: f64,
}

/// A gauge over the seconds of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub(crate) struct AverageAndMax {
    /// Mean of the seconds.
    #[schema(example = 25.3)]
    avg: f64,
    /// Greatest of the seconds.
    #[schema(example = 45.2)]
    max: f64,
}

/// What is needed of the seconds of a run, gathered while they come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gathered {
    least_us: BTreeMap<String, f64>,
    gauges: BTreeMap<&'static str, Gauge>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Gauge {
    sum: f64,
    count: f64,
    max: f64,
}

impl Gathered {
    /// Adds a second. `is_recorded` says whether a phase counts.
    pub(crate) fn add(&mut self, sample: &SampleRecord, is_recorded: impl Fn(u16) -> bool) {
        for one in sample.operations.iter().filter(|one| is_recorded(one.phase) && !one.latency.is_empty()) {
            let least = one.latency.quantile(0.0) as f64 / 1e3;
            let known = self.least_us.entry(one.operation.clone()).or_insert(least);
            *known = known.min(least);
        }
        for name in GAUGES {
            let Some(value) = sample.gauges.get(name) else { continue };
            let gauge = self.gauges.entry(name).or_default();
            gauge.sum += value;
            gauge.count += 1.0;
            gauge.max = gauge.max.max(*value);
        }
    }

    /// The first of those gauges that some second had.
    fn gauge(&self, names: [&str; 2], scale: f64) -> Option<AverageAndMax> {
        let Gauge { sum, count, max } = names.into_iter().find_map(|name| self.gauges.get(name))?;
        Some(AverageAndMax { avg: sum / count / scale, max: max / scale })
    }
}

/// Processor time and memory: of the server, else of what stands beside it.
const CPU: [&str; 2] = ["server.cpu_percent", "host.cpu_percent"];
const MEMORY: [&str; 2] = ["server.rss_bytes", "generator.rss_bytes"];
const GAUGES: [&str; 4] = [CPU[0], CPU[1], MEMORY[0], MEMORY[1]];

impl ExperimentResults {
    /// What a run that has ended measured.
    pub(crate) fn of(record: &Record, gathered: &Gathered) -> Self {
        let adds = |name: &str| {
            let driver = drivers::DRIVERS.iter().find(|driver| driver.name() == record.target.driver);
            let own = driver.and_then(|driver| driver.operations().iter().find(|operation| operation.name == name));
            own.map_or(name == INSERT, |operation| operation.effect == Effect::Adds)
        };
        let operations = record.operations.iter();
        let benchmark_results = operations
            .map(|one| {
                let result = if adds(&one.name) { added(record, one) } else { asked(one, gathered) };
                (one.name.clone(), result)
            })
            .collect();
        let Summary { mean, p50, p95, p99, .. } = record.total.latency_us;
        let milliseconds = |us: f64| us / US_A_MILLISECOND;
        Self {
            benchmark_results,
            performance_metrics: PerformanceMetrics {
                duration_seconds: record.duration_seconds,
                total_queries: record.total.succeeded,
                ops_per_second: record.throughput_per_second,
                latency_ms: LatencyMilliseconds {
                    avg: milliseconds(mean),
                    p50: milliseconds(p50),
                    p95: milliseconds(p95),
                    p99: milliseconds(p99),
                },
                cpu_percent: gathered.gauge(CPU, 1.0),
                memory_mb: gathered.gauge(MEMORY, BYTES_A_MEGABYTE),
            },
        }
    }
}

/// Rows over the time of the phases in which they were added: the operation's own where it has one, else all that count.
fn added(record: &Record, one: &OperationRecord) -> OperationResult {
    let phases = record.phases.iter().filter(|phase| phase.recorded);
    let own: f64 = phases
        .filter(|phase| phase.operations.iter().any(|other| other.name == one.name && other.succeeded > 0))
        .map(|phase| phase.duration_seconds)
        .sum();
    let time_seconds = if own > 0.0 { own } else { record.duration_seconds };
    OperationResult::Added {
        rows_inserted: one.succeeded,
        time_seconds,
        rows_per_second: if time_seconds > 0.0 { one.succeeded as f64 / time_seconds } else { 0.0 },
    }
}

fn asked(one: &OperationRecord, gathered: &Gathered) -> OperationResult {
    let seconds = |us: f64| us / US_A_SECOND;
    OperationResult::Asked {
        queries_executed: one.succeeded,
        avg_time_seconds: seconds(one.latency_us.mean),
        min_time_seconds: seconds(gathered.least_us.get(&one.name).copied().unwrap_or_default()),
        max_time_seconds: seconds(one.latency_us.max),
    }
}
