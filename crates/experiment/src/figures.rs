//! From what the runner and the samplers saw to what a record holds.

use std::collections::BTreeMap;

use runner::{Io, Load, Outcome, PhaseOutcome, Quarter, Sample};
use store::{ErrorKind, Result, ServerInfo};

use crate::beside::Beside;
use crate::record::{
    ErrorMessage, GeneratorRecord, HistogramRecord, Lateness, Metric, OperationRecord, PhaseRecord, QuarterRecord,
    Record, SampleRecord, SampledOperation, ServerRecord,
};

pub(crate) fn sample_record(sample: &Sample, names: &[&'static str], beside: &mut Beside) -> SampleRecord {
    record_of(sample, names, beside.gauges())
}

pub(crate) fn quarter_record(quarter: &Quarter, names: &[&'static str]) -> QuarterRecord {
    QuarterRecord { quarter: quarter.quarter, sample: record_of(&quarter.sample, names, BTreeMap::new()) }
}

/// What ended, with the generator's gauges beside those that are given.
fn record_of(sample: &Sample, names: &[&'static str], mut gauges: BTreeMap<&'static str, f64>) -> SampleRecord {
    let operations = sample
        .phases
        .iter()
        .flat_map(|(phase, cells)| cells.iter().map(move |(operation, cell)| (*phase, operation, cell)))
        .map(|(phase, operation, cell)| SampledOperation {
            phase,
            operation: names[usize::from(operation)].to_owned(),
            succeeded: cell.succeeded,
            failed: cell.failed,
            latency: cell.latency.clone(),
        })
        .collect();
    gauges.insert("generator.backlog", sample.gauges.backlog as f64);
    gauges.insert("generator.in_flight", sample.gauges.in_flight as f64);
    gauges.insert("generator.connected", f64::from(sample.gauges.connected));
    gauges.insert("generator.lateness_us_max", sample.gauges.lateness_ns_max as f64 / 1e3);
    for (_, cell) in sample.phases.iter().flat_map(|(_, cells)| cells.iter()) {
        for (kind, count) in ErrorKind::ALL.into_iter().zip(cell.errors).filter(|(_, count)| *count > 0) {
            *gauges.entry(errors_gauge(kind)).or_insert(0.0) += count as f64;
        }
    }
    SampleRecord { second: sample.second, operations, gauges }
}

/// The gauge that counts a second's errors of a kind; one that did not occur is left out.
pub(crate) const fn errors_gauge(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Config => "errors.config",
        ErrorKind::Unreachable => "errors.unreachable",
        ErrorKind::Rejected => "errors.rejected",
        ErrorKind::Conflict => "errors.conflict",
        ErrorKind::Timeout => "errors.timeout",
        ErrorKind::Unsupported => "errors.unsupported",
        ErrorKind::WrongResult => "errors.wrong_result",
        ErrorKind::Bug => "errors.bug",
    }
}

pub(crate) fn histograms(outcome: &Outcome, names: &[&'static str]) -> Vec<HistogramRecord> {
    let mut records = Vec::new();
    for (phase, outcome) in outcome.phases.iter().enumerate() {
        for (operation, cell) in outcome.cells.iter() {
            let mut push = |metric, histogram: &stats::Histogram| {
                records.push(HistogramRecord {
                    phase: phase as u16,
                    operation: names[usize::from(operation)].to_owned(),
                    metric,
                    histogram: histogram.clone(),
                });
            };
            push(Metric::Latency, &cell.latency);
            if let Some(histogram) = &cell.service_time {
                push(Metric::ServiceTime, histogram);
            }
            if let Some(histogram) = &cell.queueing_time {
                push(Metric::QueueingTime, histogram);
            }
        }
    }
    records
}

pub(crate) fn operation_records(
    cells: &runner::OperationCells,
    names: &[&'static str],
) -> (Vec<OperationRecord>, OperationRecord) {
    let operations =
        cells.iter().map(|(operation, cell)| OperationRecord::of(names[usize::from(operation)], cell)).collect();
    (operations, OperationRecord::of("total", &cells.total()))
}

/// What happened, by phase and over the recorded ones.
pub(crate) fn fill_figures(record: &mut Record, load: &Load, outcome: &Outcome, names: &[&'static str]) {
    let mut cells = runner::OperationCells::new(names.len());
    let mut accounting = runner::Accounting::default();
    let mut seconds = 0.0;
    record.phases.clear();
    for (phase, PhaseOutcome { cells: of_phase, accounting: accounted, start, duration }) in
        load.phases.iter().zip(&outcome.phases)
    {
        if phase.recorded {
            cells.merge(of_phase);
            accounting.add(accounted);
            seconds += duration.as_secs_f64();
        }
        let (operations, total) = operation_records(of_phase, names);
        record.phases.push(PhaseRecord {
            name: phase.name.clone(),
            recorded: phase.recorded,
            start_seconds: start.as_secs_f64(),
            duration_seconds: duration.as_secs_f64(),
            throughput_per_second: per_second(accounted.succeeded, duration.as_secs_f64()),
            accounting: (*accounted).into(),
            operations,
            total,
        });
    }
    (record.operations, record.total) = operation_records(&cells, names);
    record.accounting = accounting.into();
    record.duration_seconds = seconds;
    record.throughput_per_second = per_second(accounting.succeeded, seconds);
    record.recovery = outcome.recovery.into();
    record.error_messages = outcome
        .errors
        .iter()
        .map(|sample| ErrorMessage {
            kind: sample.kind.name().to_owned(),
            message: sample.message.clone(),
            count: sample.count,
        })
        .collect();
}

pub(crate) fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

pub(crate) fn generator(outcome: &Outcome, beside: &Beside, harness_floor_us: f64) -> GeneratorRecord {
    let ended: u64 = outcome.phases.iter().map(|phase| phase.accounting.succeeded + phase.accounting.failed).sum();
    let used = beside.generator();
    let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1e3;
    GeneratorRecord {
        cpu_seconds: used.cpu_seconds,
        cpu_us_per_operation: if ended > 0 { used.cpu_seconds * 1e6 / ended as f64 } else { 0.0 },
        cpu_share: used.cpu_seconds
            / (outcome.duration.as_secs_f64() * f64::from(outcome.workers.min(beside.processors()))).max(1e-9),
        max_rss_bytes: used.max_rss_bytes,
        context_switches: used.context_switches,
        lateness_us: Lateness {
            p50: microseconds(outcome.lateness.quantile(0.5)),
            p99: microseconds(outcome.lateness.quantile(0.99)),
            max: microseconds(outcome.lateness.max()),
        },
        harness_floor_us,
        workers: outcome.workers,
        io: match outcome.io {
            Io::IoUring => "io_uring",
            Io::Auto | Io::Epoll => "epoll",
        }
        .to_owned(),
        reconnects: outcome.reconnects,
        connects_failed: outcome.connects_failed,
    }
}

pub(crate) fn server_record(
    info: &ServerInfo,
    beside: &Beside,
    before: Result<store::Counters>,
    after: Result<store::Counters>,
) -> ServerRecord {
    let mut missing = Vec::new();
    let counters = match (before, after) {
        (Ok(before), Ok(after)) => after
            .into_iter()
            .map(|(name, value)| {
                let delta = value - before.get(&name).copied().unwrap_or(0.0);
                (name, delta)
            })
            .filter(|(_, delta)| *delta != 0.0)
            .collect(),
        (Err(error), _) | (_, Err(error)) => {
            missing.push(format!("counters: {error}"));
            BTreeMap::default()
        }
    };
    let process = beside.server();
    if process.is_none() {
        missing.push("processor time and memory: the server's process is not known on this host".to_owned());
    }
    ServerRecord {
        cpu_seconds: process.map(|process| process.cpu_seconds),
        max_rss_bytes: process.map(|process| process.max_rss_bytes),
        counters,
        settings: info.settings.clone(),
        missing,
    }
}
